"""Pytest fixtures for tests with an emulated card. They are available wherever Kazashi is installed beside pytest.

    @pytest.mark.kazashi(resident="taro", faults="faults: [{slow: 1 s}]", contactless=True, today=date(2027, 4, 1))
    def test_mine(kazashi_reader): ...

`kazashi_card` is a card, `kazashi_connection` a connection to it in this process, and `kazashi_reader` a real PC/SC
reader with the card in it. All arguments of the mark are optional. A person of your own:

    ME = {"family": "模擬", "birth": "1990-01-31", "sex": "1", "municipality": "13113", "street": "架空町１"}

    @pytest.mark.kazashi(resident=ME, pin="9876", photo=Path(__file__).with_name("me.png"))
    def test_me(kazashi_card): ...
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import date, datetime
from pathlib import Path
from types import NoneType
from typing import Any

import pytest

_MARK = "kazashi"
_TYPES: dict[str, tuple[tuple[type, ...], str]] = {
    "resident": ((str, Mapping), "a name, or a person's data as a mapping"),
    "pin": ((str,), "text"),
    "password": ((str,), "text"),
    "photo": ((str, Path, bytes, NoneType), "the path of a picture, or its content"),
    "atr": ((str,), "the name of an ATR"),
    "contactless": ((bool,), "True or False"),
    "faults": ((str, Path, NoneType), "the text of a fault script, its path, or a FaultPlan"),
    "today": ((date, NoneType), "a date, such as date(2027, 4, 1)"),
}
"""The arguments of the mark: their types, and what they are in words."""
_KNOWN = _TYPES.keys()


def pytest_configure(config: pytest.Config) -> None:
    """Register the mark, for test runs with --strict-markers."""
    config.addinivalue_line(
        "markers", f"{_MARK}({', '.join(sorted(_KNOWN))}): choose the test's card, its presentation and the day"
    )


def _mark_arguments(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Return the arguments of the test's marks; the closest mark takes precedence. Fails in one line."""
    arguments: dict[str, Any] = {}
    for mark in reversed(list(request.node.iter_markers(_MARK))):
        if mark.args or mark.kwargs.keys() - _KNOWN:
            names = ", ".join(sorted(_KNOWN))
            pytest.fail(f"the mark {_MARK} takes only these keyword arguments: {names}", pytrace=False)
        for name, value in mark.kwargs.items():
            types, words = _TYPES[name]
            # The plan's class is not imported here, because pytest loads this module wherever it is installed.
            is_plan = name == "faults" and hasattr(value, "around")
            if not (isinstance(value, types) or is_plan) or isinstance(value, datetime):
                pytest.fail(f"{name} of the mark {_MARK} is {words}, and not {value!r}", pytrace=False)
        arguments |= mark.kwargs
    return arguments


@contextmanager
def _errors_in_one_line() -> Iterator[None]:
    """Let an error that a mark's arguments caused fail in one line that ends in its code, without a traceback."""
    from kazashi.assembly.error_codes import code_of, words_of

    try:
        yield
    except Exception as error:
        if (code := code_of(error)) is None:
            raise
        raise pytest.fail.Exception(f"{words_of(error)} [{code}]", pytrace=False) from None


@pytest.fixture(scope="session")
def kazashi_workbenches(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A function that returns the workbench of a day (a date, or None), shared by all tests of that day."""
    from kazashi.tools.testing.workbench import Workbench

    workbenches: dict[date | None, Workbench] = {}

    def of(today: date | None) -> Workbench:
        if today not in workbenches:
            workbenches[today] = Workbench(Path(tmp_path_factory.mktemp("kazashi")), today=today)
        return workbenches[today]

    yield of
    for workbench in workbenches.values():
        workbench.close()


@pytest.fixture
def kazashi_workbench(request: pytest.FixtureRequest, kazashi_workbenches: Any) -> Any:
    """The test's world (a kazashi.tools.testing.workbench.Workbench), shared by all tests of the same day."""
    today = _mark_arguments(request).get("today")
    try:
        return kazashi_workbenches(today)
    except (ValueError, OverflowError):
        raise pytest.fail.Exception(f"no world can have the day {today}", pytrace=False) from None


@pytest.fixture
def kazashi_card(request: pytest.FixtureRequest, kazashi_workbench: Any) -> Any:
    """A new card (a kazashi.tools.testing.workbench.TestCard), of the resident hanako unless the mark names another, or
    has the data of a person of your own."""
    arguments = _mark_arguments(request)
    names = ("resident", "pin", "password", "photo", "atr")
    with _errors_in_one_line():
        return kazashi_workbench.card(**{name: arguments[name] for name in names if name in arguments})


@pytest.fixture
def kazashi_connection(request: pytest.FixtureRequest, kazashi_workbench: Any, kazashi_card: Any) -> Iterator[Any]:
    """A connected smartcard.CardConnection to the card in this process, without pcscd."""
    arguments = _mark_arguments(request)
    with ExitStack() as stack:
        with _errors_in_one_line():
            reader = stack.enter_context(
                kazashi_workbench.in_process(
                    kazashi_card, contactless=arguments.get("contactless", False), faults=arguments.get("faults")
                )
            )
        connection = reader.createConnection()
        connection.connect()
        yield connection
        connection.disconnect()


@pytest.fixture(scope="session")
def kazashi_slot(kazashi_workbenches: Any) -> Iterator[Any]:
    """An empty slot of a real PC/SC reader, on a pcscd that only this test process uses."""
    import os

    with kazashi_workbenches(None).reader() as reader:
        os.environ.update(reader.environment)
        yield reader


@pytest.fixture
def kazashi_reader(request: pytest.FixtureRequest, kazashi_slot: Any, kazashi_card: Any) -> Iterator[Any]:
    """A real PC/SC reader (a kazashi.tools.testing.workbench.TestReader) with the card in it, detected by pcscd."""
    arguments = _mark_arguments(request)
    with _errors_in_one_line():
        kazashi_slot.insert(
            kazashi_card, contactless=arguments.get("contactless", False), faults=arguments.get("faults")
        )
    yield kazashi_slot
    kazashi_slot.remove()
