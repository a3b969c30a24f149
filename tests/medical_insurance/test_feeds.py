"""Insurers' files: read and written, refused as a whole with the rule that says so, handed in twice, and by command."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kazashi.medical_insurance.entitlement import Entitlement, decisive, entitlements_in
from kazashi.medical_insurance.feed import MOST_LINES, ChangeType, FeedLine, FeedRejected, InsurerFeed, written
from kazashi.world.home import open_world
from kazashi.world.key_source import SharedKeySource
from tests.cli.program import InProcessProgram
from tests.medical_insurance.insured_town import APRIL, INSURER, OTHER, InsuredTown, copied, opened
from tests.provision_network.bodies import denied
from tests.town import clock_of

pytestmark = pytest.mark.unit

DAYS = st.dates(date(2000, 1, 1), date(2099, 12, 31))
NUMBERS = st.lists(st.text("09AZaz", min_size=1, max_size=8), min_size=1, max_size=4).map("-".join)
LINES = st.builds(
    lambda change, address, number, days: FeedLine(change, f"{address:010d}", number, min(days), max(days), 0),
    st.sampled_from(ChangeType), st.integers(0, 10**10 - 1), NUMBERS, st.tuples(DAYS, DAYS),
)  # fmt: skip


@given(st.lists(LINES, max_size=5, unique_by=lambda line: line.insured_number), st.integers(1, 10**8), DAYS)
def test_what_is_written_is_read(lines: list[FeedLine], number: int, day: date) -> None:
    read = InsurerFeed.parse(written(INSURER, number, day, lines).encode())
    assert (read.insurer, read.number, read.day) == (INSURER, number, day)
    assert [line.written() for line in read.lines] == [line.written() for line in lines]
    assert [line.place for line in read.lines] == list(range(2, 2 + len(lines)))


@given(st.lists(st.builds(Entitlement, st.just(INSURER), NUMBERS, DAYS, st.none() | DAYS)))
def test_a_copy_s_text_is_read(entitlements: list[Entitlement]) -> None:
    content = "\n".join(one.written() for one in entitlements)
    assert entitlements_in(INSURER, content) == entitlements
    with pytest.raises(ValueError, match="is not an entitlement"):
        entitlements_in(INSURER, content + "\nx")


def test_the_decisive_entitlement_is_the_valid_one_then_the_last_ended_then_the_first_future_one() -> None:
    old = Entitlement(INSURER, "1", date(2020, 1, 1), date(2021, 1, 1))
    older = Entitlement(INSURER, "2", date(2018, 1, 1), date(2019, 1, 1))
    valid = Entitlement(OTHER, "3", date(2022, 1, 1), None)
    future = Entitlement(OTHER, "4", date(2030, 1, 1), None)
    everything = [older, future, valid, old]
    assert decisive(everything, date(2026, 1, 1)) == valid
    assert decisive([older, future, old], date(2026, 1, 1)) == old
    assert decisive([future], date(2026, 1, 1)) == future
    assert decisive([], date(2026, 1, 1)) is None


GOOD = "H,1,x,1,2026-11-24\nN,1,06-1,2026-04-01,\nE,2,06-2,2020-04-01,2026-10-31\nT,1,0,1\n"


@pytest.mark.parametrize(("changed", "denial"), [
    (lambda text: "", "feed-truncated"), (lambda text: text[:-1], "feed-truncated"),
    (lambda text: text[: text.index("T,")], "feed-truncated"), (lambda text: text[:40], "feed-truncated"),
    (lambda text: text.replace("T,1,0,1", "T,1,1,1"), "feed-counts"),
    (lambda text: text.replace("E,", "C,"), "feed-counts"),
    (lambda text: text.replace("T,1,0,1", "T,1,0"), "feed-counts"),
    (lambda text: text.replace("T,1,0,1", "T,1,0,x"), "feed-malformed"),
    (lambda text: text.replace("N,1,06-1,2026-04-01,\n", ""), "feed-counts"),
    (lambda text: text.replace("06-2", "06-1"), "feed-duplicate"),
    (lambda text: text.replace("H,1,", "H,2,"), "feed-malformed"), (lambda text: text[2:], "feed-malformed"),
    (lambda text: text.replace("x,1,", "x,-1,"), "feed-malformed"),
    (lambda text: text.replace("N,1", "X,1"), "feed-malformed"),
    (lambda text: text.replace("2026-04-01", "2026-02-30"), "feed-malformed"),
    (lambda text: text.replace("2020-04-01", "2027-04-01"), "feed-malformed"),
    (lambda text: text.replace("2026-10-31", ""), "feed-malformed"),
    (lambda text: text.replace("06-1", "06 1"), "feed-malformed"),
    (lambda text: text.replace("\nE", ",\nE"), "feed-malformed"),
    (lambda text: text.replace("N,1,06-1", "N,\x00,06-1"), "feed-malformed"),
    (lambda text: text.replace("x", "x" * 300), "feed-malformed"),
])  # fmt: skip
def test_a_file_is_refused_with_the_rule_that_says_so(changed: Callable[[str], str], denial: str) -> None:
    InsurerFeed.parse(GOOD.encode())
    with denied(denial):
        InsurerFeed.parse(changed(GOOD).encode())


def test_a_file_in_another_encoding_and_a_file_that_is_too_long_are_refused() -> None:
    with denied("feed-malformed"):
        InsurerFeed.parse(GOOD.replace("x", "架空").encode("cp932"))
    lines = [FeedLine(ChangeType.NEW, "1", f"{number}", APRIL, None, 0) for number in range(MOST_LINES + 1)]
    with denied("feed-malformed"):
        InsurerFeed.parse(written(INSURER, 1, APRIL, lines).encode())


def test_a_refused_file_changes_nothing_and_is_recorded(town: InsuredTown) -> None:
    town.feed(town.line("hanako", number="06-1"))
    before, contents = town.joint.people(), town.insurance.interface.server(INSURER).contents("医療保険資格関係情報")
    good, theirs = town.line("taro", number="06-2"), town.line("hanako", number="06-9", insurer=OTHER)
    for lines, denial in (
        ((good, theirs), "feed-unknown-person"),  # an address number of another insurer's
        ((good, town.line("hanako", number="06-1")), "feed-duplicate"),
        ((good, town.line("hanako", "CHANGED", "06-7")), "feed-unknown-insured"),
        ((good, town.line("taro", "ENDED", "06-1", ends=date(2026, 11, 1))), "feed-unknown-insured"),
    ):
        with denied(denial):
            town.feed(*lines)
    for content, denial in (
        (town.file(good, number=3), "feed-order"), (town.file(good, number=1), "feed-conflict"),
        (town.file(good)[:-9], "feed-truncated"), (town.file(good, insurer=OTHER), "feed-another-insurer"),
    ):  # fmt: skip
        with denied(denial):
            town.intake.hand_in(INSURER, content)
    assert town.joint.people() == before
    assert town.insurance.interface.server(INSURER).contents("医療保険資格関係情報") == contents
    recorded = [(event.insurer, event.number, event.refused) for event in town.joint.feeds()]
    assert recorded == [
        (INSURER, 1, ""), (INSURER, 2, "feed-unknown-person"), (INSURER, 2, "feed-duplicate"),
        (INSURER, 2, "feed-unknown-insured"), (INSURER, 2, "feed-unknown-insured"), (INSURER, 3, "feed-order"),
        (INSURER, 1, "feed-conflict"), (INSURER, 0, "feed-truncated"), (INSURER, 1, "feed-another-insurer"),
    ]  # fmt: skip


def test_a_file_that_comes_twice_counts_once(town: InsuredTown) -> None:
    content = town.file(town.line("hanako", number="06-1"))
    first = town.intake.hand_in(INSURER, content)
    known = town.joint.people()
    again = town.intake.hand_in(INSURER, content)
    assert (first.again, again.again, again.number, again.new) == (False, True, 1, 1)
    assert town.joint.people() == known
    assert len(town.joint.feeds()) == 1


def test_another_insurer_s_file_counts_by_itself(town: InsuredTown) -> None:
    town.feed(town.line("hanako", number="06-1"))
    receipt = town.feed(town.line("hanako", number="06-1", insurer=OTHER), insurer=OTHER)
    assert receipt.number == 1, "insured numbers and file numbers are each insurer's own"
    (person,) = town.joint.people()
    assert {(one.insurer, one.insured_number) for one in person.entitlements} == {(OTHER, "06-1"), (INSURER, "06-1")}


def test_files_by_command(prepared: Path, tmp_path: Path, keys: SharedKeySource) -> None:
    program = InProcessProgram(copied(prepared, tmp_path / "w"))
    draft = program.run("insurance", "draft", INSURER, "hanako", "taro", "--from", "2026-04-01").stdout
    file = tmp_path / "file.csv"
    file.write_text(draft, encoding="utf-8")
    assert program.json("insurance", "feed", INSURER, str(file))["new"] == 2
    assert "accepted before" in program.run("insurance", "feed", INSURER, str(file)).stdout
    ended = program.run("insurance", "draft", INSURER, "taro", "--change", "ended", "--to", "2026-10-31").stdout
    file.write_text(ended.replace("T,0,0,1", "T,0,1,1"), encoding="utf-8")
    assert "counts 0,1,1" in program.error("feed-refused", 1, "insurance", "feed", INSURER, str(file))
    file.write_text(ended, encoding="utf-8")
    assert program.json("insurance", "feed", INSURER, str(file))["ended"] == 1
    assert [row["refused"] for row in program.json("insurance", "feeds")] == [None, "feed-counts", None]
    assert sorted(row["ends"] or "" for row in program.json("insurance", "people")) == ["", "2026-10-31"]
    assert len(program.json("insurance", "register", "hanako")["own_number"]) == 12
    for words in (("feed", "架空市", str(file)), ("feed", "支払基金・国保中央会", str(file)), ("draft", OTHER, "taro")):
        program.error("network-refused", 1, "insurance", *words)
    program.error("usage", 2, "insurance", "draft", OTHER, "hanako", "--change", "ended", "--to", "2026-10-31")
    clinic = tmp_path / "clinic"
    program.run("clinic", "add", "架空医院", "--out", str(clinic))
    program.error("usage", 2, "clinic", "add", "架空医院", "--out", str(clinic))
    program.error("clinic-unusable", 2, "clinic", "serve", str(tmp_path))
    assert program.json("clinic", "remove", "架空医院")["removed"] == 1
    program.error("network-refused", 1, "clinic", "remove", "架空医院")
    (row,) = program.json("clinic", "list")
    assert row["removed"]


def test_the_joint_body_is_set_up_by_a_command_of_its_own(tmp_path: Path, prepared: Path) -> None:
    world = copied(prepared, tmp_path / "w")
    program = InProcessProgram(world)
    assert program.json("insurance", "setup", "架空共済組合")["insurers"] == sorted([INSURER, OTHER, "架空共済組合"])
    with closing(open_world(tmp_path / "new")) as empty:
        clock_of(empty).stand(empty.clock.now())
    InProcessProgram(tmp_path / "new").error("usage", 2, "insurance", "setup")


def test_the_same_file_is_accepted_by_the_next_process(prepared: Path, tmp_path: Path, keys: SharedKeySource) -> None:
    directory = copied(prepared, tmp_path / "w")
    with opened(directory, keys) as town:
        content = town.file(town.line("hanako", number="06-1"))
        town.intake.hand_in(INSURER, content)
    with opened(directory, keys) as town:
        assert town.intake.hand_in(INSURER, content).again


def test_a_refusal_says_its_code() -> None:
    assert str(FeedRejected("feed-counts", "the counts are wrong")) == "the counts are wrong (feed-counts)"
