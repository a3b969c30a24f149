"""Lives in bulk: by the services' rules, the same on any number of cores, taken up again where they were cut off."""

from __future__ import annotations

import signal
import subprocess
import sys
from datetime import date, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from pki.consequence import TABLE
from pki.profile import EMULATED, Kind
from pki.validity import certificate_end
from resident_registry.birth_date import BirthDate
from resident_registry.event import MoveWithin
from tests.town import certificates, clock_of, new_institutions, standing
from tracking_lab.laboratory import Laboratory, PopulationUnusable, steps
from tracking_lab.lives import NEVER, REASONS, WORDS, live, nth_birthday_after, numbered
from tracking_lab.plan import BEGINS, DAY, Plan
from tracking_lab.uses import use
from world.clock import JST
from world.key_source import SharedKeySource

PLAN = Plan(400, 6, "tests")


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Laboratory:
    found = Laboratory(tmp_path_factory.mktemp("lab") / "p")
    found.populate(PLAN)
    return found


def read(lab: Laboratory, name: str) -> pl.DataFrame:
    return pl.read_parquet(lab.file(name))


def test_the_nth_birthday_is_the_registry_s() -> None:
    days = np.array([0, 100, 364, 700], np.int32)
    for born in (BirthDate(1990, 4, 1), BirthDate(2000, 2, 29), BirthDate(1985, 12, 31)):
        years = range(BEGINS.year - 1, BEGINS.year + 20)
        birthdays = np.array([[(born.birthday(year) - BEGINS).days for year in years]] * len(days), np.int32)
        for nth in (1, 5):
            expected = [(born.nth_birthday_after(BEGINS + timedelta(days=int(day)), nth) - BEGINS).days for day in days]
            assert list(nth_birthday_after(birthdays, days, nth)) == expected


def test_every_certificate_ends_when_the_authority_s_rule_says(lab: Laboratory) -> None:
    people = {row["person"]: row["born"] for row in read(lab, "person").iter_rows(named=True)}
    issued = read(lab, "certificate").sort("person", "kind", "medium", "begins")
    assert issued.height > 800
    former: dict[str, object] = {}
    renewed = 0
    for row in issued.iter_rows(named=True):
        born = people[row["person"]]
        same = all(former.get(name) == row[name] for name in ("person", "kind", "medium"))
        ends = None
        if same and former["reason"] != REASONS.index("theft"):
            ends, renewed = at(former["ends"]), renewed + (former["reason"] == REASONS.index("superseded"))
        rule = certificate_end(at(row["begins"]), BirthDate(born.year, born.month, born.day), date(2100, 1, 1),
                               renewed=ends)  # fmt: skip
        assert (rule.astimezone(JST).date() - BEGINS).days == row["ends"], row
        former = row
    assert renewed > 100


def at(day: object) -> datetime:
    assert isinstance(day, int)
    return datetime.combine(BEGINS + timedelta(days=day), datetime.min.time(), JST) + timedelta(hours=12)


def test_what_ends_a_certificate_is_the_authorities_table(lab: Laboratory) -> None:
    issued = read(lab, "certificate")
    for signature, kind in ((True, Kind.SIGNATURE), (False, Kind.AUTHENTICATION)):
        seen = {REASONS[number] for number in issued.filter(kind=signature)["reason"].unique()} & set(WORDS)
        assert seen <= {word for word in WORDS if TABLE[word].of(kind) is not None}
    moved = issued.filter(reason=REASONS.index("move-within"))
    assert moved.height > 10
    assert moved["kind"].all(), "a move ends the signature certificate and leaves the other alive"
    assert EMULATED.term.birthdays == 5


def test_a_small_world_lived_through_the_services_has_the_same_certificates(
    tmp_path: Path, keys: SharedKeySource
) -> None:
    """Somebody gets a card, moves, and renews: through registry and authorities, and by the rules in bulk."""
    town = new_institutions(tmp_path / "w", keys)
    clock = clock_of(town.world)
    town.issue_card("hanako", "hanako")
    town.settle()
    first = {kind: certificates(town, "hanako", kind)[0] for kind in Kind}
    moved = clock.now() + timedelta(days=400)
    clock.stand(moved)
    town.settle()
    town.registry.record("hanako", MoveWithin("架空町１丁目"))
    town.settle()
    assert standing(town, "hanako", Kind.SIGNATURE).reason is not None
    assert standing(town, "hanako", Kind.AUTHENTICATION).reason is None
    end = first[Kind.AUTHENTICATION].not_after
    clock.stand(end - timedelta(days=30))
    town.settle()
    town.cards.renew("hanako")
    town.settle()
    lived = {kind: [(one.not_before.astimezone(JST).date(), one.not_after.astimezone(JST).date())
                    for one in certificates(town, "hanako", kind)] for kind in Kind}  # fmt: skip
    born = town.registry.find("hanako").birth
    years = range(BEGINS.year - 1, BEGINS.year + 20)
    birthdays = np.array([[(born.birthday(year) - BEGINS).days for year in years]], np.int32)
    for found in lived.values():
        counted = [day_of(begins) for begins, _ in found]
        counted[1] = day_of(found[0][1])  # renewed within its last three months: counted from its former end
        days, fifth = np.array(counted, np.int32), EMULATED.term.birthdays
        bulk = [int(day) for day in nth_birthday_after(np.repeat(birthdays, len(days), axis=0), days, fifth)]
        card = min(bulk[-1], day_of(found[-1][1]))  # a card's own end may come first
        assert [*bulk[:-1], card] == [day_of(ends) for _, ends in found]


