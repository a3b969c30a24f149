"""The PIN pad of a reader: VERIFY and MODIFY with a PIN that the person types at the reader (PC/SC part 10, 2.5)."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, IntEnum

from kazashi.reader_bridge.profile import PinPadProfile, PinProcedure

DEFAULT_SECONDS = 30
"""How long an entry may take if the client leaves that to the reader."""

_VERIFY = struct.Struct("<5BBB2BHB3BI")
_MODIFY = struct.Struct("<5B2BBB3BH3B3BI")
_VALIDATION_FULL, _VALIDATION_KEY, _VALIDATION_TIME = 1, 2, 4
_CONFIRM_NEW, _ASK_CURRENT = 1, 2
_DEFAULT_MESSAGES = 0xFF
_LONGEST_DATA = 255

Send = Callable[[bytes], bytes]


class PinAnswer(IntEnum):
    """The status words that the reader itself returns for a PIN command (PC/SC part 10, 2.5.3 and 2.5.4)."""

    TIMED_OUT = 0x6400
    CANCELLED = 0x6401
    NOT_REPEATED = 0x6402
    WRONG_LENGTH = 0x6403
    INVALID_PARAMETER = 0x6B80


class PinPurpose(Enum):
    """Which PIN the person is to type."""

    CURRENT = "current PIN"
    NEW = "new PIN"
    REPEATED = "new PIN again"


@dataclass(frozen=True, slots=True, kw_only=True)
class PinRequest:
    """A PIN that the person is to type.

    `shortest` and `longest` are numbers of digits, `seconds` is how long the entry may take. `ends_when_full`: the
    entry ends with the longest number of digits. `ends_with_key`: the person can end it.
    """

    slot: int
    purpose: PinPurpose
    shortest: int
    longest: int
    seconds: float
    ends_when_full: bool
    ends_with_key: bool


PinSource = Callable[[PinRequest], str]
"""Returns the digits that the person typed, however many. Raises PinCancelled and PinTimedOut."""


class PinCancelled(Exception):
    """The person pressed the cancel key."""


class PinTimedOut(Exception):
    """The entry took too long. `digits` are those typed by then."""

    def __init__(self, digits: str = "") -> None:
        super().__init__("no PIN was typed in time")
        self.digits = digits


def no_pin_source(request: PinRequest) -> str:
    """Cancel every entry."""
    raise PinCancelled(f"nobody types the {request.purpose.value}")


class _Invalid(Exception):
    """A field of the structure is invalid."""


class _Ended(Exception):
    """The entry ended without a PIN; `answer` says why."""

    def __init__(self, answer: PinAnswer) -> None:
        super().__init__(answer.name)
        self.answer = answer


@dataclass(frozen=True, slots=True)
class _Frame:
    """How digits are put into the data of a command (bmFormatString, bmPINBlockString, bmPINLengthFormat)."""

    coding: int
    right: bool
    position: int  # in bits, from the PIN block's start
    size: int  # in bytes, 0 for the digits' own length
    length_bits: int
    length_position: int  # in bits

    @classmethod
    def parse(cls, form: int, block: int, length: int) -> _Frame:
        if form & 3 == 3 or length & 0xE0:
            raise _Invalid
        unit = 8 if form & 0x80 else 1
        length_unit = 8 if length & 0x10 else 1
        return cls(
            form & 3, bool(form & 4), (form >> 3 & 0xF) * unit, block & 0xF, block >> 4, (length & 0xF) * length_unit
        )

    def check(self, longest: int) -> None:
        """Raise _Invalid if a PIN of the longest length does not fit."""
        if self.size and longest * self._width > self.size * 8:
            raise _Invalid
        if self.length_bits and longest >= 1 << self.length_bits:
            raise _Invalid

    def bits(self, digits: str) -> int:
        """How many bits from the block's start are used by a PIN."""
        used = self.size * 8 or (len(digits) * self._width + 7) // 8 * 8
        return self.position + used

    def put(self, data: bytearray, offset: int, digits: str) -> None:
        """Write a PIN into data at `offset`. Bytes that the data lacks are FF, as in a padded PIN."""
        end = max(self.bits(digits), self.length_position + self.length_bits)
        data.extend(b"\xff" * (offset + (end + 7) // 8 - len(data)))
        codes = {0: digits.encode().translate(_BINARY), 1: digits.encode().translate(_BINARY), 2: digits.encode()}
        start = self.position
        if self.right:
            start = self.bits(digits) - len(digits) * self._width
        for number, code in enumerate(codes[self.coding]):
            _write(data, offset * 8 + start + number * self._width, self._width, code)
        if self.length_bits:
            _write(data, offset * 8 + self.length_position, self.length_bits, len(digits))

    @property
    def _width(self) -> int:
        return 4 if self.coding == 1 else 8


_BINARY = bytes.maketrans(b"0123456789", bytes(range(10)))


def _write(data: bytearray, position: int, width: int, value: int) -> None:
    """Write `width` bits at a position in bits from the start."""
    for bit in range(width):
        place, mask = (position + bit) // 8, 0x80 >> (position + bit) % 8
        if value >> (width - 1 - bit) & 1:
            data[place] |= mask
        else:
            data[place] &= ~mask & 0xFF


@dataclass(frozen=True, slots=True)
class _Command:
    """The command of a structure, without the PIN: a header, data and an expected length."""

    header: bytes
    data: bytes
    le: bytes

    @classmethod
    def parse(cls, template: bytes) -> _Command:
        if len(template) == 4:
            return cls(template, b"", b"")
        size = template[4]
        if len(template) < 4 or len(template) not in (5 + size, 6 + size):
            raise _Invalid
        return cls(template[:4], template[5 : 5 + size], template[5 + size :])

    def with_data(self, data: bytes) -> bytes:
        if len(data) > _LONGEST_DATA:
            raise _Invalid
        return self.header + (bytes((len(data),)) + data if data else b"") + self.le


class PinPad:
    """The PIN pad of one slot."""

    def __init__(self, profile: PinPadProfile, slot: int, source: PinSource) -> None:
        self._profile = profile
        self._slot = slot
        self._source = source

    def properties(self) -> bytes:
        """Return the PIN_PROPERTIES_STRUCTURE."""
        lines, columns = self._profile.display
        return bytes((columns, lines, self._profile.validation, 0))

    def run(self, procedure: PinProcedure, structure: bytes, send: Send) -> bytes | None:
        """Ask for PINs, send the command with them by `send`, and return the card's response or a status word of the
        reader itself.

        A structure whose lengths do not match returns None: the driver refuses it before the reader sees it.
        """
        form = _VERIFY if procedure is PinProcedure.VERIFY else _MODIFY
        if len(structure) < form.size + 4:
            return None
        fields, template = form.unpack_from(structure), structure[form.size :]
        if fields[-1] != len(template):
            return None
        try:
            command = self._verify(fields, template) if form is _VERIFY else self._modify(fields, template)
        except _Invalid:
            return PinAnswer.INVALID_PARAMETER.to_bytes(2)
        except _Ended as ended:
            return ended.answer.to_bytes(2)
        return send(command)

    def _verify(self, fields: tuple[int, ...], template: bytes) -> bytes:
        seconds, _, form, block, length, longest, shortest, validation, messages, *_ = fields
        if messages not in (0, 1, _DEFAULT_MESSAGES):
            raise _Invalid
        frame, command = _Frame.parse(form, block, length), _Command.parse(template)
        ask = self._asking(seconds, shortest, longest, validation, frame)
        data = bytearray(command.data)
        frame.put(data, 0, ask(PinPurpose.CURRENT))
        return command.with_data(bytes(data))

    def _modify(self, fields: tuple[int, ...], template: bytes) -> bytes:
        seconds, _, form, block, length, old_at, new_at, longest, shortest, confirm, validation, messages, *_ = fields
        if messages > 3 and messages != _DEFAULT_MESSAGES:
            raise _Invalid
        if confirm & ~(_CONFIRM_NEW | _ASK_CURRENT):
            raise _Invalid
        frame, command = _Frame.parse(form, block, length), _Command.parse(template)
        ask = self._asking(seconds, shortest, longest, validation, frame)
        current = ask(PinPurpose.CURRENT) if confirm & _ASK_CURRENT else None
        new = ask(PinPurpose.NEW)
        if confirm & _CONFIRM_NEW and ask(PinPurpose.REPEATED) != new:
            raise _Ended(PinAnswer.NOT_REPEATED)
        data = bytearray(command.data)
        if current is not None:
            frame.put(data, old_at, current)
            if not frame.size:  # the new PIN follows the current one, whose length only the reader knows
                new_at = max(new_at, old_at + frame.bits(current) // 8)
        frame.put(data, new_at, new)
        return command.with_data(bytes(data))

    def _asking(
        self, seconds: int, shortest: int, longest: int, validation: int, frame: _Frame
    ) -> Callable[[PinPurpose], str]:
        """Return a function that asks for a PIN within the limits. Raises _Invalid for limits that are not valid."""
        pad = self._profile
        if not 0 < longest <= pad.longest or not pad.shortest <= shortest <= longest:
            raise _Invalid
        if not validation or validation & ~pad.validation:
            raise _Invalid
        frame.check(longest)

        def ask(purpose: PinPurpose) -> str:
            request = PinRequest(
                slot=self._slot,
                purpose=purpose,
                shortest=shortest,
                longest=longest,
                seconds=seconds or DEFAULT_SECONDS,
                ends_when_full=bool(validation & _VALIDATION_FULL),
                ends_with_key=bool(validation & _VALIDATION_KEY),
            )
            try:
                digits = self._source(request)
            except PinCancelled as error:
                raise _Ended(PinAnswer.CANCELLED) from error
            except PinTimedOut as error:
                if not validation & _VALIDATION_TIME:
                    raise _Ended(PinAnswer.TIMED_OUT) from error
                digits = error.digits
            if not shortest <= len(digits) <= longest:
                raise _Ended(PinAnswer.WRONG_LENGTH)
            return digits

        return ask
