"""What the references of an XML signature cover, and what they leave out.

An XML signature names what it covers; anybody can change the rest of the document, and put more beside it. In a
signature wrapping attack the signed element is moved elsewhere and another takes its place, and the signature remains
valid. Therefore the root must be covered, and so must everything that a reader of the document may see: what stands
before and after the root, comments, and what the signature element itself contains.
"""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from lxml import etree

from kazashi.relying_party.verify.canonical_xml import DEFAULT, Canonicalization, canonicalization
from kazashi.relying_party.verify.finding import Finding, VerificationFailed
from kazashi.relying_party.verify.signed_document import WHOLE_DOCUMENT

DS = "{http://www.w3.org/2000/09/xmldsig#}"
XADES = "{http://uri.etsi.org/01903/v1.3.2#}"

MAX_REFERENCES = 32

_ENVELOPED = f"{DS[1:-1]}enveloped-signature"
_XPATH = "http://www.w3.org/TR/1999/REC-xpath-19991116"
_FILTER = "http://www.w3.org/2002/06/xmldsig-filter2"
_BASE64 = f"{DS[1:-1]}base64"
_DIGEST_NAMESPACES = (DS[1:-1], "http://www.w3.org/2009/xmldsig11#")
_XADES_NAMESPACES = (XADES[1:-1], "http://uri.etsi.org/01903/v1.4.1#")
_EXCLUSIVE = "http://www.w3.org/2001/10/xml-exc-c14n#"
_INSTANCE = "{http://www.w3.org/2001/XMLSchema-instance}"
_BY_ID = re.compile(r"#xpointer\(id\((['\"])([^'\"]+)\1\)\)")
_IDENTIFIERS = "//@*[local-name() = 'Id' or local-name() = 'ID' or local-name() = 'id']"
"""Which attributes are identifiers is a matter of a schema that a verifier does not have, so one with such a name is,
whatever its namespace."""
_STYLESHEET = re.compile(r"""href\s*=\s*(["'])(.*?)\1""")

_VALIDATION_MATERIAL = {
    "SignatureTimeStamp", "CompleteCertificateRefs", "CompleteCertificateRefsV2", "CompleteRevocationRefs",
    "AttributeCertificateRefs", "AttributeCertificateRefsV2", "AttributeRevocationRefs", "SigAndRefsTimeStamp",
    "SigAndRefsTimeStampV2", "RefsOnlyTimeStamp", "RefsOnlyTimeStampV2", "CertificateValues", "RevocationValues",
    "AttrAuthoritiesCertValues", "AttributeRevocationValues", "ArchiveTimeStamp", "TimeStampValidationData",
}  # fmt: skip
"""The unsigned properties that only help to verify a signature (ETSI EN 319 132-1, 5.3 to 5.5)."""


@dataclass(frozen=True, slots=True)
class SignedReference:
    """One reference of a signature: the element that it is about (None for the whole document), and how the element
    becomes bytes. `enveloped` tells whether the signature is inside and is left out."""

    element: etree._Element
    """The Reference element itself."""
    uri: str
    target: etree._Element | None
    method: Canonicalization
    enveloped: bool
    decoded: bool
    """Whether the text of the element is base64, and what it encodes is signed."""

    @property
    def description(self) -> str:
        """What it covers, for the verdict."""
        if self.target is None:
            return WHOLE_DOCUMENT
        return f"the element {etree.QName(self.target).localname} ({self.uri})"


def read_references(signature: etree._Element) -> list[SignedReference]:
    """Return the references of a signature. Raises VerificationFailed."""
    elements = signature.findall(f"{DS}SignedInfo/{DS}Reference")
    if not elements:
        raise VerificationFailed(Finding.NOT_SIGNED, "the signature covers nothing")
    if len(elements) > MAX_REFERENCES:
        raise VerificationFailed(Finding.MALFORMED, f"the signature has more than {MAX_REFERENCES} references")
    identified: dict[str, list[etree._Element]] = {}
    for value in signature.getroottree().xpath(_IDENTIFIERS):
        identified.setdefault(str(value), []).append(value.getparent())
    return [_reference(element, signature, identified) for element in elements]


def _reference(
    element: etree._Element, signature: etree._Element, identified: Mapping[str, Sequence[etree._Element]]
) -> SignedReference:
    uri = element.get("URI")
    if uri is None:
        raise VerificationFailed(Finding.UNSUPPORTED, "a reference without URI")
    method, enveloped, decoded = DEFAULT, False, False
    transforms = element.findall(f"{DS}Transforms/{DS}Transform")
    for place, transform in enumerate(transforms):
        named = canonicalization(transform)
        if named is not None and place == len(transforms) - 1:
            method = named
        elif place == 0 and _leaves_the_signature_out(transform):
            enveloped = True
        elif place == len(transforms) - 1 == 0 and transform.get("Algorithm") == _BASE64:
            decoded = True
        else:
            raise VerificationFailed(Finding.UNSUPPORTED, f"the transform {transform.get('Algorithm')} at this place")
    target, comments = _target(uri, identified)
    inside = signature.getparent() is not None if target is None else target in signature.iterancestors()
    return SignedReference(
        element, uri, target, method if comments else method.without_comments(), enveloped and inside, decoded
    )


