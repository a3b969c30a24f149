"""Who may provide specific personal information to whom (番号法19条): a closed list of fifteen items.

Items 7 and 8 are for the network and are decided by its rules. The others go outside the network, and the portal does
not show them. Item numbers are those of the law of 2015; the law of 2013 has no item 8, and the later items have a
number that is one lower.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache

from kazashi.provision_network.rules import Decision, Denial, read_table


class Law(Enum):
    """A version of the Number Act."""

    OF_2013 = "2013"
    OF_2015 = "2015"


class PersonField(Enum):
    """An identifier of a person that a record can contain."""

    INDIVIDUAL_NUMBER = "個人番号"
    PROVISION_CODE = "符号"
    RESIDENT_RECORD_CODE = "住民票コード"
    CERTIFICATE_SERIAL = "電子証明書の発行番号"
    MYKEY_ID = "マイキーID"


def is_specific(handles: set[PersonField]) -> bool:
    """Return whether a record is specific personal information (特定個人情報): it has the individual number, or a code
    that corresponds to it and is used in its place. The resident record code is neither (2条8項)."""
    return bool(handles & {PersonField.INDIVIDUAL_NUMBER, PersonField.PROVISION_CODE})


class Party(Enum):
    """The role of a sender or receiver under article 19."""

    IMPLEMENTER = "個人番号利用事務実施者"
    RELATED = "個人番号関係事務実施者"
    PERSON = "本人"
    AGENT = "代理人"
    J_LIS = "機構"
    PREFECTURE = "都道府県知事"
    MUNICIPALITY = "市町村長"
    TAX_AGENCY = "国税庁長官"
    DEPOSITORY = "振替機関・口座管理機関"
    ISSUER = "株式・社債の発行者"
    COMMISSION = "個人情報保護委員会"
    INVESTIGATOR = "議院・裁判所・捜査機関等"
    ENTRUSTED = "受託者・承継者"
    ANYBODY = "その他の者"


class Inquiry(Enum):
    """The legal basis of an investigator's inquiry."""

    CRIMINAL_PROCEDURE_197 = "刑事訴訟法197条2項"
    """Counts as an investigation of a criminal case."""
    IMMIGRATION_28 = "入管法28条2項"
    """Does not count as an investigation of a criminal case."""


INVESTIGATIONS = ("国会の調査", "裁判手続", "裁判の執行", "刑事事件の捜査", "租税犯則事件の調査", "会計検査院の検査")
"""The purposes named in 19条13号 itself; the others are in the cabinet order."""

COMMISSION_RULES = {
    1: "行政書士法の検査", 2: "税理士法の調査", 3: "社会保険労務士法の調査", 4: "条例による不服の諮問",
}  # fmt: skip
"""The purposes added by the Commission's rule no. 1 of 2015 (19条15号)."""


@dataclass(frozen=True, slots=True)
class Provision:
    """A provision outside the network. `item` is the item of article 19 on which it is based. The other fields are the
    facts that the item requires; a field is empty if there is no such fact."""

    item: int
    sender: Party
    receiver: Party
    purpose: str = ""
    specific: bool = True
    contract: str = ""
    ordinance: str = ""
    same_government: bool = False
    case: str = ""
    reason: str = ""
    approved_by: str = ""
    inquiry: Inquiry | None = None
    order: int | None = None
    rule: int | None = None
    identity_checked: bool = False
    danger: bool = False
    consent: bool = False
    hard_to_obtain: bool = False
    on_line: bool = False
    council_heard: bool = False
    safeguards: bool = False


class OnLine(Enum):
    """What a government's own ordinance says about online provision."""

    FORBIDDEN_UNLESS = "forbidden, unless its council was heard"
    POSSIBLE_IF = "possible, if there are safeguards"


@dataclass(frozen=True, slots=True)
class Policy:
    """The choices that the law leaves open. `secrecy_clearance` is a purpose that a cabinet order could add in the
    future. `on_line` is the ordinance of the sender."""

    law: Law = Law.OF_2015
    secrecy_clearance: bool = False
    on_line: OnLine = OnLine.FORBIDDEN_UNLESS


IN_FORCE = Policy()
SECRECY_CLEARANCE = "特定秘密保護法の適性評価"


@lru_cache(maxsize=1)
def cabinet_order() -> dict[int, str]:
    """Return the 26 matters of the cabinet order's table (番号法施行令26条, 別表), by number."""
    return {int(line["number"]): line["matter"] for line in read_table("cabinet_order.csv", ("number", "matter"))}


def portal_shows(item: int) -> bool:
    """Return whether the portal shows provisions under that item: it only shows those over the network."""
    return item in _NETWORK


def commission_inspects(item: int) -> bool:
    """Return whether the Commission may inspect provisions under that item: all but those to investigators (36条)."""
    return item != _INVESTIGATORS


