"""The page of imported logs: the answer, and what was read."""

from __future__ import annotations

from collections.abc import Iterator

from kazashi.tracking_lab.metrics import Share
from kazashi.tracking_lab.page.charts import BESIDE, BarChart, Point
from kazashi.tracking_lab.page.drawing import Axis
from kazashi.tracking_lab.page.model import Answer, Figure, Section, Shown, Table
from kazashi.tracking_lab.page.writer import Writer
from kazashi.tracking_lab.results import LogExamination, ThreatRun


def answer(writer: Writer, examination: LogExamination) -> Answer:
    """The answer for imported logs."""
    words, numbers = writer.words, writer.numbers
    joined = examination.threat("T1")
    shared = next((one.value for one in joined.results if one.id == "handles-shared"), None)
    first = words("answer.no-handles")
    if not isinstance(shared, int):
        first = words("answer.not-computed", reason=writer.reason(joined))
    elif shared:
        count = numbers.count(shared).text
        first = words("answer.handle") if count == "1" else words("answer.handles", count=count)
    second = words("answer.blind")
    if examination.truth:
        second = words("answer.truth", **{name: _result(writer, examination, "T1", name)
                                          for name in ("recall", "precision")})  # fmt: skip
    return Answer(((first, "threat-T1"), (second, "threat-T1"), *_without_handles(writer, examination)),
                  _picture(writer, joined))  # fmt: skip


def _without_handles(writer: Writer, examination: LogExamination) -> Iterator[tuple[str, str]]:
    """What timing and attributes suggest, each if it was examined."""
    words = writer.words
    values = {(run.id, one.id): one.value for run in examination.threats for one in run.results}
    if ("T5", "pairs") in values:
        timing, right = _result(writer, examination, "T5", "pairs"), values.get(("T5", "precision"))
        known = isinstance(right, Share) and right.total and not writer.numbers.withheld(right)
        yield (words("answer.timing-right", timing=timing, right=_result(writer, examination, "T5", "precision"))
               if known else words("answer.timing", timing=timing)), "threat-T5"  # fmt: skip
    if ("T15", "accounts-linked") in values:
        linked = _result(writer, examination, "T15", "accounts-linked")
        yield words("answer.attributes", attributes=linked), "threat-T15"


def _result(writer: Writer, examination: LogExamination, run: str, wanted: str) -> str:
    """A result of a run in words; `none` if the run has none."""
    found = [one for threat in examination.threats if threat.id == run for one in threat.results if one.id == wanted]
    shown = writer.value(found[0]) if found else None
    return shown.text if isinstance(shown, Shown) else writer.words("page.none")


def _picture(writer: Writer, joined: ThreatRun) -> Figure | None:
    """The pairs of services that share the most handles, None if there are none."""
    words, numbers = writer.words, writer.numbers
    pairs = [one for one in joined.results if one.services and one.value]
    shown = [(one, one.value) for one in pairs if isinstance(one.value, int) and not numbers.few(one.value)]
    if not shown:
        return None
    most = max(count for _, count in shown)
    step = 10 ** (len(str(most)) - 1)
    top = -(-most // step) * step
    ticks = tuple((top * part / 4, f"{top * part / 4:,g}") for part in range(5))
    rows = tuple((writer.services(one.services), Point(count, count, count, f"{count:,}")) for one, count in shown)
    data = writer.valued("answer-data", [(writer.services(one.services), writer.value(one)) for one in pairs],
                         joined.query)  # fmt: skip
    return Figure("figure-answer", words("answer.shared-figure"),
                  BarChart(Axis(words("answer.shared-axis"), 0, top, ticks), rows), data, width=BESIDE)  # fmt: skip


def imported(writer: Writer, examination: LogExamination) -> Section:
    """Which rows were read, which were left out, and the notes of the import."""
    words, numbers, logs = writer.words, writer.numbers, examination.logs
    counts = [("rows", logs.rows), ("uses", logs.uses), ("spellings", logs.spellings), ("handles", logs.handles)]
    if examination.truth:
        counts.append(("persons", logs.persons))
    rows = [(words(f"logs-part.{name}"), numbers.count(count)) for name, count in counts]
    rows.insert(2, (words("logs-part.services"), Shown(f"{logs.services:,}")))
    rows += [(words("logs-part.left-out", reason=words.get(f"reasons.{reason}", reason)), numbers.count(count))
             for reason, count in logs.left_out.items()]  # fmt: skip
    table = Table("logs", "", (words("logs-part.item"), words("logs-part.count")), tuple(rows))
    notes = ((words("logs-part.partial"),) if logs.partial else ()) + (() if writer.public else tuple(logs.notes))
    return Section("section-logs", words("logs-part.title"), words("logs-part.lead"), (table,), notes)


def subtitle(writer: Writer, examination: LogExamination) -> str:
    """How large the logs are."""
    logs, count = examination.logs, writer.numbers.count
    return writer.words("page.logs", uses=count(logs.uses).text, services=f"{logs.services:,}",
                        handles=count(logs.handles).text)  # fmt: skip
