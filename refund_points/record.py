"""The signed record of a purchase, and the till's key.

The signed bytes are sent and stored unchanged on both sides: a record is never serialised again before its signature is
verified.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import Enum
from functools import lru_cache
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from kazashi.refund_points.goods import MOST_YEN, points_of

MOST_BYTES = 8_192
"""The maximum size of a record. If a purchase has more lines than fit, the till only sends the sum."""

_WORD = re.compile("[a-z0-9][a-z0-9-]{0,39}")
_INSTALLATION = re.compile("[1-9][0-9]{0,8}")
_ALGORITHM = ec.ECDSA(hashes.SHA256())
_MOST = 2**53 - 1


class PointRecordRejected(Exception):
    """A record is malformed, inconsistent, or not signed by its till. `reason` is a short code."""

    def __init__(self, reason: str, words: str) -> None:
        super().__init__(words)
        self.reason = reason


class PostingType(Enum):
    """The kind of transaction that a record is about."""

    PURCHASE = "purchase"
    SHOWN_LATER = "shown-later"
    """A purchase without the card, which the customer shows afterwards with the receipt."""
    RETURN = "return"
    """Returned goods: yen and points are negative."""


def check_till(shop: str, till: str) -> None:
    """Raise ValueError if the name of the shop or the till is invalid."""
    if not (_WORD.fullmatch(shop) and _WORD.fullmatch(till)):
        raise ValueError(f"{shop}/{till} is not a valid till name; use up to 40 lower-case letters, digits and -")


@dataclass(frozen=True, slots=True)
class TillName:
    """The name of an installation of a till: SHOP/TILL/INSTALLATION, with installations counted from 1. Raises
    ValueError."""

    shop: str
    till: str
    installation: int

    def __post_init__(self) -> None:
        check_till(self.shop, self.till)
        if not _INSTALLATION.fullmatch(str(self.installation)):
            raise ValueError(f"{self.installation} is not a valid installation number; it is 1 to 999999999")

    def __str__(self) -> str:
        return f"{self.shop}/{self.till}/{self.installation}"

    @classmethod
    def parse(cls, text: str) -> TillName:
        """Parse SHOP/TILL/INSTALLATION. Raises ValueError."""
        shop, _, rest = text.partition("/")
        till, _, installation = rest.partition("/")
        if not _INSTALLATION.fullmatch(installation):
            raise ValueError(f"{text!r} is not a till name of the form SHOP/TILL/INSTALLATION")
        return cls(shop, till, int(installation))


@dataclass(frozen=True, slots=True)
class PointRecord:
    """One grant or withdrawal of points.

    `till` is SHOP/TILL/INSTALLATION. `number` counts from 1 in each installation, without a gap. `at` is the time by
    the till's clock, in seconds since 1970. `receipt` is the name of the printed receipt. `reading` is the card's
    reading under `policy`. `eligible` is in yen, tax included. `of` is the receipt that a later card or a return refers
    to. `lines` has the code, quantity and yen of each eligible line, if the till's `Detail` says so. `unchecked` is
    True if the till could not find out whether the certificate is revoked.
    """

    till: str
    number: int
    what: PostingType
    at: int
    receipt: str
    policy: str
    reading: str
    eligible: int
    points: int
    of: str = ""
    lines: tuple[tuple[str, int, int], ...] = ()
    unchecked: bool = False

    @property
    def shop(self) -> str:
        """The shop's name."""
        return self.till.partition("/")[0]

    def to_bytes(self) -> bytes:
        """Return the bytes to sign: JSON with sorted keys."""
        document = {**asdict(self), "what": self.what.value}
        return json.dumps(document, separators=(",", ":"), sort_keys=True, ensure_ascii=False).encode()

    @classmethod
    def from_bytes(cls, body: bytes) -> PointRecord:
        """Parse and check the bytes that `to_bytes` returns. Raises PointRecordRejected."""
        if len(body) > MOST_BYTES:
            raise PointRecordRejected("too-long", f"a record has at most {MOST_BYTES} bytes, not {len(body)}")
        try:
            document: dict[str, Any] = json.loads(body)
            what = PostingType(document.pop("what"))
            lines = tuple((str(code), _whole(count), _whole(yen)) for code, count, yen in document.pop("lines"))
            record = cls(what=what, lines=lines, **document)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise PointRecordRejected("malformed", f"this is not a record: {error}") from error
        record.check()
        return record

    def check(self) -> None:
        """Check every field. Raises PointRecordRejected."""
        for name in ("till", "receipt", "policy", "reading", "of"):
            _check_text(name, getattr(self, name))
        for code, count, yen in self.lines:
            _check_text("a line's code", code)
            if not (_is_whole(count) and _is_whole(yen) and 0 < count <= MOST_YEN and 0 <= yen <= MOST_YEN):
                raise PointRecordRejected("malformed", "a line must have a code, a quantity and yen")
        try:
            TillName.parse(self.till)
        except ValueError as error:
            raise PointRecordRejected("malformed", str(error)) from error
        for name, least, most in (("number", 1, _MOST), ("at", 0, _MOST), ("eligible", -MOST_YEN, MOST_YEN)):
            if not _is_whole(getattr(self, name)) or not least <= getattr(self, name) <= most:
                raise PointRecordRejected("malformed", f"{name} must be a whole number from {least} to {most}")
        if not _is_whole(self.points) or not isinstance(self.unchecked, bool):
            raise PointRecordRejected("malformed", "points must be a whole number, and unchecked a boolean")
        if self.what is PostingType.RETURN:
            # The exact number depends on what else was returned from that receipt, because each rounding may differ by
            # one point.
            most = points_of(-self.eligible) if self.eligible <= 0 else -1
            if self.eligible > 0 or not -most - 1 <= self.points <= 0 or not self.of:
                raise PointRecordRejected(
                    "wrong-sum", "a return must name a receipt and take away the points of the returned goods"
                )
        elif self.eligible < 0 or self.points != points_of(self.eligible):
            raise PointRecordRejected("wrong-sum", f"{self.eligible} yen do not give {self.points} points")
        if self.what is PostingType.SHOWN_LATER and not self.of:
            raise PointRecordRejected("malformed", "a record of a card shown later must name a receipt")


