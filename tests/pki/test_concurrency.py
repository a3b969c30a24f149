"""Several processes on one PostgreSQL database at once: issuing, revoking and responding."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509 import ocsp

from kazashi.assembly.institutions import Institutions
from kazashi.card.certification_request import certification_request
from kazashi.jpki.state import Reason, TransitionRejected
from kazashi.pki.authority import FIRST_SERIAL
from kazashi.pki.callers import Callers, Query
from kazashi.pki.certificate import CertificateRequest
from kazashi.pki.responder import Responder
from kazashi.world.home import World, open_world
from kazashi.world.key_source import SharedKeySource
from tests.town import AUTHENTICATION, fresh_database, later, new_institutions

pytestmark = pytest.mark.load

ROUNDS = 25


@pytest.fixture(scope="module")
def shared(postgresql: str, tmp_path_factory: pytest.TempPathFactory, keys: SharedKeySource) -> Iterator[Path]:
    """A world on PostgreSQL with one resident and one certificate, and the key that all requests are for."""
    home = tmp_path_factory.mktemp("concurrency") / "w"
    with fresh_database(postgresql) as url:
        institutions = new_institutions(home, keys, url)
        (home / "key").write_bytes(keys.take())
        # The revoking processes have a certificate to revoke even if the issuing ones start late.
        request, now = certification_request((home / "key").read_bytes()), institutions.world.clock.now()
        resident = institutions.resident("hanako")
        institutions.authorities[AUTHENTICATION].issue(
            CertificateRequest(resident, request, now, now + timedelta(days=1000))
        )
        institutions.world.close()
        yield home


def opened(home: Path) -> tuple[Institutions, World]:
    world = open_world(home)
    return Institutions(world), world


def issue(home: Path, worker: int) -> list[int]:
    """Issue certificates: half of the requests have identifiers of this worker, half are sent by all workers."""
    institutions, world = opened(home)
    authority = institutions.authorities[AUTHENTICATION]
    resident = institutions.juki_net.j_lis.identity(institutions.registry.find("hanako").code)
    request = certification_request((home / "key").read_bytes())
    now = world.clock.now()
    serials = []
    for number in range(ROUNDS):
        for name in (f"worker {worker} request {number}", f"everybody's request {number}"):
            message = CertificateRequest(resident, request, now, now + timedelta(days=1000), identifier=name)
            serials.append(x509.load_der_x509_certificate(authority.issue(message)).serial_number)
    world.close()
    return serials


def revoke(home: Path, worker: int) -> list[int]:
    """Revoke certificates as they are issued. All workers try the same ones."""
    institutions, world = opened(home)
    authority, revocations = institutions.authorities[AUTHENTICATION], institutions.revocations[AUTHENTICATION]
    code, done = institutions.registry.find("hanako").code, set[int]()
    for _ in range(ROUNDS * 4):
        for issued in authority.of_holder(code)[::3]:
            try:
                revocations.revoke(issued.serial, Reason.KEY_COMPROMISE, f"worker {worker}")
                done.add(issued.serial)
            except TransitionRejected:
                continue
    world.close()
    return sorted(done)


def answer(home: Path, worker: int) -> list[int]:
    """Respond to OCSP requests and log them."""
    institutions, world = opened(home)
    authority, callers = institutions.authorities[AUTHENTICATION], Callers(world)
    responder, root = Responder(authority), x509.load_der_x509_certificate(authority.root())
    for number in range(ROUNDS * 4):
        builder = ocsp.OCSPRequestBuilder().add_certificate_by_hash(
            *hashed(root), FIRST_SERIAL + 1 + number % 10, hashes.SHA1()
        )
        nonce = x509.OCSPNonce(f"{worker} {number}".encode())
        request = builder.add_extension(nonce, critical=False).build().public_bytes(serialization.Encoding.DER)
        response = responder.answer(request)
        loaded = ocsp.load_der_ocsp_response(response.response)
        assert loaded.response_status is ocsp.OCSPResponseStatus.SUCCESSFUL
        assert loaded.extensions.get_extension_for_class(x509.OCSPNonce).value == nonce
        callers.log([Query(world.clock.now(), f"worker {worker}", "ocsp", AUTHENTICATION, entry.serial, entry.said)
                     for entry in response.asked])  # fmt: skip
    world.close()
    return []


def hashed(root: x509.Certificate) -> tuple[bytes, bytes]:
    subject = hashes.Hash(hashes.SHA1())
    subject.update(root.subject.public_bytes())
    return subject.finalize(), x509.SubjectKeyIdentifier.from_public_key(root.public_key()).digest


def test_concurrent_processes_on_one_database_stay_consistent(shared: Path) -> None:
    tasks: list[tuple[Callable[[Path, int], list[int]], int]] = [
        (issue, 1), (issue, 2), (revoke, 3), (revoke, 4), (answer, 5), (answer, 6),
    ]  # fmt: skip
    with ProcessPoolExecutor(len(tasks), multiprocessing.get_context("spawn")) as pool:
        running = [pool.submit(task, shared, worker) for task, worker in tasks]
        first, second, revoked_first, revoked_second, *_ = [future.result(timeout=120) for future in running]
    institutions, world = opened(shared)
    ledger = institutions.authorities[AUTHENTICATION].ledger
    with ledger.store.reading() as connection:
        serials = sorted(
            serial
            for table in (ledger.certificate, ledger.generation, ledger.responder)
            for serial in connection.scalars(sa.select(table.c.serial))
        )
        positions = sorted(connection.scalars(sa.select(ledger.revocation.c.position)))
        revoked = list(connection.scalars(sa.select(ledger.revocation.c.serial)))
    assert serials == list(range(FIRST_SERIAL, FIRST_SERIAL + len(serials))), "gapless"
    assert first[1::2] == second[1::2], "one certificate was issued for a request that both sent"
    assert not set(first[::2]) & set(second[::2])
    assert len(set(first) | set(second)) == 3 * ROUNDS
    assert not set(revoked_first) & set(revoked_second), "no certificate was revoked twice"
    assert sorted(revoked) == sorted(revoked_first + revoked_second)
    assert revoked
    assert positions == list(range(1, len(revoked) + 1))
    assert len(list(Callers(world).queries())) == 2 * ROUNDS * 4
    later(institutions, days=1)
    publication = institutions.publications[AUTHENTICATION]
    made = x509.load_der_x509_crl(publication.path("03", "13113").read_bytes())
    assert {entry.serial_number for entry in made} == set(revoked)
    world.close()
