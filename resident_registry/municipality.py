"""Municipalities: the level of local government that keeps the registry."""

from __future__ import annotations

from dataclasses import dataclass


class MunicipalityCode(str):
    """The code of a local government, five digits, without its check digit (全国地方公共団体コード)."""

    def __new__(cls, digits: str) -> MunicipalityCode:
        """Take five digits; ValueError where they are not."""
        if len(digits) != 5 or not digits.isascii() or not digits.isdigit():
            raise ValueError(f"a municipality code has five digits, unlike {digits!r}")
        return super().__new__(cls, digits)


@dataclass(frozen=True, slots=True)
class Municipality:
    """A municipality, or a ward of a designated city. Romaji are Hepburn with the level's suffix, without macrons."""

    code: MunicipalityCode
    prefecture: str
    name: str
    prefecture_romaji: str
    romaji: str
