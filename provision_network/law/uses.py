"""Who may use the individual number for what (番号法9条): the affairs of 別表第一, and four other clauses.

A use is a search by number in a body's own file, or writing a person's number on a form. A use that no clause names is
denied.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from enum import Enum
from typing import Self

from kazashi.provision_network.law.rules import LOCAL_GOVERNMENTS, Decision, Denial, OrdinanceAffair, not_known
from kazashi.provision_network.law.tables import Row, denied_purpose, table_of_uses
from kazashi.provision_network.law.versions import BY_ORDER, NUMBERS_USED, LawVersion, ProvisionItem, version_on


class Deed(Enum):
    """What is done with an individual number."""

    SEARCH = "search"
    """Look up a person by the number in a body's own file."""
    SUBMIT = "submit"
    """Write the number on a form for a body that may search."""


class Clause(Enum):
    """A paragraph of article 9 that allows a use."""

    TABLE = "table"
    """An affair of 別表第一."""
    ORDINANCE = "ordinance"
    """A local government's own affair, by its ordinance."""
    RELATED = "related"
    """A number-related affair (個人番号関係事務)."""
    DISASTER = "disaster"
    """Payments after a severe disaster, by a contract made before it."""
    RECEIPT = "receipt"
    """The purpose for which the number was received under certain items of article 19."""

    def cite(self, version: LawVersion) -> str:
        """Return how decisions name the paragraph, with the version of the law. The text of 2025 has one on family
        registers in third place."""
        number = list(Clause).index(self) + 1
        later = version.begins >= BY_ORDER and number >= 3
        return f"番号法9条{number + later}項 ({version.name})"


class OwnUse(Enum):
    """The four ways in which a municipality can use the number for its own affairs, each with its clause."""

    clause: Clause | ProvisionItem
    """The paragraph of article 9, or the item of article 19, that allows it."""

    OUTSIDE_TABLE = "outside-table", Clause.ORDINANCE
    INSIDE_THE_ORGAN = "inside-the-organ", Clause.ORDINANCE
    OTHER_ORGAN = "other-organ", ProvisionItem.SAME_GOVERNMENT
    OTHER_MUNICIPALITY = "other-municipality", ProvisionItem.NETWORK_ORDINANCE

    def __new__(cls, code: str, clause: Clause | ProvisionItem) -> Self:
        """Use `code` alone as the value: two members have the same clause, and members with equal values would be
        aliases."""
        member = object.__new__(cls)
        member._value_ = code
        member.clause = clause
        return member


@dataclass(frozen=True, slots=True)
class ReceivedNumber:
    """What a body has received outside the network, as the log of the provider has it: under which item, and for which
    purpose."""

    item: ProvisionItem
    receiver: str
    purpose: str


@dataclass(frozen=True, slots=True)
class Use:
    """An intended use of the number by a `body` of a `kind`. `clause` is the paragraph of article 9 on which it is
    based; the other fields are what the clause requires. `ordinance` is the identifier of a filing with the
    Commission."""

    clause: Clause
    deed: Deed
    body: str
    kind: str
    purpose: str = ""
    law: str = ""
    ordinance: str = ""
    disaster_declared: bool = False
    contract: str = ""


_RECEIVED = (
    ProvisionItem.COMMISSION, ProvisionItem.MINISTER, ProvisionItem.INVESTIGATION, ProvisionItem.PROTECTION,
    ProvisionItem.COMMISSION_RULE,
)  # fmt: skip
"""The items under which a number was received that may be used for the purpose of the receipt (9条5項 of 2015: items 11
to 14; 9条6項 of 2025: items 13 to 17)."""


