"""Pseudonyms, by which a service can recognise a person instead of by the serial number of a certificate.

Each construction describes who can link two services' pseudonyms, who can revoke one, and what a renewal of the
certificate does. None of them hides other data: attributes that are sent with a pseudonym are linkable too.
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

from kazashi.jpki.serial_number import serial_text

MINIMUM_KEY = 32
"""Bytes of a secret. NIST SP 800-63C requires 112 unpredictable bits."""


@dataclass(frozen=True, slots=True)
class Properties:
    """The properties of a construction, as text for a report."""

    linked_by: str
    revoked_by: str
    on_renewal: str


@dataclass(frozen=True, slots=True)
class Subject:
    """The person a pseudonym is for.

    `serial` is the serial number of the certificate; `person` is an identifier that stays the same when the certificate
    is renewed. The properties of a construction show which of the two it uses.
    """

    serial: int
    person: bytes = b""


class Construction(Protocol):
    """A function from a subject and a service to a pseudonym."""

    name: str
    properties: Properties

    def pseudonym(self, subject: Subject, service: str) -> str:
        """Return the pseudonym of the subject at the service."""


def framed(*parts: bytes) -> bytes:
    """Join parts, each prefixed with its length, so that no two lists of parts give the same bytes. Plain concatenation
    would make "ab" and "c" the same as "a" and "bc"."""
    return b"".join(len(part).to_bytes(4) + part for part in parts)


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


class RawSerial:
    """The serial number itself, as most services store it."""

    name = "raw-serial"
    properties = Properties(
        "anybody who sees the tables of two services, by comparing them",
        "anybody who has the revocation list",
        "another pseudonym, unless somebody knows which serial number follows which",
    )

    def pseudonym(self, subject: Subject, service: str) -> str:
        """Return the serial number in hexadecimal."""
        return serial_text(subject.serial)


class PlainHash:
    """SHA-256 of the serial number. It looks like a pseudonym, but anybody can invert it by trying all serial
    numbers."""

    name = "plain-hash"
    properties = Properties(
        "anybody who sees two tables, by comparing them; anybody who hashes all serial numbers, which takes minutes",
        "anybody who has the revocation list and hashes it",
        "another pseudonym",
    )

    def pseudonym(self, subject: Subject, service: str) -> str:
        """Return the SHA-256 digest of the serial number's eight bytes in hexadecimal."""
        return hashlib.sha256(subject.serial.to_bytes(8)).hexdigest()


class KeyedPairwise:
    """HMAC-SHA-256 over service and serial number, with the platform's secret key. It has 256 bits; no service can
    guess another's."""

    name = "keyed-pairwise"
    properties = Properties(
        "the platform, which has the secret",
        "the platform, which can compute the pseudonym of a revoked serial number",
        "another pseudonym, unless the platform stores the chain of serial numbers",
    )

    def __init__(self, secret: bytes) -> None:
        self._keyed = hmac.new(_secret(secret), digestmod=hashlib.sha256)

    def pseudonym(self, subject: Subject, service: str) -> str:
        """Return 43 characters of base64url."""
        keyed = self._keyed.copy()
        keyed.update(framed(service.encode(), subject.serial.to_bytes(8)))
        return _base64url(keyed.digest())


class OidcPairwise:
    """OpenID Connect Core 1.0, 8.1: SHA-256 over sector identifier, local account and salt, each prefixed with its
    length. The account belongs to the person at the provider, so the pseudonym survives renewals."""

    name = "oidc-pairwise"
    properties = Properties(
        "the provider, which has the salt and the accounts",
        "the provider, by closing the account",
        "the same pseudonym, if the provider knows whose the new certificate is",
    )

    def __init__(self, salt: bytes) -> None:
        self._salt = _secret(salt)

    def pseudonym(self, subject: Subject, service: str) -> str:
        """Return 43 characters of base64url; `service` is the sector: the host of the redirect address."""
        return _base64url(hashlib.sha256(framed(service.encode(), subject.person, self._salt)).digest())


