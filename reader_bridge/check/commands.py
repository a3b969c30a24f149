"""Checks of the responses to commands: forms and lengths, selection, files, errors, and PIN queries."""

from __future__ import annotations

from kazashi.applets import card_manager, card_surface, common_card, drivers_licence, input_support, jpki, juki
from kazashi.applets.applet import TransparentEf
from kazashi.card.request import CURRENT, read_binary, select, select_file, select_for_information, tries_left
from kazashi.reader_bridge.check.case import CheckCase, Findings, Needs, answered, exchanges
from kazashi.reader_bridge.check.probe import SELECT_FOREIGN, Probe

_JPKI, _TEXT, _VISUAL, _COMMON, _JUKI, _MANAGER = (
    select(applet.AID).hex().upper() for applet in (jpki, input_support, card_surface, common_card, juki, card_manager)
)
_JPKI_FOR_INFORMATION = select_for_information(jpki.AID).hex().upper()
_TOKEN = select_file(jpki.TOKEN_INFORMATION).hex().upper()
_PIN_TRIES, _PASSWORD_TRIES = (tries_left(pin).hex().upper() for pin in (jpki.AUTHENTICATION_PIN, jpki.SIGNATURE_PIN))
_FOREIGN = SELECT_FOREIGN.hex().upper()
_REFUSED = "6[0-9A-F]{3}"

LENGTHS = (
    exchanges("apdu.case-1", "A command of four bytes", "ISO 7816-3, 12.1.3; docs/card.md",
              (_JPKI, "9000"), ("00A4020C020018", "9000"), ("00200080", "63C[0-F]"), verifies=True),
    exchanges("apdu.case-2-short", "A short command that expects data", "ISO 7816-3, 12.1.3",
              (_JPKI, "9000"), (_TOKEN, "9000"), ("00B0000010", "16 bytes, 9000"), ("00B0000000", "160 bytes, 9000")),
    exchanges("apdu.case-3-short", "A short command that carries data", "ISO 7816-3, 12.1.3", (_JPKI, "9000")),
    exchanges("apdu.case-4-short", "A short command that carries data and expects some", "ISO 7816-3, 12.1.3",
              (_JPKI_FOR_INFORMATION, r"\d+ bytes, 9000")),
    exchanges("apdu.read-without-le", "READ BINARY without an Le, as one client sends it", "docs/differences.md",
              (_JPKI, "9000"), (_TOKEN, "9000"), ("00B00000", "160 bytes, 9000")),
    exchanges("apdu.length-too-large", "A length field that announces more bytes than there are", "ISO 7816-3, 12.1",
              (_MANAGER, "9000"), ("00A4040C0AD392", "6700")),
    exchanges("apdu.length-too-small", "More bytes than the length fields announce", "ISO 7816-3, 12.1",
              (_MANAGER, "9000"), ("00A4040C02D392F00026", "6700")),
)  # fmt: skip

SELECTION = (
    exchanges("selection.whole-name", "Each application can be selected by its AID", "docs/card.md",
              *((select, "9000") for select in (_JPKI, _TEXT, _VISUAL, _COMMON, _JUKI, _MANAGER))),
    exchanges("selection.part-of-a-name", "A partial AID selects the first application that begins with it",
              "JICSAP 1.1, 4.2", ("00A4040C05D392F00026", "9000"), (_TOKEN, "9000")),
    exchanges("selection.control-information", "A SELECT that requests control information returns a template",
              "ISO 7816-4, 7.4.3", (_JPKI_FOR_INFORMATION, r"\d+ bytes, 9000")),
    exchanges("selection.foreign-name", "The AID of another card's application is not found", "ISO 7816-4",
              (_FOREIGN, "6A82"), needs=Needs.ANY_CARD),
    exchanges("selection.failure-changes-nothing", "A SELECT that fails changes neither application nor file",
              "docs/differences.md", (_JPKI, "9000"), (_TOKEN, "9000"), (_FOREIGN, "6A82"),
              ("00B0000010", "16 bytes, 9000")),
    exchanges("selection.file", "A file is selected by its identifier; a missing file is not found", "docs/card.md",
              (_JPKI, "9000"), (_TOKEN, "9000"), ("00A4020C020003", "6A82")),
    exchanges("selection.same-again-drops-the-file", "Selecting an application deselects the current file",
              "JICSAP 1.1, 5.1.3", (_JPKI, "9000"), (_TOKEN, "9000"), (_JPKI, "9000"), ("00B0000010", "6986")),
    exchanges("selection.by-path", "Selection by path is not supported", "docs/card.md",
              (_JPKI, "9000"), ("00A4090C020006", "6A86")),
    exchanges("selection.no-master-file", "There is no master file (3F00)", "docs/card.md",
              (_JPKI, "9000"), ("00A4020C023F00", "6A82"), ("00A4000C023F00", _REFUSED)),
    exchanges("selection.nothing-after-power", "After power-up only the card manager is selected", "docs/card.md",
              ("00A40000", "6A86"), ("00B0000010", "6986"), ("00CA5F5100", r"\d+ bytes, 9000"), cold=True),
    exchanges("selection.without-data", "A SELECT without data changes nothing in an application", "docs/card.md",
              (_JPKI, "9000"), (_TOKEN, "9000"), ("00A40000", "9000"), ("00B0000010", "16 bytes, 9000")),
)  # fmt: skip

