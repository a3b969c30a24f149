"""Elementary files, and the applications that hold them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum, auto

from kazashi.card.access import NEVER, Condition
from kazashi.card.identifiers import Aid, FileId
from kazashi.card.key import PrivateKey
from kazashi.card.pin import PinFormat
from kazashi.card.rejection import CommandRejected, SecurityStatusNotSatisfied


@dataclass(frozen=True, slots=True)
class TransparentFile:
    """A file of bytes, filler included."""

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
    """A PIN. Its value and counter are in the store; `change` is None where only the issuer may replace it."""

    fid: FileId
    name: str
    format: PinFormat
    change: PinChange | None = None


@dataclass(frozen=True, slots=True)
class KeyFile:
    """A private key. `key` is None on a card that was never given one.

    `signs`: COMPUTE DIGITAL SIGNATURE may use it. `authenticates`: INTERNAL AUTHENTICATE may; where it may not,
    `authentication_refusal` is what the card says instead.
    """

    fid: FileId
    name: str
    key: PrivateKey | None
    use: Condition = NEVER
    signs: bool = False
    authenticates: bool = False
    authentication_refusal: type[CommandRejected] = SecurityStatusNotSatisfied


@dataclass(frozen=True, slots=True)
class InternalFile:
    """A file that exists and serves the issuer alone. `retry_query`: it answers an empty VERIFY, with 6300."""

    fid: FileId
    name: str
    retry_query: bool = False


ElementaryFile = TransparentFile | RecordFile | PinFile | KeyFile | InternalFile


class SessionKeyRule(Enum):
    """How an application answers SET SESSION KEY."""

    REFUSED = auto()
    ISSUER_ONLY = auto()
    AFTER_VERIFICATION = auto()


@dataclass(frozen=True, slots=True)
class Application:
    """A DF: its name, its elementary files by identifier, its GET DATA objects by tag.

    `default_key` is the key that COMPUTE DIGITAL SIGNATURE uses with P2 = 00. An application without a single file
    (the card manager) is the state that the card is in after power-up.
    """

    aid: Aid
    name: str
    files: Mapping[int, ElementaryFile]
    objects: Mapping[int, bytes]
    default_key: FileId | None = None
    session_key: SessionKeyRule = SessionKeyRule.ISSUER_ONLY

    @property
    def is_card_manager(self) -> bool:
        """Whether this is the state after power-up, in which there are no files."""
        return not self.files


def by_id(files: Iterable[ElementaryFile]) -> dict[int, ElementaryFile]:
    """Files keyed by identifier. Raises ValueError where two share one, or would share a short one."""
    found: dict[int, ElementaryFile] = {}
    short: set[int] = set()
    for file in files:
        if file.fid.short in short:
            raise ValueError(f"two files answer to short identifier {file.fid.short:02X}")
        short.add(file.fid.short)
        found[file.fid] = file
    return found
