"""A person in the registry."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from enum import Enum
from typing import Any, TypeVar

from kazashi.resident_registry.birth_date import BirthDate
from kazashi.resident_registry.municipality import Municipality, municipality
from kazashi.resident_registry.number import IndividualNumber, ResidentRecordCode
from kazashi.world.entered_text import entered_text

FULL_WIDTH_SPACE = "\u3000"
JAPAN = "JP"

_Code = TypeVar("_Code", bound=Enum)


class Sex(Enum):
    """Sex, with the codes that are used on the card."""

    UNKNOWN = "0"
    MALE = "1"
    FEMALE = "2"
    NOT_APPLICABLE = "9"


class ResidencyStatus(Enum):
    """A person's status in the registry."""

    RESIDENT = "resident"
    MOVING = "moving"
    """A move out was notified, but no move in yet."""
    ABROAD = "abroad"
    DEAD = "dead"
    DELETED = "deleted"


@dataclass(frozen=True, slots=True)
class Name:
    """A registered name. `given` is empty for a person with a single name.

    `former_surname` (旧氏) and `common_name` (通称, of a foreign resident) are shown beside the name once registered;
    `kana` is the reading (振り仮名) of family and given name, `former_surname_kana` that of the former surname.
    """

    family: str
    given: str = ""
    former_surname: str = ""
    common_name: str = ""
    kana: str = ""
    former_surname_kana: str = ""

    def __post_init__(self) -> None:
        if not self.family:
            raise ValueError("a name needs a family name; for a person with a single name, give that")

    def __str__(self) -> str:
        family = f"{self.family}［{self.former_surname}］" if self.former_surname else self.family
        name = FULL_WIDTH_SPACE.join(part for part in (family, self.given) if part)
        return f"{name}（{self.common_name}）" if self.common_name else name


@dataclass(frozen=True, slots=True)
class Residence:
    """A former address: the municipality's code, the whole address, and the day on which the person left it."""

    municipality: str
    address: str
    left: date


@dataclass(frozen=True, slots=True)
class Resident:
    """A person in the registry. `address` begins with the prefecture and has full-width digits.

    `alias` is a short name for use in commands and `about` a note on the person; neither is in any real register.
    `nationality` is an ISO 3166 code. `residence_status` and `stay_end` (the last day of the period of stay) are for
    foreign residents. `household` is a label of the household. `record_code` is assigned at registration, and
    `individual_number` when J-LIS has made it.
    """

    alias: str
    about: str
    name: Name
    birth: BirthDate
    sex: Sex
    municipality: Municipality
    street: str
    stay_end: date | None = None
    nationality: str = JAPAN
    residence_status: str = ""
    household: str = ""
    status: ResidencyStatus = ResidencyStatus.RESIDENT
    record_code: ResidentRecordCode | None = None
    individual_number: IndividualNumber | None = None
    since: date | None = None
    """The day from which the person has lived at the address."""
    residences: tuple[Residence, ...] = ()
    protected: bool = False
    """Whether the person is protected as a victim of domestic violence or stalking (支援措置)."""

    def __post_init__(self) -> None:
        if not self.street:
            raise ValueError("an address needs a street, or whatever follows the municipality's name")
        if self.nationality == JAPAN and self.residence_status:
            raise ValueError("a Japanese national must not have a residence status")

    @property
    def address(self) -> str:
        """The whole address as it is written in the register."""
        return f"{self.municipality.prefecture}{self.municipality.name}{self.street}"

    @property
    def code(self) -> ResidentRecordCode:
        """The resident record code. Raises ValueError for a person who is not registered."""
        if self.record_code is None:
            raise ValueError(f"{self.alias or self.name} is not registered")
        return self.record_code


