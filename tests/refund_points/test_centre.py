"""Tills and the centre: every granted point counts once, whatever happens on the way."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest
import sqlalchemy as sa

from kazashi.refund_points.centre import Centre, EnrolmentRejected, RecordOutcome
from kazashi.refund_points.codes import CodeRejected
from kazashi.refund_points.enrolment import Detail
from kazashi.refund_points.goods import Basket, Category, Item, ReceiptLine, points_of
from kazashi.refund_points.record import PointRecord, PostingType, SignedRecord, TillKey, public_pem
from kazashi.refund_points.sender import CentreUnreachable, send_waiting
from kazashi.refund_points.till import RecordState, SaleReason, Till
from kazashi.world.clock import FixedClock
from kazashi.world.home import World
from tests.refund_points.tills import HANAKO, LUNCH, NOON, TARO, Line2Centre, balance, rejected, till_of, totals


def test_repeated_and_reordered_records_count_once(world: World) -> None:
    centre = Centre(world, "authentication-serial")
    till = till_of(world, centre)
    for card in (HANAKO, TARO, HANAKO, HANAKO):
        till.sell(LUNCH, card)
    records = [record.signed.to_wire() for record in till.waiting()]
    random = Random(5)
    for _ in range(5):
        batch = records * 2
        random.shuffle(batch)
        centre.receive(till.name, batch)
    assert (balance(centre, "1234ABCD"), balance(centre, "1234ABCE")) == (63, 21)
    assert totals(centre) == {"granted": -84, "payable": 0, "paid": 0, "people": 84}
    assert {result.answer for result in centre.receive(till.name, records)} == {RecordOutcome.AGAIN}
    assert send_waiting(till, Line2Centre(centre)).acknowledged == 4


def test_records_wait_after_a_cut_line_or_an_invalid_reply(shop: tuple[World, Centre, Till]) -> None:
    _, centre, till = shop
    till.sell(LUNCH, HANAKO)
    line = Line2Centre(centre)
    line.cut = True
    with pytest.raises(CentreUnreachable):
        send_waiting(till, line)

    class Nonsense:
        def __init__(self, reply: Any) -> None:
            self.reply = reply

        def send(self, till: str, records: Sequence[Mapping[str, str]]) -> Any:
            return self.reply

    replies: tuple[Any, ...] = (
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
    for reply in replies:
        with pytest.raises(CentreUnreachable, match="malformed"):
            send_waiting(till, Nonsense(reply))
    assert till.states()[RecordState.WAITING] == 1
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
    record = PointRecord.from_bytes(own.body)
    batch: list[Any] = [
        forged.to_wire(), foreign.to_wire(), stranger.sign(record).to_wire(), {"body": 5, "signature": ""}, {}, None,
        "text",
        {"body": "{}", "signature": "AAAA"},
    ]  # fmt: skip
    results = centre.receive(till.name, batch)
    assert {result.answer for result in results} == {RecordOutcome.REFUSED}
    assert all(result.reason and result.words for result in results)
    assert results[0].reason == results[1].reason == results[2].reason == "forged"
    assert totals(centre)["people"] == 0
    kept = centre.refused()
    centre.receive(till.name, batch)
    assert centre.refused() == kept, "a record refused twice is kept once"
    assert own.body.replace(b'"points":21', b'"points":20') in [row["body"] for row in kept]


def test_a_second_record_with_the_same_number_is_refused(world: World) -> None:
    centre = Centre(world, "authentication-serial")
    key = TillKey.generate()
    name = centre.enrol("rice-shop", "till-1", public_pem(key.public)).name
    first = PointRecord(
        name,
        1,
        PostingType.PURCHASE,
        int(NOON.timestamp()),
        f"{name}/1",
        "authentication-serial",
        "1234ABCD",
        1_100,
        20,
    )
    assert centre.receive(name, [key.sign(first).to_wire()])[0].answer is RecordOutcome.ACCEPTED
    second = key.sign(replace(first, reading="1234ABCE")).to_wire()
    for batch in ([second], [second, second]):
        assert {result.reason for result in centre.receive(name, batch)} == {"number-used"}
    both = [
        key.sign(replace(first, number=2)).to_wire(),
        key.sign(replace(first, number=2, eligible=0, points=0)).to_wire(),
    ]
    assert [result.answer for result in centre.receive(name, both)] == [RecordOutcome.ACCEPTED, RecordOutcome.REFUSED]


def test_a_new_installation_never_reuses_a_number(world: World, tmp_path: Path) -> None:
    centre = Centre(world, "authentication-serial")
    till = till_of(world, centre)
    till.sell(LUNCH, HANAKO)
    waiting = till.waiting()
    for path in (world.directory / "tills").glob("till-rice-shop-till-1*"):
        path.rename(tmp_path / path.name)
    new = till_of(world, centre)
    assert new.name == "rice-shop/till-1/2"
    new.sell(LUNCH, TARO)
    assert send_waiting(new, Line2Centre(centre)).acknowledged == 1
    # The records on the old disk still count when it turns up.
    assert (
        centre.receive("rice-shop/till-1/1", [record.signed.to_wire() for record in waiting])[0].answer
        is RecordOutcome.ACCEPTED
    )
    assert (balance(centre, "1234ABCD"), balance(centre, "1234ABCE")) == (21, 21)
    centre.revoke_till("rice-shop/till-1/1")
    again = centre.receive("rice-shop/till-1/1", [record.signed.to_wire() for record in waiting])
    assert again[0].reason == "revoked-till"


def test_only_the_latest_of_two_enrolments_is_accepted(local: World) -> None:
    centre = Centre(local)
    first, second = (Till(local.directory / "tills", "rice-shop", "till-1", local.clock) for _ in range(2))
    first_key = first.begin()
    second_key = second.begin()
    with rejected(SaleReason.OTHER_ENROLMENT):
        first.enrol(centre.enrol("rice-shop", "till-1", first_key))
    second.enrol(centre.enrol("rice-shop", "till-1", second_key))
    with rejected(SaleReason.ALREADY_ENROLLED):
        second.begin()
    assert Till(local.directory / "tills", "rice-shop", "till-1", local.clock).name == "rice-shop/till-1/2"


def test_a_purchase_with_too_many_lines_still_earns_points(local: World) -> None:
    centre = Centre(local, detail=Detail.LINES)
    till = till_of(local, centre)
    goods = tuple(ReceiptLine(Item(f"49{number:011}", "x", 110, Category.FOOD)) for number in range(900))
    assert till.sell(Basket(goods), HANAKO).points == points_of(99_000)
    (record,) = (record for _, _, record in till.records())
    assert (record.eligible, record.lines) == (99_000, ())


def test_starting_a_centre_does_not_disturb_another(world: World) -> None:
    centre = Centre(world)
    with centre.store.transaction() as connection:
        centre.ledger.accounts(connection, [("AA", 2026)])
        if world.settings.storage:  # SQLite allows one writer at a time, so this would wait for itself
            Centre(world)
        assert len(centre.ledger.accounts(connection, [("BB", 2026), ("CC", 2026)])) == 2


def test_a_sealed_reading_with_a_degenerate_key_is_refused(local: World) -> None:
    centre = Centre(local, "code-by-centre")
    till_of(local, centre)
    with pytest.raises(CodeRejected):
        centre.policy.account("00" * 60, "rice-shop")
    (result,) = centre.receive("rice-shop/till-1/1", [{"body": "\ud800", "signature": "\ud800"}])
    assert result.answer is RecordOutcome.REFUSED
    assert len(centre.refused()) == 1


def test_invalid_till_names_are_rejected(local: World) -> None:
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
        with pytest.raises(EnrolmentRejected):
            centre.enrol(shop, till, key)
    with pytest.raises(EnrolmentRejected):
        centre.enrol("x", "y", b"no key")
    assert centre.tills() == []


@pytest.mark.parametrize(
    ("till_clock", "year", "doubtful"),
    [(timedelta(0), 2026, False), (timedelta(days=-399), 2025, False), (timedelta(days=-401), 2026, True),
     (timedelta(hours=23), 2026, False), (timedelta(days=365 * 30), 2026, True),
     (timedelta(days=-365 * 50), 2026, True)],
)  # fmt: skip
def test_a_till_clock_is_trusted_within_bounds(local: World, till_clock: timedelta, year: int, doubtful: bool) -> None:
    centre = Centre(local, "authentication-serial")
    till = till_of(local, centre)
    wrong = Till(local.directory / "tills", "rice-shop", "till-1", FixedClock(NOON + till_clock))
    wrong.sell(LUNCH, HANAKO)
    send_waiting(wrong, Line2Centre(centre))
    assert balance(centre, "1234ABCD", year) == 21
    with centre.store.reading() as connection:
        assert connection.scalar(sa.select(centre.ledger.posting.c.doubtful)) is doubtful
    assert till.name == wrong.name


def test_a_record_for_a_closed_year_counts_when_it_arrives(local: World) -> None:
    centre = Centre(local, "authentication-serial")
    till = till_of(local, centre)
    till.sell(LUNCH, HANAKO)
    clock = local.clock
    assert isinstance(clock, FixedClock)
    with pytest.raises(ValueError, match="not over"):
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


def test_the_year_is_in_japan_s_time_zone(local: World) -> None:
    centre = Centre(local, "authentication-serial")
    clock = local.clock
    assert isinstance(clock, FixedClock)
    till = till_of(local, centre)
    clock.stand(datetime(2026, 12, 31, 15, 0, tzinfo=UTC))
    till.sell(LUNCH, HANAKO)
    send_waiting(till, Line2Centre(centre))
    assert balance(centre, "1234ABCD", 2027) == 21


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


def test_a_killed_centre_keeps_what_it_acknowledged(world: World, tmp_path: Path) -> None:
    import json

    centre = Centre(world, "authentication-serial")
    till = till_of(world, centre)
    for _ in range(40):
        till.sell(LUNCH, HANAKO)
    records = [record.signed.to_wire() for record in till.waiting()]
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
        assert balance(centre, "1234ABCD") % (5 * 21) == 0, "a batch is posted completely or not at all"
    assert send_waiting(till, Line2Centre(centre)).acknowledged == 40
    assert balance(centre, "1234ABCD") == 40 * 21
    assert centre.missing(till.name) == []
