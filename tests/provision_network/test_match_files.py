"""Files of records for the first matching: what is written is read, and what breaks a rule is refused with its name."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date

import pytest

from kazashi.provision_network.match_file import MatchFileRejected, MatchFileRule, read, written
from kazashi.provision_network.matching import Attributes, MatchRecord

pytestmark = pytest.mark.unit

BODY = "架空年金機構"
RECORDS = tuple(
    MatchRecord(
        f"{number:05d}", Attributes(f'番号　"花,子"{number}', "バンゴウ　ハナコ", "19880400", "2", "東京都\u3000架空町")
    )
    for number in range(3)
)
FILE = written(BODY, date(2026, 11, 24), RECORDS)


def test_what_is_written_is_read() -> None:
    file = read(FILE.encode(), BODY)
    assert (file.body, file.day, file.records) == (BODY, date(2026, 11, 24), RECORDS)
    assert read(b"\xef\xbb\xbf" + FILE.replace("\n", "\r\n").encode(), BODY).records == RECORDS


@pytest.mark.parametrize(("rule", "change", "where"), [
    (MatchFileRule.UTF_8, lambda text: text.encode("shift_jis"), "byte"),
    (MatchFileRule.UTF_8, lambda text: (text + '"').encode(), "line"),
    (MatchFileRule.HEADER, lambda text: b"", "line 1"),
    (MatchFileRule.HEADER, lambda text: text.replace("header,1", "header,2").encode(), "line 1"),
    (MatchFileRule.HEADER, lambda text: text.replace("2026-11-24", "today").encode(), "'today' is not a day"),
    (MatchFileRule.BODY, lambda text: text.replace(BODY, "架空健保組合").encode(), "架空健保組合"),
    (MatchFileRule.COLUMNS, lambda text: text.replace("number,name", "name,number").encode(), "line 2"),
    (MatchFileRule.RECORD, lambda text: text.replace("19880400", "19881301", 1).encode(), "line 3"),
    (MatchFileRule.RECORD, lambda text: text.replace(",2,東京都", ",3,東京都", 1).encode(), "line 3"),
    (MatchFileRule.RECORD, lambda text: text.replace("00001,", "00001,,", 1).encode(), "7 values for 6 columns"),
    (MatchFileRule.RECORD, lambda text: text.replace("00001", "", 1).encode(), "line 4"),
    (MatchFileRule.RECORD, lambda text: text.replace("00001", "1" * 41, 1).encode(), "line 4"),
    (MatchFileRule.RECORD, lambda text: text.replace("バンゴウ", "バン\0", 1).encode(), "line 3"),
    (MatchFileRule.TRAILER, lambda text: text.rpartition("trailer")[0].encode(), "cut off"),
    (MatchFileRule.TRAILER, lambda text: (text + text.splitlines()[2]).encode(), "cut off"),
    (MatchFileRule.COUNT, lambda text: text.replace("trailer,3", "trailer,4").encode(), "'4', and there are 3"),
    (MatchFileRule.ONCE, lambda text: text.replace("00001", "00000").encode(), "number 00000 is that of line 3 too"),
    (MatchFileRule.MOST, lambda text: written(BODY, date(2026, 11, 24), []).encode(), "0 records"),
])  # fmt: skip
def test_a_file_that_breaks_a_rule_is_refused_with_its_name(
    rule: MatchFileRule, change: Callable[[str], bytes], where: str
) -> None:
    with pytest.raises(MatchFileRejected, match="nothing of the file was taken") as refused:
        read(change(FILE), BODY)
    assert refused.value.rule is rule
    assert where in str(refused.value)


def test_a_file_that_was_cut_off_anywhere_is_refused() -> None:
    content = FILE.encode()
    for length in range(len(content) - 1):  # the last byte is the end of the last line
        with pytest.raises(MatchFileRejected):
            read(content[:length], BODY)
