"""A second table of who may request what, to compare the network's rules with: 別表第二 as published, row by row.

It was read from the same published text by somebody who had not seen the network's table, and in another form
(`published_rows.toml`): grouped by row, with the parties and the affair as they are printed. It only holds rows with a
source that can be opened.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files

from kazashi.provision_network.law.tables import Purpose

_AFFAIR_ENDS = "に関する事務であって主務省令で定めるもの"
_ENTITLED = "こととされている者"
"""The end of the name of a party that may itself have alternatives inside."""


@dataclass(frozen=True, slots=True)
class PublishedTable:
    """The published rows. `rows` is the number of rows, `of_rows` how many the published table has with content, and
    `tuples` all that they allow, each party by itself."""

    rows: int
    of_rows: int
    tuples: frozenset[Purpose]


@lru_cache(maxsize=1)
def published_table() -> PublishedTable:
    """Return the published rows. Raises ValueError if the file is damaged."""
    document = tomllib.loads((files(__package__) / "published_rows.toml").read_text(encoding="utf-8"))
    sources = {source["id"] for source in document["source"] if source["address"]}
    rows = [row for row in document["row"] if row["complete"] and sources & {*row["source"]}]
    return PublishedTable(len(rows), len(document["row"]), frozenset(_allowed(rows)))


def _allowed(rows: list[dict[str, object]]) -> Iterator[Purpose]:
    for row in rows:
        law, affair, items = str(row["law"]), str(row["affair"]), row["items"]
        if not isinstance(items, dict):
            raise ValueError(f"row {row['number']} has no items")
        for requester in _parties(str(row["requester"])):
            for printed, provided in items.items():
                for provider in _parties(printed):
                    for item in provided:
                        yield Purpose(requester, law, _affair(law, affair), provider, item)


def _affair(law: str, printed: str) -> str:
    """The name of an affair, without the law and the words that end every affair."""
    return printed.removesuffix(_AFFAIR_ENDS).removeprefix(law).removeprefix("による")


def _parties(printed: str) -> Iterator[str]:
    """Yield the parties that are printed, without what is in parentheses or only says which of a kind."""
    plain = re.sub(r"（.*）", "", printed)
    if plain.endswith(_ENTITLED):
        yield plain
        return
    for party in re.split("若しくは|又は|、", plain):
        yield re.sub(r"^.*である", "", party)
