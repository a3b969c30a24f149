"""Juki-Net (住基ネット): events go from a municipality through its prefecture to J-LIS, in order, each exactly once.

J-LIS keeps the identity data of all residents (機構保存本人確認情報), makes individual numbers, and notifies the
institutions that act on events: the certification authorities, the card management, and the information provision
network if it has subscribed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

import sqlalchemy as sa

from kazashi.resident_registry import event as events
from kazashi.resident_registry.event import Event, event_type
from kazashi.resident_registry.notice import Notice
from kazashi.resident_registry.number import IndividualNumber, Numbering, ResidentRecordCode
from kazashi.resident_registry.provision_subscription import ProvisionSubject, ProvisionSubscriptions
from kazashi.resident_registry.registry import NoSuchResident, Registry
from kazashi.resident_registry.resident import ResidencyStatus, Resident, from_document
from kazashi.world.event_log import event_table, word_becomes_what
from kazashi.world.home import World
from kazashi.world.outbox import Inbox, Message, Outbox, Receive
from kazashi.world.statement import Statement
from kazashi.world.storage import insert_if_absent

PREFECTURES, J_LIS = "prefectures", "j_lis"

_AUTHORITIES = ("authority:signature", "authority:authentication")

SUBSCRIBERS = (*_AUTHORITIES, "card-management")
"""The receivers of notices. A notice contains what they act on: the person, the event and the day."""

TOLD: Mapping[type[Event], tuple[str, ...] | None] = {
    events.MoveWithin: (),
    events.MoveOut: None,
    events.MoveIn: ("card_continued",),
    events.CardContinuation: (),
    events.Lapse: ("why",),
    events.NameChange: (),
    events.Correction: (),
    events.CharacterCorrection: None,
    events.Furigana: None,
    events.FuriganaNotice: None,
    events.FuriganaRecorded: None,
    events.PlaceRenamed: None,
    events.Death: (),
    events.Emigration: ("continued",),
    events.Immigration: (),
    events.Deletion: (),
    events.NumberChange: (),
    events.CodeChange: (),
    events.Protection: None,
    events.LossReport: (),
    events.Theft: (),
    events.CardFound: (),
    events.CardReturn: (),
    events.Renewal: (),
    events.StayExtension: (),
}
"""The fields of each event that its notice contains; None for an event of which the subscribers get no notice."""

_ENDED = (ResidencyStatus.DEAD, ResidencyStatus.DELETED)
_ENDING = (events.Death.code, events.Deletion.code)
_CHUNK = 5_000


class Prefectures:
    """The prefectures' nodes. Each forwards what its municipalities send, and keeps a log of it."""

    def __init__(self, world: World) -> None:
        self._world = world
        metadata = sa.MetaData()
        self.outbox, self._inbox = Outbox(metadata), Inbox(metadata)
        _, self._log = event_table(
            metadata,
            sa.Column("prefecture", sa.Text, nullable=False),
            sa.Column("sender", sa.Text, nullable=False),
            sa.Column("record_code", sa.Text),
        )
        self.store = world.store(PREFECTURES, metadata, [_prefectures_to_2])

    def receive(self, messages: Sequence[Message]) -> None:
        """Take messages from municipalities and forward them to J-LIS."""
        now = self._world.clock.now()
        due = now + timedelta(minutes=self._world.settings.hop_minutes)
        with self.store.transaction() as connection:
            for message in self._inbox.fresh(connection, messages):
                self._log(
                    connection, now, message.kind, {}, prefecture=message.receiver, sender=message.sender,
                    record_code=message.body.get("record_code"),
                )  # fmt: skip
                body = {**message.body, "from": message.sender}
                self.outbox.put(connection, message.receiver, "j-lis", due, message.kind, body)


def _prefectures_to_2(connection: sa.Connection) -> None:
    """Migrate to version 2, in which the log has the same columns as in every other store."""
    word_becomes_what(connection)
    connection.execute(sa.text("ALTER TABLE event ADD COLUMN detail TEXT NOT NULL DEFAULT '{}'"))


