"""A clinic's desk with a real reader, as processes: the page in a browser, PIN and PIN-less, and what goes wrong."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Page

from kazashi.assembly.cards import make_juki_card
from kazashi.assembly.institutions import Institutions
from kazashi.medical_insurance.clinic import Clinic
from kazashi.medical_insurance.joint_body import INTERFACE, NAME
from kazashi.provision_network.message_http import SYSTEM
from kazashi.reader_bridge.pcscd import RunningPcscd
from kazashi.web.mutual_tls import Credentials, JsonConnection, client
from kazashi.world.key_source import SharedKeySource
from tests.medical_insurance.insured_town import CLINIC, INSURER, OTHER, PIN, copied
from tests.medical_insurance.running_desk import WAIT, RunningDesk, running_desk
from tests.polling import until
from tests.town import new_institutions

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def desk(
    prepared: Path, pcscd: RunningPcscd, keys: SharedKeySource, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningDesk]:
    with running_desk(copied(prepared, tmp_path_factory.mktemp("desk") / "w"), pcscd, keys) as running:
        town = running.town
        town.feed(town.line("hanako", number="06-1"), town.line("taro", number="06-2"))
        yield running


def page_of(desk: RunningDesk, locale: str) -> Page:
    """The desk's page in a browser of that language."""
    page = desk.browser.new_context(locale=locale).new_page()
    page.goto(desk.page)
    return page


def with_pin(page: Page, pin: str = PIN) -> str:
    """Check with the PIN, and return the state that the page shows."""
    page.fill("#pin", pin)
    page.click("#check-pin")
    return str(page.get_attribute("#result", "data-state"))


def test_a_patient_registers_and_is_checked_with_the_pin_and_without_it(desk: RunningDesk) -> None:
    """In a browser, in both languages, with the card in a real reader; each check is a record that the person sees."""
    desk.put("hanako")
    page = page_of(desk, "en-GB")
    assert page.locator("html").get_attribute("lang") == "en"
    loaded: list[str] = []
    page.on("request", lambda request: loaded.append(request.url))
    assert with_pin(page) == "not-registered"
    assert "not registered as an insurance card" in page.inner_text("#result")
    page.fill("fieldset:has(#register) input[name=pin]", PIN)
    page.click("#register")
    assert page.get_attribute("#result", "data-state") == "valid"
    assert [page.inner_text(f"#{name}") for name in ("insurer", "insured-number", "validity")] == [
        INSURER, "06-1", "from 2026-04-01",
    ]  # fmt: skip
    page.click("#check-face")
    assert "Tick the box" in page.inner_text("#result")
    assert "no face recognition here" in page.inner_text("main")
    page.check("#compared")
    page.click("#check-face")
    assert page.get_attribute("#result", "data-state") == "valid"
    page.click("#language")
    assert page.locator("html").get_attribute("lang") == "ja"
    assert with_pin(page) == "valid"
    assert page.inner_text("#result") == "有効な保険資格があります。"
    assert page.inner_text("#validity") == "2026-04-01から"
    assert {url.removeprefix(desk.page).partition("?")[0] for url in loaded} == {"/", "/check"}, (
        "nothing from elsewhere"
    )
    until(lambda: [(one.requester, one.provider) for one in desk.town.records("hanako")] == [(NAME, INSURER)] * 3,
          "a record of each check")  # fmt: skip
    assert all(record.provided_at is not None for record in desk.town.records("hanako"))


def test_the_browser_s_language_decides_until_the_user_does(desk: RunningDesk) -> None:
    assert page_of(desk, "ja-JP").inner_text("h1") == "保険資格の確認"
    for accepted, english in (("fr, en;q=0.5, ja;q=0.4", True), ("de", False), ("", False), ("en;q=0, ja", False),
                              ("en;q=x, ja;q=0.1", False)):  # fmt: skip
        page = httpx.get(desk.page, headers={"Accept-Language": accepted}).text
        assert ("Insurance check" if english else "保険資格の確認") in page


def test_what_is_wrong_with_the_card_is_said_in_a_sentence(desk: RunningDesk) -> None:
    desk.clear()
    with ThreadPoolExecutor(1) as other:
        older = other.submit(desk.state_of, how="face", compared="yes")
        time.sleep(WAIT / 4)
        assert (desk.post(how="pin", pin=PIN), desk.sentence) == (
            "no-card", "No card was found. Put it on the reader, and try again."
        )  # fmt: skip
        assert older.result()[0] == "busy", "a check that waits for a card gives way to a newer one"
    desk.put("hanako")
    desk.put("taro", slot=1)
    assert desk.post(how="pin", pin=PIN) == "two-cards"
    desk.host.remove(desk.host.slots[0])
    assert desk.post(how="pin", pin="12") == "pin-malformed"
    for left in ("2", "1"):
        assert desk.post(how="pin", pin="9999") == "pin-wrong"
        assert desk.sentence.endswith(f"{left}.")
    assert desk.post(how="pin", pin="9999") == "pin-blocked"
    assert "ロックされています" in (desk.post("ja", how="pin", pin=PIN), desk.sentence)[1]
    assert desk.post(how="face", compared="yes") == "not-registered", "the terminal needs no PIN"
    assert desk.post(how="face") == ""
    desk.clear()


