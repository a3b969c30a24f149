"""What goes outside the network, by command: article 19 item by item, inquiries, consents, flows inside a body, uses,
and what of it the portal does not show. The world is of 2018, so that items have the numbers of the slides."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from kazashi.assembly.institutions import Institutions
from kazashi.assembly.network import Network
from kazashi.provision_network.off_network import OffNetwork
from kazashi.provision_network.portal import Portal
from kazashi.provision_network.portal_pages import PortalPages
from kazashi.relying_party.verify.linkage import NoLinkage
from kazashi.world.home import open_world
from tests.cli.program import InProcessProgram, Program
from tests.cli.test_network_bodies import add_body, network, refused

SHIBUYA, MINATO, BOARD = "東京都渋谷区", "東京都港区", "東京都渋谷区教育委員会"
TAX, RESIDENT = "地方税関係情報", "住民票関係情報"
CENTER, LIBRARY, POLICE, IMMIGRATION = "架空計算センター", "図書館", "警視庁", "出入国在留管理庁"
J_LIS, COMMISSION = "地方公共団体情報システム機構", "個人情報保護委員会"
FILING = {"identifier": "渋谷区-1", "body": SHIBUYA, "law": "渋谷区医療費助成条例", "affair": "医療費の助成",
          "provider": "市町村長", "item": RESIDENT, "like": "9", "field": "福祉"}  # fmt: skip
CASE = ("--case", "平30検1", "--reason", "所在の確認", "--item", RESIDENT)


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Program:
    """A world of 2018 with a town, its board of education, an ordinance, a contract and two people. Each test uses what
    it has made itself."""
    folder = tmp_path_factory.mktemp("outside")
    program = InProcessProgram(folder / "w")
    program.run("world", "new", "--seed", "commands")
    program.run("clock", "stand", "2018-04-02T10:00+09:00")
    for who in ("hanako", "taro"):
        program.run("registry", "add", who)
    program.run("clock", "advance", "1d")
    assert all(gate["ok"] for gate in network(program, "setup"))
    add_body(program, folder, BOARD, "市町村教育委員会")
    options = [word for name, value in FILING.items() for word in (f"--{name}", value)]
    network(program, "ordinance", "add", *options)
    for act in ("accept", "publish"):
        network(program, "ordinance", act, FILING["identifier"])
    network(program, "entrust", "add", SHIBUYA, CENTER, "--contract", "契約1号")
    return program


def give(program: Program, sender: str, receiver: str, item: str, *options: str) -> str:
    """Give information about hanako, and return the rule, or why it is denied."""
    words = ("outside", "provide", "hanako", "--from", sender, "--to", receiver, "--item", item, *options)
    done = program.run("network", *words, "--json", expect=None)
    if done.returncode == 0:
        return str(json.loads(done.stdout)["rule"])
    why, penalty, _ = done.stderr.removeprefix("kazashi: ").partition("; penalty: off-purpose use")
    assert penalty, done.stderr
    assert done.stderr.endswith(" [network-refused]\n")
    return why


def no_basis(item: str) -> str:
    """How a denial under an item begins."""
    return f"19条{item}号: "


FOR = ("--for", "番号の利用事務")
ITEMS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "1": ((SHIBUYA, "本人", *FOR), (SHIBUYA, LIBRARY, *FOR)),
    "2": (("架空商店", SHIBUYA, *FOR), (LIBRARY, SHIBUYA, *FOR)),
    "3": (("本人", SHIBUYA, *FOR, "--identity", "個人番号カード"), ("本人", SHIBUYA, *FOR)),
    "4": ((J_LIS, SHIBUYA, *FOR), (J_LIS, LIBRARY, *FOR)),
    "5": ((SHIBUYA, CENTER, *FOR), (SHIBUYA, "別の計算センター", *FOR)),
    "6": ((SHIBUYA, J_LIS), (SHIBUYA, J_LIS, "--for", "統計")),
    "9": (("国税庁", SHIBUYA), ("国税庁", LIBRARY)),
    "10": ((SHIBUYA, BOARD, *FOR, "--ordinance", "渋谷区-1"), (SHIBUYA, MINATO, *FOR, "--ordinance", "渋谷区-1")),
    "11": (("架空証券", "架空製造", *FOR), ("架空証券", "本人", *FOR)),
    "12": ((SHIBUYA, COMMISSION, *FOR), (SHIBUYA, LIBRARY, *FOR)),
    "14": ((SHIBUYA, "渋谷病院", *FOR, "--danger", "意識不明", "--hard-to-obtain", "意識不明"),
           (SHIBUYA, "渋谷病院", *FOR, "--hard-to-obtain", "意識不明")),
    "15": ((SHIBUYA, "東京都行政書士会", *FOR, "--rule", "4"), (SHIBUYA, "東京都行政書士会", *FOR, "--rule", "5")),
}  # fmt: skip
"""For each item outside the network, by its number in the law of 2017: a provision that it allows, and one that lacks
what it requires."""


def test_g19_each_item_by_command_and_each_denial_in_the_log(town: Program) -> None:
    for item, (allowed, denied) in ITEMS.items():
        assert give(town, *allowed[:2], item, *allowed[2:]) == f"番号法19条{item}号 (2017-05-30)"
        assert give(town, *denied[:2], item, *denied[2:]).startswith(no_basis(item))
    log = network(town, "outside", "list")
    for item, (allowed, denied) in ITEMS.items():
        for parties, rule, denial in ((allowed, f"番号法19条{item}号 (2017-05-30)", ""), (denied, "", "no-basis")):
            found = {(one["rule"], one["denial"]) for one in log if (one["from"], one["to"]) == parties[:2]}
            assert (rule, denial) in found, item


def test_g19_7_and_8_only_go_over_the_network_and_no_other_item_exists(town: Program) -> None:
    for item in ("7", "8"):
        assert give(town, SHIBUYA, MINATO, item, *FOR) == f"19条{item}号 only allows provision over the network"
    assert "has no item for minister" in give(town, SHIBUYA, MINATO, "minister", *FOR), "an item of 2021"
    assert "its items are 1 to-person, " in refused(town, 2, "usage", "outside", "provide", "hanako", "--from", SHIBUYA,
                                                    "--to", MINATO, "--item", "16")  # fmt: skip


def test_a4_the_number_and_codes_make_it_specific_and_other_identifiers_do_not(town: Program) -> None:
    decided = {handle: give(town, SHIBUYA, LIBRARY, "1", *FOR, "--with", handle)[:6]
               for handle in ("number", "code", "record-code", "serial", "mykey", "name")}  # fmt: skip
    specific = {"number": no_basis("1")[:6], "code": no_basis("1")[:6]}
    assert decided == specific | dict.fromkeys(("record-code", "serial", "mykey", "name"), "番号法 do")


def test_g19_5_an_entrustment_that_has_ended_allows_nothing(town: Program) -> None:
    network(town, "entrust", "add", MINATO, CENTER, "--contract", "契約2号")
    assert give(town, MINATO, CENTER, "entrustment", *FOR) == "番号法19条5号 (2017-05-30)"
    network(town, "entrust", "end", MINATO, CENTER)
    assert give(town, MINATO, CENTER, "entrustment", *FOR).startswith(no_basis("5"))


def test_g19_14_consent_alone_is_not_enough_and_a_withdrawn_one_is_none(town: Program) -> None:
    clinic, rescue = "港区病院", ("--for", "救命", "--information", RESIDENT)
    words = ("--item", RESIDENT, "--to", clinic, "--for", "救命")
    number = network(town, "consent", "add", SHIBUYA, "hanako", *words)["number"]
    assert "says the same" in refused(town, 1, "network-refused", "consent", "add", SHIBUYA, "hanako", *words)
    assert give(town, SHIBUYA, clinic, "14", *rescue).startswith(no_basis("14")), "without danger"
    assert give(town, SHIBUYA, clinic, "14", *rescue, "--danger", "重体") == "番号法19条14号 (2017-05-30)"
    network(town, "consent", "withdraw", SHIBUYA, str(number))
    assert give(town, SHIBUYA, clinic, "14", *rescue, "--danger", "重体").startswith(no_basis("14"))
    assert "withdrawn already" in refused(town, 1, "network-refused", "consent", "withdraw", SHIBUYA, str(number))
    assert {one["withdrawn"] for one in network(town, "consent", "list", SHIBUYA) if one["to"] == clinic} == {
        "2018-04-03"
    }


# Investigators


def inquire(program: Program, investigator: str, basis: str, *options: str) -> str:
    """Register an inquiry about taro, let somebody grant it, and return the rule or the denial."""
    words = ("inquiry", "add", SHIBUYA, "taro", "--from", investigator, "--basis", basis, *CASE, *options)
    added = network(program, *words)
    assert (added["decided"], added["rule"], added["by"]) == (None, "", ""), "nothing of this is automatic"
    decide = ("network", "inquiry", "decide", SHIBUYA, str(added["number"]), "granted", "--by", "総務課長", "--json")
    done = program.run(*decide, expect=None)
    if done.returncode:
        return "no-basis"
    decided = json.loads(done.stdout)
    assert (decided["by"], decided["case"], decided["reason"]) == ("総務課長", "平30検1", "所在の確認")
    return str(decided["rule"])


def test_i6_an_inquiry_of_the_police_counts_and_one_under_the_immigration_act_does_not(town: Program) -> None:
    """Four cells: {刑訴197, 入管28} x {specific personal information, ordinary personal information}."""
    allowed = {(basis, handle): inquire(town, investigator, basis, "--with", handle) != "no-basis"
               for investigator, basis in ((POLICE, "刑訴197"), (IMMIGRATION, "入管28"))
               for handle in ("number", "name")}  # fmt: skip
    denials = [one["denial"] for one in network(town, "inquiry", "list", SHIBUYA) if one["from"] == IMMIGRATION]
    assert denials == ["no-basis", ""], "the denial is in the register"
    assert allowed == {("刑訴197", "number"): True, ("刑訴197", "name"): True, ("入管28", "number"): False,
                       ("入管28", "name"): True}  # fmt: skip


def test_i4_i7_an_inquiry_needs_a_case_a_written_reason_and_a_person(town: Program) -> None:
    words = ("inquiry", "add", SHIBUYA, "taro", "--from", POLICE, "--basis", "刑訴197", "--item", RESIDENT)
    assert "the case must not be empty" in refused(town, 2, "bad-document", *words, "--case", "", "--reason", "x")
    assert "the reason must not be empty" in refused(town, 2, "bad-document", *words, "--case", "1", "--reason", "")
    assert "the basis must be" in refused(
        town, 2, "bad-document", *words, "--case", "1", "--reason", "x", "--basis", "y"
    )
    assert give(town, SHIBUYA, POLICE, "13", "--for", "刑事事件の捜査").startswith(no_basis("13")), "without an inquiry"
    number = str(network(town, *words, "--case", "1", "--reason", "所在の確認")["number"])
    decide = ("inquiry", "decide", SHIBUYA, number)
    assert town.run("network", *decide, "granted", expect=2).returncode == 2, "somebody must decide"
    given = len(network(town, "outside", "list", SHIBUYA))
    assert network(town, *decide, "refused", "--by", "総務課長")["denial"] == "refused-by-body"
    assert len(network(town, "outside", "list", SHIBUYA)) == given
    assert "decided already" in refused(town, 1, "network-refused", *decide, "granted", "--by", "総務課長")


@pytest.mark.parametrize("by", ["", " ", "a\nb"])
def test_a_decision_that_is_refused_changes_neither_register_nor_log(town: Program, by: str) -> None:
    number = str(
        network(town, "inquiry", "add", SHIBUYA, "taro", "--from", POLICE, "--basis", "刑訴197", *CASE)["number"]
    )
    decide, given = ("inquiry", "decide", SHIBUYA, number), network(town, "outside", "list", SHIBUYA)
    for decision in ("granted", "refused"):
        assert "the person who decides" in refused(town, 2, "bad-document", *decide, decision, "--by", by)
    assert network(town, "outside", "list", SHIBUYA) == given
    line = network(town, *decide, "granted", "--by", "総務課長")["line"]
    (added,) = network(town, "outside", "list", SHIBUYA)[len(given) :]
    assert (added["line"], added["denial"]) == (line, ""), "the log has what was decided"


def test_an_interrupted_decision_is_completed_and_never_turned_round(
    town: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The register says who has decided and how; a log line follows it, also if the command was killed in between."""
    number = str(
        network(town, "inquiry", "add", SHIBUYA, "taro", "--from", POLICE, "--basis", "刑訴197", *CASE)["number"]
    )
    decide, given = ("inquiry", "decide", SHIBUYA, number), len(network(town, "outside", "list", SHIBUYA))

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(OffNetwork, "give", killed)
        town.run("network", *decide, "granted", "--by", "総務課長", expect=None)
    assert len(network(town, "outside", "list", SHIBUYA)) == given
    assert "decided already" in refused(town, 1, "network-refused", *decide, "refused", "--by", "総務課長")
    again = network(town, *decide, "granted", "--by", "総務係長")
    assert again["by"] == "総務課長", "who decided stays"
    assert len(network(town, "outside", "list", SHIBUYA)) == given + 1
    assert "decided already" in refused(town, 1, "network-refused", *decide, "granted", "--by", "総務課長")


