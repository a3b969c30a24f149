"""People's requests to bodies with their effects, entrustment, and what the Commission sees in an inspection."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Any

from kazashi.assembly.network import Network
from kazashi.assembly.network_bodies import NetworkBodies
from kazashi.provision_network.body_registers import BodyRegisters, Entrustment, RegisteredRequest
from kazashi.provision_network.internal_flows import InternalFlows, RecordedFlow
from kazashi.provision_network.off_network import COMMISSION, OffNetwork
from kazashi.provision_network.person_rights import PersonRequest
from kazashi.provision_network.terms import NetworkRejected
from kazashi.resident_registry.resident import Resident


@dataclass(frozen=True, slots=True)
class Decided:
    """A decided request, and what was disclosed: the copies by item, and which offices of the body saw the item."""

    request: RegisteredRequest
    disclosed: dict[str, str]
    flows: list[RecordedFlow]


class NetworkRights:
    """Requests, entrustments and inspections in one world's network."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._bodies = NetworkBodies(network)
        self.registers = BodyRegisters(network.world)
        self._flows = InternalFlows(network.world)

    def receive(
        self, body: str, person: Resident, kind: PersonRequest, item: str, content: str, on: date
    ) -> RegisteredRequest:  # fmt: skip
        """Register a person's request to a body. Raises NetworkRejected."""
        address = self._bodies.address_of(body, person)
        return self.registers.receive(body, address, kind, item, content, on)

    def decide(self, body: str, number: int, on: date, reason: str, *, granted: bool) -> Decided:
        """Decide a request, and carry a granted one out: disclose the copies, register the corrected copy and tell
        those who have received the old one, or delete the copy.

        It is carried out before it is recorded, so that an interrupted decision can be repeated. Raises
        NetworkRejected.
        """
        request = self.registers.request(body, number)
        if request.decided is not None:
            raise NetworkRejected("decided", f"request {number} of {body} is decided already")
        disclosed = self._carried_out(request) if granted else {}
        flows = [one for one in self._flows.of(body, request.address_number)
                 if request.item in disclosed and one.flow.information == request.item]  # fmt: skip
        return Decided(self.registers.decide(request, on, reason, granted=granted), disclosed, flows)

    def _carried_out(self, request: RegisteredRequest) -> dict[str, str]:
        interface = self._network.interface_of(request.body)
        server = interface.server(request.body)
        copies = server.copies_of(request.address_number)
        if request.item not in copies:
            words = f"{request.body} has no copy of {request.item} for {request.address_number}"
            raise NetworkRejected("no-copy", words)
        match request.kind:
            case PersonRequest.DISCLOSURE:
                return {request.item: copies[request.item].content}
            case PersonRequest.CORRECTION:
                code, held = server.code_of(request.address_number), copies[request.item].hold
                server.register_all([(code, request.address_number, request.item, request.content, held)])
                interface.report_correction(request.body, code, request.item, f"request {request.number}")
            case PersonRequest.STOP_USE:
                server.erase(request.address_number, request.item)
        self._network.carry()
        return {}

    def end_entrustment(self, body: str, party: str, on: date) -> Entrustment:
        """End an entrustment, and remove the body's systems that the party uses. Raises NetworkRejected."""
        self.registers.entrustment(body, party)
        for one in self._network.core.systems.all():
            if (one.body, one.used_by) == (body, party) and one.removed is None:
                self._network.core.systems.remove(one.fingerprint)
        self._network.carry()
        return self.registers.end(body, party, on)

    def inspected(self, body: str, on: date) -> dict[str, Any]:
        """What the Commission sees of a body in an inspection (番号法35条): the records without content, the log of
        accesses to records, the assessment, requests, entrustments, systems, corrections, flows between its offices,
        and provision outside the network but to investigators (36条). The inspection is recorded. Raises
        NetworkRejected."""
        member, core = self._network.member(body), self._network.core
        records = core.records.inspect(body, COMMISSION)
        found = member.assessment
        return {
            "body": body, "kind": member.kind, "lacks": member.lacks(self._network.now()),
            "assessment": None if found is None else {
                "published": found.published.isoformat(), "version": found.version,
                "affairs": len(found.affairs), "items": len(found.items),
            },
            "records": [
                {"number": one.number, "asked": one.requested_at.isoformat(), "by": one.requester, "of": one.provider,
                 "item": one.item, "state": one.outcome.value, "rule": one.reason} for one in records
            ],
            "by_basis": core.records.by_basis(body),
            "looks": [{"at": one.at.isoformat(), "actor": one.actor} for one in core.records.looks_of(body)],
            "systems": [
                {"fingerprint": one.fingerprint, "used_by": one.used_by, "removed": one.removed is not None}
                for one in core.systems.all() if one.body == body
            ],
            "requests": [
                {"number": one.number, "kind": one.kind.value, "item": one.item, "deadline": one.deadline.isoformat(),
                 "granted": one.granted, "overdue": one.overdue(on)} for one in self.registers.requests(body)
            ],
            "entrustments": [
                {"party": one.party, "contract": one.contract, "since": one.since.isoformat(),
                 "ended": None if one.ended is None else one.ended.isoformat()}
                for one in self.registers.entrustments(body)
            ],
            "corrections": [
                {"number": one.number, "told": one.requester, "item": one.item, "reference": one.reference}
                for one in core.corrections.notices(body)
            ],
            "internal": [
                {"at": one.at.isoformat(), "from": one.flow.from_office, "to": one.flow.to_office,
                 "item": one.flow.information, "rule": one.rule, "denial": one.denial} for one in self._flows.of(body)
            ],
            "outside": [
                {"at": line.at.isoformat(), "to": line.receiver, "item": line.item.value, "rule": line.rule}
                for line in OffNetwork(self._network.world).inspected(COMMISSION) if line.provider == body
            ],
        }  # fmt: skip
