"""The generations of an authority's key: every few years a new self-signed certificate with the same name."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, time

from kazashi.jpki.profile import CertificateType, Profile
from kazashi.pki import asn1, der
from kazashi.pki.signing_key import SigningKey
from kazashi.world.clock import JST

NEXT_GENERATION = "next"
"""The generation of the next card's profile. It has no date; it begins at its first use."""

_FIRST_DAYS = (date(2015, 10, 20), date(2019, 9, 15), date(2023, 7, 16))
_MONTHS_BETWEEN = 46
"""The dates above are 46 or 47 months apart; later generations are expected at the same interval."""


@dataclass(frozen=True, slots=True)
class Generation:
    """A generation that has begun: its name (`01`, `02`, ... or `next`), serial number, key and certificate.

    `key_location` is `software` or the URI of a token.
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
        """The public key as SubjectPublicKeyInfo. It comes from the certificate, so that no token is needed."""
        body = asn1.Reader(self.certificate).inside(asn1.SEQUENCE).inside(asn1.SEQUENCE)
        for _ in ("version", "serial number", "signature", "issuer", "validity", "subject"):
            body.skip()
        return body.whole(asn1.SEQUENCE)

    @property
    def key_identifier(self) -> bytes:
        """The key identifier, which distinguishes this generation from others with the same name."""
        return der.key_identifier(self.public_key)

    def identifies(self, kind: CertificateType) -> bytes:
        """The authorityKeyIdentifier extension of everything that this generation signs."""
        return der.authority_key_identifier(self.profile, kind, self.key_identifier, self.serial)


def generation_name(number: int) -> str:
    """The name of a generation (1, 2, ...), such as `01`."""
    return f"{number:02d}"


def first_day(generation: int) -> date:
    """The day on which a generation (1, 2, ...) begins."""
    if generation <= len(_FIRST_DAYS):
        return _FIRST_DAYS[generation - 1]
    last = _FIRST_DAYS[-1]
    months = last.year * 12 + last.month - 1 + (generation - len(_FIRST_DAYS)) * _MONTHS_BETWEEN
    return date(months // 12, months % 12 + 1, last.day)


def begins(generation: int) -> datetime:
    """The notBefore of a generation's own certificate: 10:00 in Japan on its first day."""
    return datetime.combine(first_day(generation), time(10, 0, 0), JST)


def issuing_at(instant: datetime) -> int:
    """The number of the generation that issues at an instant.

    A generation takes over on the first of the month after it began. Raises ValueError before the first generation.
    """
    day = instant.astimezone(JST).date()
    if day < first_day(1):
        raise ValueError(f"no authority existed on {day}; the first began on {first_day(1)}")
    generation = 1
    while _takes_over(generation + 1) <= day:
        generation += 1
    return generation


def _takes_over(generation: int) -> date:
    first = first_day(generation)
    return date(first.year + first.month // 12, first.month % 12 + 1, 1)
