"""`kazashi network outside` and `inquiry`: what is given outside the network."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from kazashi.tools.cli.commands.network_shared import network_of
from kazashi.tools.cli.commands.shared import Reply, day_of, gathered, replies, table

if TYPE_CHECKING:
    from kazashi.assembly.network_outside import Circumstances
    from kazashi.provision_network.inquiries import RegisteredInquiry
    from kazashi.provision_network.off_network import Given

_HANDLES = {"number": "INDIVIDUAL_NUMBER", "code": "PROVISION_CODE", "record-code": "RESIDENT_RECORD_CODE",
            "serial": "CERTIFICATE_SERIAL", "mykey": "MYKEY_ID", "name": ""}  # fmt: skip
_handle_option = click.option(
    "--with", "handle", type=click.Choice(list(_HANDLES)), default="number", show_default=True,
    help="The identifier that the information has; name for none.",
)  # fmt: skip


def _circumstances(
    law: str, ordinance: str, danger: str, hard_to_obtain: str, identity: str, rule: int | None, on_line: bool,
    council: str, safeguards: str,
) -> Circumstances:  # fmt: skip
    from kazashi.assembly.network_outside import Circumstances

    return Circumstances(law, ordinance, danger, hard_to_obtain, identity, council, safeguards, rule, on_line)


@click.group()
def outside() -> None:
    """Give information outside the network (番号法19条).

    A closed list of items says who may give specific personal information to whom without the network. The provider
    logs it, and the portal does not show it.
    """


@outside.command("provide")
@click.argument("who")
@click.option("--from", "sender", metavar="PARTY", required=True, help="The body that gives; 本人 for WHO themselves.")
@click.option("--to", "receiver", metavar="PARTY", required=True, help="The body or other party that gets it.")
@click.option("--item", required=True, help="The item of article 19: its number on the world's day, or its name.")
@click.option("--for", "purpose", metavar="PURPOSE", default="", help="The purpose.")
@click.option("--information", default="", help="What is given, as in the table of affairs.")
@_handle_option
@gathered(
    "circumstances", _circumstances,
    click.option("--law", default="", help="The law of the receiver's affair, for tax data."),
    click.option("--ordinance", metavar="ID", default="", help="The provider's ordinance, as filed."),
    click.option("--danger", metavar="TEXT", default="", help="What is in danger: life, body or property."),
    click.option("--hard-to-obtain", metavar="TEXT", default="", help="Why consent is hard to obtain."),
    click.option("--identity", metavar="TEXT", default="", help="How the person's identity was checked (16条)."),
    click.option("--rule", type=int, metavar="N", help="The purpose of the Commission's rule."),
    click.option("--on-line", is_flag=True, help="It is given online; the provider's ordinance decides."),
    click.option("--council", metavar="TEXT", default="", help="How the provider's council was heard about it."),
    click.option("--safeguards", metavar="TEXT", default="", help="Which safeguards there are."),
)  # fmt: skip
@replies
@click.pass_context
def outside_provide(
    context: click.Context, who: str, sender: str, receiver: str, item: str, purpose: str, information: str,
    handle: str, circumstances: Circumstances,
) -> Reply:  # fmt: skip
    """Give information about WHO to another party.

    The parties' roles, a contract (`network entrust`), a consent (`network consent`) and an ordinance (`network
    ordinance`) come from the registers. What the law does not allow is refused and logged.
    """
    from kazashi.assembly.network_outside import OutsideProvisions, item_of
    from kazashi.provision_network.law.provisions import PersonField

    network = network_of(context)
    person, chosen = network.institutions.registry.find(who), item_of(item, day_of(None, network.world))
    field = PersonField[_HANDLES[handle]] if _HANDLES[handle] else None
    given = OutsideProvisions(network).provide(
        person, sender, receiver, chosen, purpose, information, field, circumstances
    )
    row = {**_line(given.line), "content": given.content}
    return Reply(row, f"{sender} has given {row['what']} to {receiver}: {row['rule']}")


@outside.command("list")
@click.argument("provider", required=False)
@replies
@click.pass_context
def outside_list(context: click.Context, provider: str | None) -> Reply:
    """Show the log of a provider, or of all, with what was denied."""
    from kazashi.provision_network.off_network import OffNetwork

    rows = [_line(one) for one in OffNetwork(network_of(context).world).given(provider)]
    return Reply(rows, table(rows, "nothing was given outside the network"))


@outside.command("on-line")
@click.argument("body")
@click.argument("rule", required=False, type=click.Choice(["forbidden-unless", "possible-if"]))
@replies
@click.pass_context
def outside_on_line(context: click.Context, body: str, rule: str | None) -> Reply:
    """Show or set what BODY's ordinance says about online provision.

    It is forbidden unless the council was heard, or possible if there are safeguards.
    """
    from kazashi.provision_network.law.provisions import OnLine
    from kazashi.provision_network.on_line_rules import OnLineRules

    network = network_of(context)
    network.member(body)
    rules = OnLineRules(network.world)
    if rule is not None:
        rules.set(body, OnLine[rule.replace("-", "_").upper()])
    current = rules.of(body).on_line
    row = {"body": body, "on_line": current.name.replace("_", "-").lower(), "words": current.value}
    return Reply(row, f"{body}: online provision is {current.value}")


# Inquiries


@click.group()
def inquiry() -> None:
    """Manage the inquiries of investigators (捜査関係事項照会 and others).

    A body that is asked registers the inquiry. A person decides it; nothing is answered by itself.
    """


@inquiry.command("add")
@click.argument("body")
@click.argument("who")
@click.option("--from", "investigator", metavar="PARTY", required=True, help="Who asks.")
@click.option("--basis", required=True, help="刑訴197, 入管28, 政令N, 規則N, or a purpose such as 裁判手続.")
@click.option("--case", required=True, help="The case.")
@click.option("--reason", required=True, help="The written reason.")
@click.option("--item", "information", required=True, help="What is asked for.")
@_handle_option
@replies
@click.pass_context
def inquiry_add(
    context: click.Context, body: str, who: str, investigator: str, basis: str, case: str, reason: str,
    information: str, handle: str,
) -> Reply:  # fmt: skip
    """Register an inquiry about WHO at BODY."""
    from kazashi.assembly.network_outside import OutsideProvisions
    from kazashi.provision_network.law.provisions import PersonField

    network = network_of(context)
    field = PersonField[_HANDLES[handle]] if _HANDLES[handle] else None
    added = OutsideProvisions(network).inquire(
        body, network.institutions.registry.find(who), investigator, basis, case, reason, information, field
    )
    words = f"inquiry {added.number} waits for a decision: kazashi network inquiry decide {body} {added.number}"
    return Reply(_inquiry_row(added), words)


@inquiry.command("decide")
@click.argument("body")
@click.argument("number", type=int)
@click.argument("outcome", type=click.Choice(["granted", "refused"]))
@click.option("--by", "approved_by", metavar="PERSON", required=True, help="The person who decides.")
@replies
@click.pass_context
def inquiry_decide(context: click.Context, body: str, number: int, outcome: str, approved_by: str) -> Reply:
    """Decide an inquiry.

    A granted one is answered if the law allows it, and logged either way.
    """
    from kazashi.assembly.network_outside import OutsideProvisions

    outside = OutsideProvisions(network_of(context))
    decided, answer = outside.decide(body, number, approved_by, granted=outcome == "granted")
    row = {**_inquiry_row(decided), "line": None if answer is None else answer.line.position,
           "content": None if answer is None else answer.content}  # fmt: skip
    return Reply(row, f"inquiry {number} is {outcome} by {approved_by}: {decided.rule or decided.denial}")


@inquiry.command("list")
@click.argument("body", required=False)
@replies
@click.pass_context
def inquiry_list(context: click.Context, body: str | None) -> Reply:
    """Show the inquiries at a body, or at all."""
    from kazashi.provision_network.inquiries import Inquiries

    rows = [_inquiry_row(one) for one in Inquiries(network_of(context).world).of(body)]
    return Reply(rows, table(rows, "there are no inquiries"))


def _line(one: Given) -> dict[str, Any]:
    return {
        "line": one.position, "at": one.at.isoformat(), "from": one.provider, "to": one.receiver,
        "item": one.item.value, "what": one.what, "with": one.handle.value if one.handle else "",
        "for": one.facts.get("purpose", ""), "rule": one.rule, "denial": one.denial, "subject": one.subject,
    }  # fmt: skip


def _inquiry_row(one: RegisteredInquiry) -> dict[str, Any]:
    return {
        "number": one.number, "body": one.body, "from": one.investigator, "basis": one.basis, "case": one.case,
        "reason": one.reason, "item": one.information, "with": one.handle.value if one.handle else "",
        "received": one.received.isoformat(), "decided": None if one.decided is None else one.decided.isoformat(),
        "by": one.approved_by, "rule": one.rule, "denial": one.denial,
    }  # fmt: skip
