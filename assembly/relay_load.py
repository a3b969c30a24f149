"""Load on the relay: terminals of several municipalities that request certificates at the same time."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import sqlalchemy as sa

from kazashi.assembly.errors import StepFailed
from kazashi.assembly.institutions import Institutions
from kazashi.card.certification_request import certification_request
from kazashi.card_management.relay import RelayBusy, RelayFailed
from kazashi.jpki.profile import CertificateType
from kazashi.pki.certificate import CertificateRequest
from kazashi.resident_registry.municipality import municipalities
from kazashi.resident_registry.resident import Resident, from_document
from kazashi.world.clock import WorldClock
from kazashi.world.home import open_world
from kazashi.world.key_source import KeySource, generate

_FIRST_WAIT, _LONGEST_WAIT = 0.01, 0.5
"""How long a terminal waits after the relay was busy, in seconds. The time doubles with each refusal."""


CLOCK_RATE = 600
"""How much faster than real time the clock of the world runs, so that a crash of ten minutes takes a second."""


@dataclass(frozen=True, slots=True)
class RelayLoad:
    """The result of a load.

    It has the requests that were answered, the seconds, latencies in milliseconds, refusals for a limit, other
    failures, the most sessions of one municipality at once, the limit on them, and the certificates that were issued.
    """

    requests: int
    seconds: float
    median_ms: float
    p95_ms: float
    busy: int
    failures: int
    most_sessions: int
    limit: int
    certificates: int


def relay_load(
    script: str, *, places: int, terminals: int, requests: int, keys: KeySource | None = None
) -> RelayLoad:  # fmt: skip
    """Let `terminals` in each of several municipalities send `requests` each, one after the other, in a new world that
    is deleted afterwards.

    Each terminal repeats a request until it is answered. The world's clock runs CLOCK_RATE times as fast as real time.
    The relay has the faults and limits of a script. Raises BadRelayScript, and StepFailed if a request led to more or
    less than one certificate.
    """
    with TemporaryDirectory(prefix="kazashi-relay-") as name:
        institutions = Institutions(open_world(Path(name) / "world", keys=keys))
        institutions.cards.relay.set_script(script)
        terminal_count = places * terminals
        clock = institutions.world.clock
        assert isinstance(clock, WorldClock)
        opened = clock.now()
        residents = _residents(institutions, places)
        authority = institutions.authorities[CertificateType.AUTHENTICATION]
        authority.issuing()
        csr = certification_request(keys.take() if keys else generate())
        counts: Counter[str] = Counter()
        latencies: list[float] = []
        lock, start = threading.Lock(), threading.Barrier(terminal_count + 1)

        def terminal(number: int) -> None:
            now = institutions.world.clock.now()
            resident = residents[number % places]
            start.wait()
            for place in range(requests):
                request = CertificateRequest(
                    resident, csr, now, now + timedelta(days=1825), identifier=f"terminal {number} request {place}"
                )
                begun, (busy, failed) = time.perf_counter(), _sent(institutions, request)
                taken = (time.perf_counter() - begun) * 1000
                with lock:
                    latencies.append(taken)
                    counts.update(busy=busy, failed=failed)

        threads = [threading.Thread(target=terminal, args=(number,)) for number in range(terminal_count)]
        for thread in threads:
            thread.start()
        start.wait()
        begun = time.perf_counter()
        while any(thread.is_alive() for thread in threads):
            elapsed = timedelta(seconds=time.perf_counter() - begun)
            clock.stand(opened + elapsed * CLOCK_RATE)
            time.sleep(0.05)
        seconds = time.perf_counter() - begun
        with authority.ledger.store.reading() as connection:
            table = authority.ledger.certificate
            issued = connection.scalar(sa.select(sa.func.count()).select_from(table)) or 0
            distinct = connection.scalar(sa.select(sa.func.count(sa.distinct(table.c.request)))) or 0
        relay = institutions.cards.relay
        limit, most = relay.plan().each, max(relay.sessions.most.values())
        institutions.world.close()
    if not issued == distinct == len(latencies) == terminal_count * requests:
        raise StepFailed(f"{len(latencies)} requests led to {issued} certificates")
    return RelayLoad(
        len(latencies), seconds, _quantile(latencies, 0.5), _quantile(latencies, 0.95), counts["busy"],
        counts["failed"], most, limit, issued,
    )  # fmt: skip


def _sent(institutions: Institutions, request: CertificateRequest) -> tuple[int, int]:
    """Send a request until it is answered; return how often the relay was busy, and how often it failed."""
    busy, failed, wait = 0, 0, _FIRST_WAIT
    while True:
        try:
            institutions.cards.relay.send(CertificateType.AUTHENTICATION, request)
            return busy, failed
        except RelayBusy:
            busy += 1
        except RelayFailed:
            failed += 1
        time.sleep(wait)
        wait = min(wait * 2, _LONGEST_WAIT)


def _residents(institutions: Institutions, places: int) -> Sequence[Resident]:
    """Register one resident in each of several municipalities, and return them."""
    codes = list(municipalities())[:places]
    for code in codes:
        document = {"alias": f"p{code}", "family": "番号", "birth": "1988-04-17", "sex": "0", "municipality": code,
                    "street": "架空町１"}  # fmt: skip
        institutions.registry.add(from_document(document))
    institutions.juki_net.deliver()
    return [institutions.juki_net.j_lis.identity(institutions.registry.find(f"p{code}").code) for code in codes]


def _quantile(values: Sequence[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]
