"""The page of the seven points and the three architectures, in English or Japanese."""

from __future__ import annotations

from kazashi.provision_network.three_ways import Seen, Way
from kazashi.studies.seven_points import Count, NetworkStudy, StudyPoint
from kazashi.tracking_lab.page.charts import BESIDE, BarChart, Point
from kazashi.tracking_lab.page.drawing import Axis
from kazashi.tracking_lab.page.model import Answer, Figure, Page, Section, Shown, Table
from kazashi.tracking_lab.page.rendering import rendered
from kazashi.tracking_lab.page.words import Language, Words

_TICKS = 4
_IDS = {Way.COMMON_DATABASE: "common-database", Way.BY_NUMBER: "by-number", Way.BY_TOKENS: "by-tokens"}


def as_html(study: NetworkStudy, who: str, language: Language) -> str:
    """The study as one self-contained HTML page. `who` is the name of the person in commands."""
    words = Words(language)
    sentences = tuple((result(words, study.points[number - 1]), f"point-{number}") for number in (1, 3, 7))
    sections = (
        Section("points", words("study.points-title"), words("study.points-lead"),
                inner=tuple(_point(words, point) for point in study.points)),
        Section("architectures", words("study.architectures-title"),
                words("study.not-asked" if study.not_asked else "study.architectures-lead"),
                tuple(_architecture(words, seen) for seen in study.architectures),
                (words("study.architectures-note"),) if study.architectures else ()),
    )  # fmt: skip
    again = f"kazashi network study {who} --html network-study.html --lang {language.value}"
    picture = _picture(words, study) if study.architectures else None
    answer, subtitle = Answer(sentences, picture), words("study.subtitle", who=who)
    page = Page(subtitle, "", answer, sections, (), (again,), kind="study")
    return rendered(page, words)


def result(words: Words, point: StudyPoint) -> str:
    """What was measured for a point, as a sentence."""
    numbers: dict[str, str] = {}
    for one in point.counts:
        key = one.id.replace("-", "_")
        numbers |= {key: f"{one.count:,}", f"{key}_total": "" if one.total is None else f"{one.total:,}"}
    return words(f"study.points.{point.number}.result", **numbers)


def architecture(words: Words, way: Way) -> str:
    """The name of an architecture."""
    return words(f"study.ways.{_IDS[way]}")


def party(words: Words, who: str) -> str:
    """The name of a party: of a body as it is, of a part of the network in the words' language."""
    return words.get(f"study.parties.{who}", who)


def _point(words: Words, point: StudyPoint) -> Section:
    rows = tuple((words(f"study.counts.{one.id}"), _shown(words, one)) for one in point.counts)
    table = Table(f"counts-{point.number}", "", (words("page.measured"), words("page.value")), rows)
    scope = f"study.points.{point.number}"
    return Section(f"point-{point.number}", words(f"{scope}.title"), words(f"{scope}.says"), (table,),
                   (result(words, point),), explained=((words("page.how"), words(f"{scope}.how")),))  # fmt: skip


def _shown(words: Words, one: Count) -> Shown:
    if one.total is None:
        return Shown(f"{one.count:,}")
    return Shown(words("page.of", count=f"{one.count:,}", total=f"{one.total:,}"))


def _architecture(words: Words, seen: Seen) -> Table:
    """Who saw which identifiers and how many values in one of the three ways."""
    rows = [(party(words, who), words.join(one["identifiers"]) or words("page.none"), Shown(f"{len(one['values']):,}"))
            for who, one in seen.by_whom().items()]  # fmt: skip
    shared = seen.shared_identifiers()
    rows.append((words("study.shared"), words.join(shared) or words("page.none"), Shown("")))
    head = tuple(words(f"study.{name}") for name in ("party", "identifiers", "values"))
    return Table(f"way-{_IDS[seen.way]}", architecture(words, seen.way), head, tuple(rows))


def _picture(words: Words, study: NetworkStudy) -> Figure:
    """The values that each party saw in each way."""
    bars = [(f"{words(f'study.short.{_IDS[seen.way]}')}: {party(words, who)}", len(one["values"]))
            for seen in study.architectures for who, one in seen.by_whom().items()]  # fmt: skip
    most = max([1, *(count for _, count in bars)])
    step = -(-most // _TICKS)
    axis = Axis(
        words("study.axis"), 0, step * _TICKS, tuple((at, f"{at:,}") for at in range(0, step * _TICKS + 1, step))
    )
    chart = BarChart(axis, tuple((name, Point(count, count, count, f"{count:,}")) for name, count in bars))
    data = Table("picture-data", "", (words("study.party"), words("study.values")),
                 tuple((name, Shown(f"{count:,}")) for name, count in bars))  # fmt: skip
    return Figure("figure-ways", words("study.figure"), chart, data, width=BESIDE)
