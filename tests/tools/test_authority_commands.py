"""Registry, authorities, clock and world as a user meets them.

Most commands run in this process, which spares a second for each; what they say, where, and how they end is the same.
"""

from __future__ import annotations

import io
import json
import os
import pty
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from kazashi.tools.cli.command_line import main
from kazashi.world.clock import epoch, instant_of
from tests.support import run
from tests.tools.test_command_line import Program

MORNING = "2026-11-24T10:00+09:00"
SOMEBODY = (
    "--family",
    "模擬",
    "--birth",
    "1990-01-01",
    "--sex",
    "1",
    "--municipality",
    "13113",
    "--street",
    "架空町１",
)


class Here(Program):
    """The program, run in this process. What is a defect of it is raised here as it is."""

    def run(self, *arguments: str, expect: int | None = 0) -> subprocess.CompletedProcess[str]:
        out, complaints = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8") for _ in range(2))
        with (
            patch.object(sys, "argv", ["kazashi", "--world", str(self.world), *arguments]),
            redirect_stdout(out),
            redirect_stderr(complaints),
            pytest.raises(SystemExit) as ended,
        ):
            main()
        said = []
        for stream in (out, complaints):
            stream.flush()
            stream.seek(0)
            said.append(stream.read())
        status = int(ended.value.code or 0)
        assert expect in (None, status), f"{arguments} exited with {status}: {said}"
        return subprocess.CompletedProcess(arguments, status, *said)


def begun(directory: Path, *settings: str) -> Program:
    """A world whose clock stands at a morning in November."""
    program = Here(directory)
    program.run("world", "new", "--seed", "commands", *settings)
    program.run("clock", "stand", MORNING)
    return program


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Program:
    """A world with one card and two people more, for tests that change nothing in it, or each its own person."""
    program = begun(tmp_path_factory.mktemp("town") / "w")
    program.run("card", "new", "hanako")
    for who in ("taro", "child"):
        program.run("registry", "add", who)
    return program


@pytest.fixture
def new(tmp_path: Path) -> Program:
    return begun(tmp_path / "w")


def serial_of(program: Program, who: str, kind: str) -> str:
    return str(next(row["serial"] for row in program.json("ca", "show", who) if row["kind"] == kind))


def told_in_one_line(program: Program, *arguments: str) -> None:
    """Whatever is wrong is told in one line that ends with its code; a defect would raise."""
    done = Here(program.world).run(*arguments, expect=None)
    assert done.returncode in (1, 2, 3), done.stdout
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith("kazashi: ")
    assert line.endswith("]")


# World


def test_a_world_with_settings_of_one_s_own(tmp_path: Path) -> None:
    program = Here(tmp_path / "w")
    told = program.json("world", "new", "--seed", "abc", "--serials", "random", "--evening", "18", "--hop-minutes", "5",
                        "--crl-minute", "60", "--opens", "8", "--closes", "20")  # fmt: skip
    assert told == {
        "directory": str(program.world), "seed": "abc", "storage": "", "keys": "software", "serials": "random",
        "evening": 18, "hop_minutes": 5, "crl_minute": 60, "opens": 8, "closes": 20,
    }  # fmt: skip
    assert program.json("world", "show") == told
    assert "evening      18" in program.run("world", "show").stdout
    assert "--world" in program.error("usage", 2, "world", "new")
    assert program.json("world", "show") == told


@pytest.mark.parametrize(
    "settings",
    [("--evening", "24"), ("--crl-minute", "1440"), ("--hop-minutes", "-1"), ("--opens", "20", "--closes", "8"),
     ("--storage", "mysql://x"), ("--keys", "hardware")],
)  # fmt: skip
def test_settings_that_make_no_sense_begin_no_world(tmp_path: Path, settings: tuple[str, ...]) -> None:
    Here(tmp_path / "w").error("usage", 2, "world", "new", *settings)
    assert not (tmp_path / "w").exists()


def test_a_database_that_is_away(tmp_path: Path) -> None:
    program = Here(tmp_path / "w")
    program.run("world", "new", "--storage", f"postgresql://nobody@/nothing?host={tmp_path}")
    for command in (["registry", "list"], ["card", "new", "hanako"], ["ca", "generations"], ["clock", "advance", "1d"]):
        program.error("store-failed", 3, *command)


