"""Batches of attestations: certificates of which a wallet has many, to show another one at each use."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from kazashi.tracking_lab.plan import DAY
from kazashi.world.rng import stream

YEAR = 365 * DAY
_PLACES = 1 << 32
"""More attestations than any person has. It combines a person and an attestation in one number."""


@dataclass(frozen=True, slots=True)
class Batch:
    """How a wallet shows its attestations. It gets `size` of them each year (invented), and shows them in random order;
    when all have been shown, it starts again. That is method C of the EUDI wallet's framework (ARF 3.0, topic 10). With
    `size` None it gets new ones in time and shows each of them once (method A)."""

    size: int | None = None


def shown_from(moments: pl.DataFrame, batch: Batch) -> pl.DataFrame:
    """The uses with a column `attestation`: the number of the attestation that is shown. `moments` has one row per use:
    `person`, `service`, `moment` (seconds)."""
    ordered = moments.sort("person", "moment", "service", maintain_order=True)
    place = pl.int_range(pl.len(), dtype=pl.Int64)
    if batch.size is None:
        return ordered.with_columns(attestation=pl.col("person") * _PLACES + place.over("person"))
    year = pl.col("moment") // YEAR
    numbered = ordered.with_columns(year=year, place=place.over("person", year))
    numbered = numbered.with_columns(turn=pl.col("place") // batch.size, place=pl.col("place") % batch.size)
    groups = numbered.select("person", "year", "turn").unique(maintain_order=True).with_row_index("group")
    order = _orders(groups, batch.size)
    rows = numbered.join(groups, on=["person", "year", "turn"], maintain_order="left")
    drawn = pl.Series(order[rows["group"].to_numpy(), rows["place"].to_numpy()], dtype=pl.Int64)
    number = pl.col("person") * _PLACES + pl.col("year") * batch.size + drawn
    return rows.with_columns(attestation=number).drop("year", "place", "turn", "group")


def _orders(groups: pl.DataFrame, size: int) -> Any:
    """A random order of a batch for each of the groups."""
    rng = np.random.default_rng(stream("tracking", "batches", str(size)).getrandbits(128))
    return np.argsort(rng.random((groups.height, size)), axis=1)
