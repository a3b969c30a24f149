"""Commands of `kazashi card` for what a municipality's counter does with a card."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from kazashi.tools.cli.commands.completions import cards
from kazashi.tools.cli.commands.shared import Reply, institutions_of, replies

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
