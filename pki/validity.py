"""How long certificates and cards last."""

from __future__ import annotations

from datetime import date, datetime

from resident_registry.birth_date import BirthDate
from world.clock import JST, end_of_day

ADULT_AGE = 18
SIGNATURE_AGE = 15


def card_end(issued: date, birth: BirthDate) -> date:
    """The last day of a card: the 10th birthday after its issue, for a minor the 5th."""
    return birth.nth_birthday_after(issued, 10 if birth.age_on(issued) >= ADULT_AGE else 5)


def certificate_end(issued: datetime, birth: BirthDate, card_ends: date, stay_ends: date | None = None) -> datetime:
    """The last second of a certificate: of its 5th birthday, and never later than card or stay."""
    birthday = birth.nth_birthday_after(issued.astimezone(JST).date(), 5)
    return end_of_day(min(day for day in (birthday, card_ends, stay_ends) if day is not None))


def anniversary_end(issued: datetime, years: int) -> datetime:
    """The last second before the n-th anniversary of an issue, as the authorities' own certificates have it."""
    first = issued.astimezone(JST).date()
    last = BirthDate(first.year, first.month, first.day).birthday(first.year + years)
    return end_of_day(date.fromordinal(last.toordinal() - 1))
