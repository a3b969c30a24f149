"""How each program writes one and the same serial number."""

from __future__ import annotations

import re
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory

import psycopg
from cryptography import x509

from benchmarks.interoperability.conversation import LIBRARIES, RUST, Library
from benchmarks.interoperability.database import DatabaseJudge, PostgreSql
from benchmarks.interoperability.in_process import PythonSsl, SslJudge
from benchmarks.interoperability.issued import IssuedFiles
from benchmarks.interoperability.servers import SERVERS, ServerJudge
from benchmarks.interoperability.verifier import VerificationCase, output

SERIALS = {"counted": "70000002", "leading-zero": "0A3C5E7F9B1D2F44", "top-bit": "E3C5E7F9B1D2F44A"}
"""The certificates by name, and their serial numbers: one like an ordinary world's, and two like those of a world with
random ones, with a leading zero digit and with the top bit set."""

PLACES = {
    "Go": {"shown": "`SerialNumber.String()`"},
    "Java, SUN": {"shown": "`getSerialNumber()`", "text": "`X509Certificate.toString()`"},
    "Node": {"serial": "`serialNumber`"},
    "mbedTLS": {"shown": "`mbedtls_x509_serial_gets`"},
    "x509-parser": {"shown": "`raw_serial_as_string()`"},
}
"""Where each library shows the number, by the question that a program in `programs/` answers."""

ROOT = "serials-root"
NOT_SHOWN = "not shown"

Write = Callable[[str], str]
"""Returns what a program writes as the serial number of a certificate, given the certificate's name."""


@dataclass(frozen=True, slots=True)
class SerialRow:
    """A program, where it writes the serial number, and how it writes each of SERIALS."""

    program: str
    where: str
    written: tuple[str, ...]


def rows(issued: IssuedFiles, rust: bool) -> Iterator[SerialRow]:
    """Let each program write the serial numbers."""
    _make_certificates(issued)
    for program, where, write in chain(_tools(issued), _servers(issued)):
        yield _row(program, where, write)
    for library in (*LIBRARIES, *(RUST if rust else ())):
        if library.name in PLACES:
            with _shown(library, issued) as writes:
                for where, write in writes:
                    yield _row(library.name, where, write)
    yield from _databases(issued)


def _row(program: str, where: str, write: Write) -> SerialRow:
    return SerialRow(program, where, tuple(write(name) for name in SERIALS))


def _make_certificates(issued: IssuedFiles) -> None:
    """A root with a certificate for each of the serial numbers, made by OpenSSL."""
    root, key, request = issued.path(ROOT), issued.path(ROOT, "key"), issued.path("serials", "csr")

    def openssl(*arguments: str) -> None:
        subprocess.run(("openssl", *arguments), check=True, capture_output=True)

    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=Serials", "-keyout", key, "-out", root)
    openssl("req", "-new", "-key", issued.path("key"), "-subj", "/CN=Serial", "-out", request)
    for name, serial in SERIALS.items():
        files = ("-CA", root, "-CAkey", key, "-in", request, "-out", issued.path(name))
        openssl("x509", "-req", "-sha256", "-set_serial", f"0x{serial}", *files)
        openssl("x509", "-in", issued.path(name), "-outform", "DER", "-out", issued.path(name, "der"))


