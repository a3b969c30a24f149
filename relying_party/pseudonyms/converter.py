"""A converter that translates one service's pseudonym into another's without learning whose it is.

It follows Camenisch and Lehmann, "(Un)linkable Pseudonyms for Governmental Databases" (2015): a person's secret point
is multiplied by a service's exponent, and a conversion multiplies by the quotient of two exponents. A service first
encrypts its pseudonym with ElGamal for the other service, so that the converter multiplies a ciphertext.

    z = H(k, person)              a point: nobody without the key k can make it
    core(A) = x_A * z             the point behind service A's pseudonym
    pseudonym(A) = P_A(core(A))   encrypted under A's own key, so that the converter cannot recognise it
    conversion A -> B             (r G, core(A) + r Y_B)  times  x_B / x_A

The points are on P-256. They use the package `ecdsa`, because `cryptography` has no point arithmetic. It does not run
in constant time, so it is suitable for experiments but not for production.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeAlias

from ecdsa import NIST256p
from ecdsa.ellipticcurve import INFINITY, PointJacobi
from ecdsa.errors import MalformedPointError

from kazashi.relying_party.pseudonyms.pseudonyms import MINIMUM_KEY, Properties, Subject, framed

_REDUNDANCY = bytes(8)
"""Appended to the core in a pseudonym, so that a service can reject what is not one of its pseudonyms."""

ORDER: int = NIST256p.order
Point: TypeAlias = PointJacobi


@dataclass(frozen=True, slots=True)
class Blinded:
    """A pseudonym's core, encrypted for the service that will receive it."""

    shared: Point
    hidden: Point


class Converter:
    """The hub. It has the key that cores are derived from and an exponent for each service. After enrolment it never
    sees a core again."""

    def __init__(self, secret: bytes) -> None:
        if len(secret) < MINIMUM_KEY:
            raise ValueError(f"the secret must have at least {MINIMUM_KEY} bytes, not {len(secret)}")
        self._secret = secret

    def exponent(self, service: str) -> int:
        """Return a service's exponent, which never leaves the converter."""
        return _scalar(self._secret, b"exponent", service.encode())

    def core(self, person: bytes, service: str) -> Point:
        """Return a person's core for a service, which the service gets once, at enrolment. This is the only step in
        which the converter knows the person."""
        z = hashed_to_point(hmac.digest(self._secret, framed(b"person", person), "sha256"))
        return z * self.exponent(service)

    def convert(self, blinded: Blinded, source: str, target: str) -> Blinded:
        """Translate a blinded core. The converter sees neither the person nor the result."""
        quotient = self.exponent(target) * pow(self.exponent(source), -1, ORDER) % ORDER
        return Blinded(blinded.shared * quotient, blinded.hidden * quotient)


class PseudonymService:
    """A service with a key pair for blinded cores that are sent to it, and its own key for making cores into
    pseudonyms. `chance` returns random numbers for blinding."""

    def __init__(self, name: str, secret: bytes, chance: Callable[[], int]) -> None:
        if len(secret) < MINIMUM_KEY:
            raise ValueError(f"the secret must have at least {MINIMUM_KEY} bytes, not {len(secret)}")
        self.name = name
        self._key = _scalar(secret, b"decryption", name.encode())
        self._seal = hmac.digest(secret, framed(b"seal", name.encode()), "sha256")[:32]
        self._chance = chance
        self.public = NIST256p.generator * self._key

    def pseudonym(self, core: Point) -> str:
        """Return the pseudonym for the service's table: the core, encrypted under the service's own key, so that the
        converter cannot interpret the table."""
        return _wide(self._seal, compressed(core) + _REDUNDANCY, encrypt=True).hex()

    def core(self, pseudonym: str) -> Point:
        """Return the core of a pseudonym. Raises ValueError if it is not one of this service's."""
        data = _wide(self._seal, bytes.fromhex(pseudonym), encrypt=False)
        if not data.endswith(_REDUNDANCY):
            raise ValueError(f"the value is not a pseudonym of {self.name}")
        return decompressed(data.removesuffix(_REDUNDANCY))

    def blind(self, pseudonym: str, target: Point) -> Blinded:
        """Return a request to the converter: the core, encrypted for the service with the public key `target`."""
        r = self._chance() % (ORDER - 1) + 1
        return Blinded(NIST256p.generator * r, self.core(pseudonym) + target * r)

    def unblind(self, blinded: Blinded) -> str:
        """Return this service's pseudonym from the converter's reply to another service's request."""
        return self.pseudonym(blinded.hidden + -(blinded.shared * self._key))


