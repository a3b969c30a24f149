"""The individual number (個人番号, "My Number"): 11 digits and a check digit."""

from __future__ import annotations

from random import Random


class IndividualNumber(str):
    """Twelve digits whose last one checks the others (Order on the Number Act, article 5)."""

    def __new__(cls, digits: str) -> IndividualNumber:
        """Take twelve digits. Raises ValueError where they are not, or where the check digit is another."""
        if len(digits) != 12 or not digits.isascii() or not digits.isdigit():
            raise ValueError("an individual number has twelve digits")
        if check_digit(digits[:11]) != digits[11]:
            raise ValueError("the check digit of the individual number does not fit")
        return super().__new__(cls, digits)

    @classmethod
    def draw(cls, chance: Random) -> IndividualNumber:
        """A number from a stream of chance."""
        body = f"{chance.randrange(10**11):011d}"
        return cls(body + check_digit(body))


def check_digit(body: str) -> str:
    """The twelfth digit for eleven: weights 2 to 7 and 2 to 6 from the right, modulo 11, and 0 for 10 and 11."""
    remainder = sum(int(digit) * (place % 6 + 2) for place, digit in enumerate(reversed(body))) % 11
    return "0" if remainder <= 1 else str(11 - remainder)
