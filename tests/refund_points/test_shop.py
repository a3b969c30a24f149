"""From the register to the refund, end to end: a terminal in tmux, a card in a reader, the centre as a process, and the
portal in a browser."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from playwright.sync_api import Page

from kazashi.assembly.points import open_till
from kazashi.jpki.profile import CertificateType
from kazashi.jpki.state import Reason
from kazashi.reader_bridge.pcscd import RunningPcscd
from kazashi.refund_points.goods import points_of
from kazashi.refund_points.till import RecordState
from kazashi.studies.points_balance import balance
from kazashi.world.key_source import SharedKeySource
from tests.polling import LIMIT
from tests.refund_points.running_shop import SHOP, TILL, RunningShop, log_in, program, running_shop
from tests.terminal import Screen
from tests.town import certificates, clock_of, new_institutions

pytestmark = pytest.mark.browser

PIN, PASSWORD = "1234", "ABC123"
ARTEFACTS = Path(__file__).parent.parent.parent / "artefacts"


@pytest.fixture(scope="module")
def everything(
    pcscd: RunningPcscd, keys: SharedKeySource, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningShop]:
    institutions = new_institutions(tmp_path_factory.mktemp("points") / "w", keys)
    with running_shop(institutions, pcscd) as shop:
        yield shop
    institutions.world.close()


@pytest.fixture
def shop(everything: RunningShop) -> Iterator[RunningShop]:
    everything.clear()
    yield everything
    everything.clear()


@pytest.fixture
def screen(shop: RunningShop, tmp_path: Path) -> Iterator[Screen]:
    printer = shop.world.run / "printed"
    printer.unlink(missing_ok=True)
    command = program(shop.world, "points", "till", SHOP, TILL, "--centre", shop.centre_address, "--services",
                      shop.services, "--printer", str(printer))  # fmt: skip
    screen = Screen(tmp_path / "tmux", *command)
    screen.until("Shelf", "online, 0 waiting")
    yield screen
    screen.close()


@pytest.fixture
def page(shop: RunningShop) -> Iterator[Page]:
    context = shop.browser.new_context()
    context.set_default_timeout(LIMIT * 1000)
    yield context.new_page()
    context.close()


def kazashi(shop: RunningShop, *arguments: str, expect: int = 0) -> str:
    """Run a command, and return its standard output and standard error."""
    command = program(shop.world, *arguments)
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=2 * LIMIT)
    assert done.returncode == expect, done.stdout + done.stderr
    return done.stdout + done.stderr


def send_all(shop: RunningShop) -> None:
    """Send all waiting records to the centre."""
    kazashi(shop, "points", "send", SHOP, TILL, "--centre", shop.centre_address)


def receipt_on(shown: str) -> str:
    """Return the name of the receipt on the screen."""
    match = re.search(rf"{SHOP}/{TILL}/\d+/\d+", shown)
    assert match is not None, shown
    return match[0]


# The terminal


def test_a_sale_at_the_terminal(shop: RunningShop, screen: Screen) -> None:
    screen.type("lunch")
    screen.type("2*tea")
    screen.type("beer")
    screen.until("¥1,408", "Points 21")
    screen.keys("F2")
    screen.until("Hold the card")
    shop.tap()
    shown = screen.until("還付ポイント Points", "next customer")
    assert "* お茶 500ml x2" in shown
    (shop.world.run / "screen.txt").write_text(shown, encoding="utf-8")
    printed = (shop.world.run / "printed").read_text(encoding="utf-8")
    assert "¥1,408" in printed
    screen.until("online, 0 waiting")
    (record,) = (record for _, _, record in shop.till.records() if record.receipt in printed)
    assert (record.eligible, record.points, record.unchecked) == (1_180, 21, False)
    assert shop.centre.taken(record.till)[record.number] == 21
    # The card is still on the reader: it is not taken for the next customer's, unless somebody confirms it.
    screen.type("tea")
    screen.keys("F2")
    screen.until("still the last customer's card")
    screen.keys("Space")
    screen.until("next customer")
    # It is not taken for the customer's after that either, when somebody pays without a card in between.
    screen.type("milk")
    screen.keys("F2")
    screen.until("still the last customer's card")
    screen.keys("F2")
    screen.until("next customer", "-----")
    screen.type("milk")
    screen.keys("F2")
    screen.until("still the last customer's card")
    screen.keys("Escape")


def test_a_forgotten_card_and_returned_goods(shop: RunningShop, screen: Screen) -> None:
    screen.type("lunch")
    screen.type("milk")
    screen.keys("F2")
    screen.until("Hold the card")
    screen.keys("Enter")  # a scanner sends this after the code; the dialog ignores it
    screen.keys("F2")
    shown = screen.until("show it later")
    receipt = receipt_on(shown)
    screen.keys("F3")
    screen.type(receipt.rpartition("/")[2])
    screen.until("Hold the card", receipt)
    screen.keys("F2")  # ignored: the dialog needs a card
    shop.tap()
    screen.until("next customer", f"{points_of(880 + 237)}  ")
    screen.keys("F4")
    screen.type(f"{receipt} 1")
    screen.until(f"return of {receipt}", str(points_of(237) - points_of(880 + 237)))
    screen.keys("F4")
    screen.type(f"{receipt} 1")
    screen.until("was already returned")
    screen.keys("F3")
    screen.type("999")
    screen.until("Hold the card")
    screen.until("the last customer's card")
    screen.keys("Space")
    screen.until("has not printed a receipt")


def test_invalid_input_is_explained_and_nothing_is_sold(shop: RunningShop, screen: Screen) -> None:
    before = len(shop.till.records())
    for typed, message in (("nonsense", "code 'nonsense'"), ("[/x]", "code '[/x]'"), ("x*tea", "'x' is not a quantity"),
                           ("-3*tea", "not -3"), ("99999999*rice", "not 99999999"), ("9999*rice", "not 21597840"),
                           ("later", "write: later"), ("soap", "Total ¥330"),
                           ("return 1 x", "write: later")):  # fmt: skip
        screen.type(typed)
        screen.until(message)
        screen.keys("F6")
    screen.keys("F2")
    screen.until("1 to 1000 lines")
    screen.type("tea")
    screen.keys("F2")
    screen.until("Hold the card")
    screen.keys("Escape")
    screen.until("Points 2")
    assert len(shop.till.records()) == before


def test_two_cards_and_a_revoked_card_give_no_points(shop: RunningShop, screen: Screen) -> None:
    taro = shop.institutions.issue_card("taro", "taro")
    revocations = shop.institutions.revocations[CertificateType.AUTHENTICATION]
    revocations.revoke(
        certificates(shop.institutions, "taro", CertificateType.AUTHENTICATION)[-1].serial, Reason.SUPERSEDED
    )
    shop.institutions.advance(shop.world.clock.now() + timedelta(days=1))
    screen.keys("F10")
    screen.close()
    command = program(shop.world, "points", "till", SHOP, TILL, "--centre", shop.centre_address, "--services",
                      shop.services)  # fmt: skip
    again = Screen(shop.world.run / "tmux", *command)
    try:
        again.until("Shelf")
        again.type("tea")
        shop.tap()
        shop.tap(taro, 1)
        again.keys("F2")
        again.until("several cards")
        shop.host.remove(shop.host.slots[0])
        again.until("its certificate is revoked")
        shop.clear()
        shop.tap()
        again.until("next customer")
    finally:
        again.close()


def test_the_till_sells_without_the_centre(shop: RunningShop, screen: Screen) -> None:
    shop.cut()
    try:
        for _ in range(3):
            screen.type("milk")
            screen.keys("F2")
            screen.until("Hold the card")
            if not shop.host.slots[0].occupied:
                shop.tap()
            else:
                screen.until("the last customer's card")
                screen.keys("Space")
            screen.until("next customer")
        screen.until("OFFLINE, 3 waiting")
        assert shop.till.states()[RecordState.WAITING] == 3
    finally:
        shop.mend()
    screen.until("online, 0 waiting")
    assert balance(shop.centre, [shop.till]).good


def test_a_killed_terminal_loses_nothing(shop: RunningShop, screen: Screen) -> None:
    shop.cut()
    try:
        screen.type("rice")
        screen.keys("F2")
        screen.until("Hold the card")
        shop.tap()
        shown = screen.until("next customer")
        screen.close()
        receipt = receipt_on(shown)
        assert open_till(shop.world, SHOP, TILL).receipt(receipt).points == points_of(2_160)
    finally:
        shop.mend()
    send_all(shop)
    assert balance(shop.centre, [shop.till]).good


# The command line


def test_selling_from_a_script(shop: RunningShop) -> None:
    options = ("--services", shop.services)
    shop.tap()
    sold = json.loads(kazashi(shop, "points", "sell", SHOP, TILL, "lunch", "2*tea", *options, "--json"))
    assert sold["points"] == 21
    shop.clear()
    assert "no-card-at-hand" in kazashi(shop, "points", "sell", SHOP, TILL, "lunch", *options, expect=3)
    assert "basket-refused" in kazashi(shop, "points", "sell", SHOP, TILL, "nonsense", *options, expect=2)
    later = json.loads(kazashi(shop, "points", "sell", SHOP, TILL, "milk", "--no-card", "--json"))["name"]
    shop.tap()
    assert json.loads(kazashi(shop, "points", "later", SHOP, TILL, later, *options, "--json"))["points"] == 4
    assert "sale-refused" in kazashi(shop, "points", "later", SHOP, TILL, later, *options, expect=1)
    assert json.loads(kazashi(shop, "points", "return", SHOP, TILL, sold["name"], "1", "--json"))["points"] == -16
    report = json.loads(kazashi(shop, "points", "balance", "--json"))
    assert report["good"]
    assert len(report["waiting"]) == 3
    assert "3 acknowledged" in kazashi(shop, "points", "send", SHOP, TILL, "--centre", shop.centre_address)
    assert json.loads(kazashi(shop, "points", "balance", "--json"))["waiting"] == []
    assert "usage" in kazashi(shop, "points", "till", SHOP, TILL, expect=2)
    assert "usage" in kazashi(shop, "points", "sell", SHOP, "till-7", "tea", "--no-card", expect=2)
    assert "usage" in kazashi(shop, "points", "enrol", SHOP, "../x", expect=2)
    assert "policy-settled" in kazashi(shop, "points", "enrol", SHOP, TILL, "--policy", "mykey", expect=2)
    assert "centre-unreachable" in kazashi(shop, "points", "send", SHOP, TILL, "--centre", "nonsense", expect=3)


# The portal


def test_refund_from_login_to_payment(shop: RunningShop, page: Page) -> None:
    shop.tap()
    for _ in range(4):
        kazashi(shop, "points", "sell", SHOP, TILL, "20*rice", "--services", shop.services)
    send_all(shop)
    page.goto(shop.portal)
    log_in(page, "#login", PIN)
    assert "not registered yet" in page.inner_text("[role=alert]")
    log_in(page, "#register", PASSWORD)
    points = sum(n for _, _, n in shop.centre.accounts())
    refundable = min(points, 4_000)
    assert page.inner_text("#refundable") == f"{refundable:,} 円"
    assert page.locator("#chart rect title").all_text_contents()[0].startswith("還付できる")
    ARTEFACTS.mkdir(exist_ok=True)
    page.screenshot(path=ARTEFACTS / "refund-portal.png", full_page=True)
    page.click("text=Log out")
    log_in(page, "#login", PIN)
    for name, value in (("bank", "0005"), ("branch", "001"), ("number", "1234567"), ("holder", "バンゴウ ハナコ")):
        page.fill(f"[name={name}]", value)
    page.fill("[name=name]", "番号　太郎")
    page.click("#apply")
    assert "the account holder is 番号　太郎" in page.inner_text("[role=alert]")
    assert page.input_value("[name=number]") == "1234567", "the form keeps its values"
    page.fill("[name=name]", "番号 花子")
    page.fill("[name=bank]", "5")
    page.click("#apply")
    assert "the bank must have 4 digits" in page.inner_text("[role=alert]")
    page.fill("[name=bank]", "0005")
    page.click("#apply")
    page.wait_for_selector("#applications")
    assert "applied for" in page.inner_text("#applications")
    assert page.inner_text("#refundable") == "0 円"
    page.reload()
    assert page.locator("#applications tr").count() == 2, "reloading the page does not apply again"

    out = shop.world.run / "zengin.txt"
    kazashi(shop, "points", "pay", "--out", str(out))
    lines = out.read_bytes().split(b"\r\n")
    assert [len(line) for line in lines[:4]] == [120] * 4
    assert "ﾊﾞﾝｺﾞｳ ﾊﾅｺ".encode("shift_jis") in lines[1]
    assert int(lines[1][80:90]) == refundable
    assert out.stat().st_mode & 0o777 == 0o600
    assert "refund-refused" in kazashi(shop, "points", "pay", "--out", str(out), expect=1)
    kazashi(shop, "points", "pay", "--again", "1", "--out", str(out))
    assert out.read_bytes().split(b"\r\n") == lines
    page.reload()
    assert "with the bank" in page.inner_text("#applications")
    kazashi(shop, "points", "settle", "1", "--paid")
    assert "refund-refused" in kazashi(shop, "points", "settle", "1", "--paid", expect=1)
    page.reload()
    assert "還付済み" in page.inner_text("#applications")
    people = json.loads(kazashi(shop, "points", "people", "--json"))
    assert [one["name"] for one in people] == ["番号　花子"]
    assert "refund-refused" in kazashi(shop, "points", "pool", people[0]["person"], "nobody", expect=1)


def test_an_application_needs_a_login(shop: RunningShop, page: Page) -> None:
    for origin in ("http://localhost:1", shop.portal):
        response = page.request.post(f"{shop.portal}/apply", form={"year": "2026"}, headers={"Origin": origin})
        assert response.status == 403
        assert ("form is not from this site" in response.text()) is (origin != shop.portal)
    assert page.request.get(f"{shop.portal}/end/nonsense").status == 400


def test_a_session_ends_after_half_an_hour(shop: RunningShop, page: Page) -> None:
    shop.tap()
    page.goto(shop.portal)
    log_in(page, "#login", PIN)
    page.wait_for_selector("#refundable")
    clock_of(shop.world).stand(clock_of(shop.world).now() + timedelta(minutes=31))
    page.reload()
    assert page.query_selector("#refundable") is None
    assert page.query_selector("#login") is not None


def test_exposure_shows_what_each_party_knows(shop: RunningShop) -> None:
    receipt = next(r for _, _, r in shop.till.records() if r.eligible == 20 * 2_160).receipt
    exposure = json.loads(kazashi(shop, "points", "exposure", receipt, "--json"))
    serial = certificates(shop.institutions, "hanako", CertificateType.AUTHENTICATION)[-1].serial
    assert exposure["the shop"]["the card's code"] == f"{serial:X}"
    assert exposure["the shop"]["goods"] == "お米 5kg"
    assert exposure["the centre"]["account code"] == f"{serial:X}"
    assert exposure["the centre"]["lines"] == "not kept"
    assert exposure["the refund portal"]["name"] == "番号　花子"
    assert "0005-001-1234567" in exposure["the refund portal"]["bank accounts"]
    assert f"{serial:X}" in exposure["the platform operator"]["serial numbers"]
    assert "refund-portal" in exposure["the authority (J-LIS)"]["asked by"]
    assert exposure["the information provision network's core"] == {}
    assert "sale-refused" in kazashi(shop, "points", "exposure", f"{SHOP}/{TILL}/1/9999", expect=1)
    assert "usage" in kazashi(shop, "points", "exposure", "9999", expect=2)


def test_points_stay_with_a_renewed_and_a_replaced_card(shop: RunningShop, page: Page) -> None:
    institutions = shop.institutions
    clock_of(shop.world).stand(clock_of(shop.world).now().replace(year=2031, month=10, day=1))
    institutions.settle()
    assert CertificateType.AUTHENTICATION in institutions.cards.renew("hanako")
    institutions.settle()
    institutions.advance(shop.world.clock.now() + timedelta(days=1))
    shop.tap()
    kazashi(shop, "points", "sell", SHOP, TILL, "20*rice", "--services", shop.services)
    send_all(shop)
    page.goto(shop.portal)
    log_in(page, "#login", PIN)
    assert "還付済み" in page.inner_text("#applications")
    assert [row.split("\t")[0] for row in page.inner_text("#years tbody").splitlines()] == ["2031", "2026"]
    page.click("text=Log out")
    # The card is lost. The authority's linkage leads from the replacement to the person.
    shop.clear()
    institutions.happen("hanako", "loss-report", {})
    replacement = institutions.issue_card("hanako-2", "hanako")
    institutions.advance(shop.world.clock.now() + timedelta(days=1))
    shop.tap(replacement)
    page.goto(shop.portal)
    log_in(page, "#login", PIN)
    assert "還付済み" in page.inner_text("#applications")
    assert len(page.inner_text("#years tbody").splitlines()) == 2
