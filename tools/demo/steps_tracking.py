"""The last demo step: the tracking laboratory examines a synthetic population, and the browser shows its report."""

from __future__ import annotations

from kazashi.assembly.errors import StepFailed
from kazashi.studies.tracking import report
from kazashi.tools.demo.steps import DemoContext
from kazashi.tools.demo.steps_login import visit_of
from kazashi.tracking_lab.laboratory import Laboratory
from kazashi.tracking_lab.plan import Plan
from kazashi.tracking_lab.report import as_html

_RESIDENTS = 200


def examine(context: DemoContext) -> str:
    """Generate and examine a population, and open the report in the browser. Raises StepFailed."""
    laboratory = Laboratory(context.directory / "tracking")
    laboratory.populate(Plan(_RESIDENTS, seed="demo"))
    result = report(laboratory)
    html = context.directory / "tracking.html"
    html.write_text(as_html(result), encoding="utf-8")
    page = visit_of(context).page
    page.goto(html.as_uri())
    claims, severe = page.locator("section[id^=claim-]").count(), page.locator("#findings .dot.full").count()
    raw, keyed = (
        result.examination.comparison(measure).linkage.recall.value for measure in ("raw-serial", "keyed-pairwise")
    )
    if claims != 8 or not severe or raw < 0.9 or keyed:
        raise StepFailed(f"the report has {claims} claims and {severe} severe findings; {raw} and {keyed} are linked")
    return (
        f"of {_RESIDENTS} synthetic people, serial numbers link {raw:.1%} between services, keyed pseudonyms "
        f"{keyed:.0%}; {severe} severe findings: kazashi tracking report"
    )


TRACKING_STEPS = [("report who can link what", examine)]
