"""Completion by Tab, in the shells themselves, set up as docs/install.md says."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.shell_completion import ShellComplete

from kazashi.assembly.control_path import control_path
from kazashi.assembly.error_codes import code_of
from kazashi.reader_bridge.control import ControlServer
from kazashi.tools.cli.command_line import kazashi
from kazashi.world.home import open_world
from tests.cli.program import InProcessProgram, Program
from tests.terminal import Screen

PAGE = Path(__file__).parents[2] / "docs" / "install.md"
WRITTEN = {"bash": ".kazashi-completion.bash", "zsh": ".zsh/completions/_kazashi",
           "fish": ".config/fish/completions/kazashi.fish"}  # fmt: skip
PROMPT = {"bash": "PS1='ready> '", "zsh": "PS1='ready> '", "fish": "function fish_prompt; echo 'ready> '; end"}
CONFIGURATION = {"bash": ".bashrc", "zsh": ".zshrc", "fish": ".config/fish/config.fish"}


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Program:
    """A world with three residents, and a card of which only the name matters."""
    program = InProcessProgram(tmp_path_factory.mktemp("town") / "w")
    program.run("world", "new", "--seed", "completion")
    for who in ("hanako", "taro", "child"):
        program.run("registry", "add", who)
    (program.world / "cards").mkdir(exist_ok=True)
    (program.world / "cards" / "hanako.card").touch()
    return program


@pytest.fixture(scope="module")
def home(town: Program, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home directory in which the lines of docs/install.md were run, with the program in bin/ and in "my clone/"."""
    home = tmp_path_factory.mktemp("home")
    for folder in ("bin", "my clone"):
        (home / folder).mkdir()
        program = home / folder / "kazashi"
        program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m kazashi "$@"\n', encoding="utf-8")
        program.chmod(0o755)
    for shell in WRITTEN:
        (block,) = re.findall(rf"^```sh\n((?:(?!```).*\n)*kazashi self completion {shell} (?:(?!```).*\n)*)```",
                              PAGE.read_text(encoding="utf-8"), re.MULTILINE)  # fmt: skip
        subprocess.run(["sh", "-euc", block], env=variables(home, town), cwd=home, check=True)
        assert (home / WRITTEN[shell]).stat().st_size > 0
        with (home / CONFIGURATION[shell]).open("a", encoding="utf-8") as configuration:
            configuration.write(f"{PROMPT[shell]}\n")
    return home


def variables(home: Path, town: Program) -> dict[str, str]:
    return {**os.environ, "HOME": str(home), "PATH": f"{home / 'bin'}:{os.environ['PATH']}", "LC_ALL": "C.UTF-8",
            "KAZASHI_WORLD": str(town.world), "XDG_CONFIG_HOME": str(home / ".config")}  # fmt: skip


@pytest.fixture(params=["bash", "zsh", "fish"])
def screen(request: pytest.FixtureRequest, home: Path, town: Program, tmp_path: Path) -> Iterator[Screen]:
    """An interactive shell, in the folder of a clone."""
    settings = [f"{name}={value}" for name, value in variables(home, town).items()
                if name in ("HOME", "PATH", "KAZASHI_WORLD", "XDG_CONFIG_HOME")]  # fmt: skip
    command = ["env", "-C", str(home / "my clone"), *settings, request.param, "-i"]
    screen = Screen(tmp_path / "tmux", *command)
    screen.until("ready>")
    yield screen
    screen.close()


def test_tab_completes_the_program_in_path_and_the_one_in_a_clone(screen: Screen) -> None:
    for typed, completed in (
        ("kazashi regi", "kazashi registry"),
        ("./kazashi card sh", "./kazashi card show"),
        (r"~/my\ clone/kazashi card show ha", r"~/my\ clone/kazashi card show hanako"),
    ):
        screen.write(typed)
        screen.keys("Tab")
        screen.until(f"ready> {completed}")
        screen.keys("C-u")


