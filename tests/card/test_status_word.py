"""The tables of instructions and status words, and what is read from them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from kazashi.card.apdu import CommandApdu
from kazashi.card.commands import HANDLERS
from kazashi.card.instruction import Instruction
from kazashi.card.rejection import TriesLeft, WrongLength
from kazashi.card.status_word import Status, StatusWord

pytestmark = pytest.mark.unit

ERRORS = Path(__file__).parent.parent.parent / "docs" / "errors.md"
TRIES = "| 63C0 to 63CF | 0 to 15 retries left | VERIFY failed, or the empty VERIFY of a PIN |"


def test_the_documented_table_is_the_table() -> None:
    section = ERRORS.read_text(encoding="utf-8").partition("## Status words")[2].partition("\n## ")[0]
    rows = [line for line in section.splitlines() if re.match(r"\| .?[0-9A-F]{4}", line)]
    wanted = [f"| `{status}` | {status.meaning} | {status.sent or 'never'} |" for status in sorted(Status)]
    assert [row for row in rows if row != TRIES] == wanted
    assert TRIES in rows


@pytest.mark.parametrize("status", Status)
def test_a_status_word_that_was_parsed_is_the_one_of_the_table(status: Status) -> None:
    parsed = StatusWord(int(status))
    assert parsed == status
    assert parsed.known
    assert (parsed.meaning, str(parsed)) == (status.words, f"{int(status):04X}")
    assert hash(parsed) == hash(status), "both find the same entry of a table"


def test_other_status_words() -> None:
    assert not StatusWord(0x6A84).known
    assert [StatusWord.tries_left(count).meaning for count in (0, 1, 15)] == [
        "0 retries left",
        "1 retry left",
        "15 retries left",
    ]
    assert str(TriesLeft(2)) == "2 retries left"
    assert str(WrongLength()) == Status.WRONG_LENGTH.words
    for count in (-1, 16):
        with pytest.raises(ValueError, match=str(count)):
            StatusWord.tries_left(count)


def test_the_chip_carries_out_known_instructions_only() -> None:
    assert set(HANDLERS) <= set(Instruction)
    assert CommandApdu.parse(bytes.fromhex("802A0097")).instruction == Instruction.COMPUTE_DIGITAL_SIGNATURE
    for instruction in Instruction:
        assert instruction.cla << 8 | instruction.ins == instruction


def test_instructions_have_the_titles_of_the_standard() -> None:
    assert Instruction.READ_BINARY.title == "READ BINARY"
    assert Instruction.GET_UID.title == "GET UID (reader)"
    assert len({instruction.title for instruction in Instruction}) == len(Instruction)
