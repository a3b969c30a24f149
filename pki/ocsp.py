"""Decoding of OCSP requests and encoding of OCSP responses (RFC 6960, and the lightweight profile of RFC 5019)."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum

from kazashi.jpki.profile import Algorithm, CertificateType
from kazashi.jpki.state import Reason
from kazashi.pki import asn1, der
from kazashi.pki.generation import Generation
from kazashi.pki.signing_key import SoftwareKey

MAX_REQUEST = 8192
"""Bytes. A request for a hundred certificates has about 8000."""

MAX_CERTIFICATES = 100
MAX_NONCE = 128
"""Bytes, according to RFC 9654; the limit in RFC 8954 was 32."""

_BASIC_RESPONSE = asn1.oid("1.3.6.1.5.5.7.48.1.1")
_NONCE = asn1.oid("1.3.6.1.5.5.7.48.1.2")
_HASHES = {"1.3.14.3.2.26": "sha1", "2.16.840.1.101.3.4.2.1": "sha256"}
_HASH_OF = {asn1.oid(dotted): name for dotted, name in _HASHES.items()}


class OcspErrorStatus(IntEnum):
    """The error values of OCSPResponseStatus."""

    MALFORMED_REQUEST = 1
    INTERNAL_ERROR = 2
    TRY_LATER = 3
    SIG_REQUIRED = 5
    UNAUTHORIZED = 6

    @property
    def asn1_name(self) -> str:
        """The name in RFC 6960, such as `tryLater`."""
        return _NAMES[self]


_NAMES = {
    OcspErrorStatus.MALFORMED_REQUEST: "malformedRequest",
    OcspErrorStatus.INTERNAL_ERROR: "internalError",
    OcspErrorStatus.TRY_LATER: "tryLater",
    OcspErrorStatus.SIG_REQUIRED: "sigRequired",
    OcspErrorStatus.UNAUTHORIZED: "unauthorized",
}


def refuse(refusal: OcspErrorStatus) -> bytes:
    """An unsigned error response (DER)."""
    return asn1.sequence(asn1.integer(refusal, asn1.ENUMERATED))


@dataclass(frozen=True, slots=True)
class CertificateId:
    """A CertID of a request: `whole` is its DER, the rest are its fields. `hash_name` is sha1 or sha256."""

    whole: bytes
    hash_name: str
    name_hash: bytes
    key_hash: bytes
    serial: int


@dataclass(frozen=True, slots=True)
class OcspRequest:
    """A decoded request. `nonce` is the value of the nonce extension as received, or None."""

    certificates: Sequence[CertificateId]
    nonce: bytes | None


def read_request(data: bytes) -> OcspRequest:
    """Decode a request (DER). A signature is ignored: callers are identified by their keys instead.

    Raises MalformedDer if the bytes are not a request, are too large, or use a hash other than SHA-1 and SHA-256.
    """
    if len(data) > MAX_REQUEST:
        raise asn1.MalformedDer(f"the request has {len(data)} bytes; at most {MAX_REQUEST} are allowed")
    outer = asn1.Reader(data)
    request = outer.inside(asn1.SEQUENCE)
    outer.finish()
    body = request.inside(asn1.SEQUENCE)
    if request.tag == 0xA0:
        request.skip()
    request.finish()
    if body.tag == 0xA0 and body.inside(0xA0).number() != 0:
        raise asn1.MalformedDer("the request's version is not supported; use version 1")
    if body.tag == 0xA1:
        body.skip()
    listed = body.inside(asn1.SEQUENCE)
    certificates = []
    while listed.more:
        single = listed.inside(asn1.SEQUENCE)
        certificates.append(_certificate_id(single.whole(asn1.SEQUENCE)))
        if single.tag == 0xA0:
            single.skip()
        single.finish()
    if not 1 <= len(certificates) <= MAX_CERTIFICATES:
        raise asn1.MalformedDer(
            f"the request names {len(certificates)} certificates; 1 to {MAX_CERTIFICATES} are allowed"
        )
    nonce = _nonce(body.inside(0xA2)) if body.tag == 0xA2 else None
    body.finish()
    return OcspRequest(certificates, nonce)


def _certificate_id(whole: bytes) -> CertificateId:
    fields = asn1.Reader(whole).inside(asn1.SEQUENCE)
    algorithm = fields.inside(asn1.SEQUENCE)
    name = _HASH_OF.get(algorithm.whole(asn1.OBJECT))
    if name is None:
        raise asn1.MalformedDer("the request's hash algorithm is not supported; use SHA-1 or SHA-256")
    if algorithm.tag == asn1.NULL:
        algorithm.skip()
    algorithm.finish()
    name_hash, key_hash = fields.contents(asn1.OCTET_STRING), fields.contents(asn1.OCTET_STRING)
    serial = fields.number()
    fields.finish()
    return CertificateId(whole, name, name_hash, key_hash, serial)


def _nonce(extensions: asn1.Reader) -> bytes | None:
    nonce = None
    listed = extensions.inside(asn1.SEQUENCE)
    extensions.finish()
    while listed.more:
        extension = listed.inside(asn1.SEQUENCE)
        kind = extension.whole(asn1.OBJECT)
        critical = extension.tag == asn1.BOOLEAN and extension.contents(asn1.BOOLEAN) != b"\x00"
        value = extension.contents(asn1.OCTET_STRING)
        extension.finish()
        if kind == _NONCE:
            if not 1 <= len(value) <= MAX_NONCE + 3:
                raise asn1.MalformedDer(f"the nonce's length is not allowed; use 1 to {MAX_NONCE} bytes")
            nonce = value
        elif critical:
            raise asn1.MalformedDer("the request has an unknown critical extension")
    return nonce


def identifies(generation: Generation, kind: CertificateType, hash_name: str) -> tuple[bytes, bytes]:
    """The issuerNameHash and issuerKeyHash with which requests name a generation as issuer."""
    key = asn1.Reader(generation.public_key).inside(asn1.SEQUENCE)
    key.skip()
    bits = key.contents(asn1.BIT_STRING)[1:]
    name = der.authority_name(generation.profile, kind)
    return (
        hashlib.new(hash_name, name, usedforsecurity=False).digest(),
        hashlib.new(hash_name, bits, usedforsecurity=False).digest(),
    )


GOOD = asn1.implicit(0, b"")
UNKNOWN = asn1.implicit(2, b"")


def revoked(since: datetime, reason: Reason) -> bytes:
    """The CertStatus of a certificate that is revoked or on hold. The reason is left out if it is `unspecified`."""
    code = asn1.explicit(0, asn1.integer(reason, asn1.ENUMERATED)) if reason is not Reason.UNSPECIFIED else b""
    return asn1.explicit(1, asn1.generalized_time(since), code)


@dataclass(frozen=True, slots=True)
class ResponderKey:
    """The key that signs responses about a generation's certificates, with its identifier and certificate (DER)."""

    algorithm: Algorithm
    key: SoftwareKey
    key_identifier: bytes
    certificate: bytes


