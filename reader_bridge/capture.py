"""APDU traces as packet captures for Wireshark, with the words of the trace as comments on the packets.

`write_capture` writes what a card and a reader exchange over the air. The link type is 264, ISO 14443, the only one
that there is for cards; exchanges with a contact card are written in the same form, because the bytes of commands and
responses are the same. `write_gsmtap` writes each exchange as one UDP datagram, for Wireshark's dissector of SIM cards.

What happens in the reader alone has an interface of its own: commands of class FF to a contactless reader, which no
card receives, and faults.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import BinaryIO

from kazashi.card.instruction import CommandClass
from kazashi.reader_bridge.interface import is_contactless_atr
from kazashi.reader_bridge.pcapng import CapturedPacket, PcapngWriter
from kazashi.reader_bridge.trace import Recorded, Trace
from kazashi.reader_bridge.vpcd import EVENTS, FORGETTING, INSERTED, REMOVED, Control

ISO_14443, RAW_IP, UPPER_PDU = 264, 101, 252
"""Link types (www.tcpdump.org/linktypes.html). The last holds a payload with the name of its dissector."""

_CARD, _READER = 0, 1
"""The numbers of the interfaces."""

# The pseudo-header of ISO 14443: version 0, event, length of the rest. There are also events for blocks without check
# bytes. They are not used because an acknowledgement would then have one byte, and Wireshark takes a block of one byte
# for a type A request.
_FROM_CARD, _TO_CARD = 0xFF, 0xFE
_FIELD_ON, _FIELD_OFF = 0xFC, 0xFD

_BLOCK_BYTES = 253
"""The data bytes in a block of 256 bytes, besides the control byte and the two check bytes (ISO 14443-4, 7.1)."""

_I_BLOCK, _CHAINING, _R_ACK = 0x02, 0x10, 0xA2

_WITHOUT_FIELD = {EVENTS[Control.POWER_OFF], INSERTED, REMOVED}

# Tags of an exported PDU, as Wireshark's own export writes them: end, dissector, text of the protocol column, direction
# (0 sent, 1 received).
_END, _DISSECTOR, _PROTOCOL, _DIRECTION = 0, 12, 33, 35
_SENT, _RECEIVED = 0, 1

_UDP, _GSMTAP_PORT, _GSMTAP_SIM = 17, 4729, 4
_LONGEST_DATAGRAM = 0xFFFF - 20 - 8 - 16
"""The largest number of bytes that an IPv4 packet holds after the headers of IP, UDP and GSMTAP."""

_LOOPBACK = bytes((127, 0, 0, 1))


def write_capture(trace: Trace, out: BinaryIO) -> int:
    """Write a trace as blocks of ISO 14443-4 in a pcapng file, and return the number of packets."""
    writer = PcapngWriter(out, [(ISO_14443, trace.reader), (UPPER_PDU, _in_the_reader(trace))])
    number = 0  # block numbers alternate as in ISO 14443-4, 7.5.4
    for line, handled_by_reader in _lines(trace):
        if handled_by_reader:
            packets = _by_reader(line)
        elif line.event:
            number = 0
            field = _FIELD_OFF if line.event in _WITHOUT_FIELD else _FIELD_ON
            packets = [CapturedPacket(_CARD, line.at, struct.pack(">BBH", 0, field, 0), (line.event,))]
        else:
            packets = list(_blocks(line, number))
            number ^= len(packets) // 2 & 1
        for packet in packets:
            writer.write(packet)
    return writer.packets


def write_gsmtap(trace: Trace, out: BinaryIO) -> int:
    """Write a trace as GSMTAP datagrams in a pcapng file, and return the number of packets."""
    writer = PcapngWriter(out, [(RAW_IP, trace.reader), (UPPER_PDU, _in_the_reader(trace))])
    for line, handled_by_reader in _lines(trace):
        for packet in _by_reader(line) if handled_by_reader or line.event else [_datagram(line)]:
            writer.write(packet)
    return writer.packets


def _in_the_reader(trace: Trace) -> str:
    return f"{trace.reader} (in the reader)"


def _lines(trace: Trace) -> Iterator[tuple[Recorded, bool]]:
    """Yield the lines of a trace, and whether each is about the reader alone."""
    contact = False
    for line in trace.lines:
        if line.event in FORGETTING:
            if line.response:
                contact = not is_contactless_atr(line.response_bytes)
            yield line, False
        elif line.event:
            yield line, True
        else:
            # A contact reader passes the command on, and the card rejects it. Without an ATR, the reader is likelier:
            # no card has commands of this class.
            yield line, line.command_bytes[:1] == CommandClass.READER.to_bytes(1) and not contact


def _by_reader(line: Recorded) -> list[CapturedPacket]:
    if line.event:
        return [CapturedPacket(_READER, line.at, _exported("Event", _RECEIVED, line.response_bytes), (line.event,))]
    asked, answered = _comments(line)
    return [
        CapturedPacket(_READER, line.at, _exported("Reader", _SENT, line.command_bytes), asked),
        CapturedPacket(_READER, line.at + line.seconds, _exported("Reader", _RECEIVED, line.response_bytes), answered),
    ]


def _comments(line: Recorded) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the comments on a command and on its response."""
    asked, _, answered = line.words.partition(" -> ")
    rule = f"{line.rule} ({line.source})" if line.rule else ""
    return tuple(filter(None, (asked,))), tuple(filter(None, (answered, rule)))


