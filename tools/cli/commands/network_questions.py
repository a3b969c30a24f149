"""`kazashi network ask`, `process`, `held`, `release`, `protected` and `copies`: what bodies do on the network."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kazashi.tools.cli.commands.network_shared import file_argument, network_of, text_in, wait_option
from kazashi.tools.cli.commands.shared import Reply, replies, table

if TYPE_CHECKING:
    from kazashi.assembly.network import Network
    from kazashi.assembly.network_questions import BodyProcess


@click.command("ask")
@click.argument("who")
@click.option("--from", "requester", metavar="BODY", help="The body that asks.")
@click.option("--to", "provider", metavar="BODY", help="The body that is asked.")
@click.option("--item", help="The item; see: kazashi network rules.")
@click.option("--affair", default="", help="The affair, if several fit: a row of the table, LAW/AFFAIR, or the"
              " identifier of an affair by ordinance.")  # fmt: skip
@click.option("--consent", is_flag=True, help="State the person's consent to tax data; better: network consent add.")
@wait_option
@replies
@click.pass_context
def ask(
    context: click.Context, who: str, requester: str | None, provider: str | None, item: str | None, affair: str,
    consent: bool, seconds: float,
) -> Reply:  # fmt: skip
    """Query a person's data at another body.

    Without --from, --to and --item it is the sample query for a child allowance (児童手当): WHO's municipality asks
    another about taxes, and the pension service about insurance. The exit status is 1 if the query is refused.
    """
    from kazashi.assembly.errors import UsageError
    from kazashi.assembly.network_questions import NetworkQuestions

    network = network_of(context)
    person = network.institutions.registry.find(who)
    if requester is None and provider is None and item is None:
        return _sample(network, person)
    if requester is None or provider is None or item is None:
        raise UsageError("--from, --to and --item belong together")
    questions = NetworkQuestions(network)
    purpose = questions.purpose(requester, provider, item, affair)
    return _reply(questions.ask(requester, provider, person, purpose, consent=consent, seconds=seconds))


@click.command("process")
@click.argument("body")
@click.argument("number", type=int)
@wait_option
@replies
@click.pass_context
def process(context: click.Context, body: str, number: int, seconds: float) -> Reply:
    """Show the state of a query.

    NUMBER is the process number that the query got at BODY. The exit status is 1 if the query was refused.
    """
    from kazashi.assembly.network_questions import NetworkQuestions

    return _reply(NetworkQuestions(network_of(context)).wait(body, number, seconds))


@click.command("held")
@click.argument("body", required=False)
@replies
@click.pass_context
def held(context: click.Context, body: str | None) -> Reply:
    """Show the queries on hold, at one body or at all.

    A person at the body must check each of them before it is answered (自動応答不可).
    """
    network = network_of(context)
    if body is not None:
        network.member(body)
    network.carry()
    rows = [
        {"body": one.provider, "number": one.number, "by": one.requester, "item": one.item, "rule": one.rule}
        for interface in network.interfaces for one in interface.answering.held(body)
    ]  # fmt: skip
    return Reply(rows, table(rows, "no query is on hold"))


@click.command("release")
@click.argument("body")
@click.argument("number", type=int)
@replies
@click.pass_context
def release(context: click.Context, body: str, number: int) -> Reply:
    """Release a query on hold.

    NUMBER is the one that `network held` shows. It is answered next.
    """
    from kazashi.assembly.network_questions import NetworkQuestions

    NetworkQuestions(network_of(context)).release(body, number)
    return Reply({"body": body, "released": number}, f"{body} has released request {number}")


@click.command("protected")
@click.argument("body")
@replies
@click.pass_context
def protected(context: click.Context, body: str) -> Reply:
    """Show the people of a body who must not be found.

    The portal shows neither their records nor their own information (不開示該当フラグ, 自己情報提供不可フラグ).
    """
    rows = [{"address_number": one} for one in network_of(context).interface_of(body).server(body).withheld()]
    return Reply(rows, table(rows, f"{body} protects nobody"))


@click.command("copies")
@click.argument("body")
@file_argument
@replies
@click.pass_context
def copies(context: click.Context, body: str, file: Path) -> Reply:
    """Register copies for other bodies (副本登録).

    FILE is CSV with the columns person (or address_number), item, content and hold; `-` is stdin. `hold` is yes if a
    person must check each query for the copy. All or none of the lines are registered.
    """
    from kazashi.assembly.network import counted
    from kazashi.assembly.network_bodies import NetworkBodies
    from kazashi.provision_network.copy_lists import copies_in, register_copies
    from kazashi.provision_network.terms import NetworkRejected
    from kazashi.resident_registry.registry import NoSuchResident

    network = network_of(context)
    bodies = NetworkBodies(network)
    network.member(body)

    def address_of(who: str) -> str:
        try:
            return bodies.address_of(body, network.institutions.registry.find(who))
        except NoSuchResident as error:
            raise NetworkRejected("no-such-resident", str(error)) from error

    network.carry()
    listed, place = copies_in(text_in(file), address_of)
    count = register_copies(network.interface_of(body), body, listed, place)
    return Reply({"body": body, "registered": count}, f"{body} has registered {counted(count, 'copy', 'copies')}")


def _sample(network: Network, person: Any) -> Reply:
    from kazashi.provision_network.exchange import FlowTrace

    trace = FlowTrace()
    answers = network.child_allowance(person, trace)
    steps = [f"{step.sender} -> {step.receiver}: {', '.join(step.tells)}" for step in trace.steps]
    words = "\n".join([*(f"{item}: {content}" for item, content in answers.items()), "", *steps])
    return Reply({"answers": answers, "steps": steps}, words)


def _reply(exchange: BodyProcess) -> Reply:
    asked, received = exchange.asked, exchange.received
    refused = bool(asked.denial)
    if received is not None:
        words = f"{asked.item}: {received.content or received.words}\n{asked.rule}"
    elif refused:
        words = f"refused: {asked.words} ({asked.denial})"
    elif asked.ended:
        words = f"process {asked.process} is {asked.stage.value}: {asked.words or 'its answer was deleted'}"
    else:
        words = f"process {asked.process} is {asked.stage.value}; ask for it again with: kazashi network process"
        words += f" {asked.body} {asked.process}"
    return Reply(asked.as_dict(received), words, 1 if refused else 0)
