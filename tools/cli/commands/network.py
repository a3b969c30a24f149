"""`kazashi network`: the information provision network, from the rules to the portal."""

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
                      help="The first of the six ports of its parts.")  # fmt: skip


@click.group()
def network() -> None:
    """Use the information provision network.

    Questions between institutions go by code, and leave a record (情報提供ネットワークシステム).
    """


@network.command("setup")
@_FIRST
@replies
@click.pass_context
def network_setup(context: click.Context, first_port: int) -> Reply:
    """Set the network up, stage by stage.

    Connects bodies, issues codes, registers copies and asks a first question, as the overall operation test did. Exit 1
    at the first gate that does not hold.
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
    """Serve the network's parts until ended.

    Each of PARTS (default: all of them) is a process of its own.
    """
    import signal

    from kazashi.assembly.network import PARTS, addresses, served

    world, where = world_of(context), addresses(first_port)
    world.run.mkdir(mode=0o700, exist_ok=True)
    running = []
    try:
        for part in parts or PARTS:
            log = world.run / f"network-{part.replace(':', '-')}.log"
            running.append(served(world, part, where, log, services, agent))
            click.echo(f"{part} answers at {where['pages' if part == 'portal' else part.rpartition(':')[2]]}", err=True)
        signal.sigwait([signal.SIGINT, signal.SIGTERM])
    finally:
        for process in reversed(running):
            process.stop()


@network.command("portal")
@services_option
@agent_option
@click.option("--generations", type=click.Choice(["followed", "begun-anew"]), default="followed", show_default=True,
              help="What a renewed certificate does: its chain is followed, or the setup is made again.")  # fmt: skip
@click.option("--desk", default=ports.DESK.address, show_default=True, metavar="URL",
              help="Where J-LIS's desk answers.")  # fmt: skip
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
    """Serve the portal's pages and its end of the network."""
    from kazashi.assembly.network_portal import serve_portal

    click.echo(f"The portal is at http://localhost:{port}", err=True)
    serve_portal(world_of(context), desk, messages, port, services, agent, generations)


@network.command("ask")
@click.argument("who")
@replies
@click.pass_context
def network_ask(context: click.Context, who: str) -> Reply:
    """Ask about a person as for a child allowance.

    For WHO, one municipality is asked about taxes and the pension service about insurance (児童手当). In one process,
    without servers; the record is there all the same.
    """
    from kazashi.provision_network.exchange import FlowTrace

    found, trace = _network(context), FlowTrace()
    answers = found.child_allowance(found.institutions.registry.find(who), trace)
    steps = [f"{step.sender} -> {step.receiver}: {', '.join(step.tells)}" for step in trace.steps]
    words = "\n".join([*(f"{item}: {content}" for item, content in answers.items()), "", *steps])
    return Reply({"answers": answers, "steps": steps}, words)


@network.command("records")
@click.argument("who")
@replies
@click.pass_context
def network_records(context: click.Context, who: str) -> Reply:
    """Show a person's provision records as the portal does."""
    found = _network(context)
    code = found.core.portal_code(str(found.institutions.registry.find(who).code))
    rows = [
        {"number": one.number, "asked": one.requested_at.isoformat(), "by": one.requester, "of": one.provider,
         "item": one.item, "state": one.outcome.value, "rule": one.reason}
        for one in found.core.records(code)
    ]  # fmt: skip
    return Reply(rows, table(rows, "nothing was asked about this person yet"))


@network.command("rules")
@click.option("--requester", metavar="KIND", help="Only rows of requesters of that kind.")
@click.option("--item", help="Only rows about that item.")
@click.option("--gap", is_flag=True, help="Laws of this table that the table of uses (別表第一) does not have.")
@replies
def network_rules(requester: str | None, item: str | None, gap: bool) -> Reply:
    """Show the table of affairs: who may ask whom for what.

    The table (別表第二) says in which affair of which law.
    """
    from dataclasses import asdict

    from kazashi.provision_network.rules import table_of_affairs
    from kazashi.provision_network.uses import outside_the_table

    found = table_of_affairs()
    if gap:
        laws = outside_the_table(found)
        return Reply(laws, "\n".join(laws) or "none")
    rows: list[dict[str, Any]] = [
        {"row": row.number, **asdict(row.purpose), "number": "yes" if row.uses_number else "no"}
        for row in found
        if requester in (None, row.purpose.requester) and item in (None, row.purpose.item)
    ]
    return Reply(rows, table(rows, "no row fits"))


