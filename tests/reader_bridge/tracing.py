"""Helpers for the tests of traces: commands that read everything that can be read, and traces of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from kazashi.applets import card_manager, card_surface, common_card, input_support, jpki
from kazashi.applets.install import structure
from kazashi.card import request
from kazashi.card.contents import CardContents
from kazashi.card.identifiers import Aid
from kazashi.card.request import select, verify
from kazashi.reader_bridge.decoder import Decoder
from kazashi.reader_bridge.trace import TraceWriter
from kazashi.reader_bridge.vpcd import Exchange

SECONDS = 10.0
DONE = b"\x90\x00"
SELECT_JPKI = request.select(jpki.AID)
VERIFY = request.verify(jpki.AUTHENTICATION_PIN, b"1234")
TRIES = request.tries_left(jpki.AUTHENTICATION_PIN)
SIGN = request.compute_digital_signature(jpki.AUTHENTICATION_KEY, bytes([0x11]) * 32)
AT = 1.0
"""The time of all exchanges, chosen so that it does not contain the digits of a secret by chance."""


def read(short: int) -> bytes:
    return b"\x00\xb0" + bytes((0x80 | short,)) + bytes(4)


def pin(contents: CardContents, aid: Aid, fid: int) -> bytes:
    return next(state.value for pin_fid, state in contents[aid].pins.items() if pin_fid == fid)


def everything(contents: CardContents) -> list[bytes]:
    """Return commands that read everything that can be read, sign, and verify every PIN."""
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


def written(path: Path, exchanges: Sequence[Exchange], *, unmasked: bool = False) -> Path:
    with TraceWriter(path, "Kazashi 00 00", Decoder(structure()), unmasked=unmasked) as trace:
        for exchange in exchanges:
            trace.write(exchange)
    return path
