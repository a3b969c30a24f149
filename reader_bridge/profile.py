"""Reader profiles: what a PC/SC client sees of a reader, as data with the source of every fact (docs/readers.md)."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from kazashi.reader_bridge.reader_command import READER_VALUES, CommandPattern, ReaderAnswer, ReaderCommand
from kazashi.world.input_file import read_text_input
from kazashi.world.place_in_file import place_of

_SUFFIX = ".toml"


class NoSuchProfile(Exception):
    """There is no reader profile with that name."""


class BadProfile(Exception):
    """The file is not a valid reader profile; the message names the file and the table."""


class ExchangeLevel(Enum):
    """What a reader takes from its driver (CCID 1.1, 5.1, dwFeatures).

    With `TPDU` the driver has the protocol's blocks: T=1 carries APDUs of any length, and in T=0 the client sees 61xx
    and 6Cxx. Readers that take APDUs run the protocol themselves.
    """

    TPDU = "TPDU"
    SHORT = "short APDU"
    EXTENDED = "extended APDU"


class ContactlessAtr(Enum):
    """The ATR that a contactless reader builds of a Type B card: without its PUPI (PC/SC part 3), or with it."""

    PART_3 = "part 3"
    WITH_PUPI = "with PUPI"


class PinProcedure(Enum):
    """A procedure of a PIN pad (PC/SC part 10, 2.5), by its feature number."""

    VERIFY = 0x06
    MODIFY = 0x07


@dataclass(frozen=True, slots=True, kw_only=True)
class ContactlessProfile:
    """A contactless slot. `fixed_pupi`: a card has the same PUPI each time it enters the field. `unknown` is the status
    word of commands of class FF that the reader does not know."""

    atr: ContactlessAtr = ContactlessAtr.PART_3
    fixed_pupi: bool = False
    unknown: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class PinPadProfile:
    """A PIN pad. `display` is (lines, characters per line), (0, 0) without one. `shortest` and `longest` are the limits
    of a PIN, in digits; `limits_told` says whether the reader's properties contain them. `validation` has the bits of
    the conditions that can end an entry (PC/SC part 10, bEntryValidationCondition)."""

    procedures: tuple[PinProcedure, ...]
    display: tuple[int, int]
    shortest: int
    longest: int
    limits_told: bool
    validation: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotProfile:
    """A slot. `protocols` are numbers, 0 for T=0 and 1 for T=1. `longest_message` is the longest CCID message in bytes,
    ten of which are its header. `card_atr` replaces the ATR of a card at the contacts."""

    exchange: ExchangeLevel
    protocols: tuple[int, ...]
    longest_message: int
    card_atr: bytes | None = None
    contactless: ContactlessProfile | None = None
    pin_pad: PinPadProfile | None = None

    @property
    def longest_command(self) -> int:
        """The longest command in one message, in bytes. Extended APDUs and T=1 blocks are spread over messages."""
        return self.longest_message - 10


@dataclass(frozen=True, slots=True)
class Fact:
    """Facts of one table of a profile, in words, and the addresses of their sources."""

    words: str
    sources: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReaderProfile:
    """A kind of reader.

    `reader_name` is its name in PC/SC, without the slot's number. `vendor_id`, `product_id` and `version` are those of
    the USB device (idVendor, idProduct, bcdDevice), None if it is not one. `escape_allowed`: escape commands pass
    (SCardControl with the code SCARD_CTL_CODE(1)). `escape_apdu` is the header of the command of class FF that carries
    an escape command. `settings` are the initial values of the bytes that commands can change.
    """

    name: str
    title: str
    reader_name: str
    vendor: str | None
    vendor_id: int | None
    product_id: int | None
    version: int | None
    escape_allowed: bool
    escape_apdu: bytes | None
    slots: tuple[SlotProfile, ...]
    commands: tuple[ReaderCommand, ...]
    settings: Mapping[str, int] = field(default_factory=dict)
    facts: tuple[Fact, ...] = ()


def profile_names() -> tuple[str, ...]:
    """Return the names of all profiles, sorted."""
    return tuple(
        sorted(
            entry.name.removesuffix(_SUFFIX)
            for entry in (files("kazashi.reader_bridge") / "profiles").iterdir()
            if entry.name.endswith(_SUFFIX)
        )
    )


@cache
def reader_profile(name: str) -> ReaderProfile:
    """Return a profile by its name, or from a file whose name ends in .toml.

    Raises NoSuchProfile, BadProfile and FileUnusable.
    """
    if name.endswith(_SUFFIX):
        try:
            return parse_profile(Path(name).stem, read_text_input(name))
        except UnicodeDecodeError as error:
            raise BadProfile(f"{name} is not a reader profile: it is not UTF-8") from error
        except OSError as error:
            raise NoSuchProfile(f"the reader profile {name} cannot be read: {error.strerror}") from error
    if name not in profile_names():
        raise NoSuchProfile(f"there is no reader profile {name!r}; there are {', '.join(profile_names())}")
    text = (files("kazashi.reader_bridge") / "profiles" / f"{name}{_SUFFIX}").read_text(encoding="utf-8")
    return parse_profile(name, text)


def parse_profile(name: str, text: str) -> ReaderProfile:
    """Read a profile from TOML. Raises BadProfile."""
    try:
        return _ProfileReader(name, tomllib.loads(text)).profile()
    except tomllib.TOMLDecodeError as error:
        raise BadProfile(f"the reader profile {name} is not TOML{place_of(error)}") from error
    except RecursionError as error:
        raise BadProfile(f"the reader profile {name} is nested too deeply") from error


class _ProfileReader:
    """Converts the tables of one profile, and collects their facts."""

    def __init__(self, name: str, document: dict[str, Any]) -> None:
        self._name = name
        self._document = document
        self._facts: list[Fact] = []
        self._sources: dict[str, str] = {}

    def profile(self) -> ReaderProfile:
        top = _Table(self, "the profile", self._document)
        title, reader_name = top.text("title"), top.text("name", longest=90)
        for key, value in top.table("sources").items():
            if not isinstance(value, str) or not re.match(r"https://|[a-z_]+/", value):
                raise self.wrong("sources", f"{key} is neither an https address nor a path in this repository")
            self._sources[key] = value
        device, slots = _Device(), top.tables("slot")
        if "reader" in self._document:
            device = self._device(_Table(self, "reader", top.table("reader")))
        escape_allowed, escape_apdu = self._escape(_Table(self, "escape", top.table("escape")))
        if not 1 <= len(slots) <= 8:
            raise self.wrong("slot", "a reader has one to eight slots")
        slot_profiles = tuple(self._slot(_Table(self, f"slot {n}", table)) for n, table in enumerate(slots))
        settings: dict[str, int] = {}
        if "setting" in self._document:
            table = _Table(self, "setting", top.table("setting"))
            settings = {key: table.number(key, 0, 255) for key in table.left() - {"source"}}
            table.end()
        commands = tuple(
            self._command(_Table(self, f"command {n}", table), settings)
            for n, table in enumerate(top.tables("command"))
        )
        top.end(sourced=False)
        return ReaderProfile(
            name=self._name, title=title, reader_name=reader_name, vendor=device.vendor, vendor_id=device.vendor_id,
            product_id=device.product_id, version=device.version, escape_allowed=escape_allowed,
            escape_apdu=escape_apdu, slots=slot_profiles, commands=commands, settings=settings,
            facts=tuple(self._facts),
        )  # fmt: skip

    def _device(self, table: _Table) -> _Device:
        usb = table.text("usb", pattern="[0-9A-F]{4}:[0-9A-F]{4}") if "usb" in table else None
        version = table.text("version", pattern=r"[0-9]{1,2}\.[0-9]{2}") if "version" in table else None
        device = _Device(
            vendor=table.text("vendor", longest=60) if "vendor" in table else None,
            vendor_id=int(usb[:4], 16) if usb else None,
            product_id=int(usb[5:], 16) if usb else None,
            version=int(version.replace(".", ""), 16) if version else None,
        )
        table.end()
        return device

    def _escape(self, table: _Table) -> tuple[bool, bytes | None]:
        allowed = bool(table.choice("commands", {"pass": True, "refused": False}))
        apdu = table.bytes("apdu", size=4) if "apdu" in table else None
        table.end()
        return allowed, apdu

    def _slot(self, table: _Table) -> SlotProfile:
        contactless = pin_pad = None
        if "contactless" in table:
            inner = _Table(self, f"{table.name}.contactless", table.table("contactless"))
            contactless = ContactlessProfile(
                atr=inner.choice("atr", {form.value: form for form in ContactlessAtr}),
                fixed_pupi=inner.choice("pupi", {"new": False, "fixed": True}),
                unknown=inner.bytes("unknown", size=2),
            )
            inner.end()
        if "pin_pad" in table:
            pin_pad = self._pin_pad(_Table(self, f"{table.name}.pin_pad", table.table("pin_pad")))
        protocols = table.sequence("protocols")
        if not protocols or not set(protocols) <= {"T=0", "T=1"}:
            raise self.wrong(table.name, "protocols is a list of T=0 and T=1")
        slot = SlotProfile(
            exchange=table.choice("exchange", {level.value: level for level in ExchangeLevel}),
            protocols=tuple(sorted({int(protocol[2:]) for protocol in protocols})),
            longest_message=table.number("longest_message", 263, 65554),
            card_atr=table.bytes("card_atr") if "card_atr" in table else None,
            contactless=contactless,
            pin_pad=pin_pad,
        )
        table.end()
        return slot

    def _pin_pad(self, table: _Table) -> PinPadProfile:
        told = "shortest" in table
        shortest = table.number("shortest", 0, 15) if told else 1
        has = {"yes": True, "no": False}
        pad = PinPadProfile(
            procedures=tuple(procedure for procedure in PinProcedure if table.choice(procedure.name.lower(), has)),
            display=(table.number("lines", 0, 8), table.number("columns", 0, 40)),
            shortest=shortest,
            longest=table.number("longest", max(shortest, 1), 32) if told else 16,
            limits_told=told,
            validation=table.number("validation", 1, 7),
        )  # fmt: skip
        table.end()
        return pad

    def _command(self, table: _Table, settings: dict[str, int]) -> ReaderCommand:
        whole = "answer" in table
        through = set(table.sequence("through"))
        if not through or not through <= {"card", "escape"}:
            raise self.wrong(table.name, "through is a list of card and escape")
        try:
            pattern = CommandPattern.parse(table.text("command"))
            if (not whole and "le" not in pattern.names) or not pattern.names <= {"le", *settings}:
                raise ValueError("data needs a command with {le}, and every other name is a key of [setting]")
            command = ReaderCommand(
                pattern=pattern,
                answer=ReaderAnswer.parse(table.text("answer" if whole else "data"), {*READER_VALUES, *settings}),
                whole=whole,
                through_card="card" in through,
                through_escape="escape" in through,
            )
        except ValueError as error:
            raise self.wrong(table.name, str(error)) from error
        table.end()
        return command

    def fact(self, table: str, values: Mapping[str, Any]) -> None:
        """Record what a table says. Raises BadProfile if it has no source."""
        named = values.get("source")
        sources = named if isinstance(named, list) else [named]
        addresses = tuple(self._sources[key] for key in sources if isinstance(key, str) and key in self._sources)
        if not sources or len(addresses) != len(sources):
            raise self.wrong(table, "it needs a source, which is a key of [sources], or a list of keys")
        told = {key: value for key, value in values.items() if key != "source" and not isinstance(value, dict)}
        words = "; ".join(f"{key.replace('_', ' ')}: {_shown(value)}" for key, value in told.items())
        self._facts.append(Fact(f"{table}: {words}", addresses))

    def wrong(self, table: str, words: str) -> BadProfile:
        return BadProfile(f"the reader profile {self._name}, {table}: {words}")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Device:
    vendor: str | None = None
    vendor_id: int | None = None
    product_id: int | None = None
    version: int | None = None


class _Table:
    """One table of a profile. Each key is read once; `end` finds those that nobody knows."""

    def __init__(self, reader: _ProfileReader, name: str, values: Any) -> None:
        if not isinstance(values, dict):
            raise reader.wrong(name, "expected a table")
        self.name = name
        self._reader = reader
        self._values: dict[str, Any] = values
        self._seen: set[str] = set()

    def __contains__(self, key: str) -> bool:
        return key in self._values

    def left(self) -> set[str]:
        return self._values.keys() - self._seen

    def end(self, *, sourced: bool = True) -> None:
        unknown = self.left() - {"source"}
        if unknown:
            raise self._reader.wrong(self.name, f"unknown key {min(unknown)!r}")
        if sourced:
            self._reader.fact(self.name, self._values)

    def text(self, key: str, *, pattern: str = ".+", longest: int = 200) -> str:
        value = self._value(key, str)
        if len(value) > longest or not re.fullmatch(pattern, value):
            raise self._reader.wrong(self.name, f"{key} = {value[:longest]!r} is not valid")
        return str(value)

    def number(self, key: str, least: int, most: int) -> int:
        value = self._value(key, int)
        if isinstance(value, bool) or not least <= value <= most:
            raise self._reader.wrong(self.name, f"{key} is a number from {least} to {most}, not {value}")
        return int(value)

    def bytes(self, key: str, *, size: int | None = None) -> bytes:
        value = bytes.fromhex(self.text(key, pattern="([0-9A-F]{2}){1,33}"))
        if size is not None and len(value) != size:
            raise self._reader.wrong(self.name, f"{key} has {size} bytes, not {len(value)}")
        return value

    def choice(self, key: str, choices: Mapping[str, Any]) -> Any:
        value = self._value(key, str)
        if value not in choices:
            raise self._reader.wrong(self.name, f"{key} is one of {', '.join(choices)}, not {value!r}")
        return choices[value]

    def sequence(self, key: str) -> list[str]:
        value = self._value(key, list)
        if not all(isinstance(item, str) for item in value):
            raise self._reader.wrong(self.name, f"{key} is a list of texts")
        return list(value)

    def table(self, key: str) -> dict[str, Any]:
        return dict(self._value(key, dict))

    def tables(self, key: str) -> list[Any]:
        return list(self._value(key, list)) if key in self._values else []

    def _value(self, key: str, kind: type) -> Any:
        self._seen.add(key)
        value = self._values.get(key)
        if not isinstance(value, kind):
            raise self._reader.wrong(self.name, f"{key} is missing, or of the wrong type")
        return value


def _shown(value: object) -> str:
    return " and ".join(map(str, value)) if isinstance(value, list) else str(value)


def all_profiles() -> Iterator[ReaderProfile]:
    """Yield all profiles, in the order of their names."""
    for name in profile_names():
        yield reader_profile(name)
