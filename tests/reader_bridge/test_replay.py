"""Replayed traces and relayed cards."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from smartcard.scard import SCARD_STATE_EMPTY, SCARD_STATE_PRESENT

from kazashi.applets import jpki
from kazashi.assembly.opensc import pkcs11_module
from kazashi.card.request import verify
from kazashi.reader_bridge.check.probe import CardPins
from kazashi.reader_bridge.check.result import CheckOutcome
from kazashi.reader_bridge.check.run import run_checks
from kazashi.reader_bridge.fault_script import parse_fault_script
from kazashi.reader_bridge.host import Presentation, ReaderHost
from kazashi.reader_bridge.interface import CardGone
from kazashi.reader_bridge.relay import RelayedCard
from kazashi.reader_bridge.replay import ReplayedCard
from kazashi.reader_bridge.trace import BadTrace, Recorded, Trace, read_trace
from kazashi.reader_bridge.vpcd import Exchange
from kazashi.world.home import World
from tests.clients.test_opensc import certificate
from tests.polling import LIMIT, until
from tests.reader_bridge.test_slots import insert, wait_for
from tests.reader_bridge.tracing import (
    AT,
    DONE,
    SELECT_JPKI,
    SIGN,
    TRIES,
    VERIFY,
    written,
)
from tests.support import PcscError, connected, run


def recorded(host: ReaderHost, number: int, since: int) -> list[Exchange]:
    return [entry.exchange for entry in host.journal.since(since)[0] if entry.slot == number]


def replayed(host: ReaderHost, number: int, trace: Path, *, strict: bool) -> ReplayedCard:
    card = ReplayedCard(read_trace(trace), strict=strict)
    host.hold(host.slots[number], f"replay in {number}", card)
    return card


@pytest.mark.reader
def test_opensc_accepts_a_replay_of_its_own_trace(world: World, image: Path, host: ReaderHost, tmp_path: Path) -> None:
    reader = insert(host, 0, image)
    listing = run("pkcs15-tool", "--reader", reader, "--list-certificates")
    trace = written(tmp_path / "t", recorded(host, 0, 0), unmasked=True)
    lenient, strict = replayed(host, 1, trace, strict=False), replayed(host, 2, trace, strict=True)
    for number in (1, 2):
        assert host.slots[number].wait_until_powered(LIMIT)
    readers = [slot.endpoint.reader for slot in host.slots]

    for _ in range(2):
        assert run("pkcs15-tool", "--reader", readers[1], "--list-certificates") == listing
    output = tmp_path / "certificate.pem"
    run("pkcs15-tool", "--reader", readers[1], "--read-certificate", "1", "--output", str(output))
    expected = x509.load_der_x509_certificate(certificate(world, "hanako", jpki.AUTHENTICATION_CERTIFICATE))
    assert x509.load_pem_x509_certificate(output.read_bytes()) == expected
    assert lenient.deviations == 0
    with connected(readers[1]) as transmit:
        assert transmit(b"\x00\x84\x00\x00\x08") == b"\x6d\x00", "not recorded"
        assert transmit(SELECT_JPKI) == DONE
    assert lenient.deviations == 1

    assert run("pkcs15-tool", "--reader", readers[2], "--list-certificates") == listing
    assert strict.deviations == 0
    with connected(readers[2]) as transmit:
        assert [transmit(SELECT_JPKI) for _ in range(2)] == [b"\x6f\x00"] * 2, "the trace is at its end"
    host.reset(host.slots[2])
    assert host.slots[2].wait_until_powered(LIMIT)
    assert run("pkcs15-tool", "--reader", readers[2], "--list-certificates") == listing, "a cold start"


def test_strict_replay_fails_from_the_first_other_command(session: list[Exchange], tmp_path: Path) -> None:
    trace = read_trace(written(tmp_path / "t", session, unmasked=True))
    exchanges = [exchange for exchange in session if not exchange.event]
    card = ReplayedCard(trace, strict=True)
    for exchange in exchanges:
        assert card.transmit(exchange.command) == exchange.response
    card = ReplayedCard(trace, strict=True)
    for exchange in exchanges[:4]:
        assert card.transmit(exchange.command) == exchange.response
    for command in (TRIES, exchanges[4].command, exchanges[0].command):
        assert card.transmit(command) == b"\x6f\x00"
    assert card.deviations == 3


def test_lenient_replay_searches_forwards_then_from_the_start() -> None:
    lines = tuple(Recorded(AT, 0.0, TRIES.hex().upper(), f"63C{left}") for left in (3, 2, 1))
    power = Recorded(AT, 0.0, "", "3B00", event="power on")
    card = ReplayedCard(Trace("x", False, (power, *lines)), strict=False)
    assert [card.transmit(TRIES).hex() for _ in range(4)] == ["63c3", "63c2", "63c1", "63c3"]
    assert card.transmit(SELECT_JPKI) == b"\x6d\x00"
    assert card.deviations == 1


@pytest.mark.parametrize("strict", [False, True])
def test_masked_verify_matches_any_pin_of_the_same_length(strict: bool, tmp_path: Path) -> None:
    power = Exchange(AT, 0.0, b"", bytes.fromhex("3B00"), "power on")
    exchanges = [power, Exchange(AT, 0.0, SELECT_JPKI, DONE), Exchange(AT, 0.0, VERIFY, DONE)]
    for pin_, response in ((b"1234", DONE), (b"9999", DONE), (b"999", b"\x6f\x00" if strict else b"\x6d\x00")):
        trace = read_trace(written(tmp_path / pin_.decode(), exchanges))
        card = ReplayedCard(trace, strict=strict)
        assert card.transmit(SELECT_JPKI) == DONE
        assert card.transmit(verify(0x18, pin_)) == response


def test_trace_without_an_atr_cannot_be_replayed(tmp_path: Path) -> None:
    trace = read_trace(written(tmp_path / "t", [Exchange(AT, 0.0, TRIES, DONE)]))
    with pytest.raises(BadTrace, match="no ATR"):
        ReplayedCard(trace, strict=False)


# Relayed cards


@pytest.fixture
def relayed(image: Path, host: ReaderHost) -> Iterator[str]:
    """The reader of slot 2, to which the card in slot 0 is relayed."""
    reader = insert(host, 0, image)
    host.hold(host.slots[2], "relay", RelayedCard(reader))
    assert host.slots[2].wait_until_powered(LIMIT)
    yield host.slots[2].endpoint.reader
    host.remove(host.slots[2])


@pytest.mark.reader
def test_relayed_card_works_with_opensc_and_passes_the_checks(world: World, relayed: str, tmp_path: Path) -> None:
    assert run("opensc-tool", "--reader", relayed, "--atr").splitlines()[0] == "3b:e0:00:ff:81:31:fe:45:14"
    assert run("opensc-tool", "--reader", relayed, "--name").strip() == "jpki"
    (tmp_path / "message").write_bytes(b"kazashi" * 3)
    run(
        "pkcs11-tool", "--module", pkcs11_module(), "--slot", "8", "--login", "--pin", "1234", "--sign", "--id", "01",
        "--mechanism", "SHA256-RSA-PKCS", "--input-file", str(tmp_path / "message"),
        "--output-file", str(tmp_path / "signature"),
    )  # fmt: skip
    der = certificate(world, "hanako", jpki.AUTHENTICATION_CERTIFICATE)
    key = x509.load_der_x509_certificate(der).public_key()
    assert isinstance(key, RSAPublicKey)
    key.verify((tmp_path / "signature").read_bytes(), b"kazashi" * 3, PKCS1v15(), SHA256())
    report = run_checks(relayed, CardPins("1234", "ABC123"))
    assert report.complete
    assert not [result for result in report.results if result.outcome in (CheckOutcome.FAILED, CheckOutcome.BROKEN)]
    assert sum(result.outcome is CheckOutcome.PASSED for result in report.results) > 50


@pytest.mark.reader
def test_relayed_card_is_removed_and_inserted_with_its_source(image: Path, host: ReaderHost, relayed: str) -> None:
    """Even while a client is connected and silent."""
    with connected(relayed) as transmit:
        assert transmit(SELECT_JPKI) == DONE
        host.remove(host.slots[0])
        wait_for(relayed, SCARD_STATE_EMPTY)
        with pytest.raises(PcscError):
            transmit(TRIES)
    insert(host, 0, image)
    wait_for(relayed, SCARD_STATE_PRESENT)
    assert host.slots[2].wait_until_powered(LIMIT)
    with connected(relayed) as transmit:
        assert (transmit(SELECT_JPKI), transmit(VERIFY)) == (DONE, DONE)
    host.remove(host.slots[0])
    wait_for(relayed, SCARD_STATE_EMPTY)


@pytest.mark.reader
def test_removal_during_a_command_does_not_hang_the_relay(image: Path, host: ReaderHost) -> None:
    plan = parse_fault_script("faults: [{tear: during, away: 50 ms, when: {matching: 802A}}]")
    reader = insert(host, 0, image, Presentation(faults=plan))
    host.hold(host.slots[2], "relay", RelayedCard(reader))
    assert host.slots[2].wait_until_powered(LIMIT)
    responses: list[bytes] = []

    def ask() -> None:
        with connected(host.slots[2].endpoint.reader) as transmit:
            responses.extend(transmit(command) for command in (SELECT_JPKI, VERIFY))
            with suppress(PcscError):
                responses.append(transmit(SIGN))

    client = threading.Thread(target=ask, daemon=True)
    client.start()
    client.join(LIMIT)
    assert not client.is_alive()
    assert responses in ([DONE, DONE], [DONE, DONE, b""])
    until(lambda: not host.slots[2].wait_until_powered(0), "the relayed card is still there")
    for number in (0, 2):
        assert host.slots[number].wait_until_powered(LIMIT)
    with connected(host.slots[2].endpoint.reader) as transmit:
        assert transmit(SELECT_JPKI) == DONE


@pytest.mark.reader
def test_card_with_t_0_only_is_relayed(image: Path, host: ReaderHost) -> None:
    reader = insert(host, 0, image, Presentation(faults=parse_fault_script("protocol: T=0")))
    host.hold(host.slots[2], "relay", RelayedCard(reader))
    assert host.slots[2].wait_until_powered(LIMIT)
    output = run("opensc-tool", "--reader", host.slots[2].endpoint.reader, "--atr", "--name")
    assert output.split() == ["3b:60:00:00", "jpki"]


@pytest.mark.reader
def test_relaying_an_empty_reader_raises_card_gone(host: ReaderHost) -> None:
    card = RelayedCard(host.slots[1].endpoint.reader)
    assert not card.present
    for use_ in (card.power_on, card.reset, lambda: card.transmit(TRIES)):
        with pytest.raises(CardGone, match="Kazashi A 00 01"):
            use_()
