"""By what a service knows its users, in twelve ways that are used or proposed in several countries, on one stream of
uses. The pseudonyms are those that relying parties really derive (`relying_party/pseudonyms/pseudonyms.py`)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any

import polars as pl

from kazashi.relying_party.pseudonyms.converter import Converter, PseudonymService
from kazashi.relying_party.pseudonyms.pseudonyms import (
    AustrianBpk,
    GermanRestrictedIdentification,
    KeyedPairwise,
    OidcPairwise,
    PlainHash,
    RawSerial,
    Subject,
    sector_key,
)
from kazashi.world.rng import secure_random, stream

_KEY = sha256(b"a made-up key of the laboratory").digest()

PLATFORM, AUTHORITY, REGISTER = "platform", "certification authority", "number register"
COUNTER, REVOCATION, BLIND = "whoever counts serial numbers", "revocation authority", "blind converter"
"""Who may join in a coalition beside services: whoever holds the keys of pseudonyms, the authority with its list of
certificates and their holders, whoever keeps the persons' own numbers, and so on."""


@dataclass(frozen=True, slots=True)
class Countermeasure:
    """A way to know users. `id` is for programs, `name` for people. `of` names what a handle is made of: `shown` (a
    certificate), `chain` (those that follow each other on one card), `person`, `service`, `sector`. `reveals` is what
    each other actor can turn handles into. `online` says that services may ask the authority about a use; `people`
    bounds for how many it is worked out, where it is slow."""

    id: str
    name: str
    source: str
    of: tuple[str, ...]
    pseudonym: Callable[[dict[str, Any]], str]
    reveals: dict[str, str]
    cost: str
    online: bool = True
    people: int | None = None


def _subject(row: dict[str, Any], secret: str) -> Subject:
    return Subject(row.get("shown", 0), row[secret].to_bytes(8) if secret else b"")


def _register_number(row: dict[str, Any]) -> Subject:
    return Subject(0, f"{row['person'] + 1:012d}".encode("ascii"))


def _salted(row: dict[str, Any]) -> str:
    return sha256(f"salt of {row['service']}/{row['shown']}".encode()).hexdigest()


def _certificate_of_its_own(row: dict[str, Any]) -> str:
    """A random serial number for each service, which the authority alone keeps beside the person."""
    return f"{stream('per-service', str(row['shown']), str(row['service'])).getrandbits(64):016X}"


_PAIRWISE, _OIDC, _BPK = KeyedPairwise(_KEY), OidcPairwise(_KEY), AustrianBpk(_KEY[:24])
_SECTORS = ("private", "tax", "culture", "health", "administration")
_RESTRICTED = GermanRestrictedIdentification(
    {sector: sector_key(place + 11, 7) for place, sector in enumerate(_SECTORS)}
)
_CHIP = 1 << 20


def _restricted(row: dict[str, Any], secret: str) -> str:
    number = int.from_bytes(sha256(f"{secret} {row[secret]}".encode()).digest()[:31]) + _CHIP
    return _RESTRICTED.pseudonym(Subject(0, number.to_bytes(32)), row["sector"])


class _Blindly:
    """The converter's pseudonyms, at services that are set up when they are first needed."""

    def __init__(self) -> None:
        self._converter = Converter(_KEY)
        self._services: dict[int, PseudonymService] = {}

    def __call__(self, row: dict[str, Any]) -> str:
        number = row["service"]
        if number not in self._services:
            secret = sha256(_KEY + number.to_bytes(4)).digest()
            self._services[number] = PseudonymService(str(number), secret, lambda: secure_random(256))
        core = self._converter.core(row["person"].to_bytes(8), str(number))
        return self._services[number].pseudonym(core)


_RAW = Countermeasure(
    "raw-serial", "raw serial number", "what a certificate shows", ("shown",),
    lambda row: RawSerial().pseudonym(_subject(row, ""), ""), {AUTHORITY: "person"}, "none",
)  # fmt: skip

