"""`kazashi bench network`: how many records of a tax file a core matches with the taxpayers of a town in a second."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import date, timedelta
from random import Random

from benchmarks.measure import Measure, at_least
from kazashi.provision_network.matching import Attributes
from kazashi.provision_network.name_matching import Roll
from kazashi.provision_network.tax_returns import TaxReturn, made_up_return
from kazashi.resident_registry.number import IndividualNumber

_GOAL = 10_000
_FAMILIES = ("佐藤", "鈴木", "髙橋", "田中", "渡邉", "伊藤", "山本", "中村", "小林", "斎藤", "濱田", "櫻井", "廣瀬")
_GIVEN = ("結衣", "大輔", "静", "蓮", "葵", "陽翔", "美咲", "健一", "裕子", "和子", "清", "茂", "恵", "祐介")
_FIRST, _DAYS = date(1930, 1, 1), 28_000


def matchings(taxpayers: int) -> Iterator[Measure]:
    """Match a file of a town's returns with its taxpayers, by number and by attributes alone."""
    people, numbers, returns = town(taxpayers)
    roll = Roll(people, numbers)
    begun = time.process_time()
    for one in returns:
        roll.match(one.individual_number, one.attributes)
    both = taxpayers / (time.process_time() - begun)
    begun = time.process_time()
    for one in returns:
        roll.by_attributes(one.attributes)
    alone = taxpayers / (time.process_time() - begun)
    yield at_least("name matchings a core, by number if there is one", "1/s", both, _GOAL, "the goal", both / _GOAL, 1)
    yield at_least("name matchings a core, by attributes", "1/s", alone, _GOAL, "the goal", alone / _GOAL, 1)


def town(taxpayers: int) -> tuple[dict[str, Attributes], dict[str, str], list[TaxReturn]]:
    """Return the people of a town by the tax office's numbers, those numbers by individual number, and a return of
    each."""
    chance = Random("matchings")
    people = {f"{place:09}": _person(chance) for place in range(taxpayers)}
    numbers = {str(IndividualNumber.around(f"{place + 1:011}")): own for place, own in enumerate(people)}
    listed = list(numbers)
    returns = [
        made_up_return(own, number, people[own], listed[place - 1], chance)
        for place, (number, own) in enumerate(numbers.items())
    ]
    return people, numbers, returns


def _person(chance: Random) -> Attributes:
    family, given = chance.randrange(len(_FAMILIES)), chance.randrange(len(_GIVEN))
    birth = (_FIRST + timedelta(days=chance.randrange(_DAYS))).strftime("%Y%m%d")
    kana = f"ミョウジ{family} ナマエ{given}"
    house = f"{chance.randrange(1, 9)}丁目{chance.randrange(1, 30)}番{chance.randrange(1, 20)}号"
    name = f"{_FAMILIES[family]}\u3000{_GIVEN[given]}"
    return Attributes(name, kana, birth, str(1 + given % 2), f"東京都渋谷区架空町{house}")
