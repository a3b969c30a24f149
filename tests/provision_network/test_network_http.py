"""The network as processes: certificates on both ends, and no cleartext on the wire."""

from __future__ import annotations

import json
import socket
import ssl
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from benchmarks.network_load import MUNICIPALITY, record_code
from kazashi.assembly.network_server import core_of
from kazashi.assembly.served import ServedProcess, free_port
from kazashi.provision_network.assessments import sample_assessment
from kazashi.provision_network.core import Core
from kazashi.provision_network.interface_system import InterfaceSystem
from kazashi.provision_network.message_http import INTERFACE, JUKI_NET, LARGEST, SYSTEM
from kazashi.provision_network.portal import record_from
from kazashi.provision_network.terms import CORE
from kazashi.web.mutual_tls import Credentials, JsonConnection, ServiceAuthority, pem_of
from kazashi.world.clock import WorldClock
from kazashi.world.home import World, open_world
from kazashi.world.settings import Settings
from tests.polling import until
from tests.provision_network.bodies import MINATO, NOW, PURPOSE, SHIBUYA

SECRET = "所得 2,345,678円"
HANAKO = record_code(0)


@dataclass
class Served:
    """A core and two interface systems as processes."""

    world: World
    core: Core
    addresses: dict[str, str]
    processes: dict[str, ServedProcess]

    def connection(self, to: str, name: str, unit: str) -> JsonConnection:
        return JsonConnection(self.core.credentials(name, unit), self.addresses[to])

    def start(self, what: str) -> None:
        part = CORE if what == CORE else f"interface:{what}"
        port = int(self.addresses[what].rpartition(":")[2])
        arguments = ("kazashi.assembly.network_server", str(self.world.directory), part)
        self.processes[what] = ServedProcess(what, arguments, port, self.world.run / f"{what}.log", tls=True)

    def ask(self, provider: str, wait: str = "15", **changed: Any) -> tuple[int, dict[str, Any]]:
        connection = self.connection("towns", SHIBUYA, SYSTEM)
        body = {"address_number": "1", "provider": provider, "purpose": asdict(PURPOSE), **changed}
        status, content = connection.post(f"/v1/ask?wait={wait}", body)
        connection.close()
        return status, json.loads(content)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    world = open_world(tmp_path_factory.mktemp("network") / "w", settings=Settings("network"))
    assert isinstance(world.clock, WorldClock)
    world.clock.stand(NOW)
    core, names = core_of(world), {"towns": [SHIBUYA], "port": [MINATO]}
    ports: list[int] = []
    for _ in (CORE, *names):
        ports.append(free_port(ports))
    addresses = {name: f"https://localhost:{port}" for name, port in zip((CORE, *names), ports, strict=True)}
    for name, bodies in names.items():
        interface = InterfaceSystem(world, name)
        certificate = core.members.enrol(name, interface.neighbours.begin(), addresses[name])
        interface.neighbours.enrolled(certificate, core.authority.certificate, addresses[CORE])
        for body in bodies:
            server = interface.add(body)
            core.members.connect(body, MUNICIPALITY, interface=name, key=server.public_key(),
                                 assessment=sample_assessment(body, MUNICIPALITY, NOW.date()))  # fmt: skip
            server.take_codes([("1", core.codes.code_for(body, HANAKO))])
            server.register(core.codes.code_for(body, HANAKO), "1", PURPOSE.item, SECRET)
    world.run.mkdir(exist_ok=True)
    served = Served(world, core, addresses, {})
    for what in (CORE, *names):
        served.start(what)
    yield served
    for process in served.processes.values():
        process.stop()
    world.close()


def test_d7_an_exchange_between_processes(served: Served) -> None:
    status, state = served.ask(MINATO)
    assert (status, state["stage"], state["content"]) == (200, "answered", SECRET)
    assert state["registered_at"] == NOW.isoformat()
    assert state["rule"].startswith("番号法19条7号")
    status, refused = served.ask("どこにもない村")
    assert (status, refused["stage"], refused["denial"]) == (200, "refused", "unknown-institution")


def test_many_requests_in_one_list(served: Served) -> None:
    connection = served.connection("towns", SHIBUYA, SYSTEM)
    question = {"address_number": "1", "provider": MINATO, "purpose": asdict(PURPOSE)}
    status, content = connection.post(
        "/v1/ask?wait=15", {"questions": [question, {**question, "provider": "x"}, question]}
    )
    assert status == 200
    assert [one["stage"] for one in json.loads(content)["answers"]] == ["answered", "refused", "answered"]
    status, content = connection.post("/v1/ask", {"questions": [question] * 2})
    assert (status, len(json.loads(content)["processes"])) == (202, 2)
    for number in json.loads(content)["processes"]:
        status, content = connection.get(f"/v1/processes/{number}?wait=15")
        assert json.loads(content)["content"] == SECRET
    hostile: list[Any] = [[], [question] * 1001, [{}], "x"]
    for wrong in hostile:
        assert connection.post("/v1/ask", {"questions": wrong})[0] == 400
    connection.close()


