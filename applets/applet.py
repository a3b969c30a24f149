"""Declarations of applications, with each elementary file and data object declared once.

A declared file is a `FileId`, as `http.HTTPStatus` is a number. It also has a name, an access rule, and a function that
makes its contents at personalisation. An image holds contents only; `Applet.application` adds names and rules.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import InitVar, dataclass
from typing import TypeVar

from kazashi.applets.holder import Personalisation
from kazashi.applets.verifiable_certificate import CertificateSigner, public_key
from kazashi.card.access import NEVER, Condition
from kazashi.card.contents import ApplicationContents
from kazashi.card.file import (
    NOT_FOR_AUTHENTICATION,
    Application,
    AuthorityFile,
    ElementaryFile,
    InternalFile,
    KeyFile,
    PinChange,
    PinFile,
    RecordFile,
    Refusal,
    SessionKeyRule,
    SessionKeyUse,
    TransparentFile,
    by_id,
)
from kazashi.card.identifiers import Aid, FileId
from kazashi.card.pin import PinFormat, PinState
from kazashi.card.verifiable import IssuerKey

_Value = TypeVar("_Value")
Making = Callable[[Personalisation], _Value]
"""Makes a part of the contents at personalisation. Parts use the card's random stream in the order of declaration."""


@dataclass(frozen=True, eq=False, repr=False)
class Ef(FileId, ABC):
    """The declaration of an elementary file. `name` is its name in traces."""

    fid: InitVar[int]
    name: str

    def __new__(cls, fid: int, *_: object, **__: object) -> Ef:
        """Make the file's identifier; the other arguments are fields."""
        return super().__new__(cls, fid)

    @abstractmethod
    def write(self, data: Personalisation, contents: ApplicationContents) -> None:
        """Make this file's data from the personalisation and add it to the contents."""

    @abstractmethod
    def file(self, contents: ApplicationContents) -> ElementaryFile:
        """Return the file with its contents. Raises KeyError if they are missing."""


@dataclass(frozen=True, eq=False, repr=False)
class TransparentEf(Ef):
    """A file of bytes. An `impersonal` file says nothing about its holder, so that a trace may show it."""

    read: Condition
    content: Making[bytes]
    impersonal: bool = False

    def write(self, data: Personalisation, contents: ApplicationContents) -> None:
        """Add the file's bytes to the contents."""
        contents.data[FileId(self)] = self.content(data)

    def file(self, contents: ApplicationContents) -> TransparentFile:
        """Return the file with its bytes. Raises KeyError if they are missing."""
        return TransparentFile(FileId(self), self.name, contents.data[FileId(self)], self.read)


@dataclass(frozen=True, eq=False, repr=False)
class RecordEf(Ef):
    """A file of records."""

    read: Condition
    records: Making[tuple[bytes, ...]]

    def write(self, data: Personalisation, contents: ApplicationContents) -> None:
        """Add the file's records to the contents."""
        contents.records[FileId(self)] = self.records(data)

    def file(self, contents: ApplicationContents) -> RecordFile:
        """Return the file with its records. Raises KeyError if they are missing."""
        return RecordFile(FileId(self), self.name, contents.records[FileId(self)], self.read)


@dataclass(frozen=True, eq=False, repr=False)
class PinEf(Ef):
    """A PIN; `tries` is the maximum of its retry counter.

    An empty `value` is a PIN that was never set; it has no retries left. `counter` is the key in `Pins.tries_left` that
    may lower its first counter. `change` is None if only the issuer may replace it.
    """

    format: PinFormat
    tries: int
    value: Making[str]
    change: PinChange | None = None
    counter: str = ""

    def write(self, data: Personalisation, contents: ApplicationContents) -> None:
        """Add the PIN's initial state to the contents."""
        value = self.value(data)
        first = data.pins.tries_left.get(self.counter, self.tries) if self.counter else self.tries
        left = min(self.tries, first) if value else 0
        contents.pins[FileId(self)] = PinState(value.encode("ascii"), self.tries, left)

    def file(self, contents: ApplicationContents) -> PinFile:
        """Return the file; the PIN itself is in the card's store."""
        return PinFile(FileId(self), self.name, self.format, self.change)


