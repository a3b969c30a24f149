"""Who may use the individual number for what (番号法9条): the affairs of 別表第一, and four other clauses.

A use is a search by number in a body's own file, or writing a person's number on a form. A use that no clause names is
denied.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from typing import Self

from kazashi.provision_network.rules import Decision, Denial, Row, read_table

_COLUMNS = ("number", "body", "law", "affair")


class Deed(Enum):
    """What is done with an individual number."""

    SEARCH = "search"
    """Look up a person by the number in a body's own file."""
    SUBMIT = "submit"
    """Write the number on a form for a body that may search."""


class OwnUse(Enum):
    """The four ways in which a municipality can use the number for its own affairs, each with its clause."""

    clause: str
    """The clause as it is named in decisions."""

    OUTSIDE_TABLE = "outside-table", "番号法9条2項"
    INSIDE_THE_ORGAN = "inside-the-organ", "番号法9条2項"
    OTHER_ORGAN = "other-organ", "番号法19条10号"
    OTHER_MUNICIPALITY = "other-municipality", "番号法19条8号"

    def __new__(cls, code: str, clause: str) -> Self:
        """Use `code` alone as the value: two members have the same clause, and members with equal values would be
        aliases."""
        member = object.__new__(cls)
        member._value_ = code
        member.clause = clause
        return member


ORDINANCE_FIELDS = ("福祉", "保健・医療その他の社会保障", "地方税", "防災", "その他これらに類する事務")
"""The fields in which a municipality may establish its own uses (9条2項)."""


@dataclass(frozen=True, slots=True)
class Affair:
    """A row of 別表第一 (個人番号利用事務): the bodies that may use the number for an affair of a law."""

    number: int
    bodies: tuple[str, ...]
    law: str
    affair: str


@dataclass(frozen=True, slots=True)
class Use:
    """An intended use of the number. `clause` is the paragraph of article 9 on which it is based; the other fields are
    the facts that the clause requires."""

    clause: int
    deed: Deed
    body: str
    law: str = ""
    ordinance: str = ""
    field: str = ""
    disaster_declared: bool = False
    contract: str = ""
    received_for: str = ""
    used_for: str = ""


@lru_cache(maxsize=1)
def table_of_uses() -> tuple[Affair, ...]:
    """Return 別表第一 as of 2016 with its 97 rows. It was written from general knowledge, for prototypes, and is not a
    statement of the law."""
    return tuple(
        Affair(int(line["number"]), tuple(line["body"].split("・")), line["law"], line["affair"])
        for line in read_table("uses.csv", _COLUMNS)
    )


def decide_use(use: Use) -> Decision:
    """Decide whether a use is allowed, and by which clause."""
    match use.clause:
        case 1 if row := _row(use.body, use.law):
            return _allowed(f"番号法9条1項, 別表第一 {row.number}", row.affair)
        case 1:
            return _denied(f"別表第一 has no affair of {use.body} under {use.law or 'an unnamed law'}")
        case 2 if use.ordinance and use.field in ORDINANCE_FIELDS:
            return _allowed(f"番号法9条2項, {use.ordinance}", use.field)
        case 2:
            return _denied("a municipality's own use needs an ordinance and one of the fields of 9条2項")
        case 3 if use.deed is Deed.SUBMIT:
            return _allowed("番号法9条3項", "a form for a body that may use the number")
        case 3:
            return _denied("9条3項 only allows writing the number on forms, and not a search")
        case 4 if use.disaster_declared and use.contract:
            return _allowed("番号法9条4項", f"payments after a severe disaster, contract {use.contract}")
        case 4:
            return _denied("9条4項 needs a declared severe disaster and a contract made before it")
        case 5 if use.received_for and use.used_for == use.received_for:
            return _allowed("番号法9条5項", f"received for {use.received_for}")
        case 5:
            return _denied("a number received under 19条 may only be used for the purpose it was received for")
    return _denied(f"article 9 has no paragraph {use.clause}")


def outside_the_table(rows: list[Row]) -> list[str]:
    """Return the laws that are in 別表第二 but not in 別表第一. The two tables are made separately."""
    uses = {affair.law for affair in table_of_uses()}
    return sorted({row.purpose.law for row in rows} - uses)


def _row(body: str, law: str) -> Affair | None:
    return next((row for row in table_of_uses() if row.law == law and body in row.bodies), None)


def _allowed(rule: str, words: str) -> Decision:
    return Decision(rule, None, words)


def _denied(words: str) -> Decision:
    return Decision("", Denial.NO_BASIS, words)
