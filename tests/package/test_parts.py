"""The parts of an installation: their table, setup.cfg, the lock file and the documentation say the same."""

from __future__ import annotations

import configparser
import json
import re
from pathlib import Path

import click
import pytest
from packaging.requirements import Requirement

from kazashi.tools.cli.command_line import kazashi
from kazashi.tools.installation.lock import BUILD, NAME, SIZES, extras_of, normalised, pins, requirements
from kazashi.tools.installation.parts import BASE, COMMANDS, LATER, PARTS, command_words, parts_of, with_included

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parents[2]
GOAL_MEGABYTES = 350
"""The most that the environment for card and reader may take."""


def settings() -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    return parser


def lines(value: str) -> list[str]:
    return [line for line in value.splitlines() if line and not line.startswith("#")]


def test_every_part_is_an_extra_that_contains_what_the_table_says() -> None:
    extras = settings()["options.extras_require"]
    assert {part.extra for part in PARTS.values() if part.extra} == set(extras) - {BUILD, "installer"}
    for part in PARTS.values():
        if part.extra:
            own = [match[1] for line in lines(extras[part.extra]) if (match := re.fullmatch(r"kazashi\[(.+)]", line))]
            assert [name for names in own for name in names.split(",")] == list(part.includes)


def test_every_command_of_the_table_exists() -> None:
    for key in (*COMMANDS, *LATER):
        command: click.Command | None = kazashi
        for word in key.split():
            assert isinstance(command, click.Group)
            command = command.get_command(click.Context(command), word)
        assert command is not None, key


@pytest.mark.parametrize(
    ("typed", "words", "parts"),
    [
        ("--world w tracking report --json", ["tracking", "report"], ("tracking",)),
        ("--world=w --yes points till shop", ["points", "till", "shop"], ("points",)),
        ("points enrol shop till", ["points", "enrol", "shop"], ()),
        ("network rules", ["network", "rules"], ()),
        ("network ask hanako", ["network", "ask", "hanako"], ("network",)),
        ("network match run body", ["network", "match", "run"], ("network",)),
        ("network match quality", ["network", "match", "quality"], ("network", "tracking")),
        ("demo --short", ["demo"], ()),
        ("--version", [], ()),
    ],
)
def test_parts_follow_from_the_commands_words(typed: str, words: list[str], parts: tuple[str, ...]) -> None:
    assert command_words(typed.split()) == words
    assert parts_of(words) == parts


def test_lock_file_fits_setup_cfg() -> None:
    pinned: dict[str, list[str]] = {}
    for pin in pins((ROOT / NAME).read_text(encoding="utf-8")):
        requirement = Requirement(pin.text.splitlines()[0].removesuffix("\\").strip())
        pinned.setdefault(pin.name, []).append(str(requirement.specifier).removeprefix("=="))
        assert "--hash=sha256:" in pin.text, pin.name
    parser = settings()
    blocks = [parser["options"]["install_requires"], *parser["options.extras_require"].values()]
    for line in [line for block in blocks for line in lines(block) if not line.startswith("kazashi[")]:
        requirement = Requirement(line)
        assert str(requirement.specifier), f"{line} has no lowest version"
        for version in pinned[normalised(requirement.name)]:
            assert requirement.specifier.contains(version), f"{line} is pinned to {version}"


def test_base_has_no_package_of_another_part() -> None:
    base = {pin.name for pin in pins(requirements(ROOT, [BASE]))}
    assert {"cryptography", "pyscard", "cffi", "psycopg-binary", "gmpy2", "setuptools"} <= base
    assert not base & {"polars", "duckdb", "pyspark", "textual", "fastapi", "joserfc", "playwright", "pytest", "uv"}


def test_all_parts_together_are_the_whole_lock_file() -> None:
    every = {pin.name for pin in pins((ROOT / NAME).read_text(encoding="utf-8"))}
    assert {pin.name for pin in pins(requirements(ROOT, PARTS))} == every
    assert extras_of(["test"]) == ["test", BUILD]
    assert with_included(["test"]) >= {"tracking", "demo", "docs", "spark"}


def test_sizes_are_known_and_in_the_documentation() -> None:
    sizes = json.loads(SIZES.read_text(encoding="utf-8"))
    assert set(sizes) == {part.name for part in PARTS.values() if part.extra or part.name == BASE}
    assert sizes[BASE] <= GOAL_MEGABYTES
    page = (ROOT / "docs" / "install.md").read_text(encoding="utf-8")
    shown = dict(re.findall(r"^\| `(\w+)` \| (\d+) MB \|", page, re.MULTILINE))
    assert shown == {name: str(size) for name, size in sizes.items()}
