"""Which code a till reads from a card: a policy by name, so that a prototype can compare what each reveals.

The plan speaks of the code (符号) of public personal authentication and leaves open which. A till makes a *reading*
out of the authentication certificate, which it sends along; the centre makes an *account code* out of the reading,
under which it accumulates; and from somebody's certificate it can tell which account codes are his.
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

from kazashi.relying_party.pseudonyms.pseudonyms import MINIMUM_KEY, KeyedPairwise, RawSerial, Subject

_MYKEY = re.compile("[0-9A-Z]{8}")
_SERIAL = re.compile("[0-9A-F]{1,16}")
_PAIRWISE = re.compile("[A-Za-z0-9_-]{43}")
_SEALED = re.compile("[0-9a-f]{120}")
_SEALING = b"kazashi refund points"


class CodeRejected(Exception):
    """A card gives no code under a policy, or what came is no reading of it."""


@dataclass(frozen=True, slots=True)
class PurchaseExposure:
    """What each party learns of a purchase under a policy, in words that a review can print."""

    shop: str
    between_shops: str
    centre: str


class CodePolicy(Protocol):
    """A way from a card to a reading, and from there to an account code."""

    name: str
    exposure: PurchaseExposure

    def read(self, serial: int, shop: str) -> str:
        """What a till of that shop sends for a card. Raises CodeRejected."""

    def account(self, reading: str, shop: str) -> str:
        """The account code of a reading. Raises CodeRejected for what is none."""

    def accounts_of(self, serials: Iterable[int], shops: Iterable[str]) -> list[str]:
        """All account codes that the holder of these serial numbers may have with these shops."""


class AuthenticationSerial:
    """The authentication certificate's serial number as it is."""

    name = "authentication-serial"
    exposure = PurchaseExposure(
        "the serial number, for as long as the certificate lives",
        "shops that compare their journals find the same person by equality, and revocation lists name it",
        "the serial number: with the renewal linkage, the person for life",
    )
    _construction = RawSerial()

    def read(self, serial: int, shop: str) -> str:
        """Hexadecimal."""
        return self._construction.pseudonym(Subject(serial), shop)

    def account(self, reading: str, shop: str) -> str:
        """The same."""
        return _matching(_SERIAL, reading)

    def accounts_of(self, serials: Iterable[int], shops: Iterable[str]) -> list[str]:
        """One to a serial number."""
        return [self.read(serial, "") for serial in serials]


class KeyedByShop:
    """A keyed hash of the serial number with each shop's own secret, which the centre has too."""

    name = "keyed-by-shop"
    exposure = PurchaseExposure(
        "a code of its own for each card; the certificate itself passes through the till",
        "nothing in common, unless they lay their secrets together",
        "which purchases are one card's only when its holder comes to the portal: before that, one account to a shop",
    )

    def __init__(self, secret_of: Callable[[str], bytes]) -> None:
        """`secret_of` tells a shop's secret; KeyError for a shop that has none."""
        self._secret_of = secret_of

    def read(self, serial: int, shop: str) -> str:
        """43 characters."""
        try:
            return KeyedPairwise(self._secret_of(shop)).pseudonym(Subject(serial), shop)
        except KeyError:
            raise CodeRejected(f"the shop {shop} has no secret here") from None

    def account(self, reading: str, shop: str) -> str:
        """The shop's name goes along, so that two shops' codes never meet by chance."""
        return f"{shop}/{_matching(_PAIRWISE, reading)}"

    def accounts_of(self, serials: Iterable[int], shops: Iterable[str]) -> list[str]:
        """One to a shop and serial number."""
        shops = list(shops)
        return [f"{shop}/{self.read(serial, shop)}" for serial in serials for shop in shops]


class CodeByCentre:
    """The serial number sealed for the centre: each tap gives another reading, and the centre alone makes a code of
    it."""

    name = "code-by-centre"
    exposure = PurchaseExposure(
        "nothing that it could recognise; the certificate itself passes through the till",
        "nothing in common: every tap is sealed anew",
        "the serial number for a moment; a keyed code in its ledger",
    )

    def __init__(
        self, public: X25519PublicKey, private: X25519PrivateKey | None = None, secret: bytes = b"",
        ephemeral: Callable[[], X25519PrivateKey] = X25519PrivateKey.generate,
    ) -> None:  # fmt: skip
        """A till has the centre's `public` key only; the centre its `private` one and a `secret`."""
        self._public = public
        self._private = private
        self._secret = secret
        self._ephemeral = ephemeral

    def read(self, serial: int, shop: str) -> str:
        """An X25519 key and the sealed serial number, 60 bytes in hexadecimal."""
        own = self._ephemeral()
        key = _sealing_key(own.exchange(self._public))
        # The key is used once, so that a fixed nonce is safe.
        sealed = AESGCM(key).encrypt(bytes(12), serial.to_bytes(12), shop.encode())
        return (own.public_key().public_bytes_raw() + sealed).hex()

    def account(self, reading: str, shop: str) -> str:
        """The keyed hash of the serial number within."""
        if self._private is None:
            raise CodeRejected("only the centre opens a sealed reading")
        raw = bytes.fromhex(_matching(_SEALED, reading))
        try:
            key = _sealing_key(self._private.exchange(X25519PublicKey.from_public_bytes(raw[:32])))
            serial = int.from_bytes(AESGCM(key).decrypt(bytes(12), raw[32:], shop.encode()))
        except (InvalidTag, ValueError):  # ValueError: a key that makes no secret with any other
            raise CodeRejected("the sealed reading was not made for this centre, or not by this shop") from None
        return self._code(serial)

    def accounts_of(self, serials: Iterable[int], shops: Iterable[str]) -> list[str]:
        """One to a serial number."""
        return [self._code(serial) for serial in serials]

    def _code(self, serial: int) -> str:
        if len(self._secret) < MINIMUM_KEY:
            raise CodeRejected("only the centre has the secret of the codes")
        return hmac.new(self._secret, serial.to_bytes(12), hashlib.sha256).hexdigest()


class MyKeyId:
    """The MyKey ID: the till asks the MyKey platform whose card it is."""

    name = "mykey"
    exposure = PurchaseExposure(
        "the MyKey ID, which outlives every certificate",
        "shops that compare their journals find the same person by equality, for life",
        "the MyKey ID; who that is, the MyKey platform knows by the serial number",
    )

    def __init__(self, find: Callable[[int], str | None]) -> None:
        """`find` tells the identifier that goes with a serial number (MyKeyPlatform.find)."""
        self._find = find

    def read(self, serial: int, shop: str) -> str:
        """Eight characters."""
        found = self._find(serial)
        if found is None:
            raise CodeRejected("the card has no MyKey ID yet; register one, then tap again")
        return found

    def account(self, reading: str, shop: str) -> str:
        """The same."""
        return _matching(_MYKEY, reading)

    def accounts_of(self, serials: Iterable[int], shops: Iterable[str]) -> list[str]:
        """The one identifier."""
        return list(dict.fromkeys(found for serial in serials if (found := self._find(serial)) is not None))


POLICIES: Mapping[str, type[CodePolicy]] = {
    policy.name: policy for policy in (AuthenticationSerial, KeyedByShop, CodeByCentre, MyKeyId)
}
"""By name."""


def _sealing_key(shared: bytes) -> bytes:
    return HKDF(hashes.SHA256(), 32, salt=None, info=_SEALING).derive(shared)


def _matching(shape: re.Pattern[str], reading: str) -> str:
    if not shape.fullmatch(reading):
        raise CodeRejected(f"{reading[:60]!r} is no reading of this policy")
    return reading
