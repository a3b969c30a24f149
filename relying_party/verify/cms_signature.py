"""CMS SignedData: its signers, and whether their signatures cover the content.

asn1crypto parses it, and pyHanko verifies a signature with its signed attributes. Which certificate is the signer's is
decided here, because the signature must be verified with the key of the certificate that the verdict is about.
"""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Callable
from typing import Any

from asn1crypto import cms
from asn1crypto import x509 as asn1_x509
from asn1crypto.parser import parse, peek
from pyhanko.sign.ades.report import AdESIndeterminate
from pyhanko.sign.validation.errors import SignatureValidationError
from pyhanko.sign.validation.generic_cms import extract_tst_data_iter, validate_sig_integrity
from pyhanko_certvalidator.errors import ValidationError

from kazashi.relying_party.verify.certificate import HolderCertificate
from kazashi.relying_party.verify.document_format import ARMOUR
from kazashi.relying_party.verify.finding import Finding, VerificationFailed
from kazashi.relying_party.verify.signed_document import (
    DIGESTS,
    WHOLE_CONTENT,
    SignedDocument,
    Signer,
    check_algorithms,
    digest_of,
)
from kazashi.relying_party.verify.time_stamp import Stamp

ReadCertificate = Callable[[bytes], HolderCertificate]
"""Reads a certificate (DER) that must be a holder's signature certificate. Raises VerificationFailed."""

MAX_SIGNERS, MAX_CERTIFICATES = 32, 1000

_RSA = {"rsassa_pkcs1v15": "", "sha256_rsa": "sha256", "sha384_rsa": "sha384", "sha512_rsa": "sha512"}
_ECDSA = {"sha256_ecdsa": "sha256", "sha384_ecdsa": "sha384", "sha512_ecdsa": "sha512"}
"""The signature algorithms, with the digest algorithm that each names."""


def read_cms(unverified: bytes, content: bytes | None, read: ReadCertificate) -> SignedDocument:
    """Verify SignedData (DER, BER or PEM) that contains its content, or a detached one over `content`. Raises
    VerificationFailed."""
    data, beside = _unarmoured(unverified)
    outer = _parts(parse(data)[4])
    if not outer or outer[0][:1] != b"\x06":
        raise VerificationFailed(Finding.UNSUPPORTED, "the file is DER, but not CMS")
    info = cms.ContentInfo.load(data)
    if rest := len(data) - peek(data):
        beside = f"the last {rest} bytes, after the signature's end"
    if info["content_type"].native != "signed_data":
        raise VerificationFailed(
            Finding.NOT_SIGNED, f"the CMS content type is {info['content_type'].native}, not signed_data"
        )
    check_structure(info)
    signed = info["content"]
    kind = signed["encap_content_info"]["content_type"].native
    if kind != "data":
        raise VerificationFailed(Finding.UNSUPPORTED, f"a signature over {kind} is not one over a document")
    inside = signed["encap_content_info"]["content"].native
    if inside is None and content is None:
        raise VerificationFailed(Finding.UNSUPPORTED, "a detached signature without the signed file (--content)")
    if inside is not None and content is not None and inside != content:
        raise VerificationFailed(Finding.TAMPERED, "the signed content differs from the given file")
    over = inside if inside is not None else content
    assert over is not None
    return SignedDocument(
        signers=read_signers(signed, over, read),
        signed=(WHOLE_CONTENT,),
        not_covered=beside or unsigned_attribute(signed),
        lists=lists_inside(signed),
    )


_PARTS = {
    "ContentInfo": b"\x06\xa0", "SignedData": b"\x02\x31\x30\xa0?\xa1?\x31", "EncapsulatedContentInfo": b"\x06\xa0?",
    "SignerInfo": b"\x02[\x30\x80]\x30\xa0?\x30[\x04\x24]\xa1?",
}  # fmt: skip
"""The tags of the parts of each structure (RFC 5652, 3 and 5), as regular expressions."""


