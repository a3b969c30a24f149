"""Verdicts on signed documents: CMS, PDF, XML, and a bare signature over a file.

Each format has a module that verifies the signatures and says what they cover. This module adds what JPKI requires of
every signer's certificate, and evidence of time. A document is good only as a whole.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import Path

from kazashi.jpki.profile import CertificateType
from kazashi.relying_party.verify.authentication import CHALLENGE_CONTEXT, check_signature
from kazashi.relying_party.verify.cms_signature import check_is_file, read_cms
from kazashi.relying_party.verify.document_format import JUDGED, DocumentFormat, document_format
from kazashi.relying_party.verify.enclosed import Enclosed
from kazashi.relying_party.verify.finding import Finding, Outcome, VerificationFailed
from kazashi.relying_party.verify.pdf_signature import read_pdf
from kazashi.relying_party.verify.signed_document import WHOLE_FILE, SignedDocument, Signer
from kazashi.relying_party.verify.time_stamp import TimeStampAuthorities
from kazashi.relying_party.verify.verdict import Verdict
from kazashi.relying_party.verify.verification import Verifier
from kazashi.relying_party.verify.xml_signature import read_xml

MAX_DOCUMENT = 64 << 20
"""Bytes."""


class Documents:
    """Verdicts on signed documents, as of now or of a given instant.

    The date that a signer writes into a document is not evidence. It takes a witness to prove that a document was
    signed before its certificate was revoked: the caller, who vouches for the given instant, or a time-stamp of an
    authority whose certificate is in the directory `time_stamp_roots`.
    """

    def __init__(self, verifier: Verifier, time_stamp_roots: Path | None = None) -> None:
        """Raises BadAnchor if the directory has no certificate, or a file that is not a certificate."""
        self._verifier = verifier
        self._time_stamps = TimeStampAuthorities(time_stamp_roots)
        self._read = partial(verifier.read, kind=CertificateType.SIGNATURE)

    def raw(self, data: bytes, signature: bytes, unverified_certificate: bytes, at: datetime | None = None) -> Verdict:
        """Verify a bare signature (PKCS #1 v1.5 with SHA-256, or ECDSA with SHA-384) over a file."""

        def read() -> SignedDocument:
            certificate = self._read(unverified_certificate)
            check_signature(certificate.key, signature, data)
            check_is_file(data)
            if data[4:].startswith(CHALLENGE_CONTEXT):
                raise VerificationFailed(Finding.MALFORMED, "what was signed is a response to a challenge")
            return SignedDocument(signers=[Signer(certificate=certificate)], signed=(WHOLE_FILE,))

        return self._verdict(len(data), at, read)

    def cms(self, unverified: bytes, content: bytes | None = None, at: datetime | None = None) -> Verdict:
        """Verify a CMS SignedData (DER, BER or PEM) that contains its content, or a detached one over `content`. All
        signers must be good."""
        size = len(unverified) + len(content or b"")
        return self._verdict(size, at, lambda: read_cms(unverified, content, self._read))

    def pdf(self, unverified: bytes, at: datetime | None = None) -> Verdict:
        """Verify a PDF with one or more signatures. All must be good, and everything that is shown must be signed."""
        return self._verdict(len(unverified), at, lambda: read_pdf(unverified, self._read))

    def xml(self, unverified: bytes, at: datetime | None = None) -> Verdict:
        """Verify an XML document with one XML Signature or XAdES signature, which must cover the document."""
        return self._verdict(len(unverified), at, lambda: read_xml(unverified, self._read))

    def any(self, unverified: bytes, content: bytes | None = None, at: datetime | None = None) -> Verdict:
        """Verify a document whose format is detected from its first bytes."""
        match document_format(unverified):
            case DocumentFormat.PDF:
                return self.pdf(unverified, at)
            case DocumentFormat.XML:
                return self.xml(unverified, at)
            case DocumentFormat.CMS:
                return self.cms(unverified, content, at)
            case other:
                return self._verdict(len(unverified), at, partial(_unsupported, other))

    def _verdict(self, size: int, at: datetime | None, read: Callable[[], SignedDocument]) -> Verdict:
        now = at or self._verifier.clock.now()
        try:
            if size > MAX_DOCUMENT:
                raise VerificationFailed(Finding.MALFORMED, f"a document may have at most {MAX_DOCUMENT} bytes")
            document = read()
        except VerificationFailed as failure:
            return Verdict.from_failure(failure, now)
        except RecursionError:
            detail = "the document is nested too deeply"
            return Verdict.from_failure(VerificationFailed(Finding.MALFORMED, detail), now)
        except Exception as error:  # the parsers may raise anything for a hostile file
            detail = f"the document cannot be read: {str(error) or 'the parser gave up'}"
            return Verdict.from_failure(VerificationFailed(Finding.MALFORMED, detail), now)
        verdicts = [self._signer_verdict(signer, document, now, vouched=at is not None) for signer in document.signers]
        verdict = min(reversed(verdicts), key=lambda one: _WEIGHTS[one.outcome])
        if verdict.outcome is Outcome.GOOD and document.not_covered:
            verdict = replace(
                verdict, outcome=Outcome.INDETERMINATE, finding=Finding.NOT_COVERED,
                detail=f"the signature does not cover {document.not_covered}",
            )  # fmt: skip
        return replace(
            verdict, signed=document.signed, notes=(*document.notes, *verdict.notes),
            signers=tuple(signer.certificate for signer in document.signers),
        )  # fmt: skip

    def _signer_verdict(self, signer: Signer, document: SignedDocument, now: datetime, *, vouched: bool) -> Verdict:
        stamps = () if vouched else signer.stamps
        proven, notes = self._time_stamps.earliest(stamps, now, self._verifier.policy.clock_tolerance)
        at = now if proven is None else min(proven.instant, now)
        enclosed = [Enclosed(document.lists, document.responses)] if document.lists or document.responses else []
        verdict = self._verifier.verdict(signer.certificate, at, enclosed)
        return replace(verdict, proven=proven, notes=notes)


def _unsupported(found: DocumentFormat) -> SignedDocument:
    if found is DocumentFormat.EMPTY:
        raise VerificationFailed(Finding.NOT_SIGNED, "the file is empty")
    what = "the file's format is not known" if found is DocumentFormat.UNKNOWN else f"the file is {found}"
    raise VerificationFailed(Finding.UNSUPPORTED, f"{what}; the formats that are judged are {', '.join(JUDGED)}")


_WEIGHTS = {Outcome.BAD: 0, Outcome.INDETERMINATE: 1, Outcome.GOOD: 2}
