"""The state of a card after registry events, and its persistence in the card management."""

from __future__ import annotations

from pathlib import Path

import pytest

from kazashi.assembly.institutions import Institutions
from kazashi.card.image import read_image
from kazashi.card_management.consequence import CardState
from kazashi.card_management.production import RenewalRejected
from kazashi.card_management.records import NoSuchCard
from kazashi.jpki.state import Reason
from kazashi.resident_registry.event import (
    CardFound,
    CardReturn,
    Channel,
    Death,
    Deletion,
    Emigration,
    Event,
    LossReport,
    MoveWithin,
    NumberChange,
    Renewal,
    Theft,
)
from kazashi.world.home import open_world
from kazashi.world.key_source import KeySource
from kazashi.world.schedule import AT_ONCE
from tests.town import SIGNATURE, certificates, new_institutions


@pytest.mark.parametrize(
    ("events", "state"),
    [
        ((MoveWithin("架空町１丁目"),), CardState.ACTIVE),
        ((LossReport(),), CardState.STOPPED),
        ((LossReport(), LossReport()), CardState.STOPPED),
        ((LossReport(), CardFound()), CardState.ACTIVE),
        ((LossReport(), CardFound(), LossReport()), CardState.STOPPED),
        ((Theft(),), CardState.ENDED),
        ((LossReport(), Theft()), CardState.ENDED),
        ((Theft(), CardFound()), CardState.ENDED),
        ((CardReturn(), LossReport()), CardState.ENDED),
        ((CardReturn(), Renewal()), CardState.ENDED),
        ((Death(),), CardState.ENDED),
        ((Deletion(),), CardState.ENDED),
        ((NumberChange(),), CardState.ENDED),
        ((Emigration(continued=False),), CardState.ENDED),
        ((Emigration(continued=True),), CardState.ACTIVE),
    ],
)
def test_events_change_the_card_state(town: Institutions, events: tuple[Event, ...], state: CardState) -> None:
    town.issue_card("hanako", "hanako")
    town.issue_card("taro", "taro")
    for event in events:
        town.registry.record("hanako", event, channel=Channel.COUNTER)
        town.settle()
    assert town.cards.card_state("hanako") is state
    assert town.cards.card_state("taro") is CardState.ACTIVE
    assert town.cards.due() != AT_ONCE
    if state is not CardState.ACTIVE:
        count_before = len(certificates(town, "hanako", SIGNATURE))
        with pytest.raises(RenewalRejected, match=f"is {state.value}"):
            town.cards.renew("hanako")
        assert len(certificates(town, "hanako", SIGNATURE)) == count_before


def test_new_card_can_be_issued_after_an_ended_one(town: Institutions) -> None:
    town.issue_card("old", "hanako")
    town.registry.record("hanako", NumberChange())
    town.settle()
    path = town.issue_card("new", "hanako")
    assert [town.cards.card_state(name) for name in ("old", "new")] == [CardState.ENDED, CardState.ACTIVE]
    assert read_image(path)[1]["individual number"] == town.registry.find("hanako").individual_number
    town.registry.record("hanako", LossReport())
    town.settle()
    assert [town.cards.card_state(name) for name in ("old", "new")] == [CardState.ENDED, CardState.STOPPED]
    assert [town.revocations[SIGNATURE].status(issued.serial).reason for issued in certificates(
        town, "hanako", SIGNATURE)] == [Reason.CESSATION_OF_OPERATION, Reason.CERTIFICATE_HOLD]  # fmt: skip


def test_unknown_cards_raise_no_such_card(institutions: Institutions) -> None:
    for method in (institutions.cards.card_state, institutions.cards.renew):
        with pytest.raises(NoSuchCard):
            method("x")
    assert institutions.cards.cases() == []
    assert institutions.cards.due() is None
    assert institutions.cards.resume() == 0


def test_cases_survive_a_restart(tmp_path: Path, storage: str, keys: KeySource) -> None:
    town = new_institutions(tmp_path / "w", keys, storage)
    town.issue_card("hanako", "hanako")
    cases = town.cards.cases()
    town.world.close()
    again = Institutions(open_world(tmp_path / "w", keys=keys))
    assert again.cards.cases() == cases
    assert again.cards.cases(str(again.registry.find("hanako").code)) == cases
    assert again.cards.cases("someone") == []
    assert again.cards.card_state("hanako") is CardState.ACTIVE
    again.world.close()
