"""The chip's responses, command by command. docs/differences.md lists those that are unknown for real cards."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from kazashi.applets import card_surface, common_card, input_support, jpki
from kazashi.applets.install import load_card
from kazashi.card.access import ISO_RESET, MEASURED_RESET, Loss, SecurityPolicy, SessionEvent
from kazashi.card.chip import Chip, NotPowered
from kazashi.card.request import compute_digital_signature, select, tries_left, verify
from kazashi.card.store import StoreFailure

pytestmark = pytest.mark.unit

JPKI, TEXT, VISUAL, COMMON = (
    select(applet.AID).hex().upper() for applet in (jpki, input_support, card_surface, common_card)
)
RIGHT, WRONG, CHANGED = (verify(jpki.AUTHENTICATION_PIN, pin).hex().upper() for pin in (b"1234", b"0000", b"5678"))
TRIES = tries_left(jpki.AUTHENTICATION_PIN).hex().upper()
PASSWORD = verify(jpki.SIGNATURE_PIN, b"ABC123").hex().upper()
SIGN = compute_digital_signature(jpki.AUTHENTICATION_KEY, bytes(32)).hex().upper()


def ask(chip: Chip, *commands: str) -> str:
    """Send commands and return the last response in hexadecimal."""
    return [chip.transmit(bytes.fromhex(command.replace(" ", ""))) for command in commands][-1].hex().upper()


SELECTION = {
    # after power-up: no application, no files
    "00A40000": "6A86",
    "00A4020C020006": "6A82",
    "00B0000001": "6986",
    "00B0860001": "6A82",
    "00A4000C023F00": "6A82",
    "00A4020C022F00": "6A82",
    "00A4020C02001E": "6A82",
    # full and partial AIDs
    JPKI: "9000",
    "00A4040C01D3": "9000",
    "00A404000AD392F000260100000001": "9000",
    "00A404000AD392F00026010000000100": "6F0C840AD392F0002601000000019000",
    "00A4040008A000000151000000": "6A82",
    "00A4040007A000000151000000": "6F098407A00000015100009000",
    "00A4040C0BD392F00026010000000100": "6A82",
    "00A4040C11" + "00" * 17: "6A82",
    "00A40400": "6A82",
    "00A4040200": "6A82",
    # invalid P1 and P2
    "00A4090C020006": "6A86",
    "00A4040107D392F000260100": "6A86",
    "00A4020100": "6A86",
    "00A4020C0100": "6700",
    "00A4020C03000001": "6700",
}


@pytest.mark.parametrize("command", SELECTION)
def test_select_after_power_up(chip: Chip, command: str) -> None:
    assert ask(chip, command) == SELECTION[command]


def test_partial_aid_selects_the_next_application(chip: Chip) -> None:
    partial = "00A4040007D3921000310001"
    assert ask(chip, partial, "00B0840002") == "7F219000", "the first match is the text application"
    responses = [ask(chip, "00A4040207D3921000310001 00") for _ in range(3)]
    assert responses == [
        "6F0C840AD39210003100010104029000",
        "6F0C840AD39210003100010104019000",
        "6F0C840AD39210003100010101009000",
    ]
    assert ask(chip, "00A4040207D3921000310001 00") == "6A82"
    assert ask(chip, "00B2010C00")[:4] == "011C", "the common application stays current"


def test_selecting_an_application_deselects_the_file(chip: Chip) -> None:
    assert ask(chip, JPKI, "00A4020C020006", "00B0000001") == "4A9000"
    assert ask(chip, JPKI, "00B0000001") == "6986"


def test_a_failed_select_changes_nothing(chip: Chip) -> None:
    ask(chip, JPKI, "00A4020C020018", "002000800431323334", "00A4020C020006")
    assert ask(chip, "00A4040C03AABBCC") == "6A82"
    assert ask(chip, "00A4020C021234") == "6A82"
    assert ask(chip, "00B0000001") == "4A9000"
    assert ask(chip, SIGN)[-4:] == "9000"


READING = {
    "00B0000000": 256,
    "00B0000001": 1,
    "00B00000": 256,  # no Le is the same as Le 00
    "00B0000000FFFF": 2048,
    "00B00000000000": 2048,
    "00B007FF00": 1,
    "00B0070000": 256,
    "00B08A0000": 256,
    "00B08AFF01": 1,
}


@pytest.mark.parametrize("command", READING)
def test_length_of_read_data(chip: Chip, command: str) -> None:
    response = ask(chip, JPKI, "00A4020C02000A", command)
    assert response.endswith("9000")
    assert len(response) // 2 - 2 == READING[command]


REFUSED_READING = {
    "00B0080000": "6B00",
    "00B07FFF00": "6B00",
    "00B0800000": "6A86",
    "00B09F0000": "6A86",
    "00B0A10000": "6A86",
    "00B08C0000": "6A82",
    "00B0000002AABB": "6700",
    "00B0810001": "6982",
    "00B0890001": "6982",
    "00B0980001": "6981",
    "00B0970001": "6981",
    "00B0850001": "6981",
    "00B2010400": "6981",
    "00B2010000": "6A86",
}


@pytest.mark.parametrize("command", REFUSED_READING)
def test_invalid_reads_are_rejected(chip: Chip, command: str) -> None:
    assert ask(chip, JPKI, "00A4020C02000A", command) == REFUSED_READING[command]


def test_reading_records(chip: Chip) -> None:
    assert ask(chip, COMMON, "00B2010C00")[:4] == "011C"
    assert ask(chip, "00B2010400")[:4] == "011C", "the short identifier selected the file"
    assert ask(chip, "00B2020400") == "6A83"
    assert ask(chip, "00B2000400") == "6A83"
    assert ask(chip, "00B2010500") == "6A81"
    assert ask(chip, "00B2010401") == "6700"
    assert ask(chip, "00B0000000") == "6981", "READ BINARY on a record file"
    assert ask(chip, "00B2014C00") == "6A82"
    assert ask(chip, "00B2010C020000") == "6700"


def test_pin_queries_and_lengths(chip: Chip) -> None:
    ask(chip, JPKI, "00A4020C020018")
    for command, status in {
        "00200080": "63C3",
        "0020008000": "6700",
        "00200180": "6A86",
        "00200000": "6A86",
        "002000A0": "6A86",
        "0020008C": "6A88",
        "00200097": "6981",
        "0020008A": "6981",
        "00200090": "6300",
        "0020009000": "6700",
        "0020009004" + "31323334": "6981",
        "0020009811" + "31" * 17: "6700",  # does not decrement the counter
        "0020009804" + "31323334" + "00": "6700",
        "00200098": "63C3",
        "0020009803" + "313233": "63C2",  # a wrong length within 16 bytes is a wrong PIN
        "0020009805" + "3132333400": "63C1",
        "0020009804" + "31323334": "9000",
    }.items():
        assert ask(chip, command) == status, command
    assert ask(chip, TRIES) == "63C3"


def test_a_blocked_pin_stays_blocked(chip: Chip) -> None:
    ask(chip, JPKI)
    assert [ask(chip, WRONG) for _ in range(5)] == ["63C2", "63C1", "63C0", "6984", "6984"]
    assert ask(chip, RIGHT) == "6984"
    assert ask(chip, TRIES) == "63C0"
    chip.power_off()
    chip.power_on()
    assert ask(chip, JPKI, RIGHT) == "6984"


def test_failed_verify_clears_the_status_but_an_empty_one_does_not(chip: Chip) -> None:
    ask(chip, JPKI, RIGHT, TRIES)
    assert ask(chip, SIGN)[-4:] == "9000"
    ask(chip, WRONG)
    assert ask(chip, SIGN) == "6982"


def test_all_verified_pins_are_cleared_with_the_application(chip: Chip) -> None:
    ask(chip, JPKI, RIGHT, PASSWORD, JPKI)
    assert ask(chip, SIGN)[-4:] == "9000"
    assert ask(chip, "00B0810001") == "309000"
    ask(chip, TEXT, JPKI)
    assert ask(chip, SIGN) == "6982"
    assert ask(chip, "00B0810001") == "6982"


HAPPENS: dict[SessionEvent, Callable[[Chip], object]] = {
    SessionEvent.RESET: lambda chip: chip.reset(),
    SessionEvent.APPLICATION_LEFT: lambda chip: ask(chip, TEXT),
    SessionEvent.VERIFICATION_FAILED: lambda chip: ask(chip, JPKI, WRONG),
}
"""How a client causes each event, once both PINs of the JPKI application are verified."""

CELLS = [
    (ISO_RESET, SessionEvent.RESET, (False, False)),
    (MEASURED_RESET, SessionEvent.RESET, (True, True)),
    *((policy, SessionEvent.APPLICATION_LEFT, (False, False)) for policy in (ISO_RESET, MEASURED_RESET)),
    *((policy, SessionEvent.VERIFICATION_FAILED, (False, True)) for policy in (ISO_RESET, MEASURED_RESET)),
    (
        SecurityPolicy({**ISO_RESET.losses, SessionEvent.VERIFICATION_FAILED: Loss.ALL}),
        SessionEvent.VERIFICATION_FAILED,
        (False, False),
    ),
    (
        SecurityPolicy({**ISO_RESET.losses, SessionEvent.VERIFICATION_FAILED: Loss.NONE}),
        SessionEvent.VERIFICATION_FAILED,
        (True, True),
    ),
]
"""A policy, an event, and whether the authentication PIN and the signature password are still verified after it."""


@pytest.mark.parametrize(("policy", "event", "left"), CELLS)
def test_each_event_clears_what_the_policy_says(
    image: Path, policy: SecurityPolicy, event: SessionEvent, left: tuple[bool, bool]
) -> None:
    chip = Chip(load_card(image), policy=policy)
    chip.power_on()
    ask(chip, JPKI, RIGHT, PASSWORD)
    HAPPENS[event](chip)
    ask(chip, JPKI)
    usable = ask(chip, SIGN).endswith("9000"), ask(chip, "00B0810001").endswith("9000")
    assert usable == left


def test_every_policy_covers_every_event() -> None:
    assert HAPPENS.keys() == set(SessionEvent)
    for policy in (ISO_RESET, MEASURED_RESET):
        assert policy.losses.keys() == set(SessionEvent)


def test_power_off_and_reset_clear_the_status(image: Path) -> None:
    iso, measured = Chip(load_card(image)), Chip(load_card(image), policy=MEASURED_RESET)
    for chip, kept in ((iso, False), (measured, True)):
        chip.power_on()
        ask(chip, JPKI, RIGHT)
        assert chip.reset() == bytes.fromhex("3BE000FF8131FE4514")
        if kept:
            assert ask(chip, SIGN)[-4:] == "9000"
        else:
            assert ask(chip, "00A4020C020018") == "6A82"
            assert ask(chip, JPKI, SIGN) == "6982"
        chip.power_off()
        with pytest.raises(NotPowered):
            chip.transmit(b"\0\xa4\0\0")
        chip.power_on()
        assert ask(chip, JPKI, SIGN) == "6982"


def test_changing_a_pin(chip: Chip) -> None:
    change = "00240198" + "04"
    assert ask(chip, JPKI, change + "35363738") == "6982"
    ask(chip, WRONG, RIGHT)
    for command, status in {
        "00240098" + "08" + "3132333435363738": "6A86",
        "00240298" + "04" + "35363738": "6A86",
        change + "41424344": "6A80",
        "00240198" + "05" + "3132333435": "6A80",
        "00240198": "6700",
        "0024019811" + "31" * 17: "6700",
        "0024019704" + "35363738": "6981",
        "8032009804" + "35363738": "6982",
    }.items():
        assert ask(chip, command) == status, command
    assert ask(chip, change + "35363738") == "9000"
    assert ask(chip, SIGN)[-4:] == "9000", "it stays verified"
    chip.power_off()
    chip.power_on()
    assert ask(chip, JPKI, RIGHT) == "63C2"
    assert ask(chip, CHANGED) == "9000"
    assert ask(chip, PASSWORD, "0024019B08" + "4A4B4C4D31323334") == "9000"
    assert ask(chip, "0024019B06" + "6162633132FF") == "6A80"
    # only the issuer can change the numbers printed on the card
    assert ask(chip, TEXT, "002000910431323334", "002401940C" + "31" * 12) == "6982"


SIGNING = {
    "802A0098" + "01AA00": "6981",
    "802A000001AA00": "6A86",  # the JPKI application has no default key
    "802A069701AA00": "6A86",
    "802A008C01AA00": "6A88",
    "802A00A001AA00": "6A86",
    "802A0097": "6700",
    "802A009700": "6700",
    "802A009701AA": "6700",
    "802A009701AAFF": "6700",
    "802A0097" + "F6" + "AA" * 246 + "00": "6700",
    "802A0297" + "1F" + "AA" * 31 + "00": "6985",
    "802A0497" + "21" + "AA" * 33 + "00": "6985",
    "802A0097" + "0000F5" + "AA" * 245 + "0100": "9000",
    "802A0097" + "F5" + "AA" * 245 + "00": "9000",
    "802A009701AA00": "9000",
    "802A019701AA00": "9000",
    "802A029720" + "AA" * 32 + "00": "9000",
    "802A039701AA00": "9000",
    "802A049720" + "AA" * 32 + "00": "9000",
    "802A059701AA00": "9000",
}


@pytest.mark.parametrize("command", SIGNING)
def test_signature_commands(chip: Chip, command: str) -> None:
    response = ask(chip, JPKI, RIGHT, command)
    assert response[-4:] == SIGNING[command]
    assert len(response) // 2 == (258 if SIGNING[command] == "9000" else 2)


def test_signing_with_the_current_file(chip: Chip) -> None:
    assert ask(chip, JPKI, "802A008001AA00") == "6986"
    assert ask(chip, "00A4020C02000A", "802A008001AA00") == "6981"
    assert ask(chip, "00A4020C02001A", "802A008001AA00") == "6982"
    assert ask(chip, "802A009601AA00") == "6981", "the key for terminal certificates does not sign"


OTHER = {
    "0088009903AABBCC00": (COMMON, 258),
    "00880099FF" + "AA" * 255 + "00": (COMMON, 258),
    "008800990001" + "00" + "AA" * 256 + "0100": (COMMON, "6700"),
    "00880099": (COMMON, "6700"),
    "0088019903AABBCC00": (COMMON, "6A86"),
    "0088009C03AABBCC00": (COMMON, "6981"),
    "0088009703AABBCC00": (JPKI, "6982"),
    "0088009A03AABBCC00": (JPKI, "6982"),
    "0088009303AABBCC00": (TEXT, "6985"),
    "0084000008": (JPKI, 10),
    "0084000000": (TEXT, 258),
    "00840100 08": (JPKI, "6A86"),
    "00840000": (JPKI, "6700"),
    "0084000002AABB": (JPKI, "6700"),
    "00840000000008": (JPKI, "6985"),
    "0082000008" + "00" * 8: (JPKI, "6985"),
    "00820000": (JPKI, "6700"),
    "00CA5F5100": (VISUAL, 10),
    "00CA5F5101": (VISUAL, "6700"),
    "00CA5F51": (VISUAL, "6700"),
    "00CA004200": (VISUAL, "6A88"),
    "80AE000000": (TEXT, "6982"),
    "80A206C100": (JPKI, "6986"),
    "80A206C000": (JPKI, "6A86"),
    "8006000000": (JPKI, "6982"),
    "8054000000": (JPKI, "6982"),
    "808A000000": (JPKI, "6982"),
    "80FC0000": (JPKI, "6700"),
    "00220000": (JPKI, "6D00"),
    "002A9E9A": (JPKI, "6D00"),
    "002C0098": (JPKI, "6D00"),
    "00700000": (JPKI, "6D00"),
    "00C00000": (JPKI, "6D00"),
    "00D60000": (JPKI, "6D00"),
    "80A40000": (JPKI, "6D00"),
    "01A40000": (JPKI, "6881"),
    "83A40000": (JPKI, "6881"),
    "04A40000": (JPKI, "6882"),
    "08A40000": (JPKI, "69FC"),
    "0CA40000": (JPKI, "6987"),
    "10A40000": (JPKI, "6E00"),
    "40A40000": (JPKI, "6E00"),
    "90A40000": (JPKI, "6E00"),
    "FFCA0000": (JPKI, "6E00"),
    "00A4": (JPKI, "6700"),
    "": (JPKI, "6700"),
}


@pytest.mark.parametrize("command", OTHER)
def test_other_commands(chip: Chip, command: str) -> None:
    application, expected = OTHER[command]
    response = ask(chip, application, command)
    if isinstance(expected, int):
        assert response.endswith("9000")
        assert len(response) // 2 == expected
    else:
        assert response == expected


def test_a_challenge_can_be_used_once(chip: Chip) -> None:
    respond = "0082000008" + "00" * 8
    assert ask(chip, JPKI, "0084000008", respond) == "6982"
    assert ask(chip, respond) == "6985"


def test_challenges_use_the_given_random_source(image: Path) -> None:
    chip = Chip(load_card(image), chance=lambda count: b"\x5a" * count)
    chip.power_on()
    assert ask(chip, "0084000004") == "5A5A5A5A9000"


def test_store_failure_is_a_memory_failure(chip: Chip, image: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ask(chip, JPKI)

    def fail(reference: object) -> None:
        raise StoreFailure("disk full")

    monkeypatch.setattr(chip.card.store, "spend_try", fail)
    assert ask(chip, RIGHT) == "6581"
    assert ask(chip, SIGN) == "6982"
    monkeypatch.undo()
    assert ask(chip, TRIES) == "63C3"


def test_a_crash_gets_a_response_and_is_logged(
    chip: Chip, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(chip.card.store, "pin", lambda reference: 1 / 0)
    assert ask(chip, JPKI, TRIES) == "6F00"
    assert TRIES in caplog.text
