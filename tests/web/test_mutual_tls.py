"""Certificates of a service's own authority, as TLS clients verify them."""

from __future__ import annotations

import http.client
import select
import socket
import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from threading import Thread

import pytest
from cryptography import x509

from kazashi.web.mutual_tls import Credentials, JsonConnection, ServiceAuthority, client_context, serving

pytestmark = pytest.mark.unit

NOW = datetime(2026, 4, 1, tzinfo=UTC)


def handshake(server: ssl.SSLContext, client: ssl.SSLContext) -> ssl.SSLObject:
    """Return the client's end of a connection to the server named centre.test."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [client.wrap_bio(to_client, to_server, server_hostname="centre.test"),
            server.wrap_bio(to_server, to_client, server_side=True)]  # fmt: skip
    waiting = list(ends)
    while waiting:
        for end in list(waiting):
            try:
                end.do_handshake()
                waiting.remove(end)
            except ssl.SSLWantReadError:
                continue
    return ends[0]


def server_context(credentials: Credentials, directory: Path) -> ssl.SSLContext:
    options = serving(credentials, directory, "localhost", 0)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=options["ssl_ca_certs"])
    context.load_cert_chain(options["ssl_certfile"], options["ssl_keyfile"])
    context.verify_mode = ssl.CERT_REQUIRED
    return context


def test_both_ends_accept_the_certificates_where_openssl_is_strict(tmp_path: Path) -> None:
    authority = ServiceAuthority.begin("tills", NOW)
    server = server_context(authority.credentials("centre", NOW, host="centre.test"), tmp_path)
    client = client_context(authority.credentials("till-1", NOW, unit="rice-shop"))
    for context in (server, client):
        context.verify_flags |= ssl.VERIFY_X509_STRICT
    certificate = handshake(server, client).getpeercert(binary_form=True)
    assert certificate is not None
    assert x509.load_der_x509_certificate(certificate).subject.rfc4514_string() == "CN=centre"


def test_a_client_does_not_demand_what_authorities_of_earlier_worlds_lack() -> None:
    credentials = ServiceAuthority.begin("tills", NOW).credentials("till-1", NOW)
    assert not client_context(credentials).verify_flags & ssl.VERIFY_X509_STRICT


def test_a_client_refuses_the_server_of_another_authority(tmp_path: Path) -> None:
    other, authority = ServiceAuthority.begin("other", NOW), ServiceAuthority.begin("tills", NOW)
    server = server_context(other.credentials("centre", NOW, host="centre.test"), tmp_path)
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(server, client_context(authority.credentials("till-1", NOW)))


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


@contextmanager
def connected(directory: Path, *connections: Sequence[bytes]) -> Iterator[JsonConnection]:
    """A connection to a server that accepts `connections` one after the other, answers the requests on each with these
    bytes, and ends each after its last answer."""
    authority = ServiceAuthority.begin("tills", NOW)
    context = server_context(authority.credentials("centre", NOW, host="localhost"), directory)
    with socket.create_server(("localhost", 0)) as listening:

        def serve() -> None:
            for answers in connections:
                accepted, _ = listening.accept()
                with accepted, context.wrap_socket(accepted, server_side=True) as wrapped:
                    for answer in answers:
                        while b"\r\n\r\n" not in wrapped.recv(1 << 16):
                            pass
                        for byte in range(len(answer)):
                            wrapped.sendall(answer[byte : byte + 1])  # it may arrive in any parts
                    with suppress(OSError):
                        wrapped.unwrap()

        thread = Thread(target=serve)
        thread.start()
        credentials = authority.credentials("till-1", NOW)
        connection = JsonConnection(credentials, f"https://localhost:{listening.getsockname()[1]}", 10)
        yield connection
        connection.close()
        thread.join(10)
        assert not thread.is_alive(), "as many connections were opened as the server expects"


def test_a_connection_opened_ahead_is_the_one_that_is_used(tmp_path: Path) -> None:
    """A server of TLS 1.3 sends session tickets after the handshake, so that the connection is readable."""
    with connected(tmp_path, [OK, OK]) as connection:
        connection.open()
        assert connection._socket is not None
        assert connection._socket.version() == "TLSv1.3"
        assert select.select([connection._socket], [], [], 10)[0], "the tickets have arrived"
        assert [connection.get("/"), connection.post("/", {})] == [(200, b"{}")] * 2


def test_a_connection_that_the_server_has_ended_is_opened_again(tmp_path: Path) -> None:
    closing = b"HTTP/1.1 422 No\r\nConnection: close\r\nContent-Length: 3\r\n\r\nbad"
    with connected(tmp_path, [OK], [closing], [OK]) as connection:
        assert connection.get("/") == (200, b"{}")
        assert connection._socket is not None
        assert select.select([connection._socket], [], [], 10)[0], "the end of the connection has arrived"
        assert connection.get("/") == (422, b"bad")
        assert connection.get("/") == (200, b"{}")


@pytest.mark.parametrize("response", [OK[:-1], b"", b"SSH-2.0-OpenSSH\r\n\r\n"])
def test_a_response_that_is_not_whole_is_an_error(tmp_path: Path, response: bytes) -> None:
    with connected(tmp_path, [response], [OK]) as connection:
        with pytest.raises((OSError, http.client.HTTPException)):
            connection.get("/")
        assert connection.get("/") == (200, b"{}"), "the next request has a connection of its own"
