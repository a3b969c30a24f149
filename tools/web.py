"""Processes that serve pages, `kazashi agent` and its like, as the demonstration and the tests run them."""

from __future__ import annotations

import http.client
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tools.errors import ServicesUnavailable
from tools.services import free_port

_START_SECONDS = 20.0


class WebProcess:
    """One command that serves a port; it answers when this returns, and ends with the process that started it."""

    def __init__(
        self, directory: Path, command: str, *options: str, world: Path | None = None, avoid: tuple[int, ...] = (),
        environment: Mapping[str, str] | None = None,
    ) -> None:  # fmt: skip
        """Raises ServicesUnavailable where it does not start."""
        self.port = free_port(avoid)
        self._log = directory / f"{command}.log"
        arguments = ["--world", str(world)] if world is not None else []
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "TERM", "--", sys.executable, "-m", "tools", *arguments, command, "--port",
                 str(self.port), *options],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=dict(environment) if environment else None,
            )  # fmt: skip
        for _ in range(int(_START_SECONDS / 0.05)):
            if self._answers():
                return
            try:
                self._process.wait(0.05)
            except subprocess.TimeoutExpired:
                continue
            break
        words = self._log.read_text(errors="replace").strip().splitlines() or ["it said nothing"]
        self.stop()
        raise ServicesUnavailable(f"kazashi {command} did not start: {words[-1]}")

    def stop(self) -> None:
        """End it."""
        self._process.terminate()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _answers(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=2)
        try:
            connection.request("GET", "/")
            connection.getresponse().read()
        except OSError:
            return False
        else:
            return True
        finally:
            connection.close()
