"""The examination on Apache Spark: every number is DuckDB's."""

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
"""For tables of a few rows, code that Spark would compile for each query costs more than it saves."""


def test_spark_examines_a_population_as_duckdb_does(tmp_path: Path) -> None:
    """All of it: joins, trajectories, Splink's linkage on its Spark back end."""
    lab = Laboratory(tmp_path / "p")
    lab.populate(Plan(150, 8, "spark"))
    found = examine_population(lab)
    on_spark = examine_population(lab, engine=Spark(settings=SMALL))
    assert (found.engine, on_spark.engine) == ("duckdb", "spark")
    assert on_spark.as_dict() == {**found.as_dict(), "engine": "spark"}
    assert found.threat("T15").share("login-insurance-recall").count > 10, "there was something to link"
