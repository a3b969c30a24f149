"""An interface system (インターフェイスシステム): the only way between bodies and the core, and from body to body.

A body hands it a request and gets the number of a process; everything after that comes by messages. What it keeps of an
exchange is who asks whom for which item and how far that has come. Answers travel sealed, and are opened on the asking
body's platform.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from enum import Enum
from typing import Any

import sqlalchemy as sa
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from kazashi.provision_network.codes import ForeignCode, InstitutionCode, PortalCode
from kazashi.provision_network.intermediate import (
    Copy,
    IntermediatePlatform,
    IntermediateServer,
    InvalidAnswer,
    ProvisionOnHold,
    Received,
)
from kazashi.provision_network.rules import Purpose
from kazashi.provision_network.terms import CORE, NetworkRejected, Notification, RequestOutcome, number_of, text_of
from kazashi.web.mutual_tls import Credentials, pem_of
from kazashi.world.clock import epoch, from_epoch
from kazashi.world.event_log import event_table
from kazashi.world.home import World
from kazashi.world.outbox import Inbox, Message, Outbox, Send
from kazashi.world.storage import Position, insert_if_absent

MOST_OPEN = 5_000
"""Questions of one body that are still open; beyond that its interface system takes no more of it (N8)."""

_AT_ONCE = 200
"""Notifications that are answered in one transaction."""


def store_name(interface: str) -> str:
    """The name of an interface system's store."""
    return f"interface_{interface}"


class RequestStage(Enum):
    """How far a request of one's own has come."""

    SENT = "sent"
    ACCEPTED = "accepted"
    """The core has notified the provider."""
    ANSWERED = "answered"
    REFUSED = "refused"
    DISPUTED = "disputed"
    """The answer was to something else; the core was told."""


@dataclass(frozen=True, slots=True)
class OutgoingRequest:
    """A request of one's own: what was asked of whom, how far it has come, and by which rule, or why not."""

    process: int
    body: str
    provider: str
    item: str
    asked_at: datetime
    stage: RequestStage
    number: int | None
    rule: str
    denial: str
    words: str

    @property
    def ended(self) -> bool:
        """Whether nothing more will come of it."""
        return self.stage not in (RequestStage.SENT, RequestStage.ACCEPTED)


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A body elsewhere: the interface system that speaks for it, where that answers, and the body's public key."""

    interface: str
    address: str
    key: str


@dataclass(frozen=True, slots=True)
class _Taken:
    """What messages have brought: answers to keep, and processes that have ended."""

    answers: list[dict[str, Any]] = field(default_factory=list)
    ended: set[int] = field(default_factory=set)


