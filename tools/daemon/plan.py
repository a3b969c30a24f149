"""What an instance runs: one value, which `kazashi up` makes of its options and `--detach` passes on whole.

The bridge is imported where it is needed: the command line makes plans, and every start of it is to be quick.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kazashi.reader_bridge.endpoint import DialledEndpoint
    from kazashi.reader_bridge.host import Presentation


@dataclass(frozen=True, slots=True)
class InstancePlan:
    """An instance's readers, cards and services.

    `pcscd` is one of auto, system, own, private. A card goes into each slot in turn, and all are presented alike;
    `faults` is the text of a fault script. `dialled` are addresses, `[HOST:]PORT`, of slots behind the readers' that
    others dial into. `port` is the authorities' (default: the first free one), which `workers` processes serve;
    `ldap` adds their directory. Without `services` there is no console either.
    """

    readers: tuple[str, ...] = ("Kazashi",)
    pcscd: str = "auto"
    cards: tuple[str, ...] = ("hanako",)
    contactless: bool = False
    reset_keeps_status: bool = False
    faults: str = ""
    dialled: tuple[str, ...] = ()
    services: bool = True
    port: int | None = None
    workers: int = 1
    ldap: bool = False
    console: bool = True

    def presentation(self) -> Presentation:
        """How the cards are presented. Raises BadFaultScript."""
        from kazashi.reader_bridge.fault_script import parse_fault_script
        from kazashi.reader_bridge.host import Presentation

        faults = parse_fault_script(self.faults) if self.faults else None
        return Presentation(self.contactless, self.reset_keeps_status, faults)

    def endpoints(self) -> list[DialledEndpoint]:
        """The slots that others dial into. Raises ValueError for what is not an address."""
        from kazashi.reader_bridge.endpoint import dialled_endpoint

        return [dialled_endpoint(address) for address in self.dialled]

    def to_json(self) -> str:
        """The plan as a JSON object of its fields."""
        return json.dumps(asdict(self), ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> InstancePlan:
        """The plan that `to_json` wrote. Raises ValueError and TypeError for what is not one."""
        given: dict[str, Any] = json.loads(text)
        fields: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value
                                  for name, value in given.items()}  # fmt: skip
        return cls(**fields)
