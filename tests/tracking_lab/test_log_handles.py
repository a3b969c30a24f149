"""Handles of imported logs: texts that are one handle, texts that are none, and what cannot be told apart."""

from __future__ import annotations

import base64
import hashlib
import random
import re
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kazashi.jpki.serial_number import serial_text
from kazashi.tracking_lab.logs.handle_forms import OPEN, detect, key, key_columns, trimmed
from kazashi.tracking_lab.logs.mapping import Digits, HandleForm
from tests.support import run
from tests.tracking_lab.log_imports import SPELLINGS, LogImports

FIRST = 0x70000A01


@pytest.fixture
def logs(tmp_path: Path) -> LogImports:
    return LogImports(tmp_path)


def mixed(people: int, uses: int, spell: Callable[[int, str], str], seed: int = 1) -> str:
    """A log of three services and the truth, with a serial number in the spelling that `spell` gives it there."""
    draw = random.Random(seed)
    lines = ["time,shop,serial,who"]
    for number in range(uses):
        person, shop = number % people, draw.choice(("till", "library", "gate"))
        lines.append(f"2026-05-{1 + number % 28:02}T{number % 24:02}:{number % 60:02}:00+09:00,{shop},"
                     f"{spell(FIRST + person, shop)},p{person}")  # fmt: skip
    return "\n".join(lines) + "\n"


def recall_and_precision(logs: LogImports) -> tuple[float, float]:
    report = logs.program.json("tracking", "report", "--name", "logs", "--html", str(logs.directory / "page.html"))
    (run,) = [run for run in report["result"]["threats"] if run["id"] == "T1"]
    values = {one["id"]: one["value"] for one in run["results"]}
    return values["recall"]["value"], values["precision"]["value"]


def test_the_six_spellings_of_servers_are_one_handle_each(logs: LogImports) -> None:
    draw = random.Random(13)
    text = mixed(40, 231, lambda serial, _: draw.choice(list(SPELLINGS.values()))(serial))
    text += "".join(f"2026-05-0{day}T00:00:00+09:00,till,-,nobody\n" for day in range(1, 10))
    found = logs.run(logs.file(text))
    assert (found["rows"], found["uses"], found["services"], found["handles"]) == (240, 231, 3, 40)
    assert found["left_out"] == {"no handle": 9}
    assert logs.handles() == [serial_text(FIRST + number) for number in range(40)]
    assert found["decimal"] == len(set(re.findall(r",(18\d{8}),", text)))
    notes = "\n".join(found["notes"])
    assert f"{found['spellings']} spellings -> 40 handles" in notes
    assert "does not name the form of the handles; they were read as serial" in notes
    assert "does not name the authority" in notes


@pytest.mark.parametrize("way", ["one for each service", "all mixed"])
def test_spellings_do_not_change_recall_and_precision(logs: LogImports, way: str) -> None:
    draw = random.Random(5)
    of_shop = {"till": "upper", "library": "decimal", "gate": "colons"}
    text = mixed(60, 900, lambda serial, shop: SPELLINGS[
        of_shop[shop] if way == "one for each service" else draw.choice(list(SPELLINGS))](serial))  # fmt: skip
    logs.run(logs.file(text), person="who", handle={"column": "serial", "form": "serial", "authority": "signature"})
    assert recall_and_precision(logs) == (1.0, 1.0)


def test_each_authority_has_its_own_serial_numbers(logs: LogImports) -> None:
    """A signing service and a login service hold equal numbers of different people."""
    lines = ["time,shop,serial,who"]
    for number in range(40):
        lines += [f"2026-05-01T{number % 24:02}:00:00Z,contract,{FIRST + number:X},p{number}",
                  f"2026-05-02T{number % 24:02}:00:00Z,login,{FIRST + number:X},p{number + 1}"]  # fmt: skip
    path = logs.file("\n".join(lines))
    handle = {"column": "serial", "form": "serial"}
    mistaken = logs.run(path, handle=handle)
    assert mistaken["handles"] == 40
    assert any("does not name the authority" in note for note in mistaken["notes"])
    services = {
        "contract": {"handle": {"authority": "signature"}},
        "login": {"handle": {"authority": "authentication"}},
    }
    right = logs.run(path, handle=handle, services=services)
    assert right["handles"] == 80
    assert any("no two services share a handle" in note for note in right["notes"])
    assert {row["authority"] for row in logs.table("handle")} == {"signature", "authentication"}


def test_digits_are_read_as_the_other_values_of_their_service(logs: LogImports) -> None:
    """Random serial numbers of four octets: some have digits only, and nothing but the service's habit tells."""
    draw = random.Random(3)
    numbers = [draw.getrandbits(32) | 1 << 31 for _ in range(400)]
    rows = [f"2026-05-01T00:00:{number % 60:02}Z,{shop},{write(serial)}" for number, serial in enumerate(numbers)
            for shop, write in (("till", serial_text), ("library", str))]  # fmt: skip
    found = logs.run(logs.file("\n".join(["time,shop,serial", *rows])))
    assert found["handles"] == len(set(numbers)) == 400
    assert sorted(logs.handles()) == sorted(map(serial_text, numbers))
    assert any(serial_text(number).isdigit() for number in numbers), "the case is in the sample"


