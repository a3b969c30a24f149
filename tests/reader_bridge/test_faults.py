"""Cards and readers that fail on purpose: what clients make of each failure, on a real reader and in process."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from random import Random

import pytest
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from hypothesis import given, settings
from hypothesis import strategies as st
from smartcard.scard import SCARD_PROTOCOL_T0, SCARD_PROTOCOL_T1, SCARD_UNPOWER_CARD

from kazashi.applets import card_manager, input_support, jpki
from kazashi.applets.install import install
from kazashi.assembly.opensc import pkcs11_module
from kazashi.card import request
from kazashi.card.card import Card
from kazashi.card.chip import Chip
from kazashi.card.contents import CardContents
from kazashi.card.identifiers import FileId
from kazashi.card.image import read_image
from kazashi.card.pin import PinState
from kazashi.card.store import Reference
from kazashi.card_management.order import image_path
from kazashi.reader_bridge import pcsc
from kazashi.reader_bridge.fault import Fault, FaultPlan, Glitch, Moment, Mute, StealReader, Tear, Wait, When
from kazashi.reader_bridge.fault_script import ATRS, UNKIND, parse_fault_script
from kazashi.reader_bridge.host import Presentation, ReaderHost
from kazashi.reader_bridge.interface import CardGone, ContactInterface, Interface
from kazashi.reader_bridge.vpcd import FORGETTING
from kazashi.world.home import World
from tests.card.test_any_bytes import commands
from tests.clients.test_opensc import certificate
from tests.support import PcscError, Transmit, connected, run

SECONDS = 10.0
SELECT_JPKI = request.select(jpki.AID)
SELECT_CARD_MANAGER = request.select(card_manager.AID)
SELECT_WITH_FCI = request.select_for_information(jpki.AID)
VERIFY = request.verify(jpki.AUTHENTICATION_PIN, b"1234")
VERIFY_WRONG = request.verify(jpki.AUTHENTICATION_PIN, b"0000")
CHANGE = request.change_reference_data(jpki.AUTHENTICATION_PIN, b"9999")
TRIES = request.tries_left(jpki.AUTHENTICATION_PIN)
READ = request.read_binary(0, 256, file=jpki.AUTHENTICATION_CERTIFICATE)
READ_EXTENDED = bytes.fromhex("00B08A00000000")
SIGN = request.compute_digital_signature(jpki.AUTHENTICATION_KEY, bytes(32))
DONE = b"\x90\x00"
MESSAGE = b"kazashi" * 3


def put(host: ReaderHost, image: Path, *scripts: str) -> list[str]:
    """A copy of the card with each script's faults, in the first slots in turn; answers the readers' names."""
    for number, script in enumerate(scripts):
        plan = parse_fault_script(script)
        host.insert(host.slots[number], f"card {number}", copy(image, number), Presentation(faults=plan))
    for number, _ in enumerate(scripts):
        assert host.slots[number].wait_until_powered(SECONDS)
    return [host.slots[number].endpoint.reader for number, _ in enumerate(scripts)]


def copy(image: Path, number: int) -> Path:
    path = image.with_name(f"slot-{number}.card")
    return path if path.exists() else Path(shutil.copy(image, path))


def pin_of(image: Path, number: int, fid: FileId = jpki.AUTHENTICATION_PIN) -> PinState:
    """A slot's PIN, as it is on disk."""
    return read_image(copy(image, number))[0][jpki.AID].pins[fid]


def told(host: ReaderHost, number: int) -> list[str]:
    """The faults of a slot's card so far."""
    entries, _ = host.journal.since(0)
    return [
        entry.exchange.event
        for entry in entries
        if entry.slot == number and entry.exchange.event and entry.exchange.event not in FORGETTING
    ]


