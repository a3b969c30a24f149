"""How an application is declared: each elementary file and data object once, with everything that is known of it.

A declared file is its identifier (a `FileId`, as `http.HTTPStatus` is a number), and knows its name, its access rule
and how personalisation makes its contents. An image holds contents only; `Applet.application` puts names and rules
around them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import InitVar, dataclass
from typing import TypeVar

from kazashi.applets.holder import Personalisation
from kazashi.card.access import NEVER, Condition
from kazashi.card.contents import ApplicationContents
from kazashi.card.file import (
    Application,
    ElementaryFile,
    InternalFile,
    KeyFile,
    PinChange,
    PinFile,
    RecordFile,
    SessionKeyRule,
    TransparentFile,
    by_id,
)
from kazashi.card.identifiers import Aid, FileId
from kazashi.card.pin import PinFormat, PinState
from kazashi.card.rejection import CommandRejected, SecurityStatusNotSatisfied

_Value = TypeVar("_Value")
Making = Callable[[Personalisation], _Value]
"""Makes a part of the contents at personalisation. Parts draw on the card's chance in the order of declaration."""


@dataclass(frozen=True, eq=False, repr=False)
class Ef(FileId, ABC):
    """An elementary file as declared. `name` is what traces call it."""

    fid: InitVar[int]
    name: str

    def __new__(cls, fid: int, *_: object, **__: object) -> Ef:
        """Make the number that the identifier is."""
        return super().__new__(cls, fid)

    @abstractmethod
    def write(self, data: Personalisation, contents: ApplicationContents) -> None:
        """Write to the contents what personalisation writes to this file."""

    @abstractmethod
    def file(self, contents: ApplicationContents) -> ElementaryFile:
        """Return the file around its contents. Raises KeyError where they are missing."""


@dataclass(frozen=True, eq=False, repr=False)
class TransparentEf(Ef):
    """A file of bytes. `impersonal` says that it tells nothing of its holder, so that a trace may show it."""

    read: Condition
    content: Making[bytes]
    impersonal: bool = False

    def write(self, data: Personalisation, contents: ApplicationContents) -> None:
        """Write the file's bytes."""
        contents.data[FileId(self)] = self.content(data)

    def file(self, contents: ApplicationContents) -> TransparentFile:
        """Return the file around its bytes."""
        return TransparentFile(FileId(self), self.name, contents.data[FileId(self)], self.read)


@dataclass(frozen=True, eq=False, repr=False)
class RecordEf(Ef):
    """A file of records."""

    read: Condition
    records: Making[tuple[bytes, ...]]

    def write(self, data: Personalisation, contents: ApplicationContents) -> None:
        """Write the file's records."""
        contents.records[FileId(self)] = self.records(data)

    def file(self, contents: ApplicationContents) -> RecordFile:
        """Return the file around its records."""
        return RecordFile(FileId(self), self.name, contents.records[FileId(self)], self.read)


@dataclass(frozen=True, eq=False, repr=False)
class PinEf(Ef):
    """A PIN with its full count of tries.

    An empty `value` is a PIN that was never set; it has no tries left. `counter` is the name under which
    `Pins.tries_left` may have it begin lower. `change` is None where only the issuer may replace it.
    """

    format: PinFormat
    tries: int
    value: Making[str]
    change: PinChange | None = None
    counter: str = ""

    def write(self, data: Personalisation, contents: ApplicationContents) -> None:
        """Write the PIN as it is first set."""
        value = self.value(data)
        left = min(self.tries, data.pins.tries_left.get(self.counter, self.tries)) if value else 0
        contents.pins[FileId(self)] = PinState(value.encode("ascii"), self.tries, left)

    def file(self, contents: ApplicationContents) -> PinFile:
        """Return the file; the PIN itself is in the card's store."""
        return PinFile(FileId(self), self.name, self.format, self.change)


@dataclass(frozen=True, eq=False, repr=False)
class KeyEf(Ef):
    """A private key (PKCS#8 DER), None where the card is given none. The rest is as in `KeyFile`."""

    key: Making[bytes | None]
    use: Condition = NEVER
    signs: bool = False
    authenticates: bool = False
    authentication_refusal: type[CommandRejected] = SecurityStatusNotSatisfied

    def write(self, data: Personalisation, contents: ApplicationContents) -> None:
        """Write the key, if there is one."""
        key = self.key(data)
        if key is not None:
            contents.keys[FileId(self)] = key

    def file(self, contents: ApplicationContents) -> KeyFile:
        """Return the file around its key."""
        return KeyFile(
            FileId(self),
            self.name,
            contents.key(self),
            self.use,
            self.signs,
            self.authenticates,
            self.authentication_refusal,
        )


@dataclass(frozen=True, eq=False, repr=False)
class InternalEf(Ef):
    """A file that serves the issuer alone, with a key or without. `retry_query`: it answers an empty VERIFY."""

    retry_query: bool = False
    key: Making[bytes | None] = lambda _: None

    def write(self, data: Personalisation, contents: ApplicationContents) -> None:
        """Write the key, if there is one."""
        key = self.key(data)
        if key is not None:
            contents.keys[FileId(self)] = key

    def file(self, contents: ApplicationContents) -> InternalFile:
        """Return the file."""
        return InternalFile(FileId(self), self.name, self.retry_query)


@dataclass(frozen=True, eq=False, repr=False)
class DataObject(int):
    """A data object of GET DATA, which is its tag. `impersonal` is as with a file."""

    tag: InitVar[int]
    name: str
    value: Making[bytes]
    impersonal: bool = False

    def __new__(cls, tag: int, *_: object, **__: object) -> DataObject:
        """Make the number that the tag is."""
        return super().__new__(cls, tag)


CONTACT_ATR = DataObject(0x5F51, "contact ATR", lambda data: data.card.contact_atr[1:], impersonal=True)
"""By this a contactless reader learns the contact ATR: all of it but TS. Every application has it."""


@dataclass(frozen=True)
class Applet:
    """An application as declared. Its members but `files` are as in `Application`."""

    aid: Aid
    name: str
    files: tuple[Ef, ...] = ()
    objects: tuple[DataObject, ...] = (CONTACT_ATR,)
    default_key: KeyEf | None = None
    session_key: SessionKeyRule = SessionKeyRule.ISSUER_ONLY

    def contents(self, data: Personalisation) -> ApplicationContents:
        """Return what personalisation writes."""
        contents = ApplicationContents(objects={int(found): found.value(data) for found in self.objects})
        for file in self.files:
            file.write(data, contents)
        return contents

    def application(self, contents: ApplicationContents) -> Application:
        """Return the application around its contents. Raises KeyError where some are missing."""
        return Application(
            self.aid,
            self.name,
            by_id(file.file(contents) for file in self.files),
            contents.objects,
            self.default_key,
            self.session_key,
        )


def filled(content: bytes, size: int) -> bytes:
    """Return content and the FF that fills its file up to `size`, or to the next multiple of 256 above it."""
    return content.ljust(max(size, -(-len(content) // 256) * 256), b"\xff")


def blank(_: object) -> bytes:
    """Return the 16 bytes of a file that nobody knows the use of."""
    return b"\xff" * 16