def test_digits_alone_need_a_word(logs: LogImports) -> None:
    rows = "\n".join(["time,shop,serial", *(f"2026-05-01T00:00:{n:02}Z,till,{1879048190 + n}" for n in range(30))])
    path, handle = logs.file(rows), {"column": "serial", "form": "serial"}
    said = logs.error(path, handle=handle)
    assert "digits only" in said
    assert "digits: decimal" in said
    logs.run(path, handle={**handle, "digits": "decimal"})
    assert logs.handles()[:4] == ["6FFFFFFE", "6FFFFFFF", "70000000", "70000001"]
    logs.run(path, handle=handle, services={"till": {"handle": {"digits": "hex"}}})
    assert logs.handles()[0] == "1879048190"
    assert logs.run(path)["forms"] == ["opaque"], "without a form, digits alone are not taken for serial numbers"


@pytest.mark.parametrize(("form", "texts", "handle"), [
    ("uuid", ["0E984725-C51C-4BF4-9960-E1C80E27ABA0", "{0e984725-c51c-4bf4-9960-e1c80e27aba0}",
              "urn:uuid:0e984725-c51c-4bf4-9960-e1c80e27aba0", "0e984725c51c4bf49960e1c80e27aba0"],
     "0e984725c51c4bf49960e1c80e27aba0"),
    ("mykey", ["AB12CD34", "ab12cd34", "AB12-CD34", " AB12 CD34 "], "AB12CD34"),
    ("hash", [hashlib.sha256(b"x").hexdigest(), hashlib.sha256(b"x").hexdigest().upper(),
              base64.b64encode(hashlib.sha256(b"x").digest()).decode(),
              base64.urlsafe_b64encode(hashlib.sha256(b"x").digest()).decode().rstrip("=")],
     hashlib.sha256(b"x").hexdigest()),
    ("opaque", ["Anna", " Anna", "Anna\t"], "Anna"),
    ("serial", ["12000005 (0xb71b05)", "00b71b05", "SerialNumber: [    00b71b05]", "Serial Number: b71b05", "0xB71B05",
                "00:b7:1b:05", "B7 1B 05", "serial=B71B05", "12000005", "B71B05"], "B71B05"),
])  # fmt: skip
def test_each_form_folds_its_spellings(logs: LogImports, form: str, texts: list[str], handle: str) -> None:
    rows = [f'2026-05-01T00:00:{place:02}Z,till,"{text}"' for place, text in enumerate(texts)]
    found = logs.run(logs.file("\n".join(["time,shop,serial", *rows, "2026-05-01,till,?*"])),
                     handle={"column": "serial", "form": form})  # fmt: skip
    others = {"opaque": ["?*"]}.get(form, [])
    assert logs.handles() == [*others, handle]
    if form != "opaque":
        assert found["left_out"] == {"a handle that cannot be read": 1}
        assert f"1 handle that cannot be read: log.csv:{len(texts) + 2}" in found["notes"]


def test_missing_handles_are_named_by_the_mapping(logs: LogImports) -> None:
    rows = [
        f"2026-05-01T00:00:{n:02}Z,till,{text}" for n, text in enumerate(("-", "", " ", "NULL", "none", "70000A0B"))
    ]
    path = logs.file("\n".join(["time,shop,serial", *rows]))
    assert logs.run(path, handle={"column": "serial", "form": "opaque"})["left_out"] == {"no handle": 4}
    named = {"column": "serial", "form": "serial", "missing": ["-", None, "none"]}
    assert logs.run(path, handle=named)["left_out"] == {"no handle": 5}


def test_a_handle_of_many_rows_is_reported_without_showing_it(logs: LogImports) -> None:
    rows = [f"2026-05-01T{n % 24:02}:{n % 60:02}:00Z,till,user{n % 600 if n % 50 else 'X'}" for n in range(1_400)]
    found = logs.run(logs.file("\n".join(["time,shop,serial", *rows])), row="")
    (note,) = [note for note in found["notes"] if "of the rows" in note]
    (number,) = map(int, re.findall(r"number (\d+)", note))
    assert logs.handles()[number - 1] == "userX"
    assert "userX" not in str(found)


def test_a_strict_import_needs_a_form_and_readable_rows(logs: LogImports) -> None:
    text = mixed(5, 20, lambda serial, _: serial_text(serial))
    assert "form" in logs.error(logs.file(text), options=("--strict",))
    handle = {"column": "serial", "form": "serial"}
    logs.run(logs.file(text), options=("--strict",), handle=handle)
    said = logs.error(
        logs.file(text + "2026-05-01,till,xyz,p\n2026-05-01,till\n"), options=("--strict",), handle=handle
    )
    assert "log.csv:22" in said
    assert "log.csv:23" in said
    assert "xyz" not in said


