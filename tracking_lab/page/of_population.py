"""The page of a population: the answer, the claims and the measures that only a population has."""

from __future__ import annotations

from collections.abc import Iterator

from kazashi.tracking_lab.coalitions import Coalition
from kazashi.tracking_lab.exposure import ExposureMatrix
from kazashi.tracking_lab.measurements import measurements
from kazashi.tracking_lab.metrics import Share
from kazashi.tracking_lab.page.charts import BESIDE, BarChart, DotPlot, LaneChart, LinePlot, Point, Span
from kazashi.tracking_lab.page.common import explained
from kazashi.tracking_lab.page.drawing import Axis, shares
from kazashi.tracking_lab.page.model import Answer, Dot, Entry, Figure, Section, Shown, Table
from kazashi.tracking_lab.page.numbers import PERCENT
from kazashi.tracking_lab.page.writer import Writer
from kazashi.tracking_lab.results import (
    CountermeasureResult,
    Examination,
    ShownCertificate,
    Sighting,
    Timeline,
    TrackingReport,
    Unit,
)

_PICTURED = ("raw-serial", "plain-hash", "sector-bpk", "keyed-pairwise")
"""The countermeasures of the first picture."""

_KEPT = 0.95
"""The least share of accounts that a countermeasure keeps for users not to lose theirs."""


def answer(writer: Writer, examination: Examination) -> Answer:
    """The answer for a population."""
    words, numbers = writer.words, writer.numbers
    recalls = {name: examination.comparison(name).linkage.recall for name in _PICTURED}
    typed = _by_attributes(examination)
    rows = [*((words(f"countermeasures.{name}.name"), recall) for name, recall in recalls.items()),
            *([(words("answer.typed"), typed)] if typed.total else [])]  # fmt: skip
    bars = tuple((name, numbers.point(recall) or Point(0, 0, 0, words("page.none"))) for name, recall in rows)
    data = writer.valued("answer-data", [(name, numbers.share(recall)) for name, recall in rows], "pairwise")
    text = {name: numbers.in_words(recall) for name, recall in recalls.items()}
    return Answer((
        (words("answer.serial", recall=text["raw-serial"]), "section-countermeasures"),
        (words("answer.pseudonym", hashed=text["plain-hash"], keyed=text["keyed-pairwise"],
               able=_able(writer, examination.comparison("keyed-pairwise").coalitions)), "section-coalitions"),
        (words("answer.price", typed=numbers.in_words(typed)) if typed.total else words("answer.price-unknown"),
         "threat-T15"),
    ), Figure("figure-answer", words("answer.figure"), BarChart(shares(words("answer.axis")), bars), data,
              width=BESIDE))  # fmt: skip


def _able(writer: Writer, several: tuple[Coalition, ...]) -> str:
    """A sentence that says who can link."""
    match several:
        case ():
            return writer.words("answer.able-nobody")
        case (Coalition(services=0, others=(party,)),):
            return writer.words("answer.able-one", parties=writer.actor(party))
    return writer.words("answer.able-several", parties=writer.listed(several))


def _by_attributes(examination: Examination) -> Share:
    """The share of people whom a login service and a library find by what people typed."""
    values = {(run.id, one.id): one.value for run in examination.threats for one in run.results}
    share = values.get(("T15", "login-library-recall"))
    return share if isinstance(share, Share) else Share(0, 0)


def claims(writer: Writer, report: TrackingReport) -> Section:
    """The claims, each as a small table with its explanation."""
    words = writer.words
    inner = tuple(
        Section(f"claim-{one.id}", words(f"claims.{one.id}.title"),
                blocks=(writer.results(f"results-{one.id}", one.id, one.results, one.query),),
                explained=explained(writer, f"claims.{one.id}"))
        for one in report.claims
    )  # fmt: skip
    return Section("section-claims", words("claims.title"), inner=inner)


