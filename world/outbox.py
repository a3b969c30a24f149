"""Messages between actors with separate stores: in order, none lost, none applied twice.

The sender writes a message to its own store, in the transaction that makes the change. `deliver` passes it on later,
and removes it once the receiver has returned. The receiver records the message's sequence number in its own store, in
the transaction that applies it, and skips messages that it gets again. Either side may be killed at any point.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Any

import sqlalchemy as sa

from kazashi.world.clock import epoch, from_epoch
from kazashi.world.statement import Statement
from kazashi.world.storage import Position, Store, insert_if_absent

Body = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Message:
    """One message. `sequence` counts 1, 2, ... for each pair of sender and receiver."""

    sender: str
    receiver: str
    sequence: int
    kind: str
    body: Body


class MessageGap(Exception):
    """A message arrived before one that its sender had sent earlier. Nothing was applied."""


class NodeDown(Exception):
    """A receiver does not accept messages now. They stay in the sender's outbox."""


Receive = Callable[[Sequence[Message]], None]
"""Takes messages of any senders, in order. They are applied durably when it returns. It is idempotent."""


ForEach = Callable[[Callable[[Any], bool], Sequence[Any]], Iterable[bool]]
"""Calls a function with each element, and returns the results in the same order."""

Send = Callable[[str, str, Body], None]
"""Send a message: receiver, kind, body."""


class MessageBatch:
    """Messages that are queued together. Calling it sends a message; it is true if one was sent."""

    def __init__(self) -> None:
        self.queued: dict[str, list[tuple[str, Body]]] = {}

    def __call__(self, receiver: str, kind: str, body: Body) -> None:
        """Send a message."""
        self.queued.setdefault(receiver, []).append((kind, body))

    def __bool__(self) -> bool:
        return bool(self.queued)


class Outbox:
    """The messages that an actor has to send, in tables of its own store."""

    def __init__(self, metadata: sa.MetaData) -> None:
        self._outbox = outbox = sa.Table(
            "outbox", metadata,
            sa.Column("position", Position, primary_key=True),
            sa.Column("sender", sa.Text, nullable=False),
            sa.Column("receiver", sa.Text, nullable=False),
            sa.Column("sequence", sa.BigInteger, nullable=False),
            sa.Column("due", sa.BigInteger, nullable=False),
            sa.Column("kind", sa.Text, nullable=False),
            sa.Column("body", sa.Text, nullable=False),
            sa.UniqueConstraint("sender", "receiver", "sequence"),
            sa.Index("outbox_due", "due"),
        )  # fmt: skip
        self._stream = stream = sa.Table(
            "outgoing_stream", metadata,
            sa.Column("sender", sa.Text, primary_key=True),
            sa.Column("receiver", sa.Text, primary_key=True),
            sa.Column("sent", sa.BigInteger, nullable=False),
        )  # fmt: skip
        this_stream = (stream.c.sender == sa.bindparam("s")) & (stream.c.receiver == sa.bindparam("r"))
        sent = stream.c.sent + sa.bindparam("n")
        self._count = Statement(sa.update(stream).where(this_stream).values(sent=sent).returning(stream.c.sent))
        self._begin, self._add = Statement(insert_if_absent(stream)), Statement(sa.insert(outbox))
        # Not by position: SQLite gives a position again once its row is gone. Another process may have delivered the
        # same message and removed it, and a later message may have its position now.
        self._remove = Statement(sa.delete(outbox).where(
            (outbox.c.sender == sa.bindparam("s")) & (outbox.c.receiver == sa.bindparam("r"))
            & (outbox.c.sequence == sa.bindparam("n"))
        ))  # fmt: skip
        self._waiting = sa.select(sa.func.count()).select_from(outbox)
        self._due = Statement(sa.select(outbox).where(
            outbox.c.due <= sa.bindparam("now"), outbox.c.receiver.not_in(sa.bindparam("down", expanding=True))
        ).order_by(outbox.c.position).limit(sa.bindparam("most")))  # fmt: skip
        self._hasten = Statement(sa.update(outbox).where(
            (outbox.c.sender == sa.bindparam("s")) & (outbox.c.receiver == sa.bindparam("r"))
            & (outbox.c.due > sa.bindparam("d"))
        ).values(due=sa.bindparam("d")))  # fmt: skip

    def put(self, connection: sa.Connection, sender: str, receiver: str, due: datetime, kind: str, body: Body) -> None:
        """Queue a message, in a transaction of the sender's store. It is delivered at `due`.

        Messages that wait for the same receiver are then delivered at `due` at the latest, to keep the order.
        """
        self.put_all(connection, sender, receiver, due, [(kind, body)])

    def put_all(
        self, connection: sa.Connection, sender: str, receiver: str, due: datetime, messages: Sequence[tuple[str, Body]]
    ) -> None:  # fmt: skip
        """Queue several messages, as pairs of kind and body, in that order. They are delivered at `due`."""
        count = len(messages)
        stream, until = {"s": sender, "r": receiver, "n": count}, epoch(due)
        last = self._count.scalar(connection, stream)
        if last is None:
            self._begin.run(connection, {"sender": sender, "receiver": receiver, "sent": 0})
            last = self._count.scalar(connection, stream) or 0
        else:
            self._hasten.run(connection, {"s": sender, "r": receiver, "d": until})
        self._add.run_all(connection, [
            {"sender": sender, "receiver": receiver, "sequence": sequence, "due": until, "kind": kind,
             "body": json.dumps(body, ensure_ascii=False)}
            for sequence, (kind, body) in enumerate(messages, last - count + 1)
        ])  # fmt: skip

    @contextmanager
    def batch(self, connection: sa.Connection, sender: str, due: datetime) -> Iterator[MessageBatch]:
        """A context that gives a function to send messages with.

        The messages are queued together at the end, which is faster than one by one.
        """
        batch = MessageBatch()
        yield batch
        for receiver, messages in batch.queued.items():
            self.put_all(connection, sender, receiver, due, messages)

    def flush_by(self, connection: sa.Connection, sender: str, due: datetime) -> None:
        """Make all waiting messages of a sender due at an instant at the latest."""
        table = self._outbox
        later = (table.c.sender == sender) & (table.c.due > epoch(due))
        connection.execute(sa.update(table).where(later).values(due=epoch(due)))

    def next_due(self, store: Store, kinds: Sequence[str] = ()) -> datetime | None:
        """The time at which the next message, or the next one of these kinds, is due; None if no message waits."""
        query = sa.select(sa.func.min(self._outbox.c.due))
        if kinds:
            query = query.where(self._outbox.c.kind.in_(kinds))
        with store.reading() as connection:
            due = connection.scalar(query)
        return None if due is None else from_epoch(due)

    def queued(self, connection: sa.Connection, receivers: Sequence[str], kind: str) -> list[Body]:
        """The bodies of the messages of a kind that wait for these receivers, within an open transaction."""
        table = self._outbox.c
        query = sa.select(table.body).where(table.kind == kind, table.receiver.in_(receivers)).order_by(table.position)
        return [json.loads(body) for body in connection.scalars(query)]

    def waiting(self, store: Store) -> int:
        """The number of messages that wait."""
        with store.reading() as connection:
            return self.waiting_in(connection)

    def waiting_in(self, connection: sa.Connection) -> int:
        """The number of messages that wait, within an open transaction."""
        return int(connection.scalar(self._waiting) or 0)

    def deliver(
        self, store: Store, now: datetime, receivers: Mapping[str, Receive], batch: int = 500, each: ForEach = map
    ) -> int:
        """Deliver every message that is due, and return their number.

        `receivers` has the receivers by name, or by the part of the name before a colon. The messages of a receiver
        that is down keep waiting, and do not delay those of others. `each` delivers to the receivers: one after the
        other, or, as the `map` of a thread pool, at the same time.
        """
        delivered, down = 0, {""}

        def actor(row: Any) -> str:
            name = str(row.receiver)
            return name if name in receivers else name.partition(":")[0]

        while True:
            with store.reading() as connection:
                rows = self._due.all(connection, {"now": epoch(now), "down": [*down], "most": batch})
            if not rows:
                return delivered
            groups = [(name, list(group)) for name, group in groupby(sorted(rows, key=actor), actor)]
            done: list[dict[str, Any]] = []
            try:
                for accepted, (_, group) in zip(
                    each(lambda one: _accepted(receivers, *one), groups), groups, strict=True
                ):
                    if accepted:
                        done += [{"s": row.sender, "r": row.receiver, "n": row.sequence} for row in group]
                    else:
                        down |= {row.receiver for row in group}
            finally:  # also if a receiver has failed
                if done:
                    with store.transaction() as connection:
                        self._remove.run_all(connection, done)
            delivered += len(done)
            if len(rows) < batch:
                return delivered


