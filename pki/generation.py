"""The generations of an authority's key: a new self-signed certificate under the same name every few years."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, time

from kazashi.jpki.profile import CertificateType, Profile
from kazashi.pki import asn1, der
from kazashi.pki.signing_key import SigningKey
from kazashi.world.clock import JST

NEXT_GENERATION = "next"
"""The generation of the next card's profile. It has no date; it begins when it is first asked for."""

_FIRST_DAYS = (date(2015, 10, 20), date(2019, 9, 15), date(2023, 7, 16))
_MONTHS_BETWEEN = 46
"""What lies between the days above is 46 or 47 months; later generations are expected at the same pace."""


@dataclass(frozen=True, slots=True)
class Generation:
    """A generation that has begun: its name (`01`, `02`, ... or `next`), serial number, key and certificate.

    `keys` says where the key is kept: `software`, or the address of a token.
    """

    name: str
    serial: int
    profile: Profile
    key: SigningKey
    key_location: str
    certificate: bytes
    begins: datetime
    ends: datetime

    @property
    def public_key(self) -> bytes:
        """The public half of the key as SubjectPublicKeyInfo, out of the certificate: no token need be there for it."""
        body = asn1.Reader(self.certificate).inside(asn1.SEQUENCE).inside(asn1.SEQUENCE)
        for _ in ("version", "serial number", "signature", "issuer", "validity", "subject"):
            body.skip()
        return body.whole(asn1.SEQUENCE)

    @property
    def key_identifier(self) -> bytes:
        """What tells this generation from the others, whose name is the same."""
        return der.key_identifier(self.public_key)

    def identifies(self, kind: CertificateType) -> bytes:
        """The authorityKeyIdentifier extension of all that this generation signs."""
        return der.authority_key_identifier(self.profile, kind, self.key_identifier, self.serial)


def generation_name(number: int) -> str:
    """The name of a generation (1, 2, ...)."""
    return f"{number:02d}"


def first_day(generation: int) -> date:
    """The day on which a generation (1, 2, ...) begins."""
    if generation <= len(_FIRST_DAYS):
        return _FIRST_DAYS[generation - 1]
    last = _FIRST_DAYS[-1]
    months = last.year * 12 + last.month - 1 + (generation - len(_FIRST_DAYS)) * _MONTHS_BETWEEN
    return date(months // 12, months % 12 + 1, last.day)


def begins(generation: int) -> datetime:
    """The instant from which a generation's own certificate is valid."""
    return datetime.combine(first_day(generation), time(10, 0, 0), JST)


def issuing_at(instant: datetime) -> int:
    """The generation that signs at an instant: it takes over on the first of the month after it began.

    Raises ValueError before the first generation.
    """
    day = instant.astimezone(JST).date()
    if day < first_day(1):
        raise ValueError(f"no authority existed on {day}")
    generation = 1
    while _takes_over(generation + 1) <= day:
        generation += 1
    return generation


def _takes_over(generation: int) -> date:
    first = first_day(generation)
    return date(first.year + first.month // 12, first.month % 12 + 1, 1)
