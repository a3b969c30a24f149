"""A purchase as the till signs it, and the till's key.

The bytes that were signed are the bytes that travel and that both sides keep: nothing is ever written anew before a
signature is looked at.
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
"""The longest record. A till that has more lines to tell than fit tells the sum alone."""

_WORD = re.compile("[a-z0-9][a-z0-9-]{0,39}")
_INSTALLATION = re.compile("[1-9][0-9]{0,8}")
_ALGORITHM = ec.ECDSA(hashes.SHA256())
_MOST = 2**53 - 1


class PointRecordRejected(Exception):
    """What came is no record, or not one of the till that is said to have signed it. `reason` is a short word."""

    def __init__(self, reason: str, words: str) -> None:
        super().__init__(words)
        self.reason = reason


class PostingType(Enum):
    """What a record is about."""

    PURCHASE = "purchase"
    SHOWN_LATER = "shown-later"
    """A purchase whose card was forgotten, and shown afterwards with the receipt."""
    RETURN = "return"
    """Goods that were brought back: yen and points are negative."""


def check_till(shop: str, till: str) -> None:
    """Whether a shop and its till can be called so. Raises ValueError."""
    if not (_WORD.fullmatch(shop) and _WORD.fullmatch(till)):
        raise ValueError(f"{shop}/{till} cannot be a till's name: lower-case letters, digits, -")


@dataclass(frozen=True, slots=True)
class TillName:
    """The name of an installation of a till. As text it is SHOP/TILL/INSTALLATION, and installations count from 1.
    Raises ValueError."""

    shop: str
    till: str
    installation: int

    def __post_init__(self) -> None:
        check_till(self.shop, self.till)
        if not _INSTALLATION.fullmatch(str(self.installation)):
            raise ValueError(f"{self.installation} cannot be the number of an installation")

    def __str__(self) -> str:
        return f"{self.shop}/{self.till}/{self.installation}"

    @classmethod
    def parse(cls, text: str) -> TillName:
        """The inverse of `str`. Raises ValueError."""
        shop, _, rest = text.partition("/")
        till, _, installation = rest.partition("/")
        if not _INSTALLATION.fullmatch(installation):
            raise ValueError(f"{text!r} is not a till's name: SHOP/TILL/INSTALLATION")
        return cls(shop, till, int(installation))


@dataclass(frozen=True, slots=True)
class PointRecord:
    """One grant of points, or one taking away. `till` is SHOP/TILL/INSTALLATION, `number` counts from 1 in each
    installation, without a gap, `at` is the till's clock (seconds since 1970), `receipt` what was printed, `reading`
    what the card gave under `policy`, `eligible` in yen with tax, `of` the receipt that a later showing or a return
    is about, `lines` the line items where the till's detail policy sends them. `unchecked` says that the till could
    not learn whether the certificate is revoked."""

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
        """The bytes to sign."""
        document = {**asdict(self), "what": self.what.value}
        return json.dumps(document, separators=(",", ":"), sort_keys=True, ensure_ascii=False).encode()

    @classmethod
    def from_bytes(cls, body: bytes) -> PointRecord:
        """The inverse of `to_bytes`; everything is looked at. Raises PointRecordRejected."""
        if len(body) > MOST_BYTES:
            raise PointRecordRejected("too-long", f"a record has at most {MOST_BYTES} bytes")
        try:
            document: dict[str, Any] = json.loads(body)
            what = PostingType(document.pop("what"))
            lines = tuple((str(code), _whole(count), _whole(yen)) for code, count, yen in document.pop("lines"))
            found = cls(what=what, lines=lines, **document)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise PointRecordRejected("malformed", f"this is no record: {error}") from error
        found.check()
        return found

    def check(self) -> None:
        """Look at every field. Raises PointRecordRejected."""
        for name in ("till", "receipt", "policy", "reading", "of"):
            _check_text(name, getattr(self, name))
        for code, count, yen in self.lines:
            _check_text("a line's code", code)
            if not (_is_whole(count) and _is_whole(yen) and 0 < count <= MOST_YEN and 0 <= yen <= MOST_YEN):
                raise PointRecordRejected("malformed", "a line has a code, a quantity, and yen")
        try:
            TillName.parse(self.till)
        except ValueError as error:
            raise PointRecordRejected("malformed", str(error)) from error
        for name, least, most in (("number", 1, _MOST), ("at", 0, _MOST), ("eligible", -MOST_YEN, MOST_YEN)):
            if not _is_whole(getattr(self, name)) or not least <= getattr(self, name) <= most:
                raise PointRecordRejected("malformed", f"{name} is a whole number from {least} to {most}")
        if not _is_whole(self.points) or not isinstance(self.unchecked, bool):
            raise PointRecordRejected("malformed", "points are a whole number, and unchecked is yes or no")
        if self.what is PostingType.RETURN:
            # How much exactly depends on what else was returned of that receipt: between the two roundings.
            most = points_of(-self.eligible) if self.eligible <= 0 else -1
            if self.eligible > 0 or not -most - 1 <= self.points <= 0 or not self.of:
                raise PointRecordRejected(
                    "wrong-sum", "a return takes away the points of what is returned, of a receipt"
                )
        elif self.eligible < 0 or self.points != points_of(self.eligible):
            raise PointRecordRejected("wrong-sum", f"{self.eligible} yen do not give {self.points} points")
        if self.what is PostingType.SHOWN_LATER and not self.of:
            raise PointRecordRejected("malformed", "a card that is shown later belongs to a receipt")


@dataclass(frozen=True, slots=True)
class SignedRecord:
    """A record's bytes and the till's signature over them (ECDSA P-256 with SHA-256, DER)."""

    body: bytes
    signature: bytes

    def to_wire(self) -> dict[str, str]:
        """As it travels in JSON."""
        return {"body": self.body.decode("utf-8"), "signature": base64.b64encode(self.signature).decode("ascii")}

    @classmethod
    def from_wire(cls, unverified: Mapping[str, Any]) -> SignedRecord:
        """From JSON. Raises PointRecordRejected."""
        try:
            return cls(unverified["body"].encode(), base64.b64decode(unverified["signature"], validate=True))
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise PointRecordRejected("malformed", f"this is no signed record: {error}") from error

    def verified(self, key: ec.EllipticCurvePublicKey) -> PointRecord:
        """The record, its signature having been checked. Raises PointRecordRejected."""
        try:
            key.verify(self.signature, self.body, _ALGORITHM)
        except InvalidSignature:
            raise PointRecordRejected("forged", "the signature is not this till's over these bytes") from None
        return PointRecord.from_bytes(self.body)


class TillKey:
    """An installation's own key."""

    def __init__(self, private: ec.EllipticCurvePrivateKey) -> None:
        self._private = private

    @classmethod
    def generate(cls) -> TillKey:
        """A new one. It never leaves the installation, so that no other can sign its numbers."""
        return cls(ec.generate_private_key(ec.SECP256R1()))

    @classmethod
    def from_pem(cls, pem: bytes) -> TillKey:
        """The inverse of `pem`. Raises ValueError."""
        key = serialization.load_pem_private_key(pem, None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise ValueError("a till's key is one of P-256")
        return cls(key)

    @property
    def pem(self) -> bytes:
        """As PEM, without a password: the till's disk keeps it."""
        return self._private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )

    @property
    def public(self) -> ec.EllipticCurvePublicKey:
        """The public half."""
        return self._private.public_key()

    def sign(self, record: PointRecord) -> SignedRecord:
        """Sign a record. Raises PointRecordRejected for one that makes no sense."""
        record.check()
        body = record.to_bytes()
        if len(body) > MOST_BYTES:
            raise PointRecordRejected("too-long", f"a record has at most {MOST_BYTES} bytes")
        return SignedRecord(body, self._private.sign(body, _ALGORITHM))


def public_pem(key: ec.EllipticCurvePublicKey) -> bytes:
    """A public key as PEM."""
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


@lru_cache(maxsize=100_000)
def key_from_pem(pem: bytes) -> ec.EllipticCurvePublicKey:
    """A till's public key, kept once it is read. Raises ValueError."""
    key = serialization.load_pem_public_key(pem)
    if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name != "secp256r1":
        raise ValueError("a till's key is one of P-256")
    return key


def _check_text(what: str, value: object) -> None:
    if not isinstance(value, str) or len(value) > 200 or not value.isprintable():
        raise PointRecordRejected("malformed", f"{what} is a short text")


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _whole(value: object) -> int:
    if not _is_whole(value):
        raise TypeError(f"{value!r} is not a whole number")
    return int(value)  # type: ignore[call-overload, no-any-return]
