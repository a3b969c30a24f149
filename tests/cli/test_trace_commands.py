"""`kazashi reader trace`, `show`, `replay` and `relay`, fault scripts and dialled slots, on one bench."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kazashi.reader_bridge.host import ReaderHost
from kazashi.reader_bridge.pcscd import RunningPcscd
from kazashi.reader_bridge.trace import read_trace
from tests.cli.program import RIGHT as VERIFY
from tests.cli.program import SELECT_JPKI, TRIES, WRONG, Here, Program
from tests.polling import LIMIT, until
from tests.reader_bridge.test_dialled import connect, dial, free_ports
from tests.reader_bridge.test_slots import insert
from tests.support import send

pytestmark = pytest.mark.reader
READ = "00B08A0010"
HEADER = '{"format": "kazashi-trace", "version": 1, "reader": "x", "masked": true}\n'


class Bench(Here):
    """The program beside a running bench, which has a slot to dial into behind its reader's two."""

    def __init__(self, world: Path) -> None:
        super().__init__(world)
        self.port = free_ports(1)
        up = ("up", "--detach", "--pcscd", "private", "--no-services", "--listen", str(self.port))
        status = Program(world).json(*up)
        self.environment: dict[str, str] = status["pcscd"]["environment"]
        self.readers = [slot["reader"] for slot in status["slots"]]

    def send(self, number: int, *commands: str) -> list[str]:
        return send(self.environment, self.readers[number], *commands)

    def cards(self) -> list[str | None]:
        return [slot["card"] for slot in self.json("status")["slots"]]

    def lines(self, *arguments: str) -> list[dict[str, Any]]:
        said = self.run("reader", "trace", "--json", "--slot", "0", *arguments).stdout
        return [json.loads(line) for line in said.splitlines()]


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory, pcscd: RunningPcscd) -> Iterator[Bench]:
    """Where it looks for real readers, it finds those of the tests' pcscd."""
    bench = Bench(tmp_path_factory.mktemp("trace") / "w")
    yield bench
    bench.run("down")


def test_what_was_is_shown_in_words_and_no_pin_among_them(bench: Bench) -> None:
    assert bench.send(0, SELECT_JPKI, VERIFY, READ)[:2] == ["9000", "9000"]
    said = bench.run("reader", "trace", "--slot", "0", "--raw").stdout
    assert f" {bench.readers[0]}  SELECT application JPKI -> 9000 success" in said
    assert "VERIFY authentication PIN (0018) **** -> 9000 success" in said
    assert "    > 0020009804********\n    < 9000\n" in said
    assert f"    > {READ}\n    < {'*' * 32}9000\n" in said
    unmasked = bench.run("reader", "trace", "--slot", bench.readers[0], "--raw", "--unmasked").stdout
    assert f"    > {VERIFY}\n" in unmasked
    assert "VERIFY authentication PIN (0018) ****" in unmasked, "words never show it"
    told = bench.lines()
    assert [line["command"] for line in told if line["command"]][-3:] == [SELECT_JPKI, "0020009804********", READ]
    assert told[0].keys() == {"slot", "reader", "at", "seconds", "event", "command", "response", "words"}
    assert len(bench.lines("--last", "2")) == 2
    assert bench.run("reader", "trace", "--slot", "1", "--last", "5").stdout == "", "of the other slot there is nothing"
    assert "'7'" in bench.error("no-such-slot", 2, "reader", "trace", "--slot", "7")


