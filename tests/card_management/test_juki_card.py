"""The Juki card: issue, its end when the Individual Number Card comes, and which sites take it."""

from __future__ import annotations

import shutil
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from kazashi.applets import jpki
from kazashi.applets.applet import unfilled
from kazashi.assembly import j_lis_office
from kazashi.assembly.cards import make_juki_card
from kazashi.assembly.institutions import Institutions
from kazashi.card.image import read_image
from kazashi.card_management.juki_card import JukiCardRejected, issue_juki_card
from kazashi.card_management.order import image_path
from kazashi.jpki.profile import EMULATED, CertificateType, Medium
from kazashi.jpki.serial_number import serial_text
from kazashi.provision_network.codes import PortalCode
from kazashi.provision_network.interface_system import InterfaceSystem
from kazashi.provision_network.message_http import INTERFACE
from kazashi.provision_network.portal import INTERFACE_NAME, Portal
from kazashi.provision_network.portal_pages import PortalPages
from kazashi.relying_party.login.card_reader import Signed
from kazashi.relying_party.login.sample_site import SampleSite
from kazashi.relying_party.platform.platform import Platform
from kazashi.relying_party.verify.anchors import AnchorsInDirectory
from kazashi.relying_party.verify.linkage import NoLinkage
from kazashi.relying_party.verify.sources import lists_in
from kazashi.relying_party.verify.verification import Verifier
from kazashi.resident_registry.birth_date import BirthDate
from kazashi.world.clock import instant_of
from kazashi.world.home import open_world
from kazashi.world.key_source import SharedKeySource
from tests.cli.program import InProcessProgram, Program, new_world
from tests.crash import killed_at
from tests.support import run
from tests.town import AUTHENTICATION, SIGNATURE, clock_of, later, new_institutions
from tests.web.gallery import AGENT, SITE, Browser, Holder

