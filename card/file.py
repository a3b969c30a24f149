"""Elementary files and the applications that contain them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from functools import partial

from kazashi.card.access import NEVER, Condition
from kazashi.card.identifiers import Aid, FileId
from kazashi.card.key import PrivateKey
from kazashi.card.pin import PinFormat
from kazashi.card.rejection import CommandRejected, SecurityStatusNotSatisfied
from kazashi.card.rule import RuleSource
from kazashi.card.verifiable import IssuerKey

Refusal = Callable[[], CommandRejected]
"""Makes a rejection, which is to be raised."""

NOT_FOR_AUTHENTICATION: Refusal = partial(
    SecurityStatusNotSatisfied, "the key is not for INTERNAL AUTHENTICATE", RuleSource.MYNA_CARD
)


@dataclass(frozen=True, slots=True)
class TransparentFile:
    """A file of bytes, including its filler."""

    fid: FileId
    name: str
    content: bytes
    read: Condition


@dataclass(frozen=True, slots=True)
class RecordFile:
    """A file of records, numbered from 1."""

    fid: FileId
    name: str
    records: tuple[bytes, ...]
    read: Condition


class PinChange(Enum):
    """The command that replaces a PIN once it is verified."""

    CHANGE_REFERENCE_DATA = auto()
    CHANGE_KEY = auto()


@dataclass(frozen=True, slots=True)
class PinFile:
    """A PIN. Its value and retry counter are in the store. `change` is None if only the issuer may replace it."""

    fid: FileId
    name: str
    format: PinFormat
    change: PinChange | None = None


@dataclass(frozen=True, slots=True)
class KeyFile:
    """A private key. `key` is None if the card has none.

    `signs` says whether COMPUTE DIGITAL SIGNATURE may use it, `authenticates` whether INTERNAL AUTHENTICATE may. If it
    may not authenticate, `authentication_refusal` makes the rejection.
    """

    fid: FileId
    name: str
    key: PrivateKey | None
    use: Condition = NEVER
    signs: bool = False
    authenticates: bool = False
    authentication_refusal: Refusal = NOT_FOR_AUTHENTICATION


@dataclass(frozen=True, slots=True)
class InternalFile:
    """A file that only the card itself or the issuer uses.

    `retry_query` says whether it responds to an empty VERIFY, with 6300. `key` is the private key in it, if any.
    """

    fid: FileId
    name: str
    retry_query: bool = False
    key: PrivateKey | None = None


@dataclass(frozen=True, slots=True)
class AuthorityFile:
    """The public key of an authority whose certificates the card accepts; `authority` is None if the card has none."""

    fid: FileId
    name: str
    authority: IssuerKey | None


ElementaryFile = TransparentFile | RecordFile | PinFile | KeyFile | InternalFile | AuthorityFile


class SessionKeyRule(Enum):
    """How an application rejects SET SESSION KEY."""

    REFUSED = auto()
    ISSUER_ONLY = auto()


@dataclass(frozen=True, slots=True)
class SessionKeyUse:
    """The file of the private key for which a session key is encrypted, and the condition for setting one."""

    file: FileId
    use: Condition


@dataclass(frozen=True, slots=True)
class Application:
    """A DF: its name, its elementary files by identifier, and its GET DATA objects by tag.

    `default_key` is the key that COMPUTE DIGITAL SIGNATURE uses with P2 = 00. The application without any file is the
    card manager, which is current after power-up.
    """

    aid: Aid
    name: str
    files: Mapping[int, ElementaryFile]
    objects: Mapping[int, bytes]
    default_key: FileId | None = None
    session_key: SessionKeyRule | SessionKeyUse = SessionKeyRule.ISSUER_ONLY

    @property
    def is_card_manager(self) -> bool:
        """Whether this is the card manager, the only application without files."""
        return not self.files


def by_id(files: Iterable[ElementaryFile]) -> dict[int, ElementaryFile]:
    """Return the files by identifier. Raises ValueError if two have the same short identifier."""
    files_by_id: dict[int, ElementaryFile] = {}
    short: set[int] = set()
    for file in files:
        if file.fid.short in short:
            raise ValueError(f"two files have the short identifier {file.fid.short:02X}")
        short.add(file.fid.short)
        files_by_id[file.fid] = file
    return files_by_id
