"""Waiting for what another process or thread brings about."""

from __future__ import annotations

import time
from collections.abc import Callable

LIMIT = 300.0
"""Seconds after which nothing is expected any more. It is generous: a busy machine is not an error."""

_PAUSE = 0.01


def until(happens: Callable[[], object], what: str) -> None:
    """Wait until something is true. Raises AssertionError, with `what` was waited for, after LIMIT seconds."""
    deadline = time.monotonic() + LIMIT
    while not happens():
        assert time.monotonic() < deadline, f"not within {LIMIT:.0f} seconds: {what}"
        time.sleep(_PAUSE)