COUNTERMEASURES: list[Countermeasure] = [
    _RAW,
    Countermeasure(
        "raw-serial-chain",
        "raw serial number, chain told",
        "証明書新旧紐付け",
        ("chain",),
        lambda row: f"{row['chain']:X}",
        {AUTHORITY: "person"},
        "a question to the authority at each renewal",
    ),
    replace(
        _RAW,
        id="raw-serial-lists",
        name="raw serial number, lists in place of OCSP",
        source="CRL",
        cost="a list a day at every service",
        online=False,
    ),
    Countermeasure(
        "plain-hash",
        "SHA-256 of the serial number",
        "common practice",
        ("shown",),
        lambda row: PlainHash().pseudonym(_subject(row, ""), ""),
        {AUTHORITY: "person", COUNTER: "shown"},
        "none",
    ),
    Countermeasure(
        "salted-hash",
        "SHA-256 with a salt of each service",
        "common practice",
        ("shown", "service"),
        _salted,
        {COUNTER: "shown", AUTHORITY: "person"},
        "a salt at each service",
    ),
    Countermeasure(
        "keyed-pairwise",
        "HMAC by a platform",
        "OpenID Connect pairwise, NIST SP 800-63C PPI",
        ("shown", "service"),
        lambda row: _PAIRWISE.pseudonym(_subject(row, ""), str(row["service"])),
        {PLATFORM: "shown"},
        "custody of a key",
    ),
    Countermeasure(
        "tenant-user-id",
        "tenant's user id from the authority's links",
        "platform operators in Japan",
        ("person", "service"),
        lambda row: _OIDC.pseudonym(_subject(row, "person"), str(row["service"])),
        {PLATFORM: "person"},
        "a platform that is trusted with everybody",
    ),
    Countermeasure(
        "per-service-certificate",
        "a certificate for each service",
        "per-service certificates",
        ("shown", "service"),
        _certificate_of_its_own,
        {AUTHORITY: "person"},
        "issuance and storage times the number of services",
    ),
    Countermeasure(
        "sector-bpk",
        "sector's identifier (bPK)",
        "Austria, E-GovG",
        ("person", "sector"),
        lambda row: _BPK.pseudonym(_register_number(row), row["sector"]),
        {REGISTER: "person"},
        "sectors are coarse; it is for life",
    ),
    Countermeasure(
        "restricted-chip-key",
        "restricted identification, chip's key",
        "Germany, BSI TR-03110",
        ("chain", "sector"),
        lambda row: _restricted(row, "chain"),
        {REVOCATION: "chain"},
        "curves on the card; lists to each sector",
        online=False,
        people=2_000,
    ),
    Countermeasure(
        "restricted-holder-key",
        "restricted identification, holder's key",
        "Germany, BSI TR-03110",
        ("person", "sector"),
        lambda row: _restricted(row, "person"),
        {REVOCATION: "person"},
        "the same, and a key that moves to new cards",
        online=False,
        people=2_000,
    ),
    Countermeasure(
        "blind-converter",
        "blind converter",
        "Camenisch and Lehmann 2015, 2017",
        ("person", "service"),
        _Blindly(),
        {BLIND: "person"},
        "public-key operations for each conversion",
        online=False,
        people=40,
    ),
]


_BY_ID = {measure.id: measure for measure in COUNTERMEASURES}


def handles(seen: pl.DataFrame, measure: Countermeasure) -> pl.DataFrame:
    """`seen` with a column `handle`: what each service keeps. Each pseudonym is derived once."""
    if measure.people is not None:
        seen = seen.filter(pl.col("person").rank("dense") <= measure.people)
    subjects = seen.select(*measure.of).unique(maintain_order=True)
    made = [measure.pseudonym(row) for row in subjects.iter_rows(named=True)]
    return seen.join(subjects.with_columns(pl.Series("handle", made, pl.String)), on=list(measure.of))


def countermeasure(wanted: str) -> Countermeasure:
    """The countermeasure of an id. Raises KeyError."""
    return _BY_ID[wanted]
