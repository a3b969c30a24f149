"""The mapping: what each column of a log means, as its owner writes it in YAML or JSON."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from enum import Enum
from pathlib import Path
from typing import Any, TypeVar

import yaml

from kazashi.tracking_lab.accounts import ATTRIBUTES
from kazashi.tracking_lab.logs.unusable import LogsUnusable, LogsUnusableReason
from kazashi.world.input_file import read_text_input
from kazashi.world.place_in_file import place_of

JAPAN = "+09:00"
MISSING = ("-", "", "null")
"""How servers and databases write that there is no certificate."""

_MOST_CLOCK = 100 * 366 * 86_400
"""The most seconds that a service's clock may be wrong: a hundred years."""

_Value = TypeVar("_Value", bound=Enum)


class HandleForm(Enum):
    """What a handle is, and so which texts are the same handle (docs/tracking.md)."""

    SERIAL = "serial"
    UUID = "uuid"
    MYKEY = "mykey"
    HASH = "hash"
    OPAQUE = "opaque"


class Digits(Enum):
    """How a serial number of digits only is to be read."""

    HEXADECIMAL = "hex"
    DECIMAL = "decimal"


class IssuingAuthority(Enum):
    """The authority that issued the certificates of a log. Both count from the same number, so that equal serial
    numbers of the two are different certificates."""

    SIGNATURE = "signature"
    AUTHENTICATION = "authentication"


@dataclass(frozen=True, slots=True)
class HandleColumn:
    """The column of the handle. `form` is None if it is to be detected. `authority` and `digits` concern serial
    numbers. `pattern` is a regular expression whose first group is the handle, if the column has other text as well.
    `missing` are the texts that mean no handle, in any case."""

    column: str = ""
    form: HandleForm | None = None
    authority: IssuingAuthority | None = None
    digits: Digits | None = None
    pattern: str = ""
    missing: tuple[str, ...] = MISSING


@dataclass(frozen=True, slots=True)
class MomentColumn:
    """The column of the time. `form` is `iso` (any written date and time), `epoch`, `excel`, or a strptime format.
    `zone` is the UTC offset or the IANA name of the zone of times that name none."""

    column: str
    form: str = "iso"
    zone: str = JAPAN


@dataclass(frozen=True, slots=True)
class LogMapping:
    """What each column means.

    * `moment`: the column of the time, or a MomentColumn. `form` and `zone` are those of a plain column name.
    * `service`: the column of the service, or `constant`: the service's name if all rows belong to one service.
    * `handle`: the column of the identifier under which the service knows the user, or a HandleColumn.
    * `person`: the column of the actual person, if the ground truth is known. Linkers never see it.
    * `row`: the column of a row's own id, if it has one; rows with the same id count once.
    * `address`, `agent`: the columns of the client's address and of its software. The address is kept as a number for
      its prefix (/24, /48) and the software as a number.
    * `attributes`: the columns of attributes that people gave, by name: family, given, born, sex, town, street.
    * `services`: what is known about services, by name: `kind`, `sector`, `asks`, `clock` (the seconds to add to the
      service's times), and `handle`: the `form`, `authority` and `digits` of its handles where they differ.
    * `log`: the name or the text of a server's log format, for files that are not CSV, JSON lines or Parquet.
    """

    moment: str | MomentColumn = ""
    handle: str | HandleColumn = ""
    service: str = ""
    constant: str = ""
    form: str = "iso"
    zone: str = JAPAN
    person: str = ""
    row: str = ""
    address: str = ""
    agent: str = ""
    attributes: dict[str, str] = field(default_factory=dict)
    services: dict[str, dict[str, Any]] = field(default_factory=dict)
    log: str = ""

    @classmethod
    def read(cls, path: Path) -> LogMapping:
        """Read a mapping from a YAML or JSON file. Raises LogsUnusable."""
        try:
            given = yaml.safe_load(read_text_input(path))
        except OSError as error:
            raise _unreadable(f"{path} cannot be read as a mapping: {error.strerror}") from error
        except (ValueError, RecursionError, yaml.YAMLError) as error:
            raise _unreadable(f"{path} is neither YAML nor JSON{place_of(error)}") from error
        keys = [column.name for column in fields(cls)]
        wanted = set() if isinstance(given, dict) and given.get("log") else {"moment", "handle"}
        if not isinstance(given, dict) or given.keys() - set(keys) or not wanted <= given.keys():
            raise _unreadable(
                f"{path} must have `moment` and `handle`, and may have {', '.join(keys)}; it has "
                f"{', '.join(map(str, given)) if isinstance(given, dict) else 'no keys at all'}"
            )
        for name, kind in (("attributes", dict), ("services", dict), ("log", str), ("service", str), ("constant", str)):
            if name in given and not isinstance(given[name], kind):
                raise _unreadable(f"`{name}` in {path} must be {_KINDS[kind]}, not {given[name]!r}")
        mapping = cls(**{
            **given, "moment": _moment(given.get("moment", ""), path), "handle": _handle(given.get("handle", ""), path)
        })  # fmt: skip
        mapping.check(str(path))
        return mapping

    def check(self, place: str = "the mapping") -> None:
        """Raise LogsUnusable if the mapping contradicts itself. `place` names it in the message."""
        if bool(self.service) == bool(self.constant):
            raise LogsUnusable(
                LogsUnusableReason.SERVICE_OR_CONSTANT, f"{place} must have either `service` or `constant`, not both"
            )
        if unknown := set(self.attributes) - set(ATTRIBUTES):
            raise LogsUnusable(
                LogsUnusableReason.UNKNOWN_ATTRIBUTE,
                f"{place} maps unknown attributes: {', '.join(sorted(unknown))}; use {', '.join(ATTRIBUTES)}",
            )
        for name, known in self.services.items():
            clock = known.get("clock", 0) if isinstance(known, dict) else None
            if not isinstance(clock, int | float) or not abs(clock) <= _MOST_CLOCK:  # NaN is not
                raise LogsUnusable(
                    LogsUnusableReason.WRONG_SERVICE,
                    f"the entry of {name} in {place} is wrong; give kind, sector, asks, handle, and clock in seconds "
                    "(a hundred years at most)",
                )
            self.handle_of(name)

    @property
    def moments(self) -> MomentColumn:
        """The column of the time, with its form and zone."""
        return self.moment if isinstance(self.moment, MomentColumn) else MomentColumn(self.moment, self.form, self.zone)

    @property
    def handles(self) -> HandleColumn:
        """The column of the handle, with its form."""
        return self.handle if isinstance(self.handle, HandleColumn) else HandleColumn(self.handle)

    def handle_of(self, service: str) -> HandleColumn:
        """The column of the handle as one service writes it. Raises LogsUnusable if its entry is wrong."""
        own = self.services.get(service, {}).get("handle", {})
        return _as_handle(self.handles, own, f"the entry of {service}", ("form", "authority", "digits"))

    @property
    def columns(self) -> list[str]:
        """Every column that the mapping names."""
        return [name for name in (self.moments.column, self.handles.column, self.service, self.person, self.row,
                                  self.address, self.agent, *self.attributes.values()) if name]  # fmt: skip

    def as_dict(self) -> dict[str, Any]:
        """The mapping as JSON can hold it, with `moment` and `handle` in full."""
        document = {one.name: getattr(self, one.name) for one in fields(self) if one.name not in ("form", "zone")}
        moment = {one.name: getattr(self.moments, one.name) for one in fields(MomentColumn)}
        handle = {one.name: getattr(self.handles, one.name) for one in fields(HandleColumn)}
        plain = {name: value.value if isinstance(value, Enum) else value for name, value in handle.items()}
        return {**document, "moment": moment, "handle": plain}


