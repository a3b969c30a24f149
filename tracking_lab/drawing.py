"""Pictures of numbers, as SVG that stands in a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

COLOURS = ("#c0392b", "#2e86c1", "#27ae60", "#8e44ad", "#d68910")


def bars(rows: Sequence[tuple[str, tuple[float, float]]], words: tuple[str, str]) -> str:
    """Two bars to a row, from 0 to 1."""
    drawn, height = [], 34
    for place, (name, values) in enumerate(rows):
        top = 24 + place * height
        drawn.append(f'<text x="0" y="{top + 16}">{escape(name)}</text>')
        for number, value in enumerate(values):
            drawn.append(
                f'<rect x="300" y="{top + 12 * number}" width="{420 * value:.1f}" height="10" fill="{COLOURS[number]}">'
                f"<title>{value:.3f}</title></rect>"
            )
    legend = "".join(
        f'<rect x="{300 + 190 * number}" y="2" width="10" height="10" fill="{COLOURS[number]}"/>'
        f'<text x="{316 + 190 * number}" y="12">{escape(word)}</text>' for number, word in enumerate(words)
    )  # fmt: skip
    return _svg(730, 30 + height * len(rows), legend + "".join(drawn))


def lines(curves: Mapping[str, Sequence[tuple[float, float]]], axis: str, span: tuple[float, float]) -> str:
    """Curves of shares from 0 to 1 over an axis that goes over a span."""
    low, high = span
    width = 480 / max(1e-9, high - low)
    drawn = ['<path d="M40 10V210H540" fill="none" stroke="currentColor"/>']
    drawn += [f'<text x="2" y="{214 - 200 * mark / 4:.0f}">{mark / 4:.2f}</text>' for mark in range(5)]
    drawn += [f'<text x="{46 + (mark - low) * width:.0f}" y="228">{mark:g}</text>'
              for mark in range(int(low), int(high) + 1)]  # fmt: skip
    drawn.append(f'<text x="550" y="228">{escape(axis)}</text>')
    for (name, spots), colour in zip(curves.items(), COLOURS, strict=False):
        if not spots:
            continue
        places = [(50 + (x - low) * width, 210 - 200 * y) for x, y in spots]
        points = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        drawn.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>')
        drawn += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"><title>{value:.3f}</title></circle>'
                  for (x, y), (_, value) in zip(places, spots, strict=True)]  # fmt: skip
        drawn.append(f'<text x="560" y="{20 + 18 * COLOURS.index(colour)}" style="fill:{colour}">{escape(name)}</text>')
    return _svg(680, 235, "".join(drawn))


def dots(rows: Sequence[tuple[str, Sequence[str]]], columns: Sequence[str]) -> str:
    """Sets of columns, a line of dots to each; a set is its members' names with plus signs between."""
    drawn = []
    for place, name in enumerate(columns):
        x = 312 + 26 * place
        drawn.append(f'<text x="{x}" y="148" transform="rotate(-38 {x} 148)">{escape(name)}</text>')
    top = 160
    for place, (name, sets) in enumerate(rows):
        lines_of = max(1, len(sets))
        drawn.append(f'<text x="0" y="{top + 12}">{escape(name)}</text>')
        if not sets:
            drawn.append(f'<text x="300" y="{top + 12}">nobody</text>')
        for line, who in enumerate(sets):
            y = top + 8 + 18 * line
            places = [316 + 26 * columns.index(member) for member in who.split(" + ")]
            drawn.append(f'<path d="M{min(places)} {y}H{max(places)}" stroke="currentColor"/>')
            mark = f'cy="{y}" r="6" fill="{COLOURS[place % 2]}"><title>{escape(who)}</title></circle>'
            drawn += [f'<circle cx="{x}" {mark}' for x in places]
        top += 18 * lines_of + 8
    return _svg(760, top, "".join(drawn))


def _svg(width: int, height: int, inside: str) -> str:
    return f'<svg viewBox="0 0 {width} {height}" role="img">{inside}</svg>'
