"""The first matching of an institution's records against the registry, on made-up people: noisy records, two
matchers."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from random import Random

from kazashi.provision_network.matching import Attributes, MatchRecord, calibrated, match, match_exactly, noisy, quality
from kazashi.world.rng import stream

_FAMILIES = (
    ("佐藤", "サトウ"), ("髙橋", "タカハシ"), ("渡邊", "ワタナベ"), ("齋藤", "サイトウ"), ("小澤", "オザワ"),
    ("山﨑", "ヤマザキ"), ("伊藤", "イトウ"), ("中村", "ナカムラ"), ("廣田", "ヒロタ"), ("濱口", "ハマグチ"),
    ("田中", "タナカ"), ("國分", "コクブ"),
)  # fmt: skip
_GIVEN = (
    ("花子", "ハナコ"), ("太郎", "タロウ"), ("一郎", "イチロウ"), ("恵", "メグミ"), ("静香", "シズカ"), ("健", "ケン"),
    ("美咲", "ミサキ"), ("千鶴", "チヅル"), ("大輔", "ダイスケ"), ("陽子", "ヨウコ"), ("純", "ジュン"),
)  # fmt: skip
_TOWNS = ("東京都架空区本町", "大阪府架空市北町", "北海道架空町緑ヶ丘", "愛知県架空市中央", "福岡県架空区港")
_FIRST, _DAYS = date(1925, 1, 1), 34_000


def crowd(seed: str, count: int) -> dict[str, Attributes]:
    """The attributes of `count` made-up people, by identifier."""
    chance = stream(seed, "matching", "people")
    return {f"p{place}": _person(chance) for place in range(count)}


@dataclass(frozen=True, slots=True)
class FirstMatching:
    """X18 (first matching): the number of records, the share of fields that are noisy, the share of records that exact
    matching leaves to people, the quality of both ways, and the number of records that the matcher leaves to people."""

    records: int
    noise_rate: float
    exact_match_fails: float
    exact_precision: float
    matcher_precision: float
    matcher_recall: float
    matcher_f1: float
    left_to_people: int


def matched(seed: str, count: int, failing: float, work_list: Path | None = None) -> FirstMatching:
    """Match an institution's noisy records of made-up people. The noise is set so that the share `failing` of the
    records does not match letter for letter. `work_list` is the CSV file for records that need manual review. Returns
    the quality of exact matching and of the matcher."""
    people = crowd(seed, count)
    everybody = list(people.values())
    rate = calibrated(everybody, failing, lambda: stream(seed, "matching", "noise"))
    chance = stream(seed, "matching", "noise")
    records = [MatchRecord(f"r{place}", noisy(person, rate, chance)) for place, person in enumerate(everybody)]
    truth = {f"r{place}": identifier for place, identifier in enumerate(people)}
    exact, result = match_exactly(records, people), match(records, people)
    if work_list is not None:
        _write(work_list, {record.number: record for record in records}, result.work_list)
    before, after = quality(exact, truth), quality(result, truth)
    return FirstMatching(
        count, rate, before.by_hand, before.precision, after.precision, after.recall, after.f1, len(result.work_list)
    )


def _write(path: Path, records: dict[str, MatchRecord], work: dict[str, int]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("record", "name", "kana", "birth", "sex", "address", "candidates"))
        for number, candidates in work.items():
            person = records[number].attributes
            writer.writerow((number, person.name, person.kana, person.birth, person.sex, person.address, candidates))


def _person(chance: Random) -> Attributes:
    (family, family_kana), (given, given_kana) = chance.choice(_FAMILIES), chance.choice(_GIVEN)
    birth = _FIRST + timedelta(days=chance.randrange(_DAYS))
    place = f"{chance.randrange(1, 9)}丁目{chance.randrange(1, 40)}番{chance.randrange(1, 30)}号"
    wide = place.translate(str.maketrans("0123456789", "０１２３４５６７８９"))
    return Attributes(
        f"{family}　{given}", f"{family_kana}　{given_kana}", f"{birth:%Y%m%d}", chance.choice("12"),
        chance.choice(_TOWNS) + wide,
    )  # fmt: skip
