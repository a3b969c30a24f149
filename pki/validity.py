"""The validity periods of certificates and cards."""

from __future__ import annotations

from datetime import date, datetime, timedelta

from kazashi.jpki.profile import EMULATED, Term
from kazashi.resident_registry.birth_date import BirthDate
from kazashi.world.clock import JST, end_of_day

ADULT_AGE = 18
SIGNATURE_AGE = 15


def card_end(issued: date, birth: BirthDate, term: Term = EMULATED.term) -> date:
    """The last day of a card: the 10th birthday after its issue, or the 5th for a minor, and `term.months_after`."""
    birthday = birth.nth_birthday_after(issued, 10 if birth.age_on(issued) >= ADULT_AGE else 5)
    return _months_later(birthday, term.months_after)


def _months_later(day: date, months: int) -> date:
    """The same day of a later (or earlier) month, or the last day of that month if the month is too short."""
    count = day.year * 12 + day.month - 1 + months
    year, month = count // 12, count % 12 + 1
    following = date(year + month // 12, month % 12 + 1, 1)
    return date(year, month, min(day.day, (following - timedelta(days=1)).day))


def renewal_opens(not_after: datetime, term: Term = EMULATED.term) -> date:
    """The first day on which a certificate that ends at `not_after` can be renewed: `renewal_months` before its last
    day, or the last day of that month if the month is too short."""
    return _months_later(not_after.astimezone(JST).date(), -term.renewal_months)


def certificate_end(
    issued: datetime,
    birth: BirthDate,
    card_ends: date,
    stay_ends: date | None = None,
    renewed: datetime | None = None,
    term: Term = EMULATED.term,
) -> datetime:
    """The last second of a certificate: the end of the holder's 5th birthday, or of card or stay if that is earlier.

    `renewed` is the end of the certificate that this one renews. In that one's renewal period, the birthdays are
    counted from its end, so that early renewal costs no time. The counts of birthdays and months come from `term`,
    and the birthdays in this description are those of EMULATED.
    """
    counted_from = issued.astimezone(JST).date()
    if renewed is not None and renewal_opens(renewed, term) <= counted_from <= renewed.astimezone(JST).date():
        counted_from = renewed.astimezone(JST).date()
    own = _months_later(birth.nth_birthday_after(counted_from, term.birthdays), term.months_after)
    return end_of_day(min(day for day in (own, card_ends, stay_ends) if day is not None))


def anniversary_end(issued: datetime, years: int) -> datetime:
    """The last second before the n-th anniversary of an issue; the authorities' own certificates end then."""
    first = issued.astimezone(JST).date()
    last = BirthDate(first.year, first.month, first.day).birthday(first.year + years)
    return end_of_day(date.fromordinal(last.toordinal() - 1))
