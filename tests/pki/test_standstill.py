"""The authorities' server while its database stands still: nothing that does not need the database waits for it."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from kazashi.assembly.postgresql import server
from kazashi.assembly.served import ServedProcess, free_port
from kazashi.pki.callers import Callers
from kazashi.pki.http import ANSWER_SECONDS
from kazashi.pki.publication import list_path
from kazashi.world.key_source import SharedKeySource
from tests.town import SIGNATURE, certificates, later, new_institutions

pytestmark = pytest.mark.crash


@contextmanager
def standing_still(url: str) -> Iterator[None]:
    """Stop all processes of a PostgreSQL server, as a hanging disk would."""
    home = parse_qs(urlsplit(url).query)["host"][0]
    main = int((Path(home) / "data" / "postmaster.pid").read_text().splitlines()[0])
    children = [int(pid) for pid in Path(f"/proc/{main}/task/{main}/children").read_text().split()]
    for pid in (main, *children):
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in (main, *children):
            os.kill(pid, signal.SIGCONT)


def request_for(certificate: x509.Certificate, issuer: x509.Certificate) -> bytes:
    return (
        ocsp.OCSPRequestBuilder().add_certificate(certificate, issuer, hashes.SHA1()).build().public_bytes(Encoding.DER)
    )


def test_a_list_does_not_wait_for_a_database_that_stands_still(tmp_path: Path, keys: SharedKeySource) -> None:
    with server() as url:
        town = new_institutions(tmp_path / "w", keys, url)
        town.issue_card("hanako", "hanako")
        later(town, minutes=15)
        key = Callers(town.world).register("library")
        issuer = x509.load_der_x509_certificate(town.authorities[SIGNATURE].root())
        holder = x509.load_der_x509_certificate(certificates(town, "hanako", SIGNATURE)[-1].certificate)
        generation = town.authorities[SIGNATURE].issuing().name
        path = f"/{list_path(SIGNATURE, generation, town.publications[SIGNATURE].names(generation)[0])}"
        town.world.close()
        arguments = ("kazashi.pki.serve", str(town.world.directory), "--workers", "1")
        served = ServedProcess("the authorities", arguments, free_port(), tmp_path / "log")
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{served.port}", timeout=60, trust_env=False) as client:

                def asked() -> tuple[ocsp.OCSPResponseStatus, float]:
                    begun = time.monotonic()
                    response = client.post(f"/ocsp/signature/as/{key}", content=request_for(holder, issuer))
                    status = ocsp.load_der_ocsp_response(response.content).response_status
                    return status, time.monotonic() - begun

                assert asked()[0] is ocsp.OCSPResponseStatus.SUCCESSFUL
                assert client.get("/health").json()["state"] == "ok"
                with standing_still(url):
                    health = client.get("/health")
                    assert (health.status_code, health.json()["state"]) == (503, "degraded")
                    parts = health.json()["parts"]
                    assert parts["store of authority_signature"]["state"] == "slow", parts
                    with ThreadPoolExecutor(4) as threads:
                        waiting = [threads.submit(asked) for _ in range(4)]
                        begun = time.monotonic()
                        assert client.get(path).status_code == 200
                        assert time.monotonic() - begun < 1, "a list is served while the requests wait"
                        for status, seconds in (one.result() for one in waiting):
                            assert status is ocsp.OCSPResponseStatus.TRY_LATER
                            assert seconds < ANSWER_SECONDS + 2
                assert asked()[0] is ocsp.OCSPResponseStatus.SUCCESSFUL
        finally:
            served.stop()
