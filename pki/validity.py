"""The validity periods of certificates and cards."""

from __future__ import annotations

from datetime import date, datetime, timedelta

from kazashi.jpki.profile import EMULATED, Term
from kazashi.resident_registry.birth_date import BirthDate
from kazashi.world.clock import JST, end_of_day

ADULT_AGE = 18
SIGNATURE_AGE = 15


def card_end(issued: date, birth: BirthDate) -> date:
    """The last day of a card: the 10th birthday after its issue, or the 5th for a minor."""
    return birth.nth_birthday_after(issued, 10 if birth.age_on(issued) >= ADULT_AGE else 5)


def renewal_opens(not_after: datetime, term: Term = EMULATED.term) -> date:
    """The first day on which a certificate that ends at `not_after` can be renewed: `renewal_months` before its last
    day, or the last day of that month if the month is too short."""
    last = not_after.astimezone(JST).date()
    months = last.year * 12 + last.month - 1 - term.renewal_months
    year, month = months // 12, months % 12 + 1
    following = date(year + month // 12, month % 12 + 1, 1)
    return date(year, month, min(last.day, (following - timedelta(days=1)).day))


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
    counted from its end, so that early renewal costs no time. The counts of birthdays and months come from `term`.
    """
    counted_from = issued.astimezone(JST).date()
    if renewed is not None and renewal_opens(renewed, term) <= counted_from <= renewed.astimezone(JST).date():
        counted_from = renewed.astimezone(JST).date()
    birthday = birth.nth_birthday_after(counted_from, term.birthdays)
    return end_of_day(min(day for day in (birthday, card_ends, stay_ends) if day is not None))


def anniversary_end(issued: datetime, years: int) -> datetime:
    """The last second before the n-th anniversary of an issue; the authorities' own certificates end then."""
    first = issued.astimezone(JST).date()
    last = BirthDate(first.year, first.month, first.day).birthday(first.year + years)
    return end_of_day(date.fromordinal(last.toordinal() - 1))