def check_structure(info: Any) -> None:
    """Check that SignedData has no parts besides those of the standard, which asn1crypto would pass over. Raises
    VerificationFailed."""
    signed = info["content"]
    for value in (signed["version"], signed["digest_algorithms"], *(
        one[field] for one in signed["signer_infos"]
        for field in ("version", "sid", "digest_algorithm", "signature_algorithm")
    )):  # fmt: skip
        if value.dump() != value.copy().dump(force=True):
            raise VerificationFailed(Finding.MALFORMED, "a part of the signature is not encoded as the standard has it")
    structures = {"ContentInfo": [info.contents], "SignedData": [signed.contents],
                  "EncapsulatedContentInfo": [signed["encap_content_info"].contents],
                  "SignerInfo": [one.contents for one in signed["signer_infos"]]}  # fmt: skip
    for name, values in structures.items():
        for value in values:
            parts = _parts(value)
            if not re.fullmatch(_PARTS[name], bytes(part[0] for part in parts)):
                raise VerificationFailed(Finding.MALFORMED, f"{name} has a part that does not belong there")
            if name in ("ContentInfo", "EncapsulatedContentInfo") and len(parts) == 2 and _count(parts[1]) != 1:
                raise VerificationFailed(Finding.MALFORMED, f"{name} has more than one content")


def _parts(contents: bytes) -> list[bytes]:
    parts = []
    while contents:
        size = peek(contents)
        parts.append(contents[:size])
        contents = contents[size:]
    return parts


def _count(explicit: bytes) -> int:
    return len(_parts(parse(explicit)[4]))


_EVIDENCE = re.compile(r"1\.2\.840\.113549\.1\.9\.16\.2\.(14|2[1-7]|4[4-8])|0\.4\.0\.1733\.2\.[2-5]")
"""Attributes that only help to verify a signature: time-stamps, certificates, revocation information, and references to
them (ETSI EN 319 122-1, 5.3 and 5.5)."""


def unsigned_attribute(signed: Any) -> str:
    """The first unsigned attribute that is more than evidence."""
    for info in signed["signer_infos"]:
        for attribute in info["unsigned_attrs"]:
            if not _EVIDENCE.fullmatch(attribute["type"].dotted):
                return f"the unsigned attribute {attribute['type'].native}"
    return ""


_ARMOURED = re.compile(ARMOUR + rb"[ \t]*\r?\n([A-Za-z0-9+/=\s]+)-----END \1-----")


def _unarmoured(unverified: bytes) -> tuple[bytes, str]:
    """Return the DER or BER in a file, and what stands beside it if it is PEM (RFC 7468)."""
    if unverified[:1] == b"\x30":
        return unverified, ""
    armour = _ARMOURED.search(unverified)
    if armour is None:
        raise VerificationFailed(Finding.MALFORMED, "the file is neither DER nor PEM with one signature")
    outside = unverified[: armour.start()] + unverified[armour.end() :]
    beside = "the text before or after the armour" if outside.removeprefix(b"\xef\xbb\xbf").strip() else ""
    return b64decode(armour[2]), beside


def read_signers(signed: Any, content: bytes, read: ReadCertificate) -> list[Signer]:
    """Return the signers of SignedData, after verifying each one's signature over the content. Raises
    VerificationFailed."""
    infos = signed["signer_infos"]
    if not 1 <= len(infos) <= MAX_SIGNERS:
        raise VerificationFailed(Finding.NOT_SIGNED, f"there are {len(infos)} signers, not 1 to {MAX_SIGNERS}")
    if len(signed["certificates"]) > MAX_CERTIFICATES:
        raise VerificationFailed(Finding.MALFORMED, f"there are more than {MAX_CERTIFICATES} certificates")
    digests: dict[str, bytes] = {}
    signers = []
    for info in infos:
        name = info["digest_algorithm"]["algorithm"].native
        if name in DIGESTS and name not in digests:
            digests[name] = digest_of(name, content)
        if not len(info["signed_attrs"]):
            check_is_file(content)
        signers.append(read_signer(signed, info, digests.get(name, b""), read))
    return signers


def read_signer(signed: Any, info: Any, digest: bytes, read: ReadCertificate) -> Signer:
    """Return a signer of SignedData, after verifying the signature over the content with this digest. Raises
    VerificationFailed."""
    candidate = certificate_of(signed, info["sid"])
    holder = read(candidate.dump())
    _check_algorithms(info, holder)
    check_integrity(signed, info, candidate, digest)

    def imprint(name: str) -> bytes:
        return digest_of(name, info["signature"].native)

    tokens = extract_tst_data_iter(info, signed=False)
    return Signer(certificate=holder, stamps=tuple(Stamp(token, imprint) for token in tokens))


