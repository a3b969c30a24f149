"""The check of a card at a clinic, as the joint body does it: from the signature to the insurer's answer.

The verdict on the card comes from the relying-party library. The entitlement comes from the insurer, over the provision
network, so that each check has a provision record that the person sees in the portal.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from enum import Enum
from typing import Any, Self

from kazashi.jpki.profile import CertificateType
from kazashi.medical_insurance.entitlement import Entitlement, decisive, entitlements_in
from kazashi.medical_insurance.joint_body import JointBody
from kazashi.provision_network.codes import InstitutionCode
from kazashi.provision_network.terms import NetworkRejected
from kazashi.relying_party.verify.authentication import Authentication, Challenge, Response
from kazashi.relying_party.verify.finding import Finding, Outcome
from kazashi.relying_party.verify.linkage import LinkageUnavailable
from kazashi.relying_party.verify.verdict import Verdict
from kazashi.world.clock import Clock, today


class HolderCheck(Enum):
    """How the clinic has verified that the card is the holder's."""

    PIN = "pin"
    FACE = "face"
    """Staff has compared the face with the photograph on the card, and the terminal has authenticated itself."""


class EligibilityState(Enum):
    """The result of a check."""

    VALID = "valid"
    ENDED = "ended"
    NOT_YET = "not-yet"
    NOT_REGISTERED = "not-registered"
    """No certificate of the holder is registered as an insurance card."""
    NOT_INSURED = "not-insured"
    """No insurer has named the holder, or the insurer has no entitlement of theirs any more."""
    CARD_REVOKED = "card-revoked"
    CARD_ON_HOLD = "card-on-hold"
    CARD_EXPIRED = "card-expired"
    CARD_REJECTED = "card-rejected"
    """The certificate or the signature is not valid for another reason."""
    CARD_UNCHECKED = "card-unchecked"
    """The revocation status, or which certificates belong together, is not available at the moment."""
    NO_ANSWER = "no-answer"
    """The network does not respond, or the insurer has not answered in time."""
    DENIED = "denied"
    """The network denies the request."""


