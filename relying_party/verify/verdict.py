"""What a check comes to: good, bad, or indeterminate; why, since when, by which source, and how old that source was."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NoReturn

from kazashi.jpki.state import Reason
from kazashi.relying_party.verify.certificate import HolderCertificate
from kazashi.relying_party.verify.finding import Finding as Finding
from kazashi.relying_party.verify.finding import Outcome as Outcome
from kazashi.relying_party.verify.finding import VerificationFailed


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the word on revocation rests on: the kind of source, and from when until when it holds."""

    source: str
    produced: datetime
    until: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
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
    signed: tuple[str, ...] = ()
    """What of a document the signature covers, in words."""

    @classmethod
    def refuted(
        cls, refuted: VerificationFailed, at: datetime, certificate: HolderCertificate | None = None
    ) -> Verdict:
        """What a check that was stopped comes to."""
        return cls(
            outcome=refuted.outcome, at=at, finding=refuted.finding, detail=refuted.detail, certificate=certificate
        )

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
            "reason": self.reason.asn1_name if self.reason is not None else None,
            "source": self.evidence.source if self.evidence else None,
            "source_produced": self.evidence.produced.isoformat() if self.evidence else None,
            "source_age_seconds": int(self.age.total_seconds()) if self.age is not None else None,
            "signed": list(self.signed),
            "certificate": found.as_dict() if found else None,
        }
