"""The requests that an interface system answers: it finds the copy at the notified body, encrypts it and sends it."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import sqlalchemy as sa

from kazashi.provision_network.asking import Result
from kazashi.provision_network.interface_store import NOTIFIED, OUTBOX
from kazashi.provision_network.intermediate import (
    Copy,
    IntermediatePlatform,
    IntermediateServer,
    ProvisionOnHold,
)
from kazashi.provision_network.neighbours import Neighbours
from kazashi.provision_network.terms import CORE, NetworkRejected, Notification, RequestOutcome
from kazashi.world.clock import Clock
from kazashi.world.outbox import Message, Send
from kazashi.world.statement import Statement
from kazashi.world.storage import Store, insert_if_absent

_AT_ONCE = 200
"""The number of notifications that are answered in one transaction."""

_notified = NOTIFIED.c
_ADD = Statement(insert_if_absent(NOTIFIED))
_HELD = sa.select(NOTIFIED).where(_notified.stage == RequestOutcome.HELD.value).order_by(_notified.number)
_OPEN = Statement(sa.select(NOTIFIED).where(
    _notified.stage.in_((RequestOutcome.NOTIFIED.value, RequestOutcome.HELD.value))
).order_by(_notified.number))  # fmt: skip
_DONE = sa.update(NOTIFIED).where(
    _notified.number == sa.bindparam("n"), _notified.stage != sa.bindparam("s"),
    _notified.stage.in_((RequestOutcome.NOTIFIED.value, RequestOutcome.HELD.value)),
).values(stage=sa.bindparam("s"))  # fmt: skip


class Answering:
    """The notifications that an interface system has received, and their answers."""

    def __init__(
        self, store: Store, clock: Clock, name: str, platform: IntermediatePlatform,
        server: Callable[[str], IntermediateServer], neighbours: Neighbours,
    ) -> None:  # fmt: skip
        self._store = store
        self._clock = clock
        self._name = name
        self._platform = platform
        self._server = server
        self._neighbours = neighbours

    def on_notification(self, _: sa.Connection, __: Send, message: Message, result: Result) -> None:
        """Handle the Minister's notification to a body (21条2項)."""
        notified = Notification.from_dict(message.body)
        self._server(notified.provider)
        result.notified.append(notified)

    def answer(self, connection: sa.Connection, send: Send, notifications: Sequence[Notification]) -> None:
        """Answer notifications in the transaction in which they have arrived: find the copy, encrypt it, send it.

        Raises StoreFailed if a body's store fails.
        """
        for notified, outcome, sealed in self._outcomes(notifications):
            row = {"number": notified.number, "provider": notified.provider, "stage": outcome.value,
                   "notification": json.dumps(notified.as_dict())}  # fmt: skip
            if _ADD.run(connection, row):
                self._send(send, notified, outcome, sealed)

    def work(self) -> int:
        """Answer the notifications that could not be answered when they arrived, because the requester was not known
        yet, and those that were released.

        Returns the number of requests that were provided or put on hold. A request stays due if a body's store fails.
        Raises StoreFailed.
        """
        with self._store.reading() as connection:
            rows = _OPEN.all(connection)
            self._neighbours.known(connection)  # what another process has learnt in the meantime
        held = [row.number for row in rows if row.stage == RequestOutcome.HELD.value]
        waiting = set(held) - self._platform.released(held) if held else set()
        due = [row for row in rows if row.number not in waiting][:_AT_ONCE]
        notifications = [Notification.from_dict(json.loads(row.notification)) for row in due]
        notifications = [notified for notified in notifications if self._neighbours.get(notified.requester)]
        if not notifications:
            return 0
        answered, now = self._outcomes(notifications), self._clock.now()
        with self._store.transaction() as connection, OUTBOX.batch(connection, self._name, now) as send:
            for notified, outcome, sealed in answered:
                if connection.execute(_DONE, {"n": notified.number, "s": outcome.value}).rowcount:
                    self._send(send, notified, outcome, sealed)  # otherwise another thread was faster
        return len(answered)

    def _outcomes(self, notifications: Sequence[Notification]) -> list[tuple[Notification, RequestOutcome, str]]:
        """Return the outcome of each notification, with the encrypted answer if it is provided."""
        answers = self._platform.answers(notifications) if notifications else []
        return [self._outcome(*pair) for pair in zip(notifications, answers, strict=True)]

    def _outcome(
        self, notified: Notification, answer: Copy | ProvisionOnHold | NetworkRejected
    ) -> tuple[Notification, RequestOutcome, str]:  # fmt: skip
        if (requester := self._neighbours.get(notified.requester)) is None:
            return notified, RequestOutcome.NOTIFIED, ""
        if isinstance(answer, ProvisionOnHold):
            return notified, RequestOutcome.HELD, ""
        # That the provider has no copy is an answer, too.
        copy = None if isinstance(answer, NetworkRejected) else answer
        return notified, RequestOutcome.PROVIDED, self._server(notified.provider).seal(notified, copy, requester.key)

    def _send(self, send: Send, notified: Notification, outcome: RequestOutcome, sealed: str) -> None:
        """Send the answer to the requester, or the notice that it is on hold, and the outcome to the core."""
        if outcome is RequestOutcome.NOTIFIED:
            return
        reply: dict[str, Any] = {"process": notified.process, "number": notified.number}
        kind, content = ("answer", {**reply, "sealed": sealed}) if sealed else ("held", reply)
        send(self._neighbours.bodies()[notified.requester].interface, kind, content)
        settled = {"provider": notified.provider, "number": notified.number, "outcome": outcome.value}
        send(CORE, "settled", settled)

    def release(self, body: str, number: int) -> None:
        """Release a request on hold after a person at the body has checked it; `work` then answers it. Raises
        NetworkRejected."""
        self._server(body).release(number)

    def held(self, body: str | None = None) -> list[Notification]:
        """Return the requests on hold at one body or at all, oldest first."""
        with self._store.reading() as connection:
            rows = connection.execute(_HELD).all()
        released = self._platform.released([row.number for row in rows])
        held = [Notification.from_dict(json.loads(row.notification)) for row in rows if row.number not in released]
        return [one for one in held if body in (None, one.provider)]

    def notified(self) -> dict[int, tuple[Notification, RequestOutcome]]:
        """Return the notifications that this interface system has received, with their outcomes, by number."""
        with self._store.reading() as connection:
            rows = connection.execute(sa.select(NOTIFIED).order_by(_notified.number)).all()
        return {
            row.number: (Notification.from_dict(json.loads(row.notification)), RequestOutcome(row.stage))
            for row in rows
        }
