"""`kazashi bench pki`: lists, OCSP, issuance and the registry, beside openssl and the goals."""

from __future__ import annotations

import os
import resource
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Any

import sqlalchemy as sa
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509 import ocsp

from card.certification_request import certification_request
from pki.authority import Authority
from pki.callers import Callers
from pki.certificate import Request
from pki.profile import Kind
from pki.publication import Publication
from pki.responder import GRID, Responder
from resident_registry.event import MoveWithin
from resident_registry.municipality import municipalities
from tools.institutions import Institutions
from tools.measure import Measure, at_least, at_most
from tools.postgresql import server
from tools.services import Services, free_port
from world.clock import WorldClock, epoch, from_epoch, instant_of
from world.home import World, open_world
from world.key_source import SharedKeySource, generate
from world.settings import Settings

MORNING = instant_of("2026-11-24T10:00+09:00")
_LIFE_DAYS = 1825
_SERIAL = 0x70010000
_SECONDS_OF_LOAD = 6
_CLIENTS = 32

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Size:
    """How much is measured: entries of the one list, revocations of the nightly batch, residents, certificates issued,
    certificates asked about, seconds of load."""

    entries: int = 1_000_000
    revocations: int = 10_000_000
    residents: int = 1_000_000
    issued: int = 3000
    asked: int = 2000
    seconds: int = _SECONDS_OF_LOAD


def measure(progress: Progress = lambda _: None, size: Size | None = None) -> list[Measure]:
    """Every measure of the authorities and the registry, in worlds of their own."""
    size = size or Size()
    with tempfile.TemporaryDirectory(prefix="kazashi-bench-") as name:
        directory = Path(name)
        keys = SharedKeySource([generate() for _ in range(8)])
        return [
            *_one_list(directory, keys, size, progress),
            *_nightly(directory, keys, size, progress),
            *_issuance(directory, keys, size, progress),
            *_ocsp(directory, keys, size, progress),
            *_registry(directory, keys, size, progress),
        ]


def _world(directory: Path, keys: SharedKeySource, storage: str = "") -> World:
    world = open_world(directory, settings=Settings("bench", storage), keys=keys)
    clock = world.clock
    assert isinstance(clock, WorldClock)
    clock.stand(MORNING)
    return world


def _stand(world: World, **span: float) -> None:
    clock = world.clock
    assert isinstance(clock, WorldClock)
    clock.stand(clock.now() + timedelta(**span))


# Revocation lists


