"""The tables that the rules are made from, as data: who may request what (別表第二), who may use the number (別表第一),
the matters of the cabinet order, what the terms for bodies mean, and which purposes are denied under every item.

Each row names its source in `law_sources.csv`, a text that can be opened. A row without a source was made up for a
prototype, and every decision that rests on it says `unverified`.
"""

from __future__ import annotations

import csv
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files

TAX_ITEM = "地方税関係情報"
"""The item that tax secrecy covers (地方税法22条): taxes, and what they are computed from (別表第二 1)."""


@dataclass(frozen=True, slots=True)
class Purpose:
    """The purpose of a request: the kinds of requester and provider, the law and its affair, and the item."""

    requester: str
    law: str
    affair: str
    provider: str
    item: str


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the table of affairs. `uses_number` is False if the body uses its own number instead of the individual
    number. `source` is the identifier of a source, empty if the row has none."""

    number: str
    purpose: Purpose
    uses_number: bool
    source: str


@dataclass(frozen=True, slots=True)
class Affair:
    """A row of 別表第一 (個人番号利用事務): a body that may use the number for an affair of a law."""

    number: str
    body: str
    law: str
    affair: str
    source: str


@dataclass(frozen=True, slots=True)
class Matter:
    """A matter of the cabinet order's table (番号法施行令の別表): a procedure of a law for which information may be
    provided. `kind` says what is done: an investigation (調査), mutual assistance (共助), a notification (申出), ..."""

    number: int
    law: str
    matter: str
    kind: str
    source: str


@dataclass(frozen=True, slots=True)
class LawSource:
    """A text from which rows were taken: its title, its address (empty if it was not published), the day as of which it
    states the law, and the day on which it was read."""

    id: str
    title: str
    address: str
    as_of: str
    read_on: str


@lru_cache(maxsize=1)
def printed_table() -> tuple[Row, ...]:
    """Return 別表第二 of 27 December 2015 as it is printed: 120 rows, one `Row` for each requester, provider and item,
    then the rows that were made up. Raises ValueError if the file is damaged."""
    names = ("requester", "law", "affair", "provider", "item")
    return tuple(
        Row(line["row"], Purpose(*(line[name] for name in names)), line["uses_number"] == "yes", line["source"])
        for line in read_table("affairs.csv", ("row", *names, "uses_number", "source"))
    )


@lru_cache(maxsize=1)
def table_of_affairs() -> tuple[Row, ...]:
    """Return the table of affairs with each term for several kinds of bodies (such as 医療保険者) also written out."""
    rows: dict[tuple[str, Purpose], Row] = {}
    for row in printed_table():
        printed = row.purpose
        for requester in kinds_of(printed.requester):
            for provider in kinds_of(printed.provider):
                purpose = Purpose(requester, printed.law, printed.affair, provider, printed.item)
                rows.setdefault((row.number, purpose), Row(row.number, purpose, row.uses_number, row.source))
    return tuple(rows.values())


@lru_cache(maxsize=1)
def table_of_uses() -> tuple[Affair, ...]:
    """Return 別表第一 of 27 December 2015: 98 numbered rows, one `Affair` for each body."""
    lines = read_table("uses.csv", ("number", "body", "law", "affair", "source"))
    return tuple(
        Affair(line["number"], body, line["law"], line["affair"], line["source"])
        for line in lines for body in kinds_of(line["body"])
    )  # fmt: skip


@lru_cache(maxsize=1)
def cabinet_order() -> dict[int, Matter]:
    """Return the 26 matters of the cabinet order's table as of 2016 (番号法施行令26条, 別表), by number."""
    lines = read_table("cabinet_order.csv", ("number", "law", "matter", "kind", "source"))
    return {
        int(line["number"]): Matter(int(line["number"]), line["law"], line["matter"], line["kind"], line["source"])
        for line in lines
    }


@lru_cache(maxsize=1)
def law_sources() -> dict[str, LawSource]:
    """Return the sources of the tables, by identifier."""
    lines = read_table("law_sources.csv", ("id", "title", "address", "as_of", "read_on"))
    return {line["id"]: LawSource(**line) for line in lines}


def kinds_of(term: str) -> Sequence[str]:
    """Return the kinds of bodies that a term of the tables stands for, the term itself first."""
    return (term, *_members().get(term, ()))


@lru_cache(maxsize=4096)
def denied_purpose(purpose: str) -> str:
    """Return what a purpose is if the number must not serve it under any item (recruiting for the self-defence forces,
    security clearance), with the source; otherwise an empty text."""
    plain = unicodedata.normalize("NFKC", purpose)
    for line in _denied():
        if all(word in plain for word in line["words"].split()):
            return f"{line['purpose']} ({line['source']})"
    return ""


def obliges_to_report(law: str) -> bool:
    """Return whether a law obliges the person to report to the body, so that it may be told tax data without consent
    (地方税法22条). A law whose text was not read does not count as one."""
    return _duties().get(law) == "yes"


@lru_cache(maxsize=1)
def _members() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in read_table("parties.csv", ("term", "member", "source")):
        found.setdefault(line["term"], []).append(line["member"])
    return found


@lru_cache(maxsize=1)
def _denied() -> list[dict[str, str]]:
    return read_table("denied_purposes.csv", ("words", "purpose", "source"))


@lru_cache(maxsize=1)
def _duties() -> dict[str, str]:
    lines = read_table("duties_to_report.csv", ("law", "duty", "article", "words", "source"))
    return {line["law"]: line["duty"] for line in lines}


def read_table(name: str, columns: tuple[str, ...]) -> list[dict[str, str]]:
    """Return the rows of an included table. Raises ValueError if its columns are wrong."""
    with (files(__package__) / name).open(encoding="utf-8") as file:
        reader = csv.DictReader(file)
        if tuple(reader.fieldnames or ()) != columns:
            raise ValueError(f"{name} must have the columns {', '.join(columns)}")
        return list(reader)
