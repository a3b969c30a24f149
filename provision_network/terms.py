"""What core, interface systems and bodies speak of: requests, notifications, records, refusals, and what a message may
hold."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any

from kazashi.provision_network.codes import InstitutionCode

CORE = "core"
PORTAL_KIND = "情報提供等記録開示システム"
OWN_INFORMATION = "番号法附則6条3項 (自己情報表示)"

LONGEST = 200
"""Letters of a text in a message."""


class NetworkRejected(Exception):
    """The network does not do that; `denial` is the reason's word. That it was refused is recorded, and nothing
    else."""

    def __init__(self, denial: str, words: str) -> None:
        super().__init__(words)
        self.denial = denial


def number_of(unverified: Any) -> int:
    """A number out of a message, if it is one that a store can hold. Raises ValueError."""
    if not isinstance(unverified, int) or not 0 <= unverified < 1 << 63:
        raise ValueError(f"{str(unverified)[:40]!r} is no number")
    return unverified


def text_of(unverified: Any) -> str:
    """A text out of a message or a question, if it is one that a store can hold. Raises ValueError."""
    short = isinstance(unverified, str) and len(unverified) <= LONGEST
    if not short or not unverified.replace("\u3000", "").isprintable():
        raise ValueError(f"{str(unverified)[:40]!r} is no text of up to {LONGEST} letters")
    return str(unverified)


class Role(Enum):
    """Who calls the core."""

    CORE_OPERATOR = "core-operator"
    """The Minister of Internal Affairs: runs the core, and alone may have a code converted by hand."""
    PORTAL_OPERATOR = "portal-operator"
    """The Cabinet Office."""
    INSTITUTION = "institution"


class RequestOutcome(Enum):
    """Where a request stands. A provider that was notified provides, or holds; it cannot refuse (22条)."""

    NOTIFIED = "notified"
    PROVIDED = "provided"
    HELD = "held"
    DENIED = "denied"


@dataclass(frozen=True, slots=True)
class Notification:
    """What the core hands to a provider: the request's number, the person as the provider calls him, what is asked and
    by whom, under which number of the requester's own. `rule` is the provision that allows it."""

    number: int
    code: InstitutionCode
    provider: str
    requester: str
    process: int
    item: str
    rule: str

    def as_dict(self) -> dict[str, Any]:
        """As a message has it."""
        return {
            "number": self.number, "code": str(self.code), "provider": self.provider, "requester": self.requester,
            "process": self.process, "item": self.item, "rule": self.rule,
        }  # fmt: skip

    @classmethod
    def from_dict(cls, body: dict[str, Any]) -> Notification:
        """And back. Raises ForeignCode."""
        return cls(**{**body, "code": InstitutionCode.parse(body["code"])})


@dataclass(frozen=True, slots=True)
class ProvisionRecord:
    """What is kept of an exchange (情報提供等の記録): who, whom, when, which item. Not what was said."""

    number: int
    requester: str
    provider: str
    item: str
    requested_at: datetime
    provided_at: datetime | None
    outcome: RequestOutcome
    reason: str
