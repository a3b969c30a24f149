"""Refunds: no yen is paid twice or lost, and the payment file has the banks' format."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from threading import Thread

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from kazashi.refund_points.centre import Centre
from kazashi.refund_points.goods import Basket, Category, Item, ReceiptLine
from kazashi.refund_points.reading import CardReading
from kazashi.refund_points.refunds import CAP, ApplicationState, RefundReason, RefundRejected, Refunds
from kazashi.refund_points.sender import CentreUnreachable, send_waiting
from kazashi.refund_points.till import SaleRejected, Till
from kazashi.refund_points.zengin import Account, Payment, PaymentRejected, kana, payment_file
from kazashi.relying_party.verify.attributes import FourAttributes
from kazashi.world.clock import FixedClock
from kazashi.world.home import World, open_world
from kazashi.world.settings import Settings
from tests.refund_points.tills import NOON, Line2Centre, rejected, till_of, totals

HANAKO = FourAttributes("番号　花子", "東京都渋谷区架空町", date(1988, 4, 17), "319880417", "female", (), ())
TARO = replace(HANAKO, name="番号　太郎", sex="male")
ACCOUNT = Account("0005", "001", "1", "1234567", "バンゴウ ハナコ")
FEAST = Basket((ReceiptLine(Item("feast", "宴会", 110_000, Category.EATING_OUT)),))


@pytest.fixture
def refunds(world: World) -> Refunds:
    return Refunds(Centre(world, "authentication-serial"))


def earn(refunds: Refunds, world: World, serial: int, times: int = 1) -> Till:
    """Earn 2,000 points, `times` times."""
    centre = refunds.centre
    till = till_of(world, centre)
    for _ in range(times):
        till.sell(FEAST, CardReading(serial))
    send_waiting(till, Line2Centre(centre))
    return till


def test_refund_from_points_to_payment(refunds: Refunds, world: World) -> None:
    earn(refunds, world, 7)
    assert not refunds.log_in("u1", [7]), "the person has not registered yet"
    refunds.register("u1", HANAKO)
    assert refunds.log_in("u1", [7])
    (year,) = refunds.years("u1")
    assert (year.year, year.balance, year.refundable, year.capped) == (2026, 2_000, 2_000, 0)
    application = refunds.apply("u1", 2026, ACCOUNT, "番号 花子")
    assert (application.yen, application.state) == (2_000, ApplicationState.APPLIED)
    with rejected(RefundReason.NOTHING_REFUNDABLE):
        refunds.apply("u1", 2026, ACCOUNT, "番号　花子")
    file = refunds.payment_file()
    assert file.payments == 1
    assert refunds.again(file.number) == file, "a lost file can be made again, with the same content"
    with rejected(RefundReason.NO_FILE):
        refunds.again(2)
    with rejected(RefundReason.NOTHING_TO_PAY):
        refunds.payment_file()
    assert refunds.settle(application.number, paid=True).state is ApplicationState.PAID
    with rejected(RefundReason.NOT_IN_FILE):
        refunds.settle(application.number, paid=True)
    with rejected(RefundReason.NO_APPLICATION):
        refunds.settle(99, paid=True)
    assert totals(refunds.centre) == {"granted": -2_000, "payable": 0, "paid": 2_000, "people": 0}


def test_a_returned_payment_gives_the_points_back(refunds: Refunds, world: World) -> None:
    earn(refunds, world, 7)
    refunds.register("u1", HANAKO)
    refunds.log_in("u1", [7])
    first = refunds.apply("u1", 2026, ACCOUNT, "番号　花子")
    refunds.payment_file()
    refunds.settle(first.number, paid=False)
    assert refunds.years("u1")[0].refundable == 2_000
    assert refunds.apply("u1", 2026, ACCOUNT, "番号　花子").number != first.number


def test_a_household_shares_its_members_caps(refunds: Refunds, world: World) -> None:
    earn(refunds, world, 7, 4)
    for person, serial, attributes in (("u1", 7, HANAKO), ("u2", 8, TARO)):
        refunds.register(person, attributes)
        refunds.log_in(person, [serial])
    (year,) = refunds.years("u1")
    assert (year.balance, year.refundable, year.capped) == (8_000, CAP, 4_000)
    refunds.pool("u1", "u2")
    assert refunds.years("u1")[0].refundable == 2 * CAP
    assert refunds.apply("u1", 2026, ACCOUNT, "番号　花子").yen == 2 * CAP
    earn(refunds, world, 8)
    assert refunds.years("u2")[0].refundable == 0, "the household has used up its cap"
    assert refunds.years("u2")[0].capped == 2_000
    with rejected(RefundReason.NOT_REGISTERED):
        refunds.pool("u1", "nobody")


def test_an_account_in_another_name_is_rejected(refunds: Refunds, world: World) -> None:
    earn(refunds, world, 7)
    refunds.register("u1", HANAKO)
    refunds.log_in("u1", [7])
    with rejected(RefundReason.OTHER_HOLDER):
        refunds.apply("u1", 2026, ACCOUNT, "番号　太郎")
    for wrong in (
        {"bank": "5"},
        {"branch": "1234"},
        {"number": "123"},
        {"kind": "9"},
        {"holder": ""},
        {"holder": "花子"},
    ):
        with pytest.raises(PaymentRejected):
            refunds.apply("u1", 2026, replace(ACCOUNT, **wrong), "番号　花子")
    assert refunds.applications("u1") == []
    with rejected(RefundReason.NOT_REGISTERED):
        refunds.apply("u9", 2026, ACCOUNT, "番号　花子")


def test_points_stay_after_a_renewal_and_after_a_loss(refunds: Refunds, world: World) -> None:
    earn(refunds, world, 7)
    refunds.register("u1", HANAKO)
    refunds.log_in("u1", [7])
    earn(refunds, world, 8)
    refunds.log_in("u1", [7, 8])
    assert refunds.years("u1")[0].balance == 4_000, "renewed: the same user with a longer chain"
    refunds.log_in("u2", [9])
    refunds.register("u2", HANAKO)
    refunds.log_in("u2", [9])
    earn(refunds, world, 9)
    assert refunds.years("u2")[0].balance == 6_000, "lost and replaced: another user, but the same person"
    assert refunds.name("u1") is None
    refunds.register("u3", TARO)
    refunds.log_in("u3", [7])
    assert refunds.years("u3") == [], "an assigned code stays with its holder"


def test_a_return_after_the_refund_reduces_the_next_one(refunds: Refunds, world: World) -> None:
    till = earn(refunds, world, 7)
    refunds.register("u1", HANAKO)
    refunds.log_in("u1", [7])
    application = refunds.apply("u1", 2026, ACCOUNT, "番号　花子")
    refunds.payment_file()
    refunds.settle(application.number, paid=True)
    till.take_back(f"{till.name}/1", [1])
    line = Line2Centre(refunds.centre)
    send_waiting(till, line)
    assert refunds.years("u1")[0].owed == 2_000
    clock = world.clock
    assert isinstance(clock, FixedClock)
    clock.stand(datetime(2027, 5, 1, 3, tzinfo=UTC))
    for _ in range(2):
        till.sell(FEAST, CardReading(7))
    send_waiting(till, line)
    latest = refunds.years("u1")[0]
    assert (latest.year, latest.balance, latest.refundable, latest.owed) == (2027, 4_000, 2_000, 2_000)
    assert refunds.apply("u1", 2027, ACCOUNT, "番号　花子").yen == 2_000
    latest, first = refunds.years("u1")
    assert (latest.balance, latest.refundable, latest.owed, first.balance) == (2_000, 0, 0, 2_000)
    clock.stand(datetime(2028, 5, 1, 3, tzinfo=UTC))
    till.sell(FEAST, CardReading(7))
    send_waiting(till, line)
    assert refunds.apply("u1", 2028, ACCOUNT, "番号　花子").yen == 2_000, "the debt is settled once"


def test_a_payment_file_holds_only_new_applications(refunds: Refunds, world: World) -> None:
    earn(refunds, world, 7)
    earn(refunds, world, 8)
    files = []
    for person, serial, attributes in (("u1", 7, HANAKO), ("u2", 8, TARO)):
        refunds.register(person, attributes)
        refunds.log_in(person, [serial])
        refunds.apply(person, 2026, ACCOUNT, attributes.name)
        files.append(refunds.payment_file())
    assert [(file.number, file.payments) for file in files] == [(1, 1), (2, 1)]
    assert [refunds.again(number) for number in (1, 2)] == files, "the second file repeats no payment of the first"
    refunds.settle(1, paid=True)
    with rejected(RefundReason.ALREADY_SETTLED):
        refunds.again(1)
    assert refunds.again(2) == files[1]


def test_concurrent_applications_are_refunded_once(refunds: Refunds, world: World) -> None:
    earn(refunds, world, 7)
    refunds.register("u1", HANAKO)
    refunds.log_in("u1", [7])
    refused: list[RefundRejected] = []

    def apply() -> None:
        try:
            refunds.apply("u1", 2026, ACCOUNT, "番号　花子")
        except RefundRejected as error:
            refused.append(error)

    threads = [Thread(target=apply) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(refused) == 3
    assert [one.yen for one in refunds.applications("u1")] == [2_000]
    assert totals(refunds.centre)["payable"] == 2_000


# The payment file


def test_payment_file_format() -> None:
    long = replace(ACCOUNT, holder="ジュゲム ジュゲム ゴコウノスリキレ カイジャリスイギョ")
    payments = [Payment(ACCOUNT, 2_000, 1), Payment(long, 4_000, 2)]
    content = payment_file("カンプ", "0000000001", ACCOUNT, date(2027, 3, 1), payments)
    records = content.split(b"\r\n")
    assert records.pop() == b""
    assert [len(record) for record in records] == [120] * 5
    header, first, second, trailer, end = (record.decode("shift_jis") for record in records)
    assert header.startswith("12100000000001ｶﾝﾌﾟ ")
    assert header[54:58] == "0301"
    assert (first[0], first[1:5], first[20:23], first[42:43], first[43:50]) == ("2", "0005", "001", "1", "1234567")
    assert first[50:80] == "ﾊﾞﾝｺﾞｳ ﾊﾅｺ".ljust(30)
    assert (first[80:90], first[91:101]) == ("0000002000", "0000000001")
    assert second[50:80] == "ｼﾞﾕｹﾞﾑ ｼﾞﾕｹﾞﾑ ｺﾞｺｳﾉｽﾘｷﾚ ｶｲｼﾞﾔﾘ"[:30]
    assert trailer.startswith("8000002000000006000")
    assert end == "9" + " " * 119


@pytest.mark.parametrize(
    ("name", "written"),
    [("ばんごう　はなこ", "ﾊﾞﾝｺﾞｳ ﾊﾅｺ"), ("ジョン・スミス", "ｼﾞﾖﾝ.ｽﾐｽ"), ("Ｋａｚａｓｈｉ", "KAZASHI"), ("カー", "ｶ-"),
     ("花子", None), ("きゃりー", "ｷﾔﾘ-"), ("ヴァン", "ｳﾞｱﾝ"), ("は\u3099んこ\u3099う　ハ\u309aウロ", "ﾊﾞﾝｺﾞｳ ﾊﾟｳﾛ"),
     ("か\u309a", None), ("カヲル", "ｶｵﾙ"), ("ｶｦﾙ", "ｶｵﾙ"), ("ヰセキ　ヱミ", "ｲｾｷ ｴﾐ"), ("ゐゑをゎ", "ｲｴｵﾜ"),
     ("茅ヶ崎", None), ("チガサキ　ヶヵヮ", "ﾁｶﾞｻｷ ｹｶﾜ"), ("ソニ\uff0d", "ｿﾆ-"), ("ソニ\u2212\u2010ｰ", "ｿﾆ---"),
     ("トウキヨウ", "ﾄｳｷﾖｳ"), ("カ）モギ．", "ｶ)ﾓｷﾞ."), ("アンナ･スミス", "ｱﾝﾅ.ｽﾐｽ"), ("か゛", "ｶﾞ"),
     ("モギ，", None), ("モギ/", None), ("モギ\uffe5", None), ("モギ¥", None), ("「モギ」", None), ("｢ﾓｷﾞ｣", None),
     ("ß", None), ("ﬀ", None), ("ヷ", None), ("モギ&", None),
     ("ﾞ", None), ("゜", None), ("カ゛゛", None), ("ー゛", None), ("A゛", None)],
)  # fmt: skip
def test_names_in_half_width_katakana(name: str, written: str | None) -> None:
    if written is None:
        with pytest.raises(PaymentRejected):
            kana(name)
    else:
        assert kana(name) == written


def test_a_savings_account_has_kind_4_in_the_file() -> None:
    """The kind is the 43rd character of a record, before the account number of seven digits (預金種目)."""
    account = replace(ACCOUNT, kind="4")
    record = payment_file("X", "0000000001", ACCOUNT, date(2027, 3, 1), [Payment(account, 1, 1)]).splitlines()[1]
    assert record[42:50].decode("ascii") == "4" + ACCOUNT.number


@pytest.mark.parametrize("holder", ["", "　", "-", ".", "()", "ー"])
def test_an_account_has_a_holder(holder: str) -> None:
    with pytest.raises(PaymentRejected, match="name is missing"):
        replace(ACCOUNT, holder=holder).check()


def test_payments_out_of_range_are_rejected() -> None:
    for payments in ([], [Payment(ACCOUNT, 0, 1)], [Payment(ACCOUNT, -1, 1)], [Payment(ACCOUNT, 10**10, 1)],
                     [Payment(ACCOUNT, 1, 10**10)], [Payment(ACCOUNT, 9_999_999_999, 1)] * 101):  # fmt: skip
        with pytest.raises(PaymentRejected):
            payment_file("X", "0000000001", ACCOUNT, date(2027, 3, 1), payments)
    with pytest.raises(PaymentRejected):
        payment_file("X", "1", ACCOUNT, date(2027, 3, 1), [Payment(ACCOUNT, 1, 1)])


# Everything together


class PointsMachine(RuleBasedStateMachine):
    """Tills, an unreliable line, a centre, and refunds. At every step, each point that the tills granted is found once,
    in the ledger or in transit."""

    world: World
    tills: list[Till]

    @initialize()
    def begin(self) -> None:
        from tempfile import TemporaryDirectory

        self.directory = TemporaryDirectory()
        clock = FixedClock(NOON)
        self.world = open_world(Path(self.directory.name) / "w", settings=Settings("points"), clock=clock)
        self.centre = Centre(self.world, "authentication-serial")
        self.refunds = Refunds(self.centre)
        self.line = Line2Centre(self.centre)
        self.tills = [till_of(self.world, self.centre, shop) for shop in ("rice-shop", "tea-shop")]
        for number, attributes in ((1, HANAKO), (2, TARO)):
            self.refunds.register(f"u{number}", attributes)
            self.refunds.log_in(f"u{number}", [number])
        self.receipts: list[tuple[Till, str]] = []

    def teardown(self) -> None:
        self.world.close()
        for till in self.tills:
            till.store.close()
        self.directory.cleanup()

    @rule(
        till=st.integers(0, 1),
        card=st.sampled_from([None, 1, 2]),
        price=st.sampled_from([54, 55, 1_100, 54_999, 330_000]),
    )
    def sell(self, till: int, card: int | None, price: int) -> None:
        basket = Basket(
            (ReceiptLine(Item("x", "x", price, Category.FOOD)), ReceiptLine(Item("y", "y", 100, Category.ALCOHOL)))
        )
        receipt = self.tills[till].sell(basket, CardReading(card) if card else None)
        self.receipts.append((self.tills[till], receipt.name))

    @precondition(lambda self: self.receipts)
    @rule(data=st.data())
    def take_back(self, data: st.DataObject) -> None:
        till, receipt = data.draw(st.sampled_from(self.receipts))
        with suppress(SaleRejected):
            till.take_back(receipt, [data.draw(st.integers(1, 2))])

    @precondition(lambda self: self.receipts)
    @rule(data=st.data(), card=st.integers(1, 2))
    def show_later(self, data: st.DataObject, card: int) -> None:
        till, receipt = data.draw(st.sampled_from(self.receipts))
        with suppress(SaleRejected):
            till.show_later(receipt, CardReading(card))

    @rule(till=st.integers(0, 1), batch=st.integers(1, 3), cut=st.booleans())
    def send(self, till: int, batch: int, cut: bool) -> None:
        self.line.cut = cut
        with suppress(CentreUnreachable):
            send_waiting(self.tills[till], self.line, batch)

    @rule(till=st.integers(0, 1))
    def send_and_lose_the_reply(self, till: int) -> None:
        self.line.cut = False
        self.line.send(self.tills[till].name, [record.signed.to_wire() for record in self.tills[till].waiting(3)])

    @rule(person=st.integers(1, 2))
    def apply(self, person: int) -> None:
        name = HANAKO.name if person == 1 else TARO.name
        with suppress(RefundRejected):
            self.refunds.apply(f"u{person}", 2026, ACCOUNT, name)

    @rule(paid=st.booleans())
    def pay(self, paid: bool) -> None:
        with suppress(RefundRejected):
            self.refunds.payment_file()
        for person in ("u1", "u2"):
            for one in self.refunds.applications(person):
                if one.state is ApplicationState.IN_FILE:
                    self.refunds.settle(one.number, paid=paid)

    @invariant()
    def every_point_is_found_once(self) -> None:
        if not hasattr(self, "tills"):
            return
        granted = sum(record.points for till in self.tills for _, _, record in till.records())
        with self.centre.store.reading() as connection:
            table = self.centre.ledger.posting
            posted = {
                (row.till, row.number) for row in connection.execute(table.select().where(table.c.till.is_not(None)))
            }
        ids = {entry.name: entry.id for entry in self.centre.tills()}
        in_transit = sum(
            record.points for till in self.tills for _, _, record in till.records()
            if (ids[record.till], record.number) not in posted
        )  # fmt: skip
        ledger = totals(self.centre)
        assert granted - in_transit == -ledger["granted"] == ledger["people"] + ledger["payable"] + ledger["paid"]
        years = [year for person in ("u1", "u2") for year in self.refunds.years(person)]
        assert ledger["paid"] == sum(year.paid for year in years)
        assert ledger["payable"] == sum(year.applied for year in years)
        assert sum(year.balance for year in years) == granted - in_transit
        for year in years:
            assert year.paid + year.applied + year.refundable <= CAP
            parts = year.paid + year.applied + year.refundable + year.capped
            assert year.balance == parts - year.owed if year.owed else year.balance == parts


TestPoints = PointsMachine.TestCase
TestPoints.settings = settings(max_examples=20, stateful_step_count=25)
