"""XML Signature and XAdES: which certificate has signed, and whether the signature covers what the document shows.

An XML signature names what it covers, and leaves the rest of the document to anybody. In a wrapping attack the signed
element is moved aside, and another of the same name takes its place: the signature still holds. Here the root must
be among what is covered, each name must be there once, and no transform may choose a part.
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
    """Has the library write elements in UTF-8. By default it writes ASCII, in which an element called 申込書 becomes
    something that nobody can read back."""

    def _tostring(self, xml_node: etree._Element, **settings: Any) -> bytes:
        return bytes(etree.tostring(xml_node, **{"encoding": "utf-8", **settings}))


class _PlainVerifier(InUtf8, XMLVerifier):
    pass


class _AdvancedVerifier(InUtf8, XAdESVerifier):
    pass


@dataclass(frozen=True, slots=True)
class SignedXml:
    """A document with one signature, which has not been checked yet."""

    unverified: bytes
    root: etree._Element
    signature: etree._Element
    unverified_certificate: bytes

    def verify(self, certificate: HolderCertificate) -> tuple[str, ...]:
        """Check the signature with that certificate; answers what it covers, in words. Raises VerificationFailed."""
        covered = self._covered()
        self._check_nothing_beside()
        self._check_algorithms()
        advanced = self.signature.find(f".//{_XADES}QualifyingProperties") is not None
        settings = {"location": ".//", "expect_references": False, "signature_methods": _METHODS,
                    "digest_algorithms": _DIGESTS, "verification_time": certificate.not_before}  # fmt: skip
        # The time of the verdict is the verifier's matter; the library would hold the certificate against its own.
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
            raise VerificationFailed(Finding.TAMPERED, f"what was signed was changed: {error}") from error
        except InvalidSignature as error:
            raise VerificationFailed(
                Finding.WRONG_SIGNATURE, f"the signature is not by the certificate's key: {error}"
            ) from error
        except (InvalidInput, SignXMLException) as error:
            raise VerificationFailed(Finding.MALFORMED, f"the signature cannot be read: {error}") from error
        return covered

    def _covered(self) -> tuple[str, ...]:
        """What the references name. Raises VerificationFailed unless the whole document is among it."""
        names, whole = [], False
        for reference in self.signature.findall(f"{_DS}SignedInfo/{_DS}Reference"):
            uri = reference.get("URI")
            transforms = [found.get("Algorithm") for found in reference.iter(f"{_DS}Transform")]
            if unknown := set(transforms) - _TRANSFORMS:
                raise VerificationFailed(
                    Finding.MALFORMED, f"a transform that may choose a part of the document: {min(unknown)}"
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
                Finding.TAMPERED, f"the signature covers {' and '.join(names)}, and not the whole document"
            )
        return tuple(names)

    def _check_nothing_beside(self) -> None:
        """Nothing that a reader of the document could come upon is left out of what is signed. Raises
        VerificationFailed."""
        if next(self.root.iter(etree.Comment), None) is not None:
            # Canonical XML leaves comments out: one that is put into a sum cuts it in two for many a reader.
            raise VerificationFailed(Finding.TAMPERED, "there is a comment in it, which is never signed")
        names = [found.get("URI") for found in self.signature.findall(f"{_DS}SignedInfo/{_DS}Reference")]
        for found in self.signature.findall(f"{_DS}Object"):
            signed = f"#{found.get('Id')}" in names
            if not signed and [child.tag for child in found] != [f"{_XADES}QualifyingProperties"]:
                raise VerificationFailed(Finding.TAMPERED, "there is an object in the signature that is not signed")
        strange = [found for found in self.signature.iterfind(f"{_DS}KeyInfo//*")
                   if etree.QName(found).namespace not in _KEY_NAMESPACES]  # fmt: skip
        if strange:
            raise VerificationFailed(Finding.TAMPERED, f"there is a {etree.QName(strange[0]).localname} among the keys")

    def _named(self, uri: str | None) -> etree._Element:
        if uri is None or not uri.startswith("#") or len(uri) == 1:
            raise VerificationFailed(Finding.MALFORMED, f"the signature covers something outside the document: {uri}")
        found = [element for element in self.root.iter(etree.Element)
                 if any(element.get(name) == uri[1:] for name in _IDS)]  # fmt: skip
        if len(found) != 1:
            raise VerificationFailed(
                Finding.TAMPERED, f"{len(found)} elements are called {uri[1:]}, where one was signed"
            )
        return found[0]

    def _is_own_object(self, element: etree._Element) -> bool:
        """Whether the document is a signature that envelops the element."""
        return self.signature is self.root and element.tag == f"{_DS}Object" and element.getparent() is self.signature

    def _check_algorithms(self) -> None:
        method = self.signature.find(f"{_DS}SignedInfo/{_DS}SignatureMethod")
        digests = [found.get("Algorithm") for found in self.signature.iter(f"{_DS}DigestMethod")]
        used = [method.get("Algorithm") if method is not None else None, *digests]
        known = {str(found.value) for found in _METHODS} | {str(found.value) for found in _DIGESTS}
        if unknown := [str(name) for name in used if name not in known]:
            raise VerificationFailed(Finding.WRONG_ALGORITHM, f"signed with {unknown[0]}, as no card does")


def read_signed_xml(unverified: bytes) -> SignedXml:
    """Find a document's signature, and the certificate in it. Raises VerificationFailed."""
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False)
    try:
        root = etree.fromstring(unverified, parser)
    except etree.XMLSyntaxError as error:
        raise VerificationFailed(Finding.MALFORMED, f"it is no XML document: {error}") from error
    if root.getroottree().docinfo.doctype:
        raise VerificationFailed(Finding.MALFORMED, "it has a document type, which could change what it says")
    signatures = [root] if root.tag == f"{_DS}Signature" else list(root.iter(f"{_DS}Signature"))
    if len(signatures) != 1:
        raise VerificationFailed(Finding.NOT_SIGNED, f"there are {len(signatures)} signatures, where one is wanted")
    certificates = [found.text or "" for found in signatures[0].findall(f"{_DS}KeyInfo//{_DS}X509Certificate")]
    if len(certificates) != 1:
        raise VerificationFailed(
            Finding.MALFORMED, f"there are {len(certificates)} certificates in it, where one is wanted"
        )
    try:
        return SignedXml(unverified, root, signatures[0], b64decode("".join(certificates[0].split()), validate=True))
    except binascii.Error as error:
        raise VerificationFailed(Finding.MALFORMED, "the certificate in it is no base64") from error
