"""Mutations of signed documents: random changes to the bytes, and to the structure of each format.

They are reproducible: the same document, seed and count give the same mutations.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass

from lxml import etree

Mutation = Callable[[random.Random, bytes], bytes]

_LINES = (b"\n", b" ", b"\0", b"x", b"<x/>", b"<!-- x -->", b"<?x y?>", b"%%EOF\n", b"\x30\x00", b"\x05\x00", b"]]>")
"""What is inserted besides random bytes."""


def mutated(data: bytes, format_: str, seed: int, count: int) -> Iterator[bytes]:
    """Yield `count` mutations of a document whose format is xml, cms (in DER) or pdf. None is the document."""
    chance = random.Random(f"{seed} {format_}")
    structural = {"xml": XML, "cms": CMS, "pdf": PDF}[format_]
    while count:
        result = data
        for _ in range(chance.choice((1, 1, 1, 2, 5))):
            mutation = chance.choice(BYTES if chance.random() < 0.5 else structural)
            result = mutation(chance, result)
        if result != data:
            count -= 1
            yield result


def _place(chance: random.Random, data: bytes) -> int:
    return chance.randrange(max(len(data), 1))


def _span(chance: random.Random, data: bytes) -> tuple[int, int]:
    """A range of the data: mostly a few bytes, sometimes a large part."""
    start = _place(chance, data)
    return start, min(len(data), start + chance.choice((1, 2, 4, 16, 64, 256, len(data) // 2)))


def _flip(chance: random.Random, data: bytes) -> bytes:
    place = _place(chance, data)
    return data[:place] + bytes(byte ^ 1 << chance.randrange(8) for byte in data[place : place + 1]) + data[place + 1 :]


def _replace(chance: random.Random, data: bytes) -> bytes:
    start, end = _span(chance, data)
    end = min(end, start + 64)
    return data[:start] + chance.randbytes(end - start) + data[end:]


def _remove(chance: random.Random, data: bytes) -> bytes:
    start, end = _span(chance, data)
    return data[:start] + data[end:]


def _truncate(chance: random.Random, data: bytes) -> bytes:
    return data[: _place(chance, data)]


def _swap(chance: random.Random, data: bytes) -> bytes:
    (first, second), (third, fourth) = sorted((_span(chance, data), _span(chance, data)))
    second, fourth = min(second, third), max(fourth, third)
    return data[:first] + data[third:fourth] + data[second:third] + data[first:second] + data[fourth:]


def _duplicate(chance: random.Random, data: bytes) -> bytes:
    (start, end), place = _span(chance, data), _place(chance, data)
    return data[:place] + data[start:end] + data[place:]


def _insert(chance: random.Random, data: bytes) -> bytes:
    place = chance.choice((0, len(data), _place(chance, data), _place(chance, data)))
    return data[:place] + chance.choice((*_LINES, chance.randbytes(8))) + data[place:]


def _digit(chance: random.Random, data: bytes) -> bytes:
    """Change a decimal number, such as a length, an offset or an amount."""
    numbers = list(re.finditer(rb"\d+", data))
    if not numbers:
        return data
    number = chance.choice(numbers)
    value = chance.choice((0, 1, int(number[0][:9]) + 1, 1 << 31))
    return data[: number.start()] + str(value).encode() + data[number.end() :]


BYTES: Sequence[Mutation] = (_flip, _flip, _replace, _remove, _truncate, _swap, _duplicate, _insert, _digit)


# XML


def _in_tree(change: Callable[[random.Random, etree._Element, list[etree._Element]], None]) -> Mutation:
    """A mutation of the tree; of a document that is no longer XML, one of its bytes."""

    def mutation(chance: random.Random, data: bytes) -> bytes:
        try:
            root = etree.fromstring(data, etree.XMLParser(resolve_entities=False, no_network=True))
        except (etree.XMLSyntaxError, ValueError):
            return _flip(chance, data)
        change(chance, root, list(root.iter(etree.Element)))
        return bytes(etree.tostring(root.getroottree(), encoding="utf-8"))

    return mutation


def _move(chance: random.Random, root: etree._Element, elements: list[etree._Element]) -> None:
    moved, into = chance.choice(elements), chance.choice(elements)
    if moved is not root and into not in list(moved.iter()):
        into.insert(chance.randrange(len(into) + 1), moved)


def _copy(chance: random.Random, root: etree._Element, elements: list[etree._Element]) -> None:
    into = chance.choice(elements)
    into.insert(chance.randrange(len(into) + 1), deepcopy(chance.choice(elements)))


def _drop(chance: random.Random, root: etree._Element, elements: list[etree._Element]) -> None:
    element = chance.choice(elements)
    parent = element.getparent()
    if parent is not None:
        parent.remove(element)


def _text(chance: random.Random, root: etree._Element, elements: list[etree._Element]) -> None:
    element = chance.choice(elements)
    if chance.random() < 0.5:
        element.text = chance.choice(("", " ", "x", f"{element.text}x", chance.choice(elements).text))
    else:
        element.tail = chance.choice((None, " ", "x"))


def _attribute(chance: random.Random, root: etree._Element, elements: list[etree._Element]) -> None:
    values = [value for element in elements for value in element.attrib.values()] or [""]
    element = chance.choice(elements)
    name = chance.choice(("Id", "ID", "id", "URI", "Algorithm", "Target", *element.attrib))
    element.set(name, chance.choice((*values, "", "#", "x")))


def _aside(chance: random.Random, root: etree._Element, elements: list[etree._Element]) -> None:
    added = chance.choice((etree.Comment("x"), etree.ProcessingInstruction("x", "y")))
    beside = chance.choice((root, chance.choice(elements)))
    chance.choice((beside.addnext, beside.addprevious))(added)


def _rename(chance: random.Random, root: etree._Element, elements: list[etree._Element]) -> None:
    chance.choice(elements).tag = chance.choice((chance.choice(elements).tag, "x", "{http://x.example}x"))


XML: Sequence[Mutation] = tuple(
    _in_tree(change) for change in (_move, _copy, _drop, _text, _text, _attribute, _attribute, _aside, _aside, _rename)
)


# CMS


@dataclass(slots=True)
class _Node:
    """A DER value: its tag, and its contents or, if it is constructed, its parts."""

    tag: int
    contents: bytes
    parts: list[_Node] | None

    def encoded(self) -> bytes:
        contents = self.contents if self.parts is None else b"".join(part.encoded() for part in self.parts)
        size = len(contents)
        octets = size.to_bytes((size.bit_length() + 7) // 8 or 1)
        return bytes((self.tag,)) + (octets if size < 128 else bytes((0x80 | len(octets),)) + octets) + contents

    def all(self) -> Iterator[_Node]:
        yield self
        for part in self.parts or ():
            yield from part.all()


def _parsed(data: bytes) -> list[_Node]:
    """Parse DER values one after the other. Raises ValueError or IndexError for other bytes."""
    result, place = [], 0
    while place < len(data):
        tag, size, place = data[place], data[place + 1], place + 2
        if size > 0x80:
            octets = size - 0x80
            size, place = int.from_bytes(data[place : place + octets]), place + octets
        elif size == 0x80:
            raise ValueError("indefinite length")
        if place + size > len(data):
            raise ValueError("truncated")
        contents = data[place : place + size]
        result.append(_Node(tag, contents, _parsed(contents) if tag & 0x20 else None))
        place += size
    return result


def _in_der(change: Callable[[random.Random, list[_Node]], None]) -> Mutation:
    def mutation(chance: random.Random, data: bytes) -> bytes:
        try:
            (root,) = _parsed(data)
        except (ValueError, IndexError):
            return _flip(chance, data)
        change(chance, list(root.all()))
        return root.encoded()

    return mutation


def _constructed(chance: random.Random, nodes: list[_Node]) -> list[_Node]:
    return chance.choice([node.parts for node in nodes if node.parts] or [[]])


def _drop_value(chance: random.Random, nodes: list[_Node]) -> None:
    parts = _constructed(chance, nodes)
    if parts:
        parts.pop(chance.randrange(len(parts)))


def _copy_value(chance: random.Random, nodes: list[_Node]) -> None:
    parts, copied = _constructed(chance, nodes), deepcopy(chance.choice(nodes))
    parts.insert(chance.randrange(len(parts) + 1), copied)


def _swap_values(chance: random.Random, nodes: list[_Node]) -> None:
    chance.shuffle(_constructed(chance, nodes))


def _change_value(chance: random.Random, nodes: list[_Node]) -> None:
    node = chance.choice([node for node in nodes if node.parts is None] or nodes)
    node.contents = chance.choice((_flip(chance, node.contents), b"", chance.choice(nodes).contents))


def _change_tag(chance: random.Random, nodes: list[_Node]) -> None:
    chance.choice(nodes).tag = chance.choice((0x02, 0x04, 0x05, 0x06, 0x24, 0x30, 0x31, 0xA0, 0xA1))


CMS: Sequence[Mutation] = tuple(
    _in_der(change) for change in (_drop_value, _copy_value, _swap_values, _change_value, _change_value, _change_tag)
)


# PDF


def _objects(data: bytes) -> list[tuple[bytes, bytes]]:
    return re.findall(rb"(?m)^(\d+) 0 obj(.*?)endobj", data, re.S)


def _update(chance: random.Random, data: bytes) -> bytes:
    """Append an incremental update in which an object has another's contents (ISO 32000-1, 7.5.6)."""
    objects, begun = _objects(data), data.rfind(b"startxref")
    root = re.search(rb"/Root \d+ 0 R", data)
    if not objects or begun < 0 or root is None:
        return _flip(chance, data)
    previous = re.match(rb"\d+", data[begun + 9 :].lstrip())
    number, contents = chance.choice(objects)[0], chance.choice(objects)[1]
    if chance.random() < 0.3:
        number, contents = b"9999", b"\n(x)\n"
    place = len(data) + 1
    written = b"%d 0 obj%sendobj\n" % (int(number), contents)
    size = 1 + max(int(one) for one, _ in objects)
    return data + b"\n%sxref\n%d 1\n%010d 00000 n \ntrailer\n<</Size %d %s /Prev %d>>\nstartxref\n%d\n%%%%EOF\n" % (
        written, int(number), place, max(size, int(number) + 1), root[0], int(previous[0]) if previous else 0,
        place + len(written),
    )  # fmt: skip


def _name(chance: random.Random, data: bytes) -> bytes:
    """Put one of the file's names in the place of another."""
    names = list(re.finditer(rb"/[A-Za-z0-9.]+", data))
    if not names:
        return data
    name, other = chance.choice(names), chance.choice(names)
    return data[: name.start()] + other[0] + data[name.end() :]


def _append(chance: random.Random, data: bytes) -> bytes:
    return data + chance.choice((b"\n", b"\r\n \n", b"x", b"\n%%EOF\n", b"% x\n", data[-200:], b"\0"))


def _hexadecimal(chance: random.Random, data: bytes) -> bytes:
    """Change a digit of the signature."""
    match = re.search(rb"/Contents\s*<([0-9A-Fa-f]+)>", data)
    if match is None:
        return _flip(chance, data)
    place = chance.randrange(*match.span(1))
    return (
        data[:place] + chance.choice((b"0", b"f", b"F", b" ", data[place : place + 1].swapcase())) + data[place + 1 :]
    )


PDF: Sequence[Mutation] = (_update, _update, _name, _append, _hexadecimal)