# Clock


def test_the_clock_goes_forward_only(new: Program) -> None:
    assert new.json("clock", "show") == {"now": "2026-11-24T10:00:00+09:00", "stands": True, "jobs": 0}
    assert new.json("clock", "stand", "2026-01-01")["now"] == "2026-01-01T00:00:00+09:00", "nothing has happened yet"
    new.run("clock", "stand", MORNING)
    new.run("card", "new", "hanako")
    assert "does not go back" in new.error("usage", 2, "clock", "stand", "2026-11-24T09:59:59")
    new.error("usage", 2, "clock", "run", "2026-11-23")
    told = new.json("clock", "advance", "1d")
    assert (told["now"], told["jobs"] >= 2) == ("2026-11-25T10:00:00+09:00", True)
    assert new.json("clock", "stand", "2026-11-25T12:00")["now"] == "2026-11-25T12:00:00+09:00"
    assert not new.json("clock", "run")["stands"]
    assert new.json("clock", "show")["now"].startswith("2026-11-25T12:0")
    assert new.json("clock", "stand")["stands"]
    assert "the clock stands" in new.run("clock", "show").stdout


def test_times_that_make_no_sense(town: Program) -> None:
    for words in ("1y", "", "soon", "10"):
        town.error("usage", 2, "clock", "advance", words)
    for words in ("tomorrow", "2026-02-30", ""):
        town.error("usage", 2, "clock", "stand", words)
    town.run("clock", "advance", expect=2)
    told_in_one_line(town, "clock", "advance", "999999w")
    assert town.json("clock", "show")["now"] == "2026-11-24T10:00:00+09:00"


# Registry


def test_people_are_added_and_shown(town: Program) -> None:
    added = town.json("registry", "add", "ichiro", *SOMEBODY, "--given", "一郎", "--kana", "モギ　イチロウ",
                      "--household", "h")  # fmt: skip
    assert added["address"] == "東京都渋谷区架空町１"
    assert len(added["record_code"]) == 11
    assert len(added["individual_number"]) == 12
    for who in ("ichiro", added["record_code"], added["individual_number"]):
        assert town.json("registry", "show", who) == added
    assert "架空町１" in town.run("registry", "show", "ichiro").stdout
    foreign = town.json("registry", "add", "john", "--family", "ＤＯＥ", "--birth", "1990-01-01", "--sex", "1",
                        "--municipality", "08220", "--street", "a", "--nationality", "GB", "--residence-status",
                        "student", "--stay-end", "2030-03-31", "--common-name", "土江")  # fmt: skip
    assert (foreign["nationality"], foreign["stay_end"], foreign["common_name"]) == ("GB", "2030-03-31", "土江")


def test_people_are_listed(town: Program) -> None:
    listed = town.json("registry", "list", "--limit", "2")
    assert [found["alias"] for found in listed] == ["hanako", "taro"]
    assert {found["municipality"] for found in town.json("registry", "list", "--municipality", "13113")} == {"13113"}
    assert town.json("registry", "list", "--municipality", "47201") == []
    assert "registry add" in town.run("registry", "list", "--municipality", "47201").stdout
    assert "番号　花子" in town.run("registry", "list").stdout
    town.error("usage", 2, "registry", "list", "--municipality", "99999")
    town.error("usage", 2, "registry", "list", "--municipality", "x")


@pytest.mark.parametrize(
    "arguments",
    [
        ("--family", "a", "--birth", "1990-01-01", "--sex", "1", "--municipality", "13113"),
        (*SOMEBODY[:2], "--birth", "1990-02-30", *SOMEBODY[4:]), (*SOMEBODY[:2], "--birth", "soon", *SOMEBODY[4:]),
        (*SOMEBODY, "--municipality", "99999"), (*SOMEBODY, "--municipality", "1"), (*SOMEBODY, "--stay-end", "x"),
    ],
)  # fmt: skip
def test_people_that_cannot_be(town: Program, arguments: tuple[str, ...]) -> None:
    town.error("usage", 2, "registry", "add", "nobody", *arguments)
    town.error("no-such-resident", 2, "registry", "show", "nobody")


