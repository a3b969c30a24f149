from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kazashi.pki.characters import substituted
from kazashi.pki.generation import begins, first_day, issuing_at
from kazashi.pki.validity import anniversary_end, card_end, certificate_end
from kazashi.resident_registry.birth_date import BirthDate
from kazashi.world.clock import JST

pytestmark = pytest.mark.unit

NEVER = date(9999, 12, 31)


def at(year: int, month: int, day: int, hour: int = 12) -> datetime:
    return datetime(year, month, day, hour, tzinfo=JST)


@pytest.mark.parametrize(
    ("issued", "birth", "end"),
    [
        (at(2026, 11, 24), BirthDate(1988, 4, 17), date(2031, 4, 17)),
        (at(2026, 4, 16), BirthDate(1988, 4, 17), date(2030, 4, 17)),
        (at(2026, 4, 17), BirthDate(1988, 4, 17), date(2031, 4, 17)),  # a birthday on the day of issue does not count
        (at(2027, 1, 1), BirthDate(2000, 2, 29), date(2031, 2, 28)),
        (at(2027, 3, 1), BirthDate(2000, 2, 29), date(2032, 2, 29)),
    ],
)
def test_certificate_ends_on_the_fifth_birthday(issued: datetime, birth: BirthDate, end: date) -> None:
    assert certificate_end(issued, birth, NEVER).astimezone(JST) == datetime(
        end.year, end.month, end.day, 23, 59, 59, tzinfo=JST
    )
    earlier = end - timedelta(days=100)
    assert certificate_end(issued, birth, earlier).astimezone(JST).date() == earlier, "the card ends first"
    assert certificate_end(issued, birth, NEVER, earlier).astimezone(JST).date() == earlier, "the stay ends first"


def test_day_of_issue_is_in_japan_time() -> None:
    late = datetime(2026, 4, 16, 15, 30, tzinfo=UTC)  # 17 April, 00:30 in Japan: the birthday
    assert certificate_end(late, BirthDate(1988, 4, 17), NEVER).date() == date(2031, 4, 17)


@given(st.dates(date(2016, 1, 1), date(2040, 1, 1)), st.dates(date(1910, 1, 1), date(2015, 12, 31)))
def test_certificate_lasts_four_to_five_years(issued: date, born: date) -> None:
    birth = BirthDate(born.year, born.month, born.day)
    end = certificate_end(at(issued.year, issued.month, issued.day), birth, NEVER).astimezone(JST).date()
    assert issued + timedelta(days=4 * 365) < end <= issued + timedelta(days=5 * 366)
    assert end == birth.birthday(end.year)


def test_card_ends_on_the_10th_birthday_or_5th_for_minors() -> None:
    assert card_end(date(2026, 11, 24), BirthDate(1988, 4, 17)) == date(2036, 4, 17)
    assert card_end(date(2026, 11, 24), BirthDate(2016, 5, 5)) == date(2031, 5, 5), "a minor's card"


def test_generations_begin_and_end_on_the_known_dates() -> None:
    assert [first_day(number) for number in (1, 2, 3, 4)] == [
        date(2015, 10, 20), date(2019, 9, 15), date(2023, 7, 16), date(2027, 5, 16),
    ]  # fmt: skip
    assert issuing_at(at(2019, 9, 30)) == 1
    assert issuing_at(at(2019, 10, 1, 0)) == 2
    assert issuing_at(at(2023, 8, 1, 0)) == 3
    assert issuing_at(at(2026, 11, 24)) == 3
    with pytest.raises(ValueError, match="no authority"):
        issuing_at(at(2015, 10, 19))
    # The real roots' notAfter is the last second before the tenth anniversary.
    assert anniversary_end(begins(3), 10) == datetime(2033, 7, 15, 14, 59, 59, tzinfo=UTC)
    assert anniversary_end(begins(2), 10) == datetime(2029, 9, 14, 14, 59, 59, tzinfo=UTC)


def test_both_spellings_of_a_character_stay_as_they_were_written() -> None:
    """Windows decodes seven characters of the character sets to other code points than the standards' tables do."""
    cells = [bytes((row, cell)) for row in range(0xA1, 0xF5) for cell in range(0xA1, 0xFF)]
    standard = [cell.decode("euc_jp") for cell in cells if _decodes(cell, "euc_jp")]
    windows = [text.encode("shift_jis").decode("cp932") for text in standard]
    assert sum(map(str.__ne__, standard, windows)) == 6
    assert len(standard) == 6879
    text = "".join((*standard, *windows, "￤", "—"))  # JIS X 0212, 2-35; JIS X 0213, 1-1-29
    assert substituted(text, "●") == (text, "0" * len(text))
    assert substituted("か\u309a", "●") == ("か●", "01"), "JIS X 0213 alone has this letter"


def _decodes(data: bytes, codec: str) -> bool:
    try:
        data.decode(codec)
    except UnicodeDecodeError:
        return False
    return True


@given(st.text(max_size=40))
def test_text_and_flags_have_the_same_length(text: str) -> None:
    shown, flags = substituted(text, "●")
    assert len(shown) == len(flags)
    assert all((flag == "1") <= (character == "●") for character, flag in zip(shown, flags, strict=True))
