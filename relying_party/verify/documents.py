"""Signed documents: CMS, PDF, XML, and a bare signature over a file.

The formats are read by pyHanko and signxml. What is ours is what JPKI asks of them: one signer whose certificate is a
signature certificate with a good verdict, algorithms that cards have, and a signature that covers all that is shown.
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

logging.getLogger("pyhanko").addHandler(logging.NullHandler())  # what it has to say is in the verdict

_DIGESTS = {"sha256", "sha384", "sha512"}
_SIGNATURES = {"rsassa_pkcs1v15", "sha256_rsa", "sha384_rsa", "sha512_rsa", "sha384_ecdsa"}

_CHANGES = {
    ModificationLevel.FORM_FILLING: "form_filling",
    ModificationLevel.ANNOTATIONS: "annotations",
    ModificationLevel.OTHER: "other",
}
"""What may have been done to a PDF after its last signature, beyond what a signature's own upkeep needs."""

_T = TypeVar("_T")
Checked = tuple[HolderCertificate, tuple[str, ...]]
"""Who signed, and what the signature covers, in words."""


class Documents:
    """Verdicts on signed documents, as of now or of a stated instant.

    An instant is the caller's word: the date that a signer writes into a document is not evidence. To say that a
    document was signed before its certificate was revoked takes a witness.
    """

    def __init__(self, verifier: Verifier) -> None:
        self._verifier = verifier

    def raw(self, data: bytes, signature: bytes, unverified_certificate: bytes, at: datetime | None = None) -> Verdict:
        """A bare signature (PKCS #1 v1.5 with SHA-256, or ECDSA with SHA-384) over a file."""

        def check(_: datetime) -> Checked:
            found = self._verifier.read(unverified_certificate, CertificateType.SIGNATURE)
            check_signature(found.key, signature, data)
            return found, ("the whole file",)

        return self._verdict(len(data), at, check)

    def cms(self, unverified: bytes, content: bytes | None = None, at: datetime | None = None) -> Verdict:
        """A CMS SignedData (DER or PEM) that has its content in it, or is detached from `content`."""
        return self._verdict(
            len(unverified) + len(content or b""), at, lambda when: self._cms(unverified, content, when)
        )

    def pdf(self, unverified: bytes, at: datetime | None = None) -> Verdict:
        """A PDF with one or more signatures: all must be good, and nothing may be shown that is not signed."""

        def check(when: datetime) -> Checked:
            reader = PdfFileReader(BytesIO(unverified))
            signatures = reader.embedded_signatures
            if not signatures:
                raise VerificationFailed(Finding.NOT_SIGNED, "the file has no signature")
            checked = [self._pdf_signature(found, when, last=found is signatures[-1]) for found in signatures]
            for holder in checked[:-1]:
                verdict = self._verifier.verdict(holder, when)
                if verdict.outcome is not Outcome.GOOD:
                    raise VerificationFailed(
                        verdict.finding or Finding.MALFORMED, f"an earlier signature: {verdict.detail}"
                    )
            return checked[-1], ("the whole file",)

        return self._verdict(len(unverified), at, check)

    def xml(self, unverified: bytes, at: datetime | None = None) -> Verdict:
        """An XML document with one XML Signature or XAdES signature, which covers the document."""

        def check(_: datetime) -> Checked:
            signed = read_signed_xml(unverified)
            found = self._verifier.read(signed.unverified_certificate, CertificateType.SIGNATURE)
            return found, signed.verify(found)

        return self._verdict(len(unverified), at, check)

    def any(self, unverified: bytes, content: bytes | None = None, at: datetime | None = None) -> Verdict:
        """A document whose format is seen from how it begins."""
        begins = unverified[:1024].removeprefix(b"\xef\xbb\xbf").lstrip()
        if b"%PDF-" in unverified[:1024]:
            return self.pdf(unverified, at)
        if begins.startswith(b"<"):
            return self.xml(unverified, at)
        return self.cms(unverified, content, at)

    def _verdict(self, size: int, at: datetime | None, check: Callable[[datetime], Checked]) -> Verdict:
        when = at or self._verifier.clock.now()
        try:
            if size > MAX_DOCUMENT:
                raise VerificationFailed(Finding.MALFORMED, f"a document has at most {MAX_DOCUMENT} bytes")
            found, signed = check(when)
        except VerificationFailed as refuted:
            return Verdict.refuted(refuted, when)
        except DisallowedAlgorithmError as error:
            return Verdict.refuted(VerificationFailed(Finding.WRONG_ALGORITHM, str(error)), when)
        except SignatureValidationError as error:
            return Verdict.refuted(VerificationFailed(Finding.MALFORMED, str(error)), when)
        except Exception as error:  # what a hostile file makes a reader of files stumble over has no common name
            words = f"it cannot be read: {error!r}"
            return Verdict.refuted(VerificationFailed(Finding.MALFORMED, words), when)
        return replace(self._verifier.verdict(found, when), signed=signed)

    def _cms(self, unverified: bytes, content: bytes | None, when: datetime) -> Checked:
        data = pem.unarmor(unverified)[2] if pem.detect(unverified) else unverified
        info = cms.ContentInfo.load(data, strict=True)
        if info["content_type"].native != "signed_data":
            raise VerificationFailed(Finding.NOT_SIGNED, f"it is {info['content_type'].native}, and not signed data")
        signed = info["content"]
        inside = signed["encap_content_info"]["content"].native
        if inside is not None and content is not None and inside != content:
            raise VerificationFailed(Finding.TAMPERED, "it was signed with another content in it than the one given")
        if inside is None and content is None:
            raise VerificationFailed(
                Finding.MALFORMED, "the signature is detached: the file that it is over is needed too"
            )
        found = self._signer(signed)
        if inside is None:
            assert content is not None
            status: SignatureStatus = _run(async_validate_detached_cms(content, signed, self._trust(when)))
        else:
            status = _run(async_validate_cms_signature(signed, validation_context=self._trust(when)))
        _check_status(status, found)
        return found, ("the whole content",)

    def _signer(self, signed: Any) -> HolderCertificate:
        """The one signer's certificate, where it is signed as a card signs."""
        if len(signed["signer_infos"]) != 1:
            raise VerificationFailed(
                Finding.NOT_SIGNED, f"there are {len(signed['signer_infos'])} signers, where one is wanted"
            )
        signer = signed["signer_infos"][0]
        if not signer["signed_attrs"].native:
            # Without them a signature over attributes could be passed off as one over a file that reads like them.
            raise VerificationFailed(Finding.MALFORMED, "the signature has no signed attributes")
        digest, algorithm = signer["digest_algorithm"]["algorithm"].native, signer["signature_algorithm"]
        if digest not in _DIGESTS or algorithm["algorithm"].native not in _SIGNATURES:
            raise VerificationFailed(
                Finding.WRONG_ALGORITHM, f"signed with {algorithm['algorithm'].native} over {digest}, as no card does"
            )
        wanted = signer["sid"]
        if wanted.name != "issuer_and_serial_number":
            raise VerificationFailed(Finding.MALFORMED, "the signer is not named by issuer and serial number")
        named = [
            choice.chosen for choice in signed["certificates"]
            if isinstance(choice.chosen, asn1_x509.Certificate)
            and choice.chosen.issuer == wanted.chosen["issuer"]
            and choice.chosen.serial_number == wanted.chosen["serial_number"].native
        ]  # fmt: skip
        if len(named) != 1:  # of two, one would be looked at here, and the signature checked with the other's key
            raise VerificationFailed(Finding.MALFORMED, f"{len(named)} certificates in it are said to be the signer's")
        return self._verifier.read(named[0].dump(), CertificateType.SIGNATURE)

    def _trust(self, when: datetime) -> ValidationContext:
        """The signature authority's generations, for the library's own look at the path. Revocation is ours to tell."""
        roots = [asn1_x509.Certificate.load(found.certificate.public_bytes(Encoding.DER))
                 for found in self._verifier.anchors.of_kind(CertificateType.SIGNATURE)]  # fmt: skip
        return ValidationContext(trust_roots=roots, allow_fetching=False, moment=when, revocation_mode="soft-fail")

    def _pdf_signature(self, found: Any, when: datetime, *, last: bool) -> HolderCertificate:
        holder = self._signer(found.signed_data)
        status = _run(async_validate_pdf_signature(found, signer_validation_context=self._trust(when)))
        _check_status(status, holder)
        if last and status.coverage is not SignatureCoverageLevel.ENTIRE_FILE:
            level = status.modification_level
            if status.coverage is not SignatureCoverageLevel.ENTIRE_REVISION or level is None:
                raise VerificationFailed(Finding.TAMPERED, "the signature does not cover all of the file")
            if level > ModificationLevel.LTA_UPDATES:
                raise VerificationFailed(
                    Finding.TAMPERED, f"the file was changed after it was signed: {_CHANGES[level]}"
                )
        if not last and not status.docmdp_ok:
            raise VerificationFailed(
                Finding.TAMPERED, "what was added after a signature is more than that signature allows"
            )
        return holder


def _check_status(status: SignatureStatus, holder: HolderCertificate) -> None:
    """The library's word on a signature, which must be with the key of the very certificate that we judge."""
    if not status.intact:
        raise VerificationFailed(Finding.TAMPERED, "the content is not what was signed")
    if not status.valid or status.signing_cert.dump() != holder.der:
        raise VerificationFailed(Finding.WRONG_SIGNATURE, "the signature is not by the certificate's key")


def _run(coroutine: Coroutine[Any, Any, _T]) -> _T:
    """The answer of a coroutine, also where the caller's own thread runs a loop already."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(coroutine)
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, coroutine).result()