def day_of(day: date) -> int:
    return (day - BEGINS).days


def test_serial_numbers_are_gapless_in_the_order_of_issue(lab: Laboratory) -> None:
    for kind in (False, True):
        issued = read(lab, "certificate").filter(kind=kind).sort("serial")
        assert issued["serial"].to_list() == list(range(1, issued.height + 1))
        assert issued["begins"].is_sorted()
    assert read(lab, "certificate")["shown"].n_unique() == read(lab, "certificate").height


def test_nobody_shows_what_is_not_good_or_not_theirs(lab: Laboratory) -> None:
    uses = read(lab, "uses").join(read(lab, "certificate"), on="shown", suffix="_holder")
    assert uses.height == read(lab, "uses").height > 10_000
    assert (uses["person"] == uses["person_holder"]).all()
    day = uses["moment"] // DAY
    assert (day >= uses["begins"]).all()
    assert (day <= uses["ends"]).all()
    assert ((uses["ended"] == NEVER) | (day < uses["ended"]) | (uses["reason"] == REASONS.index("expired"))).all()
    signing = read(lab, "service").filter(kind="signing")["service"].to_list()
    assert (uses["kind"] == uses["service"].is_in(signing)).all()


def test_the_same_seed_gives_the_same_bytes_on_any_number_of_cores(tmp_path: Path) -> None:
    for name, processes in (("one", 1), ("two", 2)):
        Laboratory(tmp_path / name).populate(PLAN, processes=processes)
    for path in (tmp_path / "one").rglob("*"):
        if path.is_file():
            assert path.read_bytes() == (tmp_path / "two" / path.relative_to(tmp_path / "one")).read_bytes(), path
    assert not live(Plan(50, 2, "a"), 0).people.equals(live(Plan(50, 2, "b"), 0).people)


# In a process of its own: what polars runs on does not outlive a fork.
_KILLED = """
import sys
from pathlib import Path
from tests.crash import _arm
from tests.tracking_lab.test_lives import PLAN
from tracking_lab.laboratory import Laboratory
_arm(int(sys.argv[1]))
Laboratory(Path(sys.argv[2])).populate(PLAN)
"""


def test_a_run_that_is_killed_anywhere_goes_on(tmp_path: Path, lab: Laboratory) -> None:
    moment, killed = 0, True
    while killed:
        moment += 1
        home = tmp_path / f"p{moment}"
        done = subprocess.run([sys.executable, "-c", _KILLED, str(moment), str(home)], check=False, timeout=60)
        killed = done.returncode == -signal.SIGKILL
        assert killed or done.returncode == 0
        found = Laboratory(home)
        assert found.whole is not killed
        found.populate(PLAN)
        assert read(found, "uses").equals(read(lab, "uses"))
    assert moment > 5


def test_empty_and_tiny_worlds(tmp_path: Path) -> None:
    nobody = Laboratory(tmp_path / "nobody")
    nobody.populate(Plan(0))
    assert nobody.whole
    assert steps(Plan(0)) == 0
    somebody = Laboratory(tmp_path / "somebody")
    somebody.populate(Plan(1, 3))
    assert read(somebody, "person").height == 1
    none = numbered(live(Plan(1, 1), 0).certificates.clear())
    assert use(Plan(1, 1), 0, none).height == 0
    for wrong in ((-1, 10), (5, 0), (5, 99)):
        with pytest.raises(ValueError, match="a population has"):
            Plan(*wrong)


def test_another_population_is_not_written_over(tmp_path: Path) -> None:
    found = Laboratory(tmp_path / "p")
    with pytest.raises(PopulationUnusable, match="try: kazashi tracking populate"):
        _ = found.plan
    found.populate(Plan(5, 2, "a"))
    with pytest.raises(PopulationUnusable, match="another population"):
        found.populate(Plan(5, 2, "b"))
    assert found.plan == Plan(5, 2, "a")
