"""The first request that a body's new business system can send, as options and address for curl."""

from __future__ import annotations

import json
import shlex
from dataclasses import asdict

from kazashi.assembly.network import Network
from kazashi.assembly.network_bodies import NetworkBodies


def first_request(network: Network, body: str) -> str:
    """A question about a person on the body's list to a body that an affair of the table lets it ask; or its requests
    on hold, if there is nobody to ask or nobody to ask about. Raises NetworkRejected."""
    members, bodies = network.core.members, NetworkBodies(network)
    ours = network.member(body)
    address = next(entry.address for entry in members.interfaces() if entry.name == ours.interface)
    people = bodies.people(body)
    by_kind = {
        one.kind: one.name for one in members.institutions() if one.name != body and not one.lacks(network.now())
    }
    purpose = next(
        (row.purpose for row in network.core.ordinances.rules().rows
         if row.purpose.requester == ours.kind and row.purpose.provider in by_kind), None,
    )  # fmt: skip
    if not people or purpose is None:
        return f"{address}/v1/held"
    question = {"address_number": people[0].address_number, "provider": by_kind[purpose.provider],
                "purpose": asdict(purpose)}  # fmt: skip
    content = shlex.quote(json.dumps(question, ensure_ascii=False))
    return f"'{address}/v1/ask?wait=10' -d {content}"
