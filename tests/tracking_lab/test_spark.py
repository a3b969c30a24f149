"""The examination on Apache Spark gives the same numbers as on DuckDB."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from kazashi.tracking_lab.document import as_json
from kazashi.tracking_lab.engine import Spark
from kazashi.tracking_lab.laboratory import Laboratory
from kazashi.tracking_lab.linkers import exact_join, hashed, shared_persons, trajectories
from kazashi.tracking_lab.plan import Plan
from kazashi.tracking_lab.study import examine_population, open_engine

pytestmark = pytest.mark.load

SMALL = {
    "spark.sql.shuffle.partitions": "1",
    "spark.sql.codegen.wholeStage": "false",
    "spark.sql.codegen.factoryMode": "NO_CODEGEN",
    "spark.sql.adaptive.enabled": "false",
    "spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
}
"""Settings for small tables, for which compiling code for each query costs more than it saves."""


def test_spark_and_duckdb_give_the_same_joins(tmp_path: Path) -> None:
    """The queries over everybody: joins by the number and by its digest, persons, and trajectories."""
    lab = Laboratory(tmp_path / "p")
    lab.populate(Plan(150, 3, "spark"))
    found = []
    for engine in (open_engine(lab), open_engine(lab, Spark(settings=SMALL))):
        found.append((
            exact_join(engine).rows(), exact_join(engine, hashed(engine)).rows(), shared_persons(engine).rows(),
            trajectories(engine, 2, 100, 7, 1),
        ))  # fmt: skip
        engine.close()
    assert found[0] == found[1]
    assert len(found[0][0]) > 20


@pytest.mark.long
def test_spark_and_duckdb_give_the_same_examination(tmp_path: Path) -> None:
    """The whole examination: joins, trajectories, and Splink's linkage on its Spark back end."""
    lab = Laboratory(tmp_path / "p")
    lab.populate(Plan(150, 8, "spark"))
    on_duckdb = examine_population(lab)
    on_spark = examine_population(lab, engine=Spark(settings=SMALL))
    assert (on_duckdb.engine, on_spark.engine) == ("duckdb", "spark")
    assert as_json(on_spark) == as_json(replace(on_duckdb, engine="spark"))
    assert on_duckdb.threat("T15").share("login-insurance-recall").count > 10, "there are accounts to link"
