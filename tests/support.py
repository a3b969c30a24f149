"""Helper functions that several tests use."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from smartcard.scard import SCARD_PROTOCOL_T1, SCARD_SHARE_SHARED

from kazashi.reader_bridge import pcsc
from kazashi.reader_bridge.pcsc import PcscError, check, context
from tests.polling import LIMIT

__all__ = ["PcscError", "check", "connected", "context"]


Transmit = Callable[[bytes], bytes]


@contextmanager
def connected(reader: str, mode: int = SCARD_SHARE_SHARED) -> Iterator[Transmit]:
    """A function that sends a command to the card in a reader with T=1. Raises PcscError if PC/SC fails."""
    with pcsc.connected(reader, mode, SCARD_PROTOCOL_T1) as card:
        yield card.transmit


_CLIENT = """
import sys
import time
from tests.support import connected
with connected(sys.argv[1]) as transmit:
    for command in sys.argv[2:]:
        print(transmit(bytes.fromhex(command)).hex())
"""


def send(environment: dict[str, str], reader: str, *commands: str) -> list[str]:
    """Send commands to a card from a new process, and return the responses in hexadecimal.

    It needs a new process because libpcsclite chooses its pcscd once per process. Raises AssertionError if PC/SC fails.
    """
    done = subprocess.run(
        [sys.executable, "-c", _CLIENT, reader, *commands],
        capture_output=True, text=True, check=False, timeout=LIMIT, env={**os.environ, **environment},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def run(*command: str, expect: int | None = 0, cwd: Path | None = None) -> str:
    """Run a program and return its output on both streams. It must exit with status `expect`, unless that is None."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=LIMIT, cwd=cwd)
    output = done.stdout + done.stderr
    if expect is not None:
        assert done.returncode == expect, f"{' '.join(command)} exited with {done.returncode}: {output}"
    return output


def until_connected(port: int, process: subprocess.Popen[bytes], log: Path, seconds: float = LIMIT) -> None:
    """Wait until a server listens on a port. Raises AssertionError with the log if the process ends before that."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        with suppress(subprocess.TimeoutExpired):
            process.wait(0.05)
            break
    raise AssertionError(f"nothing listens on port {port}: {log.read_text(errors='replace')}")
