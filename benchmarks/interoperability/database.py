"""PostgreSQL as a verifier: `ssl_crl_file`, as a client with a card meets it."""

from __future__ import annotations

import os
import pwd
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import psycopg
from psycopg import sql

from benchmarks.interoperability.issued import IssuedFiles
from benchmarks.interoperability.verifier import (
    AUTHENTICATION,
    GOOD,
    LIST,
    REVOKED,
    VerificationCase,
    one_line,
    version_of,
)
from kazashi.assembly.postgresql import binaries, server
from kazashi.assembly.served import free_port

_RELOAD_SECONDS = 20.0

HBA = """
local all all trust
hostssl all all 127.0.0.1/32 trust clientcert=verify-ca
"""


@dataclass
class DatabaseJudge:
    """A running server, whose settings are changed for each case."""

    issued: IssuedFiles
    url: str
    port: int
    home: Path

    def reads(self, certificate: str, _: frozenset[str]) -> bool:
        """Whether the verifier finds the certificate's own serial number in it."""
        said = self.visited(VerificationCase(certificate, f"{certificate.partition('-')[0]}-root"), "client_serial")
        return said == str(self.issued.serial(certificate))

    def judge(self, case: VerificationCase) -> str:
        """GOOD, REVOKED, or why the certificate is refused."""
        said = self.visited(case, "'accepted'")
        return GOOD if said == "accepted" else REVOKED if "certificate revoked" in said else one_line(said)

    def visited(self, case: VerificationCase, column: str) -> str:
        """Connect with the certificate, and return a column of pg_stat_ssl, or the error."""
        lists = self.issued.joined(*case.lists) if case.lists else ""
        self._set(ssl_ca_file=self._copied(self.issued.path(case.root)),
                  ssl_crl_file=self._copied(lists) if lists else "")  # fmt: skip
        try:
            with psycopg.connect(
                host="127.0.0.1", port=self.port, user="kazashi", dbname="postgres", sslmode="require",
                sslcert=self.issued.path(case.certificate), sslkey=self.issued.path("key"),
            ) as connection:  # fmt: skip
                query = sql.SQL("SELECT {}::text FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
                row = connection.execute(query.format(sql.SQL(column))).fetchone()
                return str(row[0]) if row else "no row"
        except psycopg.OperationalError as error:
            return str(error)

    def _copied(self, path: str) -> str:
        """A copy that the server's user can read."""
        return str(shutil.copy(path, self.home / Path(path).name))

    def _set(self, **settings: str) -> None:
        with psycopg.connect(self.url, autocommit=True) as connection:
            for name, value in settings.items():
                connection.execute(sql.SQL("ALTER SYSTEM SET {} = {}").format(sql.Identifier(name), sql.Literal(value)))
            connection.execute("SELECT pg_reload_conf()")
        end = time.monotonic() + _RELOAD_SECONDS
        while time.monotonic() < end:
            with psycopg.connect(self.url) as connection:  # only a new connection has what the server has read
                rows = connection.execute(
                    "SELECT name, setting FROM pg_settings WHERE name = ANY(%s)", [list(settings)]
                ).fetchall()
            if dict(rows) == settings:
                return
            time.sleep(0.02)
        raise RuntimeError(f"PostgreSQL does not take the settings {settings}")


class PostgreSql:
    """A PostgreSQL server."""

    name = "PostgreSQL"
    kinds: Sequence[str] = (AUTHENTICATION,)
    sources = frozenset({LIST})
    callers: frozenset[str] = frozenset()

    def version(self) -> str:
        """The version."""
        return version_of(str(binaries() / "postgres"), "--version")

    @contextmanager
    def ready(self, issued: IssuedFiles) -> Iterator[DatabaseJudge]:
        """Start the server. Its user owns copies of the files."""
        with TemporaryDirectory(prefix="kazashi-database-") as name:
            home = Path(name)
            (home / "hba").write_text(HBA, encoding="ascii")
            for source, target in ((issued.path("server"), "server.pem"), (issued.path("server", "key"), "server.key")):
                shutil.copy(source, home / target)
            (home / "server.key").chmod(0o600)
            if os.geteuid() == 0:
                owner = pwd.getpwnam("postgres")
                for path in (home, home / "server.key"):
                    os.chown(path, owner.pw_uid, owner.pw_gid)
            port = free_port()
            settings = {
                "listen_addresses": "127.0.0.1", "port": port, "ssl": "on", "hba_file": home / "hba",
                "ssl_cert_file": home / "server.pem", "ssl_key_file": home / "server.key",
            }  # fmt: skip
            with server(*(f"{key}={value}" for key, value in settings.items())) as url:
                yield DatabaseJudge(issued, f"{url}&port={port}", port, home)
