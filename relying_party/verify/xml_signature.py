"""XML Signature and XAdES: which certificate signed, and whether the signature covers the whole document.

An XML signature names what it covers; anybody can change the rest of the document. In a signature wrapping attack the
signed element is moved elsewhere and another with the same name takes its place, and the signature remains valid.
Therefore the root must be covered, each ID must be unique, and no transform may select a part of the document.
"""

from __future__ import annotations

import binascii
from base64 import b64decode
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding
from lxml import etree
from signxml.algorithms import DigestAlgorithm, SignatureMethod
from signxml.exceptions import InvalidDigest, InvalidInput, InvalidSignature, SignXMLException
from signxml.verifier import SignatureConfiguration, XMLVerifier
from signxml.xades.xades import XAdESSignatureConfiguration, XAdESVerifier

from kazashi.relying_party.verify.certificate import HolderCertificate
from kazashi.relying_party.verify.finding import Finding, VerificationFailed
from kazashi.relying_party.verify.xml_bounds import check_bounds

_DS = "{http://www.w3.org/2000/09/xmldsig#}"
_XADES = "{http://uri.etsi.org/01903/v1.3.2#}"
_IDS = ("Id", "ID", "id", "{http://www.w3.org/XML/1998/namespace}id")

_KEY_NAMESPACES = (_DS[1:-1], "http://www.w3.org/2009/xmldsig11#")

_ENVELOPED = "http://www.w3.org/2000/09/xmldsig#enveloped-signature"
_TRANSFORMS = {
    _ENVELOPED,
    "http://www.w3.org/TR/2001/REC-xml-c14n-20010315", "http://www.w3.org/2006/12/xml-c14n11",
    "http://www.w3.org/2001/10/xml-exc-c14n#",
}  # fmt: skip

_METHODS = frozenset({SignatureMethod.RSA_SHA256, SignatureMethod.RSA_SHA384, SignatureMethod.RSA_SHA512,
                      SignatureMethod.ECDSA_SHA384})  # fmt: skip
_DIGESTS = frozenset({DigestAlgorithm.SHA256, DigestAlgorithm.SHA384, DigestAlgorithm.SHA512})


class InUtf8:
    """Makes signxml serialize elements in UTF-8. By default it uses ASCII, in which an element named 申込書 cannot be
    parsed again."""

    def _tostring(self, xml_node: etree._Element, **settings: Any) -> bytes:
        return bytes(etree.tostring(xml_node, **{"encoding": "utf-8", **settings}))


class _PlainVerifier(InUtf8, XMLVerifier):
    pass


class _AdvancedVerifier(InUtf8, XAdESVerifier):
    pass


