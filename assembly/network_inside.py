"""Flows inside the bodies of one world's network (庁内連携): decided by the registers, recorded by the body."""

from __future__ import annotations

from dataclasses import dataclass

from kazashi.assembly.network import Network
from kazashi.assembly.network_bodies import NetworkBodies
from kazashi.provision_network.consents import Consents
from kazashi.provision_network.documents import checked_text
from kazashi.provision_network.internal_flows import Flow, InternalFlows, RecordedFlow, decide_flow
from kazashi.provision_network.off_network import rejected
from kazashi.resident_registry.resident import Resident
from kazashi.world.clock import today


@dataclass(frozen=True, slots=True)
class ShownFlow:
    """A recorded flow, and what the receiving office saw; None if the body has no copy of it."""

    recorded: RecordedFlow
    content: str | None


class InsideFlows:
    """Flows between the offices of the bodies of one world."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._bodies = NetworkBodies(network)
        self.flows = InternalFlows(network.world)

    def provide(
        self, body: str, person: Resident, from_office: str, to_office: str, information: str, *, law: str = "",
        ordinance: str = "",
    ) -> ShownFlow:  # fmt: skip
        """Let an office of a body see another office's information about a person, if the law allows it, and record it
        in either case.

        The consent to the use of tax data is one in the body's own register, given for the office, for the law or the
        ordinance. Raises NetworkRejected if the law does not allow the flow.
        """
        member, on = self._network.member(body), today(self._network.world.clock)
        address = self._bodies.address_of(body, person)
        what = checked_text(information, "the information")
        flow = Flow(body, member.kind, address, from_office, to_office, what, law, ordinance)
        consent = Consents(self._network.world).given(body, address, information, to_office, law or ordinance, on)
        decision = decide_flow(flow, on, self._network.core.ordinances.rules().ordinances, consent=consent)
        recorded = self.flows.record(flow, decision)
        if decision.denial is not None:
            raise rejected(decision)
        copy = self._network.interface_of(body).server(body).copies_of(address).get(information)
        return ShownFlow(recorded, None if copy is None else copy.content)
