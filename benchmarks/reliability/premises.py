"""Every server of a world in its own process, for trials that put load on them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.bench_worlds import MORNING
from benchmarks.reliability.processes import descendants
from kazashi.assembly.institutions import Institutions
from kazashi.assembly.network import (
    DESK,
    PARTS,
    Network,
    addresses,
    allowance_questions,
    body_of,
    served,
)
from kazashi.assembly.network_offices import MUNICIPAL, NATIONAL
from kazashi.assembly.points import enrol_till, serve_centre
from kazashi.assembly.served import ServedProcess, free_port, serve
from kazashi.jpki.profile import CertificateType
from kazashi.provision_network.message_http import SYSTEM
from kazashi.provision_network.portal import INTERFACE_NAME
from kazashi.provision_network.terms import CORE
from kazashi.tools.daemon import background
from kazashi.tools.daemon.plan import InstancePlan
from kazashi.web.mutual_tls import Credentials
from kazashi.world.clock import WorldClock
from kazashi.world.home import World, open_world
from kazashi.world.key_source import SharedKeySource, generate
from kazashi.world.settings import Settings

SITES = ("agent", "site", "provider", "platform", "points portal")
"""Commands that serve HTTP to browsers and relying parties, besides the network's portal."""

EVERYTHING = ("instance", "centre", *SITES, *PARTS)
"""All servers. `instance` has the reader, the authorities and the console."""


@dataclass
class Premises:
    """A world and its running servers."""

    world: World
    processes: dict[str, int] = field(default_factory=dict)
    """The process of each server."""
    urls: dict[str, str] = field(default_factory=dict)
    """The address of each HTTP server."""
    credentials: dict[str, Credentials] = field(default_factory=dict)
    """For servers that require a certificate: one that a client of the server has."""
    reader: str = ""
    serial: int = 0
    """The serial number of the authentication certificate of the card in the reader."""
    system: Credentials | None = None
    """The credentials of a municipality's own system, which asks the network."""
    question: Mapping[str, Any] = field(default_factory=dict)
    """A question of that system, as `/v1/ask` takes it."""


@contextmanager
def premises(directory: Path, wanted: Sequence[str] = EVERYTHING) -> Iterator[Premises]:
    """Make a world in `directory`, start some of its servers, and stop them at the end.

    This process then uses the instance's pcscd. The clock runs, because servers forget by the clock.
    """
    keys = SharedKeySource([generate() for _ in range(6)])
    world = open_world(directory / "world", settings=Settings("reliability"), keys=keys)
    clock = world.clock
    assert isinstance(clock, WorldClock)
    clock.run(MORNING)
    place = Premises(world)
    world.run.mkdir(mode=0o700, exist_ok=True)
    institutions = Institutions(world)
    institutions.issue_card("hanako", "hanako")
    institutions.settle()
    holder = institutions.registry.find("hanako").code
    place.serial = institutions.authorities[CertificateType.AUTHENTICATION].of_holder(holder)[-1].serial
    with ExitStack() as stack:
        if "instance" in wanted:
            _start_instance(place, stack)
        services = place.urls.get("authorities", "http://127.0.0.1:9")
        agent = ""
        for command in SITES:
            if command in wanted:
                options = _options(command, services, agent)
                process = serve(world.run, command, *options, world=None if command == "agent" else world.directory)
                stack.callback(process.stop)
                host = "127.0.0.1" if command in ("agent", "platform") else "localhost"
                _add(place, command, process, f"http://{host}:{process.port}")
                agent = place.urls.get("agent", "http://127.0.0.1:9")
        if "centre" in wanted:
            till = enrol_till(world, "rice-shop", "till-1")
            process = serve_centre(world)
            stack.callback(process.stop)
            _add(place, "centre", process, f"https://localhost:{process.port}")
            place.credentials["centre"] = Credentials(*till.credentials(), till.enrolment.authority)
        if any(part in wanted for part in PARTS):
            _start_network(place, institutions, [part for part in PARTS if part in wanted], services, agent, stack)
        stack.callback(world.close)
        yield place


def _add(place: Premises, name: str, process: ServedProcess, url: str) -> None:
    place.processes[name], place.urls[name] = process.pid, url


def _options(command: str, services: str, agent: str) -> Sequence[str]:
    match command:
        case "agent":
            return ()
        case "platform":
            return ("--services", services)
    return ("--services", services, "--agent", agent)


def _start_instance(place: Premises, stack: ExitStack) -> None:
    world = place.world
    status = background.detach(world, InstancePlan(pcscd="private"), background.locked(world))
    stack.callback(background.stop, world)
    saved = dict(os.environ)
    stack.callback(_restore, saved)
    os.environ.update(status["pcscd"]["environment"])
    place.reader = status["slots"][0]["reader"]
    place.urls |= {"authorities": status["services"]["http"], "console": status["console"]}
    place.processes["reader"] = status["pid"]
    for pid in descendants(status["pid"])[1:]:
        command = Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8", errors="replace")
        name = next((name for name, part in _INSTANCE.items() if part in command), None)
        if name is not None:
            place.processes[name] = pid


_INSTANCE = {"pcscd": "pcscd", "authorities": "kazashi.pki.serve", "console": "console.serve"}
"""The processes of an instance, and a part of the command line of each."""


def _question() -> dict[str, Any]:
    purpose, provider = allowance_questions()[0]
    return {"purpose": asdict(purpose), "provider": provider}


def _restore(environment: Mapping[str, str]) -> None:
    os.environ.clear()
    os.environ.update(environment)


def _start_network(
    place: Premises, institutions: Institutions, parts: Sequence[str], services: str, agent: str, stack: ExitStack
) -> None:  # fmt: skip
    world = place.world
    taken: list[int] = []
    for _ in addresses():
        taken.append(free_port(taken))
    names = list(addresses())
    where = {name: f"{addresses()[name].rpartition(':')[0]}:{port}" for name, port in zip(names, taken, strict=True)}
    network = Network(institutions)
    failed = [stage.words for stage in network.rehearse(where) if not stage.ok]
    if failed:
        raise RuntimeError(f"the network could not be set up: {failed[0]}")
    for part in parts:
        log = world.run / f"network-{part.replace(':', '-')}.log"
        process = served(world, part, where, log, services, agent)
        stack.callback(process.stop)
        name = part.removeprefix("interface:")
        _add(place, "network portal" if part == "portal" else name, process,
             where["pages" if part == "portal" else name])  # fmt: skip
    place.urls["portal messages"] = where[INTERFACE_NAME]
    core = network.core
    person = network.people()[0]
    hub = network.linkage(body_of(person))
    assert person.individual_number is not None
    place.question = {"address_number": hub.addresses.admit(person.individual_number), **_question()}
    place.system = core.credentials(body_of(person), SYSTEM)
    municipal, national, portal = (system.neighbours.credentials()[0] for system in network.interfaces)
    place.credentials |= {
        CORE: municipal, MUNICIPAL: national, NATIONAL: municipal, "portal messages": municipal, DESK: portal,
    }  # fmt: skip
