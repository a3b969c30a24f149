"""The flow in five steps (情報提供の流れ): the answer goes from the provider to the requester, past the core.

1  requester -> core        item and the requester's code
2  core                     the code as the provider's
3  core -> provider         item and the provider's code
4  provider                 extracts
5  provider -> requester    the content
"""

from __future__ import annotations

from dataclasses import dataclass, field

from provision_network.codes import InstitutionCode
from provision_network.core import Core, Notified, Outcome
from provision_network.intermediate import Copy, Held, IntermediateServer
from provision_network.rules import Purpose

CORE = "core"


@dataclass(frozen=True, slots=True)
class Step:
    """A step of a flow: who hands what to whom. `tells` names what was in it; a content is never kept here."""

    sender: str
    receiver: str
    tells: tuple[str, ...]


@dataclass
class Trace:
    """What went where."""

    steps: list[Step] = field(default_factory=list)

    def seen_by(self, who: str) -> set[str]:
        """Everything that somebody was told or had in hand."""
        return {word for step in self.steps if who in (step.sender, step.receiver) for word in step.tells}


def exchange(
    core: Core, requester: str, code: InstitutionCode, purpose: Purpose, provider: IntermediateServer, trace: Trace
) -> Copy:
    """One request through to its answer. Raises NetworkRefused, ForeignCode, and Held, of which the record then tells:
    the same request is answered by `provide` once a human has released it."""
    trace.steps.append(Step(requester, CORE, (purpose.item, f"code of {requester}")))
    notified = core.request(requester, code, purpose, [provider.owner])
    trace.steps.append(Step(CORE, CORE, (f"code of {requester}", f"code of {provider.owner}")))
    trace.steps.append(Step(CORE, provider.owner, (purpose.item, f"code of {provider.owner}")))
    return provide(core, notified, provider, trace)


def provide(core: Core, notified: Notified, provider: IntermediateServer, trace: Trace) -> Copy:
    """The provider's part: extract, tell the core that it is done, and answer the requester. Raises Held."""
    trace.steps.append(
        Step(provider.owner, provider.owner, (f"code of {provider.owner}", f"content of {notified.item}"))
    )
    try:
        found = provider.answer(notified)
    except Held:
        core.settle(provider.owner, notified.number, Outcome.HELD)
        raise
    core.settle(provider.owner, notified.number, Outcome.PROVIDED)
    trace.steps.append(Step(provider.owner, notified.requester, (f"content of {notified.item}",)))
    return found
