"""Fault injection without a reader: when faults happen, in which order, and what they do not change."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kazashi.applets import input_support, jpki
from kazashi.applets.install import install
from kazashi.card.card import Card
from kazashi.card.chip import Chip
from kazashi.card.contents import CardContents
from kazashi.card.rule import rule_of
from kazashi.card.store import Reference
from kazashi.reader_bridge.fault import FaultPlan
from kazashi.reader_bridge.fault_kind import ContendForReader, Fault, Glitch, Moment, Mute, Tear, Wait, When
from kazashi.reader_bridge.fault_script import ATRS, UNKIND, parse_fault_script
from kazashi.reader_bridge.interface import CardGone, ContactInterface, Interface
from tests.card.test_any_bytes import commands
from tests.reader_bridge.faulty import (
    DONE,
    READ,
    READ_EXTENDED,
    SELECT_JPKI,
    SELECT_WITH_FCI,
    SIGN,
    TRIES,
    VERIFY,
    VERIFY_WRONG,
)
from tests.support import Transmit

pytestmark = pytest.mark.unit


@pytest.fixture(scope="module")
def made(contents: CardContents) -> Callable[[FaultPlan], Interface]:
    """A function that makes a powered card with a plan."""
    return lambda plan: in_process(contents, plan)


def hold(card: Card) -> Interface:
    """Return an interface to a card whose random bytes are always zero."""
    return ContactInterface(Chip(card, chance=lambda count: bytes(count)))


def in_process(contents: CardContents, plan: FaultPlan, tell: Callable[[str], None] = lambda _: None) -> Interface:
    interface = plan.around(install(contents), hold, tell)
    interface.power_on()
    return interface


def test_plan_without_faults_changes_nothing(contents: CardContents) -> None:
    plain, planned = hold(install(contents)), in_process(contents, parse_fault_script("seed: 3"))
    plain.power_on()
    assert planned.atr == plain.atr
    chance = Random(20260401)
    for number in range(3000):
        command = commands(chance)
        assert planned.transmit(command) == plain.transmit(command), f"the {number}-th: {command.hex()}"
        if number % 100 == 0:
            for interface in (plain, planned):
                interface.reset()
    assert planned.present


def test_layers_keep_the_cards_rule_and_state_their_own(contents: CardContents) -> None:
    def rules(script: str, *commands: bytes) -> list[str]:
        interface = in_process(contents, parse_fault_script(script))
        rules = [rule_of(interface.transmit(command)) for command in commands]
        return [rule.source if rule else "" for rule in rules]

    fetch = bytes.fromhex("00C0000000")
    assert rules("faults: [{status: 6581, when: {command: 2}}]", SELECT_JPKI, TRIES, TRIES) == [
        "JICSAP 1.1, 4.2", "docs/faults.md", "OpenSC, pull request 959",
    ]  # fmt: skip
    assert rules("faults: [{overlong: 3}]", SELECT_JPKI) == ["JICSAP 1.1, 4.2"], "the status word is the card's"
    assert rules("faults: [{truncate: 1}]", SELECT_JPKI) == [""], "the status word is not whole"
    assert rules("limit: 10", SELECT_JPKI) == ["docs/faults.md"]
    assert rules("chaining: true", fetch, SELECT_WITH_FCI, fetch) == [
        "ISO 7816-4, 5.5", "ISO 7816-3, 12.2", "JICSAP 1.1, 4.2",
    ]  # fmt: skip


SEEDED = """
seed: {}
faults:
  - {{status: 6F00, when: {{chance: 0.1}}}}
  - {{truncate: 1, when: {{chance: 0.1}}}}
  - {{overlong: 3, when: {{matching: 00B0, chance: 0.5}}}}
  - {{tear: during, away: 0 s, when: {{every: 3, chance: 0.2}}}}
  - {{glitch: verify, away: 0 s, when: {{chance: 0.3}}}}
