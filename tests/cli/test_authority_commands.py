"""`kazashi ca` and `kazashi card renew` as users run them, and output to a terminal."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from kazashi.world.clock import epoch, instant_of
from tests.cli.program import MORNING, InProcessProgram, Program, fails_in_one_line, serial_of
from tests.polling import LIMIT
from tests.support import run


def test_generations_and_roots_are_shown(new: Program, tmp_path: Path) -> None:
    rows = new.json("ca", "generations")
    assert [(row["authority"], row["generation"], row["algorithm"], row["keys"]) for row in rows] == [
        ("signature", "03", "rsa-2048", "software"), ("authentication", "03", "rsa-2048", "software"),
    ]  # fmt: skip
    assert rows[0].keys() == {"authority", "generation", "serial", "algorithm", "keys", "begins", "ends", "sha256"}
    assert (rows[0]["begins"], rows[0]["ends"]) == ("2023-07-16", "2033-07-15")
    begun = new.json("ca", "generations", "--begin-next")
    assert [row["generation"] for row in begun] == ["03", "next", "03", "next"]
    assert begun[1]["algorithm"] == "p-384"
    assert "sha256" in new.run("ca", "generations").stdout
    for generation, kind in (("03", rsa.RSAPublicKey), ("next", ec.EllipticCurvePublicKey)):
        path = tmp_path / f"{generation}.pem"
        new.run("ca", "root", "signature", "--generation", generation, "--out", str(path))
        root = x509.load_pem_x509_certificate(path.read_bytes())
        assert isinstance(root.public_key(), kind)
        sha256 = next(row["sha256"] for row in begun if row["generation"] == generation)
        assert root.fingerprint(hashes.SHA256()).hex().upper() == sha256
    assert new.run("ca", "root", "signature").stdout == (tmp_path / "03.pem").read_text()
    new.error("usage", 2, "ca", "root", "signature", "--generation", "77")
    new.run("ca", "root", "seal", expect=2)


def test_certificates_are_shown_and_written(town: Program, tmp_path: Path) -> None:
    rows = town.json("ca", "show", "hanako")
    assert [row["kind"] for row in rows] == ["signature", "authentication"]
    assert rows[0].keys() == {
        "kind", "serial", "generation", "medium", "state", "reason", "since", "not_before", "not_after",
    }  # fmt: skip
    assert [(row["state"], row["reason"], row["medium"]) for row in rows] == [("good", None, "card")] * 2
    text = town.run("ca", "certificate", "signature", rows[0]["serial"]).stdout
    town.run("ca", "certificate", "signature", rows[0]["serial"], "--out", str(tmp_path / "leaf.pem"))
    town.run("ca", "root", "signature", "--out", str(tmp_path / "root.pem"))
    assert (tmp_path / "leaf.pem").read_text() == text
    assert f"{x509.load_pem_x509_certificate(text.encode()).serial_number:X}" == rows[0]["serial"]
    output = run("openssl", "verify", "-attime", str(epoch(instant_of(MORNING))), "-CAfile", str(tmp_path / "root.pem"),
               str(tmp_path / "leaf.pem"))  # fmt: skip
    assert output.strip().endswith("OK")
    assert "card new taro" in town.run("ca", "show", "taro").stdout
    assert town.json("ca", "show", "taro") == []
    town.error("no-such-resident", 2, "ca", "show", "nobody")
    town.error("no-such-certificate", 2, "ca", "certificate", "signature", "1")
    assert "hexadecimal" in town.error("usage", 2, "ca", "certificate", "signature", "xyz")


def csr(place: Path, *algorithm: str) -> Path:
    path = place / f"{'-'.join(algorithm) or 'rsa'}.csr".replace(":", "")
    run("openssl", "req", "-new", "-nodes", "-subj", "/", "-newkey", *(algorithm or ("rsa:2048",)),
        "-keyout", f"{path}.key", "-out", str(path))  # fmt: skip
    return path


def test_own_key_is_certified(new: Program, tmp_path: Path) -> None:
    request = csr(tmp_path)
    der = tmp_path / "request.der"
    run("openssl", "req", "-in", str(request), "-outform", "DER", "-out", str(der))
    pem = new.run("ca", "issue", "authentication", "hanako", "--csr", str(request)).stdout
    assert new.run("ca", "issue", "authentication", "hanako", "--csr", str(der)).stdout == pem, (
        "one key, one certificate"
    )
    certificate = x509.load_pem_x509_certificate(pem.encode())
    assert certificate.public_key() == x509.load_pem_x509_csr(request.read_bytes()).public_key()
    assert certificate.not_valid_after_utc == instant_of("2031-04-17T23:59:59+09:00")
    assert [row["serial"] for row in new.json("ca", "show", "hanako")] == [f"{certificate.serial_number:X}"]
    assert "another person" in new.error("request-conflict", 1, "ca", "issue", "authentication", "taro", "--csr",
                                         str(request))  # fmt: skip
    (tmp_path / "garbage").write_bytes(b"garbage")
    (tmp_path / "broken.pem").write_text("-----BEGIN CERTIFICATE REQUEST-----\nx\n-----END CERTIFICATE REQUEST-----\n")
    (tmp_path / "tampered").write_bytes(der.read_bytes()[:-1] + bytes([der.read_bytes()[-1] ^ 1]))
    for name in ("garbage", "broken.pem", "tampered"):
        fails_in_one_line(new, "ca", "issue", "signature", "hanako", "--csr", str(tmp_path / name))
    new.error("no-proof-of-possession", 1, "ca", "issue", "signature", "hanako", "--csr", str(tmp_path / "tampered"))
    new.error("no-such-resident", 2, "ca", "issue", "signature", "nobody", "--csr", str(request))
    new.run("ca", "issue", "signature", "hanako", "--csr", str(tmp_path / "nothere"), expect=2)
    assert [row["kind"] for row in new.json("ca", "show", "hanako")] == ["authentication"]


def test_phone_and_next_card_keys_are_certified(new: Program, tmp_path: Path) -> None:
    first, second = csr(tmp_path), csr(tmp_path, "rsa:2048", "-sha256")
    curve = csr(tmp_path, "ec", "-pkeyopt", "ec_paramgen_curve:P-384")
    issue = ("ca", "issue", "authentication", "hanako", "--csr")
    assert "no good authentication certificate" in new.error("usage", 2, *issue, str(first), "--phone", "a")
    new.run("card", "new", "hanako")
    new.run(*issue, str(first), "--phone", "a")
    new.run(*issue, str(second), "--phone", "b", "--out", str(tmp_path / "b.pem"))
    rows = [row for row in new.json("ca", "show", "hanako") if row["kind"] == "authentication"]
    assert [(row["medium"], row["state"], row["reason"]) for row in rows] == [
        ("card", "good", None), ("phone", "revoked", "superseded"), ("phone", "good", None),
    ]  # fmt: skip
    assert rows[2]["not_after"] == rows[0]["not_after"]
    new.error("no-proof-of-possession", 1, *issue, str(curve))
    new.error("no-proof-of-possession", 1, *issue, str(first), "--next")
    text = new.run(*issue, str(curve), "--next").stdout
    assert isinstance(x509.load_pem_x509_certificate(text.encode()).public_key(), ec.EllipticCurvePublicKey)
    assert new.json("ca", "show", "hanako")[-1]["generation"] == "next"


def test_no_signature_certificate_under_fifteen(town: Program, tmp_path: Path) -> None:
    fails_in_one_line(town, "ca", "issue", "signature", "child", "--csr", str(csr(tmp_path)))
    assert town.json("ca", "show", "child") == []


def test_certificates_are_put_on_hold_revoked_and_released(new: Program, tmp_path: Path) -> None:
    new.run("card", "new", "hanako")
    serial = serial_of(new, "hanako", "signature")
    reply = new.json("ca", "revoke", "signature", serial, "--reason", "certificateHold")
    assert reply == {
        "serial": serial, "state": "held", "reason": "certificateHold", "since": "2026-11-24T01:00:00+00:00",
    }  # fmt: skip
    assert "phone's authentication certificate only" in new.error(
        "transition-refused", 1, "ca", "release", "signature", serial
    )
    assert new.json("ca", "revoke", "signature", serial)["reason"] == "cessationOfOperation"
    new.error("transition-refused", 1, "ca", "revoke", "signature", serial)
    new.error("no-such-certificate", 2, "ca", "revoke", "signature", "1")
    new.error("no-such-certificate", 2, "ca", "release", "signature", "1")
    new.error("usage", 2, "ca", "revoke", "signature", serial, "--reason", "whim")
    new.run("ca", "issue", "authentication", "hanako", "--csr", str(csr(tmp_path)), "--phone", "a")
    phone = new.json("ca", "show", "hanako")[-1]["serial"]
    new.run("ca", "revoke", "authentication", phone, "--reason", "certificateHold")
    assert "is good" in new.run("ca", "release", "authentication", phone).stdout
    assert new.json("ca", "compromise", "authentication", "03") == {"revoked": 2}
    assert {row["reason"] for row in new.json("ca", "show", "hanako") if row["kind"] == "authentication"} == {
        "cACompromise"
    }
    assert "0 certificates" in new.run("ca", "compromise", "authentication", "03").stdout


def test_revocation_list_changes_with_the_nightly_issue(new: Program, tmp_path: Path) -> None:
    new.run("card", "new", "hanako")
    serial = serial_of(new, "hanako", "signature")
    first = new.json("ca", "crl", "signature", "13113")
    new.run("registry", "event", "theft", "hanako")
    before = new.json("ca", "crl", "signature", "13113")
    assert before == first
    assert before.keys() == {"file", "number", "this_update", "next_update", "entries"}
    assert before["entries"] == []
    assert new.json("clock", "advance", "1d")["jobs"] > 0
    after = new.json("ca", "crl", "signature", "13113")
    assert after["entries"] == [{"serial": serial, "at": "2026-11-24T01:00:00+00:00", "reason": "keyCompromise"}]
    assert after["number"] > before["number"]
    assert after["this_update"] == "2026-11-24T15:30:00+00:00"
    assert serial in new.run("ca", "crl", "signature", "full").stdout
    assert new.json("ca", "crl", "signature", "authority")["entries"] == []
    out = tmp_path / "list.crl"
    new.run("ca", "crl", "signature", "13113", "--out", str(out))
    assert out.read_bytes() == Path(after["file"]).read_bytes()
    assert serial in run("openssl", "crl", "-inform", "DER", "-in", str(out), "-noout", "-text")
    assert new.run("ca", "lint", str(out), "--form", "crl").stdout.strip()
    for where in ("99999", "x", "../../world.json"):
        new.error("usage", 2, "ca", "crl", "signature", where)
    assert "nobody there has a certificate" in new.error("usage", 2, "ca", "crl", "signature", "47201")
    new.error("usage", 2, "ca", "crl", "signature", "full", "--generation", "77")


def test_ocsp_works_without_a_server(new: Program, tmp_path: Path) -> None:
    new.run("card", "new", "hanako")
    serial = serial_of(new, "hanako", "authentication")
    reply = new.json("ca", "ocsp", "authentication", serial)
    assert reply.keys() == {"serial", "status", "this_update", "next_update"}
    assert (reply["serial"], reply["status"]) == (serial, "good")
    new.run("clock", "advance", "1m")
    new.run("registry", "event", "loss-report", "hanako")
    assert ": good" in new.run("ca", "ocsp", "authentication", serial).stdout, "until the next quarter of an hour"
    new.run("clock", "advance", "14m")
    assert new.json("ca", "ocsp", "authentication", serial)["status"] == "certificateHold"
    new.run("ca", "root", "authentication", "--out", str(tmp_path / "root.pem"))
    request, response = tmp_path / "request", tmp_path / "response"
    run(
        "openssl",
        "ocsp",
        "-issuer",
        str(tmp_path / "root.pem"),
        "-serial",
        f"0x{serial}",
        "-no_nonce",
        "-reqout",
        str(request),
    )
    new.run("ca", "ocsp", "authentication", "--request", str(request), "--out", str(response))
    now = str(epoch(instant_of("2026-11-24T10:15+09:00")))
    output = run("openssl", "ocsp", "-reqin", str(request), "-respin", str(response), "-CAfile",
               str(tmp_path / "root.pem"), "-issuer", str(tmp_path / "root.pem"), "-serial", f"0x{serial}", "-attime",
               now, "-no_nonce", "-validity_period", "999999999")  # fmt: skip
    assert "Response verify OK" in output
    assert "revoked" in output
    assert new.run("ca", "lint", str(response), "--form", "ocsp").stdout.strip()
    new.error("usage", 2, "ca", "ocsp", "authentication")
    new.error("no-such-certificate", 2, "ca", "ocsp", "authentication", "1")
    new.error("usage", 2, "ca", "ocsp", "authentication", "x")


def test_lint_reports_findings(town: Program, tmp_path: Path) -> None:
    path = tmp_path / "leaf.pem"
    town.run("ca", "certificate", "signature", serial_of(town, "hanako", "signature"), "--out", str(path))
    done = InProcessProgram(town.world).run("ca", "lint", str(path), "--json", expect=None)
    findings: list[dict[str, Any]] = json.loads(done.stdout)
    assert {row["file"] for row in findings} <= {"leaf.pem"}
    assert done.returncode == any(row["severity"] in ("ERROR", "FATAL") for row in findings)
    (tmp_path / "garbage").write_bytes(b"garbage")
    town.error("not-lintable", 2, "ca", "lint", str(tmp_path / "garbage"))
    town.run("ca", "lint", str(tmp_path / "nothere"), expect=2)


def test_callers_are_added_listed_and_removed(town: Program) -> None:
    assert "ca caller add" in town.run("ca", "caller", "list").stdout
    first = town.json("ca", "caller", "add", "bank")
    assert (first["caller"], len(first["key"])) == ("bank", 48)
    assert town.json("ca", "caller", "add", "shop")["key"] != first["key"]
    town.error("caller-exists", 2, "ca", "caller", "add", "bank")
    assert town.json("ca", "caller", "list") == [{"caller": "bank", "yen": 0}, {"caller": "shop", "yen": 0}]
    assert town.json("ca", "caller", "queries") == []
    assert town.json("ca", "caller", "queries", "--caller", "bank") == []
    assert "no queries" in town.run("ca", "caller", "queries").stdout
    assert town.json("ca", "caller", "remove", "shop") == {"caller": "shop"}
    town.error("usage", 2, "ca", "caller", "remove", "shop")
    assert [row["caller"] for row in town.json("ca", "caller", "list")] == ["bank"]
    files = [path for path in town.world.rglob("*") if path.is_file() and first["key"].encode() in path.read_bytes()]
    assert not files, "the key is not stored"


# Cards


def test_renewal(new: Program) -> None:
    new.run("card", "new", "hanako")
    assert "2031-01-17" in new.error("renewal-refused", 1, "card", "renew", "hanako")
    reply = new.json("registry", "event", "renewal", "hanako")
    assert len(reply["refused"]) == 1
    assert "2031-01-17" in reply["refused"][0]
    new.run("registry", "event", "move-within", "hanako", "--street", "架空町１")
    renewed = new.json("card", "renew", "hanako")
    (entry,) = renewed.pop("entered")
    assert entry.endswith(" 住所 東京都渋谷区架空町１")
    assert renewed == {"card": "hanako", "renewed": ["signature"], "continued": False}
    assert "registered data" in new.error("renewal-refused", 1, "card", "update", "hanako")
    assert [row["state"] for row in new.json("ca", "show", "hanako")] == ["revoked", "good", "good"]
    new.run("registry", "event", "move-within", "hanako", "--street", "架空町２")
    assert new.json("registry", "event", "renewal", "hanako")["refused"] == [], "an earlier refusal is not repeated"
    assert [row["state"] for row in new.json("ca", "show", "hanako")] == ["revoked", "revoked", "good", "good"]
    new.run("registry", "event", "return", "hanako")
    assert "ended" in new.error("renewal-refused", 1, "card", "renew", "hanako")
    new.error("no-such-card", 2, "card", "renew", "nothere")


# Processes and terminals


def test_separate_process_gives_the_same_replies(town: Program) -> None:
    program = Program(town.world)
    assert program.json("registry", "show", "taro") == town.json("registry", "show", "taro")
    program.error("event-refused", 1, "registry", "event", "stay", "taro", "--until", "2030-01-01")
    program.error("no-such-resident", 2, "ca", "show", "nobody")


@pytest.mark.parametrize(
    "arguments", [("ca", "crl", "signature", "full", "--out", "-"), ("ca", "ocsp", "signature", "SERIAL", "--out", "-")]
)
def test_binary_data_is_not_written_to_a_terminal(town: Program, arguments: tuple[str, ...]) -> None:
    serial = serial_of(town, "hanako", "signature")
    command = [sys.executable, "-m", "kazashi", "--world", str(town.world),
               *(serial if argument == "SERIAL" else argument for argument in arguments)]  # fmt: skip
    ours, theirs = pty.openpty()
    try:
        done = subprocess.run(command, stdout=theirs, stderr=subprocess.PIPE, check=False, timeout=LIMIT)
        os.set_blocking(ours, False)
        with pytest.raises(BlockingIOError):
            os.read(ours, 1)
    finally:
        os.close(ours)
        os.close(theirs)
    assert done.returncode == 2
    assert done.stderr.decode().strip().endswith("[usage]")
    assert b"--out FILE" in done.stderr
    piped = subprocess.run(command, capture_output=True, check=False, timeout=LIMIT)
    assert (piped.returncode, piped.stdout[:1], piped.stderr) == (0, b"\x30", b"")
