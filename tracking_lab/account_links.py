"""T15: the accounts of two services that their attributes link, of all accounts or of a random sample.

A sample is of the first service's accounts. Each is compared with every account of the other service that agrees in a
blocking rule, and what it is linked to with all its rivals, so its link is the one that all accounts together give,
apart from the model's weights, which are estimated from the sample.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from kazashi.tracking_lab.accounts import ATTRIBUTES
from kazashi.tracking_lab.attributes import CERTAIN, AttributeModel, best, candidates, comparable, evened
from kazashi.tracking_lab.engine import Engine
from kazashi.tracking_lab.log_measures import FEWEST, MOST_PAIRS, SAMPLED, TooManyPairs

NAMED = f"""
(SELECT * FROM (SELECT *, CAST(row_number() OVER (ORDER BY service, person) - 1 AS BIGINT) AS id FROM account)
 WHERE coalesce({", ".join(ATTRIBUTES)}) IS NOT NULL)
"""
"""The accounts with an attribute."""

_FULL = 5_000
"""The most accounts of a service that are all compared with all of another."""

_ROWS = 200_000
"""About as many accounts as are held at once."""


@dataclass(frozen=True, slots=True)
class AccountLinks:
    """The numbers of accounts that were `examined`, of those that there are, and that were `linked` by attributes; by
    the ground truth, how many links are `right`, and how many examined accounts have a counterpart (`shared`)."""

    linked: int
    examined: int
    accounts: int
    right: int
    shared: int


def linked_accounts(
    engine: Engine, one: int, other: int, seed: int = 1, full: int = _FULL, drawn: int = SAMPLED
) -> AccountLinks:
    """Link the accounts of two services by attributes; of more than `full` accounts, those of a sample. Raises
    TooManyPairs if even a small sample agrees with too many accounts."""
    sizes = [int(engine.query(f"SELECT count(*) AS n FROM {NAMED} WHERE service = :service", service=service)["n"][0])
             for service in (one, other)]  # fmt: skip
    if max(sizes) <= full:
        left, right = (_accounts(engine, service).sort("number") for service in (one, other))
        return _scored(left, right, best(candidates(engine, left, right)), min(sizes))
    sample = _drawn(engine, one, seed, drawn)
    strangers = _drawn(engine, other, seed, drawn)
    _, blocks = comparable(sample, strangers)
    near = _near(engine, other, sample, blocks)
    compared = _pairs_of(sample, near, blocks)
    if compared > MOST_PAIRS:
        sample = sample.head(sample.height * MOST_PAIRS // compared)
        if sample.height < FEWEST:
            raise TooManyPairs(f"{compared:,} pairs of accounts agree in a blocking rule")
        near = _near(engine, other, sample, blocks)
    model = AttributeModel.fitted(engine, sample, strangers, near, sizes[1])
    if model is None:
        return AccountLinks(0, sample.height, sizes[0], 0, _number_shared(engine, sample, other))
    ours = model.pairs().unique(subset=["one"], keep="first", maintain_order=True).filter(
        pl.col("probability") >= CERTAIN
    )  # fmt: skip
    linked = near.join(ours.select(id="other"), on="id", how="semi")
    rivals = _near(engine, one, linked, blocks)
    if (compared := _pairs_of(linked, rivals, blocks)) > MOST_PAIRS:
        raise TooManyPairs(f"{compared:,} pairs of accounts agree in a blocking rule")
    theirs = model.between(rivals, linked).unique(subset=["other"], keep="first", maintain_order=True)
    return _scored(sample, linked, ours.join(theirs.select("one", "other"), on=["one", "other"]), sizes[0],
                   _number_shared(engine, sample, other))  # fmt: skip


def _scored(
    left: pl.DataFrame, right: pl.DataFrame, links: pl.DataFrame, accounts: int, shared: int | None = None
) -> AccountLinks:  # fmt: skip
    owners = links.join(left.select(one="id", ours="person"), on="one").join(
        right.select(other="id", theirs="person"), on="other"
    )
    hits = owners.filter(pl.col("ours") == pl.col("theirs")).height
    both = left.join(right, on="person", how="semi").height if shared is None else shared
    return AccountLinks(links.height, left.height, accounts, hits, both)


def _accounts(engine: Engine, service: int, where: str = "true", **parameters: int | str) -> pl.DataFrame:
    """Accounts of a service with an attribute: `number`, `id` (the same as text), `person` and the attributes."""
    rows = engine.query(f"""
        SELECT id AS number, person, {', '.join(ATTRIBUTES)} FROM {NAMED} WHERE service = :service AND {where}
    """, service=service, **parameters)  # fmt: skip
    return rows.with_columns(id=pl.col("number").cast(pl.String))


def _drawn(engine: Engine, service: int, seed: int, most: int) -> pl.DataFrame:
    """A random sample of `most` accounts of a service."""
    digest = engine.sha256(f"concat({engine.text(':seed')}, '/', {engine.text('id')})")
    return _accounts(engine, service, f"true ORDER BY {digest}, id LIMIT :most", seed=seed, most=most)


def _near(engine: Engine, service: int, records: pl.DataFrame, blocks: Sequence[tuple[str, ...]]) -> pl.DataFrame:
    """The accounts of a service that agree with one of some records in a blocking rule."""
    keys = {names: evened(records).select(names).drop_nulls().unique() for names in blocks}
    size = int(engine.query(f"SELECT count(*) AS n FROM {NAMED} WHERE service = :service", service=service)["n"][0])
    parts, kept = -(-size // _ROWS), []
    for part in range(parts):
        rows = _accounts(engine, service, "person % :parts = :part", parts=parts, part=part)
        same = evened(rows)
        agreeing = [same.join(key, on=list(names), how="semi").select("id") for names, key in keys.items()]
        kept.append(rows.join(pl.concat(agreeing).unique(), on="id", how="semi"))
    return pl.concat(kept).sort("number")


def _pairs_of(one: pl.DataFrame, other: pl.DataFrame, blocks: Sequence[tuple[str, ...]]) -> int:
    """The number of pairs of records that agree in a blocking rule, counted once for each rule."""
    total = 0
    for names in blocks:
        ours, theirs = (evened(frame).drop_nulls(names).group_by(*names).len() for frame in (one, other))
        both = ours.join(theirs, on=list(names))
        total += int((both["len"].cast(pl.Int64) * both["len_right"].cast(pl.Int64)).sum())
    return total


def _number_shared(engine: Engine, sample: pl.DataFrame, other: int) -> int:
    """The number of accounts of a sample whose persons have an account with an attribute at another service."""
    engine.frame("sampled", sample.select("person"))
    rows = engine.query(f"""
        SELECT count(*) AS n FROM sampled s WHERE s.person IN (SELECT person FROM {NAMED} WHERE service = :other)
    """, other=other)  # fmt: skip
    return int(rows["n"][0])
