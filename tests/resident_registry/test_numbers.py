from __future__ import annotations

import random
from datetime import date
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kazashi.resident_registry.number import (
    NUMBER_CHANGES,
    CorporateNumber,
    IndividualNumber,
    Numbering,
    Permutation,
    ResidentRecordCode,
    check_digit,
    corporate_check_digit,
)

pytestmark = pytest.mark.unit

PEOPLE = 2000
WEIGHTS = (3, 2, 7, 6, 5, 4, 3, 2)


@pytest.mark.parametrize(
    ("body", "digit"), [("12345678901", "8"), ("98320567321", "4"), ("1234567890", "3"), ("0" * 11, "0")]
)
def test_published_check_digits_of_individual_numbers_and_codes(body: str, digit: str) -> None:
    assert check_digit(body) == digit
    kind = IndividualNumber if len(body) == 11 else ResidentRecordCode
    assert kind.around(body) == kind(body + digit) == body + digit


@pytest.mark.parametrize(("body", "digit"), [("000012050002", "7"), ("011001098993", "4"), ("123456789012", "7")])
def test_published_check_digits_of_corporate_numbers(body: str, digit: str) -> None:
    assert corporate_check_digit(body) == digit
    assert CorporateNumber.around(body) == CorporateNumber(digit + body) == digit + body


@given(st.integers(0, 10**10 - 1))
def test_check_digit_of_a_record_code_against_the_weights(number: int) -> None:
    body = f"{number:010d}"
    remainder = sum(int(digit) * weight for digit, weight in zip(body, (5, 4, *WEIGHTS), strict=True)) % 11
    assert ResidentRecordCode.around(body)[-1] == str(0 if remainder <= 1 else 11 - remainder)


@given(st.integers(0, 10**12 - 1))
def test_check_digit_of_a_corporate_number_against_the_order(number: int) -> None:
    body = f"{number:012d}"
    total = sum(int(digit) * (2 if place % 2 else 1) for place, digit in enumerate(reversed(body)))
    assert CorporateNumber.around(body)[0] == str(9 - total % 9)
    assert CorporateNumber.around(body)[0] != "0"


@pytest.mark.parametrize(
    ("kind", "good"),
    [(IndividualNumber, "123456789018"), (ResidentRecordCode, "12345678903"), (CorporateNumber, "7123456789012")],
)
def test_a_wrong_check_digit_or_malformed_number_is_refused(
    kind: type[IndividualNumber] | type[ResidentRecordCode] | type[CorporateNumber], good: str
) -> None:
    assert kind(good) == good
    place = 0 if kind is CorporateNumber else len(good) - 1
    for digit in set("0123456789") - {good[place]}:
        with pytest.raises(ValueError, match="check digit"):
            kind(good[:place] + digit + good[place + 1 :])
    full_width = good.translate({ord("0") + digit: ord("０") + digit for digit in range(10)})
    for malformed in (
        "",
        good[:-1],
        good + "0",
        f" {good[1:]}",
        good[:-1] + "x",
        full_width,
        good[:-1] + full_width[-1],
    ):
        with pytest.raises(ValueError, match=f"must have {len(good)} digits"):
            kind(malformed)


@pytest.mark.parametrize("length", [2, 3, 4])
def test_a_permutation_reaches_every_number_once(length: int) -> None:
    every = {f"{number:0{length}d}" for number in range(10**length)}
    for key in (b"a", b"b"):
        assert {Permutation(key, length)(number) for number in range(10**length)} == every


def test_a_permutation_moves_most_numbers_and_depends_on_the_key() -> None:
    first, second = Permutation(b"a", 4), Permutation(b"b", 4)
    assert sum(first(number) == second(number) for number in range(10**4)) < 20
    assert sum(first(number) == f"{number:04d}" for number in range(10**4)) < 20
    assert [Permutation(b"a", 4)(number) for number in range(100)] == [first(number) for number in range(100)]


@pytest.mark.parametrize("number", [-1, 1000, 10**6])
def test_a_permutation_refuses_longer_numbers(number: int) -> None:
    with pytest.raises(ValueError, match="more than 3 digits"):
        Permutation(b"a", 3)(number)


def test_codes_and_numbers_of_many_people_are_distinct() -> None:
    numbering = Numbering("seed")
    codes = [numbering.record_code(count) for count in range(PEOPLE)]
    numbers = [numbering.individual_number(code, changes) for code, changes in product(codes, range(NUMBER_CHANGES))]
    assert len(set(codes)) == PEOPLE
    assert len(set(numbers)) == PEOPLE * NUMBER_CHANGES, "no number is used again after a change"
    assert all(ResidentRecordCode(str(code)) == code for code in codes)
    assert all(IndividualNumber(str(number)) == number for number in numbers[:PEOPLE])


def test_numbers_are_determined_by_the_seed() -> None:
    one, same, other = Numbering("one"), Numbering("one"), Numbering("other")
    codes = [one.record_code(count) for count in range(50)]
    assert codes == [same.record_code(count) for count in range(50)]
    assert not set(codes) & {other.record_code(count) for count in range(50)}
    assert one.individual_number(codes[0], 0) == same.individual_number(codes[0], 0)
    assert one.individual_number(codes[0], 0) != other.individual_number(codes[0], 0)


def test_a_number_can_be_changed_at_most_nine_times() -> None:
    numbering = Numbering("seed")
    code = numbering.record_code(0)
    assert len({numbering.individual_number(code, changes) for changes in range(10)}) == 10
    for changes in (10, 11, -1):
        with pytest.raises(ValueError, match="9 times"):
            numbering.individual_number(code, changes)


def correlation(left: list[int], right: list[int]) -> float:
    """Spearman's rank correlation of distinct values."""
    count = len(left)
    ranks = [{value: rank for rank, value in enumerate(sorted(values))} for values in (left, right)]
    squares = sum((ranks[0][a] - ranks[1][b]) ** 2 for a, b in zip(left, right, strict=True))
    return 1 - 6 * squares / (count * (count * count - 1))


def test_the_correlation_of_related_values_is_1_or_minus_1() -> None:
    values = random.Random(1).sample(range(10**6), PEOPLE)
    assert correlation(values, [value * 10 for value in values]) == pytest.approx(1)
    assert correlation(values, [-value for value in values]) == pytest.approx(-1)


@pytest.mark.parametrize("seed", ["one", "two", str(date(2026, 11, 24))])
def test_numbers_and_codes_reveal_neither_code_nor_order(seed: str) -> None:
    """A number does not reveal the record code, nor a code the order of registration."""
    numbering = Numbering(seed)
    counts = list(range(PEOPLE))
    codes = [numbering.record_code(count) for count in counts]
    numbers = [numbering.individual_number(code, 0) for code in codes]
    chance = 5 / (PEOPLE - 1) ** 0.5  # five standard deviations of the correlation of unrelated orders
    code_values, number_values = [int(code) for code in codes], [int(number) for number in numbers]
    assert abs(correlation(code_values, number_values)) < chance
    assert abs(correlation(counts, code_values)) < chance
    for place in range(10):
        same = sum(code[place] == number[place] for code, number in zip(codes, numbers, strict=True))
        assert abs(same - PEOPLE / 10) < 5 * (PEOPLE * 0.09) ** 0.5, f"digit {place} of the code is in the number"
