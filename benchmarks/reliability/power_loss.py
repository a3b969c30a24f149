"""Power loss in every durable command: whatever the disk has kept, all that was acknowledged is there.

A command runs once and is recorded. Each case cuts the power after an operation of the recording (half of them after
the first reply), builds the directory as a disk could then have it (`disk.py`), and checks it as after a kill. The same
cases with an fsync that does nothing must lose something; if they do not, the trial cannot see a loss.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

from benchmarks.reliability import kills, town
from benchmarks.reliability.disk import SECTORS, Recording, compile_recorder, record
from benchmarks.reliability.durable import DurableCommand, in_memory
from benchmarks.reliability.fork import in_new_process
from benchmarks.reliability.trial import Show, Trial

COMMANDS = (*kills.COMMANDS, town.PIN)

SHARE = 0.15
"""The share of an hour's run. A tenth of it is for the fsync that does nothing."""
CUTS = 2000
"""The cuts in an hour's run."""
_ROUNDS = 50
"""How often a recording is cut before the command is recorded anew."""


@dataclass(frozen=True, slots=True)
class Cut:
    """A power loss: its number, the command, where it was cut, how many lines had been acknowledged, and what was lost
    (empty if nothing was)."""

    number: int
    command: str
    after: int
    operations: int
    acknowledged: int
    lost: str


class PowerCutter:
    """Cuts the power of commands in directories below one directory. The process must have the recorder loaded."""

    def __init__(self, directory: Path, commands: Sequence[DurableCommand], seed: int, *, syncs: bool) -> None:
        self._directory, self._commands, self._seed, self._syncs = directory, commands, seed, syncs
        self._templates: dict[Callable[[Path], object], Path] = {}
        self._recordings: dict[str, Recording] = {}

    def cut(self, number: int) -> Cut:
        """Cut the power of a command. The number and the seed decide of which, where, and what the disk has kept."""
        turn, which = divmod(number, len(self._commands))
        command = self._commands[which]
        if turn % _ROUNDS == 0 or command.name not in self._recordings:
            self._record(command)
        rng = Random(f"{self._seed} {number}")
        recording = self._recordings[command.name]
        replied = next(place for place, one in enumerate(recording.operations, 1) if one.what == "n")
        after = rng.randint(rng.choice((1, replied)), len(recording.operations))
        disk = recording.disk(after, syncs=self._syncs)
        kept = rng.choice((0.0, 0.0, rng.random(), rng.random(), 1.0))
        home = self._directory / "home"
        disk.build(home, lambda: rng.random() < kept, rng.choice(SECTORS))
        lost = ""
        try:
            command.check(home, disk.notes)
        except Exception as error:  # a world that cannot be opened is lost too
            lost = f"{type(error).__name__}: {' '.join(str(error).split())}"
        shutil.rmtree(home)
        return Cut(number, command.name, after, len(recording.operations), len(disk.notes), lost)

    def _record(self, command: DurableCommand) -> None:
        if command.prepare not in self._templates:
            self._templates[command.prepare] = self._directory / f"template-{len(self._templates)}"
            command.prepare(self._templates[command.prepare])
        top, whole = self._directory / "recorded", self._directory / "whole"
        recording = record(self._templates[command.prepare], top, lambda note: command.run(top, note))
        recording.disk().check(whole)
        self._recordings[command.name] = recording
        for directory in (top, whole):
            shutil.rmtree(directory)


def cut_in_turn(
    seed: int, numbers: Sequence[int], seconds: float, names: Sequence[str] = (), syncs: bool = True
) -> Iterator[Cut]:  # fmt: skip
    """Cut the power of the commands in turn (of these names, or all), until the time is over or there are no more
    numbers."""
    with in_memory() as directory:
        begun = time.monotonic()
        commands = [command for command in COMMANDS if not names or command.name in names]
        cutter = PowerCutter(directory, commands, seed, syncs=syncs)
        for number in numbers:
            if time.monotonic() - begun > seconds:
                return
            yield cutter.cut(number)


def cuts(
    seed: int, numbers: Sequence[int], seconds: float, names: Sequence[str] = (), syncs: bool = True
) -> Iterator[Cut]:  # fmt: skip
    """Cut the power as `cut_in_turn` does, in a new process with the recorder."""
    with tempfile.TemporaryDirectory(prefix="kazashi-recorder-") as name:
        yield from in_new_process(
            cut_in_turn, seed, numbers, seconds, names, syncs, preload=compile_recorder(Path(name))
        )  # fmt: skip


def summary(made: Sequence[Cut], seed: int, wanted: int) -> Trial:
    """The result of power losses, of which at least `wanted` were to be tried."""
    losses = [cut for cut in made if cut.lost]
    early = sum(cut.acknowledged == 0 for cut in made)
    operations = len({(cut.command, cut.after) for cut in made})
    detail = f"at {operations:,} different operations, {early:,} before the first reply; seed {seed}"
    if losses:
        first = losses[0]
        place = f"cut {first.number}, {first.command} after operation {first.after} of {first.operations}"
        detail += f"; the first loss is {place}: {first.lost}"
    goal = f">= {wanted:,} cuts, 0 lost"
    met = not losses and len(made) >= wanted
    return Trial("power loss", "cuts", len(made), len(made) - len(losses), len(losses), detail, goal, met)


def summary_without_sync(made: Sequence[Cut], seed: int) -> Trial:
    """The result of power losses with an fsync that does nothing: each command must have lost something."""
    lost, tried = Counter(cut.command for cut in made if cut.lost), {cut.command for cut in made}
    count = sum(lost.values())
    unnoticed = sorted(tried - lost.keys())
    detail = f"noticed in {len(tried) - len(unnoticed)} of {len(tried)} commands; seed {seed}"
    if unnoticed:
        detail += f"; not noticed in: {', '.join(unnoticed)}"
    name = "power loss, if fsync does nothing"
    goal = "a loss is noticed in each command"
    return Trial(name, "cuts", len(made), len(made) - count, count, detail, goal, bool(made) and not unnoticed)


def trials(minutes: float, seed: int, show: Show) -> Iterator[Trial]:
    """Cut the power for some minutes."""
    for syncs, share in ((True, 0.9), (False, 0.1)):
        show("recording commands for power losses")
        made: list[Cut] = []
        for cut in cuts(seed, range(1 << 30), minutes * 60 * share, syncs=syncs):
            made.append(cut)
            show(f"{len(made):,} power losses, {sum(bool(cut.lost) for cut in made)} with a loss")
        yield summary(made, seed, round(CUTS * minutes / 60 / SHARE)) if syncs else summary_without_sync(made, seed)
