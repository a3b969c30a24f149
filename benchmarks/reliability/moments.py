"""The moments at which a process makes something durable: a commit, a file's sync, a link or a rename.

Between two such moments nothing that matters changes on disk. A directory's sync is left out: it changes nothing that a
killed process leaves. So is the end of a transaction that only reads.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event

from kazashi.world.storage import WRITES


def before_each_moment(step: Callable[[], object]) -> None:
    """Call a function before each moment, for the rest of this process's life."""

    def before(function: Callable[..., Any]) -> Callable[..., Any]:
        def stepping(*arguments: Any, **named: Any) -> Any:
            step()
            return function(*arguments, **named)

        return stepping

    def sync(fd: Any) -> None:
        if not stat.S_ISDIR(os.fstat(fd).st_mode):
            step()
        really_sync(fd)

    def commit(connection: sa.Connection) -> None:
        if connection.get_execution_options().get(WRITES, True):
            step()

    event.listen(sa.Engine, "commit", commit)
    really_sync, os.fsync = os.fsync, sync
    os.link = before(os.link)
    Path.replace = before(Path.replace)  # type: ignore[method-assign]
