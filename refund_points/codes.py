"""The policies for the code that a till reads from a card, so that a prototype can compare what each reveals.

The plan speaks of the code (符号) of public personal authentication and does not say which one. A till derives a
*reading* from the authentication certificate and sends it to the centre. The centre derives an *account code* from the
reading and accumulates points under it. From a person's certificates it can derive all their account codes.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from kazashi.jpki.serial_number import serial_text
from kazashi.relying_party.pseudonyms.pseudonyms import MINIMUM_KEY, KeyedPairwise, RawSerial, Subject

_MYKEY = re.compile("[0-9A-Z]{8}")
_SERIAL = re.compile("[0-9A-F]{1,16}")
_PAIRWISE = re.compile("[A-Za-z0-9_-]{43}")
_SEALED = re.compile("[0-9a-f]{120}")
_SEALING = b"kazashi refund points"


class CodeRejected(Exception):
    """A card has no code under the policy, or a text is not a reading of the policy."""


@dataclass(frozen=True, slots=True)
class PurchaseExposure:
    """What each party learns about a purchase under a policy, as text for a privacy review."""

    shop: str
    between_shops: str
    centre: str


class CodePolicy(Protocol):
    """A mapping from a card to a reading, and from the reading to an account code."""

    name: str
    exposure: PurchaseExposure

    def read(self, serial: int, shop: str) -> str:
        """Return the reading that a till of `shop` sends for a card. Raises CodeRejected."""

    def account(self, reading: str, shop: str) -> str:
        """Return the account code of a reading. Raises CodeRejected if it is not a reading of this policy."""

    def accounts_of(self, serials: Iterable[int], shops: Iterable[str]) -> list[str]:
        """Return all account codes that the holder of these serial numbers can have with these shops."""


class AuthenticationSerial:
    """The authentication certificate's serial number itself."""

    name = "authentication-serial"
    exposure = PurchaseExposure(
        "the serial number, for the lifetime of the certificate",
        "shops that compare their journals find the same person by equality; revocation lists contain the number",
        "the serial number: with the renewal linkage, the person for life",
    )
    _construction = RawSerial()

    def read(self, serial: int, shop: str) -> str:
        """Return the serial number in hexadecimal."""
        return self._construction.pseudonym(Subject(serial), shop)

    def account(self, reading: str, shop: str) -> str:
        """Return the serial number in whole octets. Tills of before sent it without a leading zero."""
        return serial_text(int(_matching(_SERIAL, reading), 16))

    def accounts_of(self, serials: Iterable[int], shops: Iterable[str]) -> list[str]:
        """Return one account code per serial number."""
        return [self.read(serial, "") for serial in serials]


class KeyedByShop:
    """A keyed hash of the serial number under each shop's own secret, which the centre also has."""

    name = "keyed-by-shop"
    exposure = PurchaseExposure(
        "a code for each card that only this shop uses; the certificate itself passes through the till",
        "nothing in common, unless they share their secrets",
        "which purchases belong to one card, once its holder visits the portal; until then, one account per shop",
    )

    def __init__(self, secret_of: Callable[[str], bytes]) -> None:
        """`secret_of` returns a shop's secret and raises KeyError if the shop has none."""
        self._secret_of = secret_of

    def read(self, serial: int, shop: str) -> str:
        """Return the keyed hash, as 43 characters."""
        try:
            return KeyedPairwise(self._secret_of(shop)).pseudonym(Subject(serial), shop)
        except KeyError:
            raise CodeRejected(f"there is no secret for the shop {shop}; enrol one of its tills") from None

    def account(self, reading: str, shop: str) -> str:
        """Return SHOP/READING, so that the codes of two shops never collide by chance."""
        return f"{shop}/{_matching(_PAIRWISE, reading)}"

    def accounts_of(self, serials: Iterable[int], shops: Iterable[str]) -> list[str]:
        """Return one account code per shop and serial number."""
        shops = list(shops)
        return [f"{shop}/{self.read(serial, shop)}" for serial in serials for shop in shops]


