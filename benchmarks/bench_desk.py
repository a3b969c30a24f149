"""Measure a clinic's desk, from the card in the field to the page. This runs in a separate process, because a process
can use only one pcscd."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import httpx

from benchmarks.bench_worlds import new_world
from kazashi.assembly.institutions import Institutions
from kazashi.assembly.medical_insurance import insurance_of
from kazashi.assembly.network import DESK, Network, free_addresses, port_of, served
from kazashi.assembly.network_bodies import NetworkBodies
from kazashi.assembly.served import ServedProcess, free_port
from kazashi.jpki.profile import CertificateType, Medium
from kazashi.medical_insurance.feed import ChangeType
from kazashi.medical_insurance.joint_body import INTERFACE
from kazashi.provision_network.terms import CORE
from kazashi.reader_bridge.host import Presentation, ReaderHost
from kazashi.reader_bridge.pcscd import start_pcscd
from kazashi.relying_party.login.card_reader import card_answers, sign_with_card
from kazashi.tools.daemon.services import Services
from kazashi.world.key_source import SharedKeySource, generate

INSURER, WHO, PIN = "架空健康保険組合", "hanako", "1234"
FORMS = {"PIN": {"how": "pin", "pin": PIN}, "face": {"how": "face", "compared": "yes"}}
_PATIENCE = 30.0
_PAUSES, _PAUSE_SECONDS = 5, 6.0
"""How many checks come after a pause, and how long it is: all servers have closed idle connections by then."""

_READY_SECONDS = 0.05
"""The time after which a form that was sent waits for the card, with a challenge at hand."""


@dataclass(frozen=True, slots=True)
class DeskTimes:
    """Times in seconds: from the card in the field to the page, by the way in which the holder is verified; the same
    with the card there already; with the PIN after a pause; and a signature of the card alone, with the PIN, through
    the same pcscd."""

    inserted: dict[str, list[float]]
    there: dict[str, list[float]]
    paused: list[float]
    card_alone: list[float]


def desk_times(directory: Path, count: int) -> DeskTimes:
    """Measure `count` checks each. Raises RuntimeError if a check is not valid or a card is not noticed."""
    with _desk(directory) as (host, image, address):
        slot = host.slots[0]
        form = httpx.Client(base_url=address, headers={"Origin": address}, timeout=_PATIENCE)

        def check(fields: dict[str, str]) -> float:
            page = form.post("/check", data=fields)
            ended = time.perf_counter()
            state = re.search(r'data-state="([^"]*)"', page.text)
            if state is None or state[1] != "valid":
                raise RuntimeError(f"the desk shows {state and state[1]!r}: {page.text}")
            return ended

        def put() -> float:
            begun = time.perf_counter()
            host.insert(slot, WHO, image, Presentation(contactless=True))
            return begun

        def take() -> None:
            host.remove(slot)
            _until_gone(slot.endpoint.reader)

        def tapped(fields: dict[str, str]) -> float:
            sent = sender.submit(check, fields)
            time.sleep(_READY_SECONDS)
            begun = put()
            return sent.result() - begun

        inserted: dict[str, list[float]] = {way: [] for way in FORMS}
        there: dict[str, list[float]] = {way: [] for way in FORMS}
        with ThreadPoolExecutor(1) as sender, form:
            for turn in range(count + 3):
                for way, fields in FORMS.items():
                    taken = tapped(fields)
                    begun = time.perf_counter()
                    again = check(fields) - begun
                    if turn >= 3:  # the first ones open connections and load modules
                        inserted[way].append(taken)
                        there[way].append(again)
                    take()
            paused = []
            for _ in range(min(count, _PAUSES)):
                time.sleep(_PAUSE_SECONDS)
                paused.append(tapped(FORMS["PIN"]))
                take()
        put()
        alone = []
        while not card_answers(slot.endpoint.reader):
            time.sleep(0.005)
        for _ in range(count):
            begun = time.perf_counter()
            sign_with_card(CertificateType.AUTHENTICATION, PIN, b"a challenge")
            alone.append(time.perf_counter() - begun)
    return DeskTimes(inserted, there, paused, alone)


@contextmanager
def _desk(directory: Path) -> Iterator[tuple[ReaderHost, Path, str]]:
    """Run a clinic's desk and everything behind it: authorities, core, interface system, joint body, reader. Yields the
    reader's host, the card's image, and the page's address."""
    world = new_world(directory / "desk", SharedKeySource([generate() for _ in range(6)]))
    institutions = Institutions(world)
    image = institutions.issue_card(WHO, WHO)
    institutions.settle()
    network, where = Network(institutions), free_addresses()
    if not all(stage.ok for stage in network.rehearse(where)):
        raise RuntimeError("the network could not be set up")
    insurance = insurance_of(network)
    insurance.set_up([INSURER])
    people = [institutions.registry.find(WHO)]
    NetworkBodies(network).admit(INSURER, people)
    file = insurance.draft(INSURER, people, ChangeType.NEW, date(2026, 4, 1), None)
    insurance.intake().hand_in(INSURER, file.encode())
    insurance.register(WHO, Medium.CARD)
    located = {**network.located(), **where}
    ports = [port_of(address) for address in located.values()]
    for _ in range(3):
        ports.append(free_port(ports))
    services_port, joint_port, desk_port = ports[-3:]
    folder = directory / "clinic"
    insurance.add_clinic("架空医院", folder, f"https://localhost:{joint_port}")
    with ExitStack() as stack:
        stack.callback(world.close)
        pcscd = start_pcscd(directory, ["Kazashi"], private=True)
        stack.callback(pcscd.stop)
        os.environ.update(pcscd.client_environment())
        services = Services(world, port=services_port)
        stack.callback(services.stop)
        at, log = services.status["http"], world.run / "part"
        program = ("kazashi", "--world", str(world.directory))
        for part in (CORE, f"interface:{INTERFACE}"):
            process = served(world, part, located, log.with_suffix(f".{part.replace(':', '-')}"), at, "")
            stack.callback(process.kill)
        joint = (*program, "insurance", "serve", "--services", at, "--desk", located[DESK])
        process = ServedProcess("the joint body", joint, joint_port, log.with_suffix(".joint"), tls=True)
        stack.callback(process.kill)
        desk = (*program, "clinic", "serve", str(folder), "--wait", str(_PATIENCE))
        process = ServedProcess("the desk", desk, desk_port, log.with_suffix(".clinic"))
        stack.callback(process.kill)
        host = ReaderHost(pcscd.endpoints)
        stack.callback(host.close)
        yield host, image, f"http://localhost:{desk_port}"


def _until_gone(reader: str) -> None:
    deadline = time.monotonic() + _PATIENCE
    while card_answers(reader):
        if time.monotonic() > deadline:
            raise RuntimeError(f"the reader's state did not change for {_PATIENCE} seconds")
        time.sleep(0.005)
