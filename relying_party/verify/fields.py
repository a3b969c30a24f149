"""The fields of a certificate as they are encoded.

`cryptography` encodes a certificate again for each field that is asked for as bytes, which takes as long as half an RSA
verification. These functions slice the DER that was parsed.
"""

from __future__ import annotations

from hashlib import sha1
from typing import NamedTuple


class CertificateFields(NamedTuple):
    """Fields of a certificate, each as DER with its header (RFC 5280, 4.1).

    `body` is what the authority signed; `algorithm` is inside it, `outer_algorithm` beside the signature. `extensions`
    has one element for each. `key_identifier` is computed from the key: SHA-1 of its bits (RFC 5280, 4.2.1.2, method
    1).
    """

    body: bytes
    outer_algorithm: bytes
    signature: bytes
    algorithm: bytes
    issuer: bytes
    extensions: list[bytes]
    key_identifier: bytes


def certificate_fields(der: bytes) -> CertificateFields:
    """Return the fields of a certificate, which must have been parsed: this function does not check the encoding."""
    body, outer_algorithm, signature = elements(der)
    fields = elements(body)
    first = 1 if fields[0][0] == _VERSION else 0
    _, algorithm, issuer, _, _, public_key = fields[first : first + 6]
    extensions = elements(contents(fields[-1])) if fields[-1][0] == _EXTENSIONS else []
    bits = contents(elements(public_key)[1])[1:]  # the first byte is the number of unused bits
    identifier = sha1(bits, usedforsecurity=False).digest()
    return CertificateFields(body, outer_algorithm, signature, algorithm, issuer, extensions, identifier)


_VERSION, _EXTENSIONS = 0xA0, 0xA3
"""The tags of two fields that a certificate of version 1 does not have."""


def elements(value: bytes) -> list[bytes]:
    """Return what a constructed value contains, each with its header."""
    place, found = len(value) - len(contents(value)), []
    while place < len(value):
        size = value[place + 1]
        end = place + 2 + size
        if size >= 0x80:
            begins = place + 2 + (size & 0x7F)
            end = begins + int.from_bytes(value[place + 2 : begins])
        found.append(value[place:end])
        place = end
    return found


def contents(value: bytes) -> bytes:
    """Return a value without its header."""
    size = value[1]
    return value[2:] if size < 0x80 else value[2 + (size & 0x7F) :]
