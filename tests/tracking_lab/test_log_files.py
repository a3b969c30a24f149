"""Files of logs: encodings, compression, delimiters, broken lines, and what is refused or survives."""

from __future__ import annotations

import gzip
import json
import os
import random
import signal
import stat
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pytest

from tests.polling import until
from tests.tracking_lab.log_imports import LogImports

ROWS = [("2026-05-01T09:00:00+09:00", "米屋", "70000A0B"), ("2026-05-01T10:00:00+09:00", "書店", "70000A0B"),
        ("2026-05-02T10:00:00+09:00", "書店", "70000A0C")]  # fmt: skip
HANDLE = {"column": "serial", "form": "serial", "authority": "authentication"}


def text(delimiter: str = ",", newline: str = "\n") -> str:
    return newline.join(delimiter.join(row) for row in [("time", "shop", "serial"), *ROWS]) + newline


@pytest.fixture
def logs(tmp_path: Path) -> LogImports:
    return LogImports(tmp_path)


def zstd(content: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(content)
    return bytes(sink.getvalue())


def json_lines() -> bytes:
    rows = [{"time": when, "shop": shop, "tls": {"serial": serial}} for when, shop, serial in ROWS]
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


@pytest.mark.parametrize(("content", "said"), [
    (text().encode(), ("CSV", "UTF-8", "")),
    (text().encode("utf-8-sig"), ("CSV", "UTF-8", "")),
    (text().encode("cp932"), ("CSV", "CP932", "")),
    (text().encode("utf-16"), ("CSV", "UTF-16", "")),
    (text().encode("utf-16-be"), ("CSV", "UTF-16", "")),
    (text(newline="\r\n").encode(), ("CSV", "UTF-8", "")),
    (text(";").encode(), ("CSV", "UTF-8", "")),
    (text("\t").encode(), ("CSV", "UTF-8", "")),
    (b"sep=;\r\n" + text(";", "\r\n").encode("cp932"), ("CSV", "CP932", "")),
    (gzip.compress(text().encode("cp932")), ("CSV", "CP932", "gzip")),
    (zstd(text().encode()), ("CSV", "UTF-8", "zstd")),
    (json_lines(), ("JSON lines", "UTF-8", "")),
], ids=["utf-8", "byte order mark", "cp932", "utf-16", "utf-16-be", "crlf", "semicolon", "tab", "excel", "gzip", "zstd",
        "json lines"])  # fmt: skip
def test_files_are_read_in_each_encoding_and_form(logs: LogImports, content: bytes, said: tuple[str, ...]) -> None:
    column = "tls.serial" if said[0] == "JSON lines" else "serial"
    found = logs.run(logs.file(content), handle={**HANDLE, "column": column})
    (file,) = found["files"]
    assert (file["kind"], file["encoding"], file["compression"]) == said
    assert {row["name"] for row in logs.table("service")} == {"米屋", "書店"}
    assert logs.handles() == ["70000A0B", "70000A0C"]
    assert any("not in UTF-8" in note for note in found["notes"]) == (said[1] != "UTF-8")


def test_parquet_keeps_its_types_and_its_instants(logs: LogImports) -> None:
    path = logs.directory / "log.parquet"
    frame = pl.DataFrame({"time": [row[0] for row in ROWS], "shop": [row[1] for row in ROWS], "serial": [11, 11, 12]})
    frame.with_columns(pl.col("time").str.to_datetime(time_zone="Asia/Tokyo")).write_parquet(path)
    found = logs.run(path, handle={"column": "serial", "form": "opaque"})
    assert (found["files"][0]["encoding"], found["handles"]) == ("", 2)
    assert sorted(logs.seconds()) == [int(datetime.fromisoformat(row[0]).timestamp()) for row in ROWS]


BROKEN = """time,shop,serial,note
2026-05-01,till,70000A01,
2026-05-01,till,70000A02,one,too many
2026-05-01,till
2026-05-01,till,70000A03,"a note
over two lines"

2026-05-01,till,70000A04,"never closed
2026-05-01,till,70000A05,
2026-05-01,till,70000A06,a "quote" inside
2026-05-01,till,what,
2026-05-01,till,"70000A07","said ""x"" twice"
"""


def test_broken_lines_are_counted_with_their_numbers(logs: LogImports) -> None:
    found = logs.run(logs.file(BROKEN), handle=HANDLE)
    assert found["left_out"] == {"a broken line": 3, "a handle that cannot be read": 1}
    assert found["rows"] == 9
    assert logs.handles() == ["70000A01", "70000A03", "70000A05", "70000A06", "70000A07"]
    assert "3 broken lines: log.csv:3, log.csv:4, log.csv:8" in found["notes"]
    assert "1 handle that cannot be read: log.csv:11" in found["notes"]
    assert "log.csv:3" in logs.error(logs.file(BROKEN), options=("--strict",), handle=HANDLE)


def test_a_line_in_another_encoding_is_a_broken_line(logs: LogImports) -> None:
    lines = [text().encode().splitlines()[0], *(line.encode() for line in text().splitlines()[1:])]
    found = logs.run(
        logs.file(b"\n".join([*lines[:2], "2026-05-01,米屋,70000A0E".encode("cp932"), *lines[2:]])), handle=HANDLE
    )
    assert (found["files"][0]["encoding"], found["uses"]) == ("UTF-8", 3)
    assert "1 broken line: log.csv:3" in found["notes"]
    assert {row["name"] for row in logs.table("service")} == {"米屋", "書店"}


def test_line_numbers_are_right_in_a_large_file(logs: LogImports) -> None:
    """DuckDB reads a large file in parts at the same time."""
    lines = ["time,shop,serial"] + [f"2026-05-01T00:00:{n % 60:02}Z,till,7{n:07X}" for n in range(100_000)]
    wrong, ragged = (20_000, 70_000, 99_999), (12, 50_000, 90_000)
    for line in wrong:
        lines[line - 1] = "2026-05-01T00:00:00Z,till,what"
    for line in ragged:
        lines[line - 1] += ",more"
    found = logs.run(logs.file("\n".join(lines)), handle=HANDLE)
    assert found["handles"] == 100_000 - 6
    assert f"3 broken lines: {', '.join(f'log.csv:{line}' for line in ragged)}" in found["notes"]
    assert f"3 handles that cannot be read: {', '.join(f'log.csv:{line}' for line in wrong)}" in found["notes"]


def test_the_first_ten_lines_are_listed_and_the_others_counted(logs: LogImports) -> None:
    rows = [f"2026-05-01,till,{'what' if n % 3 == 0 else f'{0x70000A01 + n:X}'}" for n in range(99)]
    found = logs.run(logs.file("\n".join(["time,shop,serial", *rows])), handle=HANDLE)
    listed = ", ".join(f"log.csv:{2 + 3 * n}" for n in range(10))
    assert f"33 handles that cannot be read: {listed} and 23 more" in found["notes"]
    assert "33.3% of the rows could not be read: every result is partial" in found["notes"]


def test_values_of_a_mapping_are_not_sql(logs: LogImports) -> None:
    path = logs.file("time,it's,serial\n2026-05-01,Ben's,70000A0B\n")
    logs.run(path, constant="Ben's rice", services={"Ben's rice": {"kind": "it's"}})
    assert [(row["name"], row["kind"]) for row in logs.table("service")] == [("Ben's rice", "it's")]
    logs.run(path, service="it's", handle={"column": "serial", "missing": ["'"]})
    assert [row["name"] for row in logs.table("service")] == ["Ben's"]


@pytest.mark.parametrize(("content", "values", "words"), [
    ("time,shop,serial\n", {}, "no rows"),
    ("", {}, "no rows"),
    ("time,shop\n2026-05-01,till\n", {}, "log.csv has no column serial; its columns are time, shop"),
    (b"\x1f\x8b\x08\x00broken", {}, "damaged"),
    (b"PAR1 and no more", {}, "cannot be read"),
    ("time,shop,serial\n2026-05-01,till,a\n", {"handle": {"column": "serial", "form": "name"}}, "must be serial, uuid"),
    ("time,shop,serial\n2026-05-01,till,a\n", {"handle": {"column": "serial", "colour": 1}}, "must be a mapping with"),
    ("time,shop,serial\n2026-05-01,till,a\n", {"handle": {"column": "serial", "pattern": "("}},
     "`pattern` of `handle` is '(', which is not a regular expression (RE2) with a group for the handle: Pattern "
     "failed to parse: missing )"),
    ("", {"handle": {"column": "serial", "pattern": "[0-9]+"}}, "`pattern` of `handle` is '[0-9]+'"),
    ("", {"moment": {"column": "time", "form": "%Q%%%"}}, "`form` of `moment` is '%Q%%%', which is not a strptime"),
    ("", {"moment": {"column": "time", "zone": "JST"}}, "the zone 'JST' is wrong"),
    ("time,shop,serial\nx,till,a\ny,till,a\n2026-05-01,,a\n2026-05-01,till,\n2026-05-01,till,-\n", {},
     "none of the 5 rows has a readable time, a service and a handle; 2 times that cannot be read: log.csv:2, "
     "log.csv:3; 1 row without a service: log.csv:4; 2 rows without a handle"),
    (random.Random(1).randbytes(5_000), {}, "is not Parquet, and not a text file in UTF-8, CP932 or UTF-16"),
    (gzip.compress(random.Random(2).randbytes(5_000)), {}, "is not Parquet, and not a text file"),
    (bytes(5_000), {}, "is not Parquet, and not a text file"),
    (Path(sys.executable).resolve().read_bytes()[:100_000], {}, "is not Parquet, and not a text file"),
    ("time,shop,serial\n2026-05-01,till,a\n", {"log": "iis", "constant": "x"}, "is not a log format"),
])  # fmt: skip
def test_bad_files_and_mappings_have_a_reason(
    logs: LogImports, content: str | bytes, values: dict[str, Any], words: str
) -> None:
    assert words in logs.error(logs.file(content), **values)


def test_only_regular_files_are_read(logs: LogImports) -> None:
    pipe = logs.directory / "pipe"
    os.mkfifo(pipe)
    assert "pipe is not a regular file" in logs.error(logs.file(text()), pipe)
    assert "is a directory" in logs.error(logs.directory)


def test_an_interrupted_import_says_that_nothing_was_imported(logs: LogImports) -> None:
    logs.run(logs.file(text()), handle=HANDLE)
    rows = "".join(f"2026-05-01T00:00:{n % 60:02}Z,till,7{n:07X}\n" for n in range(100_000))
    large = logs.file("time,shop,serial\n" + rows, "large.csv")
    command = [sys.executable, "-m", "kazashi", "--world", str(logs.program.world), "tracking", "import", str(large),
               "--mapping", str(logs.mapping(handle=HANDLE))]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    building = logs.laboratory.parent / ".logs.new"
    until(lambda: (building / "scratch" / "rows-0.parquet").exists() or process.poll() is not None, "reading")
    process.send_signal(signal.SIGINT)
    _, said = process.communicate()
    assert (process.returncode, said.splitlines()[-1]) == (130, "kazashi: interrupted; nothing was imported")
    assert "Traceback" not in said
    assert logs.handles() == ["70000A0B", "70000A0C"]
    assert not building.exists()


def test_swapped_columns_are_refused(logs: LogImports) -> None:
    rows = "".join(f"2026-05-01,{shop},{0x70000A01 + n:X}\n" for n in range(40) for shop in ("till", "gate"))
    path = logs.file("time,shop,serial\n" + rows)
    assert "are the columns 'serial' and 'shop' swapped?" in logs.error(path, service="serial", handle="shop")


def test_a_client_is_kept_as_a_number_of_its_network(logs: LogImports) -> None:
    clients = ["192.0.2.1", "192.0.2.200", "192.0.3.1", "2001:db8:1::1", "2001:0db8:0001:ffff::2", "2001:db8::1", "",
               "::ffff:192.0.2.9"]  # fmt: skip
    rows = [f"2026-05-01T00:00:{n:02}Z,till,user{n},{client},{'curl/8' if n % 2 else 'Firefox'}"
            for n, client in enumerate(clients)]  # fmt: skip
    path = logs.file("\n".join(["time,shop,serial,client,software", *rows]))
    logs.run(path, handle={"column": "serial", "form": "opaque"}, address="client", agent="software")
    uses = sorted(logs.table("uses"), key=lambda row: row["moment"])
    of = [row["network"] for row in uses]
    assert of[0] == of[1] == of[7]
    assert of[3] == of[4]
    assert len({of[0], of[2], of[3], of[5]}) == 4
    assert of[6] is None
    assert [row["agent"] for row in uses] == [uses[n % 2]["agent"] for n in range(8)]
    assert uses[0]["agent"] != uses[1]["agent"]
    assert not any(b"192.0.2" in file.read_bytes() for file in logs.laboratory.rglob("*.parquet"))
    logs.run(path, handle={"column": "serial", "form": "opaque"})
    assert "network" not in logs.table("uses")[0]


def test_only_the_owner_reads_an_import(logs: LogImports) -> None:
    before = os.umask(0)
    try:
        logs.run(logs.file(text()), handle=HANDLE)
    finally:
        os.umask(before)
    assert stat.S_IMODE(logs.laboratory.stat().st_mode) == 0o700
    assert not list(logs.laboratory.glob("scratch")), "no copy of the log is left"
    assert {oct(path.stat().st_mode & 0o077) for path in logs.laboratory.rglob("*")} == {"0o0"}


def test_the_next_import_removes_what_killed_ones_of_other_names_left(logs: LogImports) -> None:
    from kazashi.world.process_lock import ProcessLock

    logs.run(logs.file(text()), handle=HANDLE)
    parent = logs.laboratory.parent
    for name in (".killed.new", ".running.new", ".moved.new.former"):
        (parent / name / "scratch").mkdir(parents=True)
        (parent / name / "scratch" / "rows-0.parquet").write_bytes(b"70000A0B")
    lock = ProcessLock(parent / ".running.lock")
    assert lock.acquire()
    logs.run(logs.file(text()), handle=HANDLE)
    lock.release()
    assert [path.name for path in parent.glob(".*.new*")] == [".running.new"]


def test_logs_are_deleted_with_what_a_killed_import_left(logs: LogImports) -> None:
    from kazashi.world.process_lock import ProcessLock

    logs.run(logs.file(text()), handle=HANDLE)
    parent = logs.laboratory.parent
    (parent / ".logs.new").mkdir()
    (parent / ".first.new").mkdir()
    assert "--yes" in logs.program.error("usage", 2, "tracking", "delete", "logs")
    lock = ProcessLock(parent / ".logs.lock")
    assert lock.acquire()
    logs.program.error("logs-unusable", 2, "tracking", "delete", "logs", "--yes")
    lock.release()
    assert logs.handles() == ["70000A0B", "70000A0C"], "nothing was deleted so far"
    assert logs.program.json("tracking", "delete", "logs", "--yes") == {"deleted": True}
    logs.program.run("tracking", "delete", "first", "--yes")
    assert {path.suffix for path in parent.iterdir()} == {".lock"}
    for name in ("logs", "first", ".."):
        logs.program.error("population-unusable", 2, "tracking", "delete", name, "--yes")
    logs.program.run("tracking", "populate", "--residents", "5", "--years", "1", "--name", "few")
    logs.program.run("tracking", "delete", "few", "--yes")
    assert not (parent / "few").exists()


@pytest.mark.crash
@pytest.mark.parametrize("step", [
    "uses/all.parquet", *(pytest.param(step, marks=pytest.mark.long) for step in ("scratch", "scratch/rows-0.parquet"))
])  # fmt: skip
def test_a_killed_import_leaves_the_former_one(logs: LogImports, step: str) -> None:
    """It is killed when a file appears; the old import is there as a whole, and the next run succeeds."""
    logs.run(logs.file(text()), handle=HANDLE)
    rows = "".join(f"2026-05-01T00:00:{n % 60:02}Z,till,7{n:07X}\n" for n in range(60_000))
    large = logs.file("time,shop,serial\n" + rows, "large.csv")
    command = [sys.executable, "-m", "kazashi", "--world", str(logs.program.world), "tracking", "import", str(large),
               "--mapping", str(logs.mapping(handle=HANDLE))]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until(lambda: (logs.laboratory.parent / ".logs.new" / step).exists() or process.poll() is not None, step)
    process.kill()
    assert process.wait() == -signal.SIGKILL, "it had not ended"
    assert logs.handles() == ["70000A0B", "70000A0C"]
    assert logs.run(large, handle=HANDLE)["uses"] == 60_000
    assert [path.name for path in logs.laboratory.parent.glob(".logs*")] == [".logs.lock"]


def test_two_imports_at_once_do_not_mix(logs: LogImports) -> None:
    from kazashi.world.process_lock import ProcessLock

    logs.run(logs.file(text()), handle=HANDLE)
    lock = ProcessLock(logs.laboratory.with_name(".logs.lock"))
    assert lock.acquire()
    assert "another import" in logs.error(logs.file(text()), handle=HANDLE)
    lock.release()
    logs.run(logs.file(text()), handle=HANDLE)