def _accepted(receivers: Mapping[str, Receive], name: str, rows: Sequence[Any]) -> bool:
    """Deliver the messages in these rows. Returns whether the receiver is not down."""
    messages = [Message(row.sender, row.receiver, row.sequence, row.kind, json.loads(row.body)) for row in rows]
    try:
        receivers[name](messages)
    except NodeDown:
        return False
    return True


class Inbox:
    """The sequence numbers up to which an actor has applied the messages of others, in a table of its own store."""

    def __init__(self, metadata: sa.MetaData) -> None:
        self._inbox = inbox = sa.Table(
            "incoming_stream", metadata,
            sa.Column("sender", sa.Text, primary_key=True),
            sa.Column("receiver", sa.Text, primary_key=True),
            sa.Column("applied", sa.BigInteger, nullable=False),
        )  # fmt: skip
        this_stream = (inbox.c.sender == sa.bindparam("s")) & (inbox.c.receiver == sa.bindparam("r"))
        self._applied = Statement(sa.select(inbox.c.applied).where(this_stream).with_for_update())
        self._begin = Statement(insert_if_absent(inbox))
        self._advance = Statement(sa.update(inbox).where(this_stream).values(applied=sa.bindparam("n")))

    def receivers(self, connection: sa.Connection) -> list[str]:
        """The names under which the actor has received messages."""
        return list(connection.scalars(sa.select(self._inbox.c.receiver).distinct().order_by(self._inbox.c.receiver)))

    def fresh(self, connection: sa.Connection, messages: Sequence[Message]) -> list[Message]:
        """Return the messages that were not applied before, and record them as applied. Raises MessageGap."""
        fresh: list[Message] = []
        applied: dict[tuple[str, str], int] = {}
        for message in messages:
            stream = (message.sender, message.receiver)
            if stream not in applied:
                last_applied = self._applied.scalar(connection, {"s": stream[0], "r": stream[1]})
                if last_applied is None:
                    self._begin.run(connection, {"sender": stream[0], "receiver": stream[1], "applied": 0})
                    last_applied = self._applied.scalar(connection, {"s": stream[0], "r": stream[1]})
                applied[stream] = last_applied or 0
            if message.sequence > applied[stream] + 1:
                raise MessageGap(
                    f"message {message.sequence} from {message.sender} arrived after message {applied[stream]};"
                    " nothing was applied"
                )
            if message.sequence == applied[stream] + 1:
                applied[stream] += 1
                fresh.append(message)
        if applied:
            self._advance.run_all(
                connection, [{"s": sender, "r": receiver, "n": last} for (sender, receiver), last in applied.items()]
            )
        return fresh
