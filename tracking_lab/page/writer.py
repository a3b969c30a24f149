"""Writes measurements, runs and actors in words and numbers, in one language and for one edition."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import Enum

from kazashi.tracking_lab.coalitions import Coalition, Selection
from kazashi.tracking_lab.exposure import Conversion, HandlePath
from kazashi.tracking_lab.facts import StoreFact
from kazashi.tracking_lab.measurements import FlatMeasurement
from kazashi.tracking_lab.metrics import Estimate, Share
from kazashi.tracking_lab.page.facts import sentence
from kazashi.tracking_lab.page.model import Entry, Shown, Table
from kazashi.tracking_lab.page.numbers import PERCENT, Numbers, digits
from kazashi.tracking_lab.page.words import Language, Words
from kazashi.tracking_lab.results import LogExamination, Measurement, ThreatRun, Unit

LEAST = 10
"""The smallest count that the public edition shows."""


class Edition(Enum):
    """Who may read the report: those who may read the logs, or everybody."""

    FULL = "full"
    PUBLIC = "public"


class Writer:
    """Writes in a language and for an edition. The public edition of imported logs has numbers in place of services'
    names, and no small counts."""

    def __init__(self, language: Language, edition: Edition, logs: tuple[LogExamination, ...] = ()) -> None:
        self.words = Words(language)
        self.public = edition is Edition.PUBLIC and bool(logs)
        self.numbers = Numbers(self.words, LEAST if self.public else 0)
        names = sorted({name for one in logs for run in one.threats for name in _services(run)})
        self._services: Mapping[str, str] = {
            name: self.words("edition.service", number=number) for number, name in enumerate(names, 1)
        } if self.public else {}  # fmt: skip

    def service(self, name: str) -> str:
        """A service of imported logs by its name, or by a number in the public edition."""
        return self._services.get(name, name)

    def services(self, names: Iterable[str]) -> str:
        """Services of imported logs that act together."""
        return self.words("page.plus").join(map(self.service, names))

    def label(self, scope: str, measured: Measurement) -> str:
        """What a measurement of a run or claim is."""
        if measured.services:
            return self.words("results.T1.handles-shared-pair", services=self.services(measured.services))
        return self.words.first(
            measured.id, f"results.{scope}.{measured.id}", f"claims.{scope}.{measured.id}",
            f"countermeasures.{measured.id}.name", f"handles.{measured.id}", f"results.{measured.id}",
        )  # fmt: skip

    def value(self, measured: Measurement) -> Entry:
        """The value of a measurement, with its unit."""
        match measured.value:
            case bool(value):
                return self.words("page.yes" if value else "page.no")
            case Share() as share:
                return self.numbers.share(share)
            case Estimate() as estimate if measured.unit is Unit.SHARE:
                return self.numbers.ratio(estimate)
            case Estimate() as estimate:
                return self.numbers.quantity(estimate, measured.unit)
            case HandlePath() as path:
                return self.path(path)
            case tuple() if measured.unit is Unit.FACTS and not measured.value:
                return self.words("page.no-fact")
            case int() | float() as number if measured.unit is Unit.SHARE:
                return Shown(f"{digits(100 * number)}{PERCENT}")
            case int() | float() as number:
                return self.numbers.quantity(number, measured.unit)
        return self.listed(measured.value)

    def flat(self, one: FlatMeasurement) -> Shown:
        """A number of the flat list."""
        unit = Unit(one.unit)
        if one.count is not None and one.total is not None:
            return self.numbers.share(Share(one.count, one.total))
        if one.value is None:
            return Shown(self.words("page.none"))
        if unit is Unit.TRUTH:
            return Shown(self.words("page.yes" if one.value else "page.no"))
        if unit is not Unit.SHARE and one.low is not None and one.high is not None:
            return self.numbers.quantity(Estimate(one.value, one.low, one.high), unit)
        if unit is not Unit.SHARE:
            return self.numbers.quantity(int(one.value) if one.value == int(one.value) else one.value, unit)
        if one.low is None or one.high is None:
            return Shown(f"{digits(100 * one.value)}{PERCENT}")
        interval = self.numbers.interval(100 * one.low, 100 * one.high, PERCENT)
        return Shown(f"{digits(100 * one.value)}{PERCENT}", interval)

    def listed(self, several: tuple[Coalition, ...] | tuple[StoreFact, ...]) -> str:
        """Coalitions, or facts of stores, in a list."""
        parts = [self.coalition(one) if isinstance(one, Coalition) else sentence(self.words, one) for one in several]
        if any(isinstance(one, StoreFact) for one in several):
            return self.words("page.semicolon").join(parts)
        return self.words.join(parts) if parts else self.words("page.nobody")

    def coalition(self, who: Coalition) -> str:
        """The parties of a coalition."""
        parts = [self.selection(who)] if who.services else []
        return self.words("page.plus").join([*parts, *(self.actor(other) for other in who.others)])

    def selection(self, who: Coalition) -> str:
        """The services of a coalition."""
        key = {
            Selection.ANY: "any", Selection.OF_ONE_SECTOR: "of-one-sector", Selection.OF_TWO_SECTORS: "of-two-sectors",
        }.get(who.which, "certain")  # fmt: skip
        count = self.words(f"actors.count-{who.services}")
        return self.words(f"actors.services-{key}", count=count, sets=who.sets, among=who.among)

    def actor(self, name: str) -> str:
        """An actor; several are joined with `+`."""
        return self.words("page.plus").join(self.words.get(f"actors.{one}", one) for one in name.split(" + "))

    def handle(self, name: str) -> str:
        """A kind of handle."""
        return self.words.get(f"handles.{name}", name)

    def reason(self, run: ThreatRun) -> str:
        """Why a run has no results."""
        return self.words.get(f"omissions.{run.omitted}", run.omitted)

    def path(self, path: HandlePath) -> str:
        """The steps of a path; if it has none, that there is no path."""
        return "; ".join(map(self.step, path.steps)) or self.words("page.no-path")

    def step(self, step: Conversion) -> str:
        """One conversion."""
        return self.words("paths-part.step", actor=self.actor(step.actor), source=self.handle(step.source),
                          target=self.handle(step.target))  # fmt: skip

    def results(self, id: str, scope: str, results: Iterable[Measurement], query: str, caption: str = "") -> Table:
        """The results of a run or claim as a table: what was measured, the value, its interval and the counts."""
        rows = [(self.label(scope, one), self.value(one)) for one in results]
        return self.valued(id, rows, query, caption)

    def valued(self, id: str, rows: Iterable[tuple[str, Entry]], query: str, caption: str = "") -> Table:
        """Values as a table, with columns for intervals and counts if there are any."""
        rows = list(rows)
        head = [self.words("page.measured"), self.words("page.value")]
        if not any(isinstance(value, Shown) and value.interval for _, value in rows):
            return Table(id, caption, tuple(head), tuple(rows), query)
        head += [self.words("page.interval"), self.words("page.basis")]
        return Table(id, caption, tuple(head), tuple(
            (name, *((Shown(value.text), Shown(value.interval), Shown(value.basis)) if isinstance(value, Shown)
                     else (value, "", "")))
            for name, value in rows
        ), query)  # fmt: skip


def query_of(rows: Iterable[FlatMeasurement], measured: Measurement) -> str:
    """The name of the query of a measurement that is evidence: that of the same number, or of the same measure."""
    same = [row for row in rows if row.measure == measured.measure]
    exact = [row.query for row in same if measured.id in (row.subject, row.id)]
    return next(iter([*exact, *(row.query for row in same)]), "")


def _services(run: ThreatRun) -> Iterable[str]:
    yield from run.services
    for one in run.results:
        yield from one.services
