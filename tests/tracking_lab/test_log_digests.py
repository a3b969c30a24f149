"""`kazashi tracking digests`: digests of serial numbers in place of them, which anyone can reverse who tries all."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from kazashi.jpki.serial_number import serial_text
from tests.tracking_lab.log_imports import LogImports

SERIALS = [0x7000000A + 256 * number for number in range(20)]


def imported(logs: LogImports, handles: list[str]) -> None:
    rows = [f"2026-05-01T00:00:{place:02}Z,till,{handle}" for place, handle in enumerate(handles)]
    logs.run(logs.file("\n".join(["time,shop,serial", *rows])), handle={"column": "serial", "form": "hash"})


@pytest.mark.parametrize(("digest", "given", "make"), [
    ("SHA-256", "hexadecimal, upper case", lambda serial: hashlib.sha256(f"{serial:08X}".encode()).hexdigest()),
    ("SHA-1", "hexadecimal, lower case", lambda serial: hashlib.sha1(f"{serial:08x}".encode()).hexdigest().upper()),
    ("SHA-512", "decimal", lambda serial: hashlib.sha512(str(serial).encode()).hexdigest()),
    ("MD5", "eight octets", lambda serial: hashlib.md5(serial.to_bytes(8, "big")).hexdigest()),
    ("SHA-256", "DER content", lambda serial: hashlib.sha256(serial.to_bytes(5, "big").lstrip(b"\0")).hexdigest()),
])  # fmt: skip
def test_plain_digests_are_reversed(tmp_path: Path, digest: str, given: str, make: Callable[[int], str]) -> None:
    logs = LogImports(tmp_path)
    handles = [make(serial) for serial in SERIALS]
    imported(logs, [*handles, hashlib.sha256(b"salt and pepper").hexdigest()])
    command = ("tracking", "digests", "--to", serial_text(SERIALS[-1]))
    done = logs.program.run(*command, expect=1)
    assert f"20: {digest} of the serial number ({given})" in done.stdout
    assert "20 of them were reversed by trying 70000001 to 7000130A" in done.stdout
    assert not any(handle.lower() in done.stdout.lower() for handle in handles)
    assert not any(serial_text(serial) in done.stdout for serial in SERIALS[1:-1])
    found = logs.program.json(*command, expect=1)
    assert (found["handles"], found["digests"], found["reversed"]) == (21, 21, 20)


def test_salted_digests_are_not(tmp_path: Path) -> None:
    logs = LogImports(tmp_path)
    imported(logs, [hashlib.sha256(f"salt{serial}".encode()).hexdigest() for serial in SERIALS])
    done = logs.program.run("tracking", "digests", "--from", "0x70000001", "--to", "0x70001400")
    assert "0 of them were reversed" in done.stdout
    assert "--from 0x70000001 was read as hexadecimal" in done.stdout
    logs.program.error("usage", 2, "tracking", "digests", "--from", "hello")
    said = logs.program.error("usage", 2, "tracking", "digests", "--from", "70000005", "--to", "70000001")
    assert "from 70000005 to 70000001 is empty; --from 70000005 was read as hexadecimal" in said
    logs.program.error("usage", 2, "tracking", "digests", "--to", "70000000")
    last = "F" * 16
    assert f"by trying {last} to {last}" in logs.program.run("tracking", "digests", "--from", last).stdout
    said = logs.program.run("tracking", "digests", "--from", str(2**64 - 1)).stdout
    assert f"by trying {last} to {last}\n--from {2**64 - 1} was read as decimal" in said
    logs.program.error("population-unusable", 2, "tracking", "digests", "--name", "others")
