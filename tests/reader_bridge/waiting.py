"""Waiting for a condition, with a limit so generous that a busy machine does not reach it."""

from __future__ import annotations

import time
from collections.abc import Callable

LIMIT = 60.0


def until(happens: Callable[[], bool], what: str) -> None:
    """Wait until something is so. Raises AssertionError with `what` after LIMIT seconds."""
    deadline = time.monotonic() + LIMIT
    while not happens():
        assert time.monotonic() < deadline, what
        time.sleep(0.01)
