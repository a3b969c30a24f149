"""What speaks against a tie, and how long wrong ties stay on simulated use."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pytest

from kazashi.provision_network.match_register import HolderReport, Report
from kazashi.provision_network.matching import Attributes
from kazashi.provision_network.tie_checks import (
    Answered,
    RegistryNow,
    Signal,
    TieEvidence,
    agreed_attributes,
    contradictions,
    suspicions,
)
from kazashi.studies.match_records import known_people, population
from kazashi.studies.wrong_ties import Habits, TieKind, detection_times

pytestmark = pytest.mark.unit

HANAKO = Attributes("番号　花子", "バンゴウ　ハナコ", "19880417", "2", "東京都渋谷区架空町１丁目２番３号")
TARO = replace(HANAKO, name="番号　太郎", kana="バンゴウ　タロウ", birth="19861103", sex="1")
TIED, TODAY = date(2026, 11, 24), date(2027, 3, 1)
ELSEWHERE = "大阪府大阪市北区架空町１番地"
SAYS = "氏名 番号　花子 氏名カナ バンゴウ　ハナコ 生年月日 1988-04-17 性別 女"


def reported(kind: HolderReport, day: date = date(2027, 1, 10), content: str = "") -> Report:
    return Report("1", kind, day, content)


def found(
    record: Attributes = HANAKO, person: Attributes = HANAKO, today: date = TODAY, **more: Any
) -> dict[Signal, date]:
    """The signals against a tie, each with the day from which it could be noticed."""
    now = more.pop("registry", RegistryNow(person))
    evidence = TieEvidence(record, agreed_attributes(record, person), TIED, now, **more)
    return {one.signal: one.since for one in suspicions(evidence, today)}


def test_nothing_speaks_against_a_right_tie_whatever_the_body_hears() -> None:
    moved = RegistryNow(replace(HANAKO, address=ELSEWHERE), None, date(2027, 1, 12))
    heard = [reported(HolderReport.SEEN), reported(HolderReport.ADDRESS, content="大阪市北区架空町1")]
    assert found(answers=[Answered(TODAY, "架空町", SAYS)], reports=heard, registry=moved) == {}
    old = [reported(HolderReport.ADDRESS, date(2026, 12, 1), HANAKO.address)]
    assert found(reports=old, registry=moved) == {}, "the person has moved since"
    assert found(reports=[reported(HolderReport.ADDRESS, date(2027, 2, 20), ELSEWHERE)]) == {}, "not two weeks ago"
    dead = RegistryNow(HANAKO, date(2027, 1, 20))
    assert (
        found(reports=[reported(HolderReport.SEEN), reported(HolderReport.DIED, date(2027, 1, 21))], registry=dead)
        == {}
    )


@pytest.mark.parametrize(("signal", "since", "evidence"), [
    (Signal.SHARED, TIED, {"others": ["2"]}),
    (Signal.ANSWER, date(2027, 1, 5),
     {"answers": [Answered(date(2027, 1, 5), "架空町", SAYS.replace("04-17", "04-18"))]}),
    (Signal.CORRECTED, TODAY, {"registry": RegistryNow(replace(HANAKO, birth="19880418"))}),
    (Signal.DEAD_BUT_SEEN, date(2027, 1, 10),
     {"reports": [reported(HolderReport.SEEN)], "registry": RegistryNow(HANAKO, date(2027, 1, 9))}),
    (Signal.ALIVE_BUT_DIED, date(2027, 1, 24), {"reports": [reported(HolderReport.DIED)]}),
    (Signal.ELSEWHERE, date(2027, 1, 24), {"reports": [reported(HolderReport.ADDRESS, content=ELSEWHERE)]}),
    (Signal.NOT_MINE, date(2027, 1, 10), {"reports": [reported(HolderReport.NOT_MINE)]}),
])  # fmt: skip
def test_each_signal_is_raised_by_its_contradiction_alone(
    signal: Signal, since: date, evidence: dict[str, Any]
) -> None:
    assert found(**evidence) == {signal: since}


def test_a_report_from_before_the_tie_is_not_about_it() -> None:
    assert found(reports=[reported(HolderReport.NOT_MINE, TIED - timedelta(days=1))]) == {}


@pytest.mark.parametrize(("content", "labels"), [
    (SAYS, ["生年月日", "性別", "氏名", "氏名カナ"]), ("氏名：番号　太郎, 性別:男", []), ("総所得金額 1,000円", []),
    ("性別 女", ["性別"]), ("生年月日 昭和61年", []), ("氏名 山田　太郎 氏名カナ バンゴウ　タロウ", []),
    ("氏名 番号　花子 氏名カナ バンゴウ　ハナコ", ["氏名", "氏名カナ"]), ("", []),
])  # fmt: skip
def test_what_an_answer_states_is_compared_with_the_record(content: str, labels: list[str]) -> None:
    assert contradictions(TARO, content) == labels


PEOPLE = known_people(population("tests", 400))
NOTHING = Habits(0, 0, 0, 0, 0, 0, 0, 0, 0, every=20, years=3)


def times(habits: Habits, ties: int = 25) -> dict[TieKind, Any]:
    return {one.kind: one for one in detection_times("tests", PEOPLE, ties, habits)}


def test_n2_wrong_ties_are_noticed_only_in_use_and_by_what_contradicts() -> None:
    """Without use nothing is noticed; use by use, each habit finds what its signal can contradict."""
    assert {one.found.count for one in times(NOTHING).values()} == {0}, "a tie that nobody uses is never noticed"
    asked = times(replace(NOTHING, asked=12))
    assert asked[TieKind.ROW].found.value > 0.9
    assert asked[TieKind.HOUSEHOLD].found.value > 0.9
    assert asked[TieKind.NAMESAKE].found.count == 0, "answers say of a namesake what the record says"
    assert asked[TieKind.RIGHT].found.count == 0
    assert set(asked[TieKind.ROW].by_signal) == {"answer"}
    assert asked[TieKind.ROW].uses[0] >= 1, "it takes a use to notice"
    rarely = times(replace(NOTHING, asked=1))
    assert rarely[TieKind.ROW].days[1] > 2 * asked[TieKind.ROW].days[1], "the rarer the use, the longer it stays"
    moves = times(replace(NOTHING, moves=2, tells=1))
    assert set(moves[TieKind.NAMESAKE].by_signal) == {"elsewhere"}
    assert min(moves[TieKind.NAMESAKE].days) > 14
    assert moves[TieKind.RIGHT].found.count == 0
    assert times(replace(NOTHING, moves=2, tells=1, late=1))[TieKind.RIGHT].found.count > 0, "false alarms are counted"
    dying = times(replace(NOTHING, deaths=2, seen=50, tells=1))
    assert set(dying[TieKind.NAMESAKE].by_signal) == {"dead-but-seen", "alive-but-died"}
    assert dying[TieKind.RIGHT].found.count == 0
    looked = times(replace(NOTHING, looks=4, notices=1))
    assert set(looked[TieKind.NAMESAKE].by_signal) == {"not-mine"}
    assert set(times(replace(NOTHING, covered=1))[TieKind.NAMESAKE].by_signal) == {"shared"}


def test_n2_the_time_to_detection_is_a_distribution_with_intervals() -> None:
    measured = times(Habits(covered=0), 60)
    namesakes, rows = measured[TieKind.NAMESAKE], measured[TieKind.ROW]
    assert namesakes.found.interval[1] < rows.found.interval[0], "most namesakes stay for years"
    assert sum(rows.by_signal.values()) == rows.found.count
    low, middle, high = rows.days
    assert 30 <= low <= middle <= high <= 5 * 365
    assert measured[TieKind.RIGHT].found.value < 0.1
    assert rows.as_dict()["found"]["low"] == rows.found.interval[0]
