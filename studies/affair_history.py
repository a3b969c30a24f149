"""One affair over the years: what the network's rules say about its requests in each period of the law, as data and as
a page in English or Japanese."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta

from kazashi.provision_network.law.rules import RuleBook
from kazashi.provision_network.law.tables import Purpose, printed_table, table_of_affairs
from kazashi.provision_network.law.uses import Clause, Deed, Use, decide_use
from kazashi.provision_network.law.versions import NETWORK_STARTS, NUMBERS_USED, VERSIONS
from kazashi.tracking_lab.page.model import Answer, Page, Section, Shown, Table
from kazashi.tracking_lab.page.rendering import rendered
from kazashi.tracking_lab.page.words import Language, Words


@dataclass(frozen=True, slots=True)
class Period:
    """A period of the law, from its first day on: `until` is its last day, None for the present one.

    `rules` are those that allow requests of the affair, `allowed` how many of its `requests` (requester, provider and
    item) are allowed without consent and `with_consent` how many with it. `denial` is the code of why none is, empty if
    any is. `use` is the rule by which its first requester may search by the number, or the reason why it may not.
    """

    begins: date
    until: date | None
    rules: tuple[str, ...]
    requests: int
    allowed: int
    with_consent: int
    denial: str
    words: str
    use: str


def history(law: str, affair: str) -> list[Period]:
    """Return the periods of an affair of the table of affairs, oldest first; the first is that before the Act. The list
    is empty if the table has no such affair."""
    purposes = [row.purpose for row in printed_table() if (row.purpose.law, row.purpose.affair) == (law, affair)]
    return list(_periods(purposes)) if purposes else []


def _periods(purposes: list[Purpose]) -> Iterator[Period]:
    rules = RuleBook(table_of_affairs())
    begins = sorted({NUMBERS_USED, NETWORK_STARTS, *(version.begins for version in VERSIONS)})
    days = [begins[0] - timedelta(days=1), *begins]
    for day, after in zip(days, [*begins, None], strict=True):
        decisions = [rules.decide(purpose, day, consent=True) for purpose in purposes]
        alone = sum(rules.decide(purpose, day).allowed for purpose in purposes)
        cited = tuple(dict.fromkeys(one.rule for one in decisions if one.allowed))
        first = decisions[0]
        denial = "" if cited or first.denial is None else first.denial.value
        requester = purposes[0].requester
        use = decide_use(Use(Clause.TABLE, Deed.SEARCH, requester, requester, law=purposes[0].law), day)
        yield Period(
            day, None if after is None else after - timedelta(days=1), cited, len(purposes), alone,
            sum(one.allowed for one in decisions), denial, "" if cited else first.words, use.rule or use.words,
        )  # fmt: skip


def as_html(law: str, affair: str, periods: list[Period], language: Language) -> str:
    """The history as one self-contained HTML page."""
    words = Words(language)
    head = tuple(words(f"history.{name}") for name in ("from", "until", "rule", "allowed", "consent", "use"))
    rows = tuple(
        (
            words("history.before") if place == 0 else one.begins.isoformat(),
            words("history.today") if one.until is None else one.until.isoformat(),
            words.join([*one.rules]) or f"{words(f'denials.{one.denial}')}: {one.words}",
            Shown(words("page.of", count=str(one.allowed), total=str(one.requests))),
            Shown(words("page.of", count=str(one.with_consent), total=str(one.requests))), one.use,
        ) for place, one in enumerate(periods)
    )  # fmt: skip
    tables = (Table("periods", f"{affair} ({law})", head, rows),)
    last = periods[-1]
    sentence = words("history.answer", affair=affair, allowed=str(last.allowed), requests=str(last.requests))
    section = Section("years", words("history.years"), words("history.lead"), tables, (words("history.note"),))
    again = f"kazashi network history {law} {affair} --html history.html --lang {language.value}"
    page = Page(words("history.subtitle", law=law), "", Answer(((sentence, "years"),), None), (section,), (), (again,),
                kind="history")  # fmt: skip
    return rendered(page, words)
