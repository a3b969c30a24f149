"""Two and four real processes on one card image: one retry counter for all of them, whoever sends what, and when."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from benchmarks.reliability.holders import (
    PIN,
    TRIES,
    HolderProcess,
    PinCall,
    PinExchange,
    TimedReply,
    possible_counters,
)
from kazashi.applets import jpki
from kazashi.card import request
from kazashi.card.image import ImageStore
from kazashi.card.store import Reference

pytestmark = pytest.mark.load

BLOCKED, CHANGED = 0x6984, b"4321"
REFERENCE = Reference(jpki.AID, jpki.AUTHENTICATION_PIN)
CALLS = st.lists(st.sampled_from(PinCall), min_size=1, max_size=3)


class HoldersOfOneImage(RuleBasedStateMachine):
    processes: ClassVar[list[HolderProcess]]
    image: ClassVar[Path]
    copies: ClassVar[Iterator[int]]

    def __init__(self) -> None:
        super().__init__()
        self.path = self.image.with_name(f"copy-{next(self.copies)}.card")
        shutil.copy(self.image, self.path)
        for process in self.processes:
            process.open(self.path)
        self.store = ImageStore(self.path)
        self.left, self.pin = TRIES, PIN
        self.verified = [False] * len(self.processes)

    def teardown(self) -> None:
        self.store.close()

    def send(self, holder: int, command: bytes) -> int:
        self.processes[holder].send([command])
        (reply,) = self.processes[holder].replies()
        return reply.status

    @rule(holder=st.integers(0, 3), value=st.sampled_from([PIN, CHANGED, b"0000"]))
    def verify(self, holder: int, value: bytes) -> None:
        holder %= len(self.processes)
        status = self.send(holder, request.verify(jpki.AUTHENTICATION_PIN, value))
        if not self.left:
            assert status == BLOCKED
        elif value == self.pin:
            assert status == 0x9000
            self.left, self.verified[holder] = TRIES, True
        else:
            self.left -= 1
            assert status == 0x63C0 | self.left
            self.verified[holder] = False

    @rule(holder=st.integers(0, 3))
    def query(self, holder: int) -> None:
        assert (
            self.send(holder % len(self.processes), request.tries_left(jpki.AUTHENTICATION_PIN)) == 0x63C0 | self.left
        )

    @rule(holder=st.integers(0, 3), value=st.sampled_from([PIN, CHANGED]))
    def change(self, holder: int, value: bytes) -> None:
        """Who has verified the PIN may change it, unless another holder has blocked it since."""
        holder %= len(self.processes)
        status = self.send(holder, request.change_reference_data(jpki.AUTHENTICATION_PIN, value))
        if not self.verified[holder]:
            assert status == 0x6982
        elif not self.left:
            assert status == BLOCKED
        else:
            assert status == 0x9000
            self.pin, self.left = value, TRIES

    @precondition(lambda self: self.pin == PIN)
    @rule(calls=st.lists(CALLS, min_size=2, max_size=4))
    def at_once(self, calls: list[list[PinCall]]) -> None:
        """All send at the same time: some order of the commands must explain the replies and the counter."""
        calls = calls[: len(self.processes)]
        for process, wanted in zip(self.processes, calls, strict=False):
            process.send([call.command for call in wanted])
        history = [
            [PinExchange(*pair) for pair in zip(wanted, process.replies(), strict=True)]
            for process, wanted in zip(self.processes, calls, strict=False)
        ]
        left = self.store.pin(REFERENCE).tries_left
        assert left in possible_counters(history, self.left), [list(map(str, exchanges)) for exchanges in history]
        self.left = left
        for holder, exchanges in enumerate(history):
            for exchange in exchanges:
                if exchange.call is not PinCall.QUERY and exchange.reply.status != BLOCKED:
                    self.verified[holder] = exchange.reply.status == 0x9000

    @invariant()
    def the_image_agrees(self) -> None:
        state = self.store.pin(REFERENCE)
        assert (state.value, state.tries_left) == (self.pin, self.left)


@pytest.mark.parametrize("count", [2, 4])
def test_holders_share_one_counter(image: Path, count: int) -> None:
    HoldersOfOneImage.image, HoldersOfOneImage.copies = image, iter(range(1_000_000))
    HoldersOfOneImage.processes = [HolderProcess() for _ in range(count)]
    try:
        run_state_machine_as_test(
            HoldersOfOneImage,
            settings=settings(max_examples=12, stateful_step_count=12, suppress_health_check=list(HealthCheck)),
        )
    finally:
        for process in HoldersOfOneImage.processes:
            process.close()


def exchange(call: PinCall, status: int, begun: int, ended: int) -> PinExchange:
    return PinExchange(call, TimedReply(status, begun, ended))


WRONG, RIGHT, QUERY = PinCall.WRONG, PinCall.RIGHT, PinCall.QUERY


@pytest.mark.unit
@pytest.mark.parametrize(
    ("history", "left", "ends"),
    [
        # Two guesses at the same time for one try: one is compared, and the other is told that the PIN is blocked.
        ([[exchange(WRONG, 0x63C0, 0, 10)], [exchange(WRONG, BLOCKED, 0, 10)]], 1, {0}),
        ([[exchange(WRONG, 0x63C0, 0, 10)], [exchange(WRONG, 0x63C0, 0, 10)]], 1, set()),
        ([[exchange(WRONG, 0x63C1, 0, 10)], [exchange(WRONG, 0x63C1, 0, 10)]], 3, set()),
        # A PIN that one was told is blocked is not opened by another, not even at the same time.
        ([[exchange(RIGHT, 0x9000, 0, 10)], [exchange(WRONG, BLOCKED, 0, 10)]], 1, set()),
        ([[exchange(RIGHT, 0x9000, 0, 10)], [exchange(WRONG, 0x63C2, 0, 10)]], 1, {2}),
        # The right PIN resets the counter: a guess before it leaves 3, one after it 2.
        ([[exchange(RIGHT, 0x9000, 0, 10)], [exchange(WRONG, 0x63C2, 0, 10)]], 3, {2, 3}),
        ([[exchange(RIGHT, 0x9000, 0, 10)], [exchange(WRONG, 0x63C2, 11, 20)]], 3, {2}),
        # A query may see the try of a PIN that is being compared, but not before its command was sent.
        ([[exchange(RIGHT, 0x9000, 0, 10)], [exchange(QUERY, 0x63C2, 0, 10)]], 3, {3}),
        ([[exchange(RIGHT, 0x9000, 5, 10)], [exchange(QUERY, 0x63C2, 0, 4)]], 3, set()),
    ],
)  # fmt: skip
def test_a_history_fits_one_counter_or_it_does_not(history: list[list[PinExchange]], left: int, ends: set[int]) -> None:
    assert possible_counters(history, left) == ends
