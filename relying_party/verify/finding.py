"""The three outcomes of a verification, and the findings that explain them."""

from __future__ import annotations

from enum import StrEnum


class Outcome(StrEnum):
    """The three outcomes. What cannot be determined is not good."""

    GOOD = "good"
    BAD = "bad"
    INDETERMINATE = "indeterminate"


class Finding(StrEnum):
    """Why a verdict is not good. The last group makes it indeterminate."""

    MALFORMED = "malformed"
    """The input is not a certificate, signed document or response to a challenge."""
    WRONG_AUTHORITY = "wrong-authority"
    """No trusted authority has the issuer key and the issuer name that the certificate gives."""
    BROKEN_CERTIFICATE = "broken-certificate"
    """The authority's signature over the certificate is not valid."""
    OFF_PROFILE = "off-profile"
    """The certificate breaks a rule of its profile; the detail names it."""
    WRONG_KIND = "wrong-kind"
    """A signature certificate where an authentication certificate is required, or the other way round."""
    NOT_YET_VALID = "not-yet-valid"
    EXPIRED = "expired"
    REVOKED = "revoked"
    HELD = "held"

    WRONG_SIGNATURE = "wrong-signature"
    """The signature was not made with the certificate's key over the expected data."""
    WRONG_ALGORITHM = "wrong-algorithm"
    """The signature uses an algorithm that cards do not use, or that is too weak."""
    TAMPERED = "tampered"
    """A digest does not match: the document was changed after it was signed."""
    NOT_SIGNED = "not-signed"

    UNKNOWN_CHALLENGE = "unknown-challenge"
    """The challenge was never issued, or is already used: it is valid for one response."""
    STALE_CHALLENGE = "stale-challenge"
    WRONG_ORIGIN = "wrong-origin"
    """The challenge was issued by another origin."""

    NOT_COVERED = "not-covered"
    """The signatures are valid, but a part of the document, which the detail names, is covered by none of them."""
    UNSUPPORTED = "unsupported"
    """The document has a form that is not judged."""
    NO_INFORMATION = "no-information"
    """No source said whether the certificate is revoked."""
    STALE_INFORMATION = "stale-information"
    """The source's information does not cover the instant of the verdict."""
    UNTRUSTED_INFORMATION = "untrusted-information"
    """The source's information is not from the authority, or not about this certificate."""
    UNKNOWN_CERTIFICATE = "unknown-certificate"
    """The authority's signature is valid, but the authority does not know the certificate."""


INDETERMINATE = frozenset(
    {
        Finding.NOT_COVERED, Finding.UNSUPPORTED, Finding.NO_INFORMATION, Finding.STALE_INFORMATION,
        Finding.UNTRUSTED_INFORMATION, Finding.UNKNOWN_CERTIFICATE,
    }
)  # fmt: skip


class VerificationFailed(Exception):
    """A check failed.

    `detail` describes the finding, and `rule` is the code of the profile rule that is broken, if there is one.
    `Verdict.from_failure` turns the exception into a verdict.
    """

    def __init__(self, finding: Finding, detail: str, *, rule: str = "") -> None:
        super().__init__(f"{finding.value}: {detail}")
        self.finding = finding
        self.detail = detail
        self.rule = rule

    @property
    def outcome(self) -> Outcome:
        """The outcome that the finding leads to: bad or indeterminate."""
        return Outcome.INDETERMINATE if self.finding in INDETERMINATE else Outcome.BAD