def test_d5_direct_access_to_the_core_is_refused(served: Served) -> None:
    system = served.connection(CORE, SHIBUYA, SYSTEM)
    for path in ("/v1/messages", "/v1/portal-code", "/v1/records"):
        status, content = system.post(path, {"messages": [], "record_code": HANAKO, "code": "0" * 32})
        assert (status, json.loads(content)["denial"]) == (403, "not-entitled")
    system.close()
    interface = served.connection("towns", "port", INTERFACE)
    assert interface.post("/v1/ask", {"address_number": "1"})[0] == 403, "an interface is not a business system"
    interface.close()


def test_a_client_needs_a_certificate_from_the_network(served: Served) -> None:
    context = ssl.create_default_context(cadata=served.core.authority.certificate.decode("ascii"))
    port = int(served.addresses[CORE].rpartition(":")[2])

    with (
        socket.create_connection(("localhost", port), 5) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as wrapped,
    ):
        response = b"closed"
        with suppress(ssl.SSLError, ConnectionError):
            wrapped.sendall(b"POST /v1/messages HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n")
            response = wrapped.recv(100) or response
        assert response == b"closed"
    key = ec.generate_private_key(ec.SECP256R1())
    stranger = ServiceAuthority.begin("Kazashi information provision network", NOW)
    forged = Credentials(stranger.issue("towns", key.public_key(), NOW, unit=INTERFACE), pem_of(key),
                         served.core.authority.certificate)  # fmt: skip
    connection = JsonConnection(forged, served.addresses[CORE])
    with pytest.raises((ssl.SSLError, ConnectionError, OSError)):
        connection.post("/v1/messages", {"messages": []})
    connection.close()


def test_an_interface_system_can_only_send_its_own_messages(served: Served) -> None:
    connection = served.connection(CORE, "towns", INTERFACE)
    message = {"sender": "port", "receiver": CORE, "sequence": 1, "kind": "request", "body": {}}
    assert connection.post("/v1/messages", {"messages": [message]})[0] == 400
    gap = {**message, "sender": "towns", "sequence": 10_000}
    status, content = connection.post("/v1/messages", {"messages": [gap]})
    assert (status, json.loads(content)["denial"]) == (409, "message-gap")
    ours = {**message, "sender": "towns"}
    hostile: list[Any] = [{}, [], {"messages": [{"sender": "towns"}]}, {"messages": [{**ours, "body": 1}]},
                          {"messages": [{**ours, "sequence": "1"}]}]  # fmt: skip
    for wrong in hostile:
        assert connection.post("/v1/messages", wrong)[0] == 400
    connection.close()


def test_a_request_that_is_too_large_is_refused(served: Served) -> None:
    for connection, path in (
        (served.connection(CORE, "towns", INTERFACE), "/v1/messages"),
        (served.connection("towns", SHIBUYA, SYSTEM), "/v1/ask"),
    ):
        status, content = connection.post(path, "x" * LARGEST)
        assert (status, json.loads(content)["denial"]) == (413, "too-large")
        assert connection.post(path, {})[0] == 400, "the connection stays usable"
        connection.close()


def test_threads_on_one_connection_get_their_own_replies(served: Served) -> None:
    processes = [served.ask(MINATO)[1]["process"] for _ in range(4)]
    connection = served.connection("towns", SHIBUYA, SYSTEM)

    def gets_its_own_replies(number: int) -> bool:
        return all(json.loads(connection.get(f"/v1/processes/{number}")[1])["process"] == number for _ in range(10))

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(gets_its_own_replies, processes))
    connection.close()


def test_a_business_system_only_sees_its_own_processes(served: Served) -> None:
    _, state = served.ask(MINATO)
    other = served.connection("towns", "架空町", SYSTEM)
    assert other.get(f"/v1/processes/{state['process']}")[0] == 403, "its body is not behind this interface system"
    assert other.post("/v1/ask", {"address_number": "1", "provider": MINATO, "purpose": asdict(PURPOSE)})[0] == 403
    other.close()
    own = served.connection("towns", SHIBUYA, SYSTEM)
    assert own.get(f"/v1/processes/{1 << 70}")[0] == 400
    assert own.get("/v1/processes/99999999")[0] == 422
    own.close()


