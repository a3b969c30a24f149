"""A clinic's desk with a reader and a browser, the joint body, the network and the authorities, each as a process."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
from playwright.sync_api import Browser, sync_playwright

from kazashi.assembly.network import DESK, free_addresses, port_of, served
from kazashi.assembly.served import ServedProcess, free_port
from kazashi.medical_insurance.joint_body import INTERFACE
from kazashi.provision_network.terms import CORE
from kazashi.reader_bridge.host import Presentation, ReaderHost
from kazashi.reader_bridge.pcscd import RunningPcscd
from kazashi.tools.daemon.services import Services
from kazashi.world.home import World
from kazashi.world.key_source import KeySource
from tests.medical_insurance.insured_town import CLINIC, InsuredTown, opened
from tests.polling import LIMIT

WAIT = 1.0
"""How long the terminal waits for a card, in seconds."""


@dataclass
class RunningDesk:
    """The running processes, and the objects to drive them."""

    town: InsuredTown
    host: ReaderHost
    images: dict[str, Path]
    browser: Browser
    parts: dict[str, ServedProcess]
    joint_body: str
    page: str
    folder: Path

    @property
    def world(self) -> World:
        return self.town.world

    def put(self, name: str, slot: int = 0) -> None:
        """Put a card on the reader in place of what is there."""
        reader_slot = self.host.slots[slot]
        if reader_slot.occupied:
            self.host.remove(reader_slot)
        self.host.insert(reader_slot, name, self.images[name], Presentation(contactless=True))
        assert reader_slot.wait_until_powered(LIMIT)

    def clear(self) -> None:
        """Take every card away."""
        for slot in self.host.slots:
            if slot.occupied:
                self.host.remove(slot)

    def post(self, language: str = "en", **fields: str) -> str:
        """Send the page's form, and return the state that the page shows; its sentence is in `sentence`."""
        state, self.sentence = self.state_of(language, **fields)
        return state

    def state_of(self, language: str = "en", **fields: str) -> tuple[str, str]:
        """Send the page's form, and return the state and the sentence that the page shows."""
        headers = {"Origin": self.page, "Accept-Language": language}
        response = httpx.post(f"{self.page}/check", data=fields, headers=headers, timeout=LIMIT)
        match = re.search(r'data-state="([^"]*)">([^<]*)<', response.text)
        assert match is not None, response.text
        return match[1], match[2]


@contextmanager
def running_desk(directory: Path, pcscd: RunningPcscd, keys: KeySource) -> Iterator[RunningDesk]:
    """Start all processes in a prepared world, and kill them at the end."""
    where = free_addresses()
    with ExitStack() as stack:
        town = stack.enter_context(opened(directory, keys))
        assert all(stage.ok for stage in town.network.rehearse(where))
        world, insurance = town.world, town.insurance
        located = {**town.network.located(), **where}
        taken = [port_of(address) for address in located.values()]
        services = Services(world, avoid=taken)
        stack.callback(services.stop)
        taken.append(services.port)
        joint_port = free_port(taken)
        clinic_port = free_port([*taken, joint_port])
        joint_body, folder = f"https://localhost:{joint_port}", directory.parent / "clinic"
        insurance.add_clinic(CLINIC, folder, joint_body)
        at = services.status["http"]
        program = ("kazashi", "--world", str(world.directory))
        joint = (*program, "insurance", "serve", "--services", at, "--desk", located[DESK])
        desk = ("kazashi", "--world", str(directory / "none"), "clinic", "serve", str(folder), "--wait", str(WAIT))
        environment = {**os.environ, **pcscd.client_environment()}
        log = world.run / "part"

        def part(name: str) -> ServedProcess:
            return served(world, name, located, log.with_suffix(f".{name.replace(':', '-')}"), at, "")

        start: dict[str, Callable[[], ServedProcess]] = {
            CORE: lambda: part(CORE), INTERFACE: lambda: part(f"interface:{INTERFACE}"), DESK: lambda: part(DESK),
            "joint": lambda: ServedProcess("the joint body", joint, joint_port, log.with_suffix(".joint"), tls=True),
            "clinic": lambda: ServedProcess("the desk", desk, clinic_port, log.with_suffix(".clinic"), environment),
        }  # fmt: skip
        parts: dict[str, ServedProcess] = {}
        # A process ends with the thread that started it, so that the threads must outlive the processes.
        pool = stack.enter_context(ThreadPoolExecutor(len(start)))
        stack.callback(lambda: _kill(parts.values()))
        for name, begun in {name: pool.submit(one) for name, one in start.items()}.items():
            parts[name] = begun.result()
        host = ReaderHost(pcscd.endpoints)
        stack.callback(host.close)
        playwright = stack.enter_context(sync_playwright())
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        stack.callback(browser.close)
        images = {path.stem: path for path in world.cards.glob("*.card")}
        yield RunningDesk(
            town, host, images, browser, parts, joint_body, f"http://localhost:{clinic_port}", folder
        )  # fmt: skip


def _kill(processes: Iterable[ServedProcess]) -> None:
    for process in processes:
        process.kill()
