"""Logs that nginx, Apache, HAProxy and PostgreSQL write of clients with certificates, imported as they are."""

from __future__ import annotations

import http.client
import os
import pwd
import shutil
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psycopg
import pytest

from kazashi.assembly.postgresql import server as database_server
from kazashi.assembly.served import free_port
from kazashi.tracking_lab.logs.log_format import FORMATS
from tests.cli.program import InProcessProgram
from tests.polling import until
from tests.relying_party.stack import APACHE_HEAD, APACHE_MODULES, NGINX_HEAD, server
from tests.support import run
from tests.tracking_lab.log_imports import LogImports

HOLDERS = ("hanako", "taro", "rare-kanji")
VISITS = 2


@dataclass(frozen=True, slots=True)
class Holders:
    """The directory of each holder's certificate and key, and the serial numbers of the certificates."""

    directory: Path
    serials: list[str]

    def context(self, holder: str) -> ssl.SSLContext:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.load_cert_chain(self.directory / f"{holder}.pem", self.directory / f"{holder}.key")
        return context

    def visit(self, port: int) -> None:
        """Each holder visits a server, and so does a client without a certificate."""
        for context in [*map(self.context, HOLDERS * VISITS), ssl._create_unverified_context()]:
            client = http.client.HTTPSConnection("127.0.0.1", port, context=context)
            client.request("GET", '/a?"b"', headers={"User-Agent": 'x "y" \\z', "Connection": "close"})
            client.getresponse().read()
            client.close()


@pytest.fixture(scope="module")
def holders() -> Iterator[Holders]:
    """Authentication certificates of sample residents, with their keys, on a disk that the servers' users can read."""
    with TemporaryDirectory(prefix="kazashi-servers-") as name:
        directory = Path(name)
        directory.chmod(0o755)
        program = InProcessProgram(directory / "w")
        program.run("world", "new", "--seed", "servers", "--serials", "random")
        serials = []
        for holder in HOLDERS:
            program.run("registry", "add", holder)
            run("openssl", "req", "-new", "-nodes", "-subj", "/", "-newkey", "rsa:2048", "-keyout",
                f"{directory}/{holder}.key", "-out", f"{directory}/{holder}.csr")  # fmt: skip
            program.run("ca", "issue", "authentication", holder, "--csr", f"{directory}/{holder}.csr")
            (row,) = program.json("ca", "show", holder)
            serials.append(row["serial"])
            pem = program.run("ca", "certificate", "authentication", f"0x{row['serial']}").stdout
            (directory / f"{holder}.pem").write_text(pem, encoding="ascii")
        (directory / "root.pem").write_text(program.run("ca", "root", "authentication").stdout, encoding="ascii")
        run("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost", "-keyout",
            f"{directory}/server.key", "-out", f"{directory}/server.pem")  # fmt: skip
        together = (directory / "server.pem").read_text() + (directory / "server.key").read_text()
        (directory / "together.pem").write_text(together, encoding="ascii")
        yield Holders(directory, sorted(serials))


NGINX = (
    NGINX_HEAD
    + """
  log_format certificate {format};
  server {{
    listen 127.0.0.1:{port} ssl;
    access_log {directory}/access.log certificate;
    ssl_certificate {directory}/server.pem;
    ssl_certificate_key {directory}/server.key;
    ssl_verify_client optional;
    ssl_client_certificate {directory}/root.pem;
    location / {{ return 200 "x"; }}
  }}
}}
"""
)

APACHE = (
    APACHE_HEAD
    + """
LoadModule ssl_module {modules}/mod_ssl.so
LogFormat {format} certificate
CustomLog {directory}/access.log certificate
SSLEngine on
SSLCertificateFile {directory}/server.pem
SSLCertificateKeyFile {directory}/server.key
SSLVerifyClient optional
SSLCACertificateFile {directory}/root.pem
"""
)