def test_article_19_is_about_others_and_consent_counts_for_what_has_no_name(town: Program) -> None:
    rescue = ("--for", "救助", "--danger", "火災")
    itself = ("outside", "provide", "hanako", "--from", SHIBUYA, "--to", SHIBUYA, "--item", "1", *FOR)
    assert "has it itself" in refused(town, 1, "network-refused", *itself)
    assert give(town, SHIBUYA, "架空消防団", "14", *rescue).startswith(no_basis("14"))
    network(town, "consent", "add", SHIBUYA, "hanako", "--item", "個人情報", "--to", "架空消防団", "--for", "救助")
    assert give(town, SHIBUYA, "架空消防団", "14", *rescue) == "番号法19条14号 (2017-05-30)"


def test_i5_i10_matters_of_the_order_and_of_the_commission_s_rule(town: Program) -> None:
    assert inquire(town, "公安調査庁", "政令9") == "番号法19条13号 (2017-05-30)"
    assert inquire(town, "公安調査庁", "政令27") == "no-basis"
    assert inquire(town, "東京都知事", "規則1") == "番号法19条15号 (2017-05-30)"
    assert inquire(town, "東京都知事", "規則5") == "no-basis"
    assert inquire(town, LIBRARY, "刑訴197") == "no-basis", "who does not investigate"


