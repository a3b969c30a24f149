"""`kazashi verify` and `mykey`, tenants and clients as users run them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from benchmarks import bench_relying_party
from kazashi.world.clock import instant_of
from kazashi.world.home import open_world
from tests.cli.program import Program, fails_in_one_line, new_world, serial_of
from tests.support import run
from tests.town import clock_of


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Program:
    """A world with one card, and a phone whose keys the tests have."""
    directory = tmp_path_factory.mktemp("relying")
    program = new_world(directory / "w")
    program.run("card", "new", "hanako")
    for kind in ("signature", "authentication"):
        run("openssl", "req", "-new", "-newkey", "rsa:2048", "-nodes", "-keyout", str(directory / f"{kind}.key"),
            "-subj", "/CN=phone", "-out", str(directory / f"{kind}.csr"))  # fmt: skip
        program.run("ca", "issue", kind, "hanako", "--phone", "pixel", "--csr", str(directory / f"{kind}.csr"),
                    "--out", str(directory / f"{kind}.pem"))  # fmt: skip
    return program


def beside(program: Program, name: str) -> str:
    """Return the path of a file that the fixture has created."""
    return str(program.world.parent / name)


def test_certificate_is_good_until_it_is_revoked(tmp_path: Path) -> None:
    program = new_world(tmp_path / "w")
    program.run("card", "new", "hanako")
    path = str(tmp_path / "signature.pem")
    program.run("ca", "certificate", "signature", serial_of(program, "hanako", "signature"), "--out", path)
    good = program.json("verify", "certificate", path)
    assert (good["outcome"], good["source"], good["source_age_seconds"]) == ("good", "partition-list", 0)
    assert good["certificate"]["attributes"]["name"] == "番号\u3000花子"
    program.run("registry", "event", "move-within", "hanako", "--street", "架空町１丁目")
    program.run("clock", "advance", "1d")
    bad = json.loads(program.run("verify", "certificate", path, "--json", expect=1).stdout)
    assert (bad["outcome"], bad["finding"], bad["reason"]) == ("bad", "revoked", "affiliationChanged")
    assert program.json("verify", "certificate", path, "--at-time", "2026-11-24T09:59+09:00", expect=1)["finding"] == (
        "not-yet-valid"
    )
    words = program.run("verify", "certificate", path, "--full", expect=1).stdout
    assert words.startswith("bad: revoked")
    assert "according to full-list of" in words


def test_wrong_certificate_type_is_bad(town: Program) -> None:
    done = town.run("verify", "certificate", beside(town, "signature.pem"), "--kind", "authentication", expect=1)
    assert done.stdout.startswith("bad: wrong-kind")


def test_malformed_certificate_gets_a_verdict(town: Program, tmp_path: Path) -> None:
    for content in (b"", b"nonsense", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", b"\x30\x80"):
        (tmp_path / "x").write_bytes(content)
        assert town.json("verify", "certificate", str(tmp_path / "x"), expect=1)["finding"] == "malformed"


def test_documents_in_several_formats_are_verified(town: Program, tmp_path: Path) -> None:
    letter = tmp_path / "letter.txt"
    letter.write_text("架空町図書館\n", encoding="utf-8")
    key, certificate = beside(town, "signature.key"), beside(town, "signature.pem")
    signing = ("-signer", certificate, "-inkey", key, "-md", "sha256", "-binary", "-in", str(letter))
    run("openssl", "cms", "-sign", "-outform", "DER", *signing, "-out", str(tmp_path / "apart.p7s"))
    run("openssl", "cms", "-sign", "-nodetach", "-outform", "PEM", *signing, "-out", str(tmp_path / "inside.pem"))
    run("openssl", "dgst", "-sha256", "-sign", key, "-out", str(tmp_path / "bare.sig"), str(letter))
    for arguments in (
        (str(tmp_path / "apart.p7s"), "--content", str(letter)),
        (str(tmp_path / "inside.pem"),),
        (str(letter), "--signature", str(tmp_path / "bare.sig"), "--certificate", certificate),
    ):
        assert town.json("verify", "document", *arguments)["outcome"] == "good"
    letter.write_text("another\n", encoding="utf-8")
    changed = town.json("verify", "document", str(tmp_path / "apart.p7s"), "--content", str(letter), expect=1)
    assert changed["finding"] == "tampered"
    fails_in_one_line(town, "verify", "document", str(letter), "--signature", str(tmp_path / "bare.sig"))


def test_challenge_is_accepted_only_once(town: Program, tmp_path: Path) -> None:
    origin = "https://library.example"
    challenge = json.loads(town.run("verify", "challenge", "--origin", origin).stdout)
    key = serialization.load_pem_private_key(Path(beside(town, "authentication.key")).read_bytes(), None)
    assert isinstance(key, rsa.RSAPrivateKey)
    signature = key.sign(bytes.fromhex(challenge["message"]), padding.PKCS1v15(), hashes.SHA256())
    der = subprocess.run(("openssl", "x509", "-in", beside(town, "authentication.pem"), "-outform", "DER"),
                         check=True, capture_output=True).stdout  # fmt: skip
    path = tmp_path / "response.json"
    response = {"nonce": challenge["nonce"], "signature": signature.hex(), "certificate": der.hex()}
    path.write_text(json.dumps(response))
    assert town.json("verify", "auth", str(path), "--origin", origin)["outcome"] == "good"
    assert town.json("verify", "auth", str(path), "--origin", origin, expect=1)["finding"] == "unknown-challenge"
    path.write_text("not JSON")
    assert town.json("verify", "auth", str(path), "--origin", origin, expect=1)["finding"] == "malformed"


@pytest.mark.parametrize(
    "arguments",
    [
        ("--roots", "/etc"), ("--at-time", "yesterday"), ("--lists", "/nowhere", "--roots", "/nowhere"),
    ],
    ids=" ".join,
)  # fmt: skip
def test_unusable_sources_are_usage_errors(town: Program, arguments: tuple[str, ...]) -> None:
    done = town.run("verify", "certificate", beside(town, "signature.pem"), *arguments, expect=2)
    assert done.stderr


def test_unreachable_authority_makes_verdict_indeterminate(town: Program) -> None:
    for lists in ("http://127.0.0.1:9", "ldap://127.0.0.1:9", "/nowhere"):
        reply = town.json("verify", "certificate", beside(town, "signature.pem"), "--lists", lists, expect=1)
        assert (reply["outcome"], reply["finding"]) == ("indeterminate", "no-information")
        assert "nowhere" in reply["detail"] or "127.0.0.1:9" in reply["detail"]


def test_conformance_pack_is_run_and_exported(town: Program, tmp_path: Path) -> None:
    rows = town.json("verify", "conformance")
    assert len(rows) > 200
    assert all(row["agrees"] for row in rows)
    town.run("verify", "conformance", "--export", str(tmp_path / "pack"))
    exported = json.loads((tmp_path / "pack" / "cases.json").read_text(encoding="utf-8"))
    assert [case["id"] for case in exported["cases"]] == [row["id"] for row in rows]


def put_forward(program: Program) -> None:
    """Set the clock to a day on which the card can be renewed, without the jobs of the years in between."""
    world = open_world(program.world)
    clock_of(world).stand(instant_of("2031-02-01T10:00+09:00"))
    world.close()


def test_one_mykey_id_for_each_person(tmp_path: Path) -> None:
    program = new_world(tmp_path / "w")
    for who in ("hanako", "taro"):
        program.run("card", "new", who)
    assert program.run("mykey", "register", "hanako", "--wish", "HANAKO01").stdout == "HANAKO01\n"
    program.error("already-registered", 1, "mykey", "register", "hanako")
    program.error("identifier-taken", 1, "mykey", "register", "taro", "--wish", "HANAKO01")
    program.error("mykey-refused", 1, "mykey", "register", "taro", "--wish", "short")
    program.error("mykey-refused", 1, "mykey", "tap", "hanako", "library")
    program.run("mykey", "enrol", "hanako", "library", "17", "--birth", "1988-04-17")
    assert program.run("mykey", "tap", "hanako", "library").stdout == "17\n"
    put_forward(program)
    program.run("card", "renew", "hanako")
    program.run("mykey", "find", "hanako", expect=1)
    assert program.run("mykey", "night").stdout.startswith("1 ")
    assert program.run("mykey", "find", "hanako").stdout == "HANAKO01\n"
    assert program.run("mykey", "tap", "hanako", "library").stdout == "17\n"
    assert {table: len(rows) for table, rows in program.json("mykey", "exposure").items()} == {
        "identifier": 1, "serial": 2, "member": 1, "event": 3,
    }  # fmt: skip
    assert program.run("mykey", "void", "hanako").stdout == "HANAKO01\n"
    program.error("identifier-taken", 1, "mykey", "register", "hanako", "--wish", "HANAKO01")


def phone_of(program: Program, who: str, name: str) -> None:
    """Issue an authentication certificate for a phone of a person."""
    request = str(program.world.parent / f"{name}.csr")
    run("openssl", "req", "-new", "-newkey", "rsa:2048", "-nodes", "-keyout", f"{request}.key", "-subj", "/CN=phone",
        "-out", request)  # fmt: skip
    program.run("ca", "issue", "authentication", who, "--phone", name, "--csr", request, "--out", f"{request}.pem")


@pytest.mark.parametrize(
    ("follow", "wanted"), [("person", 1), pytest.param("medium", 3, marks=pytest.mark.long), ("certificate", 4)]
)
def test_one_life_yields_as_many_ids_as_linkage_is_cut(tmp_path: Path, follow: str, wanted: int) -> None:
    """A card, its renewal, a phone, and the card after a theft: one ID with linkage, and one for each without."""
    program = new_world(tmp_path / "w")
    how: tuple[str, str] = ("--follow", follow)
    ids: list[str] = []

    def registers(medium: str = "card") -> None:
        done = program.run("mykey", "register", "hanako", "--medium", medium, *how, expect=None)
        if done.returncode:
            assert done.stderr.endswith("[already-registered]\n")
            assert program.run("mykey", "night", *how).stdout == "1 new certificates adopted\n"
        ids.append(program.run("mykey", "find", "hanako", "--medium", medium).stdout)

    program.run("card", "new", "hanako")
    registers()
    program.run("mykey", "enrol", "hanako", "library", "17", "--birth", "1988-04-17")
    put_forward(program)
    program.run("card", "renew", "hanako")
    registers()
    phone_of(program, "hanako", "pixel")
    registers("phone")
    program.run("registry", "event", "theft", "hanako")
    program.run("card", "new", "hanako", "--name", "hanako-2")
    registers()
    assert len(set(ids)) == wanted
    asked = [row for row in program.json("ca", "caller", "queries") if row["service"] == "linkage"]
    assert {row["caller"] for row in asked} <= {"mykey-platform"}
    assert bool(asked) == (follow != "certificate"), "without linkage nothing is asked"
    if follow == "person":
        assert program.run("mykey", "tap", "hanako", "library").stdout == "17\n"
        assert program.run("mykey", "void", "hanako").stdout == ids[0]
        again = program.run("mykey", "register", "hanako").stdout
        assert again != ids[0], "a voided ID is not issued again"
        program.error("already-registered", 1, "mykey", "register", "hanako")
    else:
        program.error("mykey-refused", 1, "mykey", "tap", "hanako", "library")


def test_tenant_and_client_names_are_unique(town: Program) -> None:
    assert len(town.run("tenant", "shop").stdout.strip()) == 48
    town.error("tenant-exists", 2, "tenant", "shop")
    assert town.run("tenant", "shop", "--follow", "medium").stderr.startswith("shop follows: medium.")
    fails_in_one_line(town, "tenant", " ")
    assert len(town.run("provider-client", "app", "https://app.example/callback").stdout.strip()) == 64
    town.error("client-exists", 2, "provider-client", "app", "https://app.example/callback")
    fails_in_one_line(town, "provider-client", "other", "http://app.example/callback")
    fails_in_one_line(town, "provider-client", "a\nb", "https://app.example/callback")
    assert town.run("provider-client", "old", "https://app.example/callback", "--without-pkce").stdout


NAMES = (
    "verdicts on logins", "verdicts on logins", "a lookup", "memory of the process", "read and checked",
    "XML of", "PDF of 5 pages", "levels of XML", "pairwise pseudonyms", "blind translations", "login in the browser",
)  # fmt: skip


@pytest.mark.reader
def test_relying_party_benchmark_takes_every_measure() -> None:
    measures = bench_relying_party.measure(
        size=bench_relying_party.RelyingPartySize(20, 20_000, 1000, 5, 1, revoked=50, rows=500, pages=5)
    )
    assert len(measures) == len(NAMES)
    for measure, name in zip(measures, NAMES, strict=True):
        assert name in measure.name
        assert min(measure.ours, measure.peer, measure.ratio) > 0


def test_servers_have_a_port_option() -> None:
    for command in ("agent", "site", "provider", "platform"):
        assert "--port" in run(sys.executable, "-m", "kazashi", command, "--help")