HAPROXY = """
global
  log stdout format raw daemon
defaults
  mode http
  timeout client 20s
  timeout server 20s
  timeout connect 20s
frontend tls
  log global
  log-format {format}
  bind 127.0.0.1:{port} ssl crt {directory}/together.pem verify optional ca-file {directory}/root.pem
  http-request return status 200 content-type text/plain string x
"""


def quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


@pytest.mark.parametrize(("name", "configuration", "command", "line", "log"), [
    ("nginx", NGINX, ("nginx", "-c"), "log_format certificate '{}';", "access.log"),
    ("apache", APACHE, ("apache2", "-DFOREGROUND", "-f"), "LogFormat {} certificate", "access.log"),
    ("haproxy", HAPROXY, ("haproxy", "-db", "-f"), "log-format {}", "output"),
])  # fmt: skip
def test_the_log_of_a_web_server_has_the_serial_numbers_of_the_certificates(
    holders: Holders, tmp_path: Path, name: str, configuration: str, command: tuple[str, ...], line: str, log: str
) -> None:
    with TemporaryDirectory(prefix="kazashi-server-") as home:
        directory, port = Path(home), free_port()
        directory.chmod(0o755)
        for file in ("server.pem", "server.key", "together.pem", "root.pem"):
            shutil.copy(holders.directory / file, directory)
        wanted = f"'{FORMATS[name]}'" if name == "nginx" else quoted(FORMATS[name])
        settings = directory / "settings.conf"
        settings.write_text(
            configuration.format(directory=directory, port=port, format=wanted, modules=APACHE_MODULES),
            encoding="utf-8",
        )
        with server((*command, str(settings)), port, directory / "output"):
            holders.visit(port)
            until(lambda: (directory / log).read_bytes().count(b"\n") > len(HOLDERS) * VISITS, "the log")
        written = (directory / log).read_bytes()
    logs = LogImports(tmp_path)
    path = logs.file(written, "access.log")
    inside = FORMATS[name] if name == "nginx" else quoted(FORMATS[name])
    for given in (name, line.format(inside)):
        # HAProxy also writes of connections that end before a request, in a format of its own.
        strict = () if name == "haproxy" else ("--strict",)
        found = logs.run(path, log=given, constant=name, options=strict)
        assert logs.handles() == holders.serials
        assert (found["left_out"]["no handle"], found["forms"], found["files"][0]["kind"]) == (1, ["serial"], "log")
        assert found["uses"] + found["left_out"].get("the same use again", 0) == len(HOLDERS) * VISITS


@pytest.mark.parametrize(("values", "line"), [
    ({"log": 'log_format x escape=json "$msec|$ssl_client_serial";'}, "1777593600.123|70000A0B"),
    ({"log": "log_format x '$time_iso8601 '\n '\"$ssl_client_s_dn\" $ssl_client_serial';"},
     '2026-05-01T09:00:00+09:00 "CN=x,O=y z" 70000A0B'),
    ({"log": "nginx-combined", "handle": "$remote_user"},
     '2001:db8::1 - 70000A0B [01/May/2026:09:00:00 +0900] "GET / HTTP/1.1" 200 1 "-" "curl/8"'),
    ({"log": "apache-common", "handle": "%u"},
     '192.0.2.1 - 70000A0B [01/May/2026:00:00:00 +0000] "GET / HTTP/1.1" 200 -'),
    ({"log": 'CustomLog /var/log/x "%t %{SSL_CLIENT_M_SERIAL}x"'}, "[01/May/2026:09:00:00 +0900] 70000A0B"),
    ({"log": "haproxy-http", "handle": "%hr"},
     'May  1 09:00:00 front haproxy[77]: 2001:db8::1:5000 [01/May/2026:09:00:00.123] tls~ b/s 0/0/0/1/1 200 85 - - '
     '---- 1/1/0/0/0 0/0 {70000A0B} "GET / HTTP/1.1"'),
    ({"log": "haproxy-http", "handle": "%hs"},
     '192.0.2.1:5000 [01/May/2026:09:00:00.123] tls~ b/s 0/0/0/1/1 200 85 - - ---- 1/1/0/0/0 0/0 {x} {70000A0B} "-"'),
    ({"log": 'log-format "%Ts %[ssl_c_serial,hex] %{+Q}[ssl_c_s_dn]"'}, '1777593600 70000A0B "/CN=a b"'),
])  # fmt: skip
def test_log_formats_are_read_as_configurations_write_them(tmp_path: Path, values: dict[str, Any], line: str) -> None:
    logs = LogImports(tmp_path)
    logs.run(logs.file(f"{line}\nsomething else\n{line}\n"), constant="till", **values)
    assert logs.handles() == ["70000A0B"]
    assert logs.seconds() == [1_777_593_600]


