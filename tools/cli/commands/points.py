"""`kazashi points`: refund points, from the till through the point centre to the refund."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kazashi.tools.cli.commands.shared import (
    Reply,
    agent_option,
    new_world_of,
    parsed_day,
    port_option,
    replies,
    services_option,
    table,
    world_of,
    write_bytes,
)
from kazashi.web.ports import CENTRE, REFUND_PORTAL

if TYPE_CHECKING:
    from kazashi.refund_points.refunds import Refunds
    from kazashi.refund_points.till import Receipt

_CENTRE = click.option("--centre", default=CENTRE.address, show_default=True, metavar="URL",
                       help="The point centre's address (kazashi points centre).")  # fmt: skip
_READER = click.option("--reader", metavar="NAME",
                       help="The till's reader, or the beginning of its name (default: any).")  # fmt: skip
_GOODS = click.option("--goods", type=click.Path(dir_okay=False, exists=True, path_type=Path), metavar="FILE",
                      help="Your own goods: CSV with code,name,price,category.")  # fmt: skip
_FILE = click.Path(dir_okay=False, allow_dash=True, path_type=Path)


@click.group()
def points() -> None:
    """Run tills, the point centre and refunds.

    Refund points (還付ポイント) are earned at a till, kept at the point centre, and refunded to the person's own bank
    account.
    """


@points.command("policies")
@replies
def points_policies() -> Reply:
    """Show the policies for the code of a card.

    A policy says which code a till reads from a card, and who learns what by it.
    """
    from dataclasses import asdict

    from kazashi.refund_points.codes import POLICIES

    exposures = {name: asdict(policy.exposure) for name, policy in POLICIES.items()}
    words = "\n\n".join(
        "\n".join([name, *(f"  {actor.replace('_', ' '):14} {learns}" for actor, learns in exposure.items())])
        for name, exposure in exposures.items()
    )
    return Reply(exposures, words)


@points.command("enrol")
@click.argument("shop")
@click.argument("till")
@click.option("--policy", metavar="NAME", help="The code that tills read; cannot be changed (kazashi points policies).")
@click.option("--detail", type=click.Choice(["amount", "lines"]),
              help="What tills report of a purchase; cannot be changed.")  # fmt: skip
@click.option("--anew", is_flag=True, help="Install the till again on an empty disk; the old disk is put aside.")
@click.pass_context
def points_enrol(
    context: click.Context, shop: str, till: str, policy: str | None, detail: str | None, anew: bool
) -> None:  # fmt: skip
    """Enrol a till of a shop.

    TILL gets its own key, and a certificate from the point centre.
    """
    from kazashi.assembly.points import enrol_till, put_aside
    from kazashi.refund_points.enrolment import Detail

    world = new_world_of(context)
    if anew:
        put_aside(world, shop, till)
    enrolled = enrol_till(world, shop, till, policy=policy, detail=Detail(detail) if detail else None)
    click.echo(f"{enrolled.name}: policy {enrolled.enrolment.policy}, detail {enrolled.enrolment.detail.value}")


@points.command("tills")
@replies
@click.pass_context
def points_tills(context: click.Context) -> Reply:
    """Show the enrolled tills and their queues."""
    from kazashi.assembly.points import tills_here
    from kazashi.assembly.points_server import centre_of

    world = world_of(context)
    by_till = {till.name: till.states() for till in tills_here(world)}
    rows: list[dict[str, Any]] = []
    for entry in centre_of(world).tills():
        states = by_till.get(entry.name, {})
        rows.append({"till": entry.name, "state": entry.state, **{state.value: n for state, n in states.items()}})
    shown = [{"till": "", "state": "", "waiting": "", "acknowledged": "", "refused": "", "damaged": "", **row}
             for row in rows]  # fmt: skip
    return Reply(rows, table(shown, "no till is enrolled yet; enrol one with: kazashi points enrol rice-shop till-1"))


@points.command("revoke")
@click.argument("till")
@click.pass_context
def points_revoke(context: click.Context, till: str) -> None:
    """Revoke a till.

    The point centre then refuses everything that the till signs. TILL is SHOP/TILL/INSTALLATION.
    """
    from kazashi.assembly.points_server import centre_of

    centre_of(world_of(context)).revoke_till(till)
    click.echo(f"{till} is revoked")


@points.command("centre")
@port_option(CENTRE)
@click.option("--workers", type=click.IntRange(1, 64), default=1, show_default=True,
              help="Processes on one port and one database; more than one needs PostgreSQL.")  # fmt: skip
@click.pass_context
def points_centre(context: click.Context, port: int, workers: int) -> None:
    """Serve the point centre over HTTPS.

    Tills connect to it with their certificates.
    """
    from kazashi.assembly.points_server import run

    click.echo(f"The point centre is at https://{CENTRE.host}:{port}", err=True)
    run(world_of(context), port, workers)


@points.command("portal")
@port_option(REFUND_PORTAL)
@agent_option
@services_option
@click.pass_context
def points_portal(context: click.Context, port: int, agent: str, services: str) -> None:
    """Serve the refund portal.

    It shows points by year, refund applications, and their status.
    """
    from kazashi.assembly.actors import REFUND_PORTAL as ACTOR
    from kazashi.assembly.points_server import centre_of
    from kazashi.assembly.relying import over_http
    from kazashi.assembly.served import serve_application
    from kazashi.refund_points.portal import RefundPortal
    from kazashi.refund_points.refunds import Refunds

    world = world_of(context)
    verifier, linkage = over_http(world, services, ACTOR.caller)
    origin = f"http://localhost:{port}"
    click.echo(f"The refund portal is at {origin}", err=True)
    portal = RefundPortal(world, Refunds(centre_of(world)), verifier, linkage, origin, agent)
    serve_application(portal.application(), port)


@points.command("till")
@click.argument("shop")
@click.argument("till")
@_CENTRE
@services_option
@_READER
@_GOODS
@click.option("--printer", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
              help="Print receipts to this device, or append them to this file.")  # fmt: skip
@click.pass_context
def points_till(
    context: click.Context, shop: str, till: str, centre: str, services: str, reader: str | None, goods: Path | None,
    printer: Path | None,
) -> None:  # fmt: skip
    """Run a till in full-screen mode.

    Type or scan goods, press F2, and hold the card over the reader.
    """
    import sys

    from kazashi.assembly.errors import UsageError
    from kazashi.assembly.points import open_till, register_reader, shelf_of
    from kazashi.refund_points.centre_http import HttpsTransport
    from kazashi.refund_points.terminal import Terminal

    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UsageError("the till needs a terminal; in a script, use: kazashi points sell")
    world = world_of(context)
    opened = open_till(world, shop, till)
    read_card = register_reader(world, services, reader)

    def printed(text: str) -> None:
        if printer is not None:
            with printer.open("a", encoding="utf-8") as file:
                file.write(text + "\n")

    Terminal(opened, read_card, HttpsTransport.of(opened, centre), shelf_of(goods), printed).run()


@points.command("sell")
@click.argument("shop")
@click.argument("till")
@click.argument("goods_codes", nargs=-1, required=True, metavar="[N*]CODE...")
@click.option("--no-card", is_flag=True, help="Sell without a card, which the buyer has forgotten.")
@services_option
@_READER
@_GOODS
@replies
@click.pass_context
def points_sell(
    context: click.Context, shop: str, till: str, goods_codes: tuple[str, ...], no_card: bool, services: str,
    reader: str | None, goods: Path | None,
) -> Reply:  # fmt: skip
    """Sell goods at a till.

    The buyer is the holder of the card in the reader.
    """
    from kazashi.assembly.points import basket_of, open_till, register_reader
    from kazashi.relying_party.login.card_reader import CardMissing

    world = world_of(context)
    opened, basket = open_till(world, shop, till), basket_of(goods_codes, goods)
    card = None if no_card else register_reader(world, services, reader)()
    if card is None and not no_card:
        raise CardMissing("there is no individual number card in the reader; insert one, or use --no-card")
    return _receipt(opened.sell(basket, card))


@points.command("later")
@click.argument("shop")
@click.argument("till")
@click.argument("receipt")
@services_option
@_READER
@replies
@click.pass_context
def points_later(
    context: click.Context, shop: str, till: str, receipt: str, services: str, reader: str | None
) -> Reply:
    """Give the points of an earlier receipt.

    The buyer had forgotten the card at the purchase of RECEIPT, and it is now in the reader.
    """
    from kazashi.assembly.points import open_till, register_reader
    from kazashi.relying_party.login.card_reader import CardMissing

    world = world_of(context)
    opened = open_till(world, shop, till)
    card = register_reader(world, services, reader)()
    if card is None:
        raise CardMissing("there is no individual number card in the reader; insert one")
    return _receipt(opened.show_later(receipt, card))


@points.command("return")
@click.argument("shop")
@click.argument("till")
@click.argument("receipt")
@click.argument("places", nargs=-1, type=int, required=True, metavar="LINE...")
@replies
@click.pass_context
def points_return(context: click.Context, shop: str, till: str, receipt: str, places: tuple[int, ...]) -> Reply:
    """Take goods back, and cancel their points.

    LINEs of RECEIPT are counted from 1.
    """
    from kazashi.assembly.points import open_till

    return _receipt(open_till(world_of(context), shop, till).take_back(receipt, places))


@points.command("send")
@click.argument("shop")
@click.argument("till")
@_CENTRE
@replies
@click.pass_context
def points_send(context: click.Context, shop: str, till: str, centre: str) -> Reply:
    """Send a till's queue to the point centre.

    The exit status is 1 if the centre refuses a record.
    """
    from dataclasses import asdict

    from kazashi.assembly.points import open_till
    from kazashi.refund_points.centre_http import HttpsTransport
    from kazashi.refund_points.sender import send_waiting

    opened = open_till(world_of(context), shop, till)
    sent = send_waiting(opened, HttpsTransport.of(opened, centre))
    return Reply(asdict(sent), f"{sent.acknowledged} acknowledged, {sent.refused} refused", 1 if sent.refused else 0)


@points.command("balance")
@replies
@click.pass_context
def points_balance(context: click.Context) -> Reply:
    """Compare all tills' disks with the ledger.

    Every point must be in the ledger exactly once, or be listed as waiting or refused. The exit status is 1 if a point
    is neither.
    """
    from kazashi.assembly.points import tills_here
    from kazashi.assembly.points_server import centre_of
    from kazashi.studies.points_balance import balance

    world = world_of(context)
    result = balance(centre_of(world), tills_here(world))
    return Reply(result.as_dict(), result.in_words(), 0 if result.good else 1)


@points.command("ledger")
@replies
@click.pass_context
def points_ledger(context: click.Context) -> Reply:
    """Show the accounts with their points.

    Each row has the account's code, the year, and the points.
    """
    from kazashi.assembly.points_server import centre_of

    rows = [{"code": code, "year": year, "points": n} for code, year, n in centre_of(world_of(context)).accounts()]
    return Reply(rows, table(rows, "there are no points yet"))


@points.command("refused")
@replies
@click.pass_context
def points_refused(context: click.Context) -> Reply:
    """Show what the centre has refused, and why.

    With --json, the refused records are included.
    """
    from kazashi.assembly.points_server import centre_of

    rows = [{**row, "body": row["body"].decode(errors="replace")} for row in centre_of(world_of(context)).refused()]
    shown = [{name: row[name] for name in ("till", "reason", "words")} for row in rows]
    return Reply(rows, table(shown, "no record was refused"))


@points.command("close-year")
@click.argument("year", type=int)
@click.pass_context
def points_close_year(context: click.Context, year: int) -> None:
    """Close a past year.

    Records that arrive after that count for the year in which they arrive.
    """
    from kazashi.assembly.errors import UsageError
    from kazashi.assembly.points_server import centre_of

    try:
        centre_of(world_of(context)).close_year(year)
    except ValueError as error:
        raise UsageError(str(error)) from error
    click.echo(f"{year} is closed")


@points.command("people")
@replies
@click.pass_context
def points_people(context: click.Context) -> Reply:
    """Show the people registered at the portal.

    Each row has the refundable amount and the refund applications.
    """
    refunds = _refunds(context)
    rows = [
        {"person": person, "name": name, "household": household,
         "refundable": sum(year.refundable for year in refunds.years(person)),
         "applications": ", ".join(f"{application.number}: {application.yen} yen, {application.state.value}"
                                   for application in refunds.applications(person))}
        for person, name, household in refunds.people()
    ]  # fmt: skip
    return Reply(rows, table(rows, "nobody has registered yet"))


@points.command("pool")
@click.argument("person")
@click.argument("with_person")
@click.pass_context
def points_pool(context: click.Context, person: str, with_person: str) -> None:
    """Merge the households of two people.

    From then on they share one refund limit (see: kazashi points people).
    """
    _refunds(context).pool(person, with_person)
    click.echo(f"{person} and {with_person} are one household")


@points.command("pay")
@click.option("--again", type=int, metavar="NUMBER", help="Write this file again, if it did not reach the bank.")
@click.option("--out", type=_FILE, required=True, metavar="FILE", help="The file to write, - for stdout.")
@click.pass_context
def points_pay(context: click.Context, again: int | None, out: Path) -> None:
    """Write the payment file for the bank.

    The file (Zengin format) has all refund applications that are not in an earlier file.
    """
    refunds = _refunds(context)
    if str(out) != "-":
        # Fail before the applications are recorded as sent. Only the owner may read the file: it has account numbers.
        out.touch(mode=0o600)
    file = refunds.payment_file() if again is None else refunds.again(again)
    write_bytes(file.content, out, "the payment file")
    click.echo(f"file {file.number}: {file.payments} payments", err=True)


@points.command("settle")
@click.argument("number", type=int)
@click.option("--paid/--returned", required=True, help="The bank's result.")
@click.pass_context
def points_settle(context: click.Context, number: int, paid: bool) -> None:
    """Record the bank's result for an application.

    NUMBER is the refund application's.
    """
    application = _refunds(context).settle(number, paid=paid)
    click.echo(f"application {number}: {application.yen} yen {application.state.value}")


@points.command("exposure")
@click.argument("receipt")
@replies
@click.pass_context
def points_exposure(context: click.Context, receipt: str) -> Reply:
    """Show who knows what of one receipt.

    RECEIPT is SHOP/TILL/INSTALLATION/NUMBER. Each actor's stores are read: what it has about the purchase, and which
    handles of the person whose card was shown.
    """
    from kazashi.studies.points_exposure import exposure

    by_actor = exposure(world_of(context), receipt)
    parts = []
    for actor, known in by_actor.items():
        lines = [f"{name}: {value}" for name, value in known.items() if name != "handles"]
        lines += ["{handle} ({form}): {place}, {rows} rows".format(**one) for one in known.get("handles", ())]
        parts.append("\n  ".join([actor, *(lines or ["nothing"])]))
    return Reply(by_actor, "\n\n".join(parts))


@points.command("simulate")
@click.option("--shops", type=click.IntRange(1, 10_000), default=30, show_default=True, help="The number of shops.")
@click.option("--customers", type=click.IntRange(1, 10_000_000), default=1000, show_default=True,
              help="The number of customers.")  # fmt: skip
@click.option("--day", is_flag=False, flag_value="2026-11-24", default="2026-11-24", metavar="[DATE]",
              help="The day to simulate (default: 2026-11-24).")  # fmt: skip
@click.option("--keep", type=click.Path(file_okay=False, path_type=Path), metavar="DIRECTORY",
              help="Keep the world in this new directory.")  # fmt: skip
@click.option("--storage", default="", metavar="URL", help="postgresql://... for the centre (default: SQLite files).")
@click.option("--seed", default="points", show_default=True, help="The same seed gives the same day.")
@replies
def points_simulate(
    shops: int, customers: int, day: str, keep: Path | None, storage: str, seed: str
) -> Reply:  # fmt: skip
    """Simulate a town's day and check its balance.

    The day has rush hours, network failures, crashes, a power failure of the point centre, and a refund season. The
    exit status is 1 if a point is neither in the ledger exactly once nor listed as waiting or refused.
    """
    import tempfile

    from kazashi.assembly.errors import UsageError
    from kazashi.studies.points_day import simulate, steps
    from kazashi.tools.cli.commands.shared import progress
    from kazashi.world.home import open_world
    from kazashi.world.settings import Settings, check_no_secrets

    check_no_secrets(storage, "--storage", "put the password into ~/.pgpass or PGPASSWORD")
    when = parsed_day(day)
    if keep is not None and keep.exists() and any(keep.iterdir()):
        raise UsageError(f"{keep} is not empty; name a new directory")
    with tempfile.TemporaryDirectory(prefix="kazashi-") as directory:
        world = open_world(keep or Path(directory) / "world", settings=Settings(seed, storage))
        with progress("quarters of an hour", steps()) as shown:
            report = simulate(world, shops, customers, when, shown)
        world.close()
    return Reply(report.as_dict(), report.in_words(), 0 if report.balance.good else 1)


def _refunds(context: click.Context) -> Refunds:
    from kazashi.assembly.points_server import centre_of
    from kazashi.refund_points.refunds import Refunds

    return Refunds(centre_of(world_of(context)))


def _receipt(receipt: Receipt) -> Reply:
    from dataclasses import asdict

    from kazashi.refund_points.printing import receipt_text

    return Reply(asdict(receipt), receipt_text(receipt))
