"""`kazashi registry`: who lives where, and what happens to them."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import MISSING, fields
from typing import IO, TYPE_CHECKING

import click

from kazashi.tools.cli.commands.shared import Reply, institutions_of, new_world_of, progress, replies, table

if TYPE_CHECKING:
    from kazashi.resident_registry.event import Event
    from kazashi.resident_registry.resident import Resident


@click.group()
def registry() -> None:
    """Manage the resident registry (住民基本台帳).

    It holds people, and what happens to them.
    """


@registry.command("add")
@click.argument("alias")
@click.option("--family", help="Family name, or the only name.")
@click.option("--given", default="", help="Given name.")
@click.option("--kana", default="", help="Reading in katakana.")
@click.option("--former-surname", default="", help="旧氏.")
@click.option("--common-name", default="", help="通称, of a foreign resident.")
@click.option("--birth", help="1988-04-17; 00 for an unknown month or day.")
@click.option("--sex", type=click.Choice(["1", "2", "9", "0"]), help="1 male, 2 female, 9 not applicable, 0 unknown.")
@click.option("--municipality", help="Five digits; see: kazashi registry municipalities.")
@click.option("--street", help="The address after the municipality's name.")
@click.option("--nationality", default="", metavar="CODE", help="ISO 3166 code of a foreign resident.")
@click.option("--residence-status", default="", help="在留資格.")
@click.option("--stay-end", default="", help="Last day of the period of stay.")
@click.option("--household", default="", help="A label that its members share.")
@replies
@click.pass_context
def registry_add(context: click.Context, /, alias: str, **given: str | None) -> Reply:
    """Register somebody.

    A birth, or a first registration. Without options, a member of the cast.
    """
    from kazashi.assembly.errors import UsageError
    from kazashi.resident_registry.resident import from_document

    new_world_of(context)
    institutions = institutions_of(context)
    told = {key: value for key, value in given.items() if value}
    if told:
        try:
            resident = from_document({"alias": alias, **told})
        except ValueError as error:
            raise UsageError(str(error)) from error
        institutions.registry.add(resident)
        institutions.juki_net.deliver()
    found = institutions.resident(alias)
    return _show(institutions.registry.find(found.code))


@registry.command("show")
@click.argument("who")
@replies
@click.pass_context
def registry_show(context: click.Context, who: str) -> Reply:
    """Show all that the registry holds of a person.

    WHO is an alias, a resident record code or an individual number.
    """
    return _show(institutions_of(context).registry.find(who))


@registry.command("list")
@click.option("--municipality", help="Only that municipality's people.")
@click.option("--limit", type=int, default=100, show_default=True)
@replies
@click.pass_context
def registry_list(context: click.Context, municipality: str | None, limit: int) -> Reply:
    """Show the people of the registry."""
    from kazashi.assembly.errors import UsageError
    from kazashi.resident_registry.resident import to_document

    try:
        people = institutions_of(context).registry.residents(municipality, limit)
    except ValueError as error:
        raise UsageError(str(error)) from error
    rows = [
        {"alias": found.alias, "record code": found.record_code, "individual number": found.individual_number,
         "status": found.status.value, "name": str(found.name), "address": found.address}
        for found in people
    ]  # fmt: skip
    return Reply([to_document(found) for found in people], table(rows, "Nobody yet; try: kazashi registry add hanako"))


@registry.command("history")
@click.argument("who")
@replies
@click.pass_context
def registry_history(context: click.Context, who: str) -> Reply:
    """Show everything that happened to a person.

    And everything that the certificates of WHO went through.
    """
    rows = [
        {"day": found.day.isoformat(), "at": found.at.isoformat(), "event": found.code,
         "municipality": found.municipality, **({"detail": found.detail} if found.detail else {})}
        for found in institutions_of(context).registry.history(who)
    ]  # fmt: skip
    lines = [
        {**{key: row[key] for key in ("day", "event", "municipality")},
         "detail": ", ".join(f"{key} {value}" for key, value in row.get("detail", {}).items())}  # type: ignore[attr-defined]
        for row in rows
    ]  # fmt: skip
    return Reply(rows, table(lines, ""))


@registry.command("municipalities")
@click.option("--prefecture", help="Two digits: only that prefecture's.")
@replies
def registry_municipalities(prefecture: str | None) -> Reply:
    """Show the municipalities, with codes and readings."""
    from kazashi.resident_registry.municipality import municipalities

    rows = [
        {"code": found.code, "prefecture": found.prefecture, "name": found.name, "romaji": found.romaji,
         "prefecture romaji": found.prefecture_romaji}
        for found in municipalities().values()
        if prefecture in (None, found.code.prefecture)
    ]  # fmt: skip
    return Reply(rows, table(rows, "no municipality has such a code"))


@registry.command("rename")
@click.argument("municipality")
@click.argument("old")
@click.argument("new")
@replies
@click.pass_context
def registry_rename(context: click.Context, municipality: str, old: str, new: str) -> Reply:
    """Rename a place.

    Each address in MUNICIPALITY that begins with OLD begins with NEW from then on. Certificates stay.
    """
    from kazashi.assembly.errors import UsageError

    institutions = institutions_of(context)
    try:
        concerned = institutions.registry.rename(municipality, old, new)
    except ValueError as error:
        raise UsageError(str(error)) from error
    institutions.settle()
    return Reply({"people": concerned}, f"{concerned} people live at a place with another name now")


@registry.command("import")
@click.argument("file", type=click.File("rb"))
@replies
@click.pass_context
def registry_import(context: click.Context, file: IO[bytes]) -> Reply:
    """Register everybody in a file, or nobody.

    FILE (- for stdin) is JSON lines or CSV with a header (see docs/registry.md).
    """
    from kazashi.resident_registry.import_file import documents_in

    new_world_of(context)
    institutions = institutions_of(context)
    with tempfile.TemporaryFile() as spool:
        # Held first, so that the count for the bar is known and a pipe that breaks off registers nobody.
        lines = 0
        while block := file.read(1 << 20):
            lines += block.count(b"\n")
            spool.write(block)
        spool.seek(0)
        with progress("residents", lines) as tell:
            count = institutions.registry.import_people(documents_in(spool), tell)
        waiting = institutions.registry.outbox.waiting(institutions.registry.store)
        with progress("messages to Juki-Net", waiting):
            institutions.settle()
    return Reply({"registered": count}, f"{count} residents registered")


def _event_command(word: str) -> click.Command:
    """The command of one kind of event: its options are the kind's fields."""
    from kazashi.resident_registry.event import Channel, event_type

    kind = event_type(word)

    def record(context: click.Context, who: str, on: str | None, channel: str | None, **given: str) -> Reply:
        return _record(context, kind, who, on, channel, given)

    command: Callable[..., int] = replies(click.pass_context(record))
    command = click.option("--channel", type=click.Choice([found.value for found in Channel]),
                           help=f"How it comes to be known (default: {kind.channel.value}).")(command)  # fmt: skip
    command = click.option("--on", metavar="DATE", help="The day on which it happened (default: today).")(command)
    for found in reversed(fields(kind)):
        words, needed = found.metadata["words"], found.default is MISSING
        option = f"--{found.name.replace('_', '-')}"
        command = click.option(option, found.name, required=needed, help=words[0].upper() + words[1:] + ".")(command)
    command = click.argument("who")(command)
    return click.command(word, help=kind.about)(command)


