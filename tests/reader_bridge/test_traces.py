"""Traces: what they hide, that they survive, and what others make of them: Wireshark, a reader, another slot."""

from __future__ import annotations

import io
import json
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from hypothesis import example, given, settings
from hypothesis import strategies as st
from smartcard.scard import SCARD_STATE_EMPTY, SCARD_STATE_PRESENT

from kazashi.applets import card_manager, card_surface, common_card, input_support, jpki
from kazashi.applets.disclosure import IMPERSONAL_FILES, IMPERSONAL_OBJECTS
from kazashi.applets.install import install, structure
from kazashi.assembly.opensc import pkcs11_module
from kazashi.card import request
from kazashi.card.chip import Chip
from kazashi.card.contents import CardContents
from kazashi.card.identifiers import Aid
from kazashi.card.image import read_image
from kazashi.card.request import select, verify
from kazashi.card_management.order import image_path
from kazashi.reader_bridge.check.probe import Secrets
from kazashi.reader_bridge.check.result import Outcome
from kazashi.reader_bridge.check.run import run_checks
from kazashi.reader_bridge.decoder import MASK, Decoded, Decoder
from kazashi.reader_bridge.fault_script import parse_fault_script
from kazashi.reader_bridge.host import Presentation, ReaderHost
from kazashi.reader_bridge.interface import CardGone
from kazashi.reader_bridge.journal import Journal
from kazashi.reader_bridge.pcap import write_pcap
from kazashi.reader_bridge.relay import RelayedCard
from kazashi.reader_bridge.replay import ReplayedCard
from kazashi.reader_bridge.trace import BadTrace, Recorded, Trace, TraceWriter, read_trace
from kazashi.reader_bridge.vpcd import EVENTS, INSERTED, REMOVED, Exchange
from kazashi.resident_registry.cast import CAST
from kazashi.world.home import World
from tests.clients.test_opensc import certificate
from tests.reader_bridge.test_slots import insert, wait_for
from tests.support import PcscError, connected, run

SECONDS = 10.0
DONE = b"\x90\x00"
SELECT_JPKI = request.select(jpki.AID)
VERIFY = request.verify(jpki.AUTHENTICATION_PIN, b"1234")
TRIES = request.tries_left(jpki.AUTHENTICATION_PIN)
SIGN = request.compute_digital_signature(jpki.AUTHENTICATION_KEY, bytes([0x11]) * 32)
AT = 1.0
"""When things happened, in a form in which no digits of a secret turn up by chance."""


def read(short: int) -> bytes:
    return b"\x00\xb0" + bytes((0x80 | short,)) + bytes(4)


def pin(contents: CardContents, aid: Aid, fid: int) -> bytes:
    return next(state.value for found, state in contents[aid].pins.items() if found == fid)


def everything(contents: CardContents) -> list[bytes]:
    """Commands that read all that can be read, sign, and verify every PIN."""
    number, number_b = (
        pin(contents, input_support.AID, fid) for fid in (input_support.NUMBER_A, input_support.NUMBER_B)
    )
    return [
        *(b"\x00\xca" + tag.to_bytes(2) + b"\0" for tag in (card_manager.CARD_ID, card_manager.RECOGNITION, 0x5F51)),
        select(jpki.AID),
        read(jpki.AUTHENTICATION_AUTHORITY),
        read(jpki.AUTHENTICATION_CERTIFICATE),
        read(jpki.TOKEN_INFORMATION),
        verify(0x18, b"1234"),
        SIGN,
        verify(0x1B, b"ABC123"),
        read(jpki.SIGNATURE_CERTIFICATE),
        bytes.fromhex("0084000008"),
        select(input_support.AID),
        verify(0x11, b"1234"),
        verify(0x14, number),
        verify(0x15, number_b),
        *(
            read(fid)
            for fid in (
                input_support.INDIVIDUAL_NUMBER,
                input_support.FOUR_ATTRIBUTES,
                input_support.SIGNATURES,
                input_support.PUBLIC_KEY,
            )
        ),
        select(card_surface.AID),
        verify(0x11, pin(contents, card_surface.AID, 0x11)),
        verify(0x12, number_b),
        verify(0x13, number),
        *(read(fid) for fid in (1, 2, 5)),
        select(common_card.AID),
        bytes.fromhex("00B2010C00"),
        b"\x00\xa4\x04\x0c\x00\x01\x2c" + bytes(300),
    ]


@pytest.fixture(scope="module")
def contents(world: World) -> CardContents:
    return read_image(image_path(world, "hanako"))[0]


@pytest.fixture(scope="module")
def of_a_card(contents: CardContents) -> Callable[[], CardContents]:
    """The contents, in a form that can stand in the words of a failure."""
    return lambda: contents


