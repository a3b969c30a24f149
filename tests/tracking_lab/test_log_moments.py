"""Times of imported logs: one instant in every way that servers and databases write it, and clocks that are changed."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from tests.tracking_lab.log_imports import LogImports

NINE = 1_777_593_600
"""2026-05-01 09:00 in Japan, in seconds since 1970."""


@pytest.fixture
def logs(tmp_path: Path) -> LogImports:
    return LogImports(tmp_path)


def read(logs: LogImports, texts: list[str], moment: Mapping[str, str] | str = "time") -> list[int]:
    """The instants of texts, in seconds after NINE, in the order of the texts. None may be left out."""
    rows = [f'"{text}",till,user{place:03}' for place, text in enumerate(texts)]
    found = logs.run(
        logs.file("\n".join(["time,shop,serial", *rows])), moment=moment, handle={"column": "serial", "form": "opaque"}
    )
    assert found["left_out"] == {}
    return [second - NINE for second in logs.seconds()]


WRITTEN = [
    "2026-05-01 09:00:00+09:00", "2026-05-01 00:00:00+00", "2026-05-01 00:00:00 UTC", "2026-04-30 19:00:00-05",
    "2026-05-01T00:00:00z", "2026-05-01T00:00:00Z", "2026-05-01T09:00:00+0900", "2026-05-01 05:30:00+05:30",
    "2026-05-01 05:30:00+05:30:00", "2026-05-01 00:00:00 GMT", "2026-05-01 09:00:00 JST", "2026-05-01 09:00:00",
    "2026-05-01T09:00:00.123+09:00", "2026-05-01 09:00:00,123", "2026-05-01 00:00:00.123456+00", "2026/5/1 9:00",
    "2026/05/01 9:00:00", "[01/May/2026:09:00:00 +0900]", "01/May/2026:00:00:00 +0000", "[01/May/2026:09:00:00.123]",
    "Fri, 01 May 2026 00:00:00 GMT", "01 May 2026 09:00:00 +0900", "2026-05-01T09:00+09:00[Asia/Tokyo]",
    "2026-05-01T09:00", " 2026-05-01T00:00Z ", "2026-05-01 00:00:00.000 UTC",
]  # fmt: skip
"""One instant, as ISO 8601, PostgreSQL, access logs, Excel, HTTP, Java and Python write it."""


def test_written_times_are_the_same_instant(logs: LogImports) -> None:
    found = dict(zip(WRITTEN, read(logs, WRITTEN), strict=True))
    assert found == dict.fromkeys(WRITTEN, 0)


@pytest.mark.parametrize(("form", "texts"), [
    ("%d/%b/%Y:%H:%M:%S %z", ["01/May/2026:09:00:00 +0900", "01/May/2026:00:00:00 +0000"]),
    ("%Y-%m-%d %H:%M:%S %Z", ["2026-05-01 09:00:00 JST", "2026-05-01 00:00:00 UTC"]),
    ("%d.%m.%Y %H:%M", ["01.05.2026 09:00"]),
    ("epoch", ["1777593600", "1777593600.123", "1777593600123", "1777593600123456", "1777593600123456789"]),
    ("excel", ["46143.375"]),
])  # fmt: skip
def test_each_form_gives_the_same_instant(logs: LogImports, form: str, texts: list[str]) -> None:
    assert set(read(logs, texts, {"column": "time", "form": form})) == {0}


def test_an_unknown_zone_is_unreadable(logs: LogImports) -> None:
    rows = ["2026-05-01 09:00:00 CET", "2026-05-01 09:00:00 +99", "2026-05-01 25:00:00", "2026-13-01", "gestern"]
    path = logs.file("\n".join(["time,shop,serial", *(f"{row},till,u" for row in [*rows, "2026-05-01"])]))
    found = logs.run(path)
    assert found["left_out"] == {"no time that can be read": 5}
    assert any(f"log.csv:{', log.csv:'.join(map(str, range(2, 7)))}" in note for note in found["notes"])
    assert found["partial"] is True
    assert "83.3% of the rows could not be read: every result is partial" in found["notes"]


def test_clocks_of_a_region_are_changed_twice_a_year(logs: LogImports) -> None:
    """In Vienna 02:30 on 2026-03-29 does not exist, and 02:30 on 2026-10-25 exists twice (zoneinfo is the judge)."""
    moment = {"column": "time", "zone": "Europe/Vienna"}
    texts = ["2026-03-29 01:59:59", "2026-03-29 02:30:00", "2026-03-29 03:00:00", "2026-10-25 02:30:00",
             "2026-10-25 03:00:00", "2026-07-01 12:00:00"]  # fmt: skip
    vienna = [datetime.fromisoformat(text).replace(tzinfo=ZoneInfo("Europe/Vienna")).timestamp() for text in texts]
    assert read(logs, texts, moment) == [int(second) - NINE for second in vienna]
    found = logs.run(logs.directory / "log.csv", moment=moment)
    assert (found["skipped"], found["repeated"], found["zone"]) == (1, 1, "Europe/Vienna")
    assert any("1 times do not exist" in note for note in found["notes"])
    assert any("1 times exist twice" in note for note in found["notes"])


def test_each_file_says_which_times_name_their_zone(logs: LogImports) -> None:
    one = logs.file("time,shop,serial\n2026-05-01T00:00:00Z,till,a\n2026-05-01 09:00:00,till,b\n", "one.csv")
    other = logs.file("time,shop,serial\n2026-05-01 09:00:00,gate,a\n", "other.csv")
    found = logs.run(one, other)
    assert [(file["zoned"], file["unzoned"]) for file in found["files"]] == [(1, 1), (0, 1)]
    assert any("in one.csv, 1 times name their zone and 1 do not" in note for note in found["notes"])
    said = logs.program.run("tracking", "import", str(other), "--mapping", str(logs.mapping())).stdout
    assert "1 were read as times of +09:00" in said


@pytest.mark.parametrize("moment", [
    {"column": "time", "zone": "JST"}, {"column": "time", "zone": "+25:00"}, {"column": "time", "form": "american"},
    {"column": "time", "zone": 600}, {"column": "time", "colour": "red"},
])  # fmt: skip
def test_wrong_forms_and_zones_are_refused(logs: LogImports, moment: dict[str, object]) -> None:
    logs.error(logs.file("time,shop,serial\n2026-05-01,till,a\n"), moment=moment)


def test_numbers_are_not_taken_for_written_times(logs: LogImports) -> None:
    said = logs.error(logs.file("time,shop,serial\n1777593600,till,a\n"))
    assert "form: epoch" in said
    said = logs.error(logs.file("serial,shop,time\n2026-05-01,till,a\n"))
    assert "the column 'serial' has times: are the columns swapped?" in said


def test_clocks_years_apart_are_noted(logs: LogImports) -> None:
    rows = ["1999-01-01,books,a", *(f"2026-05-{day:02},rice,b" for day in range(1, 9))]
    notes = logs.run(logs.file("\n".join(["time,shop,serial", *rows])))["notes"]
    assert any("the times of books do not overlap with those of any other service (9,982 days" in n for n in notes)


@pytest.mark.parametrize(("form", "good", "wrong"), [
    ("epoch", "1777593600", ["1e30", "1e308", "1e999", "nan", "inf", "-1e30", "9" * 40]),
    ("excel", "46143", ["1e30", "2958466", "nan", "-1e30"]),
    ("iso", "2026-05-01", ["0000-01-01T00:00:00", "-001-01-01T00:00:00", "infinity", "10000-01-01"]),
    ("%Y-%m-%d", "2026-05-01", ["infinity", "-infinity", "epoch-1"]),
])  # fmt: skip
def test_a_time_outside_the_calendar_is_one_unreadable_row(
    logs: LogImports, form: str, good: str, wrong: list[str]
) -> None:
    rows = [f"{text},till,user{place}" for place, text in enumerate([good, *wrong])]
    found = logs.run(logs.file("\n".join(["time,shop,serial", *rows])), moment={"column": "time", "form": form})
    assert (found["uses"], found["left_out"]) == (1, {"no time that can be read": len(wrong)})
    assert any("log.csv:3" in note for note in found["notes"])


def test_times_in_implausible_years_are_noted(logs: LogImports) -> None:
    rows = ["1999-12-31T23:59:59Z,till,a", "2000-01-01T00:00:00Z,till,a", "2100-12-31T23:59:59Z,till,b",
            "2101-01-01T00:00:00Z,till,b"]  # fmt: skip
    notes = logs.run(logs.file("\n".join(["time,shop,serial", *rows])))["notes"]
    assert any(note.startswith("2 uses are before the year 2000 or after 2100") for note in notes)
    assert not any("2100" in note for note in logs.run(logs.file("\n".join(["time,shop,serial", *rows[1:3]])))["notes"])


def test_a_clock_cannot_be_wrong_by_more_than_a_hundred_years(logs: LogImports) -> None:
    path = logs.file("time,shop,serial\n2026-05-01,till,a\n")
    for clock in (1e30, float("nan"), float("-inf")):
        assert "clock in seconds" in logs.error(path, services={"till": {"clock": clock}})


def test_services_that_were_used_on_different_days_are_not_noted(logs: LogImports) -> None:
    for later, noted in (("2026-05-30", False), ("2026-06-02", True)):
        path = logs.file(f"time,shop,serial\n2026-05-01,till,a\n{later},gate,b\n")
        assert any("do not overlap" in note for note in logs.run(path)["notes"]) is noted
