"""One question asked in three ways, over the copies that the institutions of a world hold: a common database, the
individual number, and the network's codes."""

from __future__ import annotations

from kazashi.assembly.network import Network, allowance_questions, body_of
from kazashi.provision_network.exchange import FlowTrace
from kazashi.provision_network.three_ways import Seen, ask_by_number, ask_common_database, seen_by_tokens
from kazashi.resident_registry.resident import Resident


def ask_three_ways(network: Network, person: Resident) -> list[Seen]:
    """Ask the child allowance's question about a person in each of the three ways. Raises StepFailed."""
    requester = body_of(person)
    rows: dict[tuple[str, str], dict[str, str]] = {}
    for purpose, provider in allowance_questions(requester):
        rows |= {(provider, number): {purpose.item: text} for number, text in network.contents(provider).items()}
    number, trace = str(person.individual_number), FlowTrace()
    answers = {item: content or "" for item, content in network.child_allowance(person, trace).items()}

    def code_of(body: str) -> str:
        return str(network.core.codes.code_for(body, str(person.code)))

    return [
        ask_common_database(requester, number, rows),
        ask_by_number(requester, number, rows),
        seen_by_tokens(answers, trace, code_of),
    ]