def _leaves_the_signature_out(transform: etree._Element) -> bool:
    """Whether a transform leaves out the only signature of the document: the enveloped one, or one of the expressions
    that the standards give as its equals (XML Signature 1.1, 6.6.4; XML-Signature XPath Filter 2.0, 4)."""
    algorithm, expressions = transform.get("Algorithm"), list(transform)
    if algorithm == _ENVELOPED:
        return True
    if len(expressions) != 1 or etree.QName(expressions[0]).localname != "XPath":
        return False
    expression = "".join((expressions[0].text or "").split())
    prefixes = [prefix for prefix, name in expressions[0].nsmap.items() if prefix and name == DS[1:-1]]
    if algorithm == _XPATH:
        return any(expression == f"not(ancestor-or-self::{prefix}:Signature)" for prefix in prefixes)
    return (
        algorithm == _FILTER
        and expressions[0].get("Filter") == "subtract"
        and any(expression in (f"/descendant::{prefix}:Signature", f"//{prefix}:Signature") for prefix in prefixes)
    )


def _target(uri: str, identified: Mapping[str, Sequence[etree._Element]]) -> tuple[etree._Element | None, bool]:
    """The element that a reference is about, or None for the whole document; and whether comments belong to it, as they
    do for an XPointer only (XML Signature 1.1, 4.4.3.3)."""
    if uri in ("", "#xpointer(/)"):
        return None, uri != ""
    by_id = _BY_ID.fullmatch(uri)
    if by_id is None and (not uri.startswith("#") or len(uri) == 1 or "(" in uri):
        raise VerificationFailed(Finding.UNSUPPORTED, f"a reference to something outside the document: {uri}")
    identifier = by_id[2] if by_id else uri[1:]
    found = identified.get(identifier, ())
    if len(found) != 1:
        raise VerificationFailed(Finding.MALFORMED, f"{len(found)} elements have the identifier {identifier}, not one")
    return found[0], by_id is not None


def first_not_covered(signature: etree._Element, references: Sequence[SignedReference]) -> str:
    """Return a description of the first part of the document that no reference covers, or an empty string."""
    root = signature.getroottree().getroot()
    whole = next((one for one in references if _is_whole(one, signature, root)), None)
    if whole is None and not (signature is root and any(_is_object(one.target, signature) for one in references)):
        return f"all but {' and '.join(one.description for one in references)}"
    comments = whole is not None and whole.method.comments  # Canonical XML leaves them out unless it is told otherwise
    for node in (*root.itersiblings(preceding=True), *root.itersiblings()):
        if whole is None or whole.target is not None or (node.tag is etree.Comment and not comments):
            return f"{_name(node)} outside the root element"
    for one in references:
        if one.decoded and (part := _beside_the_text(one.target)):
            return part
    inside_signature = _first_inside(signature, references)
    if inside_signature:
        return inside_signature
    comment = next(root.iter(etree.Comment), None)
    return "" if comment is None or comments else _name(comment)


def _beside_the_text(target: etree._Element | None) -> str:
    """What of an element is not signed if only its text is."""
    if target is None or len(target):
        return "the elements around the text that is signed"
    beside = [key for key, value in target.attrib.items() if key != "Id" and (key, value) != ("Encoding", _BASE64)]
    return f"the attribute {beside[0]} of {_name(target)}" if beside else ""


def _is_whole(reference: SignedReference, signature: etree._Element, root: etree._Element) -> bool:
    is_root = reference.target is None or reference.target is root
    return reference.enveloped and signature is not root and is_root and not reference.decoded


def _is_object(target: etree._Element | None, signature: etree._Element) -> bool:
    return target is not None and target.tag == f"{DS}Object" and target.getparent() is signature


def _name(node: etree._Element) -> str:
    if node.tag is etree.Comment:
        return "a comment"
    if node.tag is etree.ProcessingInstruction:
        return f"the processing instruction {node.target}"
    return f"the element {etree.QName(node).localname}"


