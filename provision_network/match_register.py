"""A body's register of the first matching: its records, which of them is tied to whom, and who decided so.

It is a part of the body's address system: a tie makes an address number for the person, and J-LIS is told in the same
transaction for whom the body needs a code, or whose code has ended.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from enum import Enum
from typing import Any

import sqlalchemy as sa

from kazashi.provision_network.address_store import (
    BUSINESS_NUMBER,
    MATCH_FILE,
    MATCH_RECORD,
    MATCH_REPORT,
    MATCH_TIE,
    OUTBOX,
    address_number,
    log,
)
from kazashi.provision_network.match_file import MatchFile, MatchFileRejected, MatchFileRule
from kazashi.provision_network.match_trail import (
    MatchState,
    TrailEntry,
    TrailStep,
    note,
    set_state,
    trail_of,
)
from kazashi.provision_network.matching import Attributes, MatchRecord
from kazashi.provision_network.municipal import AddressSystem
from kazashi.provision_network.terms import J_LIS, NetworkRejected
from kazashi.resident_registry.number import IndividualNumber
from kazashi.world.clock import Clock, epoch, from_epoch
from kazashi.world.storage import insert_many

BUSINESS = "初期突合"
"""The name under which the address system links a body's own numbers of records to address numbers."""

_PEOPLE = 1_000
"""The maximum number of people in one message to J-LIS."""


class HolderReport(Enum):
    """What the holder of a record tells the body."""

    SEEN = "seen"
    """The holder came, wrote, or was paid: they were alive on that day."""
    ADDRESS = "address"
    """The holder has given their address of that day."""
    DIED = "died"
    """The body has heard that the holder has died on that day."""
    NOT_MINE = "not-mine"
    """The person of the tie says that the record is not theirs, after a look at the portal or at a letter."""


@dataclass(frozen=True, slots=True)
class Report:
    """A holder's report about a record. `content` is the address, for ADDRESS."""

    number: str
    kind: HolderReport
    day: date
    content: str


@dataclass(frozen=True, slots=True)
class NewTie:
    """A tie to make: the record, the person, why, and the names of the attributes in which both agree."""

    number: str
    individual_number: IndividualNumber
    why: str
    agreed: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Tie:
    """Which person a record is tied to, by their address number, since when."""

    address_number: str
    at: datetime
    agreed: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RegisteredRecord:
    """A record of a body, and its tie, if it has one."""

    number: str
    attributes: Attributes
    state: MatchState
    tie: Tie | None


@dataclass(frozen=True, slots=True)
class HandedIn:
    """A file that was handed in. `refused` has the name of the rule that it broke, or is empty."""

    at: datetime
    who: str
    digest: str
    records: int
    refused: str


