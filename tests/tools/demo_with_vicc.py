"""The demonstration's card part, with the stock vicc as the card's host.

    python -m tests.tools.demo_with_vicc DIRECTORY

Prints the titles of the steps that succeeded, as JSON. It uses PC/SC itself, and needs a process of its own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

from kazashi.assembly.institutions import Institutions
from kazashi.reader_bridge.endpoint import VpcdEndpoint
from kazashi.reader_bridge.host import Presentation, ReaderHost
from kazashi.reader_bridge.pcscd_view import wait_until_empty
from kazashi.tools.demo.steps import CARD_STEPS, FIRST_STEPS, DemoContext
from kazashi.world.home import open_world
from tests.polling import LIMIT, until
from tests.vicc import EMULATED, open_vpcd, opensc_tool

STEPS = [*FIRST_STEPS, *CARD_STEPS[:2]]
"""The steps up to the check of the reader: vicc takes what one read of its socket returns for a whole command, and ends
at a long one on a busy machine. The next step injects faults, which vicc does not."""


class ViccHost:
    """The host of one slot, whose card is vicc's."""

    def __init__(self, endpoint: VpcdEndpoint) -> None:
        self.endpoint = endpoint
        self.slots = [self]
        self._vicc: subprocess.Popen[bytes] | None = None

    def insert(self, _: Any, __: str, image: Path, ___: Presentation) -> None:
        command = [*EMULATED, str(image), "--port", str(self.endpoint.port)]
        self._vicc = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)

    def wait_until_powered(self, _: float) -> bool:
        until(lambda: opensc_tool({}, "--reader", self.endpoint.reader, "--name").strip() == "jpki", "the card appears")
        return True

    def remove(self, _: Any = None) -> None:
        if self._vicc is not None:
            self._vicc.terminate()
            self._vicc.wait(LIMIT)
            self._vicc = None
            wait_until_empty(self.endpoint.reader, self.endpoint.pcscd, LIMIT)


def main(directory: Path) -> None:
    with open_vpcd(directory) as pcscd:
        os.environ.update(pcscd.client_environment())
        endpoint = pcscd.endpoints[0]
        assert isinstance(endpoint, VpcdEndpoint)
        host = ViccHost(endpoint)
        institutions = Institutions(open_world(directory / "world", seed="demo"))
        context = DemoContext(directory, institutions, pcscd, cast(ReaderHost, host), directory / "none")
        try:
            done = []
            for title, action in STEPS:
                action(context)
                done.append(title)
        finally:
            host.remove()
    print(json.dumps(done))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
