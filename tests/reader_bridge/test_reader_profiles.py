"""Reader profiles as data, and what a reader with a profile does with the commands to its cards."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from kazashi.applets import jpki
from kazashi.applets.install import install
from kazashi.card import request
from kazashi.card.apdu import CommandApdu
from kazashi.card.atr import CONTACT_ATRS
from kazashi.card.chip import Chip
from kazashi.card.contents import CardContents
from kazashi.reader_bridge.emulated_reader import ESCAPE, T0, T1, EmulatedReader
from kazashi.reader_bridge.fault import FaultPlan
from kazashi.reader_bridge.fault_script import ATRS
from kazashi.reader_bridge.interface import (
    CONTACTLESS_ATQBS,
    Interface,
    NotSupportedByReader,
    ReaderFailed,
    atr_with_pupi,
    contactless_atr,
)
from kazashi.reader_bridge.profile import (
    BadProfile,
    NoSuchProfile,
    all_profiles,
    parse_profile,
    profile_names,
    reader_profile,
)

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parents[2]
SELECT = request.select(jpki.AID)
SELECT_WITH_FCI = request.select_for_information(jpki.AID)
FCI = "6F0C840AD392F000260100000001"
READ = bytes.fromhex("00B08A00")
GET_UID, OTHER_FF = bytes.fromhex("FFCA000000"), bytes.fromhex("FFFE000000")

OPENSC_CONTACT = {
    "3BE000FF8131FE4514", "3BDA13FF8131FB468012392F31C173C601C03B", "3BC5FF8131FB458073C6010000",
    "3BF59100FF918171FE400042000100D1D6", "3BF59100FF918171FE4000420001B3A115",
}  # fmt: skip
OPENSC_CONTACTLESS = {
    "3B888001000005E0B381A1007F", "3B888001000041E0B381A1003B", "3B888001004B51FF0081D100BC",
    "3B888001004B51FFB381D1000F",
}  # fmt: skip
"""The ATRs of JPKI cards in win32/customactions.cpp of OpenSC since commit dafcdc091 of 23 July 2026."""


class InReader:
    """A card in a slot of a reader, powered, with a protocol chosen as pcscd does."""

    def __init__(self, contents: CardContents, profile: str, slot: int = 0, atr: bytes | None = None) -> None:
        self.reader = EmulatedReader(reader_profile(profile))
        self.slot = slot

        def hold(card: object) -> Interface:
            return self.reader.card(slot, Chip(install(contents)))

        inner = FaultPlan(atr=atr).around(install(contents), hold)
        self.card = self.reader.insert(slot, inner)
        self.card.power_on()

    def send(self, *commands: bytes | str) -> list[str]:
        """The responses, in hexadecimal, or `refused`."""
        responses = []
        for command in commands:
            try:
                response = self.card.transmit(bytes.fromhex(command) if isinstance(command, str) else command)
                responses.append(response.hex().upper())
            except ReaderFailed:
                responses.append("refused")
        return responses


@pytest.fixture
def put(contents: CardContents) -> Callable[..., InReader]:
    def put(profile: str, slot: int = 0, atr: bytes | None = None) -> InReader:
        return InReader(contents, profile, slot, atr)

    return put


def test_the_atrs_are_those_of_opensc() -> None:
    assert {atr.hex().upper() for atr in CONTACT_ATRS.values()} == OPENSC_CONTACT
    assert {contactless_atr(atqb).hex().upper() for atqb in CONTACTLESS_ATQBS.values()} == OPENSC_CONTACTLESS


def test_an_atr_with_a_pupi_is_as_in_the_readers_document() -> None:
    """The example of the ACR122U API 2.04, 3.1.2, for a card with the ATQB 50 12 23 45 56 12 53 54 4E 33 81 C3."""
    atr = atr_with_pupi(bytes.fromhex("12234556"), bytes.fromhex("1253544E3381C3"))
    assert atr.hex().upper() == "3B8C800150122345561253544E3381C355"


# Contactless readers


def test_a_reader_builds_the_atr_from_the_card(put: Callable[..., InReader]) -> None:
    card = put("contactless")
    assert card.card.atr.hex().upper() == "3B888001000005E0B381A1007F"
    own = put("like-acr122u")
    (uid,) = own.send(GET_UID)
    assert own.card.atr == atr_with_pupi(bytes.fromhex(uid[:8]), CONTACTLESS_ATQBS["plain"])
    assert put("like-acr122u", atr=ATRS["T=0"]).card.atr == ATRS["T=0"]  # a fault replaced it


@pytest.mark.parametrize(("profile", "fixed"), [("contactless", False), ("dual", True), ("like-acr122u", False)])
def test_the_uid_is_new_for_each_entry_unless_the_profile_fixes_it(
    profile: str, fixed: bool, put: Callable[..., InReader]
) -> None:
    card = put(profile)
    (first,) = card.send(GET_UID)
    card.card.reset()
    assert card.send(GET_UID) == [first]
    card.card.power_off()
    card.card.power_on()
    assert (card.send(GET_UID) == [first]) is fixed
    assert (put(profile).send(GET_UID) == [first]) is fixed


def test_the_expected_length_of_a_uid_is_checked(put: Callable[..., InReader]) -> None:
    """PC/SC part 3, 3.2.2.1.3: 6Cxx has the exact length, 6282 says that there is less."""
    exact, short, long = put("contactless").send("FFCA000004", "FFCA000003", "FFCA000005")
    assert (exact[8:], short, long[8:]) == ("9000", "6C04", "6282")


@pytest.mark.parametrize(
    ("profile", "slot", "status"), [("contactless", 0, "6E00"), ("dual", 0, "6A81"), ("like-acr122u", 0, "6300")]
)
def test_unknown_commands_of_class_ff_never_reach_the_card(
    profile: str, slot: int, status: str, put: Callable[..., InReader]
) -> None:
    card = put(profile, slot)
    assert card.send(OTHER_FF, "FF", "FFFFFFFFFF", SELECT) == [status, status, status, "9000"]


def test_the_leds_of_an_acr122u_keep_what_the_mask_leaves(put: Callable[..., InReader]) -> None:
    card = put("like-acr122u")
    leds = ("FF00400E0400000000", "FF00400D0400000000", "FF0040020400000000", "FF0040080400000000")
    assert card.send(*leds) == ["9002", "9001", "9001", "9001"]
    assert card.send("FF00500000", "FF00517F00", "FF00500000", "FF00520000") == ["90FF", "907F", "907F", "9000"]


def test_escape_commands_pass_only_where_the_profile_says(put: Callable[..., InReader]) -> None:
    assert put("like-acr122u").reader.control(0, ESCAPE, bytes.fromhex("FF00480000")) == b"ACR122U201"
    assert put("like-acr1252u").reader.control(0, ESCAPE, bytes.fromhex("E000001800"))[5:] == b"ACR1252U_V202.2"
    refused = put("like-utrust-4701f", 1)
    with pytest.raises(ReaderFailed):
        refused.reader.control(1, ESCAPE, b"\x1e")
    with pytest.raises(NotSupportedByReader):
        refused.reader.control(1, ESCAPE + 1, b"\x1e")


def test_an_escape_command_in_an_apdu(put: Callable[..., InReader]) -> None:
    card = put("like-utrust-4701f", 1)
    counter = "FFCC000007FF7004E601000400"
    info, kind, count, unknown = card.send("FFCC0000011E00", "FFCC0000011100", counter, "FFCC0000010200")
    assert info == "010407030000000002" + "1C" + "0030" * 14 + "9000"
    assert kind == "01B3119000"  # its bit rates are those of the ATQB
    assert (count, unknown) == ("0000000090009000", "6A81")
    card.reader.insert(0, card.card)
    assert card.send(counter) == ["0000000190009000"]


# Contact readers


def test_a_tpdu_reader_shows_the_blocks_of_t_0(put: Callable[..., InReader]) -> None:
    """ISO 7816-3, 12.2: data comes by GET RESPONSE after 61xx, and 6Cxx tells the exact length."""
    card = put("t0")
    assert card.card.atr == ATRS["T=0"]
    responses = card.send(SELECT_WITH_FCI[:-1], "00C0000005", "00C0000009", "00C0000001")
    assert responses[0] == "610E"
    assert responses[1:3] == [FCI[:10] + "6109", FCI[10:] + "9000"]
    assert responses[3] in ("6D00", "6985")  # nothing is left: the card itself answers
    assert card.send(SELECT_WITH_FCI) == ["refused"]  # data and an expected length do not fit in one block
    assert card.send(SELECT, "0020008000") == ["9000", "6986"]


def test_t_0_has_its_form_only_while_it_is_the_protocol(put: Callable[..., InReader]) -> None:
    card = put("like-scr3310", atr=ATRS["T=0 and T=1"])
    card.reader.protocol(0, T1)
    assert card.send(SELECT_WITH_FCI) == [FCI + "9000"]
    card.reader.protocol(0, T0)
    assert card.send(SELECT_WITH_FCI, SELECT_WITH_FCI[:-1]) == ["refused", "610E"]


def test_a_reader_that_takes_apdus_runs_t_0_itself(put: Callable[..., InReader]) -> None:
    card = put("contact", atr=ATRS["T=0"])
    card.reader.protocol(0, T0)
    assert card.send(SELECT_WITH_FCI) == [FCI + "9000"]


@pytest.mark.parametrize(("profile", "protocols"), [("contact", {T0, T1}), ("short-apdu", {T1}), ("t0", {T0})])
def test_a_reader_has_the_protocols_of_its_profile(
    profile: str, protocols: set[int], put: Callable[..., InReader]
) -> None:
    for number in range(9):
        if number in protocols:
            put(profile).reader.protocol(0, number)
        else:
            with pytest.raises(NotSupportedByReader):
                put(profile).reader.protocol(0, number)


@pytest.mark.parametrize(
    ("profile", "t0", "extended"),
    [
        ("contact", False, True), ("like-scr3310", False, True), ("like-scr3310", True, False),
        ("short-apdu", False, False), ("like-acr122u", False, False), ("like-acr1252u", False, True),
    ],
)  # fmt: skip
def test_a_command_that_does_not_fit_is_refused(
    profile: str, t0: bool, extended: bool, put: Callable[..., InReader]
) -> None:
    card = put(profile, 0, ATRS["T=0 and T=1"])
    if t0:
        card.reader.protocol(0, T0)
    longest = CommandApdu(0, 0x20, 0, 0x80, bytes(255), 256).encode()  # 261 bytes, the longest short one
    others = [
        longest[:-1] if t0 else longest,
        CommandApdu(0, 0xB0, 0, 0, b"", 300, True).encode(),
        CommandApdu(0, 0x20, 0, 0x80, bytes(65535), 65536, True).encode(),
        bytes(65547),
    ]
    passed = [response != "refused" for response in card.send(*others)]
    assert passed == [True, extended, extended, False]


def test_a_contact_reader_passes_class_ff_to_the_card(put: Callable[..., InReader]) -> None:
    assert put("contact").send(GET_UID) == ["6E00"]


# Profiles as data


def test_there_are_six_kinds_of_our_own_and_four_products_at_least() -> None:
    names = profile_names()
    assert {"contact", "contactless", "dual", "pin-pad", "short-apdu", "t0"} <= set(names)
    products = [profile for profile in all_profiles() if profile.name.startswith("like-")]
    assert len(products) >= 4
    assert all(profile.reader_name.startswith("like ") for profile in products)


def test_every_fact_of_a_product_has_an_address_that_is_not_ours() -> None:
    for profile in all_profiles():
        assert profile.facts
        for fact in profile.facts:
            outside = [source for source in fact.sources if source.startswith("https://")]
            assert outside or not profile.name.startswith("like-"), fact
            for source in set(fact.sources) - set(outside):
                assert (ROOT / source).is_file(), source


def test_the_docs_list_every_fact_with_its_sources() -> None:
    text = (ROOT / "docs" / "readers.md").read_text(encoding="utf-8")
    for profile in all_profiles():
        assert f"| `{profile.name}` | {profile.title} | {profile.reader_name} |" in text, profile.name
        section = text.partition(f"\n### {profile.title}\n")[2].partition("\n### ")[0]
        rows = {
            f"| {fact.words} | "
            + ", ".join(f"<{source}>" if source.startswith("https") else "our own choice" for source in fact.sources)
            + " |"
            for fact in profile.facts
        }
        assert rows == {
            row for row in section.splitlines() if row.startswith(("| reader:", "| slot", "| c", "| e", "| set"))
        }


PLAIN = """
title = "A reader"
name = "A reader"
[sources]
ours = "docs/readers.md"
[escape]
commands = "refused"
source = "ours"
[[slot]]
exchange = "TPDU"
protocols = ["T=1"]
longest_message = 271
source = "ours"
"""


def test_a_minimal_profile_is_valid() -> None:
    assert parse_profile("mine", PLAIN).slots[0].longest_command == 261


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ("title", "title =", "is not TOML"),
        ('title = "A reader"', "", "title is missing"),
        ('title = "A reader"', "title = 1", "title is missing, or of the wrong type"),
        ('name = "A reader"', 'name = "A\\nreader"', "name"),
        ('"docs/readers.md"', '"http://example.com"', "neither an https address"),
        ('commands = "refused"\nsource = "ours"', 'commands = "refused"', "escape: it needs a source"),
        ('commands = "refused"\nsource = "ours"', 'commands = "refused"\nsource = []', "escape: it needs a source"),
        ('"refused"', '"maybe"', "one of pass, refused, not 'maybe'"),
        ("[[slot]]", "[[slot]]\ncolour = 1", "slot 0: unknown key 'colour'"),
        ("[[slot]]", "[slot]", "slot is missing, or of the wrong type"),
        ("271", "1", "a number from 263 to 65554, not 1"),
        ("271", "true", "a number from 263 to 65554, not True"),
        ('["T=1"]', "[]", "a list of T=0 and T=1"),
        ('["T=1"]', '["T=2"]', "a list of T=0 and T=1"),
        ('["T=1"]', "[1]", "a list of texts"),
    ],
)
def test_a_profile_that_is_not_valid_is_refused(before: str, after: str, words: str) -> None:
    with pytest.raises(BadProfile, match=re.escape(words)):
        parse_profile("mine", PLAIN.replace(before, after, 1))


@pytest.mark.parametrize(
    "command",
    [
        'command = "FFCA0000"\ndata = "{pupi}"', 'command = "FFCA0000{le}00"\nanswer = "9000"',
        'command = "FFCA00{x}"\nanswer = "9000"', 'command = "FFCA"\nanswer = "{other}"',
        'command = "FFC"\nanswer = "9000"', 'command = "FFCA"\nanswer = ""', 'command = "FFCA"\nanswer = "??"',
    ],
)  # fmt: skip
def test_a_command_that_is_not_valid_is_refused(command: str) -> None:
    with pytest.raises(BadProfile, match="command 0"):
        parse_profile("mine", f'{PLAIN}\n[[command]]\n{command}\nthrough = ["card"]\nsource = "ours"\n')


def test_a_profile_can_be_a_file(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(PLAIN, encoding="utf-8")
    assert reader_profile(str(file)).name == "mine"
    file.with_name("other.toml").write_bytes(b"\xff")
    with pytest.raises(BadProfile, match="it is not UTF-8"):
        reader_profile(str(file.with_name("other.toml")))
    with pytest.raises(NoSuchProfile, match="there are contact, contactless"):
        reader_profile("mine")
    with pytest.raises(NoSuchProfile, match=r"none\.toml cannot be read: No such file"):
        reader_profile(str(file.with_name("none.toml")))
