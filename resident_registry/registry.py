"""The municipalities' registry (住民基本台帳): residents, their events, and the messages to Juki-Net.

One store contains the registries of all municipalities, as if they shared a hosting service. Each row names its
municipality.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from itertools import groupby, islice
from operator import itemgetter
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from kazashi.resident_registry.address_subscription import AddressSubscription, AddressSubscriptions
from kazashi.resident_registry.deadline import CONTINUATION, Deadlines, consequence
from kazashi.resident_registry.event import Channel, CodeChange, Event, Lapse, MoveOut, NumberChange, PlaceRenamed
from kazashi.resident_registry.lengths import check_lengths
from kazashi.resident_registry.municipality import municipality
from kazashi.resident_registry.name_event import FURIGANA_STARTS
from kazashi.resident_registry.number import NUMBER_CHANGES, IndividualNumber, ResidentRecordCode
from kazashi.resident_registry.person_row import COLUMNS, as_json, columns_of, identity_of
from kazashi.resident_registry.rejection import EventRejected, RejectionReason
from kazashi.resident_registry.resident import ResidencyStatus, Resident, from_document, to_document
from kazashi.world.clock import JST, epoch, from_epoch, in_japan, today
from kazashi.world.entered_text import entered_text
from kazashi.world.event_log import event_table, word_becomes_what
from kazashi.world.home import World
from kazashi.world.names import BadName, checked_alias
from kazashi.world.outbox import Inbox, Message, Outbox
from kazashi.world.statement import Statement
from kazashi.world.storage import Position
from kazashi.world.voiced_kana import compose_voiced_kana

ACTOR = "registry"
CODE_BLOCK = 20
"""The number of record codes that a municipality requests from J-LIS at a time."""

_IMPORT_BATCH = 5000

GrantCodes = Callable[[str, int], Sequence[ResidentRecordCode]]
"""Gets a municipality code and a count, and returns that many record codes of J-LIS that were never granted before."""


class NoSuchResident(Exception):
    """Nobody in the registry has that alias, record code or individual number."""


class ImportRejected(Exception):
    """A file of residents has an invalid line. None of its lines was registered."""


@dataclass(frozen=True, slots=True)
class LoggedEvent:
    """One entry of a person's event log."""

    position: int
    at: datetime
    day: date
    code: str
    municipality: str
    detail: dict[str, Any]


