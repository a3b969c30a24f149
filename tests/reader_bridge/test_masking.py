"""What a trace shows and what it masks, for any commands."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kazashi.applets import card_manager, card_surface, common_card, input_support, jpki
from kazashi.applets.disclosure import IMPERSONAL_FILES, IMPERSONAL_OBJECTS
from kazashi.applets.install import install, structure
from kazashi.card.chip import Chip
from kazashi.card.contents import CardContents
from kazashi.card.identifiers import FileId
from kazashi.card.image import read_image
from kazashi.card.request import select, verify
from kazashi.card_management.order import image_path
from kazashi.reader_bridge.decoder import MASK, Decoded, Decoder
from kazashi.reader_bridge.trace import read_trace
from kazashi.reader_bridge.vpcd import EVENTS, INSERTED, REMOVED, Exchange
from kazashi.resident_registry.sample_residents import SAMPLE_RESIDENTS
from kazashi.world.home import World
from tests.reader_bridge.tracing import (
    AT,
    DONE,
    SIGN,
    pin,
    read,
    written,
)

pytestmark = pytest.mark.unit


def secrets(world: World, contents: CardContents, session: list[Exchange]) -> dict[str, bytes]:
    """Return what a masked trace must not contain: texts about the holder, pieces of personal files, a signature."""
    _, about = read_image(image_path(world, "hanako"))
    values = {key: about[key].encode() for key in (
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
            if piece not in authority and len(set(piece)) > 4:  # the authority's own certificate is not secret
                values[f"{name} from {at}"] = piece
    return values


def test_trace_masks_personal_data_unless_unmasked(
    world: World, contents: CardContents, session: list[Exchange], tmp_path: Path
) -> None:
    personal = secrets(world, contents, session)
    assert len(personal) > 100
    masked = written(tmp_path / "masked", session).read_text(encoding="utf-8")
    for what, value in personal.items():
        assert value.hex().upper() not in masked, what
        if len(value) > 8:
            assert value.decode("utf-8", "replace") not in masked, what
    for line in masked.splitlines()[1:]:
        assert not any(value in json.loads(line).get("words", "") for value in ("1234", "ABC123")), line
    unmasked = written(tmp_path / "unmasked", session, unmasked=True).read_text(encoding="utf-8")
    for what, value in personal.items():
        assert value.hex().upper() in unmasked, what


def test_masked_trace_still_describes_the_commands(
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


def test_unmasked_files_are_the_same_on_many_cards(world: World) -> None:
    cards = [read_image(image_path(world, alias))[0] for alias in SAMPLE_RESIDENTS]
    for aid, fids in IMPERSONAL_FILES.items():
        for fid in fids:
            kinds = {card[aid].data[FileId(fid)] for card in cards if aid in card}
            assert len(kinds) <= 2, f"file {fid:04X} of {aid} distinguishes cards"
    for tag in IMPERSONAL_OBJECTS:
        assert len({card[card_manager.AID].objects[tag] for card in cards}) == 1


def shown(decoded: Decoded) -> bytes:
    """Return the bytes of a response that are not masked, without its status word."""
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


@settings(max_examples=400)
@given(sequence=st.lists(WAYS, min_size=2, max_size=8))
@example([selection(0x0E, PARTIAL), read(0x05)])  # the next application with this partial AID is another one
@example([select(jpki.AID), b"\x00\xa4\x02\x0c\x02\x00\x0a", b"\x00\xb0\x82\x00\x01\xaa", b"\x00\xb0\x00\x00\0"])
@example([select(jpki.AID), b"\x00\xa4\x02\x0c\x02\x00\x0a", b"\x00\x20\x01\x82\x01\xaa", b"\x00\xb0\x00\x00\0"])
def test_no_selection_reveals_personal_data_in_a_masked_trace(
    of_a_card: Callable[[], CardContents], sequence: list[bytes]
) -> None:
    """The decoder must track the selected file as the card does, or it may show a personal file."""
    contents = of_a_card()
    chip = Chip(install(contents))
    chip.power_on()
    decoder = Decoder(structure())
    impersonal = b"".join(contents[aid].data[fid] for aid in contents for fid in contents[aid].data
                          if fid in IMPERSONAL_FILES.get(aid, ()))  # fmt: skip
    number_a, number_b = (
        pin(contents, input_support.AID, fid) for fid in (input_support.NUMBER_A, input_support.NUMBER_B)
    )
    for command in [select(input_support.AID), verify(0x11, b"1234"), *sequence]:
        exchanges = [(command, chip.transmit(command))]
        for short, value in ((0x13, number_a), (0x12, number_b), (0x18, b"1234"), (0x1B, b"ABC123")):
            if command[:3] == b"\x00\xa4\x04":  # make every file of the application readable
                exchanges.append((verify(short, value), chip.transmit(verify(short, value))))
        for request, response in exchanges:
            data = shown(decoder.decode(Exchange(AT, 0.0, request, response)))
            if request[1] in (0xB0, 0xB2):
                assert data in impersonal, f"{command.hex()} shows {data[:16].hex()}..."


@settings(max_examples=300)
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
def test_all_data_of_an_unknown_application_is_masked(aid: bytes, exchanges: list[tuple[bytes, bytes]]) -> None:
    """Except challenges, and the two data objects that describe the kind of card."""
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


@settings(max_examples=500)
@given(exchanges=st.lists(st.builds(
    Exchange, st.just(AT), st.just(0.0), st.binary(max_size=300), st.binary(max_size=300),
    st.sampled_from(("", "", "", *EVENTS.values(), INSERTED, REMOVED, "something else")),
), max_size=8))  # fmt: skip
def test_decoder_describes_any_bytes_and_changes_none(exchanges: list[Exchange]) -> None:
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


def test_end_of_a_truncated_response_is_not_a_status_word() -> None:
    """After an injected fault or a bad contact, the last bytes may be the holder's data."""
    decoder = Decoder(structure())
    decoder.decode(Exchange(AT, 0.0, select(input_support.AID), DONE))
    data = bytes.fromhex("FF100C") + b"672311785360"
    assert decoder.decode(Exchange(AT, 0.0, read(1), data)).response == MASK * len(data)
    assert decoder.decode(Exchange(AT, 0.0, read(1), data[:4])).response == MASK * 4
    assert decoder.decode(Exchange(AT, 0.0, read(1), data + b"\x62\x81")).response == MASK * len(data) + "6281"


@pytest.mark.parametrize("status", ["6A84", "6400", "9F10", "6110", "6C08"])
def test_status_word_of_another_kind_of_card_is_shown(status: str) -> None:
    decoded = Decoder(structure()).decode(Exchange(AT, 0.0, read(1), bytes.fromhex(status)))
    assert decoded.response == status
    assert f"-> {status} " in decoded.words
