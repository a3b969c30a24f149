"""Questions between any two bodies of one world's network: asked, waited for, put on hold and released."""

from __future__ import annotations

from dataclasses import dataclass

from kazashi.assembly.errors import UsageError
from kazashi.assembly.network import Network
from kazashi.assembly.network_bodies import NetworkBodies
from kazashi.provision_network.asking import OutgoingRequest
from kazashi.provision_network.consents import Consents
from kazashi.provision_network.intermediate import Received
from kazashi.provision_network.law.rules import RuleBook
from kazashi.provision_network.law.tables import Purpose
from kazashi.provision_network.membership import Institution
from kazashi.provision_network.terms import NetworkRejected, own_body
from kazashi.resident_registry.resident import Resident
from kazashi.world.clock import today


@dataclass(frozen=True, slots=True)
class BodyProcess:
    """A body's request and its answer, if it has arrived."""

    asked: OutgoingRequest
    received: Received | None


class NetworkQuestions:
    """Questions of the bodies of one world's network."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._bodies = NetworkBodies(network)

    def purpose(self, requester: str, provider: str, item: str, affair: str = "") -> Purpose:
        """The purpose of a question: the affair for which one body may request an item from another.

        `affair` chooses among several: a row of the table, LAW/AFFAIR, or the identifier of an affair by ordinance. A
        LAW/AFFAIR that allows no such request is a purpose too, which the core denies. Raises UsageError and
        NetworkRejected.
        """
        ours, theirs = self._network.member(requester), self._network.member(provider)
        if ours == theirs:
            raise own_body(requester)
        rules = self._network.core.ordinances.rules()
        fitting = {
            purpose: label for purpose, label in _labels(rules, ours).items()
            if (purpose.requester, purpose.provider, purpose.item) == (ours.kind, theirs.kind, item)
        }  # fmt: skip
        law, slash, name = affair.partition("/")
        if slash and law and name:
            return Purpose(ours.kind, law, name, theirs.kind, item)
        chosen = [purpose for purpose, label in fitting.items() if affair in ("", label)]
        if len(chosen) == 1:
            return chosen[0]
        if not chosen:
            which = f"the affair {affair} does not let" if affair else "no affair lets"
            raise UsageError(
                f"{which} {requester} ({ours.kind}) request {item} from {provider} ({theirs.kind});"
                " see: kazashi network rules, or let the core decide with --affair LAW/AFFAIR"
            )
        choices = "; ".join(f"{fitting[one]} or {one.law}/{one.affair}" for one in chosen)
        raise UsageError(
            f"several affairs let {requester} request {item} from {provider}; choose with --affair: {choices}"
        )

    def ask(
        self, requester: str, provider: str, person: Resident, purpose: Purpose, *, consent: bool = False,
        seconds: float = 0.0,
    ) -> BodyProcess:  # fmt: skip
        """Request an item about a person, and wait until the request is answered, refused or on hold, for at most
        `seconds`.

        A consent in the requester's register counts, given for the provider and the law of the affair. One that is only
        stated counts, too, and the register logs who has stated it. Raises NetworkRejected.
        """
        system = self._network.interface_of(requester)
        address, consents = self._bodies.address_of(requester, person), Consents(self._network.world)
        on = today(self._network.world.clock)
        if consents.given(requester, address, purpose.item, provider, purpose.law, on):
            consent = True
        elif consent:
            consents.stated(requester, address, purpose.item, provider)
        code = system.server(requester).code_of(address)
        process = system.asking.ask(requester, code, purpose, [provider], consent=consent)
        return self.wait(requester, process, seconds)

    def wait(self, body: str, process: int, seconds: float = 0.0) -> BodyProcess:
        """The state of a body's process; wait like `ask`. Raises NetworkRejected if it is not the body's."""
        asking = self._network.interface_of(body).asking
        if asking.request(process).body != body:
            raise NetworkRejected("unknown-process", f"{body} has no process {process}")
        self._network.carry_until(lambda: not asking.request(process).under_way, seconds)
        asked = asking.request(process)
        return BodyProcess(asked, asking.answer_to(process) if asked.ended else None)

    def release(self, body: str, number: int) -> None:
        """Release a request on hold at a body, and answer it. Raises NetworkRejected if it is not on hold there."""
        self._network.interface_of(body).answering.release(body, number)
        self._network.carry()


def _labels(rules: RuleBook, body: Institution) -> dict[Purpose, str]:
    """Each purpose that a body can have with the row of the table or the identifier of the ordinance."""
    ordinances = {affair.purpose: affair.identifier for affair in rules.ordinances if affair.body == body.name}
    return {**ordinances, **{row.purpose: row.number for row in rules.rows}}
