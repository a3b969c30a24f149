"""`kazashi mykey`: one identifier to a person, for libraries and other services."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from kazashi.tools.cli.commands.shared import Reply, institutions_of, replies, table

if TYPE_CHECKING:
    from kazashi.assembly.institutions import Institutions
    from kazashi.relying_party.mykey.mykey import MyKeyPlatform
    from kazashi.relying_party.verify.verdict import Verdict

_NO_CHAIN = click.option("--no-chain", is_flag=True, help="As if nobody told which serial numbers follow each other.")


@click.group()
def mykey() -> None:
    """Use the MyKey platform: one identifier to a person.

    The platform (マイキープラットフォーム) is a table of correspondence, and keeps no history.
    """


@mykey.command("register")
@click.argument("who")
@click.option("--wish", help="Eight characters of 0-9 and A-Z (default: random ones).")
@_NO_CHAIN
@click.pass_context
def mykey_register(context: click.Context, who: str, wish: str | None, no_chain: bool) -> None:
    """Give somebody a MyKey ID.

    The authentication certificate of WHO must be good.
    """
    institutions, platform = _platform(context, no_chain)
    click.echo(platform.register(_verdict(institutions, who), wish))


@mykey.command("find")
@click.argument("who")
@click.pass_context
def mykey_find(context: click.Context, who: str) -> int:
    """Show the MyKey ID that goes with somebody's card.

    It is what the platform has heard so far.
    """
    institutions, platform = _platform(context)
    verdict = _verdict(institutions, who)
    found = platform.find(verdict.certificate.serial) if verdict.certificate is not None else None
    click.echo(found or f"no MyKey ID goes with the card of {who} (yet: see kazashi mykey night)", err=found is None)
    return 0 if found else 1


@mykey.command("void")
@click.argument("who")
@click.pass_context
def mykey_void(context: click.Context, who: str) -> None:
    """Make WHO's MyKey ID worth nothing, for good."""
    institutions, platform = _platform(context)
    click.echo(platform.void(_verdict(institutions, who)))


@mykey.command("enrol")
@click.argument("who")
@click.argument("service")
@click.argument("member_number")
@click.option("--birth", metavar="YYYY-MM-DD", help="The date of birth, which opens use without PIN (かざし利用).")
@click.pass_context
def mykey_enrol(context: click.Context, who: str, service: str, member_number: str, birth: str | None) -> None:
    """Tie WHO's MyKey ID to a MEMBER_NUMBER of SERVICE."""
    from datetime import date

    from kazashi.assembly.errors import UsageError

    institutions, platform = _platform(context)
    try:
        day = date.fromisoformat(birth) if birth else None
    except ValueError as error:
        raise UsageError(f"{birth!r} is no date, as 1988-04-17 is one") from error
    found = platform.enrol(_verdict(institutions, who), service, member_number, day)
    click.echo(f"{found.identifier} is {found.member_number} at {found.service}")


@mykey.command("tap")
@click.argument("who")
@click.argument("service")
@click.pass_context
def mykey_tap(context: click.Context, who: str, service: str) -> None:
    """Show who holds a card over a reader at a service.

    WHO is asked for no PIN; prints the member number at SERVICE.
    """
    institutions, platform = _platform(context)
    click.echo(platform.tap(_verdict(institutions, who), service).member_number)


@mykey.command("night")
@_NO_CHAIN
@click.pass_context
def mykey_night(context: click.Context, no_chain: bool) -> None:
    """Run the night batch, which takes over renewals."""
    _, platform = _platform(context, no_chain)
    click.echo(f"{platform.adopt_renewals()} new certificates taken over")


@mykey.command("exposure")
@replies
@click.pass_context
def mykey_exposure(context: click.Context) -> Reply:
    """Show all that the platform holds."""
    _, platform = _platform(context)
    found = platform.exposure()
    readable: dict[str, list[dict[str, Any]]] = {
        name: [{key: value.hex() if isinstance(value, bytes) else value for key, value in row.items()} for row in rows]
        for name, rows in found.items()
    }
    words = [f"{name}\n{table(rows, '(empty)')}" for name, rows in readable.items()]
    return Reply(readable, "\n\n".join(words))


def _platform(context: click.Context, no_chain: bool = False) -> tuple[Institutions, MyKeyPlatform]:
    from kazashi.assembly.actors import MYKEY
    from kazashi.assembly.relying import direct_linkage
    from kazashi.relying_party.mykey.mykey import MyKeyPlatform
    from kazashi.relying_party.verify.linkage import NoLinkage

    institutions = institutions_of(context)
    institutions.settle()
    linkage = NoLinkage() if no_chain else direct_linkage(institutions, MYKEY.caller)
    return institutions, MyKeyPlatform(institutions.world, linkage)


def _verdict(institutions: Institutions, who: str) -> Verdict:
    from kazashi.assembly.relying import card_verdict

    return card_verdict(institutions, who)