def page_of(program: Program, who: str) -> str:
    """The page of the portal for a person, without its access log."""
    world = open_world(program.world)
    institutions = Institutions(world)
    connected, person = Network(institutions), institutions.registry.find(who)
    core: Any = connected.core
    portal = Portal(
        world, connected.portal, lambda _: core.codes.portal_code(str(person.code)), core.records.of, NoLinkage()
    )
    folder = portal.set_up(0x1234)
    nobody: Any = SimpleNamespace(policy=SimpleNamespace(challenge_lifetime=timedelta()))
    pages = PortalPages(world, portal, nobody, nobody, "http://localhost:1", "http://localhost:2")
    page = bytes(pages.home(folder).body).decode()
    world.close()
    changing = r'<table id="looks">.*?</table>|<p>まだ誰も.*?</p>|nonce="\w+"'
    return re.sub(changing, "", page, flags=re.DOTALL)


def test_f7_i8_a13_the_portal_and_the_commission_do_not_see_what_investigators_got(town: Program) -> None:
    before, inspected = page_of(town, "taro"), network(town, "inspect", SHIBUYA)["outside"]
    assert inquire(town, POLICE, "刑訴197") == "番号法19条13号 (2017-05-30)"
    assert page_of(town, "taro") == before, "not even that somebody has asked"
    section = re.sub(r"<[^>]+>", "", before.partition('id="not-shown"')[2])
    assert "番号法19条13号・15号, 28条, 36条" in section, "the rule"
    assert "needs an impact assessment only if they keep a file" in section
    assert network(town, "inspect", SHIBUYA)["outside"] == inspected
    give(town, SHIBUYA, COMMISSION, "12", *FOR)
    assert len(network(town, "inspect", SHIBUYA)["outside"]) == len(inspected) + 1, "every other log is inspected"


