"""`kazashi points`: refund points, from the till over the centre to the refund."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kazashi.tools.cli.commands.shared import (
    Reply,
    agent_option,
    new_world_of,
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
                       help="Where the centre answers (kazashi points centre).")  # fmt: skip
_READER = click.option("--reader", metavar="NAME",
                       help="The register's reader, or the beginning of its name (default: any).")  # fmt: skip
_GOODS = click.option("--goods", type=click.Path(dir_okay=False, exists=True, path_type=Path), metavar="FILE",
                      help="Your own shelf: CSV with code,name,price,category.")  # fmt: skip
_FILE = click.Path(dir_okay=False, allow_dash=True, path_type=Path)


@click.group()
def points() -> None:
    """Earn, send, balance and refund points.

    Refund points (還付ポイント) have a till, the accumulation centre, and refunds to one's own account.
    """


@points.command("policies")
@replies
def points_policies() -> Reply:
    """Show which codes a till can read, and who learns what."""
    from dataclasses import asdict

    from kazashi.refund_points.codes import POLICIES

    found = {name: asdict(policy.exposure) for name, policy in POLICIES.items()}
    words = "\n\n".join(
        "\n".join([name, *(f"  {who.replace('_', ' '):14} {what}" for who, what in exposure.items())])
        for name, exposure in found.items()
    )
    return Reply(found, words)


@points.command("enrol")
@click.argument("shop")
@click.argument("till")
@click.option("--policy", metavar="NAME", help="Which code tills read; settled once (kazashi points policies).")
@click.option("--detail", type=click.Choice(["amount", "lines"]), help="What is told of a purchase; settled once.")
@click.option("--anew", is_flag=True, help="Another installation on an empty disk; the old one is put aside.")
@click.pass_context
def points_enrol(
    context: click.Context, shop: str, till: str, policy: str | None, detail: str | None, anew: bool
) -> None:  # fmt: skip
    """Set up a till of a shop.

    TILL gets a key of its own, and a certificate of the centre's.
    """
    from kazashi.assembly.points import enrol_till, put_aside
    from kazashi.refund_points.enrolment import Detail

    world = new_world_of(context)
    if anew:
        put_aside(world, shop, till)
    found = enrol_till(world, shop, till, policy=policy, detail=Detail(detail) if detail else None)
    click.echo(f"{found.name} reads {found.enrolment.policy} and tells {found.enrolment.detail.value}")


@points.command("tills")
@replies
@click.pass_context
def points_tills(context: click.Context) -> Reply:
    """Show every enrolled till and what waits on its disk."""
    from kazashi.assembly.points import tills_here
    from kazashi.assembly.points_server import centre_of

    world = world_of(context)
    here = {till.name: till.states() for till in tills_here(world)}
    rows: list[dict[str, Any]] = []
    for entry in centre_of(world).tills():
        states = here.get(entry.name, {})
        rows.append({"till": entry.name, "state": entry.state, **{state.value: n for state, n in states.items()}})
    shown = [{"till": "", "state": "", "waiting": "", "acknowledged": "", "refused": "", "damaged": "", **row}
             for row in rows]  # fmt: skip
    return Reply(rows, table(shown, "no till is enrolled yet; try: kazashi points enrol rice-shop till-1"))


@points.command("revoke")
@click.argument("till")
@click.pass_context
def points_revoke(context: click.Context, till: str) -> None:
    """Take nothing more from a till.

    TILL is SHOP/TILL/INSTALLATION; whatever it signs is refused.
    """
    from kazashi.assembly.points_server import centre_of

    centre_of(world_of(context)).revoke_till(till)
    click.echo(f"{till} is revoked")


@points.command("centre")
@port_option(CENTRE)
@click.option("--workers", type=click.IntRange(1, 64), default=1, show_default=True,
              help="Processes on one port and one database; more than one wants PostgreSQL.")  # fmt: skip
@click.pass_context
def points_centre(context: click.Context, port: int, workers: int) -> None:
    """Serve the accumulation centre to tills over HTTPS.

    Tills show their certificate.
    """
    from kazashi.assembly.points_server import run

    click.echo(f"The centre answers tills at https://{CENTRE.host}:{port}", err=True)
    run(world_of(context), port, workers)


@points.command("portal")
@port_option(REFUND_PORTAL)
@agent_option
@services_option
@click.pass_context
def points_portal(context: click.Context, port: int, agent: str, services: str) -> None:
    """Serve the refund portal.

    It shows points by year, applications, and how they stand.
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
              help="Where receipts are printed: a device, or a file that grows.")  # fmt: skip
