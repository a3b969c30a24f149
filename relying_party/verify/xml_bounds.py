"""Bounds on an XML document that apply before it is canonicalised.

The work of canonicalisation grows with the product of the number of elements and of what is in scope at each. A small
document can make it take minutes, before the signature says anything about who wrote it.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Mapping

from lxml import etree

from kazashi.relying_party.verify.finding import Finding, VerificationFailed

MAX_DEPTH = 100
MAX_ELEMENTS = 600_000
MAX_ATTRIBUTES = 100
"""Of one element."""
MAX_NAMESPACES = 100
"""Namespace declarations in the scope of one element."""
MAX_WORK = 80_000_000
"""The sum, over all elements, of the namespaces in scope times 25 plus the depth plus three times the attributes.
Inclusive canonicalisation takes some 10 ns for each, as measured with libxml2 2.14."""

_CHUNK = 1 << 16


class _Counter:
    """Counts what a parser passes, without building a tree. Raises VerificationFailed at the first excess."""

    def __init__(self) -> None:
        self._elements = self._work = 0
        self._declared: list[int] = [0]
        """The number of namespace declarations in scope at each open element."""

    def start(self, tag: str, attributes: Mapping[str, str], namespaces: Mapping[str, str]) -> None:
        self._elements += 1
        self._declared.append(self._declared[-1] + len(namespaces))
        depth = len(self._declared) - 1
        self._work += self._declared[-1] * (25 + depth + 3 * len(attributes))
        for count, most, what in (
            (self._elements, MAX_ELEMENTS, "elements"),
            (depth, MAX_DEPTH, "levels of elements"),
            (len(attributes), MAX_ATTRIBUTES, "attributes at one element"),
            (self._declared[-1], MAX_NAMESPACES, "namespaces in the scope of one element"),
            (self._work, MAX_WORK, "steps of work for its namespaces"),
        ):
            if count > most:
                raise VerificationFailed(Finding.MALFORMED, f"the document has more than {most:,} {what}")

    def end(self, tag: str) -> None:
        self._declared.pop()

    def doctype(self, *_: object) -> None:
        raise VerificationFailed(Finding.UNSUPPORTED, _DOCTYPE)

    def close(self) -> None:
        """Do nothing: the parser requires it."""


def read_bounded(unverified: bytes) -> etree._Element:
    """Parse a document that keeps the bounds, and return its root. Raises VerificationFailed, also for data that is not
    an XML document."""
    if not _is_countable(unverified):
        _count(unverified)
        return _parse(unverified)
    root = _parse(unverified)
    if not _is_within(unverified, root):
        _count(unverified)
    return root


def _parse(unverified: bytes) -> etree._Element:
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False)
    try:
        root = etree.fromstring(unverified, parser)
    except (etree.XMLSyntaxError, ValueError) as error:
        finding = Finding.UNSUPPORTED if "encoding not supported" in str(error).lower() else Finding.MALFORMED
        raise VerificationFailed(finding, f"the data is not an XML document: {error}") from error
    document = root.getroottree().docinfo
    if document.internalDTD is not None:
        raise VerificationFailed(Finding.UNSUPPORTED, _DOCTYPE)
    if document.xml_version != "1.0" or _codec(document.encoding or "UTF-8") not in _ENCODINGS:
        what = f"XML {document.xml_version} in the encoding {document.encoding}"
        raise VerificationFailed(Finding.UNSUPPORTED, f"{what}, for which no canonical form is defined here")
    return root


def _codec(encoding: str) -> str:
    try:
        return codecs.lookup(encoding).name
    except LookupError:
        return ""


_ENCODINGS = {"utf-8", "utf-16", "utf-16-le", "utf-16-be", "ascii", "iso8859-1", "shift_jis", "cp932", "euc_jp",
              "iso2022_jp"}  # fmt: skip
_DOCTYPE = "a document with a DOCTYPE, which could change its content"

_IN_UTF_8 = re.compile(
    rb"<\?xml\s(?:(?!encoding)[^>])*(?:encoding\s*=\s*[\"'](?:utf-8|us-ascii)[\"']\s*)?"
    rb"(?:standalone\s*=\s*[\"'](?:yes|no)[\"']\s*)?\?>|<[^?\0]",
    re.IGNORECASE,
)


def _is_countable(unverified: bytes) -> bool:
    """Whether a document may be parsed before it is counted: it has no DOCTYPE, its markup can be counted as bytes, and
    these are not too many."""
    return (
        _IN_UTF_8.match(unverified.removeprefix(b"\xef\xbb\xbf").lstrip()) is not None
        and b"<!DOCTYPE" not in unverified
        and unverified.count(b"<") - unverified.count(b"</") <= MAX_ELEMENTS
    )


def _is_within(unverified: bytes, root: etree._Element) -> bool:
    """Whether a document certainly keeps the bounds, from counts that libxml2 and Python make quickly."""
    declared = unverified.count(b"xmlns")
    elements = unverified.count(b"<") - unverified.count(b"</")
    depth = next((depth for depth in (8, 16, 32, 64, MAX_DEPTH) if not _is_deeper(root, depth)), 0)
    work = declared * (elements * (25 + depth) + 3 * unverified.count(b"="))
    return (
        root.getroottree().docinfo.encoding in (None, "UTF-8", "US-ASCII", "utf-8", "us-ascii")
        and depth > 0
        and declared <= MAX_NAMESPACES
        and work <= MAX_WORK
        and not root.xpath(f"boolean(//*[@*[{MAX_ATTRIBUTES + 1}]])")
    )


def _is_deeper(root: etree._Element, depth: int) -> bool:
    return bool(root.xpath("boolean(" + "/*" * (depth + 1) + ")"))


def _count(unverified: bytes) -> None:
    """Count a document exactly. Raises VerificationFailed, also if it is not an XML document."""
    parser = etree.XMLParser(
        target=_Counter(), resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False
    )  # fmt: skip
    try:
        for begin in range(0, len(unverified), _CHUNK):
            parser.feed(unverified[begin : begin + _CHUNK])
        parser.close()
    except etree.XMLSyntaxError as error:
        raise VerificationFailed(Finding.MALFORMED, f"the data is not an XML document: {error}") from error
