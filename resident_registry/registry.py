"""The municipalities' registry (住民基本台帳): who lives where, what happened to them, and what is told to Juki-Net.

One store holds the registries of all municipalities, as the hosting that they share; each row names its own.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from itertools import groupby, islice
from operator import itemgetter
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from kazashi.resident_registry.event import Channel, CodeChange, Event, Lapse, NumberChange, PlaceRenamed
from kazashi.resident_registry.municipality import municipality
from kazashi.resident_registry.number import NUMBER_CHANGES, IndividualNumber, ResidentRecordCode
from kazashi.resident_registry.rejection import EventRejected, RejectionReason
from kazashi.resident_registry.resident import ResidencyStatus, Resident, from_document, to_document
from kazashi.world.clock import JST, epoch, from_epoch, in_japan, today
from kazashi.world.event_log import event_table, word_becomes_what
from kazashi.world.home import World
from kazashi.world.outbox import Inbox, Message, Outbox
from kazashi.world.storage import Position

ACTOR = "registry"
CODE_BLOCK = 20
"""How many record codes a municipality asks J-LIS for at a time."""

_IMPORT_BATCH = 5000

GrantCodes = Callable[[str, int], Sequence[ResidentRecordCode]]
"""J-LIS's answer to a municipality that asks for record codes: as many as were asked for, never given before."""


class NoSuchResident(Exception):
    """Nobody in the registry answers to that alias, record code or individual number."""


class ImportRejected(Exception):
    """A file of residents has a line that makes no sense; none of its lines was registered."""


@dataclass(frozen=True, slots=True)
class LoggedEvent:
    """One line of the event log."""

    position: int
    at: datetime
    day: date
    code: str
    municipality: str
    detail: dict[str, Any]