def test_people_that_are_there_or_not_yet_born(town: Program) -> None:
    assert "'taro' already" in town.error("event-refused", 1, "registry", "add", "taro", *SOMEBODY)
    town.error("event-refused", 1, "registry", "add", "baby", *SOMEBODY, "--birth", "2026-11-25")
    town.error("no-such-resident", 2, "registry", "add", "stranger")
    town.run("registry", "add", "x", "--sex", "7", expect=2)


@pytest.mark.parametrize(
    "arguments",
    [
        ("registry", "show", "123456789012"),
        ("registry", "event", "death", "123456789012"), ("registry", "history", "12345678901"),
        ("ca", "show", "123456789012"),
        ("registry", "add", "12345678901", *SOMEBODY),
        ("registry", "add", "ancient", *SOMEBODY, "--birth", "1700-01-01"),
        ("ca", "certificate", "signature", "F" * 20), ("ca", "ocsp", "signature", "F" * 20),
        ("ca", "revoke", "signature", "F" * 20),
    ],
)  # fmt: skip
def test_numbers_and_names_that_cannot_be(town: Program, arguments: tuple[str, ...]) -> None:
    told_in_one_line(town, *arguments)


def test_municipalities(town: Program) -> None:
    assert len(town.json("registry", "municipalities")) == 1892
    tokyo = town.json("registry", "municipalities", "--prefecture", "13")
    assert len(tokyo) == 62
    assert [tokyo[12][key] for key in ("code", "name", "romaji")] == ["13113", "渋谷区", "Shibuya-ku"]
    assert tokyo[12].keys() == {"code", "prefecture", "name", "romaji", "prefecture romaji"}
    assert "Shibuya-ku" in town.run("registry", "municipalities", "--prefecture", "13").stdout
    assert town.json("registry", "municipalities", "--prefecture", "99") == []


def test_events_and_their_history(town: Program) -> None:
    town.run("registry", "add", "mover", *SOMEBODY)
    told = town.json("registry", "event", "move-within", "mover", "--street", "架空町２", "--on", "2026-11-20")
    assert told == {
        "resident": "mover",
        "event": "move-within",
        "status": "resident",
        "waits_until": None,
        "refused": [],
    }
    town.run("registry", "event", "move-out", "mover", "--to", "08220", "--moves-on", "2026-11-24")
    assert town.json("registry", "show", "mover")["status"] == "moving"
    town.run(
        "registry", "event", "move-in", "mover", "--municipality", "08220", "--street", "a", "--card-continued", "no"
    )
    said = town.run("registry", "event", "furigana", "mover", "--kana", "モギ").stdout
    assert "it leaves for Juki-Net at 2026-11-24 20:00 in Japan" in said
    told = town.json("registry", "event", "furigana", "mover", "--kana", "モ", "--channel", "counter")
    assert told["waits_until"] is None, "the counter's takes the paper along"
    history = town.json("registry", "history", "mover")
    assert [found["event"] for found in history] == [
        "registration", "move-within", "move-out", "move-in", "furigana", "furigana",
    ]  # fmt: skip
    assert [found["day"] for found in history[:2]] == ["2026-11-24", "2026-11-20"]
    assert history[2]["detail"] == {"to": "08220", "moves_on": "2026-11-24"}
    assert "moves_on 2026-11-24" in town.run("registry", "history", "mover").stdout


@pytest.mark.parametrize(
    ("code", "status", "arguments"),
    [
        ("event-refused", 1, ("move-within", "taro", "--street", "架空町９丁目９９番９９号")),
        ("event-refused", 1, ("stay", "taro", "--until", "2030-01-01")),
        ("event-refused", 1, ("death", "taro", "--on", "2026-11-25")),
        ("event-refused", 1, ("death", "taro", "--on", "1900-01-01")),
        ("event-refused", 1, ("stay", "taro", "--until", "soon")),
        ("event-refused", 1, ("emigration", "taro", "--continued", "perhaps")),
        ("event-refused", 1, ("furigana", "taro", "--kana", "taro")),
        ("event-refused", 1, ("card-continuation", "taro")),
        ("usage", 2, ("death", "taro", "--on", "soon")),
        ("usage", 2, ("move-out", "taro", "--to", "99999", "--moves-on", "2026-11-24")),
        ("usage", 2, ("correction", "taro", "--sex", "7")),
        ("no-such-resident", 2, ("death", "nobody")),
    ],
)
def test_events_that_are_refused(town: Program, code: str, status: int, arguments: tuple[str, ...]) -> None:
    town.error(code, status, "registry", "event", *arguments)


