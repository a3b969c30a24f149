"""The five reasons of the ruling of 2008: each verdict follows the facts of the world, in both directions."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest
import sqlalchemy as sa

from kazashi.assembly.institutions import Institutions
from kazashi.assembly.network import Network, body_of
from kazashi.assembly.network_offices import MUNICIPALITY, NEIGHBOUR, TAX_ITEM, TAX_OFFICE, town_of
from kazashi.assembly.points import enrol_till
from kazashi.assembly.points_server import centre_of
from kazashi.jpki.profile import CertificateType
from kazashi.provision_network.assessments import sample_assessment
from kazashi.provision_network.law.provisions import INVESTIGATIONS, OnLine, Party, PersonField, Policy, Provision
from kazashi.provision_network.law.tables import Purpose
from kazashi.provision_network.law.versions import NETWORK_STARTS, VERSIONS, ProvisionItem
from kazashi.provision_network.off_network import OffNetwork
from kazashi.provision_network.ordinances import filings
from kazashi.provision_network.terms import NetworkRejected
from kazashi.refund_points.goods import Basket, Category, Item, ReceiptLine
from kazashi.refund_points.reading import CardReading
from kazashi.studies.network_rulings import RulingReason, held_against_stores
from kazashi.world.clock import today
from kazashi.world.home import open_world
from tests.cli.program import InProcessProgram
from tests.studies.conftest import Copied
from tests.town import certificates

CASE = Provision(ProvisionItem.INVESTIGATION, Party.MUNICIPALITY, Party.INVESTIGATOR, INVESTIGATIONS[3], case="1",
                 reason="x", approved_by="x")  # fmt: skip
ORDINANCE = VERSIONS[-1].cite(ProvisionItem.NETWORK_ORDINANCE)
FEAST = Basket((ReceiptLine(Item("feast", "宴会", 110_000, Category.EATING_OUT)),))

Act = Callable[[Institutions, Network, bool], None]


def move(institutions: Institutions, _: Network, into_prison: bool) -> None:
    """(i) A person moves, into a prison or into a flat: the same event, and the same field of the identity data."""
    street = "晴見町４丁目１０番地" + ("府中刑務所内" if into_prison else "第二さくら荘")
    institutions.happen("hanako", "move-within", {"street": street})


def give(institutions: Institutions, _: Network, without_basis: bool) -> None:
    """(ii) A town gives data to an investigator: online, which its ordinance does not allow, or on paper."""
    policy = Policy(OnLine.POSSIBLE_IF)
    OffNetwork(institutions.world, policy).give(
        "渋谷区", "警視庁", replace(CASE, on_line=without_basis, safeguards=True), "住所"
    )


def register(_: Institutions, network: Network, another_sector: bool) -> None:
    """(iii) A town registers a copy under a person's code: of another sector, or of the one that it has already."""
    person = network.people()[0]
    body = body_of(person)
    addresses = network.linkage(body).addresses
    assert person.individual_number is not None
    number = addresses.local_number(TAX_OFFICE, addresses.address_number(person.individual_number))
    item = "医療保険給付関係情報" if another_sector else TAX_ITEM
    network.linkage(body).register(TAX_OFFICE, number, item, "x")


def attempt(institutions: Institutions, _: Network, with_mykey: bool) -> None:
    """(iv) A town wants to give data for recruiting: with a MyKey ID, which no penalty protects, or a number."""
    handle = PersonField.MYKEY_ID if with_mykey else PersonField.INDIVIDUAL_NUMBER
    with suppress(NetworkRejected):
        recruiting = replace(CASE, purpose="自衛官募集", handle=handle)
        OffNetwork(institutions.world).give("渋谷区", "防衛省", recruiting, "住所")


def buy(institutions: Institutions, _: Network, by_serial: bool) -> None:
    """(v) A person shows the card at a shop, whose code is the serial number, or one that only the centre can read."""
    buy_by(institutions, "authentication-serial" if by_serial else "code-by-centre")


def buy_by(institutions: Institutions, policy: str) -> None:
    """A sale to taro at a shop with a policy, whose record the centre has received."""
    world = institutions.world
    till = enrol_till(world, "rice-shop", "till-1", policy=policy)
    (issued,) = certificates(institutions, "taro", CertificateType.AUTHENTICATION)
    assert till.sell(FEAST, CardReading(issued.serial)).points
    centre_of(world).receive(till.name, [record.signed.to_wire() for record in till.waiting(100)])


ACTS: dict[str, Act] = {"i": move, "ii": give, "iii": register, "iv": attempt, "v": buy}


def switches(seed: int) -> dict[str, bool]:
    """Which facts contradict their reason in a world."""
    chance = Random(f"ruling {seed}")
    return {reason: chance.random() < 0.5 for reason in ACTS}


