"""The demo steps with refund points: a till, a point centre that fails and comes back, and a refund."""

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

_BASKET = Basket(
    (ReceiptLine(CATALOGUE["rice"], 5), ReceiptLine(CATALOGUE["tea"], 2), ReceiptLine(CATALOGUE["beer"], 6))
)
_ACCOUNT = {"bank": "0005", "branch": "001", "number": "1234567", "holder": "バンゴウ ハナコ"}


@dataclass
class Shop:
    """A till, the point centre and its server process, and the receipt of the first sale."""

    till: Till
    centre: Centre
    process: ServedProcess
    receipt: Receipt | None = None

    def send(self) -> int:
        """Send the till's queue. Returns how many records the centre has acknowledged. Raises CentreUnreachable."""
        transport = HttpsTransport.of(self.till, f"https://localhost:{self.process.port}")
        try:
            return send_waiting(self.till, transport).acknowledged
        finally:
            transport.close()


def open_shop(context: DemoContext) -> str:
    """Enrol a till and start the point centre."""
    world = context.institutions.world
    till = enrol_till(world, "rice-shop", "till-1")
    context.shop = Shop(till, centre_of(world), serve_centre(world))
    context.ending.append(lambda: _shop(context).process.stop())
    return f"{till.name} has its own key and a TLS certificate from the centre; its policy is {till.enrolment.policy}"


def shop(context: DemoContext) -> str:
    """Sell a basket to the holder of the card. Raises StepFailed."""
    shop = _shop(context)
    shop.receipt = _sell(context, shop)
    acknowledged = shop.send()
    if shop.receipt.points is None or acknowledged != 1:
        raise StepFailed(
            f"the receipt has {shop.receipt.points} points; the centre acknowledged {acknowledged} records"
        )
    return f"¥{shop.receipt.total:,}, but no points for beer: {shop.receipt.points} points, without a PIN"


def cut_off(context: DemoContext) -> str:
    """Kill the point centre, and go on selling. Raises StepFailed."""
    shop = _shop(context)
    shop.process.kill()
    receipts = [_sell(context, shop) for _ in range(3)]
    try:
        shop.send()
    except CentreUnreachable:
        waiting = shop.till.states()[RecordState.WAITING]
        if waiting == len(receipts):
            return f"the centre is down; {waiting} more sales are signed and queued on the till's disk"
    raise StepFailed(f"a stopped centre has responded, or records are lost: {shop.till.states()}")


def recover(context: DemoContext) -> str:
    """Start the point centre again, and send the queue to it. Raises StepFailed."""
    shop = _shop(context)
    shop.process = serve_centre(context.institutions.world, shop.process.port)
    acknowledged, repeated = shop.send(), shop.send()
    result = balance(shop.centre, [shop.till])
    if not result.good or result.waiting or repeated:
        raise StepFailed(result.in_words())
    return f"{acknowledged} records sent; {result.granted} points granted, each exactly once in the ledger"


def refund(context: DemoContext) -> str:
    """Register at the refund portal, apply for a refund, and have it paid. Raises StepFailed."""
    assert context.services is not None
    shop, visit = _shop(context), visit_of(context)
    world = context.institutions.world
    options = ("--services", str(context.services.status["http"]), "--agent", visit.agent)
    portal = serve(context.directory, "points portal", *options, world=world.directory)
    context.ending.append(portal.stop)
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
        raise StepFailed(f"{shown} were refundable, {paid} yen were paid: {page.inner_text('main')}")
    return f"¥{paid:,} to the resident's own account, in a payment file of {len(file.content)} bytes"


def who_knows(context: DemoContext) -> str:
    """Read from each actor's stores what it knows of the first basket. Raises StepFailed."""
    receipt = _shop(context).receipt
    assert receipt is not None
    by_actor = exposure(context.institutions.world, receipt.name)
    actors = [actor for actor, known in by_actor.items() if known.keys() - {"handles"}]
    if len(actors) != 5:
        raise StepFailed(f"not five actors know something of the basket: {actors}")
    others = sum(bool(known) for known in by_actor.values()) - len(actors)
    return (
        f"{', '.join(actors)} each know a part of one basket; {others} others have a handle of the person:"
        " kazashi points exposure shows which"
    )


def _sell(context: DemoContext, shop: Shop) -> Receipt:
    assert context.services is not None
    card = register_reader(context.institutions.world, str(context.services.status["http"]), context.reader)()
    if card is None:
        raise StepFailed("there is no card in the till's reader")
    return shop.till.sell(_BASKET, card)


def _shop(context: DemoContext) -> Shop:
    assert isinstance(context.shop, Shop)
    return context.shop


POINTS_STEPS = [
    ("enrol a till with the point centre", open_shop),
    ("hold the card over the till's reader", shop),
    ("stop the point centre", cut_off),
    ("restart the point centre", recover),
    ("refund the points", refund),
    ("show who knows what of a basket", who_knows),
]
