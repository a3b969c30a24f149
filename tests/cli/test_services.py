"""The services of a running instance, used by other people's programs."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kazashi.world.clock import epoch, instant_of
from tests.cli.program import MORNING, Program, serial_of
from tests.support import run


@pytest.fixture
def served(new: Program) -> Iterator[dict[str, Any]]:
    new.run("card", "new", "hanako")
    yield Program(new.world).json("up", "--ldap", "--detach", "--pcscd", "private")
    subprocess.run(
        [sys.executable, "-m", "kazashi", "--world", str(new.world), "down"], capture_output=True, check=False
    )


def processes_of(world: Path) -> list[str]:
    """Return the command lines that contain a directory's path."""
    lines = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if str(world) in words:
            lines.append(words)
    return lines


def address(uri: str) -> tuple[str, int]:
    host, _, port = uri.rpartition("/")[2].rpartition(":")
    return host, int(port)


@pytest.mark.reader
def test_services_serve_other_programs_and_stop(new: Program, served: dict[str, Any], tmp_path: Path) -> None:
    new = Program(new.world)
    services = new.json("status")["services"]
    assert services == served["services"]
    assert services["http"].startswith("http://127.0.0.1:")
    assert services["ldap"].startswith("ldap://127.0.0.1:")
    assert services["http"] in new.run("status").stdout
    key = new.json("ca", "caller", "add", "bank")["key"]
    serial = serial_of(new, "hanako", "signature")
    new.run("ca", "root", "signature", "--out", str(tmp_path / "root.pem"))
    new.run("ca", "certificate", "signature", serial, "--out", str(tmp_path / "leaf.pem"))

    def openssl(now: str) -> str:
        return run(
            "openssl", "ocsp", "-issuer", str(tmp_path / "root.pem"), "-cert", str(tmp_path / "leaf.pem"), "-CAfile",
            str(tmp_path / "root.pem"), "-url", f"{services['http']}/ocsp/signature", "-header",
            f"Authorization=Bearer {key}", "-attime", str(epoch(instant_of(now))), "-validity_period", "999999999",
        )  # fmt: skip

    output = openssl(MORNING)
    assert "Response verify OK" in output
    assert "leaf.pem: good" in output
    new.run("registry", "event", "theft", "hanako")
    new.run("clock", "advance", "15m")
    assert "leaf.pem: revoked" in openssl("2026-11-24T10:15+09:00")
    queries = new.json("ca", "caller", "queries", "--caller", "bank")
    assert [(row["serial"], row["said"], row["yen"]) for row in queries] == [
        (serial, "good", 20), (serial, "keyCompromise", 20),
    ]  # fmt: skip
    assert queries[0].keys() == {"at", "caller", "service", "kind", "serial", "said", "yen"}
    assert new.json("ca", "caller", "list") == [{"caller": "bank", "yen": 40}]
    entry = ("cn=Shibuya-ku CRLDP,ou=Tokyo-to,ou=CRL Distribution Points,ou=JPKI for digital signature,"
             "o=JPKI-EMU,c=JP")  # fmt: skip
    entries = run(
        "ldapsearch", "-x", "-LLL", "-t", "-T", str(tmp_path), "-H", services["ldap"], "-b", entry, "-s", "base"
    )
    assert "certificateRevocationList" in entries
    written = [path.read_bytes() for path in tmp_path.glob("ldapsearch-certificateRevocationList*")]
    assert written == [Path(new.json("ca", "crl", "signature", "13113")["file"]).read_bytes()]

    assert any("slapd" in words for words in processes_of(new.world))
    assert any("kazashi.pki.serve" in words for words in processes_of(new.world))
    assert new.json("down")["ended"] is True
    assert processes_of(new.world) == []
    for uri in services.values():
        with socket.socket() as probe:
            assert probe.connect_ex(address(uri)) != 0, f"{uri} still responds"
    new.error("not-running", 3, "status")
