"""COSE_Sign1 with ES256 (RFC 9052, 4.2; RFC 9053, 2.1) and COSE keys on P-256, as far as mdocs use them."""

from __future__ import annotations

from collections.abc import Mapping
from io import BytesIO
from typing import Any

import cbor2
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

ALGORITHM, X5CHAIN, TYPE = 1, 33, 16
"""Labels of header parameters (RFC 9052, 3.1; RFC 9360, 2; RFC 9596)."""

ES256 = -7
_KEY_TYPE, _CURVE, _X, _Y = 1, -1, -2, -3
_EC2, _P256 = 2, 1
_SIZE = 32
_ECDSA = ec.ECDSA(hashes.SHA256())


class MalformedCbor(Exception):
    """The bytes are not the CBOR structure that was expected."""


class WrongCoseSignature(Exception):
    """A COSE signature is not valid, or not made with ES256."""


def decoded(data: bytes) -> Any:
    """Return the one data item in CBOR bytes. Raises MalformedCbor, also for bytes after it."""
    stream = BytesIO(data)
    try:
        value = cbor2.CBORDecoder(stream, read_size=1).decode()
    except (cbor2.CBORDecodeError, ValueError, TypeError, OverflowError, RecursionError) as error:
        raise MalformedCbor("it is not CBOR") from error
    if stream.read(1):
        raise MalformedCbor("there are bytes after the data item")
    return value


def sign1(
    key: ec.EllipticCurvePrivateKey, payload: bytes, *, protected: Mapping[int, Any] | None = None,
    unprotected: Mapping[int, Any] | None = None, detached: bool = False,
) -> list[Any]:  # fmt: skip
    """Return a COSE_Sign1 over a payload, with or without the payload in it."""
    header = cbor2.dumps({ALGORITHM: ES256, **(protected or {})})
    r, s = decode_dss_signature(key.sign(_to_be_signed(header, payload), _ECDSA))
    return [header, dict(unprotected or {}), None if detached else payload, r.to_bytes(_SIZE) + s.to_bytes(_SIZE)]


def verify1(unverified: Any, key: ec.EllipticCurvePublicKey, payload: bytes | None = None) -> bytes:
    """Verify a COSE_Sign1 and return its payload. `payload` is that of a detached one, and None otherwise.

    Raises MalformedCbor and WrongCoseSignature.
    """
    header, _, inside, signature = parts(unverified)
    if (inside is None) is (payload is None):
        raise MalformedCbor("the COSE_Sign1 has a payload in it where it must not, or none where it must")
    content = inside if payload is None else payload
    assert content is not None
    parameters = decoded(header)
    if not isinstance(parameters, dict) or parameters.get(ALGORITHM) != ES256:
        raise WrongCoseSignature("the algorithm is not ES256")
    if len(signature) != 2 * _SIZE:
        raise WrongCoseSignature("the signature does not have 64 bytes")
    pair = encode_dss_signature(int.from_bytes(signature[:_SIZE]), int.from_bytes(signature[_SIZE:]))
    try:
        key.verify(pair, _to_be_signed(header, content), _ECDSA)
    except InvalidSignature as error:
        raise WrongCoseSignature("the signature is not valid") from error
    return content


def parts(unverified: Any) -> tuple[bytes, Mapping[Any, Any], bytes | None, bytes]:
    """Return the protected header, the unprotected header, the payload and the signature of a COSE_Sign1. Raises
    MalformedCbor."""
    if isinstance(unverified, cbor2.CBORTag) and unverified.tag == 18:
        unverified = unverified.value
    match unverified:
        case [bytes() as header, Mapping() as other, bytes() | None as payload, bytes() as signature]:
            return header, other, payload, signature
    raise MalformedCbor("not a COSE_Sign1")


def _to_be_signed(header: bytes, payload: bytes) -> bytes:
    return cbor2.dumps(["Signature1", header, b"", payload])


def cose_key(key: ec.EllipticCurvePublicKey) -> dict[int, Any]:
    """Return a public key on P-256 as a COSE_Key."""
    numbers = key.public_numbers()
    return {_KEY_TYPE: _EC2, _CURVE: _P256, _X: numbers.x.to_bytes(_SIZE), _Y: numbers.y.to_bytes(_SIZE)}


def public_key(unverified: Any) -> ec.EllipticCurvePublicKey:
    """Return the key in a COSE_Key. Raises MalformedCbor for anything but a point on P-256."""
    match unverified:
        case {1: 2, -1: 1, -2: bytes() as x, -3: bytes() as y}:
            try:
                numbers = ec.EllipticCurvePublicNumbers(int.from_bytes(x), int.from_bytes(y), ec.SECP256R1())
                return numbers.public_key()
            except ValueError as error:
                raise MalformedCbor("the device's key is not a point on P-256") from error
    raise MalformedCbor("the device's key is not an EC key on P-256")
