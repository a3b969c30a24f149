"""`kazashi network records`, `basis`, `request`, `entrust` and `inspect`: what people and the Commission may know."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from kazashi.tools.cli.commands.network_shared import day_option, network_of
from kazashi.tools.cli.commands.shared import Reply, day_of, replies, table

if TYPE_CHECKING:
    from kazashi.provision_network.body_registers import Entrustment, RegisteredRequest

_KINDS = {"disclosure": "DISCLOSURE", "correction": "CORRECTION", "stop-use": "STOP_USE",
          "stop-matching": "STOP_MATCHING"}  # fmt: skip


@click.command("records")
@click.argument("who")
@click.option("--as", "actor", metavar="ACTOR", default="", help="Who looks (default: the operator of the core).")
@replies
@click.pass_context
def records(context: click.Context, who: str, actor: str) -> Reply:
    """Show a person's provision records.

    They are shown as the portal shows them. That somebody has looked is recorded first, and the portal shows it to the
    person.
    """
    from kazashi.assembly.errors import UsageError
    from kazashi.provision_network.documents import DocumentRejected, checked_text
    from kazashi.provision_network.provision_records import OPERATOR

    network = network_of(context)
    code = network.core.codes.portal_code(str(network.institutions.registry.find(who).code))
    try:
        named = checked_text(actor, "--as") if actor else OPERATOR
    except DocumentRejected as rejected:
        raise UsageError(str(rejected)) from rejected
    rows = [
        {"number": record.number, "asked": record.requested_at.isoformat(), "by": record.requester,
         "of": record.provider, "item": record.item, "state": record.outcome.value, "rule": record.reason}
        for record in network.core.records.look(code, named)
    ]  # fmt: skip
    return Reply(rows, table(rows, "there are no queries about this person yet"))


@click.command("basis")
@click.argument("body", required=False)
@replies
@click.pass_context
def basis(context: click.Context, body: str | None) -> Reply:
    """Count the exchanges by legal basis, of one body or of all.

    Denied queries do not count.
    """
    network = network_of(context)
    if body is not None:
        network.member(body)
    counts = network.core.records.by_basis(body)
    rows = [{"basis": name, "exchanges": count} for name, count in sorted(counts.items())]
    return Reply(counts, table(rows, "there were no exchanges yet"))


@click.group()
def request() -> None:
    """Manage people's requests to bodies (番号法29条 to 31条).

    A person can ask a body for disclosure, correction or a stop of use. The body decides within 30 days.
    """


@request.command("add")
@click.argument("body")
@click.argument("who")
@click.argument("kind", type=click.Choice(list(_KINDS)))
@click.option("--item", required=True, help="The item that the request is about.")
@click.option("--content", default="", help="The right content, for a correction.")
@day_option
@replies
@click.pass_context
def request_add(
    context: click.Context, body: str, who: str, kind: str, item: str, content: str, on: str | None
) -> Reply:  # fmt: skip
    """Register a person's request to a body.

    The law does not provide for a request to stop matching, which is refused.
    """
    from kazashi.assembly.network_rights import NetworkRights
    from kazashi.provision_network.person_rights import PersonRequest

    network = network_of(context)
    network.member(body)
    person, day = network.institutions.registry.find(who), day_of(on, network.world)
    added = NetworkRights(network).receive(body, person, PersonRequest[_KINDS[kind]], item, content, day)
    return Reply(_row(added, day), f"request {added.number} must be decided by {added.deadline}")


@request.command("decide")
@click.argument("body")
@click.argument("number", type=int)
@click.argument("outcome", type=click.Choice(["granted", "refused"]))
@click.option("--reason", default="", help="The reason; a refusal needs one.")
@day_option
@replies
@click.pass_context
def request_decide(
    context: click.Context, body: str, number: int, outcome: str, reason: str, on: str | None
) -> Reply:  # fmt: skip
    """Decide a request, and carry it out if it is granted.

    A disclosure shows the copy, and which offices of the body saw it. A correction registers the right content, and
    tells the bodies that have received the old one. A stop of use deletes the copy.
    """
    from kazashi.assembly.network_rights import NetworkRights

    network = network_of(context)
    day = day_of(on, network.world)
    decided = NetworkRights(network).decide(body, number, day, reason, granted=outcome == "granted")
    flows = [{"at": one.at.isoformat(), "from": one.flow.from_office, "to": one.flow.to_office, "rule": one.rule,
              "denial": one.denial} for one in decided.flows]  # fmt: skip
    row = {**_row(decided.request, day), "disclosed": decided.disclosed, "flows": flows}
    shown = "".join(f"\n{item}: {content}" for item, content in decided.disclosed.items())
    shown += "".join(f"\n{one['from']} -> {one['to']}: {one['rule'] or one['denial']}" for one in flows)
    return Reply(row, f"request {number} is {outcome}{shown}")


@request.command("list")
@click.argument("body", required=False)
@replies
@click.pass_context
def request_list(context: click.Context, body: str | None) -> Reply:
    """Show the requests to a body, or to all.

    Each has its deadline and its outcome.
    """
    from kazashi.assembly.network_rights import NetworkRights

    network = network_of(context)
    today = day_of(None, network.world)
    rows = [_row(one, today) for one in NetworkRights(network).registers.requests(body)]
    return Reply(rows, table(rows, "there are no requests"))


@click.group()
def entrust() -> None:
    """Manage entrustments (委託, 番号法10条).

    A body can entrust an affair to another party, which may then use the body's business systems.
    """


@entrust.command("add")
@click.argument("body")
@click.argument("party")
@click.option("--contract", required=True, help="The contract.")
@day_option
@replies
@click.pass_context
def entrust_add(context: click.Context, body: str, party: str, contract: str, on: str | None) -> Reply:
    """Register that a body entrusts an affair to a party."""
    from kazashi.assembly.network_rights import NetworkRights

    network = network_of(context)
    network.member(body)
    added = NetworkRights(network).registers.entrust(body, party, contract, day_of(on, network.world))
    return Reply(_entrusted(added), f"{party} may use systems of {body}; see: kazashi network system add --for")


@entrust.command("end")
@click.argument("body")
@click.argument("party")
@day_option
@replies
@click.pass_context
def entrust_end(context: click.Context, body: str, party: str, on: str | None) -> Reply:
    """End an entrustment.

    The body's systems that the party uses are removed.
    """
    from kazashi.assembly.network_rights import NetworkRights

    network = network_of(context)
    ended = NetworkRights(network).end_entrustment(body, party, day_of(on, network.world))
    return Reply(_entrusted(ended), f"{party} no longer uses systems of {body}")


@entrust.command("list")
@click.argument("body", required=False)
@replies
@click.pass_context
def entrust_list(context: click.Context, body: str | None) -> Reply:
    """Show the entrustments of a body, or of all."""
    from kazashi.assembly.network_rights import NetworkRights

    rows = [_entrusted(one) for one in NetworkRights(network_of(context)).registers.entrustments(body)]
    return Reply(rows, table(rows, "nothing is entrusted"))


@click.command("inspect")
@click.argument("body")
@replies
@click.pass_context
def inspect(context: click.Context, body: str) -> Reply:
    """Show what the Commission sees of a body (番号法35条).

    It sees the records without content, who has looked at them, the impact assessment, requests, entrustments, systems
    and corrections, what went from office to office, and provision outside the network but to investigators. The
    inspection is recorded.
    """
    from kazashi.assembly.network_rights import NetworkRights

    network = network_of(context)
    seen = NetworkRights(network).inspected(body, day_of(None, network.world))
    assessed = seen["assessment"]
    lines = [f"{body} ({seen['kind']}){': ' + seen['lacks'] if seen['lacks'] else ''}",
             "no impact assessment" if assessed is None
             else f"impact assessment version {assessed['version']} of {assessed['published']}"]  # fmt: skip
    lines += [f"{name}: {count} exchanges" for name, count in seen["by_basis"].items()]
    for name in ("records", "looks", "systems", "requests", "entrustments", "corrections", "internal", "outside"):
        rows: list[dict[str, Any]] = seen[name]
        lines += ["", f"{name}: {len(rows)}", *([table(rows, "")] if rows else [])]
    return Reply(seen, "\n".join(lines))


def _row(one: RegisteredRequest, today: Any) -> dict[str, Any]:
    return {
        "number": one.number, "body": one.body, "address_number": one.address_number, "kind": one.kind.value,
        "item": one.item, "received": one.received.isoformat(), "deadline": one.deadline.isoformat(),
        "decided": None if one.decided is None else one.decided.isoformat(), "granted": one.granted,
        "reason": one.reason, "overdue": one.overdue(today),
    }  # fmt: skip


def _entrusted(one: Entrustment) -> dict[str, Any]:
    return {"body": one.body, "party": one.party, "contract": one.contract, "since": one.since.isoformat(),
            "ended": None if one.ended is None else one.ended.isoformat()}  # fmt: skip
