"""The flow in five steps (情報提供の流れ), all in one process. The answer goes directly from the provider to the
requester, and not through the core.

1  requester -> core        the item and the requester's code
2  core                     converts the code to the provider's
3  core -> provider         the item and the provider's code
4  provider                 finds the content
5  provider -> requester    the content, encrypted

As separate processes, the core and the interface systems do the same over HTTP (`core_http.py`, `interface_http.py`).
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
    """A step of a flow. `tells` describes what the sender passed on; it never has the content itself."""

    sender: str
    receiver: str
    tells: tuple[str, ...]


@dataclass
class FlowTrace:
    """The steps of requests and answers. Messages that only report the state of a process are left out."""

    steps: list[FlowStep] = field(default_factory=list)

    def watch(self, message: Message) -> None:
        """Record a delivered message."""
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
        """Return everything that a party sent or received."""
        return {word for step in self.steps if who in (step.sender, step.receiver) for word in step.tells}

    _providers: dict[int, tuple[str, str, str]] = field(default_factory=dict, repr=False)


def carry(
    world: World, core: Core, interfaces: Sequence[InterfaceSystem], watch: Callable[[Message], object] = lambda _: None
) -> int:
    """Deliver all messages, and answer all requests that can be answered, until nothing is left to do.

    Returns the number of messages delivered and requests answered. `watch` is called with each message. Raises the
    exceptions of the stores; everything undelivered then keeps waiting.
    """

    def watched(receive: Receive) -> Receive:
        def receive_and_watch(messages: Sequence[Message]) -> None:
            receive(messages)
            for message in messages:
                watch(message)

        return receive_and_watch

    receivers: Mapping[str, Receive] = {
        CORE: watched(core.receive), **{interface.name: watched(interface.receive) for interface in interfaces}
    }  # fmt: skip
    total = 0
    while True:
        done = 0
        done += core.outbox.deliver(core.store, world.clock.now(), receivers)
        for interface in interfaces:
            done += interface.outbox.deliver(interface.store, world.clock.now(), receivers)
            done += interface.answering.work()
        total += done
        if not done:
            return total
