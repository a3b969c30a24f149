"""A program that has the stock `vicc` of virtualsmartcard host one of our cards.

    python -m kazashi.tools.testing.vicc_adapter CARD.card [vicc's own options, such as --port 35963]

vicc knows a card type `handler_test` whose module it does not ship. That module is this one: vicc runs unchanged, as
a program of its own, and finds our card where it looks for that type. It is GPL-3 and nothing of ours imports it.
"""

from __future__ import annotations

import os
import runpy
import sys
from pathlib import Path
from types import ModuleType

from kazashi.applets.install import load_card
from kazashi.card.chip import Chip
from kazashi.reader_bridge.interface import ContactInterface
from kazashi.reader_bridge.vicc import modules_directory, program

_CARD_TYPE_MODULE = "virtualsmartcard.cards.HandlerTest"


def card_type(image: Path) -> ModuleType:
    """The module that vicc looks for, with the card of that image behind the five methods that it calls."""
    interface = ContactInterface(Chip(load_card(image)))

    class HandlerTestOS:
        """The card as vicc's main loop sees one."""

        def getATR(self) -> bytes:
            return interface.atr

        def powerUp(self) -> None:
            interface.power_on()

        def powerDown(self) -> None:
            interface.power_off()

        def reset(self) -> None:
            interface.reset()

        def execute(self, msg: bytes) -> bytes:
            return interface.transmit(bytes(msg))

    module = ModuleType(_CARD_TYPE_MODULE)
    module.HandlerTestOS = HandlerTestOS  # type: ignore[attr-defined]
    return module


def main(arguments: list[str]) -> None:
    """Run vicc with our card."""
    image, *options = arguments
    sys.path.insert(0, os.fspath(modules_directory()))
    sys.modules[_CARD_TYPE_MODULE] = card_type(Path(image))
    sys.argv = [str(program()), "--type", "handler_test", *options]
    runpy.run_path(str(program()), run_name="__main__")


if __name__ == "__main__":
    main(sys.argv[1:])
