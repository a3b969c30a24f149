"""A till's enrolment: everything from the centre that an installation needs besides its own key."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey

from kazashi.refund_points.codes import POLICIES, AuthenticationSerial, CodeByCentre, CodePolicy, KeyedByShop, MyKeyId
from kazashi.world.place_in_file import place_of


class EnrolmentDamaged(Exception):
    """An enrolment cannot be read or used; the message says why."""


class Detail(Enum):
    """How much of a purchase a till sends to the centre, and the centre keeps."""

    AMOUNT = "amount"
    """Only the eligible sum."""
    LINES = "lines"
    """Every eligible line."""


@dataclass(frozen=True, slots=True)
class Enrolment:
    """A till's enrolment at the centre.

    `name` is SHOP/TILL/INSTALLATION. `certificate` is for the till's key and was issued by `authority` (both PEM).
    `policy` names the code that the till reads, and `material` is what it needs for that: the shop's secret, the
    centre's public key, or nothing. `detail` says what the till sends about a purchase.
    """

    name: str
    certificate: bytes
    authority: bytes
    policy: str
    detail: Detail
    material: bytes = b""

    def to_json(self) -> str:
        """Return the enrolment as JSON text, the form in which a till stores and receives it."""
        return json.dumps({
            "name": self.name, "certificate": self.certificate.decode("ascii"), "policy": self.policy,
            "authority": self.authority.decode("ascii"), "detail": self.detail.value, "material": self.material.hex(),
        })  # fmt: skip

    @classmethod
    def from_json(cls, unverified: str) -> Enrolment:
        """Parse the text that `to_json` returns. Raises EnrolmentDamaged."""
        try:
            data = json.loads(unverified)
            policy = str(data["policy"])
            if policy not in POLICIES:
                raise ValueError(f"there is no policy {policy}")
            return cls(str(data["name"]), data["certificate"].encode("ascii"), data["authority"].encode("ascii"),
                       policy, Detail(data["detail"]), bytes.fromhex(data["material"]))  # fmt: skip
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise EnrolmentDamaged(f"this is not an enrolment{place_of(error)}") from error

    def is_for(self, key: ec.EllipticCurvePublicKey) -> bool:
        """Return whether the certificate is for this key. Raises EnrolmentDamaged if it is not a certificate."""
        try:
            return x509.load_pem_x509_certificate(self.certificate).public_key() == key
        except ValueError as error:
            raise EnrolmentDamaged("this is not a till's certificate") from error

    def reading_policy(self, find_mykey: Callable[[int], str | None] | None = None) -> CodePolicy:
        """Return the till's side of the policy, without the centre's private keys.

        `find_mykey` looks up a MyKey ID at the MyKey platform. Raises EnrolmentDamaged if the policy needs it and it is
        missing.
        """
        match self.policy:
            case KeyedByShop.name:
                return KeyedByShop({self.name.partition("/")[0]: self.material}.__getitem__)
            case CodeByCentre.name:
                return CodeByCentre(X25519PublicKey.from_public_bytes(self.material))
            case MyKeyId.name if find_mykey is not None:
                return MyKeyId(find_mykey)
            case AuthenticationSerial.name:
                return AuthenticationSerial()
        raise EnrolmentDamaged(f"the policy {self.policy} needs a MyKey platform, and the till has none")
