"""A world whose clock passes the end of 2049, after which RFC 5280 wants GeneralizedTime. openssl is the judge."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from kazashi.assembly.institutions import Institutions
from kazashi.world.clock import epoch, instant_of
from kazashi.world.key_source import SharedKeySource
from tests.cli.program import InProcessProgram
from tests.support import run
from tests.town import clock_of, new_world

BEFORE, AFTER = "2049-12-30T10:00+09:00", "2050-01-02T10:00+09:00"
KIND = "authentication"


@pytest.fixture(scope="module")
def later_world(tmp_path_factory: pytest.TempPathFactory, keys: SharedKeySource) -> InProcessProgram:
    """One certificate was revoked in 2049, another in 2050."""
    world = new_world(tmp_path_factory.mktemp("later") / "w", keys)
    clock_of(world).stand(instant_of(BEFORE))
    for who in ("hanako", "taro"):
        Institutions(world).issue_card(who, who)
    world.close()
    program = InProcessProgram(world.directory)
    program.run("ca", "revoke", KIND, serial(program, "hanako"), "--reason", "keyCompromise")
    program.run("clock", "stand", AFTER)
    program.run("ca", "revoke", KIND, serial(program, "taro"))
    program.run("clock", "advance", "1d")
    return program


def serial(program: InProcessProgram, who: str) -> str:
    return str(next(row["serial"] for row in program.json("ca", "show", who) if row["kind"] == KIND))


def pem(program: InProcessProgram, directory: Path, who: str) -> str:
    path = directory / f"{who}.pem"
    program.run("ca", "certificate", KIND, serial(program, who), "--out", str(path))
    return str(path)


@pytest.fixture
def files(later_world: InProcessProgram, tmp_path: Path) -> Path:
    later_world.run("ca", "root", KIND, "--out", str(tmp_path / "root.pem"))
    later_world.run("ca", "crl", KIND, "full", "--out", str(tmp_path / "full.crl"))
    run("openssl", "crl", "-inform", "DER", "-in", str(tmp_path / "full.crl"), "-out", str(tmp_path / "crl.pem"))
    return tmp_path


def test_openssl_shows_the_times_of_a_list(later_world: InProcessProgram, files: Path) -> None:
    text = run("openssl", "crl", "-in", str(files / "crl.pem"), "-noout", "-text")
    assert "Last Update: Jan  2 15:30:00 2050 GMT" in text
    assert "Next Update: Jan  4 15:30:00 2050 GMT" in text
    dates = re.findall(r"Serial Number: (\w+)\s+Revocation Date: (.*)", text)
    assert dates == [
        (serial(later_world, "hanako"), "Dec 30 01:00:00 2049 GMT"),
        (serial(later_world, "taro"), "Jan  2 01:00:00 2050 GMT"),
    ]
    forms = re.findall(r"(UTCTIME|GENERALIZEDTIME) +:(\w+)",
                       run("openssl", "asn1parse", "-in", str(files / "crl.pem")))  # fmt: skip
    assert forms == [
        ("GENERALIZEDTIME", "20500102153000Z"), ("GENERALIZEDTIME", "20500104153000Z"), ("UTCTIME", "491230010000Z"),
        ("GENERALIZEDTIME", "20500102010000Z"),
    ]  # fmt: skip


def test_openssl_verifies_with_the_list(later_world: InProcessProgram, files: Path) -> None:
    now = str(epoch(instant_of(AFTER)) + 86400)
    for who in ("hanako", "taro"):
        leaf = pem(later_world, files, who)
        dates = run("openssl", "x509", "-in", leaf, "-noout", "-startdate", "-enddate")
        assert "notBefore=Dec 30 01:00:00 2049 GMT" in dates
        assert re.search(r"notAfter=\w+ +\d+ 14:59:59 205\d GMT", dates)
        verify = ("openssl", "verify", "-attime", now, "-CAfile", str(files / "root.pem"))
        assert run(*verify, leaf).endswith("OK\n")
        output = run(*verify, "-crl_check", "-CRLfile", str(files / "crl.pem"), leaf, expect=2)
        assert "certificate revoked" in output


def test_openssl_reads_the_ocsp_response(later_world: InProcessProgram, files: Path) -> None:
    root, now = str(files / "root.pem"), str(epoch(instant_of(AFTER)) + 86400)
    request, response = str(files / "request"), str(files / "response")
    number = ("-serial", f"0x{serial(later_world, 'taro')}")
    run("openssl", "ocsp", "-issuer", root, *number, "-no_nonce", "-reqout", request)
    later_world.run("ca", "ocsp", KIND, "--request", request, "--out", response)
    output = run("openssl", "ocsp", "-reqin", request, "-respin", response, "-CAfile", root, "-issuer", root,
                 *number, "-no_nonce", "-attime", now, "-validity_period", "999999999")  # fmt: skip
    assert "Response verify OK" in output
    assert "Revocation Time: Jan  2 01:00:00 2050 GMT" in output


def test_the_verifier_reads_the_list(later_world: InProcessProgram, files: Path) -> None:
    for who, since in (("hanako", "2049-12-30T01:00:00+00:00"), ("taro", "2050-01-02T01:00:00+00:00")):
        verdict = later_world.json("verify", "certificate", pem(later_world, files, who), expect=1)
        assert (verdict["finding"], verdict["since"]) == ("revoked", since)