def _cut(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    return " ".join(match[1].split()) if match else NOT_SHOWN


def _tools(issued: IssuedFiles) -> Iterator[tuple[str, str, Write]]:
    def by_openssl(name: str) -> str:
        return _cut(r"(serial=\w+)", output("openssl", "x509", "-noout", "-serial", "-in", issued.path(name)))

    def by_openssl_text(name: str) -> str:
        said = output("openssl", "x509", "-noout", "-text", "-in", issued.path(name))
        return _cut(r"Serial Number:\s+(.+)\n", said)

    def by_certtool(name: str) -> str:
        said = output("certtool", "--certificate-info", "--infile", issued.path(name))
        return _cut(r"Serial Number \(hex\): (\w+)", said)

    def by_certutil(name: str) -> str:
        with TemporaryDirectory() as home:
            database = ("-d", f"sql:{home}")
            output("certutil", "-N", *database, "--empty-password")
            output("certutil", "-A", *database, "-n", name, "-t", ",,", "-i", issued.path(name))
            return _cut(r"Serial Number:\s+(.+)\n", output("certutil", "-L", *database, "-n", name))

    def by_keytool(name: str) -> str:
        said = output("keytool", "-J-Duser.language=en", "-printcert", "-file", issued.path(name))
        return _cut(r"Serial number: (\w+)", said)

    def by_pyca(name: str) -> str:
        return str(x509.load_pem_x509_certificate(Path(issued.path(name)).read_bytes()).serial_number)

    def by_curl(name: str) -> str:
        with _one_connection(issued, name) as port:
            said = output("curl", "--silent", "--insecure", "--write-out", "%{certs}", f"https://127.0.0.1:{port}/")
            return _cut(r"Serial Number:\s*(\S+)", said)

    yield "OpenSSL", "`x509 -serial`", by_openssl
    yield "OpenSSL", "`x509 -text`", by_openssl_text
    yield "GnuTLS", "`certtool -i`", by_certtool
    yield "NSS", "`certutil -L`", by_certutil
    yield "Java", "`keytool -printcert`", by_keytool
    yield "pyca/cryptography", "`serial_number`", by_pyca
    yield "curl", "`%{certs}` of the server's certificate", by_curl


@contextmanager
def _one_connection(issued: IssuedFiles, name: str) -> Iterator[int]:
    """A TLS server with one of the certificates that responds to one request; yields its port."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(issued.path(name), issued.path("key"))
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def respond() -> None:
            with suppress(OSError), context.wrap_socket(listening.accept()[0], server_side=True) as connection:
                connection.recv(4096)
                connection.sendall(b"HTTP/1.0 204 No Content\r\n\r\n")

        thread = threading.Thread(target=respond)
        thread.start()
        yield listening.getsockname()[1]
        thread.join()


def _servers(issued: IssuedFiles) -> Iterator[tuple[str, str, Write]]:
    places = {"nginx": "`$ssl_client_serial`", "Apache": "`SSL_CLIENT_M_SERIAL`", "HAProxy": "`ssl_c_serial,hex`",
              "stunnel": "the log, which has the subject"}  # fmt: skip
    for server in SERVERS:
        with server.ready(issued) as judge:
            yield server.name, places[server.name], partial(_by_server, judge)
    with PythonSsl().ready(issued) as judge_here:
        yield "Python ssl", "`getpeercert()`", partial(_by_python, judge_here)


def _by_server(judge: ServerJudge, name: str) -> str:
    return _cut(r"accepted (\w+)", judge.visited(VerificationCase(name, ROOT)))


def _by_python(judge: SslJudge, name: str) -> str:
    return judge.served(VerificationCase(name, ROOT)).removeprefix("serial ")


def _by_database(judge: DatabaseJudge, column: str, name: str) -> str:
    return judge.visited(VerificationCase(name, ROOT), column)


@contextmanager
def _shown(library: Library, issued: IssuedFiles) -> Iterator[list[tuple[str, Write]]]:
    """Where a library shows the serial number, and how."""
    with library.ready(issued) as conversation:

        def asked(word: str) -> Write:
            def write(name: str) -> str:
                said = conversation.ask(word, issued.path(name, "der"), "", "", "", "")
                return said.strip().removeprefix("SerialNumber:").strip(" []")

            return write

        yield [(where, asked(word)) for word, where in PLACES[library.name].items()]


def _databases(issued: IssuedFiles) -> Iterator[SerialRow]:
    with PostgreSql().ready(issued) as judge:
        with psycopg.connect(judge.url, autocommit=True) as connection:
            connection.execute("CREATE EXTENSION sslinfo")
        for where, column in (("`pg_stat_ssl.client_serial`", "client_serial"),
                              ("`ssl_client_serial()` of sslinfo", "ssl_client_serial()")):  # fmt: skip
            yield _row("PostgreSQL", where, partial(_by_database, judge, column))
