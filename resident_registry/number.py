"""The three numbers with a check digit, and how the first two are made."""

from __future__ import annotations

from hashlib import blake2b
from operator import mul
from typing import ClassVar, Self


class _CheckedNumber(str):
    """Digits of a fixed count, one of which checks the others."""

    _words: ClassVar[str]
    _length: ClassVar[int]

    def __new__(cls, digits: str) -> Self:
        """Take the digits. Raises ValueError where there are more or fewer, or where the check digit is another."""
        if len(digits) != cls._length or not digits.isascii() or not digits.isdigit():
            raise ValueError(f"{cls._words} has {cls._length} digits")
        if cls._complete(digits) != digits:
            raise ValueError(f"the check digit of the {cls._words.partition(' ')[2]} does not fit")
        return super().__new__(cls, digits)

    @classmethod
    def _complete(cls, digits: str) -> str:
        """The number with the check digit that it should have."""
        return digits[:-1] + check_digit(digits[:-1])

    @classmethod
    def around(cls, body: str) -> Self:
        """The number with that body: the digits that the check digit checks."""
        return str.__new__(cls, body + check_digit(body))


class IndividualNumber(_CheckedNumber):
    """Twelve digits whose last one checks the others (個人番号; Order on the Number Act, article 5)."""

    _words, _length = "an individual number", 12


class ResidentRecordCode(_CheckedNumber):
    """Eleven digits whose last one checks the others (住民票コード).

    The formula stands in a notice that could not be read; this is what secondary sources say of it.
    """

    _words, _length = "a resident record code", 11


class CorporateNumber(_CheckedNumber):
    """Thirteen digits whose first one checks the others (法人番号; Order of the Ministry of Finance 70 of 2014)."""

    _words, _length = "a corporate number", 13

    @classmethod
    def _complete(cls, digits: str) -> str:
        return corporate_check_digit(digits[1:]) + digits[1:]

    @classmethod
    def around(cls, body: str) -> Self:
        """The number with that body: the twelve digits of the company's registration."""
        return cls(corporate_check_digit(body) + body)


def check_digit(body: str) -> str:
    """The last digit of an individual number or a resident record code: weights 2 to 7, again and again from the
    right, modulo 11, and 0 where 10 or 11 would come of it."""
    remainder = sum(map(mul, map(int, reversed(body)), _WEIGHTS)) % 11
    return "0" if remainder <= 1 else str(11 - remainder)


_WEIGHTS = (2, 3, 4, 5, 6, 7) * 2


def corporate_check_digit(body: str) -> str:
    """The first digit of a corporate number: weights 1 and 2 from the right, modulo 9, taken from 9."""
    return str(9 - sum(int(digit) * (place % 2 + 1) for place, digit in enumerate(reversed(body))) % 9)


class Permutation:
    """A secret shuffle of all numbers of n digits: no two have one image, and nobody without the key goes back.

    A Feistel network over the two halves of the digits, with keyed BLAKE2b as round function.
    """

    _ROUNDS = 6

    def __init__(self, key: bytes, length: int) -> None:
        self._key = key
        self._length = length
        self._sizes = (10 ** (length // 2), 10 ** (length - length // 2))

    def __call__(self, number: int) -> str:
        """The image of a number, as n digits."""
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
"""How many individual numbers one resident record code can come to."""


class Numbering:
    """Makes the numbers of a world, as J-LIS does: a code from a running count, a number from a code."""

    def __init__(self, seed: str) -> None:
        def key(purpose: str) -> bytes:
            return blake2b(f"{purpose}\0{seed}".encode(), digest_size=32).digest()

        self._codes = Permutation(key("resident record code"), 10)
        self._numbers = Permutation(key("individual number"), 11)

    def record_code(self, count: int) -> ResidentRecordCode:
        """The code of the count-th person (0, 1, ...)."""
        return ResidentRecordCode.around(self._codes(count))

    def individual_number(self, code: ResidentRecordCode, changes: int) -> IndividualNumber:
        """The number made from a code, and from how often it was changed on request. Raises ValueError after nine."""
        if not 0 <= changes < NUMBER_CHANGES:
            raise ValueError(f"an individual number can be changed {NUMBER_CHANGES - 1} times")
        return IndividualNumber.around(self._numbers(int(code[:-1]) * NUMBER_CHANGES + changes))
