"""Who may give specific personal information to whom (番号法19条): a closed list of fifteen items.

Two of them, 7 and 8, are the network's and are decided by its rules; the others go past it, and nothing of them is seen
in the portal. Item numbers are those of the law of 2015; under the law of 2013 there is no item 8, and what comes after
it stands one number lower.
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
    """What a record can have about a person."""

    INDIVIDUAL_NUMBER = "個人番号"
    PROVISION_CODE = "符号"
    RESIDENT_RECORD_CODE = "住民票コード"
    CERTIFICATE_SERIAL = "電子証明書の発行番号"
    MYKEY_ID = "マイキーID"


def is_specific(handles: set[PersonField]) -> bool:
    """Whether a record is specific personal information (特定個人情報): it has the individual number, or a code that
    corresponds to it and is used in its place. The resident record code is neither (2条8項, A4)."""
    return bool(handles & {PersonField.INDIVIDUAL_NUMBER, PersonField.PROVISION_CODE})


class Party(Enum):
    """What somebody is, as far as article 19 asks."""

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
    """What an investigator's letter stands on (I6)."""

    CRIMINAL_PROCEDURE_197 = "刑事訴訟法197条2項"
    """Counts as an investigation of a criminal case."""
    IMMIGRATION_28 = "入管法28条2項"
    """Does not."""


INVESTIGATIONS = ("国会の調査", "裁判手続", "裁判の執行", "刑事事件の捜査", "租税犯則事件の調査", "会計検査院の検査")
"""What 19条13号 names itself; the rest is in the cabinet order."""

COMMISSION_RULES = {
    1: "行政書士法の検査", 2: "税理士法の調査", 3: "社会保険労務士法の調査", 4: "条例による不服の諮問",
}  # fmt: skip
"""What the Commission's rule no. 1 of 2015 has added (19条15号, I10)."""


@dataclass(frozen=True, slots=True)
class Provision:
    """Somebody wants to give something. `item` is the item of article 19 that it stands on; the rest are the facts that
    the item asks for, empty where there is none."""

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
    """How a government's own ordinance sees provision on line (I9)."""

    FORBIDDEN_UNLESS = "forbidden, unless its council was heard"
    POSSIBLE_IF = "possible, if there are safeguards"


@dataclass(frozen=True, slots=True)
class Policy:
    """What the law leaves open. `secrecy_clearance` is what a cabinet order could add one day (I11); `on_line` is the
    ordinance of whoever gives."""

    law: Law = Law.OF_2015
    secrecy_clearance: bool = False
    on_line: OnLine = OnLine.FORBIDDEN_UNLESS


IN_FORCE = Policy()
SECRECY_CLEARANCE = "特定秘密保護法の適性評価"


@lru_cache(maxsize=1)
def cabinet_order() -> dict[int, str]:
    """The 26 matters of the cabinet order's table (番号法施行令26条, 別表), by their numbers."""
    return {int(line["number"]): line["matter"] for line in read_table("cabinet_order.csv", ("number", "matter"))}


def portal_shows(item: int) -> bool:
    """Whether a person sees a provision of that item in the portal: what went over the network alone (F7)."""
    return item in _NETWORK


def commission_inspects(item: int) -> bool:
    """Whether the Commission may look at what was given under that item (36条: not at what investigators got)."""
    return item != _INVESTIGATORS


def decide_provision(provision: Provision, policy: Policy = IN_FORCE) -> Decision:
    """Whether something may be given past the network, by which item, and in words. Information that has nothing to
    do with the number is not this law's matter."""
    if not provision.specific:
        return Decision("番号法 does not concern it", None, "ordinary personal information: other laws decide")
    if provision.item in _NETWORK:
        return Decision("", Denial.NETWORK_ONLY, f"19条{provision.item}号 goes over the network alone")
    found = _ITEMS.get(provision.item)
    if found is None:
        return Decision("", Denial.NO_BASIS, f"article 19 has no item {provision.item}")
    lacking = found(provision, policy) or _on_line(provision, policy)
    if lacking:
        return Decision("", Denial.NO_BASIS, lacking)
    return Decision(f"番号法19条{numbered(provision.item, policy.law)}号", None, "the item's conditions are met")


