"""Server processes of our own at the world's ports: the authorities' services, `kazashi agent` and its like."""

from __future__ import annotations

import http.client
import socket
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from kazashi.assembly.errors import ServicesUnavailable
from kazashi.web.ports import HOST, RANGE

_START_SECONDS = 20.0


def free_port(avoid: Iterable[int] = ()) -> int:
    """The first of the world's ports that nobody listens on. Raises ServicesUnavailable."""
    for port in RANGE:
        if port not in avoid and is_free(port):
            return port
    raise ServicesUnavailable(f"every port from {RANGE[0]} to {RANGE[-1]} is taken; end what listens there")


def is_free(port: int) -> bool:
    """Whether a server could listen there."""
    with socket.socket() as probe:
        if probe.connect_ex((HOST, port)) == 0:  # somebody answers, perhaps on every address at once
            return False
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


class ServedProcess:
    """A Python module that serves a port over HTTP; it answers when this returns, and ends with the process that
    started it."""

    def __init__(
        self, what: str, arguments: Iterable[str], port: int, log: Path, environment: Mapping[str, str] | None = None,
        *, tls: bool = False,
    ) -> None:  # fmt: skip
        """Run `python -m` with the arguments and `--port`; `tls` says that it wants a handshake, so that whether it
        takes a connection is all that is looked at. Raises ServicesUnavailable, with `what` in its words."""
        self.port = port
        self._tls = tls
        with log.open("wb") as written:
            self._process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "TERM", "--", sys.executable, "-P", "-m", *arguments, "--port", str(port)],
                stdin=subprocess.DEVNULL, stdout=written, stderr=written,
                env=dict(environment) if environment is not None else None,
            )  # fmt: skip
        for _ in range(int(_START_SECONDS / 0.05)):
            if self._answers():
                return
            try:
                self._process.wait(0.05)
            except subprocess.TimeoutExpired:
                continue
            break
        self.stop()
        words = log.read_text(errors="replace").strip().splitlines() or ["it said nothing"]
        raise ServicesUnavailable(f"{what} did not start: {words[-1]} (all of it in {log})")

    @property
    def pid(self) -> int:
        """The number of the process."""
        return self._process.pid

    def kill(self) -> None:
        """End it as a power cut would."""
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        """End it."""
        self._process.terminate()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _answers(self) -> bool:
        connection = http.client.HTTPConnection(HOST, self.port, timeout=2)
        try:
            if self._tls:
                connection.connect()
                return True
            connection.request("GET", "/")
            connection.getresponse().read()
        except OSError:
            return False
        else:
            return True
        finally:
            connection.close()


def serve(
    directory: Path, command: str, *options: str, world: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> ServedProcess:  # fmt: skip
    """`kazashi agent`, `site`, `provider`, `platform` or `points portal` at a free port, with its log in a directory.
    Raises ServicesUnavailable."""
    of_world = ("--world", str(world)) if world is not None else ()
    arguments = ("kazashi", *of_world, *command.split(), *options)
    log = directory / f"{command.replace(' ', '-')}.log"
    return ServedProcess(f"kazashi {command}", arguments, free_port(), log, environment)


def serve_application(application: Any, port: int) -> None:
    """Serve an ASGI application on loopback, until told to end."""
    import uvicorn

    uvicorn.run(application, host=HOST, port=port, log_level="warning", access_log=False, server_header=False,
                timeout_graceful_shutdown=2)  # fmt: skip