class Registry:
    """The registry of all municipalities.

    Every command is one transaction: when it returns, the person, the log entry and the message to Juki-Net are on
    disk together. If it fails, none of them is.
    """

    def __init__(self, world: World, grant_codes: GrantCodes) -> None:
        self._world = world
        self._grant_codes = grant_codes
        metadata = sa.MetaData()
        self.outbox, self._inbox = Outbox(metadata), Inbox(metadata)
        self._addresses = AddressSubscriptions(metadata, self.outbox)
        self._deadlines = Deadlines(metadata)
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
        self._free_code = sa.Table(
            "free_code", metadata,
            sa.Column("record_code", sa.Text, primary_key=True),
            sa.Column("municipality", sa.Text, nullable=False, index=True),
        )  # fmt: skip
        this, by_code = (
            self._person.c.person == sa.bindparam("this"),
            self._person.c.record_code == sa.bindparam("code"),
        )
        self._by_code = Statement(sa.select(self._person).where(by_code).with_for_update())
        self._update = Statement(sa.update(self._person).where(this).values(
            {name: sa.bindparam(f"new_{name}") for name in COLUMNS}))  # fmt: skip
        self.store = world.store(ACTOR, metadata, [word_becomes_what, _to_3])

    # Queries

    def find(self, who: str) -> Resident:
        """Return the person with that alias, record code or individual number. Raises NoSuchResident."""
        with self.store.reading() as connection:
            return self._load(self._row(connection, who))

    def residents(self, municipality_code: str | None = None, limit: int = 100) -> list[Resident]:
        """Return the people of a municipality, or of all, in order of registration, at most `limit` of them."""
        query = sa.select(self._person).order_by(self._person.c.person).limit(limit)
        if municipality_code is not None:
            query = query.where(self._person.c.municipality == municipality(municipality_code).code)
        with self.store.reading() as connection:
            return [self._load(row) for row in connection.execute(query)]

    def count(self) -> int:
        """The number of people who were ever registered."""
        with self.store.reading() as connection:
            return int(connection.scalar(sa.select(sa.func.count()).select_from(self._person)) or 0)

    def history(self, who: str) -> list[LoggedEvent]:
        """Return all events of a person in order, beginning with the registration. Raises NoSuchResident."""
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

    # Events

    def add(self, resident: Resident) -> Resident:
        """Register a person after a birth, as a first registration, or after a move from abroad.

        Returns the person with a record code. Raises EventRejected if the alias is taken or invalid, if the date of
        birth is in the future, if a text is too long, or if the person already has numbers.
        """
        self._check_new(resident, today(self._world.clock))
        code = self._free_codes(resident.municipality.code, 1)[0]
        with self.store.transaction() as connection:
            self._insert(connection, [resident], [code])
        return self.find(code)

    def record(self, who: str, event: Event, day: date | None = None, channel: Channel | None = None) -> Resident:
        """Record an event of a person on a day (default: today), and return the person as they are afterwards.

        `channel` defaults to the event's own. Raises NoSuchResident, EventRejected and ValueError; nothing was changed
        then.
        """
        code = self._new_code(who) if isinstance(event, CodeChange) else None
        with self.store.transaction() as connection:
            row = self._row(connection, who, lock=True)
            return self._record(connection, row, event, day or today(self._world.clock), channel or event.channel, code)

    def rename(self, code: str, old: str, new: str) -> int:
        """Rename a place in a municipality, and return how many people are affected.

        Every registered address there that begins with `old` begins with `new` afterwards.
        """
        day, affected = today(self._world.clock), 0
        old, new = compose_voiced_kana(old), entered_text(new)
        query = sa.select(self._person).where(self._person.c.municipality == municipality(code).code)
        with self.store.transaction() as connection:
            for row in connection.execute(query).all():
                resident = self._load(row)
                if resident.status is ResidencyStatus.RESIDENT and resident.street.startswith(old):
                    event = PlaceRenamed(new + resident.street.removeprefix(old))
                    self._record(connection, row, event, day, event.channel)
                    affected += 1
        return affected

    def import_people(
        self, documents: Iterable[tuple[int, dict[str, Any]]], progress: Callable[[int], None] = lambda _: None
    ) -> int:
        """Register many people, given as pairs of line number and document, and return how many were registered.

        Either all or none of them are registered. Raises ImportRejected, which names the invalid line. `progress` gets
        the number of people registered so far.
        """
        done = 0
        with self.store.transaction() as connection:
            checked = self._checked(documents)
            while batch := list(islice(checked, _IMPORT_BATCH)):
                batch.sort(key=lambda row: str(row[1].municipality.code))
                codes: list[ResidentRecordCode] = []
                for code, group in groupby(batch, key=lambda row: row[1].municipality.code):
                    codes += self._grant_codes(code, sum(1 for _ in group))
                try:
                    self._insert(connection, [resident for _, resident in batch], codes)
                except EventRejected as error:
                    lines = f"lines {min(line for line, _ in batch)} to {max(line for line, _ in batch)}"
                    raise ImportRejected(f"{lines}: {error}; nothing was registered") from error
                done += len(batch)
                progress(done)
        return done

    def lapse(self) -> int:
        """Record what follows from every deadline that has passed, and return how many there were."""
        now, passed = self._world.clock.now(), 0
        with self.store.transaction() as connection:
            for missed in self._deadlines.passed(connection, now):
                row = connection.execute(sa.select(self._person).where(self._person.c.person == missed.person)).one()
                self._deadlines.clear(connection, missed.person, missed.what)
                event = consequence(missed.what, self._load(row))
                self._record(connection, row, event, today(self._world.clock), event.channel)
                passed += 1
        return passed

    def next_lapse(self) -> datetime | None:
        """The time at which the next deadline will have passed, or None if there is no deadline."""
        with self.store.reading() as connection:
            return self._deadlines.next(connection)

    def deadlines(self, who: str) -> dict[str, date]:
        """Return a person's deadlines with their last days. Raises NoSuchResident."""
        with self.store.reading() as connection:
            return self._deadlines.of(connection, self._row(connection, who).person)

    # Juki-Net

    def receive(self, messages: Sequence[Message]) -> None:
        """Store the individual numbers that J-LIS has made."""
        with self.store.transaction() as connection:
            numbered = [
                {"code": code, "number": IndividualNumber(number)}
                for message in self._inbox.fresh(connection, messages)
                for code, number in message.body["numbers"]
            ]
            if not numbered:
                return
            person = self._person
            connection.execute(
                sa.update(person)
                .where(person.c.record_code == sa.bindparam("code"))
                .values(individual_number=sa.bindparam("number")),
                numbered,
            )
            if self._addresses.concern(connection):
                people: list[tuple[int, Resident]] = []
                codes = [entry["code"] for entry in numbered]
                for begin in range(0, len(codes), _IMPORT_BATCH):
                    some = sa.select(person).where(person.c.record_code.in_(codes[begin : begin + _IMPORT_BATCH]))
                    people += [(row.person, self._load(row)) for row in connection.execute(some)]
                self._addresses.numbered(connection, self._world.clock.now(), people)

    # Address systems

    def subscribe(self, subscriptions: Iterable[AddressSubscription]) -> None:
        """Send the address systems a roll of everybody of whom they hear, and every change from now on."""
        everybody = sa.select(self._person).order_by(self._person.c.person)
        with self.store.transaction() as connection:
            self._addresses.add(connection, subscriptions)
            people = ((row.person, self._load(row)) for row in connection.execute(everybody))
            self._addresses.send_rolls(connection, self._world.clock.now(), people)

    def has_subscribers(self) -> bool:
        """Whether any address system hears of the residents."""
        with self.store.reading() as connection:
            return self._addresses.any(connection)

    def has_number(self, number: IndividualNumber) -> bool:
        """Whether the individual number has arrived from J-LIS."""
        with self.store.reading() as connection:
            this = self._person.c.individual_number == number
            return connection.scalar(sa.select(self._person.c.person).where(this)) is not None

    # Internals

    def _record(
        self, connection: sa.Connection, row: Any, event: Event, day: date, channel: Channel,
        new_code: ResidentRecordCode | None = None,
    ) -> Resident:  # fmt: skip
        before = self._load(row)
        self._check_day(before, day)
        self._meet_deadline(connection, row.person, event)
        self._check_number_changes(connection, row.person, event)
        after = event.apply(before, day)
        check_lengths(after, before)
        if new_code:
            after = replace(after, record_code=new_code)
        same_person = self._person.c.person == row.person
        columns = {f"new_{name}": value for name, value in columns_of(to_document(after)).items()}
        self._update.run(connection, {"this": row.person, **columns})
        self._set_deadline(connection, row.person, after, event.deadline(day))
        self._log(
            connection, self._world.clock.now(), event.code, event.as_dict(),
            day=day.isoformat(), person=row.person, municipality=after.municipality.code,
        )  # fmt: skip
        self._report(connection, before, after, event, day, self._due(channel))
        self._addresses.tell(connection, self._world.clock.now(), row.person, before, after)
        if isinstance(event, MoveOut) and self._deadlines.clear(connection, row.person, CONTINUATION):
            # A card whose use was not continued lapses at the next move out.
            row = connection.execute(sa.select(self._person).where(same_person)).one()
            return self._record(connection, row, Lapse(CONTINUATION), day, Lapse.channel)
        return after

    def _check_day(self, resident: Resident, day: date) -> None:
        now = today(self._world.clock)
        if day > now:
            raise EventRejected(RejectionReason.WRONG_DAY, f"{day} is in the future; it is {now} in this world")
        if day < resident.birth.counted_from:
            raise EventRejected(
                RejectionReason.WRONG_DAY, f"{resident.alias or resident.name} was not born yet on {day}"
            )

    def _meet_deadline(self, connection: sa.Connection, person: int, event: Event) -> None:
        if event.meets and not self._deadlines.clear(connection, person, event.meets) and not event.may_be_late:
            raise EventRejected(RejectionReason.NOT_AWAITED, f"no deadline for {event.meets} is running")

    def _check_number_changes(self, connection: sa.Connection, person: int, event: Event) -> None:
        if not isinstance(event, NumberChange):
            return
        number_changes = (self._event.c.person == person) & (self._event.c.what == NumberChange.code)
        changes = connection.scalar(sa.select(sa.func.count()).select_from(self._event).where(number_changes)) or 0
        if changes + 1 >= NUMBER_CHANGES:
            raise EventRejected(
                RejectionReason.NUMBERS_USED_UP,
                f"an individual number can be changed at most {NUMBER_CHANGES - 1} times",
            )

    def _set_deadline(
        self, connection: sa.Connection, person: int, after: Resident, deadline: tuple[str, date] | None
    ) -> None:
        if after.status not in (ResidencyStatus.RESIDENT, ResidencyStatus.MOVING):
            self._deadlines.clear(connection, person, None)
        elif deadline is not None:
            self._deadlines.set(connection, person, *deadline)

    def _report(
        self, connection: sa.Connection, before: Resident, after: Resident, event: Event, day: date, due: datetime
    ) -> None:
        """Send the event to Juki-Net from the municipality in which the person is registered afterwards."""
        place = after.municipality.code
        if before.municipality.code != place:
            # Messages that wait at the former municipality are older than this one, and must arrive before it.
            self.outbox.flush_by(connection, f"municipality:{before.municipality.code}", self._world.clock.now())
        body = {
            "day": day.isoformat(),
            "record_code": before.code,
            "person": identity_of(to_document(after)),
            "event": identity_of(event.as_dict()),
        }
        self._send(connection, place, due, event.code, body)

    def _insert(
        self, connection: sa.Connection, people: Sequence[Resident], codes: Sequence[ResidentRecordCode]
    ) -> None:
        """Store people, sorted by municipality, with their new record codes, and send them to Juki-Net."""
        now = self._world.clock.now()
        since = now.astimezone(JST).date().isoformat()
        documents = [{"since": since, **to_document(resident), "record_code": code}
                     for resident, code in zip(people, codes, strict=True)]  # fmt: skip
        rows = [{**columns_of(document), "registered_at": epoch(now)} for document in documents]
        try:
            with connection.begin_nested():
                connection.execute(sa.insert(self._person), rows)
        except IntegrityError as error:
            taken = next((person.alias for person in people if self._is_taken(connection, person.alias)), "")
            problem = f"the alias {taken!r} is already taken" if taken else "two residents have the same alias"
            raise EventRejected(RejectionReason.ALIAS, f"{problem}; choose another alias") from error
        if epoch(now) < epoch(in_japan(FURIGANA_STARTS)):
            table = self._person.c
            these = sa.select(table.record_code, table.person).where(table.record_code.in_(codes))
            positions: dict[str, int] = {row.record_code: row.person for row in connection.execute(these)}
            registered = ((positions[code], resident) for resident, code in zip(people, codes, strict=True))
            self._deadlines.announce_readings(connection, registered)
        for place, group in groupby(documents, key=itemgetter("municipality")):
            # Each document is sent as text, so that the nodes that only forward it need not parse it.
            entries = [(document["record_code"], as_json(identity_of(document, "record_code"))) for document in group]
            self._send(connection, place, now, "registration", {"people": entries})

    def _is_taken(self, connection: sa.Connection, alias: str) -> bool:
        same_alias = self._person.c.alias == alias
        return bool(alias) and connection.scalar(sa.select(self._person.c.person).where(same_alias)) is not None

    def _send(self, connection: sa.Connection, place: str, due: datetime, kind: str, body: dict[str, Any]) -> None:
        prefecture = f"prefecture:{place[:2]}"
        self.outbox.put(connection, f"municipality:{place}", prefecture, due, kind, body)

    def _due(self, channel: Channel) -> datetime:
        now = self._world.clock.now()
        if channel is not Channel.PAPER:
            return now
        evening = in_japan(now.astimezone(JST).date(), self._world.settings.evening)
        return evening if evening >= now else evening + timedelta(days=1)

    def _free_codes(self, code: str, count: int) -> list[ResidentRecordCode]:
        """Take codes from the municipality's block. A new block is requested when it is used up."""
        free = self._free_code
        query = sa.select(free.c.record_code).where(free.c.municipality == code).limit(count).with_for_update()
        with self.store.transaction() as connection:
            codes = list(connection.scalars(query))
            if len(codes) < count:
                block = self._grant_codes(code, CODE_BLOCK)
                connection.execute(sa.insert(free), [{"record_code": new, "municipality": code} for new in block])
                codes = list(connection.scalars(query))
            connection.execute(sa.delete(free).where(free.c.record_code.in_(codes)))
        return [ResidentRecordCode(digits) for digits in codes]

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
                RejectionReason.WRONG_DAY,
                f"the date of birth {resident.birth} is in the future; it is {now} in this world",
            )
        check_lengths(resident)
        try:
            if resident.alias:
                checked_alias(resident.alias)
        except BadName as error:
            raise EventRejected(RejectionReason.ALIAS, str(error)) from error
        if resident.alias.isdigit():
            raise EventRejected(
                RejectionReason.ALIAS,
                f"the alias {resident.alias} looks like a number; choose one with a letter in it",
            )
        if resident.record_code is not None or resident.individual_number is not None:
            raise EventRejected(
                RejectionReason.BRINGS_NUMBERS,
                "a new resident must not have a record code or an individual number; the registry assigns them",
            )

    def _row(self, connection: sa.Connection, who: str, *, lock: bool = False) -> Any:
        if (
            lock
            and isinstance(who, ResidentRecordCode)
            and (known := self._by_code.one_or_none(connection, {"code": str(who)}))
        ):
            return known
        person = self._person.c
        if who.isascii() and who.isdigit() and len(who) in (11, 12):
            # A number with a wrong check digit was mistyped, so it is not looked up.
            try:
                condition = (
                    person.record_code == ResidentRecordCode(who) if len(who) == 11
                    else person.individual_number == IndividualNumber(who)
                )  # fmt: skip
            except ValueError as error:
                raise NoSuchResident(f"{who} was mistyped: {error}") from error
        else:
            condition = person.alias == compose_voiced_kana(who)
        query = sa.select(self._person).where(condition)
        row = connection.execute(query.with_for_update() if lock else query).one_or_none()
        if row is None:
            raise NoSuchResident(
                f"there is no resident {who!r}; see: kazashi registry list, and kazashi card list --samples"
            )
        return row

    def _first_municipality(self, row: Any) -> str:
        residences = json.loads(row.document).get("residences")
        return str(residences[0][0] if residences else row.municipality)

    @staticmethod
    def _load(row: Any) -> Resident:
        document = json.loads(row.document)
        document["record_code"] = row.record_code
        document["individual_number"] = row.individual_number
        return from_document(document)


def _to_3(_: sa.Connection) -> None:
    """Migrate to version 3, of which only tables are new. An older program would not tell address systems of events."""
