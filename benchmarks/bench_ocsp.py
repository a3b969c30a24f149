"""The OCSP part of `kazashi bench pki`: our responder and openssl's, over HTTP with the same client."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import sqlalchemy as sa
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509 import ocsp

from benchmarks.bench_worlds import LIFE_DAYS, Progress, WorldSize, new_world, run
from benchmarks.measure import Measure, at_least, at_most
from kazashi.assembly.institutions import Institutions
from kazashi.assembly.postgresql import server
from kazashi.assembly.served import free_port
from kazashi.card.certification_request import certification_request
from kazashi.jpki.profile import CertificateType
from kazashi.pki.authority import Authority
from kazashi.pki.callers import Callers
from kazashi.pki.certificate import CertificateRequest
from kazashi.pki.responder import Responder
from kazashi.tools.daemon.services import Services
from kazashi.world.home import World
from kazashi.world.key_source import SharedKeySource

_CLIENTS = 32


@dataclass(frozen=True, slots=True)
class _Load:
    """The performance of a server under load: requests per second, the 99th percentile in milliseconds, and the number
    of responses that were cut off (openssl's sometimes are when many clients wait)."""

    rate: float
    p99: float
    broken: int


def measure_ocsp(directory: Path, keys: SharedKeySource, size: WorldSize, progress: Progress) -> Iterator[Measure]:
    """Measure requests per second and response times."""
    home = directory / "ocsp"
    world = new_world(home, keys)
    progress("issuing certificates for OCSP")
    plain, fresh = _issue_and_write_requests(directory, world, keys, size)
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
        "OCSP over HTTP, with nonces", "1/s", ours_fresh.rate, peer_fresh.rate, name,
        ours_fresh.rate / peer_fresh.rate, 1,
    )  # fmt: skip
    with server() as url:
        progress("OCSP on PostgreSQL: issuing certificates")
        world = new_world(directory / "ocsp-postgresql", keys, url)
        plain, fresh = _issue_and_write_requests(directory, world, keys, size)
        progress("OCSP on PostgreSQL: one worker, four workers")
        one = _served(directory, world, 1, fresh, size.seconds)
        four = _served(directory, world, 4, fresh, size.seconds)
        world.close()
    cores = len(os.sched_getaffinity(0))
    yield at_least(
        f"OCSP with nonces on PostgreSQL, four workers on {cores} cores", "1/s", four.rate, one.rate, "one worker",
        four.rate / one.rate, 1 + (min(cores, 4) - 1) * 0.5,
    )  # fmt: skip


def _issue_and_write_requests(
    directory: Path, world: World, keys: SharedKeySource, size: WorldSize
) -> tuple[Path, Path]:  # fmt: skip
    """Issue certificates and write two files of OCSP requests for them: one request each, and many with nonces."""
    institutions = Institutions(world)
    resident = institutions.juki_net.j_lis.identity(institutions.resident("hanako").code)
    authority, now = institutions.authorities[CertificateType.AUTHENTICATION], world.clock.now()
    request = certification_request(keys.take())
    issued = authority.issue_many(
        [CertificateRequest(resident, request, now, now + timedelta(days=LIFE_DAYS), identifier=f"{number}")
         for number in range(size.asked)]
    )  # fmt: skip
    issuer = x509.load_der_x509_certificate(authority.root())
    certificates = [x509.load_der_x509_certificate(der) for der in issued]

    def ocsp_request(certificate: x509.Certificate, nonce: bytes | None) -> bytes:
        builder = ocsp.OCSPRequestBuilder().add_certificate(certificate, issuer, hashes.SHA1())
        if nonce is not None:
            builder = builder.add_extension(x509.OCSPNonce(nonce), critical=False)
        return builder.build().public_bytes(serialization.Encoding.DER)

    plain, fresh = directory / "requests", directory / "requests-nonce"
    _write_requests(plain, [ocsp_request(certificate, None) for certificate in certificates])
    repeats = max(1, size.nonces // size.asked)
    _write_requests(fresh, [ocsp_request(certificate, os.urandom(16)) for _ in range(repeats)
                            for certificate in certificates])  # fmt: skip
    answer = Responder(authority).answer(ocsp_request(certificates[0], None))
    loaded = ocsp.load_der_ocsp_response(answer.response)
    if loaded.certificate_status is not ocsp.OCSPCertStatus.GOOD:
        raise RuntimeError("the responder does not know the certificates of the benchmark")
    return plain, fresh


def _write_requests(path: Path, requests: list[bytes]) -> None:
    assert len({len(request) for request in requests}) == 1
    path.write_bytes(len(requests[0]).to_bytes(4) + b"".join(requests))


def _load(directory: Path, port: int, path: str, requests: Path, seconds: int, key: str = "none") -> _Load:
    """Put load on a server with ocsp_load.c, the client for both servers."""
    program = directory / "ocsp_load"
    if not program.exists():
        source = Path(__file__).with_name("ocsp_load.c")
        run(directory, "gcc", "-O2", "-D_GNU_SOURCE", "-pthread", "-o", str(program), str(source))
    output = run(directory, str(program), str(port), path, key, str(requests), str(_CLIENTS), str(seconds))
    rate, p99, broken = output.split()
    return _Load(float(rate), float(p99), int(broken))


def _served(directory: Path, world: World, workers: int, requests: Path, seconds: int) -> _Load:
    key = Callers(world).register(f"load {workers} {requests.name}")
    services = Services(world, workers=workers)
    try:
        path = "/ocsp/authentication"
        _load(directory, services.port, path, requests, 1, key)  # warms up every worker
        load = _load(directory, services.port, path, requests, seconds, key)
        if load.broken:
            raise RuntimeError(f"{load.broken} of our responses were cut off")
        return load
    finally:
        services.stop()


@contextmanager
def _openssl_responder(directory: Path, world: World) -> Iterator[int]:
    """Run `openssl ocsp` with the same certificates and the same responder key; yield its port."""
    home = directory / "openssl-ocsp"
    home.mkdir()
    authority = Authority(world, CertificateType.AUTHENTICATION)
    key, certificate = authority.responder(authority.issuing())
    (home / "responder.der").write_bytes(certificate)
    (home / "key.der").write_bytes(key.pkcs8)
    (home / "root.der").write_bytes(authority.root())
    for name in ("responder", "root"):
        run(home, "openssl", "x509", "-inform", "DER", "-in", f"{name}.der", "-out", f"{name}.pem")
    run(home, "openssl", "pkey", "-inform", "DER", "-in", "key.der", "-out", "key.pem")
    with authority.ledger.store.reading() as connection, (home / "index.txt").open("w", encoding="ascii") as index:
        for serial in connection.scalars(sa.select(authority.ledger.certificate.c.serial)):
            index.write(f"V\t310101000000Z\t\t{serial:08X}\tunknown\t/C=JP/CN=holder {serial}\n")
    port = free_port()
    with (home / "log").open("wb") as log:
        process = subprocess.Popen(
            ["openssl", "ocsp", "-port", str(port), "-index", "index.txt", "-CA", "root.pem", "-rsigner",
             "responder.pem", "-rkey", "key.pem", "-nmin", "15"],
            cwd=home, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=log,
        )  # fmt: skip
    try:
        deadline = time.monotonic() + 10
        while "waiting" not in (home / "log").read_text():  # a connection without a request would end it
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"openssl ocsp did not start on port {port}: {(home / 'log').read_text()}")
            time.sleep(0.05)
        yield port
    finally:
        process.terminate()
        process.wait()
