"""The pcapng file format, as far as captures of cards need it (draft-ietf-opsawg-pcapng, sections 3 and 4)."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import BinaryIO, NamedTuple

_SECTION_HEADER, _INTERFACE, _ENHANCED_PACKET = 0x0A0D0D0A, 1, 6
_BYTE_ORDER, _MAJOR, _MINOR, _UNKNOWN_LENGTH = 0x1A2B3C4D, 1, 0, -1
_COMMENT, _INTERFACE_NAME, _APPLICATION = 1, 2, 4
_LONGEST_OPTION = 0xFFFF


class CapturedPacket(NamedTuple):
    """One packet of a capture: the number of its interface, its time in seconds since 1970, its bytes and comments."""

    interface: int
    at: float
    data: bytes
    comments: tuple[str, ...] = ()


class PcapngWriter:
    """Writes a capture. Interfaces are given by link type and name, and are numbered from 0."""

    def __init__(self, out: BinaryIO, interfaces: Sequence[tuple[int, str]]) -> None:
        self._out = out
        self.packets = 0
        header = struct.pack(">IHHq", _BYTE_ORDER, _MAJOR, _MINOR, _UNKNOWN_LENGTH)
        self._block(_SECTION_HEADER, header, (_APPLICATION, "Kazashi"))
        for link_type, name in interfaces:
            self._block(_INTERFACE, struct.pack(">HHI", link_type, 0, 0), (_INTERFACE_NAME, name))

    def write(self, packet: CapturedPacket) -> None:
        """Write a packet. A comment of more than 65,535 bytes is cut off."""
        microseconds, size = round(packet.at * 1e6), len(packet.data)
        header = struct.pack(">IIIII", packet.interface, microseconds >> 32, microseconds & 0xFFFFFFFF, size, size)
        self._block(_ENHANCED_PACKET, header + _padded(packet.data), *((_COMMENT, words) for words in packet.comments))
        self.packets += 1

    def _block(self, kind: int, body: bytes, *options: tuple[int, str]) -> None:
        end = struct.pack(">HH", 0, 0)
        content = body + b"".join(_option(code, words) for code, words in options) + (end if options else b"")
        size = len(content) + 12
        self._out.write(struct.pack(">II", kind, size) + content + struct.pack(">I", size))


def _option(code: int, words: str) -> bytes:
    text = words.replace("\0", " ").encode("utf-8", "replace")[:_LONGEST_OPTION].decode("utf-8", "ignore").encode()
    return struct.pack(">HH", code, len(text)) + _padded(text)


def _padded(body: bytes) -> bytes:
    return body + bytes(-len(body) % 4)
