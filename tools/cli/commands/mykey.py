"""`kazashi mykey`: the MyKey platform, one identifier for each person, for libraries and other services."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from kazashi.tools.cli.commands.shared import Reply, day_of, institutions_of, parsed_day, replies, table, world_of
from kazashi.tools.program import as_called

if TYPE_CHECKING:
    from kazashi.assembly.institutions import Institutions
    from kazashi.relying_party.mykey.mykey import MyKeyPlatform
    from kazashi.relying_party.verify.verdict import Verdict

_FOLLOW = click.option(
    "--follow", type=click.Choice(["certificate", "medium", "person"]), default="person", show_default=True,
    help="Which certificates count as one person's: one alone, those of one card or phone, or all that the authority"
    " links.",
)  # fmt: skip

_MEDIUM = click.option(
    "--medium", type=click.Choice(["card", "phone"]), default="card", show_default=True,
    help="Use the latest certificate on a card or on a phone of the person.",
)  # fmt: skip


@click.group()
def mykey() -> None:
    """Use the MyKey platform.

    The platform (マイキープラットフォーム) gives each person one identifier for many services. It is a mapping table
    and keeps no history.
    """


@mykey.command("register")
@click.argument("who")
@click.option("--wish", help="The wanted ID: eight characters of 0-9 and A-Z (default: random).")
@_MEDIUM
@_FOLLOW
@click.pass_context
def mykey_register(context: click.Context, who: str, wish: str | None, medium: str, follow: str) -> None:
    """Register a MyKey ID for a person.

    The authentication certificate of WHO must be good. A person can have only one ID at a time, whichever card or phone
    they come with. Without linkage (--follow certificate) each new certificate is a new person, who gets another ID.
    """
    institutions, platform = _platform(context, follow)
    click.echo(platform.register(_verdict(institutions, who, medium), wish))


@mykey.command("find")
@click.argument("who")
@_MEDIUM
@click.pass_context
def mykey_find(context: click.Context, who: str, medium: str) -> int:
    """Show the MyKey ID of a person's card or phone.

    The platform knows a renewed certificate, a new card and a phone only after its night batch. The exit status is 1 if
    there is no ID.
    """
    institutions, platform = _platform(context)
    verdict = _verdict(institutions, who, medium)
    mykey_id = platform.find(verdict.certificate.serial) if verdict.certificate is not None else None
    if mykey_id is None:
        words = f"the {medium} of {who} has no MyKey ID; if it is new or was renewed, run: kazashi mykey night"
        click.echo(as_called(words), err=True)
        return 1
    click.echo(mykey_id)
    return 0


@mykey.command("void")
@click.argument("who")
@_MEDIUM
@click.pass_context
def mykey_void(context: click.Context, who: str, medium: str) -> None:
    """Invalidate a MyKey ID permanently.

    It is the ID of WHO, who may register again and then gets another one.
    """
    institutions, platform = _platform(context)
    click.echo(platform.void(_verdict(institutions, who, medium)))


@mykey.command("enrol")
@click.argument("who")
@click.argument("service")
@click.argument("member_number")
@click.option("--birth", metavar="YYYY-MM-DD", help="The date of birth; enables tap use, without a PIN (かざし利用).")
@_MEDIUM
@click.pass_context
def mykey_enrol(
    context: click.Context, who: str, service: str, member_number: str, birth: str | None, medium: str
) -> None:  # fmt: skip
    """Link a MyKey ID to a service's member number.

    It links the ID of WHO to MEMBER_NUMBER at SERVICE.
    """
    institutions, platform = _platform(context)
    enrolled = platform.enrol(
        _verdict(institutions, who, medium), service, member_number, parsed_day(birth) if birth else None
    )
    click.echo(f"{enrolled.identifier} is {enrolled.member_number} at {enrolled.service}")


@mykey.command("tap")
@click.argument("who")
@click.argument("service")
@_MEDIUM
@click.pass_context
def mykey_tap(context: click.Context, who: str, service: str, medium: str) -> None:
    """Identify a card or phone at a service by tap use.

    Prints the member number of WHO at SERVICE. No PIN is needed.
    """
    institutions, platform = _platform(context)
    click.echo(platform.tap(_verdict(institutions, who, medium), service).member_number)


@mykey.command("night")
@_FOLLOW
@click.pass_context
def mykey_night(context: click.Context, follow: str) -> None:
    """Run the night batch.

    It adopts renewed certificates, and those of new cards and phones, so that their holders keep their IDs.
    """
    _, platform = _platform(context, follow)
    click.echo(f"{platform.adopt_renewals()} new certificates adopted")


@mykey.command("stages")
@click.option("--on", metavar="YYYY-MM-DD", help="Show what the platform does on a day (default: today).")
@replies
@click.pass_context
def mykey_stages(context: click.Context, on: str | None) -> Reply:
    """Show the three stages, and what the platform does on a day."""
    platform = _platform_alone(context)
    day = day_of(on, world_of(context))
    rows: list[dict[str, Any]] = [
        {"stage": stage.number, "from": stage.begins.isoformat(), "reached": stage.begins <= day,
         "features": sorted(feature.value for feature in stage.features), "what": stage.words}
        for stage in platform.stages()
    ]  # fmt: skip
    return Reply(rows, table([{**row, "features": ", ".join(row["features"])} for row in rows], ""))


@mykey.command("stage")
@click.argument("number", type=int)
@click.option("--from", "begins", required=True, metavar="YYYY-MM-DD", help="The first day of the stage.")
@click.pass_context
def mykey_stage(context: click.Context, number: int, begins: str) -> None:
    """Let a stage begin on another day."""
    stage = _platform_alone(context).begin_stage(number, parsed_day(begins))
    click.echo(f"stage {stage.number} ({stage.words}) begins on {stage.begins}")


@mykey.command("service")
@click.argument("service")
@click.argument("kind", type=click.Choice(["public", "regional", "nationwide"]))
@click.pass_context
def mykey_service(context: click.Context, service: str, kind: str) -> None:
    """Say of which kind a service is.

    A public service, such as a library, is served from the first stage on, a region's shops from the second, and
    companies that are everywhere from the third. A service of which nothing was said is public.
    """
    _platform_alone(context).set_kind(service, kind)
    click.echo(f"{service} is {kind}")


@mykey.command("exposure")
@replies
@click.pass_context
def mykey_exposure(context: click.Context) -> Reply:
    """Show all data that the platform stores."""
    from kazashi.jpki.serial_number import serial_text

    def readable_value(column: str, value: Any) -> Any:
        if column in ("serial", "head") and value is not None:
            return serial_text(value)
        return value.hex() if isinstance(value, bytes) else value

    _, platform = _platform(context)
    readable: dict[str, list[dict[str, Any]]] = {
        name: [{column: readable_value(column, value) for column, value in row.items()} for row in rows]
        for name, rows in platform.exposure().items()
    }
    words = [f"{name}\n{table(rows, '(empty)')}" for name, rows in readable.items()]
    return Reply(readable, "\n\n".join(words))


def _platform(context: click.Context, follow: str = "person") -> tuple[Institutions, MyKeyPlatform]:
    from kazashi.assembly.actors import MYKEY
    from kazashi.assembly.relying import direct_linkage
    from kazashi.jpki.linkage import Follow
    from kazashi.relying_party.mykey.mykey import MyKeyPlatform

    institutions = institutions_of(context)
    institutions.settle()
    linkage = direct_linkage(institutions, MYKEY.caller)
    return institutions, MyKeyPlatform(institutions.world, linkage, Follow(follow))


def _verdict(institutions: Institutions, who: str, medium: str) -> Verdict:
    from kazashi.assembly.relying import card_verdict
    from kazashi.jpki.profile import Medium

    return card_verdict(institutions, who, Medium(medium))


def _platform_alone(context: click.Context) -> MyKeyPlatform:
    """The platform for commands that concern no person."""
    from kazashi.relying_party.mykey.mykey import MyKeyPlatform
    from kazashi.relying_party.verify.linkage import NoLinkage

    return MyKeyPlatform(world_of(context), NoLinkage())
