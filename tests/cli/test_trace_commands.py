"""`kazashi reader trace`, `show`, `replay` and `relay`, fault scripts and `--listen`, with one instance."""

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
from tests.cli.program import SELECT_JPKI, TRIES, WRONG, InProcessProgram, Program
from tests.polling import LIMIT, until
from tests.reader_bridge.test_dialled import connect, dial, free_ports
from tests.reader_bridge.test_slots import insert
from tests.support import send

pytestmark = pytest.mark.reader
READ = "00B08A0010"
VERIFIED = ("the value is the PIN, and the retry counter is full again", "JICSAP 1.1, 6.4.9")
HEADER = '{"format": "kazashi-trace", "version": 1, "reader": "x", "masked": true}\n'


class Instance(InProcessProgram):
    """The program with a running instance, which has a third slot that other hosts connect to."""

    def __init__(self, world: Path) -> None:
        super().__init__(world)
        self.port = free_ports(1)
        readers = ("--reader", "Kazashi", "--reader", "Kazashi", "--listen", str(self.port))
        up = ("up", "--detach", "--pcscd", "private", "--no-services", *readers)
        status = Program(world).json(*up)
        self.environment: dict[str, str] = status["pcscd"]["environment"]
        self.readers = [slot["reader"] for slot in status["slots"]]

    def send(self, number: int, *commands: str) -> list[str]:
        return send(self.environment, self.readers[number], *commands)

    def cards(self) -> list[str | None]:
        return [slot["card"] for slot in self.json("status")["slots"]]

    def lines(self, *arguments: str) -> list[dict[str, Any]]:
        output = self.run("reader", "trace", "--json", "--slot", "0", *arguments).stdout
        return [json.loads(line) for line in output.splitlines()]


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory, pcscd: RunningPcscd) -> Iterator[Instance]:
    """A running instance, for which the readers of the tests' pcscd are the real readers."""
    instance = Instance(tmp_path_factory.mktemp("trace") / "w")
    yield instance
    instance.run("down")


def test_trace_shows_decoded_exchanges_without_pins(instance: Instance) -> None:
    assert instance.send(0, SELECT_JPKI, VERIFY, READ)[:2] == ["9000", "9000"]
    output = instance.run("reader", "trace", "--slot", "0", "--raw").stdout
    assert f" {instance.readers[0]}  SELECT application JPKI -> 9000 success" in output
    assert "VERIFY authentication PIN (0018) **** -> 9000 success" in output
    assert "    > 0020009804********\n    < 9000\n" in output
    assert f"    > {READ}\n    < {'*' * 32}9000\n" in output
    unmasked = instance.run("reader", "trace", "--slot", instance.readers[0], "--raw", "--unmasked").stdout
    assert f"    > {VERIFY}\n" in unmasked
    assert "VERIFY authentication PIN (0018) ****" in unmasked, "the decoded text never shows the PIN"
    reply = instance.lines()
    assert [line["command"] for line in reply if line["command"]][-3:] == [SELECT_JPKI, "0020009804********", READ]
    assert reply[0].keys() == {
        "slot", "reader", "at", "seconds", "event", "command", "response", "words", "rule", "source",
    }  # fmt: skip
    assert [(line["rule"], line["source"]) for line in reply if line["command"]][-2] == VERIFIED
    rules = instance.run("reader", "trace", "--slot", "0", "--rules").stdout
    assert "  VERIFY authentication PIN (0018) **** -> 9000 success" in rules
    assert f"\n    = {VERIFIED[0]} ({VERIFIED[1]})\n" in rules
    assert VERIFIED[0] not in output, "rules are shown on request"
    assert len(instance.lines("--last", "2")) == 2
    assert instance.run("reader", "trace", "--slot", "1", "--last", "5").stdout == "", "the other slot has no exchanges"
    assert "'7'" in instance.error("no-such-slot", 2, "reader", "trace", "--slot", "7")


