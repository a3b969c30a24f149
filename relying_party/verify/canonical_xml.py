"""Canonical XML: the bytes of a document or of an element that a signature is computed over.

libxml2 does the work (Canonical XML 1.0 and Exclusive XML Canonicalization 1.0). It gives other bytes than the standard
for an element that is not the root, so such an element is parsed again as a document of its own. The attributes that it
inherits from its ancestors are added here: which these are is the difference between Canonical XML 1.0 and 1.1.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from lxml import etree

from kazashi.relying_party.verify.finding import Finding, VerificationFailed

_XML = "{http://www.w3.org/XML/1998/namespace}"
_EXCLUSIVE = "http://www.w3.org/2001/10/xml-exc-c14n#"
_VERSION_1_0 = "http://www.w3.org/TR/2001/REC-xml-c14n-20010315"
_VERSION_1_1 = "http://www.w3.org/2006/12/xml-c14n11"
_WITH_COMMENTS = "WithComments"


@dataclass(frozen=True, slots=True)
class Canonicalization:
    """A canonicalisation algorithm. The exclusive one treats the namespaces with these `prefixes` as inclusive."""

    algorithm: str
    comments: bool = False
    prefixes: tuple[str, ...] = ()

    @property
    def exclusive(self) -> bool:
        """Whether only the namespaces that an element uses are written."""
        return self.algorithm == _EXCLUSIVE

    def without_comments(self) -> Canonicalization:
        """Return the same algorithm, leaving comments out."""
        return replace(self, comments=False)


DEFAULT = Canonicalization(_VERSION_1_0)
"""What is used if a reference names no algorithm (XML Signature 1.1, 4.4.3.2)."""


def canonicalization(element: etree._Element) -> Canonicalization | None:
    """Return the algorithm that a CanonicalizationMethod or Transform element names, or None if it names another
    one."""
    name = element.get("Algorithm", "")
    base, _, ending = name.partition("#")
    comments = ending == _WITH_COMMENTS
    algorithm = f"{base}#" if f"{base}#" == _EXCLUSIVE else base
    if algorithm not in (_EXCLUSIVE, _VERSION_1_0, _VERSION_1_1) or not (comments or name == algorithm):
        return None
    listed = element.find(f"{{{_EXCLUSIVE}}}InclusiveNamespaces")
    prefixes = tuple(listed.get("PrefixList", "").split()) if listed is not None else ()
    return Canonicalization(algorithm, comments, prefixes)


def canonical_document(root: etree._Element, method: Canonicalization) -> bytes:
    """Return the canonical form of a whole document, with what stands before and after its root. Raises
    VerificationFailed."""
    return _written(root.getroottree(), method)


def canonical_element(element: etree._Element, method: Canonicalization) -> bytes:
    """Return the canonical form of an element of a document. Raises VerificationFailed."""
    if element.getparent() is None:
        return _written(element, method)
    # What libxml2 writes for the copy has all namespace declarations in scope, so that the copy is complete.
    copy = etree.fromstring(etree.tostring(element, encoding="utf-8", with_tail=False), _PARSER)
    if not method.exclusive:
        for name, value in _inherited(element, method).items():
            copy.set(name, value)
    return _written(copy, method)


_PARSER = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False)


def _inherited(element: etree._Element, method: Canonicalization) -> dict[str, str]:
    """The attributes in the XML namespace that ancestors pass on (Canonical XML 1.0, 2.4; 1.1, 2.4)."""
    inherited: dict[str, str] = {}
    for ancestor in element.iterancestors():
        for name, value in ancestor.attrib.items():
            name, value = str(name), str(value)
            if not name.startswith(_XML) or name in element.attrib or name in inherited:
                continue
            if method.algorithm == _VERSION_1_1:
                if name == f"{_XML}id":
                    continue
                if name == f"{_XML}base":
                    raise VerificationFailed(
                        Finding.UNSUPPORTED, "xml:base above an element that is canonicalised with Canonical XML 1.1"
                    )
            inherited[name] = value
    return inherited


def _written(what: etree._Element | etree._ElementTree, method: Canonicalization) -> bytes:
    if "#default" in method.prefixes:  # lxml drops this one
        raise VerificationFailed(Finding.UNSUPPORTED, "a canonicalisation with #default in its list of prefixes")
    try:
        return bytes(
            etree.tostring(
                what, method="c14n", exclusive=method.exclusive, with_comments=method.comments,
                inclusive_ns_prefixes=list(method.prefixes) or None,
            )
        )  # fmt: skip
    except etree.C14NError as error:
        raise VerificationFailed(
            Finding.MALFORMED, f"the document has no canonical form, for example for a relative namespace: {error}"
        ) from error