def countermeasures(writer: Writer, examination: Examination) -> Section:
    """The comparison of countermeasures."""
    words, numbers = writer.words, writer.numbers

    def said(name: str) -> str:
        return words(f"countermeasures-part.{name}")

    def named(one: CountermeasureResult) -> str:
        return words(f"countermeasures.{one.measure.id}.name")

    compared = examination.comparisons
    points = tuple(
        (named(one), (numbers.point(one.linkage.recall), numbers.point(one.kept))) for one in compared
    )  # fmt: skip
    data = Table("countermeasures", "", tuple(map(said, ("countermeasure", "linked", "kept"))), tuple(
        (named(one), numbers.share(one.linkage.recall), numbers.share(one.kept)) for one in compared
    ), "pairwise")  # fmt: skip
    chart = DotPlot(shares(said("axis")), (said("linked"), said("kept")), points)
    safe = [one for one in compared if not one.linkage.right and one.kept.total and one.kept.value >= _KEPT]
    able = Table("safe", words("countermeasures-part.safe", least=f"{100 * _KEPT:g}{PERCENT}"),
                 tuple(map(said, ("countermeasure", "kept", "able"))), tuple(
        (named(one), numbers.share(one.kept), writer.listed(one.coalitions)) for one in safe
    ), "coalitions")  # fmt: skip
    more = Table("effects", said("table"),
                 tuple(map(said, ("countermeasure", "seen", "ever", "days", "bytes", "people"))), tuple(
        (named(one), numbers.share(one.seen_by_authority), numbers.share(one.waiting.linked),
         numbers.quantity(one.waiting.median_days, Unit.DAYS), numbers.quantity(one.bytes_per_person, Unit.BYTES),
         numbers.count(one.people)) for one in compared
    ), "time-to-link")  # fmt: skip
    costs = Table("costs", said("costs"), tuple(map(said, ("countermeasure", "source", "cost"))), tuple(
        (named(one), words(f"countermeasures.{one.measure.id}.source"),
         words(f"countermeasures.{one.measure.id}.cost")) for one in compared
    ))  # fmt: skip
    quality = Table("clusters", "", tuple(map(said, (
        "countermeasure", "b3-precision", "b3-recall", "rand", "information", "completeness", "merges",
    ))), tuple(
        (named(one), numbers.ratio(one.clusters.precision), numbers.ratio(one.clusters.recall),
         numbers.ratio(one.clusters.rand), numbers.quantity(one.clusters.information, Unit.BITS),
         numbers.ratio(one.clusters.completeness.mean), numbers.count(one.linkage.wrong)) for one in compared
    ), "clusters", said("quality"))  # fmt: skip
    figure = Figure("figure-countermeasures", said("figure"), chart, data)
    return Section("section-countermeasures", said("title"),
                   words("countermeasures-part.lead", count=len(compared)),
                   (figure, *([able] if safe else []), more, costs, quality),
                   explained=explained(writer, "countermeasures-part"))  # fmt: skip


def years(writer: Writer, examination: Examination) -> Section:
    """X3: recognition over the years. Year 0 is the first."""
    words, numbers = writer.words, writer.numbers
    measured = examination.years
    first = (0.0, Point(1.0, 1.0, 1.0, "100 %"))
    by_name = {"chain": [(one.year, one.with_chain) for one in measured],
               "equality": [(one.year, one.by_equality) for one in measured]}  # fmt: skip
    series = tuple(
        (words(f"years.{name}"), (first, *((float(year), numbers.point(share)) for year, share in by_year)))
        for name, by_year in by_name.items()
    )
    last = max((one.year for one in measured), default=1)
    across = Axis(words("years.across"), 0, last, tuple((at, str(at)) for at in range(last + 1)))
    rows = tuple(
        (str(one.year), numbers.share(one.with_chain), numbers.share(one.by_equality)) for one in measured
    )  # fmt: skip
    data = Table("years", "", tuple(words(f"years.{name}") for name in ("year", "chain", "equality")), rows, "pairwise")
    chart = LinePlot(across, shares(words("years.up")), series)
    return Section("section-years", words("years.title"), words("years.lead"),
                   (Figure("figure-years", words("years.figure"), chart, data, words("years.caption")),),
                   explained=explained(writer, "years"))  # fmt: skip


