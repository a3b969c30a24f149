"""The nightly batch that makes an authority's revocation lists, and the tree of files in which they are published.

ca/{kind}/{generation}.cer                              the authority's own certificate
crl/{kind}/{generation}/{prefecture}/{municipality}.crl the list of one municipality's residents
crl/{kind}/{generation}/full.crl                        the full list
crl/{kind}/{generation}/authority.crl                   the list of the authority's own certificates
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from kazashi.jpki.profile import CertificateType
from kazashi.pki import der
from kazashi.pki.asn1 import MalformedDer
from kazashi.pki.authority import Authority
from kazashi.pki.certificate_database import AUTHORITY_LIST, FULL_LIST
from kazashi.pki.crl import (
    EVERYTHING,
    Scope,
    authority_scope,
    encode_entry,
    partition_scope,
    read_list,
    sign_list,
    without,
)
from kazashi.pki.generation import Generation
from kazashi.resident_registry.municipality import municipality
from kazashi.world.atomic_file import Piece, make_directory, write_whole
from kazashi.world.clock import JST, epoch, from_epoch, in_japan
from kazashi.world.schedule import AT_ONCE
from kazashi.world.storage import joined

VALID_FOR = timedelta(hours=48)
"""From thisUpdate to nextUpdate: long enough to miss one day's batch."""


@dataclass(frozen=True, slots=True)
class _Changes:
    """The changes to one list since the last batch: removed entries as DER, and added entries as rows."""

    removed: Sequence[bytes]
    added: Sequence[tuple[Any, ...]]
    """Serial number, instant and reason of each entry."""


@dataclass(frozen=True, slots=True)
class _Batch:
    """The lists of a generation that are made together.

    `rows` are their rows before the batch, `upto` is the position of the last revocation that they contain, and
    `changes` are the changes since the row `base`, by list.
    """

    generation: Generation
    made_at: datetime
    rows: Sequence[Any]
    upto: int
    base: Any
    changes: Mapping[str, _Changes]


_UNCHANGED = _Changes((), ())


