"""Serial numbers as other programs print them, in every command and service that takes one."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from unittest.mock import patch

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from kazashi.jpki.serial_number import MAX_SERIAL, NotASerialNumber, read_serial, serial_text
from kazashi.world.clock import instant_of
from tests.cli.program import MORNING, InProcessProgram, new_world
from tests.support import run

SERIALS = (0x05, 0x7F, 0x80, 0xB71B05, 0x70000001, 0xF0000001, 0x0A3C5E7F9B1D2F44, 0xE3C5E7F9B1D2F44A)

# Two certificates of a world: the first's hexadecimal digits are the second's decimal ones.
DIGITS = "1234567890"
HEXADECIMAL, DECIMAL = int(DIGITS, 16), int(DIGITS)
ODD = 0x0A3C5E7F9B1D2F44


@pytest.fixture(scope="module", params=SERIALS, ids=hex)
def certified(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[int, str]:
    """A serial number, and the path of a certificate that has it."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "x")])
    begin = instant_of(MORNING)
    certificate = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(request.param).not_valid_before(begin).not_valid_after(begin + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    path = tmp_path_factory.mktemp("certified") / "leaf.pem"
    path.write_bytes(certificate.public_bytes(Encoding.PEM))
    return request.param, str(path)


def test_the_printed_form_is_that_of_openssl(certified: tuple[int, str]) -> None:
    """nginx, Apache, Node and Python print through the same function."""
    serial, path = certified
    printed = run("openssl", "x509", "-in", path, "-noout", "-serial").strip().removeprefix("serial=")
    assert serial_text(serial) == printed
    assert read_serial(printed).hexadecimal == serial


def test_forms_of_other_programs_are_read(certified: tuple[int, str]) -> None:
    serial, path = certified
    text = run("openssl", "x509", "-in", path, "-noout", "-text")
    in_openssl = re.search(r"Serial Number:\s+(?:([0-9a-f:]+)\n|(\d+) \((0x[0-9a-f]+)\))", text)
    assert in_openssl is not None
    octets, decimal, prefixed = in_openssl.groups()
    in_gnutls = re.search(r"Serial Number \(hex\): ([0-9a-f]+)", run("certtool", "-i", "--infile", path))
    assert in_gnutls is not None
    for form in (octets, prefixed, in_gnutls[1], f" {serial:x}\n"):
        assert form is None or read_serial(form).hexadecimal == serial
    assert decimal is None or serial in read_serial(decimal).readings


@given(st.integers(1, MAX_SERIAL), st.sampled_from([str.upper, str.lower]))
def test_every_form_is_read_back(serial: int, case: Callable[[str], str]) -> None:
    text = case(serial_text(serial))
    octets = ":".join(text[place : place + 2] for place in range(0, len(text), 2))
    for form in (text, octets, f"0x{text}", f"0X{text}", f"00{text}", f"00:{octets}", text.lstrip("0")):
        assert read_serial(form).hexadecimal == serial
    assert serial in read_serial(str(serial)).readings


@pytest.mark.parametrize(
    "text",
    ["", " ", "0", "00", "0x", "0x0", "g", "12G4", "-1", "+1", "7000_0002", "70:000002", ":70", "70:", "70::00", "1.5",
     "0x70 02", "１２", "1" * 41, "F" * 17, "99999999999999999999", "x" * 300],
)  # fmt: skip
def test_what_is_no_serial_number_is_refused_in_our_own_words(text: str) -> None:
    with pytest.raises(NotASerialNumber, match="is not a serial number") as refused:
        read_serial(text)
    assert "int()" not in str(refused.value)
    assert len(str(refused.value)) < 200


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> InProcessProgram:
    """hanako's signature certificate is ODD and her authentication certificate is HEXADECIMAL; taro's is DECIMAL."""
    program = new_world(tmp_path_factory.mktemp("serials") / "w", "--serials", "random")
    assert isinstance(program, InProcessProgram)
    program.run("registry", "add", "hanako")
    program.run("registry", "add", "taro")
    directory = tmp_path_factory.mktemp("requests")
    for kind, who, serial in (("signature", "hanako", ODD), ("authentication", "hanako", HEXADECIMAL),
                              ("authentication", "taro", DECIMAL)):  # fmt: skip
        request = directory / f"{kind}-{who}.csr"
        run("openssl", "req", "-new", "-nodes", "-subj", "/", "-newkey", "rsa:2048", "-keyout", f"{request}.key",
            "-out", str(request))  # fmt: skip
        program.run("ca", "root", kind)  # the authority's own certificate takes a number first
        with patch("kazashi.pki.authority.secure_random", lambda _, serial=serial: serial):
            program.run("ca", "issue", kind, who, "--csr", str(request))
    return program


@pytest.mark.parametrize(
    "form",
    ["0A3C5E7F9B1D2F44", "a3c5e7f9b1d2f44", "0xA3C5E7F9B1D2F44", "00:0a:3c:5e:7f:9b:1d:2f:44", "00A3C5E7F9B1D2F44"],
)
def test_show_finds_the_holder_of_a_serial_number(town: InProcessProgram, form: str) -> None:
    (row,) = town.json("ca", "show", form)
    (own,) = [row for row in town.json("ca", "show", "hanako") if row["kind"] == "signature"]
    assert row == {"holder": "hanako", **own}
    assert (row["serial"], row["generation"], row["state"]) == ("0A3C5E7F9B1D2F44", "03", "good")
    assert row["not_after"] == "2031-04-17T14:59:59+00:00"


def test_a_decimal_number_is_taken_where_only_it_exists_and_said(town: InProcessProgram, tmp_path: Path) -> None:
    number, said = str(ODD), f"{ODD} was read as decimal; in hexadecimal it is 0A3C5E7F9B1D2F44"
    pem = town.run("ca", "certificate", "signature", number)
    assert pem.stderr.strip() == said
    (tmp_path / "leaf.pem").write_text(pem.stdout)
    printed = run("openssl", "x509", "-in", str(tmp_path / "leaf.pem"), "-noout", "-serial").strip()
    assert printed == "serial=0A3C5E7F9B1D2F44"
    for command in (("ca", "show", number), ("ca", "ocsp", "signature", number)):
        done = town.run(*command, "--json")
        assert done.stderr.strip() == said
        assert '"0A3C5E7F9B1D2F44"' in done.stdout
    assert town.run("ca", "ocsp", "signature", "0A3C5E7F9B1D2F44").stderr == ""


def test_where_both_readings_exist_both_are_shown(town: InProcessProgram) -> None:
    done = town.run("ca", "show", DIGITS)
    rows = [line.split() for line in done.stdout.splitlines()[1:]]
    assert {(row[0], row[2]) for row in rows} == {("hanako", DIGITS), ("taro", "499602D2")}
    assert done.stderr.strip() == f"{DIGITS} was read as decimal; in hexadecimal it is 499602D2"
    for command in (("certificate",), ("ocsp",), ("revoke",), ("release",)):
        words = town.error("ambiguous-serial-number", 2, "ca", *command, "authentication", DIGITS)
        assert "0x1234567890 and 0x499602D2" in words
    assert [row["state"] for row in town.json("ca", "show", DIGITS)] == ["good", "good"], "nothing was revoked"
    assert town.json("ca", "ocsp", "authentication", f"0x{DIGITS}")["serial"] == DIGITS
    assert [row["holder"] for row in town.json("ca", "show", "499602d2")] == ["taro"]


def test_show_finds_the_authorities_own_certificates(town: InProcessProgram) -> None:
    town.run("ca", "ocsp", "signature", "0A3C5E7F9B1D2F44")  # certifies a responder
    root = next(row for row in town.json("ca", "generations") if row["authority"] == "signature")
    (row,) = town.json("ca", "show", root["serial"])
    assert (row["holder"], row["kind"], row["generation"], row["state"]) == ("the authority", "signature", "03", "good")
    log = next(town.world.rglob("authority_signature.sqlite"))
    sql = "SELECT serial FROM event WHERE what = 'responder certified'"
    number = int(run("sqlite3", str(log), sql)) % (1 << 64)
    (row,) = town.json("ca", "show", f"0x{number:x}")
    assert (row["holder"], row["serial"]) == ("the OCSP responder", serial_text(number))


def test_an_unknown_number_says_how_it_was_read(town: InProcessProgram) -> None:
    words = town.error("no-such-certificate", 2, "ca", "certificate", "signature", "1879048194")
    assert "signature authority has issued no certificate 1879048194 nor 70000002 (if 1879048194 is decimal)" in words
    words = town.error("no-such-certificate", 2, "ca", "show", "0xBEEF")
    assert "neither authority has issued a certificate BEEF, and there is no resident '0xBEEF'" in words
    assert "mistyped" in town.error("no-such-certificate", 2, "ca", "show", "12345678901"), "a record code, nearly"
    assert "'cafe'" in town.error("no-such-resident", 2, "ca", "show", "cafe")
    for command in ("certificate", "revoke", "release", "ocsp"):
        assert "is not a serial number" in town.error("usage", 2, "ca", command, "signature", "7000_0002")


def test_lists_and_replies_have_whole_octets(town: InProcessProgram, tmp_path: Path) -> None:
    assert town.json("ca", "revoke", "signature", "A3C5E7F9B1D2F44")["serial"] == "0A3C5E7F9B1D2F44"
    town.run("clock", "advance", "1d")
    assert [entry["serial"] for entry in town.json("ca", "crl", "signature", "full")["entries"]] == ["0A3C5E7F9B1D2F44"]
    town.run("ca", "crl", "signature", "full", "--out", str(tmp_path / "full.crl"))
    text = run("openssl", "crl", "-inform", "DER", "-in", str(tmp_path / "full.crl"), "-noout", "-text")
    assert re.findall(r"Serial Number: (\w+)", text) == ["0A3C5E7F9B1D2F44"]