@pytest.fixture(scope="module")
def session(contents: CardContents) -> list[Exchange]:
    """A card's whole life in a reader, as a journal has it."""
    chip = Chip(install(contents), chance=lambda count: b"\x55" * count)
    chip.power_on()
    journal = Journal()
    journal.add(0, Exchange(AT, 0.0, b"", b"", INSERTED))
    journal.add(0, Exchange(AT, 0.0, b"", chip.card.contact_atr, "power on"))
    for command in everything(contents):
        journal.add(0, Exchange(AT, 0.001, command, chip.transmit(command)))
    journal.add(0, Exchange(AT, 0.0, b"", b"", "the card is mute for 2 s"))
    journal.add(0, Exchange(AT, 0.0, b"", b"", REMOVED))
    found = [entry.exchange for entry in journal.since(0)[0]]
    refused = [exchange.command.hex() for exchange in found[2:-3] if exchange.response[-2:] != DONE]
    assert not refused
    return found


def written(path: Path, exchanges: Sequence[Exchange], *, unmasked: bool = False) -> Path:
    with TraceWriter(path, "Kazashi 00 00", Decoder(structure()), unmasked=unmasked) as trace:
        for exchange in exchanges:
            trace.write(exchange)
    return path


# What they hide


def secrets(world: World, contents: CardContents, session: list[Exchange]) -> dict[str, bytes]:
    """What must not be in a masked trace: what the image says of the holder, pieces of personal files, a signature."""
    _, about = read_image(image_path(world, "hanako"))
    found = {key: about[key].encode() for key in (
        "authentication PIN", "signature password", "birth PIN", "individual number", "reference number B",
        "card number", "name",
    )}  # fmt: skip
    signature = next(exchange.response for exchange in session if exchange.command == SIGN)
    blocks = {
        "signature": signature[:-2],
        "authentication certificate": contents[jpki.AID].data[jpki.AUTHENTICATION_CERTIFICATE][16:1200],
        "signature certificate": contents[jpki.AID].data[jpki.SIGNATURE_CERTIFICATE][16:1200],
        "four attributes": contents[input_support.AID].data[input_support.FOUR_ATTRIBUTES][16:64],
        "face": contents[card_surface.AID].data[card_surface.FACE][1000:2000],
    }
    authority = contents[jpki.AID].data[jpki.AUTHENTICATION_AUTHORITY]
    for name, block in blocks.items():
        for at in range(0, len(block) - 16, 16):
            piece = block[at : at + 16]
            if piece not in authority and len(set(piece)) > 4:  # what the authority's own says is no secret
                found[f"{name} from {at}"] = piece
    return found


def test_a_trace_hides_whatever_is_somebody_s_unless_it_is_asked_not_to(
    world: World, contents: CardContents, session: list[Exchange], tmp_path: Path
) -> None:
    hidden = secrets(world, contents, session)
    assert len(hidden) > 100
    masked = written(tmp_path / "masked", session).read_text(encoding="utf-8")
    for what, value in hidden.items():
        assert value.hex().upper() not in masked, what
        if len(value) > 8:
            assert value.decode("utf-8", "replace") not in masked, what
    for line in masked.splitlines()[1:]:
        assert not any(value in json.loads(line).get("words", "") for value in ("1234", "ABC123")), line
    unmasked = written(tmp_path / "unmasked", session, unmasked=True).read_text(encoding="utf-8")
    for what, value in hidden.items():
        assert value.hex().upper() in unmasked, what


def test_a_masked_trace_still_says_what_was_done(
    contents: CardContents, session: list[Exchange], tmp_path: Path
) -> None:
    trace = read_trace(written(tmp_path / "t", session))
    assert trace.masked
    lines = {line.words.partition(" -> ")[0]: line for line in trace.lines}
    assert lines["VERIFY authentication PIN (0018) ****"].command == "0020009804" + MASK * 4
    assert lines["VERIFY signature password (001B) ******"].response == "9000"
    number = lines["READ BINARY individual number (0001) from 0 up to 65536"]
    assert number.response == MASK * 17 + "9000"
    authority = lines["READ BINARY authentication authority (000B) from 0 up to 65536"]
    assert authority.response_bytes == contents[jpki.AID].data[jpki.AUTHENTICATION_AUTHORITY] + DONE
    assert trace.atr.hex().upper() == "3BE000FF8131FE4514"


