"""The console in a browser, and who is turned away from it."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, expect, sync_playwright

from kazashi.applets import jpki
from kazashi.assembly.control_path import control_path
from kazashi.card.request import select, verify
from kazashi.reader_bridge import control
from kazashi.reader_bridge.vpcd import Exchange
from kazashi.tools.daemon.console.feed import KEPT, Feed
from kazashi.tools.daemon.console.view import vocabulary
from kazashi.world.home import open_world
from tests.cli.program import Program
from tests.polling import LIMIT
from tests.support import send

pytestmark = pytest.mark.browser

ARTEFACTS = Path(__file__).parent.parent.parent / "artefacts"
SELECT_JPKI = select(jpki.AID).hex()
RIGHT, WRONG = (verify(jpki.AUTHENTICATION_PIN, pin).hex() for pin in (b"1234", b"9999"))
GET_CHALLENGE = "0084000008"


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Program:
    program = Program(tmp_path_factory.mktemp("console") / "w")
    for resident in ("hanako", "taro"):
        program.run("card", "new", resident)
    return program


@pytest.fixture(scope="module")
def bench(program: Program) -> Iterator[dict[str, Any]]:
    yield program.json("up", "--detach", "--pcscd", "private")
    program.run("down")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser, bench: dict[str, Any]) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1400, "height": 1100}, locale="en-GB")
    page = context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda message: errors.append(message.text) if is_error(message) else None)
    page.goto(bench["console"])
    page.wait_for_selector("#people tr[data-who]")
    yield page
    assert errors == []
    context.close()


@pytest.fixture
def client(bench: dict[str, Any]) -> Iterator[httpx.Client]:
    """A client that has the key, and sends what a page of the console would."""
    with httpx.Client(base_url=origin(bench), headers={"Origin": origin(bench)}, trust_env=False) as client:
        assert client.get(bench["console"]).status_code == 303
        yield client


def is_error(message: ConsoleMessage) -> bool:
    """Whether the page complains; that the network says of a refusal that it was one does not count."""
    return message.type == "error" and "409" not in message.text


def origin(bench: dict[str, Any]) -> str:
    parts = urlsplit(bench["console"])
    return f"{parts.scheme}://{parts.netloc}"


def shot(page: Page, name: str) -> None:
    ARTEFACTS.mkdir(exist_ok=True)
    page.screenshot(path=ARTEFACTS / f"console-{name}.png", full_page=True)


def lies(page: Page, slot: int) -> Any:
    return page.locator(f"[data-slot='{slot}'] .lies")


def test_the_console_has_the_first_port_and_the_authorities_the_next(bench: dict[str, Any]) -> None:
    assert urlsplit(bench["services"]["http"]).port == (urlsplit(bench["console"]).port or 0) + 1


def test_a_card_is_dragged_chosen_swapped_and_removed(page: Page) -> None:
    expect(lies(page, 0)).to_contain_text("hanako")
    page.locator("[data-card=taro]").drag_to(page.locator("[data-slot='1']"))
    expect(lies(page, 1)).to_contain_text("太郎")
    page.locator("[data-at=remove-1]").click()
    expect(lies(page, 1)).to_contain_text("empty")
    page.locator("[data-card=taro]").click()
    page.locator("[data-at=insert-0]").click()
    expect(lies(page, 0)).to_contain_text("taro")
    page.locator("[data-at=pick-1]").select_option("hanako")
    page.locator("[data-at=insert-1]").click()
    expect(lies(page, 1)).to_contain_text("hanako")
    page.locator("[data-at=pick-0]").select_option("hanako")
    page.locator("[data-at=insert-0]").click()
    expect(lies(page, 0)).to_contain_text("hanako")
    expect(lies(page, 1)).to_contain_text("empty")
    shot(page, "readers")


def test_the_keyboard_is_enough(page: Page) -> None:
    page.locator("[data-card=taro]").focus()
    page.keyboard.press("Enter")
    expect(page.locator("[data-card=taro]")).to_be_focused()
    page.locator("[data-at=pick-1]").focus()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(lies(page, 1)).to_contain_text("taro")
    expect(page.locator("[data-at=insert-1]")).to_be_focused()
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    expect(lies(page, 1)).to_contain_text("empty")


def test_what_a_client_sends_is_seen_and_tries_go_down(page: Page, browser: Browser, bench: dict[str, Any]) -> None:
    reader = bench["slots"][0]["reader"]
    trace = page.locator("#trace")
    send(bench["pcscd"]["environment"], reader, SELECT_JPKI, WRONG)
    expect(trace).to_contain_text("VERIFY authentication PIN (0018) **** -> 63C2 2 retries left")
    expect(lies(page, 0)).to_contain_text("2/3")
    page.locator("#bytes").check()
    expect(trace).to_contain_text("> 0020009804********")
    expect(trace).not_to_contain_text("39393939")
    shot(page, "trace")
    send(bench["pcscd"]["environment"], reader, SELECT_JPKI, RIGHT)
    expect(lies(page, 0)).to_contain_text("3/3")
    page.locator("#pause").click()
    page.locator("#clear").click()
    other = browser.new_context(locale="en-GB").new_page()
    other.goto(bench["console"])
    other.wait_for_selector("#people tr[data-who]")
    send(bench["pcscd"]["environment"], reader, SELECT_JPKI, GET_CHALLENGE)
    expect(other.locator("#trace")).to_contain_text("GET CHALLENGE")
    assert page.locator("#trace li").count() == 0, "nothing is shown while it is paused"
    other.context.close()
    page.locator("#pause").click()
    send(bench["pcscd"]["environment"], reader, SELECT_JPKI)
    expect(trace).to_contain_text("SELECT application JPKI")


def test_somebody_moves_and_what_becomes_of_the_certificates(page: Page) -> None:
    page.locator("#clock-toggle").click()
    expect(page.locator("#stands")).to_have_text("stands")
    person = page.locator("[data-who=hanako]")
    person.get_by_role("button").click()
    page.select_option("#event select[name=event]", "move-within")
    page.locator("#event [name=street]").fill("架空町１丁目")
    page.get_by_role("button", name="Let it happen").click()
    signature = person.locator("td").nth(1)
    expect(signature.locator("b")).to_have_text("revoked")
    expect(signature).to_contain_text("OCSP says: good")
    expect(person).to_contain_text("架空町１丁目")
    before = page.locator("#now").inner_text()
    page.locator("[data-clock='15m']").click()
    expect(signature).to_contain_text("OCSP says: revoked")
    expect(person.locator("td").nth(2)).to_contain_text("good")
    assert page.locator("#now").inner_text() > before
    shot(page, "moved")


def test_what_the_registry_refuses_is_told(page: Page) -> None:
    page.locator("[data-who=taro]").get_by_role("button").click()
    page.select_option("#event select[name=event]", "immigration")
    page.locator("#event [name=municipality]").fill("13113")
    page.locator("#event [name=street]").fill("架空町１丁目")
    page.get_by_role("button", name="Let it happen").click()
    expect(page.locator("#said")).to_contain_text("[event-refused]")
    expect(page.locator("#said")).to_have_class("bad")


def test_a_card_is_made_and_shown(page: Page) -> None:
    page.locator("#new-card [name=resident]").fill("leap-day")
    page.locator("#new-card button").click()
    expect(page.locator("[data-card=leap-day]")).to_contain_text("閏")
    page.locator("#new-card button").click()
    expect(page.locator("#said")).to_contain_text("[card-exists]")


def test_it_speaks_japanese(page: Page, browser: Browser, bench: dict[str, Any]) -> None:
    page.locator("#language").click()
    expect(page.locator("#bench-title")).to_have_text("リーダー")
    expect(page.locator("html")).to_have_attribute("lang", "ja")
    expect(page.locator("[data-who=taro]")).to_contain_text("有効")
    page.locator("[data-who=taro]").get_by_role("button").click()
    expect(page.locator("#event select[name=event]")).to_contain_text("転居")
    shot(page, "japanese")
    page.locator("#language").click()
    expect(page.locator("#bench-title")).to_have_text("Readers")
    own = browser.new_context(locale="ja-JP")
    japanese = own.new_page()
    japanese.goto(bench["console"])
    expect(japanese.locator("#bench-title")).to_have_text("リーダー")
    own.close()


def test_two_consoles_at_once(page: Page, browser: Browser, bench: dict[str, Any]) -> None:
    other = browser.new_context(locale="en-GB").new_page()
    other.goto(bench["console"])
    page.locator("[data-card=taro]").drag_to(page.locator("[data-slot='1']"))
    expect(lies(other, 1)).to_contain_text("taro")
    other.locator("[data-at=remove-1]").click()
    expect(lies(page, 1)).to_contain_text("empty")
    other.context.close()


def test_a_slow_press_is_not_lost_when_the_page_is_drawn_anew(page: Page) -> None:
    page.locator("[data-at=pick-1]").select_option("taro")
    page.locator("[data-at=insert-1]").hover()
    page.mouse.down()
    for _ in range(2):  # once the state is asked for anew, what was told before is drawn
        with page.expect_response("**/state", timeout=LIMIT * 1000):
            pass
    page.mouse.up()
    expect(lies(page, 1)).to_contain_text("taro")
    page.locator("[data-at=remove-1]").click()
    expect(lies(page, 1)).to_contain_text("empty")


def test_two_that_act_at_once_get_one_answer_each_and_one_card(client: httpx.Client, bench: dict[str, Any]) -> None:
    answers: list[dict[str, Any]] = []

    def put() -> None:
        answers.append(client.post("/do", json={"do": "insert", "slot": 1, "card": "taro"}, timeout=LIMIT).json())

    threads = [threading.Thread(target=put) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [answer["ok"] for answer in answers] == [True] * 4
    slots = client.get("/state").json()["bench"]["slots"]
    assert [slot["card"] for slot in slots].count("taro") == 1
    assert client.post("/do", json={"do": "remove", "slot": 1}).json()["ok"]
    refused = client.post("/do", json={"do": "remove", "slot": 1})
    assert (refused.status_code, refused.json()["error"]) == (409, "no-such-slot")


@pytest.mark.parametrize(
    "asked",
    [{"do": "nothing"}, {}, {"do": "insert"}, {"do": "event", "who": "taro", "event": "lapse", "fields": {"why": "x"}},
     {"do": "clock", "clock": "5000d"}, {"do": "clock", "clock": "soon"}, {"do": "new-card", "resident": "../x"},
     {"do": "event", "who": "nobody", "event": "death"}, {"do": "event", "who": "taro", "event": "no such thing"}],
)  # fmt: skip
def test_what_makes_no_sense_is_refused_in_words(client: httpx.Client, asked: dict[str, Any]) -> None:
    answer = client.post("/do", json=asked)
    assert answer.status_code == 409
    assert answer.json()["message"]


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"x"', b"\xff", b"{}" + b" " * 70_000])
def test_what_is_no_request_is_refused(client: httpx.Client, body: bytes) -> None:
    assert client.post("/do", content=body).status_code == 400


def test_nobody_enters_without_the_key(bench: dict[str, Any]) -> None:
    own = {"Origin": origin(bench)}
    with httpx.Client(base_url=origin(bench), trust_env=False) as stranger:
        for path in ("/", "/state", "/trace", "/console.js", "/events", "/?key=", "/?key=0", "/?key=%F0"):
            answer = stranger.get(path)
            assert answer.status_code == 401, path
            assert "kazashi status" in answer.text
        assert stranger.post("/do", json={"do": "remove", "slot": 0}, headers=own).status_code == 401


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:{port}", "127.0.0.1", "127.0.0.1:1", "", "localhost.evil:{port}"]
)
def test_another_name_for_this_machine_is_turned_away(client: httpx.Client, bench: dict[str, Any], host: str) -> None:
    """DNS rebinding: the browser takes a stranger's name for this machine and would send his page's requests."""
    named = host.format(port=urlsplit(bench["console"]).port)
    assert client.get("/state", headers={"Host": named}).status_code in (400, 421)
    assert client.get(bench["console"], headers={"Host": named}).status_code in (400, 421)


@pytest.mark.parametrize(
    "foreign", ["https://evil.example", "null", "", "http://127.0.0.1:1", "https://127.0.0.1:{port}"]
)
def test_a_page_of_another_origin_may_not_act(client: httpx.Client, bench: dict[str, Any], foreign: str) -> None:
    named = foreign.format(port=urlsplit(bench["console"]).port)
    answer = client.post("/do", json={"do": "remove", "slot": 0}, headers={"Origin": named})
    assert answer.status_code == 403
    assert client.get("/state").json()["bench"]["slots"][0]["card"] == "hanako"


def test_a_browser_that_is_sent_there_by_another_site_carries_no_cookie(page: Page, bench: dict[str, Any]) -> None:
    (cookie,) = page.context.cookies()
    assert (cookie["sameSite"], cookie["httpOnly"]) == ("Strict", True)
    assert page.url.rstrip("/") == origin(bench), "the key does not stay in the address"
    answer = page.request.get(origin(bench))
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert answer.headers["x-frame-options"] == "DENY"


def test_the_key_is_no_argument_that_others_can_read(bench: dict[str, Any]) -> None:
    key = bench["console"].partition("key=")[2]
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            assert key.encode() not in process.read_bytes()
        except OSError:
            continue


def test_a_page_that_cannot_keep_up_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from kazashi.assembly.traces import Followed

    exchange = Exchange(0.0, 0.0, bytes.fromhex(SELECT_JPKI), b"\x90\x00")
    told = threading.Event()

    def flood(*_: object, **__: object) -> Iterator[list[Followed]]:
        for _round in range(10):
            yield [Followed(0, "Flooded", exchange)] * KEPT
        told.set()
        threading.Event().wait(20)

    monkeypatch.setattr("kazashi.tools.daemon.console.feed.follow", flood)
    feed = Feed(open_world(tmp_path / "w"))
    assert told.wait(20)
    lines, count, left_out = feed.since(0, 400)
    assert (len(lines), count, left_out) == (400, 10 * KEPT, 10 * KEPT - 400)
    assert len(feed.since(0, 10 * KEPT)[0]) == KEPT
    assert feed.since(count, 400) == ([], count, 0)


def test_every_event_has_a_japanese_name_but_two_that_the_law_has_none_for() -> None:
    assert [kind["word"] for kind in vocabulary() if not kind["japanese"]] == ["theft", "found"]


def test_a_service_that_has_died_is_shown_as_dead(client: httpx.Client, bench: dict[str, Any]) -> None:
    assert {one["service"]: one["ok"] for one in client.get("/state").json()["services"]} == {
        "pcscd": True, "authorities": True,
    }  # fmt: skip
    port = urlsplit(bench["services"]["http"]).port
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            arguments = process.read_bytes()
        except OSError:
            continue
        if b"kazashi.pki.serve" in arguments and f"--port\0{port}".encode() in arguments:
            os.kill(int(process.parent.name), signal.SIGKILL)
    deadline = time.monotonic() + 10
    while client.get("/state").json()["services"][1]["ok"]:
        assert time.monotonic() < deadline


def test_the_console_ends_and_the_bench_goes_on(program: Program, bench: dict[str, Any]) -> None:
    """Last in this file: it takes the console away."""
    world = open_world(program.world)
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            arguments = process.read_bytes()
        except OSError:
            continue
        if b"kazashi.tools.daemon.console.serve" in arguments and str(program.world).encode() in arguments:
            os.kill(int(process.parent.name), signal.SIGKILL)
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            httpx.get(origin(bench), trust_env=False)
        except httpx.HTTPError:
            break
    else:
        raise AssertionError("the console lives on")
    assert control.request(control_path(world), "status")["slots"][0]["card"] == "hanako"
    assert send(bench["pcscd"]["environment"], bench["slots"][0]["reader"], SELECT_JPKI) == ["9000"]
