"""How another program tells a running bench what to do: a unix socket, one JSON object to a line.

A request is `{"do": verb, ...}`. Each answer is `{"ok": true, ...}` or `{"ok": false, "error": code, "message": ...}`;
a verb that streams sends one line for each thing it has to tell, until either side hangs up.
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
    """Nothing listens at the control socket."""


class ControlRejected(Exception):
    """The bench answered that it cannot; `code` is its error code."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class ControlServer:
    """Serves the verbs at a socket that only its owner may open, each client in a thread of its own.

    `code_of` names the errors that are answers; any other error is a defect, and answered as `internal`.
    """

    def __init__(self, path: Path, verbs: dict[str, Verb], code_of: Callable[[Exception], str | None]) -> None:
        self._path = path
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.unlink(missing_ok=True)

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                for line in self.rfile:
                    for answer in _answers(line, verbs, code_of):
                        try:
                            self.wfile.write(json.dumps(answer, ensure_ascii=False).encode() + b"\n")
                        except OSError:
                            return  # the client has hung up, which is how it ends a stream

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
    """One request and its answer. Raises NotRunning and ControlRejected."""
    with contextlib.closing(stream(path, verb, **arguments)) as answers:
        return next(answers)


def stream(path: Path, verb: str, **arguments: object) -> Generator[Answer, None, None]:
    """One request and all its answers, for as long as the caller cares to read. Raises NotRunning and
    ControlRejected."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        try:
            with _short(path) as address:
                sock.connect(address)
        except OSError as error:
            raise NotRunning(f"no bench runs in {path.parent.parent}; start one with: kazashi up --detach") from error
        sock.sendall(json.dumps({"do": verb, **arguments}).encode() + b"\n")
        sock.shutdown(socket.SHUT_WR)  # nothing more is asked, so that the bench hangs up after its last answer
        answered = False
        with sock.makefile("rb") as lines:
            for line in lines:
                answered = True
                answer: Answer = json.loads(line)
                if not answer.pop("ok"):
                    raise ControlRejected(answer["error"], answer["message"])
                yield answer
    if not answered:
        raise NotRunning("the bench ended before it answered")


def _answers(line: bytes, verbs: dict[str, Verb], code_of: Callable[[Exception], str | None]) -> Iterator[Answer]:
    try:
        asked = json.loads(line)
        verb = verbs[asked.pop("do")]
        given = verb(asked)
        for answer in [given] if isinstance(given, dict) else given:
            yield {"ok": True, **answer}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        yield {"ok": False, "error": "bad-request", "message": f"not a request that this bench knows: {error}"}
    except Exception as error:
        yield {"ok": False, "error": code_of(error) or "internal", "message": str(error)}


@contextlib.contextmanager
def _short(path: Path) -> Iterator[str]:
    """The path in a form that fits a socket address, which holds about a hundred bytes, whatever its length."""
    descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{descriptor}/{path.name}"
    finally:
        os.close(descriptor)
