"""The console in a browser, and its access control."""

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
from PIL import Image
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
COLOUR_OF_THE_PHOTO = """image => {
  const canvas = document.createElement("canvas");
  canvas.width = image.naturalWidth; canvas.height = image.naturalHeight;
  const context = canvas.getContext("2d");
  context.drawImage(image, 0, 0);
  return [...context.getImageData(740, 400, 1, 1).data].slice(0, 3);
}"""


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Program:
    program = Program(tmp_path_factory.mktemp("console") / "w")
    for resident in ("hanako", "taro"):
        program.run("card", "new", resident)
    return program


@pytest.fixture(scope="module")
def instance(program: Program) -> Iterator[dict[str, Any]]:
    yield program.json("up", "--detach", "--pcscd", "private", "--reader", "Kazashi", "--reader", "Kazashi")
    program.run("down")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser, instance: dict[str, Any]) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1400, "height": 1100}, locale="en-GB")
    page = context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda message: errors.append(message.text) if is_error(message) else None)
    page.goto(instance["console"])
    page.wait_for_selector("#people tr[data-who]")
    yield page
    assert errors == []
    context.close()


@pytest.fixture
def client(instance: dict[str, Any]) -> Iterator[httpx.Client]:
    """An HTTP client that has the key and sends requests like a page of the console."""
    with httpx.Client(base_url=origin(instance), headers={"Origin": origin(instance)}, trust_env=False) as client:
        assert client.get(instance["console"]).status_code == 303
        yield client


def is_error(message: ConsoleMessage) -> bool:
    """Return whether a message is an error of the page. Chromium's message about a refused action (409) is not one."""
    return message.type == "error" and "409" not in message.text


def origin(instance: dict[str, Any]) -> str:
    parts = urlsplit(instance["console"])
    return f"{parts.scheme}://{parts.netloc}"


def shot(page: Page, name: str) -> None:
    ARTEFACTS.mkdir(exist_ok=True)
    page.screenshot(path=ARTEFACTS / f"console-{name}.png", full_page=True)


def card_in(page: Page, slot: int) -> Any:
    return page.locator(f"[data-slot='{slot}'] .lies")


def test_console_has_the_port_before_the_authorities(instance: dict[str, Any]) -> None:
    assert urlsplit(instance["services"]["http"]).port == (urlsplit(instance["console"]).port or 0) + 1


def test_cards_are_dragged_selected_swapped_and_removed(page: Page) -> None:
    expect(card_in(page, 0)).to_contain_text("hanako")
    page.locator("[data-card=taro]").drag_to(page.locator("[data-slot='1']"))
    expect(card_in(page, 1)).to_contain_text("太郎")
    page.locator("[data-at=remove-1]").click()
    expect(card_in(page, 1)).to_contain_text("empty")
    page.locator("[data-card=taro]").click()
    page.locator("[data-at=insert-0]").click()
    expect(card_in(page, 0)).to_contain_text("taro")
    page.locator("[data-at=pick-1]").select_option("hanako")
    page.locator("[data-at=insert-1]").click()
    expect(card_in(page, 1)).to_contain_text("hanako")
    page.locator("[data-at=pick-0]").select_option("hanako")
    page.locator("[data-at=insert-0]").click()
    expect(card_in(page, 0)).to_contain_text("hanako")
    expect(card_in(page, 1)).to_contain_text("empty")
    shot(page, "readers")


def test_console_can_be_used_by_keyboard(page: Page) -> None:
    page.locator("[data-card=taro]").focus()
    page.keyboard.press("Enter")
    expect(page.locator("[data-card=taro]")).to_be_focused()
    page.locator("[data-at=pick-1]").focus()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(card_in(page, 1)).to_contain_text("taro")
    expect(page.locator("[data-at=insert-1]")).to_be_focused()
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    expect(card_in(page, 1)).to_contain_text("empty")