def _exported(protocol: str, direction: int, payload: bytes) -> bytes:
    tags = (
        (_DISSECTOR, b"data"), (_PROTOCOL, protocol.encode().ljust(8, b"\0")), (_DIRECTION, direction.to_bytes(4)),
        (_END, b""),
    )  # fmt: skip
    return b"".join(struct.pack(">HH", tag, len(value)) + value for tag, value in tags) + payload


def _blocks(line: Recorded, number: int) -> Iterator[CapturedPacket]:
    asked, answered = _comments(line)
    *chained, last = _pieces(line.command_bytes)
    for piece in chained:
        yield _block(line.at, _TO_CARD, bytes((_I_BLOCK | _CHAINING | number,)) + piece)
        yield _block(line.at, _FROM_CARD, bytes((_R_ACK | number,)))
        number ^= 1
    yield _block(line.at, _TO_CARD, bytes((_I_BLOCK | number,)) + last, asked)
    responded_at = line.at + line.seconds
    *chained, last = _pieces(line.response_bytes)
    for piece in chained:
        yield _block(responded_at, _FROM_CARD, bytes((_I_BLOCK | _CHAINING | number,)) + piece)
        number ^= 1
        yield _block(responded_at, _TO_CARD, bytes((_R_ACK | number,)))
    yield _block(responded_at, _FROM_CARD, bytes((_I_BLOCK | number,)) + last, answered)


def _block(at: float, event: int, block: bytes, comments: tuple[str, ...] = ()) -> CapturedPacket:
    body = block + _check_bytes(block)
    return CapturedPacket(_CARD, at, struct.pack(">BBH", 0, event, len(body)) + body, comments)


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


def _datagram(line: Recorded) -> CapturedPacket:
    """Return an exchange as an IPv4 packet on the loopback interface: UDP, GSMTAP, the command, the response."""
    comments = sum(_comments(line), ())
    payload = line.command_bytes + line.response_bytes
    if len(payload) > _LONGEST_DATAGRAM:
        comments += (f"the last {len(payload) - _LONGEST_DATAGRAM} bytes do not fit in a datagram and are left out",)
        payload = payload[:_LONGEST_DATAGRAM]
    gsmtap = struct.pack(">BBBBHBBIBBBB", 2, 4, _GSMTAP_SIM, 0, 0, 0, 0, 0, 0, 0, 0, 0) + payload
    udp = struct.pack(">HHHH", _GSMTAP_PORT, _GSMTAP_PORT, 8 + len(gsmtap), 0) + gsmtap
    header = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(udp), 0, 0, 64, _UDP, 0) + _LOOPBACK + _LOOPBACK
    header = header[:10] + _internet_checksum(header) + header[12:]
    return CapturedPacket(_CARD, line.at, header + udp, comments)


def _internet_checksum(header: bytes) -> bytes:
    """Return the checksum of an IPv4 header (RFC 1071)."""
    total: int = sum(struct.unpack(f">{len(header) // 2}H", header))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return (~total & 0xFFFF).to_bytes(2)
