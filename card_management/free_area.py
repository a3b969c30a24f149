"""The municipal counter that loads applications into the free area of residents' cards, by ordinance (条例利用).

A municipality may use the chip's free area for what its ordinance names (番号法18条1号). These ordinances are not those
of the information provision network (番号法9条2項, 19条8号), which the Commission has in its register: a library card
needs no individual number. Loading and removing an application is one transaction in the card's image.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

import sqlalchemy as sa

from kazashi.applets.free_area import Definition, text_name
from kazashi.card.image import add_application, read_image, remove_application
from kazashi.card_management.consequence import CardState
from kazashi.card_management.loaded_application import LoadedApplication, applications_in
from kazashi.card_management.management import CardManagement
from kazashi.card_management.order import image_path
from kazashi.resident_registry.municipality import MunicipalityCode
from kazashi.resident_registry.resident import Resident
from kazashi.world.clock import today
from kazashi.world.event_log import event_table
from kazashi.world.home import World
from kazashi.world.storage import Position

ACTOR = "municipal_counters"
"""The name of the store of the municipalities' card counters."""

FIRST_DAY = date(2016, 1, 1)
"""The first day on which an ordinance can be in force: article 18 of the Number Act is from that day."""


class NotByOrdinance(Exception):
    """No ordinance of the holder's municipality, in force today, allows the application; the card was not changed."""


class OrdinanceRejected(Exception):
    """An ordinance cannot be enacted or repealed like that; nothing was changed."""


class NotInUse(Exception):
    """The card is lost or has ended, so that nothing is loaded onto it."""


class NotLoaded(Exception):
    """The card's free area has no application with that name."""


@dataclass(frozen=True, slots=True)
class OrdinanceUse:
    """What a municipality's ordinance allows: an application, from the first day in force to the day of its repeal."""

    municipality: MunicipalityCode
    application: str
    in_force: date
    repealed: date | None = None

    def allows(self, day: date) -> bool:
        """Whether it is in force on a day."""
        return self.in_force <= day and (self.repealed is None or day < self.repealed)


