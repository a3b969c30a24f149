"""`kazashi demo`: the whole story on a real reader, told step by step with the programs that people use."""

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

from kazashi.assembly.errors import StepFailed
from kazashi.assembly.institutions import Institutions
from kazashi.reader_bridge.host import ReaderHost
from kazashi.reader_bridge.pcscd import start_pcscd
from kazashi.tools.demo.steps import STORY, DemoContext
from kazashi.tools.demo.steps_login import IN_THE_BROWSER
from kazashi.tools.demo.steps_network import AT_THE_OFFICE
from kazashi.tools.demo.steps_points import AT_THE_SHOP
from kazashi.tools.demo.steps_tracking import IN_THE_LABORATORY
from kazashi.web.templates import environment
from kazashi.world.clock import WorldClock, in_japan, today
from kazashi.world.home import open_world

_BEGINS = 10
"""The hour in Japan at which the story begins."""


@dataclass(frozen=True, slots=True)
class DemoStep:
    """One step: what it was, whether it went as it should, how long it took, and what there is to say of it."""

    step: str
    ok: bool
    seconds: float
    detail: str

    def as_dict(self) -> dict[str, object]:
        """The step for `--json`."""
        return asdict(self)


def run_demo(tell: Callable[[DemoStep], None]) -> list[DemoStep]:
    """Run every step, tell of each when it is done, and stop at the first that fails. Nothing is left behind."""
    steps: list[DemoStep] = []
    with tempfile.TemporaryDirectory(prefix="kazashi-") as name, _stage(Path(name)) as (prepared, stage):
        for title, action in [*prepared, *STORY, *IN_THE_BROWSER, *AT_THE_SHOP, *AT_THE_OFFICE, *IN_THE_LABORATORY]:
            begun = time.perf_counter()
            try:
                detail, ok = action(stage), True
            except (StepFailed, subprocess.TimeoutExpired) as error:
                detail, ok = str(error), False
            steps.append(DemoStep(title, ok, time.perf_counter() - begun, detail))
            tell(steps[-1])
            if not ok:
                break
    return steps


@contextmanager
def _stage(directory: Path) -> Iterator[tuple[list[tuple[str, Callable[[DemoContext], str]]], DemoContext]]:
    """A world, a pcscd and an empty reader of the demonstration's own. Raises PcscdUnavailable."""
    world = open_world(directory / "world", seed="demo")
    # At night the day's lists come between two steps, and the story would be another one. It begins in the past,
    # because openssl takes a certificate that begins later than its own clock for none.
    assert isinstance(world.clock, WorldClock)
    now, morning = world.clock.now(), in_japan(today(world.clock), _BEGINS)
    world.clock.run(morning if morning <= now else morning - timedelta(days=1))
    begun = time.perf_counter()
    pcscd = start_pcscd(directory, ["Kazashi"], private=True)
    seconds = time.perf_counter() - begun
    host = ReaderHost(pcscd.endpoints)
    environment = dict(os.environ)
    os.environ.update(pcscd.client_environment())
    stage = DemoContext(directory, Institutions(world), pcscd, host, directory / "none")
    try:
        yield [("pcscd", lambda _: f"a real one, started in {seconds * 1000:.0f} ms with a virtual reader")], stage
    finally:
        for end in reversed(stage.ending):
            end()
        if stage.services is not None:
            stage.services.stop()
        host.close()
        pcscd.stop()
        os.environ.clear()
        os.environ.update(environment)


def write_report(steps: list[DemoStep], path: Path) -> None:
    """The steps as one self-contained page."""
    template = environment("kazashi.tools.demo").get_template("demonstration.html")
    path.write_text(template.render(steps=steps), encoding="utf-8")
