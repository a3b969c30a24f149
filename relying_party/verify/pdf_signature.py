"""Signed PDFs: holders' signatures, document time-stamps, and what they cover.

pyHanko reads the file, its revisions and the differences between them. A file is covered if the last holder's signature
covers it to its end, or if only updates with validation material follow: certificates, revocation lists, OCSP responses
and time-stamps, which long-term archives add (ETSI EN 319 142-1, 5.4 and 5.5).
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial
from io import BytesIO
from typing import Any

from asn1crypto.cms import ContentInfo
from asn1crypto.crl import CertificateList
from asn1crypto.ocsp import OCSPResponse
from asn1crypto.parser import peek
from asn1crypto.x509 import Certificate
from pyhanko.pdf_utils.misc import PdfStrictReadError
from pyhanko.sign.validation.status import SignatureCoverageLevel

from kazashi.relying_party.verify.cms_signature import (
    ReadCertificate,
    certificate_of,
    check_integrity,
    check_structure,
    read_signer,
    unsigned_attribute,
)
from kazashi.relying_party.verify.finding import Finding, VerificationFailed
from kazashi.relying_party.verify.pdf_changes import POLICY, RevisedPdf, beyond_validation_material
from kazashi.relying_party.verify.pdf_revisions import beyond_revisions
from kazashi.relying_party.verify.signed_document import DIGESTS, WHOLE_FILE, SignedDocument, Signer, digest_of
from kazashi.relying_party.verify.time_stamp import Stamp

logging.getLogger("pyhanko").addHandler(logging.NullHandler())  # the verdict has its messages

MAX_SIGNATURES, MAX_REVISIONS = 64, 300
"""In one file: pyHanko compares each revision for each signature."""

_DETACHED = ("/adbe.pkcs7.detached", "/ETSI.CAdES.detached")


def read_pdf(unverified: bytes, read: ReadCertificate) -> SignedDocument:
    """Verify the signatures of a PDF. Raises VerificationFailed, or what pyHanko raises for a file that it cannot
    read."""
    reader, notes = _opened(unverified)
    if reader.encrypted:
        raise VerificationFailed(Finding.UNSUPPORTED, "the PDF is encrypted")
    everything = reader.embedded_signatures
    stamps = [one for one in everything if one.sig_object_type == "/DocTimeStamp"]
    signatures = [one for one in everything if one.sig_object_type != "/DocTimeStamp"]
    if not signatures:
        raise VerificationFailed(
            Finding.NOT_SIGNED, "the file has a time-stamp, but no signature" if stamps else "the file has no signature"
        )
    if len(everything) > MAX_SIGNATURES or reader.xrefs.total_revisions > MAX_REVISIONS:
        raise VerificationFailed(
            Finding.UNSUPPORTED, f"a PDF with more than {MAX_SIGNATURES} signatures or {MAX_REVISIONS} revisions"
        )
    signers = [_signer(one, stamps, read) for one in signatures]
    for stamp in stamps:
        _check_stamp(stamp)
    not_covered = ""
    for one in everything:  # after the digests, because comparing revisions takes long
        one.compute_integrity_info(POLICY, skip_diff=one in stamps)
        not_covered = not_covered or _outside_the_range(one, unverified) or unsigned_attribute(one.signed_data)
    for one in signatures[:-1]:
        if not one.summarise_integrity_info()["docmdp_ok"]:
            not_covered = not_covered or "changes after an earlier signature that it does not allow"
        elif filled := sorted(one.diff_result.changed_form_fields - {other.fq_name for other in everything}):
            notes += (f"after the signature {one.fq_name} these fields were filled in: {', '.join(filled)}",)
    if reader.xrefs.hybrid_xrefs_present and signatures[-1].coverage is not SignatureCoverageLevel.ENTIRE_FILE:
        raise VerificationFailed(Finding.UNSUPPORTED, "updates after the signature of a hybrid-reference file")
    not_covered = not_covered or _after_the_last(signatures[-1], stamps, unverified, reader)
    lists, responses, foreign = _validation_material(reader)
    not_covered = not_covered or foreign
    return SignedDocument(
        signers=signers, signed=(WHOLE_FILE,), not_covered=not_covered, notes=notes, lists=lists, responses=responses
    )  # fmt: skip


def _opened(unverified: bytes) -> tuple[RevisedPdf, tuple[str, ...]]:
    """Open a file, and return a note if its cross-reference sections contradict each other as those of some honest
    writers do. In all else the file must be as the standard has it: what is read leniently has no bounds."""
    try:
        return RevisedPdf(BytesIO(unverified)), ()
    except PdfStrictReadError as error:
        reason = str(error).rstrip(".")
    if not any(words in reason for words in _HONEST):
        raise VerificationFailed(Finding.UNSUPPORTED, f"a PDF with an irregular structure: {reason}")
    return RevisedPdf(BytesIO(unverified), strict=False), (f"the file's structure is irregular: {reason}",)


_HONEST = ("must not be clobbered", "has an orphaned generation")
"""What pyHanko says of files by PDFBox and poppler, after it has read every section strictly."""


def _signer(signature: Any, stamps: Sequence[Any], read: ReadCertificate) -> Signer:
    """Return who made a signature, after verifying it over its byte range. Raises VerificationFailed."""
    subfilter = signature.sig_object.get("/SubFilter")
    inside = signature.signed_data["encap_content_info"]
    if subfilter not in _DETACHED or inside["content"].native is not None or inside["content_type"].native != "data":
        raise VerificationFailed(Finding.UNSUPPORTED, f"a PDF signature of the form {subfilter}")
    check_structure(ContentInfo.load(signature.pkcs7_content))
    digest = signature.compute_digest() if signature.md_algorithm in DIGESTS else b""
    signer = read_signer(signature.signed_data, signature.signer_info, digest, read)
    later = [Stamp(stamp.signed_data, partial(_range_digest, stamp), covers_others=True) for stamp in stamps
             if stamp.signed_revision > signature.signed_revision]  # fmt: skip
    return Signer(certificate=signer.certificate, stamps=(*signer.stamps, *later))


def _range_digest(signature: Any, name: str) -> bytes:
    """The digest of a signature's byte range. Raises VerificationFailed for an algorithm that is too weak."""
    if name not in DIGESTS:
        raise VerificationFailed(Finding.WRONG_ALGORITHM, f"digests with {name} are not accepted")
    return bytes(signature.compute_digest(name))