def coalitions(writer: Writer, examination: Examination) -> Section:
    """X13: the smallest coalitions, as a matrix of countermeasures and parties."""
    words = writer.words
    sets = [(one, who) for one in examination.comparisons for who in one.coalitions or (None,)]
    parties = list(dict.fromkeys(party for _, who in sets if who is not None for party in _parties(writer, who)))
    parties.sort(key=lambda party: -sum(who is not None and party in _parties(writer, who) for _, who in sets))
    lines: list[tuple[Entry, ...]] = []
    for one, who in sets:
        name = words(f"countermeasures.{one.measure.id}.name")
        first = words("against.label", subject=name, name=words("page.nobody")) if who is None else name
        members = [] if who is None else _parties(writer, who)
        lines.append((first, *(Dot("full", party) if party in members else "" for party in parties)))
    head = (words("countermeasures-part.countermeasure"), *parties)
    table = Table("coalitions", words("coalitions-part.figure"), head, tuple(lines), "coalitions", matrix=True)
    return Section("section-coalitions", words("coalitions-part.title"), words("coalitions-part.lead"), (table,),
                   explained=explained(writer, "coalitions-part"))  # fmt: skip


def _parties(writer: Writer, who: Coalition) -> list[str]:
    return [*([writer.selection(who)] if who.services else []), *map(writer.actor, who.others)]


def everybody(writer: Writer, examination: Examination) -> Section:
    """X4, X11 and the joins over all people, each as a table."""
    words = writer.words
    rows = [one for one in measurements(examination) if one.subject == "everybody"]
    blocks = []
    for part in dict.fromkeys(one.part for one in rows):
        values = [(words(f"flat.{part}.{one.id}"), writer.flat(one)) for one in rows if one.part == part]
        query = next(one.query for one in rows if one.part == part)
        blocks.append(writer.valued(part, values, query, words(f"everybody.{part}")))
    return Section("section-everybody", words("everybody.title"), words("everybody.lead"), tuple(blocks),
                   explained=explained(writer, "everybody"))  # fmt: skip


def games(writer: Writer, examination: Examination) -> Section:
    """X8 and X9: telling a person from a stranger."""
    words, numbers = writer.words, writer.numbers
    names = [words(f"countermeasures.{one.measure.id}.name") for one in examination.games]
    ticks = tuple((0.5 + step / 10, f"{0.5 + step / 10:.1f}") for step in range(6))
    points = tuple((name, (numbers.point(one.area),)) for name, one in zip(names, examination.games, strict=True))
    chart = DotPlot(Axis(words("games-part.axis"), 0.5, 1.0, ticks), (words("games-part.area"),), points)
    data = writer.valued("areas", [
        (name, numbers.ratio(one.area)) for name, one in zip(names, examination.games, strict=True)
    ], "games")  # fmt: skip
    head = (words("countermeasures-part.countermeasure"),
            *(words(f"games-part.{name}") for name in ("trials", "advantage", "risk")))  # fmt: skip
    rows = tuple(
        (name, numbers.count(one.trials), numbers.ratio(one.advantage), numbers.ratio(one.risk))
        for name, one in zip(names, examination.games, strict=True)
    )
    return Section("section-games", words("games-part.title"), words("games-part.lead"),
                   (Figure("figure-games", words("games-part.figure"), chart, data),
                    Table("games", words("games-part.table"), head, rows, "games")),
                   explained=explained(writer, "games-part"))  # fmt: skip


