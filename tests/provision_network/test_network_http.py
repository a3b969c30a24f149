"""The network as processes: certificates on both ends, and nothing in the clear on the wire."""

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
from kazashi.provision_network.core import Core
from kazashi.provision_network.interface_system import InterfaceSystem
from kazashi.provision_network.network_http import INTERFACE, JUKI_NET, LARGEST, SYSTEM
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

    def line(self, to: str, name: str, unit: str) -> JsonConnection:
        return JsonConnection(self.core.credentials(name, unit), self.addresses[to])

    def start(self, what: str) -> None:
        part = CORE if what == CORE else f"interface:{what}"
        port = int(self.addresses[what].rpartition(":")[2])
        arguments = ("kazashi.assembly.network_server", str(self.world.directory), part)
        self.processes[what] = ServedProcess(what, arguments, port, self.world.run / f"{what}.log", tls=True)

    def ask(self, provider: str, wait: str = "15", **changed: Any) -> tuple[int, dict[str, Any]]:
        line = self.line("towns", SHIBUYA, SYSTEM)
        body = {"address_number": "1", "provider": provider, "purpose": asdict(PURPOSE), **changed}
        status, content = line.post(f"/v1/ask?wait={wait}", body)
        line.close()
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
        certificate = core.enrol(name, interface.begin(), addresses[name])
        interface.enrolled(certificate, core.authority.certificate, addresses[CORE])
        for body in bodies:
            server = interface.add(body)
            core.connect(body, MUNICIPALITY, assessed=True, interface=name, key=server.public_key())
            server.take_codes([("1", core.code_for(body, HANAKO))])
            server.register(core.code_for(body, HANAKO), "1", PURPOSE.item, SECRET)
    world.run.mkdir(exist_ok=True)
    found = Served(world, core, addresses, {})
    for what in (CORE, *names):
        found.start(what)
    yield found
    for process in found.processes.values():
        process.stop()
    world.close()


def test_d7_an_exchange_among_processes(served: Served) -> None:
    status, found = served.ask(MINATO)
    assert (status, found["stage"], found["content"]) == (200, "answered", SECRET)
    assert found["registered_at"] == NOW.isoformat()
    assert found["rule"].startswith("番号法19条7号")
    status, refused = served.ask("どこにもない村")
    assert (status, refused["stage"], refused["denial"]) == (200, "refused", "unknown-institution")


def test_many_questions_in_one_list(served: Served) -> None:
    line = served.line("towns", SHIBUYA, SYSTEM)
    question = {"address_number": "1", "provider": MINATO, "purpose": asdict(PURPOSE)}
    status, content = line.post("/v1/ask?wait=15", {"questions": [question, {**question, "provider": "x"}, question]})
    assert status == 200
    assert [one["stage"] for one in json.loads(content)["answers"]] == ["answered", "refused", "answered"]
    status, content = line.post("/v1/ask", {"questions": [question] * 2})
    assert (status, len(json.loads(content)["processes"])) == (202, 2)
    for number in json.loads(content)["processes"]:
        status, told = line.get(f"/v1/processes/{number}?wait=15")
        assert json.loads(told)["content"] == SECRET
    hostile: list[Any] = [[], [question] * 1001, [{}], "x"]
    for wrong in hostile:
        assert line.post("/v1/ask", {"questions": wrong})[0] == 400
    line.close()


def test_d5_direct_access_to_the_core_is_refused(served: Served) -> None:
    system = served.line(CORE, SHIBUYA, SYSTEM)
    for path in ("/v1/messages", "/v1/portal-code", "/v1/records"):
        status, content = system.post(path, {"messages": [], "record_code": HANAKO, "code": "0" * 32})
        assert (status, json.loads(content)["denial"]) == (403, "not-entitled")
    system.close()
    asked = served.line("towns", "port", INTERFACE)
    assert asked.post("/v1/ask", {"address_number": "1"})[0] == 403, "an interface is no system"
    asked.close()


def test_nobody_gets_in_without_a_certificate_of_the_network(served: Served) -> None:
    context = ssl.create_default_context(cadata=served.core.authority.certificate.decode("ascii"))
    port = int(served.addresses[CORE].rpartition(":")[2])

    with (
        socket.create_connection(("localhost", port), 5) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as wrapped,
    ):
        said = b"hung up"
        with suppress(ssl.SSLError, ConnectionError):
            wrapped.sendall(b"POST /v1/messages HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n")
            said = wrapped.recv(100) or said
        assert said == b"hung up"
    key = ec.generate_private_key(ec.SECP256R1())
    stranger = ServiceAuthority.begin("Kazashi information provision network", NOW)
    forged = Credentials(stranger.issue("towns", key.public_key(), NOW, unit=INTERFACE), pem_of(key),
                         served.core.authority.certificate)  # fmt: skip
    line = JsonConnection(forged, served.addresses[CORE])
    with pytest.raises((ssl.SSLError, ConnectionError, OSError)):
        line.post("/v1/messages", {"messages": []})
    line.close()


def test_an_interface_speaks_in_its_own_name_alone(served: Served) -> None:
    line = served.line(CORE, "towns", INTERFACE)
    message = {"sender": "port", "receiver": CORE, "sequence": 1, "kind": "request", "body": {}}
    assert line.post("/v1/messages", {"messages": [message]})[0] == 400
    gap = {**message, "sender": "towns", "sequence": 10_000}
    status, content = line.post("/v1/messages", {"messages": [gap]})
    assert (status, json.loads(content)["denial"]) == (409, "message-gap")
    ours = {**message, "sender": "towns"}
    hostile: list[Any] = [{}, [], {"messages": [{"sender": "towns"}]}, {"messages": [{**ours, "body": 1}]},
                          {"messages": [{**ours, "sequence": "1"}]}]  # fmt: skip
    for wrong in hostile:
        assert line.post("/v1/messages", wrong)[0] == 400
    line.close()


