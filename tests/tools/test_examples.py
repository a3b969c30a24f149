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
from kazashi.reader_bridge.host import Presentation, ReaderHost
from kazashi.world.home import World
from tests.polling import LIMIT
from tests.support import run

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


def test_java_example_signs(reader: str) -> None:
    output = run("java", str(EXAMPLES / "java/SignWithCard.java"), "1234")
    assert "O=JPKI-EMU" in output
    assert output.rstrip().endswith(": true")


def test_node_example_signs(reader: str) -> None:
    assert run("node", str(EXAMPLES / "node/sign.js"), "1234").rstrip().endswith(": true")
    run("node", str(EXAMPLES / "node/sign.js"), expect=2)


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
