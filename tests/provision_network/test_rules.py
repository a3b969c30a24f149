"""Rules: a tuple in a table is allowed, and a tuple with any element altered is not; a second table agrees."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import astuple, fields, replace
from datetime import date, timedelta
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kazashi.provision_network.law.rules import (
    CONDITIONS,
    Denial,
    LimitingOrdinance,
    OrdinanceAffair,
    Penalty,
    RuleBook,
    row_named,
)
from kazashi.provision_network.law.tables import (
    TAX_ITEM,
    Purpose,
    Row,
    denied_purpose,
    kinds_of,
    law_sources,
    obliges_to_report,
    printed_table,
    table_of_affairs,
)
from kazashi.provision_network.law.versions import (
    BY_ORDER,
    LINKED_BY_ORDINANCE,
    NETWORK_IN_LAW,
    NETWORK_STARTS,
    RENUMBERED,
    VERSIONS,
    ProvisionItem,
    version_on,
)
from kazashi.studies.rule_oracle import published_table
from kazashi.studies.tracking import rule_errors

pytestmark = pytest.mark.unit

ROWS = printed_table()
RULES = RuleBook(ROWS)
DAY = date(2018, 4, 1)
OWN = Purpose("市町村長", "架空町医療費助成条例", "医療費の助成", "市町村長", "住民票関係情報")
AFFAIR = OrdinanceAffair(
    "架空町-1", "架空町", OWN, "9", "福祉", date(2016, 1, 1), date(2016, 1, 1), date(2016, 1, 1)
)  # fmt: skip
ELEMENTS = tuple(field.name for field in fields(Purpose))
VALUES = {name: sorted({getattr(row.purpose, name) for row in ROWS}) for name in ELEMENTS}


@given(st.sampled_from(ROWS), st.sampled_from(ELEMENTS), st.data())
def test_d6_any_single_altered_element_denies(row: Row, name: str, data: st.DataObject) -> None:
    decision = RULES.decide(row.purpose, DAY, consent=True)
    assert decision.allowed
    assert decision.rule.startswith("番号法19条7号 (2017-05-30), 別表第二 "), "a decision names rule and version"
    altered = replace(row.purpose, **{name: data.draw(st.sampled_from(VALUES[name]) | st.text(max_size=5))})
    listed = any(other.purpose == altered for other in ROWS)
    assert RULES.decide(altered, DAY, consent=True).allowed is listed


def test_x17_a_second_table_agrees_about_every_single_alteration() -> None:
    """It was made from the published text by somebody who had not seen the first: it found two affairs of one law that
    the first had taken for one."""
    second = published_table()
    assert (second.rows, second.of_rows) == (120, 120)
    assert {row.purpose for row in ROWS if row.source} == second.tuples
    wrong, tried = 0, 0
    for purpose in second.tuples:
        for name in ELEMENTS:
            for value in VALUES[name]:
                altered = replace(purpose, **{name: value})
                tried += 1
                wrong += RULES.decide(altered, DAY, consent=True).allowed is not (altered in second.tuples)
    assert (wrong, tried) == (0, len(second.tuples) * sum(map(len, VALUES.values())))
    wrong, tried = rule_errors()
    assert wrong == 0
    assert tried > 6_000


@pytest.mark.long
def test_x17_a_second_table_agrees_about_every_double_alteration() -> None:
    listed = published_table().tuples
    for purpose in sorted(listed, key=astuple):
        for places in combinations(range(len(ELEMENTS)), 2):
            for altered in _pairs(list(astuple(purpose)), places):
                assert RULES.decide(altered, DAY, consent=True).allowed is (altered in listed), altered


def _pairs(values: list[str], places: tuple[int, int]) -> Iterator[Purpose]:
    """Every purpose in which the elements at two places have values of the table."""
    one, other = (VALUES[ELEMENTS[place]] for place in places)
    for first in one:
        values[places[0]] = first
        for second in other:
            values[places[1]] = second
            yield Purpose(*values)


def test_d12_the_table_has_120_rows_and_each_names_its_source() -> None:
    assert len({row.number for row in ROWS if row.source}) == 120
    assert {row.source for row in ROWS} == {"egov-2015-12-27", ""}
    assert all(law_sources()[row.source].address for row in ROWS if row.source)
    assert all(all(astuple(row.purpose)) for row in ROWS)
    assert [row.number for row in ROWS if not row.source] == ["試1"]
    assert not any("特定健康診査" in astuple(row.purpose) for row in ROWS), "health checks do not use the network"


def test_a_row_without_a_source_says_so_in_every_decision() -> None:
    for row in ROWS:
        decision = RULES.decide(row.purpose, DAY, consent=True)
        assert decision.rule.endswith(", unverified") is not bool(row.source)
        later = RULES.decide(row.purpose, BY_ORDER, consent=True)
        assert later.rule.endswith(", unverified"), "the text of the ministerial order is not at hand"


def test_a_term_for_several_kinds_stands_for_each() -> None:
    rules = RuleBook(table_of_affairs())
    law, affair = "高齢者の医療の確保に関する法律", "後期高齢者医療給付の支給又は保険料の徴収"
    tax = Purpose("後期高齢者医療広域連合", law, affair, "健康保険組合", "医療保険給付関係情報")
    assert not RULES.decide(tax, DAY).allowed
    assert rules.decide(tax, DAY).allowed, "a health insurance society is one of the 医療保険者"
    assert not rules.decide(replace(tax, provider="厚生労働大臣"), DAY).allowed
    assert "市町村長" in kinds_of("都道府県知事等")


def test_a2_an_unknown_affair_differs_from_an_unlisted_item() -> None:
    purpose = ROWS[0].purpose
    assert RULES.decide(replace(purpose, affair="好奇心"), DAY).denial is Denial.UNKNOWN_PURPOSE
    assert RULES.decide(replace(purpose, item="病歴"), DAY).denial is Denial.NOT_LISTED


# Versions of the law


def test_a14_every_version_decides_on_its_days_only() -> None:
    purpose, cited = ROWS[0].purpose, {}
    assert RULES.decide(purpose, VERSIONS[0].begins - timedelta(days=1)).denial is Denial.NOT_KNOWN
    for day in (VERSIONS[0].begins, LINKED_BY_ORDINANCE, NETWORK_IN_LAW, NETWORK_STARTS - timedelta(days=1)):
        decision = RULES.decide(purpose, day)
        assert decision.denial is Denial.NOT_IN_FORCE
        assert str(NETWORK_IN_LAW if day < NETWORK_IN_LAW else NETWORK_STARTS) in decision.words
    for day in (NETWORK_STARTS, RENUMBERED - timedelta(days=1), RENUMBERED, BY_ORDER - timedelta(days=1), BY_ORDER):
        cited[day.isoformat()] = RULES.decide(purpose, day).rule
    assert cited == {
        "2017-07-18": "番号法19条7号 (2017-05-30), 別表第二 1",
        "2021-08-31": "番号法19条7号 (2017-05-30), 別表第二 1",
        "2021-09-01": "番号法19条8号 (2021-09-01), 別表第二 1",
        "2024-05-26": "番号法19条8号 (2021-09-01), 別表第二 1",
        "2024-05-27": "番号法19条8号 (2024-05-27), 主務省令の表 (formerly 別表第二 1), unverified",
    }
    assert {row_named(rule) for rule in cited.values()} == {"1"}


def test_the_versions_number_the_items_as_published() -> None:
    """The numbers of the Act's texts of 2015 and 2025, and of the slides of 2016."""
    numbers = {
        version.name: [version.number(item) for item in (
            ProvisionItem.NETWORK, ProvisionItem.NETWORK_ORDINANCE, ProvisionItem.TAXES, ProvisionItem.SAME_GOVERNMENT,
            ProvisionItem.INVESTIGATION, ProvisionItem.COMMISSION_RULE)] for version in VERSIONS
    }  # fmt: skip
    assert numbers == {
        "2013-05-31": [7, None, 8, 9, 12, 14], "2015-09-09": [7, None, 8, 9, 12, 14],
        "2017-05-30": [7, 8, 9, 10, 13, 15], "2021-09-01": [8, 9, 10, 11, 15, 17], "2024-05-27": [8, 9, 10, 11, 15, 17],
    }  # fmt: skip
    version = version_on(date(2026, 12, 1))
    assert version is VERSIONS[-1]
    assert [version.item(number) for number in (0, 4, 18)] == [None, ProvisionItem.NEW_EMPLOYER, None]
    with pytest.raises(ValueError, match="new-employer"):
        VERSIONS[0].cite(ProvisionItem.NEW_EMPLOYER)


