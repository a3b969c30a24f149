"""Tills and the centre: what is granted is counted once, whatever happens on the way."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from kazashi.refund_points.centre import Answer, Centre, EnrolmentRefused, PolicySettled
from kazashi.refund_points.codes import CodeByCentre, CodeRefused, KeyedByShop
from kazashi.refund_points.enrolment import Detail, Enrolment, EnrolmentDamaged
from kazashi.refund_points.goods import CATALOGUE, MOST_YEN, Basket, BasketRefused, Category, Item, Line, points_of
from kazashi.refund_points.reading import Card
from kazashi.refund_points.record import Record, RecordRefused, SignedRecord, TillKey, What, public_pem
from kazashi.refund_points.sender import CentreUnreachable, send_waiting
from kazashi.refund_points.till import SaleRefused, State, Till
from kazashi.world.clock import FixedClock
from kazashi.world.home import World, open_world
from kazashi.world.settings import Settings

NOON = datetime(2026, 11, 24, 3, tzinfo=UTC)
LUNCH = Basket((Line(CATALOGUE["lunch"]), Line(CATALOGUE["tea"], 2), Line(CATALOGUE["beer"])))
HANAKO, TARO = Card(0x1234ABCD), Card(0x1234ABCE)


class Line2Centre:
    """A way to the centre that can be cut."""

    def __init__(self, centre: Centre) -> None:
        self.centre = centre
        self.cut = False

    def send(self, till: str, records: Sequence[Mapping[str, str]]) -> Any:
        if self.cut:
            raise CentreUnreachable("cut")
        return [result.as_dict() for result in self.centre.receive(till, records)]


@pytest.fixture
def world(tmp_path: Path, storage: str) -> Iterator[World]:
    world = open_world(tmp_path / "w", settings=Settings("points", storage=storage), clock=FixedClock(NOON))
    yield world
    world.close()


@pytest.fixture
def local(tmp_path: Path) -> Iterator[World]:
    """A world on SQLite, for what does not differ by storage."""
    world = open_world(tmp_path / "w", settings=Settings("points"), clock=FixedClock(NOON))
    yield world
    world.close()


def till_of(world: World, centre: Centre, shop: str = "rice-shop", name: str = "till-1", **more: Any) -> Till:
    till = Till(world.directory / "tills", shop, name, world.clock, **more)
    if not till.enrolled:
        till.enrol(centre.enrol(shop, name, till.begin()))
    return till


def balance(centre: Centre, code: str, year: int = 2026) -> int:
    with centre.store.reading() as connection:
        found = centre.ledger.known(connection, [(code, year)])
        return sum(centre.ledger.balances(connection, list(found.values())).values())


def totals(centre: Centre) -> dict[str, int]:
    with centre.store.reading() as connection:
        found = centre.ledger.totals(connection)
    assert sum(found.values()) == 0, "what one has was taken from another"
    return found


# Goods


def test_the_plan_s_own_example() -> None:
    assert points_of(1_100) == 20
    assert Basket((Line(Item("x", "弁当", 1_100, Category.FOOD)),)).points == 20


def test_only_eligible_lines_earn_points() -> None:
    assert (LUNCH.total, LUNCH.eligible, LUNCH.points) == (880 + 300 + 228, 1_180, 21)
    assert {category.value for category in Category if category.eligible} == {"food", "drink", "eating-out"}


@pytest.mark.parametrize(
    "wrong",
    [lambda: Item("x", "x", -1, Category.FOOD), lambda: Item("x", "x", 0, Category.FOOD),
     lambda: Item("x", "x", MOST_YEN + 1, Category.FOOD), lambda: Item("x", "x", True, Category.FOOD),
     lambda: Line(CATALOGUE["tea"], 0), lambda: Line(CATALOGUE["tea"], -1),
     lambda: Basket(()), lambda: Basket((Line(CATALOGUE["tea"], MOST_YEN),)),
     lambda: Basket((Line(CATALOGUE["tea"]),) * 1001)],
)  # fmt: skip
def test_baskets_that_make_no_sense_are_refused(wrong: Callable[[], object]) -> None:
    with pytest.raises(BasketRefused):
        wrong()


@given(st.lists(st.integers(0, 5_000), min_size=1, max_size=6), st.randoms(use_true_random=False))
def test_returning_everything_in_any_order_takes_away_what_was_given(prices: list[int], chance: Random) -> None:
    left, points = sum(prices), points_of(sum(prices))
    chance.shuffle(prices)
    for price in prices:
        points += points_of(left - price) - points_of(left)
        left -= price
    assert (left, points) == (0, 0)


# A till


@pytest.fixture
def shop(local: World) -> tuple[World, Centre, Till]:
    centre = Centre(local, "authentication-serial")
    return local, centre, till_of(local, centre)


def test_a_sale_with_and_without_a_card(shop: tuple[World, Centre, Till]) -> None:
    _, _, till = shop
    with_card, without = till.sell(LUNCH, HANAKO), till.sell(LUNCH)
    assert (with_card.points, without.points) == (21, None)
    assert with_card.name == "rice-shop/till-1/1/1"
    assert [found.number for found in till.waiting()] == [1]
    assert till.receipt(with_card.name).lines == with_card.lines


def test_a_card_that_is_not_good_does_not_stop_the_sale(shop: tuple[World, Centre, Till]) -> None:
    _, _, till = shop
    receipt = till.sell(LUNCH, Card(1, "its certificate is revoked"))
    assert receipt.points is None
    assert "revoked" in receipt.note
    assert not till.waiting()
    assert till.sell(LUNCH, Card(1, unchecked=True)).points == 21
    assert till.records()[0][2].unchecked


def test_a_forgotten_card_is_shown_later_and_once(shop: tuple[World, Centre, Till]) -> None:
    _, _, till = shop
    receipt = till.sell(LUNCH)
    assert till.show_later(receipt.name, HANAKO).points == 21
    with pytest.raises(SaleRefused, match="already"):
        till.show_later(receipt.name, TARO)
    with pytest.raises(SaleRefused, match="no receipt"):
        till.show_later("rice-shop/till-1/1/99", HANAKO)


def test_goods_are_returned_once_and_take_their_points_along(shop: tuple[World, Centre, Till]) -> None:
    _, centre, till = shop
    receipt = till.sell(LUNCH, HANAKO)
    assert till.take_back(receipt.name, [2]).points == points_of(880) - points_of(1_180)
    with pytest.raises(SaleRefused, match="returned already"):
        till.take_back(receipt.name, [2])
    back = till.take_back(receipt.name, [1, 3])
    assert back.total == -(880 + 228)
    with pytest.raises(SaleRefused, match="returned already"):
        till.take_back(back.name, [1])
    send_waiting(till, Line2Centre(centre))
    assert balance(centre, "1234ABCD") == 0
    assert totals(centre)["granted"] == 0


def test_a_return_before_the_card_is_shown_leaves_the_rest(shop: tuple[World, Centre, Till]) -> None:
    _, _, till = shop
    receipt = till.sell(LUNCH)
    assert till.take_back(receipt.name, [1]).points is None
    assert till.show_later(receipt.name, HANAKO).points == points_of(300)


def test_a_till_that_is_not_enrolled_does_not_sell(local: World) -> None:
    till = Till(local.directory / "tills", "rice-shop", "till-9", local.clock)
    with pytest.raises(SaleRefused, match="not enrolled"):
        till.sell(LUNCH)


SELLING = """
import sys
from pathlib import Path
from datetime import UTC, datetime
from kazashi.refund_points.goods import CATALOGUE, Basket, Line
from kazashi.refund_points.reading import Card
from kazashi.refund_points.till import Till
from kazashi.world.clock import FixedClock
clock = FixedClock(datetime(2026, 11, 24, tzinfo=UTC))
till = Till(Path(sys.argv[1]), "rice-shop", "till-1", clock)
while True:
    print(till.sell(Basket((Line(CATALOGUE["lunch"]),)), Card(7)).name, flush=True)
