"""Commands for clients: each function returns the bytes of one command APDU in short form.

`reference` names a PIN or a key: the file's identifier, of which the command carries the low five bits, or CURRENT.
"""

from __future__ import annotations

from kazashi.card.apdu import CommandApdu
from kazashi.card.identifiers import FileId
from kazashi.card.instruction import Instruction
from kazashi.card.tlv import parse

CURRENT = 0
"""The reference to the currently selected file."""

DIGEST_INFO_SHA256 = bytes.fromhex("3031300D060960864801650304020105000420")
"""The DigestInfo prefix before a SHA-256 hash in a PKCS#1 v1.5 signature (RFC 8017, 9.2)."""

_MAX_LE = 256


def select(aid: bytes) -> bytes:
    """SELECT an application by its full or partial AID, without requesting its control information."""
    return _command(Instruction.SELECT, 0x04, 0x0C, aid)


def select_for_information(aid: bytes) -> bytes:
    """SELECT an application by its full or partial AID, and request its file control information (FCI)."""
    return _command(Instruction.SELECT, 0x04, 0x00, aid, _MAX_LE)


def select_file(fid: int) -> bytes:
    """SELECT a file of the current application."""
    return _command(Instruction.SELECT, 0x02, 0x0C, fid.to_bytes(2))


def read_binary(offset: int, length: int, *, file: int = CURRENT) -> bytes:
    """READ BINARY of up to `length` (1 to 256) bytes.

    The offset has 15 bits in the current file, and 8 bits in a `file` given by its identifier, which becomes the
    current file. Raises OverflowError for a larger offset.
    """
    if file == CURRENT:
        p1, p2 = offset.to_bytes(2)
        if p1 & 0x80:
            raise OverflowError(f"the offset {offset} does not fit in 15 bits")
        return _command(Instruction.READ_BINARY, p1, p2, le=length)
    return _command(Instruction.READ_BINARY, _reference(file), offset.to_bytes(1)[0], le=length)


def read_record(number: int, file: int) -> bytes:
    """READ RECORD of one record, numbered from 1, of a file given by its identifier."""
    return _command(Instruction.READ_RECORD, number, FileId(file).short << 3 | 0x04, le=_MAX_LE)


def terminal_certificate(certificate: bytes) -> tuple[bytes, bytes]:
    """The two commands that give a card a terminal's certificate: its body, in the extended form, and its signature.

    Raises ValueError if it is not a card-verifiable certificate.
    """
    whole, _ = parse(certificate)
    body, signature = whole.children()
    first = whole.header() + body.encode()
    return (
        _command(Instruction.SET_PUBLIC_IC_KEY, 0x06, 0xC1, first, extended=True),
        _command(Instruction.SET_PUBLIC_IC_KEY, 0x00, 0xC1, signature.encode(), extended=True),
    )


def external_authenticate(reference: int, signature: bytes) -> bytes:
    """EXTERNAL AUTHENTICATE with a signature of the card's last challenge."""
    extended = len(signature) > 255
    return _command(Instruction.EXTERNAL_AUTHENTICATE, 0x00, _reference(reference), signature, extended=extended)


def get_data(tag: int) -> bytes:
    """GET DATA of the data object with a two-byte tag."""
    return _command(Instruction.GET_DATA, tag >> 8, tag & 0xFF, le=_MAX_LE)


def verify(reference: int, pin: bytes) -> bytes:
    """VERIFY a PIN (1 to 16 bytes)."""
    return _command(Instruction.VERIFY, 0x00, _reference(reference), pin)


def tries_left(reference: int) -> bytes:
    """The empty VERIFY: the card responds with the retries left and does not decrement the counter."""
    return _command(Instruction.VERIFY, 0x00, _reference(reference))


def change_reference_data(reference: int, pin: bytes) -> bytes:
    """CHANGE REFERENCE DATA: set a new value for a verified PIN."""
    return _command(Instruction.CHANGE_REFERENCE_DATA, 0x01, _reference(reference), pin)


def compute_digital_signature(reference: int, data: bytes, *, way: int = 0x00) -> bytes:
    """COMPUTE DIGITAL SIGNATURE over 1 to 245 bytes. `way` is P1 as in docs/card.md; 00 is for a DigestInfo."""
    return _command(Instruction.COMPUTE_DIGITAL_SIGNATURE, way, _reference(reference), data, _MAX_LE)


def sign_hash(digest: bytes) -> bytes:
    """PERFORM SECURITY OPERATION: an ECDSA signature over a SHA-384 hash with the current file, an EC key."""
    return _command(Instruction.PERFORM_SECURITY_OPERATION, 0x9E, 0x9A, digest, _MAX_LE)


def internal_authenticate(reference: int, challenge: bytes) -> bytes:
    """INTERNAL AUTHENTICATE: a signature over a challenge (1 to 255 bytes)."""
    return _command(Instruction.INTERNAL_AUTHENTICATE, 0x00, _reference(reference), challenge, _MAX_LE)


def get_challenge(length: int) -> bytes:
    """GET CHALLENGE: request 1 to 256 random bytes."""
    return _command(Instruction.GET_CHALLENGE, 0x00, 0x00, le=length)


def _reference(file: int) -> int:
    return 0x80 | FileId(file).short


def _command(
    instruction: Instruction, p1: int, p2: int, data: bytes = b"", le: int | None = None, *, extended: bool = False
) -> bytes:
    return CommandApdu(instruction.cla, instruction.ins, p1, p2, bytes(data), le, extended).encode()
