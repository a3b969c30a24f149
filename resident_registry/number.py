"""Individual numbers, resident record codes and corporate numbers, with check digits; the first two are made here."""

from __future__ import annotations

from hashlib import blake2b
from operator import mul
from typing import ClassVar, Self


class _CheckedNumber(str):
    """A fixed number of digits, one of which is a check digit."""

    _term: ClassVar[str]
    _length: ClassVar[int]

    def __new__(cls, digits: str) -> Self:
        """Check the digits. Raises ValueError for a wrong number of digits or a wrong check digit."""
        if len(digits) != cls._length or not digits.isascii() or not digits.isdigit():
            raise ValueError(f"{cls._term} must have {cls._length} digits")
        if cls._complete(digits) != digits:
            raise ValueError(f"the check digit of the {cls._term.partition(' ')[2]} is wrong")
        return super().__new__(cls, digits)

    @classmethod
    def _complete(cls, digits: str) -> str:
        """Return the digits with the correct check digit."""
        return digits[:-1] + check_digit(digits[:-1])

    @classmethod
    def around(cls, body: str) -> Self:
        """Return the number with that body, which is all digits but the check digit."""
        return str.__new__(cls, body + check_digit(body))


class IndividualNumber(_CheckedNumber):
    """Twelve digits, the last of which is the check digit (個人番号; Order on the Number Act, article 5)."""

    _term, _length = "an individual number", 12


class ResidentRecordCode(_CheckedNumber):
    """Eleven digits, the last of which is the check digit (住民票コード).

    The formula is in a notice that could not be obtained. This is the formula given in secondary sources.
    """

    _term, _length = "a resident record code", 11


class CorporateNumber(_CheckedNumber):
    """Thirteen digits, the first being the check digit (法人番号; Order of the Ministry of Finance 70 of 2014)."""

    _term, _length = "a corporate number", 13

    @classmethod
    def _complete(cls, digits: str) -> str:
        return corporate_check_digit(digits[1:]) + digits[1:]

    @classmethod
    def around(cls, body: str) -> Self:
        """Return the number with that body, which is the twelve digits of the company's registration."""
        return cls(corporate_check_digit(body) + body)


def check_digit(body: str) -> str:
    """The check digit of an individual number or a resident record code.

    The digits are weighted 2 to 7, repeatedly, from the right; the sum is taken modulo 11 and subtracted from 11. A
    result of 10 or 11 becomes 0.
    """
    remainder = sum(map(mul, map(int, reversed(body)), _WEIGHTS)) % 11
    return "0" if remainder <= 1 else str(11 - remainder)


_WEIGHTS = (2, 3, 4, 5, 6, 7) * 2


def corporate_check_digit(body: str) -> str:
    """The check digit of a corporate number.

    The digits are weighted 1 and 2, alternately, from the right; the sum is taken modulo 9 and subtracted from 9.
    """
    return str(9 - sum(int(digit) * (place % 2 + 1) for place, digit in enumerate(reversed(body))) % 9)


class Permutation:
    """A keyed permutation of all numbers of n digits, which cannot be inverted without the key.

    It is a Feistel network over the two halves of the digits, with keyed BLAKE2b as the round function.
    """

    _ROUNDS = 6

    def __init__(self, key: bytes, length: int) -> None:
        self._key = key
        self._length = length
        self._sizes = (10 ** (length // 2), 10 ** (length - length // 2))

    def __call__(self, number: int) -> str:
        """Return the image of a number, as n digits. Raises ValueError for a number of more digits."""
        left_size, right_size = self._sizes
        left, right = divmod(number, right_size)
        if not 0 <= left < left_size:
            raise ValueError(f"{number} has more than {self._length} digits")
        for step in range(0, self._ROUNDS, 2):
            left = (left + self._round(step, right)) % left_size
            right = (right + self._round(step + 1, left)) % right_size
        return f"{left * right_size + right:0{self._length}d}"

    def _round(self, step: int, half: int) -> int:
        data = (half << 4 | step).to_bytes(8)
        return int.from_bytes(blake2b(data, key=self._key, digest_size=8).digest())


NUMBER_CHANGES = 10
"""The number of individual numbers that can be made from one resident record code."""


class Numbering:
    """Makes the numbers of a world, as J-LIS does: a record code from a counter, an individual number from a code."""

    def __init__(self, seed: str) -> None:
        def key(purpose: str) -> bytes:
            return blake2b(f"{purpose}\0{seed}".encode(), digest_size=32).digest()

        self._codes = Permutation(key("resident record code"), 10)
        self._numbers = Permutation(key("individual number"), 11)

    def record_code(self, count: int) -> ResidentRecordCode:
        """The record code of the count-th person (0, 1, ...)."""
        return ResidentRecordCode.around(self._codes(count))

    def individual_number(self, code: ResidentRecordCode, changes: int) -> IndividualNumber:
        """The individual number made from a code and the number of changes. Raises ValueError after nine changes."""
        if not 0 <= changes < NUMBER_CHANGES:
            raise ValueError(f"an individual number can be changed at most {NUMBER_CHANGES - 1} times")
        return IndividualNumber.around(self._numbers(int(code[:-1]) * NUMBER_CHANGES + changes))