class CodeByCentre:
    """The serial number encrypted for the centre: each tap gives a different reading, and only the centre can derive a
    code from it."""

    name = "code-by-centre"
    exposure = PurchaseExposure(
        "nothing that it could recognise; the certificate itself passes through the till",
        "nothing in common: every tap is encrypted with a new key",
        "the serial number for a moment; a keyed code in its ledger",
    )

    def __init__(
        self, public: X25519PublicKey, private: X25519PrivateKey | None = None, secret: bytes = b"",
        ephemeral: Callable[[], X25519PrivateKey] = X25519PrivateKey.generate,
    ) -> None:  # fmt: skip
        """A till only has the centre's `public` key. The centre also has the `private` key and a `secret`."""
        self._public = public
        self._private = private
        self._secret = secret
        self._ephemeral = ephemeral

    def read(self, serial: int, shop: str) -> str:
        """Return an X25519 key and the encrypted serial number: 60 bytes, in hexadecimal."""
        ephemeral = self._ephemeral()
        key = _sealing_key(ephemeral.exchange(self._public))
        # Each key is used once, so a fixed nonce is safe.
        sealed = AESGCM(key).encrypt(bytes(12), serial.to_bytes(12), shop.encode())
        return (ephemeral.public_key().public_bytes_raw() + sealed).hex()

    def account(self, reading: str, shop: str) -> str:
        """Return the keyed hash of the encrypted serial number."""
        if self._private is None:
            raise CodeRejected("only the centre can decrypt a sealed reading")
        raw = bytes.fromhex(_matching(_SEALED, reading))
        try:
            key = _sealing_key(self._private.exchange(X25519PublicKey.from_public_bytes(raw[:32])))
            serial = int.from_bytes(AESGCM(key).decrypt(bytes(12), raw[32:], shop.encode()))
        except (InvalidTag, ValueError):  # ValueError: a public key that gives an all-zero shared secret
            raise CodeRejected("the sealed reading was not made for this centre, or not by this shop") from None
        return self._code(serial)

    def accounts_of(self, serials: Iterable[int], shops: Iterable[str]) -> list[str]:
        """Return one account code per serial number."""
        return [self._code(serial) for serial in serials]

    def _code(self, serial: int) -> str:
        if len(self._secret) < MINIMUM_KEY:
            raise CodeRejected("only the centre has the secret for account codes")
        return hmac.new(self._secret, serial.to_bytes(12), hashlib.sha256).hexdigest()


class MyKeyId:
    """The MyKey ID: the till asks the MyKey platform whose card it is."""

    name = "mykey"
    exposure = PurchaseExposure(
        "the MyKey ID, which outlives every certificate",
        "shops that compare their journals find the same person by equality, for life",
        "the MyKey ID; the MyKey platform knows by the serial number who that is",
    )

    def __init__(self, find: Callable[[int], str | None]) -> None:
        """`find` returns the MyKey ID of a serial number (MyKeyPlatform.find)."""
        self._find = find

    def read(self, serial: int, shop: str) -> str:
        """Return the MyKey ID, as eight characters."""
        mykey_id = self._find(serial)
        if mykey_id is None:
            raise CodeRejected("the card has no MyKey ID yet; register one, then tap again")
        return mykey_id

    def account(self, reading: str, shop: str) -> str:
        """Return the reading itself."""
        return _matching(_MYKEY, reading)

    def accounts_of(self, serials: Iterable[int], shops: Iterable[str]) -> list[str]:
        """Return the MyKey IDs of the serial numbers, without repetition."""
        return list(dict.fromkeys(mykey_id for serial in serials if (mykey_id := self._find(serial)) is not None))


POLICIES: Mapping[str, type[CodePolicy]] = {
    policy.name: policy for policy in (AuthenticationSerial, KeyedByShop, CodeByCentre, MyKeyId)
}
"""The policies by name."""


def _sealing_key(shared: bytes) -> bytes:
    return HKDF(hashes.SHA256(), 32, salt=None, info=_SEALING).derive(shared)


def _matching(shape: re.Pattern[str], reading: str) -> str:
    if not shape.fullmatch(reading):
        raise CodeRejected(f"{reading[:60]!r} is not a reading of this policy")
    return reading
