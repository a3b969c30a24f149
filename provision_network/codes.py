"""The codes by which the network identifies a person without the individual number (情報提供用個人識別符号).

    institution code = AES-256(key, kind ‖ linkage code ‖ institution ‖ zeros)        one block of 16 bytes

This follows descriptions of the real network: an encryption of the core's own identifier together with the
institution's number. It is a cipher, because the core must convert one institution's code to another's without a table
of every pair. It is one block, so that no two people have the same code, and nobody without the key can tell which two
codes belong together. The zeros distinguish codes that the core has issued from others.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NoReturn, Protocol, Self

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from kazashi.world.token import with_session

_HEX = re.compile("[0-9a-f]{32}")
_LARGEST = 2**56 - 1
_INSTITUTIONS = 2**32
_ZEROS = bytes(4)


class ForeignCode(Exception):
    """A code is malformed, belongs to another institution, or was never issued by the core."""


@dataclass(frozen=True, slots=True)
class ProvisionIdentifier:
    """The base of all codes: 16 bytes that have a meaning only for the core."""

    value: bytes
    kind: ClassVar[int] = 0

    def __post_init__(self) -> None:
        if len(self.value) != 16:
            raise ForeignCode(f"a code must have 16 bytes, not {len(self.value)}")

    def __str__(self) -> str:
        return self.value.hex()

    @classmethod
    def parse(cls, text: object) -> Self:
        """Parse the hexadecimal form that messages use. Raises ForeignCode."""
        if not isinstance(text, str) or not _HEX.fullmatch(text):
            raise ForeignCode(f"{str(text)[:40]!r} is not a code of 32 hexadecimal digits")
        return cls(bytes.fromhex(text))


class InstitutionCode(ProvisionIdentifier):
    """A person's code at one institution, or at a group that shares its codes (機関別符号)."""

    __slots__ = ()
    kind = 1


class PortalCode(ProvisionIdentifier):
    """A person's code at the portal (開示システム用符号)."""

    __slots__ = ()
    kind = 2


class RecordCode(ProvisionIdentifier):
    """The code under which the core keeps a person's provision records (情報提供等記録用符号)."""

    __slots__ = ()
    kind = 3


class LinkageCode:
    """The core's own identifier of a person (連携用符号). It cannot be serialised or printed."""

    __slots__ = ("_number",)

    def __init__(self, number: int) -> None:
        """Make a linkage code of a positive number of up to 56 bits. Raises ValueError."""
        if not 0 < number <= _LARGEST:
            raise ValueError(f"a linkage code must be a number from 1 to {_LARGEST}")
        self._number = number

    def __repr__(self) -> str:
        return "<a linkage code>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a linkage code must not leave the core")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, LinkageCode) and other._number == self._number

    def __hash__(self) -> int:
        return hash(self._number)


class BlockCipher(Protocol):
    """A block cipher that keeps its key. Both methods take and return any number of whole 16-byte blocks."""

    def encrypt(self, blocks: bytes) -> bytes:
        """Encrypt each block independently."""

    def decrypt(self, blocks: bytes) -> bytes:
        """Decrypt each block independently."""


class SoftwareCipher(threading.local):
    """AES-256 in this process. The cipher contexts are reused, because making them would take most of the time; each
    thread has its own."""

    def __init__(self, key: bytes) -> None:
        """`key` has 32 bytes. Raises ValueError."""
        if len(key) != 32:
            raise ValueError(f"the core's key must have 32 bytes, not {len(key)}")
        # Single blocks that never repeat need no mode of operation; ECB is the bare block cipher.
        cipher = Cipher(algorithms.AES256(key), modes.ECB())
        self.encrypt: Any = cipher.encryptor().update
        self.decrypt: Any = cipher.decryptor().update


