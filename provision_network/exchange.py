"""The flow in five steps (情報提供の流れ), all in one process: the answer goes from the provider to the requester, past
the core.

1  requester -> core        item and the requester's code
2  core                     the code as the provider's
3  core -> provider         item and the provider's code
4  provider                 extracts
5  provider -> requester    the content, sealed

Served as processes of their own, core and interface systems do the same over HTTP (`serve.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from kazashi.provision_network.core import Core
from kazashi.provision_network.interface_system import InterfaceSystem
from kazashi.provision_network.terms import CORE
from kazashi.world.home import World
from kazashi.world.outbox import Message, Receive


@dataclass(frozen=True, slots=True)
class FlowStep:
    """A step of a flow: who hands what to whom. `tells` names what was in it; a content is never kept here."""

    sender: str
    receiver: str
    tells: tuple[str, ...]


@dataclass
class FlowTrace:
    """What went where, of requests and answers. The words that tell how far a process has come are left out."""

    steps: list[FlowStep] = field(default_factory=list)

    def watch(self, message: Message) -> None:
        """Take a message that is handed over."""
        body = message.body
        match message.kind:
            case "request" | "own-information":
                item = body["item"] if message.kind == "own-information" else body["purpose"]["item"]
                self.steps.append(FlowStep(body["requester"], CORE, (item, f"code of {body['requester']}")))
            case "notification" if message.sender == CORE:
                ours, theirs = f"code of {body['requester']}", f"code of {body['provider']}"
                self.steps.append(FlowStep(CORE, CORE, (ours, theirs)))
                self.steps.append(FlowStep(CORE, body["provider"], (body["item"], theirs)))
                self._providers[body["number"]] = (body["provider"], body["requester"], body["item"])
            case "answer" if body.get("number") in self._providers:
                provider, requester, item = self._providers[body["number"]]
                self.steps.append(FlowStep(provider, provider, (f"code of {provider}", f"content of {item}")))
                self.steps.append(FlowStep(provider, requester, (f"content of {item}",)))

    def seen_by(self, who: str) -> set[str]:
        """Everything that somebody was told or had in hand."""
        return {word for step in self.steps if who in (step.sender, step.receiver) for word in step.tells}

    _providers: dict[int, tuple[str, str, str]] = field(default_factory=dict, repr=False)


def carry(
    world: World, core: Core, interfaces: Sequence[InterfaceSystem], watch: Callable[[Message], object] = lambda _: None
) -> int:
    """Carry all messages to the end of their way, and have everybody answer what can be answered; answers how many
    were handed over. Raises what a store raises; everything then waits where it is."""

    def watched(receive: Receive) -> Receive:
        def take(messages: Sequence[Message]) -> None:
            receive(messages)
            for message in messages:
                watch(message)

        return take

    receivers: Mapping[str, Receive] = {
        CORE: watched(core.receive), **{interface.name: watched(interface.receive) for interface in interfaces}
    }  # fmt: skip
    total = 0
    while True:
        done = 0
        done += core.outbox.deliver(core.store, world.clock.now(), receivers)
        for interface in interfaces:
            done += interface.outbox.deliver(interface.store, world.clock.now(), receivers)
            done += interface.work()
        total += done
        if not done:
            return total
