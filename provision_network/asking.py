"""The requests that bodies send by an interface system, from the question to the answer.

A body submits a request and gets a process number; everything after that happens by messages.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from enum import Enum
from typing import Any

import sqlalchemy as sa

from kazashi.provision_network.codes import InstitutionCode, PortalCode
from kazashi.provision_network.interface_store import ASKED, EARLY_ANSWER, OUTBOX
from kazashi.provision_network.intermediate import IntermediateServer, InvalidAnswer, PersonAtBody, Received
from kazashi.provision_network.law.tables import Purpose
from kazashi.provision_network.neighbours import Neighbours
from kazashi.provision_network.terms import CORE, NetworkRejected, Notification, number_of, own_body, text_of
from kazashi.world.clock import Clock, epoch, from_epoch
from kazashi.world.outbox import Message, MessageBatch, Send
from kazashi.world.statement import Statement
from kazashi.world.storage import Store, insert_if_absent

MOST_OPEN = 5_000
"""The maximum number of open requests of one body. Its interface system refuses further ones until some have ended."""


class RequestStage(Enum):
    """The stage of an outgoing request."""

    SENT = "sent"
    ACCEPTED = "accepted"
    """The core has notified the provider."""
    HELD = "held"
    """A person at the provider must check it first."""
    ANSWERED = "answered"
    REFUSED = "refused"
    DISPUTED = "disputed"
    """The answer does not match the request; the core was informed."""


_UNDER_WAY = (RequestStage.SENT.value, RequestStage.ACCEPTED.value)
_OPEN = (*_UNDER_WAY, RequestStage.HELD.value)
_asked = ASKED.c
_ADD = Statement(sa.insert(ASKED).returning(_asked.process))
_OPEN_OF = Statement(sa.select(sa.func.count()).where(_asked.body == sa.bindparam("b"), _asked.stage.in_(_OPEN)))
_this = _asked.process == sa.bindparam("p")
_OF_PROCESS = Statement(sa.select(ASKED).where(_this))
_OF_PROCESSES = Statement(sa.select(ASKED).where(_asked.process.in_(sa.bindparam("ps", expanding=True))))
_ACCEPT = Statement(sa.update(ASKED).where(_this).values(
    number=sa.bindparam("n"), rule=sa.bindparam("r"),
    stage=sa.case((_asked.stage == RequestStage.SENT.value, RequestStage.ACCEPTED.value), else_=_asked.stage),
))  # fmt: skip
_END = Statement(sa.update(ASKED).where(_this).values(
    stage=sa.bindparam("s"), denial=sa.bindparam("d"), words=sa.bindparam("w")
))  # fmt: skip
_FORGET = sa.update(ASKED).where(_asked.body == sa.bindparam("b")).values(
    body="", provider="", item="", rule="", denial="", words=""
)  # fmt: skip
_HOLD = Statement(sa.update(ASKED).where(_this, _asked.stage.in_(_UNDER_WAY)).values(stage=RequestStage.HELD.value))
_ADD_EARLY = Statement(insert_if_absent(EARLY_ANSWER))
_EARLY_OF = Statement(sa.select(EARLY_ANSWER).where(EARLY_ANSWER.c.process == sa.bindparam("p")))
_DROP_EARLY = Statement(sa.delete(EARLY_ANSWER).where(EARLY_ANSWER.c.process == sa.bindparam("p")))


@dataclass(frozen=True, slots=True)
class ItemRequest:
    """What a body requests about a person (照会): its code for the person, the purpose and the provider. `consent` and
    `ordinary` are those of `RuleBook.decide`."""

    code: InstitutionCode
    purpose: Purpose
    providers: Sequence[str]
    consent: bool = False
    ordinary: bool = False

    def body(self) -> dict[str, Any]:
        """Return the question as fields of a message, with the code in hexadecimal."""
        return {"code": str(self.code), "purpose": asdict(self.purpose), "providers": list(self.providers),
                "consent": self.consent, "ordinary": self.ordinary}  # fmt: skip


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
    def under_way(self) -> bool:
        """Whether the process goes on without anybody's doing: it has not ended, and is not on hold."""
        return self.stage.value in _UNDER_WAY

    @property
    def ended(self) -> bool:
        """Whether the process is finished."""
        return self.stage.value not in _OPEN

    def as_dict(self, received: Received | None) -> dict[str, Any]:
        """Return the state of the process for JSON, with the answer if it has arrived."""
        at = None if received is None else received.registered_at
        return {
            "process": self.process, "stage": self.stage.value, "number": self.number, "rule": self.rule,
            "denial": self.denial, "words": self.words if received is None else received.words,
            "item": self.item, "provider": self.provider, "content": None if received is None else received.content,
            "registered_at": None if at is None else at.isoformat(),
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Result:
    """The results of a batch of messages: the messages sent in consequence, people at bodies and answers to store,
    processes that have ended or are now on hold, and notifications to answer."""

    sent: MessageBatch
    people: list[tuple[str, list[PersonAtBody]]] = field(default_factory=list)
    answers: list[dict[str, Any]] = field(default_factory=list)
    ended: set[int] = field(default_factory=set)
    notified: list[Notification] = field(default_factory=list)


class Asking:
    """The outgoing requests of an interface system. Answers are decrypted on the requesting body's platform."""

    def __init__(
        self, store: Store, clock: Clock, name: str, server: Callable[[str], IntermediateServer],
        neighbours: Neighbours,
    ) -> None:  # fmt: skip
        self._store = store
        self._clock = clock
        self._name = name
        self._server = server
        self._neighbours = neighbours

    def ask(
        self, body: str, code: InstitutionCode, purpose: Purpose, providers: Sequence[str], *, consent: bool = False,
        ordinary: bool = False,
    ) -> int:  # fmt: skip
        """Request an item about a person (step 1 of the five-step flow).

        Returns the process number, which is on disk; `request` returns the state of the process. Raises NetworkRejected
        if the body has too many open requests.
        """
        question = ItemRequest(code, purpose, providers, consent, ordinary)
        with self._store.transaction() as connection:
            return self.ask_all(connection, body, [question])[0]

    def ask_all(self, connection: sa.Connection, body: str, questions: Sequence[ItemRequest]) -> list[int]:
        """Request items like `ask`, within a transaction of the interface system's store. Returns the process numbers,
        in the same order."""
        self._check_open(connection, body, len(questions))
        with OUTBOX.batch(connection, self._name, self._clock.now()) as send:
            return [
                self._ask(connection, send, "request", body, ", ".join(one.providers), one.purpose.item, one.body())
                for one in questions
            ]

    def ask_own(self, body: str, code: PortalCode, provider: str, item: str, reference: str) -> int:
        """Request a person's own information for the portal.

        The request is idempotent by `reference`: a caller that was interrupted repeats it and gets the same process
        number. Raises NetworkRejected.
        """
        request = {"code": str(code), "provider": provider, "item": item}
        with self._store.alone() as connection:
            process = connection.scalar(sa.select(_asked.process).where(_asked.reference == reference))
            if process is not None:
                return int(process)
            self._check_open(connection, body, 1)
            with OUTBOX.batch(connection, self._name, self._clock.now()) as send:
                return self._ask(connection, send, "own-information", body, provider, item, request, reference)

    def _check_open(self, connection: sa.Connection, body: str, further: int) -> None:
        """Raise NetworkRejected if a body has too many open requests to have `further` ones."""
        self._server(body)
        if int(_OPEN_OF.scalar(connection, {"b": body})) + further > MOST_OPEN:
            raise NetworkRejected("busy", f"{body} has {MOST_OPEN:,} open requests, the maximum; try again later")

    def _ask(
        self, connection: sa.Connection, send: Send, kind: str, body: str, provider: str, item: str,
        request: dict[str, Any], reference: str | None = None,
    ) -> int:  # fmt: skip
        if provider == body:
            raise own_body(body)
        try:
            text_of(provider), text_of(item)
        except ValueError as error:
            raise NetworkRejected("bad-message", str(error)) from error
        row = {"body": body, "provider": provider, "item": item, "asked_at": epoch(self._clock.now()),
               "stage": RequestStage.SENT.value,
               "rule": "", "denial": "", "words": "", "reference": reference}  # fmt: skip
        process = int(_ADD.scalar(connection, row))
        send(CORE, kind, {**request, "process": process, "requester": body})
        return process

    def request(self, process: int) -> OutgoingRequest:
        """Return the state of a request. Raises NetworkRejected if there is no process with that number."""
        return self.requests([process])[0]

    def requests(self, processes: Sequence[int]) -> list[OutgoingRequest]:
        """Return the states of requests, in the same order. Raises NetworkRejected like `request`."""
        with self._store.reading() as connection:
            return self.requests_in(connection, processes)

    def requests_in(self, connection: sa.Connection, processes: Sequence[int]) -> list[OutgoingRequest]:
        """Return the states of requests like `requests`, within a transaction of the interface system's store."""
        rows = {row.process: row for row in _OF_PROCESSES.all(connection, {"ps": processes})}
        if missing := [process for process in processes if process not in rows]:
            raise NetworkRejected("unknown-process", f"{self._name} has no process {missing[0]}")
        return [
            OutgoingRequest(
                row.process, row.body, row.provider, row.item, from_epoch(row.asked_at), RequestStage(row.stage),
                row.number, row.rule, row.denial, row.words,
            )
            for row in map(rows.__getitem__, processes)
        ]  # fmt: skip

    def processes_of(self, body: str) -> dict[int, int]:
        """Return a body's processes by the core's number of the request."""
        query = sa.select(_asked.number, _asked.process).where(_asked.body == body, _asked.number.is_not(None))
        with self._store.reading() as connection:
            return {row.number: row.process for row in connection.execute(query)}

    def open_with(self, body: str) -> tuple[int, int]:
        """Return the number of open requests from or to a body, and how many of them are on hold."""
        query = sa.select(_asked.stage, sa.func.count()).where(
            (_asked.body == body) | (_asked.provider == body), _asked.stage.in_(_OPEN)
        ).group_by(_asked.stage)  # fmt: skip
        with self._store.reading() as connection:
            counts = {row[0]: row[1] for row in connection.execute(query)}
        return sum(counts.values()), counts.get(RequestStage.HELD.value, 0)

    @staticmethod
    def forget(connection: sa.Connection, body: str) -> None:
        """Forget the requests of a body that has left. Their process numbers stay used, so that a body of the same name
        does not get them again."""
        connection.execute(_FORGET, {"b": body})

    def answer_to(self, process: int) -> Received | None:
        """Return the answer to a request, or None if it has not arrived."""
        return self._server(self.request(process).body).received(process)

    # Messages

    def on_accepted(self, connection: sa.Connection, send: Send, message: Message, result: Result) -> None:
        """Handle the core's acceptance of a request."""
        body = message.body
        values = {"p": number_of(body["process"]), "n": number_of(body["number"]), "r": text_of(body["rule"])}
        _ACCEPT.run(connection, values)
        early = _EARLY_OF.one_or_none(connection, {"p": values["p"]})
        if early is not None:
            _DROP_EARLY.run(connection, {"p": values["p"]})
            accepted = _OF_PROCESS.one_or_none(connection, {"p": values["p"]})
            self._accept_answer(connection, send, accepted, early.number, early.sealed, result)

    def on_refused(self, connection: sa.Connection, _: Send, message: Message, result: Result) -> None:
        """Handle the core's refusal of a request."""
        body = message.body
        known = _OF_PROCESS.one_or_none(connection, {"p": number_of(body["process"])})
        if known is not None and known.stage == RequestStage.SENT.value:
            _DROP_EARLY.run(connection, {"p": known.process})
            self._end(connection, known.process, RequestStage.REFUSED, result, body["denial"], body["words"])

    def on_answer(self, connection: sa.Connection, send: Send, message: Message, result: Result) -> None:
        """Handle an answer (step 5), which comes directly from the provider and not through the core."""
        process = number_of(message.body["process"])
        number, sealed = number_of(message.body["number"]), str(message.body["sealed"])
        row = _OF_PROCESS.one_or_none(connection, {"p": process})
        if row is None or row.stage not in _OPEN:
            raise NetworkRejected("not-asked", f"there is no open request with the process number {process}")
        self._check_speaks_for(message.sender, row.provider)
        if row.number is None:  # the core's acceptance is sent separately; without it no answer counts
            early = {"process": process, "number": number, "sealed": sealed}
            _ADD_EARLY.run(connection, early)
            return
        self._accept_answer(connection, send, row, number, sealed, result)

    def on_held(self, connection: sa.Connection, _: Send, message: Message, result: Result) -> None:
        """Handle a provider's notice that a person must check the request first (自動応答不可)."""
        process = number_of(message.body["process"])
        row = _OF_PROCESS.one_or_none(connection, {"p": process})
        if row is None or row.stage not in _UNDER_WAY:
            raise NetworkRejected("not-asked", f"there is no request under way with the process number {process}")
        self._check_speaks_for(message.sender, row.provider)
        _HOLD.run(connection, {"p": process})
        result.ended.add(process)

    def _check_speaks_for(self, interface: str, provider: str) -> None:
        neighbour = self._neighbours.bodies().get(provider)
        if neighbour is None or neighbour.interface != interface:
            raise NetworkRejected("not-entitled", f"{interface} does not speak for {provider}")

    def _accept_answer(
        self, connection: sa.Connection, send: Send, row: Any, number: int, sealed: str, result: Result
    ) -> None:  # fmt: skip
        """Decrypt an answer to a request that the core has accepted. It must have the number that the core assigned."""
        stage, words = RequestStage.ANSWERED, ""
        try:
            if number != row.number:
                raise InvalidAnswer("the answer belongs to another request")
            server = self._server(row.body)
            result.answers.append(server.opened(row.process, number, row.provider, row.item, sealed))
        except InvalidAnswer as error:
            stage, words = RequestStage.DISPUTED, str(error)
            send(CORE, "disputed", {"requester": row.body, "number": row.number, "why": words})
        self._end(connection, row.process, stage, result, words=words)

    def _end(
        self, connection: sa.Connection, process: int, stage: RequestStage, result: Result, denial: str = "",
        words: str = "",
    ) -> None:  # fmt: skip
        _END.run(connection, {"p": process, "s": stage.value, "d": denial, "w": words})
        result.ended.add(process)
