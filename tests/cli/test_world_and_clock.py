"""`kazashi world` and `kazashi clock` as users run them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.program import MORNING, InProcessProgram, Program, fails_in_one_line


def test_world_is_created_with_given_settings(tmp_path: Path) -> None:
    program = InProcessProgram(tmp_path / "w")
    settings = program.json("world", "new", "--seed", "abc", "--serials", "random", "--evening", "18",
                            "--hop-minutes", "5", "--crl-minute", "60", "--opens", "8", "--closes", "20")  # fmt: skip
    assert settings == {
        "directory": str(program.world), "seed": "abc", "storage": "", "keys": "software", "serials": "random",
        "evening": 18, "hop_minutes": 5, "crl_minute": 60, "opens": 8, "closes": 20,
    }  # fmt: skip
    assert program.json("world", "show") == settings
    assert "evening      18" in program.run("world", "show").stdout
    assert "--world" in program.error("usage", 2, "world", "new")
    assert program.json("world", "show") == settings


@pytest.mark.parametrize(
    "settings",
    [("--evening", "24"), ("--crl-minute", "1440"), ("--hop-minutes", "-1"), ("--opens", "20", "--closes", "8"),
     ("--storage", "mysql://x"), ("--keys", "hardware")],
)  # fmt: skip
def test_invalid_settings_create_no_world(tmp_path: Path, settings: tuple[str, ...]) -> None:
    InProcessProgram(tmp_path / "w").error("usage", 2, "world", "new", *settings)
    assert not (tmp_path / "w").exists()


def test_unreachable_database_is_reported(tmp_path: Path) -> None:
    program = InProcessProgram(tmp_path / "w")
    program.run("world", "new", "--storage", f"postgresql://nobody@/nothing?host={tmp_path}")
    for command in (["registry", "list"], ["card", "new", "hanako"], ["ca", "generations"], ["clock", "advance", "1d"]):
        program.error("store-failed", 3, *command)


def test_clock_only_goes_forward(new: Program) -> None:
    assert new.json("clock", "show") == {"now": "2026-11-24T10:00:00+09:00", "stands": True, "jobs": 0}
    assert new.json("clock", "stand", "2026-01-01")["now"] == "2026-01-01T00:00:00+09:00", "nothing has happened yet"
    new.run("clock", "stand", MORNING)
    new.run("card", "new", "hanako")
    assert "cannot go back" in new.error("usage", 2, "clock", "stand", "2026-11-24T09:59:59")
    new.error("usage", 2, "clock", "run", "2026-11-23")
    reply = new.json("clock", "advance", "1d")
    assert (reply["now"], reply["jobs"] >= 2) == ("2026-11-25T10:00:00+09:00", True)
    assert new.json("clock", "stand", "2026-11-25T12:00")["now"] == "2026-11-25T12:00:00+09:00"
    assert not new.json("clock", "run")["stands"]
    assert new.json("clock", "show")["now"].startswith("2026-11-25T12:0")
    assert new.json("clock", "stand")["stands"]
    assert "the clock is stopped" in new.run("clock", "show").stdout


def test_invalid_times_are_rejected(town: Program) -> None:
    for span in ("1y", "", "soon", "10"):
        town.error("usage", 2, "clock", "advance", span)
    for instant in ("tomorrow", "2026-02-30", ""):
        town.error("usage", 2, "clock", "stand", instant)
    town.run("clock", "advance", expect=2)
    fails_in_one_line(town, "clock", "advance", "999999w")
    assert town.json("clock", "show")["now"] == "2026-11-24T10:00:00+09:00"
