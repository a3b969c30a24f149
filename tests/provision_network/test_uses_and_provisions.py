"""Articles 9 and 19: closed lists; everything that is not on them is denied, and what is data is not for the asker to
state."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from itertools import combinations

import pytest

from kazashi.provision_network.law.provisions import (
    COMMISSION_RULES,
    IN_FORCE,
    INVESTIGATIONS,
    REGISTRATION_ACT_PURPOSE,
    TAXES_PURPOSE,
    Inquiry,
    OnLine,
    Party,
    PersonField,
    Policy,
    Provision,
    commission_inspects,
    decide_provision,
    is_specific,
    portal_shows,
)
from kazashi.provision_network.law.rules import ORDINANCE_FIELDS, Denial, OrdinanceAffair, Penalty
from kazashi.provision_network.law.tables import TAX_ITEM, Purpose, cabinet_order, printed_table, table_of_uses
from kazashi.provision_network.law.uses import Clause, Deed, OwnUse, ReceivedNumber, Use, decide_use, outside_the_table
from kazashi.provision_network.law.versions import NUMBERS_USED, RENUMBERED, VERSIONS, ProvisionItem
from kazashi.provision_network.person_rights import AIM_NOT_LAW, PersonRequest, decide_request

pytestmark = pytest.mark.unit

IMPLEMENTER, PERSON, INVESTIGATOR = Party.IMPLEMENTER, Party.PERSON, Party.INVESTIGATOR
CASE = {"case": "平成30年検第1号", "reason": "所在の確認", "approved_by": "総務課長"}
DAY = date(2018, 4, 1)
NOW = date(2026, 11, 24)
ITEM = ProvisionItem

ALLOWED = {provision.item: provision for provision in (
    Provision(ITEM.TO_PERSON, IMPLEMENTER, PERSON, "個人番号の通知"),
    Provision(ITEM.RELATED_AFFAIR, Party.RELATED, IMPLEMENTER, "源泉徴収票の提出"),
    Provision(ITEM.BY_PERSON, PERSON, IMPLEMENTER, "児童手当の申請", identity_checked=True),
    Provision(ITEM.NEW_EMPLOYER, Party.RELATED, Party.RELATED, "転職先での源泉徴収", consent=True),
    Provision(ITEM.J_LIS, Party.J_LIS, IMPLEMENTER, "本人確認情報の提供"),
    Provision(ITEM.ENTRUSTMENT, IMPLEMENTER, Party.ENTRUSTED, "給付事務の委託", contract="30-1"),
    Provision(ITEM.REGISTRATION_ACT, Party.PREFECTURE, Party.J_LIS, REGISTRATION_ACT_PURPOSE),
    Provision(ITEM.TAXES, Party.TAX_AGENCY, Party.MUNICIPALITY, TAXES_PURPOSE, information=TAX_ITEM),
    Provision(ITEM.SAME_GOVERNMENT, Party.MUNICIPALITY, Party.MUNICIPALITY, "就学援助", same_government=True,
              ordinance="架空町条例5号"),
    Provision(ITEM.BOOK_ENTRY, Party.DEPOSITORY, Party.ISSUER, "株主の通知"),
    Provision(ITEM.COMMISSION, IMPLEMENTER, Party.COMMISSION, "立入検査"),
    Provision(ITEM.MINISTER, Party.J_LIS, Party.MINISTER, "機構の監督"),
    Provision(ITEM.INVESTIGATION, Party.MUNICIPALITY, INVESTIGATOR, "刑事事件の捜査", **CASE),  # type: ignore[arg-type]
    Provision(ITEM.PROTECTION, IMPLEMENTER, Party.ANYBODY, "行方不明者の捜索", danger=True, consent=True),
    Provision(ITEM.COMMISSION_RULE, IMPLEMENTER, Party.ANYBODY, "税理士法の調査", rule=1),
)}  # fmt: skip
"""An allowed provision under each item outside the network, with all the facts that the item requires."""

AFFAIR = OrdinanceAffair(
    "架空町-1", "架空町", Purpose("市町村長", "架空町条例", "医療費の助成", "市町村長", "住民票関係情報"), "9",
    ORDINANCE_FIELDS[0], date(2016, 1, 1),
)  # fmt: skip


def decided(provision: Provision, on: date = NOW, policy: Policy = IN_FORCE) -> Denial | None:
    return decide_provision(provision, on, policy).denial


def refused(provision: Provision, on: date = NOW) -> str:
    decision = decide_provision(provision, on)
    assert not decision.allowed
    return decision.words


# Article 9


def test_a5_g1_a_body_may_search_for_its_affairs_of_the_table_only() -> None:
    table = table_of_uses()
    numbers = dict.fromkeys(affair.number for affair in table)
    assert [number for number in numbers if "の" not in number] == [str(n) for n in range(1, 99) if n != 25]
    assert [number for number in numbers if "の" in number] == ["36の2"]
    for affair in table:
        rows = [row.number for row in table if row.law == affair.law and row.body == affair.body]
        use = Use(Clause.TABLE, Deed.SEARCH, affair.body, affair.body, law=affair.law)
        assert decide_use(use, DAY).rule == f"番号法9条1項 (2017-05-30), 別表第一 {rows[0]}"
        assert decide_use(use, NOW).rule.endswith(f"別表 (formerly 別表第一 {rows[0]}), unverified")
        assert decide_use(use, NUMBERS_USED - timedelta(days=1)).denial is Denial.NOT_IN_FORCE
    for kind, law in (("市町村長", "好奇心法"), ("図書館", "児童手当法")):
        assert decide_use(Use(Clause.TABLE, Deed.SEARCH, "x", kind, law=law), DAY).denial is Denial.NO_BASIS
    assert decide_use(Use(Clause.TABLE, Deed.SEARCH, "x", "市町村長"), date(2010, 1, 1)).denial is Denial.NOT_KNOWN


def test_g2_a_municipality_s_own_use_needs_an_ordinance_that_it_has_filed() -> None:
    own = Use(Clause.ORDINANCE, Deed.SEARCH, "架空町", "市町村長", ordinance="架空町-1")
    assert decide_use(own, DAY, [AFFAIR]).rule == "番号法9条2項 (2017-05-30), 架空町-1"
    for wrong in (
        replace(own, ordinance=""), replace(own, ordinance="架空町-2"), replace(own, body="別の町"),
        replace(own, kind="健康保険組合"),
    ):  # fmt: skip
        assert decide_use(wrong, DAY, [AFFAIR]).denial is Denial.NO_BASIS
    assert "makes no ordinances" in decide_use(replace(own, kind="架空銀行"), DAY, [AFFAIR]).words
    for affair in (replace(AFFAIR, withdrawn=DAY), replace(AFFAIR, filed=DAY + timedelta(days=1))):
        assert not decide_use(own, DAY, [affair]).allowed


def test_a6_g3_an_employer_may_submit_but_not_search() -> None:
    employer = Use(Clause.RELATED, Deed.SUBMIT, "架空商店", "事業者")
    assert decide_use(employer, DAY).rule == "番号法9条3項 (2017-05-30)"
    assert decide_use(employer, NOW).rule == "番号法9条4項 (2024-05-27)"
    assert not decide_use(replace(employer, deed=Deed.SEARCH), DAY).allowed


def test_g4_payments_need_a_declared_disaster() -> None:
    bank = Use(Clause.DISASTER, Deed.SEARCH, "架空銀行", "銀行", disaster_declared=True, contract="27-3")
    assert decide_use(bank, DAY).allowed
    assert not decide_use(replace(bank, disaster_declared=False), DAY).allowed
    assert not decide_use(replace(bank, contract=""), DAY).allowed


def test_g5_a_received_number_keeps_its_purpose() -> None:
    receipt = ReceivedNumber(ITEM.INVESTIGATION, "検察庁", "刑事事件の捜査")
    use = Use(Clause.RECEIPT, Deed.SEARCH, "検察庁", "捜査機関", "刑事事件の捜査")
    assert decide_use(use, DAY, receipt=receipt).allowed
    assert not decide_use(replace(use, purpose="統計"), DAY, receipt=receipt).allowed
    assert not decide_use(replace(use, body="警視庁"), DAY, receipt=receipt).allowed
    assert not decide_use(use, DAY).allowed
    kinds = [item for item in ITEM if decide_use(use, DAY, receipt=replace(receipt, item=item)).allowed]
    assert kinds == [ITEM.COMMISSION, ITEM.MINISTER, ITEM.INVESTIGATION, ITEM.PROTECTION, ITEM.COMMISSION_RULE]


def test_h1_each_kind_of_own_use_has_its_clause() -> None:
    law = VERSIONS[2]
    assert {case.value: case.clause.cite(law) if isinstance(case.clause, Clause) else law.cite(case.clause)
            for case in OwnUse} == {
        "outside-table": "番号法9条2項 (2017-05-30)", "inside-the-organ": "番号法9条2項 (2017-05-30)",
        "other-organ": "番号法19条10号 (2017-05-30)", "other-municipality": "番号法19条8号 (2017-05-30)",
    }  # fmt: skip


def test_g24_the_two_tables_are_independent() -> None:
    rows = printed_table()
    gap = outside_the_table(rows)
    assert ("厚生労働大臣", "介護保険法") in gap, "別表第二 95 is an affair that 別表第一 does not give the Minister"
    uses = {(affair.body, affair.law) for affair in table_of_uses()}
    assert set(gap) == {(row.purpose.requester, row.purpose.law) for row in rows} - uses


# Article 19


def test_a4_specific_personal_information() -> None:
    alone = {handle: is_specific({handle}) for handle in PersonField}
    assert alone == {
        PersonField.INDIVIDUAL_NUMBER: True, PersonField.PROVISION_CODE: True, PersonField.RESIDENT_RECORD_CODE: False,
        PersonField.CERTIFICATE_SERIAL: False, PersonField.MYKEY_ID: False,
    }  # fmt: skip
    for pair in combinations(PersonField, 2):
        assert is_specific(set(pair)) is any(alone[one] for one in pair)
    assert not is_specific(set())


@pytest.mark.parametrize("item", ALLOWED)
def test_g19_each_item_allows_its_case(item: ProvisionItem) -> None:
    for version in VERSIONS:
        decision = decide_provision(ALLOWED[item], version.begins)
        if version.number(item) is None or version.begins < NUMBERS_USED:
            assert decision.denial is Denial.NOT_IN_FORCE
        else:
            assert decision.rule == f"番号法19条{version.number(item)}号 ({version.name})"
    assert not portal_shows(item)


@pytest.mark.parametrize(("item", "without"), [
    (ITEM.TO_PERSON, {"receiver": Party.ANYBODY}), (ITEM.TO_PERSON, {"sender": Party.ANYBODY}),
    (ITEM.RELATED_AFFAIR, {"sender": PERSON}), (ITEM.BY_PERSON, {"identity_checked": False}),
    (ITEM.BY_PERSON, {"sender": IMPLEMENTER}), (ITEM.NEW_EMPLOYER, {"consent": False}),
    (ITEM.J_LIS, {"sender": Party.MUNICIPALITY}), (ITEM.J_LIS, {"receiver": Party.ANYBODY}),
    (ITEM.ENTRUSTMENT, {"contract": ""}), (ITEM.ENTRUSTMENT, {"receiver": Party.ANYBODY}),
    (ITEM.REGISTRATION_ACT, {"purpose": "統計"}), (ITEM.TAXES, {"receiver": Party.INVESTIGATOR}),
    (ITEM.TAXES, {"purpose": "児童手当の支給"}), (ITEM.SAME_GOVERNMENT, {"same_government": False}),
    (ITEM.SAME_GOVERNMENT, {"ordinance": ""}), (ITEM.SAME_GOVERNMENT, {"sender": Party.TAX_AGENCY}),
    (ITEM.SAME_GOVERNMENT, {"information": TAX_ITEM, "law": "学校保健安全法"}),
    (ITEM.BOOK_ENTRY, {"receiver": PERSON}), (ITEM.COMMISSION, {"receiver": Party.ANYBODY}),
    (ITEM.MINISTER, {"sender": Party.MUNICIPALITY}), (ITEM.PROTECTION, {"danger": False}),
    (ITEM.PROTECTION, {"consent": False}), (ITEM.COMMISSION_RULE, {"rule": 5}), (ITEM.COMMISSION_RULE, {"rule": None}),
    (ITEM.INVESTIGATION, {"case": ""}), (ITEM.INVESTIGATION, {"reason": ""}), (ITEM.INVESTIGATION, {"approved_by": ""}),
    (ITEM.INVESTIGATION, {"purpose": "統計"}), (ITEM.INVESTIGATION, {"receiver": Party.ANYBODY}),
])  # fmt: skip
def test_g19_each_item_denies_without_a_condition(item: ProvisionItem, without: dict[str, object]) -> None:
    assert refused(replace(ALLOWED[item], **without))  # type: ignore[arg-type]


@pytest.mark.parametrize("item", ALLOWED)
def test_a2_i11_i12_every_item_needs_a_purpose_that_is_not_denied(item: ProvisionItem) -> None:
    """The Minister's answer of 2 September 2015: the number cannot be used for recruiting."""
    assert decided(ALLOWED[item]) is None
    assert decided(replace(ALLOWED[item], purpose="")) is Denial.UNKNOWN_PURPOSE
    for purpose in ("自衛官募集", "自衛官等の募集事務", "自衛隊法97条の募集", "特定秘密保護法の適性評価", "適性評価",
                    "自衛官等の勧誘", "自衛隊への入隊案内の送付", "防衛省の隊員募集", "ﾘｸﾙｰﾄ(自衛官)"):  # fmt: skip
        assert decided(replace(ALLOWED[item], purpose=purpose)) is Denial.DENIED_PURPOSE
    for clause in Clause:
        use = Use(clause, Deed.SUBMIT, "架空町", "市町村長", "自衛官募集", law="児童手当法", ordinance="架空町-1")
        assert decide_use(use, NOW, [AFFAIR]).denial is Denial.DENIED_PURPOSE