def test_trace_and_retry_counter_follow_a_client(page: Page, browser: Browser, instance: dict[str, Any]) -> None:
    reader = instance["slots"][0]["reader"]
    trace = page.locator("#trace")
    send(instance["pcscd"]["environment"], reader, SELECT_JPKI, WRONG)
    expect(trace).to_contain_text("VERIFY authentication PIN (0018) **** -> 63C2 2 retries left")
    expect(card_in(page, 0)).to_contain_text("2/3")
    page.locator("#bytes").check()
    expect(trace).to_contain_text("> 0020009804********")
    expect(trace).to_contain_text("= the value is not the PIN (JICSAP 1.1, 6.4.9)")
    expect(trace).not_to_contain_text("39393939")
    shot(page, "trace")
    send(instance["pcscd"]["environment"], reader, SELECT_JPKI, RIGHT)
    expect(card_in(page, 0)).to_contain_text("3/3")
    page.locator("#pause").click()
    page.locator("#clear").click()
    other = browser.new_context(locale="en-GB").new_page()
    other.goto(instance["console"])
    other.wait_for_selector("#people tr[data-who]")
    send(instance["pcscd"]["environment"], reader, SELECT_JPKI, GET_CHALLENGE)
    expect(other.locator("#trace")).to_contain_text("GET CHALLENGE")
    assert page.locator("#trace li").count() == 0, "nothing is shown while the trace is paused"
    other.context.close()
    page.locator("#pause").click()
    send(instance["pcscd"]["environment"], reader, SELECT_JPKI)
    expect(trace).to_contain_text("SELECT application JPKI")


def test_move_revokes_the_signature_certificate(page: Page) -> None:
    page.locator("#clock-toggle").click()
    expect(page.locator("#stands")).to_have_text("stopped")
    person = page.locator("[data-who=hanako]")
    person.get_by_role("button").click()
    page.select_option("#event select[name=event]", "move-within")
    page.locator("#event [name=street]").fill("架空町１丁目")
    page.get_by_role("button", name="Record").click()
    signature = person.locator("td").nth(1)
    expect(signature.locator("b")).to_have_text("revoked")
    expect(signature).to_contain_text("OCSP: good")
    expect(person).to_contain_text("架空町１丁目")
    before = page.locator("#now").inner_text()
    page.locator("[data-clock='15m']").click()
    expect(signature).to_contain_text("OCSP: revoked")
    expect(person.locator("td").nth(2)).to_contain_text("good")
    assert page.locator("#now").inner_text() > before
    shot(page, "moved")


def test_refused_event_shows_an_error(page: Page) -> None:
    page.locator("[data-who=taro]").get_by_role("button").click()
    page.select_option("#event select[name=event]", "immigration")
    page.locator("#event [name=municipality]").fill("13113")
    page.locator("#event [name=street]").fill("架空町１丁目")
    page.get_by_role("button", name="Record").click()
    expect(page.locator("#said")).to_contain_text("[event-refused]")
    expect(page.locator("#said")).to_have_class("bad")


def test_card_is_issued_and_shown(page: Page) -> None:
    page.locator("#new-card [name=resident]").fill("leap-day")
    page.locator("#new-card button").click()
    expect(page.locator("[data-card=leap-day]")).to_contain_text("閏")
    page.locator("#new-card button").click()
    expect(page.locator("#said")).to_contain_text("[card-exists]")


def test_own_person_gets_a_card_with_their_photo(page: Page, program: Program, tmp_path: Path) -> None:
    Image.new("RGB", (600, 800), (200, 30, 30)).save(tmp_path / "me.png")
    (tmp_path / "no.png").write_bytes(b"no picture")
    page.locator("#own summary").click()
    form = page.locator("#new-person")
    for name, value in (("alias", "me"), ("family", "模擬"), ("given", "私"), ("birth", "1990-01-31"),
                        ("municipality", "28209"), ("street", "架空町1"), ("pin", "9876")):  # fmt: skip
        form.locator(f"[name={name}]").fill(value)
    form.locator("[name=photo]").set_input_files(tmp_path / "no.png")
    form.locator("button").click()
    expect(page.locator("#said")).to_contain_text("[bad-photo]")
    expect(page.locator("[data-who=me]")).to_have_count(0)
    form.locator("[name=photo]").set_input_files(tmp_path / "me.png")
    form.locator("button").click()
    expect(page.locator("[data-card=me]")).to_contain_text("模擬　私", timeout=LIMIT * 1000)
    expect(page.locator("[data-who=me]")).to_contain_text("兵庫県豊岡市架空町1")
    expect(page.locator("#said")).to_contain_text("half-width")
    assert program.json("card", "show", "me")["authentication PIN"] == "9876"
    page.locator("[data-card=me]").click()
    face = page.locator("#face img")
    expect(face).to_be_visible()
    red, green, blue = face.evaluate(COLOUR_OF_THE_PHOTO)
    assert red > 150 > 100 > max(green, blue), "the browser shows the photo at its place on the front"
    shot(page, "own-person")