class AustrianBpk:
    """Austria's sector-specific identifier of the E-Government Act (bereichsspezifisches Personenkennzeichen): SHA-1
    over the source identification number and the sector. The only secret is the authority's key, which derives the
    source identification number."""

    name = "austrian-bpk"
    properties = Properties(
        "the source number authority; nobody else while source numbers are secret, because the hash has no key",
        "nobody: the person has it for life",
        "the same pseudonym: it depends on the population register, not on a card",
    )

    def __init__(self, key: bytes, seed: int = 0xFF) -> None:
        if len(key) != 24:
            raise ValueError(f"the authority's 3DES key must have 24 bytes, not {len(key)}")
        self._key = key
        self._seed = seed

    def pseudonym(self, subject: Subject, service: str) -> str:
        """Return 28 characters of base64. The subject's `person` is the number in the population register, twelve
        digits; `service` is the code of the sector, such as BW, SA or GH."""
        return bpk(self.source_number(subject.person.decode("ascii")), service)

    def source_number(self, register_number: str) -> str:
        """Return the source identification number (Stammzahl) of a number in the register, 24 characters of base64."""
        encryptor = Cipher(TripleDES(self._key), modes.CBC(bytes(8))).encryptor()
        return base64.b64encode(encryptor.update(source_block(register_number, self._seed))).decode("ascii")


def source_block(register_number: str, seed: int) -> bytes:
    """Return the sixteen bytes that are encrypted into a source identification number. Raises ValueError."""
    if len(register_number) != 12 or not register_number.isascii() or not register_number.isdigit():
        raise ValueError("a number in the population register must have twelve digits")
    base = int(register_number).to_bytes(5)
    return base + bytes((seed,)) + base + base


def bpk(source_number: str, sector: str) -> str:
    """Return the sector-specific identifier of a source identification number."""
    text = f"{source_number}+urn:publicid:gv.at:cdid+{sector}"
    return base64.b64encode(hashlib.sha1(text.encode("utf-8"), usedforsecurity=False).digest()).decode("ascii")


class GermanRestrictedIdentification:
    """Restricted Identification of the German card (BSI TR-03110): the hash of a Diffie-Hellman secret of the card's
    key and the sector's key on brainpoolP256r1."""

    name = "german-restricted-identification"
    properties = Properties(
        "the revocation authority together with the sectors; nobody if the sectors' secrets were never known",
        "the revocation authority with each sector, in separate lists: no service learns another's pseudonyms",
        "another pseudonym if the new card has a new key, the same if the holder's key is kept",
    )

    def __init__(self, sectors: dict[str, ec.EllipticCurvePublicKey]) -> None:
        self._sectors = sectors

    def pseudonym(self, subject: Subject, service: str) -> str:
        """Return 64 hexadecimal digits; the subject's `person` is the card's secret, 32 bytes or less. Raises KeyError
        for a sector that has no key."""
        return restricted_identification(int.from_bytes(subject.person), self._sectors[service])


CURVE = ec.BrainpoolP256R1()
CURVE_ORDER = 0xA9FB57DBA1EEA9BC3E660A909D838D718C397AA3B561A6F7901E0E82974856A7


def restricted_identification(card_secret: int, sector_key: ec.EllipticCurvePublicKey) -> str:
    """Return SHA-256 over the x-coordinate of the shared point in hexadecimal (id-RI-ECDH-SHA-256)."""
    shared = ec.derive_private_key(card_secret, CURVE).exchange(ec.ECDH(), sector_key)
    return hashlib.sha256(shared).hexdigest()


def sector_key(sector_secret: int, revocation_secret: int) -> ec.EllipticCurvePublicKey:
    """Return a sector's public key: its secret times the revocation authority's."""
    return ec.derive_private_key(sector_secret * revocation_secret % CURVE_ORDER, CURVE).public_key()


def _secret(secret: bytes) -> bytes:
    if len(secret) < MINIMUM_KEY:
        raise ValueError(f"the secret must have at least {MINIMUM_KEY} bytes, not {len(secret)}")
    return secret
