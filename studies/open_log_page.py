"""The page of insights: what everybody can learn from an open log about who asks whom for what, and how far its rows
hide among others. One HTML file, which loads nothing and needs no script."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

import polars as pl

from kazashi.provision_network.open_log import DURATIONS, FIELDS, LONGER, Precision
from kazashi.studies.open_log import FEW, PublishedLog, protection
from kazashi.tracking_lab.metrics import Share
from kazashi.tracking_lab.page.charts import WIDE, BarChart, Point
from kazashi.tracking_lab.page.drawing import counts, shares
from kazashi.tracking_lab.page.model import Answer, Entry, Figure, Page, Section, Shown, Table
from kazashi.tracking_lab.page.numbers import Numbers
from kazashi.tracking_lab.page.rendering import rendered
from kazashi.tracking_lab.page.words import Language, Words

PACKAGE = "kazashi.studies"

_MOST = 10
"""The largest number of pairs and of items that are shown, and of rows and columns of the matrix."""
_MONTHS = 24
_PICTURE = 560.0


def insights_page(log: PublishedLog, language: Language, again: str) -> str:
    """The page about an open log, in a language. `again` is the command that makes it."""
    words = Words(language, PACKAGE)
    insights = _Insights(log, words)
    sections = (*(insights.sections() if log.rows.height else ()), insights.fields())
    page = Page(insights.subtitle(), "", insights.answer(), sections, (), (again,), kind="insights")
    return rendered(page, words)


class _Insights:
    def __init__(self, log: PublishedLog, words: Words) -> None:
        self.words, self.numbers = words, Numbers(words)
        self.log, self.rows = log, log.rows
        moment = pl.col("requestInTs").cast(pl.Datetime("ms", "UTC")).dt.convert_time_zone("Asia/Tokyo")
        self._times = log.rows.select(
            month=moment.dt.strftime("%Y-%m"), weekday=moment.dt.weekday(), hour=moment.dt.hour(), day="requestInDate"
        )

    def subtitle(self) -> str:
        if not self.rows.height:
            return self.words("insights.subtitle-empty")
        days = self._times["day"]
        return self.words("insights.subtitle", rows=f"{self.rows.height:,}", first=days.min(), last=days.max(),
                          precision=self._precision(), delay=self.log.delay_days)  # fmt: skip

    def answer(self) -> Answer:
        if not self.rows.height:
            return Answer(((self.words("insights.nothing"), ""),), None)
        bodies = pl.concat([self.rows["clientMemberCode"], self.rows["serviceMemberCode"]]).n_unique()
        success = Share(int(self.rows["succeeded"].sum()), self.rows.height)
        volume = self.words("insights.volume", bodies=f"{bodies:,}", rows=f"{self.rows.height:,}",
                            days=f"{self._times['day'].n_unique():,}",
                            success=self.numbers.in_words(success))  # fmt: skip
        alone = self.words("insights.alone", precision=self._precision(),
                           unique=self.numbers.in_words(protection(self.rows).sets.unique))  # fmt: skip
        return Answer(((volume, "when"), (alone, "protection")), self._items())

    def sections(self) -> Iterator[Section]:
        words = self.words
        yield Section("when", words("insights-when.title"), words("insights-when.lead"), tuple(self._when()),
                      () if self._has_hours() else (words("insights-when.hour-missing"),))  # fmt: skip
        pairs = self.rows.group_by("clientMemberCode", "serviceMemberCode").len().sort(
            "len", "clientMemberCode", "serviceMemberCode", descending=[True, False, False]
        )  # fmt: skip
        named = [(words("insights.pair", one=one, other=other), count) for one, other, count in pairs.rows()]
        yield Section("who", words("insights-who.title"), words("insights-who.lead"), (
            self._first("pairs", "insights-who.pairs", "insights-who.pairs-head", named), self._matrix(pairs),
        ))  # fmt: skip
        yield Section("what", words("insights-what.title"), words("insights-what.lead"), (self._success(),))
        yield Section("speed", words("insights-speed.title"), words("insights-speed.lead"), (self._speed(),))
        yield self._protection()

    def fields(self) -> Section:
        """What the fields of the log mean."""
        words = self.words
        table = Table("fields-table", "", (words("insights-fields.head"), words("insights-fields.meaning")),
                      tuple((name, words(f"insights-fields.{name}")) for name in FIELDS))  # fmt: skip
        return Section("fields", words("insights-fields.title"), words("insights-fields.lead"), (table,))

    def _precision(self) -> str:
        return self.words(f"insights.{self.log.precision.value}")

    def _has_hours(self) -> bool:
        return self.log.precision is not Precision.DAY

    def _when(self) -> Iterator[Figure]:
        months = dict(self._times.group_by("month").len().sort("month").tail(_MONTHS).rows())
        caption = self.words("insights-when.month-caption", months=_MONTHS)
        yield self._bars("months", "insights-when.month", "insights-when.month-head", months.items(), caption)
        by_day = dict(self._times.group_by("weekday").len().rows())
        days = [(self.words(f"insights-when.day-{day}"), by_day.get(day, 0)) for day in range(1, 8)]
        caption = self.words("insights-when.weekday-caption")
        yield self._bars("weekdays", "insights-when.weekday", "insights-when.weekday-head", days, caption)
        if self._has_hours():
            by_hour = dict(self._times.group_by("hour").len().rows())
            first, last = min(by_hour), max(by_hour)
            hours = [(self.words("insights-when.hour-name", hour=hour), by_hour.get(hour, 0))
                     for hour in range(first, last + 1)]  # fmt: skip
            caption = self.words("insights-when.hour-caption")
            yield self._bars("hours", "insights-when.hour", "insights-when.hour-head", hours, caption)

    def _items(self) -> Figure:
        items = self.rows.group_by("serviceCode").len().sort("len", "serviceCode", descending=[True, False])
        named = [(item or self.words("insights.denied"), count) for item, count in items.rows()]
        return self._first("items", "insights-what.items", "insights-what.items-head", named, _PICTURE)

    def _success(self) -> Figure:
        words = self.words
        items = self.rows.group_by("serviceCode").agg(right=pl.col("succeeded").sum(), all=pl.len()).sort(
            "all", "serviceCode", descending=[True, False]
        ).head(_MOST)  # fmt: skip
        named = [(item or words("insights.denied"), Share(right, total)) for item, right, total in items.rows()]
        bars = tuple((name, point) for name, share in named if (point := self.numbers.point(share)) is not None)
        head = tuple(map(words, ("insights-what.items-head", "insights.provided", "page.interval", "page.basis")))
        data = Table("success-data", "", head, tuple(self._share_row(name, share) for name, share in named))
        return Figure("success", words("insights-what.success"), BarChart(shares(words("insights.provided")), bars),
                      data, words("insights-what.success-caption"))  # fmt: skip

    def _speed(self) -> Figure:
        words, total = self.words, self.rows.height
        by_class = dict(self.rows.group_by("totalDurationClass").len().rows())
        names = [*(name for _, name in DURATIONS), LONGER, None]
        named = [(words(f"insights-speed.{name or 'none'}"), Share(by_class.get(name, 0), total)) for name in names]
        bars = tuple((name, Point(share.value, share.value, share.value, self.numbers.share(share).text))
                     for name, share in named)  # fmt: skip
        head = tuple(map(words, ("insights-speed.head", "insights.share", "page.interval", "page.basis")))
        data = Table("speed-data", "", head, tuple(self._share_row(name, share) for name, share in named))
        chart = BarChart(shares(words("insights.share")), bars)
        return Figure("speed-figure", words("insights-speed.figure"), chart, data, words("insights-speed.caption"))

    def _protection(self) -> Section:
        words, found = self.words, protection(self.rows)
        rows = (
            self._share_row(words("insights-protection.unique"), found.sets.unique),
            self._share_row(words("insights-protection.small", most=FEW - 2), found.small),
            (words("insights-protection.median"), self.numbers.ratio(found.sets.median), "", ""),
        )
        head = tuple(map(words, ("insights-protection.head", "insights-protection.value", "page.interval",
                                 "page.basis")))  # fmt: skip
        table = Table("protection-table", words("insights-protection.table"), head, rows)
        return Section("protection", words("insights-protection.title"), words("insights-protection.lead"), (table,),
                       (words("insights-protection.study"),))  # fmt: skip

    def _matrix(self, pairs: pl.DataFrame) -> Table:
        """Requests by requester and provider. The bodies beyond the busiest are counted together."""
        asking, asked = (self._busiest(pairs, side) for side in ("clientMemberCode", "serviceMemberCode"))
        cells: dict[tuple[str, str], int] = {}
        for one, other, count in pairs.rows():
            place = asking[one], asked[other]
            cells[place] = cells.get(place, 0) + count
        across = list(dict.fromkeys(asked.values()))
        rows: tuple[tuple[Entry, ...], ...] = tuple(
            (one, *(self.numbers.count(cells.get((one, other), 0)) for other in across))
            for one in dict.fromkeys(asking.values())
        )
        return Table("matrix", self.words("insights-who.matrix"), (self.words("insights-who.matrix-head"), *across),
                     rows, matrix=True)  # fmt: skip

    def _busiest(self, pairs: pl.DataFrame, side: str) -> dict[str, str]:
        """The name under which each body on one side is counted, from the busiest on."""
        bodies = pairs.group_by(side).agg(pl.col("len").sum()).sort("len", side, descending=[True, False])[side]
        others = self.words("insights.others", count=len(bodies) - _MOST)
        return {name: name if place < _MOST else others for place, name in enumerate(bodies)}

    def _first(self, id: str, title: str, head: str, named: list[tuple[str, int]], width: float = WIDE) -> Figure:
        """A figure of the first ones, whose caption says how many there are."""
        key = "insights.first" if len(named) > _MOST else "insights.every"
        caption = self.words(key, shown=_MOST, all=f"{len(named):,}")
        return replace(self._bars(id, title, head, named[:_MOST], caption), width=width)

    def _bars(self, id: str, title: str, head: str, named: Iterable[tuple[str, int]], caption: str) -> Figure:
        bars = [(name, Point(count, count, count, f"{count:,}")) for name, count in named]
        axis = counts(self.words("insights.requests"), max((int(point.value) for _, point in bars), default=0))
        rows: tuple[tuple[Entry, ...], ...] = tuple((name, Shown(point.text)) for name, point in bars)
        data = Table(f"{id}-data", "", (self.words(head), self.words("insights.requests")), rows)
        return Figure(id, self.words(title), BarChart(axis, tuple(bars)), data, caption)

    def _share_row(self, name: str, share: Share) -> tuple[Entry, ...]:
        shown = self.numbers.share(share)
        return (name, Shown(shown.text), Shown(shown.interval), Shown(shown.basis))
