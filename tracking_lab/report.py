"""The report: one page with everything in it, and the same as JSON and CSV. It holds no time of day and nothing of the
machine, so that the same plan gives the same bytes."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from html import escape
from typing import Any

_STYLE = """
:root{color-scheme:light dark;font:16px/1.55 system-ui,sans-serif}
body{max-width:62rem;margin:2.5rem auto;padding:0 1rem}h1{font-size:1.5rem}
h2{font-size:1.15rem;margin:2.2rem 0 .4rem}table{border-collapse:collapse;width:100%;font-size:.88rem}
td,th{padding:.28rem .5rem;border-bottom:1px solid #8884;text-align:left;vertical-align:top}td.n{text-align:right}
.high{color:#c22;font-weight:600}.medium{color:#b70}.low{color:#587}
.how{color:#888;font-size:.82rem;font-family:monospace}
svg{max-width:100%;height:auto}svg text{font:12px system-ui,sans-serif;fill:currentColor}.note{color:#888}
"""


def as_json(told: dict[str, Any]) -> str:
    """Everything, keys in order."""
    return json.dumps(told, ensure_ascii=False, indent=1, sort_keys=True, default=str) + "\n"


def as_csv(told: dict[str, Any]) -> str:
    """The comparison of countermeasures, a line to each."""
    written = io.StringIO()
    writer = csv.writer(written, lineterminator="\n")
    writer.writerow((
        "countermeasure", "recall", "recall low", "recall high", "precision", "renewals kept", "completeness",
        "seen by the authority", "false merges", "smallest coalitions", "cost",
    ))  # fmt: skip
    for row in told["countermeasures"]:
        writer.writerow((
            row["name"], row["recall"]["value"], row["recall"]["low"], row["recall"]["high"], row["precision"]["value"],
            row["renewals kept"]["value"], row["completeness"], row["seen by the authority"], row["false merges"],
            "; ".join(" + ".join(who) for who in row["smallest coalitions"]) or "none", row["cost"],
        ))  # fmt: skip
    return written.getvalue()


def as_html(told: dict[str, Any]) -> str:
    """The page."""
    plan, sizes = told["plan"], told["sizes"]
    parts = [
        "<h1>かざし Kazashi: who can link what</h1>",
        f"<p>{plan['residents']:,} made-up people over {plan['years']} years, {sizes['uses']:,} uses of their cards at "
        f"{sizes['service']} services, seed <code>{escape(plan['seed'])}</code>. The question: a certificate's serial "
        "number goes wherever the card goes. Who can bring together what, with which countermeasure, at what cost?</p>",
        _findings(told["findings"]), *([_claims(told["claims"])] if "claims" in told else []),
        _countermeasures(told["countermeasures"]), _renewals(told["renewals"]), _unicity(told["unicity"]),
        _anonymity(told["anonymity"]), *([_exposure(told["exposure"])] if "exposure" in told else []),
        _games(told["games"]),
        '<h2>To do it again</h2><p class="how">'
        f"kazashi tracking populate --residents {plan['residents']} --years {plan['years']} "
        f"--seed {escape(plan['seed'])}<br>kazashi tracking report --html report.html --csv report.csv --json</p>",
    ]  # fmt: skip
    title = "Kazashi: who can link what"
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{title}</title><style>{_STYLE}</style>{''.join(parts)}</html>\n"
    )


def _share(found: dict[str, Any]) -> str:
    if found["value"] is None:
        return "none"
    return f"{found['value']:.3f} <span class=note>[{found['low']:.3f}, {found['high']:.3f}]</span>"


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]], name: str) -> str:
    head = "".join(f"<th>{escape(words)}</th>" for words in heads)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<table id="{name}"><tr>{head}</tr>{body}</table>'


def _findings(found: Sequence[dict[str, Any]]) -> str:
    rows = [(f'<span class="{one["severity"]}">{one["severity"]}</span>', f"<code>{one['code']}</code>",
             one["heading"], escape(one["words"]), escape(one["evidence"])) for one in found]  # fmt: skip
    heads = ("severity", "code", "LINDDUN", "what", "evidence")
    return "<h2>Findings</h2>" + _table(heads, rows, "findings")


def _claims(claims: Sequence[dict[str, Any]]) -> str:
    rows = [(escape(claim["claim"]), escape(claim["words"]), f'<span class="how">{escape(claim["how"])}</span>')
            for claim in claims]  # fmt: skip
    table = _table(("claim", "seen", "how"), rows, "claims")
    return f"<h2>What every such laboratory should be able to say</h2>{table}"


def _countermeasures(rows: Sequence[dict[str, Any]]) -> str:
    heads = ("by what services know people", "linked between services (X1)", "kept over a renewal (X3, X16)",
             "authority sees (X12)", "smallest coalition that links (X13)", "cost")  # fmt: skip
    cells = [
        (f"<b>{escape(row['name'])}</b><br><span class=note>{escape(row['source'])}; {row['people']:,} people</span>",
         _share(row["recall"]), _share(row["renewals kept"]), f"{row['seen by the authority']:.0f}",
         "<br>".join(escape(" + ".join(who)) for who in row["smallest coalitions"]) or "none", escape(row["cost"]))
        for row in rows
    ]  # fmt: skip
    bars = [(row["name"], row["recall"]["value"] or 0.0, row["renewals kept"]["value"] or 0.0) for row in rows]
    return (
        "<h2>Countermeasures on the same uses</h2>" + _bars(bars, ("linked between services", "kept over a renewal"))
        + _table(heads, cells, "countermeasures")
        + '<p class="how">tracking_lab/countermeasures.py, tracking_lab/metrics.py: pairwise, b_cubed</p>'
    )  # fmt: skip


def _bars(rows: Sequence[tuple[str, float, float]], words: tuple[str, str]) -> str:
    """Two bars to a row, from 0 to 1."""
    drawn, height = [], 34
    for place, (name, one, other) in enumerate(rows):
        top = 24 + place * height
        drawn.append(f'<text x="0" y="{top + 16}">{escape(name)}</text>')
        for offset, value, colour in ((0, one, "#c0392b"), (12, other, "#2e86c1")):
            drawn.append(
                f'<rect x="300" y="{top + offset}" width="{420 * value:.1f}" height="10" fill="{colour}">'
                f"<title>{value:.3f}</title></rect>"
            )
    legend = "".join(
        f'<rect x="{300 + 190 * place}" y="2" width="10" height="10" fill="{colour}"/>'
        f'<text x="{316 + 190 * place}" y="12">{escape(word)}</text>'
        for place, (word, colour) in enumerate(zip(words, ("#c0392b", "#2e86c1"), strict=True))
    )
    return f'<svg viewBox="0 0 730 {30 + height * len(rows)}" role="img">{legend}{"".join(drawn)}</svg>'


def _renewals(found: dict[str, Any]) -> str:
    rows = [(escape(words), _share(value)) for words, value in found.items() if isinstance(value, dict)]
    count = found["renewals seen at one service"]
    return (
        f"<h2>Renewals</h2><p>{count:,} renewals of which a service saw both certificates.</p>"
        + _table(("how the two are linked (X3)", "linked"), rows, "renewals")
        + '<p class="how">tracking_lab/linkers.py: by_timing</p>'
    )


def _unicity(rows: Sequence[dict[str, Any]]) -> str:
    """Lines: the share of people singled out, over the number of points, one line to a width of time."""
    colours = {1: "#c0392b", 7: "#2e86c1", 30: "#27ae60"}
    drawn = ['<path d="M40 10V210H560" fill="none" stroke="currentColor"/>']
    drawn += [f'<text x="2" y="{214 - 200 * mark / 4:.0f}">{mark / 4:.2f}</text>' for mark in range(5)]
    for days in dict.fromkeys(row["days"] for row in rows):
        line = [row for row in rows if row["days"] == days]
        spots = [(row["points"] * 130 - 60, 210 - 200 * (row["singled out"]["value"] or 0)) for row in line]
        points = " ".join(f"{x},{y:.1f}" for x, y in spots)
        colour = colours.get(days, "#888")
        drawn.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>')
        x, y = spots[-1]
        drawn.append(f'<text x="{x + 10}" y="{y + 4:.0f}" style="fill:{colour}">{days} d</text>')
    drawn += [f'<text x="{points * 130 - 64}" y="228">{points}</text>' for points in range(1, 5)]
    cells = [(str(row["points"]), str(row["days"]), _share(row["singled out"])) for row in rows]
    return (
        "<h2>How few uses single somebody out (X7)</h2><p>A use is known as a service and a span of days, without a "
        f'name and without a number.</p><svg viewBox="0 0 620 235" role="img">{"".join(drawn)}</svg>'
        + _table(("uses known", "span in days", "singled out"), cells, "unicity")
        + '<p class="how">tracking_lab/linkers.py: trajectories</p>'
    )


def _anonymity(rows: Sequence[dict[str, Any]]) -> str:
    cells = [
        (escape(row["attributes"]), _share(row["unique"]), f"{row['median']:.0f}", f"{row['entropy']:.1f}",
         f"{row['leaked bits']:.1f}", f"{row['journalist']:.3f}", f"{row['marketer']:.3f}") for row in rows
    ]  # fmt: skip
    heads = ("attributes beside a pseudonym", "alone with them (X6)", "median set", "entropy, bits", "leaked bits",
             "journalist risk (X10)", "marketer risk")  # fmt: skip
    return "<h2>Attributes link, too</h2>" + _table(heads, cells, "anonymity")


def _exposure(found: dict[str, Any]) -> str:
    heads = ("who", *found["handles"])
    rows = []
    for actor in found["actors"]:
        row = [escape(actor)]
        for handle in found["handles"]:
            witness = found["cells"].get(f"{actor} | {handle}", "")
            row.append(f"● <span class=note>{escape(witness)}</span>" if witness else "")
        rows.append(row)
    paths = [
        (escape(name), "<br>".join(map(escape, steps)) or "no way") for name, steps in found["paths"].items()
    ]  # fmt: skip
    return (
        "<h2>Who holds what (exposure matrix)</h2><p>Read from everybody's own stores; each cell names the rows that "
        f"prove it. The widest holder: {escape(found['widest'])}.</p>" + _table(heads, rows, "exposure")
        + "<h2>From which handle there is a way to a code (X14)</h2>" + _table(("from, to", "over"), paths, "paths")
        + '<p class="how">tracking_lab/exposure.py</p>'
    )  # fmt: skip


def _games(rows: Sequence[dict[str, Any]]) -> str:
    cells = [
        (escape(row["name"]), f"{row['trials']:,}", f"{row['advantage']:.3f} ± {row['within']:.3f}",
         "none" if row["risk beyond guessing"] is None else f"{row['risk beyond guessing']:.3f}")
        for row in rows
    ]  # fmt: skip
    heads = ("by what services know people", "trials", "advantage in telling (X8)", "risk beyond guessing (X9)")
    return "<h2>The game of telling a person from a stranger</h2>" + _table(heads, cells, "games")
