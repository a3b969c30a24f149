"""There is one instance of a world, whoever starts how many at once, and nothing stays that `down` does not end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.polling import until

pytestmark = pytest.mark.reader

UP = ("up", "--detach", "--pcscd", "private", "--no-console", "--json")


class Commands:
    """Commands on one new world, which run at the same time if they are started so."""

    def __init__(self, world: Path) -> None:
        self.world = world

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "kazashi", "--world", str(self.world), *arguments],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def run(self, *arguments: str) -> tuple[int, str, str]:
        return ended(self.start(*arguments))

    def processes(self) -> list[str]:
        """The command lines of all processes that name the world."""
        lines = []
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                line = path.read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue
            if str(self.world) in line:
                lines.append(line)
        return lines


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


@pytest.fixture
def commands(tmp_path: Path) -> Iterator[Commands]:
    commands = Commands(tmp_path / "w")
    yield commands
    commands.run("down")
    until(lambda: not commands.processes(), "no process of the world is left")


def test_of_two_first_starts_at_once_one_is_refused_and_the_other_undisturbed(commands: Commands) -> None:
    first, second = (ended(process) for process in [commands.start(*UP), commands.start(*UP)])
    assert sorted((first[0], second[0])) == [0, 3]
    good, refused = sorted((first, second))
    assert "[already-running]" in refused[2]
    assert "kazashi down" in refused[2]
    pid = json.loads(good[1])["pid"]
    status = json.loads(commands.run("status", "--json")[1])
    assert (status["pid"], status["slots"][0]["seen"]) == (pid, True)
    assert commands.run(*UP)[0] == 3
    assert json.loads(commands.run("status", "--json")[1])["pid"] == pid
    assert commands.run("down")[0] == 0
    until(lambda: not commands.processes(), "no process of the world is left")
    assert commands.run("status")[0] == 3


def test_down_beside_a_starting_instance_stops_it(commands: Commands) -> None:
    commands.run("card", "new", "hanako")
    starting = commands.start(*UP)
    lock = commands.world / "run" / "instance.lock"
    until(lock.exists, "the instance begins to start")
    code, _, err = commands.run("down")
    assert code == 0, err
    ended(starting)
    until(lambda: not commands.processes(), "no process of the world is left")


def test_an_instance_that_was_killed_leaves_nothing_and_can_be_started_again(commands: Commands) -> None:
    _, out, _ = commands.run(*UP)
    os.kill(json.loads(out)["pid"], signal.SIGKILL)
    until(lambda: not commands.processes(), "no process of the world is left")
    code, _, err = commands.run(*UP)
    assert code == 0, err


def test_of_two_first_commands_on_a_new_world_none_spoils_the_other(commands: Commands) -> None:
    for process in [commands.start("card", "new", "hanako") for _ in range(3)]:
        code, _, err = ended(process)
        assert code == 0 or (code == 2 and "[card-exists]" in err), err
    cards = json.loads(commands.run("card", "list", "--json")[1])
    assert [card["card"] for card in cards] == ["hanako"]
    assert "damage" not in cards[0]
