"""`kazashi registry`: residents, and the events that are recorded for them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, fields
from typing import TYPE_CHECKING, Any

import click

from kazashi.tools.cli.commands.completions import residents, samples
from kazashi.tools.cli.commands.inputs import Input, InputFile
from kazashi.tools.cli.commands.shared import (
    Reply,
    institutions_of,
    new_world_of,
    prefecture_of,
    progress,
    replies,
    table,
)

if TYPE_CHECKING:
    from kazashi.resident_registry.event import Event
    from kazashi.resident_registry.resident import Resident


_LARGEST_IMPORT = 4 << 30
"""The largest file of residents that is imported: some ten million people."""


@click.group()
def registry() -> None:
    """Manage the resident registry (住民基本台帳).

    It holds residents and the events that happen to them.
    """


@registry.command("add")
@click.argument("alias", shell_complete=samples)
@click.option("--family", help="Family name, or the only name.")
@click.option("--given", default="", help="Given name.")
@click.option("--kana", default="", help="Reading in katakana.")
@click.option("--former-surname", default="", help="Former surname (旧氏).")
@click.option("--common-name", default="", help="Common name (通称) of a foreign resident.")
@click.option("--birth", help="Date of birth: 1988-04-17; 00 for an unknown month or day.")
@click.option("--sex", type=click.Choice(["1", "2", "9", "0"]), help="1 male, 2 female, 9 not applicable, 0 unknown.")
@click.option("--municipality", help="Code of five digits; see: kazashi registry municipalities.")
@click.option("--street", help="The address without the municipality's name.")
@click.option("--nationality", default="", metavar="CODE", help="ISO 3166 code of a foreign resident's country.")
@click.option("--residence-status", default="", help="Residence status (在留資格) of a foreign resident.")
@click.option("--stay-end", default="", help="Last day of the period of stay.")
@click.option("--household", default="", help="A label that the members of a household share.")
@replies
@click.pass_context
def registry_add(context: click.Context, /, alias: str, **given: str | None) -> Reply:
    """Register a resident.

    It is a birth, or a first registration. Without options, ALIAS is one of the sample residents. A name or address
    that a register would hardly have, such as one in half-width characters, is registered with a warning.
    """
    from kazashi.assembly.own_people import registered

    new_world_of(context)
    institutions = institutions_of(context)
    details = {key: value for key, value in given.items() if value}
    if details:
        resident = registered(institutions, {"alias": alias, **details})
        _warn(details)
    else:
        resident = institutions.resident(alias)
    return _show(institutions.registry.find(resident.code))


@registry.command("show")
@click.argument("who", shell_complete=residents)
@replies
@click.pass_context
def registry_show(context: click.Context, who: str) -> Reply:
    """Show a resident's registration.

    WHO is an alias, a resident record code or an individual number.
    """
    registry = institutions_of(context).registry
    return _show(registry.find(who), {what: f"{last}" for what, last in registry.deadlines(who).items()})


@registry.command("list")
@click.option("--municipality", help="Show only the residents of this municipality.")
@click.option("--limit", type=int, default=100, show_default=True, help="Show at most this many residents.")
@replies
@click.pass_context
def registry_list(context: click.Context, municipality: str | None, limit: int) -> Reply:
    """Show the registered residents."""
    from kazashi.assembly.errors import UsageError
    from kazashi.resident_registry.resident import to_document

    try:
        residents = institutions_of(context).registry.residents(municipality, limit)
    except ValueError as error:
        raise UsageError(str(error)) from error
    rows = [
        {"alias": resident.alias, "record code": resident.record_code,
         "individual number": resident.individual_number, "status": resident.status.value,
         "name": str(resident.name), "address": resident.address}
        for resident in residents
    ]  # fmt: skip
    documents = [to_document(resident) for resident in residents]
    return Reply(documents, table(rows, "No residents yet; register one with: kazashi registry add hanako"))


@registry.command("history")
@click.argument("who", shell_complete=residents)
@replies
@click.pass_context
def registry_history(context: click.Context, who: str) -> Reply:
    """Show a resident's history.

    It has the events of WHO, and what happened to the certificates of WHO.
    """
    rows = [
        {"day": entry.day.isoformat(), "at": entry.at.isoformat(), "event": entry.code,
         "municipality": entry.municipality, **({"detail": entry.detail} if entry.detail else {})}
        for entry in institutions_of(context).registry.history(who)
    ]  # fmt: skip
    lines = [
        {**{key: row[key] for key in ("day", "event", "municipality")},
         "detail": ", ".join(f"{key} {value}" for key, value in row.get("detail", {}).items())}  # type: ignore[attr-defined]
        for row in rows
    ]  # fmt: skip
    return Reply(rows, table(lines, ""))


@registry.command("municipalities")
@click.option("--prefecture", help="Show only this prefecture's municipalities: two digits.")
@replies
def registry_municipalities(prefecture: str | None) -> Reply:
    """Show municipalities, their codes and readings."""
    from kazashi.resident_registry.municipality import municipalities

    if prefecture is not None:
        prefecture_of(prefecture)
    rows = [
        {"code": municipality.code, "prefecture": municipality.prefecture, "name": municipality.name,
         "romaji": municipality.romaji, "prefecture romaji": municipality.prefecture_romaji}
        for municipality in municipalities().values()
        if prefecture in (None, municipality.code.prefecture)
    ]  # fmt: skip
    return Reply(rows, table(rows, ""))


@registry.command("rename")
@click.argument("municipality")
@click.argument("old")
@click.argument("new")
@replies
@click.pass_context
def registry_rename(context: click.Context, municipality: str, old: str, new: str) -> Reply:
    """Rename a place.

    Each address in MUNICIPALITY that begins with OLD now begins with NEW. Certificates stay valid.
    """
    from kazashi.assembly.errors import UsageError

    institutions = institutions_of(context)
    try:
        count = institutions.registry.rename(municipality, old, new)
    except ValueError as error:
        raise UsageError(str(error)) from error
    institutions.settle()
    return Reply({"people": count}, f"the addresses of {count} residents have changed")


@registry.command("import")
@click.argument("file", type=Input(_LARGEST_IMPORT))
@replies
@click.pass_context
def registry_import(context: click.Context, file: InputFile) -> Reply:
    """Register all residents in a file.

    FILE (- for stdin) is JSON lines or CSV with a header (see docs/registry.md). If one row is wrong, nobody is
    registered.
    """
    import tempfile

    from kazashi.resident_registry.import_file import documents_in
    from kazashi.resident_registry.unusual_text import unusual_texts

    unusual, first = 0, ""

    def documents() -> Iterator[tuple[int, dict[str, Any]]]:
        nonlocal unusual, first
        for number, document in documents_in(spool):
            if isinstance(document, dict) and (texts := unusual_texts(document)):
                unusual += 1
                first = first or f"line {number}: {texts[0]}"
            yield number, document

    new_world_of(context)
    institutions = institutions_of(context)
    with tempfile.TemporaryFile() as spool:
        # Read everything first: the progress bar needs the count, and a pipe that breaks off must register nobody.
        lines = 0
        for block in file.blocks():
            lines += block.count(b"\n")
            spool.write(block)
        spool.seek(0)
        with progress("residents", lines) as shown:
            count = institutions.registry.import_people(documents(), shown)
        waiting = institutions.registry.outbox.waiting(institutions.registry.store)
        with progress("messages to Juki-Net", waiting):
            institutions.settle()
    if unusual:
        click.echo(f"kazashi: {unusual} with unusual texts; the first is on {first}", err=True)
    return Reply({"registered": count}, f"{count} resident{'' if count == 1 else 's'} registered")


@registry.command("draft")
@click.argument("count", type=click.IntRange(1, 10_000_000))
@click.option("--municipality", "towns", multiple=True, metavar="CODE",
              help="Where they live, the largest first; may be repeated (default: all municipalities).")  # fmt: skip
@click.pass_context
def registry_draft(context: click.Context, count: int, towns: tuple[str, ...]) -> None:
    """Write made-up residents, to import.

    Each is a line of JSON on stdout for `registry import`: people in households, with twins, former addresses, variant
    characters and foreign residents. They depend on the world's seed. Nobody of them exists.
    """
    import json

    from kazashi.assembly.errors import UsageError
    from kazashi.resident_registry.made_up_residents import made_up_residents
    from kazashi.resident_registry.municipality import municipality
    from kazashi.world.clock import today

    world = new_world_of(context)
    try:
        codes = [municipality(code).code for code in towns]
    except ValueError as error:
        raise UsageError(str(error)) from error
    for document in made_up_residents(world.seed, count, today(world.clock), codes or None):
        click.echo(json.dumps(document, ensure_ascii=False))


def _event_command(code: str) -> click.Command:
    """Return the command of one type of event. Its options are the fields of that type."""
    from kazashi.resident_registry.event import Channel, event_type

    kind = event_type(code)

    def record(context: click.Context, who: str, on: str | None, channel: str | None, **given: str) -> Reply:
        return _record(context, kind, who, on, channel, given)

    command: Callable[..., int] = replies(click.pass_context(record))
    command = click.option("--channel", type=click.Choice([channel.value for channel in Channel]),
                           help=f"How the event is reported (default: {kind.channel.value}).")(command)  # fmt: skip
    command = click.option("--on", metavar="DATE", help="The day on which it happened (default: today).")(command)
    for field in reversed(fields(kind)):
        words, needed = field.metadata["words"], field.default is MISSING
        option = f"--{field.name.replace('_', '-')}"
        command = click.option(option, field.name, required=needed, help=words[0].upper() + words[1:] + ".")(command)
    command = click.argument("who", shell_complete=residents)(command)
    return click.command(code, help=kind.about)(command)


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
        outcome = institutions_of(context).happen(who, kind.code, given, day, Channel(channel) if channel else None)
    except ValueError as error:
        raise UsageError(str(error)) from error
    _warn(given)
    words = f"{outcome['event']} recorded for {outcome['resident']}"
    if outcome["waits_until"]:
        from kazashi.world.clock import JST

        sent_at = datetime.fromisoformat(outcome["waits_until"])
        words += f"; it will be sent to Juki-Net at {sent_at.astimezone(JST):%Y-%m-%d %H:%M} in Japan"
    for note in outcome["refused"]:
        words += f"\nThe card management did not renew: {note}"
    return Reply(outcome, words)


class _EventTypes(click.Group):
    """A group with one command for each type of event. It loads the registry only when its commands are needed."""

    def list_commands(self, context: click.Context) -> list[str]:
        from kazashi.resident_registry.event import EVENTS

        return [event.code for event in EVENTS if not event.recorded_by_registry]

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        return _event_command(name) if name in self.list_commands(context) else None


registry.add_command(
    _EventTypes("event", help="Record an event for a resident.\n\nEach type of event is a command of its own.")
)


def _warn(fields: Mapping[str, object]) -> None:
    """Print a line on stderr for each name or address that a register would hardly have."""
    from kazashi.resident_registry.unusual_text import unusual_texts

    for text in unusual_texts(fields):
        click.echo(f"kazashi: {text}", err=True)


def _show(resident: Resident, deadlines: dict[str, str] | None = None) -> Reply:
    from kazashi.resident_registry.resident import to_document

    document = {**to_document(resident), "address": resident.address}
    lines = [f"{key.replace('_', ' '):20} {value}" for key, value in document.items()]
    if deadlines:
        lines += [f"{'last day for':20} {what}: {last}" for what, last in deadlines.items()]
        document["deadlines"] = deadlines
    return Reply(document, "\n".join(lines))
