"""The route /health: which part of a server does not respond."""

from __future__ import annotations

import asyncio
from threading import Event

import httpx
import pytest
from starlette.applications import Starlette

from kazashi.web import health
from kazashi.web.health import Health

pytestmark = pytest.mark.unit


def fails() -> None:
    raise OSError("the disk is gone")


def test_requests_at_the_same_time_get_the_same_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "SLOW_SECONDS", 0.2)
    begun, goes_on = 0, Event()

    def slow() -> None:
        nonlocal begun
        begun += 1
        goes_on.wait(30)

    application = Starlette(routes=[Health({"slow": slow, "good": lambda: None, "bad": fails}).route()])

    async def ask(count: int) -> list[httpx.Response]:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(application), base_url="http://here") as client:
            first = await asyncio.gather(*(client.get("/health") for _ in range(count)))
            goes_on.set()
            while (last := await client.get("/health")).json()["parts"]["slow"]["state"] != "ok":
                await asyncio.sleep(0)
            return [*first, last]

    *first, last = asyncio.run(ask(20))
    for response in first:
        assert response.status_code == 503
        parts = response.json()["parts"]
        assert {name: part["state"] for name, part in parts.items()} == {"slow": "slow", "good": "ok", "bad": "failed"}
        assert parts["bad"]["message"] == "the disk is gone"
    assert begun <= 2, "a part that is slow is not probed by every request"
    assert last.status_code == 503
