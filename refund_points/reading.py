"""The card over the register: what a till learns of it, without a PIN."""

from __future__ import annotations

from dataclasses import dataclass

from kazashi.jpki.profile import CertificateType
from kazashi.relying_party.login.card_reader import certificates_at_hand
from kazashi.relying_party.verify.finding import Finding, Outcome
from kazashi.relying_party.verify.verdict import Verdict
from kazashi.relying_party.verify.verification import Verifier

_WORDS = {
    Finding.REVOKED: "its certificate is revoked",
    Finding.EXPIRED: "its certificate has ended",
    Finding.WRONG_AUTHORITY: "it is of no authority that is trusted here",
}


class SeveralCards(Exception):
    """Two cards lie at the register, and nobody knows whose the points are."""


@dataclass(frozen=True, slots=True)
class CardReading:
    """A card as a till has seen it: its authentication certificate's serial number; why it gives no points, empty
    where it does; whether the till could not learn if it is revoked."""

    serial: int
    refused: str = ""
    unchecked: bool = False

    @classmethod
    def of(cls, verdict: Verdict) -> CardReading:
        """What a verdict on the authentication certificate says to a till. One that is indeterminate is taken, and
        marked: a till without a network does not turn customers away."""
        if verdict.certificate is None:
            return cls(0, verdict.detail or "its certificate cannot be read")
        serial = verdict.certificate.serial
        if verdict.outcome is Outcome.BAD:
            words = _WORDS.get(verdict.finding, verdict.detail) if verdict.finding else verdict.detail
            return cls(serial, words or "its certificate is not good")
        return cls(serial, unchecked=verdict.outcome is Outcome.INDETERMINATE)


def read_card(verifier: Verifier, reader: str = "") -> CardReading | None:
    """The card at the register, in any reader whose name begins so; None where there is none. Raises SeveralCards, and
    CardMissing where PC/SC is away or a card was taken out too early."""
    found = certificates_at_hand(reader)
    if len(found) > 1:
        raise SeveralCards("there are two cards at the register; leave the one that is to get the points")
    return CardReading.of(verifier.certificate(found[0], CertificateType.AUTHENTICATION)) if found else None
