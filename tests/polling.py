"""Waiting for the effects of another process or thread."""

from __future__ import annotations

import time
from collections.abc import Callable

LIMIT = 300.0
"""The timeout in seconds. It is generous, because a busy machine is not an error."""

_PAUSE = 0.01


def until(happens: Callable[[], object], what: str, every: float = _PAUSE) -> None:
    """Wait until a condition is true, which is tried again after `every` seconds. Raises AssertionError, which names
    `what` was expected, after LIMIT seconds."""
    deadline = time.monotonic() + LIMIT
    while not happens():
        assert time.monotonic() < deadline, f"not within {LIMIT:.0f} seconds: {what}"
        time.sleep(every)