SAMPLE = range(6)


@pytest.mark.parametrize("worlds", [
    pytest.param(SAMPLE, id="sample"), pytest.param(range(6, 50), id="others", marks=pytest.mark.long),
])  # fmt: skip
def test_p4_every_verdict_equals_its_switch(copied: Copied, tmp_path: Path, worlds: range) -> None:
    """Five facts are switched by seed in each world. All five acts are done in each, and differ in a value alone."""
    found, expected = {}, {}
    for seed in worlds:
        institutions = copied(tmp_path / str(seed))
        network = Network(institutions)
        for reason, contradicts in switches(seed).items():
            ACTS[reason](institutions, network, contradicts)
        institutions.world.close()
        against = any(switches(seed).values())
        findings = InProcessProgram(institutions.world.directory).json("network", "rulings", expect=int(against))
        found[seed] = {one["reason"]: not one["holds"] for one in findings}
        expected[seed] = switches(seed)
    assert found == expected
    for reason in ACTS:
        assert {one[reason] for one in expected.values()} == {True, False}, "each is switched both ways"


def test_p4_each_reason_is_told_in_one_sentence_with_its_source(base: Path) -> None:
    findings = InProcessProgram(base).json("network", "rulings")
    assert [one["reason"] for one in findings] == [reason.value for reason in RulingReason]
    for one in findings:
        assert one["words"].count(". ") == 0
        assert "Supreme Court, 6 March 2008, 平19(オ)403" in one["words"]
        assert one["holds"]
    assert "pages 11 and 12" in findings[4]["words"]
    measured = {fact["id"]: fact["values"] for one in findings for fact in one["measured"]}
    assert measured["provisions-decided-again"]["count"] == 2
    assert measured["number-held-by-several"]["people"] == 2, "what holds (iii) there is the law alone"


def test_p4_facts_name_what_they_were_found_in(copied: Copied, tmp_path: Path) -> None:
    institutions = copied(tmp_path / "w")
    network = Network(institutions)
    for act in ACTS.values():
        act(institutions, network, True)
    institutions.world.close()
    findings = InProcessProgram(institutions.world.directory).json("network", "rulings", expect=1)
    facts: dict[str, list[dict[str, Any]]] = {
        one["reason"]: [{"id": fact["id"], **fact["values"]} for fact in one["against"]] for one in findings
    }
    assert facts["i"] == [{"id": "confidential-data", "sort": "crime", "place": "identity.document.street", "count": 1}]
    (given,) = facts["ii"]
    assert (given["log"], given["line"], given["requester"], given["why"]) == ("off_network", 1, "警視庁", "no-basis")
    (joined,) = facts["iii"]
    assert joined["id"] == "sectors-joined-by-one"
    assert joined["sectors"] == "医療保険給付関係情報 + 地方税関係情報"
    assert (joined["handle"], joined["people"]) == ("institution code", 1)
    (unpunished,) = facts["iv"]
    assert (unpunished["requester"], unpunished["handle"]) == ("防衛省", "マイキーID")
    assert {(fact["who"], fact["handle"], fact["form"]) for fact in facts["v"]} == {
        ("shop", "serial number", "clear"), ("refund point centre", "serial number", "clear")
    }  # fmt: skip


def test_p4_a_record_that_another_rule_book_made_is_decided_again(copied: Copied, tmp_path: Path) -> None:
    """A core that runs by rules of its own would leave such records: an item that no row has, and one of a time before
    the network."""
    institutions = copied(tmp_path / "w")
    network, world = Network(institutions), institutions.world
    early = int(world.clock.now().replace(year=NETWORK_STARTS.year - 1).timestamp())
    with network.core.store.transaction() as connection:
        connection.execute(sa.text("UPDATE provision_record SET requested_at = :at WHERE number = 1"), {"at": early})
        connection.execute(sa.text("UPDATE provision_record SET item = '病歴' WHERE number = 2"))
    (finding,) = [one for one in held_against_stores(world, network) if one.reason is RulingReason.LEGAL_BASIS]
    assert [(fact.values["line"], fact.values["why"]) for fact in finding.against] == [
        (1, "not-in-force"), (2, "not-listed"),
    ]  # fmt: skip
    with network.core.store.transaction() as connection:
        connection.execute(sa.text("UPDATE provision_record SET reason = '' WHERE number = 2"))
        connection.execute(
            sa.text("UPDATE provision_record SET outcome = 'denied', reason = 'limited' WHERE number = 1")
        )
    (finding,) = [one for one in held_against_stores(world, network) if one.reason is RulingReason.LEGAL_BASIS]
    assert [(fact.values["line"], fact.values["why"]) for fact in finding.against] == [(2, "no-basis")]
    world.close()