HBA = """
local all all trust
hostssl all all 127.0.0.1/32 trust clientcert=verify-ca
"""
STAT = "SELECT now() AS time, current_database() AS shop, client_serial AS serial FROM pg_stat_ssl"
RAISE = "DO $$ BEGIN RAISE LOG 'client certificate %', (SELECT client_serial FROM pg_stat_ssl WHERE pid = {}); END $$"


@contextmanager
def postgresql(holders: Holders) -> Iterator[tuple[int, Path]]:
    """A PostgreSQL server with TLS; yields its port and the directory of its log."""
    with TemporaryDirectory(prefix="kazashi-database-") as name:
        home, port = Path(name), free_port()
        (home / "hba").write_text(HBA, encoding="ascii")
        for file in ("server.pem", "server.key", "root.pem"):
            shutil.copy(holders.directory / file, home)
        (home / "server.key").chmod(0o600)
        if os.geteuid() == 0:
            owner = pwd.getpwnam("postgres")
            for path in (home, home / "server.key"):
                os.chown(path, owner.pw_uid, owner.pw_gid)
        settings = {
            "listen_addresses": "127.0.0.1", "port": port, "ssl": "on", "hba_file": home / "hba",
            "ssl_cert_file": home / "server.pem", "ssl_key_file": home / "server.key", "ssl_ca_file": home / "root.pem",
            "logging_collector": "on", "log_destination": "csvlog", "log_directory": home, "log_connections": "on",
        }  # fmt: skip
        with database_server(*(f"{key}={value}" for key, value in settings.items())):
            yield port, home


def test_logs_and_statistics_of_postgresql_have_the_serial_numbers_of_the_certificates(
    holders: Holders, tmp_path: Path
) -> None:
    rows = b""
    with postgresql(holders) as (port, home):
        for holder in HOLDERS:
            with psycopg.connect(
                host="127.0.0.1", port=port, user="kazashi", dbname="postgres", sslmode="require", autocommit=True,
                sslcert=str(holders.directory / f"{holder}.pem"), sslkey=str(holders.directory / f"{holder}.key"),
            ) as connection:  # fmt: skip
                connection.execute(RAISE.format(connection.info.backend_pid))
                query = f"COPY ({STAT} WHERE pid = {connection.info.backend_pid}) TO STDOUT (FORMAT csv, HEADER)"
                with connection.cursor().copy(query) as copy:
                    text = b"".join(map(bytes, copy))
            rows += text if not rows else text.partition(b"\n")[2]
        until(
            lambda: sum(path.read_text().count("client certificate")
                        for path in home.glob("*.csv")) >= len(HOLDERS), "the log"
        )  # fmt: skip
        (written,) = (path.read_bytes() for path in home.glob("*.csv"))
    logs = LogImports(tmp_path)
    decimal = {"form": "serial", "digits": "decimal"}
    logs.run(logs.file(rows), handle={"column": "serial", **decimal}, options=("--strict",))
    assert logs.handles() == holders.serials
    found = logs.run(
        logs.file(written), log="postgresql", constant="database", moment="log_time",
        handle={"column": "message", "pattern": r"client certificate (\d+)", **decimal}, options=("--strict",),
    )  # fmt: skip
    assert logs.handles() == holders.serials
    assert found["left_out"]["no handle"] > 0
    assert (found["files"][0]["zoned"], found["files"][0]["unzoned"]) == (found["rows"], 0)
