"""Fixtures for the tests of the reader bridge."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from kazashi.applets.install import install
from kazashi.card.chip import Chip
from kazashi.card.contents import CardContents
from kazashi.card.image import read_image
from kazashi.card_management.order import image_path
from kazashi.reader_bridge.journal import Journal
from kazashi.reader_bridge.vpcd import INSERTED, REMOVED, Exchange
from kazashi.world.home import World
from tests.reader_bridge.tracing import (
    AT,
    DONE,
    everything,
)


@pytest.fixture(scope="module")
def contents(world: World) -> CardContents:
    return read_image(image_path(world, "hanako"))[0]


@pytest.fixture(scope="module")
def of_a_card(contents: CardContents) -> Callable[[], CardContents]:
    """A function that returns the contents; unlike the contents, it has a short repr for failure messages."""
    return lambda: contents


@pytest.fixture(scope="module")
def session(contents: CardContents) -> list[Exchange]:
    """The exchanges of a card from insertion to removal, as in a journal."""
    chip = Chip(install(contents), chance=lambda count: b"\x55" * count)
    chip.power_on()
    journal = Journal()
    journal.add(0, Exchange(AT, 0.0, b"", b"", INSERTED))
    journal.add(0, Exchange(AT, 0.0, b"", chip.card.contact_atr, "power on"))
    for command in everything(contents):
        journal.add(0, Exchange(AT, 0.001, command, chip.transmit(command)))
    journal.add(0, Exchange(AT, 0.0, b"", b"", "the card does not respond for 2 s"))
    journal.add(0, Exchange(AT, 0.0, b"", b"", REMOVED))
    exchanges = [entry.exchange for entry in journal.since(0)[0]]
    rejected = [exchange.command.hex() for exchange in exchanges[2:-3] if exchange.response[-2:] != DONE]
    assert not rejected
    return exchanges
