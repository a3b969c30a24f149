"""`kazashi network`: the information provision network, its rules, its servers and the portal."""

from __future__ import annotations

from typing import Any

import click

from kazashi.tools.cli.commands.network_bodies import assessment, body, people, system
from kazashi.tools.cli.commands.network_consents import consent
from kazashi.tools.cli.commands.network_files import health, tax
from kazashi.tools.cli.commands.network_inside import disaster, inside, use
from kazashi.tools.cli.commands.network_match import match
from kazashi.tools.cli.commands.network_open_log import insights, open_log
from kazashi.tools.cli.commands.network_ordinances import limit, ordinance
from kazashi.tools.cli.commands.network_outside import inquiry, outside
from kazashi.tools.cli.commands.network_questions import ask, copies, held, process, protected, release
from kazashi.tools.cli.commands.network_rights import basis, entrust, inspect, records, request
from kazashi.tools.cli.commands.network_shared import network_of
from kazashi.tools.cli.commands.network_studies import blind_spots, history_command, rulings, study, three_ways
from kazashi.tools.cli.commands.shared import (
    Reply,
    agent_option,
    institutions_of,
    new_world_of,
    parsed_day,
    port_option,
    replies,
    services_option,
    table,
    world_of,
)
from kazashi.web import ports

_FIRST = click.option("--first-port", type=int, default=ports.DESK.number, show_default=True,
                      help="The first of six consecutive ports for the network's parts.")  # fmt: skip


@click.group()
def network() -> None:
    """Use the information provision network.

    In this network (情報提供ネットワークシステム), institutions query each other by codes, and every query is recorded.
    """


for command in (
    body, people, system, assessment, ask, process, held, release, protected, copies, ordinance, limit, records, basis,
    request, entrust, inspect, consent, outside, inquiry, inside, use, disaster, tax, health, three_ways, rulings,
    study, history_command, match, blind_spots, open_log, insights,
):  # fmt: skip
    network.add_command(command)


@network.command("setup")
@_FIRST
@replies
@click.pass_context
def network_setup(context: click.Context, first_port: int) -> Reply:
    """Set the network up, stage by stage.

    Connects bodies, issues codes, registers copies and sends a first query, as the overall operation test did. The exit
    status is 1 if a gate between two stages does not hold; setup stops there. It can be run again at any time.
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

    PARTS are desk (J-LIS), core, interface:municipal, interface:pension, interface:NAME for that of a further body, and
    portal; by default all of them. Each is a process of its own. One that ends is started again, up to three times in a
    minute. Stop them with Ctrl-C.
    """
    import signal
    import threading

    from kazashi.assembly.network_processes import NetworkProcesses

    connected = network_of(context)
    processes = NetworkProcesses(
        world_of(context), connected.located(first_port), services, agent, lambda words: click.echo(words, err=True)
    )
    try:
        processes.start(parts or connected.parts())
        ended = threading.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: ended.set())
        processes.watch(ended)
    finally:
        processes.stop()


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


@network.command("rules")
@click.option("--requester", metavar="KIND", help="Show only rows for this kind of requester.")
@click.option("--item", help="Show only rows for this item.")
@click.option("--gap", is_flag=True, help="Show requesters and laws that are missing in the table of uses (別表第一).")
@replies
def network_rules(requester: str | None, item: str | None, gap: bool) -> Reply:
    """Show who may request what from whom.

    This is the table of affairs (別表第二 as published), with the affair, the law and the source of each row.
    """
    from dataclasses import asdict

    from kazashi.provision_network.law.tables import kinds_of, printed_table
    from kazashi.provision_network.law.uses import outside_the_table

    if gap:
        pairs = [{"requester": requester, "law": law} for requester, law in outside_the_table(printed_table())]
        return Reply(pairs, table(pairs, "none"))
    rows: list[dict[str, Any]] = [
        {"row": row.number, **asdict(row.purpose), "number": "yes" if row.uses_number else "no",
         "source": row.source or "unverified"}
        for row in printed_table()
        if requester in (None, *kinds_of(row.purpose.requester)) and item in (None, row.purpose.item)
    ]  # fmt: skip
    return Reply(rows, table(rows, "no row matches"))


@network.command("decide")
@click.argument("requester")
@click.argument("law")
@click.argument("affair")
@click.argument("provider")
@click.argument("item")
@click.option("--on", metavar="DATE", help="The day of the query (default: today, by the computer's clock).")
@replies
def network_decide(
    requester: str, law: str, affair: str, provider: str, item: str, on: str | None
) -> Reply:  # fmt: skip
    """Decide whether a query is allowed.

    REQUESTER asks PROVIDER for ITEM in an AFFAIR of a LAW. Shows the rule that decides. The exit status is 1 if the
    query is denied.
    """
    from datetime import date

    from kazashi.provision_network.law.rules import RuleBook
    from kazashi.provision_network.law.tables import Purpose, table_of_affairs

    day = date.today() if on is None else parsed_day(on)
    decision = RuleBook(table_of_affairs()).decide(Purpose(requester, law, affair, provider, item), day)
    document = {
        "allowed": decision.allowed, "rule": decision.rule, "words": decision.words, "penalty": decision.penalty.value,
        "denial": decision.denial.value if decision.denial else None,
    }  # fmt: skip
    words = decision.rule if decision.allowed else f"denied: {decision.words} ({decision.penalty.value})"
    return Reply(document, words, 0 if decision.allowed else 1)


@network.command("openapi")
@replies
def network_openapi() -> Reply:
    """Print the OpenAPI description of an interface system.

    It is for bodies' business systems. An interface system has it at /v1/openapi.json.
    """
    import json

    from kazashi.provision_network.interface_openapi import document

    described = document()
    return Reply(described, json.dumps(described, ensure_ascii=False, indent=1))
