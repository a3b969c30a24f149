"""Where people use their cards: what services see, and who it really was.

A use is a second, a service, and which certificate was shown. The person stands beside it for
the judge alone; no linker is given that column.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from tracking_lab.lives import CHUNK, NEVER
from tracking_lab.plan import DAY, Kind, Plan
from world.chance import stream

_NOON, _SPREAD = 13.5 * 3600, 3.2 * 3600
_ON_PHONE = 0.5
"""The share of logins and points for which people who have a phone use that."""

_WITH_PHONES = (Kind.LOGIN, Kind.POINTS, Kind.PORTAL)
_FAR = np.int64(1) << 20
"""More days than any plan has: a person and a day in one number."""


def use(plan: Plan, chunk: int, certificates: pl.DataFrame) -> pl.DataFrame:
    """All uses of the people of a chunk, of whom `certificates` are those with their numbers."""
    first = chunk * CHUNK
    count = min(CHUNK, plan.residents - first)
    rng = np.random.default_rng(stream(plan.seed, "tracking", "uses", str(chunk)).getrandbits(128))
    services: dict[Kind, Any] = {kind: [] for kind in Kind}
    for number, kind, _ in plan.services():
        services[kind].append(number)
    shown = {
        (signature, medium): _Shown(certificates.filter(kind=signature, medium=medium), first)
        for signature in (False, True) for medium in (0, 1)
    }  # fmt: skip
    frames = []
    for kind, habit in plan.habits.items():
        there = np.asarray(services[kind], np.uint16)
        if not len(there):
            continue
        goes = np.flatnonzero(rng.random(count) < habit.share)
        who = np.repeat(goes, habit.services)
        popularity = 1 / np.arange(1, len(there) + 1) ** 0.5
        where = rng.choice(there, len(who), p=popularity / popularity.sum())
        times = rng.poisson(habit.per_year * plan.years, len(who))
        who, where = np.repeat(who, times), np.repeat(where, times)
        day = rng.integers(0, plan.days, len(who), dtype=np.int32)
        second = np.clip(rng.normal(_NOON, _SPREAD, len(who)), 0, DAY - 1).astype(np.int64)
        phone = rng.random(len(who)) < (_ON_PHONE if kind in _WITH_PHONES else 0)
        serial = np.zeros(len(who), np.uint64)
        for medium in (0, 1):
            mine = phone == bool(medium)
            serial[mine] = shown[kind.signs, medium].at(who[mine], day[mine])
        none = phone & (serial == 0)  # no phone after all: the card
        serial[none] = shown[kind.signs, 0].at(who[none], day[none])
        worked = serial > 0
        frames.append(pl.DataFrame({
            "moment": (day[worked].astype(np.int64) * DAY + second[worked]).astype(np.uint32), "service": where[worked],
            "shown": serial[worked], "person": (who[worked] + first).astype(np.uint32),
        }))  # fmt: skip
    schema = {"moment": pl.UInt32, "service": pl.UInt16, "shown": pl.UInt64, "person": pl.UInt32}
    return pl.concat(frames) if frames else pl.DataFrame(schema=schema)


class _Shown:
    """Which certificate of a kind and medium a person of a chunk could show on a day."""

    def __init__(self, certificates: pl.DataFrame, first: int) -> None:
        sorted_ = certificates.sort("person", "begins")
        self._person = sorted_["person"].to_numpy().astype(np.int64) - first
        self._key = self._person * _FAR + sorted_["begins"].to_numpy()
        ended = np.minimum(sorted_["ended"].to_numpy(), sorted_["ends"].to_numpy() + 1)
        self._ended = np.where(sorted_["ended"].to_numpy() == NEVER, sorted_["ends"].to_numpy() + 1, ended)
        self._shown = sorted_["shown"].to_numpy()

    def at(self, person: Any, day: Any) -> Any:
        """What is shown by each person on a day, 0 where there is nothing that is good."""
        if not len(self._key) or not len(person):
            return np.zeros(len(person), np.uint64)
        place = np.searchsorted(self._key, person.astype(np.int64) * _FAR + day, side="right") - 1
        found = np.maximum(place, 0)
        good = (place >= 0) & (self._person[found] == person) & (day < self._ended[found])
        return np.where(good, self._shown[found], 0).astype(np.uint64)
