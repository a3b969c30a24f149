"""Fault injection as clients see it over a real pcscd."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from functools import partial
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
    comes_back,
    fault_events,
    pin_of,
    put,
    responses_to,
    sign,
    signing,
    verify,
)
from tests.support import PcscError, Transmit, connected, run


def is_lost(transmit: Transmit) -> bool:
    """Whether PC/SC reports that the card is gone. Until pcscd has looked, vpcd returns empty responses."""
    try:
        response = transmit(TRIES)
    except PcscError:
        return True
    assert response == b"", "no response comes from a card that is gone"
    return False


@pytest.mark.reader
def test_removed_card_comes_back_and_lost_a_retry_only_if_it_got_the_command(image: Path, host: ReaderHost) -> None:
    left = {"before": 3, "during": 2, "after": 2}
    scripts = (f"faults: [{{tear: {moment}, away: 1 s, when: {{command: 2}}}}]" for moment in left)
    readers = put(host, image, *scripts)  # away for longer than pcscd's polling interval, or the client sees no error
    for reader, moment in zip(readers, left, strict=True):
        with connected(reader) as transmit:
            assert transmit(SELECT_JPKI) == DONE
            assert answered(transmit, VERIFY_WRONG) == (b"\x63\xc2" if moment == "after" else b"")
            until(partial(is_lost, transmit), "pcscd tells the client that the card is gone")
    for number, (reader, count) in enumerate(zip(readers, left.values(), strict=True)):
        comes_back(host, number)
        assert responses_to(reader, SELECT_JPKI, TRIES) == [DONE, bytes((0x63, 0xC0 | count))]
        assert pin_of(image, number).tries_left == count
        assert len(fault_events(host, number)) == 1


@pytest.mark.reader
def test_card_answers_again_after_every_kind_of_loss(image: Path, host: ReaderHost) -> None:
    """Removed for longer; mute; an empty response, or one that no client has room for, after which the card stays."""
    ways = ("tear: before, away: 700 ms", "mute: 150 ms", "truncate: 2", "overlong: 65000")
    durations = (0.7, 0.15, 0.0, 0.0)
    readers = put(host, image, *(f"faults: [{{{way}, when: {{command: 2}}}}]" for way in ways))
    begun = []
    for number, reader in enumerate(readers):
        responses: list[bytes] = []
        client = threading.Thread(target=ask_and_lose, args=(reader, responses), daemon=True)
        begun.append(time.monotonic())
        client.start()
        client.join(LIMIT)
        assert responses == [DONE, b""], ways[number]
        assert time.monotonic() - begun[number] >= (durations[1] if number == 1 else 0.0)
    for number, (reader, seconds) in enumerate(zip(readers, durations, strict=True)):
        if seconds:
            comes_back(host, number)
        assert time.monotonic() - begun[number] >= seconds
        assert responses_to(reader, SELECT_JPKI, VERIFY) == [DONE, DONE], ways[number]
    assert fault_events(host, 1) == ["the card does not respond for 0.15 s", "the mute card is removed"]


def ask_and_lose(reader: str, responses: list[bytes]) -> None:
    with connected(reader) as transmit:
        responses.append(transmit(SELECT_JPKI))
        responses.append(answered(transmit, READ_EXTENDED if reader.endswith("B 01 01") else VERIFY))


@pytest.mark.reader
def test_power_failure_costs_verify_a_retry_and_undoes_a_change(image: Path, host: ReaderHost) -> None:
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
    assert responses_to(verifying, SELECT_JPKI, TRIES, VERIFY) == [DONE, b"\x63\xc2", DONE], "a query is harmless"
    assert pin_of(image, 0) == PinState(b"1234", 3, 3), "the successful VERIFY resets the counter"
    comes_back(host, 1)
    assert responses_to(changing, SELECT_JPKI, VERIFY, CHANGE) == [DONE] * 3
    assert pin_of(image, 1) == PinState(b"9999", 3, 3)


@pytest.mark.reader
def test_slow_response_and_waiting_time_extension_are_transparent(image: Path, host: ReaderHost) -> None:
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
    assert fault_events(host, 0) == ["the response is 0.05 s late"] + ["waiting time extension of 0.05 s"] * 3


@pytest.mark.reader
def test_opensc_signs_with_a_slow_card_and_with_one_removed_afterwards(
    world: World, image: Path, host: ReaderHost, tmp_path: Path
) -> None:
    put(
        host, image,
        "faults: [{wait: 2, each: 50 ms, when: {matching: 802A}}, {slow: 50 ms, when: {matching: '0020??8004'}}]",
        "faults: [{tear: after, away: 50 ms, when: {matching: 802A}}]",
    )  # fmt: skip
    faults = (
        ["the response is 0.05 s late", "waiting time extension of 0.05 s", "waiting time extension of 0.05 s"],
        ["the card is removed after its response"],
    )
    for number, expected in enumerate(faults):
        sign(number, tmp_path)
        verify(world, (tmp_path / "signature").read_bytes())
        assert fault_events(host, number) == expected
        (tmp_path / "signature").unlink()


@pytest.mark.reader
def test_truncated_overlong_and_wrong_status_responses(image: Path, host: ReaderHost) -> None:
    faults = ("truncate: 1", "truncate: 2", "truncate: 257", "overlong: 1", "overlong: 1000", "overlong: 65000",
              "status: 6F00")  # fmt: skip
    script = "faults:\n" + "".join(
        f"  - {{{fault}, when: {{command: {number}}}}}\n" for number, fault in enumerate(faults, start=2)
    )
    (reader,) = put(host, image, script)
    data = read_image(image)[0][jpki.AID].data[jpki.AUTHENTICATION_CERTIFICATE][:256]
    with connected(reader) as transmit:
        assert transmit(SELECT_JPKI) == DONE
        responses = [transmit(READ) for _ in faults]
        assert transmit(READ) == data + DONE
    assert responses[:3] == [data + b"\x90", data, data[:1]]
    assert responses[3:6] == [data + bytes(count) + DONE for count in (1, 1000, 65000)]
    assert responses[6] == b"\x6f\x00"


@pytest.mark.reader
def test_opensc_reports_a_lost_card_and_finds_it_again(image: Path, host: ReaderHost, tmp_path: Path) -> None:
    gone = ("tear: before, away: 50 ms", "tear: during, away: 50 ms", "mute: 100 ms")
    readers = put(
        host, image, *(f"faults: [{{{fault}, when: {{matching: 802A}}}}]" for fault in gone),
        "faults: [{glitch: verify, away: 50 ms}]",
    )  # fmt: skip
    for number, _ in enumerate(readers):
        output = sign(number, tmp_path, expect=1)
        assert ("C_Login failed" if number == 3 else "C_SignFinal failed") in output
        assert not (tmp_path / "signature").exists() or not (tmp_path / "signature").read_bytes()
    assert pin_of(image, 3).tries_left == 2
    for number, reader in enumerate(readers):
        comes_back(host, number)
        output = run("pkcs15-tool", "--reader", reader, "--list-pins")
        assert f"Tries left     : {2 if number == 3 else 3}" in output


@pytest.mark.reader
def test_opensc_rejects_broken_signatures_and_certificates(image: Path, host: ReaderHost, tmp_path: Path) -> None:
    faults = ("status: 6F00", "truncate: 257", "overlong: 10")
    readers = put(
        host, image, *(f"faults: [{{{fault}, when: {{matching: 802A}}}}]" for fault in faults),
        "faults: [{overlong: 10, when: {matching: 00B0}}]",
    )  # fmt: skip
    for number, _ in enumerate(faults):
        assert "C_SignFinal failed" in sign(number, tmp_path, expect=1)
        assert fault_events(host, number)
    output = run("pkcs15-tool", "--reader", readers[3], "--read-certificate", "1", expect=1)
    assert "Certificate read failed" in output
    assert "BEGIN" not in output


@pytest.mark.reader
def test_opensc_recognises_the_card_with_any_atr(image: Path, host: ReaderHost) -> None:
    """The last one is not the ATR of any card."""
    atrs = [*ATRS.items(), ("3B 82 80 01 CA FE 37", bytes.fromhex("3B828001CAFE37"))]
    for first in range(0, len(atrs), len(host.slots)):
        chosen = atrs[first : first + len(host.slots)]
        readers = put(host, image, *(f"atr: {name}" for name, _ in chosen))
        for reader, (name, atr) in zip(readers, chosen, strict=True):
            assert run("opensc-tool", "--reader", reader, "--atr").splitlines()[0] == atr.hex(":"), name
            assert run("opensc-tool", "--reader", reader, "--name").strip() == "jpki", name
            with pcsc.connected(reader) as card:
                assert card.status.atr == atr
                assert card.protocol == (SCARD_PROTOCOL_T0 if name == "T=0" else SCARD_PROTOCOL_T1), name
        for number, _ in enumerate(chosen):
            host.remove(host.slots[number])


@pytest.mark.reader
def test_card_supports_exactly_the_protocols_of_its_atr(image: Path, host: ReaderHost) -> None:
    offers = {
        "T=0": {SCARD_PROTOCOL_T0},
        "T=1": {SCARD_PROTOCOL_T1},
        "T=0 and T=1": {SCARD_PROTOCOL_T0, SCARD_PROTOCOL_T1},
    }
    readers = put(host, image, *(f"protocol: {name}" for name in offers))
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
def test_opensc_binds_over_t_0_with_get_response(world: World, image: Path, host: ReaderHost, tmp_path: Path) -> None:
    (reader,) = put(host, image, "protocol: T=0")
    listed = run("pkcs15-tool", "--reader", reader, "--list-certificates")
    assert listed.count("Encoded serial") == 3, "the three that need no PIN"
    output = tmp_path / "certificate.pem"
    run("pkcs15-tool", "--reader", reader, "--read-certificate", "1", "--output", str(output))
    expected = certificate(world, "hanako", jpki.AUTHENTICATION_CERTIFICATE)
    assert x509.load_pem_x509_certificate(output.read_bytes()) == x509.load_der_x509_certificate(expected)
    assert "Tries left     : 3" in run("pkcs15-tool", "--reader", reader, "--list-pins")


@pytest.mark.reader
def test_chained_responses_are_fetched_with_get_response(image: Path, host: ReaderHost) -> None:
    (reader,) = put(host, image, "protocol: T=1\nchaining: true")
    with connected(reader) as transmit:
        assert transmit(SELECT_WITH_FCI) == b"\x61\x0e"
        assert transmit(bytes.fromhex("00C0000004")) == bytes.fromhex("6F0C840A610A")
        assert transmit(bytes.fromhex("00C000000A")) == bytes.fromhex("D392F0002601000000019000")
        assert transmit(bytes.fromhex("00C0000000")) == b"\x6d\x00", "no data is left"
        assert transmit(bytes.fromhex("00CA5F5100")) == b"\x6c\x08"
        assert transmit(bytes.fromhex("00CA5F5108")) == bytes.fromhex("E000FF8131FE45149000")
        assert transmit(VERIFY) == DONE
        assert transmit(SIGN) == b"\x61\x00"
        signature = transmit(bytes.fromhex("00C0000000"))
        assert (len(signature), signature[-2:]) == (258, DONE)
        assert transmit(SIGN) == b"\x61\x00"
        assert transmit(TRIES) == b"\x63\xc3"
        assert transmit(bytes.fromhex("00C0000000")) == b"\x6d\x00", "another command discards the rest"


@pytest.mark.reader
@pytest.mark.parametrize("script", ["protocol: T=1\nchaining: true", "protocol: T=0"])
def test_opensc_does_not_fetch_a_chained_signature(
    world: World, image: Path, host: ReaderHost, tmp_path: Path, script: str
) -> None:
    """Its driver requests Le 0, for which OpenSC does not send GET RESPONSE, and returns a wrong signature (seen with
    OpenSC 0.23)."""
    put(host, image, script)
    sign(0, tmp_path)
    sent = [entry.exchange for entry in host.journal.since(0)[0]]
    (signed,) = (exchange for exchange in sent if exchange.command[:2] == b"\x80\x2a")
    assert signed.response == b"\x61\x00", "a signature is available"
    assert not any(exchange.command[:2] == b"\x00\xc0" for exchange in sent), "it is not fetched"
    with pytest.raises(InvalidSignature):
        verify(world, (tmp_path / "signature").read_bytes())


@pytest.mark.reader
def test_reader_with_a_length_limit(world: World, image: Path, host: ReaderHost, tmp_path: Path) -> None:
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
def test_retry_counters_are_decremented_at_insertion(image: Path, host: ReaderHost) -> None:
    script = "tries: {JPKI authentication PIN: 1, JPKI signature password: 0, text text PIN: 9}"
    (reader,) = put(host, image, script)
    output = run("pkcs15-tool", "--reader", reader, "--list-pins")
    assert "Tries left     : 1" in output
    assert "Tries left     : 0" in output
    assert pin_of(image, 0).tries_left == 1
    assert pin_of(image, 0, jpki.SIGNATURE_PIN).tries_left == 0
    assert "incorrect" in run(
        "pkcs15-tool", "--reader", reader, "--verify-pin", "--auth-id", "01", "--pin", "9999", expect=255
    )
    with connected(reader) as transmit:
        assert (transmit(SELECT_JPKI), transmit(VERIFY)) == (DONE, b"\x69\x84"), "blocked now"
        transmit(request.select(input_support.AID))
        assert transmit(request.tries_left(input_support.PIN)) == b"\x63\xc3", "a counter is never incremented"


def commands(host: ReaderHost) -> list[bytes]:
    """Return the commands of all slots so far."""
    entries, _ = host.journal.since(0)
    return [entry.exchange.command for entry in entries if not entry.exchange.event]


def contentions(host: ReaderHost) -> int:
    """Return how many times a second client has selected its application."""
    return sum(entry.exchange.command.startswith(SELECT_CARD_MANAGER) for entry in host.journal.since(0)[0])


@pytest.mark.reader
def test_contended_client_waits_and_loses_its_application(image: Path, host: ReaderHost) -> None:
    (reader,) = put(host, image, "faults: [{steal: 400 ms, when: {command: 2}}]")
    with connected(reader) as transmit:
        assert (transmit(SELECT_JPKI), transmit(VERIFY)) == (DONE, DONE)
        until(lambda: contentions(host) > 0, "no second client took the reader")
        begun = time.monotonic()
        assert transmit(TRIES) == b"\x6a\x88", "the card manager has no such PIN"
        assert time.monotonic() - begun > 0.1, "it waits for the second client's transaction"
        assert transmit(SELECT_JPKI) == DONE
        assert transmit(SIGN) == b"\x69\x82", "the security status is cleared"


@pytest.mark.reader
def test_opensc_reports_contention_after_its_login(world: World, image: Path, host: ReaderHost, tmp_path: Path) -> None:
    """pkcs11-tool opens its message after the login; a pipe makes it wait until the second client has finished."""
    put(host, image, "faults: [{steal: 50 ms, when: {matching: '0020??8004'}}]")
    os.mkfifo(tmp_path / "pipe")
    client = subprocess.Popen(
        signing(0, tmp_path, tmp_path / "pipe"), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    until(lambda: contentions(host) > 0, "no second client took the reader")
    (tmp_path / "pipe").write_bytes(MESSAGE)
    output, _ = client.communicate(timeout=LIMIT)
    assert client.returncode == 1
    assert "C_SignFinal failed" in output
    sign(0, tmp_path)  # the next second client starts too late
    verify(world, (tmp_path / "signature").read_bytes())


@pytest.mark.reader
def test_second_client_does_not_start_a_third(image: Path, host: ReaderHost) -> None:
    """Otherwise its own commands would start clients without end."""
    (reader,) = put(host, image, "faults: [{steal: 10 ms}]")
    with connected(reader) as transmit:
        transmit(SELECT_JPKI)
    until(lambda: commands(host)[-1:] == [SELECT_CARD_MANAGER], "no second client took the reader")
    assert contentions(host) == 1, "a command is recorded after its faults"
