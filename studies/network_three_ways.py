"""One question asked in three ways, over the copies that the institutions of a world hold: a common database, the
individual number, and the network's codes."""

from __future__ import annotations

from kazashi.assembly.network import (
    PENSION,
    PENSION_ITEM,
    TAX_ITEM,
    Network,
    allowance_questions,
    body_of,
    pension_of,
    tax_of,
)
from kazashi.provision_network.exchange import FlowTrace
from kazashi.provision_network.three_ways import Seen, ask_by_number, ask_common_database, seen_by_tokens
from kazashi.resident_registry.resident import Resident


def ask_three_ways(network: Network, person: Resident) -> list[Seen]:
    """Ask the child allowance's question about a person in each of the three ways. Raises StepFailed."""
    requester, town = body_of(person), allowance_questions()[0][1]
    rows = {}
    for one in network.people():
        number = str(one.individual_number)
        rows[town, number] = {TAX_ITEM: tax_of(network.world, one)}
        rows[PENSION, number] = {PENSION_ITEM: pension_of(network.world, one)}
    number, trace = str(person.individual_number), FlowTrace()
    answers = {item: content or "" for item, content in network.child_allowance(person, trace).items()}

    def code_of(body: str) -> str:
        return str(network.core.code_for(body, str(person.code)))

    return [
        ask_common_database(requester, number, rows),
        ask_by_number(requester, number, rows),
        seen_by_tokens(answers, trace, code_of),
    ]
