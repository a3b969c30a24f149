"""Who may use the individual number for what (番号法9条): the affairs of 別表第一, and four other clauses.

A use is a search by number in one's own file, or writing somebody's number on a paper. What no clause names is denied.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from typing import Self

from kazashi.provision_network.rules import Decision, Denial, Row, read_table

_COLUMNS = ("number", "body", "law", "affair")


class Deed(Enum):
    """What is done with a number."""

    SEARCH = "search"
    """Look somebody up by it in one's own file."""
    SUBMIT = "submit"
    """Write it on a paper for a body that may search."""


class OwnUse(Enum):
    """The four ways in which a municipality makes uses of its own (H1), and the clause that each is tested by."""

    clause: str
    """The clause, as decisions name it."""

    OUTSIDE_TABLE = "outside-table", "番号法9条2項"
    INSIDE_THE_ORGAN = "inside-the-organ", "番号法9条2項"
    OTHER_ORGAN = "other-organ", "番号法19条10号"
    OTHER_MUNICIPALITY = "other-municipality", "番号法19条8号"

    def __new__(cls, code: str, clause: str) -> Self:
        """`code` is the value: two ways stand on one clause, and a value that is given twice makes an alias."""
        found = object.__new__(cls)
        found._value_ = code
        found.clause = clause
        return found


ORDINANCE_FIELDS = ("福祉", "保健・医療その他の社会保障", "地方税", "防災", "その他これらに類する事務")
"""The fields in which a municipality may make a use its own (9条2項)."""


@dataclass(frozen=True, slots=True)
class Affair:
    """A row of 別表第一 (個人番号利用事務): who may use the number under which law."""

    number: int
    bodies: tuple[str, ...]
    law: str
    affair: str


@dataclass(frozen=True, slots=True)
class Use:
    """A use that somebody wants to make. `clause` is the paragraph of article 9 that it stands on; the rest are the
    facts that the clause asks for."""

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
    """別表第一 as of 2016 with its 97 rows, from general knowledge and for prototypes; no statement of the law."""
    return tuple(
        Affair(int(line["number"]), tuple(line["body"].split("・")), line["law"], line["affair"])
        for line in read_table("uses.csv", _COLUMNS)
    )


def decide_use(use: Use) -> Decision:
    """Whether a use is allowed, by which clause, and in words."""
    match use.clause:
        case 1 if row := _row(use.body, use.law):
            return _allowed(f"番号法9条1項, 別表第一 {row.number}", row.affair)
        case 1:
            return _denied(f"別表第一 has no affair of {use.body} under {use.law or 'no law'}")
        case 2 if use.ordinance and use.field in ORDINANCE_FIELDS:
            return _allowed(f"番号法9条2項, {use.ordinance}", use.field)
        case 2:
            return _denied("an affair of a municipality's own needs its ordinance, and one of the fields of 9条2項")
        case 3 if use.deed is Deed.SUBMIT:
            return _allowed("番号法9条3項", "a paper for a body that may use the number")
        case 3:
            return _denied("who writes numbers on papers for others does not search by them")
        case 4 if use.disaster_declared and use.contract:
            return _allowed("番号法9条4項", f"payments after a severe disaster, contract {use.contract}")
        case 4:
            return _denied("only after a severe disaster was declared, and under a contract made before it")
        case 5 if use.received_for and use.used_for == use.received_for:
            return _allowed("番号法9条5項", f"received for {use.received_for}")
        case 5:
            return _denied("what was received under 19条 is used for what it was received for")
    return _denied(f"article 9 has no paragraph {use.clause}")


def outside_the_table(rows: list[Row]) -> list[str]:
    """Laws under which there is linkage (別表第二), and no row of 別表第一: the two tables are made apart (G24)."""
    uses = {affair.law for affair in table_of_uses()}
    return sorted({row.purpose.law for row in rows} - uses)


def _row(body: str, law: str) -> Affair | None:
    return next((row for row in table_of_uses() if row.law == law and body in row.bodies), None)


def _allowed(rule: str, words: str) -> Decision:
    return Decision(rule, None, words)


def _denied(words: str) -> Decision:
    return Decision("", Denial.NO_BASIS, words)
