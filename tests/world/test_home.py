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


def test_a_world_begins_and_stays(tmp_path: Path) -> None:
    first = open_world(tmp_path / "w", seed="abc")
    again = open_world(tmp_path / "w", seed="another")
    assert first.seed == again.seed == "abc"
    assert (tmp_path / "w").stat().st_mode & 0o777 == 0o700
    assert first.random_stream("a").random() == again.random_stream("a").random()
    assert first.random_stream("a").random() != first.random_stream("b").random()
    assert first.random_stream("a", "b").random() != first.random_stream("ab").random()


def test_seeds_are_drawn_where_none_is_given(tmp_path: Path) -> None:
    assert open_world(tmp_path / "a").seed != open_world(tmp_path / "b").seed


def test_a_foreign_directory(tmp_path: Path) -> None:
    (tmp_path / "letters.txt").write_text("dear")
    with pytest.raises(WorldUnusable, match="not Kazashi's"):
        open_world(tmp_path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["letters.txt"]


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"format": 3}', '{"format": 2}', '{"format": "x"}'])
def test_a_damaged_world(tmp_path: Path, content: str) -> None:
    (tmp_path / "world.json").write_text(content)
    with pytest.raises(WorldUnusable, match="is damaged; restore it"):
        open_world(tmp_path)
    assert (tmp_path / "world.json").read_text() == content


@pytest.mark.parametrize(
    ("form", "remedy"), [(99, "update Kazashi, or name another directory"), (1, "3; name another")]
)
def test_another_format(tmp_path: Path, form: int, remedy: str) -> None:
    content = json.dumps({"format": form, "seed": "x"})
    (tmp_path / "world.json").write_text(content)
    with pytest.raises(WorldUnusable, match=f"is a world of format {form}, and this program reads format .*{remedy}"):
        open_world(tmp_path)
    assert (tmp_path / "world.json").read_text() == content
    assert [entry.name for entry in tmp_path.iterdir()] == ["world.json"]


def test_an_older_world_that_is_killed_while_its_format_changes(tmp_path: Path) -> None:
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


def test_a_file_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "w").write_text("")
    with pytest.raises(WorldUnusable, match="cannot be used"):
        open_world(tmp_path / "w")


def test_a_beginning_that_was_cut_off(tmp_path: Path) -> None:
    (tmp_path / ".world.json.4711.new").write_text('{"form')
    assert open_world(tmp_path, seed="s").seed == "s"


def test_many_programs_begin_one_world(tmp_path: Path) -> None:
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


def test_where_the_default_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KAZASHI_WORLD", str(tmp_path / "named"))
    assert default_directory() == tmp_path / "named"
    monkeypatch.delenv("KAZASHI_WORLD")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert default_directory() == tmp_path / "kazashi"


def test_clocks() -> None:
    clock = FixedClock(datetime(2026, 11, 24, 15, 30, 0, 999, tzinfo=UTC))
    assert clock.now() == datetime(2026, 11, 24, 15, 30, tzinfo=UTC)
    assert today(clock) == date(2026, 11, 25), "Japan is nine hours ahead"
    assert end_of_day(date(2026, 11, 25)) == datetime(2026, 11, 25, 14, 59, 59, tzinfo=UTC)
    with pytest.raises(ValueError, match="time zone"):
        FixedClock(datetime(2026, 11, 24))


def test_stocked_keys_are_handed_out_once(tmp_path: Path) -> None:
    source = StockedKeySource(tmp_path / "keys")
    told: list[int] = []
    source.fill(3, told.append)
    assert told == [0, 1, 2, 3]
    stock = [path.read_bytes() for path in (tmp_path / "keys").iterdir()]
    taken = [source.take() for _ in range(4)]
    assert len(set(taken)) == 4
    assert set(taken[:3]) == set(stock)
    assert not list((tmp_path / "keys").iterdir())
    assert generate() != generate()