def test_events_that_are_no_commands(town: Program) -> None:
    for arguments in (("lapse", "taro"), ("renaming", "taro"), ("move-within", "taro"), ("death",),
                      ("death", "taro", "--channel", "pigeon"), ("death", "taro", "--street", "x")):  # fmt: skip
        assert "Error" in town.run("registry", "event", *arguments, expect=2).stderr
    assert [found["event"] for found in town.json("registry", "history", "taro")] == ["registration"]
    assert "move-within" in town.run("registry", "event", "--help").stdout


def test_an_import_is_whole_or_nothing(new: Program, tmp_path: Path) -> None:
    good = [{"alias": f"p{number}", "family": "模擬", "birth": "1990-01-01", "sex": "1", "municipality": code,
             "street": "a"} for number, code in enumerate(("13113", "08220"))]  # fmt: skip
    (tmp_path / "good.jsonl").write_text("\n".join(json.dumps(line) for line in good))
    (tmp_path / "bad.jsonl").write_text("\n".join(json.dumps(line) for line in [*good, {"family": "x"}]))
    (tmp_path / "odd.jsonl").write_text(json.dumps(good[0]) + "\n5\n")
    (tmp_path / "good.csv").write_text("alias,family,birth,sex,municipality,street\nc,模擬,1990-01-01,1,13113,a\n")
    assert "line 3: birth is missing" in new.error(
        "import-refused", 2, "registry", "import", str(tmp_path / "bad.jsonl")
    )
    new.error("import-refused", 2, "registry", "import", str(tmp_path / "odd.jsonl"))
    assert new.json("registry", "list") == []
    assert new.json("registry", "import", str(tmp_path / "good.jsonl")) == {"registered": 2}
    assert "1 residents registered" in new.run("registry", "import", str(tmp_path / "good.csv")).stdout
    assert sorted(found["alias"] for found in new.json("registry", "list")) == ["c", "p0", "p1"]
    assert all(found["individual_number"] for found in new.json("registry", "list"))
    assert "already" in new.error("import-refused", 2, "registry", "import", str(tmp_path / "good.jsonl"))
    new.run("registry", "import", str(tmp_path / "nothere"), expect=2)
    assert new.json("registry", "rename", "13113", "a", "b") == {"people": 2}
    assert {found["alias"]: found["street"] for found in new.json("registry", "list")} == {
        "p0": "b",
        "p1": "a",
        "c": "b",
    }
    new.error("usage", 2, "registry", "rename", "99999", "a", "b")


# Authorities


def test_generations_and_roots(new: Program, tmp_path: Path) -> None:
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
    said = run("openssl", "verify", "-attime", str(epoch(instant_of(MORNING))), "-CAfile", str(tmp_path / "root.pem"),
               str(tmp_path / "leaf.pem"))  # fmt: skip
    assert said.strip().endswith("OK")
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


def test_a_key_of_one_s_own_is_certified(new: Program, tmp_path: Path) -> None:
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
        told_in_one_line(new, "ca", "issue", "signature", "hanako", "--csr", str(tmp_path / name))
    new.error("no-proof-of-possession", 1, "ca", "issue", "signature", "hanako", "--csr", str(tmp_path / "tampered"))
    new.error("no-such-resident", 2, "ca", "issue", "signature", "nobody", "--csr", str(request))
    new.run("ca", "issue", "signature", "hanako", "--csr", str(tmp_path / "nothere"), expect=2)
    assert [row["kind"] for row in new.json("ca", "show", "hanako")] == ["authentication"]


def test_phones_and_the_next_card(new: Program, tmp_path: Path) -> None:
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


def test_nobody_under_fifteen_gets_a_signature_certificate(town: Program, tmp_path: Path) -> None:
    told_in_one_line(town, "ca", "issue", "signature", "child", "--csr", str(csr(tmp_path)))
    assert town.json("ca", "show", "child") == []


