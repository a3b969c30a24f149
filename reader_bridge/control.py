"""The control protocol of a running instance: a unix socket, one JSON object per line.

A request is `{"do": verb, ...}`. A reply is `{"ok": true, ...}` or `{"ok": false, "error": code, "message": ...}`. A
streaming verb sends one reply for each item, until either side closes the connection.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import socketserver
import threading
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

Answer = dict[str, Any]
Verb = Callable[[dict[str, Any]], Answer | Iterator[Answer]]


class NotRunning(Exception):
    """Nothing listens on the control socket."""


class ControlRejected(Exception):
    """The instance replied with an error; `code` is its error code."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class ControlServer:
    """Serves the verbs on a socket that only its owner may open, each client in its own thread.

    `code_of` returns the code of an expected error. For None, the error is a bug, and the reply's code is `internal`.
    """

    def __init__(self, path: Path, verbs: dict[str, Verb], code_of: Callable[[Exception], str | None]) -> None:
        self._path = path
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.unlink(missing_ok=True)

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                for line in self.rfile:
                    for reply in _replies(line, verbs, code_of):
                        try:
                            self.wfile.write(json.dumps(reply, ensure_ascii=False).encode() + b"\n")
                        except OSError:
                            return  # the client has closed the connection, which is how it ends a stream

        with _short(path) as address:
            self._server = socketserver.ThreadingUnixStreamServer(address, Handler)
        self._server.daemon_threads = True
        path.chmod(0o600)
        self._thread = threading.Thread(target=self._server.serve_forever, name="control", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()
        self._path.unlink(missing_ok=True)


def request(path: Path, verb: str, **arguments: object) -> Answer:
    """Send one request and return its first reply, without `ok`. Raises NotRunning and ControlRejected."""
    with contextlib.closing(stream(path, verb, **arguments)) as replies:
        return next(replies)


def stream(path: Path, verb: str, **arguments: object) -> Generator[Answer, None, None]:
    """Send one request and yield its replies, without `ok`, until the caller stops reading.

    Raises NotRunning and ControlRejected.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        try:
            with _short(path) as address:
                sock.connect(address)
        except OSError as error:
            raise NotRunning(
                f"no instance runs in {path.parent.parent}; start one with: kazashi up --detach"
            ) from error
        sock.sendall(json.dumps({"do": verb, **arguments}).encode() + b"\n")
        sock.shutdown(socket.SHUT_WR)  # there are no more requests, so that the instance closes after its last reply
        replied = False
        with sock.makefile("rb") as lines:
            for line in lines:
                replied = True
                reply: Answer = json.loads(line)
                if not reply.pop("ok"):
                    raise ControlRejected(reply["error"], reply["message"])
                yield reply
    if not replied:
        raise NotRunning("the instance ended before it replied")


def _replies(line: bytes, verbs: dict[str, Verb], code_of: Callable[[Exception], str | None]) -> Iterator[Answer]:
    try:
        arguments = json.loads(line)
        verb = verbs[arguments.pop("do")]
        result = verb(arguments)
        for reply in [result] if isinstance(result, dict) else result:
            yield {"ok": True, **reply}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        yield {"ok": False, "error": "bad-request", "message": f"this instance does not know the request: {error}"}
    except Exception as error:
        yield {"ok": False, "error": code_of(error) or "internal", "message": str(error)}


@contextlib.contextmanager
def _short(path: Path) -> Iterator[str]:
    """Yield a short form of a path, because a socket address holds only about a hundred bytes."""
    descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{descriptor}/{path.name}"
    finally:
        os.close(descriptor)