def _check_stamp(stamp: Any) -> None:
    """Check that a document time-stamp is about the bytes before it, and is as its authority signed it. Whether that
    authority is trusted is another question. Raises VerificationFailed."""
    signed, info = stamp.signed_data, stamp.signer_info
    inside = signed["encap_content_info"]["content"]
    imprint, name = inside.parsed["message_imprint"], info["digest_algorithm"]["algorithm"].native
    algorithm = imprint["hash_algorithm"]["algorithm"].native
    if algorithm not in DIGESTS or name not in DIGESTS:
        raise VerificationFailed(Finding.WRONG_ALGORITHM, f"the document time-stamp is over {algorithm} and {name}")
    if stamp.compute_digest(algorithm) != imprint["hashed_message"].native:
        raise VerificationFailed(Finding.TAMPERED, "the file was changed after its time-stamp")
    check_integrity(signed, info, certificate_of(signed, info["sid"]), digest_of(name, inside.parsed.dump()))


def _outside_the_range(signature: Any, data: bytes) -> str:
    """What a signature's byte range leaves out besides the signature itself (ISO 32000-2, 12.8.1)."""
    if len(signature.byte_range) != 4:
        return "what the signature's byte range leaves out"
    first, length, second, rest = (int(number) for number in signature.byte_range)
    gap = data[length:second]
    whole = len(signature.pkcs7_content) * 2 + 2
    if (first, len(gap), gap[:1], gap[-1:]) != (0, whole, b"<", b">") or second + rest > len(data):
        return "what the signature's byte range leaves out"
    if signature.pkcs7_content[peek(signature.pkcs7_content) :].strip(b"\0"):
        return "bytes behind the signature in its placeholder"
    return ""


def _after_the_last(signature: Any, stamps: Sequence[Any], data: bytes, reader: RevisedPdf) -> str:
    """What stands behind the last holder's signature and is not validation material."""
    if signature.coverage is SignatureCoverageLevel.ENTIRE_FILE:
        return ""
    if signature.coverage is not SignatureCoverageLevel.ENTIRE_REVISION:
        return "a part of the revision that was signed"
    if changes := beyond_validation_material(signature, stamps):
        return f"{changes} after it"
    end = int(signature.byte_range[2]) + int(signature.byte_range[3])
    return beyond_revisions(data, reader, end, signature.signed_revision)


def _validation_material(reader: RevisedPdf) -> tuple[tuple[bytes, ...], tuple[bytes, ...], str]:
    """The revocation lists and OCSP responses in the file's document security store, and a description of what is there
    and is neither these nor certificates."""
    try:
        store = reader.root["/DSS"]
    except KeyError:
        return (), (), ""
    kinds: dict[str, Any] = {"/Certs": Certificate, "/CRLs": CertificateList, "/OCSPs": OCSPResponse}
    found = {name: tuple(one.get_object().data for one in store[name]) if name in store else () for name in kinds}
    for name, kind in kinds.items():
        for der in found[name]:
            try:
                kind.load(der, strict=True)[0].native  # noqa: B018  # asn1crypto parses what is read
            except (ValueError, TypeError):
                return (), (), f"an entry of {name} in the document security store"
    return found["/CRLs"], found["/OCSPs"], ""