"""


def test_a_killed_till_has_every_receipt_that_it_printed(shop: tuple[World, Centre, Till]) -> None:
    world, _, till = shop
    printed: list[str] = []
    for turn in range(3):
        process = subprocess.Popen(
            [sys.executable, "-c", SELLING, str(world.directory / "tills")], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        printed += [process.stdout.readline().strip() for _ in range(7 + turn)]
        process.kill()
        printed += [line.strip() for line in process.stdout.read().splitlines(keepends=True) if line.endswith("\n")]
        process.wait()
        process.stdout.close()
    records = [record for _, _, record in till.records()]
    assert [record.number for record in records] == list(range(1, len(records) + 1))
    assert set(printed) <= {record.receipt for record in records}
    assert len(records) <= len(printed) + 3, "at most one a kill was written and not printed"


def test_a_tampered_queue_is_noticed_and_kept(shop: tuple[World, Centre, Till]) -> None:
    world, centre, till = shop
    for _ in range(3):
        till.sell(LUNCH, HANAKO)
    (path,) = (world.directory / "tills").glob("*.sqlite")
    with sqlite3.connect(path) as database:
        database.execute(
            "UPDATE record SET body = CAST(replace(body, '\"points\":21', '\"points\":99') AS BLOB) WHERE number = 1"
        )
        database.execute(
            "UPDATE record SET signature = (SELECT signature FROM record WHERE number = 3) WHERE number = 2"
        )
    database.close()
    send_waiting(till, Line2Centre(centre))
    assert till.states() == {State.WAITING: 0, State.ACKNOWLEDGED: 1, State.REFUSED: 0, State.DAMAGED: 2}
    assert balance(centre, "1234ABCD") == 21
    assert centre.missing(till.name) == [1, 2]


# On the way


def test_what_is_repeated_and_reordered_counts_once(world: World) -> None:
    centre = Centre(world, "authentication-serial")
    till = till_of(world, centre)
    for card in (HANAKO, TARO, HANAKO, HANAKO):
        till.sell(LUNCH, card)
    records = [found.signed.to_wire() for found in till.waiting()]
    chance = Random(5)
    for _ in range(5):
        batch = records * 2
        chance.shuffle(batch)
        centre.receive(till.name, batch)
    assert (balance(centre, "1234ABCD"), balance(centre, "1234ABCE")) == (63, 21)
    assert totals(centre) == {"granted": -84, "payable": 0, "paid": 0, "people": 84}
    assert {result.answer for result in centre.receive(till.name, records)} == {Answer.AGAIN}
    assert send_waiting(till, Line2Centre(centre)).acknowledged == 4


def test_a_cut_line_and_nonsense_leave_everything_waiting(shop: tuple[World, Centre, Till]) -> None:
    _, centre, till = shop
    till.sell(LUNCH, HANAKO)
    line = Line2Centre(centre)
    line.cut = True
    with pytest.raises(CentreUnreachable):
        send_waiting(till, line)

    class Nonsense:
        def __init__(self, answer: Any) -> None:
            self.answer = answer

        def send(self, till: str, records: Sequence[Mapping[str, str]]) -> Any:
            return self.answer

    answers: tuple[Any, ...] = (
        [],
        None,
        5,
        [1],
        [{}],
        [{"answer": "yes"}],
        [{"answer": "accepted"}] * 2,
        {"0": "accepted"},
        [[]],
    )
    for nonsense in answers:
        with pytest.raises(CentreUnreachable, match="no sense"):
            send_waiting(till, Nonsense(nonsense))
    assert till.states()[State.WAITING] == 1
    line.cut = False
    assert send_waiting(till, line).acknowledged == 1


def test_forged_and_foreign_records_are_refused_and_kept(world: World) -> None:
    centre = Centre(world, "authentication-serial")
    till, other = till_of(world, centre), till_of(world, centre, "tea-shop")
    till.sell(LUNCH, HANAKO)
    other.sell(LUNCH, HANAKO)
    own, foreign = till.waiting()[0].signed, other.waiting()[0].signed
    forged = SignedRecord(own.body.replace(b'"points":21', b'"points":20'), own.signature)
    stranger = TillKey.generate()
    record = Record.from_bytes(own.body)
    batch: list[Any] = [
        forged.to_wire(), foreign.to_wire(), stranger.sign(record).to_wire(), {"body": 5, "signature": ""}, {}, None,
        "text",
        {"body": "{}", "signature": "AAAA"},
    ]  # fmt: skip
    results = centre.receive(till.name, batch)
    assert {result.answer for result in results} == {Answer.REFUSED}
    assert all(result.reason and result.words for result in results)
    assert results[0].reason == results[1].reason == results[2].reason == "forged"
    assert totals(centre)["people"] == 0
    kept = centre.refused()
    centre.receive(till.name, batch)
    assert centre.refused() == kept, "what is refused twice is kept once"
    assert own.body.replace(b'"points":21', b'"points":20') in [row["body"] for row in kept]


def test_a_number_is_not_used_twice(world: World) -> None:
    centre = Centre(world, "authentication-serial")
    key = TillKey.generate()
    name = centre.enrol("rice-shop", "till-1", public_pem(key.public)).name
    first = Record(
        name, 1, What.PURCHASE, int(NOON.timestamp()), f"{name}/1", "authentication-serial", "1234ABCD", 1_100, 20
    )
    assert centre.receive(name, [key.sign(first).to_wire()])[0].answer is Answer.ACCEPTED
    second = key.sign(replace(first, reading="1234ABCE")).to_wire()
    for batch in ([second], [second, second]):
        assert {result.reason for result in centre.receive(name, batch)} == {"number-used"}
    both = [
        key.sign(replace(first, number=2)).to_wire(),
        key.sign(replace(first, number=2, eligible=0, points=0)).to_wire(),
    ]
    assert [result.answer for result in centre.receive(name, both)] == [Answer.ACCEPTED, Answer.REFUSED]


def test_a_till_that_is_set_up_anew_never_sends_a_number_twice(world: World, tmp_path: Path) -> None:
    centre = Centre(world, "authentication-serial")
    till = till_of(world, centre)
    till.sell(LUNCH, HANAKO)
    waiting = till.waiting()
    for path in (world.directory / "tills").glob("till-rice-shop-till-1*"):
        path.rename(tmp_path / path.name)
    anew = till_of(world, centre)
    assert anew.name == "rice-shop/till-1/2"
    anew.sell(LUNCH, TARO)
    assert send_waiting(anew, Line2Centre(centre)).acknowledged == 1
    # The old disk turns up, and what was on it still counts.
    assert (
        centre.receive("rice-shop/till-1/1", [found.signed.to_wire() for found in waiting])[0].answer is Answer.ACCEPTED
    )
    assert (balance(centre, "1234ABCD"), balance(centre, "1234ABCE")) == (21, 21)
    centre.revoke_till("rice-shop/till-1/1")
    again = centre.receive("rice-shop/till-1/1", [found.signed.to_wire() for found in waiting])
    assert again[0].reason == "revoked-till"


def test_a_till_s_second_enrolment_does_not_spoil_the_first(local: World) -> None:
    centre = Centre(local)
    first, second = (Till(local.directory / "tills", "rice-shop", "till-1", local.clock) for _ in range(2))
    begun = first.begin()
    also = second.begin()
    with pytest.raises(SaleRefused, match="another one was begun"):
        first.enrol(centre.enrol("rice-shop", "till-1", begun))
    second.enrol(centre.enrol("rice-shop", "till-1", also))
    with pytest.raises(SaleRefused, match="enrolled already"):
        second.begin()
    assert Till(local.directory / "tills", "rice-shop", "till-1", local.clock).name == "rice-shop/till-1/2"


def test_a_list_that_is_too_long_to_tell_does_not_cost_the_points(local: World) -> None:
    centre = Centre(local, detail=Detail.LINES)
    till = till_of(local, centre)
    goods = tuple(Line(Item(f"49{number:011}", "x", 110, Category.FOOD)) for number in range(900))
    assert till.sell(Basket(goods), HANAKO).points == points_of(99_000)
    (record,) = (record for _, _, record in till.records())
    assert (record.eligible, record.lines) == (99_000, ())


def test_a_start_of_the_centre_disturbs_nobody_who_opens_an_account(world: World) -> None:
    centre = Centre(world)
    with centre.store.transaction() as connection:
        centre.ledger.accounts(connection, [("AA", 2026)])
        if world.settings.storage:  # SQLite has one writer at a time, which would be waited for
            Centre(world)
        assert len(centre.ledger.accounts(connection, [("BB", 2026), ("CC", 2026)])) == 2


def test_a_sealed_reading_with_a_key_that_makes_no_secret_is_refused(local: World) -> None:
    centre = Centre(local, "code-by-centre")
    till_of(local, centre)
    with pytest.raises(CodeRefused):
        centre.policy.account("00" * 60, "rice-shop")
    (result,) = centre.receive("rice-shop/till-1/1", [{"body": "\ud800", "signature": "\ud800"}])
    assert result.answer is Answer.REFUSED
    assert len(centre.refused()) == 1


def test_names_that_no_till_can_have_are_refused(local: World) -> None:
    centre = Centre(local, "authentication-serial")
    key = public_pem(TillKey.generate().public)
    for shop, till in (
        ("", "x"),
        ("A", "x"),
        ("x/y", "z"),
        ("x", ""),
        ("x" * 50, "x"),
        ("..", "x"),
        ("x" * 40, "x" * 40),
    ):
        with pytest.raises(EnrolmentRefused):
            centre.enrol(shop, till, key)
    with pytest.raises(EnrolmentRefused):
        centre.enrol("x", "y", b"no key")
    assert centre.tills() == []


# Time


@pytest.mark.parametrize(
    ("till_clock", "year", "doubtful"),
    [(timedelta(0), 2026, False), (timedelta(days=-399), 2025, False), (timedelta(days=-401), 2026, True),
     (timedelta(hours=23), 2026, False), (timedelta(days=365 * 30), 2026, True),
     (timedelta(days=-365 * 50), 2026, True)],
)  # fmt: skip
def test_a_till_s_clock_is_believed_within_bounds(
    local: World, till_clock: timedelta, year: int, doubtful: bool
) -> None:
    centre = Centre(local, "authentication-serial")
    till = till_of(local, centre)
    wrong = Till(local.directory / "tills", "rice-shop", "till-1", FixedClock(NOON + till_clock))
    wrong.sell(LUNCH, HANAKO)
    send_waiting(wrong, Line2Centre(centre))
    assert balance(centre, "1234ABCD", year) == 21
    with centre.store.reading() as connection:
        assert connection.scalar(sa.select(centre.ledger.posting.c.doubtful)) is doubtful
    assert till.name == wrong.name


def test_what_arrives_after_its_year_was_closed_counts_for_the_year_in_which_it_arrives(local: World) -> None:
    centre = Centre(local, "authentication-serial")
    till = till_of(local, centre)
    till.sell(LUNCH, HANAKO)
    clock = local.clock
    assert isinstance(clock, FixedClock)
    with pytest.raises(ValueError, match="not passed"):
        centre.close_year(2026)
    clock.stand(datetime(2027, 4, 1, tzinfo=UTC))
    send_waiting(till, Line2Centre(centre), batch=1)
    assert balance(centre, "1234ABCD", 2026) == 21
    till2 = till_of(local, centre, "tea-shop")
    clock.stand(datetime(2026, 12, 31, tzinfo=UTC))
    till2.sell(LUNCH, HANAKO)
    clock.stand(datetime(2027, 4, 1, tzinfo=UTC))
    centre.close_year(2026)
    send_waiting(till2, Line2Centre(centre))
    assert (balance(centre, "1234ABCD", 2026), balance(centre, "1234ABCD", 2027)) == (21, 21)


def test_the_year_is_japan_s(local: World) -> None:
    centre = Centre(local, "authentication-serial")
    clock = local.clock
    assert isinstance(clock, FixedClock)
    till = till_of(local, centre)
    clock.stand(datetime(2026, 12, 31, 15, 0, tzinfo=UTC))
    till.sell(LUNCH, HANAKO)
    send_waiting(till, Line2Centre(centre))
    assert balance(centre, "1234ABCD", 2027) == 21


# Codes


def test_each_policy_accumulates_one_card_s_points_and_reveals_what_it_says(local: World) -> None:
    def identifier(serial: int) -> str | None:
        return {HANAKO.serial: "AAAA0001", 99: "AAAA0001"}.get(serial)

    class Platform:
        find = staticmethod(identifier)

    for policy in ("authentication-serial", "keyed-by-shop", "code-by-centre", "mykey"):
        own = open_world(local.directory.parent / policy, settings=Settings("points"), clock=FixedClock(NOON))
        centre = Centre(own, policy, mykey=Platform())  # type: ignore[arg-type]
        tills = [till_of(own, centre, shop, find_mykey=identifier) for shop in ("rice-shop", "tea-shop")]
        for till in (*tills, *tills):
            assert till.sell(LUNCH, HANAKO).points == 21
            send_waiting(till, Line2Centre(centre))
        codes = centre.policy.accounts_of([HANAKO.serial], centre.shops())
        assert sum(balance(centre, code) for code in codes) == 84
        assert len(codes) == (2 if policy == "keyed-by-shop" else 1)
        readings = [[record.reading for _, _, record in till.records()] for till in tills]
        same_shop, two_shops = readings[0][0] == readings[0][1], readings[0][0] == readings[1][0]
        assert (same_shop, two_shops) == {
            "authentication-serial": (True, True), "keyed-by-shop": (True, False), "code-by-centre": (False, False),
            "mykey": (True, True),
        }[policy]  # fmt: skip
        assert ("1234ABCD" in readings[0][0]) is (policy == "authentication-serial")
        own.close()


def test_a_sealed_reading_opens_for_its_centre_and_shop_alone(local: World) -> None:
    centre = Centre(local, "code-by-centre")
    till_s = till_of(local, centre).enrolment.reading_policy()
    reading = till_s.read(7, "rice-shop")
    code = centre.policy.account(reading, "rice-shop")
    assert code == centre.policy.accounts_of([7], [])[0]
    for wrong in (reading[:-1], reading[:-1] + ("0" if reading[-1] != "0" else "1"), "", "zz"):
        with pytest.raises(CodeRefused):
            centre.policy.account(wrong, "rice-shop")
    with pytest.raises(CodeRefused):
        centre.policy.account(reading, "tea-shop")
    assert isinstance(till_s, CodeByCentre)
    for secret in (lambda: till_s.account(reading, "rice-shop"), lambda: till_s.accounts_of([7], [])):
        with pytest.raises(CodeRefused, match="only the centre"):
            secret()


def test_a_shop_has_its_own_secret_and_no_other(local: World) -> None:
    centre = Centre(local, "keyed-by-shop")
    policy = till_of(local, centre).enrolment.reading_policy()
    till_of(local, centre, "tea-shop")
    assert isinstance(policy, KeyedByShop)
    with pytest.raises(CodeRefused, match="no secret"):
        policy.read(7, "tea-shop")


def test_line_items_go_along_only_where_the_policy_says_so(local: World) -> None:
    kept = {}
    for detail in Detail:
        world = open_world(local.directory.parent / detail.value, clock=FixedClock(NOON))
        centre = Centre(world, detail=detail)
        till = till_of(world, centre)
        till.sell(LUNCH, HANAKO)
        (waiting,) = till.waiting()
        assert b"beer" not in waiting.signed.body, "what earns nothing is nobody's business"
        assert (b"lunch" in waiting.signed.body) is (detail is Detail.LINES)
        send_waiting(till, Line2Centre(centre))
        with centre.store.reading() as connection:
            kept[detail] = connection.scalar(sa.select(centre.ledger.posting.c.lines))
        world.close()
    assert kept == {Detail.AMOUNT: None, Detail.LINES: '[["lunch", 1, 880], ["tea", 2, 300]]'}


def test_a_centre_that_keeps_amounts_keeps_no_lines_that_come_all_the_same(local: World) -> None:
    centre = Centre(local)
    key = TillKey.generate()
    name = centre.enrol("rice-shop", "till-1", public_pem(key.public)).name
    told = replace(RECORD, till=name, policy=centre.policy.name, lines=(("lunch", 1, 1_100),))
    assert centre.receive(name, [key.sign(told).to_wire()])[0].answer is Answer.ACCEPTED
    with centre.store.reading() as connection:
        assert connection.scalar(sa.select(centre.ledger.posting.c.lines)) is None


def test_what_a_centre_was_begun_with_stays(local: World) -> None:
    assert Centre(local, "code-by-centre", Detail.LINES).policy.name == "code-by-centre"
    assert (Centre(local).policy.name, Centre(local).detail) == ("code-by-centre", Detail.LINES)
    for policy, detail in (("authentication-serial", None), (None, Detail.AMOUNT), ("nonsense", None)):
        with pytest.raises(PolicySettled):
            Centre(local, policy, detail)
    with pytest.raises(PolicySettled, match="where to ask"):
        Centre(open_world(local.directory.parent / "other", clock=FixedClock(NOON)), "mykey")


def test_an_enrolment_travels_as_text(local: World) -> None:
    enrolment = till_of(local, Centre(local, "keyed-by-shop")).enrolment
    assert Enrolment.from_json(enrolment.to_json()) == enrolment
    for wrong in (
        "",
        "{}",
        "[]",
        "[" * 5_000,
        enrolment.to_json().replace("keyed-by-shop", "nonsense"),
        enrolment.to_json().replace("amount", "nonsense"),
        enrolment.to_json().replace('l": "', 'l": "x'),
    ):
        with pytest.raises(EnrolmentDamaged):
            Enrolment.from_json(wrong)
    with pytest.raises(EnrolmentDamaged, match="no way to ask"):
        replace(enrolment, policy="mykey").reading_policy()


# Records


RECORD = Record("rice-shop/till-1/1", 1, What.PURCHASE, 1, "rice-shop/till-1/1/1", "mykey", "AAAA0001", 1_100, 20)


def test_a_record_is_read_back_as_it_was_signed() -> None:
    key = TillKey.generate()
    for record in (RECORD, replace(RECORD, what=What.RETURN, eligible=-1_100, points=-20, of="x"),
                   replace(RECORD, lines=(("lunch", 1, 1_100),), unchecked=True)):  # fmt: skip
        signed = SignedRecord.from_wire(key.sign(record).to_wire())
        assert signed.verified(TillKey.from_pem(key.pem).public) == record


@pytest.mark.parametrize(
    "wrong",
    [{"points": 21}, {"points": -20}, {"eligible": -1}, {"number": 0}, {"number": True}, {"number": 2**60}, {"at": -1},
     {"till": "Rice/x/1"}, {"till": "x/y"}, {"reading": "x" * 300}, {"eligible": 10**12, "points": points_of(10**12)},
     {"what": What.RETURN}, {"what": What.RETURN, "eligible": -1_100, "points": -50, "of": "x"},
     {"reading": "a\0b"},
     {"lines": (("a\0", 1, 1),)}, {"lines": (("a", 0, 1),)}, {"what": What.SHOWN_LATER}, {"unchecked": 1},
     {"reading": 5}],
)  # fmt: skip
def test_records_that_make_no_sense_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(RecordRefused):
        TillKey.generate().sign(replace(RECORD, **wrong))
    with suppress(AttributeError), pytest.raises(RecordRefused):
        Record.from_bytes(replace(RECORD, **wrong).to_bytes())


@settings(deadline=None)
@given(st.one_of(st.binary(max_size=200), st.text(max_size=100).map(str.encode), st.just(b"[" * 5_000)))
def test_any_bytes_are_a_record_or_are_refused(body: bytes) -> None:
    with pytest.raises(RecordRefused):
        Record.from_bytes(body)


RECEIVING = """
import json, os, sys
from pathlib import Path
from kazashi.refund_points.centre import Centre
from kazashi.world.home import open_world
centre = Centre(open_world(Path(sys.argv[1])), "authentication-serial")
records = json.loads(Path(sys.argv[2]).read_text())
for at in range(0, len(records), 5):
    centre.receive("rice-shop/till-1/1", records[at : at + 5])
    print(at, flush=True)
"""


def test_a_killed_centre_has_what_it_has_acknowledged_and_counts_the_rest_once(world: World, tmp_path: Path) -> None:
    import json

    centre = Centre(world, "authentication-serial")
    till = till_of(world, centre)
    for _ in range(40):
        till.sell(LUNCH, HANAKO)
    records = [found.signed.to_wire() for found in till.waiting()]
    (tmp_path / "records").write_text(json.dumps(records))
    for lines in (1, 2, 4):
        command = [sys.executable, "-c", RECEIVING, str(world.directory), str(tmp_path / "records")]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=dict(os.environ))
        assert process.stdout is not None
        for _ in range(lines):
            acknowledged = int(process.stdout.readline()) + 5
        process.kill()
        process.wait()
        process.stdout.close()
        assert balance(centre, "1234ABCD") >= acknowledged * 21
        assert balance(centre, "1234ABCD") % (5 * 21) == 0, "a batch is taken in whole or not at all"
    assert send_waiting(till, Line2Centre(centre)).acknowledged == 40
    assert balance(centre, "1234ABCD") == 40 * 21
    assert centre.missing(till.name) == []
