"""The stock vicc in a reader of vpcd, on a pcscd of its own, for clients in processes of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from kazashi.reader_bridge.pcscd import RunningPcscd, start_pcscd
from kazashi.reader_bridge.vicc import modules_directory, program
from tests.polling import LIMIT, until

EMULATED = (sys.executable, "-m", "kazashi.tools.testing.vicc_adapter")
"""vicc with one of our cards, whose image follows."""
ITS_OWN = (sys.executable, str(program()), "--type", "iso7816", "--hostname", "127.0.0.1")
"""vicc with its own card."""


@contextmanager
def open_vpcd(directory: Path) -> Iterator[RunningPcscd]:
    """Yield a pcscd with a reader of vpcd, into whose slots every program can put a card."""
    running = start_pcscd(directory, ["Stand-in"], private=True, open_ports=True)
    try:
        yield running
    finally:
        running.stop()


def opensc_tool(environment: Mapping[str, str], *options: str) -> str:
    """Return what opensc-tool prints, whether it succeeds or not."""
    done = subprocess.run(
        ["opensc-tool", *options], capture_output=True, text=True, check=False, timeout=LIMIT,
        env={**os.environ, **environment},
    )  # fmt: skip
    return done.stdout + done.stderr


@contextmanager
def inserted(pcscd: RunningPcscd, directory: Path, *vicc: str) -> Iterator[str]:
    """Yield the name of the first reader, with the card of a vicc in it."""
    endpoint, environment = pcscd.endpoints[0], pcscd.client_environment()
    with (directory / "vicc.log").open("wb") as log:
        process = subprocess.Popen(
            [*vicc, "--port", str(endpoint.open_port)], cwd=directory, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            env={**os.environ, "PYTHONPATH": os.pathsep.join((str(modules_directory()), *sys.path))},
        )  # fmt: skip
        try:
            until(
                lambda: any(
                    endpoint.reader in line and " Yes " in line
                    for line in opensc_tool(environment, "--list-readers").splitlines()
                ),
                "pcscd sees vicc's card",
            )
            yield endpoint.reader
        finally:
            process.terminate()
            process.wait(LIMIT)