def decide_use(
    use: Use, on: date, ordinances: Iterable[OrdinanceAffair] = (), receipt: ReceivedNumber | None = None
) -> Decision:  # fmt: skip
    """Decide whether a use is allowed on a day, and by which clause.

    `ordinances` are the affairs by ordinance that were filed with the Commission, and `receipt` is what the body has
    received. Both come from where they are recorded, and not from the body.
    """
    version = version_on(on)
    if version is None:
        return not_known(on)
    if on < NUMBERS_USED:
        return Decision("", Denial.NOT_IN_FORCE, f"individual numbers are not used before {NUMBERS_USED}")
    if denied := denied_purpose(f"{use.law} {use.purpose}"):
        return Decision("", Denial.DENIED_PURPOSE, f"the number must not serve {denied}")
    cited = use.clause.cite(version)
    match use.clause:
        case Clause.TABLE:
            return _by_table(use, version, cited)
        case Clause.ORDINANCE:
            return _by_ordinance(use, on, ordinances, cited)
        case Clause.RELATED if use.deed is Deed.SUBMIT:
            return _allowed(cited, "a form for a body that may use the number")
        case Clause.RELATED:
            return _denied("a number-related affair may only write the number on forms, and not search by it")
        case Clause.DISASTER if use.disaster_declared and use.contract:
            return _allowed(cited, f"payments after a severe disaster, contract {use.contract}")
        case Clause.DISASTER:
            return _denied("payments need a declared severe disaster and a contract made before it")
        case Clause.RECEIPT:
            return _as_received(use, receipt, cited)


def outside_the_table(rows: Iterable[Row]) -> list[tuple[str, str]]:
    """Return the pairs of requester and law that are in 別表第二 but not in 別表第一. The two tables are made
    separately."""
    uses = {(affair.body, affair.law) for affair in table_of_uses()}
    return sorted({(row.purpose.requester, row.purpose.law) for row in rows} - uses)


def _by_table(use: Use, version: LawVersion, cited: str) -> Decision:
    if not use.kind:
        return _denied(f"{use.body} is not on the network, so that 別表第一 names no affair of it")
    rows = [row for row in table_of_uses() if (row.body, row.law) == (use.kind, use.law)]
    if not rows:
        return _denied(f"別表第一 has no affair of {use.kind} under {use.law or 'an unnamed law'}")
    row = next((row for row in rows if use.purpose in ("", row.affair)), None)
    if row is None:
        affairs = ", ".join(row.affair for row in rows)
        return _denied(f"under {use.law} the purpose is {affairs}, and nothing else")
    if version.begins < BY_ORDER:
        return _allowed(f"{cited}, 別表第一 {row.number}{'' if row.source else ', unverified'}", row.affair)
    return _allowed(f"{cited}, 別表 (formerly 別表第一 {row.number}), unverified", row.affair)


def _by_ordinance(use: Use, on: date, ordinances: Iterable[OrdinanceAffair], cited: str) -> Decision:
    if use.kind not in LOCAL_GOVERNMENTS:
        return _denied(f"{use.body} is a {use.kind}, and makes no ordinances; only local governments do")
    affair = next((one for one in ordinances if (one.identifier, one.body) == (use.ordinance, use.body)), None)
    if affair is None:
        return _denied(f"{use.body} has filed no ordinance {use.ordinance}".rstrip())
    if affair.filed is None or affair.filed > on or (affair.withdrawn is not None and affair.withdrawn <= on):
        return _denied(f"{use.ordinance} of {use.body} is not in force on {on}")
    return _allowed(f"{cited}, {affair.identifier}", affair.field)


def _as_received(use: Use, receipt: ReceivedNumber | None, cited: str) -> Decision:
    if receipt is None or receipt.receiver != use.body:
        return _denied(f"no receipt of {use.body} is recorded")
    if receipt.item not in _RECEIVED:
        return _denied(f"what was received under the item {receipt.item.value} gives no right to use the number")
    if receipt.purpose != use.purpose:
        return _denied(f"it was received for {receipt.purpose}, and may be used for nothing else")
    return _allowed(cited, f"received for {receipt.purpose}")


def _allowed(rule: str, words: str) -> Decision:
    return Decision(rule, None, words)


def _denied(words: str) -> Decision:
    return Decision("", Denial.NO_BASIS, words)