class Registry:
    """The municipalities' side. Every command is one transaction: the person, the log and the message to Juki-Net are
    on disk together when it answers, or none of them is."""

    def __init__(self, world: World, grant_codes: GrantCodes) -> None:
        self._world = world
        self._grant_codes = grant_codes
        metadata = sa.MetaData()
        self.outbox, self._inbox = Outbox(metadata), Inbox(metadata)
        self._person = sa.Table(
            "person", metadata,
            sa.Column("person", Position, primary_key=True),
            sa.Column("alias", sa.Text, unique=True),
            sa.Column("record_code", sa.Text, unique=True, nullable=False),
            sa.Column("individual_number", sa.Text, unique=True),
            sa.Column("municipality", sa.Text, nullable=False, index=True),
            sa.Column("registered_at", sa.BigInteger, nullable=False),
            sa.Column("document", sa.Text, nullable=False),
        )  # fmt: skip
        self._event, self._log = event_table(
            metadata,
            sa.Column("day", sa.Text, nullable=False),
            sa.Column("person", sa.BigInteger, index=True),
            sa.Column("municipality", sa.Text, nullable=False),
        )
        self._deadline = sa.Table(
            "deadline", metadata,
            sa.Column("person", sa.BigInteger, primary_key=True),
            sa.Column("what", sa.Text, primary_key=True),
            sa.Column("due", sa.BigInteger, nullable=False, index=True),
        )  # fmt: skip
        self._free_code = sa.Table(
            "free_code", metadata,
            sa.Column("record_code", sa.Text, primary_key=True),
            sa.Column("municipality", sa.Text, nullable=False, index=True),
        )  # fmt: skip
        self.store = world.store(ACTOR, metadata, [word_becomes_what])

    # Looking people up

    def find(self, who: str) -> Resident:
        """The person of that alias, record code or individual number. Raises NoSuchResident."""
        with self.store.reading() as connection:
            return self._load(self._row(connection, who))

    def residents(self, municipality_code: str | None = None, limit: int = 100) -> list[Resident]:
        """The people of a municipality, or of all, in the order of their registration."""
        query = sa.select(self._person).order_by(self._person.c.person).limit(limit)
        if municipality_code is not None:
            query = query.where(self._person.c.municipality == municipality(municipality_code).code)
        with self.store.reading() as connection:
            return [self._load(row) for row in connection.execute(query)]

    def count(self) -> int:
        """How many people were ever registered."""
        with self.store.reading() as connection:
            return int(connection.scalar(sa.select(sa.func.count()).select_from(self._person)) or 0)

    def history(self, who: str) -> list[LoggedEvent]:
        """Everything that happened to a person, in order. Raises NoSuchResident."""
        with self.store.reading() as connection:
            person = self._row(connection, who)
            at = from_epoch(person.registered_at)
            registered = LoggedEvent(
                position=0, at=at, day=at.astimezone(JST).date(), code="registration",
                municipality=self._first_municipality(person), detail={},
            )  # fmt: skip
            rows = connection.execute(
                sa.select(self._event).where(self._event.c.person == person.person).order_by(self._event.c.position)
            )
            return [registered, *(
                LoggedEvent(position=row.position, at=from_epoch(row.at), day=date.fromisoformat(row.day),
                            code=row.what,
                         municipality=row.municipality, detail=json.loads(row.detail))
                for row in rows
            )]  # fmt: skip

    # What happens to people

    def add(self, resident: Resident) -> Resident:
        """Register a person: a birth, a first registration, a move from abroad. Answers the person with a record code.

        Raises EventRejected where the alias is taken or the birth lies ahead.
        """
        self._check_new(resident, today(self._world.clock))
        code = self._free_codes(resident.municipality.code, 1)[0]
        with self.store.transaction() as connection:
            self._insert(connection, [resident], [code])
        return self.find(code)

    def record(self, who: str, event: Event, day: date | None = None, channel: Channel | None = None) -> Resident:
        """Record what happened to a person on a day (today); answers the person after it.

        Raises NoSuchResident, EventRejected and ValueError; then nothing was changed.
        """
        code = self._new_code(who) if isinstance(event, CodeChange) else None
        with self.store.transaction() as connection:
            row = self._row(connection, who, lock=True)
            return self._record(connection, row, event, day or today(self._world.clock), channel or event.channel, code)

    def rename(self, code: str, old: str, new: str) -> int:
        """Rename a place of a municipality: every address there that begins with `old` begins with `new`. Answers how
        many people it concerns."""
        day, concerned = today(self._world.clock), 0
        query = sa.select(self._person).where(self._person.c.municipality == municipality(code).code)
        with self.store.transaction() as connection:
            for row in connection.execute(query).all():
                resident = self._load(row)
                if resident.status is ResidencyStatus.RESIDENT and resident.street.startswith(old):
                    event = PlaceRenamed(new + resident.street.removeprefix(old))
                    self._record(connection, row, event, day, event.channel)
                    concerned += 1
        return concerned

    def import_people(
        self, documents: Iterable[tuple[int, dict[str, Any]]], progress: Callable[[int], None] = lambda _: None
    ) -> int:
        """Register many people, of whom each comes with the number of its line; answers how many.

        All of them are registered, or none: raises ImportRejected with the line that makes no sense.
        """
        done = 0
        with self.store.transaction() as connection:
            checked = self._checked(documents)
            while batch := list(islice(checked, _IMPORT_BATCH)):
                batch.sort(key=lambda found: str(found[1].municipality.code))
                codes: list[ResidentRecordCode] = []
                for code, ours in groupby(batch, key=lambda found: found[1].municipality.code):
                    codes += self._grant_codes(code, sum(1 for _ in ours))
                try:
                    self._insert(connection, [resident for _, resident in batch], codes)
                except EventRejected as error:
                    lines = f"lines {min(line for line, _ in batch)} to {max(line for line, _ in batch)}"
                    raise ImportRejected(f"{lines}: {error}; nothing was registered") from error
                done += len(batch)
                progress(done)
        return done

    def lapse(self) -> int:
        """Record a lapse for every deadline that has passed; answers how many."""
        now, lapsed = self._world.clock.now(), 0
        with self.store.transaction() as connection:
            due = sa.select(self._deadline).where(self._deadline.c.due <= epoch(now))
            for missed in connection.execute(due).all():
                row = connection.execute(sa.select(self._person).where(self._person.c.person == missed.person)).one()
                self._clear_deadline(connection, missed.person, missed.what)
                self._record(connection, row, Lapse(missed.what), today(self._world.clock), Lapse.channel)
                lapsed += 1
        return lapsed

    def next_lapse(self) -> datetime | None:
        """When the next deadline will have passed."""
        with self.store.reading() as connection:
            due = connection.scalar(sa.select(sa.func.min(self._deadline.c.due)))
        return None if due is None else from_epoch(due)

    # Juki-Net

    def receive(self, messages: Sequence[Message]) -> None:
        """Take in the individual numbers that J-LIS has made."""
        with self.store.transaction() as connection:
            numbered = [
                {"code": code, "number": IndividualNumber(number)}
                for message in self._inbox.fresh(connection, messages)
                for code, number in message.body["numbers"]
            ]
            if numbered:
                person = self._person
                connection.execute(
                    sa.update(person)
                    .where(person.c.record_code == sa.bindparam("code"))
                    .values(individual_number=sa.bindparam("number")),
                    numbered,
                )

    # Inside

    def _record(
        self, connection: sa.Connection, row: Any, event: Event, day: date, channel: Channel,
        new_code: ResidentRecordCode | None = None,
    ) -> Resident:  # fmt: skip
        before = self._load(row)
        self._check_day(before, day)
        self._meet_deadline(connection, row.person, event)
        self._check_number_changes(connection, row.person, event)
        after = event.apply(before, day)
        if new_code:
            after = replace(after, record_code=new_code)
        here = self._person.c.person == row.person
        connection.execute(sa.update(self._person).where(here).values(_columns(to_document(after))))
        self._set_deadline(connection, row.person, after, event.deadline(day))
        self._log(
            connection, self._world.clock.now(), event.code, event.as_dict(),
            day=day.isoformat(), person=row.person, municipality=after.municipality.code,
        )  # fmt: skip
        self._report(connection, before, after, event, day, self._due(channel))
        return after

    def _check_day(self, resident: Resident, day: date) -> None:
        now = today(self._world.clock)
        if day > now:
            raise EventRejected(RejectionReason.WRONG_DAY, f"{day} has not come yet; it is {now} in this world")
        if day < resident.birth.counted_from:
            raise EventRejected(
                RejectionReason.WRONG_DAY, f"{resident.alias or resident.name} had not been born yet on {day}"
            )

    def _meet_deadline(self, connection: sa.Connection, person: int, event: Event) -> None:
        if event.meets and not self._clear_deadline(connection, person, event.meets) and not event.may_be_late:
            raise EventRejected(RejectionReason.NOT_AWAITED, f"no {event.meets} is awaited")

    def _check_number_changes(self, connection: sa.Connection, person: int, event: Event) -> None:
        if not isinstance(event, NumberChange):
            return
        here = (self._event.c.person == person) & (self._event.c.what == NumberChange.code)
        changes = connection.scalar(sa.select(sa.func.count()).select_from(self._event).where(here)) or 0
        if changes + 1 >= NUMBER_CHANGES:
            raise EventRejected(
                RejectionReason.NUMBERS_USED_UP, f"an individual number is changed at most {NUMBER_CHANGES - 1} times"
            )

    def _set_deadline(
        self, connection: sa.Connection, person: int, after: Resident, deadline: tuple[str, date] | None
    ) -> None:
        if after.status not in (ResidencyStatus.RESIDENT, ResidencyStatus.MOVING):
            self._clear_deadline(connection, person, None)
        elif deadline is not None:
            what, last = deadline
            due = epoch(in_japan(last + timedelta(days=1)))
            connection.execute(sa.insert(self._deadline), {"person": person, "what": what, "due": due})

    def _report(
        self, connection: sa.Connection, before: Resident, after: Resident, event: Event, day: date, due: datetime
    ) -> None:
        """Send the event to Juki-Net, from the municipality where the person is registered after it."""
        place = after.municipality.code
        if before.municipality.code != place:
            # What the former municipality has waiting was before this, and must not come after it.
            self.outbox.flush_by(connection, f"municipality:{before.municipality.code}", self._world.clock.now())
        body = {
            "day": day.isoformat(),
            "record_code": before.code,
            "person": _identity(to_document(after)),
            "event": _identity(event.as_dict()),
        }
        self._tell(connection, place, due, event.code, body)

    def _insert(
        self, connection: sa.Connection, people: Sequence[Resident], codes: Sequence[ResidentRecordCode]
    ) -> None:
        """Write people with their new record codes, and tell Juki-Net; those of one municipality stand together."""
        now = self._world.clock.now()
        since = now.astimezone(JST).date().isoformat()
        documents = [{"since": since, **to_document(resident), "record_code": code}
                     for resident, code in zip(people, codes, strict=True)]  # fmt: skip
        rows = [{**_columns(document), "registered_at": epoch(now)} for document in documents]
        try:
            with connection.begin_nested():
                connection.execute(sa.insert(self._person), rows)
        except IntegrityError as error:
            taken = next((found.alias for found in people if self._is_taken(connection, found.alias)), "")
            words = f"there is a resident {taken!r} already" if taken else "two residents have one alias"
            raise EventRejected(RejectionReason.ALIAS, f"{words}; choose another alias") from error
        for place, ours in groupby(documents, key=itemgetter("municipality")):
            # Each document goes as text: the nodes that only pass it on need not take it apart.
            told = [(document["record_code"], _json(_identity(document, "record_code"))) for document in ours]
            self._tell(connection, place, now, "registration", {"people": told})

    def _is_taken(self, connection: sa.Connection, alias: str) -> bool:
        here = self._person.c.alias == alias
        return bool(alias) and connection.scalar(sa.select(self._person.c.person).where(here)) is not None

    def _tell(self, connection: sa.Connection, place: str, due: datetime, kind: str, body: dict[str, Any]) -> None:
        prefecture = f"prefecture:{place[:2]}"
        self.outbox.put(connection, f"municipality:{place}", prefecture, due, kind, body)

    def _due(self, channel: Channel) -> datetime:
        now = self._world.clock.now()
        if channel is not Channel.PAPER:
            return now
        evening = in_japan(now.astimezone(JST).date(), self._world.settings.evening)
        return evening if evening >= now else evening + timedelta(days=1)

    def _free_codes(self, code: str, count: int) -> list[ResidentRecordCode]:
        """Codes out of the municipality's block; a new block is asked for when it is used up."""
        free = self._free_code
        mine = sa.select(free.c.record_code).where(free.c.municipality == code).limit(count).with_for_update()
        with self.store.transaction() as connection:
            found = list(connection.scalars(mine))
            if len(found) < count:
                block = self._grant_codes(code, CODE_BLOCK)
                connection.execute(sa.insert(free), [{"record_code": given, "municipality": code} for given in block])
                found = list(connection.scalars(mine))
            connection.execute(sa.delete(free).where(free.c.record_code.in_(found)))
        return [ResidentRecordCode(given) for given in found]

    def _new_code(self, who: str) -> ResidentRecordCode:
        return self._free_codes(self.find(who).municipality.code, 1)[0]

    def _checked(self, documents: Iterable[tuple[int, dict[str, Any]]]) -> Iterator[tuple[int, Resident]]:
        now = today(self._world.clock)
        for line, document in documents:
            try:
                resident = from_document(document)
                self._check_new(resident, now)
            except (ValueError, EventRejected, TypeError) as error:
                raise ImportRejected(f"line {line}: {error}; nothing was registered") from error
            yield line, resident

    def _check_new(self, resident: Resident, now: date) -> None:
        if resident.birth.counted_from > now:
            raise EventRejected(
                RejectionReason.WRONG_DAY, f"nobody was born on {resident.birth} yet; it is {now} in this world"
            )
        if resident.alias.isdigit():
            raise EventRejected(
                RejectionReason.ALIAS,
                f"the alias {resident.alias} could be taken for a number; choose one with a letter in it",
            )
        if resident.record_code is not None or resident.individual_number is not None:
            raise EventRejected(
                RejectionReason.BRINGS_NUMBERS,
                "record codes and individual numbers are given by the registry, and not brought along",
            )

    def _row(self, connection: sa.Connection, who: str, *, lock: bool = False) -> Any:
        person = self._person.c
        if who.isascii() and who.isdigit() and len(who) in (11, 12):
            # A number with a wrong check digit was mistyped, and nobody's is looked for.
            try:
                here = (
                    person.record_code == ResidentRecordCode(who) if len(who) == 11
                    else person.individual_number == IndividualNumber(who)
                )  # fmt: skip
            except ValueError as error:
                raise NoSuchResident(f"{error}: {who} was mistyped") from error
        else:
            here = person.alias == who
        query = sa.select(self._person).where(here)
        row = connection.execute(query.with_for_update() if lock else query).one_or_none()
        if row is None:
            raise NoSuchResident(f"there is no resident {who!r}; see: kazashi registry list")
        return row

    def _first_municipality(self, row: Any) -> str:
        lived = json.loads(row.document).get("residences")
        return str(lived[0][0] if lived else row.municipality)

    def _clear_deadline(self, connection: sa.Connection, person: int, what: str | None) -> bool:
        here = self._deadline.c.person == person
        if what is not None:
            here &= self._deadline.c.what == what
        return connection.execute(sa.delete(self._deadline).where(here)).rowcount > 0

    @staticmethod
    def _load(row: Any) -> Resident:
        document = json.loads(row.document)
        document["record_code"] = row.record_code
        document["individual_number"] = row.individual_number
        return from_document(document)


def _columns(document: Mapping[str, Any]) -> dict[str, object]:
    """A resident's document as a row; what has a column of its own stands there alone."""
    rest = {key: value for key, value in document.items() if key not in ("record_code", "individual_number")}
    return {
        "alias": document.get("alias"),
        "record_code": document["record_code"],
        "individual_number": document.get("individual_number"),
        "municipality": document["municipality"],
        "document": _json(rest),
    }


_STAYS_HOME = frozenset(("about", "household", "nationality", "residence_status", "residences", "individual_number"))


def _identity(document: Mapping[str, Any], *without: str) -> dict[str, Any]:
    """What Juki-Net carries of a person: identity data, and nothing of household, nationality or former addresses."""
    return {key: value for key, value in document.items() if key not in _STAYS_HOME and key not in without}


def _json(document: Mapping[str, Any]) -> str:
    return json.dumps(document, ensure_ascii=False)