def to_document(resident: Resident) -> dict[str, Any]:
    """Convert a resident to a document for JSON. Empty fields are left out."""
    name = resident.name
    document = {
        "alias": resident.alias,
        "about": resident.about,
        "family": name.family,
        "given": name.given,
        "former_surname": name.former_surname,
        "common_name": name.common_name,
        "kana": name.kana,
        "former_surname_kana": name.former_surname_kana,
        "birth": str(resident.birth),
        "sex": resident.sex.value,
        "municipality": resident.municipality.code,
        "street": resident.street,
        "stay_end": resident.stay_end and resident.stay_end.isoformat(),
        "nationality": resident.nationality if resident.nationality != JAPAN else "",
        "residence_status": resident.residence_status,
        "household": resident.household,
        "status": resident.status.value if resident.status is not ResidencyStatus.RESIDENT else "",
        "record_code": resident.record_code,
        "individual_number": resident.individual_number,
        "since": resident.since and resident.since.isoformat(),
        "residences": [[one.municipality, one.address, one.left.isoformat()] for one in resident.residences],
        "protected": resident.protected,
    }
    return {key: value for key, value in document.items() if value}


def from_document(document: Mapping[str, Any]) -> Resident:
    """Read a resident from a document of `to_document`. Kana with a combining sound mark are composed.

    Raises ValueError, which says what is missing or invalid. Unknown keys are an error, too, so that a misspelt key is
    not ignored silently.
    """
    if not isinstance(document, Mapping):
        raise ValueError(f"{document!r} is not a resident; give a JSON object")
    unknown = document.keys() - _KEYS
    if unknown:
        raise ValueError(f"unknown keys: {', '.join(sorted(unknown))}; a resident has {', '.join(sorted(_KEYS))}")
    for needed in ("family", "birth", "sex", "municipality", "street"):
        if not document.get(needed):
            raise ValueError(f"{needed} is missing")
    get = document.get

    def text(key: str) -> str:
        value = get(key) or ""
        if not isinstance(value, str):
            raise ValueError(f"{key} must be text, but is {value!r}")
        return entered_text(value)

    def day(key: str) -> date | None:
        given = text(key)
        try:
            return date.fromisoformat(given) if given else None
        except ValueError:
            raise ValueError(f"{key}: {given!r} is not a date; write 2027-01-31") from None

    def one_of(kind: type[_Code], key: str, usual: str = "") -> _Code:
        given = text(key) or usual
        if given not in (codes := [one.value for one in kind]):
            raise ValueError(f"{key} is one of {', '.join(codes)}, and not {given!r}")
        return kind(given)

    if not isinstance(protected := get("protected") or False, bool):
        raise ValueError(f"protected must be true or false, but is {protected!r}")
    return Resident(
        alias=text("alias"),
        about=text("about"),
        name=Name(
            family=text("family"), given=text("given"), former_surname=text("former_surname"),
            common_name=text("common_name"), kana=text("kana"), former_surname_kana=text("former_surname_kana"),
        ),
        birth=BirthDate.parse(text("birth")),
        sex=one_of(Sex, "sex"),
        municipality=municipality(text("municipality")),
        street=text("street"),
        stay_end=day("stay_end"),
        nationality=text("nationality") or JAPAN,
        residence_status=text("residence_status"),
        household=text("household"),
        status=one_of(ResidencyStatus, "status", ResidencyStatus.RESIDENT.value),
        record_code=ResidentRecordCode(text("record_code")) if get("record_code") else None,
        individual_number=IndividualNumber(text("individual_number")) if get("individual_number") else None,
        since=day("since"),
        residences=tuple(Residence(code, address, date.fromisoformat(left))
                         for code, address, left in get("residences") or ()),
        protected=protected,
    )  # fmt: skip


_KEYS = frozenset(
    (
        "alias", "about", "family", "given", "former_surname", "common_name", "kana", "former_surname_kana", "birth",
        "sex", "municipality", "street", "stay_end", "nationality", "residence_status", "household", "status",
        "record_code", "individual_number", "since", "residences", "protected",
    )
)  # fmt: skip
