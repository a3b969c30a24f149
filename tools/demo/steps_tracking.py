"""The end of the demonstration: some made-up lives are examined, and the browser shows who could link what."""

from __future__ import annotations

from kazashi.assembly.errors import StepFailed
from kazashi.studies.tracking import report
from kazashi.tools.demo.steps import DemoContext
from kazashi.tools.demo.steps_login import visit_of
from kazashi.tracking_lab.laboratory import Laboratory
from kazashi.tracking_lab.plan import Plan
from kazashi.tracking_lab.report import as_html

_RESIDENTS = 200


def examine(stage: DemoContext) -> str:
    """A population, its examination, and the page."""
    laboratory = Laboratory(stage.directory / "tracking")
    laboratory.populate(Plan(_RESIDENTS, seed="demo"))
    found = report(laboratory)
    written = stage.directory / "tracking.html"
    written.write_text(as_html(found.as_dict()), encoding="utf-8")
    page = visit_of(stage).page
    page.goto(written.as_uri())
    claims, severe = page.locator("#claims tr").count() - 1, page.locator("#findings .high").count()
    raw, keyed = (
        found.examination.comparison(measure).linkage.recall.value for measure in ("raw-serial", "keyed-pairwise")
    )
    if claims != 8 or not severe or raw < 0.9 or keyed:
        raise StepFailed(f"the page has {claims} claims, {severe} severe findings; {raw} and {keyed} are linked")
    return (
        f"of {_RESIDENTS} made-up people the serial number links {raw:.1%} between services, a keyed pseudonym "
        f"{keyed:.0%}; {severe} severe findings: kazashi tracking report"
    )


IN_THE_LABORATORY = [("who can link what, on one page", examine)]
