"""`kazashi bench pki`: revocation lists, OCSP, issuance and the registry, compared with openssl and with goals."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from datetime import timedelta
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from benchmarks.bench_card_management import measure_card_management
from benchmarks.bench_ocsp import measure_ocsp
from benchmarks.bench_registry import measure_registry
from benchmarks.bench_worlds import LIFE_DAYS, MORNING, Progress, WorldSize, new_world, run, stand
from benchmarks.measure import Measure, at_least, at_most, peak_megabytes
from kazashi.assembly.institutions import Institutions
from kazashi.card.certification_request import certification_request
from kazashi.jpki.profile import CertificateType
from kazashi.pki.authority import Authority
from kazashi.pki.certificate import CertificateRequest
from kazashi.pki.publication import Publication
from kazashi.resident_registry.municipality import municipalities
from kazashi.world.clock import epoch
from kazashi.world.home import open_world
from kazashi.world.key_source import SharedKeySource, generate

_SERIAL = 0x70010000


def measure(progress: Progress = lambda _: None, size: WorldSize | None = None) -> list[Measure]:
    """Run every benchmark of the authorities and the registry, in new worlds."""
    size = size or WorldSize()
    with tempfile.TemporaryDirectory(prefix="kazashi-bench-") as name:
        directory = Path(name)
        keys = SharedKeySource([generate() for _ in range(8)])
        return [
            *_one_list(directory, keys, size, progress),
            *_nightly(directory, keys, size, progress),
            *_issuance(directory, keys, size, progress),
            *measure_ocsp(directory, keys, size, progress),
            *measure_registry(directory, keys, size, progress),
            *measure_card_management(directory, keys, size, progress),
        ]


# Revocation lists


def _one_list(directory: Path, keys: SharedKeySource, size: WorldSize, progress: Progress) -> Iterator[Measure]:
    count = size.entries
    progress(f"one list of {count:,} entries")
    home = directory / "list"
    world = new_world(home, keys)
    _fill(Authority(world, CertificateType.SIGNATURE), count, ["13113"], lists=False)
    _fill(Authority(world, CertificateType.AUTHENTICATION), 0, ["13113"], lists=False)
    world.close()
    whole, memory = _in_a_process(_publish, home)
    progress("the day after")
    world = new_world(home, keys)
    _day_passes(Authority(world, CertificateType.SIGNATURE), count, max(1, count // 1000), ["13113"])
    stand(world, days=1)
    world.close()
    daily, memory_daily = _in_a_process(_publish, home)
    progress("the same entries by openssl")
    peer = _openssl_list(directory, count)
    what = f"list of {count:,} entries"
    name = "openssl ca -gencrl over the same entries"
    yield at_least(f"{what}, built from the store", "s", whole, peer, name, peer / whole, 8)
    yield at_least(f"{what}, updated by a day's changes", "s", daily, peer, name, peer / daily, 20)
    peak = max(memory, memory_daily)
    yield at_most(f"{what}, memory", "MB", peak, 500, "the goal", peak / 500, 1)


def _nightly(directory: Path, keys: SharedKeySource, size: WorldSize, progress: Progress) -> Iterator[Measure]:
    places = list(municipalities())[: size.partitions]
    seconds: dict[int, tuple[float, float]] = {}
    for count in (size.revocations // 10, size.revocations):
        home = directory / f"nightly-{count}"
        progress(f"{count:,} revocations in {len(places):,} partitions of both authorities: filling the stores")
        world = new_world(home, keys)
        for kind in CertificateType:
            _fill(Authority(world, kind), count // 2, places, lists=True)
        world.close()
        progress(f"{count:,} revocations: building every list from the store")
        whole, _ = _in_a_process(_publish, home)
        world = new_world(home, keys)
        for kind in CertificateType:
            _day_passes(Authority(world, kind), count // 2, max(1, count // 2000), places)
        stand(world, days=1)
        world.close()
        progress(f"{count:,} revocations: the nightly batch")
        nightly, _ = _in_a_process(_publish, home)
        seconds[count] = (whole, nightly)
    whole, nightly = seconds[size.revocations]
    what = f"{2 * len(places):,} partitions, {size.revocations:,} revocations"
    yield at_most(f"{what}: nightly batch", "s", nightly, 60, "the goal", nightly / 60, 1)
    yield at_most(f"{what}: every list built from the store", "s", whole, 60, "the goal", whole / 60, 1)
    tenfold = seconds[size.revocations // 10][1] * 10
    yield at_most(f"{what}: linear cost", "s", nightly, tenfold, "ten times a tenth's", nightly / tenfold, 1)


def _fill(authority: Authority, count: int, places: list[Any], *, lists: bool) -> None:
    """Insert revocations into the authority's store by SQL; a million through its API would take half an hour."""
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
                (count, generation, _SERIAL, len(places), now, now, LIFE_DAYS, now - 86400),
            )
            ledger.count(connection, "position", count, 1)
        if lists:
            ledger.ensure_lists(connection, {(generation, str(code)) for code in places})
        connection.exec_driver_sql("DROP TABLE place")


def _day_passes(authority: Authority, base: int, count: int, places: list[Any]) -> None:
    """Insert the revocations of one more day."""
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
    """Make every list that is due; return the seconds and the peak size of the process in megabytes."""
    world = open_world(home)
    publications = [Publication(Authority(world, kind)) for kind in CertificateType]
    municipalities()
    begun = time.perf_counter()
    for publication in publications:
        publication.publish()
    seconds = time.perf_counter() - begun
    world.close()
    return seconds, peak_megabytes()


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
    run(home, "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "key.pem", "-out",
         "certificate.pem", "-subj", "/C=JP/O=Peer", "-days", "100")  # fmt: skip
    begun = time.perf_counter()
    run(home, "openssl", "ca", "-gencrl", "-config", "ca.cnf", "-out", "list.pem")
    return time.perf_counter() - begun


# Issuance


def _issuance(directory: Path, keys: SharedKeySource, size: WorldSize, progress: Progress) -> Iterator[Measure]:
    progress("issuing certificates for given keys")
    institutions = Institutions(new_world(directory / "issuance", keys))
    resident = institutions.juki_net.j_lis.identity(institutions.resident("hanako").code)
    authority, now = institutions.authorities[CertificateType.AUTHENTICATION], institutions.world.clock.now()
    authority.issuing()
    request = certification_request(keys.take())
    batches = [
        [CertificateRequest(resident, request, now, now + timedelta(days=LIFE_DAYS), identifier=f"{start + place}")
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
        "certificates issued, 100 per commit",
        "1/s",
        rate,
        bare,
        "bare RSA-2048 signatures on one core",
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
