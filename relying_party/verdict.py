"""What a check comes to: good, bad, or indeterminate; why, since when, by which source, and how old that source was."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NoReturn

from pki.state import Reason

if TYPE_CHECKING:
    from relying_party.certificate import HolderCertificate


class Outcome(StrEnum):
    """The three answers. What cannot be found out is not good."""

    GOOD = "good"
    BAD = "bad"
    INDETERMINATE = "indeterminate"


class Finding(StrEnum):
    """Why a verdict is not good. The last group is what leaves it indeterminate."""

    MALFORMED = "malformed"
    """It is not what it should be: no certificate, no signed document, no answer to a challenge."""
    WRONG_AUTHORITY = "wrong-authority"
    """No authority that is trusted has the key that the certificate names, or the name that goes with it."""
    BROKEN_CERTIFICATE = "broken-certificate"
    """The authority's signature over the certificate does not hold."""
    OFF_PROFILE = "off-profile"
    """The certificate breaks a rule of its profile; the detail names it."""
    WRONG_KIND = "wrong-kind"
    """A signature certificate where an authentication certificate is wanted, or the other way round."""
    NOT_YET_VALID = "not-yet-valid"
    EXPIRED = "expired"
    REVOKED = "revoked"
    HELD = "held"

    WRONG_SIGNATURE = "wrong-signature"
    """The signature is not by the certificate's key over what it should be over."""
    WRONG_ALGORITHM = "wrong-algorithm"
    """Signed with an algorithm that cards do not use, or that is too weak."""
    TAMPERED = "tampered"
    """The document is not as it was when it was signed, or shows more than was signed."""
    NOT_SIGNED = "not-signed"

    UNKNOWN_CHALLENGE = "unknown-challenge"
    """Never given out, or used already: a challenge is good for one answer."""
    STALE_CHALLENGE = "stale-challenge"
    WRONG_ORIGIN = "wrong-origin"
    """The challenge was given out at another place."""

    NO_INFORMATION = "no-information"
    """No source said whether the certificate is revoked."""
    STALE_INFORMATION = "stale-information"
    """What the source said does not reach to the instant in question."""
    UNTRUSTED_INFORMATION = "untrusted-information"
    """What the source said is not the authority's, or not about this certificate."""
    UNKNOWN_CERTIFICATE = "unknown-certificate"
    """The authority's signature holds, and yet the authority knows of no such certificate."""


INDETERMINATE = frozenset(
    {Finding.NO_INFORMATION, Finding.STALE_INFORMATION, Finding.UNTRUSTED_INFORMATION, Finding.UNKNOWN_CERTIFICATE}
)


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the word on revocation rests on: the kind of source, and from when until when it holds."""

    source: str
    produced: datetime
    until: datetime | None


@dataclass(frozen=True, slots=True)
class Verdict:
    """The outcome of a check at the instant `at`.

    `since` and `reason` are there for a certificate that is revoked or held, also where that was after `at` and the
    verdict is good. `evidence` is what revocation was looked up in. A verdict is no truth value: whoever writes
    `if verdict:` would take an indeterminate one for good.
    """

    outcome: Outcome
    at: datetime
    finding: Finding | None = None
    detail: str = ""
    since: datetime | None = None
    reason: Reason | None = None
    evidence: Evidence | None = None
    certificate: HolderCertificate | None = None
    signed: tuple[str, ...] = field(default=())
    """What of a document the signature covers, in words."""

    def __bool__(self) -> NoReturn:
        """Refuse to be taken for a truth value."""
        raise TypeError("a verdict is good, bad or indeterminate; compare its outcome")

    @property
    def age(self) -> timedelta | None:
        """How old the evidence was at the instant of the verdict; not below zero, where a later source was used."""
        return max(self.at - self.evidence.produced, timedelta()) if self.evidence else None

    def as_dict(self) -> dict[str, Any]:
        """The verdict as JSON has it."""
        found = self.certificate
        return {
            "outcome": self.outcome.value,
            "finding": self.finding.value if self.finding else None,
            "detail": self.detail,
            "at": self.at.isoformat(),
            "since": self.since.isoformat() if self.since else None,
            "reason": self.reason.word if self.reason is not None else None,
            "source": self.evidence.source if self.evidence else None,
            "source_produced": self.evidence.produced.isoformat() if self.evidence else None,
            "source_age_seconds": int(self.age.total_seconds()) if self.age is not None else None,
            "signed": list(self.signed),
            "certificate": found.as_dict() if found else None,
        }


class Refuted(Exception):
    """What a check stops at: the finding, in words, and what else is known. Turned into a verdict in one place."""

    def __init__(self, finding: Finding, detail: str, **known: Any) -> None:
        super().__init__(f"{finding.value}: {detail}")
        self.finding = finding
        self.detail = detail
        self.known = known

    def verdict(self, at: datetime, certificate: HolderCertificate | None = None) -> Verdict:
        """The verdict at an instant."""
        outcome = Outcome.INDETERMINATE if self.finding in INDETERMINATE else Outcome.BAD
        return Verdict(outcome, at, self.finding, self.detail, certificate=certificate, **self.known)
