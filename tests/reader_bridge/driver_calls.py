"""The driver in a program of its own that calls it as pcscd does, and hosts of its slots that send what they like."""

from __future__ import annotations

import contextlib
import itertools
import socket
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from kazashi.reader_bridge.driver.build import SOURCE
from kazashi.reader_bridge.driver.protocol import (
    VERSION,
    Disconnected,
    DriverMessage,
    Kind,
    Receiver,
    ReplyCode,
    packed,
)
from tests.polling import LIMIT

CALLS = Path(__file__).with_name("driver_calls.c")
ATR = bytes.fromhex("3B800181")
SUCCESS, COMMUNICATION_ERROR, RESPONSE_TIMEOUT, NOT_PRESENT, PRESENT = 0, 612, 613, 616, 615
"""Codes of ifdhandler.h."""
POWER_UP = 500


def build(directory: Path, *options: str, source: Path = SOURCE) -> Path:
    """Compile the driver into a program that calls it. `options` are the compiler's."""
    program = directory / "driver_calls"
    subprocess.run(
        ["gcc", "-std=c11", "-g", "-O1", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-pthread", *options,
         "-I/usr/include/PCSC", "-o", str(program), str(CALLS), str(source)],
        check=True,
    )  # fmt: skip
    return program


SANITIZERS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer")


class Returned(NamedTuple):
    """What a call returned: its code, how many ms it took, and its bytes."""

    code: int
    ms: int
    data: bytes = b""


class DriverProgram:
    """A running program made by `build`."""

    def __init__(self, program: Path) -> None:
        self._process = subprocess.Popen(
            [program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self._names = map(str, itertools.count())
        self._changed = threading.Condition()
        self._returned: dict[str, Returned] = {}
        self._ended = False
        self.log: list[str] = []
        self.longest_ms = 0
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End it. Raises AssertionError if a sanitizer has found anything, a leak included."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            self._process.wait(LIMIT)
        finally:
            self._process.kill()
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        report = self._process.stderr.read()
        self._reader.join(LIMIT)
        self._process.stdout.close()
        self._process.stderr.close()
        assert self._process.returncode == 0, report

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            name, rest = line.rstrip("\n").split(" ", 1)
            with self._changed:
                if name == "log":
                    self.log.append(rest)
                else:
                    code, ms, data = rest.split(" ")
                    self._returned[name] = Returned(int(code), int(ms), bytes.fromhex(data))
                    self.longest_ms = max(self.longest_ms, int(ms))
                self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def start(self, verb: str, lun: int = 0, number: int = 0, text: str = "") -> str:
        """Start a call and return its name."""
        name = next(self._names)
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(f"{name} {verb} {lun:x} {number:x} {text}\n")
            self._process.stdin.flush()
        return name

    def result(self, name: str) -> Returned:
        """Wait for a call to return. Raises AssertionError if the program has ended before."""
        with self._changed:
            assert self._changed.wait_for(lambda: name in self._returned or self._ended, LIMIT), "it does not return"
            assert name in self._returned, "the program has ended"
            return self._returned.pop(name)

    def call(self, verb: str, lun: int = 0, number: int = 0, text: str = "") -> Returned:
        """Call, and wait until it returns."""
        return self.result(self.start(verb, lun, number, text))

    def transmit(self, command: bytes, lun: int = 0, room: int = 65538) -> Returned:
        """Transmit a command with `room` bytes for the response."""
        return self.call("transmit", lun, room, command.hex())


Behaviour = Callable[[socket.socket], None]


class ScriptedHost:
    """A host of one slot that treats every connection as `behaviour` does, one after the other."""

    def __init__(self, directory: Path, behaviour: Behaviour, number: int = 0) -> None:
        directory.mkdir(mode=0o755, exist_ok=True)
        self._place = directory / str(number)
        self._behaviour = behaviour
        self.connections = 0
        self._connection: socket.socket | None = None
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(f"{self._place}.new")
        self._listening.listen(8)
        Path(f"{self._place}.new").rename(self._place)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def listen_again(self) -> None:
        """Listen as the user who this process is now."""
        self._listening.listen(8)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._place.unlink(missing_ok=True)
        for end in (self._listening, self._connection):
            if end is not None:
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._thread.join(LIMIT)

    def _run(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            self.connections += 1
            self._connection = connection
            connection.settimeout(LIMIT)
            with connection, contextlib.suppress(OSError, Disconnected):
                self._behaviour(connection)


def greet(connection: socket.socket, present: bool = True) -> Receiver:
    """Take the driver's greeting, and reply to it."""
    receiver = Receiver(connection)
    assert receiver.next().kind == Kind.HELLO
    connection.sendall(packed(Kind.HELLO, bytes((VERSION, present))))
    return receiver


def reply_to(message: DriverMessage) -> bytes:
    """Return a good host's reply: commands come back as they are."""
    bodies = {Kind.POWER_UP: ATR, Kind.RESET: ATR, Kind.TRANSMIT: message.body[1:], Kind.CONTROL: message.body[4:]}
    if message.kind == Kind.SETTLED:
        return b""
    return packed(Kind.REPLY, bytes((ReplyCode.DONE,)) + bodies.get(Kind(message.kind), b""))


def good_host(connection: socket.socket) -> None:
    """Host a card that returns every command, with events in front of and behind the replies."""
    receiver = greet(connection)
    while True:
        reply = reply_to(receiver.next())
        if reply:
            connection.sendall(packed(Kind.MORE_TIME) + reply + packed(Kind.PRESENCE, b"\1"))