def test_followed_trace_never_overwrites_a_file(instance: Instance, tmp_path: Path) -> None:
    out = tmp_path / "t.jsonl"
    follower = subprocess.Popen(
        [sys.executable, "-m", "kazashi", "--world", str(instance.world), "reader", "trace", "--follow", "--slot", "0",
         "--out", str(out)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip

    def is_followed() -> bool:
        instance.send(0, SELECT_JPKI, VERIFY)
        # The first exchange that is followed may be a VERIFY whose SELECT came before.
        return out.exists() and "VERIFY authentication PIN" in out.read_text(encoding="utf-8")

    until(is_followed, "nothing is recorded")
    follower.send_signal(signal.SIGINT)
    output, errors = follower.communicate(timeout=LIMIT)
    assert "VERIFY authentication PIN (0018) ****" in output
    assert "Traceback" not in errors
    trace = read_trace(out)
    assert (trace.reader, trace.masked, trace.cut_off) == (instance.readers[0], True, False)
    assert "31323334" not in out.read_text(encoding="utf-8")
    before = out.read_bytes()
    message = instance.error("system", 3, "reader", "trace", "--slot", "0", "--out", str(out))
    assert str(out) in message
    assert out.read_bytes() == before
    instance.run("reader", "trace", "--slot", "0", "--out", str(tmp_path / "u.jsonl"), "--unmasked")
    unmasked = read_trace(tmp_path / "u.jsonl")
    assert not unmasked.masked
    assert VERIFY in {line.command for line in unmasked.lines}
    assert "--slot" in instance.error("usage", 2, "reader", "trace", "--out", str(tmp_path / "v.jsonl"))
    assert not (tmp_path / "v.jsonl").exists()


def test_trace_file_is_shown_and_exported_as_pcap(instance: Instance, tmp_path: Path) -> None:
    instance.send(0, SELECT_JPKI, VERIFY, READ)
    out, pcap = tmp_path / "t.jsonl", tmp_path / "t.pcap"
    instance.run("reader", "trace", "--slot", "0", "--out", str(out))
    shown = instance.run("reader", "show", str(out), "--raw").stdout
    assert "VERIFY authentication PIN (0018) **** -> 9000 success" in shown
    assert "    > 0020009804********\n    < 9000" in shown
    reply = instance.json("reader", "show", str(out))
    commands = [line["command"] for line in reply["lines"] if line["command"]]
    assert commands[-3:] == [SELECT_JPKI, "0020009804********", READ]
    assert reply["masked"]
    assert (reply["lines"][-2]["rule"], reply["lines"][-2]["source"]) == VERIFIED
    assert f"    = {VERIFIED[0]} ({VERIFIED[1]})" in instance.run("reader", "show", str(out), "--rules").stdout
    events = len(reply["lines"]) - len(commands)
    for option, each, shown_by in (("--pcap", 2, "iso7816"), ("--gsmtap", 1, "gsm_sim")):
        packets = instance.json("reader", "show", str(out), option, str(pcap))["packets"]
        done = subprocess.run(
            ["tshark", "-r", str(pcap), "-d", "iso14443.subdissector,iso7816", "-Y", shown_by, "-T", "fields", "-e",
             "frame.comment"],
            capture_output=True, text=True, check=True, timeout=LIMIT,
        )  # fmt: skip
        comments = done.stdout.splitlines()
        assert len(comments) == each * len(commands)
        assert packets == each * len(commands) + events
        assert sum("VERIFY authentication PIN (0018) ****" in comment for comment in comments) >= 1
        assert sum(f"{VERIFIED[0]} ({VERIFIED[1]})" in comment for comment in comments) >= 1
    assert "--gsmtap" in instance.error("usage", 2, "reader", "show", str(out), "--pcap", "a", "--gsmtap", "b")
    out.write_bytes(out.read_bytes()[:-10])
    cut = instance.run("reader", "show", str(out))
    assert "is incomplete" in cut.stderr
    assert len(cut.stdout.splitlines()) == len(reply["lines"]) - 1


def test_replay_is_strict_or_lenient(instance: Instance, tmp_path: Path) -> None:
    instance.run("card", "reset", "0")
    recorded = instance.send(0, SELECT_JPKI, VERIFY, READ)
    out = tmp_path / "t.jsonl"
    instance.run("reader", "trace", "--slot", "0", "--last", "10000", "--out", str(out), "--unmasked")
    header, *lines = out.read_text(encoding="utf-8").splitlines(keepends=True)
    begins = max(number for number, line in enumerate(lines) if '"inserted"' in line)
    out.write_text("".join((header, *lines[begins:])), encoding="utf-8")
    put = instance.json("reader", "replay", str(out), "--slot", "1")
    assert (put["card"], put["seen"]) == ("replay of t.jsonl", True)
    assert instance.send(1, SELECT_JPKI, VERIFY, READ, READ, SELECT_JPKI) == [*recorded, "6f00", "6f00"]
    instance.error("slot-busy", 2, "reader", "replay", str(out), "--slot", "1")
    instance.run("card", "remove", "1")
    assert "replay of t.jsonl is in" in instance.run("reader", "replay", str(out), "--slot", "1", "--lenient").stdout
    assert instance.send(1, READ, TRIES, VERIFY, READ) == [recorded[2], "6d00", recorded[1], recorded[2]]
    instance.run("card", "remove", "1")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("rubbish", "first line"),
        ("rubbish\n", "line 1 is not valid JSON"),
        (
            HEADER + '{"at": 1, "seconds": 0, "event": "power on", "response": "3B00"}\nrubbish\n',
            "line 3 is not valid JSON",
        ),
        (HEADER + '{"at": 1, "seconds": 0, "command": "0", "response": "9000"}\n', "line 2 is not a valid trace line"),
    ],
)
def test_malformed_trace_is_rejected(instance: Instance, tmp_path: Path, content: str, words: str) -> None:
    path = tmp_path / "rubbish.jsonl"
    path.write_text(content)
    for command in (("reader", "show", str(path)), ("reader", "replay", str(path), "--slot", "1")):
        output = instance.error("bad-trace", 2, *command)
        assert words in output
        assert str(path) in output
    assert instance.cards() == ["hanako", None, None]


