"""The examination on Apache Spark gives the same numbers as on DuckDB."""

from __future__ import annotations

from pathlib import Path

import pytest

from kazashi.tracking_lab.engine import Spark
from kazashi.tracking_lab.laboratory import Laboratory
from kazashi.tracking_lab.plan import Plan
from kazashi.tracking_lab.study import examine_population

pytestmark = pytest.mark.load

SMALL = {
    "spark.sql.shuffle.partitions": "1",
    "spark.sql.codegen.wholeStage": "false",
    "spark.sql.codegen.factoryMode": "NO_CODEGEN",
    "spark.sql.adaptive.enabled": "false",
    "spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
}
"""Settings for small tables, for which compiling code for each query costs more than it saves."""


def test_spark_and_duckdb_give_the_same_examination(tmp_path: Path) -> None:
    """The whole examination: joins, trajectories, and Splink's linkage on its Spark back end."""
    lab = Laboratory(tmp_path / "p")
    lab.populate(Plan(150, 8, "spark"))
    on_duckdb = examine_population(lab)
    on_spark = examine_population(lab, engine=Spark(settings=SMALL))
    assert (on_duckdb.engine, on_spark.engine) == ("duckdb", "spark")
    assert on_spark.as_dict() == {**on_duckdb.as_dict(), "engine": "spark"}
    assert on_duckdb.threat("T15").share("login-insurance-recall").count > 10, "there are accounts to link"