FILES = (
    exchanges("files.token-information", "Token information is exactly 160 bytes", "docs/card.md",
              (_JPKI, "9000"), (_TOKEN, "9000"), ("00B0000000", "160 bytes, 9000"), ("00B0009900", "7 bytes, 9000"),
              ("00B000A000", "6B00")),
    exchanges("files.availability", "Certificate availability is exactly 3 bytes", "docs/card.md",
              (_JPKI, "9000"), ("00A4020C020008", "9000"), ("00B0000000", "3 bytes, 9000")),
    exchanges("files.short-identifier", "A short identifier reads and selects", "docs/card.md",
              (_JPKI, "9000"), ("00B0860010", "16 bytes, 9000"), ("00B0000020", "32 bytes, 9000")),
    exchanges("files.signature-certificate-is-closed", "The signature certificate cannot be read without its password",
              "docs/card.md", (_JPKI, "9000"), ("00A4020C020001", "9000"), ("00B0000004", "6982"), cold=True),
    exchanges("files.number-is-closed", "The individual number cannot be read without a PIN", "docs/card.md",
              (_TEXT, "9000"), ("00A4020C020001", "9000"), ("00B0000000", "6982"), cold=True),
    exchanges("files.attributes-are-closed", "The four attributes cannot be read without a PIN", "docs/card.md",
              (_TEXT, "9000"), ("00A4020C020002", "9000"), ("00B0000000", "6982"), cold=True),
    exchanges("files.face-is-closed", "The card surface cannot be read without a reference number", "docs/card.md",
              (_VISUAL, "9000"), ("00A4020C020002", "9000"), ("00B0000000", "6982"), cold=True),
    exchanges("files.text-basic", "The text application's basic information has 256 bytes", "docs/card.md",
              (_TEXT, "9000"), ("00A4020C020005", "9000"), ("00B0000000", "256 bytes, 9000")),
    exchanges("files.card-number", "The card number is a record of 30 bytes", "docs/card.md",
              (_COMMON, "9000"), ("00B2010C00", "30 bytes, 9000"), ("00B2020C00", "6A83")),
    exchanges("files.keys-and-pins", "Keys and PINs cannot be read", "docs/card.md",
              (_JPKI, "9000"), ("00A4020C020017", "9000"), ("00B0000004", "6981"), ("00A4020C020018", "9000"),
              ("00B0000004", "6981")),
    exchanges("files.contact-atr", "A data object holds the ATR of the contacts", "docs/card.md",
              (_JPKI, "9000"), ("00CA5F5100", r"\d+ bytes, 9000")),
)  # fmt: skip


def _certificate(file: TransparentEf) -> CheckCase:
    def look(probe: Probe, findings: Findings) -> None:
        probe.select(jpki.AID)
        content = probe.file(file)
        findings.require(content[:2] == b"\x30\x82", "the file begins with a long DER sequence, 30 82")
        if content[:2] == b"\x30\x82":
            size = int.from_bytes(content[2:4]) + 4
            findings.require(size <= len(content), "the file holds the whole certificate")
            findings.require(not content[size:].strip(b"\xff\x00"), "the rest of the file is filler")

    return CheckCase(f"files.{file.name.replace(' ', '-')}", f"The {file.name} is a certificate", "docs/card.md", look)


CERTIFICATES = (
    _certificate(jpki.AUTHENTICATION_CERTIFICATE),
    _certificate(jpki.AUTHENTICATION_AUTHORITY),
    _certificate(jpki.SIGNATURE_AUTHORITY),
)

