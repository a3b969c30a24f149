"""A converter that translates one service's pseudonym into another's without learning whose it is.

Camenisch and Lehmann, "(Un)linkable Pseudonyms for Governmental Databases" (2015), in the shape that our reference has:
a person's secret point is raised to a service's exponent, and the converter knows only quotients of exponents. A
service blinds its pseudonym by ElGamal for the other service before it asks; the converter multiplies in the dark.

    z = H(k, person)              a point: nobody without the key k can make it
    core(A) = x_A * z             what service A's pseudonym is of
    pseudonym(A) = P_A(core(A))   an encryption under A's own key, so that the converter's words mean nothing without A
    conversion A -> B             (r G, core(A) + r Y_B)  times  x_B / x_A

Points are on P-256, by the package `ecdsa`, because `cryptography` offers no arithmetic on points. It runs in variable
time, which is fit for an experiment and not for production.
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
"""Stands behind the core in a pseudonym, so that what is no pseudonym of a service is not taken for one."""

ORDER: int = NIST256p.order
Point: TypeAlias = PointJacobi


@dataclass(frozen=True, slots=True)
class Blinded:
    """A pseudonym's core, encrypted for the service that is to have it."""

    shared: Point
    hidden: Point


class Converter:
    """The hub: it has the key from which cores are made, an exponent for each service, and sees no core ever again."""

    def __init__(self, secret: bytes) -> None:
        if len(secret) < MINIMUM_KEY:
            raise ValueError(f"a secret has at least {MINIMUM_KEY} bytes")
        self._secret = secret

    def exponent(self, service: str) -> int:
        """A service's exponent, which never leaves the converter."""
        return _scalar(self._secret, b"exponent", service.encode())

    def core(self, person: bytes, service: str) -> Point:
        """What a service is given of a person at enrolment, once; here alone the converter is told who it is."""
        z = hashed_to_point(hmac.digest(self._secret, framed(b"person", person), "sha256"))
        return z * self.exponent(service)

    def convert(self, blinded: Blinded, source: str, target: str) -> Blinded:
        """Translate in the dark: neither who it is about nor what comes out can be seen here."""
        quotient = self.exponent(target) * pow(self.exponent(source), -1, ORDER) % ORDER
        return Blinded(blinded.shared * quotient, blinded.hidden * quotient)


class PseudonymService:
    """A service with a key pair for what is sent to it, and one of its own that makes cores into pseudonyms."""

    def __init__(self, name: str, secret: bytes, chance: Callable[[], int]) -> None:
        if len(secret) < MINIMUM_KEY:
            raise ValueError(f"a secret has at least {MINIMUM_KEY} bytes")
        self.name = name
        self._key = _scalar(secret, b"decryption", name.encode())
        self._seal = hmac.digest(secret, framed(b"seal", name.encode()), "sha256")[:32]
        self._chance = chance
        self.public = NIST256p.generator * self._key

    def pseudonym(self, core: Point) -> str:
        """The pseudonym in the service's table: the core, permuted under the service's own key, so that what
        the table says means nothing to the converter."""
        return _wide(self._seal, compressed(core) + _REDUNDANCY, encrypt=True).hex()

    def core(self, pseudonym: str) -> Point:
        """The core that a pseudonym is of. Raises ValueError for what is none of this service's."""
        data = _wide(self._seal, bytes.fromhex(pseudonym), encrypt=False)
        if not data.endswith(_REDUNDANCY):
            raise ValueError(f"this is no pseudonym of {self.name}")
        return decompressed(data.removesuffix(_REDUNDANCY))

    def blind(self, pseudonym: str, target: Point) -> Blinded:
        """A question to the converter: the core, hidden from it, for the service that has the public key `target`."""
        r = self._chance() % (ORDER - 1) + 1
        return Blinded(NIST256p.generator * r, self.core(pseudonym) + target * r)

    def unblind(self, blinded: Blinded) -> str:
        """The own pseudonym out of the converter's answer to another service's question."""
        return self.pseudonym(blinded.hidden + -(blinded.shared * self._key))


class BlindlyConverted:
    """Pseudonyms of services among which a converter translates in the dark."""

    name = "blindly-converted"
    properties = Properties(
        "two services and the converter together, at each translation that they ask for; the converter alone never",
        "each service for itself; the converter by refusing to translate",
        "the same pseudonym: it hangs on the person whom the converter enrolled",
    )

    def __init__(self, secret: bytes, services: Iterable[str], chance: Callable[[], int]) -> None:
        self.converter = Converter(secret)
        self.services = {
            name: PseudonymService(name, hmac.digest(secret, framed(b"service", name.encode()), "sha256"), chance)
            for name in services
        }

    def pseudonym(self, subject: Subject, service: str) -> str:
        """82 hexadecimal digits; the subject's `person` is what the converter enrols by."""
        return self.services[service].pseudonym(self.converter.core(subject.person, service))

    def translate(self, pseudonym: str, source: str, target: str) -> str:
        """One service's pseudonym of somebody out of another's: the source blinds, the converter translates, the target
        unblinds. Raises ValueError for what is no pseudonym of the source's."""
        blinded = self.services[source].blind(pseudonym, self.services[target].public)
        return self.services[target].unblind(self.converter.convert(blinded, source, target))


def _scalar(secret: bytes, *parts: bytes) -> int:
    wide = b"".join(hmac.digest(secret, framed(*parts, bytes((turn,))), "sha256") for turn in range(2))
    return int.from_bytes(wide) % (ORDER - 1) + 1


def _wide(key: bytes, block: bytes, *, encrypt: bool) -> bytes:
    """A permutation of blocks: four rounds of a Feistel network over HMAC (Luby and Rackoff)."""
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
    """A point of which nobody knows the logarithm: the first x that is on the curve, counting up."""
    for counter in range(256):
        x = hashlib.sha256(framed(seed, bytes((counter,)))).digest()
        try:
            return decompressed(bytes((2,)) + x)
        except ValueError:  # one x in two is on the curve
            continue
    raise AssertionError("256 numbers in a row are on no curve")


def compressed(point: Point) -> bytes:
    """33 bytes (SEC 1, 2.3.3). Raises ValueError for the neutral element, which stands for nobody."""
    if point == INFINITY:
        raise ValueError("the neutral element stands for nobody")
    return bytes(point.to_bytes("compressed"))


def decompressed(data: bytes) -> Point:
    """The point of 33 bytes. Raises ValueError."""
    try:
        return PointJacobi.from_bytes(NIST256p.curve, data, valid_encodings={"compressed"}, order=ORDER)
    except MalformedPointError as error:
        raise ValueError("there is no such point on the curve") from error
