"""What a person can ask of whoever holds specific personal information (番号法29条 to 31条)."""

from __future__ import annotations

from enum import Enum

from kazashi.provision_network.rules import Decision, Denial

AIM_NOT_LAW = ("自己情報コントロール権",)
"""Aims of the outline of 2011 that stand in no article of the Act (G22)."""


class PersonRequest(Enum):
    """What somebody asks, and the article that it stands on: three kinds, and one that has none (G21)."""

    DISCLOSURE = "番号法29条"
    CORRECTION = "番号法30条"
    STOP_USE = "番号法31条"
    STOP_MATCHING = ""


def decide_request(request: PersonRequest) -> Decision:
    """Whether the law knows a request. That information be no longer matched is nobody's right."""
    if not request.value:
        return Decision("", Denial.NO_BASIS, "no legal basis: the Act does not speak of matching itself")
    return Decision(request.value, None, request.name.lower().replace("_", " "))
