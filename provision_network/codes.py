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


class BlockCipher(Protocol):
    """A cipher whose key stays where it is; both take and answer whole blocks of 16 bytes, as many as there are."""

    def encrypt(self, blocks: bytes) -> bytes:
        """Each block encrypted by itself."""

    def decrypt(self, blocks: bytes) -> bytes:
        """And back again."""


class SoftwareCipher(threading.local):
    """AES-256 in this process. The contexts are kept, or making them would cost most of the time; each thread has its
    own."""

    def __init__(self, key: bytes) -> None:
        """A key of 32 bytes."""
        if len(key) != 32:
            raise ValueError("the core's key has 32 bytes")
        # Single blocks that never repeat need no mode: ECB is the block cipher itself.
        cipher = Cipher(algorithms.AES256(key), modes.ECB())
        self.encrypt: Any = cipher.encryptor().update
        self.decrypt: Any = cipher.decryptor().update


class TokenCipher:
    """AES-256 with a key in a PKCS#11 token, which never lets it out."""

    def __init__(self, uri: str, label: str) -> None:
        self._uri = uri
        self._label = label

    def make(self) -> None:
        """Have the token make the key, unless it did so before. Raises TokenUnavailable."""
        with_session(self._uri, self._make)

    def encrypt(self, blocks: bytes) -> bytes:
        """Each block encrypted. Raises TokenUnavailable."""
        return self._used("encrypt", blocks)

    def decrypt(self, blocks: bytes) -> bytes:
        """And back again. Raises TokenUnavailable."""
        return self._used("decrypt", blocks)

    def _used(self, what: str, blocks: bytes) -> bytes:
        from pkcs11 import Mechanism

        def act(session: Any) -> bytes:
            return bytes(getattr(self._key(session), what)(blocks, mechanism=Mechanism.AES_ECB))

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
    """The core's way from persons to codes and back."""

    def __init__(self, cipher: BlockCipher) -> None:
        self._cipher = cipher

    def institution(self, linkage: LinkageCode, institution: int) -> InstitutionCode:
        """A person's code at an institution, which has a number of up to 32 bits."""
        return InstitutionCode(self._sealed(InstitutionCode.kind, linkage, _checked(institution)))

    def portal(self, linkage: LinkageCode) -> PortalCode:
        """A person's code at the portal."""
        return PortalCode(self._sealed(PortalCode.kind, linkage, 0))

    def record(self, linkage: LinkageCode) -> RecordCode:
        """A person's code in the records."""
        return RecordCode(self._sealed(RecordCode.kind, linkage, 0))

    def linkage(self, code: ProvisionIdentifier, institution: int = 0) -> LinkageCode:
        """Whose code it is, at that institution. Raises ForeignCode."""
        block = self._cipher.decrypt(code.value)
        head, number = block[0], int.from_bytes(block[1:8])
        if head != code.kind or block[8:12] != institution.to_bytes(4) or block[12:] != _ZEROS or not number:
            raise ForeignCode("this is no code of that institution")
        return LinkageCode(number)

    def convert(self, code: InstitutionCode, source: int, target: int) -> InstitutionCode:
        """One institution's code as another's (符号変換). Raises ForeignCode."""
        return self.institution(self.linkage(code, source), target)

    def issue(self, linkages: Sequence[LinkageCode], institution: int) -> list[InstitutionCode]:
        """The codes of many persons at an institution, in one go."""
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
        raise ValueError(f"no institution has the number {institution}")
    return institution
