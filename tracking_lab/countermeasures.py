"""Countermeasures: twenty-one ways for a service to identify its users, used or proposed in several countries,
applied to one stream of uses. The pseudonyms are those that relying parties really derive
(`relying_party/pseudonyms/pseudonyms.py`)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any

import polars as pl

from kazashi.jpki.serial_number import serial_text
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
from kazashi.tracking_lab.batches import Batch
from kazashi.tracking_lab.revocation_checks import LIST, OCSP, SHORT_LIVED, WITNESS, RevocationCheck
from kazashi.world.rng import secure_random, stream

_KEY = sha256(b"a made-up key of the laboratory").digest()

PLATFORM, AUTHORITY, REGISTER = "platform", "certification authority", "number register"
COUNTER, REVOCATION, BLIND = "serial number enumerator", "revocation authority", "blind converter"
"""Actors other than services that may join a coalition: the platform that holds the keys of pseudonyms, the authority
with its list of certificates and their holders, the register of the persons' own numbers, and so on."""


@dataclass(frozen=True, slots=True)
class Countermeasure:
    """A way to identify users.

    `of` names what a handle is derived from: `shown` (a certificate), `chain`
    (successive certificates on one card), `person`, `service`, `sector`, `attestation` (one of a `batch`). `reveals`
    says what each other actor can convert handles to; `timed` is the person whose requests to the authority best match
    a handle's times. `check` is the revocation check, and so what the authority sees. `people` limits the number of
    people for whom the handles are computed, where that is slow.
    """

    id: str
    of: tuple[str, ...]
    pseudonym: Callable[[dict[str, Any]], str]
    reveals: dict[str, str]
    check: RevocationCheck = OCSP
    batch: Batch | None = None
    people: int | None = None

    @property
    def joins_services(self) -> bool:
        """Whether one person has equal handles at two services, so that a difference is evidence, too."""
        return not {"service", "attestation"} & set(self.of)


def _subject(row: dict[str, Any], secret: str) -> Subject:
    return Subject(row.get("shown", 0), row[secret].to_bytes(8) if secret else b"")


def _register_number(row: dict[str, Any]) -> Subject:
    return Subject(0, f"{row['person'] + 1:012d}".encode("ascii"))


def _one_number(row: dict[str, Any]) -> str:
    """A number in the form of Estonia's certificates (`PNOEE-` and eleven digits, ETSI EN 319 412-1, 5.1.3). Its first
    digit is 0, which no person's code has."""
    return f"PNOEE-0{row['person']:010d}"


def _attested(row: dict[str, Any]) -> str:
    return sha256(f"attestation {row['attestation']}".encode()).hexdigest()[:32]


def _proven(row: dict[str, Any]) -> str:
    """A pseudonym that is proven to come from the holder's secret and the service's name. Nobody else has the
    secret."""
    return sha256(f"secret of {row['person']}/{row['service']}".encode()).hexdigest()


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
    "raw-serial", ("shown",), lambda row: RawSerial().pseudonym(_subject(row, ""), ""), {AUTHORITY: "person"}
)
_PROVEN = Countermeasure("zero-knowledge-list", ("person", "service"), _proven, {}, LIST)
"""A proof that the holder has a certificate, without its serial number (Frigo and shelat, 2024). Proofs are not
computed here; docs/tracking.md has published times."""

COUNTERMEASURES: list[Countermeasure] = [
    _RAW,
    Countermeasure("raw-serial-chain", ("chain",), lambda row: serial_text(row["chain"]), {AUTHORITY: "person"}),
    Countermeasure("raw-serial-person", ("person",), lambda row: serial_text(row["person"]), {AUTHORITY: "person"}),
    replace(_RAW, id="raw-serial-lists", check=LIST),
    Countermeasure(
        "plain-hash", ("shown",), lambda row: PlainHash().pseudonym(_subject(row, ""), ""),
        {AUTHORITY: "person", COUNTER: "shown"},
    ),
    Countermeasure("salted-hash", ("shown", "service"), _salted, {COUNTER: "shown", AUTHORITY: "person"}),
    Countermeasure(
        "keyed-pairwise", ("shown", "service"),
        lambda row: _PAIRWISE.pseudonym(_subject(row, ""), str(row["service"])), {PLATFORM: "shown"},
    ),
    Countermeasure(
        "tenant-user-id", ("person", "service"),
        lambda row: _OIDC.pseudonym(_subject(row, "person"), str(row["service"])), {PLATFORM: "person"},
    ),
    Countermeasure("per-service-certificate", ("shown", "service"), _certificate_of_its_own, {AUTHORITY: "person"}),
    Countermeasure("one-number", ("person",), _one_number, {AUTHORITY: "person", REGISTER: "person"}),
    Countermeasure(
        "sector-bpk", ("person", "sector"), lambda row: _BPK.pseudonym(_register_number(row), row["sector"]),
        {REGISTER: "person"},
    ),
    Countermeasure(
        "restricted-chip-key", ("chain", "sector"), lambda row: _restricted(row, "chain"), {REVOCATION: "chain"}, LIST,
        people=2_000,
    ),
    Countermeasure(
        "restricted-holder-key", ("person", "sector"), lambda row: _restricted(row, "person"),
        {REVOCATION: "person"}, LIST, people=2_000,
    ),
    Countermeasure("blind-converter", ("person", "service"), _Blindly(), {BLIND: "person"}, LIST, people=40),
    Countermeasure("batch-once", ("attestation",), _attested, {AUTHORITY: "person"}, LIST, Batch()),
    Countermeasure("batch-rotating", ("attestation",), _attested, {AUTHORITY: "person"}, LIST, Batch(20)),
    Countermeasure("mdoc-one-key", ("attestation",), _attested, {AUTHORITY: "person"}, LIST, Batch(1)),
    Countermeasure("mdoc-batch", ("attestation",), _attested, {AUTHORITY: "person"}, LIST, Batch(30)),
    _PROVEN,
    replace(_PROVEN, id="zero-knowledge-witness", reveals={AUTHORITY: "timed"}, check=WITNESS),
    replace(_PROVEN, id="zero-knowledge-short-lived", reveals={AUTHORITY: "timed"}, check=SHORT_LIVED),
]  # fmt: skip
"""The countermeasures, in the order of the tables. `page/words/names.toml` has their names, sources and costs."""


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