def _one_list(directory: Path, keys: SharedKeySource, size: Size, progress: Progress) -> Iterator[Measure]:
    count = size.entries
    progress(f"one list of {count:,} entries")
    home = directory / "list"
    world = _world(home, keys)
    _fill(Authority(world, Kind.SIGNATURE), count, ["13113"], lists=False)
    _fill(Authority(world, Kind.AUTHENTICATION), 0, ["13113"], lists=False)
    world.close()
    whole, memory = _in_a_process(_publish, home)
    progress("the day after")
    world = _world(home, keys)
    _day_passes(Authority(world, Kind.SIGNATURE), count, max(1, count // 1000), ["13113"])
    _stand(world, days=1)
    world.close()
    daily, memory_daily = _in_a_process(_publish, home)
    progress("the same entries by openssl")
    peer = _openssl_list(directory, count)
    what = f"list of {count:,} entries"
    name = "openssl ca -gencrl over the same entries"
    yield at_least(f"{what}, whole from the store", "s", whole, peer, name, peer / whole, 8)
    yield at_least(f"{what}, a day's changes applied", "s", daily, peer, name, peer / daily, 20)
    peak = max(memory, memory_daily)
    yield at_most(f"{what}, memory", "MB", peak, 500, "the goal", peak / 500, 1)


def _nightly(directory: Path, keys: SharedKeySource, size: Size, progress: Progress) -> Iterator[Measure]:
    places = list(municipalities())
    seconds: dict[int, tuple[float, float]] = {}
    for count in (size.revocations // 10, size.revocations):
        home = directory / f"nightly-{count}"
        progress(f"{count:,} revocations in {len(places):,} partitions of both authorities: filling the stores")
        world = _world(home, keys)
        for kind in Kind:
            _fill(Authority(world, kind), count // 2, places, lists=True)
        world.close()
        progress(f"{count:,} revocations: every list whole from the store")
        whole, _ = _in_a_process(_publish, home)
        world = _world(home, keys)
        for kind in Kind:
            _day_passes(Authority(world, kind), count // 2, max(1, count // 2000), places)
        _stand(world, days=1)
        world.close()
        progress(f"{count:,} revocations: the nightly batch")
        nightly, _ = _in_a_process(_publish, home)
        seconds[count] = (whole, nightly)
    whole, nightly = seconds[size.revocations]
    what = f"{2 * len(places):,} partitions, {size.revocations:,} revocations"
    yield at_most(f"{what}: nightly batch", "s", nightly, 60, "the goal", nightly / 60, 1)
    yield at_most(f"{what}: every list whole", "s", whole, 60, "the goal", whole / 60, 1)
    small = seconds[size.revocations // 10][1]
    yield at_most(
        f"{what}: nightly batch",
        "s",
        nightly,
        small * 10,
        "ten times that of a tenth (linear)",
        nightly / small / 10,
        1,
    )


def _fill(authority: Authority, count: int, places: list[Any], *, lists: bool) -> None:
    """Revocations in the authority's store, made by SQL: a million through its commands would take half an hour."""
    ledger, generation = authority.ledger, authority.issuing().name
    now = epoch(authority.world.clock.now())
    with ledger.store.transaction() as connection:
        connection.exec_driver_sql("CREATE TEMP TABLE place (number INTEGER PRIMARY KEY, code TEXT)")
        connection.exec_driver_sql("INSERT INTO place VALUES (?, ?)", list(enumerate(places)))
        if count:
            connection.exec_driver_sql(
                "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)"
                " INSERT INTO revocation (generation, position, serial, partition, at, reason, expires, recorded_at)"
                " SELECT ?, i, ? + i, (SELECT code FROM place WHERE number = i % ?), ? - i % 31536000,"
                " CASE i % 3 WHEN 0 THEN 5 ELSE 3 END, ? + 86400 * (i % ?) + 3600, ? FROM n",
                (count, generation, _SERIAL, len(places), now, now, _LIFE_DAYS, now - 86400),
            )
            ledger.count(connection, "position", count, 1)
        if lists:
            ledger.ensure_lists(connection, {(generation, str(code)) for code in places})
        connection.exec_driver_sql("DROP TABLE place")


def _day_passes(authority: Authority, base: int, count: int, places: list[Any]) -> None:
    """A day's revocations more."""
    ledger, generation = authority.ledger, authority.issuing().name
    now = epoch(authority.world.clock.now())
    rows = [
        {"generation": generation, "position": base + number, "serial": _SERIAL + base + number,
         "partition": places[number % len(places)], "at": now, "reason": 3, "expires": now + 86400 * 1000,
         "recorded_at": now}
        for number in range(1, count + 1)
    ]  # fmt: skip
    with ledger.store.transaction() as connection:
        ledger.count(connection, "position", count, 1)
        connection.execute(sa.insert(ledger.revocation), rows)


def _publish(home: Path) -> tuple[float, float]:
    """Make every list that is due; answers the seconds that it took and the process's greatest size in megabytes."""
    world = open_world(home)
    publications = [Publication(Authority(world, kind)) for kind in Kind]
    municipalities()
    begun = time.perf_counter()
    for publication in publications:
        publication.publish()
    seconds = time.perf_counter() - begun
    world.close()
    return seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _in_a_process(action: Callable[[Path], tuple[float, float]], home: Path) -> tuple[float, float]:
    with ProcessPoolExecutor(1, get_context("spawn")) as process:
        return process.submit(action, home).result()


_OPENSSL_CA = """\
[ca]
default_ca = peer
[peer]
database = index.txt
crlnumber = number
private_key = key.pem
certificate = certificate.pem
default_md = sha256
default_crl_days = 2
crl_extensions = extensions
[extensions]
authorityKeyIdentifier = keyid
"""


def _openssl_list(directory: Path, count: int) -> float:
    home = directory / "openssl-ca"
    home.mkdir()
    (home / "ca.cnf").write_text(_OPENSSL_CA, encoding="ascii")
    (home / "number").write_text("01\n", encoding="ascii")
    with (home / "index.txt").open("w", encoding="ascii") as index:
        for number in range(1, count + 1):
            at = MORNING - timedelta(seconds=number % 31536000)
            index.write(
                f"R\t310101000000Z\t{at:%y%m%d%H%M%S}Z,affiliationChanged\t{_SERIAL + number:08X}\tunknown"
                f"\t/C=JP/CN=holder {number}\n"
            )
    _run(home, "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "key.pem", "-out",
         "certificate.pem", "-subj", "/C=JP/O=Peer", "-days", "100")  # fmt: skip
    begun = time.perf_counter()
    _run(home, "openssl", "ca", "-gencrl", "-config", "ca.cnf", "-out", "list.pem")
    return time.perf_counter() - begun


# Issuance


def _issuance(directory: Path, keys: SharedKeySource, size: Size, progress: Progress) -> Iterator[Measure]:
    progress("issuing certificates, keys given")
    institutions = Institutions(_world(directory / "issuance", keys))
    resident = institutions.juki_net.j_lis.identity(institutions.resident("hanako").code)
    authority, now = institutions.authorities[Kind.AUTHENTICATION], institutions.world.clock.now()
    authority.issuing()
    request = certification_request(keys.take())
    batches = [
        [Request(resident, request, now, now + timedelta(days=_LIFE_DAYS), identifier=f"{start + place}")
         for place in range(100)]
        for start in range(0, size.issued, 100)
    ]  # fmt: skip
    bare = _bare_rate(500)
    begun = time.perf_counter()
    for batch in batches:
        authority.issue_many(batch)
    rate = len(batches) * 100 / (time.perf_counter() - begun)
    bare = (bare + _bare_rate(500)) / 2
    institutions.world.close()
    yield at_least(
        "certificates issued, committed by hundreds",
        "1/s",
        rate,
        bare,
        "bare RSA-2048 signatures of a core",
        rate / bare,
        0.5,
    )


def _bare_rate(count: int) -> float:
    key = serialization.load_der_private_key(generate(), None)
    assert isinstance(key, rsa.RSAPrivateKey)
    begun = time.perf_counter()
    for _ in range(count):
        key.sign(b"kazashi", padding.PKCS1v15(), hashes.SHA256())
    return count / (time.perf_counter() - begun)


# OCSP


@dataclass(frozen=True, slots=True)
class _Load:
    """What a server did under load: requests a second, and the 99th percentile in milliseconds."""

    rate: float
    p99: float


def _ocsp(directory: Path, keys: SharedKeySource, size: Size, progress: Progress) -> Iterator[Measure]:
    home = directory / "ocsp"
    world = _world(home, keys)
    progress("issuing what OCSP is asked about")
    plain, fresh = _asked_about(directory, world, keys, size)
    progress("OCSP: openssl ocsp")
    with _openssl_responder(directory, world) as port:
        peer = _load(directory, port, "/", plain, size.seconds)
        peer_fresh = _load(directory, port, "/", fresh, size.seconds)
    progress("OCSP: ours")
    ours, ours_fresh = (_served(directory, world, 1, requests, size.seconds) for requests in (plain, fresh))
    world.close()
    name = "openssl ocsp, same client"
    yield at_least("OCSP over HTTP", "1/s", ours.rate, peer.rate, name, ours.rate / peer.rate, 2)
    yield at_most("OCSP over HTTP, p99", "ms", ours.p99, 50, "the goal", ours.p99 / 50, 1)
    yield at_least(
        "OCSP over HTTP, each with a nonce of its own", "1/s", ours_fresh.rate, peer_fresh.rate, name,
        ours_fresh.rate / peer_fresh.rate, 1,
    )  # fmt: skip
    with server(directory / "postgresql") as url:
        progress("OCSP on PostgreSQL: issuing what is asked about")
        world = _world(directory / "ocsp-postgresql", keys, url)
        plain, fresh = _asked_about(directory, world, keys, size)
        progress("OCSP on PostgreSQL: one worker, four workers")
        one = _served(directory, world, 1, fresh, size.seconds)
        four = _served(directory, world, 4, fresh, size.seconds)
        world.close()
    cores = len(os.sched_getaffinity(0))
    yield at_least(
        f"OCSP with nonces on PostgreSQL, four workers on {cores} cores", "1/s", four.rate, one.rate, "one worker",
        four.rate / one.rate, 1 + (min(cores, 4) - 1) * 0.5,
    )  # fmt: skip


def _asked_about(directory: Path, world: World, keys: SharedKeySource, size: Size) -> tuple[Path, Path]:
    """Certificates, and two files of requests about them: one request for each, and many with nonces."""
    institutions = Institutions(world)
    resident = institutions.juki_net.j_lis.identity(institutions.resident("hanako").code)
    authority, now = institutions.authorities[Kind.AUTHENTICATION], world.clock.now()
    request = certification_request(keys.take())
    issued = authority.issue_many(
        [Request(resident, request, now, now + timedelta(days=_LIFE_DAYS), identifier=f"{number}")
         for number in range(size.asked)]
    )  # fmt: skip
    issuer = x509.load_der_x509_certificate(authority.root())
    certificates = [x509.load_der_x509_certificate(found) for found in issued]

    def asked(certificate: x509.Certificate, nonce: bytes | None) -> bytes:
        builder = ocsp.OCSPRequestBuilder().add_certificate(certificate, issuer, hashes.SHA1())
        if nonce is not None:
            builder = builder.add_extension(x509.OCSPNonce(nonce), critical=False)
        return builder.build().public_bytes(serialization.Encoding.DER)

    plain, fresh = directory / "requests", directory / "requests-nonce"
    _write_requests(plain, [asked(found, None) for found in certificates])
    repeats = max(1, 20_000 // size.asked)
    _write_requests(fresh, [asked(found, os.urandom(16)) for _ in range(repeats) for found in certificates])
    answer = Responder(authority).answer(asked(certificates[0], None))
    loaded = ocsp.load_der_ocsp_response(answer.response)
    if loaded.certificate_status is not ocsp.OCSPCertStatus.GOOD:
        raise RuntimeError("the responder does not know the certificates that it is to be measured with")
    return plain, fresh


def _write_requests(path: Path, requests: list[bytes]) -> None:
    assert len({len(request) for request in requests}) == 1
    path.write_bytes(len(requests[0]).to_bytes(4) + b"".join(requests))


def _load(directory: Path, port: int, path: str, requests: Path, seconds: int, key: str = "none") -> _Load:
    """The same client for every server: see ocsp_load.c."""
    program = directory / "ocsp_load"
    if not program.exists():
        source = Path(__file__).with_name("ocsp_load.c")
        _run(directory, "gcc", "-O2", "-D_GNU_SOURCE", "-pthread", "-o", str(program), str(source))
    said = _run(directory, str(program), str(port), path, key, str(requests), str(_CLIENTS), str(seconds))
    rate, p99 = said.split()
    return _Load(float(rate), float(p99))


def _served(directory: Path, world: World, workers: int, requests: Path, seconds: int) -> _Load:
    key = Callers(world).register(f"load {workers} {requests.name}")
    services = Services(world, workers=workers)
    try:
        path = "/ocsp/authentication"
        _load(directory, services.port, path, requests, 1, key)  # every worker has what it needs from here on
        return _load(directory, services.port, path, requests, seconds, key)
    finally:
        services.stop()


@contextmanager
def _openssl_responder(directory: Path, world: World) -> Iterator[int]:
    """`openssl ocsp` with the same certificates and the same responder's key."""
    home = directory / "openssl-ocsp"
    home.mkdir()
    authority = Authority(world, Kind.AUTHENTICATION)
    key, certificate = authority.responder(authority.issuing())
    (home / "responder.der").write_bytes(certificate)
    (home / "key.der").write_bytes(key.pkcs8)
    (home / "root.der").write_bytes(authority.root())
    for name in ("responder", "root"):
        _run(home, "openssl", "x509", "-inform", "DER", "-in", f"{name}.der", "-out", f"{name}.pem")
    _run(home, "openssl", "pkey", "-inform", "DER", "-in", "key.der", "-out", "key.pem")
    with authority.ledger.store.reading() as connection, (home / "index.txt").open("w", encoding="ascii") as index:
        for serial in connection.scalars(sa.select(authority.ledger.certificate.c.serial)):
            index.write(f"V\t310101000000Z\t\t{serial:08X}\tunknown\t/C=JP/CN=holder {serial}\n")
    port = free_port()
    process = subprocess.Popen(
        ["openssl", "ocsp", "-port", str(port), "-index", "index.txt", "-CA", "root.pem", "-rsigner", "responder.pem",
         "-rkey", "key.pem", "-nmin", "15"],
        cwd=home, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=(home / "log").open("wb"),
    )  # fmt: skip
    try:
        deadline = time.monotonic() + 10
        while "waiting" not in (home / "log").read_text():  # a connection that asks nothing would end it
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"openssl ocsp did not start on port {port}: {(home / 'log').read_text()}")
            time.sleep(0.05)
        yield port
    finally:
        process.terminate()
        process.wait()


# The registry


def _registry(directory: Path, keys: SharedKeySource, size: Size, progress: Progress) -> Iterator[Measure]:
    small = Institutions(_world(directory / "village", keys))
    small.registry.import_people(_people(1000))
    small.settle()
    institutions = Institutions(_world(directory / "country", keys))
    progress(f"loading {size.residents:,} residents")
    begun = time.perf_counter()
    institutions.registry.import_people(_people(size.residents))
    loaded = time.perf_counter() - begun
    progress(f"{size.residents:,} residents over Juki-Net, and their numbers back")
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
    among_few, among_many = _event_ms(small), _event_ms(institutions)
    yield at_most(
        f"an event among {size.residents:,} residents",
        "ms",
        among_many,
        among_few,
        "among 1,000",
        among_many / among_few,
        1.5,
    )
    progress("from an event to its answer")
    seconds, after = _event_to_answer(institutions)
    grid = GRID.total_seconds()
    yield at_most(
        "a move to its OCSP answer, in the world's time", "s", after, grid, "one step of the grid", after / grid, 1
    )
    yield at_most("a move to its OCSP answer, work in between", "s", seconds, 1, "a second", seconds, 1)
    for found in (small, institutions):
        found.world.close()


def _people(count: int) -> Iterator[tuple[int, dict[str, Any]]]:
    places = list(municipalities())
    for number in range(count):
        yield number + 1, {
            "alias": f"p{number}", "family": "番号", "given": "太郎",
            "birth": f"{1930 + number % 90}-{1 + number % 12:02d}-{1 + number % 28:02d}", "sex": str(1 + number % 2),
            "municipality": places[number * len(places) // count], "street": "架空町９丁目９番９号",
        }  # fmt: skip


def _event_ms(institutions: Institutions, count: int = 200) -> float:
    """The median time in which an event is recorded and everywhere, in milliseconds."""
    taken = []
    for number in range(count):
        begun = time.perf_counter()
        institutions.registry.record(f"p{number}", MoveWithin(f"架空町{number}番地"))
        institutions.juki_net.deliver()
        taken.append((time.perf_counter() - begun) * 1000)
    return median(taken)


def _event_to_answer(institutions: Institutions) -> tuple[float, float]:
    """From recording a move to OCSP's word that the signature certificate is revoked: the seconds of work, and the
    seconds that pass in the world."""
    institutions.issue_card("mover", "p0")
    authority = institutions.authorities[Kind.SIGNATURE]
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
    mark = from_epoch((epoch(moved) // int(GRID.total_seconds()) + 1) * int(GRID.total_seconds()))
    institutions.advance(mark)
    begun = time.perf_counter()
    answer = responder.answer(request)
    worked += time.perf_counter() - begun
    if answer.asked[0].said != "affiliationChanged":
        raise RuntimeError(f"OCSP says {answer.asked[0].said} after the move")
    return worked, (mark - moved).total_seconds()


def _run(directory: Path, *command: str) -> str:
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False, timeout=300)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} exited with {done.returncode}: {done.stderr.strip()}")
    return done.stdout
