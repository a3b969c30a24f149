"""Kazashi as people install it from a wheel, with pip, pipx and uv, and everything from the package index. Long."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.package.test_installed import ROOT, run

pytestmark = pytest.mark.long

TOOLS = Path(sys.prefix) / "bin"
SELECT = "00A4040C0AD392F000260100000001"


@dataclass(frozen=True, slots=True)
class Installed:
    """An installed program, its variables, and the command that adds pytest to its environment."""

    program: Path
    variables: dict[str, str]
    add: list[str]

    def run(self, *arguments: object, timeout: int = 300) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(self.program), *map(str, arguments)], env=self.variables, capture_output=True, text=True, check=False,
            stdin=subprocess.DEVNULL, timeout=timeout,
        )  # fmt: skip


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    left_out = shutil.ignore_patterns(".*", "build", "dist", "*.egg-info", "__pycache__", "artefacts")
    copy = shutil.copytree(ROOT, tmp_path_factory.mktemp("copy") / "checkout", ignore=left_out)
    directory = tmp_path_factory.mktemp("wheel")
    done = run(sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--quiet",
               "--wheel-dir", directory, copy)  # fmt: skip
    assert done.returncode == 0, done.stderr
    return next(directory.glob("*.whl"))


@pytest.fixture(scope="module")
def constraints(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The lock file's versions without their hashes: pip takes no hashes for a wheel that it was given by its path."""
    lines = re.findall(r"^[A-Za-z0-9][^\\\n]*", (ROOT / "requirements.lock").read_text(encoding="utf-8"), re.MULTILINE)
    path = tmp_path_factory.mktemp("constraints") / "constraints.txt"
    path.write_text("".join(f"{line.strip()}\n" for line in lines), encoding="utf-8")
    return path


@pytest.fixture(scope="module", params=["pip", "pipx", "uv"])
def installed(
    request: pytest.FixtureRequest, wheel: Path, constraints: Path, tmp_path_factory: pytest.TempPathFactory
) -> Installed:
    home = tmp_path_factory.mktemp(f"home-{request.param}")
    bin_folder = home / "bin"
    variables = {
        "PATH": f"{bin_folder}:{TOOLS}:{os.environ['PATH']}", "HOME": str(home), "LANG": "C.UTF-8",
        "PIPX_HOME": str(home / "pipx"), "PIPX_BIN_DIR": str(bin_folder), "PIPX_DEFAULT_PYTHON": "/usr/bin/python3",
        "UV_TOOL_DIR": str(home / "uv"), "UV_TOOL_BIN_DIR": str(bin_folder), "UV_CACHE_DIR": str(home / "cache"),
        "UV_SYSTEM_CERTS": "true", "KAZASHI_WORLD": str(home / "world"), "KAZASHI_VPCD_PORT": "27100",
        **{name: value for name, value in os.environ.items() if "CERT" in name or name.startswith("PIP_")},
    }  # fmt: skip
    if request.param == "pip":
        subprocess.run(["/usr/bin/python3", "-m", "venv", home / "env"], check=True)
        pip = [str(home / "env" / "bin" / "python"), "-m", "pip", "install", "--quiet"]
        commands, add = [[*pip, "-c", str(constraints), str(wheel)]], [*pip, "-c", str(constraints), "pytest"]
        bin_folder.symlink_to(home / "env" / "bin")
    elif request.param == "pipx":
        commands = [["pipx", "install", "--quiet", f"--pip-args=-c {constraints}", str(wheel)]]
        add = ["pipx", "inject", "--quiet", "kazashi", "pytest"]
    else:
        commands = [["uv", "tool", "install", "--quiet", "--python", "/usr/bin/python3",
                     "--constraints", str(constraints), str(wheel)]]  # fmt: skip
        add = ["uv", "pip", "install", "--quiet", "--python", str(home / "uv" / "kazashi" / "bin" / "python"), "pytest"]
    for command in commands:
        done = subprocess.run(command, env=variables, capture_output=True, text=True, check=False, timeout=300)
        assert done.returncode == 0, done.stderr
    return Installed(bin_folder / "kazashi", variables, add)


def test_program_puts_a_card_into_a_reader(installed: Installed) -> None:
    done = installed.run("up", "--detach", "--no-services", "--pcscd", "private", "--json")
    assert done.returncode == 0, done.stderr
    try:
        settings = installed.run("reader", "env").stdout
        script = f'{settings}\nopensc-tool --reader "Kazashi 00 00" --name --send-apdu {SELECT}'
        seen = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=False, timeout=60)
        assert "jpki" in seen.stdout, seen.stdout + seen.stderr
        assert "SW1=0x90" in seen.stdout
    finally:
        installed.run("down")


def test_nothing_is_wrong_after_the_installation(installed: Installed) -> None:
    done = installed.run("doctor")
    assert done.returncode == 0, done.stdout
    assert "0 wrong" in done.stdout


def test_part_is_installed_by_its_name(installed: Installed) -> None:
    done = installed.run("points", "till", "rice-shop", "till-1")
    assert done.returncode == 3
    assert done.stderr.endswith("[package-missing]\n")
    assert "kazashi self install points" in done.stderr
    assert installed.run("self", "install", "points").returncode == 0
    assert "[package-missing]" not in installed.run("points", "till", "rice-shop", "till-1").stderr


def test_commands_for_a_checkout_say_so(installed: Installed) -> None:
    for command in ("test", "docs", "lock", "bench"):
        done = installed.run(command)
        assert (done.returncode, done.stderr[-20:]) == (3, " [checkout-missing]\n"), done.stderr


def test_pytest_finds_the_plugin(installed: Installed, tmp_path: Path) -> None:
    done = subprocess.run(installed.add, env=installed.variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (tmp_path / "test_mine.py").write_text(
        "def test_the_card(kazashi_connection):\n"
        f"    assert kazashi_connection.transmit(list(bytes.fromhex('{SELECT}')))[1:] == (0x90, 0x00)\n"
    )
    python = installed.program.resolve().with_name("python")
    tested = subprocess.run([python, "-m", "pytest", "-q", tmp_path], env=installed.variables, cwd=tmp_path,
                            capture_output=True, text=True, check=False)  # fmt: skip
    assert "1 passed" in tested.stdout, tested.stdout + tested.stderr


def test_update_and_remove(installed: Installed, wheel: Path) -> None:
    updated = installed.run("self", "update", wheel)
    assert updated.returncode == 0, updated.stderr
    assert installed.run("--version").stdout.startswith("kazashi, version ")
    removed = installed.run("self", "remove", "--yes")
    assert removed.returncode == 0, removed.stderr
    assert str(Path(installed.variables["KAZASHI_WORLD"])) in removed.stdout, "it says what it leaves behind"
    assert not installed.program.exists()