def decide_provision(provision: Provision, policy: Policy = IN_FORCE) -> Decision:
    """Decide whether information may be provided outside the network, and under which item.

    The law does not apply to information that is not related to the individual number.
    """
    if not provision.specific:
        return Decision("番号法 does not concern it", None, "ordinary personal information: other laws apply")
    if provision.item in _NETWORK:
        return Decision("", Denial.NETWORK_ONLY, f"19条{provision.item}号 only allows provision over the network")
    unmet_condition = _ITEMS.get(provision.item)
    if unmet_condition is None:
        return Decision("", Denial.NO_BASIS, f"article 19 has no item {provision.item}")
    unmet = unmet_condition(provision, policy) or _on_line(provision, policy)
    if unmet:
        return Decision("", Denial.NO_BASIS, unmet)
    return Decision(f"番号法19条{numbered(provision.item, policy.law)}号", None, "the item's conditions are met")


def numbered(item: int, law: Law) -> int:
    """Return the number of an item in a version of the law."""
    return item if law is Law.OF_2015 or item < 8 else item - 1


_NETWORK = (7, 8)
_INVESTIGATORS = 13
_TAX = {Party.TAX_AGENCY, Party.PREFECTURE, Party.MUNICIPALITY}
_USERS = {Party.IMPLEMENTER, Party.MUNICIPALITY, Party.PREFECTURE, Party.TAX_AGENCY}


def _on_line(provision: Provision, policy: Policy) -> str:
    if not provision.on_line:
        return ""
    met = provision.council_heard if policy.on_line is OnLine.FORBIDDEN_UNLESS else provision.safeguards
    return _unless(met, f"online provision is {policy.on_line.value}")


def _unless(met: bool, condition: str) -> str:
    """Return the condition if it is not met, otherwise an empty string."""
    return "" if met else condition


def _investigators(provision: Provision, policy: Policy) -> str:
    if provision.receiver is not Party.INVESTIGATOR:
        return "19条13号: only to the Diet, courts, investigators and similar bodies"
    if provision.inquiry is Inquiry.IMMIGRATION_28:
        return "an inquiry under 入管法28条 is not an investigation of a criminal case"
    named = provision.purpose in INVESTIGATIONS or provision.inquiry is Inquiry.CRIMINAL_PROCEDURE_197
    ordered = provision.order in cabinet_order()
    cleared = provision.purpose == SECRECY_CLEARANCE and policy.secrecy_clearance
    if not (named or ordered or cleared):
        purpose = provision.purpose or "an empty purpose"
        return f"{purpose} is neither in 19条13号 nor in the cabinet order's table of 26 matters"
    return _unless(
        bool(provision.case and provision.reason and provision.approved_by),
        "19条13号: a case, a written reason and a person's approval are needed; nothing of this is automatic",
    )


_ITEMS: dict[int, Callable[[Provision, Policy], str]] = {
    1: lambda p, _: _unless(
        p.sender in _USERS and p.receiver in (Party.PERSON, Party.AGENT, Party.RELATED),
        "19条1号: from a body that uses the number to the person, an agent or a number-related affair",
    ),
    2: lambda p, _: _unless(
        p.sender is Party.RELATED and p.receiver in _USERS | {Party.RELATED},
        "19条2号: from a number-related affair, as far as the affair needs it",
    ),
    3: lambda p, _: _unless(
        p.sender in (Party.PERSON, Party.AGENT) and p.receiver in _USERS | {Party.RELATED} and p.identity_checked,
        "19条3号: from the person or an agent, after an identity check (16条)",
    ),
    4: lambda p, _: _unless(
        p.sender is Party.J_LIS and p.receiver in _USERS, "19条4号: from J-LIS to a body that uses the number"
    ),
    5: lambda p, _: _unless(
        bool(p.contract) and p.receiver is Party.ENTRUSTED, "19条5号: entrustment or succession, with a contract"
    ),
    6: lambda p, _: _unless(
        p.sender in (Party.MUNICIPALITY, Party.PREFECTURE, Party.J_LIS) and p.purpose == "住民基本台帳法30条の6第1項",
        "19条6号: as the Basic Resident Registration Act requires",
    ),
    9: lambda p, _: _unless(
        p.sender in _TAX and p.receiver in _TAX and p.purpose == "国税・地方税の賦課徴収",
        "19条9号: between tax authorities, for taxes",
    ),
    10: lambda p, _: _unless(
        p.same_government and bool(p.ordinance), "19条10号: to another organ of the same government, by its ordinance"
    ),
    11: lambda p, _: _unless(
        p.sender is Party.DEPOSITORY and p.receiver in (Party.DEPOSITORY, Party.ISSUER),
        "19条11号: between depositories, or to issuers, of book-entry shares and bonds",
    ),
    12: lambda p, _: _unless(p.receiver is Party.COMMISSION, "19条12号: to the Commission, at its request"),
    _INVESTIGATORS: _investigators,
    14: lambda p, _: _unless(
        p.danger and (p.consent or p.hard_to_obtain),
        "19条14号: life, body or property in danger, with consent or if consent is hard to obtain",
    ),
    15: lambda p, _: _unless(p.rule in COMMISSION_RULES, "19条15号: as a rule of the Commission specifies"),
}