def test_what_a_masked_trace_shows_is_the_same_on_many_cards(world: World) -> None:
    cards = [read_image(image_path(world, alias))[0] for alias in CAST]
    for aid, fids in IMPERSONAL_FILES.items():
        for fid in fids:
            kinds = {card[aid].data[next(found for found in card[aid].data if found == fid)] for card in cards}
            assert len(kinds) <= 2, f"file {fid:04X} of {aid} tells one card from another"
    for tag in IMPERSONAL_OBJECTS:
        assert len({card[card_manager.AID].objects[tag] for card in cards}) == 1


def shown(decoded: Decoded) -> bytes:
    """The bytes of an answer that are shown, without its status word."""
    return bytes.fromhex(decoded.response[:-4].replace(MASK, ""))


PARTIAL = bytes.fromhex("D39210003100010104")


def selection(p2: int, name: bytes) -> bytes:
    return b"\x00\xa4\x04" + bytes((p2, len(name))) + name + b"\0"


WAYS = st.one_of(
    st.builds(
        selection,
        st.sampled_from((0x00, 0x02, 0x0C, 0x0E)),
        st.sampled_from(
            (jpki.AID, input_support.AID, card_surface.AID, common_card.AID, PARTIAL, b"\xd3", b"\xa0", b"\xd3\x92\xf0")
        ),
    ),
    st.builds(lambda fid: b"\x00\xa4\x02\x0c\x02\x00" + bytes((fid,)), st.integers(0, 0x1F)),
    st.builds(
        lambda p1, p2, tail: b"\x00\xb0" + bytes((p1, p2)) + tail,
        st.one_of(st.just(0), st.integers(0x80, 0xA0)), st.sampled_from((0, 255)),
        st.sampled_from((b"\0", b"\x10", b"", b"\0\0\0", b"\x01\xaa")),
    ),
    st.builds(
        lambda ins, p1, p2, tail: ins + bytes((p1, p2)) + tail,
        st.sampled_from((b"\x00\x20", b"\x00\x24", b"\x80\x2a", b"\x00\x88", b"\x00\xb2", b"\x00\xca")),
        st.sampled_from((0, 1, 0x5F)), st.integers(0, 255), st.sampled_from((b"", b"\0", b"\x01\xaa", b"\x01\xaa\0")),
    ),
)  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(sequence=st.lists(WAYS, min_size=2, max_size=8))
@example([selection(0x0E, PARTIAL), read(0x05)])  # the next one of that name is another application
@example([select(jpki.AID), b"\x00\xa4\x02\x0c\x02\x00\x0a", b"\x00\xb0\x82\x00\x01\xaa", b"\x00\xb0\x00\x00\0"])
@example([select(jpki.AID), b"\x00\xa4\x02\x0c\x02\x00\x0a", b"\x00\x20\x01\x82\x01\xaa", b"\x00\xb0\x00\x00\0"])
def test_no_way_of_selecting_has_a_masked_trace_show_what_is_somebody_s(
    of_a_card: Callable[[], CardContents], sequence: list[bytes]
) -> None:
    """The decoder must not take a file for another than the card does, or it shows the wrong one."""
    contents = of_a_card()
    chip = Chip(install(contents))
    chip.power_on()
    decoder = Decoder(structure())
    nobody_s = b"".join(contents[aid].data[fid] for aid in contents for fid in contents[aid].data
                        if fid in IMPERSONAL_FILES.get(aid, ()))  # fmt: skip
    number_a, number_b = (
        pin(contents, input_support.AID, fid) for fid in (input_support.NUMBER_A, input_support.NUMBER_B)
    )
    for command in [select(input_support.AID), verify(0x11, b"1234"), *sequence]:
        answers = [(command, chip.transmit(command))]
        for short, value in ((0x13, number_a), (0x12, number_b), (0x18, b"1234"), (0x1B, b"ABC123")):
            if command[:3] == b"\x00\xa4\x04":  # whatever was selected, be allowed to read it
                answers.append((verify(short, value), chip.transmit(verify(short, value))))
        for asked, answer in answers:
            data = shown(decoder.decode(Exchange(AT, 0.0, asked, answer)))
            if asked[1] in (0xB0, 0xB2):
                assert data in nobody_s, f"{command.hex()} shows {data[:16].hex()}..."