def test_a_request_that_is_too_large_is_refused(served: Served) -> None:
    for line, path in (
        (served.line(CORE, "towns", INTERFACE), "/v1/messages"), (served.line("towns", SHIBUYA, SYSTEM), "/v1/ask"),
    ):  # fmt: skip
        status, content = line.post(path, "x" * LARGEST)
        assert (status, json.loads(content)["denial"]) == (413, "too-large")
        assert line.post(path, {})[0] == 400, "the connection goes on"
        line.close()


def test_many_threads_on_one_line_get_their_own_answers(served: Served) -> None:
    processes = [served.ask(MINATO)[1]["process"] for _ in range(4)]
    line = served.line("towns", SHIBUYA, SYSTEM)

    def told(number: int) -> bool:
        return all(json.loads(line.get(f"/v1/processes/{number}")[1])["process"] == number for _ in range(10))

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(told, processes))
    line.close()


def test_a_system_sees_its_own_processes_alone(served: Served) -> None:
    _, found = served.ask(MINATO)
    other = served.line("towns", "架空町", SYSTEM)
    assert other.get(f"/v1/processes/{1 << 70}")[0] == 400
    assert other.get(f"/v1/processes/{found['process']}")[0] == 422
    assert other.post("/v1/ask", {"address_number": "1", "provider": MINATO, "purpose": asdict(PURPOSE)})[0] == 422
    other.close()


def test_f5_j_lis_s_desk_alone_names_people_to_the_core_and_records_are_the_portal_s(served: Served) -> None:
    desk = served.line(CORE, "J-LIS", JUKI_NET)
    status, content = desk.post("/v1/portal-code", {"record_code": HANAKO})
    assert (status, json.loads(content)["code"]) == (200, str(served.core.portal_code(HANAKO)))
    desk.close()
    towns = served.line(CORE, "towns", INTERFACE)
    assert towns.post("/v1/records", {"code": json.loads(content)["code"]})[0] == 403
    towns.close()
    key = InterfaceSystem(served.world, "port").server(MINATO).public_key()
    served.core.connect("マイナポータル", "情報提供等記録開示システム", assessed=True, interface="portal", key=key)
    portal = served.line(CORE, "portal", INTERFACE)
    served.ask(MINATO)
    status, told = portal.post("/v1/records", json.loads(content))
    records = [record_from(one) for one in json.loads(told)["records"]]
    assert status == 200
    assert {record.provider for record in records} == {MINATO}
    assert portal.post("/v1/records", {"code": "0" * 32})[0] == 422
    portal.close()


def test_d1_nothing_is_readable_on_the_wire(served: Served, tmp_path: Path) -> None:
    """A capture of the loopback with tshark, which does see what is said in the clear beside it."""
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
        _, found = served.ask(MINATO)
        assert found["content"] == SECRET
        until(lambda: _captured(capture, clear, "the end"), "the capture holds all that was said")
    finally:
        tshark.terminate()
        with tshark:
            tshark.wait(10)
    held = capture.read_bytes()
    assert len(held) > 5_000
    escaped = [json.dumps(words)[1:-1] for words in (SECRET, PURPOSE.item, MINATO)]  # as our own lines write them
    assert escaped[0].isascii()
    code = str(served.core.code_for(SHIBUYA, HANAKO))
    for secret in (*escaped, SECRET, "2,345,678", PURPOSE.item, HANAKO, code, MINATO):
        assert secret.encode() not in held, secret


def test_killed_processes_go_on_where_they_were(served: Served) -> None:
    """Killed as by a power cut between a question and its answer; the question was on disk."""
    for victim in (CORE, "port"):
        served.processes[victim].kill()
        line = served.line("towns", SHIBUYA, SYSTEM)
        question = {"address_number": "1", "provider": MINATO, "purpose": asdict(PURPOSE)}
        status, content = line.post("/v1/ask", question)
        assert status == 202, "a question is taken whoever is down"
        number = json.loads(content)["process"]
        assert json.loads(line.get(f"/v1/processes/{number}")[1])["stage"] in ("sent", "accepted")
        served.start(victim)
        told = json.loads(line.get(f"/v1/processes/{number}?wait=20")[1])
        assert (told["stage"], told["content"]) == ("answered", SECRET)
        line.close()


def test_a_line_whose_server_ended_the_connection_takes_the_next_question(served: Served) -> None:
    desk = served.line(CORE, "J-LIS", JUKI_NET)
    assert desk.post("/v1/portal-code", {"record_code": HANAKO})[0] == 200
    served.processes[CORE].kill()
    served.start(CORE)
    assert desk.post("/v1/portal-code", {"record_code": HANAKO})[0] == 200
    desk.close()


def _captured(capture: Path, port: int, words: str) -> bool:
    """Whether words that were said in the clear on a port, now once more, are in a capture."""
    _say_in_the_clear(port, words)
    return capture.exists() and words.encode() in capture.read_bytes()


def _say_in_the_clear(port: int, words: str) -> None:
    with socket.socket() as server, socket.socket() as client:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind(("127.0.0.1", port))
        server.listen()
        client.connect(("127.0.0.1", port))
        accepted, _ = server.accept()
        client.sendall(words.encode())
        accepted.recv(100)
        accepted.close()
