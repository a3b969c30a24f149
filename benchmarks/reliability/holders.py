"""Several processes on one card image: what each was told must fit one retry counter that one used at a time."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from random import Random
from typing import NamedTuple

from benchmarks.bench_worlds import new_world
from benchmarks.reliability.durable import in_memory
from benchmarks.reliability.fork import in_new_process
from benchmarks.reliability.repeat import repeating
from benchmarks.reliability.trial import Show, Trial
from kazashi.applets import jpki
from kazashi.applets.install import load_card
from kazashi.assembly.institutions import Institutions
from kazashi.card import request
from kazashi.card.chip import Chip
from kazashi.card.status_word import Status
from kazashi.tools.program import run
from kazashi.world.key_source import SharedKeySource, generate

ROUNDS = 2_000
"""The number of rounds in a full run."""

SHARE = 0.05
"""The share of a full run's time."""

TRIES = 3
PIN = b"1234"
_WRONG = b"0000"
_MOST = 4
"""The most processes of a round, and the most commands of each."""

_AHEAD_NS = 500_000
"""The nanoseconds between the request to begin and the common begin, so that all processes have got it."""


class PinCall(Enum):
    """A command that a holder sends: VERIFY with the right or a wrong PIN, or the empty VERIFY."""

    RIGHT = "right"
    WRONG = "wrong"
    QUERY = "query"

    @property
    def command(self) -> bytes:
        """The command APDU."""
        match self:
            case PinCall.RIGHT:
                return request.verify(jpki.AUTHENTICATION_PIN, PIN)
            case PinCall.WRONG:
                return request.verify(jpki.AUTHENTICATION_PIN, _WRONG)
        return request.tries_left(jpki.AUTHENTICATION_PIN)


_KINDS = ((), (PinCall.RIGHT,), (PinCall.QUERY,), (PinCall.RIGHT, PinCall.QUERY))
"""What the holders of a round may send beside VERIFY with a wrong PIN."""


class TimedReply(NamedTuple):
    """A status word, and when its command was sent and its reply was there, in nanoseconds of the monotonic clock."""

    status: int
    begun: int
    ended: int


@dataclass(frozen=True, slots=True)
class PinExchange:
    """A command of one holder and its reply."""

    call: PinCall
    reply: TimedReply

    def __str__(self) -> str:
        return f"{self.call.value} {self.reply.status:04X} ({self.reply.begun % 10**9:,}-{self.reply.ended % 10**9:,})"


class HolderProcess:
    """A process of its own that holds a card image and sends commands to the card."""

    def __init__(self) -> None:
        context = get_context("fork")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_hold, args=(theirs, os.getpid()), daemon=True)
        self._process.start()
        theirs.close()

    def open(self, image: Path) -> None:
        """Load the card from an image, power it on, and select the JPKI application."""
        self._pipe.send(image)
        self._pipe.recv()

    def send(self, commands: Sequence[bytes], at: int = 0) -> None:
        """Let the process send commands from the time `at` on, in nanoseconds of the monotonic clock."""
        self._pipe.send((at, commands))

    def replies(self) -> list[TimedReply]:
        """Wait for the replies to the commands of the last `send`."""
        replies: list[TimedReply] = self._pipe.recv()
        return replies

    def close(self) -> None:
        """End the process."""
        self._pipe.send(None)
        self._process.join()
        self._pipe.close()


def _hold(pipe: Connection, parent: int) -> None:
    chip: Chip | None = None
    while True:
        # Processes forked later have this pipe open too, so that its end does not tell that the parent is gone.
        while not pipe.poll(1):
            if os.getppid() != parent:
                return
        message = pipe.recv()
        if message is None:
            return
        if isinstance(message, Path):
            chip = Chip(load_card(message))
            chip.power_on()
            pipe.send(chip.transmit(request.select(jpki.AID)))
            continue
        at, commands = message
        assert chip is not None
        time.sleep(max(0, at - time.monotonic_ns()) / 1e9)  # the common begin; a loop would keep the others waiting
        replies = []
        for command in commands:
            begun = time.monotonic_ns()
            status = int.from_bytes(chip.transmit(command)[-2:])
            replies.append(TimedReply(status, begun, time.monotonic_ns()))
        pipe.send(replies)