def test_trace_without_atr_cannot_be_replayed(instance: Instance, tmp_path: Path) -> None:
    (tmp_path / "t").write_text(HEADER)
    assert "no ATR" in instance.error("bad-trace", 2, "reader", "replay", str(tmp_path / "t"), "--slot", "1")
    assert instance.cards()[1] is None


def test_bad_fault_script_is_rejected_with_its_line(instance: Instance, tmp_path: Path) -> None:
    script = tmp_path / "faults.yaml"
    script.write_text("seed: 1\nfaults:\n  - {tear: soon}\n")
    instance.run("card", "new", "taro")
    for command in (("card", "insert", "taro", "--slot", "1"), ("up", "--empty")):
        output = instance.error("bad-fault-script", 2, *command, "--faults", str(script))
        assert f"{script} line 3: 'soon' is not one of before, during, after" in output
    assert instance.cards() == ["hanako", None, None]
    instance.error("usage", 2, "up", "--unkind", "--faults", str(script))
    instance.run("card", "insert", "taro", "--faults", str(tmp_path / "missing.yaml"), expect=2)

    script.write_text("faults:\n  - {status: 6581, when: {command: 2}}\n")
    assert instance.json("card", "insert", "taro", "--slot", "1", "--faults", str(script))["faults"]
    assert "taro, with faults" in instance.run("reader", "list").stdout
    assert instance.send(1, SELECT_JPKI, TRIES, TRIES) == ["9000", "6581", "63c3"]
    output = instance.run("reader", "trace", "--slot", "1").stdout
    assert "-- the status word is 6581 instead of 63C3" in output
    assert "    = a fault replaces the card's status word (docs/faults.md)" in instance.run(
        "reader", "trace", "--slot", "1", "--rules"
    ).stdout  # fmt: skip
    instance.run("card", "remove", "1")


def test_relay_of_unknown_reader_lists_readers(instance: Instance) -> None:
    output = instance.error("no-such-reader", 2, "reader", "relay", "No such reader", "--slot", "1")
    assert "Kazashi A 00 00; Kazashi A 00 01; Kazashi B 01 00; Kazashi B 01 01" in output
    assert "several readers" in instance.error("no-such-reader", 2, "reader", "relay", "Kazashi", "--slot", "1")
    assert instance.cards()[1] is None


def test_real_card_is_relayed_to_a_slot(instance: Instance, host: ReaderHost, image: Path) -> None:
    reader = insert(host, 0, image)
    output = instance.run("reader", "relay", reader, "--slot", "1").stdout
    assert output.strip() == f"the card of {reader} is relayed to {instance.readers[1]}"
    assert instance.send(1, SELECT_JPKI, WRONG, TRIES) == ["9000", "63c2", "63c2"]
    commands = [entry.exchange.command.hex().upper() for entry in host.journal.since(0)[0] if entry.exchange.command]
    assert commands == [SELECT_JPKI, WRONG, TRIES], "the commands reach the real card"
    lines = [json.loads(line) for line in instance.run("reader", "trace", "--json", "--slot", "1").stdout.splitlines()]
    assert lines[-1]["words"].startswith("VERIFY")
    assert not lines[-1]["rule"], "why a real card sends a status word is not known"
    instance.run("card", "remove", "1")


def test_another_host_connects_to_a_slot(instance: Instance) -> None:
    assert instance.readers[2] == f"dial-in {instance.port}"
    with pytest.raises(ConnectionRefusedError):
        connect(instance.port)
    instance.run("card", "new", "child")
    put = instance.json("card", "insert", "child", "--slot", "2")
    assert (put["dialled"], put["seen"]) == (True, False)
    assert "child (nobody has connected yet)" in instance.run("reader", "list").stdout
    with dial(instance.port) as phone:
        assert phone.ask(bytes.fromhex(SELECT_JPKI)) == b"\x90\x00"
        assert instance.json("status")["slots"][2]["seen"]
    assert instance.json("card", "remove", "2")["card"] is None


def test_unusable_listen_address_stops_the_start(instance: Instance, tmp_path: Path) -> None:
    assert "PORT or HOST:PORT" in instance.error("usage", 2, "up", "--listen", "nonsense")
    program = Program(tmp_path / "w")
    up = ("up", "--empty", "--pcscd", "private", "--no-services")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        output = program.error("port-taken", 3, *up, "--listen", port)
        assert f"cannot listen on 127.0.0.1 port {port}: Address already in use" in output
        output = program.error("pcscd-unavailable", 3, *up, "--listen", port, "--detach")
        assert f"cannot listen on 127.0.0.1 port {port}" in output, "the message has the reason"
    assert not any(path.name == "pcscd" for path in (tmp_path / "w" / "run").iterdir()), "no pcscd was started"


def test_listening_on_all_interfaces_prints_a_warning(tmp_path: Path) -> None:
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
        _, errors = process.communicate(timeout=LIMIT)
    assert process.returncode == 0
    assert f"anyone who can reach 0.0.0.0 port {port} can use the card there" in errors
