"""Pools of processes that end with the process that started them, even if it is killed."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context, parent_process
from multiprocessing.process import BaseProcess


def process_pool(processes: int) -> ProcessPoolExecutor:
    """A pool of new processes. If this process ends before the pool, a task in it ends with SystemExit, so that what it
    has opened is closed and its temporary files are removed."""
    # A fork would copy the locks of other threads.
    return ProcessPoolExecutor(processes, get_context("spawn"), _end_with_parent)


def _end_with_parent() -> None:
    parent = parent_process()
    assert parent is not None
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    threading.Thread(target=_wait, args=(parent,), daemon=True).start()


def _wait(parent: BaseProcess) -> None:
    parent.join()
    # The first signal ends the task, whose exception the pool keeps; the next one ends the wait for another task.
    while True:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(1)