def test_g19_the_list_is_closed() -> None:
    network = (ITEM.NETWORK, ITEM.NETWORK_ORDINANCE)
    assert {*ALLOWED, *network} == set(ITEM)
    for item in network:
        assert decided(Provision(item, IMPLEMENTER, IMPLEMENTER, "x")) is Denial.NETWORK_ONLY
        assert portal_shows(item)
    assert [version.item(number) for version in VERSIONS for number in (0, len(version.items) + 1)] == [None] * 10
    assert decided(ALLOWED[ITEM.TO_PERSON], date(2013, 5, 30)) is Denial.NOT_KNOWN


def test_g19_14_consent_alone_is_not_enough() -> None:
    protection = ALLOWED[ITEM.PROTECTION]
    assert refused(replace(protection, danger=False, consent=True))
    assert decided(replace(protection, consent=False, hard_to_obtain=True)) is None


def test_i2_tax_data_inside_a_government_need_a_duty_to_report_or_consent() -> None:
    flow = replace(ALLOWED[ITEM.SAME_GOVERNMENT], information=TAX_ITEM)
    assert decided(replace(flow, law="児童手当法")) is None, "it obliges the recipient to report"
    for law in ("学校保健安全法", ""):
        decision = decide_provision(replace(flow, law=law), NOW)
        assert (decision.denial, decision.penalty) == (Denial.TAX_SECRECY, Penalty.TAX_SECRECY)
        assert decided(replace(flow, law=law, consent=True)) is None


