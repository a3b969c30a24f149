"""XML Signature and XAdES: which certificate signed, and whether the signature covers the whole document.

lxml parses and canonicalises, cryptography verifies. The element that a reference is about is found once, digested, and
judged: no other program's rule for finding it can differ. docs/decisions/documents.md tells why this is not left to a
library.
"""

from __future__ import annotations

import binascii
from base64 import b64decode
from collections.abc import Sequence
from functools import partial

from asn1crypto import cms
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, utils
from lxml import etree

from kazashi.relying_party.verify.canonical_xml import (
    DEFAULT,
    canonical_document,
    canonical_element,
    canonicalization,
)
from kazashi.relying_party.verify.certificate import HolderCertificate
from kazashi.relying_party.verify.cms_signature import ReadCertificate
from kazashi.relying_party.verify.finding import Finding, VerificationFailed
from kazashi.relying_party.verify.signed_document import DIGESTS, SignedDocument, Signer, check_algorithms, digest_of
from kazashi.relying_party.verify.time_stamp import Stamp
from kazashi.relying_party.verify.xml_bounds import read_bounded
from kazashi.relying_party.verify.xml_coverage import (
    DS,
    XADES,
    SignedReference,
    first_not_covered,
    read_references,
    stylesheets,
)

_MORE = "http://www.w3.org/2001/04/xmldsig-more#"
_METHODS = {
    f"{_MORE}rsa-sha256": ("rsa", "sha256"), f"{_MORE}rsa-sha384": ("rsa", "sha384"),
    f"{_MORE}rsa-sha512": ("rsa", "sha512"), f"{_MORE}ecdsa-sha384": ("ecdsa", "sha384"),
}  # fmt: skip
_DIGEST_METHODS = {
    "http://www.w3.org/2001/04/xmlenc#sha256": "sha256", f"{_MORE}sha384": "sha384",
    "http://www.w3.org/2001/04/xmlenc#sha512": "sha512",
}  # fmt: skip
_SIGNED_PROPERTIES = f"{XADES}QualifyingProperties/{XADES}SignedProperties"
_UNSIGNED_PROPERTIES = f"{XADES}QualifyingProperties/{XADES}UnsignedProperties/{XADES}UnsignedSignatureProperties"
MAX_CERTIFICATES = 32


def read_xml(unverified: bytes, read: ReadCertificate) -> SignedDocument:
    """Verify an XML document with one XML Signature or XAdES signature. Raises VerificationFailed."""
    root = read_bounded(unverified)
    signatures = list(root.iter(f"{DS}Signature"))
    if not signatures:
        raise VerificationFailed(Finding.NOT_SIGNED, "the document has no signature")
    if len(signatures) > 1:
        raise VerificationFailed(
            Finding.UNSUPPORTED, f"there are {len(signatures)} signatures, one beside or inside another"
        )
    signature = signatures[0]
    holder = read(_certificate(signature))
    references = read_references(signature)
    not_covered = first_not_covered(signature, references)
    notes = stylesheets(root)
    digests = [_digest_name(one.element) for one in references]
    _verify_value(signature, holder)
    stamps = _stamps(signature)
    lists, responses = _revocation_values(signature)
    _verify_properties(signature, references, holder)
    _verify_references(root, signature, references, digests)  # last, because it takes the signature out of the tree
    return SignedDocument(
        signers=[Signer(certificate=holder, stamps=stamps)],
        signed=tuple(one.description for one in references),
        not_covered=not_covered, notes=notes, lists=lists, responses=responses,
    )  # fmt: skip


def _certificate(signature: etree._Element) -> bytes:
    """Return the signer's certificate (DER) from KeyInfo, which may have its issuers' too (XML Signature 1.1, 4.5.4).
    Raises VerificationFailed."""
    elements = signature.findall(f"{DS}KeyInfo/{DS}X509Data/{DS}X509Certificate")
    if len(elements) > MAX_CERTIFICATES:
        raise VerificationFailed(Finding.MALFORMED, f"the signature contains more than {MAX_CERTIFICATES} certificates")
    enclosed = {_base64(element, "a certificate in the signature") for element in elements}
    holders = enclosed if len(enclosed) == 1 else {der for der in enclosed if not _is_authority(der)}
    if len(holders) != 1:  # with two, one would be shown, and the signature verified with the key of the other
        raise VerificationFailed(Finding.MALFORMED, f"the signature contains {len(holders)} signers' certificates")
    return holders.pop()


def _is_authority(der: bytes) -> bool:
    try:
        certificate = x509.load_der_x509_certificate(der)
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except (ValueError, x509.ExtensionNotFound, x509.DuplicateExtension):
        return False


def _verify_value(signature: etree._Element, holder: HolderCertificate) -> None:
    """Verify the signature over SignedInfo. Raises VerificationFailed."""
    info = _only(signature, "SignedInfo")
    named = _only(info, "SignatureMethod").get("Algorithm", "")
    if named not in _METHODS:
        raise VerificationFailed(Finding.WRONG_ALGORITHM, f"cards do not sign with {named}")
    kind, digest = _METHODS[named]
    check_algorithms(holder, kind, digest)
    method = canonicalization(_only(info, "CanonicalizationMethod"))
    if method is None:
        raise VerificationFailed(Finding.UNSUPPORTED, "the canonicalisation of SignedInfo is not one of XML Signature")
    value = _base64(_only(signature, "SignatureValue"), "the signature value")
    try:
        if isinstance(holder.key, rsa.RSAPublicKey):
            holder.key.verify(value, canonical_element(info, method), padding.PKCS1v15(), DIGESTS[digest])
        else:
            half = len(value) // 2
            if half != 48 or len(value) % 2:
                raise InvalidSignature
            encoded = utils.encode_dss_signature(int.from_bytes(value[:half]), int.from_bytes(value[half:]))
            holder.key.verify(encoded, canonical_element(info, method), ec.ECDSA(DIGESTS[digest]))
    except InvalidSignature as error:
        raise VerificationFailed(
            Finding.WRONG_SIGNATURE, "the signature was not made with the certificate's key"
        ) from error


