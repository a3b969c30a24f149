"""Populations generated in bulk: they follow the services' rules, are the same on any number of cores, and resume after
an interruption."""

from __future__ import annotations

import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from kazashi.jpki.profile import EMULATED, CertificateType
from kazashi.pki.consequence import TABLE
from kazashi.pki.validity import card_end, certificate_end
from kazashi.resident_registry.birth_date import BirthDate
from kazashi.resident_registry.event import CardReturn
from kazashi.resident_registry.made_up_names import FAMILIES
from kazashi.tracking_lab.accounts import ATTRIBUTES, registered
from kazashi.tracking_lab.certificates import CARD, PHONE, EndReason, numbered
from kazashi.tracking_lab.laboratory import Laboratory, PopulationUnusable, PopulationUnusableReason, steps
from kazashi.tracking_lab.lifetimes import live
from kazashi.tracking_lab.people import AT_THE_REGISTRY, LifeEvent, nth_birthday_after
from kazashi.tracking_lab.plan import BEGINS, DAY, Plan
from kazashi.tracking_lab.uses import use
from kazashi.world.clock import JST

PLAN = Plan(400, 6, "tests")
SHORT = Plan(60, 3, "killed")


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Laboratory:
    lab = Laboratory(tmp_path_factory.mktemp("lab") / "p")
    lab.populate(PLAN)
    return lab


def read(lab: Laboratory, name: str) -> pl.DataFrame:
    return pl.read_parquet(lab.file(name))


def test_the_nth_birthday_matches_the_registry() -> None:
    days = np.array([0, 100, 364, 700], np.int32)
    for born in (BirthDate(1990, 4, 1), BirthDate(2000, 2, 29), BirthDate(1985, 12, 31)):
        years = range(BEGINS.year - 1, BEGINS.year + 20)
        birthdays = np.array([[(born.birthday(year) - BEGINS).days for year in years]] * len(days), np.int32)
        for nth in (1, 5):
            expected = [(born.nth_birthday_after(BEGINS + timedelta(days=int(day)), nth) - BEGINS).days for day in days]
            assert list(nth_birthday_after(birthdays, days, nth)) == expected


def test_every_certificate_ends_by_the_authorities_rule(lab: Laboratory) -> None:
    people = {row["person"]: row["born"] for row in read(lab, "person").iter_rows(named=True)}
    issued = read(lab, "certificate").filter(medium=CARD).sort("person", "kind", "generation")
    assert issued.height > 800
    cards = issued.filter(~pl.col("kind")).group_by("person", "chain").agg(pl.col("begins").min())
    made = {(row["person"], row["chain"]): at(row["begins"]).date() for row in cards.iter_rows(named=True)}
    former: dict[str, object] = {}
    renewed = card_ended = 0
    for row in issued.iter_rows(named=True):
        born = people[row["person"]]
        birth = BirthDate(born.year, born.month, born.day)
        same = all(former.get(name) == row[name] for name in ("person", "kind", "chain"))
        ends = at(former["ends"]) if same else None
        renewed += same and former["reason"] == EndReason.SUPERSEDED
        card = card_end(made[row["person"], row["chain"]], birth)
        rule = certificate_end(at(row["begins"]), birth, card, renewed=ends)
        assert day_of(rule) == row["ends"], row
        card_ended += day_of(rule) == (card - BEGINS).days
        former = row
    assert renewed > 100
    assert card_ended > 100, "cards end after ten birthdays, minors' cards after five"


def test_a_phone_s_certificate_lasts_as_long_as_the_card_s(lab: Laboratory) -> None:
    issued = read(lab, "certificate")
    phones, cards = (issued.filter(medium=medium) for medium in (PHONE, CARD))
    both = phones.join(cards, on=["person", "kind"], suffix="_card").filter(
        (pl.col("begins_card") <= pl.col("begins")) & (pl.col("ended_card") > pl.col("begins"))
    )
    assert both.height == phones.height > 30
    assert (both["ends"] == both["ends_card"]).all()
    assert (both["ended"] <= both["ended_card"]).all(), "never longer than the card's"


def at(day: object) -> datetime:
    assert isinstance(day, int)
    return datetime.combine(BEGINS + timedelta(days=day), datetime.min.time(), JST) + timedelta(hours=12)


