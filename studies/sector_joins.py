"""Who could join the data of several sectors about one person, by the handles that lie in the stores, for the third
reason of the ruling."""

from __future__ import annotations

from collections import defaultdict

from kazashi.studies.handle_index import StoredForm
from kazashi.studies.handle_sightings import Sightings
from kazashi.studies.handles import BY_WHOLE_VALUE, HandleKind
from kazashi.tracking_lab.facts import StoreFact, several

SECTORS = {
    "shop": "refund points", "refund point centre": "refund points", "refund portal": "refund points",
    "MyKey platform": "local services", "insurers' joint body": "health insurance",
    "platform operator": "identification", "OpenID provider": "identification", "portal": "own information",
    "sample site": "library", "relying party": "library", "pension service": "pension insurance",
    "municipal address systems": "municipal services", "municipal tax offices": "municipal services",
    "insurers": "health insurance",
}  # fmt: skip
"""The sector of what an owner's stores have about people. Another owner is a sector of its own."""

_CARRIERS = {
    "interface system (towns)", "interface system (pension)", "interface system (portal)", "portal's answers",
    "providers outside the network",
}  # fmt: skip
"""Owners of parts that pass messages on or log them, and have no data of a sector under a handle."""

_Holder = tuple[str, str]
"""A body and a sector."""


def joins(found: Sightings) -> tuple[list[StoreFact], list[StoreFact]]:
    """The joins of sectors that are possible, and those by the individual number.

    One body that has data of several sectors under one handle can join them alone; bodies that have the same handle
    could do so together. The individual number is counted apart: the Number Act gives it to all who have it by law, and
    what keeps them from joining by it is the law and not the lack of a common handle.
    """
    alone: dict[tuple[str, HandleKind, str], set[str]] = defaultdict(set)
    together: dict[tuple[str, HandleKind, str], set[str]] = defaultdict(set)
    for (handle, _), holders in _holders(found).items():
        kind = found.index.handles[handle].kind
        person = found.person(handle) or str(handle)
        by_body: dict[str, set[str]] = defaultdict(set)
        for body, sector in holders:
            by_body[body].add(sector)
        for body, sectors in by_body.items():
            if len(sectors) > 1:
                alone[body, kind, several(sectors)].add(person)
        if len(by_body) > 1 and len(sectors := {sector for _, sector in holders}) > 1:
            together[several({*by_body}), kind, several(sectors)].add(person)
    against = [_fact("sectors-joined-by-one", *key, people) for key, people in sorted(alone.items(), key=_order)]
    against += [_fact("sectors-joined-together", *key, people) for key, people in sorted(together.items(), key=_order)
                if key[1] is not HandleKind.NUMBER]  # fmt: skip
    by_law = [_fact("number-held-by-several", *key, people) for key, people in sorted(together.items(), key=_order)
              if key[1] is HandleKind.NUMBER]  # fmt: skip
    return against, by_law


def _order(one: tuple[tuple[str, HandleKind, str], set[str]]) -> tuple[str, str, str]:
    return one[0][0], one[0][1].value, one[0][2]


def _fact(name: str, who: str, kind: HandleKind, sectors: str, people: set[str]) -> StoreFact:
    return StoreFact(name, {"who": who, "handle": kind.value, "sectors": sectors, "people": len(people)})


def _holders(found: Sightings) -> dict[tuple[int, str], set[_Holder]]:
    """Who has each handle, with which sectors. A plain digest can be compared with the handle itself; a keyed one only
    with others under the same key."""
    labels = {(table.store, table.name): table.labels for table in found.tables}
    labelled = {table.store for table in found.tables if table.labels is not None}
    holders: dict[tuple[int, str], set[_Holder]] = defaultdict(set)
    for one in found.found:
        owner, of_rows = one.actor.owner, labels[one.store, one.table]
        if owner.issues or owner.name in _CARRIERS or (one.kind in BY_WHOLE_VALUE and one.kind is not HandleKind.USER):
            continue
        if of_rows is None and one.store in labelled:
            continue  # which codes a body has; its copies say of which sectors it has data under them
        key = one.key if one.form is StoredForm.KEYED else ""
        for row, handles in one.rows.items():
            holder = (owner.name, SECTORS.get(owner.name, owner.name)) if of_rows is None else of_rows[row]
            for handle in handles:
                holders[handle, key].add(holder)
    return holders
