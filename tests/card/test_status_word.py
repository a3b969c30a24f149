"""The tables of instructions and status words."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from kazashi.card.apdu import CommandApdu
from kazashi.card.commands import HANDLERS
from kazashi.card.instruction import Instruction
from kazashi.card.rejection import TriesLeft, WrongLength
from kazashi.card.rule import RuleSource
from kazashi.card.status_word import Status, StatusWord

pytestmark = pytest.mark.unit

ERRORS = Path(__file__).parent.parent.parent / "docs" / "errors.md"
TRIES = "| 63C0 to 63CF | 0 to 15 retries left | VERIFY failed, or the empty VERIFY of a PIN |"


def test_documented_status_words_match_the_code() -> None:
    section = ERRORS.read_text(encoding="utf-8").partition("## Status words")[2].partition("\n## ")[0]
    rows = [line for line in section.splitlines() if re.match(r"\| .?[0-9A-F]{4}", line)]
    expected = [f"| `{status}` | {status.meaning} | {status.sent or 'never'} |" for status in sorted(Status)]
    assert [row for row in rows if row != TRIES] == expected
    assert TRIES in rows


@pytest.mark.parametrize("status", Status)
def test_parsed_status_word_equals_the_enum_member(status: Status) -> None:
    parsed = StatusWord(int(status))
    assert parsed == status
    assert parsed.known
    assert (parsed.meaning, str(parsed)) == (status.words, f"{int(status):04X}")
    assert hash(parsed) == hash(status), "both are the same dictionary key"


def test_unknown_and_retry_counter_status_words() -> None:
    assert not StatusWord(0x6A84).known
    assert [StatusWord.tries_left(count).meaning for count in (0, 1, 15)] == [
        "0 retries left",
        "1 retry left",
        "15 retries left",
    ]
    assert str(TriesLeft(2, "the value is not the PIN", RuleSource.JICSAP_VERIFY)) == "2 retries left"
    assert str(WrongLength("GET DATA has no data", RuleSource.ISO_GET_DATA)) == Status.WRONG_LENGTH.words
    for count in (-1, 16):
        with pytest.raises(ValueError, match=str(count)):
            StatusWord.tries_left(count)


def test_handlers_exist_for_known_instructions_only() -> None:
    assert set(HANDLERS) <= set(Instruction)
    assert CommandApdu.parse(bytes.fromhex("802A0097")).instruction == Instruction.COMPUTE_DIGITAL_SIGNATURE
    for instruction in Instruction:
        assert instruction.cla << 8 | instruction.ins == instruction


def test_instruction_titles_follow_the_standard() -> None:
    assert Instruction.READ_BINARY.title == "READ BINARY"
    assert Instruction.GET_UID.title == "GET UID (reader)"
    assert len({instruction.title for instruction in Instruction}) == len(Instruction)
