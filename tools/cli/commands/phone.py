"""`kazashi phone`: the phone as a device that holds the two certificates."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from kazashi.tools.cli.commands.completions import cards, holders
from kazashi.tools.cli.commands.shared import Reply, ask, institutions_of, replies, table, world_of, write_bytes

_CARD = click.option(
    "--card", shell_complete=cards, help="The card that signs the application (default: the resident's card in use)."
)
_CARD_PASSWORD = click.option(
    "--card-password",
    default="ABC123",
    show_default=True,
    help="The card's signature password; a wrong one costs a try.",
)


@click.group()
def phone() -> None:
    """Manage the certificates on phones.

    A phone is put into a contactless reader with `kazashi card insert`, like a card.
    """


@phone.command("new")
@click.argument("resident", shell_complete=holders)
@click.option("--name", help="The phone's name (default: RESIDENT-phone).")
@_CARD
@_CARD_PASSWORD
@click.option("--pin", default="1234", show_default=True, help="The phone's authentication PIN: four digits.")
@click.option("--password", default="ABC123", show_default=True,
              help="The phone's signature password: 6 to 16 of A-Z and 0-9.")  # fmt: skip
@replies
@click.pass_context
def phone_new(
    context: click.Context, resident: str, name: str | None, card: str | None, card_password: str, pin: str,
    password: str,
) -> Reply:  # fmt: skip
    """Issue both certificates to a resident's phone.

    The phone makes its keys, and the resident's card signs the application. Their former phone's certificates are
    superseded.
    """
    from kazashi.assembly.cards import described
    from kazashi.assembly.phones import new_phone

    institutions, name = institutions_of(context), name or f"{resident}-phone"
    new_phone(institutions, name, resident, card or None, card_password=card_password, pin=pin, password=password)
    return Reply(described(institutions.world, name), f"{name} has both certificates; see: kazashi phone show {name}")


@phone.command("list")
@replies
@click.pass_context
def phone_list(context: click.Context) -> Reply:
    """Show the phones and the states of their certificates."""
    from kazashi.assembly.phones import phone_rows

    rows = phone_rows(institutions_of(context))
    return Reply(rows, table(rows, "No phones yet; make one with: kazashi phone new hanako"))


@phone.command("show")
@click.argument("name", shell_complete=cards)
@replies
@click.pass_context
def phone_show(context: click.Context, name: str) -> Reply:
    """Show a phone, with its PINs."""
    from kazashi.assembly.cards import described
    from kazashi.tools.cli.commands.card import card_in_words

    institutions_of(context).phones.phone(name)
    description = described(world_of(context), name, missing_is_error=True)
    return Reply(description, card_in_words(description))


@phone.command("application")
@click.argument("name", shell_complete=cards)
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Write to this file (default: stdout).")
@click.pass_context
def phone_application(context: click.Context, name: str, out: Path | None) -> None:
    """Write the application that the card signed.

    It is CMS SignedData (DER).
    """
    write_bytes(institutions_of(context).phones.application(name), out, "an application")


@phone.command("renew")
@click.argument("name", shell_complete=cards)
@_CARD
@_CARD_PASSWORD
@replies
@click.pass_context
def phone_renew(context: click.Context, name: str, card: str | None, card_password: str) -> Reply:
    """Issue new certificates to a phone.

    The card must have been renewed before, and signs the application. A phone that was found again needs this for its
    signature certificate.
    """
    from kazashi.assembly.phones import renew_phone

    renew_phone(institutions_of(context), name, card or None, card_password)
    return _certificates(context, name, f"{name} has new certificates")


@phone.command("stop")
@click.argument("name", shell_complete=cards)
@replies
@click.pass_context
def phone_stop(context: click.Context, name: str) -> Reply:
    """Put a lost phone's certificates on hold, as the loss line does."""
    institutions_of(context).phones.stop(name)
    return _certificates(context, name, f"the certificates of {name} are on hold")


@phone.command("release")
@click.argument("name", shell_complete=cards)
@replies
@click.pass_context
def phone_release(context: click.Context, name: str) -> Reply:
    """Release the authentication certificate from hold.

    Do this when the phone was found again. The signature certificate stays on hold; `kazashi phone renew` issues a new
    one.
    """
    institutions_of(context).phones.release(name)
    return _certificates(context, name, f"the authentication certificate of {name} is good again")


@phone.command("delete")
@click.argument("name", shell_complete=cards)
@replies
@click.pass_context
def phone_delete(context: click.Context, name: str) -> Reply:
    """Revoke a phone's certificates and delete them from it.

    Do this before a phone is sold or repaired. A factory reset does neither.
    """
    from contextlib import suppress

    from kazashi.reader_bridge.control import ControlRejected, NotRunning

    institutions = institutions_of(context)
    with suppress(NotRunning, ControlRejected):  # it is in no reader
        ask(context, "remove", slot=name)
    kinds = [kind.code for kind in institutions.phones.delete(name)]
    institutions.settle()
    data: dict[str, Any] = {"phone": name, "revoked": kinds}
    return Reply(data, f"{name} has no certificates any more" + (f"; revoked: {', '.join(kinds)}" if kinds else ""))


def _certificates(context: click.Context, name: str, words: str) -> Reply:
    from kazashi.assembly.phones import phone_rows

    institutions = institutions_of(context)
    institutions.settle()
    (row,) = (row for row in phone_rows(institutions) if row["phone"] == name)
    return Reply(row, words)
