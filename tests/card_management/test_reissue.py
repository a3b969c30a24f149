"""Cards that end and are issued again, express issuance, cards abroad, and the readings of names."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import pytest

from kazashi.assembly.counter import apply, visit
from kazashi.assembly.institutions import Institutions
from kazashi.card.image import read_image
from kazashi.card_management.case import CaseState, CaseType
from kazashi.card_management.consequence import CardState
from kazashi.card_management.entitlement import ApplicationRejected, ReissueReason
from kazashi.card_management.order import image_path
from kazashi.card_management.production import RenewalRejected
from kazashi.jpki.profile import CertificateType
from kazashi.jpki.state import CertificateState, Reason
from kazashi.resident_registry.birth_date import BirthDate
from kazashi.resident_registry.event import CardReturn, Death, Emigration, Event, Furigana, LossReport
from kazashi.resident_registry.rejection import EventRejected
from kazashi.resident_registry.sample_residents import SAMPLE_RESIDENTS
from kazashi.world.clock import instant_of
from kazashi.world.key_source import KeySource
from tests.card_management.support import order_of
from tests.resident_registry.support import IMMIGRATION, MOVE_OUT, recorded
from tests.town import AUTHENTICATION, MORNING, SIGNATURE, certificates, clock_of, new_institutions, standing


def at(town: Institutions, day: str) -> None:
    """Set the clock, and do what the registry and the card management have to do by then."""
    clock_of(town.world).stand(instant_of(f"{day}T10:00+09:00"))
    town.registry.lapse()
    town.juki_net.deliver()
    town.cards.resume()


def reissued(town: Institutions, name: str, reason: str, new: str, *, express: bool = False) -> date:
    delivered = town.cards.reissue(name, ReissueReason(reason), new, express=express)
    assert not image_path(town.world, new).exists()
    return delivered.date()


def test_card_ends_after_ten_years_and_is_issued_again_in_time(town: Institutions) -> None:
    town.issue_card("hanako", "hanako", order_of(town, "hanako", "2016-11-24T10:00+09:00"))
    assert town.cards.last_day("hanako") == date(2026, 4, 17)
    town.issue_card("taro", "taro")
    at(town, "2036-04-16")
    last = town.cards.last_day("taro")
    at(town, f"{last}")
    assert town.cards.card_state("hanako") is CardState.ENDED
    assert town.cards.card_state("taro") is CardState.ACTIVE, "the last day is still a day of the card"
    assert town.cards.due() == instant_of(f"{last + timedelta(days=1)}T00:00+09:00")
    at(town, f"{last + timedelta(days=1)}")
    assert town.cards.card_state("taro") is CardState.ENDED
    assert [entry[1:] for entry in town.cards.history("taro")][-1] == ("ended", "expired")
    with pytest.raises(RenewalRejected, match="is ended"):
        visit(town, "taro", CaseType.RENEWAL)
    with pytest.raises(ApplicationRejected, match="is ended"):
        town.cards.reissue("taro", ReissueReason.EXPIRY, "taro-2")
    reissued(town, "taro", "ended", "taro-2")


def test_reissue_for_expiry_opens_three_months_before_and_ends_the_old_card(town: Institutions) -> None:
    town.issue_card("old", "hanako")
    at(town, "2036-01-16")
    with pytest.raises(ApplicationRejected, match="from 2036-01-17"):
        town.cards.reissue("old", ReissueReason.EXPIRY, "new")
    at(town, "2036-01-17")
    town.cards.renew("old")
    assert reissued(town, "old", "expiry", "new") == date(2036, 2, 16)
    with pytest.raises(ApplicationRejected, match="'new' is being made"):
        town.cards.reissue("old", ReissueReason.EXPIRY, "newer")
    at(town, "2036-02-15")
    assert not image_path(town.world, "new").exists()
    assert town.cards.card_state("old") is CardState.ACTIVE
    at(town, "2036-02-16")
    assert [town.cards.card_state(name) for name in ("old", "new")] == [CardState.ENDED, CardState.ACTIVE]
    for kind in CertificateType:
        old, new = certificates(town, "hanako", kind)[-2:]
        assert town.revocations[kind].status(old.serial).reason is Reason.CESSATION_OF_OPERATION
        assert town.revocations[kind].status(new.serial).state is CertificateState.GOOD
        assert new.not_before == instant_of("2036-02-16T10:00+09:00")
    with pytest.raises(RenewalRejected, match="is ended"):  # the old card is still in somebody's reader
        visit(town, "old", CaseType.UPDATE)


def test_minors_card_ends_after_five_birthdays(town: Institutions) -> None:
    town.registry.add(replace(SAMPLE_RESIDENTS["hanako"], alias="child", birth=BirthDate.parse("2016-05-01")))
    town.juki_net.deliver()
    town.issue_card("child", "child")
    assert town.cards.last_day("child") == date(2031, 5, 1)


def test_lost_card_is_replaced_in_a_week(town: Institutions) -> None:
    town.issue_card("hanako", "hanako")
    for express, reason, message in (
        (True, "expiry", "can be issued again"), (False, "lost", "not reported lost"), (False, "ended", "not ended"),
    ):  # fmt: skip
        with pytest.raises(ApplicationRejected, match=message):
            town.cards.reissue("hanako", ReissueReason(reason), "new", express=express)
    recorded(town, "hanako", LossReport())
    with pytest.raises(ApplicationRejected, match="lost"):
        town.cards.reissue("hanako", ReissueReason.DAMAGED, "new", express=True)
    assert reissued(town, "hanako", "lost", "new", express=True) == date(2026, 12, 1)
    at(town, "2026-12-01")
    assert [town.cards.card_state(name) for name in ("hanako", "new")] == [CardState.ENDED, CardState.ACTIVE]
    first, second = certificates(town, "hanako", AUTHENTICATION)
    assert town.revocations[AUTHENTICATION].status(first.serial).reason is Reason.CERTIFICATE_HOLD, "as for any loss"
    assert town.revocations[AUTHENTICATION].status(second.serial).state is CertificateState.GOOD
    old, new = (read_image(image_path(town.world, name))[1] for name in ("hanako", "new"))
    assert (new["name"], new["text PIN"]) == (old["name"], old["text PIN"])
    assert new["card number"] != old["card number"]


def test_express_issuance_is_for_thirty_days(town: Institutions) -> None:
    town.issue_card("hanako", "hanako")
    recorded(town, "hanako", LossReport())
    at(town, "2026-12-25")
    with pytest.raises(ApplicationRejected, match="within 30 days; the reason arose on 2026-11-24"):
        town.cards.reissue("hanako", ReissueReason.LOST, "new", express=True)
    reissued(town, "hanako", "lost", "new")


@pytest.mark.parametrize(
    ("day", "born", "message"),
    [
        ("2024-12-01", "2024-11-20", "from 2024-12-02 on"),
        pytest.param("2024-12-02", "2024-11-20", "", marks=pytest.mark.long),
        ("2025-11-19", "2024-11-20", ""),
        ("2025-11-20", "2024-11-20", "within 30 days"),
    ],
)
def test_newborns_first_card(town: Institutions, day: str, born: str, message: str) -> None:
    at(town, "2024-11-28")
    town.registry.add(replace(SAMPLE_RESIDENTS["hanako"], alias="baby", birth=BirthDate.parse(born)))
    at(town, day)
    if message:
        with pytest.raises(ApplicationRejected, match=message):
            apply(town, "baby", "baby", express=True)
        return
    delivered = apply(town, "baby", "baby", express=True)
    assert delivered - town.world.clock.now() == timedelta(days=7)
    at(town, f"{delivered.date()}")
    assert [len(certificates(town, "baby", kind)) for kind in CertificateType] == [0, 1], "no signature before 15"


def test_cards_abroad(town: Institutions) -> None:
    at(town, "2024-05-26")
    town.issue_card("hanako", "hanako")
    with pytest.raises(EventRejected, match="from 2024-05-27 on"):
        town.registry.record("hanako", Emigration(continued=True))
    recorded(town, "hanako", Emigration(continued=False))
    with pytest.raises(ApplicationRejected, match="from 2024-05-27 on"):
        town.cards.reissue("hanako", ReissueReason.ENDED, "new")
    at(town, "2024-05-27")
    with pytest.raises(ApplicationRejected, match=r"2024-12-02|abroad"):
        town.cards.reissue("hanako", ReissueReason.ENDED, "new", express=True)
    assert reissued(town, "hanako", "ended", "new") == date(2024, 7, 26)
    at(town, "2024-07-26")
    assert read_image(image_path(town.world, "new"))[1]["abroad"] == "国外転出"
    assert standing(town, "hanako", SIGNATURE).state is CertificateState.GOOD
    recorded(town, "hanako", IMMIGRATION)
    about = read_image(image_path(town.world, "new"))[1]
    assert (about["abroad"], about["address"]) == ("", "茨城県つくば市見本台１丁目")


@pytest.mark.parametrize("events", [(Death(),), pytest.param((MOVE_OUT,), marks=pytest.mark.long)])
def test_order_of_someone_who_can_have_no_card_any_more_is_refused(
    town: Institutions, events: tuple[Event, ...]
) -> None:
    town.issue_card("hanako", "hanako")
    recorded(town, "hanako", CardReturn())
    reissued(town, "hanako", "ended", "new")
    recorded(town, "hanako", *events)
    with pytest.raises(ApplicationRejected):
        town.cards.reissue("hanako", ReissueReason.ENDED, "newer")
    at(town, "2026-12-24")
    assert [case.state for case in town.cards.cases()] == [CaseState.DONE, CaseState.REFUSED]
    assert not image_path(town.world, "new").exists()


# The readings of names


def test_readings_are_notified_and_recorded_after_a_year(tmp_path: Path, keys: KeySource) -> None:
    """Everybody who is registered on 2025-05-26 gets a notice; who does not answer has its reading a year later."""
    town = new_institutions(tmp_path / "w", keys)
    at(town, "2025-05-25")
    for who in ("hanako", "taro", "single-name"):
        town.resident(who)
    town.issue_card("hanako", "hanako")
    assert "furigana" not in read_image(image_path(town.world, "hanako"))[1]
    assert town.registry.deadlines("hanako").keys() == {"furigana-notice"}
    at(town, "2025-05-26")
    town.resident("leap-day")  # registered when readings are recorded already
    codes = {who: [entry.code for entry in town.registry.history(who)][1:]
             for who in ("hanako", "taro", "single-name", "leap-day")}  # fmt: skip
    assert codes == {"hanako": ["furigana-notice"], "taro": ["furigana-notice"], "single-name": [], "leap-day": []}
    assert town.registry.deadlines("hanako") == {"furigana": date(2026, 5, 25)}
    recorded(town, "taro", Furigana("ジロウ"))
    assert town.registry.deadlines("taro") == {}
    at(town, "2026-05-25")
    assert [entry.code for entry in town.registry.history("hanako")][1:] == ["furigana-notice"]
    at(town, "2026-05-26")
    assert [entry.code for entry in town.registry.history("hanako")][1:] == ["furigana-notice", "furigana-recorded"]
    assert [entry.code for entry in town.registry.history("taro")][1:] == ["furigana-notice", "furigana"]
    with pytest.raises(RenewalRejected, match="registered data"):
        visit(town, "hanako", CaseType.UPDATE)
    at(town, "2026-06-01")
    assert visit(town, "hanako", CaseType.UPDATE).entries == ["2026-06-01 振り仮名 バンゴウ　ハナコ"]
    town.world.close()


def test_later_worlds_send_no_notices(town: Institutions) -> None:
    town.resident("hanako")
    assert town.world.clock.now() == MORNING
    assert town.registry.deadlines("hanako") == {}