def test_a_trace_is_followed_into_a_file_which_is_never_written_over(bench: Bench, tmp_path: Path) -> None:
    out = tmp_path / "t.jsonl"
    follower = subprocess.Popen(
        [sys.executable, "-m", "kazashi", "--world", str(bench.world), "reader", "trace", "--follow", "--slot", "0",
         "--out", str(out)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip

    def is_followed() -> bool:
        bench.send(0, SELECT_JPKI, VERIFY)
        return out.exists() and "VERIFY" in out.read_text(encoding="utf-8")

    until(is_followed, "nothing is recorded")
    follower.send_signal(signal.SIGINT)
    said, complaint = follower.communicate(timeout=LIMIT)
    assert "VERIFY authentication PIN (0018) ****" in said
    assert "Traceback" not in complaint
    trace = read_trace(out)
    assert (trace.reader, trace.masked, trace.cut_off) == (bench.readers[0], True, False)
    assert "31323334" not in out.read_text(encoding="utf-8")
    before = out.read_bytes()
    again = bench.error("system", 3, "reader", "trace", "--slot", "0", "--out", str(out))
    assert str(out) in again
    assert out.read_bytes() == before
    bench.run("reader", "trace", "--slot", "0", "--out", str(tmp_path / "u.jsonl"), "--unmasked")
    unmasked = read_trace(tmp_path / "u.jsonl")
    assert not unmasked.masked
    assert VERIFY in {line.command for line in unmasked.lines}
    assert "--slot" in bench.error("usage", 2, "reader", "trace", "--out", str(tmp_path / "v.jsonl"))
    assert not (tmp_path / "v.jsonl").exists()


def test_a_trace_file_is_shown_and_made_a_capture(bench: Bench, tmp_path: Path) -> None:
    bench.send(0, SELECT_JPKI, VERIFY, READ)
    out, pcap = tmp_path / "t.jsonl", tmp_path / "t.pcap"
    bench.run("reader", "trace", "--slot", "0", "--out", str(out))
    shown = bench.run("reader", "show", str(out), "--raw").stdout
    assert "VERIFY authentication PIN (0018) **** -> 9000 success" in shown
    assert "    > 0020009804********\n    < 9000" in shown
    told = bench.json("reader", "show", str(out))
    commands = [line["command"] for line in told["lines"] if line["command"]]
    assert commands[-3:] == [SELECT_JPKI, "0020009804********", READ]
    assert told["masked"]
    packets = bench.json("reader", "show", str(out), "--pcap", str(pcap))["packets"]
    done = subprocess.run(
        ["tshark", "-r", str(pcap), "-d", "iso14443.subdissector,iso7816", "-Y", "iso7816"],
        capture_output=True, text=True, check=True, timeout=LIMIT,
    )  # fmt: skip
    assert len(done.stdout.splitlines()) == 2 * len(commands)
    assert packets == 2 * len(commands) + len(told["lines"]) - len(commands)
    out.write_bytes(out.read_bytes()[:-10])
    cut = bench.run("reader", "show", str(out))
    assert "breaks off" in cut.stderr
    assert len(cut.stdout.splitlines()) == len(told["lines"]) - 1


def test_a_trace_is_played_in_its_order_or_in_any(bench: Bench, tmp_path: Path) -> None:
    bench.run("card", "reset", "0")
    recorded = bench.send(0, SELECT_JPKI, VERIFY, READ)
    out = tmp_path / "t.jsonl"
    bench.run("reader", "trace", "--slot", "0", "--last", "10000", "--out", str(out), "--unmasked")
    header, *lines = out.read_text(encoding="utf-8").splitlines(keepends=True)
    begins = max(number for number, line in enumerate(lines) if '"inserted"' in line)
    out.write_text("".join((header, *lines[begins:])), encoding="utf-8")
    put = bench.json("reader", "replay", str(out), "--slot", "1")
    assert (put["card"], put["seen"]) == ("replay of t.jsonl", True)
    assert bench.send(1, SELECT_JPKI, VERIFY, READ, READ, SELECT_JPKI) == [*recorded, "6f00", "6f00"]
    bench.error("slot-busy", 2, "reader", "replay", str(out), "--slot", "1")
    bench.run("card", "remove", "1")
    assert "replay of t.jsonl is in" in bench.run("reader", "replay", str(out), "--slot", "1", "--lenient").stdout
    assert bench.send(1, READ, TRIES, VERIFY, READ) == [recorded[2], "6d00", recorded[1], recorded[2]]
    bench.run("card", "remove", "1")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("rubbish", "first line"),
        ("rubbish\n", "line 1 is not valid JSON"),
        (HEADER + '{"at": 1, "seconds": 0, "event": "power on", "response": "3B00"}\nrubbish\n', "line 3 is not valid"),
        (HEADER + '{"at": 1, "seconds": 0, "command": "0", "response": "9000"}\n', "line 2 is not a valid trace line"),
    ],
)
def test_rubbish_is_no_trace(bench: Bench, tmp_path: Path, content: str, words: str) -> None:
    path = tmp_path / "rubbish.jsonl"
    path.write_text(content)
    for command in (("reader", "show", str(path)), ("reader", "replay", str(path), "--slot", "1")):
        said = bench.error("bad-trace", 2, *command)
        assert words in said
        assert str(path) in said
    assert bench.cards() == ["hanako", None, None]


def test_a_trace_without_an_atr_is_not_played(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "t").write_text(HEADER)
    assert "no ATR" in bench.error("bad-trace", 2, "reader", "replay", str(tmp_path / "t"), "--slot", "1")
    assert bench.cards()[1] is None


