"""`kazashi card licence`: the driver's licence on a card."""

from __future__ import annotations

from datetime import date, datetime
from pathlib import Path

import click

from kazashi.tools.cli.commands.completions import cards
from kazashi.tools.cli.commands.shared import Reply, institutions_of, prefecture_of, replies

_CLASSES = [
    "large", "ordinary", "large-special", "large-motorcycle", "ordinary-motorcycle", "small-special", "moped", "towing",
    "large-commercial", "ordinary-commercial", "large-special-commercial", "towing-commercial", "medium",
    "medium-commercial", "semi-medium",
]  # fmt: skip


@click.group()
def licence() -> None:
    """Write a driver's licence onto a card (マイナ免許証).

    docs/drivers-licence.md describes the application, and how to read it and check its signature.
    """


@licence.command("add")
@click.argument("name", shell_complete=cards)
@click.option("--class", "classes", multiple=True, default=("ordinary",), show_default=True,
              type=click.Choice(_CLASSES), metavar="CLASS",
              help="A class of the licence, as in the list above; may be repeated.")  # fmt: skip
@click.option("--granted", type=click.DateTime(["%Y-%m-%d"]), help="The day on which it was granted (default: today).")
@click.option("--expires", type=click.DateTime(["%Y-%m-%d"]),
              help="Its last day (default: a month after the holder's third birthday from now).")  # fmt: skip
@click.option("--number", default="", metavar="DIGITS", help="12 digits (default: random, from 00).")
@click.option("--condition", "conditions", multiple=True, help="A condition, in full-width characters, as 眼鏡等.")
@click.option("--pin", help="Four digits (default: 1234).")
@click.option("--no-pin", is_flag=True, help="Set no PIN: every reader can read the licence.")
@replies
@click.pass_context
def licence_add(
    context: click.Context, name: str, classes: tuple[str, ...], granted: datetime | None, expires: datetime | None,
    number: str, conditions: tuple[str, ...], pin: str | None, no_pin: bool,
) -> Reply:  # fmt: skip
    """Write a licence onto a card.

    A card in a reader has it at once: PC/SC clients see the card removed and inserted again.

    CLASS is large, ordinary, large-special, large-motorcycle, ordinary-motorcycle, small-special, moped, towing,
    large-commercial, ordinary-commercial, large-special-commercial, towing-commercial, medium, medium-commercial or
    semi-medium.
    """
    from kazashi.applets.drivers_licence import LicenceClass
    from kazashi.assembly.errors import UsageError
    from kazashi.card_management.drivers_licence import LicenceApplication

    if no_pin and pin is not None:
        raise UsageError("--no-pin and --pin contradict each other")
    application = LicenceApplication(
        classes=[kind for kind in LicenceClass if kind.code in classes], granted=_day(granted), expires=_day(expires),
        number=number, conditions=conditions, pin="" if no_pin else "1234" if pin is None else pin,
    )  # fmt: skip
    written = institutions_of(context).police.write(name, application)
    document = {"card": name, "number": written.number, "classes": sorted(classes), "signed by": written.commission}
    return Reply(document, f"{name} carries the driver's licence {written.number}")


@licence.command("remove")
@click.argument("name", shell_complete=cards)
@replies
@click.pass_context
def licence_remove(context: click.Context, name: str) -> Reply:
    """Delete the licence from a card."""
    institutions_of(context).police.erase(name)
    return Reply({"card": name}, f"{name} carries no driver's licence any more")


@licence.command("key")
@click.argument("prefecture")
@click.option("--out", required=True, type=click.Path(dir_okay=False, writable=True, path_type=Path),
              help="Write the key to this file.")  # fmt: skip
@replies
@click.pass_context
def licence_key(context: click.Context, prefecture: str, out: Path) -> Reply:
    """Write the public key with which licences are checked.

    PREFECTURE is its two digits, such as 13. The key is in PEM.
    """
    from kazashi.assembly.terminals import licence_key as key_of

    out.write_bytes(key_of(institutions_of(context), prefecture_of(prefecture)))
    return Reply({"file": str(out)}, f"The key of the prefecture {prefecture} is in {out}")


def _day(given: datetime | None) -> date | None:
    return given.date() if given is not None else None