@click.pass_context
def points_till(
    context: click.Context, shop: str, till: str, centre: str, services: str, reader: str | None, goods: Path | None,
    printer: Path | None,
) -> None:  # fmt: skip
    """Run a till on a full screen.

    Type or scan goods, press F2, hold the card over the reader.
    """
    import sys

    from kazashi.assembly.errors import UsageError
    from kazashi.assembly.points import open_till, register_reader, shelf_of
    from kazashi.refund_points.centre_http import HttpsTransport
    from kazashi.refund_points.terminal import Terminal

    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UsageError("the till needs a terminal; in a script, use: kazashi points sell")
    world = world_of(context)
    found = open_till(world, shop, till)
    looks = register_reader(world, services, reader)

    def printed(text: str) -> None:
        if printer is not None:
            with printer.open("a", encoding="utf-8") as file:
                file.write(text + "\n")

    Terminal(found, looks, HttpsTransport.of(found, centre), shelf_of(goods), printed).run()


@points.command("sell")
@click.argument("shop")
@click.argument("till")
@click.argument("goods_codes", nargs=-1, required=True, metavar="[N*]CODE...")
@click.option("--no-card", is_flag=True, help="The card was forgotten.")
@services_option
@_READER
@_GOODS
@replies
@click.pass_context
def points_sell(
    context: click.Context, shop: str, till: str, goods_codes: tuple[str, ...], no_card: bool, services: str,
    reader: str | None, goods: Path | None,
) -> Reply:  # fmt: skip
    """Sell goods at a till, to whoever's card lies in the reader."""
    from kazashi.assembly.points import basket_of, open_till, register_reader
    from kazashi.relying_party.login.card_reader import CardMissing

    world = world_of(context)
    found, basket = open_till(world, shop, till), basket_of(goods_codes, goods)
    card = None if no_card else register_reader(world, services, reader)()
    if card is None and not no_card:
        raise CardMissing("there is no individual number card in the reader; put one in, or say --no-card")
    return _receipt(found.sell(basket, card))


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
    """Give points later for a receipt.

    The buyer of RECEIPT had forgotten the card, and shows it now.
    """
    from kazashi.assembly.points import open_till, register_reader
    from kazashi.relying_party.login.card_reader import CardMissing

    world = world_of(context)
    found = open_till(world, shop, till)
    card = register_reader(world, services, reader)()
    if card is None:
        raise CardMissing("there is no individual number card in the reader")
    return _receipt(found.show_later(receipt, card))


@points.command("return")
@click.argument("shop")
@click.argument("till")
@click.argument("receipt")
@click.argument("places", nargs=-1, type=int, required=True, metavar="LINE...")
@replies
@click.pass_context
def points_return(context: click.Context, shop: str, till: str, receipt: str, places: tuple[int, ...]) -> Reply:
    """Take goods back, and their points away.

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
    """Send what waits at a till to the centre.

    Exit 1 where the centre has refused some of it.
    """
    from dataclasses import asdict

    from kazashi.assembly.points import open_till
    from kazashi.refund_points.centre_http import HttpsTransport
    from kazashi.refund_points.sender import send_waiting

    found = open_till(world_of(context), shop, till)
    sent = send_waiting(found, HttpsTransport.of(found, centre))
    return Reply(asdict(sent), f"{sent.acknowledged} taken, {sent.refused} refused", 1 if sent.refused else 0)


@points.command("balance")
@replies
@click.pass_context
def points_balance(context: click.Context) -> Reply:
    """Compare every till's disk with the ledger.

    Each point is found once, or named; exit 1 where one is not.
    """
    from kazashi.assembly.points import tills_here
    from kazashi.assembly.points_server import centre_of
    from kazashi.studies.points_balance import balance

    world = world_of(context)
    found = balance(centre_of(world), tills_here(world))
    return Reply(found.as_dict(), found.in_words(), 0 if found.good else 1)


@points.command("ledger")
@replies
@click.pass_context
def points_ledger(context: click.Context) -> Reply:
    """Show every account: its code, its year, its points."""
    from kazashi.assembly.points_server import centre_of

    rows = [{"code": code, "year": year, "points": n} for code, year, n in centre_of(world_of(context)).accounts()]
    return Reply(rows, table(rows, "nothing was accumulated yet"))


@points.command("refused")
@replies
@click.pass_context
def points_refused(context: click.Context) -> Reply:
    """Show what the centre has refused, and why.

    The records themselves come with --json.
    """
    from kazashi.assembly.points_server import centre_of

    rows = [{**row, "body": row["body"].decode(errors="replace")} for row in centre_of(world_of(context)).refused()]
    shown = [{name: row[name] for name in ("till", "reason", "words")} for row in rows]
    return Reply(rows, table(shown, "nothing was refused"))


@points.command("close-year")
@click.argument("year", type=int)
@click.pass_context
def points_close_year(context: click.Context, year: int) -> None:
    """Take nothing more in for a year that has passed.

    What comes later counts for the year in which it comes.
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
    """Show who has registered at the portal.

    With what may be refunded, and each application.
    """
    refunds = _refunds(context)
    rows = [
        {"person": person, "name": name, "household": household,
         "refundable": sum(standing.refundable for standing in refunds.years(person)),
         "applications": ", ".join(f"{one.number}: {one.yen} yen, {one.state.value}"
                                   for one in refunds.applications(person))}
        for person, name, household in refunds.people()
    ]  # fmt: skip
    return Reply(rows, table(rows, "nobody has registered yet"))