@dataclass(frozen=True, slots=True)
class SignedXml:
    """A document with one signature, which has not been verified yet."""

    unverified: bytes
    root: etree._Element
    signature: etree._Element
    unverified_certificate: bytes

    def verify(self, certificate: HolderCertificate) -> tuple[str, ...]:
        """Verify the signature with that certificate and return descriptions of what it covers. Raises
        VerificationFailed."""
        covered = self._covered()
        self._check_nothing_unsigned()
        self._check_algorithms()
        advanced = self.signature.find(f".//{_XADES}QualifyingProperties") is not None
        settings = {"location": ".//", "expect_references": False, "signature_methods": _METHODS,
                    "digest_algorithms": _DIGESTS, "verification_time": certificate.not_before}  # fmt: skip
        # The verifier checks the validity period; signxml would check it against the machine's clock.
        pem = certificate.parsed.public_bytes(Encoding.PEM).decode("ascii")
        try:
            if advanced:
                _AdvancedVerifier().verify(
                    self.unverified,
                    x509_cert=pem,
                    expect_config=XAdESSignatureConfiguration(**settings),  # type: ignore[arg-type]
                )
            else:
                _PlainVerifier().verify(
                    self.unverified,
                    x509_cert=pem,
                    expect_config=SignatureConfiguration(**settings),  # type: ignore[arg-type]
                )
        except InvalidDigest as error:
            raise VerificationFailed(Finding.TAMPERED, f"the signed content was changed: {error}") from error
        except InvalidSignature as error:
            raise VerificationFailed(
                Finding.WRONG_SIGNATURE, f"the signature was not made with the certificate's key: {error}"
            ) from error
        except (InvalidInput, SignXMLException) as error:
            raise VerificationFailed(Finding.MALFORMED, f"the signature cannot be read: {error}") from error
        return covered

    def _covered(self) -> tuple[str, ...]:
        """Return descriptions of what the references cover. Raises VerificationFailed unless that includes the whole
        document."""
        names, whole = [], False
        for reference in self.signature.findall(f"{_DS}SignedInfo/{_DS}Reference"):
            uri = reference.get("URI")
            transforms = [element.get("Algorithm") for element in reference.iter(f"{_DS}Transform")]
            if unknown := set(transforms) - _TRANSFORMS:
                raise VerificationFailed(
                    Finding.MALFORMED, f"the transform {min(unknown)} may select a part of the document"
                )
            if uri == "":
                names.append("the whole document")
                whole = True
                continue
            target = self._named(uri)
            whole = whole or target is self.root or self._is_own_object(target)
            names.append(f"the element {etree.QName(target).localname} ({uri})")
        if not names:
            raise VerificationFailed(Finding.NOT_SIGNED, "the signature covers nothing")
        if not whole:
            raise VerificationFailed(
                Finding.TAMPERED, f"the signature covers only {' and '.join(names)}, not the whole document"
            )
        return tuple(names)

    def _check_nothing_unsigned(self) -> None:
        """Check that no part that a reader of the document may see is left unsigned. Raises VerificationFailed."""
        if next(self.root.iter(etree.Comment), None) is not None:
            # Canonical XML omits comments: one inside an amount splits it in two for many parsers.
            raise VerificationFailed(Finding.TAMPERED, "the document has a comment, which a signature never covers")
        uris = [reference.get("URI") for reference in self.signature.findall(f"{_DS}SignedInfo/{_DS}Reference")]
        for element in self.signature.findall(f"{_DS}Object"):
            signed = f"#{element.get('Id')}" in uris
            if not signed and [child.tag for child in element] != [f"{_XADES}QualifyingProperties"]:
                raise VerificationFailed(Finding.TAMPERED, "the signature contains an Object that is not signed")
        foreign = [element for element in self.signature.iterfind(f"{_DS}KeyInfo//*")
                   if etree.QName(element).namespace not in _KEY_NAMESPACES]  # fmt: skip
        if foreign:
            raise VerificationFailed(
                Finding.TAMPERED, f"KeyInfo contains the foreign element {etree.QName(foreign[0]).localname}"
            )

    def _named(self, uri: str | None) -> etree._Element:
        if uri is None or not uri.startswith("#") or len(uri) == 1:
            raise VerificationFailed(Finding.MALFORMED, f"the signature covers something outside the document: {uri}")
        targets = [element for element in self.root.iter(etree.Element)
                   if any(element.get(name) == uri[1:] for name in _IDS)]  # fmt: skip
        if len(targets) != 1:
            raise VerificationFailed(Finding.TAMPERED, f"{len(targets)} elements have the ID {uri[1:]}, not one")
        return targets[0]

    def _is_own_object(self, element: etree._Element) -> bool:
        """Whether the document is a signature and the element is its Object."""
        return self.signature is self.root and element.tag == f"{_DS}Object" and element.getparent() is self.signature

    def _check_algorithms(self) -> None:
        method = self.signature.find(f"{_DS}SignedInfo/{_DS}SignatureMethod")
        digests = [element.get("Algorithm") for element in self.signature.iter(f"{_DS}DigestMethod")]
        used = [method.get("Algorithm") if method is not None else None, *digests]
        known = {str(method.value) for method in _METHODS} | {str(digest.value) for digest in _DIGESTS}
        if unknown := [str(name) for name in used if name not in known]:
            raise VerificationFailed(Finding.WRONG_ALGORITHM, f"cards do not sign with {unknown[0]}")


def read_signed_xml(unverified: bytes) -> SignedXml:
    """Find the signature in a document, and the certificate in the signature. Raises VerificationFailed."""
    check_bounds(unverified)
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False)
    root = etree.fromstring(unverified, parser)
    signatures = [root] if root.tag == f"{_DS}Signature" else list(root.iter(f"{_DS}Signature"))
    if len(signatures) != 1:
        raise VerificationFailed(Finding.NOT_SIGNED, f"there are {len(signatures)} signatures, not one")
    certificates = [element.text or "" for element in signatures[0].findall(f"{_DS}KeyInfo//{_DS}X509Certificate")]
    if len(certificates) != 1:
        raise VerificationFailed(Finding.MALFORMED, f"the signature contains {len(certificates)} certificates, not one")
    try:
        return SignedXml(unverified, root, signatures[0], b64decode("".join(certificates[0].split()), validate=True))
    except binascii.Error as error:
        raise VerificationFailed(Finding.MALFORMED, "the certificate in the signature is not valid base64") from error
