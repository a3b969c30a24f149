"""A program that lets the stock `vicc` of virtualsmartcard host an emulated card.

    python -m kazashi.tools.testing.vicc_adapter CARD.card [vicc's own options, such as --port 35963]

vicc has a card type `handler_test`, but does not ship the module for it. This program provides that module: vicc runs
unchanged, as a program of its own, and finds the card where it looks for that type. vicc is GPL-3, and no code of this
project imports it.
"""

from __future__ import annotations

import os
import runpy
import sys
from pathlib import Path
from types import ModuleType

from kazashi.applets.install import load_card
from kazashi.reader_bridge.host import Presentation
from kazashi.reader_bridge.vicc import modules_directory, program

_CARD_TYPE_MODULE = "virtualsmartcard.cards.HandlerTest"


def card_type(image: Path) -> ModuleType:
    """Return the module that vicc looks for, with the card of an image behind the five methods that vicc calls."""
    interface = Presentation().interface(load_card(image))

    class HandlerTestOS:
        """A card with the interface that vicc's main loop expects."""

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
    """Run vicc with the card whose image is the first argument."""
    image, *options = arguments
    sys.path.insert(0, os.fspath(modules_directory()))
    sys.modules[_CARD_TYPE_MODULE] = card_type(Path(image))
    sys.argv = [str(program()), "--type", "handler_test", *options]
    runpy.run_path(str(program()), run_name="__main__")


if __name__ == "__main__":
    main(sys.argv[1:])