def test_p4_services_that_share_a_handle_could_join_their_sectors(copied: Copied, tmp_path: Path) -> None:
    """A person uses MyKey and buys with the serial number: two services of two sectors have the same serial number."""
    institutions = copied(tmp_path / "w")
    institutions.world.close()
    program = InProcessProgram(institutions.world.directory)
    program.run("mykey", "register", "taro")
    reasons = {one["reason"]: one for one in program.json("network", "rulings", expect=1)}
    assert reasons["iii"]["holds"], "one service alone has nobody to compare with"
    institutions = Institutions(open_world(institutions.world.directory))
    buy(institutions, Network(institutions), True)
    institutions.world.close()
    (fact,) = {one["reason"]: one for one in program.json("network", "rulings", expect=1)}["iii"]["against"]
    assert fact["id"] == "sectors-joined-together"
    assert fact["values"] == {
        "who": "MyKey platform + refund point centre + shop", "handle": "serial number",
        "sectors": "local services + refund points", "people": 1,
    }  # fmt: skip


def test_c4_a_join_on_the_record_code_across_bodies_is_noticed(copied: Copied, tmp_path: Path) -> None:
    """Two agencies have written the record code down: in a column of its own, and within a document."""
    institutions = copied(tmp_path / "w")
    world, code = institutions.world, str(institutions.registry.find("taro").code)
    for store, value in (("tax_files", code), ("hospital", f'{{"note": ["seen {code}"]}}')):
        metadata = sa.MetaData()
        table = sa.Table("note", metadata, sa.Column("what", sa.Text))
        with world.store(store, metadata).transaction() as connection:
            connection.execute(sa.insert(table), {"what": value})
    world.close()
    reasons = {one["reason"]: one for one in InProcessProgram(world.directory).json("network", "rulings", expect=1)}
    (joined,) = reasons["iii"]["against"]
    assert joined["values"] == {"who": "hospital + tax_files", "handle": "resident record code",
                                "sectors": "hospital + tax_files", "people": 1}  # fmt: skip
    assert {fact["values"]["place"] for fact in reasons["v"]["against"]} == {
        "hospital.note.what.note[]", "tax_files.note.what",
    }  # fmt: skip


@pytest.mark.parametrize(("policy", "secret", "who"), [
    ("code-by-centre", "refund_centre: codes", {"refund point centre"}),
    ("keyed-by-shop", "refund_centre: rice-shop", {"refund point centre", "shop"}),
])  # fmt: skip
def test_p4_an_image_under_a_key_is_told_and_does_not_count(
    copied: Copied, tmp_path: Path, policy: str, secret: str, who: set[str]
) -> None:
    institutions = copied(tmp_path / "w")
    buy_by(institutions, policy)
    institutions.world.close()
    (reason,) = [one for one in InProcessProgram(institutions.world.directory).json("network", "rulings")
                 if one["reason"] == "v"]  # fmt: skip
    assert reason["holds"]
    facts = [fact["values"] for fact in reason["measured"]]
    assert {(fact["handle"], fact["secret"]) for fact in facts} == {("serial number", secret)}
    assert {fact["who"] for fact in facts} == who


def test_p4_an_affair_by_ordinance_counts_from_its_publication(copied: Copied, tmp_path: Path) -> None:
    """A record with an ordinance's affair has a basis if the ordinance was published by then."""
    institutions = copied(tmp_path / "w")
    network, world, day = Network(institutions), institutions.world, today(institutions.world.clock)
    entry = {"identifier": "town-1", "body": body_of(network.people()[0]), "law": "医療費助成条例",
             "affair": "医療費の助成", "provider": "市町村長", "item": "住民票関係情報", "like": "9",
             "field": "福祉"}  # fmt: skip
    kinds = {body.name: body.kind for body in network.core.members.institutions()}
    network.core.ordinances.file(filings(json.dumps(entry), kinds), day)
    network.core.ordinances.accept("town-1", day)
    published = network.core.ordinances.publish("town-1", day)
    made = {"item": entry["item"], "reason": f"{ORDINANCE}, town-1 (like 別表第二 {published.like})"}
    towns = {"requester": entry["body"], "provider": next(one for one, kind in kinds.items()
                                                          if kind == "市町村長" and one != entry["body"])}  # fmt: skip
    for days, holds in ((0, True), (-1, False)):
        at = int((world.clock.now() + timedelta(days=days)).timestamp())
        with network.core.store.transaction() as connection:
            connection.execute(sa.text(
                "UPDATE provision_record SET item = :item, reason = :reason, requester = :requester,"
                " provider = :provider, requested_at = :at WHERE number = 1"
            ), {**made, **towns, "at": at})  # fmt: skip
        (finding,) = [one for one in held_against_stores(world, network) if one.reason is RulingReason.LEGAL_BASIS]
        assert finding.holds is holds
        assert holds or [fact.values["why"] for fact in finding.against] == ["conditions"]
    world.close()


