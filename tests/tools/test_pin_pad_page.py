"""A PIN that is typed at a reader: in the console, and on the command line. The client is javax.smartcardio."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect, sync_playwright

from kazashi.assembly.control_path import control_path
from kazashi.reader_bridge import control
from kazashi.world.home import open_world
from tests.cli.program import Program
from tests.polling import LIMIT, until

pytestmark = pytest.mark.browser

CLIENT = Path(__file__).parents[1] / "reader_bridge" / "PinClient.java"
READER = "Kazashi PIN Pad 00 00"
PCSC_LITE = "libpcsclite.so.1"


def status_of(program: Program) -> dict[str, Any]:
    return control.request(control_path(open_world(program.world)), "status")


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    program = Program(tmp_path_factory.mktemp("pin") / "w")
    program.run("up", "--detach", "--pcscd", "private", "--reader-profile", "pin-pad")
    yield program
    program.run("down")


@pytest.fixture(scope="module")
def page(program: Program) -> Iterator[Page]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        page = browser.new_page(locale="en-GB")
        page.goto(status_of(program)["console"])
        page.wait_for_selector("[data-slot='0']")
        yield page
        browser.close()


class Client:
    """A Java program that waits until a PIN is typed at the reader."""

    def __init__(self, program: Program) -> None:
        java = shutil.which("java")
        assert java is not None, "install the Debian package default-jdk-headless"
        library = next(Path("/usr/lib").rglob(PCSC_LITE))
        status = status_of(program)
        self._process = subprocess.Popen(
            [java, f"-Dsun.security.smartcardio.library={library}", str(CLIENT), READER],
            env={**os.environ, **status["pcscd"]["environment"]},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        try:
            until(lambda: self._waits(program), "the reader waits for a PIN")
        except BaseException:
            self._process.kill()
            raise

    def _waits(self, program: Program) -> bool:
        assert self._process.poll() is None, self._process.stdout.read() if self._process.stdout else ""
        return bool(status_of(program)["pins"])

    def output(self) -> list[str]:
        output, _ = self._process.communicate(timeout=LIMIT)
        return output.split("\n")[:-1]


def test_a_pin_typed_in_the_console_reaches_the_card(program: Program, page: Page) -> None:
    client = Client(program)
    pad = page.locator("[data-pin='0']")
    expect(pad).to_contain_text(f"{READER} waits for the current PIN")
    for key in ("1", "2", "9", "correct", "3", "4"):
        pad.locator(f"[data-key='{key}']").click()
    expect(pad.locator(".typed")).to_have_text("●●●●")
    assert "1234" not in pad.inner_text().replace("\n", "").partition("4 digits")[0]
    pad.locator("[data-key=confirm]").click()
    features = [f"feature {tag} of 4 bytes" for tag in (6, 7, 10, 18)]
    assert client.output() == ["3BE000FF8131FE4514", *features, "9000"]
    expect(pad).to_have_count(0)


@pytest.mark.long
def test_a_wrong_pin_and_the_cancel_key_in_the_console(program: Program, page: Page) -> None:
    client = Client(program)
    pad = page.locator("[data-pin='0']")
    pad.locator("[data-key='1']").focus()
    page.keyboard.type("0000")
    expect(pad.locator(".typed")).to_have_text("●●●●")
    pad.locator("[data-key=confirm]").click()
    assert client.output()[-1] == "63C2"
    client = Client(program)
    pad.locator("[data-key=cancel]").click()
    assert client.output()[-1] == "6401"


def test_a_pin_typed_on_the_command_line_reaches_the_card(program: Program) -> None:
    client = Client(program)
    assert "4 digits are typed at Kazashi PIN Pad 00 00" in program.run("reader", "pin", "0", "1234").stdout
    assert client.output()[-1] == "9000"
    client = Client(program)
    program.error("not-digits", 2, "reader", "pin", "0", "12x4")
    program.error("usage", 2, "reader", "pin", "0")
    program.run("reader", "pin", "0", "--cancel")
    assert client.output()[-1] == "6401"
    program.error("no-pin-wanted", 2, "reader", "pin", "0", "1234")
    trace = program.run("reader", "trace", "--raw").stdout
    assert "VERIFY" in trace
    assert "31323334" not in trace


def test_a_removed_card_ends_the_entry(program: Program) -> None:
    client = Client(program)
    program.run("card", "remove", "0")
    assert "CardException" in "\n".join(client.output()) or client.output()[-1] == "6401"
    program.run("card", "insert", "hanako")


def test_readers_with_profiles_are_refused_where_they_cannot_be(program: Program, tmp_path: Path) -> None:
    other = Program(tmp_path / "w")
    other.error("no-such-profile", 2, "up", "--reader-profile", "rc-s300")
    (tmp_path / "bad.toml").write_text("title = 1", encoding="utf-8")
    other.error("bad-profile", 2, "up", "--reader-profile", str(tmp_path / "bad.toml"))
    program.run("card", "remove", "0")
    program.error("no-such-slot", 2, "card", "insert", "hanako", "--slot", "0", "--contactless")
