"""The secure channel of the text application: commands and responses encrypted under a session key, without a checksum.

A terminal sends the key with SET SESSION KEY. The counter of the commands that follow, from 1, gives the initial vector
of a command and of its response. What is known of it was measured by the authors of myna-card (src/sm.rs).
"""

from __future__ import annotations

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from kazashi.card.apdu import CommandApdu
from kazashi.card.instruction import CommandClass, Instruction
from kazashi.card.tlv import Tlv, parse_all

KEY_DELIVERY = 0xA0
ENCRYPTION_KEY = 0x80
CRYPTOGRAM = 0x86
EXPECTED_LENGTH = 0x96
SEED_LENGTH = 32
_PADDING_INDICATOR = b"\x01"
_BLOCK = 16


class SecureChannel:
    """One session key and the number of commands that were sent under it."""

    __slots__ = ("_key", "counter")

    def __init__(self, seed: bytes) -> None:
        """Make a channel from a seed of 32 bytes, of which the first 16 are the AES key."""
        self._key = algorithms.AES(seed[:_BLOCK])
        self.counter = 0

    def opened(self, command: CommandApdu) -> CommandApdu:
        """Return the plain command in a secured one, and count it. Raises ValueError if it cannot be decrypted."""
        self.counter += 1
        (item,) = parse_all(command.data)
        plain = command._replace(cla=CommandClass.INTERINDUSTRY, data=b"", le=None)
        if command.ins == Instruction.READ_BINARY.ins:
            if item.tag != EXPECTED_LENGTH or len(item.value) != 3 or item.value[0]:
                raise ValueError("READ BINARY has the expected length and nothing else")
            return plain._replace(le=int.from_bytes(item.value) or 0x10000, extended=True)
        if item.tag != CRYPTOGRAM or item.value[:1] != _PADDING_INDICATOR:
            raise ValueError("the command has a cryptogram and nothing else")
        return plain._replace(data=self.decrypted(item.value[1:]))

    def closed(self, data: bytes) -> bytes:
        """Return the data object of a response, or nothing for a response without data."""
        return Tlv(CRYPTOGRAM, _PADDING_INDICATOR + self.encrypted(data)).encode() if data else b""

    def encrypted(self, data: bytes) -> bytes:
        """Return padded and encrypted data under the current counter."""
        padded = data + b"\x80"
        encryptor = self._cipher().encryptor()
        return encryptor.update(padded + bytes(-len(padded) % _BLOCK)) + encryptor.finalize()

    def decrypted(self, cryptogram: bytes) -> bytes:
        """Return what was encrypted under the current counter. Raises ValueError if the padding is wrong."""
        decryptor = self._cipher().decryptor()
        data, marker, zeros = (decryptor.update(cryptogram) + decryptor.finalize()).rpartition(b"\x80")
        if not marker or zeros.strip(b"\0") or len(zeros) >= _BLOCK:
            raise ValueError("the padding is wrong")
        return data

    def _cipher(self) -> Cipher[modes.CBC]:
        first = Cipher(self._key, modes.CBC(bytes(_BLOCK))).encryptor()
        return Cipher(self._key, modes.CBC(first.update(self.counter.to_bytes(_BLOCK)) + first.finalize()))