def test_g5_i8_what_was_received_may_be_used_for_its_purpose_and_a_file_needs_an_assessment(
    town: Program, tmp_path: Path
) -> None:
    inquire(town, POLICE, "刑訴197")
    line = network(town, "outside", "list", SHIBUYA)[-1]["line"]
    use = ("use", POLICE, "--receipt", str(line), "--for", "刑事事件の捜査")
    assert network(town, *use)["rule"] == "番号法9条5項 (2017-05-30)"
    other = ("use", POLICE, "--receipt", str(line), "--for", "統計")
    assert "received for 刑事事件の捜査, and may be used for nothing else" in refused(
        town, 1, "network-refused", *other
    )
    assert "no receipt of 検察庁" in refused(town, 1, "network-refused", "use", "検察庁", *use[2:])
    assert "no impact assessment of its own" in refused(town, 1, "network-refused", *use, "--keep", "所在ファイル")
    document = tmp_path / "assessment.json"
    content = {"body": POLICE, "published": "2018-01-01", "version": 1, "affairs": [], "items": []}
    document.write_text(json.dumps(content))
    kept = (*use, "--keep", "所在ファイル", "--assessment", str(document))
    assert network(town, *kept)["kept"] == "所在ファイル"
    assert "already" in refused(town, 1, "network-refused", *kept)
    give(town, "国税庁", SHIBUYA, "9")
    taxes = network(town, "outside", "list", "国税庁")[-1]["line"]
    received = ("use", SHIBUYA, "--receipt", str(taxes), "--for", "国税・地方税の賦課徴収")
    assert "gives no right to use the number" in refused(town, 1, "network-refused", *received)