def test_i4_i7_investigators_need_a_case_and_an_approval() -> None:
    case = ALLOWED[ITEM.INVESTIGATION]
    for purpose in INVESTIGATIONS:
        assert decided(replace(case, purpose=purpose)) is None
    assert "nothing of this is automatic" in refused(replace(case, approved_by=""))


def test_i5_the_cabinet_order_has_26_matters() -> None:
    assert list(cabinet_order()) == list(range(1, 27))
    case = replace(ALLOWED[ITEM.INVESTIGATION], purpose="照会")
    for number in (*cabinet_order(), 0, 27):
        provision = replace(case, order=number)
        assert (decided(provision, DAY) is None) is (1 <= number <= 26)
        assert decided(provision, RENUMBERED) is Denial.NOT_KNOWN, "the order's later text is not at hand"


def test_i5_the_matters_are_those_of_the_slides() -> None:
    order = cabinet_order()
    assert [order[number].law for number in (14, 18, 19, 20, 21)] == [
        "行政機関の保有する情報の公開に関する法律", "独立行政法人等の保有する情報の公開に関する法律",
        "個人情報の保護に関する法律", "行政機関の保有する個人情報の保護に関する法律",
        "独立行政法人等の保有する個人情報の保護に関する法律",
    ]  # fmt: skip
    assert len({matter.law for matter in order.values()}) == 26
    kinds = {number: order[number].kind for number in (13, 15, 16, 19)}
    assert kinds == {13: "共助", 15: "申出", 16: "共助", 19: "報告"}


