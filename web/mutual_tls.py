"""TLS in which both ends show a certificate, under an authority of a service's own: tills and their centre,
institutions and their network. Which certificate was shown is told to the application."""

from __future__ import annotations

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

import httpx
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_LIFETIME = timedelta(days=365 * 20)
"""Before and after the world's time: TLS looks at the machine's clock, which is another."""

_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Peer:
    """Who is at the other end: the common name of the certificate that was shown, and its unit. Empty for nobody."""

    name: str = ""
    unit: str = ""


@dataclass(frozen=True, slots=True)
class Credentials:
    """A certificate, its key, and the authority's certificate under which the other end's must stand; all PEM."""

    certificate: bytes
    key: bytes
    authority: bytes


class ServiceAuthority:
    """The authority of one service."""

    def __init__(self, name: str, key: bytes, certificate: bytes) -> None:
        """Both are PEM, as `begin` has made them."""
        loaded = serialization.load_pem_private_key(key, None)
        assert isinstance(loaded, ec.EllipticCurvePrivateKey)
        self._name = name
        self._key = loaded
        self.certificate = certificate

    @classmethod
    def begin(cls, name: str, now: datetime) -> ServiceAuthority:
        """A new one. Whoever begins it keeps `key` and `certificate`."""
        key = ec.generate_private_key(ec.SECP256R1())
        root = _certificate(name, "", key.public_key(), key, name, now, ca=True)
        return cls(name, pem_of(key), root.public_bytes(serialization.Encoding.PEM))

    @property
    def key(self) -> bytes:
        """Its private key, as PEM."""
        return pem_of(self._key)

    def issue(
        self, name: str, key: ec.EllipticCurvePublicKey, now: datetime, *, unit: str = "", host: str = ""
    ) -> bytes:  # fmt: skip
        """A certificate (PEM) for a client of that name, or for a server at `host` that may be a client too."""
        issued = _certificate(name, unit, key, self._key, self._name, now, host=host)
        return issued.public_bytes(serialization.Encoding.PEM)

    def credentials(self, name: str, now: datetime, *, unit: str = "", host: str = "") -> Credentials:
        """The same for a new key, with that."""
        key = ec.generate_private_key(ec.SECP256R1())
        return Credentials(
            self.issue(name, key.public_key(), now, unit=unit, host=host), pem_of(key), self.certificate
        )  # fmt: skip


class PeerProtocol(HttpToolsProtocol):
    """uvicorn's own protocol, which also tells the application whose certificate was shown."""

    peer = Peer()

    def connection_made(self, transport: Any) -> None:
        """A connection, its handshake done."""
        super().connection_made(transport)
        handshake = transport.get_extra_info("ssl_object")
        shown = handshake.getpeercert(binary_form=True) if handshake is not None else None
        if shown:
            subject = x509.load_der_x509_certificate(shown).subject
            self.peer = Peer(_only(subject, NameOID.COMMON_NAME), _only(subject, NameOID.ORGANIZATIONAL_UNIT_NAME))

    def on_message_begin(self) -> None:
        """A request."""
        super().on_message_begin()
        self.scope[_PEER] = self.peer  # type: ignore[literal-required]


_PEER = "kazashi.peer"


def peer_of(scope: Any) -> Peer:
    """Who asks, from a request's ASGI scope; nobody where another protocol serves."""
    found = scope.get(_PEER)
    return found if isinstance(found, Peer) else Peer()