# Tax secrecy


def test_i2_tax_data_need_a_duty_to_report_or_consent() -> None:
    asked = {row.purpose for row in ROWS if row.purpose.item == TAX_ITEM}
    by_duty = {duty: {one for one in asked if obliges_to_report(one.law) is duty} for duty in (True, False)}
    assert all(by_duty.values()), "the table has affairs of both kinds"
    for one in by_duty[True]:
        assert RULES.decide(one, DAY).allowed, one
    for one in by_duty[False]:
        denied = RULES.decide(one, DAY)
        assert (denied.denial, denied.penalty) == (Denial.TAX_SECRECY, Penalty.TAX_SECRECY), one
        assert RULES.decide(one, DAY, consent=True).allowed
    assert {"児童手当法", "生活保護法"} <= {one.law for one in by_duty[True]}
    assert {"予防接種法", "母子保健法"} <= {one.law for one in by_duty[False]}


@given(st.sampled_from([row for row in ROWS if row.purpose.item != TAX_ITEM]), st.booleans())
def test_g20_consent_does_not_change_a_statutory_decision(row: Row, listed: bool) -> None:
    purpose = row.purpose if listed else replace(row.purpose, item="病歴")
    assert RULES.decide(purpose, DAY, consent=True) == RULES.decide(purpose, DAY, consent=False)