class InterfaceSystem:
    """One interface system, and the platform with the intermediate servers of the bodies behind it."""

    def __init__(self, world: World, name: str) -> None:
        self._world = world
        self.name = name
        self.platform = IntermediatePlatform(world, name)
        self._servers: dict[str, IntermediateServer] = {}
        metadata = sa.MetaData()
        self.outbox, self._inbox = Outbox(metadata), Inbox(metadata)
        self._asked = sa.Table(
            "asked", metadata,
            sa.Column("process", Position, primary_key=True),
            sa.Column("body", sa.Text, nullable=False),
            sa.Column("provider", sa.Text, nullable=False),
            sa.Column("item", sa.Text, nullable=False),
            sa.Column("asked_at", sa.BigInteger, nullable=False),
            sa.Column("stage", sa.Text, nullable=False),
            sa.Column("number", sa.BigInteger),
            sa.Column("rule", sa.Text, nullable=False, default=""),
            sa.Column("denial", sa.Text, nullable=False, default=""),
            sa.Column("words", sa.Text, nullable=False, default=""),
            sa.Column("reference", sa.Text, unique=True),
            sa.Index("asked_open", "body", "stage"),
        )  # fmt: skip
        self._notified = sa.Table(
            "notified", metadata,
            sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
            sa.Column("provider", sa.Text, nullable=False),
            sa.Column("stage", sa.Text, nullable=False, index=True),
            sa.Column("notification", sa.Text, nullable=False),
        )  # fmt: skip
        self._body = sa.Table("body", metadata, sa.Column("name", sa.Text, primary_key=True))
        self._setting = sa.Table(
            "setting", metadata,
            sa.Column("name", sa.Text, primary_key=True),
            sa.Column("value", sa.Text, nullable=False),
        )  # fmt: skip
        early = sa.Table(
            "early_answer", metadata,
            sa.Column("process", sa.BigInteger, primary_key=True, autoincrement=False),
            sa.Column("number", sa.BigInteger, nullable=False),
            sa.Column("sealed", sa.Text, nullable=False),
        )  # fmt: skip
        self._add_early = insert_if_absent(early)
        self._early_of = sa.select(early).where(early.c.process == sa.bindparam("p"))
        self._drop_early = sa.delete(early).where(early.c.process == sa.bindparam("p"))
        _, self._log = event_table(metadata)
        self.store = world.store(store_name(name), metadata)
        self._neighbours: dict[str, Neighbour] | None = None
        asked, notified = self._asked, self._notified
        self._add_asked = sa.insert(asked).returning(asked.c.process)
        still = asked.c.stage.in_((RequestStage.SENT.value, RequestStage.ACCEPTED.value))
        self._open_of = sa.select(sa.func.count()).where(asked.c.body == sa.bindparam("b"), still)
        self._of_process = sa.select(asked).where(asked.c.process == sa.bindparam("p"))
        self._accept = sa.update(asked).where(asked.c.process == sa.bindparam("p")).values(
            number=sa.bindparam("n"), rule=sa.bindparam("r"),
            stage=sa.case((asked.c.stage == RequestStage.SENT.value, RequestStage.ACCEPTED.value), else_=asked.c.stage),
        )  # fmt: skip
        self._end = sa.update(asked).where(asked.c.process == sa.bindparam("p")).values(
            stage=sa.bindparam("s"), denial=sa.bindparam("d"), words=sa.bindparam("w")
        )  # fmt: skip
        self._add_notified = insert_if_absent(notified)
        self._due = (
            sa.select(notified).where(notified.c.stage == RequestOutcome.NOTIFIED.value).order_by(notified.c.number)
            .limit(_AT_ONCE)
        )  # fmt: skip
        self._held = sa.select(notified).where(notified.c.stage == RequestOutcome.HELD.value)
        open_ = notified.c.stage.in_((RequestOutcome.NOTIFIED.value, RequestOutcome.HELD.value))
        self._done = sa.update(notified).where(
            notified.c.number == sa.bindparam("n"), open_, notified.c.stage != sa.bindparam("s")
        ).values(stage=sa.bindparam("s"))  # fmt: skip

    # Becoming a part of the network

    def begin(self) -> ec.EllipticCurvePublicKey:
        """The public key for which the core issues a certificate; the private one stays here."""
        made = pem_of(ec.generate_private_key(ec.SECP256R1())).decode("ascii")
        with self.store.alone() as connection:
            connection.execute(insert_if_absent(self._setting), {"name": "key", "value": made})
            text = str(connection.scalar(sa.select(self._setting.c.value).where(self._setting.c.name == "key")))
        key = serialization.load_pem_private_key(text.encode("ascii"), None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        return key.public_key()

    def enrolled(self, certificate: bytes, authority: bytes, core: str) -> None:
        """What the core has answered: a certificate, its authority's (PEM), and where it is reached."""
        values = {"certificate": certificate.decode("ascii"), "authority": authority.decode("ascii"), "core": core}
        with self.store.alone() as connection:
            self._set(connection, values)

    def credentials(self) -> tuple[Credentials, str]:
        """What this end shows in handshakes, and where the core is. Raises NetworkRejected before it is enrolled."""
        held = self._settings()
        try:
            found = [held[name].encode("ascii") for name in ("certificate", "key", "authority")]
            return Credentials(*found), held["core"]
        except KeyError:
            raise NetworkRejected("not-enrolled", f"{self.name} is not enrolled with a core yet") from None

    def add(self, body: str) -> IntermediateServer:
        """Put a body behind it; answers the body's intermediate server."""
        with self.store.alone() as connection:
            connection.execute(insert_if_absent(self._body), {"name": body})
        return self.server(body)

    @property
    def bodies(self) -> list[str]:
        """The bodies behind it."""
        with self.store.reading() as connection:
            return list(connection.scalars(sa.select(self._body.c.name).order_by(self._body.c.name)))

    def server(self, body: str) -> IntermediateServer:
        """A body's intermediate server. Raises NetworkRejected for one that is not behind this interface."""
        if body not in self._servers:
            if body not in self.bodies:
                raise NetworkRejected("unknown-institution", f"{body} is not behind {self.name}")
            self._servers[body] = self.platform.server(body)
        return self._servers[body]

    def neighbours(self) -> dict[str, Neighbour]:
        """Everybody on the network, as the core has told."""
        if self._neighbours is None:
            text = self._settings(("members",)).get("members", "{}")
            self._neighbours = {name: Neighbour(**found) for name, found in json.loads(text).items()}
        return self._neighbours

    def addresses(self) -> dict[str, str]:
        """Where each interface system that this one may write to answers, the core under its own name."""
        found = {neighbour.interface: neighbour.address for neighbour in self.neighbours().values()}
        return {**found, CORE: self._settings(("core",)).get("core", "")}

    # Asking

    def ask(
        self, body: str, code: InstitutionCode, purpose: Purpose, providers: Sequence[str], *, consent: bool = False,
        ordinary: bool = False,
    ) -> int:  # fmt: skip
        """Ask for an item about a person: the first step of five. Answers the number of the process, which is on disk;
        what becomes of it is found under `asked`. Raises NetworkRejected where too much is open already."""
        with self.store.transaction() as connection:
            return self.ask_in(connection, body, code, purpose, providers, consent=consent, ordinary=ordinary)

    def ask_in(
        self, connection: sa.Connection, body: str, code: InstitutionCode, purpose: Purpose, providers: Sequence[str],
        *, consent: bool = False, ordinary: bool = False,
    ) -> int:  # fmt: skip
        """The same within a transaction of the interface's store."""
        told = {"code": str(code), "purpose": asdict(purpose), "providers": list(providers), "consent": consent,
                "ordinary": ordinary}  # fmt: skip
        return self._ask(connection, "request", body, ", ".join(providers), purpose.item, told)

    def ask_own(self, body: str, code: PortalCode, provider: str, item: str, reference: str) -> int:
        """The portal asks for a person's own information. Under one `reference` it is asked once: whoever was cut off
        after asking asks again, and gets the number of the same process. Raises NetworkRejected."""
        told, known = {"code": str(code), "provider": provider, "item": item}, self._asked.c
        with self.store.alone() as connection:
            found = connection.scalar(sa.select(known.process).where(known.reference == reference))
            if found is not None:
                return int(found)
            return self._ask(connection, "own-information", body, provider, item, told, reference)

    def _ask(
        self, connection: sa.Connection, kind: str, body: str, provider: str, item: str, told: dict[str, Any],
        reference: str | None = None,
    ) -> int:  # fmt: skip
        self.server(body)
        try:
            text_of(provider), text_of(item)
        except ValueError as error:
            raise NetworkRejected("bad-message", str(error)) from error
        if int(connection.scalar(self._open_of, {"b": body}) or 0) >= MOST_OPEN:
            raise NetworkRejected("busy", f"{body} has too many open questions; ask again later")
        now = self._world.clock.now()
        row = {"body": body, "provider": provider, "item": item, "asked_at": epoch(now),
               "stage": RequestStage.SENT.value,
               "rule": "", "denial": "", "words": "", "reference": reference}  # fmt: skip
        process = int(connection.execute(self._add_asked, row).scalar_one())
        self.outbox.put(connection, self.name, CORE, now, kind, {**told, "process": process, "requester": body})
        return process

    def set_undisclosed(self, body: str, code: InstitutionCode, *, on: bool) -> None:
        """A person's records are not to be shown in the portal, or are again (不開示該当フラグ)."""
        self.server(body)
        with self.store.transaction() as connection:
            told = {"body": body, "code": str(code), "on": on}
            self.outbox.put(connection, self.name, CORE, self._world.clock.now(), "undisclosed", told)

    def asked(self, process: int) -> OutgoingRequest:
        """How far a request has come. Raises NetworkRejected where there is none of that number."""
        with self.store.reading() as connection:
            row = connection.execute(self._of_process, {"p": process}).one_or_none()
        if row is None:
            raise NetworkRejected("unknown-process", f"{self.name} has no process {process}")
        return OutgoingRequest(
            row.process, row.body, row.provider, row.item, from_epoch(row.asked_at), RequestStage(row.stage),
            row.number,
            row.rule, row.denial, row.words,
        )  # fmt: skip

    def answer_to(self, process: int) -> Received | None:
        """What was answered, once it has come."""
        return self.server(self.asked(process).body).received(process)

    # Hearing

    def receive(self, messages: Sequence[Message]) -> None:
        """Take in what the core and other interface systems say. Raises MessageGap, and StoreFailed where a body's
        store does not take an answer: then it comes again."""
        with self.store.transaction() as connection:
            self.receive_in(connection, messages)

    def receive_in(self, connection: sa.Connection, messages: Sequence[Message]) -> set[int]:
        """The same within a transaction of the interface's store; answers the numbers of the processes that have ended
        with it."""
        taken = _Taken()
        with self.outbox.batch(connection, self.name, self._world.clock.now()) as say:
            for message in self._inbox.fresh(connection, messages):
                try:
                    if message.kind == "answer":
                        self._on_answer(connection, say, message, taken)
                    else:
                        self._hear(connection, say, message, taken)
                except (NetworkRejected, ForeignCode, AttributeError, KeyError, TypeError, ValueError) as error:
                    detail = {"from": message.sender, "kind": ascii(message.kind), "why": ascii(str(error))}
                    self._log(connection, self._world.clock.now(), "not understood", detail)
        self.platform.keep(taken.answers)  # before it is noted here that they have come
        return taken.ended

    def _hear(
        self, connection: sa.Connection, say: Send, message: Message, taken: _Taken
    ) -> None:  # fmt: skip
        body = message.body
        if message.sender != CORE:
            raise NetworkRejected("not-entitled", f"{message.sender} is not the core")
        match message.kind:
            case "members":
                told = {name: Neighbour(**found) for name, found in body["members"].items()}
                everybody = {**self.neighbours(), **told}
                members = {name: asdict(found) for name, found in everybody.items()}
                self._set(connection, {"members": json.dumps(members)})
                self._neighbours = everybody
            case "accepted":
                values = {"p": number_of(body["process"]), "n": number_of(body["number"]), "r": text_of(body["rule"])}
                connection.execute(self._accept, values)
                came = connection.execute(self._early_of, {"p": values["p"]}).one_or_none()
                if came is not None:
                    connection.execute(self._drop_early, {"p": values["p"]})
                    accepted = connection.execute(self._of_process, {"p": values["p"]}).one()
                    self._take(connection, say, accepted, came.number, came.sealed, taken)
            case "refused":
                known = connection.execute(self._of_process, {"p": number_of(body["process"])}).one_or_none()
                if known is not None and known.stage == RequestStage.SENT.value:
                    connection.execute(self._drop_early, {"p": known.process})
                    taken.ended.add(known.process)
                    values = {
                        "p": known.process,
                        "s": RequestStage.REFUSED.value,
                        "d": body["denial"],
                        "w": body["words"],
                    }
                    connection.execute(self._end, values)
            case "notification":
                notified = Notification.from_dict(body)
                self.server(notified.provider)
                row = {"number": notified.number, "provider": notified.provider,
                       "stage": RequestOutcome.NOTIFIED.value, "notification": json.dumps(body)}  # fmt: skip
                connection.execute(self._add_notified, row)
            case other:
                raise NetworkRejected("unknown-message", f"nothing is called {other[:40]!r} here")

    def _on_answer(
        self, connection: sa.Connection, say: Send, message: Message, taken: _Taken
    ) -> None:  # fmt: skip
        """The fifth step: it comes from the provider itself, past the core."""
        process = number_of(message.body["process"])
        number, sealed = number_of(message.body["number"]), str(message.body["sealed"])
        row = connection.execute(self._of_process, {"p": process}).one_or_none()
        if row is None or row.stage not in (RequestStage.SENT.value, RequestStage.ACCEPTED.value):
            raise NetworkRejected("not-asked", f"nothing is to be answered under {process}")
        neighbour = self.neighbours().get(row.provider)
        if neighbour is None or neighbour.interface != message.sender:
            raise NetworkRejected("not-entitled", f"{message.sender} does not speak for {row.provider}")
        if row.number is None:  # the core's word comes another way: without it nobody may have provided anything
            early = {"process": process, "number": number, "sealed": sealed}
            connection.execute(self._add_early, early)
            return
        self._take(connection, say, row, number, sealed, taken)

    def _take(
        self, connection: sa.Connection, say: Send, row: Any, number: int, sealed: str, taken: _Taken
    ) -> None:  # fmt: skip
        """An answer to what the core has accepted, under the number that the core gave it."""
        stage, words = RequestStage.ANSWERED, ""
        try:
            if number != row.number:
                raise InvalidAnswer("it is an answer to something else")
            server = self.server(row.body)
            taken.answers.append(server.opened(row.process, number, row.provider, row.item, sealed))
        except InvalidAnswer as error:
            stage, words = RequestStage.DISPUTED, str(error)
            say(CORE, "disputed", {"requester": row.body, "number": row.number, "why": words})
        connection.execute(self._end, {"p": row.process, "s": stage.value, "d": "", "w": words})
        taken.ended.add(row.process)

    # Providing

    def work(self) -> int:
        """Answer what this end was notified of: extract, seal, send. Answers how many were provided or held now. What
        a body's store does not give is still due afterwards. Raises StoreFailed."""
        with self.store.reading() as connection:
            due = list(connection.execute(self._due))
            held = list(connection.execute(self._held))
        if held:
            released = self.platform.released([row.number for row in held])
            due += [row for row in held if row.number in released]
        if not due:
            return 0
        neighbours = self.neighbours()
        asked = [Notification.from_dict(json.loads(row.notification)) for row in due]
        there = [notified for notified in asked if notified.requester in neighbours]
        answered = [self._sealed(*found, neighbours) for found in zip(there, self.platform.answers(there), strict=True)]
        now = self._world.clock.now()
        with self.store.transaction() as connection, self.outbox.batch(connection, self.name, now) as say:
            for notified, outcome, sealed in answered:
                if not connection.execute(self._done, {"n": notified.number, "s": outcome.value}).rowcount:
                    continue  # another thread was faster
                if outcome is RequestOutcome.PROVIDED:
                    answer = {"process": notified.process, "number": notified.number, "sealed": sealed}
                    say(neighbours[notified.requester].interface, "answer", answer)
                settled = {"provider": notified.provider, "number": notified.number, "outcome": outcome.value}
                say(CORE, "settled", settled)
        return len(answered)

    def _sealed(
        self,
        notified: Notification,
        found: Copy | ProvisionOnHold | NetworkRejected,
        neighbours: Mapping[str, Neighbour],
    ) -> tuple[Notification, RequestOutcome, str]:
        """An answer for the requester alone. Where nothing about the person is here, that is an answer, too."""
        if isinstance(found, ProvisionOnHold):
            return notified, RequestOutcome.HELD, ""
        copy = None if isinstance(found, NetworkRejected) else found
        key = neighbours[notified.requester].key
        return notified, RequestOutcome.PROVIDED, self.server(notified.provider).seal(notified, copy, key)

    def release(self, body: str, number: int) -> None:
        """A human of a body has looked at what waited: it is answered next. Raises NetworkRejected."""
        self.server(body).release(number)

    def notified(self) -> dict[int, tuple[Notification, RequestOutcome]]:
        """What this end was notified of, by number, and what became of it."""
        with self.store.reading() as connection:
            rows = connection.execute(sa.select(self._notified).order_by(self._notified.c.number)).all()
        return {
            row.number: (Notification.from_dict(json.loads(row.notification)), RequestOutcome(row.stage))
            for row in rows
        }

    def _set(self, connection: sa.Connection, values: Mapping[str, str]) -> None:
        table = self._setting
        connection.execute(sa.delete(table).where(table.c.name.in_(values)))
        connection.execute(sa.insert(table), [{"name": name, "value": value} for name, value in values.items()])

    def _settings(self, names: Sequence[str] = ()) -> dict[str, str]:
        query = sa.select(self._setting)
        if names:
            query = query.where(self._setting.c.name.in_(names))
        with self.store.reading() as connection:
            return {row.name: row.value for row in connection.execute(query)}