class Publication:
    """One authority's published files."""

    def __init__(self, authority: Authority, *, read_at_once: int = 50_000) -> None:
        """`read_at_once` is the number of entries of the full list that one query reads."""
        self.authority = authority
        self._read_at_once = read_at_once
        self._ledger = authority.ledger
        self._tree = authority.world.publication

    def path(self, generation: str, name: str) -> Path:
        """The path of a published list; `name` is `full`, `authority` or the code of a municipality."""
        return self._tree / list_path(self.authority.kind, generation, name)

    def names(self, generation: str) -> list[str]:
        """The names of a generation's lists."""
        table = self._ledger.revocation_list.c
        with self._ledger.store.reading() as connection:
            return list(connection.scalars(sa.select(table.name).where(table.generation == generation)))

    def made(self) -> int:
        """The total number of lists made so far. It changes whenever a new list is published."""
        written = sa.func.sum(self._ledger.revocation_list.c.written)
        with self._ledger.store.reading() as connection:
            return int(connection.scalar(sa.select(written)) or 0)

    # When

    def due(self) -> datetime | None:
        """When the next batch is due: AT_ONCE if a list was never made, else at the next batch time after the oldest
        list; None if there are no lists."""
        table = self._ledger.revocation_list.c
        with self._ledger.store.reading() as connection:
            last, never = connection.execute(
                sa.select(sa.func.min(table.this_update), sa.func.min(table.written)).where(self._current(connection))
            ).one()
        if last is None:
            return None
        return AT_ONCE if never == 0 else self.batch_after(from_epoch(last))

    def batch_after(self, instant: datetime) -> datetime:
        """The first batch time after an instant."""
        minutes = self.authority.world.settings.crl_minute
        batch = in_japan(instant.astimezone(JST).date()) + timedelta(minutes=minutes)
        return batch if batch > instant else batch + timedelta(days=1)

    def _current(self, connection: sa.Connection) -> Any:
        """The condition that a list's generation has not ended: until then somebody may hold a certificate of it."""
        table, now = self._ledger.generation.c, epoch(self.authority.world.clock.now())
        current = connection.scalars(sa.select(table.name).where(table.ends >= now)).all()
        return self._ledger.revocation_list.c.generation.in_(current)

    # The batch

    def publish(self, progress: Callable[[int, int], None] = lambda done, total: None) -> int:
        """Make the lists that are due; return their number. `progress` is called with the lists made and their total.

        The batch can be interrupted and repeated: list numbers only grow, files are replaced as a whole, and
        unfinished lists are made again. Raises TokenUnavailable, StoreFailed or OSError.
        """
        self._publish_certificates()
        now, total = self.authority.world.clock.now(), 0
        for generation in self.authority.generations():
            if generation.ends >= now:
                total += self._publish_generation(generation, now, progress)
        return total

    def _publish_certificates(self) -> None:
        for generation in self.authority.generations():
            path = self._tree / "ca" / self.authority.kind.code / f"{generation.name}.cer"
            if not path.exists():
                _write(path, generation.certificate)

    def _publish_generation(self, generation: Generation, now: datetime, progress: Callable[[int, int], None]) -> int:
        batch = self._begin(generation, now)
        if batch is None:
            return 0
        with ThreadPoolExecutor(os.cpu_count()) as workers:  # signing, hashing and writing release the GIL
            for done, _ in enumerate(workers.map(partial(self._make, batch), batch.rows), start=1):
                progress(done, len(batch.rows))
        self._finish(batch)
        return len(batch.rows)

    def _begin(self, generation: Generation, now: datetime) -> _Batch | None:
        """Take the next numbers for the lists that are due. Returns None if there are no such lists."""
        table = self._ledger.revocation_list
        condition = table.c.generation == generation.name
        with self._ledger.store.transaction() as connection:
            rows = [
                row
                for row in connection.execute(sa.select(table).where(condition)).all()
                if row.written == 0 or self.batch_after(from_epoch(row.this_update)) <= now
            ]
            if not rows:
                return None
            names = [row.name for row in rows]
            # The numbers are committed before a list is signed, so that two different lists never have the same number.
            chosen = condition & table.c.name.in_(names) if len(names) < 500 else condition
            connection.execute(sa.update(table).where(chosen).values(number=table.c.number + 1))
            upto = self._ledger.count(connection, "position", 0, 1) - 1
        if any(row.written == 0 for row in rows):
            self._ledger.store.analyze()  # the queries for single municipalities' lists follow
        base = next((row for row in rows if row.name == FULL_LIST), rows[0])
        changes: Mapping[str, _Changes] = {}
        if any(row.written for row in rows):
            changes = self._changes(base, upto)
        return _Batch(generation, now, rows, upto, base, changes)

    def _make(self, batch: _Batch, row: Any) -> None:
        """Make one list of a batch and replace the published one."""
        signed = sign_list(
            batch.generation, self.authority.kind, self.scope(batch.generation, row.name), row.number + 1,
            (batch.made_at, batch.made_at + VALID_FOR), self._entries(batch, row),
        )  # fmt: skip
        self.write(self.path(batch.generation.name, row.name), signed.pieces)

    def write(self, path: Path, pieces: Sequence[Piece]) -> None:
        """Replace a published file atomically and durably. Raises OSError."""
        _write(path, pieces)

    def _entries(self, batch: _Batch, row: Any) -> tuple[Piece, ...]:
        """A list's entries (DER): those of the previous list with the changes since then, or else from the store."""
        if row.name == AUTHORITY_LIST:
            return ()
        if row.written and _contents(row) == _contents(batch.base):
            changes = batch.changes.get(row.name, _UNCHANGED)
            applied = self._applied(batch.generation, row.name, row.written, changes)
            if applied is not None:
                return applied
        return self.entries_in_store(batch.generation.name, row.name, batch.upto, row.this_update)

    def _finish(self, batch: _Batch) -> None:
        """Record the lists that were made."""
        table = self._ledger.revocation_list
        with self._ledger.store.transaction() as connection:
            connection.execute(
                sa.update(table)
                .where((table.c.generation == batch.generation.name) & (table.c.name == sa.bindparam("list")))
                .values(
                    written=sa.bindparam("made"),
                    position=batch.upto,
                    this_update=epoch(batch.made_at),
                    expires_from=table.c.this_update,
                ),
                [{"list": row.name, "made": row.number + 1} for row in batch.rows],
            )
            details = {"generation": batch.generation.name, "lists": len(batch.rows)}
            self._ledger.log(connection, batch.made_at, [("lists made", None, details)])

    def scope(self, generation: Generation, name: str) -> Scope:
        """What a list covers, as its issuing distribution point says."""
        kind = self.authority.kind
        if name == FULL_LIST:
            return EVERYTHING
        if name == AUTHORITY_LIST:
            return authority_scope(der.authority_attributes(generation.profile, kind))
        place = municipality(name)
        return partition_scope(
            der.partition_attributes(generation.profile, kind, place.prefecture_romaji, place.romaji)
        )

    # Entries

    def entries_in_store(self, generation: str, name: str, upto: int, expires_from: int) -> tuple[bytes, ...]:
        """A list's entries (DER) from the store: up to the revocation at position `upto`, of certificates that end at
        `expires_from` or later.

        That instant is the thisUpdate of the list before. An entry therefore leaves when a list that was made after its
        certificate's end has contained it (RFC 5280, 3.3), however many batches were missed.
        """
        table = self._ledger.revocation.c
        condition = (
            (table.generation == generation) & (table.expires >= expires_from)
            & (table.ended_position.is_(None) | (table.ended_position > upto))
        )  # fmt: skip

        from kazashi.pki.crl_entries import encode_entries, entries_of_text  # numpy is slow to import

        def read(after: int, last: int) -> list[bytes]:
            rows = (
                sa.select(sa.type_coerce(table.serial, sa.BigInteger).label("serial"), table.at, table.reason)
                .where(condition & (table.position > after) & (table.position <= last))
                .order_by(table.position).subquery()
            )  # fmt: skip
            with self._ledger.store.reading() as connection:
                texts = connection.execute(sa.select(*(joined(column) for column in rows.c))).one()
            return list(encode_entries(entries_of_text(*(text or "" for text in texts))))

        if name != FULL_LIST:
            condition &= table.partition == name
            return tuple(read(0, upto))
        # Several threads read the full list, because the database driver releases the GIL.
        starts = range(0, upto, self._read_at_once)
        with ThreadPoolExecutor(os.cpu_count()) as readers:
            parts = readers.map(read, starts, (min(start + self._read_at_once, upto) for start in starts))
            return tuple(piece for part in parts for piece in part)

    def _changes(self, base: Any, upto: int) -> Mapping[str, _Changes]:
        """The changes to the lists that were made together with the list of the row `base`, by list."""
        table, position, since = self._ledger.revocation.c, base.position, base.this_update
        ended = (table.ended_position > position) & (table.ended_position <= upto)
        expired = (table.expires >= base.expires_from) & (table.expires < since)
        in_force_then = (table.position <= position) & (table.expires >= base.expires_from) & (
            table.ended_position.is_(None) | (table.ended_position > position)
        )  # fmt: skip
        columns = sa.select(
            table.partition, table.position, sa.type_coerce(table.serial, sa.BigInteger), table.at, table.reason
        ).where(table.generation == base.generation)
        added = columns.where(
            (table.position > position) & (table.position <= upto) & (table.expires >= since)
            & (table.ended_position.is_(None) | (table.ended_position > upto))
        )  # fmt: skip
        with self._ledger.store.reading() as connection:
            # Two queries, each with an index; there is no index for the combined condition.
            leaving = {row for part in (ended, expired)
                       for row in map(tuple, connection.execute(columns.where(part & in_force_then)))}  # fmt: skip
            coming = [tuple(row) for row in connection.execute(added.order_by(table.position))]
        removed, arriving = defaultdict(list), defaultdict(list)
        for row in sorted(leaving, key=lambda row: row[1]):
            entry = encode_entry(*row[2:])
            removed[row[0]].append(entry)
            removed[FULL_LIST].append(entry)
        for row in coming:
            arriving[row[0]].append(row)
            arriving[FULL_LIST].append(row)
        return {
            name: _Changes(removed[name], [row[2:] for row in arriving[name]])
            for name in removed.keys() | arriving.keys()
        }

    def _applied(self, generation: Generation, name: str, number: int, changes: _Changes) -> tuple[Piece, ...] | None:
        """The entries of the previous list with the changes since then, or None if its file is missing or altered."""
        from kazashi.pki.crl_entries import encode_entries, entries_of_rows

        try:
            data = self.path(generation.name, name).read_bytes()
            old = read_list(data)
            if old.number != number:
                return None
            return (*without(data, old.entries, changes.removed), *encode_entries(entries_of_rows(changes.added)))
        except (OSError, MalformedDer, KeyError):
            return None


def _contents(row: Any) -> tuple[int, int, int]:
    """What the entries of the list in a row depend on. Lists with equal values change in the same way."""
    return row.position, row.this_update, row.expires_from


def list_path(kind: CertificateType, generation: str, name: str) -> Path:
    """The path of a list in the tree. It depends only on the contents of a certificate's distribution point."""
    base = Path("crl") / kind.code / generation
    if name in (FULL_LIST, AUTHORITY_LIST):
        return base / f"{name}.crl"
    place = municipality(name)
    return base / place.prefecture_romaji / f"{place.romaji}.crl"


def _write(path: Path, content: Piece | Sequence[Piece]) -> None:
    make_directory(path.parent)
    before = int(path.stat().st_mtime) if path.exists() else 0
    write_whole(path, content)
    now = int(path.stat().st_mtime)
    if now <= before:
        # HTTP dates have whole seconds. A client with the list before must not be told that nothing has changed.
        os.utime(path, (now + 1, now + 1))
