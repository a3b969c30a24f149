"""Verifiers that are servers: nginx, Apache, HAProxy and stunnel, as a TLS client with a card meets them."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from cryptography import x509
from cryptography.x509.oid import NameOID

from benchmarks.interoperability.in_process import connected
from benchmarks.interoperability.issued import IssuedFiles
from benchmarks.interoperability.verifier import (
    AUTHENTICATION,
    GOOD,
    LIST,
    OCSP,
    REVOKED,
    VerificationCase,
    one_line,
    version_of,
)
from kazashi.assembly.served import free_port

_START_SECONDS = 20.0

NGINX = """
daemon off;
user root;
pid {home}/nginx.pid;
error_log {home}/log info;
events {{}}
http {{
  access_log off;
  client_body_temp_path {home}/t1; proxy_temp_path {home}/t2; fastcgi_temp_path {home}/t3;
  uwsgi_temp_path {home}/t4; scgi_temp_path {home}/t5;
  server {{
    listen 127.0.0.1:{port} ssl;
    ssl_certificate {certificate};
    ssl_certificate_key {key};
    ssl_verify_client on;
    ssl_client_certificate {root};
    {lists}
    {ocsp}
    location / {{ return 200 "accepted $ssl_client_serial\\n"; }}
  }}
}}
"""

APACHE = """
ServerRoot {home}
PidFile {home}/pid
Listen 127.0.0.1:{port}
ServerName localhost
User www-data
Group www-data
Mutex file:{home} default
ErrorLog {home}/log
LogLevel ssl:info
LoadModule mpm_event_module {modules}/mod_mpm_event.so
LoadModule authz_core_module {modules}/mod_authz_core.so
LoadModule alias_module {modules}/mod_alias.so
LoadModule ssl_module {modules}/mod_ssl.so
SSLEngine on
SSLCertificateFile {certificate}
SSLCertificateKeyFile {key}
SSLVerifyClient require
SSLCACertificateFile {root}
{lists}
{ocsp}
<Location "/">
  Require all granted
  Redirect 404
  ErrorDocument 404 "accepted %{{SSL_CLIENT_M_SERIAL}}"
</Location>
"""

HAPROXY = """
global
  log stdout format raw daemon
defaults
  mode http
  timeout client 20s
  timeout server 20s
  timeout connect 20s
frontend tls
  bind 127.0.0.1:{port} ssl crt {together} verify required ca-file {root} {lists}
  http-request return status 200 content-type text/plain lf-string "accepted %[ssl_c_serial,hex]"
"""

STUNNEL = """
foreground = yes
pid =
debug = 7
[tls]
accept = 127.0.0.1:{port}
cert = {certificate}
key = {key}
verifyChain = yes
CAfile = {root}
{lists}
{ocsp}
exec = /bin/sed
execArgs = sed -nu /^.$/{{s//accepted/p;q}}
"""


@dataclass(frozen=True, slots=True)
class Server:
    """A TLS server: its configuration, the lines for lists and for OCSP, and the command that runs it."""

    name: str
    configuration: str
    command: Callable[[str], Sequence[str]]
    versions: Sequence[str]
    lists: str
    ocsp: str = ""
    kinds: Sequence[str] = (AUTHENTICATION,)
    callers: frozenset[str] = frozenset()

    @property
    def sources(self) -> frozenset[str]:
        """LIST, and OCSP if it has a line for it."""
        return frozenset({LIST, OCSP}) if self.ocsp else frozenset({LIST})

    def version(self) -> str:
        """The version."""
        return version_of(*self.versions)

    @contextmanager
    def ready(self, issued: IssuedFiles) -> Iterator[ServerJudge]:
        """The server is started for each case."""
        with TemporaryDirectory(prefix="kazashi-server-") as home:
            yield ServerJudge(issued, self, Path(home))


@dataclass
class ServerJudge:
    """A server that is started for each case; its log is in `home`."""

    issued: IssuedFiles
    server: Server
    home: Path

    def reads(self, certificate: str, _: frozenset[str]) -> bool:
        """Whether the verifier finds the certificate's own serial number in it."""
        said = self.visited(VerificationCase(certificate, f"{certificate.partition('-')[0]}-root"))
        der = x509.load_der_x509_certificate(Path(self.issued.path(certificate, "der")).read_bytes())
        (name,) = der.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        log = (self.home / "log").read_text(errors="replace")
        return f"accepted {self.issued.serial(certificate):X}" in said or f"CN={name.value!s}" in log

    def judge(self, case: VerificationCase) -> str:
        """GOOD, REVOKED, or why the certificate is refused."""
        said = self.visited(case)
        log = (self.home / "log").read_text(errors="replace")
        if "accepted" in said:
            return GOOD
        return REVOKED if "certificate revoked" in f"{said} {log}".lower() else one_line(said)

    def visited(self, case: VerificationCase) -> str:
        """Start the server, and return what a client with the certificate gets from it."""
        with self.running(case) as port:
            return connected(self.issued, port, case.certificate)

    @contextmanager
    def running(self, case: VerificationCase) -> Iterator[int]:
        """Run the server for a case; yields its port."""
        port, files = free_port(), self.issued
        together = self.home / "together.pem"
        together.write_bytes(b"".join(Path(files.path("server", part)).read_bytes() for part in ("pem", "key")))
        kind = case.certificate.partition("-")[0]
        values = {
            "home": self.home, "port": port, "modules": "/usr/lib/apache2/modules", "together": together,
            "root": files.path(case.root), "certificate": files.path("server"), "key": files.path("server", "key"),
            "lists": self.server.lists.format(files.joined(*case.lists)) if case.lists else "",
            "ocsp": self.server.ocsp.format(files.ocsp(kind)) if case.ocsp else "",
        }  # fmt: skip
        settings, log = self.home / "settings.conf", self.home / "log"
        settings.write_text(self.server.configuration.format_map(values), encoding="utf-8")
        log.unlink(missing_ok=True)
        with log.open("ab") as out:
            command = ("setpriv", "--pdeathsig", "TERM", "--", *self.server.command(str(settings)))
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        try:
            _until_listening(port, process, log)
            yield port
        finally:
            process.terminate()
            process.wait(20)


def _until_listening(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + _START_SECONDS
    while time.monotonic() < end and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise RuntimeError(f"{process.args!r} does not listen: {log.read_text(errors='replace')}")


def _daemon(name: str) -> str:
    """The path of a program that may be outside an ordinary user's PATH."""
    return shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin") or name


SERVERS = (
    Server(
        "nginx", NGINX, lambda path: (_daemon("nginx"), "-c", path), (_daemon("nginx"), "-v"), "ssl_crl {};",
        "ssl_ocsp leaf; ssl_ocsp_responder {};",
    ),
    Server(
        "Apache", APACHE, lambda path: (_daemon("apache2"), "-DFOREGROUND", "-f", path), (_daemon("apache2"), "-v"),
        "SSLCARevocationFile {}\nSSLCARevocationCheck leaf",
        "SSLOCSPEnable leaf\nSSLOCSPDefaultResponder {}\nSSLOCSPOverrideResponder on",
    ),
    Server(
        "HAProxy", HAPROXY, lambda path: (_daemon("haproxy"), "-db", "-f", path), (_daemon("haproxy"), "-v"),
        "crl-file {}",
    ),
    Server(
        "stunnel", STUNNEL, lambda path: ("stunnel4", path), ("stunnel4", "-version"), "CRLfile = {}", "OCSP = {}"
    ),
)  # fmt: skip
