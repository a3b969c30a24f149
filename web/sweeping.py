"""Deletion of what has expired, while a server runs."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import Any

SWEEP_SECONDS = 60.0


def sweeping(
    *jobs: Callable[[], object], seconds: float = SWEEP_SECONDS
) -> Callable[[Any], AbstractAsyncContextManager[None]]:
    """Return a lifespan for an ASGI application that runs jobs at its start, and then every `seconds`.

    A job that fails, for example while the disk is full, is reported on stderr and tried again in the next round.
    """

    async def sweep() -> None:
        while True:
            for job in jobs:
                try:
                    await asyncio.to_thread(job)
                except Exception as error:
                    print(f"kazashi: expired entries could not be deleted: {error}", file=sys.stderr, flush=True)
            await asyncio.sleep(seconds)

    @asynccontextmanager
    async def lifespan(_: Any) -> AsyncIterator[None]:
        task = asyncio.create_task(sweep())
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    return lifespan