def possible_counters(history: Sequence[Sequence[PinExchange]], left: int) -> set[int]:
    """Return the retry counters in which a history can end; none if no order of its commands explains the replies.

    `history` has the exchanges of each holder, and `left` is the counter at the beginning. A command takes place
    between its sending and its reply. VERIFY spends a try, compares, and if the PIN is right resets the counter; no
    other VERIFY comes between, but the empty VERIFY may see the counter while a PIN is compared.
    """
    begin = ((0,) * len(history), -1, left)
    ends, seen, todo = set(), {begin}, [begin]
    while todo:
        done, inside, counter = todo.pop()
        pending = [exchanges[place] for exchanges, place in zip(history, done, strict=True) if place < len(exchanges)]
        if not pending:
            ends.add(counter)
        first_end = min((exchange.reply.ended for exchange in pending), default=0)
        for holder, exchanges in enumerate(history):
            if done[holder] == len(exchanges):
                continue
            exchange = exchanges[done[holder]]
            if holder != inside and exchange.reply.begun > first_end:
                continue  # another command had its reply before this one was sent
            for after in _steps(exchange, holder, inside, counter):
                finished, now_inside, now = after
                state = ((*done[:holder], done[holder] + finished, *done[holder + 1 :]), now_inside, now)
                if state not in seen:
                    seen.add(state)
                    todo.append(state)
    return ends


def _steps(exchange: PinExchange, holder: int, inside: int, counter: int) -> Iterator[tuple[bool, int, int]]:
    """What a holder may do next: whether its command is then finished, who is then inside VERIFY, and the counter."""
    status = exchange.reply.status
    if exchange.call is PinCall.QUERY:
        if status == 0x63C0 | counter:
            yield True, inside, counter
    elif inside == holder:  # the try is spent; now the comparison
        if exchange.call is PinCall.RIGHT and status == Status.SUCCESS:
            yield True, -1, TRIES
        if exchange.call is PinCall.WRONG and status == 0x63C0 | counter:
            yield True, -1, counter
    elif inside < 0:
        if counter:
            yield False, holder, counter - 1
        elif status == Status.PIN_BLOCKED:
            yield True, -1, counter


@dataclass(frozen=True, slots=True)
class HolderRound:
    """A round: its history, the counter before and after, and what is wrong with it, which is empty if nothing is."""

    history: Sequence[Sequence[PinExchange]]
    left: int
    end: int
    trouble: str = ""

    @property
    def only_wrong(self) -> bool:
        """Whether nobody offered the right PIN, so that no try came back."""
        return all(exchange.call is not PinCall.RIGHT for exchanges in self.history for exchange in exchanges)

    @property
    def compared(self) -> int:
        """The number of comparisons: replies to VERIFY other than that the PIN is blocked."""
        return sum(exchange.call is not PinCall.QUERY and exchange.reply.status != Status.PIN_BLOCKED
                   for exchanges in self.history for exchange in exchanges)  # fmt: skip


