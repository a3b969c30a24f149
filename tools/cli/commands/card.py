"""`kazashi card`: make, renew and show cards, and insert them into and remove them from readers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from kazashi.tools.cli.commands.card_counter import card_history, card_order, card_reissue, card_renew, card_update
from kazashi.tools.cli.commands.card_free_area import application, ordinance
from kazashi.tools.cli.commands.card_licence import licence
from kazashi.tools.cli.commands.card_relay import relay
from kazashi.tools.cli.commands.completions import cards, holders, slots
from kazashi.tools.cli.commands.inputs import Input, InputFile
from kazashi.tools.cli.commands.shared import Reply, ask, institutions_of, new_world_of, replies, world_of, write_bytes

LARGEST_PHOTO = 10 << 20
"""The largest picture that is read (`kazashi.applets.photo.LARGEST_FILE`; that module loads an imaging library)."""


@click.group()
def card() -> None:
    """Make, renew, show, insert and remove cards."""


@card.command("new")
@click.argument("resident", shell_complete=holders)
@click.option("--name", help="The card's name (default: the resident's alias).")
@click.option("--pin", default="1234", show_default=True, help="Authentication, text and juki PIN: four digits.")
@click.option("--password", default="ABC123", show_default=True, help="Signature password: 6 to 16 of A-Z and 0-9.")
@click.option("--atr", type=click.Choice(["plain", "extended", "short", "reader-made-1", "reader-made-2"]),
              default="plain", show_default=True, help="One of the ATRs observed at real cards' contacts.")  # fmt: skip
@click.option("--length-form", type=click.Choice(["82", "81"]), default="82", show_default=True,
              help="The form of lengths from 128 to 255 in the text application (docs/differences.md).")  # fmt: skip
@click.option("--photo", type=Input(LARGEST_PHOTO), metavar="FILE",
              help="The holder's photograph: JPEG, PNG, WebP or JPEG 2000 (default: a drawn head).")  # fmt: skip
@click.option("--model", type=click.Choice(["card", "next"]), default="card", show_default=True,
              help="Today's card, or the next one (docs/next-card.md).")  # fmt: skip
@replies
@click.pass_context
def card_new(
    context: click.Context, resident: str, name: str | None, pin: str, password: str, atr: str, length_form: str,
    photo: InputFile | None, model: str,
) -> Reply:  # fmt: skip
    """Issue a card to a resident.

    RESIDENT is in the registry, or one of the sample residents (`kazashi card list --samples` shows them). The photo is
    cut to 4 by 5 around its middle, and made smaller (docs/workbench.md).
    """
    from kazashi.assembly.cards import described

    new_world_of(context)
    made(
        context,
        name or resident,
        resident=resident,
        pin=pin,
        password=password,
        atr=atr,
        length_form=int(length_form, 16),
        photo=photo.read() if photo else None,
        model=model,
    )
    description = described(world_of(context), name or resident)
    return Reply(description, card_in_words(description))


@card.command("juki")
@click.argument("resident", shell_complete=holders)
@click.option("--name", help="The card's name (default: RESIDENT-juki).")
@click.option("--issued", metavar="YYYY-MM-DD", help="The day of issue, up to 2015-12-22 (default: today).")
@click.option("--password", default="ABC123", show_default=True, help="Signature password: 6 to 16 of A-Z and 0-9.")
@replies
@click.pass_context
def card_juki(context: click.Context, resident: str, name: str | None, issued: str | None, password: str) -> Reply:
    """Issue a Juki card, the older medium.

    A Juki card (住基カード) has a signature certificate of three years. The authority here began on 2015-10-20, and the
    last one was issued on 2015-12-22. It is revoked when its holder gets an Individual Number Card.
    """
    from kazashi.assembly.cards import described, make_juki_card

    new_world_of(context)
    make_juki_card(institutions_of(context), name or f"{resident}-juki", resident, issued, password)
    description = described(world_of(context), name or f"{resident}-juki")
    return Reply(description, card_in_words(description))


@card.command("list")
@click.option("--samples", is_flag=True, help="Show the sample residents instead, to whom a card can be issued.")
@replies
@click.pass_context
def card_list(context: click.Context, samples: bool) -> Reply:
    """Show the cards of this world."""
    if samples:
        from kazashi.resident_registry.sample_residents import SAMPLE_RESIDENTS

        rows = [
            {"resident": sample.alias, "name": str(sample.name), "about": sample.about}
            for sample in SAMPLE_RESIDENTS.values()
        ]
        return Reply(rows, "\n".join(f"{row['resident']:15} {row['about']}" for row in rows))
    from kazashi.assembly.cards import described
    from kazashi.card_management.order import card_names

    world = world_of(context)
    cards = [{"card": name, **described(world, name)} for name in card_names(world)]
    words = "\n".join(f"{card['card']:15} {card.get('name', card.get('damage', ''))}" for card in cards)
    return Reply(cards, words or "No cards yet; make one with: kazashi card new hanako")


@card.command("show")
@click.argument("name", shell_complete=cards)
@replies
@click.pass_context
def card_show(context: click.Context, name: str) -> Reply:
    """Show a card, its PINs and its state."""
    from kazashi.assembly.cards import described
    from kazashi.assembly.counter import described_status

    description = described(world_of(context), name, missing_is_error=True)
    description |= described_status(institutions_of(context), name)
    return Reply(description, card_in_words(description))


@card.command("face")
@click.argument("name", shell_complete=cards)
@click.option("--side", type=click.Choice(["front", "back"]), help="Draw one side only (default: both).")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
              help="Write the picture to FILE (default: stdout).")  # fmt: skip
@click.pass_context
def card_face(context: click.Context, name: str, side: str | None, out: Path | None) -> None:
    """Draw a card's face, front and back.

    It is a PNG of what the card's visual application holds, marked as a sample.
    """
    from kazashi.assembly.cards import face

    write_bytes(face(world_of(context), name, side or ""), out, "a picture")


@card.command("insert")
@click.argument("name", shell_complete=cards)
@click.option("--slot", default="", shell_complete=slots,
              help="Number or reader name (default: the first empty slot).")  # fmt: skip
@click.option("--contactless", is_flag=True, help="Use a contactless reader.")
@click.option(
    "--reset-keeps-status", is_flag=True, help="Keep PINs verified after a reset (measured on one contactless card)."
)
@click.option("--faults", type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="FILE",
              help="Inject the faults of a fault script (docs/faults.md).")  # fmt: skip
@replies
@click.pass_context
def card_insert(
    context: click.Context, name: str, slot: str, contactless: bool, reset_keeps_status: bool, faults: Path | None,
) -> Reply:  # fmt: skip
    """Insert a card into a slot.

    The slot is one of the running instance.
    """
    made(context, name, missing_is_error=name != "hanako")
    reply = ask(
        context, "insert", card=name, slot=slot, contactless=contactless, reset_keeps_status=reset_keeps_status,
        faults=str(faults.resolve()) if faults else "",
    )  # fmt: skip
    unseen = "" if reply["seen"] else ", not yet detected by pcscd"
    return Reply(reply, f"{name} is in {reply['reader']}{unseen}")


@card.command("remove")
@click.argument("slot", shell_complete=slots)
@replies
@click.pass_context
def card_remove(context: click.Context, slot: str) -> Reply:
    """Remove a card from its slot.

    SLOT is a number, a reader's name, or the card's name.
    """
    reply = ask(context, "remove", slot=slot)
    return Reply(reply, f"{reply['reader']} is empty")


@card.command("terminal")
@click.argument("public_key", type=Input())
@click.option("--out", required=True, type=click.Path(dir_okay=False, writable=True, path_type=Path),
              help="Write the certificate to this file.")  # fmt: skip
@replies
@click.pass_context
def card_terminal(context: click.Context, public_key: InputFile, out: Path) -> Reply:
    """Certify a terminal that logs in without a PIN.

    PUBLIC_KEY is a file with an RSA key of 2048 bits in PEM (openssl rsa -pubout). The cards of this world accept the
    certificate, and let the terminal use the authentication key (docs/card.md).
    """
    from kazashi.assembly.terminals import terminal_certificate

    certificate = terminal_certificate(institutions_of(context), public_key.read(), public_key.name)
    out.write_bytes(certificate)
    return Reply({"certificate": certificate.hex(), "file": str(out)}, f"The terminal's certificate is in {out}")


@card.command("reset")
@click.argument("slot", shell_complete=slots)
@replies
@click.pass_context
def card_reset(context: click.Context, slot: str) -> Reply:
    """Remove a card and insert it again.

    This is a cold reset. SLOT is a number, a reader's name, or the card's name.
    """
    reply = ask(context, "reset", slot=slot)
    return Reply(reply, f"{reply['card']} is in {reply['reader']} again")


for command in (
    card_renew, card_update, card_order, card_reissue, card_history, application, ordinance, licence, relay
):  # fmt: skip
    card.add_command(command)


def made(
    context: click.Context,
    name: str,
    *,
    resident: str | None = None,
    missing_is_error: bool = False,
    pin: str = "1234",
    password: str = "ABC123",
    atr: str = "plain",
    length_form: int = 0x82,
    photo: bytes | None = None,
    model: str = "card",
) -> None:
    """Make a card for `resident`, which must not exist yet. Without `resident`, make the card only if it does not
    exist, for the resident with the card's name as alias.

    Raises UsageError, PhotoRejected, ImageExists, and ImageMissing if the card does not exist and `missing_is_error`.
    """
    from kazashi.assembly.errors import UsageError
    from kazashi.card_management.order import image_path

    try:
        exists = image_path(world_of(context), name).exists()
    except ValueError as error:
        raise UsageError(str(error)) from error
    if exists and resident is None:
        return
    if exists:
        from kazashi.card.image import ImageExists

        raise ImageExists(f"there is already a card {name!r}; choose another name with --name")
    if missing_is_error:
        from kazashi.card.image import ImageMissing

        raise ImageMissing(f"there is no card {name!r}; make it with: kazashi card new RESIDENT --name {name}")
    from kazashi.assembly.cards import make_card

    make_card(
        institutions_of(context), name, resident or name, pin=pin, password=password, atr=atr, length_form=length_form,
        photo=photo, model=model,
    )  # fmt: skip


def card_in_words(described: dict[str, Any]) -> str:
    """Return the description of a card or phone as lines of text."""
    lines = [f"{name:20} {value}" for name, value in described.items() if not isinstance(value, dict | list)]
    lines += [f"application          {row['application']} ({row['aid']})" for row in described.get("applications", [])]
    lines += ["retries left"] + [f"  {name:40} {value}" for name, value in described.get("tries left", {}).items()]
    return "\n".join(lines)
