"""Impact assessments as documents: parsed, replaced by newer versions, outdated after five years."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from kazashi.provision_network.assessments import ImpactAssessment, sample_assessment
from kazashi.provision_network.documents import DocumentRejected
from tests.provision_network.bodies import (
    CHILD_PENSION,
    MINATO,
    NOW,
    PENSION,
    PURPOSE,
    SHIBUYA,
    Network,
    denied,
    network_of,
)
from tests.town import clock_of, new_world

DAY = NOW.date()
DOCUMENT = {"body": SHIBUYA, "published": "2018-04-01", "version": 2,
            "affairs": [["児童手当法", "児童手当又は特例給付の支給"]], "items": ["地方税関係情報"]}  # fmt: skip


@pytest.fixture
def network(tmp_path: Path) -> Iterator[Network]:
    world = new_world(tmp_path / "w")
    clock_of(world).stand(NOW)
    yield network_of(world)
    world.close()


def test_json_and_toml_are_the_same_document() -> None:
    toml = f'''body = "{SHIBUYA}"
published = 2018-04-01
version = 2
affairs = [["児童手当法", "児童手当又は特例給付の支給"]]
items = ["地方税関係情報"]
'''
    parsed = ImpactAssessment.parse(toml)
    assert parsed == ImpactAssessment.parse(json.dumps(DOCUMENT))
    assert ImpactAssessment.parse(parsed.document()) == parsed


@pytest.mark.parametrize(("name", "value", "word"), [
    ("body", "", "body"), ("body", None, "body"), ("published", "soon", "published"), ("published", 3, "published"),
    ("version", 0, "version"), ("version", True, "version"), ("version", "2", "version"), ("affairs", {}, "affairs"),
    ("affairs", [["児童手当法"]], "affairs"), ("affairs", ["児童手当法"], "affairs"), ("items", "x", "items"),
    ("items", [3], "item"),
])  # fmt: skip
def test_a_bad_field_is_named(name: str, value: Any, word: str) -> None:
    with pytest.raises(DocumentRejected, match=word):
        ImpactAssessment.parse(json.dumps({**DOCUMENT, name: value}))
    with pytest.raises(DocumentRejected, match=f"no field {name}"):
        ImpactAssessment.parse(json.dumps({key: kept for key, kept in DOCUMENT.items() if key != name}))


@pytest.mark.parametrize("text", ["", "[", "{", "[1, 2]", "3", '"x"', "body = ", "[" * 100_000])
def test_what_is_no_document_is_refused(text: str) -> None:
    with pytest.raises(DocumentRejected):
        ImpactAssessment.parse(text)


def test_an_assessment_is_in_force_for_five_years() -> None:
    document = replace(ImpactAssessment.parse(json.dumps(DOCUMENT)), published=date(2016, 2, 29))
    assert "only published on" in document.outdated(date(2016, 2, 28))
    assert document.outdated(date(2016, 2, 29)) == ""
    assert document.outdated(date(2021, 2, 28)) == ""
    assert "older than 5 years" in document.outdated(date(2021, 3, 1))


def test_the_core_refuses_an_outdated_assessment(network: Network) -> None:
    code = network.code(SHIBUYA)
    clock_of(network.world).stand(NOW + timedelta(days=5 * 366))
    process = network.municipal.asking.ask(SHIBUYA, code, PURPOSE, [MINATO])
    network.carry()
    refused = network.municipal.asking.request(process)
    assert refused.denial == "no-assessment"
    assert "2018-04-02 is older than 5 years" in refused.words
    newer = replace(sample_assessment(SHIBUYA, "市町村長", network.world.clock.now().date()), version=2)
    network.core.members.assess(newer)
    refused = network.ask()
    assert MINATO in refused.words, "the provider's is outdated, too"
    network.core.members.assess(replace(newer, body=MINATO))
    assert network.ask().denial == ""


def test_an_affair_or_an_item_outside_the_scope_is_refused_by_name(network: Network) -> None:
    full = sample_assessment(SHIBUYA, "市町村長", DAY)
    narrow = replace(full, version=2, affairs=full.affairs - {(PURPOSE.law, PURPOSE.affair)})
    network.core.members.assess(narrow)
    refused = network.ask()
    assert refused.denial == "no-assessment"
    assert SHIBUYA in refused.words
    assert PURPOSE.affair in refused.words
    network.core.members.assess(replace(full, version=3))
    network.core.members.assess(replace(sample_assessment(PENSION, PENSION, DAY), version=2, items=frozenset({"x"})))
    refused = network.ask(provider=PENSION, purpose=CHILD_PENSION)
    assert refused.denial == "no-assessment"
    assert PENSION in refused.words
    assert CHILD_PENSION.item in refused.words
    assert network.records() == [], "a request that no assessment covers is no exchange"


def test_only_a_newer_version_replaces_an_assessment(network: Network) -> None:
    full = sample_assessment(SHIBUYA, "市町村長", DAY)
    network.core.members.assess(full)
    with pytest.raises(DocumentRejected, match="version 1 already"):
        network.core.members.assess(replace(full, items=frozenset()))
    with denied("unknown-institution"):
        network.core.members.assess(replace(full, body="どこにもない村"))
