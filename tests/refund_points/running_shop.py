"""A register with a card reader, a centre, the portal, agent and browser: all as processes of their own; and a
terminal that the tests type into."""

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
    """What the tests work on."""

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
        where, image = self.host.slots[slot], image or self.image
        self.host.insert(where, image.stem, image, Presentation(contactless=True))
        assert where.wait_until_powered(LIMIT)

    def clear(self) -> None:
        """Take every card away."""
        for slot in self.host.slots:
            if slot.occupied:
                self.host.remove(slot)

    def cut(self) -> None:
        """The centre's machine loses its power."""
        self.centre_process.kill()

    def mend(self) -> None:
        """It is back, at the same address."""
        self.centre_process = serve_centre(self.world, self.centre_process.port)


@contextmanager
def running_shop(institutions: Institutions, pcscd: RunningPcscd) -> Iterator[RunningShop]:
    """Everything, started and stopped."""
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
        found = RunningShop(
            institutions, host, centre_of(world), serve_centre(world), services.status["http"],
            f"http://localhost:{portal.port}", browser, image,
        )  # fmt: skip
        stack.callback(lambda: found.centre_process.stop())
        yield found


class Screen:
    """A program on a terminal of 110 columns and 34 lines, in a tmux of its own."""

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
        """Press keys, by tmux's names."""
        self._run("send-keys", *keys)

    def type(self, text: str) -> None:
        """Type a line, and Enter."""
        self._run("send-keys", "-l", "--", text)
        self.keys("Enter")

    def shown(self) -> str:
        """What is on the screen."""
        return self._run("capture-pane", "-p")

    def until(self, *words: str) -> str:
        """The screen, once it shows all of these words."""
        shown = ""

        def shows() -> bool:
            nonlocal shown
            shown = self.shown()
            return all(word in shown for word in words)

        until(shows, f"the screen shows {words}")
        return shown

    def close(self) -> None:
        """Whatever runs in it ends."""
        subprocess.run([*self._tmux, "kill-server"], check=False, capture_output=True)

    def _run(self, *words: str) -> str:
        return subprocess.run([*self._tmux, *words], check=True, capture_output=True, text=True).stdout


def program(world: World, *words: str) -> list[str]:
    """Our own program, on a world."""
    return [sys.executable, "-m", "kazashi", "--world", str(world.directory), *words]


def log_in(page: Page, button: str, secret: str) -> None:
    """Through the agent's page, and back."""
    page.click(button)
    page.fill("#pin", secret)
    page.click("button[name=ok]")