def until(happens: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + SECONDS
    while not happens():
        assert time.monotonic() < deadline, what
        time.sleep(0.01)


def loses_power(host: ReaderHost, number: int) -> None:
    until(lambda: not host.slots[number].wait_until_powered(0), "the card is still there")


def answered(transmit: Transmit, command: bytes) -> bytes:
    """An answer; none where the card is gone, which vpcd passes off as an empty answer."""
    with suppress(PcscError):
        return transmit(command)
    return b""


def asked(reader: str, *commands: bytes) -> list[bytes]:
    with connected(reader) as transmit:
        return [transmit(command) for command in commands]


def sign(number: int, directory: Path, *, expect: int = 0) -> str:
    """What pkcs11-tool says when it signs with the card in a slot. OpenSC counts four slots to a reader."""
    (directory / "message").write_bytes(MESSAGE)
    while True:
        done = subprocess.run(
            signing(number, directory, directory / "message"), capture_output=True, text=True, check=False, timeout=60
        )
        said = done.stdout + done.stderr
        if "CKR_BUFFER_TOO_SMALL" not in said:  # a card came back between its counting the slots and its listing them
            assert done.returncode == expect, said
            return said


def signing(number: int, directory: Path, message: Path) -> Sequence[str]:
    return (
        "pkcs11-tool", "--module", pkcs11_module(), "--slot", str(4 * number), "--login", "--pin", "1234", "--sign",
        "--id", "01", "--mechanism", "SHA256-RSA-PKCS", "--input-file", str(message),
        "--output-file", str(directory / "signature"),
    )  # fmt: skip


def verify(world: World, signature: bytes) -> None:
    """Raises InvalidSignature."""
    der = certificate(world, "hanako", jpki.AUTHENTICATION_CERTIFICATE)
    key = x509.load_der_x509_certificate(der).public_key()
    assert isinstance(key, RSAPublicKey)
    key.verify(signature, MESSAGE, PKCS1v15(), SHA256())


# On a real reader


@pytest.mark.reader
def test_a_torn_card_comes_back_by_itself_and_spent_a_try_only_if_it_got_the_command(
    image: Path, host: ReaderHost
) -> None:
    left = {"before": 3, "during": 2, "after": 2}
    readers = put(host, image, *(f"faults: [{{tear: {moment}, away: 50 ms, when: {{command: 2}}}}]" for moment in left))
    for number, (reader, moment) in enumerate(zip(readers, left, strict=True)):
        with connected(reader) as transmit:
            assert transmit(SELECT_JPKI) == DONE
            assert answered(transmit, VERIFY_WRONG) == (b"\x63\xc2" if moment == "after" else b"")
            loses_power(host, number)
            with pytest.raises(PcscError):
                transmit(TRIES)
    for number, (reader, count) in enumerate(zip(readers, left.values(), strict=True)):
        assert host.slots[number].wait_until_powered(SECONDS)
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
        client.join(SECONDS)
        assert answers == [DONE, b""], ways[number]
        assert time.monotonic() - begun[number] >= (lasts[1] if number == 1 else 0.0)
        loses_power(host, number)
    for number, (reader, seconds) in enumerate(zip(readers, lasts, strict=True)):
        assert host.slots[number].wait_until_powered(SECONDS)
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
    loses_power(host, 0)
    with connected(changing) as transmit:
        assert (transmit(SELECT_JPKI), transmit(VERIFY), answered(transmit, CHANGE)) == (DONE, DONE, b"")
    assert pin_of(image, 1) == PinState(b"1234", 3, 3), "the old PIN"
    loses_power(host, 1)
    assert host.slots[0].wait_until_powered(SECONDS)
    assert asked(verifying, SELECT_JPKI, TRIES, VERIFY) == [DONE, b"\x63\xc2", DONE], "a query costs nothing"
    assert pin_of(image, 0) == PinState(b"1234", 3, 3), "and what worked at last gives the tries back"
    assert host.slots[1].wait_until_powered(SECONDS)
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
        loses_power(host, number)
        assert not (tmp_path / "signature").exists() or not (tmp_path / "signature").read_bytes()
    assert pin_of(image, 3).tries_left == 2
    for number, reader in enumerate(readers):
        assert host.slots[number].wait_until_powered(SECONDS)
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
    said, _ = client.communicate(timeout=SECONDS)
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
    until(lambda: stolen(host) > 0, "nobody took the reader")
    time.sleep(0.7)  # more than a thief's program needs to start
    assert stolen(host) == 1


# In process


@pytest.fixture(scope="module")
def contents(world: World) -> CardContents:
    return read_image(image_path(world, "hanako"))[0]


@pytest.fixture(scope="module")
def made(contents: CardContents) -> Callable[[FaultPlan], Interface]:
    """Makes a card under power, for each plan anew."""
    return lambda plan: in_process(contents, plan)


def hold(card: Card) -> Interface:
    """A card whose random bytes are always the same."""
    return ContactInterface(Chip(card, chance=lambda count: bytes(count)))


def in_process(contents: CardContents, plan: FaultPlan, tell: Callable[[str], None] = lambda _: None) -> Interface:
    interface = plan.around(install(contents), hold, tell)
    interface.power_on()
    return interface


def test_without_faults_a_card_answers_as_it_would_without_a_plan(contents: CardContents) -> None:
    plain, planned = hold(install(contents)), in_process(contents, parse_fault_script("seed: 3"))
    plain.power_on()
    assert planned.atr == plain.atr
    chance = Random(20260401)
    for number in range(3000):
        command = commands(chance)
        assert planned.transmit(command) == plain.transmit(command), f"the {number}-th: {command.hex()}"
        if number % 100 == 0:
            for interface in (plain, planned):
                interface.reset()
    assert planned.present


SEEDED = """
seed: {}
faults:
  - {{status: 6F00, when: {{chance: 0.1}}}}
  - {{truncate: 1, when: {{chance: 0.1}}}}
  - {{overlong: 3, when: {{matching: 00B0, chance: 0.5}}}}
  - {{tear: during, away: 0 s, when: {{every: 3, chance: 0.2}}}}
  - {{glitch: verify, away: 0 s, when: {{chance: 0.3}}}}
"""


def fates(contents: CardContents, seed: int) -> tuple[list[bytes], list[str]]:
    """What two hundred commands are answered (nothing when the card goes), and what is told of faults."""
    journal: list[str] = []
    card = in_process(contents, parse_fault_script(SEEDED.format(seed)), journal.append)
    answers = []
    for command in [SELECT_JPKI, READ, VERIFY, TRIES] * 50:
        try:
            answers.append(card.transmit(command))
        except CardGone:
            answers.append(b"")
    return answers, journal


def test_the_same_seed_brings_the_same_faults_and_another_brings_others(contents: CardContents) -> None:
    first = fates(contents, 1)
    assert first == fates(contents, 1)
    assert first != fates(contents, 2)
    assert len({words.split()[-1] for words in first[1]}) > 3, "each kind of them"


def test_an_unkind_life_brings_few_faults(contents: CardContents) -> None:
    plan = parse_fault_script(UNKIND)
    chance = Random(plan.seed)
    sequence = [SELECT_JPKI, VERIFY, READ, READ, SIGN, TRIES]
    met = [
        fault.kind
        for number in range(1, 12_001)
        for fault in plan.faults
        if fault.when.holds(number, sequence[number % len(sequence)], chance)
    ]
    assert {type(kind) for kind in met} == {type(fault.kind) for fault in plan.faults}, "each comes some time"
    assert len(met) / 12_000 < 0.06
    assert sum(isinstance(kind, Tear | Mute) for kind in met) / 12_000 < 0.006
    assert not any(isinstance(kind, Glitch | StealReader) for kind in met), "nothing that is lost for good"


def test_conditions_hold_all_at_once() -> None:
    never, always = Random(0), Random(0)
    third = When(every=3)
    assert [third.holds(number, READ, never) for number in range(1, 7)] == [False, False, True] * 2
    assert When().holds(1, b"", always)
    both = parse_fault_script("faults: [{slow: 1 s, when: {command: 2, matching: '00 b0 8?'}}]").faults[0].when
    assert both.holds(2, READ, always)
    assert not both.holds(3, READ, always)
    assert not both.holds(2, bytes.fromhex("00B0000000"), always)
    assert When(chance=1.0).holds(1, READ, always)
    assert not When(chance=0.0).holds(1, READ, always)


def test_a_glitch_that_another_fault_forestalls_leaves_the_card_whole(contents: CardContents) -> None:
    """The card is torn out before it gets the VERIFY in which its power would have failed."""
    faults = (Fault(Glitch(0.0), When(command=2)), Fault(Tear(Moment.BEFORE, 0.0), When(command=2)))
    card = in_process(contents, FaultPlan(faults=faults))
    assert card.transmit(SELECT_JPKI) == DONE
    with pytest.raises(CardGone):
        card.transmit(VERIFY)
    assert card.transmit(TRIES) == b"\x63\xc3"
    assert card.transmit(VERIFY) == DONE


def test_faults_meet_a_command_in_the_order_in_which_the_script_has_them(contents: CardContents) -> None:
    journal: list[str] = []
    faults = (Fault(Wait(1, 0.0), When()), Fault(Tear(Moment.DURING, 0.0), When()), Fault(Mute(0.0), When(command=2)))
    card = in_process(contents, FaultPlan(faults=faults), journal.append)
    for _ in range(2):
        with pytest.raises(CardGone):
            card.transmit(SELECT_JPKI)
    assert [words.split()[0] for words in journal] == ["waiting", "the", "waiting", "the", "and"]


def test_no_more_tries_are_spent_than_the_plan_asks_for(contents: CardContents) -> None:
    reference = Reference(jpki.AID, jpki.AUTHENTICATION_PIN)
    card = install(contents)
    for left, expected in ((5, 3), (2, 2), (3, 2), (0, 0)):
        FaultPlan(tries={reference: left}).around(card, hold)
        assert card.store.pin(reference).tries_left == expected


def fetched(transmit: Transmit, command: bytes, most: int) -> bytes:
    """The whole answer, as a client gets it that follows the rules and asks for `most` bytes at once."""
    answer = transmit(command)
    if answer[-2] == 0x6C:
        answer = transmit(command[:4] + answer[-1:])
    data = answer[:-2]
    while answer[-2] == 0x61:
        asked = min(answer[-1] or 256, most)
        answer = transmit(b"\x00\xc0\x00\x00" + bytes((asked & 0xFF,)))
        assert len(answer) <= asked + 2
        data += answer[:-2]
    return data + answer[-2:]


def header(*values: int) -> bytes:
    return bytes(values)


LES = st.one_of(
    st.just(b""),
    st.binary(min_size=1, max_size=1),
    st.binary(min_size=2, max_size=2).map(lambda length: b"\0" + length),
)
READS = st.builds(
    lambda p1, p2, le: header(0x00, 0xB0, p1, p2) + le,
    st.sampled_from((0x82, 0x8A, 0x86, 0x00, 0x01, 0x07)), st.integers(0, 255), LES,
)  # fmt: skip
SELECTIONS = st.builds(
    lambda name, le: header(0x00, 0xA4, 0x04, 0x00, len(name)) + name + le,
    st.sampled_from((jpki.AID, b"\xa0\0\0\1\x51\0\0", input_support.AID, b"\xd3")),
    st.sampled_from((b"", b"\0", b"\x05")),
)
OTHERS = st.sampled_from([
    VERIFY, VERIFY_WRONG, TRIES, SIGN, SIGN[:-1] + b"\x40", bytes.fromhex("00CA5F5100"), bytes.fromhex("00CA006600"),
    bytes.fromhex("00CA7F2100"), bytes.fromhex("00CA7F21000000"), bytes.fromhex("0084000010"),
    bytes.fromhex("0084000000"),
    bytes.fromhex("00A4020C02000A"), bytes.fromhex("00A40200020006") + b"\0", bytes.fromhex("00B2010400"), b"\0",
])  # fmt: skip


@settings(max_examples=120, deadline=None)
@given(sequence=st.lists(st.one_of(READS, SELECTIONS, OTHERS), max_size=12), most=st.integers(1, 256))
def test_a_client_that_fetches_what_waits_gets_exactly_the_unchained_answer(
    made: Callable[[FaultPlan], Interface], sequence: list[bytes], most: int
) -> None:
    plain, chained = made(FaultPlan()), made(FaultPlan(chaining=True))
    for command in [SELECT_JPKI, *sequence]:
        assert fetched(chained.transmit, command, most) == plain.transmit(command), command.hex()


@settings(max_examples=60, deadline=None)
@given(data=st.data(), limit=st.integers(20, 300))
def test_a_short_reader_carries_what_fits_unchanged(
    made: Callable[[FaultPlan], Interface], data: st.DataObject, limit: int
) -> None:
    plain, short = made(FaultPlan()), made(FaultPlan(limit=limit))
    for command in [SELECT_JPKI, *data.draw(st.lists(st.one_of(READS, SELECTIONS, OTHERS), max_size=12))]:
        if len(command) > limit or (len(command) >= 7 and command[4] == 0):
            assert short.transmit(command) == b"\x67\x00", command.hex()
        else:
            assert short.transmit(command) == plain.transmit(command), command.hex()


def test_what_waits_does_not_survive_a_cold_start(contents: CardContents) -> None:
    card = in_process(contents, FaultPlan(chaining=True))
    for again in (card.reset, card.power_on):
        assert card.transmit(SELECT_WITH_FCI) == b"\x61\x0e"
        again()
        assert card.transmit(bytes.fromhex("00C0000000")) == b"\x6d\x00"


def test_layers_lie_around_one_another(contents: CardContents) -> None:
    """A reader of short commands in front of a card that chains and has another ATR; its faults come from inside."""
    script = "protocol: T=0\nlimit: 256\nfaults: [{status: 6581, when: {matching: 00CA}}]"
    card = in_process(contents, parse_fault_script(script))
    assert card.atr == ATRS["T=0"]
    assert card.transmit(SELECT_WITH_FCI) == b"\x61\x0e"
    assert card.transmit(READ_EXTENDED) == b"\x67\x00"
    assert card.transmit(bytes.fromhex("00CA5F5100")) == b"\x65\x81"
    assert len(fetched(card.transmit, READ, 7)) == 258
