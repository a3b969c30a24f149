"""Fixtures for other people's tests. They are there wherever Kazashi is installed beside pytest.

    @pytest.mark.kazashi(resident="taro", faults="faults: [{slow: 1 s}]", contactless=True, today=date(2027, 4, 1))
    def test_mine(kazashi_reader): ...

`kazashi_card` is a card, `kazashi_connection` a connection to it in this process, `kazashi_reader` a real PC/SC
reader with the card in it. All of the mark's words may be left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest

_MARK = "kazashi"
_KNOWN = {"resident", "pin", "password", "atr", "contactless", "faults", "today"}


def pytest_configure(config: pytest.Config) -> None:
    """Make the mark known, for those who run with --strict-markers."""
    config.addinivalue_line(
        "markers", f"{_MARK}({', '.join(sorted(_KNOWN))}): which card lies in the test's reader, and how"
    )


def _asked(request: pytest.FixtureRequest) -> dict[str, Any]:
    """What the mark asks for; of several marks the nearest one's words."""
    found: dict[str, Any] = {}
    for mark in reversed(list(request.node.iter_markers(_MARK))):
        if mark.args or mark.kwargs.keys() - _KNOWN:
            raise pytest.UsageError(f"the mark {_MARK} takes {', '.join(sorted(_KNOWN))}, each by its name")
        found |= mark.kwargs
    return found


@pytest.fixture(scope="session")
def kazashi_benches(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A workbench for each day that tests ask for; the readers' pcscd belongs to the first."""
    from kazashi.tools.testing.workbench import Workbench

    benches: dict[date | None, Workbench] = {}

    def of(today: date | None) -> Workbench:
        if today not in benches:
            benches[today] = Workbench(Path(tmp_path_factory.mktemp("kazashi")), today=today)
        return benches[today]

    yield of
    for bench in benches.values():
        bench.close()


@pytest.fixture
def kazashi_bench(request: pytest.FixtureRequest, kazashi_benches: Any) -> Any:
    """The world of the test: a kazashi.tools.testing.workbench.Workbench, shared by all tests of the same day."""
    return kazashi_benches(_asked(request).get("today"))


@pytest.fixture
def kazashi_card(request: pytest.FixtureRequest, kazashi_bench: Any) -> Any:
    """A new card (a kazashi.tools.testing.workbench.TestCard): hanako's, unless the mark names another resident."""
    asked = _asked(request)
    return kazashi_bench.card(**{name: asked[name] for name in ("resident", "pin", "password", "atr") if name in asked})


@pytest.fixture
def kazashi_connection(request: pytest.FixtureRequest, kazashi_bench: Any, kazashi_card: Any) -> Iterator[Any]:
    """A connected smartcard.CardConnection to the card, in this process, without pcscd."""
    asked = _asked(request)
    with kazashi_bench.in_process(
        kazashi_card, contactless=asked.get("contactless", False), faults=asked.get("faults")
    ) as reader:
        connection = reader.createConnection()
        connection.connect()
        yield connection
        connection.disconnect()


@pytest.fixture(scope="session")
def kazashi_slot(kazashi_benches: Any) -> Iterator[Any]:
    """An empty slot of a real PC/SC reader, on a pcscd that this test process alone talks to."""
    import os

    with kazashi_benches(None).reader() as reader:
        os.environ.update(reader.environment)
        yield reader


@pytest.fixture
def kazashi_reader(request: pytest.FixtureRequest, kazashi_slot: Any, kazashi_card: Any) -> Iterator[Any]:
    """A real PC/SC reader (a kazashi.tools.testing.workbench.TestReader) with the card in it, seen by pcscd."""
    asked = _asked(request)
    kazashi_slot.insert(kazashi_card, contactless=asked.get("contactless", False), faults=asked.get("faults"))
    yield kazashi_slot
    kazashi_slot.remove()
