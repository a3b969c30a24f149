"""Measure from a card in the field to the receipt. This runs in a separate process, because a process can use only one
pcscd."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from benchmarks.bench_worlds import new_world
from kazashi.assembly.institutions import Institutions
from kazashi.assembly.points import enrol_till
from kazashi.reader_bridge.host import Presentation, ReaderHost
from kazashi.reader_bridge.pcscd import start_pcscd
from kazashi.refund_points.goods import CATALOGUE, Basket, ReceiptLine
from kazashi.refund_points.printing import receipt_text
from kazashi.refund_points.reading import CardReading, read_card
from kazashi.relying_party.login.card_reader import CardMissing, card_answers
from kazashi.relying_party.verify.anchors import AnchorsInDirectory
from kazashi.relying_party.verify.sources import lists_in
from kazashi.relying_party.verify.verification import Verifier
from kazashi.world.key_source import SharedKeySource, generate

_PATIENCE = 10.0
_LOOK_SECONDS = 0.005

_T = TypeVar("_T")


def taps(directory: Path, count: int, vpcd: bool) -> tuple[list[float], list[float]]:
    """Measure `count` taps on a reader of our driver or of vpcd.

    Returns two lists of seconds: from the card's entering the field to the receipt, and to the receipt once pcscd has
    seen the card. Raises RuntimeError if a card or its removal is not noticed.
    """
    institutions = Institutions(new_world(directory / "taps", SharedKeySource([generate() for _ in range(6)])))
    world = institutions.world
    image = institutions.issue_card("hanako", "hanako")
    institutions.settle()
    till = enrol_till(world, "rice-shop", "till-1")
    tree = world.publication
    verifier = Verifier(AnchorsInDirectory(tree / "ca"), [lists_in(tree)], world.clock)
    basket = Basket((ReceiptLine(CATALOGUE["lunch"]), ReceiptLine(CATALOGUE["tea"], 2)))

    def look() -> CardReading | None:
        try:
            return read_card(verifier)
        except CardMissing:  # pcscd has not seen it yet
            return None

    pcscd = start_pcscd(directory, ["Kazashi"], private=True, vpcd=vpcd)
    os.environ.update(pcscd.client_environment())
    host = ReaderHost(pcscd.endpoints)
    slot = host.slots[0]
    inserted, seen = [], []
    try:
        for _ in range(count):
            begun = time.perf_counter()
            host.insert(slot, "hanako", image, Presentation(contactless=True))
            receipt_text(till.sell(basket, _until(look)))
            inserted.append(time.perf_counter() - begun)
            begun = time.perf_counter()
            receipt_text(till.sell(basket, _until(look)))
            seen.append(time.perf_counter() - begun)
            host.remove(slot)
            _until(lambda: None if card_answers(slot.endpoint.reader) else True)
    finally:
        host.close()
        pcscd.stop()
        world.close()
    return inserted, seen


def _until(look: Callable[[], _T | None]) -> _T:
    deadline = time.monotonic() + _PATIENCE
    while (result := look()) is None:
        if time.monotonic() > deadline:
            raise RuntimeError(f"the reader's state did not change for {_PATIENCE} seconds")
        time.sleep(_LOOK_SECONDS)
    return result