@dataclass(frozen=True, slots=True)
class Identity:
    """What J-LIS stores about a person."""

    resident: Resident
    number_changes: int


@dataclass(frozen=True, slots=True)
class ProvidedIdentity:
    """What J-LIS provides to a body about a person: the identity data, and the day of their death or deletion."""

    resident: Resident
    ended: date | None


class JLis:
    """J-LIS's national node: its store of identity data, and the numbers that it makes."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._numbering = Numbering(world.seed)
        metadata = sa.MetaData()
        self.outbox, self._inbox = Outbox(metadata), Inbox(metadata)
        self._provision = ProvisionSubscriptions(metadata, self.outbox, "j-lis")
        self._identity = sa.Table(
            "identity", metadata,
            sa.Column("record_code", sa.Text, primary_key=True),
            sa.Column("individual_number", sa.Text, unique=True, nullable=False),
            sa.Column("number_changes", sa.Integer, nullable=False),
            sa.Column("numbered_by", sa.Text, nullable=False),
            sa.Column("document", sa.Text, nullable=False),
        )  # fmt: skip
        self._counter = sa.Table(
            "counter", metadata, sa.Column("name", sa.Text, primary_key=True), sa.Column("value", sa.BigInteger)
        )
        by_code = self._identity.c.record_code == sa.bindparam("code")
        self._find = Statement(sa.select(self._identity).where(by_code))
        self._find_to_change = Statement(sa.select(self._identity).where(by_code).with_for_update())
        self._update = Statement(sa.update(self._identity).where(by_code).values(
            record_code=sa.bindparam("new_code"), document=sa.bindparam("new_document")))  # fmt: skip
        self._event, self._log = event_table(metadata, sa.Column("record_code", sa.Text, index=True))
        self.store = world.store(J_LIS, metadata, [word_becomes_what, self._to_3])

    def _to_3(self, connection: sa.Connection) -> None:
        """Migrate to version 3, which has a table of retired numbers. They are computed, as they were made."""
        table = self._identity.c
        rows = connection.execute(
            sa.select(table.record_code, table.numbered_by, table.number_changes).where(table.number_changes > 0)
        ).all()
        self._provision.retire_older(connection, [
            (self._numbering.individual_number(ResidentRecordCode(row.numbered_by), changes), row.record_code)
            for row in rows for changes in range(row.number_changes)
        ])  # fmt: skip

    def grant_codes(self, municipality: str, count: int) -> list[ResidentRecordCode]:
        """Return record codes for a municipality, none of which was ever granted before."""
        counter = self._counter
        with self.store.transaction() as connection:
            connection.execute(insert_if_absent(counter), {"name": "codes", "value": 0})
            value = connection.execute(
                sa.update(counter).where(counter.c.name == "codes").values(value=counter.c.value + count)
                .returning(counter.c.value)
            ).scalar_one()  # fmt: skip
            detail = {"municipality": municipality, "count": count}
            self._log(connection, self._world.clock.now(), "codes granted", detail)
        return [self._numbering.record_code(number) for number in range(value - count, value)]

    def identity(self, code: ResidentRecordCode) -> Resident:
        """Return the identity data of a person. Raises NoSuchResident if none has arrived over Juki-Net (yet)."""
        with self.store.reading() as connection:
            row = self._find.one_or_none(connection, {"code": str(code)})
        if row is None:
            raise NoSuchResident("J-LIS does not know the resident; the registration may not have arrived yet")
        document = json.loads(row.document)
        return from_document({**document, "record_code": row.record_code, "individual_number": row.individual_number})

    def provide(self, body: str, numbers: Sequence[str] | None = None) -> list[ProvidedIdentity]:
        """Provide a body with people's identity data (本人確認情報), by individual number, current or retired, or with
        those of everybody who is alive. Numbers of nobody are left out. The provision is logged."""
        identity, event = self._identity, self._event.c
        with self.store.transaction() as connection:
            query = sa.select(identity)
            if numbers is not None:
                codes = self._provision.codes_of(connection, identity, numbers)
                query = query.where(identity.c.record_code.in_(sa.bindparam("some", expanding=True)))
                wanted = [codes[number] for number in numbers if number in codes]
                parts = [wanted[begin : begin + _CHUNK] for begin in range(0, len(wanted), _CHUNK)]
                rows = [row for part in parts for row in connection.execute(query, {"some": part})]
            else:
                rows = list(connection.execute(query))
            ended = sa.select(event.record_code, event.detail).where(event.what.in_(_ENDING)).order_by(event.position)
            days = {row.record_code: date.fromisoformat(json.loads(row.detail)["day"])
                    for row in connection.execute(ended)}  # fmt: skip
            self._log(connection, self._world.clock.now(), "provided", {"to": body, "people": len(rows)})
        people = []
        for row in rows:
            document = json.loads(row.document)
            if numbers is None and _status(document) in _ENDED:
                continue
            numbered = {"record_code": row.record_code, "individual_number": row.individual_number}
            over = days.get(row.record_code) if _status(document) in _ENDED else None
            people.append(ProvidedIdentity(from_document({**document, **numbered}), over))
        return people

    def is_recoding(self, code: ResidentRecordCode) -> bool:
        """Whether a person's record code has changed and not every authority has been told."""
        with self.store.reading() as connection:
            bodies = self.outbox.queued(connection, _AUTHORITIES, events.CodeChange.code)
        return any(code in (body["record_code"], body["former_code"]) for body in bodies)

    def subscribe(self, receiver: str, subject: ProvisionSubject) -> None:
        """Tell a part of the provision network of people's numbers or codes from now on. A subscriber to numbers first
        gets a roll of everybody who is alive."""
        with self.store.transaction() as connection:
            self._provision.add(connection, receiver, subject)
            if subject is ProvisionSubject.NUMBERS:
                rows = connection.execute(sa.select(self._identity.c.individual_number, self._identity.c.document))
                numbers = [row.individual_number for row in rows if _status(json.loads(row.document)) not in _ENDED]
                self._provision.send_roll(connection, self._world.clock.now(), receiver, numbers)

    def current_numbers(self, numbers: Sequence[str]) -> dict[str, IndividualNumber]:
        """Return the current numbers of the people to whom these individual numbers belonged once.

        Numbers that are current, and unknown ones, are left out.
        """
        with self.store.reading() as connection:
            codes = self._provision.codes_of(connection, self._provision.retired, numbers)
            table = self._identity.c
            this = sa.select(table.individual_number).where(table.record_code == sa.bindparam("code"))
            return {
                number: IndividualNumber(connection.execute(this, {"code": code}).scalar_one())
                for number, code in codes.items()
            }

    def receive(self, messages: Sequence[Message]) -> None:
        """Apply events: update identity data, make numbers, and send notices to the subscribers. What address systems
        say about people is forwarded to the network's core."""
        with self.store.transaction() as connection:
            for message in self._inbox.fresh(connection, messages):
                if message.kind == "registration":
                    self._register(connection, message)
                elif message.kind == "codes":
                    self._forward(connection, message)
                else:
                    self._change(connection, message)

    def _register(self, connection: sa.Connection, message: Message) -> None:
        rows, numbers = [], []
        for digits, document in message.body["people"]:
            code = ResidentRecordCode(digits)
            number = self._numbering.individual_number(code, 0)
            numbers.append((code, number))
            rows.append(
                {"record_code": code, "individual_number": number, "number_changes": 0, "numbered_by": code,
                 "document": document}
            )  # fmt: skip
        connection.execute(sa.insert(self._identity), rows)
        detail = {"from": message.body["from"], "count": len(rows)}
        self._log(connection, self._world.clock.now(), "registration", detail)
        self._number(connection, message.body["from"], numbers)
        self._provision.numbered(connection, self._world.clock.now(), [number for _, number in numbers])

    def _forward(self, connection: sa.Connection, message: Message) -> None:
        now, detail = self._world.clock.now(), {"from": message.sender}
        try:
            unknown = self._provision.forward(connection, now, message, self._identity)
        except (KeyError, TypeError, ValueError) as error:
            self._log(connection, now, "refused", {**detail, "why": ascii(str(error))})
            return
        self._log(connection, now, "codes", {**detail, "unknown": unknown})

    def _change(self, connection: sa.Connection, message: Message) -> None:
        event, body, identity = event_type(message.kind), message.body, self._identity
        old = ResidentRecordCode(body["record_code"])
        document = body["person"]
        new = ResidentRecordCode(document.pop("record_code"))
        row = self._find_to_change.one_or_none(connection, {"code": str(old)})
        now = self._world.clock.now()
        new_document = json.dumps(document, ensure_ascii=False)
        if event is events.NumberChange:
            # The number is always made from the code that it was first made from, even if that code has changed.
            changes = row.number_changes + 1
            number = self._numbering.individual_number(ResidentRecordCode(row.numbered_by), changes)
            columns = {"individual_number": number, "number_changes": changes}
            connection.execute(sa.update(identity).where(identity.c.record_code == old).values(columns))
            self._number(connection, body["from"], [(new, number)])
            self._provision.renumbered(connection, now, row.individual_number, number, new)
        if new != old:
            self._provision.recoded(connection, now, old, new)
        if _status(document) in _ENDED and _status(json.loads(row.document)) not in _ENDED:
            self._provision.ended(connection, now, new, row.individual_number, date.fromisoformat(body["day"]))
        self._update.run(connection, {"code": str(old), "new_code": str(new), "new_document": new_document})
        detail = {"from": body["from"], "day": body["day"]}
        self._log(connection, now, event.code, detail, record_code=new)
        noticed = TOLD[event]
        if noticed is None:
            return
        details = {name: value for name, value in body["event"].items() if name in noticed}
        notice = Notice(event, date.fromisoformat(body["day"]), new, old, details)
        for subscriber in SUBSCRIBERS:
            self.outbox.put(connection, "j-lis", subscriber, now, event.code, notice.body)

    def _number(self, connection: sa.Connection, municipality: str, numbers: Sequence[tuple[str, str]]) -> None:
        due = self._world.clock.now() + timedelta(minutes=self._world.settings.hop_minutes)
        self.outbox.put(connection, "j-lis", municipality, due, "numbers", {"numbers": numbers})


