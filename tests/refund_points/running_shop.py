"""A register with a card reader, a centre, the portal, the agent and a browser, each as its own process."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

from kazashi.assembly.institutions import Institutions
from kazashi.assembly.points import enrol_till, serve_centre
from kazashi.assembly.points_server import centre_of
from kazashi.assembly.served import ServedProcess, serve
from kazashi.reader_bridge.host import Presentation, ReaderHost
from kazashi.reader_bridge.pcscd import RunningPcscd
from kazashi.refund_points.centre import Centre
from kazashi.refund_points.till import Till
from kazashi.tools.daemon.services import Services
from kazashi.world.home import World
from tests.polling import LIMIT

SHOP, TILL = "rice-shop", "till-1"


@dataclass
class RunningShop:
    """The running processes, and the objects to drive them."""

    institutions: Institutions
    host: ReaderHost
    centre: Centre
    centre_process: ServedProcess
    services: str
    portal: str
    browser: Browser
    image: Path

    @property
    def world(self) -> World:
        return self.institutions.world

    @property
    def till(self) -> Till:
        return enrol_till(self.world, SHOP, TILL)

    @property
    def centre_address(self) -> str:
        return f"https://localhost:{self.centre_process.port}"

    def tap(self, image: Path | None = None, slot: int = 0) -> None:
        """Put a card on a reader: hanako's, unless another is named."""
        reader_slot, image = self.host.slots[slot], image or self.image
        self.host.insert(reader_slot, image.stem, image, Presentation(contactless=True))
        assert reader_slot.wait_until_powered(LIMIT)

    def clear(self) -> None:
        """Remove every card."""
        for slot in self.host.slots:
            if slot.occupied:
                self.host.remove(slot)

    def cut(self) -> None:
        """Kill the centre's process."""
        self.centre_process.kill()

    def mend(self) -> None:
        """Start the centre again at the same address."""
        self.centre_process = serve_centre(self.world, self.centre_process.port)


@contextmanager
def running_shop(institutions: Institutions, pcscd: RunningPcscd) -> Iterator[RunningShop]:
    """Start all processes, and stop them at the end."""
    world = institutions.world
    with ExitStack() as stack:
        image = institutions.issue_card("hanako", "hanako")
        host = ReaderHost(pcscd.endpoints)
        stack.callback(host.close)
        services = Services(world)
        stack.callback(services.stop)
        environment = {**os.environ, **pcscd.client_environment()}
        agent = serve(world.run, "agent", environment=environment)
        stack.callback(agent.stop)
        options = ("--services", services.status["http"], "--agent", f"http://127.0.0.1:{agent.port}")
        portal = serve(world.run, "points portal", *options, world=world.directory)
        stack.callback(portal.stop)
        playwright = stack.enter_context(sync_playwright())
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        stack.callback(browser.close)
        enrol_till(world, SHOP, TILL)
        shop = RunningShop(
            institutions, host, centre_of(world), serve_centre(world), services.status["http"],
            f"http://localhost:{portal.port}", browser, image,
        )  # fmt: skip
        stack.callback(lambda: shop.centre_process.stop())
        yield shop


def program(world: World, *arguments: str) -> list[str]:
    """Return the command line that runs kazashi on a world."""
    return [sys.executable, "-m", "kazashi", "--world", str(world.directory), *arguments]


def log_in(page: Page, button: str, secret: str) -> None:
    """Log in on the agent's page with the PIN or password."""
    page.click(button)
    page.fill("#pin", secret)
    page.click("button[name=ok]")
