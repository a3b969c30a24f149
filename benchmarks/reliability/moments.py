"""The moments at which a process makes something durable: a commit, a sync, a link or a rename.

Between two such moments nothing that matters changes on disk.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event


def before_each_moment(step: Callable[[], object]) -> None:
    """Call a function before each moment, for the rest of this process's life."""

    def before(function: Callable[..., Any]) -> Callable[..., Any]:
        def stepping(*arguments: Any, **named: Any) -> Any:
            step()
            return function(*arguments, **named)

        return stepping

    event.listen(sa.Engine, "commit", lambda _: step())
    os.fsync = before(os.fsync)
    os.link = before(os.link)
    Path.replace = before(Path.replace)  # type: ignore[method-assign]
