"""Kill -9 of every durable command: a new process then finds all that was acknowledged, and nothing half there.

A round copies a directory, forks a process that runs the command, and kills it. First the part of the command that the
kill is to fall into is drawn, then an instant within it: between the first write and the reply, that is a moment at
which something becomes durable, and a time after it. Where the kill fell is what the process had reported by then.
"""

from __future__ import annotations

import os
import select
import shutil
import signal
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import pairwise
from pathlib import Path
from random import Random

from benchmarks.reliability import shops, town
from benchmarks.reliability.durable import DurableCommand, Templates, chosen, in_memory
from benchmarks.reliability.fork import ForkFailed, end_with, in_new_process, run_forked
from benchmarks.reliability.moments import before_each_moment
from benchmarks.reliability.repeat import repeating
from benchmarks.reliability.trial import FOREVER, Show, Trial
from kazashi.tools.program import run

COMMANDS = (town.EVENT, town.ISSUE, town.RENEW, town.LISTS, town.CLOCK, town.MYKEY, town.WORLD, shops.TILL,
            shops.CENTRE, shops.EXCHANGE)  # fmt: skip

SHARE = 0.2
"""The share of an hour's run."""
KILLS, BETWEEN = 2000, 0.3
"""The kills in an hour's run, and the share that must fall between the first write and the reply."""

_MOMENT, _REPLIED = "moment", "replied"
_TIMEOUT = 60.0


class KillPhase(Enum):
    """The part of a command that a kill falls into."""

    BEFORE = "before the first write"
    BETWEEN = "between it and the reply"
    AFTER = "after the reply"


_WEIGHTS = {KillPhase.BEFORE: 2, KillPhase.BETWEEN: 6, KillPhase.AFTER: 2}


@dataclass(slots=True)
class _Course:
    """The course of a command that is not killed: the seconds from the fork to the first write, and those from each
    moment at which it makes something durable to the next one or to the reply."""

    first: float
    gaps: list[float]


@dataclass(frozen=True, slots=True)
class Kill:
    """A kill: the number of its round, the command, where it fell, and what was lost (empty if nothing was)."""

    number: int
    command: str
    part: KillPhase
    lost: str


class Killer:
    """Kills commands in copies of templates."""

    def __init__(self, templates: Templates, commands: Sequence[DurableCommand], seed: int) -> None:
        """Run every command once, so that a fork finds everything loaded, and measure it."""
        self._templates, self._commands, self._seed = templates, commands, seed
        self._courses: dict[str, _Course] = {}
        for command in commands:
            home = self._copy(command)
            command.run(home, lambda _: None)
            shutil.rmtree(home)
            self._courses[command.name] = self._course(command)

    def kill(self, number: int) -> Kill:
        """Kill a command. The number of the round and the seed decide which, and when."""
        command = self._commands[number % len(self._commands)]
        rng = Random(f"{self._seed} {number}")
        (part,) = rng.choices(list(_WEIGHTS), list(_WEIGHTS.values()))
        place, course = rng.random(), self._courses[command.name]
        home = self._copy(command)
        process = _Process(command, home)
        match part:
            case KillPhase.BEFORE:
                time.sleep(place * course.first)
            case KillPhase.BETWEEN:
                moment = rng.randrange(len(course.gaps))
                process.wait_for(_MOMENT, moment + 1)
                time.sleep(place * course.gaps[moment])
            case KillPhase.AFTER:
                process.wait_for(_REPLIED)
                time.sleep(place * course.gaps[-1])
        lines = process.kill()
        fell = KillPhase.AFTER if _REPLIED in lines else KillPhase.BETWEEN if _MOMENT in lines else KillPhase.BEFORE
        if part is KillPhase.BEFORE:  # the machine may be quicker than when it was measured, or slower
            course.first *= 1.05 if fell is part else 0.8
        acknowledged = [line for line in lines if line not in (_MOMENT, _REPLIED)]
        lost = ""
        try:
            run_forked(lambda: command.check(home, acknowledged))
        except ForkFailed as error:
            lost = str(error).strip().splitlines()[-1]
        shutil.rmtree(home)
        return Kill(number, command.name, fell, lost)

    def _copy(self, command: DurableCommand) -> Path:
        return Path(shutil.copytree(self._templates.of(command), self._templates.directory / "home"))

    def _course(self, command: DurableCommand) -> _Course:
        """Run a command to its reply."""
        home = self._copy(command)
        times = [time.monotonic()]
        process = _Process(command, home)
        while process.wait_for(_MOMENT, len(times)):
            times.append(time.monotonic())
        times.append(time.monotonic())
        process.kill()
        shutil.rmtree(home)
        first, *gaps = (end - begin for begin, end in pairwise(times))
        return _Course(first, gaps)


