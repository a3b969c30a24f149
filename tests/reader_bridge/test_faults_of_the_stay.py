"""Faults of a card's stay in a reader, over a real pcscd: what PC/SC clients see of insertion, power and protocols."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from smartcard.scard import (
    SCARD_E_NO_SMARTCARD,
    SCARD_E_NOT_TRANSACTED,
    SCARD_E_READER_UNAVAILABLE,
    SCARD_LEAVE_CARD,
    SCARD_PROTOCOL_T0,
    SCARD_PROTOCOL_T1,
    SCARD_RESET_CARD,
    SCARD_SHARE_SHARED,
    SCARD_STATE_MUTE,
    SCARD_STATE_PRESENT,
    SCARD_STATE_UNAVAILABLE,
    SCARD_STATE_UNAWARE,
    SCARD_UNPOWER_CARD,
    SCARD_W_REMOVED_CARD,
    SCARD_W_UNPOWERED_CARD,
    SCARD_W_UNRESPONSIVE_CARD,
    SCardConnect,
    SCardDisconnect,
    SCardGetStatusChange,
    SCardReconnect,
    SCardStatus,
)

from kazashi.reader_bridge import pcsc
from kazashi.reader_bridge.endpoint import DialledEndpoint, VpcdEndpoint, dialled_endpoint
from kazashi.reader_bridge.fault_script import BadFaultScript, parse_fault_script
from kazashi.reader_bridge.host import NotOurReader, Presentation, ReaderHost
from kazashi.reader_bridge.interface import GET_UID
from tests.polling import LIMIT, until
from tests.reader_bridge.faulty import (
    DONE,
    SELECT_JPKI,
    SIGN,
    TRIES,
    VERIFY,
    VERIFY_WRONG,
    comes_back,
    put,
    responses_to,
)
from tests.support import PcscError, connected, context, run

BOTH = SCARD_PROTOCOL_T0 | SCARD_PROTOCOL_T1
ATR = bytes.fromhex("3BE000FF8131FE4514")
NO_STATUS = b"\x69\x82"


def state(reader: str) -> tuple[int, int, bytes]:
    """Return the state that PC/SC reports of a reader, its counter of insertions and removals, and the ATR."""
    with context() as established:
        code, [(_, value, atr)] = SCardGetStatusChange(established, 0, [(reader, SCARD_STATE_UNAWARE)])
        pcsc.check(code)
    return value & 0xFFFF, value >> 16, bytes(atr)


def is_present(reader: str) -> bool:
    value, _, _ = state(reader)
    return bool(value & SCARD_STATE_PRESENT) and not value & SCARD_STATE_MUTE


def is_away(reader: str) -> bool:
    return bool(state(reader)[0] & SCARD_STATE_UNAVAILABLE)


def has_atr(reader: str) -> bool:
    return state(reader)[2] == ATR


def code_of_connecting(reader: str, protocols: int = BOTH) -> tuple[int, int]:
    """Return SCardConnect's return code and the protocol that was chosen."""
    with context() as established:
        code, card, protocol = SCardConnect(established, reader, SCARD_SHARE_SHARED, protocols)
        if code == 0:
            SCardDisconnect(card, SCARD_UNPOWER_CARD)
    return code, protocol


@contextmanager
def a_card(reader: str) -> Iterator[Any]:
    """A PC/SC handle of the card in a reader."""
    with context() as established:
        code, card, _ = SCardConnect(established, reader, SCARD_SHARE_SHARED, BOTH)
        pcsc.check(code)
        yield card
        SCardDisconnect(card, SCARD_LEAVE_CARD)


def restarted(card: object, how: int) -> tuple[int, bytes]:
    """Restart a card. Return the code, and the ATR that SCardStatus then reports."""
    code = SCardReconnect(card, SCARD_SHARE_SHARED, BOTH, how)[0]
    return code, bytes(SCardStatus(card)[4])


@pytest.mark.reader
def test_timeout_of_the_reader_loses_the_response_only(image: Path, host: ReaderHost) -> None:
    (reader,) = put(host, image, "faults: [{timeout: 50 ms, when: {command: 2}}]")
    with connected(reader) as transmit:
        assert transmit(SELECT_JPKI) == DONE
        with pytest.raises(PcscError) as failure:
            transmit(VERIFY_WRONG)
        assert failure.value.code == SCARD_E_NOT_TRANSACTED & 0xFFFFFFFF
        assert transmit(TRIES) == b"\x63\xc2", "the card has counted, and is where it was"


