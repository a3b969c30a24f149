"""What a page consists of, before it is HTML: sections with figures, tables and explanations."""

from __future__ import annotations

from dataclasses import dataclass

from kazashi.tracking_lab.page.charts import NARROW, WIDE, Chart
from kazashi.tracking_lab.page.drawing import Drawing


@dataclass(frozen=True, slots=True)
class Shown:
    """A number as text, with its unit; its interval; and the counts behind it. The last two are empty if there are
    none."""

    text: str
    interval: str = ""
    basis: str = ""

    def __str__(self) -> str:
        return f"{self.text} [{self.interval}]" if self.interval else self.text


@dataclass(frozen=True, slots=True)
class Dot:
    """A mark in a table: full, half or ring, and what it says, for readers who do not see it. `words` stand beside
    it."""

    style: str
    text: str
    words: str = ""

    def __str__(self) -> str:
        return self.words or self.text


@dataclass(frozen=True, slots=True)
class Link:
    """Text that links to a place on the page, by its id, or that is such a place itself (`anchor`)."""

    text: str
    target: str = ""
    anchor: str = ""

    def __str__(self) -> str:
        return self.text


Entry = str | Shown | Dot | Link


@dataclass(frozen=True, slots=True)
class Table:
    """A table. `query` is the name of the query or function that computed its numbers. `folded` is the heading under
    which it is folded on screens, empty if it is not. `matrix` says that all columns but the first are narrow."""

    id: str
    caption: str
    head: tuple[str, ...]
    rows: tuple[tuple[Entry, ...], ...]
    query: str = ""
    folded: str = ""
    matrix: bool = False

    @property
    def numeric(self) -> tuple[bool, ...]:
        """Which columns have numbers."""
        return tuple(any(isinstance(row[place], Shown) for row in self.rows) for place in range(len(self.head)))


@dataclass(frozen=True, slots=True)
class Figure:
    """A chart with its title and caption, a description for readers who do not see it, and its data as a table. `width`
    is that of the drawing for screens and paper."""

    id: str
    title: str
    chart: Chart
    data: Table
    caption: str = ""
    width: float = WIDE

    @property
    def drawings(self) -> tuple[tuple[str, Drawing], ...]:
        """The drawing for screens and paper, and the one for phones."""
        return (("wide", self.chart.draw(self.width)), ("narrow", self.chart.draw(NARROW)))

    @property
    def description(self) -> str:
        """The data in words."""
        heads = self.data.head[1:]
        return "; ".join(
            f"{row[0]}: " + ", ".join(f"{head} {entry}" for head, entry in zip(heads, row[1:], strict=True))
            for row in self.data.rows
        )


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the page: an introduction, figures and tables, sections within it, and explanations with headings: what
    it means, how it was measured and what would change it."""

    id: str
    title: str
    lead: str = ""
    blocks: tuple[Figure | Table, ...] = ()
    notes: tuple[str, ...] = ()
    inner: tuple[Section, ...] = ()
    explained: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer for readers who have two minutes: sentences, each with the id of the section that has its numbers, and
    one picture."""

    sentences: tuple[tuple[str, str], ...]
    picture: Figure | None


@dataclass(frozen=True, slots=True)
class Page:
    """The whole page. `queries` are the texts of the queries and functions by name, and `again` the commands that make
    the page again. `kind` is the table of words that has its title and heading."""

    subtitle: str
    seed: str
    answer: Answer
    sections: tuple[Section, ...]
    queries: tuple[tuple[str, str], ...]
    again: tuple[str, ...]
    engine: str = ""
    kind: str = "page"
