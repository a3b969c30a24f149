from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from kazashi.world.clock import FixedClock, end_of_day, today
from kazashi.world.home import WorldUnusable, default_directory, open_world
from kazashi.world.key_source import StockedKeySource, generate
from kazashi.world.settings import Settings
from tests.crash import killed_at

pytestmark = pytest.mark.crash


def test_a_new_world_keeps_its_seed_and_streams(tmp_path: Path) -> None:
    first = open_world(tmp_path / "w", seed="abc")
    again = open_world(tmp_path / "w", seed="another")
    assert first.seed == again.seed == "abc"
    assert (tmp_path / "w").stat().st_mode & 0o777 == 0o700
    assert first.random_stream("a").random() == again.random_stream("a").random()
    assert first.random_stream("a").random() != first.random_stream("b").random()
    assert first.random_stream("a", "b").random() != first.random_stream("ab").random()


def test_a_world_without_a_given_seed_gets_a_random_one(tmp_path: Path) -> None:
    assert open_world(tmp_path / "a").seed != open_world(tmp_path / "b").seed


def test_a_directory_with_other_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "letters.txt").write_text("dear")
    with pytest.raises(WorldUnusable, match="not Kazashi's"):
        open_world(tmp_path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["letters.txt"]


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"format": 3}', '{"format": 2}', '{"format": "x"}'])
def test_a_damaged_world_is_refused_and_kept(tmp_path: Path, content: str) -> None:
    (tmp_path / "world.json").write_text(content)
    with pytest.raises(WorldUnusable, match="is damaged; restore it"):
        open_world(tmp_path)
    assert (tmp_path / "world.json").read_text() == content


@pytest.mark.parametrize(
    ("version", "remedy"), [(99, "update Kazashi, or name another directory"), (1, "3; name another")]
)
def test_a_world_of_another_format_is_refused_and_kept(tmp_path: Path, version: int, remedy: str) -> None:
    content = json.dumps({"format": version, "seed": "x"})
    (tmp_path / "world.json").write_text(content)
    with pytest.raises(
        WorldUnusable, match=f"is a world of format {version}, and this program reads format .*{remedy}"
    ):
        open_world(tmp_path)
    assert (tmp_path / "world.json").read_text() == content
    assert [entry.name for entry in tmp_path.iterdir()] == ["world.json"]


def test_a_format_upgrade_survives_being_killed(tmp_path: Path) -> None:
    older = json.dumps({"format": 2, "seed": "x", "evening": 7})
    moment, killed = 0, True
    while killed:
        moment += 1
        (tmp_path / "world.json").write_text(older)
        killed = killed_at(moment, lambda: open_world(tmp_path))
        assert json.loads((tmp_path / "world.json").read_text()) in (
            [json.loads(older), {"format": 3, "seed": "x", "evening": 7}] if killed
            else [{"format": 3, "seed": "x", "evening": 7}]
        )  # fmt: skip
        assert open_world(tmp_path).settings == Settings("x", evening=7)
    assert moment > 1


def test_a_file_instead_of_a_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "w").write_text("")
    with pytest.raises(WorldUnusable, match="cannot be used"):
        open_world(tmp_path / "w")


def test_a_world_can_be_created_after_an_interrupted_creation(tmp_path: Path) -> None:
    (tmp_path / ".world.json.4711.new").write_text('{"form')
    assert open_world(tmp_path, seed="s").seed == "s"


def test_many_programs_can_create_one_world_at_once(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from kazashi.world.home import open_world;"
        "print(open_world(Path(sys.argv[1])).seed)"
    )
    starts = [
        subprocess.Popen([sys.executable, "-c", program, str(tmp_path / "w")], stdout=subprocess.PIPE, text=True)
        for _ in range(8)
    ]
    assert len({start.communicate()[0] for start in starts}) == 1
    assert all(start.returncode == 0 for start in starts)


def test_the_default_directory_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KAZASHI_WORLD", str(tmp_path / "named"))
    assert default_directory() == tmp_path / "named"
    monkeypatch.delenv("KAZASHI_WORLD")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert default_directory() == tmp_path / "kazashi"


def test_a_fixed_clock_and_the_date_in_japan() -> None:
    clock = FixedClock(datetime(2026, 11, 24, 15, 30, 0, 999, tzinfo=UTC))
    assert clock.now() == datetime(2026, 11, 24, 15, 30, tzinfo=UTC)
    assert today(clock) == date(2026, 11, 25), "Japan is nine hours ahead"
    assert end_of_day(date(2026, 11, 25)) == datetime(2026, 11, 25, 14, 59, 59, tzinfo=UTC)
    with pytest.raises(ValueError, match="time zone"):
        FixedClock(datetime(2026, 11, 24))


def test_stocked_keys_are_used_once(tmp_path: Path) -> None:
    source = StockedKeySource(tmp_path / "keys")
    progress: list[int] = []
    source.fill(3, progress.append)
    assert progress == [0, 1, 2, 3]
    stock = [path.read_bytes() for path in (tmp_path / "keys").iterdir()]
    taken = [source.take() for _ in range(4)]
    assert len(set(taken)) == 4
    assert set(taken[:3]) == set(stock)
    assert not list((tmp_path / "keys").iterdir())
    assert generate() != generate()
