"""The report: one page with everything in it, and the same as JSON and CSV. It holds no time of day and nothing of the
machine, so that the same plan gives the same bytes."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable, Sequence
from html import escape
from typing import Any

from kazashi.tracking_lab.drawing import bars, dots, lines

_STYLE = """
:root{color-scheme:light dark;font:16px/1.55 system-ui,sans-serif}
body{max-width:66rem;margin:2.5rem auto;padding:0 1rem}h1{font-size:1.5rem}
h2{font-size:1.15rem;margin:2.4rem 0 .4rem}table{border-collapse:collapse;width:100%;font-size:.86rem}
td,th{padding:.28rem .5rem;border-bottom:1px solid #8884;text-align:left;vertical-align:top}
.high{color:#c22;font-weight:600}.medium{color:#b70}.low{color:#587}
.how,pre{color:#888;font-size:.8rem;font-family:monospace}pre{overflow-x:auto}
svg{max-width:100%;height:auto}svg text{font:12px system-ui,sans-serif;fill:currentColor}.note{color:#888}
#exposure td.e{text-align:center;color:#fff;font-size:.72rem}nav{font-size:.88rem;columns:3}
"""

_CHAPTERS = {
    "findings": "Findings", "claims": "What every such laboratory should be able to say",
    "countermeasures": "Countermeasures on the same uses", "years": "Recognised over the years",
    "coalitions": "Who must come together to link", "threats": "Threat runs", "unicity": "How few uses single out",
    "anonymity": "Attributes link, too", "exposure": "Who holds what", "ways": "Ways to a code",
    "games": "Telling a person from a stranger", "again": "To do it again",
}  # fmt: skip


def as_json(found: dict[str, Any]) -> str:
    """Everything, keys in order."""
    return json.dumps(found, ensure_ascii=False, indent=1, sort_keys=True, default=str) + "\n"


def as_csv(found: dict[str, Any]) -> str:
    """The comparison of countermeasures, a line to each; of somebody's own logs each run's results."""
    written = io.StringIO()
    writer = csv.writer(written, lineterminator="\n")
    if "countermeasures" not in found:
        writer.writerow(("run", "who", "result", "value"))
        for run in found["threats"]:
            for words, value in run["results"].items():
                writer.writerow((run["run"], run["who"], words, value["value"] if isinstance(value, dict) else value))
        return written.getvalue()
    writer.writerow((
        "countermeasure", "recall", "recall low", "recall high", "precision", "renewals kept", "completeness",
        "days to link", "seen by the authority", "false merges", "smallest coalitions", "cost",
    ))  # fmt: skip
    for row in found["countermeasures"]:
        writer.writerow((
            row["name"], row["recall"]["value"], row["recall"]["low"], row["recall"]["high"], row["precision"]["value"],
            row["renewals kept"]["value"], row["completeness"], row["days to link"],
            row["seen by the authority"]["value"], row["false merges"],
            "; ".join(row["smallest coalitions"]) or "none", row["cost"],
        ))  # fmt: skip
    return written.getvalue()


def as_html(found: dict[str, Any]) -> str:
    """The page."""
    drawn = {name: draw(found) for name, (needs, draw) in _DRAWN.items() if found.get(needs)}
    chapters = [(name, title) for name, title in _CHAPTERS.items() if name in drawn]
    contents = "".join(f'<a href="#chapter-{name}">{escape(title)}</a><br>' for name, title in chapters)
    body = "".join(f'<h2 id="chapter-{name}">{escape(title)}</h2>{drawn[name]}' for name, title in chapters)
    title = "Kazashi: who can link what"
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{title}</title><style>{_STYLE}</style><h1>かざし Kazashi: who can link what</h1>"
        f"{_question(found)}<nav>{contents}</nav>{body}</html>\n"
    )


def _question(found: dict[str, Any]) -> str:
    if "logs" in found:
        return _read(found["logs"], found["truth"])
    plan, sizes = found["plan"], found["sizes"]
    return (
        f"<p>{plan['residents']:,} made-up people over {plan['years']} years, {sizes['uses']:,} uses of their cards at "
        f"{sizes['service']:,} services, seed <code>{escape(plan['seed'])}</code>. The question: a certificate's "
        "serial number goes wherever the card goes. Who can bring together what, with which countermeasure, at what "
        "cost?</p>"
        "<p class=note>Shares stand with Wilson's interval at 95 %. Nobody on this page exists. Linkers that work "
        f"person by person were given {found['people examined']:,} people; joins were made over all.</p>"
    )


def _read(logs: dict[str, Any], truth: bool) -> str:
    """What was read of somebody's own logs, and what was not."""
    left = "; ".join(f"{count:,} with {words}" for words, count in logs["left_out"].items()) or "none"
    who = f"{logs['persons']:,} people are known" if truth else "nobody knows who is who: a handle counts as a person"
    notes = "".join(f"<li>{escape(note)}</li>" for note in logs["notes"])
    return (
        f"<p>{logs['uses']:,} uses at {logs['services']:,} services, by {logs['handles']:,} handles; {who}. "
        f"Rows left out of {logs['rows']:,}: {escape(left)}.</p><ul>{notes}</ul>"
    )


# Cells


def _share(found: dict[str, Any]) -> str:
    if found["value"] is None:
        return "none"
    return f"{found['value']:.3f} <span class=note>[{found['low']:.3f}, {found['high']:.3f}]</span>"


def _number(found: float | None, form: str = ".1f") -> str:
    return "none" if found is None else format(found, form)


def _result(found: Any) -> str:
    """A threat run's result: a share, a number, yes or no, or words."""
    if isinstance(found, dict):
        return _share(found)
    if isinstance(found, bool):
        return "yes" if found else "no"
    return (
        f"{found:,.2f}" if isinstance(found, float) else f"{found:,}" if isinstance(found, int) else escape(str(found))
    )


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]], name: str) -> str:
    head = "".join(f"<th>{escape(words)}</th>" for words in heads)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<table id="{name}"><tr>{head}</tr>{body}</table>'


def _how(words: str) -> str:
    return f'<p class="how">{escape(words)}</p>'


def _folded(summary: str, inside: str) -> str:
    return f"<details><summary class=note>{escape(summary)}</summary>{inside}</details>"


# Chapters


def _findings(found: dict[str, Any]) -> str:
    rows = [(f'<span class="{one["severity"]}">{one["severity"]}</span>', f"<code>{one['code']}</code>",
             one["heading"], escape(one["words"]), escape(one["evidence"])) for one in found["findings"]]  # fmt: skip
    return _table(("severity", "code", "LINDDUN", "what", "evidence"), rows, "findings")


def _claims(found: dict[str, Any]) -> str:
    rows = [(escape(claim["claim"]), escape(claim["words"]), f'<span class="how">{escape(claim["how"])}</span>')
            for claim in found["claims"]]  # fmt: skip
    return _table(("claim", "seen", "how"), rows, "claims")


def _countermeasures(found: dict[str, Any]) -> str:
    rows = found["countermeasures"]
    heads = ("by what services know people", "linked between services (X1)", "kept over a new certificate (X3, X16)",
             "authority sees (X12)", "days until linked (X15)", "largest part of a profile (X2)", "bytes a person",
             "cost")  # fmt: skip
    cells = [
        (f"<b>{escape(row['name'])}</b><br><span class=note>{escape(row['source'])}; {row['people']:,} people</span>",
         _share(row["recall"]), _share(row["renewals kept"]), _share(row["seen by the authority"]),
         _number(row["days to link"], ".0f"), _number(row["completeness"], ".2f"),
         _number(row["bytes per person"], ".0f"), escape(row["cost"]))
        for row in rows
    ]  # fmt: skip
    drawn = bars(
        [(row["name"], (row["recall"]["value"] or 0.0, row["renewals kept"]["value"] or 0.0)) for row in rows],
        ("linked between services", "kept over a new certificate"),
    )
    more = _table(
        ("", "B³ precision", "B³ recall", "adjusted Rand", "variation of information, bits", "false merges, ppm"),
        [(escape(row["name"]), _number(row["b3 precision"], ".3f"), _number(row["b3 recall"], ".3f"),
          _number(row["adjusted rand"], ".3f"), _number(row["variation of information"], ".2f"),
          _number(row["false merges per million"], ".0f")) for row in rows], "clusters",
    )  # fmt: skip
    return (
        drawn + _table(heads, cells, "countermeasures") + _folded("quality of clusters (X2)", more)
        + _how("tracking_lab/countermeasures.py; tracking_lab/metrics.py: pairwise, clusters, time_to_link")
    )  # fmt: skip


def _years(found: dict[str, Any]) -> str:
    rows = found["years"]
    curves = {words: [(row["year"], row[words]["value"]) for row in rows if row[words]["value"] is not None]
              for words in ("by equality", "with the chain")}  # fmt: skip
    cells = [(str(row["year"] + 1), _share(row["by equality"]), _share(row["with the chain"])) for row in rows]
    words = (
        "<p>Of the people whom a service met in the first year, and who came back in a later one: how many does it "
        "recognise by the serial number itself, and with the chain from old to new certificates?</p>"
    )
    table = _table(("year", "by equality", "with the chain"), cells, "years")
    return (
        words
        + lines(curves, "years later", (0, len(rows)))
        + _folded("the numbers", table)
        + _how("tracking_lab/study.py: _years")
    )


def _coalitions(found: dict[str, Any]) -> str:
    rows = [(row["name"], row["smallest coalitions"]) for row in found["countermeasures"]]
    actors = sorted({actor for _, some in rows for who in some for actor in who.split(" + ")})
    return (
        "<p>The smallest sets of up to three actors who link 95 % of what they see; no set holds another (X13). A row "
        f"of dots is a set.</p>{dots(rows, actors)}"
        + _folded("in words", _table(("by what services know people", "who"), [
            (escape(name), "<br>".join(map(escape, some)) or "nobody") for name, some in rows], "coalitions"))
        + _how("tracking_lab/coalitions.py")
    )  # fmt: skip


def _threats(found: dict[str, Any]) -> str:
    rows = [
        (run["run"], f"<b>{escape(run['who'])}</b><br><span class=note>{escape(run['holding'])}</span>",
         "<br>".join(f"{escape(words)}: {_result(value)}" for words, value in run["results"].items()),
         f'<span class="how">{escape(run["how"])}</span>') for run in found["threats"]
    ]  # fmt: skip
    return _table(("run", "who, holding what", "comes to", "how"), rows, "threats")


def _unicity(found: dict[str, Any]) -> str:
    rows = found["unicity"]
    curves = {
        f"{days} d": [(row["points"], row["singled out"]["value"]) for row in rows
                      if row["days"] == days and row["singled out"]["value"] is not None]
        for days in dict.fromkeys(row["days"] for row in rows)
    }  # fmt: skip
    cells = [(str(row["points"]), str(row["days"]), _share(row["singled out"])) for row in rows]
    table = _table(("uses known", "span in days", "singled out"), cells, "unicity")
    return (
        "<p>A use is known as a service and a span of days, without a name and without a number (X7).</p>"
        + lines(curves, "uses known", (1, max(row["points"] for row in rows))) + _folded("the numbers", table)
        + _how("tracking_lab/linkers.py: singling_out")
    )  # fmt: skip


def _anonymity(found: dict[str, Any]) -> str:
    rows = found["anonymity"]
    cells = [
        (escape(row["attributes"]), _share(row["unique"]), " / ".join(f"{size:,.0f}" for size in row["sets"]),
         _number(row["entropy"]), _number(row["leaked bits"]), _number(row["journalist"], ".3f"),
         _number(row["marketer"], ".3f")) for row in rows
    ]  # fmt: skip
    heads = ("attributes beside a pseudonym", "alone with them (X6)", "set, 5th / 25th / 50th / 75th / 95th percentile",
             "entropy, bits", "leaked bits", "journalist risk (X10)", "marketer risk")  # fmt: skip
    most = max(1.0, math.log10(max(2, *(row["unique"]["total"] for row in rows))))
    drawn = bars(
        [
            (row["attributes"], (row["unique"]["value"] or 0.0, math.log10(max(1.0, row["median"])) / most))
            for row in rows
        ],
        ("alone", "median set (logarithmic)"),
    )
    return drawn + _table(heads, cells, "anonymity") + _how("tracking_lab/metrics.py: anonymity, record_risk")


def _exposure(found: dict[str, Any]) -> str:
    told = found["exposure"]
    shades = {"at use": "#7f8c8d", "stored": "#d68910", "can convert": "#b03a2e"}
    head = "".join(f"<th>{escape(words)}</th>" for words in ("who", *told["handles"]))
    body = []
    for actor in told["actors"]:
        row = [f"<td>{escape(actor)}</td>"]
        for handle in told["handles"]:
            cell = told["cells"].get(f"{actor} | {handle}")
            row.append("<td></td>" if cell is None else
                       f'<td class="e" style="background:{shades[cell["level"]]}" title="{escape(cell["witness"])}, '
                       f'{cell["rows"]} rows">{cell["level"]}</td>')  # fmt: skip
        body.append(f"<tr>{''.join(row)}</tr>")
    return (
        "<p>Read from everybody's own stores in a small world in which cards are used everywhere; a cell stands only "
        f"where a row proves it (point at a cell to see which). The widest holder: {escape(told['widest'])}.</p>"
        f'<table id="exposure"><tr>{head}</tr>{"".join(body)}</table>' + _how("kazashi tracking exposure")
    )  # fmt: skip


def _ways(found: dict[str, Any]) -> str:
    rows = [
        (escape(way["actor"]), escape(way["handle"]), escape(way["target"]), str(len(way["steps"]) or "–"),
         "<br>".join(map(escape, way["steps"])) or "no way") for way in found["exposure"]["ways"]
    ]  # fmt: skip
    shortest = min(
        (way for way in found["exposure"]["ways"] if way["steps"]), key=lambda way: len(way["steps"]), default=None
    )
    words = "" if shortest is None else (
        f"<p>The shortest: from the {escape(shortest['handle'])} that {escape(shortest['actor'])} has to the "
        f"{escape(shortest['target'])}, over {escape(' / '.join(shortest['steps']))}.</p>"
    )  # fmt: skip
    return (
        words
        + _folded(f"all {len(rows)} (X14)", _table(("who", "has", "to", "steps", "over"), rows, "ways"))
        + _how("kazashi tracking exposure; tracking_lab/exposure.py: Exposure.path")
    )


def _games(found: dict[str, Any]) -> str:
    cells = [
        (escape(row["name"]), f"{row['trials']:,}",
         f"{_number(row['advantage'], '.3f')} ± {_number(row['within'], '.3f')}",
         f"{_number(row['area'], '.3f')} <span class=note>[{row['area low']:.3f}, {row['area high']:.3f}]</span>",
         f"{_number(row['risk beyond guessing'], '.3f')} ± {_number(row['risk within'], '.3f')}")
        for row in found["games"]
    ]  # fmt: skip
    heads = ("by what services know people", "trials", "advantage in telling (X8)", "area under the curve",
             "risk beyond guessing (X9)")  # fmt: skip
    return _table(heads, cells, "games") + _how("tracking_lab/study.py: _game; the control throws a coin")


def _again(found: dict[str, Any]) -> str:
    queries = "".join(f"<p>{escape(name)}</p><pre>{escape(sql)}</pre>" for name, sql in found["sql"].items())
    versions = ", ".join(f"{name} {number}" for name, number in found["versions"].items())
    plan = found.get("plan")
    commands = "kazashi tracking import LOGS --mapping MAPPING<br>" if plan is None else (
        f"kazashi tracking populate --residents {plan['residents']} --years {plan['years']} "
        f"--seed {escape(plan['seed'])}<br>"
    )  # fmt: skip
    return (
        f'<p class="how">{commands}kazashi tracking report --html report.html --json</p>'
        f"<p class=note>On {escape(found['engine'])}; {escape(versions)}.</p>" + _folded("SQL", queries)
    )


_DRAWN: dict[str, tuple[str, Callable[[dict[str, Any]], str]]] = {
    "findings": ("findings", _findings), "claims": ("claims", _claims),
    "countermeasures": ("countermeasures", _countermeasures), "years": ("years", _years),
    "coalitions": ("countermeasures", _coalitions), "threats": ("threats", _threats), "unicity": ("unicity", _unicity),
    "anonymity": ("anonymity", _anonymity), "exposure": ("exposure", _exposure), "ways": ("exposure", _ways),
    "games": ("games", _games), "again": ("sql", _again),
}  # fmt: skip
"""Chapters: what of an examination each needs, and how it is drawn."""
