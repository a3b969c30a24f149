"""A PC/SC client that prints what it sees of readers, as JSON: `python -m tests.reader_bridge.reader_answers SLOT...`.

A key says what was asked; a value is an answer, or the error. Values that are new each time are replaced by words.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable

from smartcard.scard import (
    SCARD_LEAVE_CARD,
    SCARD_PROTOCOL_T0,
    SCARD_PROTOCOL_T1,
    SCARD_SHARE_DIRECT,
    SCARD_SHARE_SHARED,
    SCARD_UNPOWER_CARD,
)

from kazashi.applets import jpki
from kazashi.card import request
from kazashi.reader_bridge.pcsc import ANY_PROTOCOL, CardHandle, PcscError, connected

ATTRIBUTES = {
    "vendor name": 0x00010100, "version": 0x00010102, "serial number": 0x00010103, "longest input": 0x0007A007,
    "presence": 0x00090300, "contacts": 0x00090301, "type": 0x00010101,
}  # fmt: skip
FEATURES, PIN_PROPERTIES, PROPERTIES, ESCAPE = 0x42000D48, 0x4233000A, 0x42330012, 0x42000001
PROPERTY_NAMES = {
    1: "display", 2: "validation", 3: "second time-out", 4: "columns", 5: "lines", 6: "shortest PIN", 7: "longest PIN",
    9: "escapes in SCardControl", 10: "extended APDUs", 11: "vendor id", 12: "product id",
}  # fmt: skip
IDENTIFYING = ("name", "vendor name", "version", "serial number", "vendor id", "product id")
"""Answers that are names, versions and serial numbers."""

COMMANDS = {
    "SELECT": request.select(jpki.AID),
    "SELECT with FCI": request.select_for_information(jpki.AID),
    "SELECT with FCI, no Le": request.select_for_information(jpki.AID)[:-1],
    "certificate, extended Le": bytes.fromhex("00B08A00000200"),
    "300 bytes of data": bytes.fromhex("00200080") + b"\0\1\x2c" + bytes(300),
    "UID": bytes.fromhex("FFCA000000"),
    "UID, Le 3": bytes.fromhex("FFCA000003"),
    "UID, Le 8": bytes.fromhex("FFCA000008"),
    "ATS": bytes.fromhex("FFCA010000"),
    "firmware": bytes.fromhex("FF00480000"),
    "LEDs": bytes.fromhex("FF00400E0400000000"),
    "unknown FF": bytes.fromhex("FFFE000000"),
    "escape in an APDU": bytes.fromhex("FFCC0000011E00"),
}
ESCAPES = {"firmware": "E000001800", "LEDs": "E000002900", "UID": "FFCA000000", "picc": "FF00500000", "info": "1E"}


def asked(ask: Callable[[], bytes | int]) -> str:
    try:
        answer = ask()
    except PcscError as error:
        return f"error {error.code:08X}"
    return str(answer) if isinstance(answer, int) else answer.hex().upper()


def without_uid(answer: str) -> str:
    """A UID, in a response or an ATR, is new each time."""
    if answer.startswith("3B8C800150"):
        return f"{answer[:10]} UID {answer[18:-2]} TCK"
    return "UID 9000" if len(answer) == 12 and answer.endswith("9000") else answer


def of_reader(slot: str) -> dict[str, str]:
    """What the reader says without its card: attributes, features and properties."""
    answers = {"name": slot[:-6]}
    with connected(slot, SCARD_SHARE_DIRECT, 0) as reader:
        answers |= {name: asked(lambda tag=tag: reader.attribute(tag)) for name, tag in ATTRIBUTES.items()}  # type: ignore[misc]
        answers["features"] = asked(lambda: reader.control(FEATURES))
        answers["PIN properties"] = asked(lambda: reader.control(PIN_PROPERTIES))
        properties = reader.control(PROPERTIES)
        while properties:
            tag, size = properties[0], properties[1]
            answers[PROPERTY_NAMES[tag]] = properties[2 : 2 + size].hex()
            properties = properties[2 + size :]
        for name, escape in ESCAPES.items():
            command = bytes.fromhex(escape)
            answers[f"escape {name}"] = without_uid(asked(lambda command=command: reader.control(ESCAPE, command)))  # type: ignore[misc]
    return answers


def of_card(slot: str) -> dict[str, str]:
    """What the reader makes of its card: its ATR, protocols and commands."""
    answers: dict[str, str] = {}

    def sent(card: CardHandle, command: bytes) -> str:
        return without_uid(asked(lambda: card.transmit(command)))

    for name, protocol in (("T=0", SCARD_PROTOCOL_T0), ("T=1", SCARD_PROTOCOL_T1), ("any", ANY_PROTOCOL)):
        try:
            with connected(slot, SCARD_SHARE_SHARED, protocol, SCARD_UNPOWER_CARD) as card:
                answers[f"protocol {name}"] = str(card.status.protocol)
        except PcscError as error:
            answers[f"protocol {name}"] = f"error {error.code:08X}"
    if not answers["protocol any"].startswith("error"):
        with connected(slot, SCARD_SHARE_SHARED, ANY_PROTOCOL, SCARD_LEAVE_CARD) as card:
            answers["ATR"] = without_uid(card.status.atr.hex().upper())
            for name, command in COMMANDS.items():
                answers[name] = sent(card, command)
    return answers


if __name__ == "__main__":
    what = {"reader": of_reader, "card": of_card}[sys.argv[1]]
    print(json.dumps({slot: what(slot) for slot in sys.argv[2:]}))
