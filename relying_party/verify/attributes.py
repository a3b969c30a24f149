"""The holder's four attributes (基本4情報), which a signature certificate contains as six otherNames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from kazashi.jpki.profile import OTHER_NAME_ARC

NAME, NAME_FLAGS, SEX, BIRTH, ADDRESS, ADDRESS_FLAGS = (f"{OTHER_NAME_ARC}.{number}" for number in range(1, 7))
ORDER = (NAME, BIRTH, SEX, ADDRESS, NAME_FLAGS, ADDRESS_FLAGS)
"""The order in which a certificate has them."""

_SEXES = {"1": "male", "2": "female", "3": "unknown", "9": "unknown"}
_ERAS = "012345"
"""Unknown, Meiji, Taisho, Showa, Heisei, Reiwa; the year after the digit is Gregorian."""


@dataclass(frozen=True, slots=True)
class FourAttributes:
    """Name, address, date of birth and sex, as they were registered on the day of issue.

    U+3000 separates family and given name. `name_substituted` and `address_substituted` are the positions of characters
    that replace one which a certificate cannot hold: two holders whose names agree there may have different names in
    the registry. `birth` is None if a part of the date is not known; `birth_text` is always EYYYYMMDD.
    """

    name: str
    address: str
    birth: date | None
    birth_text: str
    sex: str
    name_substituted: tuple[int, ...]
    address_substituted: tuple[int, ...]

    def as_dict(self) -> dict[str, object]:
        """Return the attributes as a JSON object; `birth` is an ISO 8601 date or None."""
        return {
            "name": self.name,
            "address": self.address,
            "birth": self.birth.isoformat() if self.birth else None,
            "birth_text": self.birth_text,
            "sex": self.sex,
            "name_substituted": list(self.name_substituted),
            "address_substituted": list(self.address_substituted),
        }


def four_attributes(names: Sequence[tuple[str, str]]) -> FourAttributes:
    """Read the attributes from otherNames (type, value) in the order of the certificate. Raises ValueError, which says
    what is wrong with them."""
    if tuple(kind for kind, _ in names) != ORDER:
        raise ValueError("the four attributes are not the six expected names, once each and in order")
    values = dict(names)
    if values[SEX] not in _SEXES:
        raise ValueError(f"the sex is {values[SEX]!r}, not 1, 2, 3 or 9")
    if not values[NAME].strip() or not values[ADDRESS].strip():
        raise ValueError("the name or the address is empty")
    return FourAttributes(
        values[NAME], values[ADDRESS], _birth(values[BIRTH]), values[BIRTH], _SEXES[values[SEX]],
        _places(values[NAME], values[NAME_FLAGS], "name"), _places(values[ADDRESS], values[ADDRESS_FLAGS], "address"),
    )  # fmt: skip


def _birth(text: str) -> date | None:
    if len(text) != 9 or not text.isascii() or not text.isdigit() or text[0] not in _ERAS:
        raise ValueError(f"the date of birth is {text!r}, not an era digit and eight more digits")
    year, month, day = int(text[1:5]), int(text[5:7]), int(text[7:9])
    if 0 in (year, month, day):
        return None
    try:
        return date(year, month, day)
    except ValueError as error:
        raise ValueError(f"the date of birth {text[1:]} does not exist") from error


def _places(text: str, flags: str, what: str) -> tuple[int, ...]:
    if len(flags) != len(text):
        raise ValueError(f"the {what} has {len(text)} characters but {len(flags)} substitution flags")
    if set(flags) - {"0", "1"}:
        raise ValueError(f"the substitution flags of the {what} are not all 0 or 1")
    return tuple(place for place, flag in enumerate(flags) if flag == "1")
