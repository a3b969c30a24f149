"""`kazashi network`: the information provision network, its rules, its servers and the portal."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kazashi.tools.cli.commands.shared import (
    Reply,
    agent_option,
    institutions_of,
    new_world_of,
    port_option,
    replies,
    services_option,
    table,
    world_of,
)
from kazashi.web import ports

if TYPE_CHECKING:
    from kazashi.assembly.network import Network

_FIRST = click.option("--first-port", type=int, default=ports.DESK.number, show_default=True,
                      help="The first of six consecutive ports for the network's parts.")  # fmt: skip


@click.group()
def network() -> None:
    """Use the information provision network.

    In this network (情報提供ネットワークシステム), institutions query each other by codes, and every query is recorded.
    """


@network.command("setup")
@_FIRST
@replies
@click.pass_context
def network_setup(context: click.Context, first_port: int) -> Reply:
    """Set the network up, stage by stage.

    Connects bodies, issues codes, registers copies and sends a first query, as the overall operation test did. The exit
    status is 1 if a gate between two stages does not hold; setup stops there.
    """
    from dataclasses import asdict

    from kazashi.assembly.network import Network, addresses

    new_world_of(context)
    gates = list(Network(institutions_of(context)).rehearse(addresses(first_port)))
    words = "\n".join(f"{'ok  ' if gate.ok else 'FAIL'} {gate.stage}: {gate.words}" for gate in gates)
    return Reply([asdict(gate) for gate in gates], words, 0 if all(gate.ok for gate in gates) else 1)


@network.command("serve")
@click.argument("parts", nargs=-1)
@services_option
@agent_option
@_FIRST
@click.pass_context
def network_serve(context: click.Context, parts: tuple[str, ...], services: str, agent: str, first_port: int) -> None:
    """Serve the parts of the network.

    Each of PARTS (default: all of them) is a process of its own. Stop them with Ctrl-C.
    """
    import signal

    from kazashi.assembly.network import PARTS, addresses, served

    world, located = world_of(context), addresses(first_port)
    world.run.mkdir(mode=0o700, exist_ok=True)
    running = []
    try:
        for part in parts or PARTS:
            log = world.run / f"network-{part.replace(':', '-')}.log"
            running.append(served(world, part, located, log, services, agent))
            address = located["pages" if part == "portal" else part.rpartition(":")[2]]
            click.echo(f"{part} is at {address}", err=True)
        signal.sigwait([signal.SIGINT, signal.SIGTERM])
    finally:
        for process in reversed(running):
            process.stop()


@network.command("portal")
@services_option
@agent_option
@click.option("--generations", type=click.Choice(["followed", "begun-anew"]), default="followed", show_default=True,
              help="For a renewed certificate: follow its serial chain, or require a new setup.")  # fmt: skip
@click.option("--desk", default=ports.DESK.address, show_default=True, metavar="URL",
              help="The J-LIS office's address.")  # fmt: skip
@click.option(
    "--messages",
    type=int,
    default=ports.PORTAL_MESSAGES.number,
    show_default=True,
    help="The port for the network's messages.",
)
@port_option(ports.PORTAL)
@click.pass_context
def network_portal(
    context: click.Context, services: str, agent: str, generations: str, desk: str, messages: int, port: int
) -> None:  # fmt: skip
    """Serve the portal.

    It has web pages for users, and a port for the network's messages.
    """
    from kazashi.assembly.network_portal import serve_portal

    click.echo(f"The portal is at http://localhost:{port}", err=True)
    serve_portal(world_of(context), desk, messages, port, services, agent, generations)


@network.command("ask")
@click.argument("who")
@replies
@click.pass_context
def network_ask(context: click.Context, who: str) -> Reply:
    """Query a person's data for a child allowance.

    For WHO, one municipality is asked about taxes and the pension service about insurance (児童手当). This runs in one
    process, without servers, and leaves a record like any other query.
    """
    from kazashi.provision_network.exchange import FlowTrace

    connected, trace = _network(context), FlowTrace()
    answers = connected.child_allowance(connected.institutions.registry.find(who), trace)
    steps = [f"{step.sender} -> {step.receiver}: {', '.join(step.tells)}" for step in trace.steps]
    words = "\n".join([*(f"{item}: {content}" for item, content in answers.items()), "", *steps])
    return Reply({"answers": answers, "steps": steps}, words)


@network.command("records")
@click.argument("who")
@replies
@click.pass_context
def network_records(context: click.Context, who: str) -> Reply:
    """Show a person's provision records.

    They are shown as the portal shows them.
    """
    connected = _network(context)
    code = connected.core.portal_code(str(connected.institutions.registry.find(who).code))
    rows = [
        {"number": record.number, "asked": record.requested_at.isoformat(), "by": record.requester,
         "of": record.provider, "item": record.item, "state": record.outcome.value, "rule": record.reason}
        for record in connected.core.records(code)
    ]  # fmt: skip
    return Reply(rows, table(rows, "there are no queries about this person yet"))


@network.command("rules")
@click.option("--requester", metavar="KIND", help="Show only rows for this kind of requester.")
@click.option("--item", help="Show only rows for this item.")
@click.option("--gap", is_flag=True, help="Show the laws that are missing in the table of uses (別表第一).")
@replies
def network_rules(requester: str | None, item: str | None, gap: bool) -> Reply:
    """Show who may request what from whom.

    This is the table of affairs (別表第二), with the affair and the law of each row.
    """
    from dataclasses import asdict

    from kazashi.provision_network.rules import table_of_affairs
    from kazashi.provision_network.uses import outside_the_table

    affairs = table_of_affairs()
    if gap:
        laws = outside_the_table(affairs)
        return Reply(laws, "\n".join(laws) or "none")
    rows: list[dict[str, Any]] = [
        {"row": row.number, **asdict(row.purpose), "number": "yes" if row.uses_number else "no"}
        for row in affairs
        if requester in (None, row.purpose.requester) and item in (None, row.purpose.item)
    ]
    return Reply(rows, table(rows, "no row matches"))


@network.command("decide")
@click.argument("requester")
@click.argument("law")
@click.argument("affair")
@click.argument("provider")
@click.argument("item")
@click.option("--on", metavar="DATE", default="2026-11-24", show_default=True, help="The day of the query.")
@replies
def network_decide(
    requester: str, law: str, affair: str, provider: str, item: str, on: str
) -> Reply:  # fmt: skip
    """Decide whether a query is allowed.

    REQUESTER asks PROVIDER for ITEM in an AFFAIR of a LAW. Shows the rule that decides. The exit status is 1 if the
    query is denied.
    """
    from datetime import date

    from kazashi.assembly.errors import UsageError
    from kazashi.provision_network.rules import Purpose, RuleBook, table_of_affairs

    try:
        day = date.fromisoformat(on)
    except ValueError as error:
        raise UsageError(f"{on!r} is not a date; write it like 2026-11-24") from error
    decision = RuleBook(table_of_affairs()).decide(Purpose(requester, law, affair, provider, item), day)
    document = {
        "allowed": decision.allowed, "rule": decision.rule, "words": decision.words, "penalty": decision.penalty.value,
        "denial": decision.denial.value if decision.denial else None,
    }  # fmt: skip
    words = decision.rule if decision.allowed else f"denied: {decision.words} ({decision.penalty.value})"
    return Reply(document, words, 0 if decision.allowed else 1)


@network.command("three-ways")
@click.argument("who")
@replies
@click.pass_context
def network_three_ways(context: click.Context, who: str) -> Reply:
    """Compare three designs for one query.

    The query about WHO runs by a common database, by individual number, and by codes. Shows who sees what in each.
    """
    from kazashi.studies.network_three_ways import ask_three_ways

    connected = _network(context)
    results = ask_three_ways(connected, connected.institutions.registry.find(who))
    document = {
        result.way.value: {"seen": result.by_whom(), "shared identifiers": result.shared_identifiers()}
        for result in results
    }
    lines = []
    for result in results:
        lines.append(result.way.value)
        for actor, seen in result.by_whom().items():
            identifiers = ", ".join(seen["identifiers"]) or "no identifier"
            lines.append(f"  {actor}: knows the person by {identifiers}; saw {len(seen['values'])} values")
        lines += [f"  identifiers known to several: {', '.join(result.shared_identifiers()) or 'none'}", ""]
    return Reply(document, "\n".join(lines).rstrip())


@network.command("rulings")
@replies
@click.pass_context
def network_rulings(context: click.Context) -> Reply:
    """Check the ruling of 2008 against the stores.

    Checks each of the Supreme Court's five reasons against this world's stores. The exit status is 1 if rows contradict
    a reason; those rows are listed.
    """
    from dataclasses import asdict

    from kazashi.studies.network_rulings import held_against_stores

    connected = _network(context)
    findings = held_against_stores(connected.world, connected)
    words = "\n".join(
        f"{'holds' if finding.holds else 'FAILS'}  ({finding.reason}) {finding.words}"
        + "".join(f"\n         {row}" for row in finding.against)
        for finding in findings
    )
    document = [{**asdict(finding), "holds": finding.holds} for finding in findings]
    return Reply(document, words, 0 if all(finding.holds for finding in findings) else 1)


@network.command("match")
@click.option("--records", "count", type=click.IntRange(10, 1_000_000), default=5_000, show_default=True,
              help="The number of records.")  # fmt: skip
@click.option("--failing", type=click.FloatRange(0, 0.9), default=0.2, show_default=True,
              help="The share of records that do not match exactly.")  # fmt: skip
@click.option("--work-list", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
              help="Write the records that need manual matching to this file, as CSV.")  # fmt: skip
@replies
@click.pass_context
def network_match(
    context: click.Context, count: int, failing: float, work_list: Path | None
) -> Reply:  # fmt: skip
    """Try the first matching on synthetic records.

    The first matching (初期突合) matches noisy records by the four attributes. Shows how many match, how many of those
    correctly, and how many need manual matching.
    """
    from kazashi.studies.network_matching import matched

    report = matched(world_of(context).seed, count, failing, work_list)
    words = "\n".join(f"{name}: {value:.4f}" if isinstance(value, float) else f"{name}: {value}"
                      for name, value in report.items())  # fmt: skip
    return Reply(report, words)


def _network(context: click.Context) -> Network:
    """Return the world's network. Raises UsageError if it is not set up."""
    from kazashi.assembly.errors import UsageError
    from kazashi.assembly.network import Network

    connected = Network(institutions_of(context))
    if not connected.core.institutions():
        raise UsageError("the network is not set up yet; run: kazashi network setup")
    return connected
