"""Articles 9 and 19: closed lists; everything that is not on them is denied."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import pytest

from kazashi.provision_network.person_rights import AIM_NOT_LAW, PersonRequest, decide_request
from kazashi.provision_network.provisions import (
    COMMISSION_RULES,
    INVESTIGATIONS,
    SECRECY_CLEARANCE,
    Inquiry,
    Law,
    OnLine,
    Party,
    PersonField,
    Policy,
    Provision,
    cabinet_order,
    commission_inspects,
    decide_provision,
    is_specific,
    numbered,
    portal_shows,
)
from kazashi.provision_network.rules import Denial, table_of_affairs
from kazashi.provision_network.uses import (
    ORDINANCE_FIELDS,
    Deed,
    OwnUse,
    Use,
    decide_use,
    outside_the_table,
    table_of_uses,
)

pytestmark = pytest.mark.unit

IMPLEMENTER, PERSON, INVESTIGATOR = Party.IMPLEMENTER, Party.PERSON, Party.INVESTIGATOR
CASE = {"case": "平成30年検第1号", "reason": "所在の確認", "approved_by": "総務課長"}

ALLOWED = {
    1: Provision(1, IMPLEMENTER, PERSON),
    2: Provision(2, Party.RELATED, IMPLEMENTER, purpose="源泉徴収票"),
    3: Provision(3, PERSON, IMPLEMENTER, identity_checked=True),
    4: Provision(4, Party.J_LIS, IMPLEMENTER),
    5: Provision(5, IMPLEMENTER, Party.ENTRUSTED, contract="30-1"),
    6: Provision(6, Party.PREFECTURE, Party.J_LIS, purpose="住民基本台帳法30条の6第1項"),
    9: Provision(9, Party.TAX_AGENCY, Party.MUNICIPALITY, purpose="国税・地方税の賦課徴収"),
    10: Provision(10, Party.MUNICIPALITY, Party.MUNICIPALITY, same_government=True, ordinance="架空町条例5号"),
    11: Provision(11, Party.DEPOSITORY, Party.ISSUER),
    12: Provision(12, IMPLEMENTER, Party.COMMISSION),
    13: Provision(13, Party.MUNICIPALITY, INVESTIGATOR, purpose="刑事事件の捜査", **CASE),  # type: ignore[arg-type]
    14: Provision(14, IMPLEMENTER, Party.ANYBODY, danger=True, consent=True),
    15: Provision(15, IMPLEMENTER, Party.ANYBODY, rule=1),
}
"""An allowed provision under each item outside the network, with all the facts that the item requires."""


def refused(provision: Provision, policy: Policy | None = None) -> str:
    decision = decide_provision(provision, policy or Policy())
    assert not decision.allowed
    assert decision.words
    return decision.words


# Article 9


def test_a5_g1_a_body_may_search_for_its_97_affairs_only() -> None:
    table = table_of_uses()
    assert [affair.number for affair in table] == list(range(1, 98))
    for affair in table:
        for body in affair.bodies:
            rows = [row.number for row in table if row.law == affair.law and body in row.bodies]
            assert affair.number in rows
            assert decide_use(Use(1, Deed.SEARCH, body, affair.law)).rule == f"番号法9条1項, 別表第一 {rows[0]}"
    for wrong in (Use(1, Deed.SEARCH, "市町村長", "好奇心法"), Use(1, Deed.SEARCH, "図書館", "児童手当法")):
        assert decide_use(wrong).denial is Denial.NO_BASIS


def test_g2_a_municipality_s_own_use_needs_an_ordinance() -> None:
    own = Use(2, Deed.SEARCH, "架空町長", ordinance="架空町条例5号", field=ORDINANCE_FIELDS[0])
    assert decide_use(own).allowed
    assert not decide_use(replace(own, ordinance="")).allowed
    assert not decide_use(replace(own, field="観光")).allowed


def test_a6_g3_an_employer_may_submit_but_not_search() -> None:
    assert decide_use(Use(3, Deed.SUBMIT, "架空商店")).allowed
    assert not decide_use(Use(3, Deed.SEARCH, "架空商店")).allowed


def test_g4_payments_need_a_declared_disaster() -> None:
    bank = Use(4, Deed.SEARCH, "架空銀行", disaster_declared=True, contract="27-3")
    assert decide_use(bank).allowed
    assert not decide_use(replace(bank, disaster_declared=False)).allowed
    assert not decide_use(replace(bank, contract="")).allowed


def test_g5_a_received_number_keeps_its_purpose() -> None:
    use = Use(5, Deed.SEARCH, "検察庁", received_for="刑事事件の捜査", used_for="刑事事件の捜査")
    assert decide_use(use).allowed
    assert not decide_use(replace(use, used_for="統計")).allowed
    assert not decide_use(Use(6, Deed.SEARCH, "x")).allowed


def test_h1_each_kind_of_own_use_has_its_clause() -> None:
    assert [case.clause for case in OwnUse] == ["番号法9条2項", "番号法9条2項", "番号法19条10号", "番号法19条8号"]
    assert [case.value for case in OwnUse] == ["outside-table", "inside-the-organ", "other-organ", "other-municipality"]
    assert decide_provision(ALLOWED[10]).rule == OwnUse.OTHER_ORGAN.clause


def test_g24_the_two_tables_are_independent() -> None:
    rows = table_of_affairs()
    gap = outside_the_table(rows)
    assert gap, "an affair can be in 別表第二 without being in 別表第一"
    assert set(gap) <= {row.purpose.law for row in rows}
    assert not set(gap) & {affair.law for affair in table_of_uses()}


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
def test_g19_each_item_allows_its_case(item: int) -> None:
    decision = decide_provision(ALLOWED[item])
    assert decision.rule == f"番号法19条{item}号"
    assert not portal_shows(item)


@pytest.mark.parametrize(("item", "without"), [
    (1, {"receiver": Party.ANYBODY}), (1, {"sender": Party.ANYBODY}),
    (2, {"sender": PERSON}), (3, {"identity_checked": False}), (3, {"sender": IMPLEMENTER}),
    (4, {"sender": Party.MUNICIPALITY}), (4, {"receiver": Party.ANYBODY}), (5, {"contract": ""}),
    (5, {"receiver": Party.ANYBODY}), (6, {"purpose": "統計"}), (9, {"receiver": Party.INVESTIGATOR}),
    (9, {"purpose": "児童手当の支給"}), (10, {"same_government": False}), (10, {"ordinance": ""}),
    (11, {"receiver": PERSON}), (12, {"receiver": Party.ANYBODY}), (14, {"danger": False}),
    (14, {"consent": False}), (15, {"rule": 5}), (15, {"rule": None}), (13, {"case": ""}), (13, {"reason": ""}),
    (13, {"approved_by": ""}), (13, {"purpose": "統計"}), (13, {"receiver": Party.ANYBODY}),
])  # fmt: skip
def test_g19_each_item_denies_without_a_condition(item: int, without: dict[str, object]) -> None:
    assert refused(replace(ALLOWED[item], **without))  # type: ignore[arg-type]


def test_g19_the_list_is_closed() -> None:
    assert set(ALLOWED) | {7, 8} == set(range(1, 16))
    for item in (0, 16, -1):
        assert "has no item" in refused(Provision(item, IMPLEMENTER, PERSON))
    for item in (7, 8):
        assert decide_provision(Provision(item, IMPLEMENTER, IMPLEMENTER)).denial is Denial.NETWORK_ONLY
        assert portal_shows(item)


def test_g19_14_consent_alone_is_not_enough() -> None:
    assert refused(replace(ALLOWED[14], danger=False, consent=True))
    assert decide_provision(replace(ALLOWED[14], consent=False, hard_to_obtain=True)).allowed


def test_the_law_of_2013_has_other_item_numbers() -> None:
    assert decide_provision(ALLOWED[13], Policy(Law.OF_2013)).rule == "番号法19条12号"
    assert [numbered(item, Law.OF_2013) for item in (7, 9, 14, 15)] == [7, 8, 13, 14]


def test_i4_i7_investigators_need_a_case_and_an_approval() -> None:
    for purpose in INVESTIGATIONS:
        assert decide_provision(replace(ALLOWED[13], purpose=purpose)).allowed
    assert "nothing of this is automatic" in refused(replace(ALLOWED[13], approved_by=""))


def test_i5_the_cabinet_order_has_26_matters() -> None:
    assert list(cabinet_order()) == list(range(1, 27))
    for number in (*cabinet_order(), 0, 27):
        provision = replace(ALLOWED[13], purpose="", order=number)
        assert decide_provision(provision).allowed is (1 <= number <= 26)


def test_i6_which_inquiries_count() -> None:
    letter = replace(ALLOWED[13], purpose="")
    allowed = {
        (inquiry, specific): decide_provision(replace(letter, inquiry=inquiry, specific=specific)).allowed
        for inquiry in Inquiry for specific in (True, False)
    }  # fmt: skip
    assert allowed == {
        (Inquiry.CRIMINAL_PROCEDURE_197, True): True, (Inquiry.CRIMINAL_PROCEDURE_197, False): True,
        (Inquiry.IMMIGRATION_28, True): False, (Inquiry.IMMIGRATION_28, False): True,
    }  # fmt: skip


def test_i9_the_ordinance_decides_on_online_provision() -> None:
    online = replace(ALLOWED[13], on_line=True)
    before, after = Policy(on_line=OnLine.FORBIDDEN_UNLESS), Policy(on_line=OnLine.POSSIBLE_IF)
    allowed = [decide_provision(provision, policy).allowed for policy in (before, after)
               for provision in (online, replace(online, council_heard=True),
                                 replace(online, safeguards=True))]  # fmt: skip
    assert allowed == [False, True, False, False, False, True]
    assert decide_provision(ALLOWED[13], before).allowed, "provision on paper is not affected"


def test_i10_the_commission_s_rule_has_four_purposes() -> None:
    assert len(COMMISSION_RULES) == 4
    assert all(decide_provision(replace(ALLOWED[15], rule=rule)).allowed for rule in COMMISSION_RULES)


def test_i11_secrecy_clearance_is_denied_unless_an_order_adds_it() -> None:
    clearance = replace(ALLOWED[13], purpose=SECRECY_CLEARANCE)
    assert refused(clearance)
    assert decide_provision(clearance, Policy(secrecy_clearance=True)).allowed


def test_i12_self_defence_forces_recruiting_is_denied() -> None:
    for item, provision in ALLOWED.items():
        if provision.purpose:
            assert not decide_provision(replace(provision, purpose="自衛官募集")).allowed or item == 2
    assert refused(replace(ALLOWED[13], purpose="自衛官募集"), Policy(secrecy_clearance=True))
    assert not decide_use(Use(1, Deed.SEARCH, "防衛大臣", "自衛隊法")).allowed


def test_a13_the_commission_cannot_inspect_item_13() -> None:
    assert [item for item in range(1, 16) if not commission_inspects(item)] == [13]


def test_g21_there_is_no_request_to_stop_matching() -> None:
    rules = {request: decide_request(request) for request in PersonRequest}
    assert [request for request, decision in rules.items() if decision.allowed] == [
        PersonRequest.DISCLOSURE, PersonRequest.CORRECTION, PersonRequest.STOP_USE,
    ]  # fmt: skip
    assert "no legal basis" in rules[PersonRequest.STOP_MATCHING].words


def test_g22_self_information_control_is_in_no_article() -> None:
    assert AIM_NOT_LAW == ("自己情報コントロール権",)
    assert not any(aim in request.value for aim in AIM_NOT_LAW for request in PersonRequest)
