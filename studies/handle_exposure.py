"""The exposure matrix of a world: who holds which handle, and who can convert one into another, from the sightings."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import chain, groupby, permutations
from typing import Any

from kazashi.applets import jpki
from kazashi.applets.applet import unfilled
from kazashi.applets.install import load_card
from kazashi.assembly import actors
from kazashi.card.chip import Chip
from kazashi.card.request import select, select_file
from kazashi.card_management.order import card_names, image_path
from kazashi.relying_party.verify.certificate import read_certificate
from kazashi.studies.handle_index import StoredForm
from kazashi.studies.handle_sightings import ScannedTable, Sightings
from kazashi.studies.handles import HandleKind
from kazashi.tracking_lab.exposure import Conversion, Exposure, ExposureMatrix, Row, Witness, exposure_of, matrix_of
from kazashi.world.home import World

TARGETS = (
    HandleKind.CODE.value, HandleKind.RECORD_CODE.value, HandleKind.PORTAL_CODE.value, HandleKind.LINKAGE.value
)  # fmt: skip
"""Tokens and record codes, which the number act protects."""

ANYBODY = "any reader in range"
_UNIQUE_LENGTH = 16
"""Values of at least this many characters are taken to be unique to a person."""


def exposed(world: World, found: Sightings) -> Exposure:
    """The exposure matrix of a world: what all actors hold in their stores, and what any reader in range sees. The
    sightings must have been made with `leaves`."""
    handles = _handles(found)
    rows = ((table.actor.owner.name, table.name, row) for table in found.tables
            for row in handles[table.store, table.name].values())  # fmt: skip
    joined = (row for _, tables in groupby(found.tables, lambda one: one.store)
              for row in _joined(list(tables), handles))  # fmt: skip
    exposure = exposure_of(rows, joined)
    if _without_pin(world) in {(one.kind, one.value) for one in found.index.handles}:
        exposure.held[ANYBODY, HandleKind.SERIAL.value] = Witness("READ BINARY", "EF 000A, no PIN", 1, at_use=True)
    if any(one.kind is HandleKind.LINKAGE for one in found.index.handles):
        _by_key(exposure)
    return exposure


def _by_key(exposure: Exposure) -> None:
    """Add what the core converts with its key, where it has no table."""
    who = actors.CORE_OPERATOR.name
    made = (HandleKind.RECORD_CODE.value, HandleKind.CODE.value, HandleKind.PORTAL_CODE.value)
    for source, target in permutations(made, 2):
        exposure.conversions.setdefault((who, source, target), Conversion(who, source, target, "by its key"))
        exposure.held.setdefault((who, target), Witness("made of a record code", "by its key", 1))


_InRows = dict[tuple[str, str], dict[int, dict[str, str]]]
"""The kinds of handles by store and table, row, and column."""


def _handles(found: Sightings) -> _InRows:
    """The kinds of the handles in each row, in clear or as a plain digest, which identifies a person as well."""
    kinds: _InRows = defaultdict(dict)
    for one in found.found:
        if one.form is StoredForm.KEYED:
            continue
        column = one.column if one.form is StoredForm.CLEAR else f"{one.column} ({one.form.value})"
        for row in one.rows:
            of_row = kinds[one.store, one.table].setdefault(row, {})
            of_row[column if column not in of_row else f"{column} ({one.kind.value})"] = one.kind.value
    return kinds


def _joined(tables: list[ScannedTable], handles: _InRows) -> Iterator[Row]:
    """The rows that the owner of some tables gets by joining each two of them, on a column that is a key of one of
    them, or whose values are long enough to be unique."""
    tables = [table for table in tables if handles[table.store, table.name]]
    names = Counter(name for table in tables for name in {*chain(*table.leaves)} - {"position"})
    columns = [_values(table, {name for name, count in names.items() if count > 1}) for table in tables]
    for (one, values), (other, others) in permutations(zip(tables, columns, strict=True), 2):
        ours, theirs = handles[one.store, one.name], handles[other.store, other.name]
        for column in sorted(values.keys() & others.keys()):
            is_key = column in one.keys | other.keys
            for value, rows in values[column].items():
                if (is_key or len(str(value)) >= _UNIQUE_LENGTH) and (matches := others[column].get(value)):
                    mine = frozenset(kind for row in rows for kind in ours.get(row, {}).values())
                    for kinds in {frozenset(theirs.get(match, {}).values()) for match in matches}:
                        yield one.actor.owner.name, f"{one.name} + {other.name}", {kind: kind for kind in mine | kinds}


def _values(table: ScannedTable, columns: set[str]) -> dict[str, dict[Any, list[int]]]:
    """The rows of each value of some columns."""
    values: dict[str, dict[Any, list[int]]] = {}
    for number, row in enumerate(table.leaves):
        for column in columns & row.keys():
            values.setdefault(column, {}).setdefault(row[column], []).append(number)
    return values


def _without_pin(world: World) -> tuple[HandleKind, int]:
    """The serial number of the authentication certificate, which a card gives to any reader in range, without a PIN; 0
    if no card gives it."""
    for name in card_names(world):
        chip = Chip(load_card(image_path(world, name)))
        chip.power_on()
        if all(chip.transmit(one) == b"\x90\x00" for one in (select(jpki.AID), _SELECT)):
            read = b"".join(chip.transmit(bytes((0x00, 0xB0, place, 0x00, 0x00)))[:-2] for place in range(8))
            return HandleKind.SERIAL, read_certificate(unfilled(read)).serial
    return HandleKind.SERIAL, 0


_SELECT = select_file(jpki.AUTHENTICATION_CERTIFICATE)


def matrix(exposure: Exposure) -> ExposureMatrix:
    """The matrix of an exposure, with the paths to TARGETS."""
    issuers = {actor.owner.name for actor in actors.ACTORS if actor.owner.issues}
    return matrix_of(exposure, issuers, TARGETS)
