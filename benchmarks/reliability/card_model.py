"""A small model of a card: what is selected, what is verified, and the retry counters.

It has its own tables, written from docs/card.md and not from the applications' code, and it checks a card by the bytes
that it was sent and returned.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import ClassVar

NAMES = {
    "manager": "A0000001510000",
    "jpki": "D392F000260100000001",
    "text": "D3921000310001010408",
    "visual": "D3921000310001010402",
    "juki": "D3921000310001010401",
    "common": "D3921000310001010100",
}
"""Applications and their AIDs, in the order in which a partial AID is matched."""

READABLE: Mapping[str, Mapping[int, set[int] | None]] = {
    "manager": {},
    "jpki": {0x01: {0x1B}, 0x02: None, 0x06: None, 0x08: None, 0x0A: None, 0x0B: None, 0x09: set()},
    "text": {0x01: {0x11, 0x14}, 0x02: {0x11, 0x15}, 0x03: {0x11, 0x14, 0x15}, 0x04: None, 0x05: None,
             0x06: {0x11, 0x14, 0x15}, 0x07: {0x11, 0x14, 0x15}, 0x08: None},
    "visual": {0x01: {0x11}, 0x02: {0x12, 0x13}, 0x03: None, 0x04: None, 0x05: {0x13}, 0x06: {0x12, 0x13}},
    "juki": {},
    "common": {},
}  # fmt: skip
"""Application: readable file: the PIN files of which any one opens it, or None if it is free."""

RECORDS = {"common": {0x01, 0x02}, "juki": {0x02}}
"""Files of records, which are free."""

PINS = {
    ("jpki", 0x18): 3, ("jpki", 0x1B): 5, ("text", 0x11): 3, ("text", 0x14): 10, ("text", 0x15): 10,
    ("visual", 0x11): 10, ("visual", 0x12): 10, ("visual", 0x13): 10, ("juki", 0x1C): 3, ("common", 0x1C): 3,
}  # fmt: skip
"""The retry limits of PINs."""

BLOCKED = ("text", 0x12)
"""A PIN that was never set. It has no tries, and no limit of its own."""

CHANGEABLE = {("jpki", 0x18): ("00240180", 4), ("jpki", 0x1B): ("00240180", 6), ("text", 0x11): ("00240180", 4),
              ("juki", 0x1C): ("80320080", 4), ("common", 0x1C): ("80320080", 4)}  # fmt: skip
"""The command that changes a PIN, and the least length of a new value."""

SIGNING: Mapping[str, Mapping[int, set[int] | None]] = {
    "jpki": {0x17: {0x18}, 0x1A: {0x1B}},
    "text": {0x13: None},
    "visual": {0x1A: None},
}
"""Keys that sign, like READABLE."""

OTHER_FILES = {
    "jpki": {0x05, 0x10, 0x16, 0x17, 0x19, 0x1A, 0x1C, 0x1E},
    "text": {0x10, 0x12, 0x13, 0x1C, 0x1E},
    "visual": {0x14, 0x15, 0x1A, 0x1C, 0x1E},
    "juki": {0x02},
    "common": {0x01, 0x02, 0x19, 0x1E},
}

AUTHENTICATING = {"common": 0x19}
"""The key of an application that INTERNAL AUTHENTICATE uses without a PIN."""

_DEFAULT_KEYS = {"text": 0x13, "visual": 0x1A}
_REFUSALS = frozenset({
    0x6300, 0x66F1, 0x6700, 0x6881, 0x6882, 0x6981, 0x6982, 0x6984, 0x6985, 0x6986, 0x6987, 0x69FC, 0x6A80, 0x6A81,
    0x6A82, 0x6A83, 0x6A86, 0x6A88, 0x6B00, 0x6D00, 0x6E00, *range(0x63C0, 0x63D0),
})  # fmt: skip
"""The status words of docs/errors.md but success, a failed memory, and a bug of the emulation."""

_LONGEST_PIN = 16
_SIGNATURE = 256


class Unearned(Exception):
    """A card returned what nobody had earned, or kept back what somebody had; or it returned what no card returns."""


class CardModel:
    """What a card must know after each command."""

    def __init__(
        self, contents: Mapping[tuple[str, int], bytes], pins: Mapping[tuple[str, int], bytes],
        left: Mapping[tuple[str, int], int], *, reset_keeps: bool,
    ) -> None:  # fmt: skip
        """`contents` has the bytes of readable files. `pins` has the PINs' values and `left` the tries left.
        `reset_keeps` says that a reset changes nothing, as measured on a contactless card."""
        self._contents = contents
        self.reset_keeps = reset_keeps
        self.pins, self.left = dict(pins), dict(left)
        self.application = "manager"
        self.file: int | None = None
        self.verified: set[int] = set()

    def power_cycle(self) -> None:
        """The card lost its power."""
        self.application, self.file = "manager", None
        self.verified.clear()

    def reset(self) -> None:
        """The card was reset."""
        if not self.reset_keeps:
            self.power_cycle()

    def exists(self, fid: int) -> bool:
        """Whether the current application has a file."""
        return (
            fid in READABLE[self.application]
            or (self.application, fid) in PINS
            or fid in OTHER_FILES.get(self.application, ())
        )

    def observe(self, command: bytes, response: bytes) -> None:
        """Follow a command and its response. Raises Unearned."""
        status = int.from_bytes(response[-2:])
        data = response[:-2]
        if status != 0x9000 and (data or status not in _REFUSALS):
            raise Unearned(f"a response with the status {status:04X} and {len(data)} bytes of data")
        parsed = _parsed(command)
        if parsed is None:
            if status == 0x9000:
                raise Unearned("a malformed command succeeded")
            return
        follow = self._FOLLOW.get(command[0] << 8 | command[1])
        if follow is not None:
            follow(self, command, *parsed, status, data)
        elif status == 0x9000:
            raise Unearned("a command succeeded that only the issuer may use, or that the card does not know")

    def _select(self, command: bytes, data: bytes, _: int | None, status: int, __: bytes) -> None:
        if status != 0x9000:
            return
        if command[2] == 2:
            if len(data) != 2 or not self.exists(int.from_bytes(data)):
                raise Unearned(f"the file {data.hex()} was selected, which {self.application} does not have")
            self.file = int.from_bytes(data)
        elif command[2] == 4:
            names = list(NAMES)
            if command[3] in (0x02, 0x0E):
                names = names[names.index(self.application) + 1 :]
            name = data.hex().upper()
            selected = next((known for known in names if data and NAMES[known].startswith(name)), None)
            if selected is None:
                raise Unearned(f"an application {name} was selected, and no name begins with that")
            if selected != self.application:
                self.verified.clear()
            self.application, self.file = selected, None

    def _short(self, short: int) -> int | None:
        """Follow a short file identifier: the file that is current then, or None if there is no such file."""
        if not 1 <= short <= 30 or not self.exists(short):
            return None
        self.file = short
        return short

    def _reference(self, p2: int) -> int | None:
        """Follow P2 of a PIN or key command."""
        if p2 == 0x80:
            return self.file
        return self._short(p2 & 0x1F) if p2 & 0xE0 == 0x80 else None

    def _read_binary(self, command: bytes, data: bytes, le: int | None, status: int, content: bytes) -> None:
        p1, p2 = command[2], command[3]
        if data or p1 & 0xE0 in (0xA0, 0xC0, 0xE0):
            self._must_fail(status, "READ BINARY with data, or with a wrong P1")
            return
        file = self._short(p1 & 0x1F) if p1 & 0x80 else self.file
        offset = p2 if p1 & 0x80 else p1 << 8 | p2
        allowed = self._open(READABLE[self.application], file)
        if status == 0x9000:
            if file is None or not allowed:
                raise Unearned(f"a file of {self.application} was read, and {self.verified} were verified: {file}")
            expected = self._contents[self.application, file][offset : offset + (le or 256)]
            if not content or content != expected:
                raise Unearned(f"{len(content)} bytes from {offset} of {self.application} {file:02X} are not its own")
        elif status == 0x6982 and allowed:
            raise Unearned(f"{self.application} {file} was kept back, and {self.verified} were verified")

    def _read_record(self, command: bytes, data: bytes, _: int | None, status: int, __: bytes) -> None:
        if data or command[3] & 7 not in (4, 5):
            self._must_fail(status, "READ RECORD with data, or with a wrong P2")
            return
        file = self._short(command[3] >> 3) if command[3] >> 3 else self.file
        if status == 0x9000 and file not in RECORDS.get(self.application, ()):
            raise Unearned(f"a record of {self.application} {file} was read")

    def _verify(self, command: bytes, offered: bytes, le: int | None, status: int, _: bytes) -> None:
        if command[2]:
            self._must_fail(status, "VERIFY with a P1")
            return
        key = (self.application, self._reference(command[3]) or 0)
        if key == BLOCKED and le is None and len(offered) <= _LONGEST_PIN:
            self._must_be(status, 0x6984 if offered else 0x63C0, "VERIFY of a PIN that was never set")
        elif key not in PINS or le is not None or len(offered) > _LONGEST_PIN:
            if status == 0x9000 or status & 0xFFF0 == 0x63C0:
                raise Unearned(f"VERIFY of {key} compared, or told a counter")
        elif not offered:
            self._must_be(status, 0x63C0 | self.left[key], f"the empty VERIFY of {key}")
        elif not self.left[key]:
            self._must_be(status, 0x6984, f"VERIFY of {key}, which is blocked")
        elif offered == self.pins[key]:
            self._must_be(status, 0x9000, f"VERIFY of {key} with the right PIN")
            self.left[key] = PINS[key]
            self.verified.add(key[1])
        else:
            self.left[key] -= 1
            self.verified.discard(key[1])
            self._must_be(status, 0x63C0 | self.left[key], f"VERIFY of {key} with a wrong PIN")

    def _change(self, command: bytes, new: bytes, _: int | None, status: int, __: bytes) -> None:
        if command[2] != (1 if command[1] == 0x24 else 0):
            self._must_fail(status, "a change with a wrong P1")
            return
        key = (self.application, self._reference(command[3]) or 0)
        if status == 0x9000:
            wanted, least = CHANGEABLE.get(key, ("", 0))
            if key[1] not in self.verified or command[:3].hex() != wanted[:6].lower() or len(new) < least:
                raise Unearned(f"{key} was changed, and {self.verified} were verified")
            self.pins[key], self.left[key] = new, PINS[key]

    def _sign(self, command: bytes, data: bytes, _: int | None, status: int, signature: bytes) -> None:
        if command[2] > 5:
            self._must_fail(status, "a signature with a wrong P1")
            return
        p2 = command[3]
        file = self._reference(p2) if p2 else _DEFAULT_KEYS.get(self.application)
        allowed = self._open(SIGNING.get(self.application, {}), file)
        if status == 0x9000 and not (allowed and data and len(signature) == _SIGNATURE):
            raise Unearned(f"{self.application} {file} signed, and {self.verified} were verified")
        if status == 0x6982 and allowed:
            raise Unearned(f"{self.application} {file} did not sign, and {self.verified} were verified")

    def _authenticate(self, command: bytes, data: bytes, _: int | None, status: int, signature: bytes) -> None:
        if command[2]:
            self._must_fail(status, "INTERNAL AUTHENTICATE with a P1")
            return
        file = self._reference(command[3])
        authenticates = file is not None and AUTHENTICATING.get(self.application) == file
        if status == 0x9000 and not (authenticates and data and len(signature) == _SIGNATURE):
            raise Unearned(f"{self.application} {file} authenticated")

    def _free(self, *_: object) -> None:
        """GET DATA and GET CHALLENGE need no PIN, and change nothing that the model knows."""

    def _open(self, rules: Mapping[int, set[int] | None], file: int | None) -> bool:
        """Whether the rules know a file and what was verified opens it."""
        if file is None or file not in rules:
            return False
        needs = rules[file]
        return needs is None or bool(needs & self.verified)

    def _must_fail(self, status: int, what: str) -> None:
        if status == 0x9000:
            raise Unearned(f"{what} succeeded")

    def _must_be(self, status: int, expected: int, what: str) -> None:
        if status != expected:
            raise Unearned(f"{what} returned {status:04X}, not {expected:04X}")

    _FOLLOW: ClassVar[Mapping[int, Callable[..., None]]] = {
        0x00A4: _select, 0x00B0: _read_binary, 0x00B2: _read_record, 0x0020: _verify, 0x0024: _change,
        0x8032: _change, 0x802A: _sign, 0x0088: _authenticate, 0x00CA: _free, 0x0084: _free,
    }  # fmt: skip


def _parsed(command: bytes) -> tuple[bytes, int | None] | None:
    """Return the data of a command and Le (ISO 7816-4, 5.2), or None if its length fields do not fit its length."""
    body = command[4:]
    if len(command) < 4:
        return None
    if len(body) <= 1:
        return b"", (body[0] or 256) if body else None
    width = 1 if body[0] else 3
    length = int.from_bytes(body[:width])
    rest = len(body) - width - length
    if width == 3 and len(body) == 3:
        return b"", length or 65536
    if not length or rest not in (0, width if width == 1 else 2):
        return None
    le = int.from_bytes(body[width + length :]) or (256 if width == 1 else 65536)
    return body[width : width + length], le if rest else None