def test_face_of_an_unknown_card_is_refused(client: httpx.Client) -> None:
    for name in ("nobody", "..%2Fx"):
        response = client.get(f"/face/{name}")
        assert response.status_code in (404, 409)


def test_console_switches_to_japanese(page: Page, browser: Browser, instance: dict[str, Any]) -> None:
    page.locator("#language").click()
    expect(page.locator("#instance-title")).to_have_text("リーダー")
    expect(page.locator("html")).to_have_attribute("lang", "ja")
    expect(page.locator("[data-who=taro]")).to_contain_text("有効")
    page.locator("[data-who=taro]").get_by_role("button").click()
    expect(page.locator("#event select[name=event]")).to_contain_text("転居")
    shot(page, "japanese")
    page.locator("#language").click()
    expect(page.locator("#instance-title")).to_have_text("Readers")
    own = browser.new_context(locale="ja-JP")
    japanese = own.new_page()
    japanese.goto(instance["console"])
    expect(japanese.locator("#instance-title")).to_have_text("リーダー")
    own.close()


def test_two_pages_show_the_same_state(page: Page, browser: Browser, instance: dict[str, Any]) -> None:
    other = browser.new_context(locale="en-GB").new_page()
    other.goto(instance["console"])
    page.locator("[data-card=taro]").drag_to(page.locator("[data-slot='1']"))
    expect(card_in(other, 1)).to_contain_text("taro")
    other.locator("[data-at=remove-1]").click()
    expect(card_in(page, 1)).to_contain_text("empty")
    other.context.close()


def test_slow_press_survives_a_redraw(page: Page) -> None:
    page.locator("[data-at=pick-1]").select_option("taro")
    page.locator("[data-at=insert-1]").hover()
    page.mouse.down()
    for _ in range(2):  # when the page requests the state again, it has drawn the previous one
        with page.expect_response("**/state", timeout=LIMIT * 1000):
            pass
    page.mouse.up()
    expect(card_in(page, 1)).to_contain_text("taro")
    page.locator("[data-at=remove-1]").click()
    expect(card_in(page, 1)).to_contain_text("empty")


def test_concurrent_inserts_all_succeed_with_one_card(client: httpx.Client, instance: dict[str, Any]) -> None:
    replies: list[dict[str, Any]] = []

    def put() -> None:
        replies.append(client.post("/do", json={"do": "insert", "slot": 1, "card": "taro"}, timeout=LIMIT).json())

    threads = [threading.Thread(target=put) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [reply["ok"] for reply in replies] == [True] * 4
    slots = client.get("/state").json()["instance"]["slots"]
    assert [slot["card"] for slot in slots].count("taro") == 1
    assert client.post("/do", json={"do": "remove", "slot": 1}).json()["ok"]
    refused = client.post("/do", json={"do": "remove", "slot": 1})
    assert (refused.status_code, refused.json()["error"]) == (409, "no-such-slot")


@pytest.mark.parametrize(
    "action",
    [{"do": "nothing"}, {}, {"do": "insert"}, {"do": "event", "who": "taro", "event": "lapse", "fields": {"why": "x"}},
     {"do": "clock", "clock": "5000d"}, {"do": "clock", "clock": "soon"}, {"do": "new-card", "resident": "../x"},
     {"do": "event", "who": "nobody", "event": "death"}, {"do": "event", "who": "taro", "event": "no such thing"}],
)  # fmt: skip
def test_invalid_action_is_refused_with_a_message(client: httpx.Client, action: dict[str, Any]) -> None:
    response = client.post("/do", json=action)
    assert response.status_code == 409
    assert response.json()["message"]


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b'"x"', b"\xff", b"[" * 60_000, b'{"do": "insert", "card": "hanako", "slot": "x"}',
     b'{"do": "event", "who": "hanako", "event": "move-out", "fields": [1]}', b'{"do": "clock", "clock": []}'],
)  # fmt: skip
def test_malformed_request_is_refused(client: httpx.Client, body: bytes) -> None:
    response = client.post("/do", content=body)
    assert response.status_code in (400, 409)
    assert response.json()["error"] in ("bad-request", "usage")


def test_large_request_is_refused(client: httpx.Client) -> None:
    assert client.post("/do", content=b"{}" + b" " * 15_000_000).status_code == 413


