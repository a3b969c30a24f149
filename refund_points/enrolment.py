"""What the centre hands to a till that it enrols: all that an installation needs besides its own key."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey

from kazashi.refund_points.codes import POLICIES, AuthenticationSerial, CodeByCentre, CodePolicy, KeyedByShop, MyKeyId


class EnrolmentDamaged(Exception):
    """What is said to be an enrolment is none; the message says why."""


class Detail(Enum):
    """What a till tells the centre of a purchase, and the centre keeps."""

    AMOUNT = "amount"
    """The eligible sum alone."""
    LINES = "lines"
    """Every eligible line."""


@dataclass(frozen=True, slots=True)
class Enrolment:
    """`name` is SHOP/TILL/INSTALLATION, `certificate` stands under `authority` (both PEM) and goes with the till's key;
    `policy` says which code the till reads, and `material` is what it needs for that: the shop's secret, the centre's
    public key, or nothing; `detail` what it tells of a purchase."""

    name: str
    certificate: bytes
    authority: bytes
    policy: str
    detail: Detail
    material: bytes = b""

    def to_json(self) -> str:
        """As a till's disk keeps it, and as it may travel there."""
        return json.dumps({
            "name": self.name, "certificate": self.certificate.decode("ascii"), "policy": self.policy,
            "authority": self.authority.decode("ascii"), "detail": self.detail.value, "material": self.material.hex(),
        })  # fmt: skip

    @classmethod
    def from_json(cls, unverified: str) -> Enrolment:
        """The inverse of `to_json`. Raises EnrolmentDamaged."""
        try:
            found = json.loads(unverified)
            policy = str(found["policy"])
            if policy not in POLICIES:
                raise ValueError(f"no policy is called {policy}")
            return cls(str(found["name"]), found["certificate"].encode("ascii"), found["authority"].encode("ascii"),
                       policy, Detail(found["detail"]), bytes.fromhex(found["material"]))  # fmt: skip
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise EnrolmentDamaged(f"this is no enrolment: {error}") from error

    def is_for(self, key: ec.EllipticCurvePublicKey) -> bool:
        """Whether the certificate is one for this key. Raises EnrolmentDamaged where it is none at all."""
        try:
            return x509.load_pem_x509_certificate(self.certificate).public_key() == key
        except ValueError as error:
            raise EnrolmentDamaged(f"this is no till's certificate: {error}") from error

    def reading_policy(self, find_mykey: Callable[[int], str | None] | None = None) -> CodePolicy:
        """The policy as the till has it, with nothing that the centre keeps to itself. `find_mykey` asks the MyKey
        platform; EnrolmentDamaged where that is needed and missing."""
        match self.policy:
            case KeyedByShop.name:
                return KeyedByShop({self.name.partition("/")[0]: self.material}.__getitem__)
            case CodeByCentre.name:
                return CodeByCentre(X25519PublicKey.from_public_bytes(self.material))
            case MyKeyId.name if find_mykey is not None:
                return MyKeyId(find_mykey)
            case AuthenticationSerial.name:
                return AuthenticationSerial()
        raise EnrolmentDamaged(f"this till cannot read {self.policy}: it has no way to ask for it")
