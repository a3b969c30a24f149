"""Commands of `kazashi card` for what a municipality's counter does with a card."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

import click

from kazashi.tools.cli.commands.completions import cards, holders
from kazashi.tools.cli.commands.shared import Reply, institutions_of, new_world_of, replies, table

if TYPE_CHECKING:
    from kazashi.card_management.case import CaseType


@click.command("renew")
@click.argument("name", shell_complete=cards)
@replies
@click.pass_context
def card_renew(context: click.Context, name: str) -> Reply:
    """Renew the certificates on a card.

    New certificates replace those that are no longer valid or end within three months, and the card gets the holder's
    registered name and address, as with `kazashi card update`. A card in a reader has them at once: PC/SC clients see
    it removed and inserted again.
    """
    from kazashi.card_management.case import CaseType

    return _visited(context, name, CaseType.RENEWAL)


@click.command("update")
@click.argument("name", shell_complete=cards)
@replies
@click.pass_context
def card_update(context: click.Context, name: str) -> Reply:
    """Bring a card up to date after a move or a new name.

    The counter (券面事項の変更) writes the registered name, address, date of birth and sex to the chip and to the field
    for additional entries on the card's face, continues the use of the card after a move (継続利用), and replaces
    certificates that are no longer good. PINs and their retry counters are kept. A card in a reader changes at once.
    """
    from kazashi.card_management.case import CaseType

    return _visited(context, name, CaseType.UPDATE)


def _visited(context: click.Context, name: str, what: CaseType) -> Reply:
    from kazashi.assembly.counter import visit

    done = visit(institutions_of(context), name, what)
    kinds = [kind.code for kind in done.certificates]
    lines = [f"{name} has a new {' and a new '.join(kinds)} certificate"] if kinds else []
    lines += ["The use of the card is continued."] if done.continued else []
    lines += [f"entered on the card: {entry}" for entry in done.entries]
    data = {"card": name, "renewed": kinds, "entered": done.entries, "continued": done.continued}
    return Reply(data, "\n".join(lines))


@click.command("order")
@click.argument("resident", shell_complete=holders)
@click.option("--name", help="The card's name (default: the resident's alias).")
@click.option("--express", is_flag=True, help="Express issuance (特急発行): in a week, for those who may have it.")
@replies
@click.pass_context
def card_order(context: click.Context, resident: str, name: str | None, express: bool) -> Reply:
    """Apply for a first card.

    The card is delivered when the world's clock has reached the day that this command shows: after 30 days, after 7
    with --express, after 60 abroad. `kazashi card new` makes a card at once.
    """
    from kazashi.assembly.counter import apply

    new_world_of(context)
    at = apply(institutions_of(context), name or resident, resident, express=express)
    return _ordered(name or resident, at)


@click.command("reissue")
@click.argument("card", shell_complete=cards)
@click.option(
    "--reason",
    type=click.Choice(["expiry", "lost", "damaged", "full", "ended"]),
    required=True,
    help="Why: it ends within three months (the next card: a year), was reported lost, is damaged, has no room for"
    " entries, or has ended.",
)
@click.option("--name", help="The new card's name (default: the old one's with a number).")
@click.option("--express", is_flag=True, help="Express issuance (特急発行): in a week, for those who may have it.")
@click.option("--model", type=click.Choice(["card", "next"]),
              help="Today's card, or the next one (default: the model of CARD).")  # fmt: skip
@replies
@click.pass_context
def card_reissue(
    context: click.Context, card: str, reason: str, name: str | None, express: bool, model: str | None
) -> Reply:
    """Apply for a card in place of CARD.

    The new card is delivered as with `kazashi card order`, with the PINs that CARD was issued with. CARD ends then, and
    its certificates are revoked.
    """
    from kazashi.card_management.entitlement import ReissueReason
    from kazashi.card_management.order import next_name

    institutions = institutions_of(context)
    new = name or next_name(institutions.world, card)
    at = institutions.cards.reissue(card, ReissueReason(reason), new, express=express, model=model or "")
    return _ordered(new, at, replaces=card)


@click.command("history")
@click.argument("name", shell_complete=cards)
@replies
@click.pass_context
def card_history(context: click.Context, name: str) -> Reply:
    """Show a card's history.

    It has the orders and deliveries, renewals and updates, stops and the end of the card.
    """
    from kazashi.card_management.records import NoSuchCard
    from kazashi.world.clock import JST

    history = institutions_of(context).cards.history(name)
    if not history:
        raise NoSuchCard(f"this card management knows nothing of a card {name!r}; see: kazashi card list")
    rows = [{"at": at.astimezone(JST).isoformat(), "what": what, "note": note} for at, what, note in history]
    return Reply(rows, table(rows, ""))


def _ordered(name: str, at: datetime, **more: str) -> Reply:
    from kazashi.world.clock import JST

    at = at.astimezone(JST)
    data = {"card": name, "delivered": at.isoformat(), **more}
    return Reply(data, f"the card {name} will be delivered on {at:%Y-%m-%d}")
