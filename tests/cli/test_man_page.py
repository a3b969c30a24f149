"""The man page: groff and mandoc find no fault with it, and it has every command and option."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import click
import pytest

from kazashi.tools.cli.checkout import folders
from kazashi.tools.cli.man_page import ENVIRONMENT, EXIT_STATUS, man_page
from tests.cli import commands
from tests.cli.program import InProcessProgram
from tests.support import run

ROOT = Path(__file__).parents[2]

INTERNAL = {"KAZASHI_BROUGHT", "KAZASHI_CALLED", "KAZASHI_CONSOLE_KEY", "KAZASHI_SERVED_WORLD", "KAZASHI_INSTANCE_LOCK"}
"""Variables with which the program's processes pass something to one another."""


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page as the program prints it."""
    directory = tmp_path_factory.mktemp("man")
    printed = InProcessProgram(directory / "w").run("self", "man").stdout
    (directory / "kazashi.1").write_text(printed, encoding="ascii")
    return directory / "kazashi.1"


@pytest.fixture(scope="module")
def shown(page: Path) -> str:
    """What `man` shows on a wide terminal."""
    variables = {**os.environ, "LC_ALL": "C.UTF-8", "MANWIDTH": "1000", "MANROFFOPT": "-ww"}
    done = subprocess.run(["man", "-l", str(page)], env=variables, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return done.stdout


@pytest.mark.parametrize("judge", ["mandoc -T lint -W all", "groff -man -Tutf8 -ww", "groff -man -Tascii -z"])
def test_formatters_have_nothing_to_say(page: Path, judge: str) -> None:
    done = subprocess.run([*judge.split(), str(page)], capture_output=True, text=True, check=False)
    missing = "ascii" in judge  # a terminal for ASCII has no Japanese; everything else must be fine
    faults = [line for line in done.stderr.splitlines() if not (missing and "can't find special character" in line)]
    assert (done.returncode, faults) == (0, [])
    assert judge.startswith("groff") or done.stdout == ""


def test_page_has_every_command_with_all_its_options_and_texts(shown: str) -> None:
    sections = dict(re.findall(r"^   (kazashi .+)\n((?:(?: {7}.*)?\n)*)", shown, re.MULTILINE))
    everything = re.sub(r"\s+", " ", shown)
    for context, command in commands():
        inside = sections[context.command_path] if context.parent else everything
        inside = re.sub(r"\s+", " ", inside)
        assert command.get_usage(click.Context(command, info_name=context.command_path, terminal_width=999)
                                 ).removeprefix("Usage: ") in inside  # fmt: skip
        texts = re.split(r"\n\s*\n", command.help or "")
        for parameter in command.get_params(context):
            record = parameter.get_help_record(context)
            if isinstance(parameter, click.Option) and record and "--help" not in parameter.opts:
                texts += record
        for text in texts:
            assert re.sub(r"\s+", " ", text).strip() in inside, context.command_path
    assert len(sections) == sum(1 for _ in commands()) - 1, "a section that is not a command's"


def test_page_has_japanese_and_what_can_be_pasted(shown: str) -> None:
    assert "住民基本台帳" in shown
    assert "~/.local/share/kazashi" in shown
    assert "`kazashi card list --samples`" in shown
    assert "card's" in shown
    assert "\N{HYPHEN}" not in shown, "a word is divided, or a hyphen is not the one that is typed"


def test_page_names_the_variables_that_the_program_reads(shown: str) -> None:
    read = re.compile(r"(?<!_)\bKAZASHI_[A-Z]+(?:_[A-Z]+)*\b")
    sources = [ROOT / "kazashi", *(path for folder in folders(ROOT).values() for path in folder.rglob("*.py"))]
    names = {name for path in sources for name in read.findall(path.read_text(encoding="utf-8"))} - INTERNAL
    assert names | {"NO_COLOR", "XDG_DATA_HOME"} == ENVIRONMENT.keys()
    table = (ROOT / "docs" / "workbench.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `([A-Z_]+)` \|", table, re.MULTILINE)) <= ENVIRONMENT.keys()
    for name in ENVIRONMENT:
        assert re.search(rf"^ {{7}}{name}\b", shown, re.MULTILINE), name
    for status in EXIT_STATUS:
        assert re.search(rf"^ {{7}}{status}\b", shown, re.MULTILINE), status


@pytest.mark.unit
def test_date_is_that_of_a_reproducible_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "0")
    assert " 1970-01-01 " in InProcessProgram(tmp_path / "w").run("self", "man").stdout.partition("\n")[0]


def test_text_that_looks_like_roff_is_shown_as_it_is(tmp_path: Path) -> None:
    """A line that begins with a full stop or an apostrophe would be a request, and a backslash an escape."""
    awkward = r"It's C:\new\fBold, ^caret `x' ~tilde \"quoted\" a--b."

    text = f"Do it.\n\n.TH looks like a request. {awkward}\n\n'nf too.\n\n\b\n.kept\n  as it is\n\n\fnot shown"

    @click.command(context_settings={"help_option_names": ["-?", "--help"]}, help=text)
    @click.option("--an-option", metavar="[A'B\\C|-D]", help=".begins with a full stop, \\fBand more.")
    @click.option("--unlisted", hidden=True)
    def program() -> None: ...

    page = tmp_path / "p.1"
    page.write_text(man_page(program, "p-q", version="1.0-rc'1", day="2026-01-01"), encoding="ascii")
    shown = run("groff", "-man", "-Tutf8", "-P-cbou", "-ww", "-rLL=300n", str(page))
    for text in (f".TH looks like a request. {awkward}", "'nf too.", "       .kept\n         as it is\n",
                 ".begins with a full stop, \\fBand more.", "--an-option [A'B\\C|-D]", "p-q - Do it\n",
                 "p-q 1.0-rc'1"):  # fmt: skip
        assert text in shown, shown
    assert "not shown" not in shown
    assert "--unlisted" not in shown
    assert "-?, --help" in shown
    assert run("mandoc", "-T", "lint", str(page)) == ""
