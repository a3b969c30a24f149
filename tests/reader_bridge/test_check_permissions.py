"""Commands that checks may send: none that could decrement a retry counter or change a card that is not emulated."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kazashi.reader_bridge.check.probe import CardPins, CardType, CommandForbidden, Probe, allowed
from tests.reader_bridge.checking import (
    AT_RISK,
    PINS,
    READING,
    StubCard,
    reads,
)

pytestmark = pytest.mark.unit

BODIES = (b"", b"\0", b"\0\x80", b"\0\x80\0", b"\0\x80\x041234", b"\0\x80\0\0\x041234")
HEADS = [
    b"\0\x20", b"\0\x24", b"\0\x2c", b"\0\x88", b"\x80\x2a", b"\x80\x32", b"\x80\xa2", b"\x80\xae", b"\x01\x20",
    b"\xf0\x20", b"\x0c\x20", b"\x10\x20", b"\0\xa4", b"\0\xd6", b"\0\xe4", b"\xff\xca", b"\xff\x20",
]  # fmt: skip
ANY_COMMAND = st.one_of(
    st.binary(max_size=24),
    st.builds(lambda head, body: head + body, st.sampled_from(HEADS), st.sampled_from(BODIES)),
    st.builds(lambda head, body: head + body, st.sampled_from(HEADS), st.binary(max_size=24)),
)
FOREIGN = st.sampled_from([CardType.OTHER, CardType.NUMBER_CARD])
NO_RISK = st.builds(CardPins, st.none() | st.text(), st.none() | st.text(), st.just(False))


@given(ANY_COMMAND, FOREIGN, NO_RISK)
def test_only_reading_commands_reach_a_card_that_is_not_emulated(
    command: bytes, kind: CardType, secrets: CardPins
) -> None:
    if allowed(command, kind, secrets):
        assert reads(command, empty_verify=kind is CardType.NUMBER_CARD)


def test_all_classes_and_instructions_against_the_allowed_ones() -> None:
    passed = set()
    for kind, cla, ins, body in product((CardType.OTHER, CardType.NUMBER_CARD), range(256), range(256), BODIES):
        command = bytes((cla, ins)) + body
        if allowed(command, kind, PINS):
            assert reads(command, empty_verify=kind is CardType.NUMBER_CARD), command.hex()
            passed.add((kind, ins))
    assert passed == {
        *product((CardType.OTHER, CardType.NUMBER_CARD), READING), (CardType.NUMBER_CARD, 0x20),
    }  # fmt: skip


def test_accepted_risk_allows_only_pins_and_signatures() -> None:
    for cla, ins, body in product(range(256), range(256), BODIES):
        command = bytes((cla, ins)) + body
        assert allowed(command, CardType.OTHER, AT_RISK) is allowed(command, CardType.OTHER, CardPins()), command.hex()
        if allowed(command, CardType.NUMBER_CARD, AT_RISK) and not allowed(command, CardType.NUMBER_CARD, PINS):
            assert command[:2] in (b"\x00\x20", b"\x80\x2a"), command.hex()
    assert allowed(b"\x00\x20\x00\x80\x041234", CardType.NUMBER_CARD, AT_RISK)


@given(ANY_COMMAND, st.sampled_from(CardType), st.sampled_from([CardPins(), PINS, AT_RISK]))
def test_commands_that_change_a_card_are_never_allowed(command: bytes, kind: CardType, secrets: CardPins) -> None:
    if allowed(command, kind, secrets):
        assert command[:2] not in (b"\x00\x24", b"\x80\x32", b"\x00\x2c", b"\x00\xd6", b"\x00\xe4")


@given(ANY_COMMAND, st.sampled_from(CardType), st.sampled_from([CardPins(), PINS, AT_RISK]))
def test_forbidden_command_does_not_reach_the_card(command: bytes, kind: CardType, secrets: CardPins) -> None:
    card = StubCard()
    probe = Probe("reader", card, kind, secrets)
    if allowed(command, kind, secrets):
        assert probe.transmit(command) == b"\x90\x00"
        assert card.sent == [command]
    else:
        with pytest.raises(CommandForbidden):
            probe.transmit(command)
        assert not card.sent