class MatchRegister:
    """The register of one body."""

    def __init__(self, addresses: AddressSystem, clock: Clock) -> None:
        self._addresses = addresses
        self._clock = clock
        self.body = addresses.body

    # Files

    def is_taken(self, digest: str) -> bool:
        """Whether a file was taken before."""
        return any(one.digest == digest and not one.refused for one in self.files())

    def check_new(self, file: MatchFile) -> None:
        """Raise MatchFileRejected if a number in a file is one of an earlier file."""
        known = {one.number for one in self.records()}
        for record in file.records:
            if record.number in known:
                raise MatchFileRejected(MatchFileRule.ONCE, f"number {record.number} (it is in an earlier file)")

    def refuse(self, digest: str, rule: MatchFileRule, who: str) -> None:
        """Record that a file was refused, and by which rule."""
        with self._addresses.store.alone() as connection:
            self._note_file(connection, digest, who, 0, rule.name.lower())
            detail = {"body": self.body, "rule": rule.name.lower(), "who": who}
            log(connection, self._clock.now(), "records refused", detail)

    def files(self) -> list[HandedIn]:
        """Return the files that were handed in, oldest first."""
        table = MATCH_FILE.c
        query = sa.select(MATCH_FILE).where(table.body == self.body).order_by(table.position)
        with self._addresses.store.reading() as connection:
            return [HandedIn(from_epoch(row.at), row.who, row.digest, row.records, row.refused)
                    for row in connection.execute(query)]  # fmt: skip

    # Records and ties

    def apply(self, file: MatchFile | None, ties: Sequence[NewTie], by: str, who: str) -> None:
        """Take a file, if there is one, and make ties, all in one transaction. `by` has decided the ties, and `who` has
        handed in the file."""
        with self._addresses.store.alone() as connection:
            if file is not None:
                self._note_file(connection, file.digest, who, len(file.records), "")
                columns = ("body", "number", "name", "kana", "birth", "sex", "address", "state")
                insert_many(connection, MATCH_RECORD, columns, [
                    (self.body, one.number, one.attributes.name, one.attributes.kana, one.attributes.birth,
                     one.attributes.sex, one.attributes.address, MatchState.OPEN.value)
                    for one in file.records
                ])  # fmt: skip
            self._tie(connection, ties, by)

    def leave(self, number: str, who: str, why: str) -> None:
        """Decide that a record on the work list belongs to nobody in the registry. Raises NetworkRejected."""
        self._decide(number, MatchState.OPEN, MatchState.LEFT, TrailStep.LEFT, who, why)

    def reopen(self, number: str, who: str, why: str) -> None:
        """Take back that a record belongs to nobody. Raises NetworkRejected."""
        self._decide(number, MatchState.LEFT, MatchState.OPEN, TrailStep.REOPENED, who, why)

    def tie(self, tie: NewTie, who: str) -> None:
        """Tie a record on the work list to a person whom somebody has chosen. Raises NetworkRejected."""
        with self._addresses.store.alone() as connection:
            self._check(connection, tie.number, MatchState.OPEN)
            self._tie(connection, [tie], who)

    def begin_undo(self, number: str, who: str, why: str, detail: Mapping[str, Any]) -> None:
        """Record the decision that a tie is wrong, with what has been provided meanwhile. Raises NetworkRejected if the
        record is not tied."""
        self._decide(number, MatchState.TIED, MatchState.UNDOING, TrailStep.UNDO, who, why, detail)

    def undoing(self) -> list[tuple[RegisteredRecord, TrailEntry]]:
        """Return the records whose tie is being removed, each with the decision."""
        begun = {one.number: one for one in self.trail() if one.step is TrailStep.UNDO}
        return [(one, begun[one.number]) for one in self.records([MatchState.UNDOING])]

    def shares(self, record: RegisteredRecord) -> list[str]:
        """Return the numbers of the other records that are tied to the same person."""
        tied = record.tie.address_number if record.tie else ""
        return [one.number for one in self.records([MatchState.TIED, MatchState.UNDOING])
                if one.tie is not None and one.tie.address_number == tied and one.number != record.number]  # fmt: skip

    def undo(self, number: str, individual_number: str | None, who: str, why: str) -> None:
        """Remove a tie. Unless another record is tied to the person, or the person was on the body's list before, the
        address number ends, and J-LIS is told that the code has ended. Raises NetworkRejected."""
        now, ties = self._clock.now(), MATCH_TIE
        with self._addresses.store.alone() as connection:
            self._check(connection, number, MatchState.UNDOING)
            this = (ties.c.body == self.body) & (ties.c.number == number)
            tie = connection.execute(sa.select(ties).where(this)).one_or_none()
            set_state(connection, self.body, [number], MatchState.OPEN)
            detail = {} if tie is None else {"address_number": address_number(tie.addressee)}
            note(connection, self.body, [TrailEntry(number, now, TrailStep.UNDONE, who, why, detail)])
            if tie is None:
                return
            connection.execute(sa.delete(ties).where(this))
            link = BUSINESS_NUMBER.c
            connection.execute(sa.delete(BUSINESS_NUMBER).where(
                link.body == self.body, link.business == BUSINESS, link.local_number == number
            ))  # fmt: skip
            same_person = (ties.c.body == self.body) & (ties.c.addressee == tie.addressee)
            other = connection.scalar(sa.select(ties.c.number).where(same_person).limit(1))
            if other is not None and tie.admitted:
                connection.execute(sa.update(ties).where(same_person, ties.c.number == other).values(admitted=True))
            if other is None and tie.admitted:
                self._addresses.end_in(connection, tie.addressee)
                if individual_number is not None:
                    self._tell(connection, [(individual_number, address_number(tie.addressee))], here=False)

    def ask_again(self, people: Mapping[str, str]) -> None:
        """Tell J-LIS again for whom the body needs a code: people by individual number, each with the address
        number."""
        with self._addresses.store.alone() as connection:
            self._tell(connection, list(people.items()), here=True)

    def records(self, states: Collection[MatchState] | None = None) -> list[RegisteredRecord]:
        """Return the records in these states, or all, by number."""
        record, tie = MATCH_RECORD.c, MATCH_TIE.c
        both = sa.outerjoin(MATCH_RECORD, MATCH_TIE, (record.body == tie.body) & (record.number == tie.number))
        query = sa.select(MATCH_RECORD, tie.addressee, tie.at, tie.agreed).select_from(both)
        query = query.where(record.body == self.body).order_by(record.number)
        if states is not None:
            query = query.where(record.state.in_([one.value for one in states]))
        with self._addresses.store.reading() as connection:
            return [_registered(row) for row in connection.execute(query)]

    def record(self, number: str) -> RegisteredRecord:
        """Return a record. Raises NetworkRejected if the body has handed in none with that number."""
        found = next((one for one in self.records() if one.number == number), None)
        if found is None:
            raise _unknown(self.body, number)
        return found

    # Reports and suspicions

    def report(self, report: Report) -> None:
        """Add what the holder of a record has told the body. Raises NetworkRejected."""
        row = {"body": self.body, "number": report.number, "kind": report.kind.value, "day": report.day.isoformat(),
               "content": report.content}  # fmt: skip
        with self._addresses.store.alone() as connection:
            self._check(connection, report.number, *MatchState)
            connection.execute(sa.insert(MATCH_REPORT), row)

    def reports(self) -> list[Report]:
        """Return what the holders of records have told the body, oldest first."""
        table = MATCH_REPORT.c
        query = sa.select(MATCH_REPORT).where(table.body == self.body).order_by(table.position)
        with self._addresses.store.reading() as connection:
            return [Report(row.number, HolderReport(row.kind), date.fromisoformat(row.day), row.content)
                    for row in connection.execute(query)]  # fmt: skip

    def suspect(self, entries: Iterable[TrailEntry]) -> None:
        """Add suspicions to the trail."""
        with self._addresses.store.alone() as connection:
            note(connection, self.body, entries)

    def trail(self, number: str | None = None) -> list[TrailEntry]:
        """Return the trail of a record, or of all, oldest first."""
        with self._addresses.store.reading() as connection:
            return trail_of(connection, self.body, number)

    # Internals

    def _note_file(self, connection: sa.Connection, digest: str, who: str, records: int, refused: str) -> None:
        row = {"body": self.body, "digest": digest, "at": epoch(self._clock.now()), "who": who, "records": records,
               "refused": refused}  # fmt: skip
        connection.execute(sa.insert(MATCH_FILE), row)

    def _tie(self, connection: sa.Connection, ties: Sequence[NewTie], who: str) -> None:
        now = self._clock.now()
        before = self._addresses.here_in(connection)
        people = self._addresses.admitted_in(connection, [one.individual_number for one in ties])
        new: set[int] = set()
        rows, links, entries = [], [], []
        for tie, addressee in zip(ties, people, strict=True):
            admitted = tie.individual_number not in before and addressee not in new
            new.add(addressee)
            rows.append((self.body, tie.number, addressee, epoch(now), admitted, " ".join(tie.agreed)))
            links.append((self.body, BUSINESS, tie.number, addressee))
            detail = {"address_number": address_number(addressee), "agreed": list(tie.agreed)}
            entries.append(TrailEntry(tie.number, now, TrailStep.TIED, who, tie.why, detail))
        insert_many(connection, MATCH_TIE, ("body", "number", "addressee", "at", "admitted", "agreed"), rows)
        insert_many(connection, BUSINESS_NUMBER, ("body", "business", "local_number", "addressee"), links)
        set_state(connection, self.body, [one.number for one in ties], MatchState.TIED)
        note(connection, self.body, entries)
        numbered = {str(tie.individual_number): address_number(one) for tie, one in zip(ties, people, strict=True)}
        self._tell(connection, list(numbered.items()), here=True)

    def _tell(self, connection: sa.Connection, people: Sequence[tuple[str, str]], *, here: bool) -> None:
        """Tell J-LIS for whom the body needs a code, or whose code has ended."""
        entries = [(number, address, here, None) for number, address in people]
        messages: list[tuple[str, dict[str, Any]]] = [
            ("codes", {"body": self.body, "people": entries[begin : begin + _PEOPLE]})
            for begin in range(0, len(entries), _PEOPLE)
        ]
        if messages:
            OUTBOX.put_all(connection, f"matching:{self.body}", J_LIS, self._clock.now(), messages)

    def _decide(
        self, number: str, before: MatchState, after: MatchState, step: TrailStep, who: str, why: str,
        detail: Mapping[str, Any] | None = None,
    ) -> None:  # fmt: skip
        with self._addresses.store.alone() as connection:
            self._check(connection, number, before)
            set_state(connection, self.body, [number], after)
            note(connection, self.body, [TrailEntry(number, self._clock.now(), step, who, why, detail or {})])

    def _check(self, connection: sa.Connection, number: str, *states: MatchState) -> None:
        record = MATCH_RECORD.c
        query = sa.select(record.state).where(record.body == self.body, record.number == number)
        state = connection.scalar(query)
        if state is None:
            raise _unknown(self.body, number)
        if MatchState(state) not in states:
            wanted = " or ".join(one.value for one in states)
            raise NetworkRejected("record-state", f"record {number} of {self.body} is {state}, not {wanted}")


def _unknown(body: str, number: str) -> NetworkRejected:
    return NetworkRejected("unknown-record", f"{body} has handed in no record {number}")


def _registered(row: Any) -> RegisteredRecord:
    tie = None if row.addressee is None else Tie(
        address_number(row.addressee), from_epoch(row.at), tuple(row.agreed.split())
    )  # fmt: skip
    attributes = Attributes(row.name, row.kana, row.birth, row.sex, row.address)
    return RegisteredRecord(row.number, attributes, MatchState(row.state), tie)


def as_match_record(one: RegisteredRecord) -> MatchRecord:
    """Return a record as the matcher takes it."""
    return MatchRecord(one.number, one.attributes)
