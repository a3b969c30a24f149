"""What sorts of data J-LIS has about people, by the values in its documents, for the first reason of the ruling.

A value is identity data if the registry has the same value for the same person. A text that names an illness, a prison,
a benefit and so on tells more, even if it is part of an address.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa

from kazashi.resident_registry import juki_net, registry
from kazashi.tracking_lab.facts import StoreFact
from kazashi.world.home import World

CONFIDENTIAL = {
    "health": "病院|病棟|療養|障害|障がい|疾患|精神科|妊娠|透析|がん治療|HIV|hospital|illness|disabled",
    "crime": "刑務所|拘置所|少年院|更生保護|前科|逮捕|犯罪|prison|convicted",
    "belief": "宗教|信仰|教団|修道院|政党|信条|思想|労働組合|monastery|religion",
    "income and benefits": "生活保護|救護施設|年収|所得|滞納|破産|困窮|welfare|income",
    "violence": "シェルター|暴力|虐待|ストーカー|支援措置|refuge|abuse",
}
"""Sorts of data that concern a person's inner self or situation, and the words by which a text shows them."""

_PATTERNS = {sort: re.compile(words) for sort, words in CONFIDENTIAL.items()}
PLAIN = {
    "dates": r"[0-9]{4}-[0-9]{2}(?:-[0-9]{2})?", "numbers": "[0-9]+", "status": "[a-z-]+", "names and addresses": ".*",
}  # fmt: skip
"""Sorts of identity data, and the patterns of their values, of which the first that matches counts."""

_WITHOUT = ("alias", "about")
"""Notes for users of a world, which no real register has."""


def sorts_of_data(world: World) -> tuple[list[StoreFact], list[StoreFact]]:
    """What J-LIS has that is more than identity data, and how much identity data of each sort."""
    beyond: Counter[tuple[str, str]] = Counter()
    plain: Counter[str] = Counter()
    registered = {str(code): set(_texts(json.loads(text))) for code, text in _rows(world, registry.ACTOR, "person")}
    for code, text in _rows(world, juki_net.J_LIS, "identity"):
        document = json.loads(text)
        for place, value in ((place, value) for place, each in document.items() if place not in _WITHOUT
                             for value in _texts(each)):  # fmt: skip
            told = [sort for sort, pattern in _PATTERNS.items() if pattern.search(value)]
            if told or value not in registered.get(str(code), ()):
                beyond.update((sort, f"identity.document.{place}") for sort in told or ["other"])
            else:
                plain[_sort(value)] += 1
    against = [
        StoreFact("other-data" if sort == "other" else "confidential-data",
                  {"sort": sort, "place": place, "count": count})
        for (sort, place), count in sorted(beyond.items())
    ]  # fmt: skip
    return against, [
        StoreFact("identity-data", {"sort": sort, "count": count}) for sort, count in sorted(plain.items())
    ]


def _rows(world: World, store: str, table: str) -> list[Any]:
    with world.store_to_study(store).reading() as connection:
        return list(connection.execute(sa.text(f"SELECT record_code, document FROM {table}")))


def _texts(value: Any) -> Iterator[str]:
    match value:
        case dict():
            for each in value.values():
                yield from _texts(each)
        case list():
            for each in value:
                yield from _texts(each)
        case _:
            yield str(value)


def _sort(value: str) -> str:
    return next(sort for sort, pattern in PLAIN.items() if re.fullmatch(pattern, value, re.DOTALL))
