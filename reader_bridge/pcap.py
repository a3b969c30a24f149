"""APDU traces as packet captures for Wireshark. The link type is 264, ISO 14443, the only one that pcap has for cards.

Exchanges with a contact card are written in the same form, as blocks of ISO 14443-4: the bytes of commands and
responses are the same over both interfaces. To decode the commands too, tell Wireshark that the payload is ISO 7816
(`tshark -d iso14443.subdissector,iso7816 -r FILE`).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import BinaryIO

from kazashi.reader_bridge.trace import Trace
from kazashi.reader_bridge.vpcd import EVENTS, FORGETTING, INSERTED, REMOVED, Control

LINK_TYPE = 264
_MAGIC, _MAJOR, _MINOR, _LONGEST = 0xA1B2C3D4, 2, 4, 0x40000

# The pseudo-header of the link type: version 0, event, length of the rest. There are also events for blocks without
# check bytes. They are not used because an acknowledgement would then have one byte, and Wireshark takes a block of
# one byte for a type A request.
_FROM_CARD, _TO_CARD = 0xFF, 0xFE
_FIELD_ON, _FIELD_OFF = 0xFC, 0xFD

_BLOCK_BYTES = 253
"""The data bytes in a block of 256 bytes, besides the control byte and the two check bytes (ISO 14443-4, 7.1)."""

_I_BLOCK, _CHAINING, _R_ACK = 0x02, 0x10, 0xA2

_WITHOUT_FIELD = {EVENTS[Control.POWER_OFF], INSERTED, REMOVED}


def write_pcap(trace: Trace, out: BinaryIO) -> int:
    """Write a trace as a packet capture and return its number of packets."""
    out.write(struct.pack("<IHHiIII", _MAGIC, _MAJOR, _MINOR, 0, 0, _LONGEST, LINK_TYPE))
    packets = 0
    for at, event, block in _packets(trace):
        body = block + _check_bytes(block) if block else b""
        packet = struct.pack(">BBH", 0, event, len(body)) + body
        seconds = int(at)
        out.write(struct.pack("<IIII", seconds, int((at - seconds) * 1e6), len(packet), len(packet)) + packet)
        packets += 1
    return packets


def _packets(trace: Trace) -> Iterator[tuple[float, int, bytes]]:
    """Yield the time, event and block of each packet. Block numbers alternate as in ISO 14443-4, 7.5.4."""
    number = 0
    for line in trace.lines:
        if line.event:
            if line.event in FORGETTING:  # the other events are faults, which are not visible in the field
                number = 0
                yield line.at, _FIELD_OFF if line.event in _WITHOUT_FIELD else _FIELD_ON, b""
            continue
        *chained, last = _pieces(line.command_bytes)
        for piece in chained:
            yield line.at, _TO_CARD, bytes((_I_BLOCK | _CHAINING | number,)) + piece
            yield line.at, _FROM_CARD, bytes((_R_ACK | number,))
            number ^= 1
        yield line.at, _TO_CARD, bytes((_I_BLOCK | number,)) + last
        responded_at = line.at + line.seconds
        *chained, last = _pieces(line.response_bytes)
        for piece in chained:
            yield responded_at, _FROM_CARD, bytes((_I_BLOCK | _CHAINING | number,)) + piece
            number ^= 1
            yield responded_at, _TO_CARD, bytes((_R_ACK | number,))
        yield responded_at, _FROM_CARD, bytes((_I_BLOCK | number,)) + last
        number ^= 1


def _pieces(body: bytes) -> list[bytes]:
    return [body[at : at + _BLOCK_BYTES] for at in range(0, len(body), _BLOCK_BYTES)] or [b""]


def _check_bytes(block: bytes) -> bytes:
    """Return CRC_B of ISO 14443-3, annex B: polynomial x16 + x12 + x5 + 1, least significant bit first."""
    check = 0xFFFF
    for byte in block:
        check ^= byte
        for _ in range(8):
            check = check >> 1 ^ 0x8408 if check & 1 else check >> 1
    return (~check & 0xFFFF).to_bytes(2, "little")
