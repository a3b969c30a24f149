"""An interface system (インターフェイスシステム): the only connection between bodies and the core, and between bodies.

A body submits a request and gets a process number; everything after that happens by messages. For each exchange the
interface system stores the requester, the provider, the item and the stage. Answers are encrypted between bodies, and
are decrypted on the requesting body's platform.
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
"""The maximum number of open requests of one body. Its interface system refuses further ones until some have ended."""

_AT_ONCE = 200
"""The number of notifications that are answered in one transaction."""


def store_name(interface: str) -> str:
    """Return the name of an interface system's store."""
    return f"interface_{interface}"


class RequestStage(Enum):
    """The stage of an outgoing request."""

    SENT = "sent"
    ACCEPTED = "accepted"
    """The core has notified the provider."""
    ANSWERED = "answered"
    REFUSED = "refused"
    DISPUTED = "disputed"
    """The answer does not match the request; the core was informed."""


@dataclass(frozen=True, slots=True)
class OutgoingRequest:
    """A request by a body behind this interface system: the provider, the item, the stage, and the rule that allows it
    or the reason why it was denied."""

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
        """Whether the process is finished."""
        return self.stage not in (RequestStage.SENT, RequestStage.ACCEPTED)


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A body on the network: its interface system, the address of that, and the body's public key (JWK)."""

    interface: str
    address: str
    key: str


@dataclass(frozen=True, slots=True)
class _Result:
    """The results of a batch of messages: answers to store, and processes that have ended."""

    answers: list[dict[str, Any]] = field(default_factory=list)
    ended: set[int] = field(default_factory=set)


