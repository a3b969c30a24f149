"""Part of `kazashi bench network`: the ruling's reasons and the exposure matrix, over a world full of people."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

from benchmarks.bench_registry import people
from benchmarks.bench_worlds import LIFE_DAYS, Progress, new_world
from benchmarks.measure import Measure, at_most
from benchmarks.network_load import PENSION, enrol
from kazashi.assembly.institutions import Institutions
from kazashi.assembly.network import Network, addresses
from kazashi.assembly.network_offices import MUNICIPAL, NATIONAL, PENSION_ADDRESSES, PENSION_ITEM, TAX_ITEM
from kazashi.card.certification_request import certification_request
from kazashi.jpki.profile import CertificateType
from kazashi.pki.certificate import CertificateRequest
from kazashi.provision_network.municipal import AddressSystem
from kazashi.provision_network.portal import Portal
from kazashi.relying_party.verify.linkage import NoLinkage
from kazashi.resident_registry.resident import Resident
from kazashi.studies.handle_exposure import exposed, matrix
from kazashi.studies.handle_sightings import sightings
from kazashi.studies.network_rulings import RulingReason, held_against_stores
from kazashi.world.key_source import SharedKeySource

GOAL_SECONDS = 60
_TOWNS = ("架空市", "港区")
_BATCH = 500


def measure_rulings(directory: Path, keys: SharedKeySource, count: int, progress: Progress) -> Iterator[Measure]:
    """Measure `network rulings` and `tracking exposure` in a world in which everybody has two certificates and codes at
    three bodies, and has logged in to the portal. Raises RuntimeError if the serial numbers there are not found."""
    progress(f"a world of {count:,} people with cards and codes")
    institutions = Institutions(new_world(directory / "rulings", keys))
    network = _filled(institutions, keys, count)
    world = institutions.world
    progress(f"rulings over {count:,} people")
    begun = time.perf_counter()
    findings = held_against_stores(world, network)
    rulings = time.perf_counter() - begun
    progress(f"exposure over {count:,} people")
    begun = time.perf_counter()
    found = matrix(exposed(world, sightings(world, leaves=True)))
    exposure = time.perf_counter() - begun
    left = {fact.values["place"]: fact.values["rows"] for one in findings if one.reason is RulingReason.CARD_DATA
            for fact in one.against}  # fmt: skip
    cell = found.cell("portal", "serial number")
    if left != {"portal.serial.serial": count} or cell is None or cell.rows != count:
        raise RuntimeError(f"the portal has {count} serial numbers, and these were found: {left}, {cell}")
    world.close()
    name = f"rulings and exposure over {count:,} people"
    both = rulings + exposure
    yield at_most(name, "s", both, GOAL_SECONDS, f"the goal; rulings alone take {rulings:.1f} s",
                  both / GOAL_SECONDS, 1)  # fmt: skip


def _filled(institutions: Institutions, keys: SharedKeySource, count: int) -> Network:
    institutions.registry.import_people(people(count))
    institutions.settle()
    residents = institutions.registry.residents(limit=count)
    _certify(institutions, keys, residents)
    network, world = Network(institutions), institutions.world
    codes, located = [str(one.code) for one in residents], addresses()
    enrol(world, network.core, MUNICIPAL, _TOWNS, located, codes, TAX_ITEM)
    enrol(world, network.core, NATIONAL, [PENSION], located, codes, PENSION_ITEM)
    numbers = [one.individual_number for one in residents if one.individual_number is not None]
    AddressSystem(world, PENSION, PENSION_ADDRESSES).admit_all(numbers)
    authority = institutions.authorities[CertificateType.AUTHENTICATION]
    holders = {one.serial: one.holder for resident in residents for one in authority.of_holder(resident.code)}
    portal = Portal(world, network.portal, lambda serial: network.core.codes.portal_code(holders[serial]),
                    network.core.records.of, NoLinkage())  # fmt: skip
    for serial in holders:
        portal.set_up(serial)
    return network


def _certify(institutions: Institutions, keys: SharedKeySource, residents: list[Resident]) -> None:
    """Issue both certificates of everybody, for one key."""
    request, now = certification_request(keys.take()), institutions.world.clock.now()
    for authority in institutions.authorities.values():
        requests = [
            CertificateRequest(one, request, now, now + timedelta(days=LIFE_DAYS), identifier=one.code)
            for one in residents
        ]
        for begin in range(0, len(requests), _BATCH):
            authority.issue_many(requests[begin : begin + _BATCH])
