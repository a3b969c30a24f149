"""`kazashi demo`: the life of a card on a real reader, step by step, with the programs that people use."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from typing import Protocol

from kazashi.assembly.errors import StepFailed
from kazashi.assembly.institutions import Institutions
from kazashi.reader_bridge.host import ReaderHost
from kazashi.reader_bridge.pcscd import start_pcscd
from kazashi.tools.demo.steps import CARD_STEPS, FIRST_STEPS, DemoContext
from kazashi.web.templates import environment
from kazashi.world.clock import WorldClock, in_japan, today
from kazashi.world.home import open_world

_Step = tuple[str, Callable[[DemoContext], str]]

_START_HOUR = 10
"""The hour in Japan at which the demo's clock starts."""


@dataclass(frozen=True, slots=True)
class DemoStep:
    """The result of one step: its title, whether it succeeded, how many seconds it took, and a detail to show."""

    step: str
    ok: bool
    seconds: float
    detail: str

    def as_dict(self) -> dict[str, object]:
        """Return the step as a JSON object, for `--json`."""
        return asdict(self)


class Later(Protocol):
    """What the later steps need, while it is being installed."""

    def show_progress(self) -> None:
        """Show how far it is."""

    def finish(self) -> None:
        """Wait until it is installed."""


def run_demo(
    show: Callable[[DemoStep], None], later: Callable[[], Later] | None, *, vpcd: bool = False
) -> list[DemoStep]:
    """Run the steps, pass each to `show` when it is done, and stop at the first that fails. Nothing is left behind.

    `later` begins to install what the later steps need; it is called when the card has signed, and the card's other
    steps run meanwhile. Without it, there are no later steps. With `vpcd`, the reader is vpcd's; otherwise it is our
    driver's, and a failure if that cannot be built. Returns the steps that ran.
    """
    steps: list[DemoStep] = []
    with tempfile.TemporaryDirectory(prefix="kazashi-") as name, _prepared(Path(name), vpcd) as (first, context):
        for title, action in _actions(first, later):
            begun = time.perf_counter()
            try:
                detail, ok = action(context), True
            except (StepFailed, subprocess.TimeoutExpired) as error:
                detail, ok = str(error), False
            steps.append(DemoStep(title, ok, time.perf_counter() - begun, detail))
            show(steps[-1])
            if not ok:
                break
    return steps


def _actions(first: list[_Step], later: Callable[[], Later] | None) -> Iterator[_Step]:
    """Yield the steps. The later ones import packages that may only just have been installed."""
    yield from (*first, *FIRST_STEPS)
    begun = None if later is None else later()
    try:
        yield from CARD_STEPS
    except GeneratorExit:  # a step has failed
        if begun is not None:
            begun.show_progress()
        raise
    if begun is not None:
        begun.finish()
        from kazashi.tools.demo.later_steps import LATER_STEPS

        yield from LATER_STEPS


@contextmanager
def _prepared(directory: Path, vpcd: bool) -> Iterator[tuple[list[_Step], DemoContext]]:
    """Prepare the demo's own world, pcscd and empty reader. Yields the first step, which reports on that, and the
    context of the steps. Raises PcscdUnavailable."""
    world = open_world(directory / "world", seed="demo")
    # The clock starts in the morning: at night, the day's revocation lists would be issued between two steps. It starts
    # in the past, because openssl rejects a certificate that begins later than openssl's own clock.
    assert isinstance(world.clock, WorldClock)
    now, morning = world.clock.now(), in_japan(today(world.clock), _START_HOUR)
    world.clock.run(morning if morning <= now else morning - timedelta(days=1))
    begun = time.perf_counter()
    pcscd = start_pcscd(directory, ["Kazashi"], private=True, vpcd=vpcd)
    seconds = time.perf_counter() - begun
    host = ReaderHost(pcscd.endpoints)
    saved = dict(os.environ)
    os.environ.update(pcscd.client_environment())
    context = DemoContext(directory, Institutions(world), pcscd, host, directory / "none")

    def report(context: DemoContext) -> str:
        if context.pcscd.stand_in:
            raise StepFailed(f"the driver cannot be used: {context.pcscd.stand_in}; or use --vpcd")
        return f"started in {seconds * 1000:.0f} ms, with a reader of {'vpcd' if vpcd else 'our driver'}"

    try:
        yield [("pcscd", report)], context
    finally:
        for stop in reversed(context.ending):
            stop()
        if context.services is not None:
            context.services.stop()
        host.close()
        pcscd.stop()
        os.environ.clear()
        os.environ.update(saved)


def check_writable(report: Path) -> None:
    """Raise OSError if the report cannot be written, so that the demo does not find out at its end. Leaves no file
    behind that was not there."""
    existed = report.exists()
    report.open("ab").close()
    if not existed:
        report.unlink()


def write_report(steps: list[DemoStep], path: Path) -> None:
    """Write the steps to a file as one self-contained HTML page."""
    template = environment("kazashi.tools.demo").get_template("demonstration.html")
    path.write_text(template.render(steps=steps), encoding="utf-8")
