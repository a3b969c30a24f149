"""The report of an examination for people: one HTML page, and a text for the terminal. Both use the same words and
tables. They contain no time of day and nothing about the machine, so the same plan gives the same bytes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from kazashi.tracking_lab.measurements import Result, measurements
from kazashi.tracking_lab.page import of_logs, of_population
from kazashi.tracking_lab.page.against import against
from kazashi.tracking_lab.page.common import anonymity, background, found, glossary, threats, unicity
from kazashi.tracking_lab.page.model import Entry, Page, Section, Table
from kazashi.tracking_lab.page.rendering import rendered
from kazashi.tracking_lab.page.words import Language
from kazashi.tracking_lab.page.writer import LEAST, Edition, Writer
from kazashi.tracking_lab.results import Examination, LogExamination, TrackingReport


@dataclass(frozen=True, slots=True)
class Audience:
    """For whom a report is: the language and the edition. `name` is that of the result's laboratory, and `other` the
    name and the result of one to compare it with."""

    language: Language = Language.ENGLISH
    edition: Edition = Edition.FULL
    name: str = "population"
    other: tuple[str, Result] | None = None


def as_html(result: Result, audience: Audience = Audience()) -> str:
    """A result as one self-contained HTML page."""
    writer = _writer(result, audience)
    return rendered(_page(writer, result, audience), writer.words)


def as_text(result: Result, audience: Audience = Audience()) -> str:
    """The answer, and the claims of a population or the findings in imported logs as small tables, for the terminal.
    With another result, the comparison instead."""
    writer = _writer(result, audience)
    page = _page(writer, result, audience)
    shown = ("section-against",) if audience.other is not None else ("section-claims", "section-findings")
    chosen = next(one for name in shown for one in page.sections if one.id == name)
    lines = [sentence for sentence, _ in page.answer.sentences]
    for section in chosen.inner or (chosen,):
        lines += ["", section.title, *([] if section.blocks else [f"    {section.lead}"])]
        for block in section.blocks:
            if isinstance(block, Table):
                lines += [f"    {line}" for line in columns([block.head, *block.rows])]
    return "\n".join(lines)


def columns(rows: list[tuple[Entry, ...]] | list[tuple[str, ...]]) -> Iterator[str]:
    """Rows as aligned columns. The width of a character is that on a terminal."""
    from rich.cells import cell_len

    texts = [[str(entry) for entry in row] for row in rows]
    widths = [max(map(cell_len, column)) for column in zip(*texts, strict=True)]
    for row in texts:
        yield "  ".join(
            text + " " * (width - cell_len(text)) for text, width in zip(row, widths, strict=True)
        ).rstrip()  # fmt: skip


def _examination(result: Result) -> Examination | LogExamination:
    return result.examination if isinstance(result, TrackingReport) else result


def _writer(result: Result, audience: Audience) -> Writer:
    results = [result, *([audience.other[1]] if audience.other is not None else [])]
    return Writer(audience.language, audience.edition, tuple(one for one in results if isinstance(one, LogExamination)))


def _page(writer: Writer, result: Result, audience: Audience) -> Page:
    words, examination = writer.words, _examination(result)
    queries = dict(examination.queries)
    if audience.other is not None:
        queries = {**_examination(audience.other[1]).queries, **queries}
    versions = words.join([f"{name} {number}" for name, number in examination.versions.items()])
    engine = words("appendix.engine", engine=examination.engine, versions=versions)
    if isinstance(examination, LogExamination):
        answer, subtitle, seed = of_logs.answer(writer, examination), of_logs.subtitle(writer, examination), ""
    else:
        answer, subtitle = of_population.answer(writer, examination), of_population.subtitle(writer, examination)
        seed = examination.plan.seed
    return Page(
        subtitle, seed, answer, tuple(_sections(writer, result, audience)), tuple(queries.items()),
        tuple(_again(examination, audience, hidden=writer.public)), engine,
    )  # fmt: skip


def _sections(writer: Writer, result: Result, audience: Audience) -> Iterator[Section]:
    examination = _examination(result)
    rows = list(measurements(examination))
    yield background(writer, synthetic=isinstance(examination, Examination))
    if audience.edition is Edition.PUBLIC:
        yield _removed(writer)
    if audience.other is not None:
        name, other = audience.other
        names = (
            (writer.words("edition.this"), writer.words("edition.other")) if writer.public else (audience.name, name)
        )
        yield against(writer, names, rows, measurements(_examination(other)))
    yield found(writer, examination.findings, rows)
    if isinstance(result, LogExamination):
        yield of_logs.imported(writer, result)
    else:
        yield from of_population.sections(writer, result)
    if any(one.singled_out.total for one in examination.unicity):
        yield unicity(writer, examination.unicity)
    if examination.attributes:
        yield anonymity(writer, examination.attributes)
    yield threats(writer, examination.threats, synthetic=isinstance(examination, Examination))
    yield glossary(writer)


def _removed(writer: Writer) -> Section:
    """What the public edition leaves out."""
    words = writer.words
    title = words("edition.title")
    if not writer.public:
        return Section("section-edition", title, words("edition.synthetic"))
    notes = (words("edition.names"), words("edition.counts", least=LEAST, most=LEAST - 1), words("edition.notes"),
             words("edition.people"))  # fmt: skip
    return Section("section-edition", title, words("edition.lead"), notes=notes)


def _again(examination: Examination | LogExamination, audience: Audience, *, hidden: bool) -> Iterator[str]:
    """The commands that make the page again. The public edition of logs does not have the names of imports."""
    name = "NAME" if hidden else audience.name
    if isinstance(examination, LogExamination):
        yield f"kazashi tracking import LOGS --mapping MAPPING --name {name}"
    else:
        plan = examination.plan
        yield (f"kazashi tracking populate --residents {plan.residents} --years {plan.years} --seed {plan.seed} "
               f"--name {name}")  # fmt: skip
    other = "" if audience.other is None else f" --against {'OTHER' if hidden else audience.other[0]}"
    yield (f"kazashi tracking report --name {name}{other} --lang {audience.language.value} "
           f"--edition {audience.edition.value}")  # fmt: skip
