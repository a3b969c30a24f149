"""The limits of every HTTP server: the size of a request's head, and the time of a client."""

from __future__ import annotations

import ast
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from threading import Thread

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from kazashi.tools.cli.checkout import checkout, modules
from kazashi.web import server
from kazashi.web.guard import Guard
from kazashi.web.server import MAX_HEAD, OPTIONS

pytestmark = pytest.mark.unit

PRODUCT = {name: path for name, path in modules(checkout()) if name.startswith("kazashi.")}
SECONDS = 0.3
"""The limits on time in this file."""

GOOD = b"GET / HTTP/1.1\r\nHost: here\r\n\r\n"


async def echo(request: Request) -> Response:
    length = len(await request.body())
    return PlainTextResponse(str(length), headers={"X-Shown": "yes" if "x-shown" in request.headers else "no"})


async def large(request: Request) -> Response:
    return PlainTextResponse("x" * (32 << 20))


@pytest.fixture(scope="module")
def address() -> Iterator[tuple[str, int]]:
    """A server with the options of all servers, but shorter times."""
    application = Starlette(routes=[Route("/", echo, methods=["GET", "POST"]), Route("/large", large)])
    Guard(1 << 20, {}, lambda error, code, message: message).protect(application)
    with pytest.MonkeyPatch.context() as patch, socket.create_server(("127.0.0.1", 0)) as listening:
        for name in ("HEAD_SECONDS", "BODY_SECONDS", "STALLED_SECONDS"):
            patch.setattr(server, name, SECONDS)
        patch.setattr(server, "_LOOK_SECONDS", SECONDS / 10)
        running = uvicorn.Server(uvicorn.Config(application, **OPTIONS))
        thread = Thread(target=running.run, args=([listening],))
        thread.start()
        try:
            yield listening.getsockname()
        finally:
            running.should_exit = True
            thread.join()


def received(connection: socket.socket) -> bytes:
    """Everything until the server closes the connection."""
    parts = []
    with suppress(ConnectionResetError):
        while part := connection.recv(1 << 16):
            parts.append(part)
    return b"".join(parts)


def test_an_ordinary_request_gets_a_response(address: tuple[str, int]) -> None:
    with socket.create_connection(address, 10) as connection:
        connection.sendall(GOOD)
        assert connection.recv(64).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(
    "begun",
    [b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: here\r\nX-More: ", b"\r\n", GOOD + b"GET / HT",
     b"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: 10\r\n\r\n12345"],
    ids=["nothing", "half a line", "half a header", "an empty line", "a half request after a whole one", "half a body"],
)  # fmt: skip
def test_a_client_that_does_not_go_on_is_dropped(address: tuple[str, int], begun: bytes) -> None:
    with socket.create_connection(address, 10) as connection:
        connection.sendall(begun)
        assert b"HTTP/1.1 200" not in received(connection).partition(b"\r\n\r\n")[2]


def test_a_client_that_does_not_read_is_dropped(address: tuple[str, int]) -> None:
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(10)
        connection.connect(address)
        connection.sendall(b"GET /large HTTP/1.1\r\nHost: here\r\n\r\n")
        with socket.create_connection(address, 10) as other:  # which waits for longer than the limit
            assert received(other) == b""
        with socket.create_connection(address, 10) as other:
            assert received(other) == b""
        assert len(received(connection)) < 32 << 20


def test_trailers_are_no_headers_and_cost_nothing(address: tuple[str, int]) -> None:
    """They come after a check has looked at the headers."""
    chunked = b"POST / HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n12345\r\n0\r\n"
    with socket.create_connection(address, 10) as connection, connection.makefile("rb") as responses:
        connection.sendall(chunked + b"X-Shown: yes\r\n\r\n")
        head = b"".join(iter(responses.readline, b"\r\n"))
        assert head.startswith(b"HTTP/1.1 200 ")
        assert b"x-shown: no" in head
    with socket.create_connection(address, 10) as connection, suppress(BrokenPipeError, ConnectionResetError):
        connection.sendall(chunked)
        for _ in range(64):
            connection.sendall(b"a: b\r\n" * (MAX_HEAD // 4))
        pytest.fail("16 megabytes of trailers were read")


def test_bodies_and_many_requests_on_one_connection_are_not_counted_as_heads(address: tuple[str, int]) -> None:
    with socket.create_connection(address, 10) as connection, connection.makefile("rb") as responses:
        for size in (900_000, 0, 100_000, MAX_HEAD, 1):
            connection.sendall(b"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: %d\r\n\r\n" % size + b"x" * size)
            head = b"".join(iter(responses.readline, b"\r\n"))
            assert head.startswith(b"HTTP/1.1 200 ")
            assert responses.read(len(str(size))) == str(size).encode()
        connection.sendall(GOOD * 3000)
        for _ in range(3000):
            assert b"".join(iter(responses.readline, b"\r\n")).startswith(b"HTTP/1.1 200 ")
            assert responses.read(1) == b"0"


@pytest.mark.parametrize("size", [MAX_HEAD + 100, 8 * MAX_HEAD])
@pytest.mark.parametrize(
    "head",
    [b"GET /%b HTTP/1.1\r\nHost: here\r\n\r\n", b"GET / HTTP/1.1\r\nHost: here\r\nX-Long: %b\r\n\r\n",
     b"GET / HTTP/1.1\r\nHost: here\r\n%b: 1\r\n\r\n"],
    ids=["URL", "value", "name"],
)  # fmt: skip
def test_a_large_head_is_refused(address: tuple[str, int], head: bytes, size: int) -> None:
    with socket.create_connection(address, 10) as connection:
        with suppress(BrokenPipeError, ConnectionResetError):  # the server may close the connection before the end
            connection.sendall(head % (b"a" * size) + b"x" * 1000)
        response = received(connection)
    assert response.startswith((b"HTTP/1.1 431 ", b"HTTP/1.1 400 ")) or not response
    assert b"HTTP/1.1 200" not in response


def test_many_small_headers_are_refused_too(address: tuple[str, int]) -> None:
    with socket.create_connection(address, 10) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: here\r\n" + b"a: b\r\n" * (MAX_HEAD // 2) + b"\r\n")
        assert received(connection).startswith(b"HTTP/1.1 431 ")


def test_the_largest_honest_head_is_below_half_of_the_limit(address: tuple[str, int]) -> None:
    """A client certificate that a TLS server passes on, with every byte of its PEM escaped."""
    with socket.create_connection(address, 10) as connection:
        certificate = b"%2B" * 4000 + b"a" * 6000
        assert 2 * len(certificate) < MAX_HEAD
        connection.sendall(b"GET / HTTP/1.1\r\nHost: here\r\nX-Client-Certificate: " + certificate + b"\r\n\r\n")
        assert connection.recv(64).startswith(b"HTTP/1.1 200 ")


def calls(path: Path) -> Iterator[tuple[str, ast.Call]]:
    """The calls in a module, by the name of what is called."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


def test_every_server_has_the_options_and_every_application_a_guard() -> None:
    for name, path in PRODUCT.items():
        called = list(calls(path))
        for function, call in called:
            if function in ("uvicorn.run", "uvicorn.Config"):
                options = {ast.unparse(keyword.value) for keyword in call.keywords if keyword.arg is None}
                assert any(text in option for option in options for text in ("OPTIONS", "serving(", "options")), name
        applications = sum(function in ("Starlette", "FastAPI") for function, _ in called)
        guards = sum(function.endswith(".protect") for function, _ in called)
        assert applications == guards, f"{name} has an application without a limit on bodies"
