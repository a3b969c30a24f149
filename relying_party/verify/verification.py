"""The verdict on a certificate: checks its profile, authority, validity period and revocation status."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from kazashi.jpki.profile import EMULATED, CertificateType, Profile
from kazashi.jpki.state import Reason
from kazashi.relying_party.verify.anchors import Anchor, Anchors, BadAnchor
from kazashi.relying_party.verify.certificate import HolderCertificate, read_certificate
from kazashi.relying_party.verify.finding import INDETERMINATE, Finding, Outcome, VerificationFailed
from kazashi.relying_party.verify.policy import DEFAULT_POLICY, VerificationPolicy
from kazashi.relying_party.verify.sources import RevocationStatus, Source
from kazashi.relying_party.verify.verdict import Verdict
from kazashi.world.clock import Clock


class Verifier:
    """Gives verdicts on certificates.

    `sources` are queried in order, and the first that has the status decides. An authority has one tier, so a path has
    two certificates. The authority's key is chosen by its identifier, never by the name, which all generations share.
    """

    def __init__(
        self, anchors: Anchors, sources: Sequence[Source], clock: Clock, profile: Profile = EMULATED,
        policy: VerificationPolicy = DEFAULT_POLICY,
    ) -> None:  # fmt: skip
        self.anchors = anchors
        self.clock = clock
        self.policy = policy
        self._sources = sources
        self._profile = profile

    def certificate(
        self, unverified_certificate: bytes, kind: CertificateType | None = None, at: datetime | None = None
    ) -> Verdict:
        """Return the verdict on a certificate (DER).

        Without `kind`, either certificate type is accepted; without `at`, the verdict is as of now. Never raises for
        an invalid certificate.
        """
        at = at or self.clock.now()
        try:
            certificate = self.read(unverified_certificate, kind)
        except VerificationFailed as failure:
            return Verdict.from_failure(failure, at)
        return self.verdict(certificate, at)

    def verdict(self, certificate: HolderCertificate, at: datetime, more: Sequence[Source] = ()) -> Verdict:
        """Return the verdict on a certificate that follows its profile. `more` are sources that are queried after the
        verifier's own."""
        try:
            verdict = self._verdict(certificate, self.issuer(certificate, at), at, [*self._sources, *more])
        except VerificationFailed as failure:
            verdict = Verdict.from_failure(failure, at, certificate)
        return replace(verdict, policy=self.policy)

    def read(self, unverified_certificate: bytes, kind: CertificateType | None = None) -> HolderCertificate:
        """Read a certificate that must follow its profile. Raises VerificationFailed."""
        certificate = read_certificate(unverified_certificate, self._profile)
        if kind is not None and certificate.kind is not kind:
            raise VerificationFailed(
                Finding.WRONG_KIND, f"the certificate is for {certificate.kind.code}, not for {kind.code}"
            )
        return certificate

    def issuer(self, certificate: HolderCertificate, at: datetime) -> Anchor:
        """Return the generation that signed a certificate, after checking that both were valid at the instant `at`.
        Raises VerificationFailed."""
        try:
            anchor = self.anchors.find(certificate.authority_key)
        except BadAnchor as error:
            raise VerificationFailed(
                Finding.WRONG_AUTHORITY, f"the trusted certificates cannot be read: {error}"
            ) from error
        if anchor is None:
            raise VerificationFailed(
                Finding.WRONG_AUTHORITY, "no trusted authority has the key that signed the certificate"
            )
        if certificate.fields.issuer != anchor.name or certificate.kind is not anchor.kind:
            raise VerificationFailed(Finding.WRONG_AUTHORITY, "the key belongs to another authority than the issuer")
        parsed = certificate.parsed
        if not anchor.signed(parsed.signature, certificate.fields.body, parsed.signature_algorithm_oid):
            raise VerificationFailed(
                Finding.BROKEN_CERTIFICATE, "the authority's signature over the certificate is not valid"
            )
        if certificate.authority_serial not in (None, anchor.serial):
            raise VerificationFailed(
                Finding.WRONG_AUTHORITY, "the authority's certificate with this key has another serial number"
            )
        if not anchor.not_before <= at <= anchor.not_after:
            raise VerificationFailed(
                Finding.WRONG_AUTHORITY, "the authority's own certificate is not valid at that time"
            )
        if at < certificate.not_before:
            raise VerificationFailed(Finding.NOT_YET_VALID, f"the certificate is valid from {certificate.not_before}")
        if at > certificate.not_after:
            raise VerificationFailed(Finding.EXPIRED, f"the certificate expired at {certificate.not_after}")
        return anchor

    def _verdict(
        self, certificate: HolderCertificate, anchor: Anchor, at: datetime, sources: Sequence[Source]
    ) -> Verdict:
        status = self._status(certificate, anchor, at, sources)
        good = Verdict(outcome=Outcome.GOOD, at=at, evidence=status.evidence, certificate=certificate)
        revocation = status.revocation
        if revocation is None:
            return good
        finding = Finding.HELD if revocation.reason is Reason.CERTIFICATE_HOLD else Finding.REVOKED
        state = "on hold" if finding is Finding.HELD else "revoked"
        since = replace(good, since=revocation.at, reason=revocation.reason)
        if revocation.at > at:
            return replace(since, detail=f"the certificate was {state} later, from {revocation.at}")
        detail = f"{state} since {revocation.at}: {revocation.reason.asn1_name}"
        return replace(since, outcome=Outcome.BAD, finding=finding, detail=detail)

    def _status(
        self, certificate: HolderCertificate, anchor: Anchor, at: datetime, sources: Sequence[Source]
    ) -> RevocationStatus:
        """Return the status from the first source that has it. Raises VerificationFailed with the most specific finding
        and the details of all sources."""
        failures: list[VerificationFailed] = []
        for source in sources:
            try:
                return source.status(certificate, anchor, at, self.clock.now(), self.policy)
            except VerificationFailed as failure:
                if failure.finding not in INDETERMINATE or failure.finding is Finding.UNKNOWN_CERTIFICATE:
                    raise  # a list that is silent says nothing about a certificate that its authority does not know
                failures.append(failure)
        if not failures:
            raise VerificationFailed(Finding.NO_INFORMATION, "no source of the revocation status is configured")
        specific = next((failure for failure in failures if failure.finding is not Finding.NO_INFORMATION), failures[0])
        raise VerificationFailed(specific.finding, "; ".join(failure.detail for failure in failures))