def _first_inside(signature: etree._Element, references: Sequence[SignedReference]) -> str:
    """Describe the first thing inside the signature element that is neither signed nor needed to verify it."""
    if next(signature.iter(etree.Comment), None) is not None:
        return "a comment inside the signature"
    signed = {one.target for one in references} | {signature.find(f"{DS}SignedInfo")}
    for element in _unsigned(signature, signed):
        if not isinstance(element.tag, str) or not _belongs(element, signature):
            return f"{_name(element)} inside the signature"
        for name in map(str, element.attrib):
            if name not in _ATTRIBUTES and not name.startswith(_INSTANCE):
                return f"the attribute {etree.QName(name).localname} inside the signature"
        if not _says_nothing_else(element):
            return f"text in {_name(element)} inside the signature"
    return ""


_ATTRIBUTES = {"Id", "Algorithm", "URI", "Encoding", "Type", "Target", "MimeType", "PrefixList", "referencedData"}
_PARENTS = {
    "SignatureValue": "Signature", "KeyInfo": "Signature", "Object": "Signature", "QualifyingProperties": "Object",
    "UnsignedProperties": "QualifyingProperties", "UnsignedSignatureProperties": "UnsignedProperties",
}  # fmt: skip
_STRUCTURE = {
    "Signature", "X509Data", "X509IssuerSerial", "KeyValue", "RSAKeyValue", "ECKeyValue", "NamedCurve", "CRLValues",
    "OCSPValues", "CertRefs", "Cert", "CertDigest", "IssuerSerial", "CRLRefs", "CRLRef", "DigestAlgAndValue",
    "CRLIdentifier", "OCSPRefs", "OCSPRef", "OCSPIdentifier", "ResponderID", "CanonicalizationMethod", "DigestMethod",
    "Include", "InclusiveNamespaces", *_PARENTS.keys() - {"SignatureValue"}, *_VALIDATION_MATERIAL,
}  # fmt: skip
"""Elements without text of their own."""
_DER = {
    "X509Certificate", "X509CRL", "EncapsulatedX509Certificate", "EncapsulatedCRLValue", "EncapsulatedOCSPValue",
    "EncapsulatedTimeStamp", "DEREncodedKeyValue", "IssuerSerialV2",
}  # fmt: skip
_BINARY = {"SignatureValue", "X509SKI", "X509Digest", "Modulus", "Exponent", "PublicKey", "DigestValue", "ByKey"}
_NAMES = {"X509SubjectName", "X509IssuerName", "X509SerialNumber", "Issuer", "ByName", "IssueTime", "ProducedAt",
          "Number"}  # fmt: skip
"""Elements that name certificates, revocation lists and OCSP responses."""


def _belongs(element: etree._Element, signature: etree._Element) -> bool:
    """Whether an element has its place in a signature although no reference covers it."""
    name, parent = etree.QName(element), element.getparent()
    if element is signature:
        return True
    if name.namespace not in (*_DIGEST_NAMESPACES, *_XADES_NAMESPACES, _EXCLUSIVE):
        return False
    if name.localname in _PARENTS:
        return bool(etree.QName(parent).localname == _PARENTS[name.localname])
    if etree.QName(parent).localname == "UnsignedSignatureProperties":
        return name.localname in _VALIDATION_MATERIAL
    if etree.QName(parent).localname in ("Signature", "Object", "QualifyingProperties", "UnsignedProperties"):
        return False
    return name.localname in _STRUCTURE | _DER | _BINARY | _NAMES


def _says_nothing_else(element: etree._Element) -> bool:
    """Whether an unsigned element contains what its name says: nothing, DER or another value in base64, or a name."""
    name = etree.QName(element).localname
    if name in _STRUCTURE:
        return not any((text or "").strip() for text in _texts(element))
    if len(element):
        return False
    try:
        value = b64decode("".join((element.text or "").split()), validate=True)
    except ValueError:
        return name in _NAMES
    return name in _NAMES or name in _BINARY or value[:1] == b"\x30"


def _unsigned(element: etree._Element, signed: set[etree._Element | None]) -> Iterator[etree._Element]:
    """An element and its descendants, without those that are signed."""
    if element in signed:
        return
    yield element
    for child in element:
        yield from _unsigned(child, signed)


def _texts(element: etree._Element) -> Iterator[str | None]:
    yield element.text
    for child in element:
        yield child.tail


def stylesheets(root: etree._Element) -> tuple[str, ...]:
    """Return a note about each stylesheet that the document names: a signature covers its address, not what it
    fetches."""
    notes = []
    for node in root.itersiblings(preceding=True):
        if node.tag is etree.ProcessingInstruction and node.target == "xml-stylesheet":
            address = _STYLESHEET.search(node.text or "")
            where = address[2] if address else "an address that cannot be read"
            notes.append(f"the document is shown with the stylesheet {where}, which the signature does not cover")
    return tuple(notes)
