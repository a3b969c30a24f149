"""The log of provision outside the network: an older one is migrated, and a reference or a file is logged once."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa

from kazashi.provision_network.law.provisions import TAXES_PURPOSE, Party, PersonField, Provision
from kazashi.provision_network.law.versions import ProvisionItem
from kazashi.provision_network.off_network import ACTOR, FileGiven, OffNetwork
from kazashi.provision_network.party_roles import roles_of, same_government
from kazashi.world.clock import FixedClock
from kazashi.world.home import World, open_world
from kazashi.world.settings import Settings

pytestmark = pytest.mark.unit

TAXES = Provision(ProvisionItem.TAXES, Party.TAX_AGENCY, Party.MUNICIPALITY, TAXES_PURPOSE)


@pytest.fixture
def world(tmp_path: Path) -> World:
    clock = FixedClock(datetime(2018, 4, 2, 3, tzinfo=UTC))
    return open_world(tmp_path / "w", settings=Settings("network"), clock=clock)


def test_a_log_of_version_1_gets_names_of_items_and_subjects(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    metadata = sa.MetaData()
    columns = ("position", "at", "provider", "receiver", "item", "handle", "what", "rule", "denial", "facts")
    kinds = {"position": sa.Integer, "at": sa.BigInteger, "item": sa.Integer}
    sa.Table("given", metadata, *(sa.Column(name, kinds.get(name, sa.Text), primary_key=name == "position")
                                  for name in columns))  # fmt: skip
    facts = {"item": 13, "sender": "市町村長", "receiver": Party.INVESTIGATOR.value, "purpose": "刑事事件の捜査"}
    row = (1, 0, "渋谷区", "警視庁", 13, "個人番号", "住所", "番号法19条13号", "", json.dumps(facts))
    with world.store(ACTOR, metadata).transaction() as connection:
        connection.execute(sa.insert(metadata.tables["given"]), dict(zip(columns, row, strict=True)))
    world.close()
    log = OffNetwork(world)
    assert "migrated from version 1 to 2" in capsys.readouterr().err
    (line,) = log.given()
    assert (line.item, line.subject, line.handle) == (ProvisionItem.INVESTIGATION, "", PersonField.INDIVIDUAL_NUMBER)
    receipt = log.receipt(1)
    assert receipt is not None
    assert (receipt.receiver, receipt.purpose) == ("警視庁", "刑事事件の捜査")
    assert log.receipt(2) is None


def test_what_has_a_reference_and_a_file_are_logged_once(world: World) -> None:
    log = OffNetwork(world)
    for _ in range(2):
        log.give("国税庁", "渋谷区", TAXES, "申告書", "0000000001", reference="case 1")
    file = FileGiven("d" * 64, "国税庁", "渋谷区", "returns.csv", 2)
    lines = [(TAXES, "申告書", "0000000001"), (TAXES, "申告書", "0000000002")]
    assert [log.give_file(file, lines) for _ in range(2)] == [True, False]
    assert [one.subject for one in log.given("国税庁")] == ["0000000001", "0000000001", "0000000002"]
    assert len(log.about("国税庁", "0000000001")) == 2


def test_roles_follow_from_kinds_and_names() -> None:
    assert roles_of("東京都渋谷区", "市町村長") == (Party.MUNICIPALITY, Party.RELATED)
    assert roles_of("架空健保組合", "健康保険組合") == (Party.IMPLEMENTER, Party.RELATED)
    assert roles_of("マイナポータル", "情報提供等記録開示システム") == (Party.ANYBODY,)
    assert roles_of("東京地方裁判所") == (Party.INVESTIGATOR,)
    assert roles_of("図書館") == (Party.ANYBODY,)
    town, board = ("東京都渋谷区", "市町村長"), ("東京都渋谷区教育委員会", "市町村教育委員会")
    assert same_government(*town, *board)
    assert not same_government(*town, *town)
    assert not same_government(*town, "東京都港区", "市町村長")
    assert not same_government(*town, "東京都渋谷区教育委員会", "健康保険組合")
