"""The Commission's register of affairs by ordinance (独自利用事務の届出) and of limiting ordinances (限定条例), in the
core's store.

An affair is filed, accepted by the Commission, then published, and can be withdrawn; each act has its day. What was
read is cached until something has changed, also by another process.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date, datetime
from typing import Any

import sqlalchemy as sa

from kazashi.provision_network.core_store import (
    INTERFACE_SYSTEM,
    LIMITING_ORDINANCE,
    ORDINANCE_ACTS,
    ORDINANCE_AFFAIR,
    ORDINANCE_VERSION,
    OUTBOX,
    log,
)
from kazashi.provision_network.documents import DocumentRejected, parsed, word_of
from kazashi.provision_network.law.rules import (
    LOCAL_GOVERNMENTS,
    ORDINANCE_FIELDS,
    LimitingOrdinance,
    OrdinanceAffair,
    RuleBook,
)
from kazashi.provision_network.law.tables import Purpose, denied_purpose, kinds_of
from kazashi.provision_network.terms import CORE, NetworkRejected
from kazashi.world.clock import Clock
from kazashi.world.statement import Statement
from kazashi.world.storage import Store, insert_if_absent

_affair_columns, _limit_columns = ORDINANCE_AFFAIR.c, LIMITING_ORDINANCE.c
_VERSION = Statement(sa.select(ORDINANCE_VERSION.c.value))


def filings(text: str, kinds: dict[str, str]) -> list[OrdinanceAffair]:
    """Parse one filing, or a list of filings (JSON or TOML, `filing` in TOML). `kinds` has the kind of each body.

    Raises DocumentRejected.
    """
    document = parsed(text)
    entries = document["filing"] if isinstance(document, dict) and "filing" in document else document
    return [_filing(entry, kinds) for entry in (entries if isinstance(entries, list) else [entries])]


def _filing(entry: Any, kinds: dict[str, str]) -> OrdinanceAffair:
    body = word_of(entry, "body")
    if body not in kinds:
        raise DocumentRejected(f"{body} is not on the network")
    names = ("law", "affair", "provider", "item")
    purpose = Purpose(requester=kinds[body], **{name: word_of(entry, name) for name in names})
    field = word_of(entry, "field")
    if field not in ORDINANCE_FIELDS:
        raise DocumentRejected(f"field must be one of those of 番号法9条2項: {', '.join(ORDINANCE_FIELDS)}")
    return OrdinanceAffair(word_of(entry, "identifier"), body, purpose, word_of(entry, "like"), field)


class OrdinanceRegister:
    """The register. Every act is logged. It changes which requests the core allows at once, in every process."""

    def __init__(self, store: Store, clock: Clock, rules: RuleBook) -> None:
        """`rules` are the network's rules without the register."""
        self._store = store
        self._clock = clock
        self._statutory = rules
        self._cache: tuple[int, RuleBook] = (0, rules)

    def rules(self) -> RuleBook:
        """Return the network's rules with everything in the register."""
        with self._store.reading() as connection:
            return self.within(connection)

    def within(self, connection: sa.Connection) -> RuleBook:
        """Return the rules like `rules`, within a transaction of the core's store."""
        version = int(_VERSION.scalar(connection) or 0)
        if version != self._cache[0]:
            affairs = [
                _affair(row)
                for row in connection.execute(sa.select(ORDINANCE_AFFAIR).order_by(_affair_columns.position))
            ]
            limits = connection.execute(
                sa.select(LIMITING_ORDINANCE).order_by(_limit_columns.provider, _limit_columns.item)
            )
            self._cache = (version, self._statutory.with_ordinances(affairs, [_limit(row) for row in limits]))
        return self._cache[1]

    # Affairs by ordinance

    def file(self, affairs: Sequence[OrdinanceAffair], on: date) -> list[OrdinanceAffair]:
        """File affairs with the Commission (届出), all or none. Raises NetworkRejected."""
        with self._store.alone() as connection:
            filed = [self._file(connection, affair, on) for affair in affairs]
            self._changed(connection, "affairs filed", {"identifiers": [affair.identifier for affair in filed]})
        return filed

    def accept(self, identifier: str, on: date) -> OrdinanceAffair:
        """Record that the Commission accepts an affair: its purpose and its content are those of the row that it is
        like. Raises NetworkRejected if that was recorded before, or the affair was withdrawn."""
        with self._store.alone() as connection:
            return self._act(connection, _pending(connection, identifier, "accepted"), "accepted", on)

    def publish(self, identifier: str, on: date) -> OrdinanceAffair:
        """Publish an affair that was accepted. Raises NetworkRejected if it was not, or was published or withdrawn
        before."""
        with self._store.alone() as connection:
            affair = _pending(connection, identifier, "published")
            if affair.accepted is None:
                raise NetworkRejected("not-accepted", f"the Commission has not accepted {identifier}")
            return self._act(connection, affair, "published", on)

    def withdraw(self, identifier: str, on: date) -> OrdinanceAffair:
        """Withdraw an affair, published or not; so does the Commission with one that it does not accept. Raises
        NetworkRejected if it was withdrawn before."""
        with self._store.alone() as connection:
            return self._act(connection, _pending(connection, identifier, "withdrawn"), "withdrawn", on)

    def _file(self, connection: sa.Connection, affair: OrdinanceAffair, on: date) -> OrdinanceAffair:
        if affair.purpose.requester not in LOCAL_GOVERNMENTS:
            raise no_ordinances(affair.body, affair.purpose.requester)
        if affair.like not in {row.number for row in self._statutory.rows}:
            raise NetworkRejected("unknown-row", f"the table of affairs has no row {affair.like} for it to be like")
        if affair.purpose in {row.purpose for row in self._statutory.rows}:
            raise NetworkRejected("statutory-affair", f"{affair.purpose.affair} is in the table and needs no ordinance")
        if denied := denied_purpose(f"{affair.purpose.law} {affair.purpose.affair}"):
            raise NetworkRejected("denied-purpose", f"the number must not serve {denied}")
        if "range_of_items" in self._statutory.missing(affair, on):
            words = f"row {affair.like} has no {affair.purpose.item} of {affair.purpose.provider}"
            raise NetworkRejected("out-of-range", words)
        same = sa.select(_affair_columns.position).where(_affair_columns.identifier == affair.identifier)
        if connection.scalar(same) is not None:
            raise NetworkRejected("ordinance-exists", f"{affair.identifier} was filed already")
        if (other := _overlapping(connection, affair)) is not None:
            raise NetworkRejected(
                "ordinance-overlaps", f"{other} of {affair.body} has the same affair and item already"
            )
        filed = replace(affair, filed=on, accepted=None, published=None, withdrawn=None)
        connection.execute(sa.insert(ORDINANCE_AFFAIR), {
            "identifier": filed.identifier, "body": filed.body, "like": filed.like, "field": filed.field,
            "filed": on.isoformat(), **{name: getattr(filed.purpose, name) for name in Purpose.__slots__},
        })  # fmt: skip
        return filed

    def _act(self, connection: sa.Connection, affair: OrdinanceAffair, act: str, on: date) -> OrdinanceAffair:
        earlier = [day for day in (affair.filed, affair.accepted, affair.published) if day is not None]
        if on < max(earlier):
            raise NetworkRejected("wrong-order", f"{affair.identifier} cannot be {act} before {max(earlier)}")
        this = _affair_columns.identifier == affair.identifier
        connection.execute(sa.update(ORDINANCE_AFFAIR).where(this).values({act: on.isoformat()}))
        self._changed(connection, f"affair {act}", {"identifier": affair.identifier, "on": on.isoformat()})
        return _affair_of(connection, affair.identifier)

    # Limiting ordinances

    def limit(self, limit: LimitingOrdinance, kind: str) -> None:
        """Add a limiting ordinance of a provider of a `kind`. Raises NetworkRejected if the provider makes no
        ordinances, its kind does not provide such an item, or there is one for the same provider and item."""
        if kind not in LOCAL_GOVERNMENTS:
            raise no_ordinances(limit.provider, kind)
        row = {"provider": limit.provider, "item": limit.item, "notified": limit.notified.isoformat()}
        with self._store.alone() as connection:
            purposes = self.within(connection).purposes()
            if not any(one.item == limit.item and kind in kinds_of(one.provider) for one in purposes):
                raise NetworkRejected("unknown-item", f"no affair has the item {limit.item} of {kind}")
            if not connection.execute(insert_if_absent(LIMITING_ORDINANCE), row).rowcount:
                raise NetworkRejected("limit-exists", f"{limit.provider} limits {limit.item} already")
            self._changed(connection, "item limited", row)

    def unlimit(self, provider: str, item: str) -> None:
        """Remove a limiting ordinance. Raises NetworkRejected if the provider does not limit the item."""
        with self._store.alone() as connection:
            this = (_limit_columns.provider == provider) & (_limit_columns.item == item)
            if not connection.execute(sa.delete(LIMITING_ORDINANCE).where(this)).rowcount:
                raise NetworkRejected("unknown-limit", f"{provider} has no ordinance that limits {item}")
            self._changed(connection, "item no longer limited", {"provider": provider, "item": item})

    def _changed(self, connection: sa.Connection, what: str, detail: dict[str, Any]) -> None:
        announce_items(connection, self._clock.now())
        connection.execute(insert_if_absent(ORDINANCE_VERSION), {"id": 1, "value": 0})
        connection.execute(sa.update(ORDINANCE_VERSION).values(value=ORDINANCE_VERSION.c.value + 1))
        log(connection, self._clock.now(), what, detail)
        self._cache = (-1, self._statutory)  # the transaction may be rolled back


