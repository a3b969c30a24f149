"""A second client that takes a reader for a while: `python -m kazashi.reader_bridge.contending_client READER SECONDS`.

It is a separate program because libpcsclite chooses its pcscd once in a process.
"""

from __future__ import annotations

import sys
import time

from kazashi.applets import card_manager
from kazashi.card.request import select
from kazashi.reader_bridge.pcsc import connected


def contend(reader: str, seconds: float) -> None:
    """Hold the reader in a transaction, and leave the card manager selected. Raises PcscError."""
    with connected(reader) as card:
        card.begin()
        try:
            card.transmit(select(card_manager.AID))
            time.sleep(seconds)
        finally:
            card.end()


if __name__ == "__main__":
    contend(sys.argv[1], float(sys.argv[2]))