def test_i9_the_town_s_ordinance_decides_on_online_provision(town: Program) -> None:
    on_line = (SHIBUYA, COMMISSION, "12", *FOR, "--on-line")
    safe, heard = ("--safeguards", "暗号化"), ("--council", "審議会 平30答申3")
    assert network(town, "outside", "on-line", SHIBUYA)["on_line"] == "forbidden-unless"
    for more in ((), safe):
        assert "forbidden, unless its council was heard" in give(town, *on_line, *more)
    assert give(town, *on_line, *heard) == "番号法19条12号 (2017-05-30)"
    network(town, "outside", "on-line", SHIBUYA, "possible-if")
    assert give(town, *on_line, *safe) == "番号法19条12号 (2017-05-30)"
    assert "unless its council" in give(town, MINATO, COMMISSION, "12", *FOR, "--on-line", *safe), "its own ordinance"


# Uses and flows inside a body


def test_g4_payments_need_a_disaster_that_lasts_and_a_contract_made_before(town: Program) -> None:
    use = ("use", "架空銀行", "--contract", "27-3", "--for", "支払", "--contract-of")
    denied = "payments need a declared severe disaster and a contract made before it"
    assert denied in refused(town, 1, "network-refused", *use, "2018-01-01")
    network(town, "disaster", "declare", "架空地震", "--on", "2018-03-01")
    assert network(town, *use, "2018-01-01")["rule"] == "番号法9条4項 (2017-05-30)"
    assert denied in refused(town, 1, "network-refused", *use, "2018-03-02")
    network(town, "disaster", "end", "架空地震")
    assert denied in refused(town, 1, "network-refused", *use, "2018-01-01")


def test_a6_g1_g2_g3_uses_by_the_table_by_an_ordinance_and_on_forms(town: Program) -> None:
    assert network(town, "use", SHIBUYA, "--law", "児童手当法")["rule"] == "番号法9条1項 (2017-05-30), 別表第一 56"
    refused(town, 1, "network-refused", "use", SHIBUYA, "--law", "好奇心法")
    assert network(town, "use", SHIBUYA, "--ordinance", "渋谷区-1")["rule"] == "番号法9条2項 (2017-05-30), 渋谷区-1"
    assert "has filed no ordinance" in refused(town, 1, "network-refused", "use", MINATO, "--ordinance", "渋谷区-1")
    assert network(town, "use", "架空商店", "--form", "所得税法", "--submit")["rule"] == "番号法9条3項 (2017-05-30)"
    assert "not search by it" in refused(town, 1, "network-refused", "use", "架空商店", "--form", "所得税法")
    refused(town, 2, "usage", "use", SHIBUYA)
    child, resale = ("use", SHIBUYA, "--law", "児童手当法", "--for"), "under 児童手当法 the purpose is"
    assert resale in refused(town, 1, "network-refused", *child, "転売")
    assert network(town, *child, "児童手当又は特例給付の支給")["rule"].endswith("別表第一 56")
    assert "is not on the network" in refused(town, 1, "network-refused", "use", "架空商店", "--law", "児童手当法")


