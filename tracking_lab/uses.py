"""The uses of cards: what services see, and the ground truth of who it was.

A use is a second, a service, and the certificate that was shown. The column of the person is the ground truth; no
linker gets it. Services are open during the day only, so that an event of the same day, or one submitted on paper the
evening before, has taken effect by then.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from kazashi.tracking_lab.certificates import CARD, PHONE
from kazashi.tracking_lab.people import CHUNK, NEVER
from kazashi.tracking_lab.plan import DAY, HOUR, Plan, ServiceType
from kazashi.world.rng import stream

_OPENS, _CLOSES = 6 * HOUR, 20 * HOUR
_ON_PHONE = 0.5
"""The share of uses at the services of _WITH_PHONES for which people who have a phone use it (invented)."""

_WITH_PHONES = (ServiceType.LOGIN, ServiceType.POINTS, ServiceType.PORTAL)
_ON_THE_WAY = (5 * 60, 40 * 60)
"""The least and most seconds between a purchase and the tap that follows it (invented)."""

_FAR = np.int64(1) << 20
"""More days than any plan has. It combines a person and a day in one number."""

_NO_SERVICE = np.iinfo(np.uint32).max
SCHEMA = {"moment": pl.UInt32, "service": pl.UInt32, "shown": pl.Int64, "person": pl.UInt32}


def use(plan: Plan, chunk: int, certificates: pl.DataFrame, towns: Any) -> pl.DataFrame:
    """The successful uses of a chunk's people: `moment` (seconds from the plan's first), `service`, `shown`, `person`.
    The parameters are those of `tries`."""
    return tries(plan, chunk, certificates, towns).filter(pl.col("shown") > 0)


def tries(plan: Plan, chunk: int, certificates: pl.DataFrame, towns: Any) -> pl.DataFrame:
    """All attempted uses of a chunk's people, in the columns of `use`; `shown` is 0 if the person had no good
    certificate. `certificates` are theirs, with serial numbers; `towns` is where each person lives on the first
    day."""
    first = chunk * CHUNK
    count = len(towns)
    rng = np.random.default_rng(stream(plan.seed, "tracking", "uses", str(chunk)).getrandbits(128))
    shown = {
        (signature, medium): _Shown(certificates.filter(kind=signature, medium=medium), first)
        for signature in (False, True) for medium in (CARD, PHONE)
    }  # fmt: skip
    frames, tap = [], np.full(count, _NO_SERVICE, np.uint32)
    for kind, habit in plan.habits.items():
        services = [service for service in plan.services() if service.kind is kind]
        if not services:
            continue
        goes = np.flatnonzero(rng.random(count) < habit.share)
        who = np.repeat(goes, habit.services)
        where = _chosen(services, towns[who], rng)
        if kind is ServiceType.TAP:
            tap[who] = where
        times = rng.poisson(habit.per_year * plan.years, len(who))
        who, where = np.repeat(who, times), np.repeat(where, times)
        day = rng.integers(0, plan.days, len(who), dtype=np.int32)
        # The mean of three random numbers peaks at midday and has no tails.
        second = (_OPENS + rng.random((3, len(who))).mean(axis=0) * (_CLOSES - _OPENS - 1)).astype(np.int64)
        frames.append(_tried(kind, who, where, day, second, shown, rng))
        if kind is ServiceType.POINTS:
            on = np.flatnonzero((tap[who] != _NO_SERVICE) & (rng.random(len(who)) < plan.errands))
            after = second[on] + rng.integers(*_ON_THE_WAY, len(on))
            on, after = on[after < _CLOSES], after[after < _CLOSES]
            frames.append(_tried(ServiceType.TAP, who[on], tap[who[on]], day[on], after, shown, rng))
    attempts = pl.concat(frames) if frames else pl.DataFrame(schema=SCHEMA)
    return attempts.with_columns(pl.col("person") + first)


def _chosen(services: Any, towns: Any, rng: np.random.Generator) -> Any:
    """The number of a service for each person: in their town if there is one, the first services more often."""
    numbers = np.asarray([service.number for service in services], np.uint32)
    where = np.asarray([service.town for service in services], np.uint16)
    chance = rng.random(len(towns)) ** 1.5
    low, high = np.searchsorted(where, towns), np.searchsorted(where, towns, side="right")
    low, high = np.where(low < high, low, 0), np.where(low < high, high, len(services))
    return numbers[(low + chance * (high - low)).astype(np.int64)]


def _tried(
    kind: ServiceType, who: Any, where: Any, day: Any, second: Any, shown: dict[tuple[bool, int], _Shown],
    rng: np.random.Generator,
) -> pl.DataFrame:  # fmt: skip
    phone = rng.random(len(who)) < (_ON_PHONE if kind in _WITH_PHONES else 0)
    serial = np.zeros(len(who), np.int64)
    for medium in (CARD, PHONE):
        mine = phone == bool(medium)
        serial[mine] = shown[kind.signs, medium].at(who[mine], day[mine])
    none = phone & (serial == 0)  # people without a certificate on a phone use the card
    serial[none] = shown[kind.signs, CARD].at(who[none], day[none])
    return pl.DataFrame({
        "moment": (day.astype(np.int64) * DAY + second).astype(np.uint32), "service": where, "shown": serial,
        "person": who.astype(np.uint32),
    }, schema=SCHEMA)  # fmt: skip


class _Shown:
    """The certificates of a kind and medium that a chunk's people can show on a day."""

    def __init__(self, certificates: pl.DataFrame, first: int) -> None:
        sorted_ = certificates.sort("person", "begins")
        self._person = sorted_["person"].to_numpy().astype(np.int64) - first
        self._key = self._person * _FAR + sorted_["begins"].to_numpy()
        ended = sorted_["ended"].to_numpy()
        self._ended = np.where(ended == NEVER, sorted_["ends"].to_numpy() + 1, ended)
        self._shown = sorted_["shown"].to_numpy()

    def at(self, person: Any, day: Any) -> Any:
        """The certificate that each person shows on their day, 0 if they have none that is good."""
        if not len(self._key) or not len(person):
            return np.zeros(len(person), np.int64)
        place = np.searchsorted(self._key, person.astype(np.int64) * _FAR + day, side="right") - 1
        latest = np.maximum(place, 0)
        good = (place >= 0) & (self._person[latest] == person) & (day < self._ended[latest])
        return np.where(good, self._shown[latest], 0).astype(np.int64)
