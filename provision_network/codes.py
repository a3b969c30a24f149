"""The identifiers by which the network speaks of a person without a number (情報提供用個人識別符号).

    institution code = AES-256(key, kind ‖ linkage code ‖ institution ‖ zeros)        one block of 16 bytes

as it is told of the real network: a cipher of an identifier of the core's own together with the institution's number.
A cipher, because the core must get back from one institution's code to another's without a table of every pair; one
block, because two persons then never have the same code, and nobody without the key tells which two codes belong
together. The zeros tell a code that the core has made from one that it has not.
"""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass
from typing import Any, ClassVar, NoReturn, Self

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

_HEX = re.compile("[0-9a-f]{32}")
_LARGEST = 2**56 - 1
_INSTITUTIONS = 2**32
_ZEROS = bytes(4)


class ForeignCode(Exception):
    """This is no code of that institution: another's, or one that the core has never made."""


@dataclass(frozen=True, slots=True)
class ProvisionIdentifier:
    """What all codes have in common: 16 bytes that say nothing to anybody but the core."""

    value: bytes
    kind: ClassVar[int] = 0

    def __post_init__(self) -> None:
        if len(self.value) != 16:
            raise ForeignCode(f"a code has 16 bytes, not {len(self.value)}")

    def __str__(self) -> str:
        return self.value.hex()

    @classmethod
    def parse(cls, text: object) -> Self:
        """From hexadecimal, as it travels. Raises ForeignCode."""
        if not isinstance(text, str) or not _HEX.fullmatch(text):
            raise ForeignCode(f"{str(text)[:40]!r} is no code")
        return cls(bytes.fromhex(text))


class InstitutionCode(ProvisionIdentifier):
    """What one institution, or a group that shares one, and the core call a person (機関別符号)."""

    __slots__ = ()
    kind = 1


class PortalCode(ProvisionIdentifier):
    """What the portal and the core call a person (開示システム用符号)."""

    __slots__ = ()
    kind = 2


class RecordCode(ProvisionIdentifier):
    """Under which the core keeps records of provision (情報提供等記録用符号)."""

    __slots__ = ()
    kind = 3


class LinkageCode:
    """What the core alone calls a person (連携用符号). It cannot be written down, printed or sent."""

    __slots__ = ("_number",)

    def __init__(self, number: int) -> None:
        """A number of up to 56 bits. Raises ValueError."""
        if not 0 < number <= _LARGEST:
            raise ValueError(f"a linkage code is a number from 1 to {_LARGEST}")
        self._number = number

    def __repr__(self) -> str:
        return "<a linkage code>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a linkage code does not leave the core")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, LinkageCode) and other._number == self._number

    def __hash__(self) -> int:
        return hash(self._number)


class Coder(threading.local):
    """The core's cipher. Its contexts are kept, or making them would cost most of the time; each thread has its own."""

    def __init__(self, key: bytes) -> None:
        """A key of 32 bytes."""
        if len(key) != 32:
            raise ValueError("the core's key has 32 bytes")
        # Single blocks that never repeat need no mode: ECB is the block cipher itself.
        cipher = Cipher(algorithms.AES256(key), modes.ECB())
        self._encrypt: Any = cipher.encryptor().update
        self._decrypt: Any = cipher.decryptor().update

    def institution(self, linkage: LinkageCode, institution: int) -> InstitutionCode:
        """A person's code at an institution, which has a number of up to 32 bits."""
        if not 0 < institution < _INSTITUTIONS:
            raise ValueError(f"no institution has the number {institution}")
        return InstitutionCode(self._sealed(InstitutionCode.kind, linkage, institution))

    def portal(self, linkage: LinkageCode) -> PortalCode:
        """A person's code at the portal."""
        return PortalCode(self._sealed(PortalCode.kind, linkage, 0))

    def record(self, linkage: LinkageCode) -> RecordCode:
        """A person's code in the records."""
        return RecordCode(self._sealed(RecordCode.kind, linkage, 0))

    def linkage(self, code: ProvisionIdentifier, institution: int = 0) -> LinkageCode:
        """Whose code it is, at that institution. Raises ForeignCode."""
        block = self._decrypt(code.value)
        head, number = block[0], int.from_bytes(block[1:8])
        if head != code.kind or block[8:12] != institution.to_bytes(4) or block[12:] != _ZEROS or not number:
            raise ForeignCode("this is no code of that institution")
        return LinkageCode(number)

    def convert(self, code: InstitutionCode, source: int, target: int) -> InstitutionCode:
        """One institution's code as another's (符号変換). Raises ForeignCode."""
        return self.institution(self.linkage(code, source), target)

    def _sealed(self, kind: int, linkage: LinkageCode, institution: int) -> bytes:
        number = linkage._number
        return bytes(self._encrypt(bytes((kind,)) + number.to_bytes(7) + institution.to_bytes(4) + _ZEROS))