@dataclass(frozen=True, eq=False, repr=False)
class KeyEf(Ef):
    """A private key. `key` makes its PKCS#8 DER, or None if the card has none. The other fields are as in `KeyFile`."""

    key: Making[bytes | None]
    use: Condition = NEVER
    signs: bool = False
    authenticates: bool = False
    authentication_refusal: Refusal = NOT_FOR_AUTHENTICATION

    def write(self, data: Personalisation, contents: ApplicationContents) -> None:
        """Add the key to the contents, if there is one."""
        key = self.key(data)
        if key is not None:
            contents.keys[FileId(self)] = key

    def file(self, contents: ApplicationContents) -> KeyFile:
        """Return the file with its key, if there is one."""
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
    """A file that only the card itself or the issuer uses, with or without a key; the rest is as in `InternalFile`."""

    retry_query: bool = False
    key: Making[bytes | None] = lambda _: None

    def write(self, data: Personalisation, contents: ApplicationContents) -> None:
        """Add the key to the contents, if there is one."""
        key = self.key(data)
        if key is not None:
            contents.keys[FileId(self)] = key

    def file(self, contents: ApplicationContents) -> InternalFile:
        """Return the file."""
        return InternalFile(FileId(self), self.name, self.retry_query, contents.key(self))


@dataclass(frozen=True, eq=False, repr=False)
class AuthorityEf(Ef):
    """The key of an authority whose certificates the card accepts. Cards of earlier versions may lack it."""

    authority: Making[CertificateSigner]

    def write(self, data: Personalisation, contents: ApplicationContents) -> None:
        """Add the authority's identifier and public key to the contents."""
        signer = self.authority(data)
        contents.data[FileId(self)] = signer.id + public_key(signer.key)

    def file(self, contents: ApplicationContents) -> AuthorityFile:
        """Return the file with its key, if the contents have one. Raises ValueError if they are malformed."""
        written = contents.data.get(FileId(self))
        return AuthorityFile(FileId(self), self.name, IssuerKey.parse(written) if written else None)


@dataclass(frozen=True, eq=False, repr=False)
class DataObject(int):
    """The declaration of a GET DATA object; it is an int, its tag. `impersonal` is as in `TransparentEf`."""

    tag: InitVar[int]
    name: str
    value: Making[bytes]
    impersonal: bool = False

    def __new__(cls, tag: int, *_: object, **__: object) -> DataObject:
        """Make the object's tag; the other arguments are fields."""
        return super().__new__(cls, tag)


CONTACT_ATR = DataObject(0x5F51, "contact ATR", lambda data: data.card.contact_atr[1:], impersonal=True)
"""The contact ATR without TS, from which a contactless reader learns it. Every application has this object."""


@dataclass(frozen=True)
class Applet:
    """The declaration of an application. `files` and `objects` are declarations; the rest is as in `Application`."""

    aid: Aid
    name: str
    files: tuple[Ef, ...] = ()
    objects: tuple[DataObject, ...] = (CONTACT_ATR,)
    default_key: KeyEf | None = None
    session_key: SessionKeyRule | SessionKeyUse = SessionKeyRule.ISSUER_ONLY

    def contents(self, data: Personalisation) -> ApplicationContents:
        """Return the contents that personalisation writes."""
        contents = ApplicationContents(objects={int(declared): declared.value(data) for declared in self.objects})
        for file in self.files:
            file.write(data, contents)
        return contents

    def application(self, contents: ApplicationContents) -> Application:
        """Return the application with its contents. Raises KeyError if some are missing."""
        return Application(
            self.aid,
            self.name,
            by_id(file.file(contents) for file in self.files),
            contents.objects,
            self.default_key,
            self.session_key,
        )


def filled(content: bytes, size: int) -> bytes:
    """Return content padded with FF to `size`, or to a multiple of 256 bytes if it is longer than `size`."""
    return content.ljust(max(size, -(-len(content) // 256) * 256), b"\xff")


def unfilled(content: bytes) -> bytes:
    """Return the certificate (DER) in a file's contents without the padding after it."""
    return content[: int.from_bytes(content[2:4]) + 4]


def blank(_: object) -> bytes:
    """Return the 16 bytes FF of a file whose use is not known."""
    return b"\xff" * 16
