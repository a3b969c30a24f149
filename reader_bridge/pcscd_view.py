"""What a pcscd tells its clients about its readers, from any process:

    python -m kazashi.reader_bridge.pcscd_view                  prints the names of the readers, one a line
    python -m kazashi.reader_bridge.pcscd_view READER SECONDS   waits until there is no card in the reader

It is a separate program because libpcsclite chooses its pcscd once in a process: one process may have slots in readers
of several, and a look at the system's must not keep it from another.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from pathlib import Path

from smartcard.scard import (
    SCARD_E_TIMEOUT,
    SCARD_S_SUCCESS,
    SCARD_STATE_PRESENT,
    SCARD_STATE_UNAWARE,
    SCardGetStatusChange,
)

from kazashi.reader_bridge.pcsc import PcscError, context, reader_names

SOCKET_VARIABLE = "PCSCLITE_CSOCK_NAME"


def wait_until_empty(reader: str, pcscd: Path, seconds: float) -> None:
    """Wait until the pcscd with a socket tells its clients that there is no card in a reader, at most for `seconds`."""
    _view(pcscd, reader, str(seconds))


def readers_of(pcscd: Path) -> list[str]:
    """Return the names of the readers of the pcscd with a socket, none if it does not answer."""
    return _view(pcscd).splitlines()


def _view(pcscd: Path, *arguments: str) -> str:
    command = [sys.executable, "-P", "-m", "kazashi.reader_bridge.pcscd_view", *arguments]
    environment = {**os.environ, SOCKET_VARIABLE: str(pcscd)}
    done = subprocess.run(
        command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, encoding="utf-8", check=False
    )
    return done.stdout


def _wait(reader: str, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    state = SCARD_STATE_UNAWARE
    with context() as established:
        while (left := deadline - time.monotonic()) > 0:
            code, [(_, state, _)] = SCardGetStatusChange(established, int(left * 1000), [(reader, state)])
            if code not in (SCARD_S_SUCCESS, SCARD_E_TIMEOUT) or not state & SCARD_STATE_PRESENT:
                return


if __name__ == "__main__":
    with contextlib.suppress(PcscError):  # without a pcscd, nobody can see a card
        if sys.argv[1:]:
            _wait(sys.argv[1], float(sys.argv[2]))
        else:
            sys.stdout.reconfigure(encoding="utf-8")  # type: ignore[union-attr]
            print(*reader_names(), sep="\n")
