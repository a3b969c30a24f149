"""The part of the demonstration that goes shopping: a till, a centre that is cut off and comes back, and a refund."""

from __future__ import annotations

from dataclasses import dataclass

from kazashi.assembly.errors import StepFailed
from kazashi.assembly.points import enrol_till, register_reader, serve_centre
from kazashi.assembly.points_server import centre_of
from kazashi.assembly.served import ServedProcess, serve
from kazashi.refund_points.centre import Centre
from kazashi.refund_points.centre_http import HttpsTransport
from kazashi.refund_points.goods import CATALOGUE, Basket, ReceiptLine
from kazashi.refund_points.refunds import Refunds
from kazashi.refund_points.sender import CentreUnreachable, send_waiting
from kazashi.refund_points.till import Receipt, RecordState, Till
from kazashi.studies.points_balance import balance
from kazashi.studies.points_exposure import exposure
from kazashi.tools.demo.steps import PASSWORD, DemoContext
from kazashi.tools.demo.steps_login import through_agent, visit_of

_SUPPER = Basket(
    (ReceiptLine(CATALOGUE["rice"], 5), ReceiptLine(CATALOGUE["tea"], 2), ReceiptLine(CATALOGUE["beer"], 6))
)
_ACCOUNT = {"bank": "0005", "branch": "001", "number": "1234567", "holder": "バンゴウ ハナコ"}


@dataclass
class Shop:
    """The register and what stands behind it."""

    till: Till
    centre: Centre
    process: ServedProcess
    receipt: Receipt | None = None

    def bring(self) -> int:
        """Send what waits; answers how many records the centre has taken."""
        way = HttpsTransport.of(self.till, f"https://localhost:{self.process.port}")
        try:
            return send_waiting(self.till, way).acknowledged
        finally:
            way.close()


def open_shop(stage: DemoContext) -> str:
    """A till, a centre, and the portal."""
    world = stage.institutions.world
    till = enrol_till(world, "rice-shop", "till-1")
    stage.shop = Shop(till, centre_of(world), serve_centre(world))
    stage.ending.append(lambda: _shop(stage).process.stop())
    return f"{till.name} has a key of its own, and the centre's certificate for TLS; it reads {till.enrolment.policy}"


def shop(stage: DemoContext) -> str:
    """The card over the register."""
    shop = _shop(stage)
    shop.receipt = _sell(stage, shop)
    taken = shop.bring()
    if shop.receipt.points is None or taken != 1:
        raise StepFailed(f"the receipt says {shop.receipt.points} points, and the centre took {taken} records")
    return f"¥{shop.receipt.total:,}, of which beer earns nothing: {shop.receipt.points} points, and no PIN"


def cut_off(stage: DemoContext) -> str:
    """The centre loses its power, and the shop sells on."""
    shop = _shop(stage)
    shop.process.kill()
    receipts = [_sell(stage, shop) for _ in range(3)]
    try:
        shop.bring()
    except CentreUnreachable:
        waiting = shop.till.states()[RecordState.WAITING]
        if waiting == len(receipts):
            return f"the centre is gone; {waiting} more sales, signed and on the till's disk"
    raise StepFailed(f"a centre without power has answered, or records are gone: {shop.till.states()}")


def recover(stage: DemoContext) -> str:
    """It comes back."""
    shop = _shop(stage)
    shop.process = serve_centre(stage.institutions.world, shop.process.port)
    taken, again = shop.bring(), shop.bring()
    found = balance(shop.centre, [shop.till])
    if not found.good or found.waiting or again:
        raise StepFailed(found.in_words())
    return f"{taken} records brought; {found.granted} points granted, and each found once in the ledger"


def refund(stage: DemoContext) -> str:
    """At the portal: register, apply, and be paid."""
    assert stage.services is not None
    shop, visit = _shop(stage), visit_of(stage)
    world = stage.institutions.world
    options = ("--services", str(stage.services.status["http"]), "--agent", visit.agent)
    portal = serve(stage.directory, "points portal", *options, world=world.directory)
    stage.ending.append(portal.stop)
    page = visit.page
    page.goto(f"http://localhost:{portal.port}/")
    shown = through_agent(visit, "#register", PASSWORD, "#refundable")
    for name, value in _ACCOUNT.items():
        page.fill(f"[name={name}]", value)
    page.click("#apply")
    page.wait_for_selector("#applications")
    refunds = Refunds(shop.centre)
    file = refunds.payment_file()
    refunds.settle(1, paid=True)
    page.reload()
    with shop.centre.store.reading() as connection:
        paid = shop.centre.ledger.totals(connection)["paid"]
    if "還付済み" not in page.inner_text("#applications") or f"{paid:,} 円" != shown or file.payments != 1:
        raise StepFailed(f"{shown} could be refunded, {paid} were paid: {page.inner_text('main')}")
    return f"¥{paid:,} to the resident's own account, in a bank's file of {len(file.content)} bytes"


def who_knows(stage: DemoContext) -> str:
    """What each party has of the first basket."""
    receipt = _shop(stage).receipt
    assert receipt is not None
    found = exposure(stage.institutions.world, receipt.name)
    knowing = [who for who, what in found.items() if what]
    if len(knowing) != 5:
        raise StepFailed(f"of one basket know: {knowing}")
    return f"{', '.join(knowing)} each know a part of one basket; kazashi points exposure says which"


def _sell(stage: DemoContext, shop: Shop) -> Receipt:
    assert stage.services is not None
    card = register_reader(stage.institutions.world, str(stage.services.status["http"]), stage.reader)()
    if card is None:
        raise StepFailed("there is no card at the register")
    return shop.till.sell(_SUPPER, card)


def _shop(stage: DemoContext) -> Shop:
    assert isinstance(stage.shop, Shop)
    return stage.shop


AT_THE_SHOP = [
    ("a till is enrolled with the point centre", open_shop),
    ("the card is held over the register", shop),
    ("the centre is cut off", cut_off),
    ("the centre is back", recover),
    ("the points are refunded", refund),
    ("who knows what of it", who_knows),
]