def no_ordinances(body: str, kind: str) -> NetworkRejected:
    """Return the refusal for a body of a kind that makes no ordinances."""
    words = f"{body} is a {kind}, and makes no ordinances; only local governments do"
    return NetworkRejected("no-ordinances", words)


def announce_items(connection: sa.Connection, now: datetime, to: str | None = None) -> None:
    """Send the items of all affairs that were filed and not withdrawn to every interface system, or only `to` one. Its
    bodies can then register copies of them."""
    names = [to] if to is not None else list(connection.scalars(sa.select(INTERFACE_SYSTEM.c.name)))
    query = (
        sa.select(_affair_columns.item)
        .where(_affair_columns.withdrawn.is_(None))
        .distinct()
        .order_by(_affair_columns.item)
    )
    items = list(connection.scalars(query))
    with OUTBOX.batch(connection, CORE, now) as send:
        for name in names:
            send(name, "items", {"items": items})


def _affair_of(connection: sa.Connection, identifier: str) -> OrdinanceAffair:
    row = connection.execute(sa.select(ORDINANCE_AFFAIR).where(_affair_columns.identifier == identifier)).one_or_none()
    if row is None:
        raise NetworkRejected("unknown-ordinance", f"no affair {identifier} was filed")
    return _affair(row)


def _pending(connection: sa.Connection, identifier: str, act: str) -> OrdinanceAffair:
    """The affair, if that act can still be done. Raises NetworkRejected."""
    affair = _affair_of(connection, identifier)
    if affair.withdrawn is not None:
        raise NetworkRejected("withdrawn", f"{identifier} was withdrawn on {affair.withdrawn}")
    if (day := getattr(affair, act)) is not None:
        raise NetworkRejected(act, f"{identifier} was {act} on {day} already")
    return affair


def _overlapping(connection: sa.Connection, affair: OrdinanceAffair) -> str | None:
    """The identifier of another affair of the body that has the same purpose and was not withdrawn."""
    same = [getattr(_affair_columns, name) == getattr(affair.purpose, name) for name in Purpose.__slots__]
    own = (_affair_columns.body == affair.body) & _affair_columns.withdrawn.is_(None)
    found: str | None = connection.scalar(sa.select(_affair_columns.identifier).where(own, *same))
    return found


def _affair(row: Any) -> OrdinanceAffair:
    days = (getattr(row, act) for act in ORDINANCE_ACTS)
    return OrdinanceAffair(
        row.identifier, row.body, Purpose(*(getattr(row, name) for name in Purpose.__slots__)), row.like, row.field,
        *(None if day is None else date.fromisoformat(day) for day in days),
    )  # fmt: skip


def _limit(row: Any) -> LimitingOrdinance:
    return LimitingOrdinance(row.provider, row.item, date.fromisoformat(row.notified))
