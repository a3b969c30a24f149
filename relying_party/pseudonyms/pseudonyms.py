"""Pseudonyms: what a service can know somebody by instead of the serial number of a certificate.

Each construction says of itself who can link two services' pseudonyms, who can revoke one, and what a renewal of the
certificate does. None of them hides what else comes along: attributes that are sent beside a pseudonym link as well.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from dataclasses import dataclass
from typing import Protocol

from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers import Cipher, modes

MINIMUM_KEY = 32
"""Bytes of a secret. NIST SP 800-63C asks for 112 bits that cannot be guessed."""


@dataclass(frozen=True, slots=True)
class Properties:
    """What follows from a construction, in words that a review can print."""

    linked_by: str
    revoked_by: str
    on_renewal: str


@dataclass(frozen=True, slots=True)
class Subject:
    """Whom a pseudonym is of: the certificate's serial number, and what stays when the certificate is renewed. Which of
    them a construction uses is what its properties tell."""

    serial: int
    person: bytes = b""


class Construction(Protocol):
    """A way from a subject and a service to a pseudonym."""

    name: str
    properties: Properties

    def pseudonym(self, subject: Subject, service: str) -> str:
        """The pseudonym by which the service knows the subject."""


def framed(*parts: bytes) -> bytes:
    """The parts with their lengths before them: no two lists of parts give the same bytes, where plain joining makes
    "ab" and "c" the same as "a" and "bc"."""
    return b"".join(len(part).to_bytes(4) + part for part in parts)


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


class RawSerial:
    """The serial number itself, as most services keep it."""

    name = "raw-serial"
    properties = Properties(
        "anybody who sees two services' tables, by equality",
        "anybody who has the revocation list",
        "another pseudonym, unless somebody tells which serial number follows which",
    )

    def pseudonym(self, subject: Subject, service: str) -> str:
        """The serial number in hexadecimal."""
        return f"{subject.serial:X}"


class PlainHash:
    """SHA-256 of the serial number: it looks like a pseudonym, and is the serial number to whoever counts."""

    name = "plain-hash"
    properties = Properties(
        "anybody who sees two tables, by equality; and anybody who hashes all serial numbers, which takes minutes",
        "anybody who has the revocation list and hashes it",
        "another pseudonym",
    )

    def pseudonym(self, subject: Subject, service: str) -> str:
        """The digest of the serial number's eight bytes."""
        return hashlib.sha256(subject.serial.to_bytes(8)).hexdigest()


class KeyedPairwise:
    """HMAC-SHA-256 over service and serial number, with a secret of the platform's: 256 bits, of which no service can
    guess another's."""

    name = "keyed-pairwise"
    properties = Properties(
        "who has the secret: the platform",
        "the platform, which can make the pseudonym of a serial number that is revoked",
        "another pseudonym, unless the platform keeps the chain of serial numbers",
    )

    def __init__(self, secret: bytes) -> None:
        self._keyed = hmac.new(_secret(secret), digestmod=hashlib.sha256)

    def pseudonym(self, subject: Subject, service: str) -> str:
        """43 characters of base64url."""
        keyed = self._keyed.copy()
        keyed.update(framed(service.encode(), subject.serial.to_bytes(8)))
        return _base64url(keyed.digest())


class OidcPairwise:
    """OpenID Connect Core 1.0, 8.1: SHA-256 over sector identifier, local account and salt, with lengths before them.
    The account is the person's at the provider, so that it stays over renewals."""

    name = "oidc-pairwise"
    properties = Properties(
        "the provider, which has the salt and the accounts",
        "the provider, by closing the account",
        "the same pseudonym, where the provider knows whose the new certificate is",
    )

    def __init__(self, salt: bytes) -> None:
        self._salt = _secret(salt)

    def pseudonym(self, subject: Subject, service: str) -> str:
        """43 characters of base64url; `service` is the sector: the host of the redirect address."""
        return _base64url(hashlib.sha256(framed(service.encode(), subject.person, self._salt)).digest())


