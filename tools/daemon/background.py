"""Start an instance in the background, and wait for its start and its end.

This module does not import what the instance itself needs, so that the commands that use it are quick.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryFile

from kazashi.assembly.control_path import control_path
from kazashi.assembly.errors import AlreadyRunning
from kazashi.reader_bridge import control
from kazashi.reader_bridge.pcscd import PcscdUnavailable
from kazashi.tools.daemon.plan import InstancePlan
from kazashi.world.home import World

LOG = "instance.log"
_START_SECONDS = 60.0


def detach(world: World, plan: InstancePlan) -> control.Answer:
    """Run `kazashi up` with a plan in the background, and wait until it replies. Its output goes to a log in the world.

    Raises AlreadyRunning, and PcscdUnavailable with the last line of the log if the instance did not start.
    """
    refuse_a_second(world)
    world.run.mkdir(mode=0o700, exist_ok=True)
    log = world.run / LOG
    with log.open("wb") as output, TemporaryFile() as handed_over:
        handed_over.write(plan.to_json().encode())
        handed_over.seek(0)
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "kazashi", "--world", str(world.directory), "up", "--plan", "-"],
            stdin=handed_over,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    deadline = time.monotonic() + _START_SECONDS
    while True:
        try:
            return control.request(control_path(world), "status")
        except control.NotRunning:
            if process.poll() is not None or time.monotonic() > deadline:
                process.kill()
                lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines() or ["no output"]
                raise PcscdUnavailable(f"the instance did not start: {lines[-1]} (full output in {log})") from None
            time.sleep(0.02)


def refuse_a_second(world: World) -> None:
    """Raise AlreadyRunning if an instance is running in the world."""
    try:
        control.request(control_path(world), "status")
    except control.NotRunning:
        return
    raise AlreadyRunning(
        f"an instance is already running in {world.directory}; stop it with: kazashi down, or name another world with"
        " --world"
    )


def wait_until_ended(world: World, pid: int, seconds: float = 10.0) -> bool:
    """Wait until the process of an instance that was told to stop is gone. Returns False if it is still there after
    `seconds`."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        if _is_zombie(pid):  # stays in the process table of a container whose first process reaps no children
            return True
        time.sleep(0.02)
    return False


def _is_zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True
