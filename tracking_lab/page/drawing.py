"""A drawing in SVG: shapes with positions, and the parts that charts share (axes, grids, legends). The template
`drawing.html` writes it; colours and fonts are in the style sheet, by the style of a shape."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

LETTER, LINE = 13.0, 17.0
"""The size of a letter and the height of a line of text, in units of the drawing."""

MARKS = ("dot", "ring", "square", "diamond")
"""The shapes of points, one for each series of a chart, so that series differ without colours."""


_WIDE = "\u3000-\u9fff\uf900-\uffef"


@dataclass(frozen=True, slots=True)
class Shape:
    """One SVG element: its name, its style (a class of the style sheet), its attributes and its text."""

    element: str
    style: str
    attributes: tuple[tuple[str, str], ...]
    text: str = ""


@dataclass(frozen=True, slots=True)
class Drawing:
    """Shapes on a canvas."""

    width: float
    height: float
    shapes: tuple[Shape, ...]

    @property
    def box(self) -> str:
        """The drawing's viewBox."""
        return f"0 0 {_digits(self.width)} {_digits(self.height)}"


def shape(element: str, style: str, /, words: str = "", **attributes: float | str) -> Shape:
    """An element. Attributes are numbers, which get one decimal place at most, or text; `_` in a name means `-`."""
    return Shape(element, style, tuple(
        (name.replace("_", "-"), value if isinstance(value, str) else _digits(value))
        for name, value in attributes.items()
    ), words)  # fmt: skip


def line(style: str, x1: float, y1: float, x2: float, y2: float) -> Shape:
    """A straight line."""
    return shape("line", style, x1=x1, y1=y1, x2=x2, y2=y2)


def box(style: str, x: float, y: float, width: float, height: float) -> Shape:
    """A rectangle with slightly round corners."""
    return shape("rect", style, x=x, y=y, width=max(0.0, width), height=height, rx=1.5)


def label(style: str, x: float, y: float, words: str) -> Shape:
    """Text whose baseline is at y. It begins at x; with the style `end` or `middle` it ends there or is centred."""
    return shape("text", style, words, x=x, y=y)


def curve(style: str, points: Iterable[tuple[float, float]], closed: bool = False) -> Shape:
    """Straight lines through points."""
    path = "L".join(f"{_digits(x)} {_digits(y)}" for x, y in points)
    return shape("path", style, d=f"M{path}{'Z' * closed}")


def mark(number: int, x: float, y: float, size: float = 4.5) -> Shape:
    """The point of a chart's series, by the number of the series."""
    kind = MARKS[number % len(MARKS)]
    style = f"m s{number % len(MARKS)}"
    if kind == "square":
        return box(style, x - size + 0.5, y - size + 0.5, 2 * size - 1, 2 * size - 1)
    if kind == "diamond":
        around = ((0, -size - 1), (size + 1, 0), (0, size + 1), (-size - 1, 0))
        return curve(style, ((x + right, y + down) for right, down in around), closed=True)
    return shape("circle", style, cx=x, cy=y, r=size)


@dataclass(frozen=True, slots=True)
class Axis:
    """An axis: what it shows, with the unit; its ends; and the marks on it with their text. `logarithmic` axes need
    ends above 0."""

    title: str
    low: float
    high: float
    ticks: tuple[tuple[float, str], ...]
    logarithmic: bool = False

    def place(self, value: float, start: float, end: float) -> float:
        """Where a value is, if the axis begins at `start` and ends at `end`. Values beyond an end are at the end."""
        low, high, at = self.low, self.high, min(max(value, self.low), self.high)
        if self.logarithmic:
            low, high, at = math.log(low), math.log(high), math.log(at)
        return start + (end - start) * (at - low) / ((high - low) or 1.0)


def shares(title: str, low: float = 0.0) -> Axis:
    """An axis of shares in per cent, from `low` (0 or 0.5) to 1."""
    marks = [low + (1 - low) * step / 4 for step in range(5)]
    return Axis(title, low, 1.0, tuple((at, f"{100 * at:.3g}\N{NO-BREAK SPACE}%") for at in marks))


def counts(title: str, most: int) -> Axis:
    """An axis of counts from 0 to at least `most`, with marks at round numbers."""
    step = 10 ** max(0, math.floor(math.log10(max(1, most))))
    step = next(size for size in (max(1, step // 5), max(1, step // 2), step, 2 * step) if 5 * size >= most)
    marks = range(0, most + step, step)
    return Axis(title, 0, marks[-1] or 1, tuple((at, f"{at:,}") for at in marks))


def powers(title: str, most: float) -> Axis:
    """A logarithmic axis of counts from 1 to at least `most`. Up to a hundred it also has marks at 2 and 5."""
    top = 10 ** max(1, math.ceil(math.log10(most)))
    steps = (1, 2, 5) if top <= 100 else (1,)
    marks = [step * 10**power for power in range(len(str(top))) for step in steps if step * 10**power <= top]
    return Axis(title, 1, top, tuple((at, f"{at:,}") for at in marks), logarithmic=True)


def extent(words: str) -> float:
    """The approximate width of a text."""
    return sum(LETTER if unicodedata.east_asian_width(one) in "WF" else 0.56 * LETTER for one in words)


def wrapped(words: str, width: float) -> list[str]:
    """The lines of a text that is broken to fit a width: between words, and between any two Japanese characters."""
    lines, current = [], ""
    for piece in _pieces(words):
        if current and extent((current + piece).rstrip()) > width:
            lines.append(current.rstrip())
            current = ""
        current += piece
    return [*lines, current.rstrip()] if current else lines


def _pieces(words: str) -> list[str]:
    """The parts of a text between which a line may end: a word, or a Japanese character that does not end one."""
    return re.findall(rf"(?:[^\s{_WIDE}]+|[{_WIDE}])[、。)」・ー%]*\s*|\s+", words)


def legend(names: Sequence[str], left: float, top: float, width: float) -> tuple[list[Shape], float]:
    """The marks and names of the series, in as many lines as they need, and the height that they take."""
    shapes: list[Shape] = []
    x, y = left, top
    for number, name in enumerate(names):
        if x > left and x + 14 + extent(name) > left + width:
            x, y = left, y + LINE + 3
        shapes += [mark(number, x + 5, y + LINE / 2), label("", x + 15, y + LINE / 2 + 4.5, name)]
        x += 15 + extent(name) + 22
    return shapes, y + LINE + 8 - top


def grid(axis: Axis, left: float, right: float, top: float, bottom: float) -> list[Shape]:
    """A horizontal axis below a chart: a line at each mark, the marks' texts and the title."""
    shapes = []
    for value, words in axis.ticks:
        x = axis.place(value, left, right)
        anchor = "end" if right - x < extent(words) / 2 else "start" if x - left < 8 else "middle"
        shapes += [line("grid", x, top, x, bottom), label(f"tick {anchor}", x, bottom + LINE, words)]
    shapes.append(line("axis", left, bottom, right, bottom))
    shapes += [label("title end", right, bottom + LINE * (2.15 + number), words)
               for number, words in enumerate(wrapped(axis.title, right))]  # fmt: skip
    return shapes


def below(axis: Axis, right: float) -> float:
    """The height of the texts below a horizontal axis whose title ends at `right`."""
    return LINE * (1.55 + len(wrapped(axis.title, right)))


def _digits(value: float) -> str:
    text = f"{value:.1f}"
    return text[:-2] if text.endswith(".0") else text
