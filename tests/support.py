"""Small tools that several tests use."""

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
    """A function that sends a command to the card in a reader, T=1; PcscError where PC/SC fails."""
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
    """Answers, in hexadecimal, to commands sent by a program of its own: libpcsclite settles which pcscd it talks to
    once in a process. Raises AssertionError where PC/SC fails."""
    done = subprocess.run(
        [sys.executable, "-c", _CLIENT, reader, *commands],
        capture_output=True, text=True, check=False, timeout=LIMIT, env={**os.environ, **environment},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def run(*command: str, expect: int | None = 0) -> str:
    """What a program said on both its streams; it must exit with `expect`, where that is given."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=LIMIT)
    said = done.stdout + done.stderr
    if expect is not None:
        assert done.returncode == expect, f"{' '.join(command)} exited with {done.returncode}: {said}"
    return said


def until_connected(port: int, process: subprocess.Popen[bytes], log: Path, seconds: float = LIMIT) -> None:
    """Wait until somebody listens on a port, and fail with the log's words where the process has ended before."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        with suppress(subprocess.TimeoutExpired):
            process.wait(0.05)
            break
    raise AssertionError(f"nobody listens on {port}: {log.read_text(errors='replace')}")
