"""What two presentations of mdocs have in common: the parts of a DeviceResponse that link them, whoever compares them.

A part that is the document's own (a key, a signature, random values, its place in the status list) says that both
presentations are of one document, and so of one person. Parts that many documents have say only that both may be.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import cbor2

from kazashi.jpki.cose import X5CHAIN, MalformedCbor, decoded, parts

_Document = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class CommonPart:
    """A part of two presentations: its name, whether it is a document's own, whether it is equal, and its size in bytes
    in the first one."""

    name: str
    own: bool
    equal: bool
    size: int


def compare(one: tuple[str, bytes], other: tuple[str, bytes]) -> list[CommonPart]:
    """Return the parts of two DeviceResponses, given as their names and as CBOR. Nothing is verified. Raises
    MalformedCbor, with the name of the one that is not a DeviceResponse."""
    documents, rows = [_named_document(*response) for response in (one, other)], []
    try:
        for name, own, read in _PARTS:
            first, second = (cbor2.dumps(read(document), canonical=True) for document in documents)
            rows.append(CommonPart(name, own, first == second, len(first)))
        return rows
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise MalformedCbor("one of the two is not a DeviceResponse with one document") from error


def _named_document(name: str, response: bytes) -> _Document:
    try:
        return _document(response)
    except (MalformedCbor, KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise MalformedCbor(f"{name} is not a DeviceResponse with one document") from error


def _document(response: bytes) -> _Document:
    (document,) = decoded(response)["documents"]
    security_object = decoded(decoded(parts(document["issuerSigned"]["issuerAuth"])[2] or b"").value)
    return {**document, "security_object": security_object}


def _device_key(document: _Document) -> Any:
    return document["security_object"]["deviceKeyInfo"]["deviceKey"]


def _items(document: _Document, part: str) -> dict[str, Any]:
    """Return a part of each disclosed item by the element's name."""
    items = [decoded(item.value) for items in document["issuerSigned"]["nameSpaces"].values() for item in items]
    return {item["elementIdentifier"]: item[part] for item in items}


_PARTS: tuple[tuple[str, bool, Callable[[_Document], Any]], ...] = (
    ("device key", True, _device_key),
    ("issuer's signature", True, lambda document: parts(document["issuerSigned"]["issuerAuth"])[3]),
    ("digests", True, lambda document: document["security_object"]["valueDigests"]),
    ("place in the status list", True, lambda document: document["security_object"]["status"]["status_list"]["idx"]),
    ("random values of the elements", True, lambda document: _items(document, "random")),
    ("device's signature", True,
     lambda document: document["deviceSigned"]["deviceAuth"]["deviceSignature"][3]),
    ("validity", False, lambda document: document["security_object"]["validityInfo"]),
    ("document signer", False, lambda document: parts(document["issuerSigned"]["issuerAuth"])[1][X5CHAIN]),
    ("elements", False, lambda document: _items(document, "elementValue")),
)  # fmt: skip