def test_i6_which_inquiries_count() -> None:
    letter = replace(ALLOWED[ITEM.INVESTIGATION], purpose="捜査関係事項照会")
    specific, ordinary = PersonField.INDIVIDUAL_NUMBER, PersonField.RESIDENT_RECORD_CODE
    allowed = {
        (inquiry, handle): decided(replace(letter, inquiry=inquiry, handle=handle)) is None
        for inquiry in Inquiry for handle in (specific, ordinary)
    }  # fmt: skip
    assert allowed == {
        (Inquiry.CRIMINAL_PROCEDURE_197, specific): True, (Inquiry.CRIMINAL_PROCEDURE_197, ordinary): True,
        (Inquiry.IMMIGRATION_28, specific): False, (Inquiry.IMMIGRATION_28, ordinary): True,
    }  # fmt: skip


def test_i9_the_ordinance_decides_on_online_provision() -> None:
    case = ALLOWED[ITEM.INVESTIGATION]
    online = replace(case, on_line=True)
    before, after = Policy(on_line=OnLine.FORBIDDEN_UNLESS), Policy(on_line=OnLine.POSSIBLE_IF)
    allowed = [decided(provision, NOW, policy) is None for policy in (before, after)
               for provision in (online, replace(online, council_heard=True),
                                 replace(online, safeguards=True))]  # fmt: skip
    assert allowed == [False, True, False, False, False, True]
    assert decided(case, NOW, before) is None, "provision on paper is not affected"


def test_i10_the_commission_s_rule_has_four_purposes() -> None:
    assert len(COMMISSION_RULES) == 4
    assert all(decided(replace(ALLOWED[ITEM.COMMISSION_RULE], rule=rule)) is None for rule in COMMISSION_RULES)


def test_a13_the_commission_cannot_inspect_what_investigators_receive() -> None:
    assert [item for item in ITEM if not commission_inspects(item)] == [ITEM.INVESTIGATION]


def test_g21_there_is_no_request_to_stop_matching() -> None:
    rules = {request: decide_request(request) for request in PersonRequest}
    assert [request for request, decision in rules.items() if decision.allowed] == [
        PersonRequest.DISCLOSURE, PersonRequest.CORRECTION, PersonRequest.STOP_USE,
    ]  # fmt: skip
    assert "no legal basis" in rules[PersonRequest.STOP_MATCHING].words


def test_g22_self_information_control_is_in_no_article() -> None:
    assert AIM_NOT_LAW == ("自己情報コントロール権",)
    assert not any(aim in request.value for aim in AIM_NOT_LAW for request in PersonRequest)
