"""The examination of a laboratory, whichever data it holds."""

from __future__ import annotations

from collections.abc import Callable

from kazashi.tracking_lab.engine import Engine
from kazashi.tracking_lab.laboratory import Laboratory
from kazashi.tracking_lab.log_study import examine_logs
from kazashi.tracking_lab.parts import Parts
from kazashi.tracking_lab.results import Examination, LogExamination
from kazashi.tracking_lab.study import examine_population

Progress = Callable[[str], object]


def examine(
    laboratory: Laboratory, progress: Progress = lambda _: None, engine: Engine | None = None
) -> Examination | LogExamination:
    """Examine a laboratory: measure who can link what.

    `laboratory` holds a generated population (`Laboratory.populate`) or imported logs (`logs.import_logs`). `progress`
    is called with the name of each part of the examination before it starts. `engine` runs the queries; the default is
    DuckDB in this process. The engine is closed when the examination ends.

    Returns an Examination of a population, or a LogExamination of logs. Both have findings, threat runs and the SQL
    that was run; `document.as_json`, `measurements.as_csv` and `report.as_html` take both. The same laboratory gives
    the same result, to nine digits on any engine.

    Raises PopulationUnusable if the laboratory is empty, its population is incomplete or it has no residents, and
    OSError if the disk is full.
    """
    parts = Parts(progress)
    if laboratory.imported:
        return examine_logs(laboratory, parts, engine)
    return examine_population(laboratory, parts, engine)