def numbered(item: int, law: Law) -> int:
    """The number of an item under a version of the law."""
    return item if law is Law.OF_2015 or item < 8 else item - 1


_NETWORK = (7, 8)
_INVESTIGATORS = 13
_TAX = {Party.TAX_AGENCY, Party.PREFECTURE, Party.MUNICIPALITY}
_USERS = {Party.IMPLEMENTER, Party.MUNICIPALITY, Party.PREFECTURE, Party.TAX_AGENCY}


def _on_line(provision: Provision, policy: Policy) -> str:
    if not provision.on_line:
        return ""
    met = provision.council_heard if policy.on_line is OnLine.FORBIDDEN_UNLESS else provision.safeguards
    return _unless(met, f"on line it is {policy.on_line.value}")


def _unless(met: bool, lacking: str) -> str:
    return "" if met else lacking


def _investigators(provision: Provision, policy: Policy) -> str:
    if provision.receiver is not Party.INVESTIGATOR:
        return "19条13号 is for the Diet, courts, investigators and the like"
    if provision.inquiry is Inquiry.IMMIGRATION_28:
        return "an inquiry under 入管法28条 is no investigation of a criminal case"
    named = provision.purpose in INVESTIGATIONS or provision.inquiry is Inquiry.CRIMINAL_PROCEDURE_197
    ordered = provision.order in cabinet_order()
    cleared = provision.purpose == SECRECY_CLEARANCE and policy.secrecy_clearance
    if not (named or ordered or cleared):
        return f"{provision.purpose or 'nothing'} is neither in 19条13号 nor in the cabinet order's table of 26"
    return _unless(
        bool(provision.case and provision.reason and provision.approved_by),
        "it needs a case, a reason in words, and somebody who has approved it: nothing of this is automatic",
    )


_ITEMS: dict[int, Callable[[Provision, Policy], str]] = {
    1: lambda p, _: _unless(
        p.sender in _USERS and p.receiver in (Party.PERSON, Party.AGENT, Party.RELATED),
        "19条1号: from whoever uses the number to the person, an agent or a related affair",
    ),
    2: lambda p, _: _unless(
        p.sender is Party.RELATED and p.receiver in _USERS | {Party.RELATED},
        "19条2号: from a number-related affair, as far as that needs it",
    ),
    3: lambda p, _: _unless(
        p.sender in (Party.PERSON, Party.AGENT) and p.receiver in _USERS | {Party.RELATED} and p.identity_checked,
        "19条3号: from the person or an agent, once identity was checked (16条)",
    ),
    4: lambda p, _: _unless(
        p.sender is Party.J_LIS and p.receiver in _USERS, "19条4号: from J-LIS to whoever uses the number"
    ),
    5: lambda p, _: _unless(
        bool(p.contract) and p.receiver is Party.ENTRUSTED, "19条5号: entrustment or succession, with its contract"
    ),
    6: lambda p, _: _unless(
        p.sender in (Party.MUNICIPALITY, Party.PREFECTURE, Party.J_LIS) and p.purpose == "住民基本台帳法30条の6第1項",
        "19条6号: what the Basic Resident Registration Act orders",
    ),
    9: lambda p, _: _unless(
        p.sender in _TAX and p.receiver in _TAX and p.purpose == "国税・地方税の賦課徴収",
        "19条9号: between tax authorities, for taxes",
    ),
    10: lambda p, _: _unless(
        p.same_government and bool(p.ordinance), "19条10号: another organ of the same government, by its ordinance"
    ),
    11: lambda p, _: _unless(
        p.sender is Party.DEPOSITORY and p.receiver in (Party.DEPOSITORY, Party.ISSUER),
        "19条11号: between those who keep bonds and shares in books",
    ),
    12: lambda p, _: _unless(p.receiver is Party.COMMISSION, "19条12号: to the Commission, which asks for it"),
    _INVESTIGATORS: _investigators,
    14: lambda p, _: _unless(
        p.danger and (p.consent or p.hard_to_obtain),
        "19条14号: life, body or property in danger, and consent or no way to get it",
    ),
    15: lambda p, _: _unless(p.rule in COMMISSION_RULES, "19条15号: what a rule of the Commission names"),
}
