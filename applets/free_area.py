"""Applications in the chip's free area (ICチップの空き領域), which a municipality loads onto a card by ordinance.

Each is described by a definition, a small document in TOML or JSON (docs/free-area.md). A card's image carries the
definitions of its applications, so that a program that never saw the document can host the card. No AID of a real
application is public: the AIDs here begin with F, the category for applications that nobody has registered (ISO 7816-5,
annex A).
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, cast

from kazashi.applets.applet import Applet, Ef, Making, PinEf, TransparentEf
from kazashi.applets.holder import Personalisation, Pins
from kazashi.card.access import FREE, Condition, Verified
from kazashi.card.contents import ApplicationContents
from kazashi.card.file import PinChange
from kazashi.card.identifiers import Aid
from kazashi.card.pin import PinFormat

MAX_FILES = 16
MAX_SIZE = 2048
"""Bytes in one file. How much room a real chip has is not public; both bounds are our own."""

MIN_DIGITS, MAX_DIGITS, MAX_TRIES = 4, 12, 15

TEXT_PREFIX = "application "
"""The beginning of the names of those texts about a card that describe a loaded application; its AID follows."""

_NAME = re.compile(r"[a-z][a-z0-9-]{0,39}")
_FILE_ID = re.compile(r"00[01][0-9A-Fa-f]")


class BadDefinition(ValueError):
    """A definition, or what is to be written into its files, cannot be used; the message says what and why."""


@dataclass(frozen=True, slots=True)
class DefinedFile:
    """A file of bytes. `read` is `free` or `pin`. Its contents are one text, in UTF-8, padded with FF to `size`."""

    id: str
    name: str
    read: str
    size: int


@dataclass(frozen=True, slots=True)
class DefinedPin:
    """The application's PIN: its file, how many digits it has, and the maximum of its retry counter."""

    id: str
    digits: int
    tries: int