def test_p4_a_question_of_the_day_on_which_its_ordinance_is_withdrawn_has_a_basis(
    copied: Copied, tmp_path: Path
) -> None:
    """Two questions are asked before the withdrawal, and one of them is released after it. Then the body files the same
    affair again. A question after the day of the withdrawal has no basis."""
    institutions = copied(tmp_path / "w")
    town, provider = body_of(Network(institutions).people()[0]), town_of(NEIGHBOUR)
    day, item = today(institutions.world.clock), "住民票関係情報"
    institutions.world.close()

    def network(*words: str, expect: int = 0) -> Any:
        return InProcessProgram(institutions.world.directory).json("network", *words, expect=expect)

    def publish(identifier: str, on: date) -> None:
        filing = {"identifier": identifier, "body": town, "law": "医療費助成条例", "affair": "医療費の助成",
                  "provider": MUNICIPALITY, "item": item, "like": "9", "field": "福祉"}  # fmt: skip
        options = [word for name, value in filing.items() for word in (f"--{name}", value)]
        network("ordinance", "add", *options, "--on", str(on))
        network("ordinance", "accept", identifier, "--on", str(on))
        network("ordinance", "publish", identifier, "--on", str(on))

    def ask(who: str, identifier: str) -> str:
        words = ("--from", town, "--to", provider, "--item", item, "--affair", identifier)
        return str(network("ask", who, *words)["stage"])

    own = Purpose(MUNICIPALITY, "医療費助成条例", "医療費の助成", MUNICIPALITY, item)
    for body in (town, provider):
        document = replace(sample_assessment(body, MUNICIPALITY, day, [own]), version=2).document()
        (tmp_path / "assessment.json").write_text(document, encoding="utf-8")
        network("assessment", "add", str(tmp_path / "assessment.json"))
    rows = ["person,item,content,hold", f"hanako,{item},x,yes", f"taro,{item},x,no"]
    (tmp_path / "copies.csv").write_text("\n".join(rows), encoding="utf-8")
    network("copies", provider, str(tmp_path / "copies.csv"))

    publish("town-1", day)
    assert [ask("hanako", "town-1"), ask("taro", "town-1")] == ["held", "answered"]
    network("ordinance", "withdraw", "town-1")
    (held,) = network("held", provider)
    network("release", provider, str(held["number"]))
    publish("town-2", day - timedelta(days=2))
    assert ask("taro", "town-2") == "answered"
    legal = network("rulings", expect=1)[1]
    assert legal["holds"], "what fails is (iii): the provider has data of two sectors now"
    assert legal["measured"][0]["values"]["count"] == 5, "two of the base, and these three"

    network("ordinance", "withdraw", "town-2", "--on", str(day - timedelta(days=1)))
    (fact,) = network("rulings", expect=1)[1]["against"]
    assert (fact["values"]["rule"], fact["values"]["why"]) == (f"{ORDINANCE}, town-2 (like 別表第二 9)", "conditions")


def test_p4_a_number_in_the_address_system_of_a_registered_body_is_not_from_a_card(
    copied: Copied, tmp_path: Path
) -> None:
    institutions = copied(tmp_path / "w")
    name, kind, day = "架空健保組合", "健康保険組合", today(institutions.world.clock)
    institutions.world.close()
    (tmp_path / "draft.json").write_text(sample_assessment(name, kind, day).document(), encoding="utf-8")
    program = InProcessProgram(institutions.world.directory)
    program.json("network", "body", "add", name, "--kind", kind, "--assessment", str(tmp_path / "draft.json"))
    program.json("network", "people", "add", name, "hanako", "taro")
    reasons = {one["reason"]: one for one in program.json("network", "rulings")}
    (shared,) = [fact["values"] for fact in reasons["iii"]["measured"] if "body1" in fact["values"]["who"]]
    assert (shared["handle"], shared["people"]) == ("individual number", 2), "the body has it, and by law"

    world = open_world(institutions.world.directory)
    metadata = sa.MetaData()
    table = sa.Table("seen", metadata, sa.Column("number", sa.Text))
    number = Network(Institutions(world)).people()[0].individual_number
    with world.store("hospital", metadata).transaction() as connection:
        connection.execute(sa.insert(table), {"number": str(number)})
    world.close()
    reasons = {one["reason"]: one for one in program.json("network", "rulings", expect=1)}
    assert [fact["values"]["place"] for fact in reasons["v"]["against"]] == ["hospital.seen.number"]
