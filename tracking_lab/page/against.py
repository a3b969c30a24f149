"""Two results side by side: the measures that both have, with their intervals and differences."""

from __future__ import annotations

from collections.abc import Iterable

from kazashi.tracking_lab.measurements import FlatMeasurement
from kazashi.tracking_lab.metrics import Share
from kazashi.tracking_lab.page.charts import DotPlot, Point
from kazashi.tracking_lab.page.drawing import shares
from kazashi.tracking_lab.page.model import Dot, Entry, Figure, Link, Section, Shown, Table
from kazashi.tracking_lab.page.numbers import digits
from kazashi.tracking_lab.page.words import Words
from kazashi.tracking_lab.page.writer import Writer
from kazashi.tracking_lab.results import Unit

_PICTURED = 12
"""The most rows of the figure."""

Pair = tuple[FlatMeasurement, FlatMeasurement]


def against(
    writer: Writer, names: tuple[str, str], ours: Iterable[FlatMeasurement], theirs: Iterable[FlatMeasurement]
) -> Section:  # fmt: skip
    """The measures that two results have in common. `names` are those of the results."""
    words = writer.words
    ours, theirs = (_comparable(one) for one in (ours, theirs))
    others = {(one.part, one.subject, one.id): one for one in theirs}
    pairs = [(one, others[key]) for one in ours if (key := (one.part, one.subject, one.id)) in others]
    alone = len(ours) + len(others) - 2 * len(pairs)
    title = words("against.title", name=names[1])
    notes = (words("against.only", count=writer.numbers.count(alone).text),) if alone else ()
    if not pairs:
        return Section("section-against", title, words("against.nothing"), notes=notes)
    head = (words("against.measured"), *names, words("against.difference"), words("against.apart"))
    rows = tuple(_row(writer, one, other) for one, other in pairs)
    blocks: list[Figure | Table] = []
    pictured = sorted(
        (pair for pair in pairs if _is_share(writer, *pair) and _gap(*pair)), key=lambda pair: -_gap(*pair)
    )[:_PICTURED]
    if pictured:
        points = tuple((label(writer, one), tuple(_point(side) for side in (one, other))) for one, other in pictured)
        data = Table("against-pictured", "", head[:4], tuple(_row(writer, *pair)[:4] for pair in pictured))
        blocks.append(Figure("figure-against", words("against.figure"),
                             DotPlot(shares(words("countermeasures-part.axis")), names, points), data,
                             words("against.caption")))  # fmt: skip
    blocks.append(Table("against", words("against.table"), head, rows))
    return Section("section-against", title, words("against.lead"), tuple(blocks), notes)


def _comparable(rows: Iterable[FlatMeasurement]) -> list[FlatMeasurement]:
    """The measurements that are about the same in every result: not those of certain services of imported logs."""
    return [one for one in rows if not one.id.startswith("handles-shared-")]


def label(writer: Writer, one: FlatMeasurement) -> str:
    """What a flat measurement is: of which run, countermeasure or setting, and what."""
    words = writer.words
    subject = words.get(f"countermeasures.{one.subject}.name", "")
    name = words.first(
        one.id, f"flat.{one.part}.{one.id}", f"results.{one.subject}.{one.id}", f"countermeasures.{one.id}.name",
        f"results.{one.id}",
    )  # fmt: skip
    return words("against.label", subject=subject or _setting(writer, one), name=name)


def _setting(writer: Writer, one: FlatMeasurement) -> str:
    """The subject of a measurement that is not a countermeasure: a run, attributes, a year, or a number
    of uses and days."""
    words = writer.words
    match one.part:
        case "attributes":
            return words.join([words(f"attributes.{name}") for name in one.subject.split("+")])
        case "unicity":
            points, _, days, _ = one.subject.split("-")
            return words("against.unicity", points=points, days=days)
        case "years":
            return words("against.year", year=one.subject)
        case "threats":
            return one.subject
    return words(f"against.{one.part}")


def _row(writer: Writer, one: FlatMeasurement, other: FlatMeasurement) -> tuple[Entry, ...]:
    words = writer.words
    shown = (writer.flat(one), writer.flat(other))
    difference, mark = Shown(words("page.none")), Dot("", "")
    if words("page.hidden") in (shown[0].text, shown[1].text) or any(_few(writer, side) for side in (one, other)):
        difference = Shown(words("page.hidden"))
    elif one.value is not None and other.value is not None:
        gap = one.value - other.value
        percent = one.unit == Unit.SHARE.value
        text = digits(100 * gap if percent else gap)
        difference = Shown(words("against.points", value=f"+{text}" if gap > 0 else text) if percent else text)
        mark = _mark(words, one, other)
    return Link(label(writer, one), f"query-{one.query}"), *shown, difference, mark if mark.text else ""


def _few(writer: Writer, one: FlatMeasurement) -> bool:
    return one.value is not None and writer.numbers.few(round(one.value), Unit(one.unit))


def _point(one: FlatMeasurement) -> Point | None:
    if one.value is None:
        return None
    low, high = (one.value if bound is None else bound for bound in (one.low, one.high))
    return Point(one.value, low, high, "")


def _is_share(writer: Writer, one: FlatMeasurement, other: FlatMeasurement) -> bool:
    """Whether two measurements are shares that may be drawn."""
    return one.unit == Unit.SHARE.value and all(
        side.count is not None and side.total and not writer.numbers.withheld(Share(side.count, side.total))
        for side in (one, other)
    )  # fmt: skip


def _gap(one: FlatMeasurement, other: FlatMeasurement) -> float:
    return abs((one.value or 0) - (other.value or 0))


def _mark(words: Words, one: FlatMeasurement, other: FlatMeasurement) -> Dot:
    """Whether two intervals overlap. Numbers without an interval have no mark."""
    if one.low is None or one.high is None or other.low is None or other.high is None:
        return Dot("", "")
    apart = one.high < other.low or other.high < one.low
    return Dot("full", words("against.apart")) if apart else Dot("ring", words("against.overlap"))