def test_h1_each_case_of_own_use_by_its_command(town: Program) -> None:
    by_ordinance = ("--ordinance", "渋谷区-1")
    flow = ("inside", "provide", SHIBUYA, "hanako", "--from", "税務", "--to", "福祉")
    document = json.loads(town.run("network", "assessment", "show", SHIBUYA).stdout)
    document["version"] += 1
    document["affairs"].append([FILING["law"], FILING["affair"]])
    paper = town.world.parent / "assessment.json"
    paper.write_text(json.dumps(document))
    network(town, "assessment", "add", str(paper))
    asked = network(
        town, "ask", "hanako", "--from", SHIBUYA, "--to", MINATO, "--item", RESIDENT, "--affair", "渋谷区-1"
    )
    assert {
        "outside the table": network(town, "use", SHIBUYA, *by_ordinance)["rule"],
        "inside one organ": network(town, *flow, "--item", RESIDENT, *by_ordinance)["rule"],
        "another organ": give(town, SHIBUYA, BOARD, "10", *FOR, *by_ordinance),
        "another municipality": asked["rule"],
    } == {
        "outside the table": "番号法9条2項 (2017-05-30), 渋谷区-1",
        "inside one organ": "番号法9条2項 (2017-05-30), 渋谷区-1",
        "another organ": "番号法19条10号 (2017-05-30)",
        "another municipality": "番号法19条8号 (2017-05-30), 渋谷区-1 (like 別表第二 9)",
    }  # fmt: skip


def test_inside_a_body_tax_data_need_a_duty_or_consent_and_its_own_record_has_the_flow(town: Program) -> None:
    def flow(to: str, *basis: str) -> str:
        words = ("inside", "provide", SHIBUYA, "taro", "--from", "税務", "--to", to, "--item", TAX, *basis)
        done = town.run("network", *words, "--json", expect=None)
        rule = json.loads(done.stdout)["rule"] if done.stdout else ""
        expected.append((to, rule))
        return rule or done.stderr

    expected: list[tuple[str, str]] = []
    portal = page_of(town, "taro")
    duty, no_duty = ("--law", "国民健康保険法"), ("--law", "災害対策基本法")
    assert flow("国保", *duty) == "番号法9条1項 (2017-05-30), 別表第一 30"
    assert "福祉 have no affair under 国民健康保険法" in flow("福祉", *duty)
    for basis in (no_duty, ("--ordinance", "渋谷区-1")):
        assert "penalty: breach of tax secrecy (地方税法22条)" in flow("福祉", *basis)
    consent = ("consent", "add", SHIBUYA, "taro", "--item", TAX, "--to", "福祉", "--for")
    network(town, *consent, "災害対策基本法")
    assert flow("福祉", *no_duty) == "番号法9条1項 (2017-05-30), 別表第一 36の2"
    network(town, *consent, "渋谷区-1")
    assert flow("福祉", "--ordinance", "渋谷区-1") == "番号法9条2項 (2017-05-30), 渋谷区-1"
    for unusual in (("会計", *duty), ("税務", *duty), ("国保",)):
        assert "[network-refused]" in flow(*unusual)
    assert page_of(town, "taro") == portal
    number = network(town, "request", "add", SHIBUYA, "taro", "disclosure", "--item", TAX)["number"]
    disclosed = network(town, "request", "decide", SHIBUYA, str(number), "granted")
    assert [one["to"] for one in disclosed["flows"] if one["rule"]] == ["国保", "福祉", "福祉"]
    recorded = [(one["to"], one["rule"]) for one in network(town, "inside", "list", SHIBUYA)]
    assert recorded[-len(expected) :] == expected
    assert [(one["to"], one["rule"]) for one in network(town, "inspect", SHIBUYA)["internal"]] == recorded
    offices = {one["office"]: one["laws"] for one in network(town, "inside", "offices")}
    assert "国民健康保険法" in offices["税務"]


