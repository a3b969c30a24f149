"""What the tests of a relying party share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest


@pytest.fixture(scope="module")
def clients_are_closed() -> Iterator[None]:
    """Sources over HTTP keep their client for as long as they live, and cannot be closed."""
    opened: list[httpx.Client] = []

    class Client(httpx.Client):
        def __init__(self, **settings: Any) -> None:
            super().__init__(**settings)
            opened.append(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(httpx, "Client", Client)
        yield
    for client in opened:
        client.close()
