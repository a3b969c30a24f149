"""The police of a prefecture, who write driver's licences onto cards (マイナ免許証, 道路交通法95条の2)."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

from kazashi.applets.drivers_licence import AID, COMMERCIAL, TWO_WHEELED, Licence, LicenceClass, written
from kazashi.card.image import ApplicationMissing, add_application, read_image, remove_application
from kazashi.card.pin import FOUR_DIGITS
from kazashi.card_management.consequence import CardState
from kazashi.card_management.management import CardManagement
from kazashi.card_management.order import image_path
from kazashi.resident_registry.birth_date import BirthDate
from kazashi.resident_registry.resident import Resident
from kazashi.world.clock import today
from kazashi.world.home import World

FIRST_DAY = date(2025, 3, 24)
"""The first day on which a card could carry a licence."""

YOUNGEST = 16
_MONTH = timedelta(days=30)
PIN_TEXT = "licence PIN"
"""The name of the text about a card with the licence's PIN."""


class LicenceRejected(Exception):
    """The licence cannot be written onto the card, or it has no licence; the card was not changed."""


@dataclass(frozen=True, slots=True)
class LicenceApplication:
    """What is written onto a card.

    Without `granted`, it is granted today, and without `expires`, it ends a month after the holder's third birthday
    from now. Without a `pin`, every reader can read it.
    """

    classes: Collection[LicenceClass]
    expires: date | None = None
    granted: date | None = None
    number: str = ""
    conditions: Sequence[str] = ()
    colour: str = "優良"
    pin: str = ""


class LicencePolice:
    """The police of all prefectures. `holder_of` returns the holder of the card with a number."""

    def __init__(self, world: World, cards: CardManagement, holder_of: Callable[[str], Resident]) -> None:
        self._world = world
        self._cards = cards
        self._holder_of = holder_of

    def write(self, name: str, application: LicenceApplication) -> Licence:
        """Write a licence onto a card, in one transaction. Raises NoSuchCard, ImageMissing, LicenceRejected, and
        ApplicationConflict if the card has one already."""
        if self._cards.card_state(name) is not CardState.ACTIVE:
            raise LicenceRejected(f"the card {name!r} is not in use; a licence can be written onto a card in use only")
        path, day = self._path(name), today(self._world.clock)
        resident = self._holder_of(read_image(path)[1]["card number"])
        if day < FIRST_DAY:
            raise LicenceRejected(f"cards carry driver's licences from {FIRST_DAY} on")
        if not application.classes:
            raise LicenceRejected("a licence has at least one class")
        granted = application.granted or day
        expires = application.expires or resident.birth.nth_birthday_after(day, 3) + _MONTH
        if expires < day or granted > day:
            raise LicenceRejected("a licence was granted by today, and expires today or later")
        if resident.birth.age_on(granted) < YOUNGEST:
            raise LicenceRejected(f"{resident.name} was younger than {YOUNGEST} on {granted}")
        try:
            licence = self._licence(resident, application, granted, expires)
            contents = written(licence)
        except ValueError as error:
            raise LicenceRejected(str(error)) from error
        add_application(path, AID, contents, {PIN_TEXT: application.pin or "not set"})
        return licence

    def erase(self, name: str) -> None:
        """Delete the licence from a card. Raises LicenceRejected if it has no licence, and ImageMissing."""
        try:
            remove_application(self._path(name), AID, [PIN_TEXT])
        except ApplicationMissing as error:
            raise LicenceRejected(f"the card {name!r} has no driver's licence") from error

    def _path(self, name: str) -> Path:
        return image_path(self._world, name)

    def _licence(self, resident: Resident, application: LicenceApplication, granted_on: date, expires: date) -> Licence:
        if application.number and not re.fullmatch("[0-9]{12}", application.number):
            raise ValueError(f"a licence's number has 12 digits; {application.number!r} has not")
        if application.pin and not FOUR_DIGITS.accepts(application.pin.encode()):
            raise ValueError(f"the PIN has {FOUR_DIGITS.words}")
        prefecture = resident.municipality.code[:2]
        chance = self._world.random_stream("licence", resident.alias, granted_on.isoformat())
        classes, granted = frozenset(application.classes), _in_era(granted_on)
        groups = (TWO_WHEELED, set(LicenceClass) - TWO_WHEELED - COMMERCIAL, COMMERCIAL)
        first, others, commercial = (granted if classes & group else "" for group in groups)
        return Licence(
            # No public safety commission has the number 00.
            number=application.number or f"00{granted_on:%y}{chance.randrange(10**8):08d}",
            expires=_in_era(expires), colour=application.colour, classes=classes,
            granted=(first, others, commercial), conditions=tuple(application.conditions),
            pin=application.pin, commission=f"KAZASHI-EMU PUBLIC SAFETY COMMISSION {prefecture}",
            serial=f"{chance.randrange(10**16):016d}", signer=self._cards.licence_signer(prefecture),
        )  # fmt: skip


def _in_era(day: date) -> str:
    """Return a date as the era's digit and YYMMDD."""
    dated = BirthDate(day.year, day.month, day.day)
    return dated.era_digit + dated.in_era_years
