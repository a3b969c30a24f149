"""Signed documents: CMS, PDF, XML, and a bare signature over a file.

pyHanko and signxml parse the formats. This module adds the requirements of JPKI: one signer, whose certificate is a
signature certificate with a good verdict; algorithms that cards use; and a signature that covers the whole document.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime
from io import BytesIO
from typing import Any, TypeVar

from asn1crypto import cms, pem
from asn1crypto import x509 as asn1_x509
from cryptography.hazmat.primitives.serialization import Encoding
from pyhanko.pdf_utils.reader import PdfFileReader
from pyhanko.sign.diff_analysis import ModificationLevel
from pyhanko.sign.validation import (
    async_validate_cms_signature,
    async_validate_detached_cms,
    async_validate_pdf_signature,
)
from pyhanko.sign.validation.errors import DisallowedAlgorithmError, SignatureValidationError
from pyhanko.sign.validation.status import SignatureCoverageLevel, SignatureStatus
from pyhanko_certvalidator import ValidationContext

from kazashi.jpki.profile import CertificateType
from kazashi.relying_party.verify.authentication import check_signature
from kazashi.relying_party.verify.certificate import HolderCertificate
from kazashi.relying_party.verify.finding import Finding, Outcome, VerificationFailed
from kazashi.relying_party.verify.verdict import Verdict
from kazashi.relying_party.verify.verification import Verifier
from kazashi.relying_party.verify.xml_signature import read_signed_xml

MAX_DOCUMENT = 64 << 20
"""Bytes."""

logging.getLogger("pyhanko").addHandler(logging.NullHandler())  # the verdict has its messages

_DIGESTS = {"sha256", "sha384", "sha512"}
_SIGNATURES = {"rsassa_pkcs1v15", "sha256_rsa", "sha384_rsa", "sha512_rsa", "sha384_ecdsa"}

_CHANGES = {
    ModificationLevel.FORM_FILLING: "form_filling",
    ModificationLevel.ANNOTATIONS: "annotations",
    ModificationLevel.OTHER: "other",
}
"""Changes to a PDF after its last signature that go beyond what maintaining the signature needs."""

_T = TypeVar("_T")
Checked = tuple[HolderCertificate, tuple[str, ...]]
"""The signer's certificate, and descriptions of what the signature covers."""


