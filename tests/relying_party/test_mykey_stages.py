"""The MyKey platform's three stages: what it does on a day, by commands."""

from __future__ import annotations

import shutil
from contextlib import closing
from datetime import date
from pathlib import Path

import pytest

from kazashi.assembly.institutions import Institutions
from kazashi.relying_party.mykey.stages import SERVICE_KINDS, STAGES, Feature
from kazashi.world.home import open_world
from kazashi.world.key_source import SharedKeySource
from tests.cli.program import InProcessProgram, Program, new_world


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, keys: SharedKeySource) -> Path:
    """A world of the day before the platform began, in which hanako has a card."""
    program = new_world(tmp_path_factory.mktemp("stages") / "w")
    program.run("clock", "stand", "2017-09-24T12:00+09:00")
    with closing(open_world(program.world, keys=keys)) as world:
        Institutions(world).issue_card("hanako", "hanako")
    return program.world


@pytest.fixture
def program(made: Path, tmp_path: Path) -> Program:
    return InProcessProgram(Path(shutil.copytree(made, tmp_path / "w")))


def reached(program: Program, *options: str) -> list[int]:
    return [row["stage"] for row in program.json("mykey", "stages", *options) if row["reached"]]


def test_what_is_asked_before_its_stage_is_refused(program: Program) -> None:
    assert "2017-09-25" in program.error("mykey-not-yet", 1, "mykey", "register", "hanako")
    program.run("clock", "advance", "1d")
    program.run("mykey", "register", "hanako")
    program.run("mykey", "service", "pay-service", "nationwide")
    program.run("mykey", "enrol", "hanako", "library", "L-1")
    enrol = ("mykey", "enrol", "hanako", "pay-service", "P-1")
    assert "2020-07-01" in program.error("mykey-not-yet", 1, *enrol)
    program.run("mykey", "stage", "3", "--from", "2017-09-25")
    program.run(*enrol)


@pytest.mark.long
def test_each_stage_opens_its_services_on_its_day(program: Program) -> None:
    """Stages 2 and 3 are moved close, so that a day has each of the four feature sets."""
    program.run("mykey", "stage", "3", "--from", "2017-09-27")
    program.run("mykey", "stage", "2", "--from", "2017-09-26")
    program.run("mykey", "service", "rice-shop", "regional")
    program.run("mykey", "service", "pay-service", "nationwide")
    services = {"library": "L-1", "rice-shop": "R-1", "pay-service": "P-1"}
    for day in range(4):
        assert reached(program) == list(range(1, day + 1))
        if day == 0:
            assert "2017-09-25" in program.error("mykey-not-yet", 1, "mykey", "register", "hanako")
        elif day == 1:
            program.run("mykey", "register", "hanako")
        for place, (service, number) in enumerate(services.items(), start=1):
            enrol = ("mykey", "enrol", "hanako", service, number, "--birth", "1988-04-17")
            if place > day:
                program.error("mykey-not-yet", 1, *enrol)
                program.error("mykey-not-yet", 1, "mykey", "tap", "hanako", service)
            else:
                if place == day:
                    program.run(*enrol)
                assert program.run("mykey", "tap", "hanako", service).stdout.strip() == number
        program.run("clock", "advance", "1d")
    program.run("mykey", "stage", "3", "--from", "2020-07-01")
    program.error("mykey-not-yet", 1, "mykey", "tap", "hanako", "pay-service")
    program.run("mykey", "void", "hanako")


def test_the_days_are_those_of_the_documentation(program: Program) -> None:
    page = (Path(__file__).parents[2] / "docs" / "relying-parties.md").read_text(encoding="utf-8")
    for stage in STAGES:
        (row,) = (line for line in page.splitlines() if line.startswith(f"| {stage.number} | {stage.begins} |"))
        assert all(f"`{feature.value}`" in row for feature in stage.features if feature.value in SERVICE_KINDS)
    assert reached(program, "--on", "2017-09-24") == []
    assert reached(program, "--on", "2020-06-30") == [1, 2]
    assert reached(program, "--on", "2020-07-01") == [1, 2, 3]


def test_stages_begin_in_their_order(program: Program) -> None:
    program.error("mykey-stage-refused", 2, "mykey", "stage", "2", "--from", "2017-09-24")
    program.error("mykey-stage-refused", 2, "mykey", "stage", "1", "--from", "2020-07-02")
    program.error("mykey-stage-refused", 2, "mykey", "stage", "4", "--from", "2030-01-01")
    program.error("usage", 2, "mykey", "stage", "2", "--from", "soon")
    assert reached(program, "--on", "2017-09-24") == []


@pytest.mark.unit
def test_every_feature_is_in_one_stage() -> None:
    features = [feature for stage in STAGES for feature in stage.features]
    assert sorted(feature.value for feature in features) == sorted(feature.value for feature in Feature)
    assert [stage.begins for stage in STAGES] == sorted(stage.begins for stage in STAGES)
    assert all(isinstance(stage.begins, date) for stage in STAGES)