def exposure(writer: Writer, matrix: ExposureMatrix) -> Section:
    """Who holds which handle."""
    words = writer.words
    styles = {"at use": "ring", "stored": "half", "convertible": "full"}
    rows: list[tuple[Entry, ...]] = []
    for actor in matrix.actors:
        cells: list[Entry] = []
        for handle in matrix.handles:
            cell = matrix.cell(actor, handle)
            cells.append("" if cell is None else Dot(
                styles[cell.holding.value],
                f"{words(f'exposure.{cell.holding.value}')} ({cell.table}, {cell.column}, {cell.rows})",
            ))  # fmt: skip
        rows.append((writer.actor(actor), *cells))
    table = Table("exposure", words("exposure.figure"), (words("exposure.actor"), *map(writer.handle, matrix.handles)),
                  tuple(rows), "exposure-path", matrix=True)  # fmt: skip
    key = Table("exposure-key", "", ("", ""), tuple(
        (Dot(style, ""), words(f"exposure.{name}")) for name, style in styles.items()
    ), matrix=True)  # fmt: skip
    heads = tuple(words(f"paths-part.{name}") for name in ("actor", "holds", "target", "path"))
    paths = Table("paths", "", heads, tuple(
        (writer.actor(path.actor), writer.handle(path.handle), writer.handle(path.target), writer.path(path))
        for path in matrix.paths
    ), "exposure-path", words("paths-part.all"))  # fmt: skip
    inner = Section("section-paths", words("paths-part.title"), words("paths-part.lead"), (paths,),
                    explained=explained(writer, "paths-part"))  # fmt: skip
    return Section("section-exposure", words("exposure.title"),
                   words("exposure.lead", widest=writer.actor(matrix.widest)), (key, table), inner=(inner,),
                   explained=explained(writer, "exposure"))  # fmt: skip


def timeline(writer: Writer, seen: Timeline) -> Section:
    """One made-up person's years."""
    words = writer.words
    certificates = tuple(
        (_certificate(writer, one), (Span(one.begins, one.ended or seen.ends, one.number, _ending(writer, one)),))
        for one in seen.certificates
    )  # fmt: skip
    services: dict[str, list[Sighting]] = {}
    for sighting in seen.sightings:
        services.setdefault(sighting.service, []).append(sighting)
    lanes = tuple(
        (_service(writer, name), tuple(Span(one.first, one.last, one.certificate)
                                       for one in sorted(sightings, key=lambda one: one.first)))
        for name, sightings in services.items()
    )  # fmt: skip
    chart = LaneChart(words("timeline.axis"), seen.begins, seen.ends, (
        (words("timeline.certificates"), certificates), (words("timeline.services"), lanes),
    ))  # fmt: skip
    head = tuple(words(f"timeline.{name}") for name in ("service", "sector", "handle", "first", "last", "uses"))
    rows = tuple(
        (_service(writer, one.service), words.get(f"sectors.{one.sector}", one.sector),
         words("timeline.handle-number", number=one.certificate), one.first.isoformat(), one.last.isoformat(),
         Shown(f"{one.uses:,}"))
        for one in seen.sightings
    )  # fmt: skip
    data = Table("sightings", "", head, rows, "timeline")
    return Section("section-timeline", words("timeline.title"), words("timeline.lead"),
                   (Figure("figure-timeline", words("timeline.figure"), chart, data, words("timeline.caption")),),
                   explained=explained(writer, "timeline"))  # fmt: skip


def _certificate(writer: Writer, one: ShownCertificate) -> str:
    use, medium = "signature" if one.signature else "authentication", "phone" if one.phone else "card"
    return writer.words(f"timeline.{use}-{medium}")


def _ending(writer: Writer, one: ShownCertificate) -> str:
    return writer.words(f"endings.{one.reason}") if one.reason else ""


def _service(writer: Writer, name: str) -> str:
    kind, _, number = name.partition(" ")
    return f"{writer.words.get(f'kinds.{kind}', kind)} {number}".strip()


def sections(writer: Writer, report: TrackingReport | Examination) -> Iterator[Section]:
    """The sections between the findings and the threat runs, and those after them, in order."""
    examination = report.examination if isinstance(report, TrackingReport) else report
    if isinstance(report, TrackingReport):
        yield claims(writer, report)
    yield countermeasures(writer, examination)
    yield years(writer, examination)
    yield coalitions(writer, examination)
    if examination.timeline is not None:
        yield timeline(writer, examination.timeline)
    yield everybody(writer, examination)
    yield games(writer, examination)
    if isinstance(report, TrackingReport):
        yield exposure(writer, report.exposure)


def subtitle(writer: Writer, examination: Examination) -> str:
    """How large the population is."""
    sizes = {name: f"{count:,}" for name, count in examination.sizes.items()}
    return writer.words("page.population", people=f"{examination.plan.residents:,}", years=examination.plan.years,
                        uses=sizes["uses"], services=sizes["service"])  # fmt: skip
