"""Accounts: the attributes that services store beside a handle, exact or as people type them into forms."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from kazashi.resident_registry.made_up_names import FAMILIES, GIVEN, VARIANTS
from kazashi.tracking_lab.people import AT_THE_REGISTRY
from kazashi.tracking_lab.plan import DAY, Plan, ServiceType
from kazashi.world.rng import stream

ATTRIBUTES = ("family", "given", "born", "sex", "town", "street")

COLLECTS: dict[ServiceType, tuple[str, ...]] = {
    ServiceType.LOGIN: ATTRIBUTES,
    ServiceType.SIGNING: ATTRIBUTES,
    ServiceType.TAP: (),
    ServiceType.POINTS: ("born", "sex", "town"),
    ServiceType.LIBRARY: ATTRIBUTES,
    ServiceType.INSURANCE: ("family", "given", "born", "sex"),
    ServiceType.PORTAL: ATTRIBUTES,
}
"""Which attributes each kind of service stores. Invented, except that a signature contains the four attributes
(基本4情報)."""

TYPED = (ServiceType.LOGIN, ServiceType.POINTS, ServiceType.LIBRARY)
"""Services where people fill in a form. Elsewhere the attributes come from the certificate or the registry."""

_SLIPS = {"street as numbers": 0.4, "old or wrong street": 0.15, "no street": 0.15, "birth date": 0.1,
          "family name otherwise": 0.1, "given name as read": 0.1}  # fmt: skip
"""Mistakes in forms, with their relative weights (invented)."""


def accounts(
    plan: Plan, chunk: int, uses: pl.DataFrame, people: pl.DataFrame, events: pl.DataFrame
) -> pl.DataFrame:  # fmt: skip
    """One row per person and service that stores attributes: `service`, `person`, `since` (the second of the first
    use), and the attributes, null if the service does not store them."""
    kinds = {service.number: service.kind for service in plan.services()}
    keeping = [number for number, kind in kinds.items() if COLLECTS[kind]]
    first = uses.group_by("service", "person").agg(since=pl.col("moment").min()).sort("person", "service")
    first = first.filter(pl.col("service").is_in(keeping)).with_columns(day=(pl.col("since") // DAY).cast(pl.Int32))
    rows = _as_registered(first, people, events)
    rng = np.random.default_rng(stream(plan.seed, "tracking", "accounts", str(chunk)).getrandbits(128))
    kind = pl.col("service").replace_strict(
        {number: int(kind) for number, kind in kinds.items()}, return_dtype=pl.UInt8
    )
    rows = _as_typed(rows.with_columns(kind=kind), plan.noise, rng)
    kept = [
        pl.when(pl.col("kind").is_in([int(kind) for kind in ServiceType if name in COLLECTS[kind]])).then(pl.col(name))
        .alias(name) for name in ATTRIBUTES
    ]  # fmt: skip
    return rows.select("service", "person", "since", *kept)


def registered(people: pl.DataFrame) -> pl.DataFrame:
    """The attributes of people in the registry on the plan's first day, as in an address list."""
    return _written(people).select("person", *ATTRIBUTES)


def _as_registered(first: pl.DataFrame, people: pl.DataFrame, events: pl.DataFrame) -> pl.DataFrame:
    """Accounts with the attributes that the registry had on the day they were opened, and the former street."""
    changes = events.filter(pl.col("word").is_in(list(AT_THE_REGISTRY))).select(
        "person", "day", "town", "street", "family"
    )
    before = people.select("person", pl.lit(-1, pl.Int32).alias("day"), "town", "street", "family")
    changes = changes.with_columns(pl.col("day") + 1)  # a change is known everywhere on the next day
    states = pl.concat([before, changes.cast(before.schema)]).sort("person", "day", maintain_order=True)
    states = states.unique(subset=["person", "day"], keep="last", maintain_order=True)
    states = states.with_columns(former=pl.col("street").shift(1).over("person"))
    key = pl.col("person").cast(pl.Int64) * (1 << 32) + pl.col("day")
    opened = (
        first.with_columns(key=key)
        .sort("key")
        .join_asof(states.with_columns(key=key).sort("key").drop("person", "day"), on="key", check_sortedness=False)
    )
    return _written(opened.join(people.select("person", "born", "sex", "given"), on="person"))


def _written(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows with text in place of the numbers of names, towns and streets."""
    written = rows.with_columns(
        family=_looked_up(FAMILIES, 0).gather(rows["family"]), given=_looked_up(GIVEN, 0).gather(rows["given"]),
        family_read=_looked_up(FAMILIES, 1).gather(rows["family"]),
        given_read=_looked_up(GIVEN, 1).gather(rows["given"]),
        born=rows["born"].dt.to_string("%Y-%m-%d"), sex=rows["sex"].cast(pl.String), town=rows["town"].cast(pl.String),
        number=pl.col("street"),
    )  # fmt: skip
    return written.with_columns(street=_street(pl.col("number"), "丁目", "番", "号"))


def _looked_up(names: list[tuple[str, str]], place: int) -> pl.Series:
    return pl.Series([name[place] for name in names], dtype=pl.String)


def _street(number: pl.Expr, first: str, second: str, third: str) -> pl.Expr:
    block, house = number // 9 % 60, number // 540 + 1
    return pl.format("{}" + first + "{}" + second + "{}" + third, number % 9 + 1, block + 1, house)


def _as_typed(rows: pl.DataFrame, noise: float, rng: np.random.Generator) -> pl.DataFrame:
    """Accounts as people typed them: in the share `noise` of them, something differs from the registry."""
    typed = rows["kind"].is_in([int(kind) for kind in TYPED]).to_numpy()
    slips: dict[str, Any] = {
        name: pl.Series(typed & (rng.random(len(rows)) < 1 - (1 - noise) ** weight)) for name, weight in _SLIPS.items()
    }  # fmt: skip
    variants = pl.col("family").str.replace_many(list(VARIANTS), list(VARIANTS.values()))
    family = pl.when(variants != pl.col("family")).then(variants).otherwise(pl.col("family_read"))
    wrong = pl.coalesce(pl.when(pl.col("former") != pl.col("number")).then(pl.col("former")), pl.col("number") ^ 9)
    number = pl.when(slips["old or wrong street"]).then(wrong).otherwise(pl.col("number"))
    day = pl.col("born").str.slice(8, 2).cast(pl.UInt8)
    slipped = pl.concat_str(pl.col("born").str.slice(0, 8), (day % 28 + 1).cast(pl.String).str.zfill(2))
    return rows.with_columns(number=number).with_columns(
        family=pl.when(slips["family name otherwise"]).then(family).otherwise(pl.col("family")),
        given=pl.when(slips["given name as read"]).then(pl.col("given_read")).otherwise(pl.col("given")),
        born=pl.when(slips["birth date"]).then(slipped).otherwise(pl.col("born")),
        street=pl.when(slips["no street"]).then(None).when(slips["street as numbers"])
        .then(_street(pl.col("number"), "-", "-", "")).otherwise(_street(pl.col("number"), "丁目", "番", "号")),
    )  # fmt: skip
