"""The linker that never sees a handle, on uses few enough to count by hand, and the model of connections."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from kazashi.api import Laboratory, LogMapping, examine, import_logs
from kazashi.tracking_lab.connections import HOMES, connections
from kazashi.tracking_lab.engine import DuckDb
from kazashi.tracking_lab.plan import DAY
from kazashi.tracking_lab.results import LogExamination, Sample, Unit
from kazashi.tracking_lab.without_handles import by_key, links, of_log, within_a_day

pytestmark = pytest.mark.unit

# Persons 1 and 2 live together (network 5). Person 3 has a network and an agent of their own.
SEEN = pl.DataFrame({
    "service": [1, 2, 1, 2, 1, 2], "person": [1, 1, 2, 2, 3, 3],
    "moment": [0, 3_600, 10 * DAY, 20 * DAY, 50, 200 * DAY], "network": [5, 5, 5, 5, 6, 6],
    "agent": [1, 1, 1, 2, 9, 9],
})  # fmt: skip


def test_a_shared_prefix_links_everybody_behind_it() -> None:
    found = by_key(SEEN, "network")
    assert (found.recall.count, found.recall.total) == (3, 3)
    assert (found.precision.count, found.precision.total) == (3, 5), "two persons at each service behind prefix 5"
    assert (found.control.count, found.control.total) == (3, 9)


def test_the_agent_makes_links_fewer_and_better() -> None:
    found = by_key(SEEN, "network", "agent")
    assert (found.recall.count, found.recall.total) == (2, 3), "person 2 has a new phone"
    assert (found.precision.count, found.precision.total) == (2, 3)
    rare = by_key(SEEN, "network", "agent", most_uses=2)
    assert (rare.recall.count, rare.precision.count, rare.precision.total) == (1, 1, 1)


def test_within_a_day_the_next_use_from_the_same_prefix_and_agent_is_linked() -> None:
    found = within_a_day(SEEN)
    assert (found.recall.count, found.recall.total) == (1, 1), "only person 1 is at both services on one day"
    assert (found.precision.count, found.precision.total) == (1, 1)
    assert (found.control.count, found.control.total) == (0, 1), "in between, person 3 came to the first service"


def test_nothing_is_linked_where_nothing_was_seen() -> None:
    empty = links(SEEN.clear())
    assert empty.uses == empty.by_network.recall.total == empty.within_a_day.precision.total == 0


def test_a_log_without_prefix_or_agent_in_a_row_leaves_that_row_out() -> None:
    engine = DuckDb()
    engine.frame("uses", SEEN.with_columns(agent=pl.when(pl.col("person") < 3).then(pl.col("agent"))))
    found = of_log(engine)
    assert (found.people, found.uses, found.by_network.recall.count) == (2, 4, 2)
    engine.close()


def test_t17_of_a_log_needs_addresses_and_agents(tmp_path: Path) -> None:
    """Two people whose handle differs at each of two services; they share a prefix, and have an agent each."""
    rows = [f"2026-05-0{day}T09:00:00,{shop},{shop}-{who},{who},192.0.2.{day},{who}'s browser"
            for day in (1, 2) for shop in ("rice", "books") for who in ("anna", "ben")]  # fmt: skip
    source = tmp_path / "logs.csv"
    source.write_text("\n".join(["time,shop,handle,who,ip,agent", *rows]) + "\n", encoding="utf-8")
    runs = {}
    for address in ("", "ip"):
        laboratory = Laboratory(tmp_path / f"lab{address}")
        mapping = LogMapping("time", "handle", "shop", person="who", address=address, agent="agent")
        import_logs(laboratory, [source], mapping)
        found = examine(laboratory)
        assert isinstance(found, LogExamination)
        runs[address] = {run.id: run for run in found.threats}
    assert "T17" not in runs[""]
    run = runs["ip"]["T17"]
    assert run.sample == Sample(8, 8, Unit.USES)
    assert (run.share("network-recall").count, run.share("network-recall").total) == (2, 2)
    assert (run.share("network-precision").count, run.share("network-precision").total) == (2, 4)
    assert (run.share("network-and-agent-precision").count, run.share("network-and-agent-precision").total) == (2, 2)


HOUSEHOLDS, TOWN = 2_000, 4_400


def _uses(days: range) -> pl.DataFrame:
    """A use on each of some days by each person of a town."""
    people = pl.DataFrame({"person": range(TOWN)}, schema={"person": pl.Int64})
    people = people.with_columns(household=pl.col("person") * HOUSEHOLDS // TOWN)
    moments = pl.DataFrame({"moment": [day * DAY + 43_200 for day in days]}, schema={"moment": pl.Int64})
    return people.join(moments, how="cross")


def test_connections_depend_on_the_seed_and_not_on_the_order_of_rows() -> None:
    uses = _uses(range(0, 300, 30))
    made = connections(uses, HOUSEHOLDS, TOWN, "a")
    assert made.drop("network", "agent").equals(uses)
    mixed = connections(uses.sample(uses.height, shuffle=True, seed=2), HOUSEHOLDS, TOWN, "a")
    assert mixed.sort("person", "moment").equals(made.sort("person", "moment"))
    assert not connections(uses, HOUSEHOLDS, TOWN, "b")["network"].equals(made["network"])


def test_homes_share_prefixes_and_people_keep_their_devices_for_years() -> None:
    made = connections(_uses(range(0, 3_650, 50)), HOUSEHOLDS, TOWN, "a")
    at_home = made.filter(pl.col("network") < HOUSEHOLDS)
    assert at_home["network"].n_unique() == -(-HOUSEHOLDS // HOMES)
    assert abs(at_home.height / made.height - 0.5) < 0.01
    lines = at_home.group_by("household").agg(pl.col("network").n_unique())["network"]
    assert 2 < lines.to_numpy().mean() < 5, "a home changes its prefix every thousand days"
    phones = made.filter(pl.col("agent") < 200)
    own = phones.group_by("person").agg(pl.col("agent").n_unique())["agent"]
    assert 2 < own.to_numpy().mean() < 4, "three or four phones in ten years, a few of them of one kind"
    frequent = phones["agent"].value_counts()["count"].to_numpy().max() / phones.height
    assert abs(frequent - 1 / sum(1 / kind for kind in range(1, 201))) < 0.02, "the most frequent kind, by Zipf's law"
