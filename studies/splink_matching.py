"""Splink's matching of the same records: Fellegi and Sunter's model, with weights estimated from the records.

It gets the same normal forms and compares the same pairs as the matcher, so that only the decision differs. The
comparisons are those of Splink's library for names, dates of birth and short texts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import polars as pl

from kazashi.provision_network.matching import Attributes, Matched, MatchRecord, normal_form
from kazashi.tracking_lab.attributes import CERTAIN
from kazashi.tracking_lab.engine import DuckDb

_EVERY_PAIR = 1e8
_BLOCKS = (("birth", "sex"), ("name", "place"), ("kana", "place"))
RULE = "splink"


def splink_matched(
    records: Sequence[MatchRecord], people: Mapping[str, Attributes], certain: float = CERTAIN
) -> Matched:  # fmt: skip
    """Match records to people: those pairs that are each other's best, with a probability of at least `certain`. The
    other records are on the work list, with everybody who is as probable."""
    import splink.comparison_library as library
    from splink import Linker, SettingsCreator, block_on

    engine = DuckDb()
    api = engine.splink()
    sources = [
        api.register(_frame({one.number: one.attributes for one in records}).to_arrow(), dataset_display_name="a"),
        api.register(_frame(people).to_arrow(), dataset_display_name="b"),
    ]
    rules = [block_on(*names) for names in _BLOCKS]
    settings = SettingsCreator(
        link_type="link_only", unique_id_column_name="id",
        comparisons=[
            library.LevenshteinAtThresholds("name", [1, 2]), library.LevenshteinAtThresholds("kana", [1, 2]),
            library.LevenshteinAtThresholds("birth", [1, 2]), library.ExactMatch("sex"),
            library.LevenshteinAtThresholds("place", [2, 5]),
        ],
        blocking_rules_to_generate_predictions=rules, retain_matching_columns=False,
        retain_intermediate_calculation_columns=False,
    )  # fmt: skip
    linker = Linker(sources, settings, log_level="ERROR")
    linker.training.estimate_probability_two_random_records_match([block_on("name", "birth", "place")], recall=0.8)
    linker.training.estimate_u_using_random_sampling(_EVERY_PAIR, seed=1)
    for rule in rules:
        with suppress(ValueError):  # weights that underflow, which Splink refuses; it keeps those that it began with
            linker.training.estimate_parameters_using_expectation_maximisation(rule)
    pairs: Any = pl.from_arrow(linker.inference.predict().as_pyarrow_table())
    engine.close()
    return _best(records, pairs, certain)


def _best(records: Sequence[MatchRecord], predicted: pl.DataFrame, certain: float) -> Matched:
    rows = predicted.select(record="id_l", person="id_r", probability="match_probability")
    rows = rows.filter(pl.col("probability") >= certain).sort(
        "probability", "record", "person", descending=[True] + 2 * [False]
    )
    best = rows.filter(
        (pl.col("probability") == pl.col("probability").max().over("record"))
        & (pl.col("probability") == pl.col("probability").max().over("person"))
    )
    once = best.filter((pl.len().over("record") == 1) & (pl.len().over("person") == 1))
    pairs = dict(once.select("record", "person").iter_rows())
    others: dict[str, list[str]] = {}
    for number, person in best.select("record", "person").iter_rows():
        others.setdefault(number, []).append(person)
    work = {one.number: tuple(others.get(one.number, ())) for one in records if one.number not in pairs}
    return Matched(pairs, dict.fromkeys(pairs, RULE), work)


def _frame(written: Mapping[str, Attributes]) -> pl.DataFrame:
    forms = [(identifier, normal_form(one)) for identifier, one in written.items()]
    return pl.DataFrame(
        [(identifier, one.names[0], one.kana or None, one.birth, one.sex, one.place) for identifier, one in forms],
        schema=["id", "name", "kana", "birth", "sex", "place"], orient="row",
    )  # fmt: skip
