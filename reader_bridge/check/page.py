"""Reports as pages that need nothing but a browser: one reader alone, or two beside each other."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from itertools import groupby

from kazashi.reader_bridge.check.compare import Comparison, Pair
from kazashi.reader_bridge.check.result import Outcome, Report, Result

_STYLE = """
:root { color-scheme: light dark; --ink: #1d2430; --paper: #fbfaf7; --line: #d9d4c8; --soft: #efece4;
  --good: #1f7a4d; --bad: #b3261e; --note: #8a5a00; --mark: #fff1c9; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8e6e1; --paper: #16191f; --line: #363b46; --soft: #20242c;
  --good: #6cc495; --bad: #ff8a80; --note: #e5b35c; --mark: #4a3d12; } }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); margin: 2rem auto;
  max-width: 76rem; padding: 0 1rem; }
h1 { font-size: 1.6rem; margin: 0 0 .3rem } h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; text-transform: capitalize }
.lead { color: color-mix(in srgb, var(--ink) 70%, transparent); margin: 0 0 1rem }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(18rem, 1fr)); gap: 1rem; margin: 1rem 0 }
.card { background: var(--soft); border-radius: .6rem; padding: .9rem 1.1rem }
.card b { font-size: 1.05rem } .card code { word-break: break-all }
table { border-collapse: collapse; width: 100% } th, td { text-align: left; vertical-align: top; padding: .45rem .6rem;
  border-top: 1px solid var(--line) } th { font-weight: 600 } td.what { width: 34% }
small { color: color-mix(in srgb, var(--ink) 65%, transparent) } ul { margin: .2rem 0 0; padding-left: 1.1rem }
.passed { color: var(--good) } .failed, .broken { color: var(--bad) } .observed { color: var(--note) }
.not-applicable, .absent { color: color-mix(in srgb, var(--ink) 55%, transparent) }
tr.differs td { background: var(--mark) } .only { font-family: ui-monospace, monospace; font-size: .85rem }
.bar { height: .7rem; border-radius: .2rem; background: var(--note); min-width: 2px } .bar.b { background: var(--good) }
.sum { font-size: 1.05rem } details summary { cursor: pointer; color: var(--note) }
"""

_WORDS = {
    Outcome.PASSED: "as expected",
    Outcome.FAILED: "otherwise than expected",
    Outcome.OBSERVED: "observed",
    Outcome.NOT_APPLICABLE: "does not apply",
    Outcome.BROKEN: "could not be carried out",
}


def report_page(report: Report) -> str:
    """One report as an HTML page."""
    rows = "".join(
        f"<h2>{escape(group)}</h2><table>{''.join(map(_row, results))}</table>"
        for group, results in groupby(report.results, key=lambda result: result.group)
    )
    return _page(
        f"Reader check: {report.reader}",
        f"<p class=sum>{_sum(report)}</p><div class=cards>{_card(report)}</div>{rows}",
        f"What {escape(report.reader)} and the card in it did, on {escape(report.at)}.",
    )


def comparison_page(comparison: Comparison) -> str:
    """Two reports as an HTML page: differences first, times as bars, everything at the end."""
    differing = comparison.differing
    a, b = comparison.a, comparison.b
    head = f"<tr><th>check</th><th>{escape(a.reader)}</th><th>{escape(b.reader)}</th></tr>"
    different = "".join(_pair_row(pair, marked=False) for pair in differing)
    body = f"<div class=cards>{_card(a)}{_card(b)}</div>"
    body += f"<h2>What differs ({len(differing)} of {len(comparison.pairs)})</h2>"
    body += f"<table>{head}{different}</table>" if differing else "<p>Nothing but time.</p>"
    body += f"<h2>Time</h2>{_times(comparison)}"
    body += "<h2>Everything</h2><details><summary>all checks, side by side</summary>"
    for group, pairs in groupby(comparison.pairs, key=lambda pair: pair.group):
        rows = "".join(_pair_row(pair, marked=True) for pair in pairs)
        body += f"<h2>{escape(group)}</h2><table>{head}{rows}</table>"
    lead = f"{escape(a.reader)} beside {escape(b.reader)}. Yellow rows differ."
    return _page(f"Readers compared: {a.reader}, {b.reader}", body + "</details>", lead)


def _page(title: str, body: str, lead: str) -> str:
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head>'
        f"<body><h1>{escape(title)}</h1><p class=lead>{lead}</p>{body}</body></html>\n"
    )


def _sum(report: Report) -> str:
    counted = ", ".join(
        f"{report.count(outcome)} {words}" for outcome, words in _WORDS.items() if report.count(outcome)
    )
    return counted + ("" if report.complete else "; <b class=broken>the run was cut off: the reader went away</b>")


def _card(report: Report) -> str:
    named = f"<b>{escape(report.reader)}</b><br>{escape(report.card)}<br>ATR <code>{escape(report.atr)}</code>"
    return (
        f"<div class=card>{named}<br><small>{_sum(report)}; {report.seconds:.1f} s, {escape(report.at)}</small></div>"
    )


def _row(result: Result) -> str:
    named = f"{escape(result.title)}<br><small>{escape(result.check)}, {escape(result.source)}</small>"
    return f"<tr><td class=what>{named}</td><td>{_found(result)}</td></tr>"


def _found(result: Result | None) -> str:
    if result is None:
        return "<span class=absent>not in this report</span>"
    shown = f"<span class={result.outcome.value.replace(' ', '-')}>{_WORDS[result.outcome]}</span>"
    if result.detail:
        shown += f"<br><small>{escape(result.detail)}</small>"
    measured = [f"{name}: {value:.2f}" for name, value in result.measured.items()]
    if result.outcome in (Outcome.OBSERVED, Outcome.FAILED) or measured:
        shown += _list([*result.observed, *measured])
    return shown


def _pair_row(pair: Pair, *, marked: bool) -> str:
    cells = "".join(
        f"<td>{_found(found)}{_list(only) if found and found.outcome is Outcome.PASSED else ''}</td>"
        for found, only in ((pair.a, pair.only_a), (pair.b, pair.only_b))
    )
    differs = " class=differs" if marked and pair.differs else ""
    return f"<tr{differs}><td class=what>{escape(pair.title)}<br><small>{escape(pair.check)}</small></td>{cells}</tr>"


def _list(lines: Iterable[str]) -> str:
    items = "".join(f"<li class=only>{escape(line)}</li>" for line in lines)
    return f"<ul>{items}</ul>" if items else ""


def _times(comparison: Comparison) -> str:
    timed = [(pair.title, pair.times) for pair in comparison.pairs if pair.times]
    if not timed:
        return "<p>Neither report holds times that can be compared.</p>"
    rows = ""
    for title, times in timed:
        assert times is not None
        longest = max(times) or 1.0
        bars = "".join(
            f"<small>{escape(report.reader)}: {value:.2f} ms</small>"
            f'<div class="bar {name}" style="width:{value / longest * 100:.1f}%"></div>'
            for name, report, value in (("a", comparison.a, times[0]), ("b", comparison.b, times[1]))
        )
        rows += f"<tr><td class=what>{escape(title)}</td><td>{bars}</td></tr>"
    return f"<table>{rows}</table>"
