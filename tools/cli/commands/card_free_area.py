"""`kazashi card application` and `ordinance`: applications in the free area of a card's chip."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from kazashi.tools.cli.commands.completions import cards
from kazashi.tools.cli.commands.shared import Reply, day_of, institutions_of, new_world_of, replies, table, world_of

if TYPE_CHECKING:
    from kazashi.applets.free_area import Definition
    from kazashi.resident_registry.municipality import MunicipalityCode


@click.group()
def application() -> None:
    """Load applications into a card's free area.

    A municipality loads an application at its counter, such as a library card, if its ordinance allows that
    (条例利用). docs/free-area.md describes them, and how to define one's own.
    """


@application.command("add")
@click.argument("name", shell_complete=cards)
@click.argument("what")
@click.option("--set", "values", multiple=True, metavar="FILE=VALUE",
              help="What is written into a file of the application; once for each of its files.")  # fmt: skip
@click.option("--pin", help="The application's PIN, if it has one.")
@replies
@click.pass_context
def application_add(context: click.Context, name: str, what: str, values: tuple[str, ...], pin: str | None) -> Reply:
    """Load an application onto a card.

    WHAT is `library`, `residents-card`, or a file with a definition. A card in a reader has it at once: PC/SC clients
    see the card removed and inserted again.
    """
    from kazashi.assembly.errors import UsageError

    institutions = institutions_of(context)
    written: dict[str, str] = {}
    for value in values:
        file, given, text = value.partition("=")
        if not given or file in written:
            raise UsageError(f"--set takes FILE=VALUE, once for each file; not {value!r}")
        written[file] = text
    definition = _definition(what)
    row = institutions.counters.load(name, definition, written, pin).as_dict()
    return Reply({"card": name, **row}, f"{name} has the application {row['application']} ({row['aid']})")


@application.command("list")
@click.argument("name", shell_complete=cards)
@replies
@click.pass_context
def application_list(context: click.Context, name: str) -> Reply:
    """Show the applications in a card's free area."""
    rows = [row.as_dict() for row in institutions_of(context).counters.applications(name)]
    return Reply(rows, table(rows, f"the free area of {name} is empty"))


@application.command("remove")
@click.argument("name", shell_complete=cards)
@click.argument("what")
@replies
@click.pass_context
def application_remove(context: click.Context, name: str, what: str) -> Reply:
    """Remove an application from a card.

    WHAT is its name. What was in its files is deleted.
    """
    row = institutions_of(context).counters.remove(name, what).as_dict()
    return Reply({"card": name, **row}, f"{name} no longer has the application {what}")


@application.command("show")
@click.argument("what")
@replies
def application_show(what: str) -> Reply:
    """Check a definition, and show it.

    WHAT is `library`, `residents-card`, or a file. The document of the first two can be copied.
    """
    from kazashi.applets.free_area import DOCUMENTS
    from kazashi.world.input_file import read_text_input

    definition = _definition(what)
    text = DOCUMENTS[what] if what in DOCUMENTS else read_text_input(what)
    return Reply(definition.as_document(), text.rstrip("\n"))


@click.group()
def ordinance() -> None:
    """Manage ordinances that allow applications on cards.

    They are those of article 18 of the Number Act (番号法18条1号). The network's affairs by ordinance are others:
    `kazashi network ordinance`.
    """


@ordinance.command("add")
@click.argument("municipality")
@click.argument("what")
@click.option("--from", "in_force", metavar="YYYY-MM-DD", help="The first day in force (default: today).")
@replies
@click.pass_context
def ordinance_add(context: click.Context, municipality: str, what: str, in_force: str | None) -> Reply:
    """Record that an ordinance allows an application.

    MUNICIPALITY is a code of five digits; WHAT is the application's name.
    """
    new_world_of(context)
    code, day = _code(municipality), day_of(in_force, world_of(context))
    use = institutions_of(context).counters.enact(code, what, day)
    return Reply(_row(use), f"{code} allows {what} from {day} on")


@ordinance.command("repeal")
@click.argument("municipality")
@click.argument("what")
@click.option("--on", metavar="YYYY-MM-DD", help="The first day without it (default: today).")
@replies
@click.pass_context
def ordinance_repeal(context: click.Context, municipality: str, what: str, on: str | None) -> Reply:
    """Record that an ordinance no longer allows an application.

    What was loaded before stays on the cards until it is removed.
    """
    institutions = institutions_of(context)
    code, day = _code(municipality), day_of(on, world_of(context))
    use = institutions.counters.repeal(code, what, day)
    return Reply(_row(use), f"{code} allows {what} until the day before {day}")


@ordinance.command("list")
@replies
@click.pass_context
def ordinance_list(context: click.Context) -> Reply:
    """Show the ordinances of all municipalities."""
    rows = [_row(use) for use in institutions_of(context).counters.ordinances()]
    return Reply(rows, table(rows, "no ordinance allows an application"))


def _row(use: object) -> dict[str, object]:
    from kazashi.card_management.free_area import OrdinanceUse

    assert isinstance(use, OrdinanceUse)
    return {
        "municipality": use.municipality, "application": use.application, "in_force": use.in_force.isoformat(),
        "repealed": use.repealed.isoformat() if use.repealed else None,
    }  # fmt: skip


def _definition(what: str) -> Definition:
    """Return a definition of the program or, for anything that is not one of its names, from a file."""
    from kazashi.applets.free_area import DOCUMENTS, BadDefinition, Definition
    from kazashi.assembly.errors import UsageError
    from kazashi.world.input_file import read_text_input

    if what in DOCUMENTS:
        return Definition.parse(DOCUMENTS[what])
    try:
        text = read_text_input(what)
    except OSError as error:
        names = ", ".join(DOCUMENTS)
        raise UsageError(f"{what!r} is not one of {names}, and as a file: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise BadDefinition(f"{what} is not UTF-8") from error
    return Definition.parse(text)


def _code(text: str) -> MunicipalityCode:
    from kazashi.assembly.errors import UsageError
    from kazashi.resident_registry.municipality import municipality

    try:
        return municipality(text).code
    except ValueError as error:
        raise UsageError(str(error)) from error
