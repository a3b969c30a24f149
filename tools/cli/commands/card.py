"""`kazashi card`: cards are made, renewed, shown, put into a reader and taken out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from kazashi.tools.cli.commands.shared import Reply, ask, institutions_of, new_world_of, replies, world_of


@click.group()
def card() -> None:
    """Make, renew, show, insert and remove cards."""


@card.command("new")
@click.argument("resident")
@click.option("--name", help="What to call the card (default: the resident's alias).")
@click.option("--pin", default="1234", show_default=True, help="Authentication, text and juki PIN, four digits.")
@click.option("--password", default="ABC123", show_default=True, help="Signature password, 6 to 16 of A-Z 0-9.")
@click.option("--atr", type=click.Choice(["plain", "extended", "short", "reader-made-1", "reader-made-2"]),
              default="plain", show_default=True, help="Which of the ATRs seen at real cards' contacts.")  # fmt: skip
@replies
@click.pass_context
def card_new(context: click.Context, resident: str, name: str | None, pin: str, password: str, atr: str) -> Reply:
    """Issue a card to a resident.

    RESIDENT is somebody of the registry, or of the cast (`kazashi card list --cast` shows them).
    """
    from kazashi.assembly.cards import described

    new_world_of(context)
    made(context, name or resident, resident=resident, pin=pin, password=password, atr=atr)
    found = described(world_of(context), name or resident)
    return Reply(found, _card_in_words(found))


@card.command("list")
@click.option("--cast", is_flag=True, help="The residents for whom a card can be made.")
@replies
@click.pass_context
def card_list(context: click.Context, cast: bool) -> Reply:
    """Show the cards of this world."""
    if cast:
        from kazashi.resident_registry.sample_residents import SAMPLE_RESIDENTS

        rows = [
            {"resident": found.alias, "name": str(found.name), "about": found.about}
            for found in SAMPLE_RESIDENTS.values()
        ]
        return Reply(rows, "\n".join(f"{row['resident']:15} {row['about']}" for row in rows))
    from kazashi.assembly.cards import card_names, described

    world = world_of(context)
    cards = [{"card": name, **described(world, name)} for name in card_names(world)]
    words = "\n".join(f"{found['card']:15} {found.get('name', found.get('damage', ''))}" for found in cards)
    return Reply(cards, words or "No cards yet; make one with: kazashi card new hanako")


@card.command("show")
@click.argument("name")
@replies
@click.pass_context
def card_show(context: click.Context, name: str) -> Reply:
    """Show all about one card, PINs included."""
    from kazashi.assembly.cards import described

    found = described(world_of(context), name, missing_is_error=True)
    return Reply(found, _card_in_words(found))


@card.command("insert")
@click.argument("name")
@click.option("--slot", default="", help="Number or reader name (default: the first empty slot).")
@click.option("--contactless", is_flag=True, help="Hold it to a contactless reader.")
@click.option(
    "--reset-keeps-status", is_flag=True, help="Keep PINs verified after a reset (measured on one contactless card)."
)
@click.option("--faults", type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="FILE",
              help="What goes wrong with it: a fault script (docs/faults.md).")  # fmt: skip
@replies
@click.pass_context
def card_insert(
    context: click.Context, name: str, slot: str, contactless: bool, reset_keeps_status: bool, faults: Path | None,
) -> Reply:  # fmt: skip
    """Put a card into a slot of the running bench."""
    made(context, name, missing_is_error=name != "hanako")
    told = ask(
        context, "insert", card=name, slot=slot, contactless=contactless, reset_keeps_status=reset_keeps_status,
        faults=str(faults.resolve()) if faults else "",
    )  # fmt: skip
    unseen = "" if told["seen"] else ", not yet seen by pcscd"
    return Reply(told, f"{name} is in {told['reader']}{unseen}")


@card.command("remove")
@click.argument("slot")
@replies
@click.pass_context
def card_remove(context: click.Context, slot: str) -> Reply:
    """Take a card out of its slot.

    SLOT is a number, a reader's name, or the card's name.
    """
    told = ask(context, "remove", slot=slot)
    return Reply(told, f"{told['reader']} is empty")


@card.command("renew")
@click.argument("name")
@replies
@click.pass_context
def card_renew(context: click.Context, name: str) -> Reply:
    """Put new certificates on a card.

    They replace those that are worth nothing any more, or end within three months. A card that lies in a reader shows
    them once it is put in anew (`kazashi card reset`).
    """
    kinds = [kind.code for kind in institutions_of(context).cards.renew(name)]
    return Reply({"card": name, "renewed": kinds}, f"{name} has a new {' and a new '.join(kinds)} certificate")


@card.command("reset")
@click.argument("slot")
@replies
@click.pass_context
def card_reset(context: click.Context, slot: str) -> Reply:
    """Take a card out and put it in again: a cold start."""
    told = ask(context, "reset", slot=slot)
    return Reply(told, f"{told['card']} is in {told['reader']} again")


def made(
    context: click.Context,
    name: str,
    *,
    resident: str | None = None,
    missing_is_error: bool = False,
    pin: str = "1234",
    password: str = "ABC123",
    atr: str = "plain",
) -> None:
    """Make a card; without `resident` only if there is none of that name, for the resident of the same alias."""
    from kazashi.assembly.errors import UsageError
    from kazashi.card_management.order import image_path

    try:
        there = image_path(world_of(context), name).exists()
    except ValueError as error:
        raise UsageError(str(error)) from error
    if there and resident is None:
        return
    if there:
        from kazashi.card.image import ImageExists

        raise ImageExists(f"there is a card {name!r} already; choose another name with --name")
    if missing_is_error:
        from kazashi.card.image import ImageMissing

        raise ImageMissing(f"there is no card {name!r}; make it with: kazashi card new RESIDENT --name {name}")
    from kazashi.assembly.cards import make_card

    make_card(institutions_of(context), name, resident or name, pin=pin, password=password, atr=atr)


def _card_in_words(described: dict[str, Any]) -> str:
    lines = [f"{name:20} {value}" for name, value in described.items() if not isinstance(value, dict)]
    lines += ["tries left"] + [f"  {name:40} {value}" for name, value in described.get("tries left", {}).items()]
    return "\n".join(lines)
