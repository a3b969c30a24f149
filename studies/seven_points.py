"""The seven points of Prof. Ishimura Koji on data matching (PIJ, CNN News no. 85 of 2016-05-25, pages 11 and 12), and
what can be measured for each in a world: counts from its stores, its logs and its rules."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace

import sqlalchemy as sa

from kazashi.assembly.actors import actors_of
from kazashi.assembly.errors import StepFailed
from kazashi.assembly.network import Network
from kazashi.assembly.network_offices import address_store
from kazashi.provision_network.law.provisions import INVESTIGATIONS, commission_inspects, portal_shows
from kazashi.provision_network.law.rules import RuleBook, row_named
from kazashi.provision_network.law.tables import Purpose, printed_table, table_of_affairs
from kazashi.provision_network.law.versions import ProvisionItem
from kazashi.provision_network.off_network import Given, OffNetwork
from kazashi.provision_network.terms import NetworkRejected, RequestOutcome
from kazashi.provision_network.three_ways import Seen
from kazashi.resident_registry.resident import Resident
from kazashi.studies.handle_sightings import Sightings, sightings
from kazashi.studies.handles import HandleKind
from kazashi.studies.match_records import known_people, population, tried
from kazashi.studies.network_three_ways import ask_three_ways
from kazashi.studies.sector_joins import joins
from kazashi.world.clock import today

_IN_COURT = INVESTIGATIONS[1:3]
"""Proceedings before a court, and the execution of its judgments."""

_RECORDS, _FAILING = 2_000, 0.2
"""The number of records of the first matching, and the share of them that does not match exactly."""


@dataclass(frozen=True, slots=True)
class Count:
    """A number that was counted for a point: its id, and the total that it is a part of, None if it is not a part."""

    id: str
    count: int
    total: int | None = None


@dataclass(frozen=True, slots=True)
class StudyPoint:
    """One of the seven points, by its number, with what was counted for it."""

    number: int
    counts: tuple[Count, ...]


@dataclass(frozen=True, slots=True)
class NetworkStudy:
    """The seven points, and what each party of a query about a person saw in the three architectures.

    There are no architectures if no query about the person is possible; `not_asked` says why.
    """

    points: tuple[StudyPoint, ...]
    architectures: tuple[Seen, ...]
    not_asked: str = ""


def studied(network: Network, person: Resident) -> NetworkStudy:
    """Study a world's network: the query about the person in three ways, then the points.

    The query, which is for two items, leaves two records, as every query does.
    """
    architectures, not_asked = tuple[Seen, ...](), ""
    try:
        architectures = tuple(ask_three_ways(network, person))
    except (StepFailed, NetworkRejected) as error:
        not_asked = str(error)
    found = sightings(network.world)
    kinds = (_consent, _matching, _growth, _suspicion, _secrecy, _errors)
    points = [StudyPoint(number, tuple(kind(network, found))) for number, kind in enumerate(kinds, 1)]
    points.append(StudyPoint(7, tuple(_accumulation(network, found, person))))
    return NetworkStudy(tuple(points), architectures, not_asked)


def _consent(network: Network, _: Sightings) -> Iterator[Count]:
    """Point 1: data move without the person's consent."""
    rules, day = network.core.ordinances.rules(), today(network.world.clock)
    provided = [row for row in _records(network) if row.outcome != RequestOutcome.DENIED.value]
    by_row = {(row.number, row.purpose.item): row.purpose for row in rules.rows}
    asked = [(row_named(row.reason), row.item) for row in provided]
    unasked = sum(row not in by_row or rules.decide(by_row[row], day, consent=False).allowed for row in asked)
    outside = _outside(network)
    shown = (
        "SELECT count(*) FROM provision_record WHERE outcome <> 'denied'"
        " AND record_code NOT IN (SELECT record_code FROM undisclosed)"
    )
    with network.core.store.reading() as connection:
        visible = int(connection.scalar(sa.text(shown)) or 0)
    yield Count("without-consent", unasked, len(provided))
    yield Count("shown-to-person", visible, len(provided) + len(outside))


def _matching(network: Network, found: Sightings) -> Iterator[Count]:
    """Point 2: the law bans use for another purpose, and not matching or building a database."""
    rows, day = printed_table(), today(network.world.clock)
    rules = RuleBook(table_of_affairs())
    altered = [replace(row.purpose, **{field.name: "別の値"}) for row in rows for field in fields(Purpose)]
    refused = sum(not rules.decide(purpose, day).allowed for purpose in altered)
    against, by_law = joins(found)
    yield Count("other-purposes-refused", refused, len(altered))
    yield Count("joins-without-request", len(against) + len(by_law))


