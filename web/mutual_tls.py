"""Mutual TLS under a service's own authority, for tills and their centre, and for institutions and their network.

The application learns which certificate the client presented.
"""

from __future__ import annotations

import hashlib
import http.client
import ipaddress
import json
import select
import socket
import ssl
import tempfile
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from threading import Lock
from typing import Any
from urllib.parse import urlsplit

import httptools
import httpx
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from kazashi.web.server import OPTIONS, BoundedProtocol

_LIFETIME = timedelta(days=365 * 20)
"""The validity before and after the world's time. It is long because TLS uses the machine's clock, which differs."""

_SECONDS = 30.0
_CHUNK = 1 << 16

_SIGNS_CERTIFICATES = x509.KeyUsage(
    digital_signature=False, content_commitment=False, key_encipherment=False, data_encipherment=False,
    key_agreement=False, key_cert_sign=True, crl_sign=True, encipher_only=False, decipher_only=False,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Peer:
    """The other end of a connection: its certificate's common name, unit, and SHA-256 fingerprint in hexadecimal. All
    are empty without a certificate."""

    name: str = ""
    unit: str = ""
    fingerprint: str = ""


@dataclass(frozen=True, slots=True)
class Credentials:
    """A certificate, its key, and the certificate of the authority that must have issued the other end's; all PEM."""

    certificate: bytes
    key: bytes
    authority: bytes


class ServiceAuthority:
    """The authority of one service."""

    def __init__(self, name: str, key: bytes, certificate: bytes) -> None:
        """Load an authority from its private key and certificate, both PEM, as made by `begin`."""
        loaded = serialization.load_pem_private_key(key, None)
        assert isinstance(loaded, ec.EllipticCurvePrivateKey)
        self._name = name
        self._key = loaded
        self.certificate = certificate

    @classmethod
    def begin(cls, name: str, now: datetime) -> ServiceAuthority:
        """Create a new authority. The caller must store its `key` and `certificate`."""
        key = ec.generate_private_key(ec.SECP256R1())
        root = _certificate(name, "", key.public_key(), key, name, now, ca=True)
        return cls(name, pem_of(key), root.public_bytes(serialization.Encoding.PEM))

    @property
    def key(self) -> bytes:
        """The authority's private key, as PEM."""
        return pem_of(self._key)

    def issue(
        self, name: str, key: ec.EllipticCurvePublicKey, now: datetime, *, unit: str = "", host: str = ""
    ) -> bytes:  # fmt: skip
        """Issue a certificate (PEM) to a client, or to a server at `host`, which may be a client too."""
        issued = _certificate(name, unit, key, self._key, self._name, now, host=host)
        return issued.public_bytes(serialization.Encoding.PEM)

    def credentials(self, name: str, now: datetime, *, unit: str = "", host: str = "") -> Credentials:
        """Generate a key and issue a certificate for it, as `issue` does."""
        key = ec.generate_private_key(ec.SECP256R1())
        return Credentials(
            self.issue(name, key.public_key(), now, unit=unit, host=host), pem_of(key), self.certificate
        )  # fmt: skip


class PeerProtocol(BoundedProtocol):
    """The protocol of all servers, which also passes the client's certificate subject to the application."""

    peer = Peer()

    def connection_made(self, transport: Any) -> None:
        """Read the client's certificate after the handshake."""
        super().connection_made(transport)
        handshake = transport.get_extra_info("ssl_object")
        certificate = handshake.getpeercert(binary_form=True) if handshake is not None else None
        if certificate:
            subject = x509.load_der_x509_certificate(certificate).subject
            self.peer = Peer(
                _only(subject, NameOID.COMMON_NAME), _only(subject, NameOID.ORGANIZATIONAL_UNIT_NAME),
                hashlib.sha256(certificate).hexdigest(),
            )  # fmt: skip

    def on_message_begin(self) -> None:
        """Add the client to the request's scope."""
        super().on_message_begin()
        self.scope[_PEER] = self.peer  # type: ignore[literal-required]


_PEER = "kazashi.peer"


def peer_of(scope: Any) -> Peer:
    """The client of a request, from its ASGI scope; an empty Peer if the server does not use PeerProtocol."""
    peer = scope.get(_PEER)
    return peer if isinstance(peer, Peer) else Peer()


def serving(credentials: Credentials, directory: Path, host: str, port: int) -> dict[str, Any]:
    """uvicorn options to serve an application only to clients with a certificate of the authority.

    The server's key is written into `directory`, readable by its owner only.
    """
    paths = {}
    for name, content in (("server.pem", credentials.certificate), ("server.key", credentials.key),
                          ("authority.pem", credentials.authority)):  # fmt: skip
        paths[name] = directory / name
        paths[name].touch(mode=0o600)
        paths[name].write_bytes(content)
    return {
        **OPTIONS, "host": host, "port": port, "http": PeerProtocol, "ssl_certfile": paths["server.pem"],
        "ssl_keyfile": paths["server.key"], "ssl_ca_certs": str(paths["authority.pem"]),
        "ssl_cert_reqs": ssl.CERT_REQUIRED,
    }  # fmt: skip


def client_context(credentials: Credentials) -> ssl.SSLContext:
    """A TLS context for a client of such a server. Raises OSError and ValueError for unusable credentials."""
    context = ssl.create_default_context(cadata=credentials.authority.decode("ascii"))
    # An authority of an earlier world may lack the key identifiers that Python 3.13 and newer insist on.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    # Python reads a certificate and its key only from a file.
    with tempfile.NamedTemporaryFile() as file:
        file.write(credentials.certificate + credentials.key)
        file.flush()
        context.load_cert_chain(file.name)
    return context


def client(credentials: Credentials, address: str) -> httpx.Client:
    """An HTTP client with persistent connections to https://HOST:PORT.

    Raises OSError, ValueError and httpx.InvalidURL.
    """
    context = client_context(credentials)
    if not address.startswith("https://"):
        raise ValueError(f"{address!r} is not of the form https://HOST:PORT")
    return httpx.Client(base_url=address, verify=context, timeout=_SECONDS, trust_env=False)


class JsonConnection:
    """One persistent connection to such a server, for JSON requests and responses.

    For a steady stream of small messages it takes a fraction of the time of a general-purpose HTTP client.
    """

    def __init__(self, credentials: Credentials, address: str, seconds: float = _SECONDS) -> None:
        """Prepare the connection. `address` is https://HOST:PORT, and `seconds` is the timeout of every operation.

        Raises OSError and ValueError.
        """
        parts = urlsplit(address)
        if parts.scheme != "https" or not parts.hostname or parts.port is None:
            raise ValueError(f"{address!r} is not of the form https://HOST:PORT")
        self._host, self._port, self._seconds = parts.hostname, parts.port, seconds
        self._head = f" HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Type: application/json\r\nContent-Length: "
        self._context = client_context(credentials)
        self._socket: ssl.SSLSocket | None = None
        self._turn = Lock()

    def open(self) -> None:
        """Connect and do the handshake now rather than at the first request. Raises OSError."""
        connection = socket.create_connection((self._host, self._port), self._seconds)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket = self._context.wrap_socket(connection, server_hostname=self._host)

    def post(self, path: str, body: Any) -> tuple[int, bytes]:
        """Send a POST request with a JSON body, and return the response's status and content.

        Raises OSError and http.client.HTTPException; the next call then opens a new connection.
        """
        return self._request("POST", path, json.dumps(body).encode("ascii"))

    def get(self, path: str) -> tuple[int, bytes]:
        """Send a GET request, and return the response's status and content. Raises what `post` raises."""
        return self._request("GET", path, b"")

    def close(self) -> None:
        """Close the connection."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _request(self, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        with self._turn:  # otherwise two threads could read each other's responses
            if self._socket is not None and _has_ended(self._socket):
                self.close()
            try:
                if self._socket is None:
                    self.open()
                assert self._socket is not None
                self._socket.sendall(f"{method} {path}{self._head}{len(body)}\r\n\r\n".encode("ascii") + body)
                response = _Response(self._socket)
            except BaseException:
                self.close()  # what is left of the response must not be read as another one
                raise
            if not response.keep_alive:
                self.close()
            return response.status, bytes(response.content)


class _Response:
    """A response to a request, read from a connection."""

    def __init__(self, connection: ssl.SSLSocket) -> None:
        """Read the response. Raises OSError and http.client.HTTPException."""
        self.status, self.content, self.keep_alive = 0, bytearray(), False
        self._parser = httptools.HttpResponseParser(self)
        while not self.status:
            data = connection.recv(_CHUNK)
            if not data:
                raise http.client.RemoteDisconnected("the server has closed the connection without a whole response")
            try:
                self._parser.feed_data(data)
            except httptools.HttpParserError as error:
                raise http.client.HTTPException(f"the response is malformed: {error}") from error

    def on_body(self, body: bytes) -> None:
        """Add a part of the content."""
        self.content += body

    def on_message_complete(self) -> None:
        """Note that the response is complete."""
        self.status, self.keep_alive = self._parser.get_status_code(), self._parser.should_keep_alive()


def _has_ended(connection: ssl.SSLSocket) -> bool:
    """Whether the server has closed an idle connection, or has sent something that nobody requested."""
    poll = select.poll()
    poll.register(connection, select.POLLIN)
    if not poll.poll(0):
        return False
    seconds = connection.gettimeout()
    connection.setblocking(False)
    try:
        connection.recv(1)
    except ssl.SSLWantReadError:  # TLS itself has sent something, such as a session ticket
        return False
    except OSError:
        pass
    finally:
        connection.settimeout(seconds)
    return True


def pem_of(key: ec.EllipticCurvePrivateKey) -> bytes:
    """A private key as unencrypted PEM."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )  # fmt: skip


def _only(subject: x509.Name, kind: x509.ObjectIdentifier) -> str:
    """The value of a subject's attribute, or an empty string if it does not occur exactly once."""
    attributes = subject.get_attributes_for_oid(kind)
    return str(attributes[0].value) if len(attributes) == 1 else ""


def _host(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _certificate(
    name: str, unit: str, key: ec.EllipticCurvePublicKey, signer: ec.EllipticCurvePrivateKey, issuer: str,
    now: datetime, *, ca: bool = False, host: str = "",
) -> x509.Certificate:  # fmt: skip
    """A certificate: the authority's own (`ca`), a server's (`host`), or a client's."""
    usages = [ExtendedKeyUsageOID.CLIENT_AUTH, *([ExtendedKeyUsageOID.SERVER_AUTH] if host else [])]
    names = [x509.NameAttribute(NameOID.COMMON_NAME, name)]
    if unit:
        names.append(x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, unit))
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name(names))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _LIFETIME)
        .not_valid_after(now + _LIFETIME)
        .add_extension(x509.BasicConstraints(ca=ca, path_length=0 if ca else None), critical=True)
    )
    # Clients on Python 3.13 and newer check these (OpenSSL's X509_STRICT).
    builder = builder.add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), False)
    if ca:
        builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key), False)
        builder = builder.add_extension(_SIGNS_CERTIFICATES, critical=True)
    else:
        builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
    if host:
        builder = builder.add_extension(x509.SubjectAlternativeName([_host(host)]), critical=False)
    return builder.sign(signer, hashes.SHA256())
