"""The result of a verification: the outcome, its finding, since when, and the revocation source with its age."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NoReturn

from kazashi.jpki.serial_number import serial_text
from kazashi.jpki.state import Reason
from kazashi.relying_party.verify.certificate import HolderCertificate
from kazashi.relying_party.verify.finding import Finding as Finding
from kazashi.relying_party.verify.finding import Outcome as Outcome
from kazashi.relying_party.verify.finding import VerificationFailed
from kazashi.relying_party.verify.policy import VerificationPolicy


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the revocation status rests on: the kind of source, and the period that its information is valid for."""

    source: str
    produced: datetime
    until: datetime | None


@dataclass(frozen=True, slots=True)
class ProvenTime:
    """An instant at which a signature existed, according to a trusted time-stamp authority."""

    instant: datetime
    authority: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The outcome of a verification as of the instant `at`.

    `since` and `reason` are set for a certificate that is revoked or on hold, even if that happened after `at` and the
    verdict is good. `evidence` is the source of the revocation status. A verdict has no truth value, because
    `if verdict:` would treat an indeterminate one as good.
    """

    outcome: Outcome
    at: datetime
    finding: Finding | None = None
    detail: str = ""
    since: datetime | None = None
    reason: Reason | None = None
    evidence: Evidence | None = None
    certificate: HolderCertificate | None = None
    signed: tuple[str, ...] = ()
    """Descriptions of the parts of a document that the signature covers."""
    signers: tuple[HolderCertificate, ...] = ()
    """The certificates of a document's signers; `certificate` is the one that the outcome is about."""
    proven: ProvenTime | None = None
    """The instant at which a document's signature existed, according to a trusted time-stamp. If there is one, and the
    caller did not vouch for another, it is `at`."""
    notes: tuple[str, ...] = ()
    """What a reader of a document should know besides."""
    policy: VerificationPolicy | None = None
    """The verifier's policy; None if the verdict came before it mattered."""

    @classmethod
    def from_failure(
        cls, failure: VerificationFailed, at: datetime, certificate: HolderCertificate | None = None
    ) -> Verdict:
        """Return the verdict for a check that failed."""
        return cls(
            outcome=failure.outcome, at=at, finding=failure.finding, detail=failure.detail, certificate=certificate
        )

    def __bool__(self) -> NoReturn:
        """Raise TypeError: a verdict has no truth value."""
        raise TypeError("a verdict has no truth value; compare its outcome, which is good, bad or indeterminate")

    @property
    def age(self) -> timedelta | None:
        """How old the evidence was at the instant of the verdict; zero if the evidence is newer."""
        return max(self.at - self.evidence.produced, timedelta()) if self.evidence else None

    def as_dict(self) -> dict[str, Any]:
        """Return the verdict as a JSON object; dates are in ISO 8601, and values that are not known are None."""
        certificate = self.certificate
        return {
            "outcome": self.outcome.value,
            "finding": self.finding.value if self.finding else None,
            "detail": self.detail,
            "at": self.at.isoformat(),
            "since": self.since.isoformat() if self.since else None,
            "reason": self.reason.asn1_name if self.reason is not None else None,
            "source": self.evidence.source if self.evidence else None,
            "source_produced": self.evidence.produced.isoformat() if self.evidence else None,
            "source_age_seconds": int(self.age.total_seconds()) if self.age is not None else None,
            "signed": list(self.signed),
            "signers": [serial_text(signer.serial) for signer in self.signers],
            "proven_at": self.proven.instant.isoformat() if self.proven else None,
            "time_stamp_authority": self.proven.authority if self.proven else None,
            "notes": list(self.notes),
            "policy": self.policy.as_dict() if self.policy else None,
            "certificate": certificate.as_dict() if certificate else None,
        }
