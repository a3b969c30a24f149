"""The kinds of chart on the page. Each is values with their texts, and draws itself at any width, so that the page has
one drawing for screens and paper and one for phones."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from itertools import groupby
from typing import Protocol

from kazashi.tracking_lab.page.drawing import (
    LINE,
    Axis,
    Drawing,
    Shape,
    below,
    box,
    curve,
    extent,
    grid,
    label,
    legend,
    line,
    mark,
    wrapped,
)

WIDE, NARROW = 720.0, 340.0
"""The widths of drawings for screens and paper, and for phones."""

BESIDE = 560.0
"""From this width on, the names of rows stand beside the rows; below it, above them. The first picture has this width,
because the answer stands beside it."""


class Chart(Protocol):
    """A chart that draws itself at a width."""

    def draw(self, width: float) -> Drawing:
        """The drawing at a width."""
        ...


@dataclass(frozen=True, slots=True)
class Point:
    """A value with its interval, and its text. Without an interval all three are the value."""

    value: float
    low: float
    high: float
    text: str


@dataclass(frozen=True, slots=True)
class _Rows:
    """Where the rows of a chart with names are: the left and right end of the plot, and each row's centre with its
    name."""

    left: float
    right: float
    bottom: float
    names: list[Shape]
    centres: list[float]


def _rows(names: list[str], width: float, top: float, height: float, spare: float) -> _Rows:
    """Place rows of a height below `top`. `spare` is left free at the right end."""
    beside = width >= BESIDE
    column = min(width * 0.36, max(map(extent, names), default=0) + 14) if beside else 0
    shapes: list[Shape] = []
    centres = []
    for name in names:
        lines = wrapped(name, column - 14 if beside else width)
        if beside:
            tall = max(height, LINE * len(lines) + 6)
            first = top + tall / 2 - LINE * (len(lines) - 1) / 2 + 4.5
            centres.append(top + tall / 2)
        else:
            tall = height + LINE * len(lines)
            first = top + LINE - 3
            centres.append(top + LINE * len(lines) + height / 2 - 3)
        shapes += [label("name", 0, first + LINE * number, words) for number, words in enumerate(lines)]
        top += tall
    return _Rows(column or 6, width - spare, top, shapes, centres)


@dataclass(frozen=True, slots=True)
class BarChart:
    """One bar for each row, with its interval and its text at the end. The text of an empty bar stands at zero."""

    axis: Axis
    rows: tuple[tuple[str, Point], ...]

    def draw(self, width: float) -> Drawing:
        """The drawing at a width."""
        spare = max((extent(point.text) for _, point in self.rows), default=0) + 14
        plot = _rows([name for name, _ in self.rows], width, 2, 30, spare)
        shapes = grid(self.axis, plot.left, plot.right, 2, plot.bottom) + plot.names
        for (_, point), y in zip(self.rows, plot.centres, strict=True):
            end = self.axis.place(point.value, plot.left, plot.right)
            low, high = (self.axis.place(bound, plot.left, plot.right) for bound in (point.low, point.high))
            shapes.append(box("bar", plot.left, y - 9, max(2.0, end - plot.left), 18))
            if high - low > 3:
                shapes.append(line("whisker", low, y, high, y))
            shapes.append(label("value", max(end, high) + 7, y + 4.5, point.text))
        return Drawing(width, plot.bottom + below(self.axis, plot.right), tuple(shapes))


@dataclass(frozen=True, slots=True)
class DotPlot:
    """Points of one or more series in rows, with their intervals. A row has a point or None for each series."""

    axis: Axis
    series: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Point | None, ...]], ...]

    def draw(self, width: float) -> Drawing:
        """The drawing at a width."""
        shapes, top = legend(self.series, 0, 0, width) if len(self.series) > 1 else ([], 2.0)
        plot = _rows([name for name, _ in self.rows], width, top, 20 + 8 * len(self.series), 8)
        shapes += grid(self.axis, plot.left, plot.right, top, plot.bottom) + plot.names
        for (_, points), y in zip(self.rows, plot.centres, strict=True):
            shapes.append(line("guide", plot.left, y, plot.right, y))
            for number, point in enumerate(points):
                if point is None:
                    continue
                x, low, high = (self.axis.place(at, plot.left, plot.right)
                                for at in (point.value, point.low, point.high))  # fmt: skip
                above = y + 10 * (number - (len(points) - 1) / 2)
                shapes += [line(f"interval s{number}", low, above, high, above), mark(number, x, above)]
        return Drawing(width, plot.bottom + below(self.axis, plot.right), tuple(shapes))


@dataclass(frozen=True, slots=True)
class LinePlot:
    """Curves of shares with their intervals as bands, by the name of the series. A curve is interrupted where a point
    is None."""

    across: Axis
    up: Axis
    series: tuple[tuple[str, tuple[tuple[float, Point | None], ...]], ...]

    def draw(self, width: float) -> Drawing:
        """The drawing at a width."""
        shapes, top = legend([name for name, _ in self.series], 0, 0, width)
        shapes += [label("title", 0, top + LINE * (0.7 + number), words)
                   for number, words in enumerate(wrapped(self.up.title, width))]  # fmt: skip
        top += LINE * len(wrapped(self.up.title, width)) + 10
        left, right, bottom = 50.0, width - 10, top + min(260.0, width * 0.6)
        for value, words in self.up.ticks:
            y = self.up.place(value, bottom, top)
            shapes += [line("grid", left, y, right, y), label("tick end", left - 8, y + 4.5, words)]
        shapes += grid(self.across, left, right, bottom, bottom)
        for number, (_, points) in enumerate(self.series):
            for known, run in groupby(points, lambda one: one[1] is not None):
                if known:
                    shapes += self._curve(number, list(run), (left, right), (bottom, top))
        return Drawing(width, bottom + below(self.across, right), tuple(shapes))

    def _curve(
        self, number: int, points: list[tuple[float, Point | None]], across: tuple[float, float],
        up: tuple[float, float],
    ) -> Iterator[Shape]:  # fmt: skip
        at = [(self.across.place(x, *across), point) for x, point in points if point is not None]
        upper = [(x, self.up.place(point.high, *up)) for x, point in at]
        lower = [(x, self.up.place(point.low, *up)) for x, point in at]
        middle = [(x, self.up.place(point.value, *up)) for x, point in at]
        yield curve(f"band s{number}", upper + lower[::-1], closed=True)
        yield curve(f"curve s{number}", middle)
        yield from (mark(number, x, y, 4) for x, y in middle)


@dataclass(frozen=True, slots=True)
class SpreadPlot:
    """A box for each row: a line from the first to the last of five percentiles, a box from the second to the fourth,
    and a mark at the third."""

    axis: Axis
    rows: tuple[tuple[str, tuple[float, ...]], ...]

    def draw(self, width: float) -> Drawing:
        """The drawing at a width."""
        plot = _rows([name for name, _ in self.rows], width, 2, 28, 8)
        shapes = grid(self.axis, plot.left, plot.right, 2, plot.bottom) + plot.names
        for (_, spread), y in zip(self.rows, plot.centres, strict=True):
            least, low, middle, high, most = (self.axis.place(value, plot.left, plot.right) for value in spread)
            shapes += [
                line("interval s0", least, y, most, y), box("box", low, y - 7, max(2.0, high - low), 14),
                line("median", middle, y - 10, middle, y + 10),
            ]  # fmt: skip
        return Drawing(width, plot.bottom + below(self.axis, plot.right), tuple(shapes))


@dataclass(frozen=True, slots=True)
class Span:
    """A bar on a lane from one day to another, with the number of the handle that it shows, and text after it."""

    begins: date
    ends: date
    number: int
    text: str = ""


@dataclass(frozen=True, slots=True)
class LaneChart:
    """Lanes of spans over the years, in groups with a heading. The same number has the same shade on all lanes."""

    title: str
    begins: date
    ends: date
    groups: tuple[tuple[str, tuple[tuple[str, tuple[Span, ...]], ...]], ...]

    def draw(self, width: float) -> Drawing:
        """The drawing at a width."""
        years = range(self.begins.year + 1, self.ends.year + 1)
        step = 1 if width >= BESIDE else 3
        axis = Axis(self.title, self.begins.toordinal(), self.ends.toordinal(), tuple(
            (date(year, 1, 1).toordinal(), str(year)) for year in years if (year - years[0]) % step == 0
        ))  # fmt: skip
        shapes: list[Shape] = []
        top = 0.0
        names = [name for _, lanes in self.groups for name, _ in lanes]
        column = min(width * 0.36, max(map(extent, names), default=0) + 14) if width >= BESIDE else 0.0
        left, right = column or 6.0, width - 8
        begun = 0.0
        for heading, lanes in self.groups:
            shapes.append(label("heading", 0, top + LINE, heading))
            top += LINE + 9
            begun = begun or top
            plot = _rows([name for name, _ in lanes], width, top, 24, 8)
            shapes += plot.names
            for (_, spans), y in zip(lanes, plot.centres, strict=True):
                shapes += [line("guide", left, y, right, y), *self._spans(spans, y, axis, left, right)]
            top = plot.bottom + 8
        return Drawing(width, top + below(axis, right), (*grid(axis, left, right, begun, top), *shapes))

    def _spans(self, spans: tuple[Span, ...], y: float, axis: Axis, left: float, right: float) -> Iterator[Shape]:
        def at(day: date) -> float:
            return axis.place(day.toordinal(), left, right)

        starts = [at(span.begins) for span in spans]
        for span, start, limit in zip(spans, starts, [*starts[1:], right], strict=True):
            end = at(span.ends)
            yield box(f"span h{(span.number - 1) % 4}", start, y - 8, max(3.0, end - start), 16)
            number = str(span.number)
            if end - start > extent(number) + 6:
                yield label(f"number h{(span.number - 1) % 4}", start + 4, y + 4.5, number)
                number = ""
            words = f"{number} {span.text}".strip()
            if words and end + 5 + extent(words) < limit:
                yield label("tick", max(end, start + 3) + 4, y + 4.5, words)
