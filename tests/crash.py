"""Kill a process at the n-th moment at which something becomes durable: a commit, a sync, a link or a rename.

Between two such moments nothing changes on disk, so killing at each of them in turn covers every point.
"""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import traceback
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path

from benchmarks.reliability.moments import before_each_moment
from kazashi.card import image


def killed_at(moment: int, action: Callable[[], object]) -> bool:
    """Run an action in a child process that gets SIGKILL at that moment (1, 2, ...).

    Returns False if the action ended before that moment. Raises AssertionError if the action fails by itself.
    """
    child = os.fork()
    if child == 0:
        try:
            arm(moment)
            action()
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return True
    assert os.waitstatus_to_exitcode(status) == 0, "the action failed by itself"
    return False


def left_at_each_moment(home: Path, action: Callable[[], object]) -> Iterator[Path]:
    """Run an action once, in a child process that copies a directory at each moment, and yield the copies; the last is
    of the end. Each is what SIGKILL at that moment would leave, without running the action again for each.

    A copy is deleted when the next one is wanted. Raises AssertionError if the action fails by itself.
    """
    moments = count(1)

    def copy() -> None:
        into = home.with_name(f"{home.name}-{next(moments)}")
        shutil.copytree(home, into, symlinks=True, copy_function=copy_existing)

    def copy_existing(source: str, target: str) -> None:
        with suppress(FileNotFoundError):  # another thread has just renamed or deleted it
            shutil.copy2(source, target)

    def copying() -> None:
        before_each_moment(copy)
        action()
        copy()
        os.kill(os.getpid(), signal.SIGKILL)  # nothing is tidied up

    assert killed_at(0, copying)
    for moment in count(1):
        left = home.with_name(f"{home.name}-{moment}")
        if not left.exists():
            break
        yield left
        shutil.rmtree(left)


def arm(moment: int) -> None:
    """Make this process kill itself at that moment (1, 2, ...)."""
    passed = 0

    def step() -> None:
        nonlocal passed
        passed += 1
        if passed == moment:
            os.kill(os.getpid(), signal.SIGKILL)

    before_each_moment(step)


def killed_before_statement(number: int, action: Callable[[], object]) -> bool:
    """Run an action in a child process that gets SIGKILL before its SQL statement with that number (1, 2, ...) on card
    images.

    Returns False if the action ended before that. Raises AssertionError if the action fails by itself.
    """

    def counted() -> None:
        passed, connect = 0, image._connect

        def step(_: str) -> None:
            nonlocal passed
            passed += 1
            if passed == number:
                os.kill(os.getpid(), signal.SIGKILL)

        def connected(path: Path, mode: str) -> sqlite3.Connection:
            database = connect(path, mode)
            database.set_trace_callback(step)
            return database

        image._connect = connected
        action()

    return killed_at(0, counted)
