"""The core: it converts codes, decides and records requests, and stores no content."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from kazashi.provision_network.assessments import sample_assessment
from kazashi.provision_network.codes import ForeignCode, InstitutionCode
from kazashi.provision_network.core import Core
from kazashi.provision_network.law.rules import RuleBook
from kazashi.provision_network.terms import RequestOutcome, Role
from kazashi.world.clock import FixedClock
from kazashi.world.home import World, open_world
from kazashi.world.outbox import Message
from kazashi.world.settings import Settings
from tests.provision_network.bodies import HANAKO, MINATO, NOW, PENSION, PURPOSE, ROWS, SHIBUYA, TARO, denied


@pytest.fixture
def world(tmp_path: Path, storage: str) -> Iterator[World]:
    world = open_world(tmp_path / "w", settings=Settings("network", storage=storage), clock=FixedClock(NOW))
    yield world
    world.close()


@pytest.fixture
def core(world: World) -> Core:
    core = Core(world, RuleBook(ROWS))
    for name, kind in ((SHIBUYA, "市町村長"), (MINATO, "市町村長"), (PENSION, "日本年金機構")):
        core.members.connect(name, kind, assessment=sample_assessment(name, kind, NOW.date()))
    return core


def test_d7_a_request_is_converted_for_exactly_one_provider(core: Core) -> None:
    ours = core.codes.code_for(SHIBUYA, HANAKO)
    notified = core.mediation.request(SHIBUYA, ours, PURPOSE, [MINATO])
    assert notified.code == core.codes.code_for(MINATO, HANAKO)
    assert notified.code != ours
    assert notified.rule == "番号法19条7号 (2017-05-30), 別表第二 74"
    for several in ([], [MINATO, PENSION]):
        with denied("broadcast"):
            core.mediation.request(SHIBUYA, ours, PURPOSE, several)


def test_d4_a_record_has_no_content(core: Core) -> None:
    notified = core.mediation.request(SHIBUYA, core.codes.code_for(SHIBUYA, HANAKO), PURPOSE, [MINATO])
    core.records.settle(MINATO, notified.number, RequestOutcome.PROVIDED)
    (record,) = core.records.of(core.codes.portal_code(HANAKO))
    assert (record.requester, record.provider, record.item) == (SHIBUYA, MINATO, PURPOSE.item)
    assert (record.requested_at, record.provided_at, record.outcome) == (NOW, NOW, RequestOutcome.PROVIDED)
    core.codes.code_for(SHIBUYA, TARO)
    assert core.records.of(core.codes.portal_code(TARO)) == [], "only the person's own records"
    with core.store.reading() as connection:
        columns = connection.execute(sa.text("SELECT * FROM provision_record")).keys()
    assert set(columns) == {
        "number", "record_code", "requester", "provider", "item", "requested_at", "provided_at", "outcome", "reason",
    }  # fmt: skip


def test_b9_records_contain_only_the_record_code(core: Core) -> None:
    core.mediation.request(SHIBUYA, core.codes.code_for(SHIBUYA, HANAKO), PURPOSE, [MINATO])
    with core.store.reading() as connection:
        row = connection.execute(sa.text("SELECT * FROM provision_record")).mappings().one()
    text = " ".join(str(value.hex() if isinstance(value, bytes) else value) for value in row.values())
    for secret in (HANAKO, str(core.codes.code_for(SHIBUYA, HANAKO)), str(core.codes.code_for(MINATO, HANAKO)),
                   str(core.codes.portal_code(HANAKO))):  # fmt: skip
        assert secret not in text


def test_d8_a_notified_provider_provides_or_holds(core: Core) -> None:
    number = core.mediation.request(SHIBUYA, core.codes.code_for(SHIBUYA, HANAKO), PURPOSE, [MINATO]).number
    for outcome in (RequestOutcome.DENIED, RequestOutcome.NOTIFIED):
        with denied("duty-to-provide"):
            core.records.settle(MINATO, number, outcome)
    core.records.settle(MINATO, number, RequestOutcome.HELD)
    assert core.records.of(core.codes.portal_code(HANAKO))[0].provided_at is None
    core.records.settle(MINATO, number, RequestOutcome.PROVIDED)
    with denied("not-notified"):
        core.records.settle(MINATO, number, RequestOutcome.HELD)


def test_d9_only_a_notified_provider_can_settle(core: Core) -> None:
    number = core.mediation.request(SHIBUYA, core.codes.code_for(SHIBUYA, HANAKO), PURPOSE, [MINATO]).number
    for provider, wrong in ((MINATO, number + 1), (PENSION, number)):
        with denied("not-notified"):
            core.records.settle(provider, wrong, RequestOutcome.PROVIDED)


def test_d10_a_body_without_assessment_is_refused(core: Core) -> None:
    code, new = core.codes.code_for(SHIBUYA, HANAKO), "新町"
    core.members.connect(new, "市町村長")
    for asking, asked in ((SHIBUYA, new), (new, SHIBUYA)):
        with denied("no-assessment"):
            core.mediation.request(asking, code, PURPOSE, [asked])
    with denied("no-assessment"):
        core.codes.code_for(new, HANAKO)
    core.members.assess(sample_assessment(new, "市町村長", NOW.date()))
    assert core.mediation.request(SHIBUYA, code, PURPOSE, [new]).code == core.codes.code_for(new, HANAKO)


def test_a11_a_body_is_refused_before_its_first_day(core: Core) -> None:
    core.members.connect(PENSION, "日本年金機構", starts=NOW + timedelta(days=1))
    with denied("not-started"):
        core.codes.code_for(PENSION, HANAKO)


def test_a2_an_unlawful_purpose_is_refused_and_recorded(core: Core) -> None:
    from dataclasses import replace

    for wrong, denial in ((replace(PURPOSE, affair="好奇心"), "unknown-purpose"),
                          (replace(PURPOSE, item="病歴"), "not-listed")):  # fmt: skip
        with denied(denial):
            core.mediation.request(SHIBUYA, core.codes.code_for(SHIBUYA, HANAKO), wrong, [MINATO])
    assert [(one.outcome, one.reason) for one in core.records.of(core.codes.portal_code(HANAKO))] == [
        (RequestOutcome.DENIED, "unknown-purpose"), (RequestOutcome.DENIED, "not-listed"),
    ]  # fmt: skip


def test_a_body_cannot_use_another_kind_or_another_body_s_code(core: Core) -> None:
    with denied("another-body"):
        core.mediation.request(PENSION, core.codes.code_for(PENSION, HANAKO), PURPOSE, [MINATO])
    with pytest.raises(ForeignCode):
        core.mediation.request(SHIBUYA, core.codes.code_for(MINATO, HANAKO), PURPOSE, [MINATO])
    with pytest.raises(ForeignCode):
        core.mediation.request(SHIBUYA, InstitutionCode(bytes(16)), PURPOSE, [MINATO])
    with denied("unknown-institution"):
        core.mediation.request("nobody", core.codes.code_for(SHIBUYA, HANAKO), PURPOSE, [MINATO])
    assert core.records.of(core.codes.portal_code(HANAKO)) == []


def test_a7_a8_only_the_core_operator_converts_codes_and_it_is_logged(core: Core) -> None:
    code = core.codes.code_for(SHIBUYA, HANAKO)
    for role in (Role.PORTAL_OPERATOR, Role.INSTITUTION):
        with denied("not-entitled"):
            core.codes.convert(role, code, SHIBUYA, PENSION)
    assert core.codes.convert(Role.CORE_OPERATOR, code, SHIBUYA, PENSION) == core.codes.code_for(PENSION, HANAKO)
    with core.store.reading() as connection:
        events = [row.what for row in connection.execute(sa.text("SELECT what FROM event ORDER BY position"))]
    assert events[-2:] == ["converted", "codes issued"]
    assert events.count("converted") == 1


def test_b7_bodies_in_one_group_share_a_code(core: Core) -> None:
    for name in ("協会けんぽ", "架空健康保険組合"):
        core.members.connect(name, "医療保険者", group="支払基金",
                             assessment=sample_assessment(name, "医療保険者", NOW.date()))  # fmt: skip
    assert core.codes.code_for("協会けんぽ", HANAKO) == core.codes.code_for("架空健康保険組合", HANAKO)
    assert core.codes.code_for("協会けんぽ", HANAKO) != core.codes.code_for(SHIBUYA, HANAKO)


def test_b1_changing_the_resident_record_code_keeps_other_codes(core: Core) -> None:
    before = core.codes.code_for(SHIBUYA, HANAKO), core.codes.portal_code(HANAKO)
    core.receive([Message("j-lis", "provision-core", 1, "code-change", {"former": HANAKO, "new": TARO})])
    assert (core.codes.code_for(SHIBUYA, TARO), core.codes.portal_code(TARO)) == before
    assert core.codes.code_for(SHIBUYA, HANAKO) != before[0], (
        "the old resident record code now belongs to another person"
    )


def test_codes_stay_the_same_after_a_restart(world: World, core: Core) -> None:
    assert Core(world, RuleBook(ROWS)).codes.code_for(SHIBUYA, HANAKO) == core.codes.code_for(SHIBUYA, HANAKO)


def test_a_body_that_is_connected_again_keeps_its_group_and_first_day(world: World, core: Core) -> None:
    day = world.clock.now() + timedelta(days=3)
    connected = core.members.connect("共済", "医療保険者", group="insurers", starts=day)
    assert core.members.connect("共済", "医療保険者") == connected
    assert core.members.connect("共済", "医療保険者", group="others", starts=day).group != connected.group