@settings(max_examples=300, deadline=None)
@given(
    aid=st.binary(min_size=1, max_size=16).filter(lambda name: not any(
        application.aid.startswith(name) for application in structure()
    )),
    exchanges=st.lists(st.tuples(st.one_of(
        st.binary(max_size=40),
        st.builds(lambda ins, tail: ins + tail, st.sampled_from(
            (b"\x00\xb0", b"\x00\xb2", b"\x00\xca", b"\x00\x20", b"\x80\x2a", b"\x00\x88", b"\x00\xa4\x02")
        ), st.binary(min_size=2, max_size=20)),
    ), st.binary(min_size=2, max_size=60)), max_size=6),
)  # fmt: skip
def test_of_an_unknown_application_no_data_byte_is_shown(aid: bytes, exchanges: list[tuple[bytes, bytes]]) -> None:
    """But for a challenge, and for the two objects that tell of the kind of card."""
    decoder = Decoder(structure())
    decoder.decode(Exchange(AT, 0.0, selection(0, aid), b"\x6f\x00\x90\x00"))
    for command, response in exchanges:
        if command[:3] == b"\x00\xa4\x04" or command[:2] == b"\x00\x84":
            continue
        if command[:2] == b"\x00\xca" and int.from_bytes(command[2:4]) in IMPERSONAL_OBJECTS:
            continue
        decoded = decoder.decode(Exchange(AT, 0.0, command, response))
        assert decoded.response[:-4] == MASK * (len(response) - 2)
        if command[:2] != b"\x00\xa4" and len(command) > 7:
            assert MASK in decoded.command


@settings(max_examples=500, deadline=None)
@given(exchanges=st.lists(st.builds(
    Exchange, st.just(AT), st.just(0.0), st.binary(max_size=300), st.binary(max_size=300),
    st.sampled_from(("", "", "", *EVENTS.values(), INSERTED, REMOVED, "something else")),
), max_size=8))  # fmt: skip
def test_the_decoder_has_words_for_anything_and_changes_no_byte(exchanges: list[Exchange]) -> None:
    decoder = Decoder(structure())
    for exchange in exchanges:
        decoded = decoder.decode(exchange)
        assert decoded.words
        assert decoded.words.isprintable(), "one line"
        for shown_, whole in ((decoded.command, exchange.command), (decoded.response, exchange.response)):
            if exchange.event and not shown_:
                continue
            assert len(shown_) == 2 * len(whole)
            for at, byte in enumerate(whole):
                assert shown_[2 * at : 2 * at + 2] in (MASK, f"{byte:02X}")


def test_what_is_left_of_an_answer_that_was_cut_short_is_no_status_word() -> None:
    """A card that fails on purpose, or a bad contact: the last bytes may be the holder's."""
    decoder = Decoder(structure())
    decoder.decode(Exchange(AT, 0.0, select(input_support.AID), DONE))
    answer = bytes.fromhex("FF100C") + b"672311785360"
    assert decoder.decode(Exchange(AT, 0.0, read(1), answer)).response == MASK * len(answer)
    assert decoder.decode(Exchange(AT, 0.0, read(1), answer[:4])).response == MASK * 4
    assert decoder.decode(Exchange(AT, 0.0, read(1), answer + b"\x62\x81")).response == MASK * len(answer) + "6281"


@pytest.mark.parametrize("status", ["6A84", "6400", "9F10", "6110", "6C08"])
def test_a_status_word_of_another_card_is_one_all_the_same(status: str) -> None:
    decoded = Decoder(structure()).decode(Exchange(AT, 0.0, read(1), bytes.fromhex(status)))
    assert decoded.response == status
    assert f"-> {status} " in decoded.words


# That they survive


EXCHANGES = st.lists(st.one_of(
    st.builds(
        lambda at, seconds, command, response: Exchange(at / 1000, seconds / 1000, command, response),
        st.integers(0, 2**40), st.integers(0, 10**6), st.binary(min_size=1, max_size=64), st.binary(max_size=300),
    ),
    st.builds(
        lambda at, response, event: Exchange(at / 1000, 0.0, b"", response, event),
        st.integers(0, 2**40), st.binary(max_size=33), st.text(min_size=1, max_size=40),
    ),
), max_size=12)  # fmt: skip


@settings(max_examples=80, deadline=None)
@given(exchanges=EXCHANGES, unmasked=st.booleans(), reader=st.text(max_size=40))
def test_what_is_written_is_read_again(exchanges: list[Exchange], unmasked: bool, reader: str) -> None:
    with TemporaryDirectory() as directory:
        path = Path(directory) / "t"
        with TraceWriter(path, reader, Decoder(structure()), unmasked=unmasked) as writer:
            decoded = [writer.write(exchange) for exchange in exchanges]
        trace = read_trace(path)
    assert (trace.reader, trace.masked, trace.cut_off) == (reader, not unmasked, False)
    for line, exchange, words in zip(trace.lines, exchanges, decoded, strict=True):
        assert (line.at, line.seconds, line.event) == (exchange.at, exchange.seconds, exchange.event)
        if unmasked or exchange.event:
            assert (line.command_bytes, line.response_bytes) == (exchange.command, exchange.response)
        else:
            assert (line.command, line.response) == (words.command, words.response)
        assert line.words == ("" if exchange.event else words.words)
        if not exchange.event:
            assert line.is_asked_by(exchange.command)


