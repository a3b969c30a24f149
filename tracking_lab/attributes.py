"""Attribute linkage: which accounts at two services belong to the same person, by the attributes in forms.

The model is Fellegi and Sunter's (1969), with weights estimated by expectation maximisation: Splink, on either engine.
"""

from __future__ import annotations

from itertools import count
from typing import Any

import polars as pl

from kazashi.tracking_lab.accounts import ATTRIBUTES
from kazashi.tracking_lab.engine import Engine
from kazashi.tracking_lab.names import VARIANTS

CERTAIN = 0.9
"""The lowest probability at which two accounts are taken to belong to the same person."""

_FEW = 50
"""The fewest records per source from which weights can be estimated."""

_BLOCKS = (("born",), ("family", "given"), ("town", "street"))
"""Blocking rules: two records are compared only if they agree in one of these."""

_EVERY_PAIR = 1e12
_NUMBERS = count()
SCHEMA: dict[Any, Any] = {"one": pl.String, "other": pl.String, "probability": pl.Float64}


def evened(records: pl.DataFrame) -> pl.DataFrame:
    """Normalise records: house numbers as numbers, characters in their usual form."""
    usual = pl.col("family").str.replace_many(list(VARIANTS.values()), list(VARIANTS))
    numbers = pl.col("street").str.extract_all(r"\d+").list.join("-")
    return records.with_columns(family=usual, street=numbers)


def candidates(engine: Engine, one: pl.DataFrame, other: pl.DataFrame) -> pl.DataFrame:
    """Pairs of records of two sources that may belong to the same person: `one`, `other` (their ids), `probability`,
    the most probable first. Each source has a column `id` of unique texts and the columns of ATTRIBUTES, null for those
    that it does not hold. There are no pairs if a source has too few records, or the sources share too few
    attributes."""
    shared = [name for name in ATTRIBUTES if one[name].count() and other[name].count()]
    blocks: list[tuple[str, ...]] = [names for names in _BLOCKS if set(names) <= set(shared)]
    if min(one.height, other.height) < _FEW or len(shared) < 2 or not blocks:
        return pl.DataFrame(schema=SCHEMA)
    linker = _linker(engine, [evened(frame).select("id", *shared) for frame in (one, other)], shared, blocks)
    predicted = pl.from_arrow(linker.inference.predict().as_pyarrow_table())
    assert isinstance(predicted, pl.DataFrame)
    # Splink sorts each pair by the source's name, so the first source is on the left.
    pairs = predicted.select(one="id_l", other="id_r", probability="match_probability").cast(SCHEMA)
    return pairs.sort("probability", "one", "other", descending=[True, False, False])


def best(pairs: pl.DataFrame, certain: float = CERTAIN) -> pl.DataFrame:
    """The candidate pairs that are each other's best match, with a probability of at least `certain`. No record is in
    two of them."""
    sure = pairs.filter(pl.col("probability") >= certain)
    ones = sure.unique(subset=["one"], keep="first", maintain_order=True)
    others = sure.unique(subset=["other"], keep="first", maintain_order=True)
    return ones.join(others.select("one", "other"), on=["one", "other"])


def _linker(engine: Engine, sources: list[pl.DataFrame], shared: list[str], blocks: list[tuple[str, ...]]) -> Any:
    import splink.comparison_library as library
    from splink import Linker, SettingsCreator, block_on

    settings = SettingsCreator(
        link_type="link_only", unique_id_column_name="id",
        comparisons=[library.LevenshteinAtThresholds("born", 1) if name == "born" else library.ExactMatch(name)
                     for name in shared],
        blocking_rules_to_generate_predictions=[block_on(*names) for names in blocks],
        retain_matching_columns=False, retain_intermediate_calculation_columns=False,
    )  # fmt: skip
    api = engine.splink()
    number = next(_NUMBERS)  # display names must be unique, and one engine may link several times
    registered = [
        api.register(frame.to_pandas() if engine.name == "spark" else frame.to_arrow(),
                     dataset_display_name=f"{name}_{number:06d}")
        for frame, name in zip(sources, ("a", "b"), strict=True)
    ]  # fmt: skip
    linker = Linker(registered, settings, log_level="ERROR")
    sure = [name for name in ("family", "given", "born") if name in shared]
    surely = block_on(*(sure if len(sure) == 3 else shared))
    linker.training.estimate_probability_two_random_records_match([surely], recall=0.8)
    # From all pairs rather than a random sample, so that both engines give the same result.
    linker.training.estimate_u_using_random_sampling(_EVERY_PAIR, min_count_per_level=None, num_chunks=1)
    for names in blocks:
        if set(names) < set(shared):
            linker.training.estimate_parameters_using_expectation_maximisation(block_on(*names))
    return linker
