"""Where vpcd stands in for our driver: the demonstration's card part, and what commands say about it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.polling import LIMIT
from tests.tools.demo_with_vicc import STEPS

pytestmark = pytest.mark.reader

REASON = "there is no C compiler to build the driver with"
REMEDY = "apt-get install gcc libc6-dev libpcsclite-dev"


def kazashi(*arguments: str, python: Path = Path(sys.executable), **environment: str) -> Any:
    return subprocess.run(
        [python, "-m", "kazashi", *arguments], capture_output=True, text=True, check=False, timeout=LIMIT,
        env={**os.environ, **environment},
    )  # fmt: skip


def demo(directory: Path, *options: str, **how: Any) -> tuple[int, list[dict[str, Any]]]:
    done = kazashi("demo", "--short", "--json", "--report", str(directory / "report.html"), *options, **how)
    return done.returncode, json.loads(done.stdout)


def test_demo_runs_with_vpcds_reader(tmp_path: Path) -> None:
    status, steps = demo(tmp_path, "--vpcd")
    assert status == 0, steps[-1]
    assert "a reader of vpcd" in steps[0]["detail"]
    assert len(steps) == 20


@pytest.mark.long
def test_card_part_of_the_demo_runs_with_vicc_as_host(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.tools.demo_with_vicc", str(tmp_path)],
        capture_output=True, text=True, check=False, timeout=LIMIT,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [title for title, _ in STEPS]


@pytest.fixture
def without_driver(tmp_path: Path) -> dict[str, Any]:
    """A Python whose environment has no built driver, and a PATH without a compiler."""
    environment, programs = tmp_path / "environment", tmp_path / "bin"
    packages = Path(sysconfig.get_paths()["purelib"])
    here = environment / packages.relative_to(sys.prefix)
    for directory in (environment / "bin", here.parent, programs):
        directory.mkdir(parents=True)
    here.symlink_to(packages)
    python = environment / "bin" / "python"
    python.symlink_to(sys.executable)
    (environment / "pyvenv.cfg").write_text((Path(sys.prefix) / "pyvenv.cfg").read_text())
    for system in ("/usr/sbin", "/usr/bin"):
        for program in Path(system).iterdir():
            link = programs / program.name
            if program.name not in ("cc", "gcc") and not link.exists():
                link.symlink_to(program)
    return {"python": python, "PATH": str(programs)}


@contextmanager
def running(world: Path, **how: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield what `up` says, and the status of the instance."""
    done = kazashi("--world", str(world), "up", "--detach", "--no-services", "--pcscd", "private", **how)
    assert done.returncode == 0, done.stderr
    try:
        yield done.stdout, json.loads(kazashi("--world", str(world), "status", "--json", **how).stdout)
    finally:
        kazashi("--world", str(world), "down", **how)


def test_commands_say_that_vpcd_stands_in_and_why(tmp_path: Path, without_driver: dict[str, Any]) -> None:
    world = tmp_path / "w"
    with running(world, **without_driver) as (said, status):
        sentence = f"These are vpcd's readers, because {REASON}; {REMEDY}"
        assert sentence in said
        assert sentence in kazashi("--world", str(world), "status", **without_driver).stdout
        assert status["pcscd"]["driver"] == "vpcd"
        assert status["pcscd"]["stand_in"] == f"{REASON}; {REMEDY}"
        assert len(status["slots"]) == 2
        doctor = kazashi("--world", str(world), "doctor", "--json", **without_driver)
        checks = {check["check"]: check for check in json.loads(doctor.stdout)}
        assert checks["reader driver"]["detail"] == f"{REASON}; vpcd's readers stand in for it"
        assert checks["reader driver"]["remedy"] == REMEDY
        assert "every network interface" in checks["vpcd's ports"]["detail"]
        assert "nft" in checks["vpcd's ports"]["remedy"]


def test_a_stand_in_fails_the_demo(tmp_path: Path, without_driver: dict[str, Any]) -> None:
    status, steps = demo(tmp_path, **without_driver)
    assert status == 1
    assert [(step["step"], step["ok"]) for step in steps] == [("pcscd", False)]
    assert REASON in steps[0]["detail"]


def test_with_the_driver_there_is_one_reader_and_no_port(tmp_path: Path) -> None:
    with running(tmp_path / "w") as (_, status):
        assert (status["pcscd"]["driver"], status["pcscd"]["stand_in"]) == ("kazashi", "")
        assert status["pcscd"]["open_ports"] == []
        listed = subprocess.run(
            ["opensc-tool", "--list-readers"], capture_output=True, text=True, check=True, timeout=LIMIT,
            env={**os.environ, **status["pcscd"]["environment"]},
        ).stdout  # fmt: skip
        assert [line.split()[0] for line in listed.splitlines()[2:]] == ["0"], "a client can insist on one reader"
        processes = family(status["pid"])
        assert len(processes) >= 2, "the instance and its pcscd"
        assert not processes & listeners()


def family(pid: int) -> set[int]:
    """Return a process and its descendants."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return {pid}.union(*(family(int(child)) for child in children))


def listeners() -> set[int]:
    """Return the processes that listen on a TCP port, of this network namespace."""
    sockets = {
        f"socket:[{fields[9]}]"
        for table in ("/proc/net/tcp", "/proc/net/tcp6")
        for line in Path(table).read_text().splitlines()[1:]
        if (fields := line.split())[3] == "0A"
    }
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if any(str(handle.readlink()) in sockets for handle in (process / "fd").iterdir()):
                found.add(int(process.name))
        except OSError:  # it has ended
            continue
    return found
