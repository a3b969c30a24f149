"""The first matching: a fifth does not match exactly, the matcher finds most of it, and the rest is a work list."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kazashi.provision_network.matching import (
    FAILED_IN_2006,
    Attributes,
    MatchRecord,
    calibrated,
    found_after,
    match,
    match_exactly,
    noisy,
    quality,
)
from kazashi.studies.network_matching import crowd, matched
from kazashi.world.rng import stream

pytestmark = pytest.mark.unit

PEOPLE = crowd("tests", 2_000)
SOMEBODY = Attributes("髙橋　花子", "タカハシ　ハナコ", "19900115", "2", "東京都架空区本町１丁目２番３号")


def noise(share: float) -> tuple[list[MatchRecord], dict[str, str]]:
    people = list(PEOPLE.values())
    rate = calibrated(people, share, lambda: stream("tests", "noise"))
    random = stream("tests", "noise")
    records = [MatchRecord(f"r{place}", noisy(person, rate, random)) for place, person in enumerate(people)]
    return records, {f"r{place}": identifier for place, identifier in enumerate(PEOPLE)}


def test_n1_e10_a_fifth_does_not_match_exactly() -> None:
    records, truth = noise(FAILED_IN_2006)
    exact, normalised = match_exactly(records, PEOPLE), match(records, PEOPLE)
    assert quality(exact, truth).by_hand == pytest.approx(FAILED_IN_2006, abs=0.01)
    assert quality(exact, truth).precision == 1
    better = quality(normalised, truth)
    assert better.recall > 0.95 > quality(exact, truth).recall
    assert better.precision > 0.99
    assert normalised.pairs.keys().isdisjoint(normalised.work_list)
    assert len(normalised.pairs) + len(normalised.work_list) == len(records)


def test_without_noise_everything_matches() -> None:
    records, truth = noise(0)
    assert quality(match_exactly(records, PEOPLE), truth).recall > 0.99


@pytest.mark.parametrize("written", [
    replace(SOMEBODY, name="高橋 花子"), replace(SOMEBODY, address="東京都架空区本町1-2-3"),
    replace(SOMEBODY, kana="ﾀｶﾊｼ ﾊﾅｺ"), replace(SOMEBODY, address="大阪府架空市"),
    replace(SOMEBODY, kana="タカバシ　ハナコ"),
])  # fmt: skip
def test_a_person_in_another_notation_is_matched(written: Attributes) -> None:
    people = {"hanako": SOMEBODY, "taro": replace(SOMEBODY, birth="19800101", kana="ヤマダ　タロウ")}
    assert match([MatchRecord("1", written)], people).pairs == {"1": "hanako"}


def test_an_ambiguous_record_goes_to_the_work_list() -> None:
    people = {"one": SOMEBODY, "twin": replace(SOMEBODY, name="髙橋　月子", kana="タカハシ　ツキコ")}
    unclear = replace(SOMEBODY, name="高橋", kana="タカハシ")
    assert match([MatchRecord("1", unclear)], people).work_list == {"1": 2}
    assert match([MatchRecord("1", replace(SOMEBODY, birth="20000101"))], {}).work_list == {"1": 0}


def test_i1_every_record_matches_by_number() -> None:
    records, truth = noise(FAILED_IN_2006)
    by_number = sum(truth[record.number] in PEOPLE for record in records) / len(records)
    by_attributes = quality(match_exactly(records, PEOPLE), truth).recall
    assert by_number == 1
    assert by_attributes < 0.81


def test_n2_how_long_a_wrong_match_stays() -> None:
    truth = {f"r{place}": f"p{place}" for place in range(50)}
    swapped = {**truth, "r0": "p1", "r1": "p0"}
    random = stream("tests", "noticed")
    uses = found_after(swapped, truth, lambda _: random.random() < 0.2, most=40)
    assert len(uses) == 2, "two pairs are wrong, each with its own number of uses"
    assert all(1 <= count <= 40 for count in uses)
    assert found_after(truth, truth, lambda _: True, most=5) == []
    assert found_after(swapped, truth, lambda _: False, most=5) == [5, 5], "the wrong pairs are never noticed"


@given(st.integers(0, 1000), st.floats(0, 1))
def test_noise_of_rate_zero_changes_nothing(place: int, rate: float) -> None:
    random = stream(str(place), "noise")
    assert noisy(SOMEBODY, 0, random) == SOMEBODY
    record = MatchRecord("1", noisy(SOMEBODY, rate, random))
    measured = quality(match([record], {"hanako": SOMEBODY}), {"1": "hanako"})
    assert all(0 <= value <= 1 for value in (measured.precision, measured.recall, measured.by_hand, measured.f1))


def test_the_same_seed_gives_the_same_report() -> None:
    assert matched("a", 500, 0.2) == matched("a", 500, 0.2) != matched("b", 500, 0.2)