class TokenCipher:
    """AES-256 with a key that never leaves a PKCS#11 token."""

    def __init__(self, uri: str, label: str) -> None:
        self._uri = uri
        self._label = label

    def make(self) -> None:
        """Generate the key in the token if it does not exist yet. Raises TokenUnavailable."""
        with_session(self._uri, self._make)

    def encrypt(self, blocks: bytes) -> bytes:
        """Encrypt each block independently. Raises TokenUnavailable."""
        return self._apply("encrypt", blocks)

    def decrypt(self, blocks: bytes) -> bytes:
        """Decrypt each block independently. Raises TokenUnavailable."""
        return self._apply("decrypt", blocks)

    def _apply(self, operation: str, blocks: bytes) -> bytes:
        from pkcs11 import Mechanism

        def act(session: Any) -> bytes:
            return bytes(getattr(self._key(session), operation)(blocks, mechanism=Mechanism.AES_ECB))

        return bytes(with_session(self._uri, act))

    def _key(self, session: Any) -> Any:
        from pkcs11 import ObjectClass

        return session.get_key(object_class=ObjectClass.SECRET_KEY, label=self._label)

    def _make(self, session: Any) -> None:
        import pkcs11

        try:
            self._key(session)
        except pkcs11.exceptions.NoSuchKey:
            session.generate_key(pkcs11.KeyType.AES, 256, label=self._label, store=True)


class Coder:
    """The core's conversion between linkage codes and the codes of institutions, the portal and the records."""

    def __init__(self, cipher: BlockCipher) -> None:
        self._cipher = cipher

    def institution(self, linkage: LinkageCode, institution: int) -> InstitutionCode:
        """Return a person's code at an institution, which has a number of up to 32 bits. Raises ValueError."""
        return InstitutionCode(self._sealed(InstitutionCode.kind, linkage, _checked(institution)))

    def portal(self, linkage: LinkageCode) -> PortalCode:
        """Return a person's code at the portal."""
        return PortalCode(self._sealed(PortalCode.kind, linkage, 0))

    def record(self, linkage: LinkageCode) -> RecordCode:
        """Return a person's code in the provision records."""
        return RecordCode(self._sealed(RecordCode.kind, linkage, 0))

    def linkage(self, code: ProvisionIdentifier, institution: int = 0) -> LinkageCode:
        """Return the linkage code of a person from their code at an institution. Raises ForeignCode."""
        block = self._cipher.decrypt(code.value)
        head, number = block[0], int.from_bytes(block[1:8])
        if head != code.kind or block[8:12] != institution.to_bytes(4) or block[12:] != _ZEROS or not number:
            raise ForeignCode("this is not a code of that institution")
        return LinkageCode(number)

    def convert(self, code: InstitutionCode, source: int, target: int) -> InstitutionCode:
        """Convert one institution's code to another's (符号変換). Raises ForeignCode."""
        return self.institution(self.linkage(code, source), target)

    def issue(self, linkages: Sequence[LinkageCode], institution: int) -> list[InstitutionCode]:
        """Return the codes of many people at an institution, in the same order, with one call of the cipher."""
        blocks = np.zeros((len(linkages), 16), np.uint8)
        numbers = np.fromiter((linkage._number for linkage in linkages), ">u8", len(linkages))
        blocks[:, :8] = numbers.view(np.uint8).reshape(-1, 8)  # a number has 56 bits: the first byte is free
        blocks[:, 0] = InstitutionCode.kind
        blocks[:, 8:12] = np.frombuffer(_checked(institution).to_bytes(4), np.uint8)
        sealed = self._cipher.encrypt(blocks.tobytes())
        return [InstitutionCode(sealed[place : place + 16]) for place in range(0, len(sealed), 16)]

    def _sealed(self, kind: int, linkage: LinkageCode, institution: int) -> bytes:
        number = linkage._number
        block = bytes((kind,)) + number.to_bytes(7) + institution.to_bytes(4) + _ZEROS
        return bytes(self._cipher.encrypt(block))


def _checked(institution: int) -> int:
    if not 0 < institution < _INSTITUTIONS:
        raise ValueError(f"an institution's number must be from 1 to {_INSTITUTIONS - 1}, not {institution}")
    return institution
