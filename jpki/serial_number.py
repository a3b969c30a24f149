"""Serial numbers of certificates (RFC 5280, 4.1.2.2) as text: one form to print, and all forms that programs print.

nginx, openssl, Apache and Node print hexadecimal in whole octets; GnuTLS and Java with leading zeros, colons or in
lower case; keytool without the leading zero digit; Java, Go and PostgreSQL decimal, which is also the hexadecimal form
of another number. The texts of certificates have a label before it, and openssl's and NSS's have both forms.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

MAX_SERIAL = (1 << 64) - 1
"""The largest serial number that the authorities assign."""

_HEXADECIMAL = re.compile("(?:0[xX])?([0-9A-Fa-f]{1,40})")
_SPACED = re.compile("[0-9A-Fa-f]{2}(?: [0-9A-Fa-f]{2}){1,19}")
_OCTETS = re.compile("[0-9A-Fa-f]{1,2}(?::[0-9A-Fa-f]{2}){1,19}")
_DECIMAL = re.compile("[1-9][0-9]{0,39}")
_LABEL = re.compile(r"serial ?(?:number)?(?: \(hex\))?\s*[:=]\s*", re.IGNORECASE)
_BRACKETS = re.compile(r"\[\s*(.*?)\s*\]")
_BOTH = re.compile(r"([0-9]{1,40}) \(0x([0-9A-Fa-f]{1,40})\)")


class NotASerialNumber(ValueError):
    """A text is not a serial number in any form."""


class AmbiguousSerialNumber(Exception):
    """A text is one certificate's serial number in hexadecimal and another's in decimal; nothing was changed."""


def serial_text(serial: int) -> str:
    """Return a serial number in hexadecimal, in upper case and whole octets, as nginx and openssl print it."""
    return serial.to_bytes(max(1, (serial.bit_length() + 7) // 8)).hex().upper()


@dataclass(frozen=True, slots=True)
class SerialReading:
    """The serial numbers that a text can mean, at least one of them. `decimal` is None unless the text is digits only,
    without a leading zero."""

    text: str
    hexadecimal: int | None
    decimal: int | None

    @property
    def readings(self) -> list[int]:
        """The serial numbers, hexadecimal first."""
        return [number for number in (self.hexadecimal, self.decimal) if number is not None]

    def choose(self, issued: Collection[int]) -> int:
        """Return the reading that is an issued serial number, or the first reading if none is. Raises
        AmbiguousSerialNumber if both are."""
        found = [number for number in self.readings if number in issued]
        if len(found) > 1:
            texts = " and ".join(f"0x{serial_text(number)}" for number in found)
            raise AmbiguousSerialNumber(
                f"{self.text} can be two certificates, in hexadecimal and in decimal: {texts}; write one of these"
            )
        return (found or self.readings)[0]

    def note(self, chosen: int) -> str:
        """Say that the text was read as decimal, if that is how the chosen number came from it."""
        if chosen != self.decimal:
            return ""
        return f"{self.text} was read as decimal; in hexadecimal it is {serial_text(chosen)}"

    def in_words(self) -> str:
        """The readings for a message that none of them exists."""
        words = []
        if self.hexadecimal is not None:
            words.append(serial_text(self.hexadecimal))
        if self.decimal is not None:
            words.append(f"{serial_text(self.decimal)} (if {self.text} is decimal)")
        return " nor ".join(words)


def read_serial(text: str) -> SerialReading:
    """Read a serial number: hexadecimal in either case, with or without colons, 0x or leading zeros; or decimal; or
    both, as openssl writes them: 12000005 (0xb71b05). A label such as `Serial Number:` may stand before it. Raises
    NotASerialNumber."""
    given = _LABEL.sub("", text.strip(), count=1) if _LABEL.match(text.strip()) else text.strip()
    given = _BRACKETS.sub(r"\1", given) if _BRACKETS.fullmatch(given) else given
    both = _BOTH.fullmatch(given)
    if both is not None and int(both[1]) == int(both[2], 16):
        given = f"0x{both[2]}"
    if _SPACED.fullmatch(given):
        given = given.replace(" ", ":")
    match = _HEXADECIMAL.fullmatch(given)
    if match is not None:
        digits = match[1]
    elif _OCTETS.fullmatch(given):
        digits = given.replace(":", "")
    else:
        shown = given if len(given) <= 60 else given[:60] + "..."
        raise NotASerialNumber(
            f"{shown!r} is not a serial number; write hexadecimal digits such as 0A3C5E7F, with or without colons or 0x"
        )
    hexadecimal = _assignable(int(digits, 16))
    decimal = _assignable(int(given)) if _DECIMAL.fullmatch(given) else None
    if hexadecimal is None and decimal is None:
        raise NotASerialNumber(f"{given!r} is not a serial number of these authorities, which are 1 to {MAX_SERIAL:X}")
    return SerialReading(given, hexadecimal, decimal if decimal != hexadecimal else None)


def _assignable(number: int) -> int | None:
    return number if 0 < number <= MAX_SERIAL else None
