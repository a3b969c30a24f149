"""The reception of files from other bodies: a file is taken as a whole or refused as a whole, and either is
recorded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any, TypeVar

import sqlalchemy as sa

from kazashi.provision_network.transfer_files import FileRejected, TransferFile, parsed_file
from kazashi.world.clock import Clock, epoch, from_epoch
from kazashi.world.event_log import Log
from kazashi.world.storage import Position, Store

_Taken = TypeVar("_Taken")


def reception_table(metadata: sa.MetaData) -> sa.Table:
    """Return the table of received files of a store. `denial` is empty for a file that was taken."""
    return sa.Table(
        "received_file", metadata,
        sa.Column("number", Position, primary_key=True),
        sa.Column("body", sa.Text, nullable=False, index=True),
        sa.Column("digest", sa.Text, nullable=False),
        sa.Column("sender", sa.Text, nullable=False),
        sa.Column("period", sa.Text, nullable=False),
        sa.Column("records", sa.Integer, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("denial", sa.Text, nullable=False),
        sa.Column("words", sa.Text, nullable=False),
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class ReceivedFile:
    """A file that a body has received, by the SHA-256 of its content. `denial` and `words` say why it was refused; they
    are empty for a file that was taken."""

    number: int
    body: str
    digest: str
    sender: str
    period: str
    records: int
    at: datetime
    denial: str
    words: str


class FileReceptions:
    """The received files in one store."""

    def __init__(self, store: Store, table: sa.Table, log: Log, clock: Clock) -> None:
        self._store = store
        self._table = table
        self._log = log
        self._clock = clock

    def receive(
        self, body: str, content: bytes, kind: str, take: Callable[[sa.Connection, int, TransferFile], _Taken]
    ) -> _Taken:  # fmt: skip
        """Take a file, and return what `take` returns.

        `take` stores the records in the same transaction; it gets the number of the file. If it raises FileRejected,
        nothing of the file stays. Raises FileRejected, after the refusal was recorded: for another kind (`wrong-kind`)
        or receiver (`wrong-receiver`), for a file that was taken before (`sent-twice`), and as `parsed_file` and
        `take`.
        """
        file: TransferFile | None = None
        try:
            file = parsed_file(content)
            with self._store.alone() as connection:
                self._check(connection, body, kind, file)
                number = self._add(connection, body, file.digest, file, None)
                taken = take(connection, number, file)
                self._log(connection, self._clock.now(), "file taken", {"body": body, "number": number})
                return taken
        except FileRejected as rejected:
            with self._store.transaction() as connection:
                digest = sha256(content).hexdigest()
                number = self._add(connection, body, digest, file, rejected)
                detail = {"body": body, "number": number, "denial": rejected.denial}
                self._log(connection, self._clock.now(), "file refused", detail)
            raise

    def _check(self, connection: sa.Connection, body: str, kind: str, file: TransferFile) -> None:
        header, table = file.header, self._table.c
        if header.kind != kind:
            raise FileRejected("wrong-kind", f"the file is of the kind {header.kind[:40]!r}, not {kind!r}")
        if header.receiver != body:
            raise FileRejected("wrong-receiver", f"the file is for {header.receiver[:40]!r}, not for {body}")
        same = (table.body == body) & (table.digest == file.digest) & (table.denial == "")
        if (before := connection.scalar(sa.select(table.number).where(same))) is not None:
            raise FileRejected("sent-twice", f"the file was taken before, as file {before} of {body}")

    def _add(
        self, connection: sa.Connection, body: str, digest: str, file: TransferFile | None, refused: FileRejected | None
    ) -> int:  # fmt: skip
        header = None if file is None else file.header
        row = {
            "body": body, "digest": digest, "sender": "" if header is None else header.sender,
            "period": "" if header is None else header.period, "records": 0 if file is None else len(file.records),
            "at": epoch(self._clock.now()), "denial": "" if refused is None else refused.denial,
            "words": "" if refused is None else str(refused),
        }  # fmt: skip
        insert = sa.insert(self._table).returning(self._table.c.number)
        return int(connection.execute(insert, row).scalar_one())

    def files(self, body: str | None = None) -> list[ReceivedFile]:
        """Return what one body or all have received, oldest first, with what was refused."""
        query = sa.select(self._table).order_by(self._table.c.number)
        if body is not None:
            query = query.where(self._table.c.body == body)
        with self._store.reading() as connection:
            return [_as_file(row) for row in connection.execute(query)]


def _as_file(row: Any) -> ReceivedFile:
    return ReceivedFile(
        row.number, row.body, row.digest, row.sender, row.period, row.records, from_epoch(row.at), row.denial, row.words
    )  # fmt: skip