def test_a_juki_card_and_a_card_of_another_world_are_told_apart(
    desk: RunningDesk, keys: SharedKeySource, tmp_path: Path
) -> None:
    with closing(new_institutions(tmp_path / "other", keys).world) as other:
        desk.images["other"] = Institutions(other).issue_card("other", "hanako")
    desk.put("other")
    assert desk.post(how="pin", pin=PIN) == "card-rejected"
    assert desk.post(how="face", compared="yes") == "terminal-refused"
    desk.images["juki"] = make_juki_card(desk.town.institutions, "juki", "rare-kanji", "2015-11-02")
    desk.put("juki")
    assert desk.post(how="pin", pin=PIN) == "no-certificate"
    desk.clear()


def test_a_form_of_another_page_or_host_is_refused(desk: RunningDesk) -> None:
    form = {"how": "face", "compared": "yes"}
    other = desk.page.replace("localhost", "127.0.0.1")
    for address, headers in (
        (desk.page, {}), (desk.page, {"Origin": "http://shop.example"}), (other, {"Origin": other}),
        (desk.page, {"Origin": desk.page, "Sec-Fetch-Dest": "iframe"}),
    ):  # fmt: skip
        assert httpx.post(f"{address}/check", data=form, headers=headers).status_code == 400


def file_to(desk: RunningDesk, credentials: Credentials, content: bytes) -> tuple[int, dict[str, object]]:
    """Hand a file in over HTTPS."""
    with client(credentials, desk.joint_body) as connection:
        response = connection.post("/v1/feeds", content=content)
    return response.status_code, response.json()


def test_insurers_hand_files_in_over_https_and_strangers_do_not(desk: RunningDesk) -> None:
    town, core = desk.town, desk.town.network.core
    system, fingerprint = core.systems.issue(INSURER)
    content = town.file(town.line("hanako", "CHANGED", "06-1", town.line("hanako").begins))
    status, receipt = file_to(desk, system, content)
    assert (status, receipt["changed"], receipt["again"]) == (200, 1, False)
    assert file_to(desk, system, content)[1]["again"] is True
    for broken, denial in ((content[:-4], "feed-truncated"), (content.replace(b"T,0,1,0", b"T,0,2,0"), "feed-counts")):
        status, error = file_to(desk, system, broken)
        assert (status, error["denial"]) == (422, denial)
    known, before = town.joint.people(), len(town.joint.feeds())
    pension, clinic = core.credentials("日本年金機構", SYSTEM), Clinic.load(desk.folder).credentials
    other, _ = core.systems.issue(OTHER)
    core.systems.remove(fingerprint.fingerprint)
    until(lambda: file_to(desk, system, content)[0] == 403, "the certificate was removed")
    for credentials, expected in ((pension, (403, "not-entitled")), (clinic, (403, "not-entitled")),
                                  (other, (422, "feed-another-insurer"))):  # fmt: skip
        status, error = file_to(desk, credentials, content)
        assert (status, error["denial"]) == expected
    strangers = {(event.insurer, event.refused) for event in town.joint.feeds()[before:]}
    assert strangers == {
        (OTHER, "feed-another-insurer"), *((name, "not-entitled") for name in (INSURER, "日本年金機構", CLINIC)),
    }  # fmt: skip
    assert town.joint.people() == known


def test_only_a_clinic_s_certificate_checks_cards(desk: RunningDesk) -> None:
    stranger = desk.town.network.core.credentials(CLINIC, "clinic")  # of another authority, with the same name and unit
    clinics, name = desk.town.insurance.clinics, "閉じた医院"
    issued = clinics.add(name)
    closed = Credentials(issued.certificate, issued.key, stranger.authority)
    clinics.remove(name)
    for credentials in (stranger, closed):
        connection = JsonConnection(credentials, desk.joint_body)
        status, content = connection.post("/v1/challenge", {})
        connection.close()
        assert (status, json.loads(content)["denial"]) == (403, "not-entitled")
    good = JsonConnection(Clinic.load(desk.folder).credentials, desk.joint_body)
    assert good.post("/v1/challenge", {})[0] == 200
    bodies: list[object] = [
        {},
        {"how": "magic"},
        {"how": "pin", "nonce": "x", "signature": "", "certificate": ""},
        [],
        1,
    ]
    for body in bodies:
        assert good.post("/v1/check", body)[0] == 400
    good.close()


def test_a_network_or_joint_body_that_does_not_respond_is_not_a_valid_insurance(desk: RunningDesk) -> None:
    """The last test of this module: nothing is started again."""
    desk.town.register("hanako")
    desk.put("hanako")
    assert desk.post(how="pin", pin=PIN) == "valid"
    desk.parts[INTERFACE].kill()
    assert desk.post(how="pin", pin=PIN) == "no-answer"
    desk.parts["joint"].kill()
    assert desk.post(how="pin", pin=PIN) == "joint-body-unreachable"
    assert "not confirmed" in desk.sentence