def check_integrity(signed: Any, info: Any, certificate: asn1_x509.Certificate, digest: bytes) -> None:
    """Check that a signature was made with the key of a certificate over content with this digest. Raises
    VerificationFailed."""
    content_type = signed["encap_content_info"]["content_type"].native
    try:
        intact, valid = validate_sig_integrity(info, certificate, content_type, digest)
    except (SignatureValidationError, ValidationError) as error:
        if getattr(error, "ades_subindication", None) is AdESIndeterminate.NO_SIGNING_CERTIFICATE_FOUND:
            detail = "the signed attributes name another certificate"
            raise VerificationFailed(Finding.WRONG_SIGNATURE, detail) from error
        reason = getattr(error, "failure_message", error)
        raise VerificationFailed(Finding.MALFORMED, f"the signature cannot be read: {reason}") from error
    if not valid:
        raise VerificationFailed(Finding.WRONG_SIGNATURE, "the signature was not made with the certificate's key")
    if not intact:
        raise VerificationFailed(Finding.TAMPERED, "the content was changed after it was signed")


def certificate_of(signed: Any, named: Any) -> asn1_x509.Certificate:
    """Return the certificate that a signer identifier names: by issuer and serial number, or by its key's identifier.
    Verifiers must know both (RFC 5652, 5.3). Raises VerificationFailed."""
    enclosed = [choice.chosen for choice in signed["certificates"] if isinstance(choice.chosen, asn1_x509.Certificate)]
    if named.name == "issuer_and_serial_number":
        issuer, serial = named.chosen["issuer"], named.chosen["serial_number"].native
        candidates = [one for one in enclosed if one.serial_number == serial and one.issuer == issuer]
    else:
        candidates = [one for one in enclosed if one.key_identifier == named.chosen.native]
    distinct = {one.dump(): one for one in candidates}
    if len(distinct) != 1:  # with two, one would be shown, and the signature verified with the key of the other
        raise VerificationFailed(
            Finding.MALFORMED, f"{len(distinct)} certificates match the signer's identifier, not one"
        )
    return next(iter(distinct.values()))


def _check_algorithms(info: Any, holder: HolderCertificate) -> None:
    """Check that a card makes such signatures, and that one digest algorithm is used for the content and for the signed
    attributes (RFC 8933, 3.1). Raises VerificationFailed."""
    digest, algorithm = info["digest_algorithm"]["algorithm"].native, info["signature_algorithm"]["algorithm"].native
    named = _RSA.get(algorithm, _ECDSA.get(algorithm))
    if named is None:
        raise VerificationFailed(Finding.WRONG_ALGORITHM, f"cards do not sign with {algorithm} over {digest}")
    if named and named != digest:
        raise VerificationFailed(
            Finding.WRONG_ALGORITHM, f"the digest algorithm is {digest}, and the signature's is {named} (RFC 8933, 3.1)"
        )
    check_algorithms(holder, "rsa" if algorithm in _RSA else "ecdsa", digest)


def lists_inside(signed: Any) -> tuple[bytes, ...]:
    """Return the revocation lists (DER) that SignedData contains."""
    return tuple(choice.chosen.dump() for choice in signed["crls"] if choice.name == "crl")


def check_is_file(content: bytes) -> None:
    """Check that bytes which a bare signature covers are a file, and not the inside of another signature.

    A signature in CMS is one over the encoded attributes, one in XML is one over the SignedInfo element. Either could
    otherwise be presented as a bare signature over a file with these bytes. Raises VerificationFailed.
    """
    inside = ""
    if content[:1] == b"\x31":
        try:
            attributes = cms.CMSAttributes.load(content, strict=True)
            if any(attribute["type"].native == "message_digest" for attribute in attributes):
                inside = "the signed attributes of a CMS signature"
        except (ValueError, TypeError):
            pass
    elif content[:1] == b"<" and b"SignedInfo" in content[:100] and b"http://www.w3.org/2000/09/xmldsig#" in content:
        inside = "the SignedInfo of an XML signature"
    if inside:
        raise VerificationFailed(Finding.MALFORMED, f"what was signed is {inside}, not a file")
