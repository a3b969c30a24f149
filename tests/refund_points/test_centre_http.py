"""The centre over HTTPS: clients need a certificate from the centre, and act only for the till it names."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from benchmarks.till_load import bring, loaded_tills
from kazashi.assembly.served import free_port
from kazashi.refund_points.centre import MOST_RECORDS, Centre
from kazashi.refund_points.centre_http import LARGEST, HttpsTransport, server
from kazashi.refund_points.reading import CardReading
from kazashi.refund_points.sender import BATCH, CentreUnreachable, send_waiting
from kazashi.refund_points.till import RecordState, Till
from kazashi.web.mutual_tls import Credentials, client
from kazashi.web.server import MOST_CONNECTIONS
from kazashi.world.clock import FixedClock
from kazashi.world.home import World, open_world
from kazashi.world.settings import Settings
from tests.polling import until
from tests.refund_points.tills import LUNCH, NOON, balance, till_of


@dataclass
class Served:
    world: World
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
    until(lambda: running.started or not thread.is_alive(), "the centre serves")
    assert running.started
    served = Served(world, centre, till, f"https://localhost:{port}", tmp_path)
    yield served
    for transport in served.opened:
        transport.close()
    running.should_exit = True
    thread.join()
    world.close()


def test_a_till_sends_its_records(served: Served) -> None:
    for _ in range(30):
        served.till.sell(LUNCH, CardReading(7))
    transport = served.transport(served.till)
    assert send_waiting(served.till, transport, batch=7).acknowledged == 30
    assert served.till.states()[RecordState.ACKNOWLEDGED] == 30
    assert balance(served.centre, "07") == 30 * 21


def test_a_client_needs_a_certificate_from_the_centre(served: Served, tmp_path: Path) -> None:
    context = ssl.create_default_context(cadata=served.centre.authority.decode())
    with (
        httpx.Client(base_url=served.address, verify=context, trust_env=False) as stranger,
        pytest.raises(httpx.HTTPError),
    ):
        stranger.post("/v1/records", json={"records": []})
    elsewhere = open_world(tmp_path / "other", clock=FixedClock(NOON))
    stranger_till = till_of(elsewhere, Centre(elsewhere, "authentication-serial"))
    with pytest.raises(CentreUnreachable):
        served.transport(stranger_till).send("x", [])
    elsewhere.close()


def test_a_till_can_only_send_its_own_records(served: Served) -> None:
    other = till_of(served.world, served.centre, "tea-shop")
    other.sell(LUNCH, CardReading(7))
    records = [record.signed.to_wire() for record in other.waiting()]
    (result,) = served.transport(served.till).send(other.name, records)
    assert result["reason"] == "forged"
    served.till.sell(LUNCH, CardReading(7))
    served.centre.revoke_till(served.till.name)
    transport = served.transport(served.till)
    assert send_waiting(served.till, transport).refused == 1
    assert balance(served.centre, "07") == 0
    assert sorted(row["reason"] for row in served.centre.refused()) == ["forged", "revoked-till"]


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b'{"records": 5}', b"[" * 50_000, json.dumps({"records": [1] * 2001}).encode()]
)
def test_a_malformed_batch_is_refused(served: Served, body: bytes) -> None:
    credentials = Credentials(*served.till.credentials(), served.till.enrolment.authority)
    with client(credentials, served.address) as till:
        assert till.post("/v1/records", content=body).status_code == 400
        assert till.get("/v1/status").json() == {"till": served.till.name, "state": "active", "missing": []}


def test_a_batch_that_is_too_large_is_refused(served: Served) -> None:
    credentials = Credentials(*served.till.credentials(), served.centre.authority)
    with client(credentials, served.address) as till:
        response = till.post("/v1/records", content=b" " * (LARGEST + 1))
        assert (response.status_code, list(response.json())) == (413, ["error"])
        assert till.post("/v1/records", content=b" " * LARGEST).status_code == 400


def test_two_hundred_tills_at_once_are_below_half_of_the_limits(served: Served) -> None:
    """Each has a connection of its own, and sends a full batch."""
    tills = loaded_tills(served.centre, 200)
    bodies = [till.bodies(1, 1, 10, served.world.clock, 50) for till in tills]
    assert 2 * len(tills) < MOST_CONNECTIONS
    full = max(len(body) for body in tills[0].bodies(1, 1, BATCH, served.world.clock, 50))
    assert 2 * full < LARGEST
    assert 2 * BATCH < MOST_RECORDS
    bring(int(served.address.rpartition(":")[2]), tills, bodies)


def test_records_wait_if_the_centre_is_unreachable(served: Served) -> None:
    served.till.sell(LUNCH, CardReading(7))
    for address in (f"https://localhost:{free_port()}", f"{served.address}/nothing-here"):
        with pytest.raises(CentreUnreachable):
            send_waiting(served.till, served.transport(served.till, address))
    assert served.till.states()[RecordState.WAITING] == 1
    with pytest.raises(CentreUnreachable, match="cannot be used"):
        HttpsTransport(served.address, b"", b"", b"")