def _status(document: Mapping[str, Any]) -> ResidencyStatus:
    return ResidencyStatus(document.get("status") or ResidencyStatus.RESIDENT)


class JukiNet:
    """The network. It delivers due messages from node to node, and on to J-LIS's subscribers."""

    def __init__(self, world: World, subscribers: Mapping[str, Receive]) -> None:
        """Connect the nodes. `subscribers` maps each name in SUBSCRIBERS to the function that receives messages, and
        likewise the names of the parts of the provision network that have subscribed."""
        self._world = world
        self.j_lis = JLis(world)
        self.registry = Registry(world, self.j_lis.grant_codes)
        self.prefectures = Prefectures(world)
        self._subscribers = subscribers

    def next_due(self) -> datetime | None:
        """The time at which the next message is due at any node, or None if no message waits."""
        due = [node.outbox.next_due(node.store) for node in (self.registry, self.prefectures, self.j_lis)]
        return min((instant for instant in due if instant is not None), default=None)

    def deliver(self) -> int:
        """Deliver everything that is due to its final receiver, and return how many messages were passed on."""
        total = 0
        while True:
            now = self._world.clock.now()
            done = self.registry.outbox.deliver(
                self.registry.store, now, {"prefecture": self.prefectures.receive, **self._subscribers}
            )
            done += self.prefectures.outbox.deliver(self.prefectures.store, now, {"j-lis": self.j_lis.receive})
            done += self.j_lis.outbox.deliver(
                self.j_lis.store, now, {"municipality": self.registry.receive, **self._subscribers}
            )
            total += done
            if not done:
                return total
