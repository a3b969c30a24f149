"""The list of actors, compared with the stores that the program makes and with the ruling that uses it."""

from __future__ import annotations

import inspect
import json
import re
import sys
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from kazashi.assembly.actors import ACTORS, AUTHORITY, MYKEY, SHOP, actors_of
from kazashi.assembly.network import Network
from kazashi.assembly.network_offices import OUTSIDE_ADDRESSES, PENSION, PENSION_ADDRESSES
from kazashi.assembly.points import enrol_till, tills_directory
from kazashi.assembly.points_server import centre_of
from kazashi.medical_insurance.joint_body import JointBody
from kazashi.pki.callers import Callers
from kazashi.provision_network.body_registers import BodyRegisters
from kazashi.provision_network.health_checks import HealthChecks
from kazashi.provision_network.municipal import AddressSystem
from kazashi.provision_network.off_network import OffNetwork
from kazashi.provision_network.portal import Portal
from kazashi.provision_network.tax_offices import TaxOffices
from kazashi.refund_points.portal import RefundPortal
from kazashi.refund_points.refunds import Refunds
from kazashi.relying_party.login.provider_store import ProviderStore
from kazashi.relying_party.login.sample_site import SampleSite
from kazashi.relying_party.mykey.mykey import MyKeyPlatform
from kazashi.relying_party.platform.platform import Platform
from kazashi.relying_party.verify.anchors import AnchorsInDirectory
from kazashi.relying_party.verify.challenges import StoredChallenges
from kazashi.relying_party.verify.linkage import NoLinkage
from kazashi.relying_party.verify.verification import Verifier
from kazashi.tools.cli.checkout import modules
from kazashi.world.home import World
from kazashi.world.key_source import SharedKeySource
from kazashi.world.storage import Store
from tests.support import run
from tests.town import new_institutions

ROOT = Path(__file__).parent.parent.parent


def openers() -> set[str]:
    """The modules of the product in which an actor opens its store."""
    readers = ("kazashi.world.", "kazashi.assembly.", "kazashi.studies.")
    return {name for name, path in modules(ROOT) if name.startswith("kazashi.") and not name.startswith(readers)
            and re.search(r"\bworld\.store\(|\bopen_store\(", path.read_text(encoding="utf-8"))}  # fmt: skip


def test_every_store_that_the_program_makes_is_in_the_list(
    keys: SharedKeySource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: set[str] = set()
    opens, begins = World.store, Store.__init__

    def noted(world: World, actor: str, *schema: Any) -> Store:
        opened.add(sys._getframe(1).f_globals["__name__"])
        return opens(world, actor, *schema)

    def begun(store: Store, engine: sa.Engine, actor: str) -> None:
        opened.update(frame.frame.f_globals["__name__"] for frame in inspect.stack(context=0)[1:4])
        begins(store, engine, actor)

    monkeypatch.setattr(World, "store", noted)
    monkeypatch.setattr(Store, "__init__", begun)
    institutions = new_institutions(tmp_path / "w", keys)
    institutions.issue_card("hanako", "hanako")
    assert institutions.phones.phones() == []
    assert institutions.mdocs.root()
    institutions.settle()
    world, linkage, network = institutions.world, NoLinkage(), Network(institutions)
    verifier = Verifier(AnchorsInDirectory(world.publication / "ca"), [], world.clock)
    made: list[Any] = [
        Callers(world), JointBody(world, linkage), AddressSystem(world, "渋谷区"), OffNetwork(world),
        BodyRegisters(world), TaxOffices(world), HealthChecks(world),
        AddressSystem(world, PENSION, PENSION_ADDRESSES), AddressSystem(world, "国税庁", OUTSIDE_ADDRESSES),
        ProviderStore(world), MyKeyPlatform(world, linkage), Platform(world, linkage), StoredChallenges(world),
        SampleSite(world, verifier, Platform(world, linkage), "http://localhost:1", ""),
        RefundPortal(world, Refunds(centre_of(world)), verifier, linkage, "http://localhost:2", ""),
        enrol_till(world, "rice-shop", "till-1"), network.core, network.interfaces,
        institutions.counters,
    ]  # fmt: skip
    assert made
    Portal(world, network.portal, lambda _: pytest.fail("nobody sets up"), lambda _: [], linkage)
    assert openers() <= opened, "this test must open every store; add the new one"
    names = {path.stem for path in (world.directory / "stores").glob("*.sqlite")}
    assert names == {actor.store for actor in ACTORS} - {SHOP.store}
    assert actors_of(world) == sorted((actor for actor in ACTORS if actor is not SHOP), key=lambda actor: actor.store)
    (till,) = tills_directory(world).glob("*.sqlite")
    assert fnmatch(till.stem, SHOP.store)
    world.close()


def test_each_actor_has_an_owner_and_a_unique_label() -> None:
    assert len({actor.label for actor in ACTORS}) == len({actor.store for actor in ACTORS}) == len(ACTORS)
    assert all(actor.japanese and actor.owner.name and actor.owner.japanese for actor in ACTORS)
    callers = [actor.caller for actor in ACTORS if actor.caller]
    assert len(set(callers)) == len(callers)


def test_the_authority_s_own_log_does_not_count_against_the_ruling(tmp_path: Path) -> None:
    """A person who has a MyKey ID has presented a card. The platform has a serial number and called the authority."""
    program = (sys.executable, "-m", "kazashi", "--world", str(tmp_path / "w"))
    for command in ("card new hanako", "network setup", "mykey register hanako"):
        run(*program, *command.split())
    rulings = json.loads(run(*program, "network", "rulings", "--json", expect=1))
    against = {ruling["reason"]: [fact["values"] for fact in ruling["against"]] for ruling in rulings}
    assert {fact["place"] for fact in against["v"]} == {
        f"{MYKEY.store}.serial.serial",
        f"{MYKEY.store}.identifier.head",
    }
    assert not [fact for facts in against.values() for fact in facts if AUTHORITY.store in str(fact)]


def test_a_store_of_an_unknown_actor_is_included(keys: SharedKeySource, tmp_path: Path) -> None:
    world = new_institutions(tmp_path / "w", keys).world
    metadata = sa.MetaData()
    table = sa.Table("holder", metadata, sa.Column("serial", sa.BigInteger))
    with world.store("newcomer", metadata).transaction() as connection:
        connection.execute(sa.insert(table), {"serial": 1})
    (newcomer,) = [actor for actor in actors_of(world) if actor.store == "newcomer"]
    assert not newcomer.owner.issues