def test_a_trace_that_breaks_off_anywhere_has_all_lines_before(session: list[Exchange], tmp_path: Path) -> None:
    path = written(tmp_path / "t", session[:12])
    whole, raw = read_trace(path), path.read_bytes()
    ends = [at + 1 for at, byte in enumerate(raw) if byte == ord("\n")]
    chance = Random(20260401)
    offsets = {*range(ends[-3], len(raw)), *(chance.randrange(len(raw)) for _ in range(300)), ends[0] - 1, ends[0], 0}
    for offset in offsets:
        path.write_bytes(raw[:offset])
        complete = sum(end <= offset for end in ends)
        if not complete:
            with pytest.raises(BadTrace, match="first line"):
                read_trace(path)
            continue
        trace = read_trace(path)
        assert trace.lines == whole.lines[: complete - 1], offset
        assert trace.cut_off == (offset not in ends), offset


def use(trace: Trace) -> None:
    """All that is done with a trace."""
    write_pcap(trace, io.BytesIO())
    time.localtime(trace.lines[0].at if trace.lines else 0)
    try:
        card = ReplayedCard(trace, strict=False)
    except BadTrace:
        return
    for line in trace.lines:
        card.transmit(line.command_bytes)


def wrong_with(path: Path) -> str | None:
    """Why a file is no trace; one that is can be used."""
    try:
        trace = read_trace(path)
    except BadTrace as error:
        return str(error)
    use(trace)
    return None


HEADER = b'{"format": "kazashi-trace", "version": 1, "reader": "x", "masked": true}\n'


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_a_trace_with_a_damaged_byte_loads_or_names_the_line(data: st.DataObject, short: bytes) -> None:
    """A byte is changed, and what still loads is of use."""
    at = data.draw(st.integers(0, len(short) - 1))
    raw = short[:at] + bytes((data.draw(st.integers(0, 255)),)) + short[at + 1 :]
    with TemporaryDirectory() as directory:
        path = Path(directory) / "t"
        path.write_bytes(raw)
        error = wrong_with(path)
        assert error is None or (str(path) in error and ("line" in error or "version" in error))


@pytest.fixture(scope="module")
def short(session: list[Exchange]) -> bytes:
    """A short trace's bytes."""
    with TemporaryDirectory() as directory:
        return written(Path(directory) / "t", [*session[:8], *session[-2:]]).read_bytes()


LINE = '{"at": 1.0, "seconds": 0.0, "command": "00A4", "response": "9000"}'


@pytest.mark.parametrize(
    "line",
    [
        "", "[]", "1", "null", '"x"', "{", "\xff", '{"at": 1}', LINE.replace("1.0", '"x"'), LINE.replace("1.0", "null"),
        LINE.replace("1.0", "1" + "0" * 400), LINE.replace("1.0", "1" + "0" * 5000), LINE.replace("1.0", "1e999"),
        LINE.replace("1.0", "NaN"), LINE.replace("1.0", "-5"), LINE.replace("1.0", "1e12"),
        LINE.replace("0.0", "-1"), LINE.replace("0.0", "1e300"), LINE.replace("0.0", "Infinity"),
        LINE.replace("00A4", "00A"), LINE.replace("00A4", "zz"), LINE.replace("00A4", "00***"),
        LINE.replace('"00A4"', "null"), LINE.replace('"9000"', "[]"),
        "[" * 100_000, '{"a":' * 100_000,
    ],
)  # fmt: skip
def test_a_line_that_makes_no_sense_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "t"
    path.write_bytes(HEADER + LINE.encode() + b"\n" + line.encode("latin-1") + b"\n" + LINE.encode() + b"\n")
    with pytest.raises(BadTrace, match=r"t line 3 "):
        read_trace(path)


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"", "no first line"),
        (b"x", "no first line"),
        (b"x\n", "line 1 is no JSON"),
        (b"[]\n", "line 1 is no JSON object"),
        (b"{}\n", "does not name the format"),
        (HEADER.replace(b"1", b"2"), "another version"),
        (b"\0" * 1000 + b"\n", "line 1 is no JSON"),
        (bytes(range(256)) * 40, "line 1 is no JSON"),
    ],
)
def test_what_is_no_trace_is_told_so(tmp_path: Path, raw: bytes, words: str) -> None:
    (tmp_path / "t").write_bytes(raw)
    with pytest.raises(BadTrace, match=words):
        read_trace(tmp_path / "t")