def serving(credentials: Credentials, directory: Path, host: str, port: int) -> dict[str, Any]:
    """How uvicorn serves an application to whoever shows a certificate of the authority, and to nobody else. The
    server's key is written into a directory of the caller's, for its owner alone."""
    paths = {}
    for name, content in (("server.pem", credentials.certificate), ("server.key", credentials.key),
                          ("authority.pem", credentials.authority)):  # fmt: skip
        paths[name] = directory / name
        paths[name].touch(mode=0o600)
        paths[name].write_bytes(content)
    return {
        "host": host, "port": port, "http": PeerProtocol, "log_level": "warning", "access_log": False,
        "server_header": False, "timeout_graceful_shutdown": 2, "ssl_certfile": paths["server.pem"],
        "ssl_keyfile": paths["server.key"], "ssl_ca_certs": str(paths["authority.pem"]),
        "ssl_cert_reqs": ssl.CERT_REQUIRED,
    }  # fmt: skip


def client_context(credentials: Credentials) -> ssl.SSLContext:
    """How a client meets such a server. Raises OSError and ValueError for credentials that are none."""
    context = ssl.create_default_context(cadata=credentials.authority.decode("ascii"))
    # Python reads a certificate and its key from a file only.
    with tempfile.NamedTemporaryFile() as file:
        file.write(credentials.certificate + credentials.key)
        file.flush()
        context.load_cert_chain(file.name)
    return context


def client(credentials: Credentials, address: str) -> httpx.Client:
    """A client whose connections are kept, at https://HOST:PORT. Raises OSError, ValueError and httpx.InvalidURL."""
    context = client_context(credentials)
    if not address.startswith("https://"):
        raise ValueError(f"{address!r} is no https://HOST:PORT")
    return httpx.Client(base_url=address, verify=context, timeout=_SECONDS, trust_env=False)


class JsonConnection:
    """One connection to such a server that is kept, for JSON there and back. It takes a fraction of what a client of
    general use takes, where small messages go all the time."""

    def __init__(self, credentials: Credentials, address: str, seconds: float = _SECONDS) -> None:
        """`address` is https://HOST:PORT; nothing is waited for longer than so many seconds. Raises OSError and
        ValueError."""
        parts = urlsplit(address)
        if parts.scheme != "https" or not parts.hostname or parts.port is None:
            raise ValueError(f"{address!r} is no https://HOST:PORT")
        self._connection = http.client.HTTPSConnection(
            parts.hostname, parts.port, context=client_context(credentials), timeout=seconds
        )
        self._turn = Lock()

    def open(self) -> None:
        """Shake hands now rather than with the first question. Raises OSError."""
        self._connection.connect()

    def post(self, path: str, body: Any) -> tuple[int, bytes]:
        """Status and content of the answer. Raises OSError and http.client.HTTPException; the next call then begins
        with a new connection."""
        return self._ask("POST", path, json.dumps(body))

    def get(self, path: str) -> tuple[int, bytes]:
        """The same for a question without a body."""
        return self._ask("GET", path, None)

    def close(self) -> None:
        """End the connection."""
        self._connection.close()

    def _ask(self, method: str, path: str, body: str | None) -> tuple[int, bytes]:
        with self._turn:  # two threads would read each other's answers
            if self._connection.sock is not None and _readable(self._connection.sock):
                self._connection.close()  # nobody has asked: the server has ended an idle connection
            try:
                self._connection.request(method, path, body, {"Content-Type": "application/json"})
                answer = self._connection.getresponse()
                return answer.status, answer.read()
            except (OSError, http.client.HTTPException):
                self._connection.close()
                raise


def _readable(connection: socket.socket) -> bool:
    poll = select.poll()
    poll.register(connection, select.POLLIN)
    return bool(poll.poll(0))


def pem_of(key: ec.EllipticCurvePrivateKey) -> bytes:
    """A private key as PEM, which nothing protects."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )  # fmt: skip


def _only(subject: x509.Name, kind: x509.ObjectIdentifier) -> str:
    """What a subject has of a kind, if that is one thing."""
    found = subject.get_attributes_for_oid(kind)
    return str(found[0].value) if len(found) == 1 else ""


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
    if not ca:
        builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
    if host:
        builder = builder.add_extension(x509.SubjectAlternativeName([_host(host)]), critical=False)
    return builder.sign(signer, hashes.SHA256())
