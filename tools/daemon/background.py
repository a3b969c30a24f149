"""Start an instance in the background, and wait for its start and its end.

This module does not import what the instance itself needs, so that the commands that use it are quick.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from tempfile import TemporaryFile

from kazashi.assembly.control_path import control_path
from kazashi.assembly.errors import AlreadyRunning
from kazashi.reader_bridge import control
from kazashi.reader_bridge.pcscd import PcscdUnavailable
from kazashi.tools.daemon.plan import InstancePlan
from kazashi.world.home import World
from kazashi.world.process_lock import ProcessLock

LOG = "instance.log"
_LOCK = "instance.lock"
_LOCK_VARIABLE = "KAZASHI_INSTANCE_LOCK"
"""The environment variable in which the process that starts an instance passes on the descriptor of its lock."""

_START_SECONDS = 60.0


def locked(world: World) -> ProcessLock:
    """Take the lock that a world's instance has from before its start until its end. Raises AlreadyRunning."""
    world.run.mkdir(mode=0o700, exist_ok=True)
    inherited = os.environ.pop(_LOCK_VARIABLE, None)
    if inherited is not None:
        return ProcessLock(world.run / _LOCK, int(inherited))
    lock = ProcessLock(world.run / _LOCK)
    if lock.acquire():
        try:
            control.request(control_path(world), "status")
        except control.NotRunning:
            return lock
        lock.release()  # an instance of a version without the lock
    raise AlreadyRunning(
        f"an instance is already running in {world.directory}; stop it with: kazashi down, or name another world with"
        " --world"
    )


def detach(world: World, plan: InstancePlan, lock: ProcessLock) -> control.Answer:
    """Run an instance with a plan in the background, and wait until it replies. Its output goes to a log in the world.

    The instance inherits the lock, which the caller has taken before it touched anything of the instance. Raises
    PcscdUnavailable with the last line of the log if the instance did not start.
    """
    log = world.run / LOG
    with log.open("wb") as output, TemporaryFile() as handed_over:
        handed_over.write(plan.to_json().encode())
        handed_over.seek(0)
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "kazashi.tools.daemon", str(world.directory)],
            stdin=handed_over,
            stdout=output,
            stderr=output,
            start_new_session=True,
            pass_fds=(lock.descriptor,),
            env={**os.environ, _LOCK_VARIABLE: str(lock.descriptor)},
        )
    lock.release()
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


def stop(world: World, seconds: float = 15.0) -> tuple[control.Answer, bool]:
    """Tell the instance of a world to stop. Return its reply, and whether it has ended within `seconds`.

    An instance that is starting is waited for. Raises NotRunning.
    """
    lock = ProcessLock(world.run / _LOCK)
    deadline = time.monotonic() + _START_SECONDS
    while True:
        try:
            reply = control.request(control_path(world), "down")
            return reply, lock.wait_until_free(seconds)
        except control.NotRunning:
            if lock.is_free() or time.monotonic() > deadline:
                raise
            time.sleep(0.02)