@settings(max_examples=200, deadline=None)
@given(raw=st.one_of(st.binary(max_size=300), st.binary(max_size=200).map(lambda tail: HEADER + tail)))
def test_any_bytes_are_a_trace_or_a_bad_one(raw: bytes) -> None:
    with TemporaryDirectory() as directory:
        path = Path(directory) / "t"
        path.write_bytes(raw)
        error = wrong_with(path)
        assert error is None or str(path) in error


RECORDER = """
import sys
from pathlib import Path
from kazashi.applets.install import structure
from kazashi.reader_bridge.decoder import Decoder
from kazashi.reader_bridge.trace import TraceWriter
from kazashi.reader_bridge.vpcd import Exchange
writer = TraceWriter(Path(sys.argv[1]), "x", Decoder(structure()))
number = 0
while True:
    number += 1
    writer.write(Exchange(float(number), 0.0, bytes.fromhex("00B08A0000"), bytes(256) + b"\\x90\\x00"))
"""


def has_grown(path: Path) -> bool:
    return path.exists() and path.stat().st_size > 50_000


def test_a_recorder_that_is_killed_leaves_a_trace_that_loads(tmp_path: Path) -> None:
    for turn in range(3):
        path = tmp_path / f"{turn}"
        recorder = subprocess.Popen([sys.executable, "-c", RECORDER, str(path)])
        try:
            until(partial(has_grown, path), "nothing is recorded")
        finally:
            recorder.send_signal(signal.SIGKILL)
            recorder.wait()
        trace = read_trace(path)
        assert [line.at for line in trace.lines] == [float(number) for number in range(1, len(trace.lines) + 1)]
        assert len(trace.lines) > 50


def test_a_trace_is_its_owner_s_alone_and_never_written_over(tmp_path: Path) -> None:
    path = written(tmp_path / "t", [])
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    before = path.read_bytes()
    with pytest.raises(FileExistsError):
        TraceWriter(path, "x", Decoder(()))
    assert path.read_bytes() == before


# What Wireshark makes of them


