"""A person as the registry knows one."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from enum import Enum

from resident_registry.birth_date import BirthDate
from resident_registry.municipality import Municipality

FULL_WIDTH_SPACE = "\u3000"


class Sex(Enum):
    """Sex as the card codes it."""

    UNKNOWN = "0"
    MALE = "1"
    FEMALE = "2"
    NOT_APPLICABLE = "9"


@dataclass(frozen=True, slots=True)
class Name:
    """A registered name. `given` is empty for a person of one name.

    `former_surname` (旧氏) and `common_name` (通称, of a foreign resident) are shown beside the name once registered.
    """

    family: str
    given: str = ""
    former_surname: str = ""
    common_name: str = ""

    def __str__(self) -> str:
        family = f"{self.family}［{self.former_surname}］" if self.former_surname else self.family
        name = FULL_WIDTH_SPACE.join(part for part in (family, self.given) if part)
        return f"{name}（{self.common_name}）" if self.common_name else name


@dataclass(frozen=True, slots=True)
class Resident:
    """A resident. `address` begins with the prefecture and has full-width digits; `stay_end` is the last day of a
    foreign resident's period of stay."""

    alias: str
    about: str
    name: Name
    birth: BirthDate
    sex: Sex
    municipality: Municipality
    street: str
    stay_end: date | None = None

    @property
    def address(self) -> str:
        """The whole address as the register writes it."""
        return f"{self.municipality.prefecture}{self.municipality.name}{self.street}"
