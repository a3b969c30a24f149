from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kazashi.card.apdu import CommandApdu, ResponseApdu
from kazashi.card.rejection import WrongLength
from kazashi.card.status_word import StatusWord

pytestmark = pytest.mark.unit

BYTE = st.integers(0, 255)

CASES = {
    "1": ("00A40000", CommandApdu(0, 0xA4, 0, 0)),
    "2S": ("00B0000004", CommandApdu(0, 0xB0, 0, 0, b"", 4)),
    "2S, 256": ("00B0000000", CommandApdu(0, 0xB0, 0, 0, b"", 256)),
    "3S": ("00A4020C02000A", CommandApdu(0, 0xA4, 2, 12, b"\x00\x0a")),
    "4S": ("802A0080020102" + "00", CommandApdu(0x80, 0x2A, 0, 0x80, b"\x01\x02", 256)),
    "2E": ("00B00004000600", CommandApdu(0, 0xB0, 0, 4, b"", 0x600, True)),
    "2E, 65536": ("00B00000000000", CommandApdu(0, 0xB0, 0, 0, b"", 65536, True)),
    "3E": ("0020008000000431323334", CommandApdu(0, 0x20, 0, 0x80, b"1234", None, True)),
    "4E": ("802A0080000002010200" + "00", CommandApdu(0x80, 0x2A, 0, 0x80, b"\x01\x02", 65536, True)),
}


@pytest.mark.parametrize("case", CASES)
def test_all_seven_cases_are_parsed_and_encoded(case: str) -> None:
    raw, command = CASES[case]
    assert CommandApdu.parse(bytes.fromhex(raw)) == command
    assert command.encode() == bytes.fromhex(raw)


@pytest.mark.parametrize(
    "raw",
    ["", "00", "00A400", "00A400000200", "00A400000200000000", "00B000000000", "00A40000000000AA",
     "00A4000000000300"],
)  # fmt: skip
def test_inconsistent_lengths_are_rejected(raw: str) -> None:
    with pytest.raises(WrongLength):
        CommandApdu.parse(bytes.fromhex(raw))


@st.composite
def commands(draw: st.DrawFn) -> CommandApdu:
    extended = draw(st.booleans())
    data = draw(st.binary(max_size=1000 if extended else 255))
    le = draw(st.none() | st.integers(1, 65536 if extended else 256))
    if not data and le is None:
        extended = False
    return CommandApdu(draw(BYTE), draw(BYTE), draw(BYTE), draw(BYTE), data, le, extended)


@given(commands())
def test_encoded_command_is_parsed_back(command: CommandApdu) -> None:
    assert CommandApdu.parse(command.encode()) == command


@given(st.binary(max_size=300))
def test_parsed_command_encodes_to_the_same_bytes(raw: bytes) -> None:
    try:
        command = CommandApdu.parse(raw)
    except WrongLength:
        return
    assert command.encode() == raw


@given(st.binary(max_size=300), st.integers(0, 0xFFFF))
def test_encoded_response_is_parsed_back(data: bytes, status: int) -> None:
    response = ResponseApdu(data, StatusWord(status))
    assert ResponseApdu.parse(response.encode()) == response


def test_lengths_out_of_range_are_rejected() -> None:
    with pytest.raises(ValueError, match="short form"):
        CommandApdu(0, 0xA4, 0, 0, bytes(256)).encode()
    with pytest.raises(ValueError, match="Le 257"):
        CommandApdu(0, 0xB0, 0, 0, b"", 257).encode()
    with pytest.raises(ValueError, match="at least two"):
        ResponseApdu.parse(b"\x90")
