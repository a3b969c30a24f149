"""Checks of the reader: ATR and protocol, time, resets, long commands, its own commands, and several clients."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import reduce
from statistics import median

from smartcard.scard import (
    SCARD_ATTR_ATR_STRING,
    SCARD_ATTR_MAXINPUT,
    SCARD_ATTR_VENDOR_NAME,
    SCARD_CTL_CODE,
    SCARD_E_SHARING_VIOLATION,
    SCARD_LEAVE_CARD,
    SCARD_PROTOCOL_T0,
    SCARD_PROTOCOL_T1,
    SCARD_RESET_CARD,
    SCARD_SHARE_EXCLUSIVE,
    SCARD_UNPOWER_CARD,
    SCARD_W_RESET_CARD,
)

from kazashi.card.atr import CONTACT_ATRS
from kazashi.reader_bridge.check.case import CheckCase, Findings, Needs, NotApplicable, answered
from kazashi.reader_bridge.check.probe import SELECT_CARD_MANAGER, SELECT_JPKI, Probe
from kazashi.reader_bridge.interface import CONTACTLESS_ATQBS, contactless_atr
from kazashi.reader_bridge.pcsc import PcscError, connect, context

KNOWN_ATRS = {
    **{atr: f"contact, {name}" for name, atr in CONTACT_ATRS.items()},
    **{contactless_atr(atqb): f"contactless, {name}" for name, atqb in CONTACTLESS_ATQBS.items()},
}
_PROTOCOLS = {SCARD_PROTOCOL_T0: "T=0", SCARD_PROTOCOL_T1: "T=1"}
_SELECT_TOKEN = bytes.fromhex("00A4020C020006")
_SUCCESS = b"\x90\x00"
_FEATURE_REQUEST = SCARD_CTL_CODE(3400)
_FEATURES = {6: "verify PIN on the reader", 7: "modify PIN on the reader", 10: "PIN properties", 18: "properties"}
_EXTENDED_SIZES = (256, 261, 1024, 4096, 0xFFF0)
_TIMED = 15


def _atr(probe: Probe, findings: Findings) -> None:
    atr = probe.card.status.atr
    findings.expect(atr[:1].hex().upper(), "3B|3F", "first byte")
    findings.require(2 <= len(atr) <= 33, "the ATR has 2 to 33 bytes")
    try:
        form = AtrForm.of(atr)
    except NotApplicable as error:
        findings.wrong.append(str(error))
        return
    findings.note("protocols offered: " + ", ".join(f"T={number}" for number in sorted(form.offered)))
    findings.require(len(atr) == form.length, f"the ATR has the {form.length} bytes that it announces")
    if form.check_byte:
        findings.require(not reduce(lambda a, b: a ^ b, atr[1:]), "the check byte is right")


def _known_atr(probe: Probe, findings: Findings) -> None:
    atr = probe.card.status.atr
    findings.note(f"{KNOWN_ATRS.get(atr, 'unknown')}: {atr.hex().upper()}")
    if atr not in KNOWN_ATRS:
        findings.wrong.append(
            "clients that recognise cards by the ATR will not know this card; some readers put a random number of the"
            " card into the ATR"
        )


def _protocol(probe: Probe, findings: Findings) -> None:
    findings.expect(_PROTOCOLS.get(probe.card.status.protocol, "neither"), "T=1", "protocol in use")


def _attributes(probe: Probe, findings: Findings) -> None:
    for number, what in (
        (SCARD_ATTR_VENDOR_NAME, "vendor"), (SCARD_ATTR_MAXINPUT, "longest input"), (SCARD_ATTR_ATR_STRING, "ATR")
    ):  # fmt: skip
        try:
            value = probe.card.attribute(number)
        except PcscError:
            findings.note(f"{what}: not available")
            continue
        if number == SCARD_ATTR_MAXINPUT:
            findings.note(f"{what}: {int.from_bytes(value, 'little')} bytes")
        elif number == SCARD_ATTR_ATR_STRING:
            findings.require(value == probe.card.status.atr, "the ATR attribute is the ATR of the card's status")
        else:
            findings.note(f"{what}: {value.rstrip(bytes(1)).decode('utf-8', 'replace')}")


def _features(probe: Probe, findings: Findings) -> None:
    findings.only_observes = True
    try:
        features = probe.card.control(_FEATURE_REQUEST)
    except PcscError:
        findings.note("features: not available")
        return
    tags = [features[at] for at in range(0, len(features) - 5, 6)]
    findings.note("features: " + (", ".join(_FEATURES.get(tag, f"number {tag}") for tag in tags) or "none"))


def _pseudo_commands(probe: Probe, findings: Findings) -> None:
    findings.only_observes = True
    contactless = probe.card.status.atr.startswith(bytes.fromhex("3B88"))
    findings.note("the ATR is that of a " + ("contactless" if contactless else "contact") + " card")
    for command, what in (("FFCA000000", "unique identifier"), ("FFCA010000", "answer to ATTRIB")):
        try:
            findings.note(f"{what}: {answered(probe.send(command))}")
        except PcscError as error:
            if error.gone:
                raise
            findings.note(f"{what}: {error}")


def _timing(command: bytes, before: tuple[bytes, ...], what: str) -> Callable[[Probe, Findings], None]:
    def look(probe: Probe, findings: Findings) -> None:
        findings.only_observes = True
        for preparation in before:
            probe.transmit(preparation)
        milliseconds = []
        for _ in range(_TIMED):
            begun = time.perf_counter()
            response = probe.transmit(command)
            milliseconds.append((time.perf_counter() - begun) * 1000)
        findings.note(f"{what}: {answered(response)}")
        findings.measured = {"median ms": median(milliseconds), "longest ms": max(milliseconds)}

    return look


def _cold_start_time(probe: Probe, findings: Findings) -> None:
    findings.only_observes = True
    milliseconds = []
    for _ in range(3):
        begun = time.perf_counter()
        probe.cold_start()
        milliseconds.append((time.perf_counter() - begun) * 1000)
    findings.measured = {"median ms": median(milliseconds)}


def _reset(disposition: int, keeps: bool | None) -> Callable[[Probe, Findings], None]:
    """Return a check whether the file is still selected after reconnecting; `keeps` is None if cards may differ."""

    def look(probe: Probe, findings: Findings) -> None:
        probe.transmit(SELECT_JPKI)
        probe.transmit(_SELECT_TOKEN)
        probe.card.reconnect(disposition)
        kept = probe.send("00B0000004")[-2:] == _SUCCESS
        if keeps is None:
            findings.only_observes = True
            findings.note("the file is still selected" if kept else "nothing is selected")
        else:
            findings.require(kept is keeps, "the file is still selected" if keeps else "nothing is selected")

    return look


def _same_atr(probe: Probe, findings: Findings) -> None:
    before = probe.card.status.atr
    for disposition in (SCARD_RESET_CARD, SCARD_UNPOWER_CARD):
        probe.card.reconnect(disposition)
        findings.require(probe.card.status.atr == before, "the ATR stays the same")


def _others_are_told(probe: Probe, findings: Findings) -> None:
    with context() as established:
        other = connect(established, probe.reader)
        probe.card.reconnect(SCARD_RESET_CARD)
        try:
            other.transmit(SELECT_CARD_MANAGER)
            notified = False
        except PcscError as error:
            notified = error.code == SCARD_W_RESET_CARD & 0xFFFFFFFF
        findings.require(notified, "another client's next command fails with SCARD_W_RESET_CARD")
        other.reconnect(SCARD_LEAVE_CARD)
        findings.require(len(other.transmit(SELECT_CARD_MANAGER)) >= 2, "the other client can reconnect and go on")
        other.disconnect()


def _extended_read(probe: Probe, findings: Findings) -> None:
    probe.transmit(SELECT_JPKI)
    probe.send("00A4020C02000B")
    response = probe.send("00B00000000000")
    whole = len(response) > 258 and response[-2:] == _SUCCESS
    findings.require(whole, "a certificate is read with one command")
    if whole:
        size = int.from_bytes(response[2:4]) + 4
        findings.require(len(response) >= size + 2, "the certificate is complete")


def _extended_command(probe: Probe, findings: Findings) -> None:
    """Find the longest command that the reader passes on. The response does not matter: no application has the name."""
    largest = 255
    for size in _EXTENDED_SIZES:
        try:
            response = probe.transmit(bytes.fromhex("00A4040C00") + size.to_bytes(2) + bytes(size))
        except PcscError as error:
            if error.gone:
                raise
            findings.note(f"{size} bytes: {error}")
            probe.card.reconnect(SCARD_UNPOWER_CARD)
            break
        findings.note(f"{size} bytes: {answered(response)}")
        if response[-2:] == b"\x67\x00":  # the response of a reader that does not pass the command on
            break
        largest = size
    findings.require(largest >= 307, "a command with 307 bytes of data, the longest of known clients, is passed on")


def _extended_challenge(probe: Probe, findings: Findings) -> None:
    probe.transmit(SELECT_JPKI)
    findings.expect(answered(probe.send("00840000000008")), "6985", "GET CHALLENGE with an extended length")


def _shared(probe: Probe, findings: Findings) -> None:
    with context() as established:
        other = connect(established, probe.reader)
        probe.transmit(SELECT_JPKI)
        probe.transmit(_SELECT_TOKEN)
        findings.require(other.transmit(bytes.fromhex("00B0000004"))[-2:] == _SUCCESS,
                         "a second client can read the file that the first has selected")  # fmt: skip
        other.disconnect()


_LOOKS, _LOOK_SECONDS = 50, 0.01
"""How often, and at which interval, to look for a response to a second client during a transaction."""


def _transaction(probe: Probe, findings: Findings) -> None:
    with context() as established:
        other = connect(established, probe.reader)
        responded_at: list[float] = []

        def send() -> None:
            with suppress(PcscError):  # the card may be gone by then, which the main thread reports
                other.transmit(SELECT_CARD_MANAGER)
                responded_at.append(time.monotonic())

        sender = threading.Thread(target=send, name="concurrency.transaction (second client)", daemon=True)
        probe.card.begin()
        try:
            sender.start()
            for _ in range(_LOOKS):  # a count instead of a time, so that a replayed recording has as many commands
                if not responded_at:
                    probe.transmit(SELECT_CARD_MANAGER)
                    sender.join(_LOOK_SECONDS)
            waited = not responded_at
        finally:
            with suppress(PcscError):
                probe.card.end()
            sender.join(5)
        findings.require(waited, "a second client's command waits for the end of the transaction")
        findings.require(bool(responded_at), "the second client gets a response after the transaction")
        other.disconnect()


def _exclusive(probe: Probe, findings: Findings) -> None:
    probe.card.disconnect(SCARD_LEAVE_CARD)
    with context() as established:
        exclusive = connect(established, probe.reader, SCARD_SHARE_EXCLUSIVE)
        try:
            rejected = False
            try:
                connect(established, probe.reader).disconnect()
            except PcscError as error:
                rejected = error.code == SCARD_E_SHARING_VIOLATION & 0xFFFFFFFF
        finally:
            exclusive.disconnect()
    with context() as established:
        connect(established, probe.reader).disconnect()
    findings.require(rejected, "while one client has exclusive access, another client is rejected")


@dataclass(frozen=True, slots=True)
class AtrForm:
    """What an ATR says about its form (ISO 7816-3, 8.2): the protocols it offers, whether it ends in a check byte,
    and its length in bytes."""

    offered: frozenset[int]
    check_byte: bool
    length: int

    @classmethod
    def of(cls, atr: bytes) -> AtrForm:
        """Return the form of an ATR. Raises NotApplicable for one that ends in its interface bytes."""
        offered: set[int] = set()
        at, indicator = 2, atr[1] if len(atr) > 1 else 0
        while indicator & 0x80:
            at += bin(indicator >> 4).count("1")  # TA, TB, TC, and the TD that says what follows
            indicator = atr[at - 1] if at <= len(atr) else 0
            offered.add(indicator & 0x0F)
        at += bin(indicator >> 4).count("1")
        if at > len(atr):
            raise NotApplicable("the ATR ends in its interface bytes")
        offered = offered or {0}
        check_byte = offered != {0}
        return cls(frozenset(offered), check_byte, at + (atr[1] & 0x0F) + check_byte)


def _case(name: str, title: str, source: str, look: Callable[[Probe, Findings], None],
          needs: Needs = Needs.ANY_CARD, cold: bool = False) -> CheckCase:  # fmt: skip
    return CheckCase(name, title, source, look, needs, cold)


_PCSC = "PC/SC part 5"
_NUMBER = Needs.NUMBER_CARD

CASES = (
    _case("atr.form", "The ATR is well formed", "ISO 7816-3, 8.2", _atr),
    _case("atr.known", "The ATR is known from individual number cards", "docs/card.md", _known_atr, _NUMBER),
    _case("atr.protocol", "The reader uses T=1", "docs/card.md", _protocol, _NUMBER),
    _case("reader.attributes", "The reader's attributes", _PCSC, _attributes),
    _case("reader.features", "The reader's features", "PC/SC part 10, 2.3", _features),
    _case("reader.pseudo-commands", "Commands of class FF, which contactless readers handle themselves",
          "PC/SC part 3, 3.2.2", _pseudo_commands),
    _case("timing.cold-start", "Power off and on", "measured", _cold_start_time),
    _case("timing.select", "SELECT of an application", "measured", _timing(SELECT_JPKI, (), "SELECT")),
    _case("timing.challenge", "GET CHALLENGE of eight bytes", "measured",
          _timing(bytes.fromhex("0084000008"), (SELECT_JPKI,), "GET CHALLENGE"), _NUMBER),
    _case("timing.read-256", "READ BINARY of 256 bytes", "measured",
          _timing(bytes.fromhex("00B0000000"), (SELECT_JPKI, bytes.fromhex("00A4020C02000B")), "READ BINARY"), _NUMBER),
    _case("reset.leave", "Reconnecting without a reset leaves the card as it was", _PCSC,
          _reset(SCARD_LEAVE_CARD, True), _NUMBER),
    _case("reset.warm", "A warm reset, at which cards are known to differ", "docs/differences.md",
          _reset(SCARD_RESET_CARD, None), _NUMBER),
    _case("reset.cold", "Powering the card off clears what is selected", "docs/card.md",
          _reset(SCARD_UNPOWER_CARD, False), _NUMBER),
    _case("reset.atr", "Reset and power-up give the same ATR", "ISO 7816-3, 6.2", _same_atr),
    _case("reset.others-are-told", "Other clients are notified of a reset", _PCSC, _others_are_told),
    _case("extended.read", "A read of extended length", "docs/card.md", _extended_read, _NUMBER),
    _case("extended.command", "Commands of growing length", "docs/card.md", _extended_command),
    _case("extended.challenge", "GET CHALLENGE of extended length is rejected", "docs/card.md", _extended_challenge,
          _NUMBER),
    _case("concurrency.shared", "Two clients share the card and its state", _PCSC, _shared, _NUMBER),
    _case("concurrency.transaction", "Other clients wait for the end of a transaction", _PCSC, _transaction),
    _case("concurrency.exclusive", "Exclusive access keeps other clients out", _PCSC, _exclusive),
)  # fmt: skip