DECEMBER = "2015-12-01T10:00+09:00"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A world in December 2015, in which hanako has a Juki card."""
    program = new_world(tmp_path_factory.mktemp("juki") / "w")
    program.run("clock", "stand", DECEMBER)
    program.run("card", "juki", "hanako")
    return program.world


@pytest.fixture
def program(made: Path, tmp_path: Path) -> Program:
    return InProcessProgram(Path(shutil.copytree(made, tmp_path / "w")))


def rows(program: Program, who: str = "hanako") -> list[tuple[str, str, str, str | None]]:
    shown = program.json("ca", "show", who)
    return [(row["kind"], row["medium"], row["state"], row["reason"]) for row in shown]


def test_a_juki_card_has_a_signature_certificate_of_three_years(program: Program, tmp_path: Path) -> None:
    assert rows(program) == [("signature", "juki", "good", None)]
    contents, about = read_image(program.world / "cards" / "hanako-juki.card")
    assert (about["model"], about["expiry"]) == ("juki card", "20251130")
    assert about["signature password"] == "ABC123"
    der = tmp_path / "certificate.der"
    der.write_bytes(unfilled(contents[jpki.AID].data[jpki.SIGNATURE_CERTIFICATE]))
    text = run("openssl", "x509", "-inform", "DER", "-in", str(der), "-noout", "-text")
    assert "Not Before: Dec  1 01:00:00 2015 GMT" in text
    assert "Not After : Nov 30 14:59:59 2018 GMT" in text
    assert f"Policy: {EMULATED.policy_arc}.1.10" in text
    assert "OU = JPKI for digital signature" in text


@pytest.mark.parametrize(
    ("options", "code", "status"),
    [
        (("hanako", "--issued", "2015-10-19"), "juki-card-refused", 1),
        (("hanako", "--issued", "2015-12-02"), "usage", 2),
        (("hanako", "--issued", "yesterday"), "usage", 2),
        (("hanako", "--password", "abc"), "usage", 2),
        (("hanako", "--name", "hanako-juki"), "card-exists", 2),
        (("nobody",), "no-such-resident", 2),
    ],
)
def test_what_was_never_issued_is_refused(program: Program, options: tuple[str, ...], code: str, status: int) -> None:
    name = () if "--name" in options else ("--name", "another")
    program.error(code, status, "card", "juki", *options, *name)
    assert not (program.world / "cards" / "another.card").exists()


@pytest.mark.long
def test_the_last_day_of_issue(program: Program) -> None:
    program.run("clock", "stand", "2015-12-22T23:00+09:00")
    program.run("card", "juki", "taro")
    program.run("clock", "stand", "2015-12-23T00:00+09:00")
    assert "2015-12-22" in program.error("juki-card-refused", 1, "card", "juki", "taro", "--name", "second")
    program.run("card", "juki", "taro", "--name", "second", "--issued", "2015-12-22")


def test_the_new_card_ends_the_old_one(program: Program) -> None:
    program.run("card", "juki", "taro")
    program.run("card", "new", "hanako")
    assert rows(program, "taro") == [("signature", "juki", "good", None)]
    assert sorted(rows(program)) == [
        ("authentication", "card", "good", None),
        ("signature", "card", "good", None),
        ("signature", "juki", "revoked", "cessationOfOperation"),
    ]
    refused = ("card", "juki", "hanako", "--name", "again", "--issued", "2015-12-01")
    assert "Individual Number Card" in program.error("juki-card-refused", 1, *refused)


def test_a_move_ends_the_certificate(program: Program) -> None:
    program.run("registry", "event", "move-within", "hanako", "--street", "架空町9")
    assert rows(program) == [("signature", "juki", "revoked", "affiliationChanged")]


@pytest.mark.long
def test_an_order_with_a_date_in_another_year(tmp_path: Path) -> None:
    program = new_world(tmp_path / "w")
    program.run("card", "juki", "hanako", "--issued", "2015-12-01")
    assert rows(program) == [("signature", "juki", "expired", None)]


def test_services_of_the_individual_number_card_refuse_it(program: Program) -> None:
    assert "wrong-kind" in program.error("not-entitled", 1, "mykey", "register", "hanako")
    program.run("card", "ordinance", "add", "13113", "library", "--from", "2016-01-01")
    load = ("card", "application", "add", "hanako-juki", "library", "--set", "member-number=1")
    program.error("no-such-card", 2, *load)


@pytest.mark.long
@pytest.mark.crash
def test_a_killed_issue_is_continued_with_one_key_and_one_certificate(tmp_path: Path, keys: SharedKeySource) -> None:
    prepared = new_institutions(tmp_path / "prepared", keys)
    clock_of(prepared.world).stand(instant_of(DECEMBER))
    prepared.resident("hanako")
    prepared.settle()
    prepared.world.close()

    def issue(home: Path) -> None:
        make_juki_card(Institutions(open_world(home, keys=keys)), "old", "hanako")

    for moment in range(1, 60):
        home = Path(shutil.copytree(tmp_path / "prepared", tmp_path / f"at{moment}"))
        killed = killed_at(moment, partial(issue, home))
        town = Institutions(open_world(home, keys=keys))
        town.cards.resume()  # as the running instance does, which tidies up after cases of its own
        if killed and not image_path(town.world, "old").exists():
            make_juki_card(town, "old", "hanako")
        (issued,) = town.authorities[SIGNATURE].of_holder(town.registry.find("hanako").code)
        contents, about = read_image(image_path(town.world, "old"))
        assert unfilled(contents[jpki.AID].data[jpki.SIGNATURE_CERTIFICATE]) == issued.certificate
        assert about["card number"] == issued.medium_id
        town.world.close()
        if not killed:
            break
    assert not killed
    assert moment > 5


def test_a_person_under_15_years_gets_none(tmp_path: Path, keys: SharedKeySource) -> None:
    town, issued = new_institutions(tmp_path / "w", keys), instant_of(DECEMBER)
    for birth, allowed in ((BirthDate(2000, 12, 3), False), (BirthDate(2000, 12, 2), True)):
        resident = replace(town.resident("hanako"), birth=birth)
        with nullcontext() if allowed else pytest.raises(JukiCardRejected, match="15"):
            issue_juki_card(town.world, town.authorities, resident, "young", issued, "ABC123")


# Sites


@dataclass
class JukiCardHolder(Holder):
    """A holder who signs with the key on a card."""

    contents: Any
    key_file: int = jpki.SIGNATURE_KEY
    certificate_file: int = jpki.SIGNATURE_CERTIFICATE

    def signed(self, kind: CertificateType, message: bytes) -> Signed:
        key = serialization.load_der_private_key(
            self.contents.keys[self.key_file], None, unsafe_skip_rsa_key_validation=True
        )
        assert isinstance(key, rsa.RSAPrivateKey)
        certificate = unfilled(self.contents.data[self.certificate_file])
        return Signed(key.sign(message, padding.PKCS1v15(), hashes.SHA256()), certificate)


@dataclass
class Sites:
    town: Institutions
    verifier: Verifier

    def holder(self, card: str, kind: CertificateType = SIGNATURE) -> JukiCardHolder:
        contents = read_image(image_path(self.town.world, card))[0][jpki.AID]
        if kind is SIGNATURE:
            return JukiCardHolder(contents)
        return JukiCardHolder(contents, jpki.AUTHENTICATION_KEY, jpki.AUTHENTICATION_CERTIFICATE)

    def portal(self) -> Browser:
        def desk(kind: CertificateType) -> Any:
            authority = self.town.authorities[kind]
            return lambda serial: PortalCode(sha256(authority.find(serial).holder.encode()).digest()[:16])

        world = self.town.world
        portal = Portal(
            world, InterfaceSystem(world, INTERFACE_NAME), desk(AUTHENTICATION), lambda _: [], NoLinkage(),
            juki_card_desk=desk(SIGNATURE),
        )  # fmt: skip
        runner: Any = SimpleNamespace(call=None)
        pages = PortalPages(world, portal, self.verifier, runner, SITE, AGENT)
        return Browser(pages.application(), SITE)

    def library(self) -> Browser:
        platform = Platform(self.town.world, NoLinkage())
        return Browser(SampleSite(self.town.world, self.verifier, platform, SITE, AGENT).application(), SITE)


@pytest.fixture
def sites(tmp_path: Path, keys: SharedKeySource) -> Sites:
    town = new_institutions(tmp_path / "w", keys)
    clock_of(town.world).stand(instant_of(DECEMBER))
    make_juki_card(town, "hanako-juki", "hanako")
    make_juki_card(town, "taro-juki", "taro")
    town.settle()
    tree = town.world.publication
    return Sites(town, Verifier(AnchorsInDirectory(tree / "ca"), [lists_in(tree)], town.world.clock))


def entered(browser: Browser, holder: Holder, purpose: str) -> str:
    """The last page of a login: the home page, or why nobody was logged in."""
    _, onward = holder.answer(browser, browser.post(f"/begin/{purpose}").headers["location"])
    page = browser.get(onward)
    return browser.get("/").text if page.status_code == 303 else page.text


def folders(town: Institutions) -> list[int]:
    store = town.world.directory / "stores" / "portal.sqlite"
    output = run("sqlite3", str(store), "SELECT folder FROM juki_card_serial UNION ALL SELECT folder FROM serial")
    return [int(line) for line in output.split()]


def test_the_portal_takes_a_juki_card_and_later_finds_the_same_folder(sites: Sites) -> None:
    """Slide (1) on the portal: the authentication certificate, or the signature certificate of the Juki card."""
    assert 'action="/logout"' in entered(sites.portal(), sites.holder("hanako-juki"), "juki-card")
    assert 'action="/logout"' in entered(sites.portal(), sites.holder("hanako-juki"), "juki-card")
    assert 'action="/logout"' in entered(sites.portal(), sites.holder("taro-juki"), "juki-card")
    assert len(folders(sites.town)) == len(set(folders(sites.town))) == 2
    sites.town.issue_card("hanako", "hanako")
    later(sites.town, days=1)
    assert "revoked" in entered(sites.portal(), sites.holder("hanako-juki"), "juki-card")
    assert 'action="/logout"' in entered(sites.portal(), sites.holder("hanako", AUTHENTICATION), "setup")
    assert len(folders(sites.town)) == 3
    assert len(set(folders(sites.town))) == 2, "the new card opens the folder that the Juki card began"


def test_the_portal_takes_no_other_signature_certificate(sites: Sites) -> None:
    sites.town.issue_card("hanako", "hanako")
    sites.town.settle()
    assert "[medium-not-accepted]" in entered(sites.portal(), sites.holder("hanako"), "juki-card")
    assert "wrong-kind" in entered(sites.portal(), sites.holder("taro-juki"), "setup")


def test_other_sites_refuse_a_juki_card_with_a_code(sites: Sites) -> None:
    assert "[medium-not-accepted]" in entered(sites.library(), sites.holder("hanako-juki"), "register")
    sites.town.issue_card("hanako", "hanako")
    sites.town.settle()
    assert 'action="/logout"' in entered(sites.library(), sites.holder("hanako"), "register")


def test_the_j_lis_office_gives_codes_for_signature_certificates_on_juki_cards_only(
    sites: Sites, monkeypatch: pytest.MonkeyPatch
) -> None:
    town = sites.town
    town.issue_card("hanako", "hanako")
    core: Any = SimpleNamespace(post=lambda path, body: (200, f'{{"code": "{body["record_code"]}"}}'))
    monkeypatch.setattr(j_lis_office, "peer_of", lambda _: SimpleNamespace(unit=INTERFACE, name=INTERFACE_NAME))
    office = Browser(j_lis_office.application(town, core), SITE)

    def asked(who: str, kind: CertificateType, medium: Medium) -> httpx.Response:
        code = town.registry.find(who).code
        (serial,) = (one.serial for one in town.authorities[kind].of_holder(code) if one.medium is medium)
        return office.post("/v1/code", json={"serial": f"0x{serial_text(serial)}", "kind": kind.code})

    assert asked("taro", SIGNATURE, Medium.JUKI).json() == {"code": town.registry.find("taro").code}
    assert asked("hanako", AUTHENTICATION, Medium.CARD).json() == {"code": town.registry.find("hanako").code}
    assert asked("hanako", SIGNATURE, Medium.CARD).status_code == 404
    assert office.post("/v1/code", json={"serial": "1", "kind": "other"}).status_code == 400