class MunicipalCounters:
    """The card counters of all municipalities. `holder_of` returns the holder of the card with a number."""

    def __init__(self, world: World, cards: CardManagement, holder_of: Callable[[str], Resident]) -> None:
        self._world = world
        self._cards = cards
        self._holder_of = holder_of
        metadata = sa.MetaData()
        self._use = sa.Table(
            "ordinance_use", metadata,
            sa.Column("position", Position, primary_key=True),
            sa.Column("municipality", sa.Text, nullable=False),
            sa.Column("application", sa.Text, nullable=False),
            sa.Column("in_force", sa.Text, nullable=False),
            sa.Column("repealed", sa.Text),
        )  # fmt: skip
        _, self._log = event_table(metadata)
        self.store = world.store(ACTOR, metadata)

    # Ordinances

    def enact(self, code: MunicipalityCode, application: str, in_force: date) -> OrdinanceUse:
        """Record that a municipality's ordinance allows an application from a day on. Raises OrdinanceRejected."""
        if in_force < FIRST_DAY:
            raise OrdinanceRejected(f"the Number Act allows such ordinances from {FIRST_DAY} on")
        use = OrdinanceUse(code, application, in_force)
        with self.store.alone() as connection:
            if any(
                one.repealed is None or in_force < one.repealed for one in self._uses(connection, code, application)
            ):
                raise OrdinanceRejected(f"{code} has an ordinance for {application} already")
            row = {"municipality": code, "application": application, "in_force": in_force.isoformat()}
            connection.execute(sa.insert(self._use), row)
            self._log(connection, self._world.clock.now(), "ordinance enacted", row)
        return use

    def repeal(self, code: MunicipalityCode, application: str, day: date) -> OrdinanceUse:
        """Record that an ordinance ends on a day, the first without it. What was loaded stays on the cards.

        Raises OrdinanceRejected.
        """
        with self.store.alone() as connection:
            use = next((one for one in self._uses(connection, code, application) if one.repealed is None), None)
            if use is None:
                raise OrdinanceRejected(f"{code} has no ordinance for {application}")
            if day < use.in_force:
                raise OrdinanceRejected(f"the ordinance is in force from {use.in_force}, later than {day}")
            table = self._use.c
            condition = (
                (table.municipality == code) & (table.application == application) & table.repealed.is_(None)
            )  # fmt: skip
            connection.execute(sa.update(self._use).where(condition).values(repealed=day.isoformat()))
            detail = {"municipality": code, "application": application, "repealed": day.isoformat()}
            self._log(connection, self._world.clock.now(), "ordinance repealed", detail)
        return OrdinanceUse(code, application, use.in_force, day)

    def ordinances(self) -> list[OrdinanceUse]:
        """Return all ordinances in the order in which they were recorded."""
        with self.store.reading() as connection:
            return self._uses(connection)

    def _uses(
        self, connection: sa.Connection, code: str | None = None, application: str | None = None
    ) -> list[OrdinanceUse]:
        table = self._use.c
        query = sa.select(self._use).order_by(table.position)
        if code is not None:
            query = query.where((table.municipality == code) & (table.application == application))
        return [
            OrdinanceUse(
                MunicipalityCode(row.municipality), row.application, date.fromisoformat(row.in_force),
                None if row.repealed is None else date.fromisoformat(row.repealed),
            )
            for row in connection.execute(query)
        ]  # fmt: skip

    # Applications

    def load(
        self, name: str, definition: Definition, values: Mapping[str, str], pin: str | None = None
    ) -> LoadedApplication:
        """Load an application onto a card that its holder has brought to the counter.

        Raises NoSuchCard, ImageMissing, NotInUse, NotByOrdinance, BadDefinition and ApplicationConflict; the card is
        then unchanged.
        """
        state = self._cards.card_state(name)
        if state is not CardState.ACTIVE:
            raise NotInUse(f"the card {name!r} is {state.value}; nothing can be loaded onto it")
        contents = definition.contents(values, pin)
        path, day = image_path(self._world, name), today(self._world.clock)
        place = self._holder_of(read_image(path)[1]["card number"]).municipality
        with self.store.reading() as connection:
            uses = self._uses(connection, place.code, definition.name)
        if not any(use.allows(day) for use in uses):
            raise NotByOrdinance(
                f"{place.name} ({place.code}) has no ordinance in force on {day} that allows {definition.name};"
                f" record one with: kazashi card ordinance add {place.code} {definition.name} --from {day}"
            )
        row = LoadedApplication(definition, place.code, day)
        about = {"definition": definition.as_document(), "municipality": place.code, "loaded": day.isoformat()}
        text = json.dumps(about, ensure_ascii=False, sort_keys=True)
        add_application(path, definition.application_id, contents, {text_name(definition.application_id): text})
        self._note("application loaded", name, row)
        return row

    def remove(self, name: str, application: str) -> LoadedApplication:
        """Remove an application from a card, whatever the ordinances say. Raises NotLoaded and ImageMissing."""
        row = next((one for one in self.applications(name) if one.definition.name == application), None)
        if row is None:
            raise NotLoaded(f"the card {name!r} has no application {application!r} in its free area")
        aid = row.definition.application_id
        remove_application(image_path(self._world, name), aid, [text_name(aid)])
        self._note("application removed", name, row)
        return row

    def applications(self, name: str) -> list[LoadedApplication]:
        """Return the applications in a card's free area. Raises ImageMissing, DamagedImage and BadDefinition."""
        return applications_in(read_image(image_path(self._world, name))[1])

    def _note(self, what: str, name: str, row: LoadedApplication) -> None:
        detail: dict[str, Any] = {"card": name, **row.as_dict()}
        with self.store.transaction() as connection:
            self._log(connection, self._world.clock.now(), what, detail)
