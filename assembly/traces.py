"""What goes over the slots of a running bench, followed from another process: exchanges, words, trace files."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from kazashi.applets.install import structure
from kazashi.assembly.control_path import control_path
from kazashi.reader_bridge.control import stream
from kazashi.reader_bridge.decoder import Decoded, Decoder
from kazashi.reader_bridge.vpcd import Exchange
from kazashi.world.home import World


class Followed(NamedTuple):
    """One exchange of a running bench: of which slot, by number and by name, and how many before it were missed because
    the bench had dropped them."""

    slot: int
    reader: str
    exchange: Exchange
    missed: int = 0


def follow(world: World, slot: str = "", backlog: int = 0, *, live: bool = True) -> Iterator[list[Followed]]:
    """The last `backlog` exchanges of a slot, or of all of them, and those that come if `live`, in lists as they come.

    Raises NotRunning and Refused.
    """
    for told in stream(control_path(world), "trace", slot=slot, backlog=backlog, follow=live):
        missed = told["missed"]
        found = []
        for number, reader, at, seconds, command, response, event in told["exchanges"]:
            exchange = Exchange(at, seconds, bytes.fromhex(command), bytes.fromhex(response), event)
            found.append(Followed(number, reader, exchange, missed))
            missed = 0
        yield found


class Decoders:
    """A decoder for each slot, because each keeps in step with its own card."""

    def __init__(self) -> None:
        self._applications = structure()
        self._of_slot: dict[int, Decoder] = {}

    def of(self, slot: int) -> Decoder:
        """The slot's decoder."""
        if slot not in self._of_slot:
            self._of_slot[slot] = Decoder(self._applications)
        return self._of_slot[slot]

    def decode(self, followed: Followed) -> Decoded:
        """An exchange in words."""
        return self.of(followed.slot).decode(followed.exchange)
