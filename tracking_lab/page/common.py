"""The sections that the pages of populations and of imported logs share."""

from __future__ import annotations

from collections.abc import Iterable

from kazashi.tracking_lab.measurements import FlatMeasurement
from kazashi.tracking_lab.page.charts import DotPlot, LinePlot, SpreadPlot
from kazashi.tracking_lab.page.drawing import Axis, powers, shares
from kazashi.tracking_lab.page.model import Dot, Entry, Figure, Link, Section, Shown, Table
from kazashi.tracking_lab.page.numbers import digits
from kazashi.tracking_lab.page.writer import Writer, query_of
from kazashi.tracking_lab.results import AttributeSet, PrivacyFinding, Severity, ThreatRun, Unicity, Unit

STUDIES = ("belgium", "estonia", "austria", "tls")
_MARKS = {Severity.HIGH: "full", Severity.MEDIUM: "half", Severity.LOW: "ring"}
PERCENTILES = (5, 25, 50, 75, 95)


def explained(writer: Writer, part: str) -> tuple[tuple[str, str], ...]:
    """What a part means, how it was measured and what would change it, with headings."""
    return tuple((writer.words(f"page.{name}"), writer.words(f"{part}.{name}")) for name in ("means", "how", "change"))


def background(writer: Writer, *, synthetic: bool) -> Section:
    """What studies of other countries found."""
    words = writer.words
    japan = words("background.japan" if synthetic else "background.japan-logs")
    lead = words("page.sentence").join([*(words(f"studies.{one}") for one in STUDIES), japan])
    sources = "; ".join(words(f"studies.{one}-source") for one in (*STUDIES, "estonia-directory"))
    return Section("background", words("background.title"), lead, notes=(f"{words('background.sources')}: {sources}",))


def found(writer: Writer, findings: Iterable[PrivacyFinding], rows: list[FlatMeasurement]) -> Section:
    """The findings, by severity."""
    words = writer.words
    lines: list[tuple[Entry, ...]] = []
    for one in sorted(findings, key=lambda one: list(Severity).index(one.severity)):
        query = query_of(rows, one.evidence[0])
        evidence = words.join([_evidence(writer, one, place) for place in range(len(one.evidence))][:2])
        if len(one.evidence) > 2:
            evidence = words("findings-part.more", some=evidence, count=len(one.evidence) - 2)
        severity = words(f"severities.{one.severity.value}")
        lines.append((
            Dot(_MARKS[one.severity], severity, severity), words(f"findings.{one.code}"),
            words(f"linddun.{one.threat.value}"), Link(f"{one.run}: {evidence}", f"query-{query}"),
        ))  # fmt: skip
    head = tuple(words(f"findings-part.{name}") for name in ("severity", "finding", "threat", "evidence"))
    blocks = (Table("findings", "", head, tuple(lines)),) if lines else ()
    lead = words("findings-part.lead") if lines else words("findings-part.nothing")
    return Section("section-findings", words("findings-part.title"), lead, blocks)


def _evidence(writer: Writer, finding: PrivacyFinding, place: int) -> str:
    one = finding.evidence[place]
    value = writer.value(one)
    text = value.text if isinstance(value, Shown) else str(value)
    return f"{writer.label(finding.run, one)} {text}" if len(finding.evidence) > 1 else text


def threats(writer: Writer, runs: Iterable[ThreatRun], *, synthetic: bool) -> Section:
    """The threat runs, one after the other."""
    words = writer.words
    inner = []
    for run in runs:
        who = writer.services(run.services) or words(f"runs.{run.id}.who")
        title = words("page.run-heading", id=run.id.partition("-")[0], who=who)
        lead = words("page.run-lead", holding=words(f"runs.{run.id}.holding"))
        notes = [words("threats-part.basis")] if synthetic and run.id == "T1" else []
        if run.sample is not None and run.sample.examined < run.sample.total:
            notes.append(words("page.sample", examined=writer.numbers.count(run.sample.examined, run.sample.unit).text,
                               total=writer.numbers.count(run.sample.total).text))  # fmt: skip
        if run.omitted:
            notes.append(words("page.omitted", reason=writer.reason(run)))
        blocks = (writer.results(f"run-{run.id}", run.id, run.results, run.query),) if run.results else ()
        inner.append(Section(f"threat-{run.id}", title, lead, blocks, tuple(notes)))
    return Section("section-threats", words("threats-part.title"), words("threats-part.lead"), inner=tuple(inner))