_KINDS = {dict: "a mapping", str: "a text"}


def _unreadable(words: str) -> LogsUnusable:
    return LogsUnusable(LogsUnusableReason.MAPPING_UNREADABLE, words)


def _moment(given: object, path: Path) -> str | MomentColumn:
    if isinstance(given, str):
        return given
    known = {one.name for one in fields(MomentColumn)}
    if not isinstance(given, dict) or given.keys() - known:
        raise _unreadable(f"`moment` in {path} must be a column, or have {', '.join(sorted(known))}; it is {given!r}")
    if not all(isinstance(value, str) for value in given.values()):
        raise _unreadable(f"the values of `moment` in {path} must be texts in quotes; they are {given!r}")
    return MomentColumn(**{"column": "", **given})


def _handle(given: object, path: Path) -> str | HandleColumn:
    if isinstance(given, str):
        return given
    return _as_handle(HandleColumn(), given, f"`handle` in {path}", tuple(one.name for one in fields(HandleColumn)))


def _as_handle(before: HandleColumn, given: object, place: str, keys: tuple[str, ...]) -> HandleColumn:
    """`before` with the values that a mapping gives. Raises LogsUnusable."""
    if not isinstance(given, dict) or given.keys() - set(keys):
        raise LogsUnusable(
            LogsUnusableReason.WRONG_HANDLE, f"{place} must be a mapping with {', '.join(keys)}; it is {given!r}"
        )
    values: dict[str, Any] = {name: given[name] for name in ("column", "pattern") if name in given}
    for name, kind in (("form", HandleForm), ("authority", IssuingAuthority), ("digits", Digits)):
        if given.get(name) is not None:
            values[name] = _member(kind, given[name], f"`{name}` of {place}")
    if "missing" in given:
        texts = given["missing"] if isinstance(given["missing"], list) else [given["missing"]]
        values["missing"] = tuple("null" if text is None else str(text) for text in texts)
    return replace(before, **values)


def _member(kind: type[_Value], given: object, place: str) -> _Value:
    if isinstance(given, kind):
        return given
    try:
        return kind(given)
    except ValueError as error:
        known = ", ".join(str(member.value) for member in kind)
        raise LogsUnusable(LogsUnusableReason.WRONG_HANDLE, f"{place} must be {known}; it is {given!r}") from error
