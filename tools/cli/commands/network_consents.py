"""`kazashi network consent`: the bodies' registers of consents."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from kazashi.tools.cli.commands.network_shared import day_option, network_of
from kazashi.tools.cli.commands.shared import Reply, day_of, replies, table

if TYPE_CHECKING:
    from kazashi.provision_network.consents import Consent


@click.group()
def consent() -> None:
    """Manage the bodies' registers of consents (同意).

    The law asks for consent for tax data, health checks and some others. It changes nothing where the law does not.
    """


@consent.command("add")
@click.argument("body")
@click.argument("who")
@click.option("--item", required=True, help="The information that the consent covers.")
@click.option("--to", "receiver", metavar="PARTY", required=True, help="The body or office that gets it.")
@click.option("--for", "purpose", metavar="PURPOSE", required=True, help="The law or purpose that it is given for.")
@day_option
@replies
@click.pass_context
def consent_add(
    context: click.Context, body: str, who: str, item: str, receiver: str, purpose: str, on: str | None
) -> Reply:  # fmt: skip
    """Register WHO's consent at BODY.

    BODY is the one that gives the information, or the one that asks for it over the network.
    """
    from kazashi.assembly.network_outside import OutsideProvisions

    network = network_of(context)
    outside = OutsideProvisions(network)
    subject = outside.subject(body, network.institutions.registry.find(who))
    added = outside.consents.add(body, subject, item, receiver, purpose, day_of(on, network.world))
    return Reply(_row(added), f"consent {added.number} of {body}: {item} to {receiver} for {purpose}")


@consent.command("withdraw")
@click.argument("body")
@click.argument("number", type=int)
@day_option
@replies
@click.pass_context
def consent_withdraw(context: click.Context, body: str, number: int, on: str | None) -> Reply:
    """Withdraw a consent.

    From that day nothing is given on its basis, also if it was asked for before.
    """
    from kazashi.provision_network.consents import Consents

    network = network_of(context)
    withdrawn = Consents(network.world).withdraw(body, number, day_of(on, network.world))
    return Reply(_row(withdrawn), f"consent {number} of {body} is withdrawn on {withdrawn.withdrawn}")


@consent.command("list")
@click.argument("body", required=False)
@replies
@click.pass_context
def consent_list(context: click.Context, body: str | None) -> Reply:
    """Show the consents in the register of a body, or of all."""
    from kazashi.provision_network.consents import Consents

    rows = [_row(one) for one in Consents(network_of(context).world).of(body)]
    return Reply(rows, table(rows, "nobody has consented to anything"))


def _row(one: Consent) -> dict[str, Any]:
    return {
        "number": one.number, "body": one.body, "address_number": one.address_number, "item": one.information,
        "to": one.receiver, "for": one.purpose, "given": one.given.isoformat(),
        "withdrawn": None if one.withdrawn is None else one.withdrawn.isoformat(),
    }  # fmt: skip
