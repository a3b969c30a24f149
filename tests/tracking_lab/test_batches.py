"""Batches of attestations: each is shown as often as its method allows."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kazashi.tracking_lab.batches import YEAR, Batch, shown_from
from kazashi.tracking_lab.countermeasures import countermeasure, handles

pytestmark = pytest.mark.unit

USES = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 4), st.integers(0, 3 * YEAR)), unique=True, max_size=60
)  # fmt: skip


def _moments(uses: list[tuple[int, int, int]]) -> pl.DataFrame:
    schema = {"person": pl.Int64, "service": pl.Int64, "moment": pl.Int64}
    return pl.DataFrame(uses, schema=schema, orient="row")


@given(USES)
def test_an_attestation_of_method_a_is_shown_once(uses: list[tuple[int, int, int]]) -> None:
    shown = shown_from(_moments(uses), Batch())
    assert shown["attestation"].n_unique() == len(uses)
    assert shown.drop("attestation").sort(pl.all()).equals(_moments(uses).sort(pl.all()))


@given(USES, st.integers(1, 5))
def test_a_rotating_batch_is_shown_evenly(uses: list[tuple[int, int, int]], size: int) -> None:
    shown = shown_from(_moments(uses), Batch(size)).with_columns(year=pl.col("moment") // YEAR)
    assert shown.drop("attestation", "year").sort(pl.all()).equals(_moments(uses).sort(pl.all()))
    times = shown.group_by("person", "year", "attestation").len()
    spread = times.group_by("person", "year").agg(
        low=pl.col("len").min(), high=pl.col("len").max(), kinds=pl.len(), uses=pl.col("len").sum()
    )
    for low, high, kinds, total in spread.select("low", "high", "kinds", "uses").iter_rows():
        assert high - low <= 1, "none is shown again before all have been shown"
        assert kinds == min(size, total)
    owners = shown.select("person", "year", "attestation").unique()
    assert owners["attestation"].n_unique() == owners.height, "an attestation belongs to one person and one year"


def test_later_rounds_have_another_order() -> None:
    uses = _moments([(0, 1, second) for second in range(40)])
    order = shown_from(uses, Batch(20)).sort("moment")["attestation"].to_list()
    assert sorted(order[:20]) == sorted(order[20:])
    assert order[:20] != order[20:]
    assert order == shown_from(uses.sample(40, shuffle=True, seed=1), Batch(20)).sort("moment")["attestation"].to_list()


def test_an_mdoc_links_by_its_key_within_a_year_and_a_batch_does_not() -> None:
    """One person at two services in each of two years; a batch of 30 has a document for each use."""
    uses = _moments([(0, 1, 10), (0, 2, 20), (0, 1, YEAR + 10), (0, 2, YEAR + 20)])
    for wanted, links in (("mdoc-one-key", 2), ("mdoc-batch", 0)):
        measure = countermeasure(wanted)
        assert measure.batch is not None
        held = handles(shown_from(uses, measure.batch), measure)
        first, second = (held.filter(pl.col("service") == service)["handle"].to_list() for service in (1, 2))
        assert len(set(first) & set(second)) == links
        assert len(set(first)) == 2, "a new document each year"