def test_access_needs_the_key(instance: dict[str, Any]) -> None:
    own = {"Origin": origin(instance)}
    with httpx.Client(base_url=origin(instance), trust_env=False) as stranger:
        for path in ("/", "/state", "/trace", "/console.js", "/events", "/?key=", "/?key=0", "/?key=%F0"):
            response = stranger.get(path)
            assert response.status_code == 401, path
            assert "kazashi status" in response.text
        assert stranger.post("/do", json={"do": "remove", "slot": 0}, headers=own).status_code == 401


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:{port}", "127.0.0.1", "127.0.0.1:1", "", "localhost.evil:{port}"]
)
def test_other_host_names_are_rejected(client: httpx.Client, instance: dict[str, Any], host: str) -> None:
    """With DNS rebinding, a browser resolves an attacker's host name to this machine and sends the attacker's
    requests to it."""
    named = host.format(port=urlsplit(instance["console"]).port)
    assert client.get("/state", headers={"Host": named}).status_code in (400, 421)
    assert client.get(instance["console"], headers={"Host": named}).status_code in (400, 421)


@pytest.mark.parametrize(
    "foreign", ["https://evil.example", "null", "", "http://127.0.0.1:1", "https://127.0.0.1:{port}"]
)
def test_other_origins_may_not_act(client: httpx.Client, instance: dict[str, Any], foreign: str) -> None:
    named = foreign.format(port=urlsplit(instance["console"]).port)
    response = client.post("/do", json={"do": "remove", "slot": 0}, headers={"Origin": named})
    assert response.status_code == 403
    assert client.get("/state").json()["instance"]["slots"][0]["card"] == "hanako"


def test_cookie_is_strict_and_key_leaves_the_address(page: Page, instance: dict[str, Any]) -> None:
    (cookie,) = page.context.cookies()
    assert (cookie["sameSite"], cookie["httpOnly"]) == ("Strict", True)
    assert page.url.rstrip("/") == origin(instance), "the key does not stay in the address"
    response = page.request.get(origin(instance))
    assert "default-src 'none'" in response.headers["content-security-policy"]
    assert response.headers["x-frame-options"] == "DENY"


def test_key_is_not_in_any_command_line(instance: dict[str, Any]) -> None:
    key = instance["console"].partition("key=")[2]
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            assert key.encode() not in process.read_bytes()
        except OSError:
            continue


def test_slow_page_is_told_how_many_lines_it_missed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from kazashi.assembly.traces import Followed

    exchange = Exchange(0.0, 0.0, bytes.fromhex(SELECT_JPKI), b"\x90\x00")
    flooded = threading.Event()

    def flood(*_: object, **__: object) -> Iterator[list[Followed]]:
        for _round in range(10):
            yield [Followed(0, "Flooded", exchange)] * KEPT
        flooded.set()
        threading.Event().wait(20)

    monkeypatch.setattr("kazashi.tools.daemon.console.feed.follow", flood)
    feed = Feed(open_world(tmp_path / "w"))
    assert flooded.wait(20)
    lines, count, left_out = feed.since(0, 400)
    assert (len(lines), count, left_out) == (400, 10 * KEPT, 10 * KEPT - 400)
    assert len(feed.since(0, 10 * KEPT)[0]) == KEPT
    assert feed.since(count, 400) == ([], count, 0)


def test_only_two_events_lack_a_japanese_name() -> None:
    assert [kind["word"] for kind in vocabulary() if not kind["japanese"]] == ["theft", "found"]


def test_dead_service_is_shown_as_down(client: httpx.Client, instance: dict[str, Any]) -> None:
    assert {row["service"]: row["ok"] for row in client.get("/state").json()["services"]} == {
        "pcscd": True, "authorities": True,
    }  # fmt: skip
    port = urlsplit(instance["services"]["http"]).port
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


def test_instance_survives_the_end_of_its_console(program: Program, instance: dict[str, Any]) -> None:
    """This test must be the last in this file, because it kills the console."""
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
            httpx.get(origin(instance), trust_env=False)
        except httpx.HTTPError:
            break
    else:
        raise AssertionError("the console is still running")
    assert control.request(control_path(world), "status")["slots"][0]["card"] == "hanako"
    assert send(instance["pcscd"]["environment"], instance["slots"][0]["reader"], SELECT_JPKI) == ["9000"]