def test_g20_consent_changes_no_statutory_decision(town: Program) -> None:
    ask = ("ask", "hanako", "--from", SHIBUYA, "--to", MINATO, "--item", TAX, "--affair")
    without = network(town, *ask, "74")
    number = network(town, "consent", "add", SHIBUYA, "hanako", "--item", TAX, "--to", MINATO, "--for", "児童手当法")
    given = network(town, *ask, "74")
    network(town, "consent", "withdraw", SHIBUYA, str(number["number"]))
    withdrawn = network(town, *ask, "74")
    stated = network(town, *ask, "74", "--consent")
    assert without["rule"] == "番号法19条7号 (2017-05-30), 別表第二 74"
    assert {one["rule"] for one in (given, withdrawn, stated)} == {without["rule"]}
    curious = network(town, *ask, "好奇心法/好奇心", "--consent", expect=1)
    assert curious["denial"] == "unknown-purpose"


def test_i2_tax_data_leave_the_tax_office_by_a_duty_to_report_or_a_registered_consent_only(town: Program) -> None:
    law = "予防接種法"  # it does not oblige the person to report
    ask = ("ask", "hanako", "--from", SHIBUYA, "--to", MINATO, "--item", TAX, "--affair", "18")
    assert network(town, *ask, expect=1)["denial"] == "tax-secrecy"
    network(town, "consent", "add", SHIBUYA, "hanako", "--item", TAX, "--to", MINATO, "--for", law)
    assert network(town, *ask)["rule"].startswith("番号法19条7号 (2017-05-30), 別表第二 ")
    give_to_the_board = ("outside", "provide", "taro", "--from", SHIBUYA, "--to", BOARD, "--item", "10", *FOR,
                         "--information", TAX, "--ordinance", "渋谷区-1")  # fmt: skip
    why = refused(town, 1, "network-refused", *give_to_the_board)
    assert "does not oblige the person to report" in why
    assert "penalty: breach of tax secrecy (地方税法22条)" in why
    assert network(town, *give_to_the_board, "--law", "児童手当法")["content"].startswith("総所得金額")
    to_employer = ("--from", SHIBUYA, "--to", "架空商店", "--item", "1", "--information", TAX)
    employer = ("outside", "provide", "taro", *to_employer)
    assert "breach of tax secrecy" in refused(town, 1, "network-refused", *employer, "--for", "福利厚生")
    assert network(town, *employer, "--for", "国税・地方税の賦課徴収")["content"]


def test_x19_each_flow_about_a_person_that_the_portal_does_not_show_says_why(town: Program) -> None:
    network(town, "ask", "taro", "--from", SHIBUYA, "--to", MINATO, "--item", TAX, "--affair", "74")
    inquire(town, POLICE, "刑訴197")
    network(town, "inside", "provide", SHIBUYA, "taro", "--from", "税務", "--to", "国保", "--item", TAX, "--law",
            "国民健康保険法")  # fmt: skip
    seen = network(town, "blind-spots", "taro")
    flows = seen["flows"]
    assert {(one["store"], one["shown"]) for one in flows} == {
        ("core", "yes"), ("off_network", "no"), ("body_registers", "no"),
    }  # fmt: skip
    assert all(one["why"] for one in flows if one["shown"] == "no")
    (police,) = {one["why"] for one in flows if (one["to"], one["rule"][:3]) == (POLICE, "番号法")
                 and "条" in one["rule"]}  # fmt: skip
    assert police.startswith("19条13号: investigators are exempt from the portal")
    assert (seen["hidden"], seen["of"]) == (sum(one["shown"] == "no" for one in flows), len(flows))
    low, high = seen["interval"]
    assert 0 < low < seen["hidden"] / seen["of"] < high <= 1