@dataclass(frozen=True, slots=True)
class EligibilityResult:
    """The reply to a clinic: the state, the entitlement that it is about if there is one, and the reason in words."""

    state: EligibilityState
    entitlement: Entitlement | None = None
    words: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return the result for JSON."""
        one = self.entitlement
        return {
            "state": self.state.value, "words": self.words,
            "entitlement": one and {
                "insurer": one.insurer, "insured_number": one.insured_number, "begins": one.begins.isoformat(),
                "ends": one.ends.isoformat() if one.ends else None,
            },
        }  # fmt: skip

    @classmethod
    def from_dict(cls, unverified: Mapping[str, Any]) -> Self:
        """Read a result from JSON. Raises ValueError, KeyError and TypeError."""
        one = unverified["entitlement"]
        entitlement = one and Entitlement(
            str(one["insurer"]), str(one["insured_number"]), date.fromisoformat(one["begins"]),
            date.fromisoformat(one["ends"]) if one["ends"] else None,
        )  # fmt: skip
        return cls(EligibilityState(unverified["state"]), entitlement or None, str(unverified["words"]))


class NetworkSilent(Exception):
    """The network, or the office of J-LIS, did not respond in time."""


Ask = Callable[[str, str], str | None]
"""Asks an insurer for a person's entitlements over the network: takes the joint body's own number and the insurer, and
returns the content of the copy, or None if there is none. Raises NetworkRejected and NetworkSilent."""

CodeOf = Callable[[int], InstitutionCode]
"""Gets the insurers' code of the holder of an authentication certificate from J-LIS. Raises NetworkRejected and
NetworkSilent."""

_CARD_STATES = {
    Finding.REVOKED: EligibilityState.CARD_REVOKED,
    Finding.HELD: EligibilityState.CARD_ON_HOLD,
    Finding.EXPIRED: EligibilityState.CARD_EXPIRED,
}


def origin_of_clinic(clinic: str) -> str:
    """Return the origin that a clinic's challenges have. It is signed, so that another clinic cannot use the
    signature."""
    return f"medical-desk:{clinic}"


class EligibilityDesk:
    """The joint body's service for clinics. `settle` completes what insurers' files have changed."""

    def __init__(
        self, joint: JointBody, authentication: Authentication, clock: Clock, ask: Ask, code_of: CodeOf,
        settle: Callable[[], object],
    ) -> None:  # fmt: skip
        self._joint = joint
        self._authentication = authentication
        self._clock = clock
        self._ask = ask
        self._code_of = code_of
        self._settle = settle

    def challenge(self, clinic: str) -> Challenge:
        """Return a challenge that a card at a clinic is to sign."""
        return self._authentication.challenge(origin_of_clinic(clinic), tenant=clinic)

    def check(self, clinic: str, how: HolderCheck, response: Response) -> EligibilityResult:
        """Return the entitlement of the holder of a card that has signed a challenge. The check is recorded."""
        return self._recorded(clinic, how, response, registering=False)

    def register(self, clinic: str, how: HolderCheck, response: Response) -> EligibilityResult:
        """Register a card that has signed a challenge as an insurance card, and return the entitlement of its
        holder."""
        return self._recorded(clinic, how, response, registering=True)

    def _recorded(
        self, clinic: str, how: HolderCheck, response: Response, *, registering: bool
    ) -> EligibilityResult:  # fmt: skip
        verdict = self._authentication.verdict(origin_of_clinic(clinic), response, clinic)
        own, result = self._result(verdict, registering)
        self._joint.checked({"clinic": clinic, "how": how.value, "own_number": own, "state": result.state.value})
        return result

    def _result(self, verdict: Verdict, registering: bool) -> tuple[str | None, EligibilityResult]:
        serial = _serial(verdict)
        if serial is None:
            return None, _of_card(verdict)
        try:
            self._settle()
            own = self._joint.register(serial, self._code_of(serial)) if registering else self._joint.number_of(serial)
        except LinkageUnavailable as error:
            return None, EligibilityResult(EligibilityState.CARD_UNCHECKED, words=str(error))
        except NetworkSilent as error:
            return None, EligibilityResult(EligibilityState.NO_ANSWER, words=str(error))
        except NetworkRejected as error:
            return None, EligibilityResult(EligibilityState.DENIED, words=f"{error} ({error.denial})")
        if own is None:
            return None, EligibilityResult(
                EligibilityState.NOT_INSURED if registering else EligibilityState.NOT_REGISTERED
            )
        return own, self._of_person(own)

    def _of_person(self, own: str) -> EligibilityResult:
        day = today(self._clock)
        known = decisive(self._joint.entitlements(own), day)
        if known is None:
            return EligibilityResult(EligibilityState.NOT_INSURED)
        try:
            content = self._ask(own, known.insurer)
            found = decisive(entitlements_in(known.insurer, content or ""), day)
        except (NetworkSilent, ValueError) as error:
            return EligibilityResult(EligibilityState.NO_ANSWER, words=str(error))
        except NetworkRejected as error:
            return EligibilityResult(EligibilityState.DENIED, words=f"{error} ({error.denial})")
        if found is None:
            return EligibilityResult(EligibilityState.NOT_INSURED, words=f"{known.insurer} has no entitlement")
        if found.holds(day):
            return EligibilityResult(EligibilityState.VALID, found)
        return EligibilityResult(
            EligibilityState.NOT_YET if day < found.begins else EligibilityState.ENDED, found
        )  # fmt: skip


def _serial(verdict: Verdict) -> int | None:
    """Return the serial number of a valid authentication certificate, or None."""
    certificate = verdict.certificate
    if (
        verdict.outcome is not Outcome.GOOD
        or certificate is None
        or certificate.kind is not CertificateType.AUTHENTICATION
    ):
        return None
    return certificate.serial


def _of_card(verdict: Verdict) -> EligibilityResult:
    """Return the result for a card that is not accepted."""
    words = f"{verdict.detail} ({verdict.finding})"
    if verdict.outcome is Outcome.INDETERMINATE:
        return EligibilityResult(EligibilityState.CARD_UNCHECKED, words=words)
    state = _CARD_STATES.get(verdict.finding) if verdict.finding else None
    return EligibilityResult(state or EligibilityState.CARD_REJECTED, words=words)