# Affairs by ordinance


def test_h2_all_five_conditions_are_needed() -> None:
    assert RuleBook(ROWS, [AFFAIR]).decide(OWN, DAY).rule == (
        "番号法19条8号 (2017-05-30), 架空町-1 (like 別表第二 9)"
    )  # fmt: skip
    without = {
        "statutory_affair": replace(AFFAIR, like="no such row"),
        "range_of_items": replace(AFFAIR, like="73"),
        "filed": replace(AFFAIR, filed=None), "accepted": replace(AFFAIR, accepted=DAY + timedelta(days=1)),
        "published": replace(AFFAIR, withdrawn=DAY),
    }  # fmt: skip
    assert tuple(without) == CONDITIONS
    for name, lacking in without.items():
        decision = RuleBook(ROWS, [lacking]).decide(OWN, DAY)
        assert decision.denial is Denial.CONDITIONS
        assert name in decision.words


def test_h3_linkage_by_ordinance_starts_with_the_law_of_2015() -> None:
    rules = RuleBook(ROWS, [AFFAIR])
    for day, words in (
        (LINKED_BY_ORDINANCE - timedelta(days=1), "the law had no linkage by ordinance"),
        (LINKED_BY_ORDINANCE, "do not apply before 2017-05-30"),
        (NETWORK_IN_LAW, "there is no network"),
    ):
        decision = rules.decide(OWN, day)
        assert decision.denial is Denial.NOT_IN_FORCE
        assert words in decision.words
    assert rules.decide(OWN, NETWORK_STARTS).allowed
    assert rules.decide(OWN, BY_ORDER).rule.startswith("番号法19条9号 (2024-05-27)")


def test_h5_a_limiting_ordinance_denies() -> None:
    statute = next(row.purpose for row in ROWS if row.purpose.item == OWN.item)
    rules = RuleBook(ROWS, [AFFAIR])
    assert rules.decide(OWN, DAY, provider_name="渋谷区").allowed, "without the ordinance, the provider must provide"
    limits = [LimitingOrdinance("渋谷区", OWN.item, DAY - timedelta(days=1))]
    rules = rules.with_ordinances([], limits)
    assert rules.decide(OWN, DAY, provider_name="渋谷区").denial is Denial.LIMITED
    assert rules.decide(OWN, DAY - timedelta(days=1), provider_name="渋谷区").allowed, (
        "notified beforehand, or not at all"
    )
    assert rules.decide(OWN, DAY, provider_name="港区").allowed
    assert rules.decide(statute, DAY, provider_name="渋谷区").allowed, "it does not affect statutory affairs"


def test_h6_tax_data_for_an_affair_by_ordinance_need_consent() -> None:
    taxes = replace(OWN, item=TAX_ITEM)
    rules = RuleBook(ROWS, [AFFAIR, replace(AFFAIR, identifier="架空町-2", purpose=taxes)])
    denied = rules.decide(taxes, DAY)
    assert (denied.denial, denied.penalty) == (Denial.TAX_SECRECY, Penalty.TAX_SECRECY)
    assert rules.decide(taxes, DAY, consent=True).allowed
    assert rules.decide(OWN, DAY).allowed, "the item decides, and nothing else"


def test_i12_no_ordinance_makes_recruiting_a_purpose() -> None:
    for affair in ("自衛官募集", "自衛官等の募集事務", "特定秘密保護法の適性評価"):
        purpose = replace(OWN, affair=affair)
        assert denied_purpose(affair)
        decision = RuleBook(ROWS, [replace(AFFAIR, purpose=purpose)]).decide(purpose, DAY)
        assert decision.denial is Denial.DENIED_PURPOSE
    assert not denied_purpose("自衛官の健康保険")


def test_g23_every_denial_has_a_penalty() -> None:
    rules = RuleBook(ROWS, [replace(AFFAIR, filed=None)])
    denied = [rules.decide(OWN, DAY), rules.decide(replace(OWN, affair="x"), DAY),
              rules.decide(ROWS[0].purpose, date(2000, 1, 1))]  # fmt: skip
    assert {decision.penalty for decision in denied} == {Penalty.OFF_PURPOSE}
    assert rules.decide(ROWS[0].purpose, DAY).penalty is Penalty.NONE


def test_every_decision_is_explained() -> None:
    assert all(RULES.decide(row.purpose, DAY).words for row in ROWS)
    with pytest.raises(AttributeError):
        RULES.decide(OWN, DAY).rule = "x"  # type: ignore[misc]
