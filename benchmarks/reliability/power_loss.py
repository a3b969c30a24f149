"""Power loss in every durable command: whatever the disk has kept, all that was acknowledged is there.

A command runs once and is recorded. Each case cuts the power after an operation of the recording (half of them after
the first reply), builds the directory as a disk could then have it (`disk.py`), and checks it as after a kill. The same
cases with an fsync that does nothing must lose something; if they do not, the trial cannot see a loss.
"""

from __future__ import annotations

import shutil
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random

from benchmarks.reliability import kills, town
from benchmarks.reliability.disk import SECTORS, Recording, record, recorder
from benchmarks.reliability.durable import DurableCommand, Templates, chosen, in_memory
from benchmarks.reliability.fork import in_new_process
from benchmarks.reliability.repeat import repeating
from benchmarks.reliability.trial import FOREVER, Show, Trial
from kazashi.tools.program import run

COMMANDS = (*kills.COMMANDS, town.PIN)

SHARE = 0.15
"""The share of an hour's run."""
CUTS, WITHOUT_SYNC = 2000, 3 * len(COMMANDS)
"""The cuts in an hour's run, and those with an fsync that does nothing in any run."""
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
    """Cuts the power of commands in copies of templates. The process must have the recorder loaded."""

    def __init__(self, templates: Templates, commands: Sequence[DurableCommand], seed: int) -> None:
        self._templates, self._commands, self._seed = templates, commands, seed
        self._recordings: dict[str, Recording] = {}

    def cut(self, number: int, *, syncs: bool = True) -> Cut:
        """Cut the power of a command. The number and the seed decide of which, where, and what the disk has kept.

        Without `syncs`, fsync does nothing; the power then fails after the first reply, and the disk has kept nothing.
        """
        turn, which = divmod(number, len(self._commands))
        command = self._commands[which]
        if turn % _ROUNDS == 0 or command.name not in self._recordings:
            self._record(command)
        rng = Random(f"{self._seed} {number}")
        recording = self._recordings[command.name]
        replied = next(place for place, one in enumerate(recording.operations, 1) if one.what == "n")
        after = rng.randint(rng.choice((1, replied)) if syncs else replied, len(recording.operations))
        disk = recording.disk(after, syncs=syncs)
        kept = rng.choice((0.0, 0.0, rng.random(), rng.random(), 1.0)) if syncs else 0.0
        home = self._templates.directory / "home"
        disk.build(home, lambda: rng.random() < kept, rng.choice(SECTORS))
        lost = ""
        try:
            command.check(home, disk.notes)
        except Exception as error:  # a world that cannot be opened is lost too
            lost = f"{type(error).__name__}: {' '.join(str(error).split())}"
        shutil.rmtree(home)
        return Cut(number, command.name, after, len(recording.operations), len(disk.notes), lost)

    def _record(self, command: DurableCommand) -> None:
        top, whole = self._templates.directory / "recorded", self._templates.directory / "whole"
        recording = record(self._templates.of(command), top, lambda note: command.run(top, note))
        recording.disk().check(whole)
        self._recordings[command.name] = recording
        for directory in (top, whole):
            shutil.rmtree(directory)


def _cuts(seed: int, numbers: Sequence[int], names: Sequence[str] = (), syncs: bool = True) -> Iterator[Cut]:
    """Cut the power of the commands in turn (of these names, or all), once for each number."""
    with in_memory() as directory:
        cutter = PowerCutter(Templates(directory), chosen(COMMANDS, names), seed)
        for number in numbers:
            yield cutter.cut(number, syncs=syncs)


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


def losses(seed: int, numbers: Sequence[int], names: Sequence[str]) -> Iterator[str]:
    """Repeat cuts of these numbers, and yield a line for each loss."""
    with recorder() as library:
        for cut in in_new_process(_cuts, seed, numbers, names, preload=library):
            if cut.lost:
                yield f"cut {cut.number}, {cut.command} after operation {cut.after} of {cut.operations}: {cut.lost}"


def trials(minutes: float, seed: int, show: Show) -> Iterator[Trial]:
    """Cut the power for some minutes, and some more times with an fsync that does nothing."""
    with recorder() as library:
        for syncs, numbers in ((False, range(WITHOUT_SYNC)), (True, FOREVER)):
            begun = time.monotonic()
            show("recording commands for power losses")
            made: list[Cut] = []
            for cut in in_new_process(_cuts, seed, numbers, (), syncs, preload=library):
                made.append(cut)
                show(f"{len(made):,} power losses, {sum(bool(cut.lost) for cut in made)} with a loss")
                if syncs and time.monotonic() - begun > minutes * 60:
                    break
            yield summary(made, seed, round(CUTS * minutes / 60 / SHARE)) if syncs else summary_without_sync(made, seed)


if __name__ == "__main__":
    run(repeating(losses), "python -m benchmarks.reliability.power_loss")