class BlindlyConverted:
    """Pseudonyms that a converter translates between services without seeing them (blind conversion)."""

    name = "blindly-converted"
    properties = Properties(
        "two services and the converter together, with each translation that they request; never the converter alone",
        "each service for itself; the converter, by refusing to translate",
        "the same pseudonym: it belongs to the person whom the converter enrolled",
    )

    def __init__(self, secret: bytes, services: Iterable[str], chance: Callable[[], int]) -> None:
        self.converter = Converter(secret)
        self.services = {
            name: PseudonymService(name, hmac.digest(secret, framed(b"service", name.encode()), "sha256"), chance)
            for name in services
        }

    def pseudonym(self, subject: Subject, service: str) -> str:
        """Return 82 hexadecimal digits; the subject's `person` is what the converter enrols."""
        return self.services[service].pseudonym(self.converter.core(subject.person, service))

    def translate(self, pseudonym: str, source: str, target: str) -> str:
        """Translate one service's pseudonym into another's: the source blinds, the converter translates, the target
        unblinds. Raises ValueError if it is not a pseudonym of the source."""
        blinded = self.services[source].blind(pseudonym, self.services[target].public)
        return self.services[target].unblind(self.converter.convert(blinded, source, target))


def _scalar(secret: bytes, *parts: bytes) -> int:
    wide = b"".join(hmac.digest(secret, framed(*parts, bytes((turn,))), "sha256") for turn in range(2))
    return int.from_bytes(wide) % (ORDER - 1) + 1


def _wide(key: bytes, block: bytes, *, encrypt: bool) -> bytes:
    """Permute a block with four rounds of a Feistel network over HMAC (Luby and Rackoff)."""
    left, right = block[:16], block[16:]
    for turn in range(4) if encrypt else reversed(range(4)):
        if turn % 2 == 0:
            mask = hmac.digest(key, bytes((turn,)) + right, "sha256")
            left = bytes(a ^ b for a, b in zip(left, mask[: len(left)], strict=True))
        else:
            mask = hmac.digest(key, bytes((turn,)) + left, "sha256")
            right = bytes(a ^ b for a, b in zip(right, mask[: len(right)], strict=True))
    return left + right


def hashed_to_point(seed: bytes) -> Point:
    """Return a point whose discrete logarithm nobody knows: x is the first of a series of hashes that is on the
    curve."""
    for counter in range(256):
        x = hashlib.sha256(framed(seed, bytes((counter,)))).digest()
        try:
            return decompressed(bytes((2,)) + x)
        except ValueError:  # one x in two is on the curve
            continue
    raise AssertionError("256 hashes in a row are not on the curve")


def compressed(point: Point) -> bytes:
    """Return a point as 33 bytes (SEC 1, 2.3.3). Raises ValueError for the neutral element, which is nobody's."""
    if point == INFINITY:
        raise ValueError("the neutral element is not the point of a person")
    return bytes(point.to_bytes("compressed"))


def decompressed(data: bytes) -> Point:
    """Return the point that 33 bytes encode. Raises ValueError."""
    try:
        return PointJacobi.from_bytes(NIST256p.curve, data, valid_encodings={"compressed"}, order=ORDER)
    except MalformedPointError as error:
        raise ValueError("the bytes are not a point on the curve") from error