def test_f5_only_j_lis_gets_portal_codes_and_the_portal_records(served: Served) -> None:
    office = served.connection(CORE, "J-LIS", JUKI_NET)
    status, content = office.post("/v1/portal-code", {"record_code": HANAKO})
    assert (status, json.loads(content)["code"]) == (200, str(served.core.codes.portal_code(HANAKO)))
    office.close()
    towns = served.connection(CORE, "towns", INTERFACE)
    assert towns.post("/v1/records", {"code": json.loads(content)["code"]})[0] == 403
    towns.close()
    key = InterfaceSystem(served.world, "port").server(MINATO).public_key()
    served.core.members.connect("マイナポータル", "情報提供等記録開示システム", interface="portal", key=key)
    portal = served.connection(CORE, "portal", INTERFACE)
    served.ask(MINATO)
    status, reply = portal.post("/v1/records", json.loads(content))
    records = [record_from(one) for one in json.loads(reply)["records"]]
    assert status == 200
    assert {record.provider for record in records} == {MINATO}
    assert portal.post("/v1/records", {"code": "0" * 32})[0] == 422
    portal.close()


def test_d1_nothing_is_readable_on_the_wire(served: Served, tmp_path: Path) -> None:
    """Capture the loopback interface with tshark, which also captures cleartext that the test sends as a control."""
    capture, clear = tmp_path / "wire.pcapng", free_port()
    ports = [address.rpartition(":")[2] for address in served.addresses.values()]
    wanted = " or ".join(f"tcp port {port}" for port in [*ports, str(clear)])
    tshark = subprocess.Popen(
        ["tshark", "-q", "-i", "lo", "-f", wanted, "-w", str(capture)], stderr=subprocess.PIPE, text=True
    )
    assert tshark.stderr is not None
    try:
        while "Capturing" not in (line := tshark.stderr.readline()):
            assert line, "tshark did not start to capture"
        until(lambda: _captured(capture, clear, "所得 in the clear"), "the capture has begun")
        _, state = served.ask(MINATO)
        assert state["content"] == SECRET
        until(lambda: _captured(capture, clear, "the end"), "the capture contains the whole exchange")
    finally:
        tshark.terminate()
        with tshark:
            tshark.wait(10)
    captured = capture.read_bytes()
    assert len(captured) > 5_000
    escaped = [json.dumps(words)[1:-1] for words in (SECRET, PURPOSE.item, MINATO)]  # as JSON escapes them
    assert escaped[0].isascii()
    code = str(served.core.codes.code_for(SHIBUYA, HANAKO))
    for secret in (*escaped, SECRET, "2,345,678", PURPOSE.item, HANAKO, code, MINATO):
        assert secret.encode() not in captured, secret


def test_killed_processes_resume(served: Served) -> None:
    """Processes are killed between a request and its answer, as by a power cut; the request is on disk."""
    for victim in (CORE, "port"):
        served.processes[victim].kill()
        connection = served.connection("towns", SHIBUYA, SYSTEM)
        question = {"address_number": "1", "provider": MINATO, "purpose": asdict(PURPOSE)}
        status, content = connection.post("/v1/ask", question)
        assert status == 202, "a request is accepted while another process is down"
        number = json.loads(content)["process"]
        assert json.loads(connection.get(f"/v1/processes/{number}")[1])["stage"] in ("sent", "accepted")
        served.start(victim)
        state = json.loads(connection.get(f"/v1/processes/{number}?wait=20")[1])
        assert (state["stage"], state["content"]) == ("answered", SECRET)
        connection.close()


def test_a_client_reconnects_after_the_server_restarts(served: Served) -> None:
    office = served.connection(CORE, "J-LIS", JUKI_NET)
    assert office.post("/v1/portal-code", {"record_code": HANAKO})[0] == 200
    served.processes[CORE].kill()
    served.start(CORE)
    assert office.post("/v1/portal-code", {"record_code": HANAKO})[0] == 200
    office.close()


def _captured(capture: Path, port: int, text: str) -> bool:
    """Send a text in cleartext on a port, and return whether the capture contains it."""
    _send_cleartext(port, text)
    return capture.exists() and text.encode() in capture.read_bytes()


def _send_cleartext(port: int, text: str) -> None:
    with socket.socket() as server, socket.socket() as client:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind(("127.0.0.1", port))
        server.listen()
        client.connect(("127.0.0.1", port))
        accepted, _ = server.accept()
        client.sendall(text.encode())
        accepted.recv(100)
        accepted.close()
