"""Slots behind a real pcscd: insertion, removal, resets, transactions and restarts."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from smartcard.scard import (
    SCARD_LEAVE_CARD,
    SCARD_PCI_T1,
    SCARD_PROTOCOL_T1,
    SCARD_RESET_CARD,
    SCARD_SHARE_EXCLUSIVE,
    SCARD_SHARE_SHARED,
    SCARD_STATE_EMPTY,
    SCARD_STATE_PRESENT,
    SCARD_STATE_UNAWARE,
    SCARD_UNPOWER_CARD,
    SCardBeginTransaction,
    SCardConnect,
    SCardDisconnect,
    SCardEndTransaction,
    SCardGetStatusChange,
    SCardReconnect,
    SCardTransmit,
)

from kazashi.applets import jpki
from kazashi.applets.install import load_card, structure
from kazashi.card import request
from kazashi.card.chip import Chip
from kazashi.card.image import read_image
from kazashi.card_management.order import image_path
from kazashi.reader_bridge.decoder import Decoder
from kazashi.reader_bridge.endpoint import DriverEndpoint
from kazashi.reader_bridge.host import NoSuchSlot, Presentation, ReaderHost, slot_at
from kazashi.reader_bridge.interface import ContactInterface
from kazashi.reader_bridge.pcscd import RunningPcscd, start_pcscd
from kazashi.reader_bridge.slot import SlotBusy
from kazashi.reader_bridge.vpcd import Exchange
from kazashi.world.home import World
from tests.polling import LIMIT
from tests.support import PcscError, check, connected, context, send

pytestmark = pytest.mark.reader

SELECT_JPKI = request.select(jpki.AID)
VERIFY = request.verify(jpki.AUTHENTICATION_PIN, b"1234")
SIGN = request.compute_digital_signature(jpki.AUTHENTICATION_KEY, bytes(32))
READ_CERTIFICATE = bytes.fromhex("00B08A00000000")
SECONDS = 10.0


def copied(world: World, directory: Path, *names: str) -> list[Path]:
    return [Path(shutil.copy(image_path(world, name), directory / f"{name}.card")) for name in names]


def certificate(image: Path) -> bytes:
    """Return the whole file of the authentication certificate, including its filler."""
    return read_image(image)[0][jpki.AID].data[jpki.AUTHENTICATION_CERTIFICATE]


def insert(host: ReaderHost, number: int, image: Path, presentation: Presentation | None = None) -> str:
    slot = host.slots[number]
    host.insert(slot, image.stem, image, presentation or Presentation())
    assert slot.wait_until_powered(LIMIT)
    return slot.endpoint.reader


def wait_for(reader: str, state: int) -> None:
    """Wait until pcscd reports that a reader is in a state."""
    deadline = time.monotonic() + LIMIT
    with context() as established:
        current = SCARD_STATE_UNAWARE
        while time.monotonic() < deadline:
            code, [(_, current, _)] = SCardGetStatusChange(established, 1000, [(reader, current)])
            if not code and current & state:
                return
    raise AssertionError(f"{reader} did not reach the state {state:#x}")


def test_four_cards_are_read_without_a_mix_up(world: World, tmp_path: Path, host: ReaderHost) -> None:
    names = ("hanako", "taro", "leap-day", "child")
    images = copied(world, tmp_path, *names)
    readers = [insert(host, number, image) for number, image in enumerate(images)]
    expected = [certificate(image) for image in images]
    assert len(set(expected)) == 4
    for turn in range(3):
        for reader, content in zip(readers, expected, strict=True):
            with connected(reader) as transmit:
                assert transmit(SELECT_JPKI) == b"\x90\x00", turn
                assert transmit(READ_CERTIFICATE) == content + b"\x90\x00"


def test_concurrent_threads_read_their_own_cards(world: World, tmp_path: Path, host: ReaderHost) -> None:
    images = copied(world, tmp_path, "hanako", "taro", "leap-day", "child")
    readers = [insert(host, number, image) for number, image in enumerate(images)]
    wrong: list[str] = []

    def read(reader: str, content: bytes) -> None:
        for _ in range(40):
            with connected(reader) as transmit:
                transmit(SELECT_JPKI)
                if transmit(READ_CERTIFICATE) != content + b"\x90\x00":
                    wrong.append(reader)

    threads = [
        threading.Thread(target=read, args=(reader, certificate(image)))
        for reader, image in zip(readers, images, strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not wrong
    assert not any(thread.is_alive() for thread in threads)


def test_client_gets_an_error_if_its_card_is_exchanged(world: World, tmp_path: Path, host: ReaderHost) -> None:
    hanako, taro = copied(world, tmp_path, "hanako", "taro")
    reader = insert(host, 0, hanako)
    with connected(reader) as transmit:
        assert transmit(SELECT_JPKI) == b"\x90\x00"
        host.remove(host.slots[0])
        with pytest.raises(PcscError):
            transmit(READ_CERTIFICATE)
    insert(host, 0, taro)
    with connected(reader) as transmit:
        transmit(SELECT_JPKI)
        assert transmit(READ_CERTIFICATE) == certificate(taro) + b"\x90\x00"


def test_client_gets_an_error_if_its_card_is_removed(world: World, tmp_path: Path, host: ReaderHost) -> None:
    """At ten times during a sequence of signatures; nothing hangs."""
    (image,) = copied(world, tmp_path, "hanako")
    for moment in range(10):
        reader = insert(host, 0, image)
        failed = threading.Event()

        def sign(reader: str, failed: threading.Event) -> None:
            try:
                with connected(reader) as transmit:
                    transmit(SELECT_JPKI)
                    transmit(VERIFY)
                    while True:
                        transmit(SIGN)
            except PcscError:
                failed.set()

        client = threading.Thread(target=sign, args=(reader, failed))
        client.start()
        threading.Event().wait(0.003 * moment)  # the time of the removal is the variable of the test
        host.remove(host.slots[0])
        assert failed.wait(LIMIT)
        client.join(LIMIT)
        assert not client.is_alive()


def test_waiting_clients_are_notified_of_removal_and_insertion(world: World, tmp_path: Path, host: ReaderHost) -> None:
    (image,) = copied(world, tmp_path, "hanako")
    reader = insert(host, 0, image)
    wait_for(reader, SCARD_STATE_PRESENT)
    host.remove(host.slots[0])
    wait_for(reader, SCARD_STATE_EMPTY)
    insert(host, 0, image)
    wait_for(reader, SCARD_STATE_PRESENT)
    host.reset(host.slots[0])
    assert host.slots[0].wait_until_powered(LIMIT)
    with connected(reader) as transmit:
        assert transmit(b"\0\xa4\0\0") == b"\x6a\x86", "a cold start"


@pytest.mark.parametrize("kept", [False, True])
def test_reset_and_unpower_through_pcscd(world: World, tmp_path: Path, host: ReaderHost, kept: bool) -> None:
    (image,) = copied(world, tmp_path, "hanako")
    reader = insert(host, 0, image, Presentation(reset_keeps_status=kept))
    with context() as established:
        code, card, _ = SCardConnect(established, reader, SCARD_SHARE_SHARED, SCARD_PROTOCOL_T1)
        check(code)

        def ask(command: bytes) -> bytes:
            code, response = _transmit(card, command)
            check(code)
            return response

        assert (ask(SELECT_JPKI), ask(VERIFY), ask(SIGN)[-2:]) == (b"\x90\x00",) * 3
        check(SCardReconnect(card, SCARD_SHARE_SHARED, SCARD_PROTOCOL_T1, SCARD_LEAVE_CARD)[0])
        assert ask(SIGN)[-2:] == b"\x90\x00"
        check(SCardReconnect(card, SCARD_SHARE_SHARED, SCARD_PROTOCOL_T1, SCARD_RESET_CARD)[0])
        assert ask(SIGN)[-2:] == (b"\x90\x00" if kept else b"\x6a\x88")
        check(SCardReconnect(card, SCARD_SHARE_SHARED, SCARD_PROTOCOL_T1, SCARD_UNPOWER_CARD)[0])
        assert ask(SELECT_JPKI) == b"\x90\x00"
        assert ask(SIGN) == b"\x69\x82"
        SCardDisconnect(card, SCARD_LEAVE_CARD)


def _transmit(card: object, command: bytes) -> tuple[int, bytes]:
    code, response = SCardTransmit(card, SCARD_PCI_T1, list(command))
    return code, bytes(response)


def test_exclusive_access_and_transactions(world: World, tmp_path: Path, host: ReaderHost) -> None:
    (image,) = copied(world, tmp_path, "hanako")
    reader = insert(host, 0, image)
    with connected(reader, SCARD_SHARE_EXCLUSIVE), pytest.raises(PcscError), connected(reader):
        pass
    with context() as first, context() as second:
        _, mine, _ = SCardConnect(first, reader, SCARD_SHARE_SHARED, SCARD_PROTOCOL_T1)
        _, theirs, _ = SCardConnect(second, reader, SCARD_SHARE_SHARED, SCARD_PROTOCOL_T1)
        check(SCardBeginTransaction(mine))
        results: list[tuple[int, bytes]] = []
        other = threading.Thread(target=lambda: results.append(_transmit(theirs, SELECT_JPKI)))
        other.start()
        for _ in range(300):
            assert _transmit(mine, SELECT_JPKI) == (0, b"\x90\x00")
        assert not results, "the other client waits for the end of the transaction"
        check(SCardEndTransaction(mine, SCARD_LEAVE_CARD))
        other.join(LIMIT)
        assert results == [(0, b"\x90\x00")]
        SCardDisconnect(mine, SCARD_LEAVE_CARD)
        SCardDisconnect(theirs, SCARD_LEAVE_CARD)


def test_contactless_card_through_pcscd(world: World, tmp_path: Path, host: ReaderHost) -> None:
    (image,) = copied(world, tmp_path, "hanako")
    reader = insert(host, 0, image, Presentation(contactless=True))
    with context() as established:
        _, [(_, _, atr)] = SCardGetStatusChange(established, 0, [(reader, SCARD_STATE_UNAWARE)])
    assert bytes(atr).hex().upper() == "3B888001000005E0B381A1007F"
    with connected(reader) as transmit:
        uid = transmit(bytes.fromhex("FFCA000000"))
        assert len(uid) == 6
        assert uid == transmit(bytes.fromhex("FFCA000000")), "it stays the same while the card is in the field"
        assert transmit(bytes.fromhex("FFCA010000"))[-2:] == b"\x90\x00"
        assert transmit(bytes.fromhex("FF00520000")) == b"\x6e\x00"
        assert transmit(SELECT_JPKI) == b"\x90\x00"
        assert transmit(bytes.fromhex("00CA5F5100")) == bytes.fromhex("E000FF8131FE45149000")
    host.reset(host.slots[0])
    assert host.slots[0].wait_until_powered(LIMIT)
    with connected(reader) as transmit:
        assert transmit(bytes.fromhex("FFCA000000")) != uid


def test_extended_length_through_pcscd(world: World, tmp_path: Path, host: ReaderHost) -> None:
    (image,) = copied(world, tmp_path, "hanako")
    reader = insert(host, 0, image)
    with connected(reader) as transmit:
        transmit(SELECT_JPKI)
        assert len(transmit(READ_CERTIFICATE)) == 2048 + 2
        assert transmit(bytes.fromhex("00A4040C00FFF0") + bytes(0xFFF0)) == b"\x6a\x82", "pcscd's maximum"


def test_short_and_long_commands_reach_the_card(world: World, tmp_path: Path, host: ReaderHost) -> None:
    (image,) = copied(world, tmp_path, "hanako")
    reader = insert(host, 0, image)
    with connected(reader) as transmit:
        for command in (b"\0", b"\1", b"\2", b"\5\0", b"\0\xa4\4", bytes(65544)):
            assert transmit(command)[:1] in (b"\x67", b"\x6e", b"\x6d"), command[:5].hex()
        assert transmit(SELECT_JPKI) == b"\x90\x00"


def test_slots_are_found_by_name_number_and_card(world: World, tmp_path: Path, host: ReaderHost) -> None:
    hanako, taro = copied(world, tmp_path, "hanako", "taro")
    insert(host, 1, hanako)
    assert host.find("1") is host.find("Kazashi A 00 01") is host.find("hanako") is host.slots[1]
    assert host.first_empty() is host.slots[0]
    for wrong in ("7", "Kazashi", "nobody"):
        with pytest.raises(NoSuchSlot):
            host.find(wrong)
    with pytest.raises(SlotBusy):
        host.insert(host.slots[1], "taro", taro, Presentation())
    with pytest.raises(SlotBusy):
        host.insert(host.slots[0], "hanako", hanako, Presentation())
    with pytest.raises(NoSuchSlot):
        host.remove(host.slots[0])


def test_decoded_journal_names_files_and_hides_the_pin(world: World, tmp_path: Path, host: ReaderHost) -> None:
    (image,) = copied(world, tmp_path, "hanako")
    reader = insert(host, 0, image)
    begun = host.journal.last
    with connected(reader) as transmit:
        for command in (
            SELECT_JPKI, VERIFY, bytes.fromhex("00A4020C02000A"), bytes.fromhex("00B0000004"), SIGN,
            bytes.fromhex("00CA123400"),
        ):  # fmt: skip
            transmit(command)
    deadline = time.monotonic() + LIMIT
    decoder = Decoder(structure())
    lines: list[str] = []
    while not lines or not lines[-1].startswith("GET DATA"):
        assert time.monotonic() < deadline, "the exchanges did not appear in the journal"
        entries, missed = host.journal.since(begun)
        assert not missed
        # pcscd powers the card on and off as it likes, so that events are left out
        lines += [decoder.line(entry.exchange).rpartition(" (")[0] for entry in entries if not entry.exchange.event]
        begun = entries[-1].number if entries else begun
    assert lines == [
        "SELECT application JPKI -> 9000 success",
        "VERIFY authentication PIN (0018) **** -> 9000 success",
        "SELECT authentication certificate (000A) -> 9000 success",
        "READ BINARY authentication certificate (000A) from 0 up to 4 -> 4 bytes, 9000 success",
        "COMPUTE DIGITAL SIGNATURE authentication key (0017), 32 bytes -> 256 bytes, 9000 success",
        "GET DATA 1234 -> 6A88 referenced data or key not found",
    ]


def test_a_trace_that_begins_in_the_middle_has_no_wrong_file() -> None:
    """`reader trace` shows the latest exchanges only, and the card may have selected a file before."""
    decoder = Decoder(structure())

    def line(command: str, response: str = "9000") -> str:
        return decoder.line(Exchange(0, 0, bytes.fromhex(command), bytes.fromhex(response)))

    assert line("00B0010000").startswith("READ BINARY the current file from 256")
    line(SELECT_JPKI.hex())
    assert line("00B0000000", "6986").startswith("READ BINARY no file from 0")
    line("00A4020C02000A")
    assert line("00B0000000").startswith("READ BINARY authentication certificate (000A) from 0")


def test_decoder_accepts_malformed_commands() -> None:
    decoder = Decoder(())
    for command in (b"", b"\0", b"\0\x20\0\x80\x02", bytes.fromhex("00A40000"), bytes.fromhex("8099000001AA")):
        assert "6700" in decoder.line(Exchange(0, 0, command, b"\x67\0"))


CLIENT = """
import sys
from tests.support import PcscError, connected
with connected(sys.argv[1]) as transmit:
    print(transmit(bytes.fromhex("00A40000")).hex(), flush=True)
    sys.stdin.readline()
    try:
        transmit(bytes.fromhex("00A40000"))
    except PcscError as error:
        print("error:", error, flush=True)