@pytest.mark.reader
def test_card_that_does_not_answer_to_reset_is_mute(image: Path, host: ReaderHost) -> None:
    always, once, warm = put(
        host, image, "faults: [{silent: power-up}]", "faults: [{silent: power-up, when: {nth: 1}}]",
        "faults: [{silent: reset}]",
    )  # fmt: skip
    for reader in (always, once):
        value, _, atr = state(reader)
        assert value & (SCARD_STATE_PRESENT | SCARD_STATE_MUTE) == SCARD_STATE_PRESENT | SCARD_STATE_MUTE
        assert atr == b""
    assert code_of_connecting(always)[0] == SCARD_W_UNPOWERED_CARD
    assert "Unresponsive card" in run("opensc-tool", "--reader", always, "--name", expect=None)
    assert run("opensc-tool", "--reader", once, "--name").strip() == "jpki", "the second attempt succeeds"
    with a_card(warm) as card:
        assert restarted(card, SCARD_RESET_CARD)[0] == SCARD_W_UNRESPONSIVE_CARD
        assert restarted(card, SCARD_UNPOWER_CARD) == (0, ATR)


@pytest.mark.reader
def test_warm_reset_is_told_by_its_atr(image: Path, host: ReaderHost) -> None:
    (reader,) = put(host, image, "warm-atr: reader-made-1")
    with a_card(reader) as card:
        assert bytes(SCardStatus(card)[4]) == ATR
        code, atr = restarted(card, SCARD_RESET_CARD)
        assert (code, atr == ATR) == (0, False)
        assert restarted(card, SCARD_UNPOWER_CARD) == (0, ATR)


@pytest.mark.reader
def test_card_pulled_during_a_start(image: Path, host: ReaderHost) -> None:
    cold, warm = put(
        host, image, "faults: [{tear: power-up, away: 200 ms, when: {nth: 1}}]",
        "faults: [{tear: reset, away: 200 ms}]",
    )  # fmt: skip
    until(lambda: is_present(cold), "the card is back")
    assert run("opensc-tool", "--reader", cold, "--name").strip() == "jpki"
    with a_card(warm) as card:
        assert restarted(card, SCARD_RESET_CARD)[0] == SCARD_W_UNRESPONSIVE_CARD
    until(lambda: is_present(warm), "the card is back")
    assert run("opensc-tool", "--reader", warm, "--name").strip() == "jpki"


@pytest.mark.reader
def test_bouncing_contacts_are_several_insertions(image: Path, host: ReaderHost) -> None:
    before = state(host.slots[0].endpoint.reader)[1]
    (reader,) = put(host, image, "faults: [{bounce: 3, each: 60 ms}]")
    inserted = host.inserted(host.slots[0])
    assert inserted is not None
    until(lambda: inserted.interface.changes_in is None and is_present(reader), "the card stays")
    counted = (state(reader)[1] - before) & 0xFFFF
    assert counted in (3, 5, 7), "a busy pcscd misses some of the three removals, but not all"
    assert run("opensc-tool", "--reader", reader, "--name").strip() == "jpki"
    assert (state(reader)[1] - before) & 0xFFFF == counted


@pytest.mark.reader
@pytest.mark.parametrize("fault", ["weak: 300 ms, away: 100 ms", "tear: after, away: 100 ms, when: {matching: 0020}"])
def test_card_that_loses_the_field_loses_its_security_status(image: Path, host: ReaderHost, fault: str) -> None:
    (reader,) = put(host, image, f"faults: [{{{fault}}}]")

    def signs_without_a_pin_after_the_loss() -> bytes:
        while True:
            verified = False
            with suppress(PcscError), connected(reader) as transmit:
                verified = (transmit(SELECT_JPKI), transmit(VERIFY)) == (DONE, DONE)
                while transmit(TRIES):
                    pass
            if not verified:
                continue
            until(lambda: is_present(reader), "the card is back")
            with suppress(PcscError), connected(reader) as transmit:
                transmit(SELECT_JPKI)
                return transmit(SIGN)

    assert signs_without_a_pin_after_the_loss() == NO_STATUS


@pytest.mark.reader
def test_two_cards_in_the_field(image: Path, host: ReaderHost) -> None:
    chosen, colliding, *alone_later = put(
        host, image, "faults: [{second-card: chosen}]", "faults: [{second-card: collides}]",
        "faults: [{second-card: chosen, for: 300 ms, away: 100 ms, when: {nth: 1}}]",
        "faults: [{second-card: collides, for: 300 ms, away: 100 ms, when: {nth: 1}}]",
    )  # fmt: skip
    assert state(colliding)[0] & SCARD_STATE_MUTE
    assert state(chosen)[2].hex(" ").upper() == "3B 8F 80 01 80 4F 0C A0 00 00 03 06 11 00 3B 00 00 00 00 42"
    with connected(chosen) as transmit:
        assert (len(transmit(GET_UID)), transmit(SELECT_JPKI)) == (10, b"\x6a\x81")
    for reader in alone_later:
        until(partial(has_atr, reader), "the card is alone")
        assert run("opensc-tool", "--reader", reader, "--name").strip() == "jpki"