class ImageHolders:
    """Processes that hold one image, and rounds of commands that they send at the same time."""

    def __init__(self, image: Path, seed: int) -> None:
        self._rng = Random(seed)
        self._holders = [HolderProcess() for _ in range(_MOST)]
        for holder in self._holders:
            holder.open(image)
        self._image = sqlite3.connect(image, isolation_level=None)

    def round(self) -> HolderRound:
        """Let two or four processes send commands at the same time, beginning with one to three tries left."""
        rng = self._rng
        last_try = rng.random() < 0.5  # what one is told then depends on all others
        left = 1 if last_try else rng.randint(1, TRIES)
        self._set_counter(left)
        kinds = [PinCall.WRONG, *(_KINDS[1] if last_try else rng.choice(_KINDS))]
        holders = self._holders[: rng.choice((2, 4))]
        calls = [rng.choices(kinds, k=rng.randint(1, 2 if last_try else _MOST)) for _ in holders]
        at = time.monotonic_ns() + _AHEAD_NS
        for holder, wanted in zip(holders, calls, strict=True):
            holder.send([call.command for call in wanted], at)
        history = [
            [PinExchange(*pair) for pair in zip(wanted, holder.replies(), strict=True)]
            for holder, wanted in zip(holders, calls, strict=True)
        ]
        end = self._counter()
        return HolderRound(history, left, end, _trouble(history, left, end))

    def close(self) -> None:
        """End all processes."""
        self._image.close()
        for holder in self._holders:
            holder.close()

    def _set_counter(self, left: int) -> None:
        sql = "UPDATE pin SET tries_left = ? WHERE aid = ? AND fid = ?"
        self._image.execute(sql, (left, bytes(jpki.AID), jpki.AUTHENTICATION_PIN))

    def _counter(self) -> int:
        sql = "SELECT tries_left FROM pin WHERE aid = ? AND fid = ?"
        return int(self._image.execute(sql, (bytes(jpki.AID), jpki.AUTHENTICATION_PIN)).fetchone()[0])


def _trouble(history: Sequence[Sequence[PinExchange]], left: int, end: int) -> str:
    ends = possible_counters(history, left)
    if end in ends:
        return ""
    told = "; ".join(", ".join(map(str, exchanges)) for exchanges in history)
    return (
        f"{left} tries left, then {told}; the counter is {end}, and one counter for all gives {sorted(ends) or 'none'}"
    )


def rounds(seed: int, count: int, seconds: float) -> Generator[HolderRound, None, None]:
    """Play rounds on a new card, for at most `seconds`."""
    with in_memory() as directory:
        institutions = Institutions(new_world(directory / "world", SharedKeySource([generate() for _ in range(6)])))
        image = institutions.issue_card("hanako", "hanako")
        institutions.world.close()
        holders = ImageHolders(image, seed)
        until = time.monotonic() + seconds
        try:
            for _ in range(count):
                if time.monotonic() > until:
                    return
                yield holders.round()
        finally:
            holders.close()


def losses(seed: int, numbers: Sequence[int], _: Sequence[str]) -> Iterator[str]:
    """Play rounds, the last of which has the last number. Yields a line for each that one counter does not explain.

    When which command runs is left to the processors, so that equal seeds only have equal commands.
    """
    for one in rounds(seed, max(numbers) + 1, float("inf")):
        if one.trouble:
            yield one.trouble


def trials(minutes: float, seed: int, show: Show) -> Iterator[Trial]:
    """Play rounds with the processes of one image."""
    wanted = round(ROUNDS * minutes / 60 / SHARE)
    played: list[HolderRound] = []
    show("issuing a card for several holders")
    for one in in_new_process(rounds, seed, wanted, minutes * 60):
        played.append(one)
        show(f"holders of one image: {len(played):,} rounds, {sum(bool(each.trouble) for each in played)} wrong")
    yield summary(played, seed, wanted)


def summary(played: Sequence[HolderRound], seed: int, wanted: int) -> Trial:
    """The result of rounds, of which `wanted` were to be played."""
    wrong = [one for one in played if one.trouble]
    guesses = [one for one in played if one.only_wrong]
    four = sum(len(one.history) == _MOST for one in played)
    detail = (
        f"{len(played) - four:,} with two and {four:,} with four processes, seed {seed};"
        f" {sum(one.compared for one in played):,} comparisons; in the {len(guesses):,} rounds of wrong PINs only,"
        f" {sum(one.compared for one in guesses):,} for {sum(one.left for one in guesses):,} tries"
    )
    if wrong:
        detail += f"; {wrong[0].trouble}"
    return Trial("holders of one image", "rounds", len(played), len(played) - len(wrong), len(wrong), detail,
                 f">= {wanted:,}, 0 lost", len(played) >= wanted and not wrong)  # fmt: skip


if __name__ == "__main__":
    run(repeating(losses), "python -m benchmarks.reliability.holders")
