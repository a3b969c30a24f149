"""Verification of mdocs: a DeviceResponse to a request of this verifier (ISO/IEC 18013-5, 9.3)."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from typing import Any, NoReturn

import cbor2
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ObjectIdentifier

from kazashi.jpki.cose import TYPE as COSE_TYPE
from kazashi.jpki.cose import X5CHAIN, MalformedCbor, WrongCoseSignature, decoded, parts, public_key, verify1
from kazashi.jpki.mdoc import (
    DOCUMENT_TYPE,
    EMBEDDED,
    NAME_SPACES,
    STATUS_LIST_TYPE,
    PresentationRequest,
    device_authentication,
    digest_of_item,
)
from kazashi.relying_party.verify.finding import Outcome
from kazashi.world.clock import Clock

MAX_SIZE = 1 << 20
"""The most bytes of a response; a portrait has some thousands."""

MAX_LIST = 1 << 21
"""The most bytes of a status list without its compression."""

CHALLENGE_LASTS = timedelta(minutes=5)
_SKEW = timedelta(minutes=1)
_DOCUMENT_SIGNER = ObjectIdentifier("1.0.18013.5.1.2")
_STATUS_LIST = 65533


class MdocFinding(StrEnum):
    """Why a presentation is not accepted. The last two make the verdict indeterminate."""

    MALFORMED = "malformed"
    """The response is not one DeviceResponse with one document of this type."""
    UNKNOWN_CHALLENGE = "unknown-challenge"
    """The request's nonce was never issued, or has had its response: the presentation is replayed."""
    STALE_CHALLENGE = "stale-challenge"
    WRONG_SESSION = "wrong-session"
    """The device signed for another request or for another verifier, or another device did."""
    WRONG_AUTHORITY = "wrong-authority"
    """No trusted root issued the document signer's certificate."""
    WRONG_SIGNATURE = "wrong-signature"
    """The document signer did not sign the document."""
    TAMPERED = "tampered"
    """An element's digest is not in the document."""
    NOT_YET_VALID = "not-yet-valid"
    EXPIRED = "expired"
    REVOKED = "revoked"
    """The status list says that the document is no longer valid."""
    NOT_DISCLOSED = "not-disclosed"
    """A requested element is missing."""
    NO_INFORMATION = "no-information"
    """There is no status list for the document."""
    UNTRUSTED_INFORMATION = "untrusted-information"
    """The status list is not from the issuer, or not of now."""


_INDETERMINATE = frozenset({MdocFinding.NO_INFORMATION, MdocFinding.UNTRUSTED_INFORMATION})


class _Failed(Exception):
    def __init__(self, finding: MdocFinding, detail: str) -> None:
        super().__init__(detail)
        self.finding, self.detail = finding, detail


@dataclass(frozen=True, slots=True)
class MdocVerdict:
    """The outcome for a presentation at the instant `at`.

    `elements` are the disclosed elements by name; they are empty unless the outcome is good. A verdict has no truth
    value.
    """

    outcome: Outcome
    at: datetime
    finding: MdocFinding | None = None
    detail: str = ""
    elements: Mapping[str, Any] = field(default_factory=dict)
    valid_until: datetime | None = None

    def __bool__(self) -> NoReturn:
        """Raise TypeError: a verdict has no truth value."""
        raise TypeError("a verdict has no truth value; compare its outcome, which is good, bad or indeterminate")

    def as_dict(self) -> dict[str, Any]:
        """Return the verdict as a JSON object. Bytes are in hexadecimal."""
        return {
            "outcome": self.outcome.value,
            "finding": self.finding.value if self.finding else None,
            "detail": self.detail,
            "at": self.at.isoformat(),
            "elements": {name: _as_json(value) for name, value in self.elements.items()},
            "valid_until": self.valid_until.isoformat() if self.valid_until else None,
        }


