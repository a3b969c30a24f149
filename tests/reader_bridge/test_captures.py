"""Packet captures of traces. Wireshark's tshark and capinfos are the judges."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import pytest

from kazashi.applets import jpki
from kazashi.applets.install import install
from kazashi.card.chip import Chip
from kazashi.card.contents import CardContents
from kazashi.reader_bridge.capture import write_capture, write_gsmtap
from kazashi.reader_bridge.interface import ContactInterface, ContactlessInterface, Interface
from kazashi.reader_bridge.trace import Recorded, Trace, read_trace
from kazashi.reader_bridge.vpcd import Exchange
from tests.reader_bridge.tracing import AT, DONE, SELECT_JPKI, SIGN, TRIES, VERIFY, written

WRONG = bytes.fromhex("002000980430303030")
SYSTEM = bytes.fromhex("80060000")
SELECT_PIN = bytes.fromhex("00A4020C020018")
READ_4 = bytes.fromhex("00B0000104")
GET_UID, BEEP = bytes.fromhex("FFCA000000"), bytes.fromhex("FF00520000")
IN_THE_READER = "Kazashi 00 00 (in the reader)"
ITSELF = "the reader handles this command itself (PC/SC part 3, 3.2.2.1)"
NO_OTHER = "the reader has no other command of class FF (PC/SC part 3, 3.2.2.1)"


def tshark(path: Path, *more: str) -> list[str]:
    done = subprocess.run(
        ["tshark", "-r", str(path), "-d", "iso14443.subdissector,iso7816", *more],
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    return done.stdout.splitlines()


def fields(path: Path, *names: str, where: str = "") -> list[list[str]]:
    """Return fields of each packet, as tshark prints them; the comments of a packet are joined by a vertical bar."""
    wanted = [argument for name in names for argument in ("-e", name)]
    chosen = ("-Y", where) if where else ()
    lines = tshark(path, *chosen, "-T", "fields", "-E", "separator=\t", "-E", "aggregator=|", *wanted)
    return [line.split("\t") for line in lines]


def captured(trace: Trace, path: Path, write: Callable[[Trace, BinaryIO], int] = write_capture) -> tuple[int, Path]:
    with path.open("wb") as out:
        return write(trace, out), path


def recorded(path: Path, interface: Interface, commands: list[bytes]) -> Trace:
    """Return an unmasked trace of commands to a card."""
    interface.power_on()
    exchanges = [Exchange(AT, 0.0, b"", interface.atr, "power on")]
    exchanges += [Exchange(AT + n, 0.001, command, interface.transmit(command)) for n, command in enumerate(commands)]
    return read_trace(written(path, exchanges, unmasked=True))


@pytest.mark.parametrize("unmasked", [False, True])
def test_wireshark_decodes_every_command_and_response(session: list[Exchange], tmp_path: Path, unmasked: bool) -> None:
    trace = read_trace(written(tmp_path / "t", session, unmasked=unmasked))
    packets, path = captured(trace, tmp_path / "t.pcap")
    exchanges = [exchange for exchange in session if not exchange.event]
    assert max(len(exchange.response) for exchange in exchanges) > 7000, "a chained response"
    assert max(len(exchange.command) for exchange in exchanges) > 256, "a chained command"
    rows = fields(path, "iso7816.apdu.cla", "iso7816.apdu.ins", "iso7816.apdu.sw1", "iso7816.apdu.sw2")
    assert len(rows) == packets
    classes = [exchange.command[0] for exchange in exchanges]
    assert [int(cla, 16) for cla, *_ in rows if cla] == classes
    # Wireshark does not decode the instruction of a proprietary class.
    instructions = [exchange.command[1] for exchange in exchanges if not exchange.command[0]]
    assert [int(ins, 16) for _, ins, _, _ in rows if ins] == instructions
    status_words = [bytes((int(sw1, 16), int(sw2, 16))) for _, _, sw1, sw2 in rows if sw1 and sw2]
    # Wireshark takes a response for an ATR if it begins like one, as one signature in 128 does.
    atrs = (b"\x3b", b"\x3f") if unmasked else ()
    assert status_words == [exchange.response[-2:] for exchange in exchanges if exchange.response[:1] not in atrs]
    assert not tshark(path, "-Y", "_ws.malformed")
    assert [row[0] for row in fields(path, "frame.comment", where="iso7816.apdu.cla")] == [
        line.words.partition(" -> ")[0] for line in trace.lines if not line.event
    ]
    events = fields(path, "_ws.col.Protocol", "frame.comment", where="not iso14443")
    assert events == [["Event", "the card does not respond for 2 s"]]


def test_wireshark_reassembles_a_long_response(session: list[Exchange], tmp_path: Path) -> None:
    (long,) = (exchange for exchange in session if len(exchange.response) > 7000)
    trace = read_trace(written(tmp_path / "t", [session[1], long], unmasked=True))
    _, path = captured(trace, tmp_path / "t.pcap")
    output = "\n".join(tshark(path, "-V"))
    assert f"Reassembled apdu length: {len(long.response)}" in output
    assert "ATQA" not in output, "no block is taken for an answer to a request"


def test_wireshark_accepts_truncated_responses(tmp_path: Path) -> None:
    power = Exchange(AT, 0.0, b"", bytes.fromhex("3B00"), "power on")
    exchanges = [Exchange(AT, 0.0, TRIES, response) for response in (b"", b"\x90", DONE)]
    packets, path = captured(read_trace(written(tmp_path / "t", [power, *exchanges])), tmp_path / "t.pcap")
    assert packets == 7
    assert len(tshark(path)) == 7
    assert len(tshark(path, "-Y", "iso7816.apdu.ins")) == 3


@pytest.fixture
def contact(contents: CardContents) -> ContactInterface:
    return ContactInterface(Chip(install(contents)))


@pytest.fixture
def contactless(contents: CardContents) -> ContactlessInterface:
    return ContactlessInterface(Chip(install(contents)), chance=lambda count: b"\x11\x22\x33\x44"[:count])


def test_comments_name_what_wireshark_does_not(contact: ContactInterface, tmp_path: Path) -> None:
    """Wireshark has no word for a proprietary command, and none for most status words."""
    trace = recorded(tmp_path / "t", contact, [SELECT_JPKI, VERIFY, SIGN, SYSTEM, WRONG, TRIES])
    packets, path = captured(trace, tmp_path / "t.pcapng")
    rows = fields(path, "_ws.col.Info", "frame.comment", where="iso7816")
    asked = [row for row in rows if not row[0].startswith("Response")]
    answered = [row[1] for row in rows if row[0].startswith("Response")]
    assert [info for info, _ in asked] == ["Select file", "Verify", "", "", "Verify", "Verify"]
    assert [comment for _, comment in asked] == [
        "SELECT application JPKI", "VERIFY authentication PIN (0018) ****",
        "COMPUTE DIGITAL SIGNATURE authentication key (0017), 32 bytes", "ERASE ALL RECORDS",
        "VERIFY authentication PIN (0018) ****", "VERIFY authentication PIN (0018) retries left?",
    ]  # fmt: skip
    assert answered[1:] == [
        "9000 success (1.00 ms)|the value is the PIN, and the retry counter is full again (JICSAP 1.1, 6.4.9)",
        "256 bytes, 9000 success (1.00 ms)|the key signs the data in the way that P1 names"
        " (soltia48/myna-card, src/ap/jpki.rs)",
        "6982 security status not satisfied: verify the PIN first (1.00 ms)|only the issuer may use this command"
        " (docs/differences.md: the issuer's system commands (`80 06`, `80 50`, `80 52`, `80 54`, `80 8A`))",
        "63C2 2 retries left (1.00 ms)|the value is not the PIN (JICSAP 1.1, 6.4.9)",
        "63C2 2 retries left (1.00 ms)|VERIFY without a PIN asks for the retries left (OpenSC, pull request 959)",
    ]
    about = subprocess.run(["capinfos", "-T", "-m", "-Q", "-t", "-c", "-I", str(path)],
                           capture_output=True, text=True, check=True).stdout  # fmt: skip
    assert "pcapng" in about
    assert f'"{packets}"' in about


def test_commands_to_a_contactless_reader_are_not_sent_to_the_card(
    contactless: ContactlessInterface, tmp_path: Path
) -> None:
    trace = recorded(tmp_path / "t", contactless, [GET_UID, SELECT_JPKI, BEEP])
    for write in (write_capture, write_gsmtap):
        packets, path = captured(trace, tmp_path / "t.pcapng", write)
        rows = fields(
            path, "frame.interface_name", "_ws.col.Protocol", "data.data", "exported_pdu.p2p_dir", "frame.comment"
        )
        assert len(rows) == packets
        assert [row for row in rows if row[1] == "Reader"] == [
            [IN_THE_READER, "Reader", "ffca000000", "0", "GET UID (reader)"],
            [IN_THE_READER, "Reader", "112233449000", "1", f"4 bytes, 9000 success (1.00 ms)|{ITSELF}"],
            [IN_THE_READER, "Reader", "ff00520000", "0", "command to the reader FF 00"],
            [IN_THE_READER, "Reader", "6e00", "1", f"6E00 class not supported (1.00 ms)|{NO_OTHER}"],
        ]
        on_the_card = "|".join(row[4] for row in rows if row[0] == "Kazashi 00 00")
        assert "SELECT application JPKI" in on_the_card
        assert "reader" not in on_the_card


def test_contact_reader_passes_class_ff_on_to_the_card(contact: ContactInterface, tmp_path: Path) -> None:
    _, path = captured(recorded(tmp_path / "t", contact, [GET_UID]), tmp_path / "t.pcapng")
    (row,) = fields(path, "frame.interface_name", "iso7816.apdu.cla", "frame.comment", where="iso7816.apdu.cla")
    assert row == ["Kazashi 00 00", "0xff", "GET UID (reader)"]


def test_without_an_atr_class_ff_is_the_readers(tmp_path: Path) -> None:
    trace = Trace("x", False, (Recorded(AT, 0.0, GET_UID.hex(), "112233449000", "GET UID (reader) -> 9000"),))
    _, path = captured(trace, tmp_path / "t.pcapng")
    assert [row for (row,) in fields(path, "_ws.col.Protocol")] == ["Reader", "Reader"]


def test_gsmtap_names_file_offset_and_pin(contact: ContactInterface, tmp_path: Path) -> None:
    commands = [SELECT_JPKI, SELECT_PIN, TRIES, WRONG, VERIFY, bytes.fromhex("00B08A0004"), READ_4, SIGN]
    trace = recorded(tmp_path / "t", contact, commands)
    packets, path = captured(trace, tmp_path / "t.pcapng", write_gsmtap)
    assert packets == len(commands) + 1, "one packet for each exchange, and one for the power"
    rows = fields(path, "gsm_sim.apdu.ins", "gsm_sim.apdu.sw", "gsm_sim.aid", "gsm_sim.file_id", "gsm_sim.bin_offset",
                  "_ws.col.Info", "frame.comment", where="gsm_sim")  # fmt: skip
    assert [int(row[0], 16) for row in rows] == [command[1] for command in commands]
    assert [int(row[1], 16) for row in rows] == [0x9000, 0x9000, 0x63C3, 0x63C2, 0x9000, 0x9000, 0x9000, 0x9000]
    assert (rows[0][2], rows[1][3], rows[6][4]) == (jpki.AID.hex(), "0x0018", "1")
    assert rows[1][5].strip().endswith("SELECT File 0018")
    assert "VERIFY CHV" in rows[3][5]
    assert "Offset=1" in rows[6][5]
    assert rows[7][6].partition("|")[0] == "COMPUTE DIGITAL SIGNATURE authentication key (0017), 32 bytes"
    good = tshark(path, "-o", "ip.check_checksum:TRUE", "-Y", 'ip.checksum.status == "Good"')
    assert len(good) == len(commands)


def test_gsmtap_says_what_does_not_fit_in_a_datagram(tmp_path: Path) -> None:
    long = Recorded(AT, 0.0, "00B00000000000", "00" * 65_536 + "9000", "READ BINARY -> 9000")
    _, path = captured(Trace("x", False, (long,)), tmp_path / "t.pcapng", write_gsmtap)
    ((length, comment),) = fields(path, "ip.len", "frame.comment")
    assert int(length) == 0xFFFF
    left_out = 7 + 65_538 - (0xFFFF - 20 - 8 - 16)
    assert comment.split("|")[-1] == f"the last {left_out} bytes do not fit in a datagram and are left out"


def test_any_words_of_a_trace_make_a_valid_capture(tmp_path: Path) -> None:
    hostile = ["\ud800 -> \0", "x" * 70_000, "\u3042" * 30_000, " -> ", "a -> b -> c"]
    lines = [Recorded(AT, 0.0, "00200098", "9000", words, rule=words, source=words) for words in hostile]
    lines += [Recorded(AT, 0.0, "", "", "", words) for words in hostile]
    for write in (write_capture, write_gsmtap):
        packets, path = captured(Trace(hostile[0], False, tuple(lines)), tmp_path / "t.pcapng", write)
        comments = [comment for (comment,) in fields(path, "frame.comment")]
        assert len(comments) == packets
        assert max(len(comment) for comment in comments) > 65_000
        assert comments[-1] == hostile[-1]
