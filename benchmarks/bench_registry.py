"""The registry part of `kazashi bench pki`: loading residents, and the time from an event to its OCSP response."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509 import ocsp

from benchmarks.bench_worlds import Progress, WorldSize, new_world
from benchmarks.measure import Measure, at_most
from kazashi.assembly.institutions import Institutions
from kazashi.jpki.profile import CertificateType
from kazashi.pki.responder import GRID, Responder
from kazashi.resident_registry.event import MoveWithin
from kazashi.resident_registry.municipality import municipalities
from kazashi.world.clock import epoch, from_epoch
from kazashi.world.key_source import SharedKeySource


def measure_registry(directory: Path, keys: SharedKeySource, size: WorldSize, progress: Progress) -> Iterator[Measure]:
    """Measure loading, events, and the time from a move to the OCSP response that shows it."""
    small = Institutions(new_world(directory / "village", keys))
    small.registry.import_people(people(1000))
    small.settle()
    institutions = Institutions(new_world(directory / "country", keys))
    progress(f"loading {size.residents:,} residents")
    begun = time.perf_counter()
    institutions.registry.import_people(people(size.residents))
    loaded = time.perf_counter() - begun
    progress(f"{size.residents:,} residents to Juki-Net and back with their numbers")
    institutions.settle()
    total = time.perf_counter() - begun
    yield at_most(f"{size.residents:,} residents loaded", "s", loaded, 120, "the goal", loaded / 120, 1)
    yield at_most(
        f"{size.residents:,} residents loaded, known to J-LIS, and numbered",
        "s",
        total,
        120,
        "the goal",
        total / 120,
        1,
    )
    progress("events among few and among many")
    among_few, among_many = (_event_ms(world, size.events) for world in (small, institutions))
    yield at_most(
        f"an event among {size.residents:,} residents",
        "ms",
        among_many,
        among_few,
        "among 1,000",
        among_many / among_few,
        1.5,
    )
    progress("from an event to its OCSP response")
    seconds, after = _event_to_answer(institutions)
    grid = GRID.total_seconds()
    yield at_most(
        "move to OCSP response, in the world's time", "s", after, grid, "the refresh interval", after / grid, 1
    )
    yield at_most("move to OCSP response, processing time", "s", seconds, 1, "a second", seconds, 1)
    for closing in (small, institutions):
        closing.world.close()


def people(count: int) -> Iterator[tuple[int, dict[str, Any]]]:
    """People to import, each as a line number and a document."""
    places = list(municipalities())
    for number in range(count):
        yield number + 1, {
            "alias": f"p{number}", "family": "番号", "given": "太郎",
            "birth": f"{1930 + number % 90}-{1 + number % 12:02d}-{1 + number % 28:02d}", "sex": str(1 + number % 2),
            "municipality": places[number * len(places) // count], "street": "架空町９丁目９番９号",
        }  # fmt: skip


def _event_ms(institutions: Institutions, count: int) -> float:
    """Return the median time in milliseconds to record an event and deliver it everywhere."""
    taken = []
    for number in range(count):
        begun = time.perf_counter()
        institutions.registry.record(f"p{number}", MoveWithin(f"架空町{number}番地"))
        institutions.juki_net.deliver()
        taken.append((time.perf_counter() - begun) * 1000)
    return median(taken)


def _event_to_answer(institutions: Institutions) -> tuple[float, float]:
    """Measure from recording a move to the OCSP response that the signature certificate is revoked.

    Returns the seconds of work and the seconds that pass in the world. Raises RuntimeError if the response has another
    status.
    """
    institutions.issue_card("mover", "p0")
    authority = institutions.authorities[CertificateType.SIGNATURE]
    certificate = authority.of_holder(institutions.registry.find("p0").code)[-1]
    request = (
        ocsp.OCSPRequestBuilder()
        .add_certificate(
            x509.load_der_x509_certificate(certificate.certificate), x509.load_der_x509_certificate(authority.root()),
            hashes.SHA256(),
        )
        .build()
        .public_bytes(serialization.Encoding.DER)
    )  # fmt: skip
    responder, world = Responder(authority), institutions.world
    moved = world.clock.now()
    begun = time.perf_counter()
    institutions.registry.record("p0", MoveWithin("架空町の彼方"))
    institutions.settle()
    worked = time.perf_counter() - begun
    next_update = from_epoch((epoch(moved) // int(GRID.total_seconds()) + 1) * int(GRID.total_seconds()))
    institutions.advance(next_update)
    begun = time.perf_counter()
    answer = responder.answer(request)
    worked += time.perf_counter() - begun
    if answer.asked[0].said != "affiliationChanged":
        raise RuntimeError(f"the OCSP status after the move is {answer.asked[0].said}, not affiliationChanged")
    return worked, (next_update - moved).total_seconds()