def tshark(path: Path, *more: str) -> list[str]:
    done = subprocess.run(
        ["tshark", "-r", str(path), "-d", "iso14443.subdissector,iso7816", *more],
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    return done.stdout.splitlines()


def captured(trace: Trace, path: Path) -> tuple[int, Path]:
    with path.open("wb") as out:
        return write_pcap(trace, out), path


@pytest.mark.parametrize("unmasked", [False, True])
def test_wireshark_reads_every_command_and_every_answer(
    session: list[Exchange], tmp_path: Path, unmasked: bool
) -> None:
    trace = read_trace(written(tmp_path / "t", session, unmasked=unmasked))
    packets, path = captured(trace, tmp_path / "t.pcap")
    exchanges = [exchange for exchange in session if not exchange.event]
    assert max(len(exchange.response) for exchange in exchanges) > 7000, "long answers are chained"
    assert max(len(exchange.command) for exchange in exchanges) > 256, "long commands too"
    fields = tshark(
        path, "-T", "fields", "-E", "separator=,", "-e", "iso7816.apdu.cla", "-e", "iso7816.apdu.ins",
        "-e", "iso7816.apdu.sw1", "-e", "iso7816.apdu.sw2",
    )  # fmt: skip
    rows = [line.split(",") for line in fields]
    assert len(rows) == packets
    classes = [exchange.command[0] for exchange in exchanges]
    assert [int(cla, 16) for cla, *_ in rows if cla] == classes
    # of a proprietary class it says no more
    instructions = [exchange.command[1] for exchange in exchanges if not exchange.command[0]]
    assert [int(ins, 16) for _, ins, _, _ in rows if ins] == instructions
    answers = [bytes((int(sw1, 16), int(sw2, 16))) for _, _, sw1, sw2 in rows if sw1 and sw2]
    # Wireshark takes an answer for an ATR that begins like one, as one signature in 128 does.
    atrs = (b"\x3b", b"\x3f") if unmasked else ()
    assert answers == [exchange.response[-2:] for exchange in exchanges if exchange.response[:1] not in atrs]
    assert not tshark(path, "-Y", "_ws.malformed")


def test_wireshark_puts_the_blocks_of_a_long_answer_together_again(session: list[Exchange], tmp_path: Path) -> None:
    (long,) = (exchange for exchange in session if len(exchange.response) > 7000)
    trace = read_trace(written(tmp_path / "t", [session[1], long], unmasked=True))
    _, path = captured(trace, tmp_path / "t.pcap")
    said = "\n".join(tshark(path, "-V"))
    assert f"Reassembled apdu length: {len(long.response)}" in said
    assert "ATQA" not in said, "no block is taken for the beginning of a conversation"


def test_wireshark_reads_answers_that_are_none(tmp_path: Path) -> None:
    power = Exchange(AT, 0.0, b"", bytes.fromhex("3B00"), "power on")
    exchanges = [Exchange(AT, 0.0, TRIES, answer) for answer in (b"", b"\x90", DONE)]
    packets, path = captured(read_trace(written(tmp_path / "t", [power, *exchanges])), tmp_path / "t.pcap")
    assert packets == 7
    assert len(tshark(path)) == 7
    assert len(tshark(path, "-Y", "iso7816.apdu.ins")) == 3


# What a reader makes of them


def until(happens: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + SECONDS
    while not happens():
        assert time.monotonic() < deadline, what
        time.sleep(0.01)


def recorded(host: ReaderHost, number: int, since: int) -> list[Exchange]:
    return [entry.exchange for entry in host.journal.since(since)[0] if entry.slot == number]


def replayed(host: ReaderHost, number: int, trace: Path, *, strict: bool) -> ReplayedCard:
    card = ReplayedCard(read_trace(trace), strict=strict)
    host.hold(host.slots[number], f"replay in {number}", card)
    return card


@pytest.mark.reader
def test_a_recording_of_opensc_is_played_to_opensc(world: World, image: Path, host: ReaderHost, tmp_path: Path) -> None:
    reader = insert(host, 0, image)
    listing = run("pkcs15-tool", "--reader", reader, "--list-certificates")
    trace = written(tmp_path / "t", recorded(host, 0, 0), unmasked=True)
    lenient, strict = replayed(host, 1, trace, strict=False), replayed(host, 2, trace, strict=True)
    for number in (1, 2):
        assert host.slots[number].wait_until_powered(SECONDS)
    readers = [slot.endpoint.reader for slot in host.slots]

    for _ in range(2):
        assert run("pkcs15-tool", "--reader", readers[1], "--list-certificates") == listing
    output = tmp_path / "certificate.pem"
    run("pkcs15-tool", "--reader", readers[1], "--read-certificate", "1", "--output", str(output))
    wanted = x509.load_der_x509_certificate(certificate(world, "hanako", jpki.AUTHENTICATION_CERTIFICATE))
    assert x509.load_pem_x509_certificate(output.read_bytes()) == wanted
    assert lenient.deviations == 0
    with connected(readers[1]) as transmit:
        assert transmit(b"\x00\x84\x00\x00\x08") == b"\x6d\x00", "never recorded"
        assert transmit(SELECT_JPKI) == DONE
    assert lenient.deviations == 1

    assert run("pkcs15-tool", "--reader", readers[2], "--list-certificates") == listing
    assert strict.deviations == 0
    with connected(readers[2]) as transmit:
        assert [transmit(SELECT_JPKI) for _ in range(2)] == [b"\x6f\x00"] * 2, "the recording is at its end"
    host.reset(host.slots[2])
    assert host.slots[2].wait_until_powered(SECONDS)
    assert run("pkcs15-tool", "--reader", readers[2], "--list-certificates") == listing, "put in anew"


def test_a_strict_replay_is_lost_at_the_first_other_command(session: list[Exchange], tmp_path: Path) -> None:
    trace = read_trace(written(tmp_path / "t", session, unmasked=True))
    exchanges = [exchange for exchange in session if not exchange.event]
    card = ReplayedCard(trace, strict=True)
    assert [card.transmit(exchange.command) for exchange in exchanges] == [found.response for found in exchanges]
    card = ReplayedCard(trace, strict=True)
    for exchange in exchanges[:4]:
        assert card.transmit(exchange.command) == exchange.response
    for command in (TRIES, exchanges[4].command, exchanges[0].command):
        assert card.transmit(command) == b"\x6f\x00"
    assert card.deviations == 3


def test_a_lenient_replay_looks_onwards_first_and_then_from_the_beginning() -> None:
    lines = tuple(Recorded(AT, 0.0, TRIES.hex().upper(), f"63C{left}") for left in (3, 2, 1))
    power = Recorded(AT, 0.0, "", "3B00", event="power on")
    card = ReplayedCard(Trace("x", False, (power, *lines)), strict=False)
    assert [card.transmit(TRIES).hex() for _ in range(4)] == ["63c3", "63c2", "63c1", "63c3"]
    assert card.transmit(SELECT_JPKI) == b"\x6d\x00"
    assert card.deviations == 1


@pytest.mark.parametrize("strict", [False, True])
def test_a_masked_verify_is_answered_for_any_pin_of_its_length(strict: bool, tmp_path: Path) -> None:
    power = Exchange(AT, 0.0, b"", bytes.fromhex("3B00"), "power on")
    exchanges = [power, Exchange(AT, 0.0, SELECT_JPKI, DONE), Exchange(AT, 0.0, VERIFY, DONE)]
    for pin_, answer in ((b"1234", DONE), (b"9999", DONE), (b"999", b"\x6f\x00" if strict else b"\x6d\x00")):
        trace = read_trace(written(tmp_path / pin_.decode(), exchanges))
        card = ReplayedCard(trace, strict=strict)
        assert card.transmit(SELECT_JPKI) == DONE
        assert card.transmit(verify(0x18, pin_)) == answer


def test_a_trace_without_an_atr_cannot_be_played(tmp_path: Path) -> None:
    trace = read_trace(written(tmp_path / "t", [Exchange(AT, 0.0, TRIES, DONE)]))
    with pytest.raises(BadTrace, match="no ATR"):
        ReplayedCard(trace, strict=False)


# What another slot makes of a card


@pytest.fixture
def relayed(image: Path, host: ReaderHost) -> Iterator[str]:
    """The reader in which slot 2 shows the card of slot 0."""
    reader = insert(host, 0, image)
    host.hold(host.slots[2], "relay", RelayedCard(reader))
    assert host.slots[2].wait_until_powered(SECONDS)
    yield host.slots[2].endpoint.reader
    host.remove(host.slots[2])


@pytest.mark.reader
def test_a_relayed_card_is_the_card_to_opensc_and_to_every_check(world: World, relayed: str, tmp_path: Path) -> None:
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
    report = run_checks(relayed, Secrets("1234", "ABC123"))
    assert report.complete
    assert not [result for result in report.results if result.outcome in (Outcome.FAILED, Outcome.BROKEN)]
    assert sum(result.outcome is Outcome.PASSED for result in report.results) > 50


@pytest.mark.reader
def test_a_relayed_card_goes_and_comes_back_with_the_one_that_it_is(
    image: Path, host: ReaderHost, relayed: str
) -> None:
    """Also while a client holds it and is silent."""
    with connected(relayed) as transmit:
        assert transmit(SELECT_JPKI) == DONE
        host.remove(host.slots[0])
        wait_for(relayed, SCARD_STATE_EMPTY)
        with pytest.raises(PcscError):
            transmit(TRIES)
    insert(host, 0, image)
    wait_for(relayed, SCARD_STATE_PRESENT)
    assert host.slots[2].wait_until_powered(SECONDS)
    with connected(relayed) as transmit:
        assert (transmit(SELECT_JPKI), transmit(VERIFY)) == (DONE, DONE)
    host.remove(host.slots[0])
    wait_for(relayed, SCARD_STATE_EMPTY)


@pytest.mark.reader
def test_a_card_that_is_torn_out_under_a_relay_does_not_hang_it(image: Path, host: ReaderHost) -> None:
    plan = parse_fault_script("faults: [{tear: during, away: 50 ms, when: {matching: 802A}}]")
    reader = insert(host, 0, image, Presentation(faults=plan))
    host.hold(host.slots[2], "relay", RelayedCard(reader))
    assert host.slots[2].wait_until_powered(SECONDS)
    answers: list[bytes] = []

    def ask() -> None:
        with connected(host.slots[2].endpoint.reader) as transmit:
            answers.extend(transmit(command) for command in (SELECT_JPKI, VERIFY))
            with suppress(PcscError):
                answers.append(transmit(SIGN))

    client = threading.Thread(target=ask, daemon=True)
    client.start()
    client.join(SECONDS)
    assert not client.is_alive()
    assert answers in ([DONE, DONE], [DONE, DONE, b""])
    until(lambda: not host.slots[2].wait_until_powered(0), "the relayed card is still there")
    for number in (0, 2):
        assert host.slots[number].wait_until_powered(SECONDS)
    with connected(host.slots[2].endpoint.reader) as transmit:
        assert transmit(SELECT_JPKI) == DONE


@pytest.mark.reader
def test_a_card_that_speaks_t_0_alone_is_relayed_too(image: Path, host: ReaderHost) -> None:
    reader = insert(host, 0, image, Presentation(faults=parse_fault_script("protocol: T=0")))
    host.hold(host.slots[2], "relay", RelayedCard(reader))
    assert host.slots[2].wait_until_powered(SECONDS)
    said = run("opensc-tool", "--reader", host.slots[2].endpoint.reader, "--atr", "--name")
    assert said.split() == ["3b:60:00:00", "jpki"]


@pytest.mark.reader
def test_there_is_no_card_to_relay_in_an_empty_reader(host: ReaderHost) -> None:
    card = RelayedCard(host.slots[1].endpoint.reader)
    assert not card.present
    for use_ in (card.power_on, card.reset, lambda: card.transmit(TRIES)):
        with pytest.raises(CardGone, match="Kazashi A 00 01"):
            use_()
