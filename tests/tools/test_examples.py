"""The examples, run on a real reader as their users would run them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from kazashi.card_management.order import image_path
from kazashi.reader_bridge.endpoint import DriverEndpoint
from kazashi.reader_bridge.host import Presentation, ReaderHost
from kazashi.reader_bridge.pcscd import start_pcscd
from kazashi.world.home import World
from tests.polling import LIMIT
from tests.support import run, send

ROOT = Path(__file__).parent.parent.parent
EXAMPLES = ROOT / "examples"


@pytest.fixture
def reader(host: ReaderHost, world: World, tmp_path: Path) -> str:
    """A reader with a card in it, which every program started by this process finds."""
    image = Path(shutil.copy(image_path(world, "hanako"), tmp_path / "hanako.card"))
    host.insert(host.slots[0], "hanako", image, Presentation())
    assert host.slots[0].wait_until_powered(10)
    return host.slots[0].endpoint.reader


def test_shell_example_signs(reader: str) -> None:
    assert "Verified OK" in run("sh", str(EXAMPLES / "shell/sign.sh"), reader)
    assert "PIN code or key incorrect" in run("sh", str(EXAMPLES / "shell/sign.sh"), reader, "0000", expect=5)


def test_python_example_logs_in_without_a_pin(reader: str, world: World, tmp_path: Path) -> None:
    """A card that was issued before accepts a terminal that is certified now, as docs/card.md has it."""
    key, public, certificate = (tmp_path / name for name in ("terminal.pem", "public.pem", "terminal.cvc"))
    run("openssl", "genrsa", "-out", str(key), "2048")
    run("openssl", "rsa", "-in", str(key), "-pubout", "-out", str(public))
    program = (sys.executable, "-m", "kazashi", "--world", str(world.directory))
    run(*program, "card", "terminal", str(public), "--out", str(certificate))
    written = certificate.read_bytes()
    assert (written[:10].hex(), written[307:312].hex(), len(written)) == ("7f218202335f4e820129", "5f37820100", 568)
    output = run(sys.executable, str(EXAMPLES / "python/terminal_login.py"), str(certificate), str(key))
    assert output.endswith("256 bytes of signature, and no PIN\n")
    assert {line.split()[1] for line in output.splitlines()[:-1]} == {"9000"}


def test_java_example_signs(reader: str) -> None:
    output = run("java", str(EXAMPLES / "java/SignWithCard.java"), "1234")
    assert "O=JPKI-EMU" in output
    assert output.rstrip().endswith(": true")


def test_node_example_signs(reader: str) -> None:
    assert run("node", str(EXAMPLES / "node/sign.js"), "1234").rstrip().endswith(": true")
    run("node", str(EXAMPLES / "node/sign.js"), expect=2)


@pytest.mark.reader
@pytest.mark.parametrize(
    "program",
    [
        pytest.param(["node", "examples/node/hostcard.js"], id="node"),
        pytest.param(["{go}"], id="go", marks=pytest.mark.long),  # Go compiles its library first
    ],
)
def test_programs_in_other_languages_host_a_card(tmp_path: Path, program: list[str]) -> None:
    """opensc-tool talks to the card of a program that knows nothing but docs/driver.md."""
    if program == ["{go}"]:
        run("go", "build", "-o", str(tmp_path / "hostcard"), "./hostcard", cwd=EXAMPLES / "go")
        program = [str(tmp_path / "hostcard")]
    running = start_pcscd(tmp_path, ["Other"], private=True)
    (endpoint,) = running.endpoints
    assert isinstance(endpoint, DriverEndpoint)
    host = subprocess.Popen([*program, str(endpoint.directory / "0")], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert host.stdout is not None
        assert host.stdout.readline() == "the card is in the reader\n"
        send(running.client_environment(), endpoint.reader, "00B0000000")
        done = subprocess.run(
            ["opensc-tool", "--reader", endpoint.reader, "--atr", "--send-apdu", "00A4040C08F04B415A41534849",
             "--send-apdu", "00B0000600", "--send-apdu", "00A4040C0100", "--send-apdu", "00CA0000",
             "--send-apdu", "00B0000004"],
            env={**os.environ, **running.client_environment()},
            capture_output=True, text=True, check=True, timeout=LIMIT,
        )  # fmt: skip
        assert "3b:80:01:81" in done.stdout
        assert "from " in done.stdout, "the file from its sixth byte on, as text"
        assert done.stdout.endswith("48 65 6C 6C Hell\n"), "as many bytes as the last command asks for"
        assert [line.split()[1] for line in done.stdout.splitlines() if "SW1" in line] == [
            "(SW1=0x90,", "(SW1=0x90,", "(SW1=0x6A,", "(SW1=0x6D,", "(SW1=0x90,"
        ]  # fmt: skip
    finally:
        host.kill()
        host.communicate()
        running.stop()


def test_example_tests_pass(tmp_path: Path) -> None:
    shutil.copy(EXAMPLES / "pytest/test_login.py", tmp_path)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PCSCLITE")}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:xdist", "-p", "no:cacheprovider", str(tmp_path)],
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=LIMIT,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert "5 passed" in done.stdout


def test_recipes_name_existing_files_and_options() -> None:
    compose = yaml.safe_load((EXAMPLES / "container/compose.yaml").read_text())
    build = compose["services"]["reader"]["build"]
    context = (EXAMPLES / "container" / build["context"]).resolve()
    assert context == ROOT
    assert (context / build["dockerfile"]).is_file()
    assert (ROOT / compose["services"]["tests"]["command"][1]).is_file()
    workflow = yaml.safe_load((EXAMPLES / "github/card-tests.yaml").read_text())
    steps = [step["run"] for step in workflow["jobs"]["card"]["steps"] if "run" in step]
    for command in [*steps, "./kazashi up --pcscd own --no-services"]:
        words = command.replace("sudo ", "").replace("kazashi/kazashi", "kazashi").replace("--yes ", "").split()
        if words[0] == "./kazashi":
            text = run(sys.executable, "-m", "kazashi", *words[1 : 2 if words[1] == "up" else 3], "--help")
            assert all(word in text for word in words if word.startswith("--"))
    listed = (EXAMPLES / "README.md").read_text()
    for folder in EXAMPLES.iterdir():
        assert folder.is_file() or f"`{folder.name}/`" in listed