@pytest.mark.reader
def test_protocol_that_the_card_refuses(image: Path, host: ReaderHost) -> None:
    """pcscd 1.9.9 uses the card's own protocol, even for a client that does not want it."""
    refusing, failing, plain = put(
        host, image, "protocol: T=0 and T=1\nfaults: [{negotiation: refused}]",
        "protocol: T=0 and T=1\nfaults: [{negotiation: fails}]", "faults: [{negotiation: fails}]",
    )  # fmt: skip
    for wanted in (BOTH, SCARD_PROTOCOL_T0, SCARD_PROTOCOL_T1):
        assert code_of_connecting(refusing, wanted) == (0, SCARD_PROTOCOL_T0)
        code, protocol = code_of_connecting(failing, wanted)
        assert (code, protocol) == (
            (0, SCARD_PROTOCOL_T0) if wanted == SCARD_PROTOCOL_T0 else (SCARD_W_UNRESPONSIVE_CARD, 0)
        )
    assert code_of_connecting(plain) == (0, SCARD_PROTOCOL_T1), "a card that offers only T=1 needs no negotiation"


@pytest.mark.reader
def test_unplugged_reader_is_unavailable_until_it_is_plugged_in(image: Path, host: ReaderHost) -> None:
    """The second slot belongs to the same reader, the third does not. A waiting client is told of each change."""
    reader, neighbour, other = put(host, image, "", "", "")
    with a_card(reader) as card, context() as waiting:
        before = state(reader)[0]
        host.unplug(host.slots[1])
        until(partial(is_away, reader), "the reader is unavailable")
        until(partial(is_away, neighbour), "its other slot, too")
        assert not is_away(other)
        assert restarted(card, SCARD_RESET_CARD)[0] == SCARD_E_READER_UNAVAILABLE
        assert code_of_connecting(neighbour)[0] == SCARD_E_READER_UNAVAILABLE
        code, [(_, value, _)] = SCardGetStatusChange(waiting, int(1000 * LIMIT), [(reader, before)])
        assert (code, value & SCARD_STATE_UNAVAILABLE) == (0, SCARD_STATE_UNAVAILABLE)
        host.plug(host.slots[0])
        code, [(_, value, atr)] = SCardGetStatusChange(waiting, int(1000 * LIMIT), [(reader, value)])
        assert (code, value & SCARD_STATE_PRESENT, bytes(atr)) == (0, SCARD_STATE_PRESENT, ATR)
        assert SCardStatus(card)[0] == SCARD_W_REMOVED_CARD
    until(partial(is_present, neighbour), "the other slot's card is back")
    assert responses_to(neighbour, SELECT_JPKI, VERIFY) == [DONE, DONE]


@pytest.mark.reader
def test_removal_between_two_commands(image: Path, host: ReaderHost) -> None:
    (reader,) = put(host, image, "faults: [{tear: after, away: 400 ms, when: {command: 1}}]")
    with connected(reader) as transmit:
        assert transmit(SELECT_JPKI) == DONE
        with pytest.raises(PcscError) as failure:
            transmit(SELECT_JPKI)
        assert failure.value.code in {code & 0xFFFFFFFF for code in (SCARD_W_REMOVED_CARD, SCARD_E_NO_SMARTCARD)}
        comes_back(host, 0)
        with pytest.raises(PcscError) as failure:
            transmit(SELECT_JPKI)
        assert failure.value.code == SCARD_W_REMOVED_CARD & 0xFFFFFFFF, "it is another stay of the card"


@pytest.mark.reader
@pytest.mark.long
def test_card_may_need_longer_than_the_driver_waits_for_a_silent_host(image: Path, host: ReaderHost) -> None:
    (reader,) = put(host, image, "faults: [{wait: 30, when: {command: 1}}]")
    begun = time.monotonic()
    with connected(reader) as transmit:
        assert transmit(SELECT_JPKI) == DONE
    assert time.monotonic() - begun > 12


@pytest.mark.parametrize(
    "endpoint", [VpcdEndpoint("Kazashi 00 00", "127.0.0.1", 1), dialled_endpoint("127.0.0.1:18699")]
)
def test_reader_that_cannot_show_a_fault_refuses_the_script(
    image: Path, endpoint: VpcdEndpoint | DialledEndpoint
) -> None:
    host = ReaderHost([endpoint])
    try:
        for fault in ("timeout: 1 s", "silent: reset", "bounce: 2", "weak: 1 s", "second-card: chosen",
                      "negotiation: fails", "tear: power-up", "tear: reset"):  # fmt: skip
            plan = parse_fault_script(f"faults: [{{{fault}}}]")
            name = fault if fault.startswith("tear") else fault.partition(":")[0]
            with pytest.raises(BadFaultScript, match=f"cannot show the faults {name}: only a reader of our own"):
                host.insert(host.slots[0], "hanako", image, Presentation(faults=plan))
        assert not host.slots[0].occupied
        with pytest.raises(NotOurReader, match="cannot be unplugged"):
            host.unplug(host.slots[0])
    finally:
        host.close()
