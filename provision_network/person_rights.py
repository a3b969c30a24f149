"""The requests that a person can make to a holder of specific personal information (番号法29条 to 31条)."""

from __future__ import annotations

from enum import Enum

from kazashi.provision_network.law.rules import Decision, Denial

AIM_NOT_LAW = ("自己情報コントロール権",)
"""Aims of the outline of 2011 that are in no article of the Act."""


class PersonRequest(Enum):
    """A kind of request, with the article on which it is based. STOP_MATCHING has none."""

    DISCLOSURE = "番号法29条"
    CORRECTION = "番号法30条"
    STOP_USE = "番号法31条"
    STOP_MATCHING = ""


def decide_request(request: PersonRequest) -> Decision:
    """Decide whether the law provides for a request. Nobody has the right to stop the matching of information."""
    if not request.value:
        return Decision("", Denial.NO_BASIS, "no legal basis: the Act does not mention matching itself")
    return Decision(request.value, None, request.name.lower().replace("_", " "))