class _Process:
    """A forked process that runs a command, reports what it has reached, and then waits to be killed."""

    def __init__(self, command: DurableCommand, home: Path) -> None:
        self._pipe, write = os.pipe()
        self._text = ""
        self._child = os.fork()
        if self._child == 0:
            os.close(self._pipe)
            end_with(lambda: self._run(command, home, write), write)
        os.close(write)

    @staticmethod
    def _run(command: DurableCommand, home: Path, write: int) -> None:
        def report(line: str) -> None:
            os.write(write, f"{line}\n".encode())

        before_each_moment(lambda: os.write(write, f"{_MOMENT}\n".encode()))
        command.run(home, report)
        report(_REPLIED)
        while True:
            signal.pause()

    def wait_for(self, line: str, count: int = 1) -> bool:
        """Wait until the process has reported a line `count` times, or has replied before. Returns whether it has.

        Raises ForkFailed if it ends before, or after a minute.
        """
        until = time.monotonic() + _TIMEOUT
        while (lines := self._text.splitlines()).count(line) < count:
            if _REPLIED in lines:
                return False
            ready, _, _ = select.select([self._pipe], [], [], max(0, until - time.monotonic()))
            if not ready or not self._read():
                os.kill(self._child, signal.SIGKILL)
                os.waitpid(self._child, 0)
                os.close(self._pipe)
                raise ForkFailed(f"the command did not reach its {line}: {self._text}")
        return True

    def kill(self) -> list[str]:
        """Kill the process, and return the lines that it reported. Raises ForkFailed if it had ended by itself."""
        os.kill(self._child, signal.SIGKILL)
        _, status = os.waitpid(self._child, 0)
        while self._read():
            pass
        os.close(self._pipe)
        if not os.WIFSIGNALED(status):
            raise ForkFailed(f"the command failed before it was killed: {self._text}")
        return self._text.splitlines()

    def _read(self) -> bool:
        more = os.read(self._pipe, 65536).decode()
        self._text += more
        return bool(more)


def _kills(seed: int, numbers: Sequence[int], names: Sequence[str] = ()) -> Iterator[Kill]:
    """Kill the commands in turn (of these names, or all), once for each number."""
    with in_memory() as directory:
        yield from map(Killer(Templates(directory), chosen(COMMANDS, names), seed).kill, numbers)


def summary(kills: Sequence[Kill], seed: int, seconds: float, wanted: int) -> Trial:
    """The result of some kills, of which at least `wanted` were to be made."""
    parts = Counter(kill.part for kill in kills)
    losses = [kill for kill in kills if kill.lost]
    share = parts[KillPhase.BETWEEN] / max(1, len(kills))
    spread = ", ".join(f"{parts[part]:,} {part.value}" for part in KillPhase)
    detail = f"{spread} ({share:.0%}); {len(kills) / max(seconds, 1) * 60:,.0f} a minute; seed {seed}"
    if losses:
        first = losses[0]
        detail += f"; the first loss is kill {first.number}, {first.command}: {first.lost}"
    goal = f">= {wanted:,} kills, >= {BETWEEN:.0%} between, 0 lost"
    return Trial(
        "kill -9 of every durable command", "kills", len(kills), len(kills) - len(losses), len(losses), detail, goal,
        not losses and len(kills) >= wanted and share >= BETWEEN,
    )  # fmt: skip


def losses(seed: int, numbers: Sequence[int], names: Sequence[str]) -> Iterator[str]:
    """Repeat rounds of these numbers, and yield a line for each loss. The instant of a kill is not exactly the same."""
    for kill in in_new_process(_kills, seed, numbers, names):
        if kill.lost:
            yield f"kill {kill.number}, {kill.command}, {kill.part.value}: {kill.lost}"


def trials(minutes: float, seed: int, show: Show) -> Iterator[Trial]:
    """Kill commands for some minutes."""
    kills: list[Kill] = []
    begun = time.monotonic()
    show("preparing worlds for kills")
    for kill in in_new_process(_kills, seed, FOREVER):
        kills.append(kill)
        show(f"{len(kills):,} kills, {sum(bool(kill.lost) for kill in kills)} lost")
        if time.monotonic() - begun > minutes * 60:
            break
    yield summary(kills, seed, time.monotonic() - begun, round(KILLS * minutes / 60 / SHARE))


if __name__ == "__main__":
    run(repeating(losses), "python -m benchmarks.reliability.kills")
