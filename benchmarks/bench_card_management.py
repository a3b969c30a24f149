"""The card management part of `kazashi bench pki`: cards written and rewritten, and moves with new certificates.

All keys were made ahead: an RSA key takes longer than a card.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

from benchmarks.bench_registry import people
from benchmarks.bench_worlds import LIFE_DAYS, Progress, WorldSize, new_world
from benchmarks.measure import Measure, at_least
from kazashi.assembly.institutions import Institutions
from kazashi.card.certification_request import certification_request
from kazashi.card_management.case import CaseType
from kazashi.card_management.order import usual_order
from kazashi.jpki.profile import CertificateType
from kazashi.jpki.state import CertificateState
from kazashi.pki.certificate import CertificateRequest
from kazashi.resident_registry.event import MoveWithin
from kazashi.world.key_source import SharedKeySource

_BATCH = 100


def measure_card_management(
    directory: Path, keys: SharedKeySource, size: WorldSize, progress: Progress
) -> Iterator[Measure]:
    """Measure cases from a move in the registry to the new certificate, and cards that are made and rewritten."""
    institutions = Institutions(new_world(directory / "town", keys))
    count = max(_BATCH, size.issued // 3)
    progress(f"{count:,} moves to a revocation and a new certificate")
    documents = ((line, {**document, "municipality": "13113"}) for line, document in people(count))
    institutions.registry.import_people(documents)
    institutions.settle()
    rate = count / _moves(institutions, keys, count)
    yield at_least("moves to revocation and new certificate", "1/s", rate, 200, "the goal", rate / 200, 1)
    cards = max(5, size.issued // 50)
    progress(f"{cards:,} cards made, and rewritten after a move")
    residents = [institutions.registry.find(f"p{number}") for number in range(cards)]
    for resident in residents[:1]:  # the municipality's keys and pictures' fonts are loaded once
        institutions.cards.issue("first", usual_order(institutions.world, resident))
    begun = time.perf_counter()
    for number, resident in enumerate(residents):
        institutions.cards.issue(f"card-{number}", usual_order(institutions.world, resident))
    rate = cards / (time.perf_counter() - begun)
    yield at_least("cards made with certificates, one by one", "1/s", rate, 20, "the goal", rate / 20, 1)
    for number in range(cards):
        institutions.registry.record(f"p{number}", MoveWithin(f"架空町{number}丁目"))
    institutions.juki_net.deliver()
    begun = time.perf_counter()
    for number in range(cards):
        institutions.cards.at_counter(f"card-{number}", CaseType.UPDATE)
    rate = cards / (time.perf_counter() - begun)
    yield at_least("cards rewritten with a new certificate, one by one", "1/s", rate, 20, "the goal", rate / 20, 1)
    institutions.world.close()


def _moves(institutions: Institutions, keys: SharedKeySource, count: int) -> float:
    """Return the seconds for `count` moves, of which each revokes a certificate and leads to a new one.

    Raises RuntimeError if an old certificate is not revoked, or a new one is not good.
    """
    authority, world = institutions.authorities[CertificateType.SIGNATURE], institutions.world
    request = certification_request(keys.take())
    codes = [institutions.registry.find(f"p{number}").code for number in range(count)]

    def certified(numbers: range, name: str) -> None:
        now = world.clock.now()
        authority.issue_many([
            CertificateRequest(institutions.juki_net.j_lis.identity(codes[number]), request, now,
                               now + timedelta(days=LIFE_DAYS), identifier=f"{name} {number}")
            for number in numbers
        ])  # fmt: skip

    batches = [range(start, min(start + _BATCH, count)) for start in range(0, count, _BATCH)]
    for batch in batches:
        certified(batch, "first")
    begun = time.perf_counter()
    for batch in batches:
        for number in batch:
            institutions.registry.record(codes[number], MoveWithin(f"架空町{number}番地"))
        institutions.juki_net.deliver()
        certified(batch, "second")
    seconds = time.perf_counter() - begun
    for code in codes[:: max(1, count // 10)]:
        old, new = (authority.revocations.status(issued.serial).state for issued in authority.of_holder(code))
        if (old, new) != (CertificateState.REVOKED, CertificateState.GOOD):
            raise RuntimeError(f"after the move of {code}, its certificates are {old.value} and {new.value}")
    return seconds