def _verify_references(
    root: etree._Element, signature: etree._Element, references: Sequence[SignedReference], digests: Sequence[str]
) -> None:
    """Compare the digest of each reference. Raises VerificationFailed."""
    for reference, name in sorted(zip(references, digests, strict=True), key=lambda one: one[0].enveloped):
        if reference.enveloped:
            _take_out(signature)
        if reference.decoded and reference.target is not None:
            data = _base64(reference.target, reference.description)
        elif reference.target is None:
            data = canonical_document(root, reference.method)
        else:
            data = canonical_element(reference.target, reference.method)
        if digest_of(name, data) != _base64(_only(reference.element, "DigestValue"), "a digest"):
            raise VerificationFailed(Finding.TAMPERED, f"{reference.description} was changed after it was signed")


def _take_out(signature: etree._Element) -> None:
    """Remove the signature element from its document, but not the text after it."""
    parent, before, tail = signature.getparent(), signature.getprevious(), signature.tail
    if parent is None:
        return
    if before is not None:
        before.tail = (before.tail or "") + (tail or "")
    else:
        parent.text = (parent.text or "") + (tail or "")
    parent.remove(signature)


def _digest_name(element: etree._Element) -> str:
    named = _only(element, "DigestMethod").get("Algorithm", "")
    if named not in _DIGEST_METHODS:
        raise VerificationFailed(Finding.WRONG_ALGORITHM, f"cards do not sign with {named}")
    return _DIGEST_METHODS[named]


def _verify_properties(
    signature: etree._Element, references: Sequence[SignedReference], holder: HolderCertificate
) -> None:
    """Check that the signed properties of XAdES, if there are any, belong to this signature and name the holder's
    certificate (ETSI EN 319 132-1, 5.2.2). Raises VerificationFailed."""
    properties = [
        one for container in signature.findall(f"{DS}Object") for one in container.findall(_SIGNED_PROPERTIES)
    ]
    for one in properties:
        target = one.getparent().get("Target", "")
        if target not in ("", f"#{signature.get('Id')}"):
            raise VerificationFailed(Finding.MALFORMED, f"the signed properties are those of {target}")
        if all(reference.target is not one for reference in references):
            continue  # reported as not covered
        named = one.findall(f"{XADES}SignedSignatureProperties/*/{XADES}Cert/{XADES}CertDigest")
        if named and not any(_names(digest, holder) for digest in named):
            raise VerificationFailed(Finding.WRONG_SIGNATURE, "the signed properties name another certificate")


def _names(digest: etree._Element, holder: HolderCertificate) -> bool:
    return digest_of(_digest_name(digest), holder.der) == _base64(
        _only(digest, "DigestValue"), "a certificate's digest"
    )


def _stamps(signature: etree._Element) -> tuple[Stamp, ...]:
    """Return the time-stamps over the signature value (ETSI EN 319 132-1, 5.3)."""
    stamps = []
    for one in signature.findall(f"{DS}Object/{_UNSIGNED_PROPERTIES}/{XADES}SignatureTimeStamp"):
        named = one.find(f"{DS}CanonicalizationMethod")
        method = canonicalization(named) if named is not None else DEFAULT
        if method is None:
            continue
        covered = canonical_element(_only(signature, "SignatureValue"), method)
        for element in one.findall(f"{XADES}EncapsulatedTimeStamp"):
            token = cms.ContentInfo.load(_base64(element, "a time-stamp"))["content"]
            stamps.append(Stamp(token, partial(digest_of, data=covered)))
    return tuple(stamps)


def _revocation_values(signature: etree._Element) -> tuple[tuple[bytes, ...], tuple[bytes, ...]]:
    """Return the revocation lists and OCSP responses that a long-term signature contains (ETSI EN 319 132-1, 5.4.3)."""
    values = f"{DS}Object/{_UNSIGNED_PROPERTIES}/{XADES}RevocationValues"
    lists = signature.findall(f"{values}/{XADES}CRLValues/{XADES}EncapsulatedCRLValue")
    responses = signature.findall(f"{values}/{XADES}OCSPValues/{XADES}EncapsulatedOCSPValue")
    return (
        tuple(_base64(one, "a revocation list") for one in lists),
        tuple(_base64(one, "an OCSP response") for one in responses),
    )


def _only(element: etree._Element, name: str) -> etree._Element:
    found = element.findall(f"{DS}{name}")
    if len(found) != 1:
        raise VerificationFailed(Finding.MALFORMED, f"the signature has {len(found)} {name} elements at one place")
    return found[0]


def _base64(element: etree._Element, what: str) -> bytes:
    if len(element):
        raise VerificationFailed(Finding.MALFORMED, f"{what} contains elements")
    try:
        return b64decode("".join((element.text or "").split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise VerificationFailed(Finding.MALFORMED, f"{what} is not valid base64") from error
