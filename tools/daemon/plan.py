"""The plan of an instance: which readers, cards and services it runs.

`kazashi up` makes it from its options, and passes it to the background process with `--detach`. The reader bridge is
imported only where it is needed, because the command line makes plans and must start quickly.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from kazashi.world.names import checked_name

if TYPE_CHECKING:
    from kazashi.reader_bridge.endpoint import DialledEndpoint
    from kazashi.reader_bridge.host import Presentation
    from kazashi.reader_bridge.profile import ReaderProfile


@dataclass(frozen=True, slots=True)
class InstancePlan:
    """An instance's readers, cards and services.

    `readers` are the names of plain readers, and `profiles` the profiles of further ones (docs/readers.md).
    `pcscd` is auto, system, own or private. The cards go into the slots in order, and all are presented in the same
    way. `faults` is the text of a fault script. `dialled` has the addresses (`[HOST:]PORT`) of further slots, after
    those of the readers, that other hosts connect to. With `vpcd`, the readers are vpcd's and not those of our
    driver; with `open_ports` too, and other programs can then put cards into the readers of a private pcscd. `port`
    is the authorities' HTTP port (default: the first free one), served by `workers` processes. `ldap` adds their
    directory. Without `services` there is no console either.
    """

    readers: tuple[str, ...] = ()
    profiles: tuple[str, ...] = ()
    pcscd: str = "auto"
    cards: tuple[str, ...] = ("hanako",)
    contactless: bool = False
    reset_keeps_status: bool = False
    faults: str = ""
    dialled: tuple[str, ...] = ()
    vpcd: bool = False
    open_ports: bool = False
    services: bool = True
    port: int | None = None
    workers: int = 1
    ldap: bool = False
    console: bool = True

    def __post_init__(self) -> None:
        """Raise ValueError for an invalid name of a reader."""
        if self.readers:
            from kazashi.reader_bridge.pcscd import checked_reader_name

            for name in self.readers:
                checked_reader_name(checked_name(name, "reader"))

    @property
    def reader_names(self) -> tuple[str, ...]:
        """The names of the plain readers. Without any reader chosen, there is one for each card, and at least one."""
        return self.readers or (() if self.profiles else ("Kazashi",) * max(1, len(self.cards)))

    def presentation(self) -> Presentation:
        """Return how the cards are presented. Raises BadFaultScript."""
        from kazashi.reader_bridge.fault_script import parse_fault_script
        from kazashi.reader_bridge.host import Presentation

        faults = parse_fault_script(self.faults) if self.faults else None
        return Presentation(self.contactless, self.reset_keeps_status, faults)

    def reader_profiles(self) -> list[ReaderProfile]:
        """Return the profiles of the readers after the plain ones. Raises NoSuchProfile and BadProfile."""
        from kazashi.reader_bridge.profile import reader_profile

        return [reader_profile(name) for name in self.profiles]

    def endpoints(self) -> list[DialledEndpoint]:
        """Return the slots that other hosts connect to. Raises ValueError if an address is malformed."""
        from kazashi.reader_bridge.endpoint import dialled_endpoint

        return [dialled_endpoint(address) for address in self.dialled]

    def to_json(self) -> str:
        """Return the plan as a JSON object of its fields."""
        return json.dumps(asdict(self), ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> InstancePlan:
        """Return the plan that `to_json` wrote. Raises ValueError or TypeError if the text is not a plan."""
        document: dict[str, Any] = json.loads(text)
        fields: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value
                                  for name, value in document.items()}  # fmt: skip
        return cls(**fields)
