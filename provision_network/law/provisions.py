"""Who may provide specific personal information to whom (番号法19条): a closed list of items.

The two items for the network are decided by its rules. The others go outside the network, and the portal does not show
them. What the law makes a matter of fact is data here (which purposes are denied, which information is tax data, which
law obliges a person to report), and not something that the asker may state.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from enum import Enum

from kazashi.provision_network.law.rules import LOCAL_GOVERNMENTS, Decision, Denial, not_known
from kazashi.provision_network.law.tables import TAX_ITEM, cabinet_order, denied_purpose, obliges_to_report
from kazashi.provision_network.law.versions import NUMBERS_USED, RENUMBERED, ProvisionItem, version_on


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
    BOARD = "市町村教育委員会"
    PREFECTURAL_BOARD = "都道府県教育委員会"
    TAX_AGENCY = "国税庁長官"
    DEPOSITORY = "振替機関・口座管理機関"
    ISSUER = "株式・社債の発行者"
    COMMISSION = "個人情報保護委員会"
    MINISTER = "機構を監督する大臣"
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
"""The purposes that the item for investigations names itself; the others are in the cabinet order."""

COMMISSION_RULES = {
    1: "行政書士法の検査", 2: "税理士法の調査", 3: "社会保険労務士法の調査", 4: "条例による不服の諮問",
}  # fmt: skip
"""The purposes added by the Commission's rule no. 1 of 2015."""

TAXES_PURPOSE = "国税・地方税の賦課徴収"
REGISTRATION_ACT_PURPOSE = "住民基本台帳法30条の6第1項"
HEALTH_CHECK, HEALTH_CHECK_PURPOSE = "特定健康診査の記録", "高齢者の医療の確保に関する法律27条"
"""The record of a health check, and the article by which an insurer asks the former insurer of a new member for it. The
former insurer gives it with the person's consent. (Since October 2021 insurers do not ask for consent any more.)"""


@dataclass(frozen=True, slots=True)
class Provision:
    """A provision outside the network, under an item of article 19, for a purpose.

    `handle` is the identifier that the information has, None if it only has a name and an address, and `information`
    its name in the table of affairs, if it is there. The other fields are the facts that the item requires, or None or
    empty: `law` is the law of the receiver's affair, `order` a matter of the cabinet order, `rule` a purpose of the
    Commission's rule.
    """

    item: ProvisionItem
    sender: Party
    receiver: Party
    purpose: str = ""
    handle: PersonField | None = PersonField.INDIVIDUAL_NUMBER
    information: str = ""
    law: str = ""
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
    """The choices that the law leaves open. `on_line` is the ordinance of the sender."""

    on_line: OnLine = OnLine.FORBIDDEN_UNLESS


IN_FORCE = Policy()
_NETWORK = (ProvisionItem.NETWORK, ProvisionItem.NETWORK_ORDINANCE)


def portal_shows(item: ProvisionItem) -> bool:
    """Return whether the portal shows provisions under that item: it only shows those over the network."""
    return item in _NETWORK


def commission_inspects(item: ProvisionItem) -> bool:
    """Return whether the Commission may inspect provisions under that item: all but those to investigators (36条)."""
    return item is not ProvisionItem.INVESTIGATION


def decide_provision(provision: Provision, on: date, policy: Policy = IN_FORCE) -> Decision:
    """Decide whether information may be provided outside the network on a day, and under which item.

    The law does not apply to information that is not related to the individual number.
    """
    if provision.handle is None or not is_specific({provision.handle}):
        return Decision("番号法 does not concern it", None, "ordinary personal information: other laws apply")
    version = version_on(on)
    if version is None:
        return not_known(on)
    item = provision.item
    number = version.number(item)
    if number is None:
        return Decision("", Denial.NOT_IN_FORCE, f"the law of {version.name} has no item for {item.value}")
    if on < NUMBERS_USED:
        return Decision("", Denial.NOT_IN_FORCE, f"individual numbers are not used before {NUMBERS_USED}")
    cited = f"19条{number}号"
    if item in _NETWORK:
        return Decision("", Denial.NETWORK_ONLY, f"{cited} only allows provision over the network")
    if not provision.purpose:
        return Decision("", Denial.UNKNOWN_PURPOSE, "a provision needs a purpose")
    if denied := denied_purpose(provision.purpose):
        return Decision("", Denial.DENIED_PURPOSE, f"the number must not serve {denied}")
    if item is ProvisionItem.INVESTIGATION and provision.order is not None and on >= RENUMBERED:
        return Decision("", Denial.NOT_KNOWN, f"the cabinet order's table of {on} is not known here, only that of 2016")
    unmet = _ITEMS[item](provision) or _on_line(provision, policy)
    if unmet:
        return Decision("", Denial.NO_BASIS, f"{cited}: {unmet}")
    if secrecy := _tax_secrecy(provision):
        return Decision("", Denial.TAX_SECRECY, secrecy)
    if provision.information == HEALTH_CHECK and item is ProvisionItem.RELATED_AFFAIR and not provision.consent:
        return Decision("", Denial.CONSENT, f"the person has not consented ({HEALTH_CHECK_PURPOSE})")
    return Decision(version.cite(item), None, "the item's conditions are met")


