"""A provision network for benchmarks: bodies behind a few interface systems, residents with codes, and questions."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import zip_longest

from kazashi.assembly.network_server import core_of
from kazashi.assembly.served import ServedProcess, free_port
from kazashi.provision_network.assessments import sample_assessment
from kazashi.provision_network.core import Core
from kazashi.provision_network.interface_system import InterfaceSystem
from kazashi.provision_network.law.tables import Purpose, table_of_affairs
from kazashi.provision_network.message_http import SYSTEM
from kazashi.provision_network.terms import CORE
from kazashi.resident_registry.number import ResidentRecordCode
from kazashi.web.mutual_tls import Credentials, JsonConnection
from kazashi.world.home import World

MUNICIPALITY, PENSION = "市町村長", "日本年金機構"


@dataclass(frozen=True, slots=True)
class Question:
    """A question of one system: the address of its interface system, the two bodies, the purpose and the person."""

    address: str
    requester: str
    provider: str
    purpose: Purpose
    address_number: str


@dataclass(frozen=True, slots=True)
class Load:
    """The processes of a network, the questions to ask, and the credentials of the bodies."""

    processes: list[ServedProcess]
    questions: list[Question]
    credentials: dict[str, Credentials]

    def stop(self) -> None:
        """Stop the processes."""
        for process in self.processes:
            process.stop()


def record_code(place: int) -> str:
    """Return the resident record code of a generated person by their index."""
    return ResidentRecordCode.around(f"{place + 1:010d}")


def start(world: World, towns: int, people: int, platforms: int = 2) -> Load:
    """Start a core, `platforms` interface systems that share the towns, and the pension service's interface system.

    Every body has a copy for every person. Raises ServicesUnavailable.
    """
    core = core_of(world)
    table = table_of_affairs()
    tax = next(row.purpose for row in table if (row.number, row.purpose.provider) == ("74", MUNICIPALITY))
    pension = next(row.purpose for row in table if (row.number, row.purpose.provider) == ("75", PENSION))
    names = [f"架空{number}市" for number in range(towns)]
    behind = {f"platform{place}": names[place::platforms] for place in range(platforms)} | {"pension": [PENSION]}
    ports: list[int] = []
    for _ in (CORE, *behind):
        ports.append(free_port(ports))
    addresses = {name: f"https://localhost:{port}" for name, port in zip((CORE, *behind), ports, strict=True)}
    for name, bodies in behind.items():
        item = tax.item if name != "pension" else pension.item
        enrol(world, core, name, bodies, addresses, [record_code(place) for place in range(people)], item)
    world.run.mkdir(mode=0o700, exist_ok=True)
    processes = []
    for what, port in zip((CORE, *behind), ports, strict=True):
        module = (
            "kazashi.assembly.network_server",
            str(world.directory),
            CORE if what == CORE else f"interface:{what}",
        )
        processes.append(ServedProcess(f"the network's {what}", module, port, world.run / f"{what}.log", tls=True))
    home = {body: addresses[name] for name, bodies in behind.items() for body in bodies}
    questions = []
    for place, body in enumerate(names):
        for person in range(people):
            provider = PENSION if (place + person) % 3 == 0 else names[(place + 1 + person % (towns - 1)) % towns]
            purpose = pension if provider == PENSION else tax
            questions.append(Question(home[body], body, provider, purpose, f"{person:010d}"))
    return Load(processes, questions, {body: core.credentials(body, SYSTEM) for body in names})


def enrol(
    world: World, core: Core, name: str, bodies: Sequence[str], addresses: dict[str, str], codes: Sequence[str],
    item: str,
) -> None:  # fmt: skip
    """Add an interface system with bodies behind it, each of which has a copy for everybody with these record codes."""
    interface = InterfaceSystem(world, name)
    certificate = core.members.enrol(name, interface.neighbours.begin(), addresses[name])
    interface.neighbours.enrolled(certificate, core.authority.certificate, addresses[CORE])
    for body in bodies:
        server = interface.add(body)
        kind = PENSION if body == PENSION else MUNICIPALITY
        assessment = sample_assessment(body, kind, world.clock.now().date())
        core.members.connect(body, kind, assessment=assessment, interface=name, key=server.public_key())
    for body, issued in core.codes.issue(bodies, codes).items():
        numbered = [(f"{place:010d}", code) for place, code in enumerate(issued)]
        server = interface.server(body)
        server.take_codes(numbered)
        server.register_all([(code, address, item, f"{body} {address}", False) for address, code in numbered])


def ask_all(
    load: Load, questions: Sequence[Question], at_once: int, together: int = 1
) -> tuple[list[float], float]:  # fmt: skip
    """Ask every question: `at_once` systems at the same time, `together` questions per list.

    Returns the sorted response times in seconds and the questions per second, without TLS handshakes. Raises
    RuntimeError if a question is not answered.
    """
    by_system: dict[str, list[Question]] = {}
    for question in questions:
        by_system.setdefault(question.requester, []).append(question)
    groups: list[list[tuple[JsonConnection, list[Question]]]] = [[] for _ in range(at_once)]
    for body, pending in sorted(by_system.items(), key=lambda item: -len(item[1])):
        connection = JsonConnection(load.credentials[body], pending[0].address)
        connection.open()
        min(groups, key=lambda group: sum(len(item) for _, item in group)).append((connection, pending))
    taken: list[float] = []
    errors: list[str] = []

    def systems(group: list[tuple[JsonConnection, list[Question]]]) -> None:
        try:
            for connection, pending in group:
                for begin in range(0, len(pending), together):
                    taken.extend(_ask(connection, pending[begin : begin + together]))
                connection.close()
        except (OSError, http.client.HTTPException, RuntimeError) as error:
            errors.append(str(error))

    threads = [threading.Thread(target=systems, args=(group,)) for group in groups]
    begun = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - begun
    if errors:
        raise RuntimeError(f"{len(errors)} systems failed; the first error is: {errors[0]}")
    return sorted(taken), len(taken) / seconds


def _ask(connection: JsonConnection, questions: Sequence[Question]) -> list[float]:
    body = {"questions": [
        {"address_number": one.address_number, "provider": one.provider, "purpose": asdict(one.purpose)}
        for one in questions
    ]}  # fmt: skip
    begun = time.perf_counter()
    status, content = connection.post("/v1/ask?wait=3", body)
    answers = json.loads(content).get("answers", [])
    for question, answer in zip_longest(questions, answers):
        if not str((answer or {}).get("content", "")).startswith(question.provider):
            raise RuntimeError(f"the response to {question} was {status} {content[:300]!r}")
    return [time.perf_counter() - begun] * len(questions)