class Documents:
    """Verdicts on signed documents, as of now or of a given instant.

    The caller vouches for the instant: the date that a signer writes into a document is not evidence. It takes a
    witness to prove that a document was signed before its certificate was revoked.
    """

    def __init__(self, verifier: Verifier) -> None:
        self._verifier = verifier

    def raw(self, data: bytes, signature: bytes, unverified_certificate: bytes, at: datetime | None = None) -> Verdict:
        """Verify a bare signature (PKCS #1 v1.5 with SHA-256, or ECDSA with SHA-384) over a file."""

        def check(_: datetime) -> Checked:
            certificate = self._verifier.read(unverified_certificate, CertificateType.SIGNATURE)
            check_signature(certificate.key, signature, data)
            return certificate, ("the whole file",)

        return self._verdict(len(data), at, check)

    def cms(self, unverified: bytes, content: bytes | None = None, at: datetime | None = None) -> Verdict:
        """Verify a CMS SignedData (DER or PEM) that contains its content, or a detached one over `content`."""
        return self._verdict(
            len(unverified) + len(content or b""), at, lambda when: self._cms(unverified, content, when)
        )

    def pdf(self, unverified: bytes, at: datetime | None = None) -> Verdict:
        """Verify a PDF with one or more signatures. All must be good, and everything that is shown must be signed."""

        def check(when: datetime) -> Checked:
            reader = PdfFileReader(BytesIO(unverified))
            signatures = reader.embedded_signatures
            if not signatures:
                raise VerificationFailed(Finding.NOT_SIGNED, "the file has no signature")
            signers = [
                self._pdf_signature(signature, when, last=signature is signatures[-1]) for signature in signatures
            ]
            for holder in signers[:-1]:
                verdict = self._verifier.verdict(holder, when)
                if verdict.outcome is not Outcome.GOOD:
                    raise VerificationFailed(
                        verdict.finding or Finding.MALFORMED, f"an earlier signature is not good: {verdict.detail}"
                    )
            return signers[-1], ("the whole file",)

        return self._verdict(len(unverified), at, check)

    def xml(self, unverified: bytes, at: datetime | None = None) -> Verdict:
        """Verify an XML document with one XML Signature or XAdES signature, which must cover the document."""

        def check(_: datetime) -> Checked:
            signed = read_signed_xml(unverified)
            certificate = self._verifier.read(signed.unverified_certificate, CertificateType.SIGNATURE)
            return certificate, signed.verify(certificate)

        return self._verdict(len(unverified), at, check)

    def any(self, unverified: bytes, content: bytes | None = None, at: datetime | None = None) -> Verdict:
        """Verify a document whose format is detected from its first bytes."""
        beginning = unverified[:1024].removeprefix(b"\xef\xbb\xbf").lstrip()
        if b"%PDF-" in unverified[:1024]:
            return self.pdf(unverified, at)
        if beginning.startswith(b"<"):
            return self.xml(unverified, at)
        return self.cms(unverified, content, at)

    def _verdict(self, size: int, at: datetime | None, check: Callable[[datetime], Checked]) -> Verdict:
        when = at or self._verifier.clock.now()
        try:
            if size > MAX_DOCUMENT:
                raise VerificationFailed(Finding.MALFORMED, f"a document may have at most {MAX_DOCUMENT} bytes")
            certificate, signed = check(when)
        except VerificationFailed as failure:
            return Verdict.from_failure(failure, when)
        except DisallowedAlgorithmError as error:
            return Verdict.from_failure(VerificationFailed(Finding.WRONG_ALGORITHM, str(error)), when)
        except SignatureValidationError as error:
            return Verdict.from_failure(VerificationFailed(Finding.MALFORMED, str(error)), when)
        except Exception as error:  # the parsers may raise anything for a hostile file
            detail = f"the document cannot be read: {error!r}"
            return Verdict.from_failure(VerificationFailed(Finding.MALFORMED, detail), when)
        return replace(self._verifier.verdict(certificate, when), signed=signed)

    def _cms(self, unverified: bytes, content: bytes | None, when: datetime) -> Checked:
        data = pem.unarmor(unverified)[2] if pem.detect(unverified) else unverified
        info = cms.ContentInfo.load(data, strict=True)
        if info["content_type"].native != "signed_data":
            raise VerificationFailed(
                Finding.NOT_SIGNED, f"the CMS content type is {info['content_type'].native}, not signed_data"
            )
        signed = info["content"]
        inside = signed["encap_content_info"]["content"].native
        if inside is not None and content is not None and inside != content:
            raise VerificationFailed(Finding.TAMPERED, "the signed content differs from the given file")
        if inside is None and content is None:
            raise VerificationFailed(Finding.MALFORMED, "the signature is detached: give the signed file too")
        certificate = self._signer(signed)
        if inside is None:
            assert content is not None
            status: SignatureStatus = _run(async_validate_detached_cms(content, signed, self._trust(when)))
        else:
            status = _run(async_validate_cms_signature(signed, validation_context=self._trust(when)))
        _check_status(status, certificate)
        return certificate, ("the whole content",)

    def _signer(self, signed: Any) -> HolderCertificate:
        """Return the certificate of the only signer, after checking that the signature is one that cards make. Raises
        VerificationFailed."""
        if len(signed["signer_infos"]) != 1:
            raise VerificationFailed(Finding.NOT_SIGNED, f"there are {len(signed['signer_infos'])} signers, not one")
        signer = signed["signer_infos"][0]
        if not signer["signed_attrs"].native:
            # Without them a signature over attributes could be presented as one over a file with the same bytes.
            raise VerificationFailed(Finding.MALFORMED, "the signature has no signed attributes")
        digest, algorithm = signer["digest_algorithm"]["algorithm"].native, signer["signature_algorithm"]
        if digest not in _DIGESTS or algorithm["algorithm"].native not in _SIGNATURES:
            raise VerificationFailed(
                Finding.WRONG_ALGORITHM, f"cards do not sign with {algorithm['algorithm'].native} over {digest}"
            )
        signer_id = signer["sid"]
        if signer_id.name != "issuer_and_serial_number":
            raise VerificationFailed(Finding.MALFORMED, "the signer is not identified by issuer and serial number")
        candidates = [
            choice.chosen for choice in signed["certificates"]
            if isinstance(choice.chosen, asn1_x509.Certificate)
            and choice.chosen.issuer == signer_id.chosen["issuer"]
            and choice.chosen.serial_number == signer_id.chosen["serial_number"].native
        ]  # fmt: skip
        if len(candidates) != 1:  # with two, one would be verified here, and the signature with the key of the other
            raise VerificationFailed(
                Finding.MALFORMED, f"{len(candidates)} certificates match the signer's issuer and serial number"
            )
        return self._verifier.read(candidates[0].dump(), CertificateType.SIGNATURE)

    def _trust(self, when: datetime) -> ValidationContext:
        """Return the signature authority's generations for pyHanko's path validation, without revocation checks, which
        are the verifier's."""
        roots = [asn1_x509.Certificate.load(anchor.certificate.public_bytes(Encoding.DER))
                 for anchor in self._verifier.anchors.of_kind(CertificateType.SIGNATURE)]  # fmt: skip
        return ValidationContext(trust_roots=roots, allow_fetching=False, moment=when, revocation_mode="soft-fail")

    def _pdf_signature(self, signature: Any, when: datetime, *, last: bool) -> HolderCertificate:
        holder = self._signer(signature.signed_data)
        status = _run(async_validate_pdf_signature(signature, signer_validation_context=self._trust(when)))
        _check_status(status, holder)
        if last and status.coverage is not SignatureCoverageLevel.ENTIRE_FILE:
            level = status.modification_level
            if status.coverage is not SignatureCoverageLevel.ENTIRE_REVISION or level is None:
                raise VerificationFailed(Finding.TAMPERED, "the signature does not cover the whole file")
            if level > ModificationLevel.LTA_UPDATES:
                raise VerificationFailed(
                    Finding.TAMPERED, f"the file was changed after it was signed: {_CHANGES[level]}"
                )
        if not last and not status.docmdp_ok:
            raise VerificationFailed(
                Finding.TAMPERED, "the file was changed after an earlier signature in a way that it does not allow"
            )
        return holder


def _check_status(status: SignatureStatus, holder: HolderCertificate) -> None:
    """Check pyHanko's result for a signature, which must be made with the key of the certificate we verify."""
    if not status.intact:
        raise VerificationFailed(Finding.TAMPERED, "the content was changed after it was signed")
    if not status.valid or status.signing_cert.dump() != holder.der:
        raise VerificationFailed(Finding.WRONG_SIGNATURE, "the signature was not made with the certificate's key")


def _run(coroutine: Coroutine[Any, Any, _T]) -> _T:
    """Return the result of a coroutine, even if the calling thread is already running an event loop."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(coroutine)
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, coroutine).result()
