"""Attribute linkage: which accounts at two services belong to the same person, by the attributes in forms.

The model is Fellegi and Sunter's (1969), with weights estimated by expectation maximisation: Splink, on either engine.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from itertools import count
from typing import Any

import polars as pl

from kazashi.resident_registry.made_up_names import VARIANTS
from kazashi.tracking_lab.accounts import ATTRIBUTES
from kazashi.tracking_lab.engine import Engine

CERTAIN = 0.9
"""The lowest probability at which two accounts are taken to belong to the same person."""

_FEW = 50
"""The fewest records per source from which weights can be estimated."""

BLOCKS = (("born",), ("family", "given"), ("town", "street"))
"""Blocking rules: two records are compared only if they agree in one of these."""

_EVERY_PAIR = 1e12
_NUMBERS = count()
SCHEMA: dict[Any, Any] = {"one": pl.String, "other": pl.String, "probability": pl.Float64}


class TooFewRecords(Exception):
    """A source has too few records to estimate weights from; the message says how many."""


def evened(records: pl.DataFrame) -> pl.DataFrame:
    """Normalise records: house numbers as numbers, characters in their usual form."""
    usual = pl.col("family").str.replace_many(list(VARIANTS.values()), list(VARIANTS))
    numbers = pl.col("street").str.extract_all(r"\d+").list.join("-")
    return records.with_columns(family=usual, street=numbers)


def candidates(engine: Engine, one: pl.DataFrame, other: pl.DataFrame) -> pl.DataFrame:
    """Pairs of records of two sources that may belong to the same person: `one`, `other` (their ids), `probability`,
    the most probable first. Each source has a column `id` of unique texts and the columns of ATTRIBUTES, null for those
    that it does not hold. There are no pairs if the sources share too few attributes, or if no two records agree in
    those that are compared. Raises TooFewRecords."""
    model = AttributeModel.fitted(engine, one, other)
    return pl.DataFrame(schema=SCHEMA) if model is None else model.pairs()


def best(pairs: pl.DataFrame, certain: float = CERTAIN) -> pl.DataFrame:
    """The candidate pairs that are each other's best match, with a probability of at least `certain`. No record is in
    two of them."""
    sure = pairs.filter(pl.col("probability") >= certain)
    ones = sure.unique(subset=["one"], keep="first", maintain_order=True)
    others = sure.unique(subset=["other"], keep="first", maintain_order=True)
    return ones.join(others.select("one", "other"), on=["one", "other"])


def _agreeing(one: pl.DataFrame, other: pl.DataFrame, names: Sequence[str]) -> bool:
    """Whether a record of one source has the same attributes as a record of the other."""
    return evened(one).join(evened(other), on=list(names), how="semi").height > 0


def comparable(one: pl.DataFrame, other: pl.DataFrame) -> tuple[list[str], list[tuple[str, ...]]]:
    """The attributes that two sources share, and the blocking rules for them."""
    shared = [name for name in ATTRIBUTES if one[name].count() and other[name].count()]
    return shared, [names for names in BLOCKS if set(names) <= set(shared)]


class AttributeModel:
    """A model of which records belong to the same person, with weights estimated from two sources."""

    def __init__(self, engine: Engine, linker: Any, shared: Sequence[str], blocks: Sequence[tuple[str, ...]]) -> None:
        self._engine, self._linker = engine, linker
        self.shared, self.blocks = tuple(shared), tuple(blocks)

    @classmethod
    def fitted(
        cls, engine: Engine, one: pl.DataFrame, other: pl.DataFrame, others: pl.DataFrame | None = None, of: int = 0
    ) -> AttributeModel | None:  # fmt: skip
        """Estimate the weights from two sources. None if the sources share too few attributes, or if no two records
        agree in those that are compared. Raises TooFewRecords.

        For a source with too many records to compare: `other` are random ones of its `of` records, and `others` are
        those that agree with a record of `one` in a blocking rule. What strangers share is then estimated from `other`,
        and what the records of one person share from `others`.
        """
        if min(one.height, other.height) < _FEW:
            raise TooFewRecords(f"weights need {_FEW} records of each source, not {one.height} and {other.height}")
        same = other if others is None else others
        shared, blocks = comparable(one, same)
        blocks = [names for names in blocks if _agreeing(one, same, names)]
        if len(shared) < 2 or not blocks:
            return None
        linker = _linker(engine, (one, other), shared, blocks)
        # From all pairs rather than a random sample, so that both engines give the same result.
        linker.training.estimate_u_using_random_sampling(_EVERY_PAIR, min_count_per_level=None, num_chunks=1)
        if others is not None:
            linker = _linker(engine, (one, others), shared, blocks, linker.misc.save_model_to_json())
        from splink import block_on

        sure = [name for name in ("family", "given", "born") if name in shared]
        surely = sure if len(sure) == 3 else shared
        if _agreeing(one, same, surely):  # Splink cannot calculate with an estimate of 0
            linker.training.estimate_probability_two_random_records_match([block_on(*surely)], recall=0.8)
        for names in blocks:
            if set(names) < set(shared):
                # If nobody's attributes ever differ, the weights underflow, which Splink refuses. It keeps those that
                # it began with.
                with suppress(ValueError):
                    linker.training.estimate_parameters_using_expectation_maximisation(block_on(*names))
        if others is not None:
            fitted = linker.misc.save_model_to_json()
            fitted["probability_two_random_records_match"] *= others.height / of
            linker = _linker(engine, (one, others), shared, blocks, fitted)
        return cls(engine, linker, shared, blocks)

    def pairs(self) -> pl.DataFrame:
        """The candidate pairs of the records from which the weights were estimated, as `candidates` returns them."""
        return _pairs(self._linker.inference.predict())

    def between(self, one: pl.DataFrame, other: pl.DataFrame) -> pl.DataFrame:
        """The candidate pairs of other records of the two sources."""
        left, right = _registered(self._engine, (one, other), self.shared)
        return _pairs(self._linker.inference.predict_between(left, right))


def _pairs(predicted: Any) -> pl.DataFrame:
    rows = pl.from_arrow(predicted.as_pyarrow_table())
    assert isinstance(rows, pl.DataFrame)
    # Splink sorts each pair by the source's name, so the first source is on the left.
    pairs = rows.select(one="id_l", other="id_r", probability="match_probability").cast(SCHEMA)
    return pairs.sort("probability", "one", "other", descending=[True, False, False])


def _registered(engine: Engine, sources: Sequence[pl.DataFrame], shared: Sequence[str]) -> list[Any]:
    api = engine.splink()
    number = next(_NUMBERS)  # display names must be unique, and one engine may link several times
    frames = [evened(frame).select("id", *shared) for frame in sources]
    return [
        api.register(frame.to_pandas() if engine.name == "spark" else frame.to_arrow(),
                     dataset_display_name=f"{name}_{number:06d}")
        for frame, name in zip(frames, ("a", "b"), strict=True)
    ]  # fmt: skip


def _linker(
    engine: Engine, sources: Sequence[pl.DataFrame], shared: Sequence[str], blocks: Sequence[tuple[str, ...]],
    model: dict[str, Any] | None = None,
) -> Any:  # fmt: skip
    import splink.comparison_library as library
    from splink import Linker, SettingsCreator, block_on

    settings = model or SettingsCreator(
        link_type="link_only", unique_id_column_name="id",
        comparisons=[library.LevenshteinAtThresholds("born", 1) if name == "born" else library.ExactMatch(name)
                     for name in shared],
        blocking_rules_to_generate_predictions=[block_on(*names) for names in blocks],
        retain_matching_columns=False, retain_intermediate_calculation_columns=False,
    )  # fmt: skip
    return Linker(_registered(engine, sources, shared), settings, log_level="ERROR")
