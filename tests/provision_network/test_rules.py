"""Rules: a tuple in a table is allowed, and a tuple with any element altered is not."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kazashi.provision_network.rules import (
    CONDITIONS,
    NETWORK_STARTS,
    ORDINANCES_START,
    Denial,
    LimitingOrdinance,
    OrdinanceAffair,
    Penalty,
    Purpose,
    Row,
    RuleBook,
    table_of_affairs,
)

pytestmark = pytest.mark.unit

ROWS = table_of_affairs()
DAY = date(2018, 4, 1)
OWN = Purpose("市町村長", "架空町医療費助成条例", "医療費の助成", "市町村長", "住民票関係情報")
AFFAIR = OrdinanceAffair("架空町-1", "架空町", OWN, "9", True, True, True, date(2016, 1, 1), date(2016, 1, 1))


def values_of(place: int) -> st.SearchStrategy[str]:
    """Draw values of one element of the tuple, from the table and at random."""
    known = sorted({(row.purpose.requester, row.purpose.law, row.purpose.affair, row.purpose.provider,
                     row.purpose.item)[place] for row in ROWS})  # fmt: skip
    return st.sampled_from(known) | st.text(max_size=5)


@given(st.sampled_from(ROWS), st.sampled_from(["requester", "law", "affair", "provider", "item"]), st.data())
def test_d6_any_single_altered_element_denies(row: Row, name: str, data: st.DataObject) -> None:
    rules = RuleBook(ROWS)
    decision = rules.decide(row.purpose, DAY)
    assert decision.allowed
    assert decision.rule == f"番号法19条7号, 別表第二 {row.number}", "a decision names its rule"
    place = ["requester", "law", "affair", "provider", "item"].index(name)
    altered = replace(row.purpose, **{name: data.draw(values_of(place))})
    listed = any(other.purpose == altered for other in ROWS)
    assert rules.decide(altered, DAY).allowed is listed


def test_d12_the_table_has_117_affairs() -> None:
    assert len(ROWS) == len({row.purpose for row in ROWS}) == 139
    assert len({(row.purpose.requester, row.purpose.law, row.purpose.affair) for row in ROWS}) == 117
    assert all(all((row.number, *vars_of(row.purpose))) for row in ROWS)


def vars_of(purpose: Purpose) -> tuple[str, ...]:
    return (purpose.requester, purpose.law, purpose.affair, purpose.provider, purpose.item)


def test_a2_an_unknown_affair_differs_from_an_unlisted_item() -> None:
    rules, purpose = RuleBook(ROWS), ROWS[0].purpose
    assert rules.decide(replace(purpose, affair="好奇心"), DAY).denial is Denial.UNKNOWN_PURPOSE
    assert rules.decide(replace(purpose, item="病歴"), DAY).denial is Denial.NOT_LISTED


def test_a14_an_affair_is_denied_before_its_first_day() -> None:
    rules, purpose = RuleBook(ROWS), ROWS[0].purpose
    assert rules.decide(purpose, NETWORK_STARTS - timedelta(days=1)).denial is Denial.NOT_IN_FORCE
    assert rules.decide(purpose, NETWORK_STARTS).allowed


@given(st.sampled_from(ROWS), st.booleans())
def test_g20_consent_does_not_change_a_statutory_decision(row: Row, listed: bool) -> None:
    rules = RuleBook(ROWS)
    purpose = row.purpose if listed else replace(row.purpose, item="病歴")
    assert rules.decide(purpose, DAY, consent=True) == rules.decide(purpose, DAY, consent=False)


def test_h2_all_five_conditions_are_needed() -> None:
    assert RuleBook(ROWS, [AFFAIR]).decide(OWN, DAY).rule.startswith("番号法19条8号, 架空町-1")
    for name in CONDITIONS:
        lacking = replace(AFFAIR, **{name: None if name in ("filed", "published") else False})  # type: ignore[arg-type]
        decision = RuleBook(ROWS, [lacking]).decide(OWN, DAY)
        assert decision.denial is Denial.CONDITIONS
        assert name in decision.words


def test_h3_linkage_by_ordinance_starts_with_the_law_of_2015() -> None:
    rules = RuleBook(ROWS, [AFFAIR])
    before = rules.decide(OWN, ORDINANCES_START - timedelta(days=1))
    assert before.denial is Denial.NOT_IN_FORCE
    assert "the law had no linkage by ordinance" in before.words
    later = rules.decide(OWN, ORDINANCES_START)
    assert later.denial is Denial.NOT_IN_FORCE
    assert "there is no network" in later.words, "the law allows it, and there is no network yet"
    assert rules.decide(OWN, NETWORK_STARTS).allowed


def test_h5_a_limiting_ordinance_denies() -> None:
    rules, statute = RuleBook(ROWS, [AFFAIR]), ROWS[5].purpose
    assert rules.decide(OWN, DAY, provider_name="渋谷区").allowed, "without the ordinance, the provider must provide"
    limits = [LimitingOrdinance("渋谷区", item, DAY - timedelta(days=1)) for item in (OWN.item, statute.item)]
    rules = rules.with_ordinances([], limits)
    assert rules.decide(OWN, DAY, provider_name="渋谷区").denial is Denial.LIMITED
    assert rules.decide(OWN, DAY - timedelta(days=1), provider_name="渋谷区").allowed, (
        "notified beforehand, or not at all"
    )
    assert rules.decide(OWN, DAY, provider_name="港区").allowed
    assert rules.decide(statute, DAY, provider_name="渋谷区").allowed, "it does not affect statutory affairs"


def test_h6_tax_data_for_an_affair_by_ordinance_need_consent() -> None:
    taxes = replace(OWN, item="地方税関係情報")
    rules = RuleBook(ROWS, [AFFAIR, replace(AFFAIR, identifier="架空町-2", purpose=taxes)])
    denied = rules.decide(taxes, DAY)
    assert (denied.denial, denied.penalty) == (Denial.TAX_SECRECY, Penalty.TAX_SECRECY)
    assert rules.decide(taxes, DAY, consent=True).allowed
    assert rules.decide(OWN, DAY).allowed, "the item decides, and nothing else"


def test_g23_every_denial_has_a_penalty() -> None:
    rules = RuleBook(ROWS, [replace(AFFAIR, filed=None)])
    denied = [rules.decide(OWN, DAY), rules.decide(replace(OWN, affair="x"), DAY),
              rules.decide(ROWS[0].purpose, date(2000, 1, 1))]  # fmt: skip
    assert {decision.penalty for decision in denied} == {Penalty.OFF_PURPOSE}
    assert rules.decide(ROWS[0].purpose, DAY).penalty is Penalty.NONE


def test_every_decision_is_explained() -> None:
    rules = RuleBook(ROWS)
    assert all(rules.decide(row.purpose, DAY).words for row in ROWS)
    with pytest.raises(AttributeError):
        rules.decide(OWN, DAY).rule = "x"  # type: ignore[misc]
