"""Bounds on an XML document that apply before it is canonicalised.

The work of canonicalisation grows with the product of the number of elements and of what is in scope at each. A small
document can make it take minutes, before the signature says anything about who wrote it.
"""

from __future__ import annotations

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
        raise VerificationFailed(Finding.MALFORMED, "the document has a DOCTYPE, which could change its content")

    def close(self) -> None:
        """Do nothing: the parser requires it."""


def check_bounds(unverified: bytes) -> None:
    """Check a document's size in elements. Raises VerificationFailed, also if it is not an XML document."""
    parser = etree.XMLParser(
        target=_Counter(), resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False
    )  # fmt: skip
    try:
        for begin in range(0, len(unverified), _CHUNK):
            parser.feed(unverified[begin : begin + _CHUNK])
        parser.close()
    except etree.XMLSyntaxError as error:
        raise VerificationFailed(Finding.MALFORMED, f"the data is not an XML document: {error}") from error