def unicity(writer: Writer, measured: Iterable[Unicity]) -> Section:
    """X7: how few uses single a person out."""
    words, numbers = writer.words, writer.numbers
    measured = [one for one in measured if one.singled_out.total]
    series = []
    for days in dict.fromkeys(one.days for one in measured):
        name = words("unicity.series-one" if days == 1 else "unicity.series", days=days)
        points = [(one.points, numbers.point(one.singled_out)) for one in measured if one.days == days]
        series.append((name, tuple((float(at), point) for at, point in points)))
    most = max((one.points for one in measured), default=1)
    across = Axis(words("unicity.across"), 1, max(2, most), tuple((at, str(at)) for at in range(1, most + 1)))
    head = (words("unicity.points"), words("unicity.days"), words("unicity.singled"), words("page.interval"),
            words("page.basis"))  # fmt: skip
    rows = []
    for one in measured:
        share = numbers.share(one.singled_out)
        days_text = numbers.quantity(one.days, Unit.DAYS).text
        rows.append((str(one.points), days_text, Shown(share.text), Shown(share.interval), Shown(share.basis)))
    data = Table("unicity", "", head, tuple(rows), "unicity")
    chart = LinePlot(across, shares(words("unicity.up")), tuple(series))
    return Section("section-unicity", words("unicity.title"), words("unicity.lead"),
                   (Figure("figure-unicity", words("unicity.figure"), chart, data),),
                   explained=explained(writer, "unicity"))  # fmt: skip


def anonymity(writer: Writer, measured: Iterable[AttributeSet]) -> Section:
    """X6 and X10: linkage by attributes."""
    words, numbers = writer.words, writer.numbers
    measured = list(measured)
    names = [words.join([words(f"attributes.{name}") for name in one.names]) for one in measured]
    head = tuple(words(f"anonymity.{name}") for name in (
        "attributes", "unique", "entropy", "leaked", "prosecutor", "journalist", "marketer"))  # fmt: skip
    rows = tuple(
        (name, numbers.share(one.anonymity.unique), numbers.quantity(one.anonymity.entropy, Unit.BITS),
         numbers.quantity(one.anonymity.leaked, Unit.BITS), numbers.ratio(one.risk.prosecutor),
         numbers.ratio(one.risk.journalist), numbers.ratio(one.risk.marketer))
        for name, one in zip(names, measured, strict=True)
    )  # fmt: skip
    unique = [(name, numbers.share(one.anonymity.unique)) for name, one in zip(names, measured, strict=True)]
    points = tuple((name, (numbers.point(one.anonymity.unique),)) for name, one in zip(names, measured, strict=True))
    alone = Figure("figure-alone", words("anonymity.figure"),
                   DotPlot(shares(words("anonymity.axis")), (words("anonymity.unique"),), points),
                   writer.valued("alone", unique, "anonymity"))  # fmt: skip
    sizes = [(name, one.anonymity.sets) for name, one in zip(names, measured, strict=True)
             if not any(numbers.few(round(size)) for size in one.anonymity.sets)]  # fmt: skip
    blocks: tuple[Figure | Table, ...] = (alone,)
    if sizes:
        most = max(max(spread) for _, spread in sizes)
        axis = powers(words("anonymity.sizes-axis"), most)
        heads = (words("anonymity.attributes"),
                 *(words("anonymity.percentile", number=number) for number in PERCENTILES))  # fmt: skip
        spread_rows: tuple[tuple[Entry, ...], ...] = tuple(
            (name, *(Shown(digits(size)) for size in spread)) for name, spread in sizes
        )
        blocks += (Figure(
            "figure-sizes", words("anonymity.sizes-figure"), SpreadPlot(axis, tuple(sizes)),
            Table("sizes", "", heads, spread_rows, "anonymity"), words("anonymity.sizes-caption"),
        ),)  # fmt: skip
    blocks += (Table("anonymity", words("anonymity.table"), head, rows, "anonymity"),)
    return Section("section-anonymity", words("anonymity.title"), words("anonymity.lead"), blocks,
                   explained=explained(writer, "anonymity"))  # fmt: skip


def glossary(writer: Writer) -> Section:
    """The measures and the threats of this page, with their sources."""
    words = writer.words
    measures = tuple(
        (Link(f"X{number}", anchor=f"entry-X{number}"), words(f"measures.X{number}.name"),
         words(f"measures.X{number}.text"), words(f"measures.X{number}.source"))
        for number in range(1, 20)
    )  # fmt: skip
    threats = tuple(
        (Link(name, anchor=f"entry-{name}"), words(f"runs.{name}.who"), words(f"runs.{name}.holding"),
         words(f"threats.{name}"))
        for name in (f"T{number}" for number in range(1, 20))
    )  # fmt: skip
    head = ("", words("glossary.name"), words("glossary.definition"), words("glossary.source"))
    holds = ("", words("glossary.attacker"), words("glossary.holding"), words("glossary.source"))
    return Section("section-glossary", words("glossary.title"), words("glossary.lead"),
                   (Table("glossary-measures", words("glossary.measures"), head, measures),
                    Table("glossary-threats", words("glossary.threats"), holds, threats)),
                   (words("glossary.handle"),))  # fmt: skip