"""


def test_slot_reconnects_after_a_restart_of_pcscd(world: World, tmp_path: Path) -> None:
    image = copied(world, tmp_path, "hanako")[0]
    first = start_pcscd(tmp_path, ["Restarted"], private=True)
    environment = {**os.environ, **first.client_environment()}
    slot, reader = slot_at(first.endpoints[0]), first.endpoints[0].reader
    try:
        slot.insert(ContactInterface(Chip(load_card(image))))
        assert slot.wait_until_powered(LIMIT)
        client = subprocess.Popen(
            [sys.executable, "-c", CLIENT, reader],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment,
        )  # fmt: skip
        assert client.stdout is not None
        assert client.stdout.readline() == "6a86\n"
        assert first.process is not None
        first.process.kill()
        first.process.wait()
        output, _ = client.communicate("go on\n", timeout=LIMIT)
        assert output.startswith("error:")
        second = start_pcscd(tmp_path, ["Restarted"], private=True)
        try:
            assert second.endpoints == first.endpoints
            deadline = time.monotonic() + LIMIT
            while not slot.wait_until_powered(0.1):
                assert time.monotonic() < deadline, "the card did not find the new pcscd"
            assert send(environment, reader, "00A40000") == ["6a86"]
        finally:
            second.stop()
    finally:
        slot.close()


HOST = """
import sys
from pathlib import Path
from kazashi.applets import jpki
from kazashi.applets.install import load_card
from kazashi.card.chip import Chip
from kazashi.card.image import read_image
from kazashi.reader_bridge.interface import ContactInterface
from kazashi.reader_bridge.endpoint import DriverEndpoint
from kazashi.reader_bridge.host import slot_at
slot = slot_at(DriverEndpoint("x", Path(sys.argv[2]), int(sys.argv[3])))
slot.insert(ContactInterface(Chip(load_card(Path(sys.argv[1])))))
slot.wait_until_powered(10)
print("powered", flush=True)
sys.stdin.read()
"""


def test_killed_bridge_can_be_started_again(world: World, tmp_path: Path, pcscd: RunningPcscd) -> None:
    (image,) = copied(world, tmp_path, "hanako")
    endpoint = pcscd.endpoints[3]
    assert isinstance(endpoint, DriverEndpoint)
    for _ in range(2):
        process = subprocess.Popen(
            [sys.executable, "-c", HOST, str(image), str(endpoint.directory), str(endpoint.number)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline() == "powered\n"
        wait_for(endpoint.reader, SCARD_STATE_PRESENT)
        with connected(endpoint.reader) as transmit:
            assert transmit(SELECT_JPKI) == b"\x90\x00"
            process.kill()
            process.wait()
            with pytest.raises(PcscError):
                transmit(SELECT_JPKI)
        process.stdin.close()
        process.stdout.close()
        wait_for(endpoint.reader, SCARD_STATE_EMPTY)
