"""The driver's licence on the card (マイナ免許証): a PIN that may be unset, licence data, and their signature.

Source: 運転免許証及び運転免許証作成システム等仕様書, version 010 (National Police Agency, July 2024). masanork/tobari
restates its tables, and hmpow/JpDrvLicNfcCommand measured a card. The maximum sizes in it, 5,845 and 584 bytes, are
those of its tables if tags up to FF take one byte, later ones two, and lengths above 127 the form `82 hh ll`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from hashlib import sha256
from typing import cast

from kazashi.applets.applet import Applet, PinEf, TransparentEf
from kazashi.applets.holder import Personalisation
from kazashi.applets.verifiable_certificate import CertificateSigner, public_key
from kazashi.card.access import FREE, Verified
from kazashi.card.contents import ApplicationContents
from kazashi.card.file import TransparentFile
from kazashi.card.identifiers import Aid, FileId
from kazashi.card.pin import FOUR_DIGITS

AID = Aid("A0000002310600000000000000000000")
UNSET = "****"
"""The value of a PIN that the holder has not set; the files are then free."""

_SET, _NOT_SET = b"\xc1\x01\x01", b"\xc1\x01\x00"
_CONDITION_TAGS = (*range(0xC6, 0xCA), *range(0xCC, 0xD4))
_TEXT_BYTES = 80
_TRIES = 10


class LicenceClass(Enum):
    """The classes of licences, with the tag that says whether a licence has them."""

    LARGE = 0xEC, "大型"
    ORDINARY = 0xED, "普通"
    LARGE_SPECIAL = 0xEE, "大特"
    LARGE_MOTORCYCLE = 0xEF, "大自二"
    ORDINARY_MOTORCYCLE = 0xF0, "普自二"
    SMALL_SPECIAL = 0xF1, "小特"
    MOPED = 0xF2, "原付"
    TOWING = 0xF3, "け引"
    LARGE_COMMERCIAL = 0xF4, "大二"
    ORDINARY_COMMERCIAL = 0xF5, "普二"
    LARGE_SPECIAL_COMMERCIAL = 0xF6, "大特二"
    TOWING_COMMERCIAL = 0xF7, "け引二"
    MEDIUM = 0xF8, "中型"
    MEDIUM_COMMERCIAL = 0xF9, "中二"
    SEMI_MEDIUM = 0xFA, "準中型"

    @property
    def tag(self) -> int:
        """The tag of the byte that says whether a licence has the class."""
        return self.value[0]

    @property
    def code(self) -> str:
        """The class's name in commands, such as `large-motorcycle`."""
        return self.name.lower().replace("_", "-")


TWO_WHEELED = {LicenceClass.LARGE_MOTORCYCLE, LicenceClass.ORDINARY_MOTORCYCLE, LicenceClass.SMALL_SPECIAL,
               LicenceClass.MOPED}  # fmt: skip
COMMERCIAL = {kind for kind in LicenceClass if kind.name.endswith("COMMERCIAL")}


@dataclass(frozen=True, slots=True)
class Licence:
    """A driver's licence as the card holds it.

    Dates are seven digits: the era's digit, and YYMMDD in its years. `granted` are those of the classes in three
    groups: two-wheeled, others, and commercial ones. `number` has 12 digits. `pin` is four digits, or empty if the
    holder set none.
    """

    number: str
    expires: str
    colour: str
    classes: frozenset[LicenceClass]
    granted: tuple[str, str, str]
    conditions: tuple[str, ...]
    pin: str
    commission: str
    serial: str
    signer: CertificateSigner

    def data(self) -> bytes:
        """Return the content of file 001B. Raises ValueError for a text that JIS X 0208 or the space cannot hold."""
        if len(self.conditions) > len(_CONDITION_TAGS):
            raise ValueError(f"a licence has up to {len(_CONDITION_TAGS)} conditions")
        items = {0xC4: _in_jis(self.colour, 6), 0xC5: self.expires.encode("ascii"), 0xE7: self.number.encode("ascii")}
        items |= {
            tag: _in_jis(text, _TEXT_BYTES) for tag, text in zip(_CONDITION_TAGS, self.conditions, strict=False)
        }  # fmt: skip
        items |= {0xE9 + place: day.encode("ascii") for place, day in enumerate(self.granted) if day}
        items |= {kind.tag: bytes((kind in self.classes,)) for kind in LicenceClass}
        return _objects((bytes((tag,)), value) for tag, value in sorted(items.items()))

    def signature(self) -> bytes:
        """Return the content of file 001C: the signature over file 001B, and who made it."""
        texts = (
            (0x09, self.serial, 16), (0x0A, "", 48), (0x0B, self.commission, 80), (0x0C, self.commission, 130)
        )  # fmt: skip
        values = [(0x08, self.signer.sign(self.data()))]
        values += [(number, text.encode("ascii").ljust(size)) for number, text, size in texts]
        values.append((0x0D, sha256(public_key(self.signer.key)).digest()))
        return _objects((bytes((0xDF, number)), value) for number, value in values)


def _in_jis(text: str, size: int) -> bytes:
    """Return a text in JIS X 0208, without escape sequences, filled with its blank. Raises ValueError."""
    try:
        encoded = text.encode("euc_jp")
    except UnicodeEncodeError as error:
        raise ValueError(f"{text!r} has a character outside JIS X 0208: {text[error.start]}") from error
    if any(byte < 0xA1 for byte in encoded):
        raise ValueError(f"{text!r} has a character outside JIS X 0208; write full-width characters")
    if len(encoded) > size:
        raise ValueError(f"{text!r} is longer than {size // 2} characters")
    return bytes(byte & 0x7F for byte in encoded).ljust(size, b"\x21")


def _objects(items: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Return data objects. Tags such as DF and FF take one byte here, which BER would continue."""
    encoded = b""
    for tag, value in items:
        length = bytes((len(value),)) if len(value) < 0x80 else b"\x82" + len(value).to_bytes(2)
        encoded += tag + length + value
    return encoded


class _ProtectedEf(TransparentEf):
    """A file that is free if the PIN is not set."""

    def file(self, contents: ApplicationContents) -> TransparentFile:
        """Return the file with its bytes. Raises KeyError if they are missing."""
        free = contents.data[FileId(PIN_SETTING)] == _NOT_SET
        return TransparentFile(FileId(self), self.name, contents.data[FileId(self)], FREE if free else self.read)


def _of(data: Personalisation) -> Licence:
    return cast("Licence", data)


PIN = PinEf(0x0006, "licence PIN", FOUR_DIGITS, _TRIES, lambda data: _of(data).pin or UNSET)
PIN_SETTING = TransparentEf(
    0x001A, "PIN setting", FREE, lambda data: _SET if _of(data).pin else _NOT_SET, impersonal=True
)  # fmt: skip
LICENCE_DATA = _ProtectedEf(0x001B, "licence data", Verified(PIN), lambda data: _of(data).data())
SIGNATURE = _ProtectedEf(0x001C, "signature", Verified(PIN), lambda data: _of(data).signature())

APPLET = Applet(AID, "driver's licence", (PIN, PIN_SETTING, LICENCE_DATA, SIGNATURE), ())


def written(licence: Licence) -> ApplicationContents:
    """Return the contents that a police station writes. Raises ValueError for data that do not fit."""
    return APPLET.contents(cast("Personalisation", licence))