_TAX = {Party.TAX_AGENCY, Party.PREFECTURE, Party.MUNICIPALITY}
_USERS = {
    Party.IMPLEMENTER, Party.MUNICIPALITY, Party.PREFECTURE, Party.BOARD, Party.PREFECTURAL_BOARD, Party.TAX_AGENCY,
}  # fmt: skip
_NEEDS_SECRECY = (ProvisionItem.SAME_GOVERNMENT, ProvisionItem.PROTECTION, ProvisionItem.RELATED_AFFAIR)
"""Items under which a local government could pass tax data on to those who do not assess taxes. An employer, who
withholds the tax, gets them for that purpose only."""


def _tax_secrecy(provision: Provision) -> str:
    """Why tax data must not be passed on (地方税法22条), or an empty text."""
    to_employer = provision.item is ProvisionItem.TO_PERSON and provision.receiver is Party.RELATED
    passed_on = provision.item in _NEEDS_SECRECY or (to_employer and provision.purpose != TAXES_PURPOSE)
    secret = provision.information == TAX_ITEM and passed_on
    if not secret or provision.consent or obliges_to_report(provision.law):
        return ""
    law = provision.law or "an affair without a law"
    return f"{law} does not oblige the person to report, so tax data need the person's consent (地方税法22条)"


def _on_line(provision: Provision, policy: Policy) -> str:
    if not provision.on_line:
        return ""
    met = provision.council_heard if policy.on_line is OnLine.FORBIDDEN_UNLESS else provision.safeguards
    return _unless(met, f"online provision is {policy.on_line.value}")


def _unless(met: bool, condition: str) -> str:
    """Return the condition if it is not met, otherwise an empty string."""
    return "" if met else condition


def _investigators(provision: Provision) -> str:
    if provision.receiver is not Party.INVESTIGATOR:
        return "only to the Diet, courts, investigators and similar bodies"
    if provision.inquiry is Inquiry.IMMIGRATION_28:
        return "an inquiry under 入管法28条 is not an investigation of a criminal case"
    named = provision.purpose in INVESTIGATIONS or provision.inquiry is Inquiry.CRIMINAL_PROCEDURE_197
    if not (named or provision.order in cabinet_order()):
        return f"{provision.purpose} is neither in the law nor in the cabinet order's table of 26 matters"
    return _unless(
        bool(provision.case and provision.reason and provision.approved_by),
        "a case, a written reason and a person's approval are needed; nothing of this is automatic",
    )


_Item = ProvisionItem
_ITEMS: dict[ProvisionItem, Callable[[Provision], str]] = {
    _Item.TO_PERSON: lambda p: _unless(
        p.sender in _USERS and p.receiver in (Party.PERSON, Party.AGENT, Party.RELATED),
        "from a body that uses the number to the person, an agent or a number-related affair",
    ),
    _Item.RELATED_AFFAIR: lambda p: _unless(
        p.sender is Party.RELATED and p.receiver in _USERS | {Party.RELATED},
        "from a number-related affair, as far as the affair needs it",
    ),
    _Item.BY_PERSON: lambda p: _unless(
        p.sender in (Party.PERSON, Party.AGENT) and p.receiver in _USERS | {Party.RELATED} and p.identity_checked,
        "from the person or an agent, after an identity check (16条)",
    ),
    _Item.NEW_EMPLOYER: lambda p: _unless(
        p.sender is Party.RELATED and p.receiver is Party.RELATED and p.consent,
        "from a former employer to the next one, with the employee's consent",
    ),
    _Item.J_LIS: lambda p: _unless(
        p.sender is Party.J_LIS and p.receiver in _USERS, "from J-LIS to a body that uses the number"
    ),
    _Item.ENTRUSTMENT: lambda p: _unless(
        bool(p.contract) and p.receiver is Party.ENTRUSTED, "entrustment or succession, with a contract"
    ),
    _Item.REGISTRATION_ACT: lambda p: _unless(
        p.sender in (Party.MUNICIPALITY, Party.PREFECTURE, Party.J_LIS) and p.purpose == REGISTRATION_ACT_PURPOSE,
        f"as the Basic Resident Registration Act requires ({REGISTRATION_ACT_PURPOSE})",
    ),
    _Item.TAXES: lambda p: _unless(
        p.sender in _TAX and p.receiver in _TAX and p.purpose == TAXES_PURPOSE,
        f"between tax authorities, for taxes ({TAXES_PURPOSE})",
    ),
    _Item.SAME_GOVERNMENT: lambda p: _unless(
        p.same_government and p.sender.value in LOCAL_GOVERNMENTS and bool(p.ordinance),
        "to another organ of the same local government, by its ordinance",
    ),
    _Item.BOOK_ENTRY: lambda p: _unless(
        p.sender is Party.DEPOSITORY and p.receiver in (Party.DEPOSITORY, Party.ISSUER),
        "between depositories, or to issuers, of book-entry shares and bonds",
    ),
    _Item.COMMISSION: lambda p: _unless(p.receiver is Party.COMMISSION, "to the Commission, at its request"),
    _Item.MINISTER: lambda p: _unless(
        p.sender is Party.J_LIS and p.receiver is Party.MINISTER,
        "from J-LIS to the Minister, at the Minister's request",
    ),
    _Item.INVESTIGATION: _investigators,
    _Item.PROTECTION: lambda p: _unless(
        p.danger and (p.consent or p.hard_to_obtain),
        "life, body or property in danger, with consent or if consent is hard to obtain",
    ),
    _Item.COMMISSION_RULE: lambda p: _unless(p.rule in COMMISSION_RULES, "as a rule of the Commission specifies"),
}
