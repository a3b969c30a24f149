"""Messages that two programs deliver at the same time."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import sqlalchemy as sa

from kazashi.world.outbox import Inbox, Message, Outbox
from kazashi.world.storage import Store, open_store

NOW = datetime(2026, 11, 24, 1, tzinfo=UTC)


def test_a_message_sent_while_another_program_delivers_is_not_lost(tmp_path: Path, storage: str) -> None:
    """One program has read the first message and delivers it. Meanwhile another one delivers it, too, removes it, and
    sends a second message, which may get the position of the first in the table."""
    metadata, inside = sa.MetaData(), sa.MetaData()
    outbox, inbox = Outbox(metadata), Inbox(inside)
    store, receiver = open_store(tmp_path, storage, "one", metadata), open_store(tmp_path, storage, "other", inside)
    received: list[str] = []

    def receive(messages: Sequence[Message]) -> None:
        with receiver.transaction() as connection:
            received.extend(message.kind for message in inbox.fresh(connection, messages))

    def receive_slowly(messages: Sequence[Message]) -> None:
        receive(messages)
        if [message.kind for message in messages] == ["first"]:
            assert outbox.deliver(store, NOW, {"other": receive}) == 1
            send(store, outbox, "second")

    send(store, outbox, "first")
    outbox.deliver(store, NOW, {"other": receive_slowly})
    outbox.deliver(store, NOW, {"other": receive})
    assert received == ["first", "second"]
    assert outbox.waiting(store) == 0
    for one in (store, receiver):
        one.close()


def send(store: Store, outbox: Outbox, kind: str) -> None:
    with store.transaction() as connection:
        outbox.put(connection, "one", "other", NOW, kind, {})
