"""Faults met by clients over a real pcscd."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from smartcard.scard import SCARD_PROTOCOL_T0, SCARD_PROTOCOL_T1, SCARD_UNPOWER_CARD

from kazashi.applets import input_support, jpki
from kazashi.card import request
from kazashi.card.image import read_image
from kazashi.card.pin import PinState
from kazashi.reader_bridge import pcsc
from kazashi.reader_bridge.fault_script import ATRS
from kazashi.reader_bridge.host import ReaderHost
from kazashi.world.home import World
from tests.clients.test_opensc import certificate
from tests.polling import LIMIT, until
from tests.reader_bridge.faulty import (
    CHANGE,
    DONE,
    MESSAGE,
    READ,
    READ_EXTENDED,
    SELECT_CARD_MANAGER,
    SELECT_JPKI,
    SELECT_WITH_FCI,
    SIGN,
    TRIES,
    VERIFY,
    VERIFY_WRONG,
    answered,
    asked,
    comes_back,
    pin_of,
    put,
    sign,
    signing,
    told,
    verify,
)
from tests.support import PcscError, connected, run


@pytest.mark.reader
def test_a_torn_card_comes_back_by_itself_and_spent_a_try_only_if_it_got_the_command(
    image: Path, host: ReaderHost
) -> None:
    left = {"before": 3, "during": 2, "after": 2}
    scripts = (f"faults: [{{tear: {moment}, away: 1 s, when: {{command: 2}}}}]" for moment in left)
    readers = put(host, image, *scripts)  # away for longer than pcscd takes to look, or the client is not told
    for reader, moment in zip(readers, left, strict=True):
        with connected(reader) as transmit:
            assert transmit(SELECT_JPKI) == DONE
            assert answered(transmit, VERIFY_WRONG) == (b"\x63\xc2" if moment == "after" else b"")
            with pytest.raises(PcscError):
                transmit(TRIES)
    for number, (reader, count) in enumerate(zip(readers, left.values(), strict=True)):
        comes_back(host, number)
        assert asked(reader, SELECT_JPKI, TRIES) == [DONE, bytes((0x63, 0xC0 | count))]
        assert pin_of(image, number).tries_left == count
        assert len(told(host, number)) == 1


@pytest.mark.reader
def test_a_card_comes_back_from_every_way_to_lose_it(image: Path, host: ReaderHost) -> None:
    """Torn out for longer; mute; an answer of nothing, for which vpcd would wait for ever; an answer that is longer
    than a message to vpcd can be."""
    ways = ("tear: before, away: 700 ms", "mute: 150 ms", "truncate: 2", "overlong: 65000")
    lasts = (0.7, 0.15, 0.0, 0.0)
    readers = put(host, image, *(f"faults: [{{{way}, when: {{command: 2}}}}]" for way in ways))
    begun = []
    for number, reader in enumerate(readers):
        answers: list[bytes] = []
        client = threading.Thread(target=ask_and_lose, args=(reader, answers), daemon=True)
        begun.append(time.monotonic())
        client.start()
        client.join(LIMIT)
        assert answers == [DONE, b""], ways[number]
        assert time.monotonic() - begun[number] >= (lasts[1] if number == 1 else 0.0)
    for number, (reader, seconds) in enumerate(zip(readers, lasts, strict=True)):
        comes_back(host, number)
        assert time.monotonic() - begun[number] >= seconds
        assert asked(reader, SELECT_JPKI, VERIFY) == [DONE, DONE], ways[number]
    assert told(host, 1) == ["the card is mute for 0.15 s", "and is taken out"]


def ask_and_lose(reader: str, answers: list[bytes]) -> None:
    with connected(reader) as transmit:
        answers.append(transmit(SELECT_JPKI))
        answers.append(answered(transmit, READ_EXTENDED if reader.endswith("B 00 01") else VERIFY))


@pytest.mark.reader
def test_power_that_fails_costs_verify_its_try_for_good_and_leaves_a_change_undone(
    image: Path, host: ReaderHost
) -> None:
    verifying, changing = put(
        host, image, "faults: [{glitch: verify, away: 50 ms, when: {every: 2}}]",
        "faults: [{glitch: change, away: 50 ms, when: {command: 3}}]",
    )  # fmt: skip
    with connected(verifying) as transmit:
        assert (transmit(SELECT_JPKI), answered(transmit, VERIFY)) == (DONE, b"")
    assert pin_of(image, 0) == PinState(b"1234", 3, 2), "the PIN was right"
    with connected(changing) as transmit:
        assert (transmit(SELECT_JPKI), transmit(VERIFY), answered(transmit, CHANGE)) == (DONE, DONE, b"")
    assert pin_of(image, 1) == PinState(b"1234", 3, 3), "the old PIN"
    comes_back(host, 0)
    assert asked(verifying, SELECT_JPKI, TRIES, VERIFY) == [DONE, b"\x63\xc2", DONE], "a query costs nothing"
    assert pin_of(image, 0) == PinState(b"1234", 3, 3), "and what worked at last gives the tries back"
    comes_back(host, 1)
    assert asked(changing, SELECT_JPKI, VERIFY, CHANGE) == [DONE] * 3
    assert pin_of(image, 1) == PinState(b"9999", 3, 3)


@pytest.mark.reader
def test_slow_answers_and_waiting_time_extensions_end_in_the_right_answer(image: Path, host: ReaderHost) -> None:
    script = "faults: [{slow: 50 ms, when: {command: 2}}, {wait: 3, each: 50 ms, when: {command: 3}}]"
    (reader,) = put(host, image, script)
    seconds = []
    with connected(reader) as transmit:
        for command in (SELECT_JPKI, VERIFY, TRIES, TRIES):
            begun = time.monotonic()
            assert transmit(command) == (b"\x63\xc3" if command == TRIES else DONE)
            seconds.append(time.monotonic() - begun)
    assert seconds[1] >= 0.05
    assert seconds[2] >= 0.15
    assert told(host, 0) == ["the answer comes 0.05 s late"] + ["waiting time extension of 0.05 s"] * 3


@pytest.mark.reader
def test_opensc_signs_with_a_card_that_asks_for_time_and_with_one_that_goes_right_after(
    world: World, image: Path, host: ReaderHost, tmp_path: Path
) -> None:
    put(
        host, image,
        "faults: [{wait: 2, each: 50 ms, when: {matching: 802A}}, {slow: 50 ms, when: {matching: '0020??8004'}}]",
        "faults: [{tear: after, away: 50 ms, when: {matching: 802A}}]",
    )  # fmt: skip
    faults = (
        ["the answer comes 0.05 s late", "waiting time extension of 0.05 s", "waiting time extension of 0.05 s"],
        ["the card is torn out after its answer"],
    )
    for number, expected in enumerate(faults):
        sign(number, tmp_path)
        verify(world, (tmp_path / "signature").read_bytes())
        assert told(host, number) == expected
        (tmp_path / "signature").unlink()


@pytest.mark.reader
def test_answers_too_short_too_long_and_with_another_status_word(image: Path, host: ReaderHost) -> None:
    faults = ("truncate: 1", "truncate: 2", "truncate: 257", "overlong: 1", "overlong: 1000", "overlong: 65000",
              "status: 6F00")  # fmt: skip
    script = "faults:\n" + "".join(
        f"  - {{{fault}, when: {{command: {number}}}}}\n" for number, fault in enumerate(faults, start=2)
    )
    (reader,) = put(host, image, script)
    data = read_image(image)[0][jpki.AID].data[jpki.AUTHENTICATION_CERTIFICATE][:256]
    with connected(reader) as transmit:
        assert transmit(SELECT_JPKI) == DONE
        answers = [transmit(READ) for _ in faults]
        assert transmit(READ) == data + DONE
    assert answers[:3] == [data + b"\x90", data, data[:1]]
    assert answers[3:6] == [data + bytes(count) + DONE for count in (1, 1000, 65000)]
    assert answers[6] == b"\x6f\x00"


@pytest.mark.reader
def test_opensc_says_that_it_lost_the_card_and_finds_it_once_it_is_back(
    image: Path, host: ReaderHost, tmp_path: Path
) -> None:
    gone = ("tear: before, away: 50 ms", "tear: during, away: 50 ms", "mute: 100 ms")
    readers = put(
        host, image, *(f"faults: [{{{fault}, when: {{matching: 802A}}}}]" for fault in gone),
        "faults: [{glitch: verify, away: 50 ms}]",
    )  # fmt: skip
    for number, _ in enumerate(readers):
        said = sign(number, tmp_path, expect=1)
        assert ("C_Login failed" if number == 3 else "C_SignFinal failed") in said
        assert not (tmp_path / "signature").exists() or not (tmp_path / "signature").read_bytes()
    assert pin_of(image, 3).tries_left == 2
    for number, reader in enumerate(readers):
        comes_back(host, number)
        said = run("pkcs15-tool", "--reader", reader, "--list-pins")
        assert f"Tries left     : {2 if number == 3 else 3}" in said


@pytest.mark.reader
def test_opensc_takes_no_broken_answer_for_a_signature_or_a_certificate(
    image: Path, host: ReaderHost, tmp_path: Path
) -> None:
    faults = ("status: 6F00", "truncate: 257", "overlong: 10")
    readers = put(
        host, image, *(f"faults: [{{{fault}, when: {{matching: 802A}}}}]" for fault in faults),
        "faults: [{overlong: 10, when: {matching: 00B0}}]",
    )  # fmt: skip
    for number, _ in enumerate(faults):
        assert "C_SignFinal failed" in sign(number, tmp_path, expect=1)
        assert told(host, number)
    said = run("pkcs15-tool", "--reader", readers[3], "--read-certificate", "1", expect=1)
    assert "Certificate read failed" in said
    assert "BEGIN" not in said


@pytest.mark.reader
def test_opensc_knows_the_card_by_every_atr_and_by_one_that_no_card_has(image: Path, host: ReaderHost) -> None:
    named = [*ATRS.items(), ("3B 82 80 01 CA FE 37", bytes.fromhex("3B828001CAFE37"))]
    for first in range(0, len(named), len(host.slots)):
        some = named[first : first + len(host.slots)]
        readers = put(host, image, *(f"atr: {name}" for name, _ in some))
        for reader, (name, atr) in zip(readers, some, strict=True):
            assert run("opensc-tool", "--reader", reader, "--atr").splitlines()[0] == atr.hex(":"), name
            assert run("opensc-tool", "--reader", reader, "--name").strip() == "jpki", name
            with pcsc.connected(reader) as card:
                assert card.status.atr == atr
                assert card.protocol == (SCARD_PROTOCOL_T0 if name == "T=0" else SCARD_PROTOCOL_T1), name
        for number, _ in enumerate(some):
            host.remove(host.slots[number])


@pytest.mark.reader
def test_a_card_speaks_the_protocols_that_its_atr_offers_and_no_other(image: Path, host: ReaderHost) -> None:
    offers = {
        "T=0": {SCARD_PROTOCOL_T0},
        "T=1": {SCARD_PROTOCOL_T1},
        "T=0 and T=1": {SCARD_PROTOCOL_T0, SCARD_PROTOCOL_T1},
    }
    readers = put(host, image, *(f"protocol: {word}" for word in offers))
    for reader, offered in zip(readers, offers.values(), strict=True):
        for protocol in (SCARD_PROTOCOL_T0, SCARD_PROTOCOL_T1):
            if protocol not in offered:
                with pytest.raises(pcsc.PcscError), pcsc.connected(reader, protocols=protocol):
                    pass
                continue
            with pcsc.connected(reader, protocols=protocol, leave=SCARD_UNPOWER_CARD) as card:
                assert card.protocol == protocol
                assert card.transmit(SELECT_JPKI) == DONE


@pytest.mark.reader
def test_opensc_binds_over_t_0_and_fetches_what_waits(
    world: World, image: Path, host: ReaderHost, tmp_path: Path
) -> None:
    (reader,) = put(host, image, "protocol: T=0")
    listed = run("pkcs15-tool", "--reader", reader, "--list-certificates")
    assert listed.count("Encoded serial") == 3, "those that need no PIN are read"
    output = tmp_path / "certificate.pem"
    run("pkcs15-tool", "--reader", reader, "--read-certificate", "1", "--output", str(output))
    wanted = certificate(world, "hanako", jpki.AUTHENTICATION_CERTIFICATE)
    assert x509.load_pem_x509_certificate(output.read_bytes()) == x509.load_der_x509_certificate(wanted)
    assert "Tries left     : 3" in run("pkcs15-tool", "--reader", reader, "--list-pins")


@pytest.mark.reader
def test_answers_are_fetched_as_t_0_has_it(image: Path, host: ReaderHost) -> None:
    (reader,) = put(host, image, "protocol: T=1\nchaining: true")
    with connected(reader) as transmit:
        assert transmit(SELECT_WITH_FCI) == b"\x61\x0e"
        assert transmit(bytes.fromhex("00C0000004")) == bytes.fromhex("6F0C840A610A")
        assert transmit(bytes.fromhex("00C000000A")) == bytes.fromhex("D392F0002601000000019000")
        assert transmit(bytes.fromhex("00C0000000")) == b"\x6d\x00", "nothing waits any more"
        assert transmit(bytes.fromhex("00CA5F5100")) == b"\x6c\x08"
        assert transmit(bytes.fromhex("00CA5F5108")) == bytes.fromhex("E000FF8131FE45149000")
        assert transmit(VERIFY) == DONE
        assert transmit(SIGN) == b"\x61\x00"
        signature = transmit(bytes.fromhex("00C0000000"))
        assert (len(signature), signature[-2:]) == (258, DONE)
        assert transmit(SIGN) == b"\x61\x00"
        assert transmit(TRIES) == b"\x63\xc3"
        assert transmit(bytes.fromhex("00C0000000")) == b"\x6d\x00", "another command drops what waited"


@pytest.mark.reader
@pytest.mark.parametrize("script", ["protocol: T=1\nchaining: true", "protocol: T=0"])
def test_opensc_takes_a_signature_that_waits_to_be_fetched_for_one_that_it_has(
    world: World, image: Path, host: ReaderHost, tmp_path: Path, script: str
) -> None:
    """Its driver asks for an answer of Le 0, which its GET RESPONSE takes for no answer (seen with OpenSC 0.23)."""
    put(host, image, script)
    sign(0, tmp_path)
    sent = [entry.exchange for entry in host.journal.since(0)[0]]
    (signed,) = (exchange for exchange in sent if exchange.command[:2] == b"\x80\x2a")
    assert signed.response == b"\x61\x00", "there is one"
    assert not any(exchange.command[:2] == b"\x00\xc0" for exchange in sent), "and nobody fetches it"
    with pytest.raises(InvalidSignature):
        verify(world, (tmp_path / "signature").read_bytes())


@pytest.mark.reader
def test_a_reader_that_carries_short_commands_only(world: World, image: Path, host: ReaderHost, tmp_path: Path) -> None:
    limits = (256, 261)
    readers = put(host, image, *(f"limit: {limit}" for limit in limits))
    for number, (reader, limit) in enumerate(zip(readers, limits, strict=True)):
        longest = b"\x00\xa4\x04\x0c" + bytes((limit - 6,)) + bytes(limit - 6) + b"\0"
        longer = b"\x00\xa4\x04\x0c" + bytes((limit - 5,)) + bytes(limit - 5) + b"\0" if limit < 261 else READ_EXTENDED
        with connected(reader) as transmit:
            assert (len(longest), transmit(longest)) == (limit, b"\x6a\x82")
            assert transmit(longer) == b"\x67\x00"
            assert transmit(SELECT_JPKI) == DONE
            assert transmit(READ_EXTENDED) == b"\x67\x00"
            assert len(transmit(READ)) == 258
        sign(number, tmp_path)
        verify(world, (tmp_path / "signature").read_bytes())
        (tmp_path / "signature").unlink()


@pytest.mark.reader
def test_tries_are_spent_on_the_card_before_anybody_looks(image: Path, host: ReaderHost) -> None:
    script = "tries: {JPKI authentication PIN: 1, JPKI signature password: 0, text text PIN: 9}"
    (reader,) = put(host, image, script)
    said = run("pkcs15-tool", "--reader", reader, "--list-pins")
    assert "Tries left     : 1" in said
    assert "Tries left     : 0" in said
    assert pin_of(image, 0).tries_left == 1
    assert pin_of(image, 0, jpki.SIGNATURE_PIN).tries_left == 0
    assert "incorrect" in run(
        "pkcs15-tool", "--reader", reader, "--verify-pin", "--auth-id", "01", "--pin", "9999", expect=255
    )
    with connected(reader) as transmit:
        assert (transmit(SELECT_JPKI), transmit(VERIFY)) == (DONE, b"\x69\x84"), "blocked now"
        transmit(request.select(input_support.AID))
        assert transmit(request.tries_left(input_support.PIN)) == b"\x63\xc3", "a PIN that has fewer keeps them"


def commands(host: ReaderHost) -> list[bytes]:
    """The commands that went over the slots so far."""
    entries, _ = host.journal.since(0)
    return [entry.exchange.command for entry in entries if not entry.exchange.event]


def stolen(host: ReaderHost) -> int:
    """How many thieves have selected their application."""
    return sum(entry.exchange.command.startswith(SELECT_CARD_MANAGER) for entry in host.journal.since(0)[0])


@pytest.mark.reader
def test_a_client_whose_reader_is_taken_waits_and_finds_another_application_selected(
    image: Path, host: ReaderHost
) -> None:
    (reader,) = put(host, image, "faults: [{steal: 400 ms, when: {command: 2}}]")
    with connected(reader) as transmit:
        assert (transmit(SELECT_JPKI), transmit(VERIFY)) == (DONE, DONE)
        until(lambda: stolen(host) > 0, "nobody took the reader")
        begun = time.monotonic()
        assert transmit(TRIES) == b"\x6a\x88", "the card manager has no such PIN"
        assert time.monotonic() - begun > 0.1, "it waits for the other's transaction"
        assert transmit(SELECT_JPKI) == DONE
        assert transmit(SIGN) == b"\x69\x82", "what was verified is forgotten"


@pytest.mark.reader
def test_opensc_says_that_it_cannot_sign_when_the_reader_was_taken_after_its_login(
    world: World, image: Path, host: ReaderHost, tmp_path: Path
) -> None:
    """pkcs11-tool opens its message after the login; a pipe keeps it there until the thief has been."""
    put(host, image, "faults: [{steal: 50 ms, when: {matching: '0020??8004'}}]")
    os.mkfifo(tmp_path / "pipe")
    client = subprocess.Popen(
        signing(0, tmp_path, tmp_path / "pipe"), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    until(lambda: stolen(host) > 0, "nobody took the reader")
    (tmp_path / "pipe").write_bytes(MESSAGE)
    said, _ = client.communicate(timeout=LIMIT)
    assert client.returncode == 1
    assert "C_SignFinal failed" in said
    sign(0, tmp_path)  # the next thief comes too late
    verify(world, (tmp_path / "signature").read_bytes())


@pytest.mark.reader
def test_a_thief_is_not_robbed_in_turn(image: Path, host: ReaderHost) -> None:
    """What the second client sends does not bring a third, or there would be no end."""
    (reader,) = put(host, image, "faults: [{steal: 10 ms}]")
    with connected(reader) as transmit:
        transmit(SELECT_JPKI)
    until(lambda: commands(host)[-1:] == [SELECT_CARD_MANAGER], "nobody took the reader")
    assert stolen(host) == 1, "a command is noted once its faults have come"