def _growth(network: Network, found: Sightings) -> Iterator[Count]:
    """Point 3: the number as a search key lets matching grow without limit."""
    holders = _holders_of_numbers(network)
    by_code: dict[int, set[str]] = {}
    labels = {(table.store, table.name): table.labels for table in found.tables if table.labels}
    for one in found.found:
        if one.kind is HandleKind.CODE and (of_rows := labels.get((one.store, one.table))):
            for row, handles in one.rows.items():
                for handle in handles:
                    by_code.setdefault(handle, set()).add(of_rows[row][0])
    bodies = {body for owners in by_code.values() for body in owners}
    shared = {frozenset((one, other)) for owners in by_code.values() for one in owners for other in owners - {one}}
    rows = printed_table()
    members = len(network.core.members.institutions())
    yield Count("bodies-with-number", holders, members)
    yield Count("pairs-by-number", _pairs(holders), _pairs(members))
    yield Count("pairs-by-code", len(shared), _pairs(len(bodies)))
    yield Count("affairs", len({(row.purpose.law, row.purpose.affair) for row in rows}))
    yield Count("kinds-of-items", len({row.purpose.item for row in rows}))


def _pairs(count: int) -> int:
    return count * (count - 1) // 2


def _holders_of_numbers(network: Network) -> int:
    """How many bodies have the individual number of somebody in their address systems."""
    bodies: set[str] = set()
    stores = {address_store(one.name) for one in network.interfaces}
    for store in (actor.store for actor in actors_of(network.world) if actor.store in stores):
        with network.world.store_to_study(store).reading() as connection:
            bodies |= set(connection.scalars(sa.text("SELECT DISTINCT body FROM addressee")))
    return len(bodies)


def _suspicion(network: Network, _: Sightings) -> Iterator[Count]:
    """Point 4: matching by agencies needs no suspicion, and shifts the burden of proof to the person."""
    provided = [row for row in _records(network) if row.outcome == RequestOutcome.PROVIDED.value]
    checked = 0
    for interface in network.interfaces:
        with interface.platform.store.reading() as connection:
            checked += int(connection.scalar(sa.text("SELECT count(*) FROM held WHERE released")) or 0)
    outside = _outside(network)
    yield Count("automatic", len(provided) - checked, len(provided))
    yield Count("with-case", sum("case" in line.facts for line in outside), len(outside))


def _secrecy(network: Network, _: Sightings) -> Iterator[Count]:
    """Point 5: matching in secret and without a warrant has the effect of a search."""
    outside = _outside(network)
    investigators = [line for line in outside if line.item is ProvisionItem.INVESTIGATION]
    yield Count("to-investigators", len(investigators), len(outside))
    yield Count("in-court", sum(line.facts.get("purpose") in _IN_COURT for line in investigators), len(investigators))
    yield Count("investigators-in-portal", sum(portal_shows(line.item) for line in investigators), len(investigators))
    yield Count("investigators-inspected", sum(commission_inspects(line.item) for line in investigators),
                len(investigators))  # fmt: skip


def _errors(network: Network, _: Sightings) -> Iterator[Count]:
    """Point 6: errors of programs and data harm people."""
    seed = network.world.seed
    trial = tried(seed, known_people(population(seed, _RECORDS)), failing=_FAILING)
    truth, pairs = trial.records.truth, trial.found.pairs
    yield Count("not-matched-exactly", len(truth) - len(trial.exact.pairs), len(truth))
    yield Count("tied-to-another", sum(truth[number] != person for number, person in pairs.items()), len(pairs))
    yield Count("left-to-officials", len(trial.found.work_list), len(truth))


def _accumulation(network: Network, found: Sightings, person: Resident) -> Iterator[Count]:
    """Point 7: what several agencies have is accumulated, until it shows the whole person."""
    registered = {found.person(number) for number, one in enumerate(found.index.handles)
                  if one.kind is HandleKind.RECORD_CODE and one.value == str(person.code)}  # fmt: skip
    of_person = list(found.of_people(registered))
    owners = {table.actor.owner.name for table in found.tables}
    records = _records(network)
    kept = answers = 0
    for interface in network.interfaces:
        with interface.platform.store.reading() as connection:
            answers += int(connection.scalar(sa.text("SELECT count(*) FROM received")) or 0)
            kept += int(connection.scalar(sa.text("SELECT count(*) FROM copy")) or 0)
    yield Count("owners-with-person", len({one.actor.owner.name for one, _ in of_person}), len(owners))
    yield Count("rows-about-person", sum(rows for _, rows in of_person))
    yield Count("copies-kept", kept)
    yield Count("answers-kept", answers)
    yield Count("records-kept", len(records))


def _records(network: Network) -> list[sa.Row[tuple[str, str, str]]]:
    with network.core.store.reading() as connection:
        return list(connection.execute(sa.text("SELECT outcome, reason, item FROM provision_record")).all())


def _outside(network: Network) -> list[Given]:
    """The provisions outside the network that were allowed."""
    return [line for line in OffNetwork(network.world).given() if not line.denial]