@points.command("pool")
@click.argument("person")
@click.argument("with_person")
@click.pass_context
def points_pool(context: click.Context, person: str, with_person: str) -> None:
    """Make two persons' households one.

    They share one limit from then on (see: kazashi points people).
    """
    _refunds(context).pool(person, with_person)
    click.echo("one household")


@points.command("pay")
@click.option("--again", type=int, metavar="NUMBER", help="That file once more, which was lost on its way to the bank.")
@click.option("--out", type=_FILE, required=True, metavar="FILE", help="Where to write it (- is stdout).")
@click.pass_context
def points_pay(context: click.Context, again: int | None, out: Path) -> None:
    """Write the bank's file of the refunds applied for.

    The file (Zengin format) holds all that are in no file yet.
    """
    refunds = _refunds(context)
    if str(out) != "-":
        out.touch(mode=0o600)  # before anything is noted as being with the bank; it holds everybody's accounts
    found = refunds.payment_file() if again is None else refunds.again(again)
    write_bytes(found.content, out, "the bank's file")
    click.echo(f"file {found.number}: {found.payments} payments", err=True)


@points.command("settle")
@click.argument("number", type=int)
@click.option("--paid/--returned", required=True, help="What the bank says.")
@click.pass_context
def points_settle(context: click.Context, number: int, paid: bool) -> None:
    """Note what became of an application at the bank."""
    found = _refunds(context).settle(number, paid=paid)
    click.echo(f"application {number}: {found.yen} yen {found.state.value}")


@points.command("exposure")
@click.argument("receipt")
@replies
@click.pass_context
def points_exposure(context: click.Context, receipt: str) -> Reply:
    """Show who knows what of one receipt.

    RECEIPT is SHOP/TILL/INSTALLATION/NUMBER; the answer is read from what each of them keeps.
    """
    from kazashi.studies.points_exposure import exposure

    found = exposure(world_of(context), receipt)
    words = "\n\n".join(
        "\n".join([who, *([f"  {name}: {value}" for name, value in knows.items()] or ["  nothing"])])
        for who, knows in found.items()
    )
    return Reply(found, words)


@points.command("simulate")
@click.option("--shops", type=click.IntRange(1, 10_000), default=30, show_default=True)
@click.option("--customers", type=click.IntRange(1, 10_000_000), default=1000, show_default=True)
@click.option("--day", is_flag=False, flag_value="2026-11-24", default="2026-11-24", metavar="[DATE]",
              help="Which day of the town passes (default: 2026-11-24).")  # fmt: skip
@click.option("--keep", type=click.Path(file_okay=False, path_type=Path), metavar="DIRECTORY",
              help="Keep the world in a new directory, to look into it afterwards.")  # fmt: skip
@click.option("--storage", default="", metavar="URL", help="postgresql://... for the centre (default: SQLite files).")
@click.option("--seed", default="points", show_default=True, help="The same seed, the same day.")
@replies
def points_simulate(
    shops: int, customers: int, day: str, keep: Path | None, storage: str, seed: str
) -> Reply:  # fmt: skip
    """Simulate a day of a town, and balance it.

    The day has rush hours, cuts, crashes, a centre without power, and a refund season. Exit 1 where a point is neither
    in the ledger once nor named.
    """
    import tempfile
    from datetime import date

    from kazashi.assembly.errors import UsageError
    from kazashi.studies.points_day import simulate, steps
    from kazashi.tools.cli.commands.shared import progress
    from kazashi.world.home import open_world
    from kazashi.world.settings import Settings

    try:
        when = date.fromisoformat(day)
    except ValueError as error:
        raise UsageError(f"{day!r} is no date, as 2026-11-24 is one") from error
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