def _record(
    context: click.Context, kind: type[Event], who: str, on: str | None, channel: str | None,
    given: dict[str, str],
) -> Reply:  # fmt: skip
    from datetime import date, datetime

    from kazashi.assembly.errors import UsageError
    from kazashi.resident_registry.event import Channel

    given = {key: value for key, value in given.items() if value is not None}
    try:
        day = date.fromisoformat(on) if on else None
        told = institutions_of(context).happen(who, kind.code, given, day, Channel(channel) if channel else None)
    except ValueError as error:
        raise UsageError(str(error)) from error
    words = f"{told['event']} recorded for {told['resident']}"
    if told["waits_until"]:
        from kazashi.world.clock import JST

        waiting = datetime.fromisoformat(told["waits_until"])
        words += f"; it leaves for Juki-Net at {waiting.astimezone(JST):%Y-%m-%d %H:%M} in Japan"
    for note in told["refused"]:
        words += f"\nThe card management did not renew: {note}"
    return Reply(told, words)


class _EventKinds(click.Group):
    """The kinds of event, found when they are asked for: the registry is not loaded before."""

    def list_commands(self, context: click.Context) -> list[str]:
        from kazashi.resident_registry.event import EVENTS

        return [event.code for event in EVENTS if not event.recorded_by_registry]

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        return _event_command(name) if name in self.list_commands(context) else None


registry.add_command(_EventKinds("event", help="Something happens to somebody. Each kind is a command of its own."))


def _show(resident: Resident) -> Reply:
    from kazashi.resident_registry.resident import to_document

    document = {**to_document(resident), "address": resident.address}
    return Reply(document, "\n".join(f"{key.replace('_', ' '):20} {value}" for key, value in document.items()))