@dataclass(frozen=True, slots=True)
class SignedRecord:
    """A record's bytes and the till's signature over them (ECDSA P-256 with SHA-256, DER)."""

    body: bytes
    signature: bytes

    def to_wire(self) -> dict[str, str]:
        """Return a JSON object with the body as text and the signature in Base64."""
        return {"body": self.body.decode("utf-8"), "signature": base64.b64encode(self.signature).decode("ascii")}

    @classmethod
    def from_wire(cls, unverified: Mapping[str, Any]) -> SignedRecord:
        """Parse the object that `to_wire` returns. Raises PointRecordRejected."""
        try:
            return cls(unverified["body"].encode(), base64.b64decode(unverified["signature"], validate=True))
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise PointRecordRejected("malformed", f"this is not a signed record: {error}") from error

    def verified(self, key: ec.EllipticCurvePublicKey) -> PointRecord:
        """Verify the signature and return the record. Raises PointRecordRejected."""
        try:
            key.verify(self.signature, self.body, _ALGORITHM)
        except InvalidSignature:
            raise PointRecordRejected("forged", "the signature does not match the record and the till's key") from None
        return PointRecord.from_bytes(self.body)


class TillKey:
    """The private key of an installation (P-256)."""

    def __init__(self, private: ec.EllipticCurvePrivateKey) -> None:
        self._private = private

    @classmethod
    def generate(cls) -> TillKey:
        """Generate a key. It never leaves the installation, so that no other can sign records with its numbers."""
        return cls(ec.generate_private_key(ec.SECP256R1()))

    @classmethod
    def from_pem(cls, pem: bytes) -> TillKey:
        """Load a private key from PEM. Raises ValueError."""
        key = serialization.load_pem_private_key(pem, None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise ValueError("a till's key must be a P-256 key")
        return cls(key)

    @property
    def pem(self) -> bytes:
        """The private key as PEM without a password, as stored on the till's disk."""
        return self._private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )

    @property
    def public(self) -> ec.EllipticCurvePublicKey:
        """The public key."""
        return self._private.public_key()

    def sign(self, record: PointRecord) -> SignedRecord:
        """Sign a record. Raises PointRecordRejected if the record is invalid or too long."""
        record.check()
        body = record.to_bytes()
        if len(body) > MOST_BYTES:
            raise PointRecordRejected("too-long", f"a record has at most {MOST_BYTES} bytes, not {len(body)}")
        return SignedRecord(body, self._private.sign(body, _ALGORITHM))


def public_pem(key: ec.EllipticCurvePublicKey) -> bytes:
    """Return a public key as PEM."""
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


@lru_cache(maxsize=100_000)
def key_from_pem(pem: bytes) -> ec.EllipticCurvePublicKey:
    """Load a till's public key from PEM; the result is cached. Raises ValueError."""
    key = serialization.load_pem_public_key(pem)
    if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name != "secp256r1":
        raise ValueError("a till's key must be a P-256 key")
    return key


def _check_text(what: str, value: object) -> None:
    if not isinstance(value, str) or len(value) > 200 or not value.isprintable():
        raise PointRecordRejected("malformed", f"{what} must be a printable text of at most 200 characters")


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _whole(value: object) -> int:
    if not _is_whole(value):
        raise TypeError(f"{value!r} is not a whole number")
    return int(value)  # type: ignore[call-overload, no-any-return]
