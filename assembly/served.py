"""Server processes at the instance's ports: the authorities' services, `kazashi agent` and others."""

from __future__ import annotations

import http.client
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from kazashi.assembly.errors import ServicesUnavailable
from kazashi.web.ports import HOST, RANGE
from kazashi.web.sockets import is_free, listening_sockets

_START_SECONDS = 20.0
_CODED = re.compile(r"\w+: (.*) \[[a-z-]+\]")
"""The last line of a program that ends with a coded error."""


def free_port(avoid: Iterable[int] = ()) -> int:
    """The first of the instance's ports on which nothing listens. Raises ServicesUnavailable."""
    for port in RANGE:
        if port not in avoid and is_free(port):
            return port
    raise ServicesUnavailable(f"all ports from {RANGE[0]} to {RANGE[-1]} are in use; stop a program that uses one")


def require_free(port: int) -> None:
    """Raise ServicesUnavailable if something listens on a port."""
    if not is_free(port):
        raise ServicesUnavailable(f"port {port} is in use; stop the program that uses it, or name another port")


class ServedProcess:
    """A Python module that serves HTTP on a port, in its own process. It ends with the process that started it."""

    def __init__(
        self, what: str, arguments: Iterable[str], port: int, log: Path, environment: Mapping[str, str] | None = None,
        *, tls: bool = False,
    ) -> None:  # fmt: skip
        """Run `python -m` with the arguments and `--port`, and wait until the server responds.

        With `tls` it is enough that the server accepts a connection, because it requires a handshake. Raises
        ServicesUnavailable if the port is in use or, with `what` in its message, if the server does not start.
        """
        require_free(port)  # another program's server would respond in place of this one
        self.port = port
        self._tls = tls
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "TERM", "--", sys.executable, "-P", "-m", *arguments, "--port", str(port)],
                stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                env=dict(environment) if environment is not None else None,
            )  # fmt: skip
        for _ in range(int(_START_SECONDS / 0.05)):
            try:
                self._process.wait(0.05)
            except subprocess.TimeoutExpired:
                if self._responds() and self.ended is None:
                    return
            else:
                break
        self.stop()
        line = (log.read_text(errors="replace").strip().splitlines() or ["it printed nothing"])[-1]
        coded = _CODED.fullmatch(line)
        raise ServicesUnavailable(f"{what} did not start: {coded[1] if coded else line} (full log in {log})")

    @property
    def pid(self) -> int:
        """The process ID."""
        return self._process.pid

    @property
    def ended(self) -> str | None:
        """How the process has ended, such as `signal 9` or `exit status 1`, or None while it runs."""
        status = self._process.poll()
        if status is None:
            return None
        return f"signal {-status}" if status < 0 else f"exit status {status}"

    def kill(self) -> None:
        """Kill the process without warning, as in a power cut."""
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        """Stop the process. It is killed if it does not end within 5 seconds."""
        self._process.terminate()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _responds(self) -> bool:
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
    """Start `kazashi agent`, `site`, `provider`, `platform` or `points portal` at a free port.

    Its log is written in `directory`. Raises ServicesUnavailable.
    """
    of_world = ("--world", str(world)) if world is not None else ()
    arguments = ("kazashi", *of_world, *command.split(), *options)
    log = directory / f"{command.replace(' ', '-')}.log"
    return ServedProcess(f"kazashi {command}", arguments, free_port(), log, environment)


def serve_application(application: Any, port: int) -> None:
    """Serve an ASGI application on all loopback addresses until the process is stopped.

    Raises ServicesUnavailable if the port is in use.
    """
    import uvicorn

    from kazashi.web.server import OPTIONS

    try:
        sockets = listening_sockets(port)
    except OSError as error:
        raise ServicesUnavailable(f"port {port} cannot be used: {error}; name another with --port") from error
    with suppress(KeyboardInterrupt):
        uvicorn.Server(uvicorn.Config(application, **OPTIONS)).run(sockets=sockets)
