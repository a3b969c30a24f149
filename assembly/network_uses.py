"""Uses of the individual number by the parties of one world (番号法9条), decided by what the registers say."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from kazashi.assembly.network import Network
from kazashi.provision_network.assessments import ImpactAssessment
from kazashi.provision_network.body_register_store import body_register_store, log
from kazashi.provision_network.disasters import Disasters
from kazashi.provision_network.law.rules import Decision
from kazashi.provision_network.law.uses import Clause, Deed, Use, decide_use
from kazashi.provision_network.off_network import KeptFile, OffNetwork, rejected
from kazashi.provision_network.terms import NetworkRejected
from kazashi.world.clock import today


@dataclass(frozen=True, slots=True)
class Basis:
    """What a party bases its use on: one of the law of an affair, the law of a form about others, a filing of its own
    ordinance, a contract made on a day, or a line of the log of who gave it something."""

    law: str = ""
    form: str = ""
    ordinance: str = ""
    contract: str = ""
    contract_of: date | None = None
    receipt: int | None = None

    @property
    def clause(self) -> Clause:
        """The paragraph of article 9 that the basis belongs to."""
        if self.receipt is not None:
            return Clause.RECEIPT
        if self.contract:
            return Clause.DISASTER
        if self.ordinance:
            return Clause.ORDINANCE
        return Clause.RELATED if self.form else Clause.TABLE


class NetworkUses:
    """Uses of the number in one world."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._world = network.world
        self._log = OffNetwork(network.world)

    def use(self, body: str, basis: Basis, purpose: str, *, deed: Deed = Deed.SEARCH) -> Decision:
        """Decide whether a party may use the number, and record it in either case. Raises NetworkRejected if it may
        not, with the penalty."""
        on = today(self._world.clock)
        kinds = {one.name: one.kind for one in self._network.core.members.institutions()}
        lasting = None
        if basis.contract_of is not None:
            lasting = Disasters(self._world).lasting(on, basis.contract_of)
        use = Use(
            basis.clause, deed, body, kinds.get(body, ""), purpose, basis.law or basis.form, basis.ordinance,
            disaster_declared=lasting is not None, contract=basis.contract,
        )  # fmt: skip
        receipt = None if basis.receipt is None else self._log.receipt(basis.receipt)
        decision = decide_use(use, on, self._network.core.ordinances.rules().ordinances, receipt)
        self._record("use allowed" if decision.allowed else "use denied", {
            "body": body, "purpose": purpose, "clause": basis.clause.value, "rule": decision.rule,
            "denial": "" if decision.denial is None else decision.denial.value, "receipt": basis.receipt,
        })  # fmt: skip
        if decision.denial is not None:
            raise rejected(decision)
        return decision

    def keep(self, body: str, line: int, name: str, assessment: ImpactAssessment | None) -> KeptFile:
        """Record that a party keeps a file of what it received.

        A file needs the party's impact assessment, also if the party is an investigator to whom the other protections
        do not apply (番号法28条). Raises NetworkRejected without one that is in force.
        """
        on = today(self._world.clock)
        why = ""
        if assessment is None or assessment.body != body:
            why = f"{body} has no impact assessment of its own for a file that it keeps (番号法28条)"
        elif outdated := assessment.outdated(on):
            why = f"{body}: {outdated} (番号法28条)"
        if assessment is None or why:
            self._record("file refused", {"body": body, "name": name, "line": line})
            raise NetworkRejected("no-assessment", why)
        kept = KeptFile(body, name, line, assessment.published)
        self._log.keep(kept)
        return kept

    def _record(self, what: str, detail: dict[str, object]) -> None:
        store = body_register_store(self._world)
        with store.transaction() as connection:
            log(connection, self._world.clock.now(), what, detail)
