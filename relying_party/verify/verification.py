"""A certificate's verdict: its profile, its authority, its time, and whether it is revoked."""

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

    `sources` are asked in their order, and the first that knows decides. An authority has one tier: a path has two
    certificates, and its authority's key is chosen by its identifier, never by name, which all generations share.
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
        """The verdict on a certificate (DER) as of an instant (now), of a kind (either). Never raises for what the
        certificate is."""
        at = at or self.clock.now()
        try:
            found = self.read(unverified_certificate, kind)
        except VerificationFailed as refuted:
            return Verdict.refuted(refuted, at)
        return self.verdict(found, at)

    def verdict(self, found: HolderCertificate, at: datetime) -> Verdict:
        """The verdict on a certificate that keeps its profile."""
        try:
            return self._verdict(found, self.issuer(found, at), at)
        except VerificationFailed as refuted:
            return Verdict.refuted(refuted, at, found)

    def read(self, unverified_certificate: bytes, kind: CertificateType | None = None) -> HolderCertificate:
        """A certificate that keeps its profile. Raises VerificationFailed."""
        found = read_certificate(unverified_certificate, self._profile)
        if kind is not None and found.kind is not kind:
            raise VerificationFailed(
                Finding.WRONG_KIND, f"this is a {found.kind.code} certificate, and not one for {kind.code}"
            )
        return found

    def issuer(self, found: HolderCertificate, at: datetime) -> Anchor:
        """The generation that has signed a certificate, which was in its time. Raises VerificationFailed."""
        try:
            anchor = self.anchors.find(found.authority_key)
        except BadAnchor as error:
            raise VerificationFailed(
                Finding.WRONG_AUTHORITY, f"the trusted certificates cannot be read: {error}"
            ) from error
        if anchor is None:
            raise VerificationFailed(
                Finding.WRONG_AUTHORITY, "no authority that is trusted has the key that it was signed with"
            )
        if found.parsed.issuer.public_bytes() != anchor.name or found.kind is not anchor.kind:
            raise VerificationFailed(
                Finding.WRONG_AUTHORITY, "the key is not of the authority that it is said to be by"
            )
        parsed = found.parsed
        if not anchor.signed(parsed.signature, parsed.tbs_certificate_bytes, parsed.signature_algorithm_oid):
            raise VerificationFailed(
                Finding.BROKEN_CERTIFICATE, "the authority's signature over the certificate does not hold"
            )
        if not anchor.not_before <= at <= anchor.not_after:
            raise VerificationFailed(
                Finding.WRONG_AUTHORITY, "the authority's own certificate is not valid at that time"
            )
        if at < found.not_before:
            raise VerificationFailed(Finding.NOT_YET_VALID, f"it is valid from {found.not_before}")
        if at > found.not_after:
            raise VerificationFailed(Finding.EXPIRED, f"it ended at {found.not_after}")
        return anchor

    def _verdict(self, found: HolderCertificate, anchor: Anchor, at: datetime) -> Verdict:
        word = self._word(found, anchor, at)
        good = Verdict(outcome=Outcome.GOOD, at=at, evidence=word.evidence, certificate=found)
        revocation = word.revocation
        if revocation is None:
            return good
        finding = Finding.HELD if revocation.reason is Reason.CERTIFICATE_HOLD else Finding.REVOKED
        since = replace(good, since=revocation.at, reason=revocation.reason)
        if revocation.at > at:
            return replace(since, detail=f"it was {finding.value} later, at {revocation.at}")
        detail = f"{finding.value} since {revocation.at}: {revocation.reason.asn1_name}"
        return replace(since, outcome=Outcome.BAD, finding=finding, detail=detail)

    def _word(self, found: HolderCertificate, anchor: Anchor, at: datetime) -> RevocationStatus:
        """What the first source says that knows. Raises VerificationFailed, with what the most telling one has to
        say."""
        failures: list[VerificationFailed] = []
        for source in self._sources:
            try:
                return source.status(found, anchor, at, self.clock.now(), self.policy)
            except VerificationFailed as refuted:
                if refuted.finding not in INDETERMINATE:
                    raise
                failures.append(refuted)
        if not failures:
            raise VerificationFailed(Finding.NO_INFORMATION, "no source was given that could say whether it is revoked")
        telling = next((one for one in failures if one.finding is not Finding.NO_INFORMATION), failures[0])
        raise VerificationFailed(telling.finding, "; ".join(one.detail for one in failures))