def test_a_handle_may_be_part_of_a_text(logs: LogImports) -> None:
    rows = ["2026-05-01T00:00:00Z,till,login of serial 70000A0B from here", "2026-05-01T00:00:01Z,till,disconnected"]
    handle = {"column": "serial", "form": "serial", "pattern": r"serial (\w+)"}
    found = logs.run(logs.file("\n".join(["time,shop,serial", *rows])), handle=handle)
    assert (logs.handles(), found["left_out"]) == (["70000A0B"], {"no handle": 1})


@pytest.mark.parametrize(("texts", "form"), [
    (["70000A0B", "70:00:0A:0C", "1879050761"], HandleForm.SERIAL),
    (["AA", "BB", "CC"], HandleForm.OPAQUE),
    (["10023", "10024"], HandleForm.OPAQUE),
    (["AB12CD3X", "70000A0B"], HandleForm.MYKEY),
    (["d41d8cd98f00b204e9800998ecf8427e"], HandleForm.HASH),
    (["0e984725-c51c-4bf4-9960-e1c80e27aba0"], HandleForm.UUID),
    (["anna", "ben"], HandleForm.OPAQUE),
    ([], HandleForm.OPAQUE),
])  # fmt: skip
def test_forms_are_detected(texts: list[str], form: HandleForm) -> None:
    assert detect(texts) is form


def in_sql(texts: list[str], form: HandleForm, digits: Digits | None) -> list[str | None]:
    part, numeral, found = key_columns("handle", form, digits)
    rows = duckdb.execute(
        f"SELECT {found} FROM (SELECT *, {numeral} AS numeral FROM (SELECT *, {part} AS part FROM ("
        f"SELECT {trimmed('text')} AS handle FROM (SELECT unnest($1::VARCHAR[]) AS text))))", [texts]
    ).fetchall()  # fmt: skip
    return [row[0] for row in rows]


_SERIALS = st.integers(0, 1 << 66).flatmap(lambda number: st.sampled_from([
    f"{number:X}", f"{number:x}", f"0x{number:x}", f"00{number:X}", str(number), f"{number} (0x{number:x})",
    f"{number + 1} (0x{number:x})", f"Serial Number: {number:x}", f"SerialNumber: [  {number:x}]", f" {number:x}\t",
    ":".join(re.findall("..", serial_text(number % (1 << 64)))), " ".join(re.findall("..", serial_text(number % 999))),
]))  # fmt: skip


@settings(max_examples=25)
@given(st.lists(st.one_of(_SERIALS, st.text("09aFxX: ()[]-_", max_size=20)), min_size=1, max_size=40))
def test_sql_reads_serial_numbers_as_the_parser_does(texts: list[str]) -> None:
    for digits in (None, Digits.DECIMAL, Digits.HEXADECIMAL):
        assert in_sql(texts, HandleForm.SERIAL, digits) == [key(text, HandleForm.SERIAL, digits) for text in texts]


@settings(max_examples=20)
@given(st.lists(st.text("0aFZ-{}:=+/ _", max_size=45), min_size=1, max_size=40))
def test_sql_reads_the_other_forms_as_python_does(texts: list[str]) -> None:
    for form in set(HandleForm) - {HandleForm.SERIAL}:
        assert in_sql(texts, form, None) == [key(text, form) for text in texts]


def test_certificates_are_found_in_the_texts_of_openssl_gnutls_and_java(logs: LogImports, tmp_path: Path) -> None:
    serials = (0xB71B05, 0xF0000001, 0x0A3C5E7F9B1D2F44, 0xE3C5E7F9B1D2F44A)
    run("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=x", "-keyout", f"{tmp_path}/key",
        "-out", f"{tmp_path}/root.pem")  # fmt: skip
    run("openssl", "req", "-new", "-key", f"{tmp_path}/key", "-subj", "/CN=y", "-out", f"{tmp_path}/request")
    rows = []
    for serial in serials:
        path = f"{tmp_path}/{serial:x}.pem"
        run("openssl", "x509", "-req", "-in", f"{tmp_path}/request", "-CA", f"{tmp_path}/root.pem", "-CAkey",
            f"{tmp_path}/key", "-set_serial", hex(serial), "-out", path)  # fmt: skip
        text = run("openssl", "x509", "-in", path, "-noout", "-text")
        written = {
            "openssl": re.search(r"Serial Number:\s+(.+)\n", text),
            "openssl serial": re.search("(.+)", run("openssl", "x509", "-in", path, "-noout", "-serial")),
            "certtool": re.search(r"(Serial Number \(hex\): \w+)", run("certtool", "-i", "--infile", path)),
            "keytool": re.search(
                r"(Serial number: \w+)", run("keytool", "-J-Duser.language=en", "-printcert", "-file", path)
            ),
        }
        for shop, match in written.items():
            assert match is not None
            rows.append(f"2026-05-01T00:00:00Z,{shop},{match[1].strip()}")
    found = logs.run(logs.file("\n".join(["time,shop,serial", *rows])), handle={"column": "serial", "form": "serial"})
    assert (found["uses"], found["left_out"]) == (16, {})
    assert logs.handles() == sorted(map(serial_text, serials))


def test_an_open_key_cannot_come_from_a_log() -> None:
    assert key(f"{OPEN}12", HandleForm.SERIAL) is None