class InterfaceSystem:
    """An interface system, and the platform with the intermediate servers of its bodies."""

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

    # Enrolment

    def begin(self) -> ec.EllipticCurvePublicKey:
        """Return the public key for which the core issues a certificate. The private key stays in this store."""
        new = pem_of(ec.generate_private_key(ec.SECP256R1())).decode("ascii")
        with self.store.alone() as connection:
            connection.execute(insert_if_absent(self._setting), {"name": "key", "value": new})
            text = str(connection.scalar(sa.select(self._setting.c.value).where(self._setting.c.name == "key")))
        key = serialization.load_pem_private_key(text.encode("ascii"), None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        return key.public_key()

    def enrolled(self, certificate: bytes, authority: bytes, core: str) -> None:
        """Store the core's reply: the certificate, its authority's certificate (both PEM), and the core's address."""
        values = {"certificate": certificate.decode("ascii"), "authority": authority.decode("ascii"), "core": core}
        with self.store.alone() as connection:
            self._set(connection, values)

    def credentials(self) -> tuple[Credentials, str]:
        """Return the TLS credentials and the core's address. Raises NetworkRejected if the interface system is not
        enrolled."""
        settings = self._settings()
        try:
            pems = [settings[name].encode("ascii") for name in ("certificate", "key", "authority")]
            return Credentials(*pems), settings["core"]
        except KeyError:
            raise NetworkRejected("not-enrolled", f"{self.name} is not enrolled with a core yet") from None

    def add(self, body: str) -> IntermediateServer:
        """Add a body to this interface system and return its intermediate server."""
        with self.store.alone() as connection:
            connection.execute(insert_if_absent(self._body), {"name": body})
        return self.server(body)

    @property
    def bodies(self) -> list[str]:
        """The names of the bodies behind this interface system."""
        with self.store.reading() as connection:
            return list(connection.scalars(sa.select(self._body.c.name).order_by(self._body.c.name)))

    def server(self, body: str) -> IntermediateServer:
        """Return a body's intermediate server. Raises NetworkRejected if the body is not behind this interface
        system."""
        if body not in self._servers:
            if body not in self.bodies:
                raise NetworkRejected("unknown-institution", f"{body} is not behind the interface system {self.name}")
            self._servers[body] = self.platform.server(body)
        return self._servers[body]

    def neighbours(self) -> dict[str, Neighbour]:
        """Return all bodies on the network, by name, as announced by the core."""
        if self._neighbours is None:
            text = self._settings(("members",)).get("members", "{}")
            self._neighbours = {name: Neighbour(**fields) for name, fields in json.loads(text).items()}
        return self._neighbours

    def addresses(self) -> dict[str, str]:
        """Return the addresses of the other interface systems and of the core, by name."""
        addresses = {neighbour.interface: neighbour.address for neighbour in self.neighbours().values()}
        return {**addresses, CORE: self._settings(("core",)).get("core", "")}

    # Requests

    def ask(
        self, body: str, code: InstitutionCode, purpose: Purpose, providers: Sequence[str], *, consent: bool = False,
        ordinary: bool = False,
    ) -> int:  # fmt: skip
        """Request an item about a person (step 1 of the five-step flow).

        Returns the process number, which is on disk; `asked` returns the state of the process. Raises NetworkRejected
        if the body has too many open requests.
        """
        with self.store.transaction() as connection:
            return self.ask_in(connection, body, code, purpose, providers, consent=consent, ordinary=ordinary)

    def ask_in(
        self, connection: sa.Connection, body: str, code: InstitutionCode, purpose: Purpose, providers: Sequence[str],
        *, consent: bool = False, ordinary: bool = False,
    ) -> int:  # fmt: skip
        """Request an item like `ask`, within a transaction of the interface system's store."""
        request = {"code": str(code), "purpose": asdict(purpose), "providers": list(providers), "consent": consent,
                   "ordinary": ordinary}  # fmt: skip
        return self._ask(connection, "request", body, ", ".join(providers), purpose.item, request)

    def ask_own(self, body: str, code: PortalCode, provider: str, item: str, reference: str) -> int:
        """Request a person's own information for the portal.

        The request is idempotent by `reference`: a caller that was interrupted repeats it and gets the same process
        number. Raises NetworkRejected.
        """
        request, columns = {"code": str(code), "provider": provider, "item": item}, self._asked.c
        with self.store.alone() as connection:
            process = connection.scalar(sa.select(columns.process).where(columns.reference == reference))
            if process is not None:
                return int(process)
            return self._ask(connection, "own-information", body, provider, item, request, reference)

    def _ask(
        self, connection: sa.Connection, kind: str, body: str, provider: str, item: str, request: dict[str, Any],
        reference: str | None = None,
    ) -> int:  # fmt: skip
        self.server(body)
        try:
            text_of(provider), text_of(item)
        except ValueError as error:
            raise NetworkRejected("bad-message", str(error)) from error
        if int(connection.scalar(self._open_of, {"b": body}) or 0) >= MOST_OPEN:
            raise NetworkRejected("busy", f"{body} has {MOST_OPEN:,} open requests, the maximum; try again later")
        now = self._world.clock.now()
        row = {"body": body, "provider": provider, "item": item, "asked_at": epoch(now),
               "stage": RequestStage.SENT.value,
               "rule": "", "denial": "", "words": "", "reference": reference}  # fmt: skip
        process = int(connection.execute(self._add_asked, row).scalar_one())
        self.outbox.put(connection, self.name, CORE, now, kind, {**request, "process": process, "requester": body})
        return process

    def set_undisclosed(self, body: str, code: InstitutionCode, *, on: bool) -> None:
        """Set or clear the flag that the portal must not show a person's records (不開示該当フラグ)."""
        self.server(body)
        with self.store.transaction() as connection:
            flag = {"body": body, "code": str(code), "on": on}
            self.outbox.put(connection, self.name, CORE, self._world.clock.now(), "undisclosed", flag)

    def asked(self, process: int) -> OutgoingRequest:
        """Return the state of a request. Raises NetworkRejected if there is no process with that number."""
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
        """Return the answer to a request, or None if it has not arrived."""
        return self.server(self.asked(process).body).received(process)

    # Messages

    def receive(self, messages: Sequence[Message]) -> None:
        """Handle messages from the core and other interface systems.

        Raises MessageGap, and StoreFailed if a body's store does not accept an answer; the messages are then delivered
        again.
        """
        with self.store.transaction() as connection:
            self.receive_in(connection, messages)

    def receive_in(self, connection: sa.Connection, messages: Sequence[Message]) -> set[int]:
        """Handle messages like `receive`, within a transaction of the interface system's store. Returns the numbers of
        the processes that have ended."""
        result = _Result()
        with self.outbox.batch(connection, self.name, self._world.clock.now()) as send:
            for message in self._inbox.fresh(connection, messages):
                try:
                    if message.kind == "answer":
                        self._on_answer(connection, send, message, result)
                    else:
                        self._on_core_message(connection, send, message, result)
                except (NetworkRejected, ForeignCode, AttributeError, KeyError, TypeError, ValueError) as error:
                    detail = {"from": message.sender, "kind": ascii(message.kind), "why": ascii(str(error))}
                    self._log(connection, self._world.clock.now(), "not understood", detail)
        self.platform.keep(result.answers)  # before this store commits that they have arrived
        return result.ended

    def _on_core_message(
        self, connection: sa.Connection, send: Send, message: Message, result: _Result
    ) -> None:  # fmt: skip
        body = message.body
        if message.sender != CORE:
            raise NetworkRejected("not-entitled", f"{message.sender} is not the core")
        match message.kind:
            case "members":
                announced = {name: Neighbour(**fields) for name, fields in body["members"].items()}
                neighbours = {**self.neighbours(), **announced}
                members = {name: asdict(neighbour) for name, neighbour in neighbours.items()}
                self._set(connection, {"members": json.dumps(members)})
                self._neighbours = neighbours
            case "accepted":
                values = {"p": number_of(body["process"]), "n": number_of(body["number"]), "r": text_of(body["rule"])}
                connection.execute(self._accept, values)
                early = connection.execute(self._early_of, {"p": values["p"]}).one_or_none()
                if early is not None:
                    connection.execute(self._drop_early, {"p": values["p"]})
                    accepted = connection.execute(self._of_process, {"p": values["p"]}).one()
                    self._accept_answer(connection, send, accepted, early.number, early.sealed, result)
            case "refused":
                known = connection.execute(self._of_process, {"p": number_of(body["process"])}).one_or_none()
                if known is not None and known.stage == RequestStage.SENT.value:
                    connection.execute(self._drop_early, {"p": known.process})
                    result.ended.add(known.process)
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
                raise NetworkRejected("unknown-message", f"there is no message kind {other[:40]!r}")

    def _on_answer(
        self, connection: sa.Connection, send: Send, message: Message, result: _Result
    ) -> None:  # fmt: skip
        """Handle an answer (step 5), which comes directly from the provider and not through the core."""
        process = number_of(message.body["process"])
        number, sealed = number_of(message.body["number"]), str(message.body["sealed"])
        row = connection.execute(self._of_process, {"p": process}).one_or_none()
        if row is None or row.stage not in (RequestStage.SENT.value, RequestStage.ACCEPTED.value):
            raise NetworkRejected("not-asked", f"there is no open request with the process number {process}")
        neighbour = self.neighbours().get(row.provider)
        if neighbour is None or neighbour.interface != message.sender:
            raise NetworkRejected("not-entitled", f"{message.sender} does not speak for {row.provider}")
        if row.number is None:  # the core's acceptance is sent separately; without it no answer counts
            early = {"process": process, "number": number, "sealed": sealed}
            connection.execute(self._add_early, early)
            return
        self._accept_answer(connection, send, row, number, sealed, result)

    def _accept_answer(
        self, connection: sa.Connection, send: Send, row: Any, number: int, sealed: str, result: _Result
    ) -> None:  # fmt: skip
        """Decrypt an answer to a request that the core has accepted. It must have the number that the core assigned."""
        stage, words = RequestStage.ANSWERED, ""
        try:
            if number != row.number:
                raise InvalidAnswer("the answer belongs to another request")
            server = self.server(row.body)
            result.answers.append(server.opened(row.process, number, row.provider, row.item, sealed))
        except InvalidAnswer as error:
            stage, words = RequestStage.DISPUTED, str(error)
            send(CORE, "disputed", {"requester": row.body, "number": row.number, "why": words})
        connection.execute(self._end, {"p": row.process, "s": stage.value, "d": "", "w": words})
        result.ended.add(row.process)

    # Provision

    def work(self) -> int:
        """Answer the notifications that are due: find the copy, encrypt it, send it.

        Returns the number of requests that were provided or put on hold. A request stays due if a body's store fails.
        Raises StoreFailed.
        """
        with self.store.reading() as connection:
            due = list(connection.execute(self._due))
            held = list(connection.execute(self._held))
        if held:
            released = self.platform.released([row.number for row in held])
            due += [row for row in held if row.number in released]
        if not due:
            return 0
        neighbours = self.neighbours()
        notifications = [Notification.from_dict(json.loads(row.notification)) for row in due]
        notifications = [notified for notified in notifications if notified.requester in neighbours]
        answers = self.platform.answers(notifications)
        answered = [self._sealed(*pair, neighbours) for pair in zip(notifications, answers, strict=True)]
        now = self._world.clock.now()
        with self.store.transaction() as connection, self.outbox.batch(connection, self.name, now) as send:
            for notified, outcome, sealed in answered:
                if not connection.execute(self._done, {"n": notified.number, "s": outcome.value}).rowcount:
                    continue  # another thread was faster
                if outcome is RequestOutcome.PROVIDED:
                    answer = {"process": notified.process, "number": notified.number, "sealed": sealed}
                    send(neighbours[notified.requester].interface, "answer", answer)
                settled = {"provider": notified.provider, "number": notified.number, "outcome": outcome.value}
                send(CORE, "settled", settled)
        return len(answered)

    def _sealed(
        self,
        notified: Notification,
        answer: Copy | ProvisionOnHold | NetworkRejected,
        neighbours: Mapping[str, Neighbour],
    ) -> tuple[Notification, RequestOutcome, str]:
        """Encrypt an answer for the requester. That the provider has no copy is an answer too."""
        if isinstance(answer, ProvisionOnHold):
            return notified, RequestOutcome.HELD, ""
        copy = None if isinstance(answer, NetworkRejected) else answer
        key = neighbours[notified.requester].key
        return notified, RequestOutcome.PROVIDED, self.server(notified.provider).seal(notified, copy, key)

    def release(self, body: str, number: int) -> None:
        """Release a request on hold after a person at the body has checked it; `work` then answers it. Raises
        NetworkRejected."""
        self.server(body).release(number)

    def notified(self) -> dict[int, tuple[Notification, RequestOutcome]]:
        """Return the notifications that this interface system has received, with their outcomes, by number."""
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