"""


def seeded_run(contents: CardContents, seed: int) -> tuple[list[bytes], list[str]]:
    """Return the responses to two hundred commands (empty if the card is removed), and the fault events."""
    journal: list[str] = []
    card = in_process(contents, parse_fault_script(SEEDED.format(seed)), journal.append)
    responses = []
    for command in [SELECT_JPKI, READ, VERIFY, TRIES] * 50:
        try:
            responses.append(card.transmit(command))
        except CardGone:
            responses.append(b"")
            card.power_on()
    return responses, journal


def test_faults_depend_on_the_seed_only(contents: CardContents) -> None:
    first = seeded_run(contents, 1)
    assert first == seeded_run(contents, 1)
    assert first != seeded_run(contents, 2)
    assert len(set(first[1])) > 3, "there are several kinds of faults"


def test_unkind_script_causes_few_faults(contents: CardContents) -> None:
    plan = parse_fault_script(UNKIND)
    chance = Random(plan.seed)
    sequence = [SELECT_JPKI, VERIFY, READ, READ, SIGN, TRIES]
    applied = [
        fault.kind
        for number in range(1, 12_001)
        for fault in plan.faults
        if fault.when.holds(number, sequence[number % len(sequence)], chance)
    ]
    assert {type(kind) for kind in applied} == {type(fault.kind) for fault in plan.faults}, "each kind happens"
    assert len(applied) / 12_000 < 0.06
    assert sum(isinstance(kind, Tear | Mute) for kind in applied) / 12_000 < 0.006
    assert not any(isinstance(kind, Glitch | ContendForReader) for kind in applied), "no fault has a lasting effect"


def test_all_conditions_must_hold() -> None:
    never, always = Random(0), Random(0)
    third = When(every=3)
    assert [third.holds(number, READ, never) for number in range(1, 7)] == [False, False, True] * 2
    assert When().holds(1, b"", always)
    both = parse_fault_script("faults: [{slow: 1 s, when: {command: 2, matching: '00 b0 8?'}}]").faults[0].when
    assert both.holds(2, READ, always)
    assert not both.holds(3, READ, always)
    assert not both.holds(2, bytes.fromhex("00B0000000"), always)
    assert When(chance=1.0).holds(1, READ, always)
    assert not When(chance=0.0).holds(1, READ, always)


def test_glitch_prevented_by_another_fault_has_no_effect(contents: CardContents) -> None:
    """The card is removed before it receives the VERIFY in which its power would fail."""
    faults = (Fault(Glitch(0.0), When(nth=2)), Fault(Tear(Moment.BEFORE, 0.0), When(nth=2)))
    card = in_process(contents, FaultPlan(faults=faults))
    assert card.transmit(SELECT_JPKI) == DONE
    with pytest.raises(CardGone):
        card.transmit(VERIFY)
    card.power_on()
    assert card.transmit(SELECT_JPKI) == DONE
    assert card.transmit(TRIES) == b"\x63\xc3"
    assert card.transmit(VERIFY) == DONE


def test_faults_of_a_command_happen_in_script_order(contents: CardContents) -> None:
    journal: list[str] = []
    faults = (Fault(Wait(1, 0.0), When()), Fault(Tear(Moment.DURING, 0.0), When()), Fault(Mute(0.0), When(nth=2)))
    card = in_process(contents, FaultPlan(faults=faults), journal.append)
    for _ in range(2):
        with pytest.raises(CardGone):
            card.transmit(SELECT_JPKI)
    assert [event.split()[1] for event in journal] == ["time", "card", "time", "card", "mute"]


def test_retry_counters_are_decremented_to_the_plans_value(contents: CardContents) -> None:
    reference = Reference(jpki.AID, jpki.AUTHENTICATION_PIN)
    card = install(contents)
    for left, expected in ((5, 3), (2, 2), (3, 2), (0, 0)):
        FaultPlan(tries={reference: left}).around(card, hold)
        assert card.store.pin(reference).tries_left == expected


def fetched(transmit: Transmit, command: bytes, most: int) -> bytes:
    """Return the whole response, fetched by the rules of T=0 with up to `most` bytes at a time."""
    response = transmit(command)
    if response[-2] == 0x6C:
        response = transmit(command[:4] + response[-1:])
    data = response[:-2]
    while response[-2] == 0x61:
        le = min(response[-1] or 256, most)
        response = transmit(b"\x00\xc0\x00\x00" + bytes((le & 0xFF,)))
        assert len(response) <= le + 2
        data += response[:-2]
    return data + response[-2:]


def header(*values: int) -> bytes:
    return bytes(values)


LES = st.one_of(
    st.just(b""),
    st.binary(min_size=1, max_size=1),
    st.binary(min_size=2, max_size=2).map(lambda length: b"\0" + length),
)
READS = st.builds(
    lambda p1, p2, le: header(0x00, 0xB0, p1, p2) + le,
    st.sampled_from((0x82, 0x8A, 0x86, 0x00, 0x01, 0x07)), st.integers(0, 255), LES,
)  # fmt: skip
SELECTIONS = st.builds(
    lambda name, le: header(0x00, 0xA4, 0x04, 0x00, len(name)) + name + le,
    st.sampled_from((jpki.AID, b"\xa0\0\0\1\x51\0\0", input_support.AID, b"\xd3")),
    st.sampled_from((b"", b"\0", b"\x05")),
)
OTHERS = st.sampled_from([
    VERIFY, VERIFY_WRONG, TRIES, SIGN, SIGN[:-1] + b"\x40", bytes.fromhex("00CA5F5100"), bytes.fromhex("00CA006600"),
    bytes.fromhex("00CA7F2100"), bytes.fromhex("00CA7F21000000"), bytes.fromhex("0084000010"),
    bytes.fromhex("0084000000"),
    bytes.fromhex("00A4020C02000A"), bytes.fromhex("00A40200020006") + b"\0", bytes.fromhex("00B2010400"), b"\0",
])  # fmt: skip


@settings(max_examples=120)
@given(sequence=st.lists(st.one_of(READS, SELECTIONS, OTHERS), max_size=12), most=st.integers(1, 256))
def test_fetched_response_equals_the_unchained_one(
    made: Callable[[FaultPlan], Interface], sequence: list[bytes], most: int
) -> None:
    plain, chained = made(FaultPlan()), made(FaultPlan(chaining=True))
    for command in [SELECT_JPKI, *sequence]:
        assert fetched(chained.transmit, command, most) == plain.transmit(command), command.hex()


@settings(max_examples=60)
@given(data=st.data(), limit=st.integers(20, 300))
def test_limited_reader_passes_on_short_commands_unchanged(
    made: Callable[[FaultPlan], Interface], data: st.DataObject, limit: int
) -> None:
    plain, short = made(FaultPlan()), made(FaultPlan(limit=limit))
    for command in [SELECT_JPKI, *data.draw(st.lists(st.one_of(READS, SELECTIONS, OTHERS), max_size=12))]:
        if len(command) > limit or (len(command) >= 7 and command[4] == 0):
            assert short.transmit(command) == b"\x67\x00", command.hex()
        else:
            assert short.transmit(command) == plain.transmit(command), command.hex()


def test_reset_discards_data_that_was_not_fetched(contents: CardContents) -> None:
    card = in_process(contents, FaultPlan(chaining=True))
    for again in (card.reset, card.power_on):
        assert card.transmit(SELECT_WITH_FCI) == b"\x61\x0e"
        again()
        assert card.transmit(bytes.fromhex("00C0000000")) == b"\x6d\x00"


def test_layers_can_be_combined(contents: CardContents) -> None:
    """A reader with a length limit, and a card over T=0 with another ATR and a fault."""
    script = "protocol: T=0\nlimit: 256\nfaults: [{status: 6581, when: {matching: 00CA}}]"
    card = in_process(contents, parse_fault_script(script))
    assert card.atr == ATRS["T=0"]
    assert card.transmit(SELECT_WITH_FCI) == b"\x61\x0e"
    assert card.transmit(READ_EXTENDED) == b"\x67\x00"
    assert card.transmit(bytes.fromhex("00CA5F5100")) == b"\x65\x81"
    assert len(fetched(card.transmit, READ, 7)) == 258
