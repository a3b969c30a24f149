"""Code policies: readings and account codes, and the settings that are fixed when a centre is created."""

from __future__ import annotations

from dataclasses import replace

import pytest
import sqlalchemy as sa

from kazashi.refund_points.centre import Centre, PolicySettled, RecordOutcome
from kazashi.refund_points.codes import CodeByCentre, CodeRejected, KeyedByShop
from kazashi.refund_points.enrolment import Detail, Enrolment, EnrolmentDamaged
from kazashi.refund_points.record import TillKey, public_pem
from kazashi.refund_points.sender import send_waiting
from kazashi.world.clock import FixedClock
from kazashi.world.home import World, open_world
from kazashi.world.settings import Settings
from tests.refund_points.tills import HANAKO, LUNCH, NOON, RECORD, Line2Centre, balance, till_of

pytestmark = pytest.mark.unit


def test_each_policy_accumulates_and_reveals_what_it_states(local: World) -> None:
    def identifier(serial: int) -> str | None:
        return {HANAKO.serial: "AAAA0001", 99: "AAAA0001"}.get(serial)

    class Platform:
        find = staticmethod(identifier)

    for policy in ("authentication-serial", "keyed-by-shop", "code-by-centre", "mykey"):
        world = open_world(local.directory.parent / policy, settings=Settings("points"), clock=FixedClock(NOON))
        centre = Centre(world, policy, mykey=Platform())  # type: ignore[arg-type]
        tills = [till_of(world, centre, shop, find_mykey=identifier) for shop in ("rice-shop", "tea-shop")]
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
        world.close()


def test_a_sealed_reading_is_only_valid_for_its_centre_and_shop(local: World) -> None:
    centre = Centre(local, "code-by-centre")
    till_policy = till_of(local, centre).enrolment.reading_policy()
    reading = till_policy.read(7, "rice-shop")
    code = centre.policy.account(reading, "rice-shop")
    assert code == centre.policy.accounts_of([7], [])[0]
    for wrong in (reading[:-1], reading[:-1] + ("0" if reading[-1] != "0" else "1"), "", "zz"):
        with pytest.raises(CodeRejected):
            centre.policy.account(wrong, "rice-shop")
    with pytest.raises(CodeRejected):
        centre.policy.account(reading, "tea-shop")
    assert isinstance(till_policy, CodeByCentre)
    for derive in (lambda: till_policy.account(reading, "rice-shop"), lambda: till_policy.accounts_of([7], [])):
        with pytest.raises(CodeRejected, match="only the centre"):
            derive()


def test_a_shop_only_has_its_own_secret(local: World) -> None:
    centre = Centre(local, "keyed-by-shop")
    policy = till_of(local, centre).enrolment.reading_policy()
    till_of(local, centre, "tea-shop")
    assert isinstance(policy, KeyedByShop)
    with pytest.raises(CodeRejected, match="no secret"):
        policy.read(7, "tea-shop")


def test_line_items_are_only_sent_if_the_detail_says_so(local: World) -> None:
    kept = {}
    for detail in Detail:
        world = open_world(local.directory.parent / detail.value, clock=FixedClock(NOON))
        centre = Centre(world, detail=detail)
        till = till_of(world, centre)
        till.sell(LUNCH, HANAKO)
        (waiting,) = till.waiting()
        assert b"beer" not in waiting.signed.body, "goods that earn no points are never sent"
        assert (b"lunch" in waiting.signed.body) is (detail is Detail.LINES)
        send_waiting(till, Line2Centre(centre))
        with centre.store.reading() as connection:
            kept[detail] = connection.scalar(sa.select(centre.ledger.posting.c.lines))
        world.close()
    assert kept == {Detail.AMOUNT: None, Detail.LINES: '[["lunch", 1, 880], ["tea", 2, 300]]'}


def test_a_centre_that_keeps_amounts_drops_unexpected_lines(local: World) -> None:
    centre = Centre(local)
    key = TillKey.generate()
    name = centre.enrol("rice-shop", "till-1", public_pem(key.public)).name
    record = replace(RECORD, till=name, policy=centre.policy.name, lines=(("lunch", 1, 1_100),))
    assert centre.receive(name, [key.sign(record).to_wire()])[0].answer is RecordOutcome.ACCEPTED
    with centre.store.reading() as connection:
        assert connection.scalar(sa.select(centre.ledger.posting.c.lines)) is None


def test_a_centre_s_policy_and_detail_cannot_change(local: World) -> None:
    assert Centre(local, "code-by-centre", Detail.LINES).policy.name == "code-by-centre"
    assert (Centre(local).policy.name, Centre(local).detail) == ("code-by-centre", Detail.LINES)
    for policy, detail in (("authentication-serial", None), (None, Detail.AMOUNT), ("nonsense", None)):
        with pytest.raises(PolicySettled):
            Centre(local, policy, detail)
    with pytest.raises(PolicySettled, match="needs a MyKey platform"):
        Centre(open_world(local.directory.parent / "other", clock=FixedClock(NOON)), "mykey")


def test_an_enrolment_round_trips_as_text(local: World) -> None:
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
    with pytest.raises(EnrolmentDamaged, match="needs a MyKey platform"):
        replace(enrolment, policy="mykey").reading_policy()