def test_end_reasons_match_the_authorities_table(lab: Laboratory) -> None:
    issued = read(lab, "certificate")
    for signature, kind in ((True, CertificateType.SIGNATURE), (False, CertificateType.AUTHENTICATION)):
        seen = {EndReason(number).name for number in issued.filter(kind=signature)["reason"].unique()}
        events = {number.name: event for number, event in AT_THE_REGISTRY.items()} | {"RETURN": CardReturn}
        assert seen - {"NONE", "SUPERSEDED", "EXPIRED"} <= {
            name for name, event in events.items() if TABLE[event].of(kind) is not None
        }
    moved = issued.filter(reason=EndReason.MOVE_WITHIN)
    assert moved.height > 10
    assert moved["kind"].all(), "a move ends the signature certificate only"
    assert EMULATED.term.birthdays == 5


def test_households_move_together_and_have_one_name(lab: Laboratory) -> None:
    people, events = read(lab, "person"), read(lab, "event")
    assert people.group_by("household").agg(pl.col("town", "street", "family").n_unique())["family"].max() == 1
    moves = events.filter(pl.col("word").is_in([LifeEvent.MOVE_IN, LifeEvent.MOVE_WITHIN]))
    moves = moves.join(people.select("person", "household"), on="person")
    assert moves.height > 100
    assert moves.group_by("household", "day").agg(pl.col("street").n_unique())["street"].max() == 1
    assert moves.height > moves.select("household", "day").unique().height, "some moves are of several people"


def test_each_event_changes_the_town_street_or_name(lab: Laboratory) -> None:
    people, events = read(lab, "person"), read(lab, "event").filter(pl.col("word").is_in(list(AT_THE_REGISTRY)))
    start = people.select("person", pl.lit(-1).alias("day"), pl.lit(-1).alias("word"), "town", "street", "family")
    later = events.select(start.columns).cast(start.schema)
    both = pl.concat([start, later]).sort("person", "day", maintain_order=True)
    both = both.with_columns(pl.col("town", "street", "family").shift(1).over("person").name.prefix("former_"))
    for word, changes in (
        (LifeEvent.MOVE_IN, "town"),
        (LifeEvent.MOVE_WITHIN, "street"),
        (LifeEvent.NAME_CHANGE, "family"),
    ):
        rows = both.filter(word=word)
        assert rows.height
        assert (rows[changes] != rows[f"former_{changes}"]).all()
    within = both.filter(word=LifeEvent.MOVE_WITHIN)
    assert (within["town"] == within["former_town"]).all()


def test_a_fifth_of_typed_accounts_differ_from_the_registry(tmp_path: Path) -> None:
    lab = Laboratory(tmp_path / "p")
    lab.populate(Plan(3_000, 3, "noise", moves=0, renames=0))
    accounts = read(lab, "account").join(read(lab, "service"), on="service")
    listed = registered(read(lab, "person"))
    both = accounts.join(listed, on="person", suffix="_registry")
    same = pl.all_horizontal(pl.col(name).eq_missing(pl.col(f"{name}_registry")) for name in ATTRIBUTES)
    typed = both.filter(pl.col("kind").is_in(["login", "library"]))
    assert typed.height > 1_000
    assert 0.17 < typed.select((~same).mean()).item() < 0.23, "as in the first matching of 2006"
    assert both.filter(pl.col("kind").is_in(["signing", "portal"])).select(same.all()).item()
    points = accounts.filter(kind="points")
    assert points.select(pl.col("family", "given", "street").null_count().sum()).row(0) == (points.height,) * 3


