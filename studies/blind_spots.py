"""What the stores have about a person, compared with what the portal shows to them (X19, for one person)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from kazashi.assembly.actors import actors_of
from kazashi.assembly.network import Network
from kazashi.assembly.network_offices import TAX_OFFICE
from kazashi.provision_network.address_store import ADDRESSEE
from kazashi.provision_network.codes import PortalCode
from kazashi.provision_network.internal_flows import InternalFlows
from kazashi.provision_network.law.provisions import portal_shows
from kazashi.provision_network.not_shown import why_hidden
from kazashi.provision_network.off_network import OffNetwork
from kazashi.provision_network.tax_offices import TaxOffices
from kazashi.provision_network.terms import NetworkRejected, RequestOutcome
from kazashi.resident_registry.resident import Resident
from kazashi.tracking_lab.metrics import Share
from kazashi.world.clock import JST

CORE, OUTSIDE, INSIDE, MATCHING = "core", "off_network", "body_registers", "tax_offices"
"""The stores in which something about a person is found."""


_ORDINARY = "ordinary personal information: the Number Act, and so the portal, does not concern it"


@dataclass(frozen=True, slots=True)
class StoredFlow:
    """Something that a store has about a person: information that went from one party to another, or, if it is no
    flow, a match with the person. `why` says why the portal does not show it, and is empty if it does."""

    store: str
    at: datetime | None
    sender: str
    receiver: str
    item: str
    rule: str
    why: str
    is_flow: bool = True


def stored_flows(network: Network, person: Resident) -> list[StoredFlow]:
    """Return everything that the stores have about a person, the core's records first. Denied requests are left out:
    nothing went anywhere."""
    numbers = _own_numbers(network, person)
    return [
        *_over_the_network(network, person), *_outside(network, numbers), *_inside(network, numbers),
        *_matched(network, numbers),
    ]  # fmt: skip


def hidden(flows: list[StoredFlow]) -> Share:
    """Return the share of the flows that the portal does not show."""
    counted = [one for one in flows if one.is_flow]
    return Share(sum(bool(one.why) for one in counted), len(counted))


def _own_numbers(network: Network, person: Resident) -> list[tuple[str, str]]:
    """Each party that has known the person, with its own number for them, of former times too. A party outside the
    network may know them by a former individual number."""
    rows: list[sa.Row[Any]] = []
    for actor in actors_of(network.world):
        if actor.number_by_law:
            with network.world.store_to_study(actor.store).reading() as connection:
                rows += connection.execute(sa.select(ADDRESSEE)).all()
    numbers = sorted({row.individual_number for row in rows})
    theirs = {str(person.individual_number)}
    theirs |= {former for former, now in network.institutions.juki_net.j_lis.current_numbers(numbers).items()
               if now == person.individual_number}  # fmt: skip
    return [(row.body, f"{row.position:010d}") for row in rows if row.individual_number in theirs]


def _over_the_network(network: Network, person: Resident) -> Iterator[StoredFlow]:
    code = network.core.codes.portal_code(str(person.code))
    shown, why = _shown(network, code)
    for one in network.core.records.stored(code):
        if one.outcome is RequestOutcome.PROVIDED:
            hidden_because = "" if one.number in shown else why
            yield StoredFlow(CORE, one.provided_at, one.provider, one.requester, one.item, one.reason, hidden_because)


def _shown(network: Network, code: PortalCode) -> tuple[set[int], str]:
    """The numbers of the records that the portal shows, and why it does not show the others."""
    if (day := network.portal.closed_folders.day(code)) is not None:
        return set(), f"the folder was closed on {day}"
    try:
        return {one.number for one in network.core.records.of(code)}, ""
    except NetworkRejected as rejected:
        return set(), str(rejected)


def _outside(network: Network, numbers: list[tuple[str, str]]) -> Iterator[StoredFlow]:
    log = OffNetwork(network.world)
    for provider, own in numbers:
        for line in log.about(provider, own):
            if not line.denial:
                on = line.at.astimezone(JST).date()
                why = _ORDINARY if line.handle is None else "" if portal_shows(line.item) else why_hidden(on, line.item)
                yield StoredFlow(OUTSIDE, line.at, line.provider, line.receiver, line.what, line.rule, why)


def _inside(network: Network, numbers: list[tuple[str, str]]) -> Iterator[StoredFlow]:
    flows = InternalFlows(network.world)
    why = "inside one body, so that the core has no record; the body's own record shows it on disclosure (29条)"
    for body, own in numbers:
        for one in flows.of(body, own):
            if not one.denial:
                flow = one.flow
                sender, receiver = f"{body} {flow.from_office}", f"{body} {flow.to_office}"
                yield StoredFlow(INSIDE, one.at, sender, receiver, flow.information, one.rule, why)


def _matched(network: Network, numbers: list[tuple[str, str]]) -> Iterator[StoredFlow]:
    offices, known = TaxOffices(network.world), {one.name for one in network.core.members.institutions()}
    why = "matching inside a body is in no article of the Act, and in no record of the core"
    for body, own in numbers:
        if body not in known or not offices.files(body):
            continue
        (local,) = network.linkage(body).addresses.local_numbers(TAX_OFFICE, [own])
        for one in offices.records(body, local_number=local):
            item = f"return of {one.year}, matched by {one.how}"
            yield StoredFlow(MATCHING, None, body, f"{body} {TAX_OFFICE}", item, "", why, is_flow=False)
