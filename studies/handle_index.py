"""An index of handles by everything that can stand for one in a store: the value in its usual spellings, a plain digest
of one of these, and a keyed digest under a key that an actor of the world has.

A text is cut into runs of letters and digits, and a run counts only as a whole: a serial number within a longer number
is another number. Bytes that are not text are read as DER: integers, octet strings, and the texts in them.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import Enum

from kazashi.jpki.serial_number import serial_text
from kazashi.relying_party.pseudonyms.pseudonyms import framed
from kazashi.studies.handles import BY_WHOLE_VALUE, HandleKind, IssuedHandle

SHORTEST = 8
"""The least number of digits of a value that is looked for. Shorter ones are everywhere by chance."""

_LEAST = 10 ** (SHORTEST - 1)

_DEPTH = 3
"""How deep encodings within encodings are read: a certificate in PEM in base64."""

_DIGESTS = (hashlib.sha256, hashlib.sha1, hashlib.md5)
_BASE64_OF_DIGESTS = {22, 24, 27, 28, 43, 44}
_LONG = 64
"""The least length of a run of base64 or hexadecimal digits that is decoded and read in turn."""

_RUN = re.compile("[0-9A-Za-z]{8,}")
_DIGITS = re.compile("(?<![0-9])[0-9]{8,20}(?![0-9])")
_HEX = re.compile("[0-9A-Fa-f]+")
_GROUPED = re.compile(r"(?<![0-9])[0-9]{4}([ -])[0-9]{4}\1[0-9]{4}(?![0-9])")
_OCTETS = re.compile("[0-9A-Fa-f]{2}(?::[0-9A-Fa-f]{2}){3,}")
_BASE64 = (re.compile("[0-9A-Za-z_-]{22,}={0,2}"), re.compile("[0-9A-Za-z+/]{22,}={0,2}"))
"""Runs of either alphabet. A slash ends a run of the first, as in SHOP/CODE."""

_MYKEY = re.compile("[0-9A-Z]{8}")
_PEM = re.compile("-----BEGIN [^-]+-----([^-]+)-----END")
_INTEGER = re.compile(b"\x02([\x04-\x09])")
_OCTET_STRING = re.compile(b"\x04([\x10\x14\x20])")
_TEXT = re.compile(b"[0-9A-Za-z+/=_:-]{8,}")
_FULL_WIDTH = str.maketrans("０１２３４５６７８９", "0123456789")


class StoredForm(Enum):
    """The form in which a store has a handle."""

    CLEAR = "clear"
    DIGEST = "digest"
    """SHA-256, SHA-1 or MD5 without a key. Whoever tries all values gets the handle back."""
    KEYED = "keyed"
    """HMAC under a key that an actor of the world has."""


@dataclass(frozen=True, slots=True)
class Key:
    """A secret that an actor has: its store, its name there, and its bytes."""

    store: str
    name: str
    value: bytes


@dataclass(frozen=True, slots=True, eq=False)
class ValueShape:
    """What a value looks like: how it is written and its length. `space` is the number of values of that shape. There
    is one object for each shape."""

    writing: str
    length: int
    space: float


@dataclass(frozen=True, slots=True)
class Hit:
    """A handle that a value contains, by its number in the index. `key` is the name of the key's store and of the key.
    `shape` is None for values so long that none is like another by chance."""

    handle: int
    form: StoredForm
    key: str = ""
    shape: ValueShape | None = None
    value: int | str = ""


@dataclass
class Tally:
    """The shapes of the values that were read, with their numbers and their least and largest value."""

    counts: dict[ValueShape, int] = field(default_factory=dict)
    ranges: dict[ValueShape, tuple[int, int]] = field(default_factory=dict)

    def add(self, shape: ValueShape, value: int) -> None:
        """Count a value of a shape."""
        if shape not in self.counts:
            self.counts[shape], self.ranges[shape] = 1, (value, value)
            return
        self.counts[shape] += 1
        low, high = self.ranges[shape]
        if not low <= value <= high:
            self.ranges[shape] = (min(low, value), max(high, value))


_BY_DIGITS = [ValueShape("digits", length, 9 * 10.0 ** (length - 1)) for length in range(21)]
_BY_HEX = [ValueShape("hexadecimal", length, 16.0**length) for length in range(17)]
_BY_OCTETS = [ValueShape("octets", length, 256.0**length / 2) for length in range(10)]
_OF_MYKEY = ValueShape("letters and digits", 8, 36.0**8)

_Found = tuple[int, StoredForm, str]


class HandleIndex:
    """Finds handles in values of any type."""

    def __init__(self, handles: Iterable[IssuedHandle], keys: Iterable[Key] = ()) -> None:
        self.handles = list(handles)
        self._texts: dict[str, list[int]] = {}
        self._wholes: dict[str, list[int]] = {}
        self._numbers: dict[int, list[int]] = {}
        self._octets: dict[bytes, tuple[_Found, ...]] = {}
        self.sizes: dict[ValueShape, int] = {}
        keys = list(keys)
        for number, handle in enumerate(self.handles):
            self._enter(number, handle)
            if handle.kind not in BY_WHOLE_VALUE:
                self._enter_images(number, handle, keys)

    def _enter(self, number: int, handle: IssuedHandle) -> None:
        match handle.value:
            case str(text) if handle.kind in BY_WHOLE_VALUE:
                self._wholes.setdefault(text, []).append(number)
            case bytes(code):
                self._enter_octets(code, (number, StoredForm.CLEAR, ""))
            case int(serial):
                self._numbers.setdefault(serial, []).append(number)
                for shape in (_BY_DIGITS[len(str(serial))], _BY_HEX[max(1, (serial.bit_length() + 3) // 4)],
                              *(_BY_OCTETS[length] for length in (4, 8))):  # fmt: skip
                    self.sizes[shape] = self.sizes.get(shape, 0) + 1
            case text:
                self._texts.setdefault(text, []).append(number)
                shape = _BY_DIGITS[len(text)] if text.isdigit() and handle.kind is not HandleKind.MYKEY else _OF_MYKEY
                self.sizes[shape] = self.sizes.get(shape, 0) + 1

    def _enter_images(self, number: int, handle: IssuedHandle, keys: list[Key]) -> None:
        spellings, digested = list(_spellings(handle.value)), (number, StoredForm.DIGEST, "")
        for spelling in spellings:
            for hashed in _DIGESTS:
                self._enter_octets(hashed(spelling, usedforsecurity=False).digest(), digested)
        if isinstance(handle.value, bytes):
            return
        for key in keys:
            paired = [framed(key.name.encode(), handle.value.to_bytes(8))] if isinstance(handle.value, int) else []
            for spelling in (*spellings, *paired):
                image = hmac.digest(key.value, spelling, "sha256")
                self._enter_octets(image, (number, StoredForm.KEYED, f"{key.store}: {key.name}"))

    def _enter_octets(self, octets: bytes, found: _Found) -> None:
        self._octets[octets] = (*self._octets[octets], found) if octets in self._octets else (found,)

    def find(self, value: object, tally: Tally) -> Iterator[Hit]:
        """The handles in a value of a column. What could have been one is counted in `tally`."""
        match value:
            case bool() | None | float():
                return
            case int(number):
                # A signed column has the upper half of 32 or 64 bits as negative numbers.
                if number >= _LEAST:
                    yield from self._by_digits(str(number), tally)
                elif number < 0:
                    for width in (64, 32) if number >= -(1 << 31) else (64,):
                        yield from self._by_digits(str(number + (1 << width)), tally)
            case str(text):
                for one in self._wholes.get(text, ()):
                    yield Hit(one, StoredForm.CLEAR)
                if len(text) >= SHORTEST:
                    yield from self._in_text(text, tally, 0)
            case bytes(octets):
                yield from self._in_octets(octets, tally, 0)
            case memoryview() as view:
                yield from self._in_octets(bytes(view), tally, 0)

    def _in_text(self, text: str, tally: Tally, depth: int) -> Iterator[Hit]:
        if not text.isascii():
            text = text.translate(_FULL_WIDTH)
        for run in _RUN.findall(text):
            yield from self._in_run(run, tally, depth)
        if " " in text or "-" in text:
            for match in _GROUPED.finditer(text):
                yield from self._by_digits(match[0].replace(match[1], ""), tally)
        if ":" in text:
            for octets in _OCTETS.findall(text):
                yield from self._in_run(octets.replace(":", ""), tally, depth)
        if len(text) >= 22:
            for run in {run for alphabet in _BASE64 for run in alphabet.findall(text)}:
                if len(run) in _BASE64_OF_DIGESTS or len(run) >= _LONG:
                    yield from self._encoded(run, tally, depth)
            if "-----BEGIN" in text and depth < _DEPTH:
                for body in _PEM.findall(text):
                    yield from self._encoded("".join(body.split()), tally, depth)

    def _in_run(self, run: str, tally: Tally, depth: int) -> Iterator[Hit]:
        if run.isdigit():
            yield from self._by_digits(run, tally)
        else:
            for digits in _DIGITS.findall(run):
                yield from self._by_digits(digits, tally)
        if len(run) == 8 and _MYKEY.fullmatch(run):
            tally.add(_OF_MYKEY, int(run, 36))
            for one in self._texts.get(run, ()):
                yield Hit(one, StoredForm.CLEAR, shape=_OF_MYKEY, value=run)
        if run[1] in "xX" and run[0] == "0":
            run = run[2:]
        if not _HEX.fullmatch(run):
            return
        short = run.lstrip("0")
        if SHORTEST <= len(short) <= 16:
            yield from self._by_number(int(short, 16), _BY_HEX[len(short)], tally)
        elif len(run) in (32, 40, 64):
            yield from self._by_octets(bytes.fromhex(run))
        elif len(run) > _LONG and len(run) % 2 == 0 and depth < _DEPTH:
            yield from self._in_octets(bytes.fromhex(run), tally, depth + 1)

    def _by_digits(self, digits: str, tally: Tally) -> Iterator[Hit]:
        if len(digits) > 20:
            return
        shape = _BY_DIGITS[len(digits)]
        if shape in self.sizes:
            number = int(digits)
            tally.add(shape, number)
            for one in (*self._texts.get(digits, ()), *self._numbers.get(number, ())):
                yield Hit(one, StoredForm.CLEAR, shape=shape, value=digits)

    def _by_number(self, number: int, shape: ValueShape, tally: Tally) -> Iterator[Hit]:
        tally.add(shape, number)
        for one in self._numbers.get(number, ()):
            yield Hit(one, StoredForm.CLEAR, shape=shape, value=number)

    def _by_octets(self, octets: bytes) -> Iterator[Hit]:
        for one, form, key in self._octets.get(octets, ()):
            yield Hit(one, form, key)

    def _encoded(self, run: str, tally: Tally, depth: int) -> Iterator[Hit]:
        try:
            octets = base64.b64decode(run.rstrip("=") + "=" * (-len(run.rstrip("=")) % 4), b"-_" if _url(run) else None)
        except (binascii.Error, ValueError):
            return
        if len(run) in _BASE64_OF_DIGESTS:
            yield from self._by_octets(octets)
        elif depth < _DEPTH:
            yield from self._in_octets(octets, tally, depth + 1)

    def _in_octets(self, octets: bytes, tally: Tally, depth: int) -> Iterator[Hit]:
        yield from self._by_octets(octets)
        if len(octets) in (4, 8):
            yield from self._by_number(int.from_bytes(octets), _BY_OCTETS[len(octets)], tally)
        if len(octets) < SHORTEST:
            return
        if octets.isascii():
            yield from self._in_text(octets.decode("ascii"), tally, depth)
            return
        for match in _INTEGER.finditer(octets):
            length, begin = match[1][0], match.end()
            number = int.from_bytes(octets[begin : begin + length])
            shape = _BY_OCTETS[4 if length <= 5 else 8]
            yield from self._by_number(number, shape, tally)
        for match in _OCTET_STRING.finditer(octets):
            yield from self._by_octets(octets[match.end() : match.end() + match[1][0]])
        for text in _TEXT.findall(octets):
            yield from self._in_text(text.decode("ascii"), tally, depth)


def _url(run: str) -> bool:
    return "-" in run or "_" in run


def _spellings(value: int | str | bytes) -> Iterator[bytes]:
    """The usual ways to write a value as bytes before it is hashed."""
    match value:
        case bytes(code):
            yield from (code, code.hex().encode())
        case int(serial):
            text = serial_text(serial)
            shortest = serial.to_bytes(max(1, (serial.bit_length() + 7) // 8))
            der = serial.to_bytes(serial.bit_length() // 8 + 1)
            yield from dict.fromkeys((
                str(serial).encode(), text.encode(), text.lower().encode(), shortest, serial.to_bytes(8),
                serial.to_bytes(12), b"\x02" + bytes((len(der),)) + der,
            ))  # fmt: skip
        case text:
            yield text.encode()