def test_a_bad_fault_script_is_told_with_its_line_and_no_card_is_put_in(bench: Bench, tmp_path: Path) -> None:
    script = tmp_path / "faults.yaml"
    script.write_text("seed: 1\nfaults:\n  - {tear: soon}\n")
    bench.run("card", "new", "taro")
    for command in (("card", "insert", "taro", "--slot", "1"), ("up", "--empty")):
        said = bench.error("bad-fault-script", 2, *command, "--faults", str(script))
        assert f"{script} line 3: 'soon' is not one of before, during, after" in said
    assert bench.cards() == ["hanako", None, None]
    bench.error("usage", 2, "up", "--unkind", "--faults", str(script))
    bench.run("card", "insert", "taro", "--faults", str(tmp_path / "missing.yaml"), expect=2)

    script.write_text("faults:\n  - {status: 6581, when: {command: 2}}\n")
    assert bench.json("card", "insert", "taro", "--slot", "1", "--faults", str(script))["faults"]
    assert "taro, with faults" in bench.run("reader", "list").stdout
    assert bench.send(1, SELECT_JPKI, TRIES, TRIES) == ["9000", "6581", "63c3"]
    said = bench.run("reader", "trace", "--slot", "1").stdout
    assert "-- the status word is 6581 instead of 63C3" in said
    bench.run("card", "remove", "1")


def test_a_relay_of_a_reader_that_is_not_there_lists_those_that_are(bench: Bench) -> None:
    said = bench.error("no-such-reader", 2, "reader", "relay", "No such reader", "--slot", "1")
    assert "Kazashi A 00 00; Kazashi A 00 01; Kazashi B 00 00; Kazashi B 00 01" in said
    assert "several readers" in bench.error("no-such-reader", 2, "reader", "relay", "Kazashi", "--slot", "1")
    assert bench.cards()[1] is None


def test_the_card_of_a_real_reader_shows_in_a_slot(bench: Bench, host: ReaderHost, image: Path) -> None:
    reader = insert(host, 0, image)
    said = bench.run("reader", "relay", reader, "--slot", "1").stdout
    assert said.strip() == f"the card of {reader} shows in {bench.readers[1]}"
    assert bench.send(1, SELECT_JPKI, WRONG, TRIES) == ["9000", "63c2", "63c2"]
    commands = [entry.exchange.command.hex().upper() for entry in host.journal.since(0)[0] if entry.exchange.command]
    assert commands == [SELECT_JPKI, WRONG, TRIES], "it is the card itself that was asked"
    bench.run("card", "remove", "1")


def test_a_slot_is_dialled(bench: Bench) -> None:
    assert bench.readers[2] == f"dial-in {bench.port}"
    with pytest.raises(ConnectionRefusedError):
        connect(bench.port)
    bench.run("card", "new", "child")
    put = bench.json("card", "insert", "child", "--slot", "2")
    assert (put["dialled"], put["seen"]) == (True, False)
    assert "child (nobody has dialled in yet)" in bench.run("reader", "list").stdout
    with dial(bench.port) as phone:
        assert phone.ask(bytes.fromhex(SELECT_JPKI)) == b"\x90\x00"
        assert bench.json("status")["slots"][2]["seen"]
    assert bench.json("card", "remove", "2")["card"] is None


def test_where_nobody_can_dial_is_told_before_anything_runs(bench: Bench, tmp_path: Path) -> None:
    assert "PORT or HOST:PORT" in bench.error("usage", 2, "up", "--listen", "nonsense")
    program = Program(tmp_path / "w")
    up = ("up", "--empty", "--pcscd", "private", "--no-services")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        said = program.error("port-taken", 3, *up, "--listen", port)
        assert f"cannot listen on 127.0.0.1 port {port}: Address already in use" in said
        said = program.error("pcscd-unavailable", 3, *up, "--listen", port, "--detach")
        assert f"cannot listen on 127.0.0.1 port {port}" in said, "the reason is told, not only that it did not come up"
    assert not any(name.name == "pcscd" for name in (tmp_path / "w" / "run").iterdir()), "no pcscd was begun"


def test_a_bench_that_others_may_reach_says_so(tmp_path: Path) -> None:
    program = Program(tmp_path / "w")
    port = free_ports(1)
    with subprocess.Popen(
        [sys.executable, "-m", "kazashi", "--world", str(program.world), "up", "--empty", "--pcscd", "private",
         "--no-services", "--listen", f"0.0.0.0:{port}"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stdout.readline()
        os.kill(process.pid, signal.SIGTERM)
        _, complaint = process.communicate(timeout=LIMIT)
    assert process.returncode == 0
    assert f"whoever reaches 0.0.0.0 port {port} can use the card there" in complaint