def _as_json(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.hex()
    return value.isoformat() if isinstance(value, date) else value


class MdocVerifier:
    """Verifies presentations to one relying party.

    `roots` are the trusted issuers' roots (DER). `status_list` returns the status list (CWT) at an address, or None.
    `take` removes the challenge with a nonce from the relying party's store, and returns when and for which response
    address it was issued, or None if the store does not have it: a nonce is valid for one response.
    """

    def __init__(
        self, roots: Sequence[bytes], status_list: Callable[[str], bytes | None],
        take: Callable[[str], tuple[datetime, str] | None], clock: Clock,
    ) -> None:  # fmt: skip
        self._roots = [x509.load_der_x509_certificate(root) for root in roots]
        self._status_list = status_list
        self._take = take
        self._clock = clock

    def verify(self, unverified: bytes, request: PresentationRequest) -> MdocVerdict:
        """Return the verdict on a DeviceResponse to a request."""
        now = self._clock.now().astimezone(UTC)
        try:
            self._check_challenge(request, now)
            elements, ends = self._checked(unverified, request, now)
        except _Failed as failed:
            outcome = Outcome.INDETERMINATE if failed.finding in _INDETERMINATE else Outcome.BAD
            return MdocVerdict(outcome, now, failed.finding, failed.detail)
        except (MalformedCbor, KeyError, TypeError, ValueError, AttributeError, IndexError):
            return MdocVerdict(Outcome.BAD, now, MdocFinding.MALFORMED, "the response is not a DeviceResponse")
        return MdocVerdict(Outcome.GOOD, now, elements=elements, valid_until=ends)

    def _check_challenge(self, request: PresentationRequest, now: datetime) -> None:
        taken = self._take(request.nonce)
        if taken is None or taken[1] != request.response_uri:
            raise _Failed(
                MdocFinding.UNKNOWN_CHALLENGE,
                "the nonce was not issued for this address, or is used already",
            )
        if now - taken[0] > CHALLENGE_LASTS:
            raise _Failed(MdocFinding.STALE_CHALLENGE, f"the nonce was issued at {taken[0]}")

    def _checked(
        self, unverified: bytes, request: PresentationRequest, now: datetime
    ) -> tuple[dict[str, Any], datetime]:
        if len(unverified) > MAX_SIZE:
            raise _Failed(MdocFinding.MALFORMED, f"the response has more than {MAX_SIZE:,} bytes")
        response = decoded(unverified)
        (document,) = response["documents"]
        if response["status"] != 0 or document["docType"] != DOCUMENT_TYPE:
            raise _Failed(MdocFinding.MALFORMED, f"the document is not of the type {DOCUMENT_TYPE}")
        issued = document["issuerSigned"]
        signer = self._signer(issued["issuerAuth"], now)
        try:
            security_object = _embedded(decoded(verify1(issued["issuerAuth"], _key(signer))))
        except WrongCoseSignature as error:
            raise _Failed(MdocFinding.WRONG_SIGNATURE, f"the document signer's signature: {error}") from error
        if security_object["docType"] != DOCUMENT_TYPE or security_object["digestAlgorithm"] != "SHA-256":
            raise _Failed(MdocFinding.MALFORMED, "the security object is of another type, or not with SHA-256")
        elements = _elements(issued["nameSpaces"], security_object["valueDigests"])
        own = document["deviceSigned"]
        if own["nameSpaces"].tag != EMBEDDED or decoded(own["nameSpaces"].value) != {}:
            raise _Failed(MdocFinding.MALFORMED, "the device adds elements of its own")
        device = public_key(security_object["deviceKeyInfo"]["deviceKey"])
        try:
            signature, signed = own["deviceAuth"]["deviceSignature"], device_authentication(request, own["nameSpaces"])
            verify1(signature, device, signed)
        except WrongCoseSignature as error:
            raise _Failed(
                MdocFinding.WRONG_SESSION,
                "the device did not sign for this request, but for another nonce or verifier",
            ) from error
        ends = _check_validity(security_object["validityInfo"], now)
        if missing := [name for name in request.elements if name not in elements]:
            raise _Failed(MdocFinding.NOT_DISCLOSED, f"requested, and not disclosed: {', '.join(missing)}")
        self._check_status(security_object, now)
        return elements, ends

    def _signer(self, issuer_auth: Any, now: datetime) -> x509.Certificate:
        """Return the document signer's certificate, if a trusted root issued it (ISO/IEC 18013-5, 9.3.3)."""
        chain = parts(issuer_auth)[1][X5CHAIN]
        signer = x509.load_der_x509_certificate(chain if isinstance(chain, bytes) else chain[0])
        for root in self._roots:
            try:
                signer.verify_directly_issued_by(root)
            except (ValueError, TypeError, InvalidSignature):
                continue
            try:
                uses = signer.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
            except x509.ExtensionNotFound:
                break
            if _DOCUMENT_SIGNER not in uses:
                break
            for certificate in (signer, root):
                if not certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc:
                    raise _Failed(MdocFinding.EXPIRED, "the issuer's certificate is not valid now")
            return signer
        raise _Failed(MdocFinding.WRONG_AUTHORITY, "no trusted root issued the document signer's certificate")

    def _check_status(self, security_object: Mapping[str, Any], now: datetime) -> None:
        entry = security_object["status"]["status_list"]
        token = self._status_list(str(entry["uri"]))
        if token is None:
            raise _Failed(MdocFinding.NO_INFORMATION, f"there is no status list at {entry['uri']}")
        try:
            signed = decoded(token)
            header = decoded(parts(signed)[0])
            claims = decoded(verify1(signed, _key(self._signer(signed, now))))
            current = claims[2] == entry["uri"] and claims[6] - 60 <= now.timestamp() <= claims[4]
            if header.get(COSE_TYPE) != STATUS_LIST_TYPE or not current or claims[_STATUS_LIST]["bits"] != 1:
                raise ValueError("it is another list, or not of now")
            inflating = zlib.decompressobj()
            bits = inflating.decompress(claims[_STATUS_LIST]["lst"], MAX_LIST)
            index = int(entry["idx"])
            invalid = bits[index // 8] >> index % 8 & 1
        except (
            _Failed, MalformedCbor, WrongCoseSignature, ValueError, KeyError, TypeError, IndexError, AttributeError,
            zlib.error,
        ) as error:  # fmt: skip
            ours = f": {error}" if isinstance(error, _Failed | WrongCoseSignature) else ""
            raise _Failed(MdocFinding.UNTRUSTED_INFORMATION, f"the status list is not usable{ours}") from error
        if invalid:
            raise _Failed(MdocFinding.REVOKED, "the issuer's status list says that the document is no longer valid")


def _key(certificate: x509.Certificate) -> ec.EllipticCurvePublicKey:
    key = certificate.public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise MalformedCbor("the document signer's key is not on P-256")
    return key


def _embedded(value: Any) -> Any:
    if not isinstance(value, cbor2.CBORTag) or value.tag != EMBEDDED or not isinstance(value.value, bytes):
        raise MalformedCbor("not CBOR in a byte string")
    return decoded(value.value)


def _elements(name_spaces: Mapping[str, Any], digests: Mapping[str, Mapping[int, bytes]]) -> dict[str, Any]:
    """Return the disclosed elements whose digests the issuer signed (ISO/IEC 18013-5, 9.3.1)."""
    elements: dict[str, Any] = {}
    for name_space, items in name_spaces.items():
        for item in items:
            content = _embedded(item)
            name = content["elementIdentifier"]
            if digests.get(name_space, {}).get(content["digestID"]) != digest_of_item(item):
                raise _Failed(MdocFinding.TAMPERED, f"the issuer did not sign this value of {name!r}")
            if name in elements or NAME_SPACES.get(name) != name_space:
                raise _Failed(MdocFinding.MALFORMED, f"{name!r} is there twice, or in another name space")
            elements[name] = content["elementValue"]
    return elements


def _check_validity(validity: Mapping[str, Any], now: datetime) -> datetime:
    begins, ends = validity["validFrom"], validity["validUntil"]
    if now + _SKEW < begins:
        raise _Failed(MdocFinding.NOT_YET_VALID, f"the document is valid from {begins} on")
    if now > ends:
        raise _Failed(MdocFinding.EXPIRED, f"the document ended at {ends}")
    return ends.astimezone(UTC) if isinstance(ends, datetime) else now