@network.command("decide")
@click.argument("requester")
@click.argument("law")
@click.argument("affair")
@click.argument("provider")
@click.argument("item")
@click.option("--on", metavar="DATE", default="2026-11-24", show_default=True)
@replies
def network_decide(
    requester: str, law: str, affair: str, provider: str, item: str, on: str
) -> Reply:  # fmt: skip
    """Decide whether a question is allowed, and by which rule.

    REQUESTER asks PROVIDER for ITEM in an AFFAIR of a LAW.
    """
    from datetime import date

    from kazashi.assembly.errors import UsageError
    from kazashi.provision_network.rules import Purpose, RuleBook, table_of_affairs

    try:
        day = date.fromisoformat(on)
    except ValueError as error:
        raise UsageError(f"{on!r} is no date, as 2026-11-24 is one") from error
    decision = RuleBook(table_of_affairs()).decide(Purpose(requester, law, affair, provider, item), day)
    told = {
        "allowed": decision.allowed, "rule": decision.rule, "words": decision.words, "penalty": decision.penalty.value,
        "denial": decision.denial.value if decision.denial else None,
    }  # fmt: skip
    words = decision.rule if decision.allowed else f"denied: {decision.words} ({decision.penalty.value})"
    return Reply(told, words, 0 if decision.allowed else 1)


@network.command("three-ways")
@click.argument("who")
@replies
@click.pass_context
def network_three_ways(context: click.Context, who: str) -> Reply:
    """Ask one question in three ways and show who sees what.

    The ways are a common database, by number, and by tokens; the question is about WHO.
    """
    from kazashi.studies.network_three_ways import ask_three_ways

    found = _network(context)
    seen = ask_three_ways(found, found.institutions.registry.find(who))
    told = {one.way.value: {"seen": one.by_whom(), "shared identifiers": one.shared_identifiers()} for one in seen}
    lines = []
    for one in seen:
        lines.append(one.way.value)
        for whom, sights in one.by_whom().items():
            called = ", ".join(sights["identifiers"]) or "nothing"
            lines.append(f"  {whom}: calls the person {called}; saw {len(sights['values'])} values")
        lines += [f"  identifiers that several know: {', '.join(one.shared_identifiers()) or 'none'}", ""]
    return Reply(told, "\n".join(lines).rstrip())


@network.command("rulings")
@replies
@click.pass_context
def network_rulings(context: click.Context) -> Reply:
    """Hold the ruling of 2008 against this world's stores.

    The Supreme Court gave five reasons. Exit 1 where rows speak against one of them; the rows are listed.
    """
    from dataclasses import asdict

    from kazashi.studies.network_rulings import held_against_stores

    found = _network(context)
    findings = held_against_stores(found.world, found)
    words = "\n".join(
        f"{'holds' if one.holds else 'FAILS'}  ({one.reason}) {one.words}"
        + "".join(f"\n         {row}" for row in one.against)
        for one in findings
    )
    return Reply(
        [{**asdict(one), "holds": one.holds} for one in findings], words, 0 if all(one.holds for one in findings) else 1
    )


@network.command("match")
@click.option("--records", "count", type=click.IntRange(10, 1_000_000), default=5_000, show_default=True)
@click.option("--failing", type=click.FloatRange(0, 0.9), default=0.2, show_default=True,
              help="The share of records that do not match letter for letter.")  # fmt: skip
@click.option("--work-list", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
              help="Write the records that are left to people, as CSV.")  # fmt: skip
@replies
@click.pass_context
def network_match(
    context: click.Context, count: int, failing: float, work_list: Path | None
) -> Reply:  # fmt: skip
    """Try the first matching on made-up records with noise.

    The first matching (初期突合) goes by the four attributes: how many match, how many of these rightly, and what is
    left to people.
    """
    from kazashi.studies.network_matching import matched

    report = matched(world_of(context).seed, count, failing, work_list)
    words = "\n".join(f"{name}: {value:.4f}" if isinstance(value, float) else f"{name}: {value}"
                      for name, value in report.items())  # fmt: skip
    return Reply(report, words)


def _network(context: click.Context) -> Network:
    """The world's network, which was set up. Raises UsageError."""
    from kazashi.assembly.errors import UsageError
    from kazashi.assembly.network import Network

    found = Network(institutions_of(context))
    if not found.core.institutions():
        raise UsageError("no body is on the network yet; try: kazashi network setup")
    return found
