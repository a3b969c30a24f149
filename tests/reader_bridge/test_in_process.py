"""In-process connections, as a pyscard client sees them."""

from __future__ import annotations

from pathlib import Path

import pytest
from smartcard.Exceptions import CardConnectionException, NoCardException, SmartcardException
from smartcard.scard import (
    SCARD_E_UNSUPPORTED_FEATURE,
    SCARD_LEAVE_CARD,
    SCARD_RESET_CARD,
    SCARD_UNPOWER_CARD,
    SCARD_W_REMOVED_CARD,
)
from smartcard.util import toBytes

from kazashi.applets import jpki
from kazashi.applets.install import load_card
from kazashi.card.chip import Chip
from kazashi.card.request import select, verify
from kazashi.reader_bridge.in_process import InProcessReader
from kazashi.reader_bridge.interface import CONTACTLESS_ATQBS, ContactInterface, ContactlessInterface, contactless_atr

pytestmark = pytest.mark.unit

SELECT = list(select(jpki.AID))
VERIFY = list(verify(jpki.AUTHENTICATION_PIN, b"1234"))
SIGN = toBytes("802A009720" + "00" * 32 + "00")


@pytest.fixture
def reader(image: Path) -> InProcessReader:
    reader = InProcessReader()
    reader.insert(ContactInterface(Chip(load_card(image))))
    return reader


def test_pyscard_client_connects_and_transmits(reader: InProcessReader) -> None:
    connection = reader.createConnection()
    connection.connect()
    assert bytes(connection.getATR()).hex().upper() == "3BE000FF8131FE4514"
    assert connection.transmit(SELECT) == ([], 0x90, 0x00)
    data, *status = connection.transmit(toBytes("00B08A0004"))
    assert (data[:2], status) == ([0x30, 0x82], [0x90, 0x00])
    assert connection.getReader() == "Kazashi in process"
    connection.disconnect()
    with pytest.raises(CardConnectionException):
        connection.transmit(SELECT)


def test_dispositions_leave_reset_or_unpower_the_card(reader: InProcessReader) -> None:
    connection = reader.createConnection()
    connection.connect(disposition=SCARD_LEAVE_CARD)
    connection.transmit(SELECT)
    connection.transmit(VERIFY)
    connection.disconnect()
    again = reader.createConnection()
    again.connect()
    assert again.transmit(SIGN)[1:] == (0x90, 0x00), "the card was left as it was"
    again.reconnect(disposition=SCARD_RESET_CARD)
    assert again.transmit(SIGN)[1:] == (0x6A, 0x88)
    again.reconnect(disposition=SCARD_UNPOWER_CARD)
    assert again.transmit(toBytes("00A40000"))[1:] == (0x6A, 0x86)
    again.disconnect()


def test_empty_reader_and_removed_card_raise_errors(reader: InProcessReader, image: Path) -> None:
    connection = reader.createConnection()
    connection.connect()
    reader.remove()
    with pytest.raises(CardConnectionException) as removed:
        connection.transmit(SELECT)
    assert removed.value.hresult == SCARD_W_REMOVED_CARD
    with pytest.raises(NoCardException):
        reader.createConnection().connect()
    reader.insert(ContactInterface(Chip(load_card(image))))
    connection.connect()
    for unsupported, arguments in ((connection.control, (1, [])), (connection.getAttrib, (1,))):
        with pytest.raises(SmartcardException) as rejected:
            unsupported(*arguments)
        assert rejected.value.hresult == SCARD_E_UNSUPPORTED_FEATURE


@pytest.mark.parametrize(
    ("name", "atr"),
    [
        ("plain", "3B888001000005E0B381A1007F"),
        ("second", "3B888001000041E0B381A1003B"),
        ("third", "3B888001004B51FF0081D100BC"),
        ("fourth", "3B888001004B51FFB381D1000F"),
    ],
)
def test_contactless_atrs(name: str, atr: str) -> None:
    assert contactless_atr(CONTACTLESS_ATQBS[name]).hex().upper() == atr


def test_contactless_reader_handles_class_ff(image: Path) -> None:
    drawn = iter([b"\1\2\3\4", b"\5\6\7\x08", b"\x09\x0a\x0b\x0c"])
    card = ContactlessInterface(Chip(load_card(image)), chance=lambda _: next(drawn))
    card.power_on()
    assert card.transmit(bytes.fromhex("FFCA000000")) == bytes.fromhex("050607089000")
    card.reset()
    assert card.transmit(bytes.fromhex("FFCA000000")) == bytes.fromhex("050607089000")
    assert card.transmit(bytes.fromhex("FFCA020000")) == bytes.fromhex("6E00")
    card.power_off()
    card.power_on()
    assert card.transmit(bytes.fromhex("FFCA000000")) == bytes.fromhex("090A0B0C9000")
