"""The three outcomes of a check, and why one is not good."""

from __future__ import annotations

from enum import StrEnum


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


class VerificationFailed(Exception):
    """What a check stops at: the finding, its detail in words, and the code of the profile's rule that is broken, if it
    is one. `Verdict.refuted` turns it into a verdict."""

    def __init__(self, finding: Finding, detail: str, *, rule: str = "") -> None:
        super().__init__(f"{finding.value}: {detail}")
        self.finding = finding
        self.detail = detail
        self.rule = rule

    @property
    def outcome(self) -> Outcome:
        """Bad, or indeterminate."""
        return Outcome.INDETERMINATE if self.finding in INDETERMINATE else Outcome.BAD