@dataclass(frozen=True, slots=True)
class Definition:
    """An application. `title` is its name for people, `aid` is hexadecimal, and `pin` is None if it has no PIN."""

    name: str
    title: str
    aid: str
    file: tuple[DefinedFile, ...]
    pin: DefinedPin | None = None

    @classmethod
    def parse(cls, text: str) -> Definition:
        """Read a definition from TOML or JSON. Raises BadDefinition."""
        try:
            document = json.loads(text) if text.lstrip().startswith("{") else tomllib.loads(text)
        except (ValueError, RecursionError) as error:
            at = re.search(r"line \d+,? column \d+", str(error))
            raise BadDefinition(f"the definition is neither JSON nor TOML{f' ({at[0]})' if at else ''}") from error
        return cls.from_document(document)

    @classmethod
    def from_document(cls, document: Any) -> Definition:
        """Read a definition that was parsed. Raises BadDefinition."""
        fields = _table(document, "the definition", {"name", "title", "aid", "file"}, {"pin"})
        files = fields["file"]
        if not isinstance(files, list | tuple) or not 1 <= len(files) <= MAX_FILES:
            raise BadDefinition(f"a definition has 1 to {MAX_FILES} tables `file`")
        pin = None if fields.get("pin") is None else _pin(fields["pin"])
        defined = cls(
            _name(fields["name"], "the application's name"),
            _line(fields["title"], "title"),
            _aid(fields["aid"]),
            tuple(_file(one, number, pin) for number, one in enumerate(files, start=1)),
            pin,
        )
        identifiers = [one.id for one in defined.file] + ([pin.id] if pin else [])
        for what, values in (("identifier", identifiers), ("name", [one.name for one in defined.file])):
            if twice := next((value for value in values if values.count(value) > 1), None):
                raise BadDefinition(f"two files have the {what} {twice}")
        return defined

    def as_document(self) -> dict[str, Any]:
        """Return the definition as JSON values, which `from_document` reads."""
        document = asdict(self)
        return document if self.pin else {name: value for name, value in document.items() if name != "pin"}

    @property
    def application_id(self) -> Aid:
        """The AID."""
        return Aid(self.aid)

    def applet(self) -> Applet:
        """Return the declaration of the application. Its contents are made by `contents`."""
        files: list[Ef] = []
        free_or_pin: dict[str, Condition] = {"free": FREE}
        if self.pin is not None:
            digits = PinFormat(rf"[0-9]{{{self.pin.digits}}}", f"{self.pin.digits} digits")
            pin = PinEf(
                int(self.pin.id, 16), "PIN", digits, self.pin.tries, lambda data: data.pins.text,
                PinChange.CHANGE_REFERENCE_DATA,
            )  # fmt: skip
            files.append(pin)
            free_or_pin["pin"] = Verified(pin)
        files += [
            TransparentEf(int(one.id, 16), one.name, free_or_pin[one.read], _content_of(one.name)) for one in self.file
        ]
        return Applet(self.application_id, self.name, tuple(files), objects=())

    def contents(self, values: Mapping[str, str], pin: str | None = None) -> ApplicationContents:
        """Return what is written to the card: for each file the text of its name, and the PIN.

        Raises BadDefinition if a text or the PIN is missing, unknown, or has another form than the definition says.
        """
        if unknown := sorted(values.keys() - {one.name for one in self.file}):
            raise BadDefinition(f"{self.name} has no file {unknown[0]}; it has {self._names()}")
        written = {one.name: self._written(one, values.get(one.name)) for one in self.file}
        if (pin is None) != (self.pin is None):
            raise BadDefinition(f"{self.name} has no PIN" if self.pin is None else f"{self.name} needs a PIN: --pin")
        if self.pin is not None and not re.fullmatch(rf"[0-9]{{{self.pin.digits}}}", pin or ""):
            raise BadDefinition(f"the PIN of {self.name} has {self.pin.digits} digits")
        return self.applet().contents(cast("Personalisation", _Loading(written, Pins(text=pin or ""))))

    def _written(self, file: DefinedFile, text: str | None) -> bytes:
        if not text:
            raise BadDefinition(f"{self.name} needs a value for each of {self._names()}: --set {file.name}=VALUE")
        content = _line(text, file.name, most=MAX_SIZE).encode()
        if len(content) > file.size:
            raise BadDefinition(f"{file.name} has room for {file.size} bytes, and this value has {len(content)}")
        return content.ljust(file.size, b"\xff")

    def _names(self) -> str:
        return ", ".join(one.name for one in self.file)


@dataclass(frozen=True, slots=True)
class _Loading:
    """The part of a personalisation that these applications use: the files' contents by name, and the PIN as `text`."""

    written: dict[str, bytes]
    pins: Pins


def _content_of(name: str) -> Making[bytes]:
    return lambda data: cast("_Loading", data).written[name]


def _table(value: Any, where: str, required: set[str], optional: set[str] | None = None) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise BadDefinition(f"{where} must be a table")
    if missing := sorted(required - value.keys()):
        raise BadDefinition(f"{where} has no `{missing[0]}`")
    if unknown := sorted(value.keys() - required - (optional or set())):
        raise BadDefinition(f"{where} has a field `{unknown[0]}` that is not known")
    return value


def _name(value: Any, where: str) -> str:
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise BadDefinition(
            f"{where} has up to 40 of a-z, 0-9 and hyphens, and begins with a letter; {value!r} does not"
        )
    return value


def _line(value: Any, where: str, most: int = 100) -> str:
    if not isinstance(value, str) or not value.strip() or len(value) > most or not value.isprintable():
        raise BadDefinition(f"{where} must be a line of 1 to {most} printable characters")
    return value


def _aid(value: Any) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"([0-9A-Fa-f]{2}){5,16}", value):
        raise BadDefinition(f"`aid` has 5 to 16 bytes in hexadecimal; {value!r} does not")
    if value[0] not in "Ff":
        raise BadDefinition(
            f"`aid` must begin with F, the category of unregistered AIDs (ISO 7816-5); {value} does not"
        )
    return value.upper()


