"""Messages about people that do not belong: unknown people and bodies, repeated, early and malformed ones."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from typing import Any

import pytest
import sqlalchemy as sa

from kazashi.assembly.network import allowance_questions
from kazashi.assembly.network_offices import PENSION_ITEM, TAX_ITEM
from kazashi.provision_network.core import Core
from kazashi.provision_network.interface_system import InterfaceSystem
from kazashi.provision_network.municipal import AddressSystem
from kazashi.resident_registry.juki_net import JLis
from kazashi.resident_registry.registry import Registry
from kazashi.world.outbox import Message, MessageGap, Receive
from tests.provision_network.bodies import denied
from tests.provision_network.connected_town import MINATO, SHIBUYA, SHINJUKU, ConnectedTown, events, set_up
from tests.town import later

BOTH = {TAX_ITEM, PENSION_ITEM}
TAX_QUESTION = allowance_questions()[0][0]


def from_j_lis(sequence: int, kind: str, **body: Any) -> Message:
    return Message("j-lis", "provision-core", sequence, kind, body)


def sent_by_j_lis(town: ConnectedTown) -> int:
    """The number of messages that J-LIS has sent to the core."""
    with town.institutions.juki_net.j_lis.store.reading() as connection:
        query = sa.text("SELECT sent FROM outgoing_stream WHERE receiver = 'provision-core'")
        return int(connection.scalar(query) or 0)


def test_messages_for_unknown_people_and_bodies_are_refused_and_logged(town: ConnectedTown) -> None:
    offices, sent = town.institutions.offices, sent_by_j_lis(town)
    before, nobody = town.copies(), "123456789018"
    offices.receive([Message("municipality:13113", "addresses:13113", 2, "depart", {"individual_number": nobody})])
    strange: list[tuple[str, dict[str, Any]]] = [
        ("codes", {"body": "どこにもない村", "people": [["12345678903", "1", True, None]]}),
        ("codes", {"body": SHIBUYA, "people": [["12345678903", 1, True, None]]}),
        ("codes", {"body": SHIBUYA, "people": [["12345678903", "1", "yes", None]]}),
        ("person-ended", {"record_code": "12345678903", "day": "2026-11-24"}),
        ("codes", {}), ("gossip", {}),
    ]  # fmt: skip
    for number, (kind, body) in enumerate(strange, sent + 1):
        town.core.receive([from_j_lis(number, kind, **body)])
    for kind in ("codes", "person-ended", "code-change"):  # from an interface system
        town.core.receive([Message("municipal", "core", sent_to_core(town, "municipal") + 1, kind, {})])
    denials = [row["detail"]["denial"] for row in events(town.core.store) if row["what"] == "refused"]
    assert denials == [
        "unknown-institution", "bad-message", "bad-message", "unknown-person", "bad-message", "unknown-message",
        *["not-entitled"] * 3,
    ]  # fmt: skip
    addresses_log = events(offices.addresses(SHIBUYA).store)
    assert [row["detail"]["kind"] for row in addresses_log if row["what"] == "refused"] == ["'depart'"]
    assert nobody not in str(addresses_log)
    assert town.copies() == before
    town.move("hanako", "13104")  # and the streams go on


def sent_to_core(town: ConnectedTown, sender: str) -> int:
    """The number of messages of a sender that the core has applied."""
    with town.core.store.reading() as connection:
        query = sa.text("SELECT applied FROM incoming_stream WHERE sender = :s")
        return int(connection.scalar(query, {"s": sender}) or 0)


def test_j_lis_leaves_out_people_whom_it_does_not_know(town: ConnectedTown) -> None:
    j_lis = town.institutions.juki_net.j_lis
    sender, sent = "addresses:13113", sent_by_j_lis(town)
    known = town.resident("hanako").individual_number
    with j_lis.store.reading() as connection:
        applied = int(connection.scalar(sa.text(
            "SELECT applied FROM incoming_stream WHERE sender = 'addresses:13113'"
        )) or 0)  # fmt: skip
    people = [[known, "1", True, None], ["123456789018", "2", True, None]]
    j_lis.receive([
        Message(sender, "j-lis", applied + 1, "codes", {"body": SHIBUYA, "people": people}),
        Message(sender, "j-lis", applied + 2, "codes", {"body": SHIBUYA, "people": [["1"]]}),
    ])  # fmt: skip
    assert sent_by_j_lis(town) == sent + 1
    log = events(j_lis.store)[-2:]
    assert [row["what"] for row in log] == ["codes", "refused"]
    assert log[0]["detail"] == {"from": sender, "unknown": 1}
    assert "123456789018" not in str(log)


def test_repeated_and_early_messages_change_nothing(town: ConnectedTown) -> None:
    seen: list[tuple[Receive, Message]] = []

    def noting(owner: Any) -> None:
        inner = owner.receive

        def receive(this: Any, messages: Sequence[Message]) -> None:
            inner(this, messages)
            seen.extend((partial(inner, this), message) for message in messages)

        patch.setattr(owner, "receive", receive)

    with pytest.MonkeyPatch.context() as patch:
        for owner in (AddressSystem, Core, InterfaceSystem, JLis, Registry):
            noting(owner)
        town.move("hanako", "13104")
        town.happen("hanako", "number-change")
        town.happen("hanako", "protection", protected="yes")
    assert {message.kind for _, message in seen} >= {"admit", "depart", "renumber", "protect", "codes"}
    town.check()
    for receive, message in reversed(seen):
        receive([message])
        early = Message(message.sender, message.receiver, message.sequence + 1000, message.kind, message.body)
        with pytest.raises(MessageGap):
            receive([early])
    town.institutions.settle()
    town.check()


def test_b1_b2_no_number_travels_further_than_it_may(town: ConnectedTown) -> None:
    """Address systems hear of individual numbers, the core of record codes, and interface systems of neither."""
    bodies: dict[type, list[str]] = {owner: [] for owner in (AddressSystem, Core, InterfaceSystem, JLis)}
    numbers, codes = set[str](), set[str]()

    def noting(owner: Any) -> None:
        inner = owner.receive

        def receive(this: Any, messages: Sequence[Message]) -> None:
            bodies[owner] += [json.dumps(message.body) for message in messages]
            inner(this, messages)

        patch.setattr(owner, "receive", receive)

    with pytest.MonkeyPatch.context() as patch:
        for owner in bodies:
            noting(owner)
        for event, values in (("code-change", {}), ("number-change", {}), ("protection", {"protected": "yes"}),
                              ("move-out", {"to": "13104", "moves_on": "2026-11-24"}),
                              ("move-in", {"municipality": "13104", "street": "見本台１"}), ("death", {})):  # fmt: skip
            resident = town.resident("hanako")
            numbers.add(str(resident.individual_number))
            codes.add(resident.code)
            town.happen("hanako", event, **values)
        town.ask("taro")
        later(town.institutions, days=1)
    assert all(bodies.values())

    def seen(secrets: set[str], owner: type) -> set[str]:
        return {secret for secret in secrets for body in bodies[owner] if secret in body}

    assert (seen(numbers, AddressSystem), seen(codes, AddressSystem)) == (numbers, set())
    assert seen(codes, JLis) == codes, "J-LIS knows both"
    assert seen(numbers, JLis)
    assert (seen(numbers, Core), seen(codes, Core)) == (set(), codes)
    assert (seen(numbers, InterfaceSystem), seen(codes, InterfaceSystem)) == (set(), set())


def test_a_body_without_assessment_gets_no_codes_but_codes_end_there(town: ConnectedTown) -> None:
    for body in (SHINJUKU, SHIBUYA):
        town.assess(body, done=False)
    old = town.code("hanako", SHIBUYA)
    town.move("hanako", "13104")
    with denied("no-code"):
        town.code("hanako", SHINJUKU)
    assert town.copies()[SHIBUYA] == 1
    refused = [row["detail"] for row in events(town.core.store) if row["what"] == "refused"]
    assert [row["denial"] for row in refused] == ["no-assessment"]
    for body in (SHINJUKU, SHIBUYA):
        town.assess(body, done=True)
    with denied("no-longer-here"):
        town.core.mediation.request(SHIBUYA, old, TAX_QUESTION, [MINATO])
    assert set_up(town)["codes issued"] == "6 codes; everybody has one"
    assert town.ask("hanako").keys() == BOTH


def test_a_body_that_was_removed_is_not_connected_again(town: ConnectedTown) -> None:
    town.core.members.remove(SHIBUYA)
    town.happen("hanako", "protection", protected="yes")
    town.institutions.resident("child")
    town.institutions.settle()
    assert SHIBUYA not in {one.name for one in town.core.members.institutions()}
    refused = [row["detail"]["denial"] for row in events(town.core.store) if row["what"] == "refused"]
    assert refused == ["unknown-institution"] * 2
