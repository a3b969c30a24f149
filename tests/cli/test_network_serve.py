"""`kazashi network serve`: what it checks before it starts anything, and what it does when a part ends."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

from kazashi.assembly import network_processes
from kazashi.assembly.errors import ServicesUnavailable
from kazashi.assembly.network import free_addresses
from kazashi.assembly.served import ServedProcess, free_port
from kazashi.web import ports
from kazashi.world.home import World
from kazashi.world.key_source import SharedKeySource
from tests.cli.program import Program, new_world
from tests.polling import LIMIT
from tests.town import new_institutions


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Program:
    """A world with a network, whose authorities have not published anything."""
    program = new_world(tmp_path_factory.mktemp("serve") / "w")
    program.run("registry", "add", "hanako")
    program.run("clock", "advance", "1d")
    program.run("network", "setup")
    return program


@pytest.mark.parametrize("tls", [True, False])
def test_a_server_of_another_program_is_not_taken_for_the_own(tmp_path: Path, tls: bool) -> None:
    port = free_port()
    with socket.create_server(("127.0.0.1", port)), pytest.raises(ServicesUnavailable, match=f"port {port} is in use"):
        ServedProcess("the agent", ("kazashi", "agent"), port, tmp_path / "log", tls=tls)
    assert not (tmp_path / "log").exists(), "nothing was started"


def test_no_part_starts_if_the_port_of_one_is_in_use(town: Program) -> None:
    for taken, part in ((ports.PENSION, "interface:pension"), (ports.PORTAL_MESSAGES, "portal")):
        with socket.create_server(("127.0.0.1", taken.number)):
            words = town.error("services-unavailable", 3, "network", "serve", "core", part)
        assert f"port {taken.number} is in use" in words


def test_the_portal_needs_the_authorities_before_any_part_starts(town: Program) -> None:
    words = town.error("services-unavailable", 3, "network", "serve")
    assert "run: kazashi up [" in words
    assert words.count("kazashi:") == words.count("[") == 1


def test_a_child_s_coded_error_is_reported_with_one_code(town: Program) -> None:
    """The portal on its own finds the same problem when it starts."""
    log = town.world / "portal.log"
    arguments = ("kazashi", "--world", str(town.world), "network", "portal")
    with pytest.raises(ServicesUnavailable, match="the portal did not start: there is no authority") as raised:
        ServedProcess("the portal", arguments, free_port(), log)
    assert "[bad-anchor]" in log.read_text(encoding="utf-8")
    assert "[" not in str(raised.value)


def test_a_part_that_ends_is_named_and_started_again(town: Program) -> None:
    command = [sys.executable, "-m", "kazashi", "--world", str(town.world), "network", "serve", "core"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr is not None
        assert server.stderr.readline() == f"core is at {ports.CORE.address}\n"
        os.kill(child_of(server.pid), signal.SIGKILL)
        log = town.world / "run" / "network-core.ended.log"
        assert server.stderr.readline() == f"core has ended (signal 9; its log is {log}); it is started again\n"
        assert server.stderr.readline() == f"core is at {ports.CORE.address}\n"
        child = child_of(server.pid)
        server.terminate()
        assert server.stderr.read() == "", "a part that it stops itself is not reported"
        assert server.wait(LIMIT) == 0
    assert log.exists()
    assert not Path(f"/proc/{child}").exists()


def test_a_part_that_ends_again_and_again_stops_the_others(
    tmp_path: Path, keys: SharedKeySource, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The processes are stand-ins, because each start of a real one takes a second."""
    world, said, started = new_institutions(tmp_path / "w", keys).world, list[str](), list[str]()

    def stand_in(_world: World, part: str, _where: object, log: Path, *_: str) -> SimpleNamespace:
        started.append(part)
        log.write_text(part, encoding="utf-8")
        return SimpleNamespace(ended="exit status 1" if part == "core" else None, stop=lambda: None)

    monkeypatch.setattr(network_processes, "served", stand_in)
    monkeypatch.setattr(network_processes, "_LOOK_SECONDS", 0.001)
    processes = network_processes.NetworkProcesses(world, free_addresses(), "", "", said.append)
    processes.start(["desk", "core"])
    with pytest.raises(ServicesUnavailable, match=r"core has ended \(exit status 1; .* again 3 times in a minute"):
        processes.watch(threading.Event())
    assert started == ["desk", *["core"] * 4]
    assert len([words for words in said if "core has ended (exit status 1" in words]) == 3
    world.close()


def child_of(process: int) -> int:
    """The only child of a process."""
    return int(Path(f"/proc/{process}/task/{process}/children").read_text(encoding="ascii"))