class AustrianBpk:
    """The sector-specific identifier of the E-Government Act (bereichsspezifisches Personenkennzeichen): SHA-1 over the
    source identification number and the sector. The authority keeps the one secret, the key that makes the former."""

    name = "austrian-bpk"
    properties = Properties(
        "the authority of source numbers; nobody else while those stay secret, for the hash has no key",
        "nobody: it is the person's for life",
        "the same pseudonym: it hangs on the population register, not on a card",
    )

    def __init__(self, key: bytes, seed: int = 0xFF) -> None:
        if len(key) != 24:
            raise ValueError("the authority's key is one of three times eight bytes, for 3DES")
        self._key = key
        self._seed = seed

    def pseudonym(self, subject: Subject, service: str) -> str:
        """28 characters of base64; the subject's `person` is the register's number, twelve digits, and `service` the
        sector's code: BW, SA, GH."""
        return bpk(self.source_number(subject.person.decode("ascii")), service)

    def source_number(self, register_number: str) -> str:
        """The source identification number (Stammzahl) of a number in the register, 24 characters of base64."""
        encryptor = Cipher(TripleDES(self._key), modes.CBC(bytes(8))).encryptor()
        return base64.b64encode(encryptor.update(source_block(register_number, self._seed))).decode("ascii")


def source_block(register_number: str, seed: int) -> bytes:
    """The sixteen bytes that are encrypted into a source identification number."""
    if len(register_number) != 12 or not register_number.isascii() or not register_number.isdigit():
        raise ValueError("a number in the population register has twelve digits")
    base = int(register_number).to_bytes(5)
    return base + bytes((seed,)) + base + base


def bpk(source_number: str, sector: str) -> str:
    """The sector-specific identifier out of a source identification number."""
    text = f"{source_number}+urn:publicid:gv.at:cdid+{sector}"
    return base64.b64encode(hashlib.sha1(text.encode("utf-8"), usedforsecurity=False).digest()).decode("ascii")


class GermanRestrictedIdentification:
    """Restricted Identification of the German card (BSI TR-03110): a Diffie-Hellman secret of the card's key and the
    sector's, hashed, on brainpoolP256r1."""

    name = "german-restricted-identification"
    properties = Properties(
        "the revocation authority together with the sectors; nobody where the sectors' secrets were never known",
        "the revocation authority with each sector, in lists of their own: no service learns another's",
        "another pseudonym where the new card has a key of its own, the same where the holder's key goes along",
    )

    def __init__(self, sectors: dict[str, ec.EllipticCurvePublicKey]) -> None:
        self._sectors = sectors

    def pseudonym(self, subject: Subject, service: str) -> str:
        """64 hexadecimal digits; the subject's `person` is the card's secret, 32 bytes or less. Raises KeyError for a
        sector that has no key."""
        return restricted_identification(int.from_bytes(subject.person), self._sectors[service])


CURVE = ec.BrainpoolP256R1()
CURVE_ORDER = 0xA9FB57DBA1EEA9BC3E660A909D838D718C397AA3B561A6F7901E0E82974856A7


def restricted_identification(card_secret: int, sector_key: ec.EllipticCurvePublicKey) -> str:
    """SHA-256 over the x-coordinate of the shared point (id-RI-ECDH-SHA-256)."""
    shared = ec.derive_private_key(card_secret, CURVE).exchange(ec.ECDH(), sector_key)
    return hashlib.sha256(shared).hexdigest()


def sector_key(sector_secret: int, revocation_secret: int) -> ec.EllipticCurvePublicKey:
    """A sector's public key: its secret times the revocation authority's."""
    return ec.derive_private_key(sector_secret * revocation_secret % CURVE_ORDER, CURVE).public_key()


def _secret(secret: bytes) -> bytes:
    if len(secret) < MINIMUM_KEY:
        raise ValueError(f"a secret has at least {MINIMUM_KEY} bytes")
    return secret
