"""A register with a card reader, a centre, the portal, the agent and a browser, each as its own process, and a terminal
that the tests type into."""

from __future__ import annotations

import os
import subprocess
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
from tests.polling import LIMIT, until

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


class Screen:
    """A program on a terminal of 110 columns and 34 lines, in its own tmux server."""

    def __init__(self, socket: Path, *command: str) -> None:
        self._tmux = ("tmux", "-S", str(socket), "-f", "/dev/null")
        environment = (
            "env",
            "-u",
            "COLUMNS",
            "-u",
            "LINES",
            "TERM=xterm-256color",
            "LC_ALL=C.UTF-8",
            "TEXTUAL_ANIMATIONS=none",
        )
        self._run("new-session", "-d", "-x", "110", "-y", "34", *environment, *command)
        self._run("set-option", "-g", "remain-on-exit", "on")

    def keys(self, *keys: str) -> None:
        """Press keys, given by tmux's names."""
        self._run("send-keys", *keys)

    def type(self, text: str) -> None:
        """Type a line and press Enter."""
        self._run("send-keys", "-l", "--", text)
        self.keys("Enter")

    def shown(self) -> str:
        """Return the text on the screen."""
        return self._run("capture-pane", "-p")

    def until(self, *texts: str) -> str:
        """Wait until the screen shows all of these texts, and return what it shows."""
        shown = ""

        def shows() -> bool:
            nonlocal shown
            shown = self.shown()
            return all(text in shown for text in texts)

        until(shows, f"the screen shows {texts}")
        return shown

    def close(self) -> None:
        """Kill the tmux server and the program in it."""
        subprocess.run([*self._tmux, "kill-server"], check=False, capture_output=True)

    def _run(self, *arguments: str) -> str:
        return subprocess.run([*self._tmux, *arguments], check=True, capture_output=True, text=True).stdout


def program(world: World, *arguments: str) -> list[str]:
    """Return the command line that runs kazashi on a world."""
    return [sys.executable, "-m", "kazashi", "--world", str(world.directory), *arguments]


def log_in(page: Page, button: str, secret: str) -> None:
    """Log in on the agent's page with the PIN or password."""
    page.click(button)
    page.fill("#pin", secret)
    page.click("button[name=ok]")
