"""Following the APDU exchanges of a running instance's slots from another process: decoding, APDU trace files."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from kazashi.applets.install import structure
from kazashi.assembly.control_path import control_path
from kazashi.card.rule import StatusRule, under
from kazashi.reader_bridge.control import stream
from kazashi.reader_bridge.decoder import Decoded, Decoder
from kazashi.reader_bridge.trace import TraceWriter
from kazashi.reader_bridge.vpcd import Exchange
from kazashi.world.home import World


class Followed(NamedTuple):
    """One exchange of a running instance, with the number of its slot and the name of its reader.

    `missed` is the number of exchanges before it that were lost because the instance had dropped them.
    """

    slot: int
    reader: str
    exchange: Exchange
    missed: int = 0


def follow(world: World, slot: str = "", backlog: int = 0, *, live: bool = True) -> Iterator[list[Followed]]:
    """The last `backlog` exchanges of a slot or of all slots, and with `live` also new ones, in lists as they arrive.

    Raises NotRunning and ControlRejected.
    """
    for reply in stream(control_path(world), "trace", slot=slot, backlog=backlog, follow=live):
        missed = reply["missed"]
        batch = []
        for number, reader, at, seconds, command, response, event, rule in reply["exchanges"]:
            ruled = under(rule and StatusRule(*rule), bytes.fromhex(response))
            exchange = Exchange(at, seconds, bytes.fromhex(command), ruled, event)
            batch.append(Followed(number, reader, exchange, missed))
            missed = 0
        yield batch


class Decoders:
    """A decoder for each slot, because a decoder tracks the state of its card."""

    def __init__(self) -> None:
        self._applications = structure()
        self._of_slot: dict[int, Decoder] = {}

    def of(self, slot: int) -> Decoder:
        """The decoder of a slot, which is made at first use."""
        if slot not in self._of_slot:
            self._of_slot[slot] = Decoder(self._applications)
        return self._of_slot[slot]

    def decode(self, followed: Followed) -> Decoded:
        """Decode an exchange."""
        return self.of(followed.slot).decode(followed.exchange)


class Recorder(ExitStack):
    """Decodes exchanges, and writes them to an APDU trace file if one is given, until it is closed."""

    def __init__(self, out: Path | None, *, unmasked: bool = False) -> None:
        super().__init__()
        self._out, self._unmasked = out, unmasked
        self._decoders = Decoders()
        self._writers: dict[int, TraceWriter] = {}

    def decode(self, followed: Followed) -> Decoded:
        """Decode an exchange, after writing it to the file. Raises OSError."""
        if self._out is None:
            return self._decoders.decode(followed)
        if followed.slot not in self._writers:
            decoder = self._decoders.of(followed.slot)
            writer = TraceWriter(self._out, followed.reader, decoder, unmasked=self._unmasked)
            self._writers[followed.slot] = self.enter_context(writer)
        return self._writers[followed.slot].write(followed.exchange)