def sign_response(
    signer: ResponderKey,
    statuses: Sequence[tuple[CertificateId, bytes]],
    times: tuple[datetime, datetime, datetime],
    nonce: bytes | None,
) -> bytes:
    """A signed successful response (DER); `times` are producedAt, thisUpdate and nextUpdate."""
    produced, this_update, next_update = times
    between = asn1.generalized_time(this_update) + asn1.explicit(0, asn1.generalized_time(next_update))
    singles = [asn1.sequence(certificate_id.whole, status, between) for certificate_id, status in statuses]
    extensions = b""
    if nonce is not None:
        extensions = asn1.explicit(1, asn1.sequence(asn1.sequence(_NONCE, asn1.octets(nonce))))
    body = asn1.sequence(
        asn1.explicit(2, asn1.octets(signer.key_identifier)),
        asn1.generalized_time(produced),
        asn1.sequence(*singles),
        extensions,
    )
    basic = asn1.sequence(
        body,
        der.SIGNATURE_ALGORITHM[signer.algorithm],
        asn1.bits(signer.key.sign(body)),
        asn1.explicit(0, asn1.sequence(signer.certificate)),
    )
    return asn1.sequence(
        asn1.integer(0, asn1.ENUMERATED),
        asn1.explicit(0, asn1.sequence(_BASIC_RESPONSE, asn1.octets(basic))),
    )
