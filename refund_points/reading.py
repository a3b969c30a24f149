"""What a till reads from the card at the register, without a PIN."""

from __future__ import annotations

from dataclasses import dataclass

from kazashi.jpki.profile import CertificateType
from kazashi.relying_party.login.card_reader import certificates_at_hand
from kazashi.relying_party.verify.finding import Finding, Outcome
from kazashi.relying_party.verify.verdict import Verdict
from kazashi.relying_party.verify.verification import Verifier

_WORDS = {
    Finding.REVOKED: "its certificate is revoked",
    Finding.EXPIRED: "its certificate has expired",
    Finding.WRONG_AUTHORITY: "its certificate was not issued by a trusted authority",
}


class SeveralCards(Exception):
    """There are two cards at the register, so it is unclear which one gets the points."""


@dataclass(frozen=True, slots=True)
class CardReading:
    """A card as the till read it.

    `serial` is the authentication certificate's serial number. `refused` says why the card gives no points, and is
    empty if it does. `unchecked` is True if the till could not find out whether the certificate is revoked.
    """

    serial: int
    refused: str = ""
    unchecked: bool = False

    @classmethod
    def of(cls, verdict: Verdict) -> CardReading:
        """Return the reading for a verdict on the authentication certificate.

        An indeterminate verdict is accepted and marked as unchecked, because a till without a network does not turn
        customers away.
        """
        if verdict.certificate is None:
            return cls(0, verdict.detail or "its certificate cannot be read")
        serial = verdict.certificate.serial
        if verdict.outcome is Outcome.BAD:
            words = _WORDS.get(verdict.finding, verdict.detail) if verdict.finding else verdict.detail
            return cls(serial, words or "its certificate is not valid")
        return cls(serial, unchecked=verdict.outcome is Outcome.INDETERMINATE)


def read_card(verifier: Verifier, reader: str = "") -> CardReading | None:
    """Read the card at the register, in any reader whose name begins with `reader`. Returns None if there is no card.

    Raises SeveralCards, and CardMissing if PC/SC is not available or the card was removed too early.
    """
    certificates = certificates_at_hand(reader)
    if len(certificates) > 1:
        raise SeveralCards("there are several cards at the register; leave only the one that gets the points")
    if not certificates:
        return None
    return CardReading.of(verifier.certificate(certificates[0], CertificateType.AUTHENTICATION))
