"""The terms shared by the core, the interface systems and the bodies: outcomes, notifications, records, rejections, and
checks of message fields."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any

from kazashi.provision_network.codes import InstitutionCode

CORE, J_LIS = "core", "j-lis"
PORTAL_KIND = "情報提供等記録開示システム"
OWN_INFORMATION = "番号法附則6条3項 (自己情報表示)"

LONGEST = 200
"""The maximum length of a text in a message, in characters."""


class NetworkRejected(Exception):
    """The network refuses the request for the reason code `denial`; the message explains it. Only the refusal was
    recorded."""

    def __init__(self, denial: str, words: str) -> None:
        super().__init__(words)
        self.denial = denial


def own_body(body: str) -> NetworkRejected:
    """Return the refusal of a body's request to itself."""
    return NetworkRejected("own-body", f"{body} cannot request its own information over the network")


def number_of(unverified: Any) -> int:
    """Return a number from a message if a store can hold it. Raises ValueError if not."""
    if not isinstance(unverified, int) or not 0 <= unverified < 1 << 63:
        raise ValueError(f"{str(unverified)[:40]!r} is not a number from 0 to 2^63-1")
    return unverified


def text_of(unverified: Any) -> str:
    """Return a text from a message or a request if a store can hold it. Raises ValueError if not."""
    short = isinstance(unverified, str) and len(unverified) <= LONGEST
    if not short or not unverified.replace("\u3000", "").isprintable():
        raise ValueError(f"{str(unverified)[:40]!r} is not a printable text of up to {LONGEST} characters")
    return str(unverified)


class Role(Enum):
    """The role of a caller of the core."""

    CORE_OPERATOR = "core-operator"
    """The Minister of Internal Affairs, who runs the core. Only this role may convert a code by hand."""
    PORTAL_OPERATOR = "portal-operator"
    """The Cabinet Office."""
    INSTITUTION = "institution"


class RequestOutcome(Enum):
    """The outcome of a request. A provider that was notified provides or holds; it cannot refuse (22条)."""

    NOTIFIED = "notified"
    PROVIDED = "provided"
    HELD = "held"
    DENIED = "denied"


@dataclass(frozen=True, slots=True)
class Notification:
    """The core's notification to a provider.

    `number` is the core's number of the request, and `code` the provider's code for the person. `process` is the
    requester's own number of the request. `rule` is the provision that allows it.
    """

    number: int
    code: InstitutionCode
    provider: str
    requester: str
    process: int
    item: str
    rule: str

    def as_dict(self) -> dict[str, Any]:
        """Return the notification as the body of a message, with the code in hexadecimal."""
        return {
            "number": self.number, "code": str(self.code), "provider": self.provider, "requester": self.requester,
            "process": self.process, "item": self.item, "rule": self.rule,
        }  # fmt: skip

    @classmethod
    def from_dict(cls, body: dict[str, Any]) -> Notification:
        """Parse the body of a message. Raises ForeignCode."""
        return cls(**{**body, "code": InstitutionCode.parse(body["code"])})


@dataclass(frozen=True, slots=True)
class ProvisionRecord:
    """The core's record of an exchange (情報提供等の記録): the requester, the provider, the item and the times, without
    the content."""

    number: int
    requester: str
    provider: str
    item: str
    requested_at: datetime
    provided_at: datetime | None
    outcome: RequestOutcome
    reason: str