def _identifier(value: Any, where: str) -> str:
    if not isinstance(value, str) or not _FILE_ID.fullmatch(value) or not 1 <= int(value, 16) <= 0x1E:
        raise BadDefinition(f"`id` of {where} is 0001 to 001E in hexadecimal, and {value!r} is not")
    return value.upper()


def _number(value: Any, where: str, least: int, most: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise BadDefinition(f"{where} is a number from {least} to {most}, and {value!r} is not")
    return value


def _pin(value: Any) -> DefinedPin:
    fields = _table(value, "`pin`", {"id", "digits", "tries"})
    return DefinedPin(
        _identifier(fields["id"], "`pin`"),
        _number(fields["digits"], "`digits` of `pin`", MIN_DIGITS, MAX_DIGITS),
        _number(fields["tries"], "`tries` of `pin`", 1, MAX_TRIES),
    )


def _file(value: Any, number: int, pin: DefinedPin | None) -> DefinedFile:
    where = f"`file` number {number}"
    fields = _table(value, where, {"id", "name", "read", "size"})
    if fields["read"] not in ("free", "pin"):
        raise BadDefinition(f"`read` of {where} is `free` or `pin`, and {fields['read']!r} is neither")
    if fields["read"] == "pin" and pin is None:
        raise BadDefinition(f"{where} is read with a PIN, and the definition has no table `pin`")
    return DefinedFile(
        _identifier(fields["id"], where),
        _name(fields["name"], f"the name of {where}"),
        fields["read"],
        _number(fields["size"], f"`size` of {where}", 1, MAX_SIZE),
    )


LIBRARY = """\
# A library card: the member number is read by a tap, without a PIN.
name = "library"
title = "図書館カード"
aid = "F04B415A4153484901"  # F0 and "KAZASHI" in ASCII, then a number

[[file]]
id = "0001"
name = "member-number"
read = "free"
size = 32
"""
"""The definition of a library card. A town's ordinance of 2015 has one beside applications with a PIN of four digits:
https://www.town.masaki.ehime.jp/reiki_int/reiki_honbun/o242RG00000586.html, articles 3 and 5."""

RESIDENTS_CARD = """\
# A residents' card: the registration number for seal certificates and other papers, read with a PIN.
name = "residents-card"
title = "市民カード"
aid = "F04B415A4153484902"

[pin]
id = "0011"
digits = 4
tries = 3

[[file]]
id = "0001"
name = "card-number"
read = "free"
size = 32

[[file]]
id = "0002"
name = "seal-registration"
read = "pin"
size = 32
"""
"""The definition of a residents' card (市民カード, 印鑑登録証); the same ordinance's articles 2 and 3."""

DOCUMENTS = {Definition.parse(text).name: text for text in (LIBRARY, RESIDENTS_CARD)}
"""The documents of the definitions that the program has, by name."""

APPLETS = tuple(Definition.parse(text).applet() for text in DOCUMENTS.values())


def text_name(aid: Aid) -> str:
    """Return the name of the text about a card that describes the application with an AID."""
    return f"{TEXT_PREFIX}{aid}"


def loaded(about: Mapping[str, str]) -> dict[Aid, dict[str, Any]]:
    """Return the texts about a card that describe loaded applications, as JSON objects by AID. Raises BadDefinition."""
    rows: dict[Aid, dict[str, Any]] = {}
    for name, text in about.items():
        if name.startswith(TEXT_PREFIX):
            try:
                rows[Aid(name.removeprefix(TEXT_PREFIX))] = dict(json.loads(text))
            except (ValueError, TypeError) as error:
                raise BadDefinition(f"the text {name!r} describes no application") from error
    return rows


def loaded_applets(about: Mapping[str, str]) -> tuple[Applet, ...]:
    """Return the declarations of the applications that were loaded onto a card. Raises BadDefinition."""
    return tuple(Definition.from_document(row.get("definition")).applet() for row in loaded(about).values())