def test_accounts_have_the_attributes_of_their_first_day(lab: Laboratory) -> None:
    accounts = read(lab, "account").join(read(lab, "service").filter(kind="portal"), on="service")
    events = read(lab, "event").filter(pl.col("word").is_in(list(AT_THE_REGISTRY)))
    people = read(lab, "person")
    moved = 0
    for row in accounts.iter_rows(named=True):
        before = events.filter((pl.col("person") == row["person"]) & (pl.col("day") < row["since"] // DAY)).tail(1)
        (person,) = people.filter(person=row["person"]).iter_rows(named=True)
        state = before.row(0, named=True) if before.height else person
        assert (row["town"], row["family"]) == (
            str(state["town"]), FAMILIES[state["family"]][0])  # fmt: skip
        moved += before.height
    assert moved > 5


def day_of(moment: datetime) -> int:
    return (moment.astimezone(JST).date() - BEGINS).days


def test_serial_numbers_are_gapless_in_the_order_of_issue(lab: Laboratory) -> None:
    for kind in (False, True):
        issued = read(lab, "certificate").filter(kind=kind).sort("serial")
        assert issued["serial"].to_list() == list(range(1, issued.height + 1))
        assert issued["begins"].is_sorted()
    assert read(lab, "certificate")["shown"].n_unique() == read(lab, "certificate").height


def test_people_show_only_their_own_good_certificates(lab: Laboratory) -> None:
    uses = read(lab, "uses").join(read(lab, "certificate"), on="shown", suffix="_holder")
    assert uses.height == read(lab, "uses").height > 10_000
    assert (uses["person"] == uses["person_holder"]).all()
    day = uses["moment"] // DAY
    assert (day >= uses["begins"]).all()
    assert (day <= uses["ends"]).all()
    assert (day < uses["ended"]).all()
    signing = read(lab, "service").filter(kind="signing")["service"].to_list()
    assert (uses["kind"] == uses["service"].is_in(signing)).all()


def test_the_same_seed_gives_the_same_bytes_on_any_number_of_cores(tmp_path: Path) -> None:
    for name, processes in (("one", 1), ("two", 2)):
        Laboratory(tmp_path / name).populate(PLAN, processes=processes)
    for path in (tmp_path / "one").rglob("*"):
        if path.is_file():
            assert path.read_bytes() == (tmp_path / "two" / path.relative_to(tmp_path / "one")).read_bytes(), path
    assert not live(Plan(50, 2, "a"), 0).people.equals(live(Plan(50, 2, "b"), 0).people)


# In a separate process, because polars does not survive a fork once it has been used. That process forks for each kill.
_KILLED = """
import sys
from pathlib import Path
from tests.crash import killed_at
from tests.tracking_lab.test_lives import SHORT
from kazashi.tracking_lab.laboratory import Laboratory
moment = 1
while killed_at(moment, lambda: Laboratory(Path(sys.argv[1]) / str(moment)).populate(SHORT)):
    moment += 1
print(moment)
"""


def test_a_run_that_is_killed_at_any_point_resumes(tmp_path: Path) -> None:
    straight = Laboratory(tmp_path / "straight")
    straight.populate(SHORT)
    assert read(straight, "uses").height > 500
    done = subprocess.run([sys.executable, "-c", _KILLED, str(tmp_path)], check=True, timeout=600, capture_output=True)
    last = int(done.stdout)
    assert last > 15
    for moment in range(1, last + 1):
        resumed = Laboratory(tmp_path / str(moment))
        assert resumed.whole is (moment == last)
        resumed.populate(SHORT)
        for name in ("person", "event", "certificate", "uses", "account"):
            assert read(resumed, name).equals(read(straight, name)), (moment, name)


def test_populations_of_nobody_and_of_one_person(tmp_path: Path) -> None:
    empty = Laboratory(tmp_path / "empty")
    empty.populate(Plan(0))
    assert empty.whole
    assert steps(Plan(0)) == 0
    one = Laboratory(tmp_path / "one")
    one.populate(Plan(1, 3))
    assert read(one, "person").height == 1
    no_certificates = numbered(live(Plan(1, 1), 0).certificates.clear(), np.zeros((2, 365), np.int64))
    assert use(Plan(1, 1), 0, no_certificates, np.zeros(1, np.uint16)).height == 0


def test_impossible_plans_are_refused() -> None:
    for wrong in ((-1, 10), (5, 0), (5, 99)):
        with pytest.raises(ValueError, match="a population needs"):
            Plan(*wrong)


def test_another_population_is_not_overwritten(tmp_path: Path) -> None:
    lab = Laboratory(tmp_path / "p")
    with pytest.raises(PopulationUnusable) as refusal:
        _ = lab.plan
    assert refusal.value.reason is PopulationUnusableReason.NO_POPULATION
    lab.populate(Plan(5, 2, "a"))
    with pytest.raises(PopulationUnusable) as refusal:
        lab.populate(Plan(5, 2, "b"))
    assert refusal.value.reason is PopulationUnusableReason.OTHER_PLAN
    assert lab.plan == Plan(5, 2, "a")