ERRORS = (
    exchanges("errors.class", "A class that the card does not know", "ISO 7816-4, 5.6",
              (_MANAGER, ".*"), ("F0A40000", "6E00|6881|6D00"), needs=Needs.ANY_CARD),
    exchanges("errors.instruction", "An instruction that the card does not know", "ISO 7816-4, 5.6",
              ("001C0000", "6D00"), needs=Needs.ANY_CARD),
    exchanges("errors.channel", "A logical channel that is not open", "ISO 7816-4, 5.4.1",
              ("01" + _JPKI[2:], "6881")),
    exchanges("errors.no-file", "Reading without a selected file", "docs/card.md",
              (_JPKI, "9000"), ("00B0000004", "6986"), cold=True),
    exchanges("errors.record-of-a-transparent-file", "READ RECORD on a transparent file", "docs/card.md",
              (_JPKI, "9000"), (_TOKEN, "9000"), ("00B2010400", "6981")),
    exchanges("errors.absent-object", "A data object that does not exist", "docs/card.md",
              (_MANAGER, "9000"), ("00CA123400", "6A88")),
    exchanges("errors.no-pending-answer", "GET RESPONSE without a pending response", "docs/differences.md",
              (_JPKI, "9000"), ("00C0000000", _REFUSED)),
    exchanges("errors.challenge", "GET CHALLENGE of eight bytes", "docs/card.md",
              (_JPKI, "9000"), ("0084000008", "8 bytes, 9000")),
)  # fmt: skip


def _queries(probe: Probe, findings: Findings) -> None:
    for aid, pin, what in (
        (jpki.AID, jpki.AUTHENTICATION_PIN, jpki.AUTHENTICATION_PIN.name),
        (jpki.AID, jpki.SIGNATURE_PIN, jpki.SIGNATURE_PIN.name),
        (input_support.AID, input_support.PIN, input_support.PIN.name),
        (input_support.AID, input_support.NUMBER_A, input_support.NUMBER_A.name),
        (input_support.AID, input_support.NUMBER_B, input_support.NUMBER_B.name),
        (card_surface.AID, card_surface.NUMBER_A, "reference number A (visual)"),
        (card_surface.AID, card_surface.NUMBER_B, "reference number B (visual)"),
        (common_card.AID, common_card.JUKI_PIN, common_card.JUKI_PIN.name),
    ):
        probe.select(aid)
        probe.transmit(select_file(pin))
        findings.expect(answered(probe.transmit(tries_left(CURRENT))), f"63C[0-{pin.tries:X}]", what)


def _query_costs_nothing(probe: Probe, findings: Findings) -> None:
    probe.select(jpki.AID)
    probe.transmit(select_file(jpki.AUTHENTICATION_PIN))
    responses = {answered(probe.transmit(tries_left(CURRENT))) for _ in range(5)}
    findings.require(len(responses) == 1, "five queries in a row have the same response")


QUERIES = (
    CheckCase("pins.tries-left", "The retry counter of every PIN can be queried", "docs/card.md", _queries,
              verifies=True),
    CheckCase("pins.asking-is-free", "A query does not decrement the counter", "docs/card.md", _query_costs_nothing,
              verifies=True),
    exchanges("pins.short-identifier", "A PIN is queried by its short identifier", "docs/card.md",
              (_JPKI, "9000"), (_PIN_TRIES, "63C[0-3]"), (_PASSWORD_TRIES, "63C[0-5]"), verifies=True),
    exchanges("pins.unverified", "After power-up, files need their PIN, and a query does not open them",
              "docs/card.md", (_JPKI, "9000"), (_PIN_TRIES, "63C[0-3]"), ("00B0810004", "6982"), cold=True,
              verifies=True),
)  # fmt: skip


def _licence(probe: Probe, findings: Findings) -> None:
    seen = answered(probe.transmit(select(drivers_licence.AID)))
    findings.expect(seen, "9000|6A82", "SELECT")
    if seen != "9000":
        return  # the card carries no driver's licence
    setting = probe.file(drivers_licence.PIN_SETTING)
    findings.expect(setting.hex().upper(), "C1010[01]", "PIN setting")
    for file in (drivers_licence.LICENCE_DATA, drivers_licence.SIGNATURE):
        wanted = "6982" if setting.endswith(b"\x01") else "4 bytes, 9000"
        findings.expect(answered(probe.transmit(read_binary(0, 4, file=file))), wanted, file.name)
    findings.expect(answered(probe.transmit(tries_left(drivers_licence.PIN))), "63C[0-9A]", drivers_licence.PIN.name)


LICENCE = (
    CheckCase("files.drivers-licence", "The driver's licence is protected by its own PIN", "docs/drivers-licence.md",
              _licence, verifies=True),
)  # fmt: skip

CASES = (*LENGTHS, *SELECTION, *FILES, *CERTIFICATES, *ERRORS, *QUERIES, *LICENCE)
