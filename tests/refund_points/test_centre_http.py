"""The centre over HTTPS: who shows no certificate of its is nobody, and who shows one is that till alone."""

from __future__ import annotations

import json
import ssl
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from kazashi.assembly.served import free_port
from kazashi.refund_points.centre import Centre
from kazashi.refund_points.centre_http import LARGEST, HttpsTransport, server
from kazashi.refund_points.reading import Card
from kazashi.refund_points.sender import CentreUnreachable, send_waiting
from kazashi.refund_points.till import State, Till
from kazashi.web.mutual_tls import Credentials, client
from kazashi.world.clock import FixedClock
from kazashi.world.home import open_world
from kazashi.world.settings import Settings
from tests.refund_points.test_points import LUNCH, balance, till_of

NOON = datetime(2026, 11, 24, 3, tzinfo=UTC)


@dataclass
class Served:
    centre: Centre
    till: Till
    address: str
    directory: Path
    opened: list[HttpsTransport] = field(default_factory=list)

    def transport(self, till: Till, address: str = "") -> HttpsTransport:
        self.opened.append(HttpsTransport.of(till, address or self.address))
        return self.opened[-1]


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    world = open_world(tmp_path / "w", settings=Settings("points"), clock=FixedClock(NOON))
    centre = Centre(world, "authentication-serial")
    till = till_of(world, centre)
    port = free_port()
    running = server(centre, tmp_path, "localhost", port)
    thread = threading.Thread(target=running.run)
    thread.start()
    while not running.started:
        assert thread.is_alive()
        time.sleep(0.01)
    found = Served(centre, till, f"https://localhost:{port}", tmp_path)
    yield found
    for transport in found.opened:
        transport.close()
    running.should_exit = True
    thread.join()
    world.close()


def test_a_till_brings_its_records(served: Served) -> None:
    for _ in range(30):
        served.till.sell(LUNCH, Card(7))
    transport = served.transport(served.till)
    assert send_waiting(served.till, transport, batch=7).acknowledged == 30
    assert served.till.states()[State.ACKNOWLEDGED] == 30
    assert balance(served.centre, "7") == 30 * 21


def test_nobody_comes_in_without_a_certificate_of_the_centre(served: Served, tmp_path: Path) -> None:
    context = ssl.create_default_context(cadata=served.centre.authority.decode())
    with (
        httpx.Client(base_url=served.address, verify=context, trust_env=False) as stranger,
        pytest.raises(httpx.HTTPError),
    ):
        stranger.post("/v1/records", json={"records": []})
    other = Centre(open_world(tmp_path / "other", clock=FixedClock(NOON)), "authentication-serial")
    stranger_till = till_of(other._world, other)
    with pytest.raises(CentreUnreachable):
        served.transport(stranger_till).send("x", [])
    other._world.close()


def test_a_till_is_who_its_certificate_says_and_nobody_else(served: Served) -> None:
    other = till_of(served.centre._world, served.centre, "tea-shop")
    other.sell(LUNCH, Card(7))
    records = [found.signed.to_wire() for found in other.waiting()]
    (answer,) = served.transport(served.till).send(other.name, records)
    assert answer["reason"] == "forged"
    served.till.sell(LUNCH, Card(7))
    served.centre.revoke_till(served.till.name)
    transport = served.transport(served.till)
    assert send_waiting(served.till, transport).refused == 1
    assert balance(served.centre, "7") == 0
    ((_, reason, _),) = served.till.records(State.REFUSED)
    assert "revoked-till" in reason


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b'{"records": 5}', b"[" * 50_000, json.dumps({"records": [1] * 2001}).encode()]
)
def test_what_is_no_batch_is_refused(served: Served, body: bytes) -> None:
    transport = served.transport(served.till)
    assert transport._client.post("/v1/records", content=body).status_code == 400
    assert transport._client.get("/v1/status").json() == {"till": served.till.name, "state": "active", "missing": []}


def test_a_batch_that_is_too_large_is_refused(served: Served) -> None:
    credentials = Credentials(*served.till.credentials(), served.centre.authority)
    with client(credentials, served.address) as till:
        answer = till.post("/v1/records", content=b" " * (LARGEST + 1))
        assert (answer.status_code, list(answer.json())) == (413, ["error"])
        assert till.post("/v1/records", content=b" " * LARGEST).status_code == 400


def test_a_centre_that_is_away_or_talks_nonsense_takes_nothing(served: Served) -> None:
    served.till.sell(LUNCH, Card(7))
    transport = served.transport(served.till)
    nowhere = served.transport(served.till, f"https://localhost:{free_port()}")
    with pytest.raises(CentreUnreachable):
        send_waiting(served.till, nowhere)
    transport._client.base_url = httpx.URL(f"{served.address}/nothing-here")
    with pytest.raises(CentreUnreachable):
        send_waiting(served.till, transport)
    assert served.till.states()[State.WAITING] == 1
    with pytest.raises(CentreUnreachable, match="cannot be used"):
        HttpsTransport(served.address, b"", b"", b"")