def completed_by_bash(home: Path, town: Program, *words: str) -> list[str]:
    """Call the script's function with words, of which the last is being typed, and return what it completes."""
    quoted = " ".join(shlex.quote(word) for word in words)
    script = f"""
        . ~/{WRITTEN["bash"]}
        COMP_WORDS=({quoted}) COMP_CWORD={len(words) - 1}
        _kazashi_completion {shlex.quote(words[0])} 2>/dev/null
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    done = subprocess.run(["bash", "-c", script], env=variables(home, town), cwd=home / "my clone",
                          capture_output=True, text=True, check=True)  # fmt: skip
    assert done.stderr == ""
    return done.stdout.split("\n")[:-1]


def completed_by_fish(home: Path, town: Program, *words: str) -> list[str]:
    done = subprocess.run(["fish", "-c", f"complete --do-complete {shlex.quote(' '.join(words))}"],
                          env=variables(home, town), cwd=home / "my clone",
                          capture_output=True, text=True, check=True)  # fmt: skip
    assert done.stderr == ""
    return done.stdout.splitlines()


def test_bash_completes_commands_options_and_values(home: Path, town: Program) -> None:
    assert completed_by_bash(home, town, "kazashi", "ca") == ["ca", "card"]
    assert completed_by_bash(home, town, "./kazashi", "card", "new", "hanako", "--atr", "reader") == [
        "reader-made-1", "reader-made-2"
    ]  # fmt: skip
    assert completed_by_bash(home, town, "./kazashi", "registry", "event", "move-within", "--str") == ["--street"]
    assert completed_by_bash(home, town, "nothere/kazashi", "ca") == [""]
    (town.world / "cards" / "my card.card").touch()
    assert completed_by_bash(home, town, "kazashi", "card", "show", "my") == [r"my\ card"]
    (town.world / "cards" / "my card.card").unlink()


def test_fish_completes_with_descriptions(home: Path, town: Program) -> None:
    for program in ("kazashi", "./kazashi"):
        assert completed_by_fish(home, town, program, "ca") == [
            "ca\tManage the certification authorities.",
            "card\tMake, renew, show, insert and remove cards.",
        ]
    assert completed_by_fish(home, town, "./kazashi", "--world", "../b") == ["../bin/\tDirectory"]


def completed(program: Program, *words: str) -> list[str]:
    """The values that click completes, without a shell. The last word is being typed."""
    *complete, typed = words
    found = ShellComplete(kazashi, {}, "kazashi", "_KAZASHI_COMPLETE").get_completions(
        ["--world", str(program.world), *complete], typed
    )
    return [item.value for item in found]


def test_values_are_those_of_the_world(town: Program) -> None:
    for command in ("show", "insert", "renew"):
        assert completed(town, "card", command, "") == ["hanako"]
    assert set(completed(town, "registry", "show", "")) >= {"hanako", "taro", "child"}
    assert completed(town, "registry", "event", "move-within", "ta") == ["taro"]
    assert "rare-kanji" in completed(town, "registry", "add", "")
    assert set(completed(town, "card", "new", "")) >= {"hanako", "rare-kanji"}
    assert completed(town, "up", "--card", "") == ["hanako"]
    assert completed(town, "card", "insert", "hanako", "--slot", "") == [], "nothing is running"


def test_slots_are_those_of_the_running_instance(town: Program) -> None:
    slots = [
        {"slot": 0, "reader": "Counter 00 00", "card": "hanako"},
        {"slot": 1, "reader": "Till 00 01", "card": None},
    ]
    server = ControlServer(control_path(open_world(town.world)), {"status": lambda _: {"slots": slots}}, code_of)
    try:
        for words in ("card remove", "card reset", "card insert hanako --slot", "reader trace --slot"):
            assert completed(town, *words.split(), "") == ["0", "1"]
    finally:
        server.close()


def test_completion_without_a_world_creates_none_and_says_nothing(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    nothing, empty, older = (InProcessProgram(tmp_path / name) for name in ("nothing", "empty", "older"))
    empty.run("world", "new", "--seed", "x")
    older.run("world", "new", "--seed", "x")
    settings = older.world / "world.json"
    settings.write_text(settings.read_text(encoding="utf-8").replace('"format": 3', '"format": 2'), encoding="utf-8")
    before = sorted((path, path.is_file() and path.read_bytes()) for path in tmp_path.rglob("*"))
    for program in (nothing, empty, older):
        for words in (("card", "show", ""), ("registry", "show", ""), ("card", "remove", "")):
            assert completed(program, *words) == []
    assert sorted((path, path.is_file() and path.read_bytes()) for path in tmp_path.rglob("*")) == before
    assert capfd.readouterr() == ("", "")


def test_every_argument_for_a_card_or_a_resident_is_completed() -> None:
    for group in ("card", "registry"):
        commands = kazashi.commands[group]
        assert isinstance(commands, click.Group)
        for name, command in commands.commands.items():
            for parameter in command.params:
                if parameter.name in ("name", "who", "slot", "resident", "alias") and name != "list":
                    named = isinstance(parameter, click.Argument) or parameter.name == "slot"
                    assert not named or parameter._custom_shell_complete, f"{group} {name} {parameter.name}"


@pytest.mark.parametrize("called", ["kazashi", "./kazashi", "/somewhere/kazashi"])
def test_a_clone_completes_by_whatever_path_it_was_called(called: str) -> None:
    environment = {**os.environ, "KAZASHI_CALLED": called, "_KAZASHI_COMPLETE": "bash_complete",
                   "COMP_WORDS": f"{called}\nse", "COMP_CWORD": "1"}  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "kazashi"], env=environment, capture_output=True, text=True, check=False
    )
    assert done.stdout == "plain,self\n"
