"""Countermeasures: twelve ways for a service to identify its users, used or proposed in several countries, applied to
one stream of uses. The pseudonyms are those that relying parties really derive
(`relying_party/pseudonyms/pseudonyms.py`)."""

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
COUNTER, REVOCATION, BLIND = "serial number enumerator", "revocation authority", "blind converter"
"""Actors other than services that may join a coalition: the platform that holds the keys of pseudonyms, the authority
with its list of certificates and their holders, the register of the persons' own numbers, and so on."""


@dataclass(frozen=True, slots=True)
class Countermeasure:
    """A way to identify users.

    `id` is for programs, `name` for people. `of` names what a handle is derived from: `shown` (a certificate), `chain`
    (successive certificates on one card), `person`, `service`, `sector`. `reveals` says what each other actor can
    convert handles to. `online` says whether services may ask the authority about a use. `people` limits the number of
    people for whom the handles are computed, where that is slow.
    """

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
    """A random serial number for each service; only the authority stores which person it belongs to."""
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
    """The blind converter's pseudonyms; services are set up when they are first needed."""

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
        "a request to the authority at each renewal",
    ),
    replace(
        _RAW,
        id="raw-serial-lists",
        name="raw serial number, lists in place of OCSP",
        source="CRL",
        cost="one CRL per day at every service",
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
        "one salt per service",
    ),
    Countermeasure(
        "keyed-pairwise",
        "HMAC by a platform",
        "OpenID Connect pairwise, NIST SP 800-63C PPI",
        ("shown", "service"),
        lambda row: _PAIRWISE.pseudonym(_subject(row, ""), str(row["service"])),
        {PLATFORM: "shown"},
        "a key to protect",
    ),
    Countermeasure(
        "tenant-user-id",
        "tenant's user id from the authority's links",
        "platform operators in Japan",
        ("person", "service"),
        lambda row: _OIDC.pseudonym(_subject(row, "person"), str(row["service"])),
        {PLATFORM: "person"},
        "a platform that is trusted with all users",
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
        "sectors are coarse; the identifier is for life",
    ),
    Countermeasure(
        "restricted-chip-key",
        "restricted identification, chip's key",
        "Germany, BSI TR-03110",
        ("chain", "sector"),
        lambda row: _restricted(row, "chain"),
        {REVOCATION: "chain"},
        "elliptic curves on the card; a revocation list for each sector",
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
    """`seen` with a column `handle`: the identifier that each service stores. Each pseudonym is derived once."""
    if measure.people is not None:
        seen = seen.filter(pl.col("person").rank("dense") <= measure.people)
    subjects = seen.select(*measure.of).unique(maintain_order=True)
    made = [measure.pseudonym(row) for row in subjects.iter_rows(named=True)]
    return seen.join(subjects.with_columns(pl.Series("handle", made, pl.String)), on=list(measure.of))


def countermeasure(wanted: str) -> Countermeasure:
    """The countermeasure with an id. Raises KeyError."""
    return _BY_ID[wanted]