def test_certificates_are_held_revoked_and_released(new: Program, tmp_path: Path) -> None:
    new.run("card", "new", "hanako")
    serial = serial_of(new, "hanako", "signature")
    told = new.json("ca", "revoke", "signature", serial, "--reason", "certificateHold")
    assert told == {
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


def test_a_list_before_and_after_the_night(new: Program, tmp_path: Path) -> None:
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
    assert "nobody there is certified" in new.error("usage", 2, "ca", "crl", "signature", "47201")
    new.error("usage", 2, "ca", "crl", "signature", "full", "--generation", "77")


def test_ocsp_without_a_server(new: Program, tmp_path: Path) -> None:
    new.run("card", "new", "hanako")
    serial = serial_of(new, "hanako", "authentication")
    told = new.json("ca", "ocsp", "authentication", serial)
    assert told.keys() == {"serial", "status", "this_update", "next_update"}
    assert (told["serial"], told["status"]) == (serial, "good")
    new.run("clock", "advance", "1m")
    new.run("registry", "event", "loss-report", "hanako")
    assert ": good" in new.run("ca", "ocsp", "authentication", serial).stdout, "until the next mark"
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
    said = run("openssl", "ocsp", "-reqin", str(request), "-respin", str(response), "-CAfile",
               str(tmp_path / "root.pem"), "-issuer", str(tmp_path / "root.pem"), "-serial", f"0x{serial}", "-attime",
               now, "-no_nonce", "-validity_period", "999999999")  # fmt: skip
    assert "Response verify OK" in said
    assert "revoked" in said
    assert new.run("ca", "lint", str(response), "--form", "ocsp").stdout.strip()
    new.error("usage", 2, "ca", "ocsp", "authentication")
    new.error("no-such-certificate", 2, "ca", "ocsp", "authentication", "1")
    new.error("usage", 2, "ca", "ocsp", "authentication", "x")


def test_lint(town: Program, tmp_path: Path) -> None:
    path = tmp_path / "leaf.pem"
    town.run("ca", "certificate", "signature", serial_of(town, "hanako", "signature"), "--out", str(path))
    done = Here(town.world).run("ca", "lint", str(path), "--json", expect=None)
    findings: list[dict[str, Any]] = json.loads(done.stdout)
    assert {row["file"] for row in findings} <= {"leaf.pem"}
    assert done.returncode == any(row["severity"] in ("ERROR", "FATAL") for row in findings)
    (tmp_path / "garbage").write_bytes(b"garbage")
    town.error("not-lintable", 2, "ca", "lint", str(tmp_path / "garbage"))
    town.run("ca", "lint", str(tmp_path / "nothere"), expect=2)


def test_callers(town: Program) -> None:
    assert "ca caller add" in town.run("ca", "caller", "list").stdout
    first = town.json("ca", "caller", "add", "bank")
    assert (first["caller"], len(first["key"])) == ("bank", 48)
    assert town.json("ca", "caller", "add", "shop")["key"] != first["key"]
    town.error("caller-exists", 2, "ca", "caller", "add", "bank")
    assert town.json("ca", "caller", "list") == [{"caller": "bank", "yen": 0}, {"caller": "shop", "yen": 0}]
    assert town.json("ca", "caller", "queries") == []
    assert town.json("ca", "caller", "queries", "--caller", "bank") == []
    assert "nothing was asked" in town.run("ca", "caller", "queries").stdout
    assert town.json("ca", "caller", "remove", "shop") == {"caller": "shop"}
    town.error("usage", 2, "ca", "caller", "remove", "shop")
    assert [row["caller"] for row in town.json("ca", "caller", "list")] == ["bank"]
    found = [path for path in town.world.rglob("*") if path.is_file() and first["key"].encode() in path.read_bytes()]
    assert not found, "the key is kept nowhere"


# Cards


def test_renewal(new: Program) -> None:
    new.run("card", "new", "hanako")
    assert "2031-01-17" in new.error("renewal-refused", 1, "card", "renew", "hanako")
    told = new.json("registry", "event", "renewal", "hanako")
    assert len(told["refused"]) == 1
    assert "2031-01-17" in told["refused"][0]
    new.run("registry", "event", "move-within", "hanako", "--street", "架空町１")
    assert new.json("card", "renew", "hanako") == {"card": "hanako", "renewed": ["signature"]}
    assert [row["state"] for row in new.json("ca", "show", "hanako")] == ["revoked", "good", "good"]
    new.run("registry", "event", "move-within", "hanako", "--street", "架空町２")
    assert new.json("registry", "event", "renewal", "hanako")["refused"] == [], "what was refused before is no answer"
    assert [row["state"] for row in new.json("ca", "show", "hanako")] == ["revoked", "revoked", "good", "good"]
    new.run("registry", "event", "return", "hanako")
    assert "ended" in new.error("renewal-refused", 1, "card", "renew", "hanako")
    new.error("no-such-card", 2, "card", "renew", "nothere")


# Processes and terminals


def test_what_is_told_by_a_process_of_its_own(town: Program) -> None:
    program = Program(town.world)
    assert program.json("registry", "show", "taro") == town.json("registry", "show", "taro")
    program.error("event-refused", 1, "registry", "event", "stay", "taro", "--until", "2030-01-01")
    program.error("no-such-resident", 2, "ca", "show", "nobody")


@pytest.mark.parametrize(
    "arguments", [("ca", "crl", "signature", "full", "--out", "-"), ("ca", "ocsp", "signature", "SERIAL", "--out", "-")]
)
def test_binary_data_go_to_no_terminal(town: Program, arguments: tuple[str, ...]) -> None:
    asked = [serial_of(town, "hanako", "signature") if word == "SERIAL" else word for word in arguments]
    command = [sys.executable, "-m", "kazashi", "--world", str(town.world), *asked]
    ours, theirs = pty.openpty()
    try:
        done = subprocess.run(command, stdout=theirs, stderr=subprocess.PIPE, check=False, timeout=60)
        os.set_blocking(ours, False)
        with pytest.raises(BlockingIOError):
            os.read(ours, 1)
    finally:
        os.close(ours)
        os.close(theirs)
    assert done.returncode == 2
    assert done.stderr.decode().strip().endswith("[usage]")
    assert b"--out FILE" in done.stderr
    piped = subprocess.run(command, capture_output=True, check=False, timeout=60)
    assert (piped.returncode, piped.stdout[:1], piped.stderr) == (0, b"\x30", b"")


# The running services


@pytest.fixture
def served(new: Program) -> Iterator[dict[str, Any]]:
    new.run("card", "new", "hanako")
    yield Program(new.world).json("up", "--ldap", "--detach", "--pcscd", "private")
    subprocess.run(
        [sys.executable, "-m", "kazashi", "--world", str(new.world), "down"], capture_output=True, check=False
    )


def processes_of(world: Path) -> list[str]:
    """The command lines that name a directory, this program's and its tools' aside."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if str(world) in words:
            found.append(words)
    return found


def address(uri: str) -> tuple[str, int]:
    host, _, port = uri.rpartition("/")[2].rpartition(":")
    return host, int(port)


@pytest.mark.reader
def test_the_services_answer_other_people_s_programs_and_end(
    new: Program, served: dict[str, Any], tmp_path: Path
) -> None:
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

    said = openssl(MORNING)
    assert "Response verify OK" in said
    assert "leaf.pem: good" in said
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
    found = run(
        "ldapsearch", "-x", "-LLL", "-t", "-T", str(tmp_path), "-H", services["ldap"], "-b", entry, "-s", "base"
    )
    assert "certificateRevocationList" in found
    written = [path.read_bytes() for path in tmp_path.glob("ldapsearch-certificateRevocationList*")]
    assert written == [Path(new.json("ca", "crl", "signature", "13113")["file"]).read_bytes()]

    assert any("slapd" in words for words in processes_of(new.world))
    assert any("kazashi.pki.serve" in words for words in processes_of(new.world))
    assert new.json("down")["ended"] is True
    assert processes_of(new.world) == []
    for uri in services.values():
        with socket.socket() as probe:
            assert probe.connect_ex(address(uri)) != 0, f"{uri} still answers"
    new.error("not-running", 3, "status")
