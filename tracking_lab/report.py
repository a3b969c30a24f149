"""The report of an examination as one HTML page, as JSON and as CSV. It contains no time of day and nothing about the
machine, so the same plan gives the same bytes."""

from __future__ import annotations

import csv
import io
import json
import math
from typing import Any

from kazashi.web.templates import environment

_CHAPTERS = {
    "findings": ("Findings", "findings"),
    "claims": ("Claims", "claims"),
    "countermeasures": ("Countermeasures compared", "countermeasures"),
    "years": ("Recognition over the years", "years"),
    "coalitions": ("Smallest coalitions that can link", "countermeasures"),
    "threats": ("Threat runs", "threats"),
    "unicity": ("How few uses single a person out", "unicity"),
    "anonymity": ("Linkage by attributes", "anonymity"),
    "exposure": ("Who holds which handle", "exposure"),
    "ways": ("Paths to a code", "exposure"),
    "games": ("Telling a person from a stranger", "games"),
    "again": ("Reproducing this report", "sql"),
}
"""Chapters by template: the heading, and the key of the document that the chapter needs."""

Curve = list[tuple[float, float]]
Bars = list[tuple[str, tuple[float, float]]]


def as_json(document: dict[str, Any]) -> str:
    """The document of an examination (`as_dict`) as JSON, with sorted keys."""
    return json.dumps(document, ensure_ascii=False, indent=1, sort_keys=True, default=str) + "\n"


def as_csv(document: dict[str, Any]) -> str:
    """The comparison of countermeasures as CSV, one line per countermeasure. For imported logs, one line per result of
    a threat run."""
    output = io.StringIO()
    writer = csv.writer(output, lineterminator="\n")
    if "countermeasures" not in document:
        writer.writerow(("run", "who", "result", "value"))
        for run in document["threats"]:
            for label, value in run["results"].items():
                writer.writerow((run["run"], run["who"], label, value["value"] if isinstance(value, dict) else value))
        return output.getvalue()
    writer.writerow((
        "countermeasure", "recall", "recall low", "recall high", "precision", "renewals kept", "completeness",
        "days to link", "seen by the authority", "false merges", "smallest coalitions", "cost",
    ))  # fmt: skip
    for row in document["countermeasures"]:
        writer.writerow((
            row["name"], row["recall"]["value"], row["recall"]["low"], row["recall"]["high"], row["precision"]["value"],
            row["renewals kept"]["value"], row["completeness"], row["days to link"],
            row["seen by the authority"]["value"], row["false merges"],
            "; ".join(row["smallest coalitions"]) or "none", row["cost"],
        ))  # fmt: skip
    return output.getvalue()


def as_html(document: dict[str, Any]) -> str:
    """The document of an examination (`as_dict`) as one self-contained HTML page."""
    chapters = [(name, title) for name, (title, needs) in _CHAPTERS.items() if document.get(needs)]
    measured = document.get("countermeasures", [])
    coalitions = [(row["name"], row["smallest coalitions"]) for row in measured]
    return environment("kazashi.tracking_lab").get_template("report.html").render(
        document=document, chapters=chapters, bars_of_countermeasures=_bars_of_countermeasures(measured),
        bars_of_anonymity=_bars_of_anonymity(document.get("anonymity", [])), coalitions=coalitions,
        actors=sorted({actor for _, sets in coalitions for together in sets for actor in together.split(" + ")}),
        curves_of_years=_curves_of_years(document.get("years", [])),
        curves_of_unicity=_curves_of_unicity(document.get("unicity", [])),
        shortest_way=_shortest_way(document.get("exposure", {"ways": []})["ways"]),
    )  # fmt: skip


def _bars_of_countermeasures(rows: list[dict[str, Any]]) -> Bars:
    return [(row["name"], (row["recall"]["value"] or 0.0, row["renewals kept"]["value"] or 0.0)) for row in rows]


def _bars_of_anonymity(rows: list[dict[str, Any]]) -> Bars:
    most = max(1.0, math.log10(max(2, *(row["unique"]["total"] for row in rows)))) if rows else 1.0
    return [
        (row["attributes"], (row["unique"]["value"] or 0.0, math.log10(max(1.0, row["median"])) / most)) for row in rows
    ]


def _curves_of_years(rows: list[dict[str, Any]]) -> dict[str, Curve]:
    return {
        words: [(row["year"], row[words]["value"]) for row in rows if row[words]["value"] is not None]
        for words in ("by equality", "with the chain")
    }


def _curves_of_unicity(rows: list[dict[str, Any]]) -> dict[str, Curve]:
    curves: dict[str, Curve] = {}
    for row in rows:
        curve = curves.setdefault(f"{row['days']} d", [])
        if row["singled out"]["value"] is not None:
            curve.append((row["points"], row["singled out"]["value"]))
    return curves


def _shortest_way(ways: list[dict[str, Any]]) -> dict[str, Any] | None:
    return min((way for way in ways if way["steps"]), key=lambda way: len(way["steps"]), default=None)
