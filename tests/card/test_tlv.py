from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kazashi.card.tlv import Tlv, encode_tag, parse, parse_all

pytestmark = pytest.mark.unit

ONE_BYTE_TAGS = st.integers(0, 255).filter(lambda tag: tag & 0x1F != 0x1F)
TWO_BYTE_TAGS = st.builds(lambda first, second: first << 8 | second, st.integers(1, 7).map(lambda n: n << 5 | 0x1F),
                          st.integers(0, 0x7F))  # fmt: skip


@st.composite
def objects(draw: st.DrawFn) -> Tlv:
    value = draw(st.binary(max_size=400))
    fitting = [3] + [1] * (len(value) < 0x80) + [2] * (len(value) < 0x100)
    return Tlv(draw(ONE_BYTE_TAGS | TWO_BYTE_TAGS), value, draw(st.sampled_from(fitting)))


@given(st.lists(objects(), max_size=5))
def test_encoded_objects_are_parsed_back(items: list[Tlv]) -> None:
    assert parse_all(b"".join(item.encode() for item in items)) == items


@given(st.binary(max_size=60))
def test_any_bytes_are_parsed_or_rejected(raw: bytes) -> None:
    try:
        parsed = parse_all(raw)
    except ValueError:
        return
    assert b"".join(item.encode() for item in parsed) == raw


def test_known_encodings() -> None:
    assert Tlv(0xFF10, b"012345678901").encode().hex() == "ff100c303132333435363738393031"
    assert Tlv(0xDF33, b"\0", 3).encode().hex() == "df3382000100"
    assert Tlv(0x5F37, bytes(0x80)).encode()[:5].hex() == "5f37820080"
    assert Tlv.of(0x6F, [Tlv(0x84, b"\xa0")]).encode().hex() == "6f038401a0"
    item, end = parse(bytes.fromhex("00" + "ff1002aabb" + "00"), 1)
    assert (item, end) == (Tlv(0xFF10, b"\xaa\xbb", 1), 6)
    assert Tlv.of(0x6F, [Tlv(0x84, b"x"), Tlv(0x85, b"y")]).child(0x85).value == b"y"
    with pytest.raises(KeyError):
        Tlv.of(0x6F, [Tlv(0x84, b"x")]).child(0x86)


@pytest.mark.parametrize("raw", ["84", "8405aa", "1f", "1f81", "1fffffff00", "8480", "8483000001aa", "8482ff"])
def test_malformed_objects_are_rejected(raw: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_all(bytes.fromhex(raw))


def test_invalid_length_or_tag_cannot_be_encoded() -> None:
    with pytest.raises(ValueError, match="does not fit"):
        Tlv(0x84, bytes(0x80), 1).encode()
    with pytest.raises(ValueError, match="not a BER tag"):
        encode_tag(0x8484)
