from __future__ import annotations

import random
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kazashi.pki.characters import substituted
from kazashi.resident_registry.birth_date import BirthDate
from kazashi.resident_registry.municipality import MunicipalityCode
from kazashi.resident_registry.number import IndividualNumber, check_digit
from kazashi.resident_registry.sample_residents import SAMPLE_RESIDENTS

pytestmark = pytest.mark.unit

WEIGHTS = (6, 5, 4, 3, 2, 7, 6, 5, 4, 3, 2)


@given(st.integers(0, 10**11 - 1))
def test_check_digit_against_the_table_in_the_order(number: int) -> None:
    body = f"{number:011d}"
    remainder = sum(int(digit) * weight for digit, weight in zip(body, WEIGHTS, strict=True)) % 11
    assert check_digit(body) == str(0 if remainder <= 1 else 11 - remainder)


@given(st.integers(0, 2**32), st.integers(0, 11), st.integers(1, 9))
def test_a_single_wrong_digit_passes_only_with_check_digit_0(seed: int, place: int, add: int) -> None:
    number = IndividualNumber.around(f"{random.Random(seed).randrange(10**11):011d}")
    other = number[:place] + str((int(number[place]) + add) % 10) + number[place + 1 :]
    try:
        IndividualNumber(other)
    except ValueError:
        return
    # A check digit of 0 means two remainders, so some single errors are not detected.
    assert other[11] == "0"


@pytest.mark.parametrize("digits", ["", "12345678901", "1234567890123", "12345678901a", "１２３４５６７８９０１８"])
def test_malformed_numbers_are_refused(digits: str) -> None:
    with pytest.raises(ValueError, match=r"digit"):
        IndividualNumber(digits)


def test_birth_dates() -> None:
    assert BirthDate(1988, 4, 17).in_era_years == "630417"
    assert BirthDate(1989, 1, 7).in_era_years == "640107"
    assert BirthDate(1989, 1, 8).in_era_years == "010108"
    assert BirthDate(2019, 4, 30).era_digit == "4"
    assert BirthDate(2019, 5, 1).era_digit == "5"
    assert BirthDate(1924, 10, 10).era_digit == "2"
    assert str(BirthDate(1936, 4, 0)) == "19360400"
    assert BirthDate(1931, 0, 0).in_era_years == "060000"
    assert BirthDate(2000, 2, 29).birthday(2027) == date(2027, 2, 28)
    assert BirthDate(2000, 2, 29).birthday(2028) == date(2028, 2, 29)
    for parts in ((2001, 2, 29), (2001, 0, 5), (2001, 13, 1)):
        with pytest.raises(ValueError, match=r"."):
            BirthDate(*parts)


@pytest.mark.parametrize(
    ("born", "digit", "years"),
    [  # first and last days of the eras: 1868-10-23, 1912-07-30, 1926-12-25, 1989-01-08, 2019-05-01
        ("1868-10-23", "1", "011023"), ("1912-07-29", "1", "450729"), ("1912-07-30", "2", "010730"),
        ("1926-12-24", "2", "151224"), ("1926-12-25", "3", "011225"), ("1989-01-07", "3", "640107"),
        ("1989-01-08", "4", "010108"), ("2019-04-30", "4", "310430"), ("2019-05-01", "5", "010501"),
        ("2019-12-31", "5", "011231"), ("1926-12-31", "3", "011231"), ("1927-01-01", "3", "020101"),
        ("2019-00-00", "4", "310000"), ("1989-01-00", "3", "640100"), ("2019-05-00", "5", "010500"),
    ],
)  # fmt: skip
def test_eras_on_their_first_and_last_days(born: str, digit: str, years: str) -> None:
    birth = BirthDate.parse(born)
    assert (birth.era_digit, birth.in_era_years) == (digit, years)


def test_nobody_is_born_before_the_first_era() -> None:
    with pytest.raises(ValueError, match="must not be before 1868-10-23"):
        BirthDate.parse("1868-10-22")


def test_a_year_of_age_is_completed_the_day_before_the_birthday() -> None:
    born = BirthDate(2011, 11, 25)
    assert born.age_on(date(2026, 11, 23)) == 14
    assert born.age_on(date(2026, 11, 24)) == 15


def test_sample_residents() -> None:
    assert len(SAMPLE_RESIDENTS) >= 16
    assert len({str(resident.name) for resident in SAMPLE_RESIDENTS.values()}) == len(SAMPLE_RESIDENTS)
    assert len(SAMPLE_RESIDENTS["long-address"].address) == 200
    assert SAMPLE_RESIDENTS["single-name"].name.given == ""
    assert "［旧見］" in str(SAMPLE_RESIDENTS["former-surname"].name)
    assert "（木村　模擬）" in str(SAMPLE_RESIDENTS["common-name"].name)
    assert "1" in substituted(str(SAMPLE_RESIDENTS["rare-kanji"].name), "●")[1]
    for resident in SAMPLE_RESIDENTS.values():
        assert resident.about
        assert not set("0123456789") & set(resident.address), "full-width digits only"
        if str(resident.birth).endswith("00"):
            continue
        assert len(resident.birth.in_era_years) == 6


def test_municipality_codes() -> None:
    assert MunicipalityCode("01101") == "01101"
    for wrong in ("1101", "011011", "0110a"):
        with pytest.raises(ValueError, match="five digits"):
            MunicipalityCode(wrong)
