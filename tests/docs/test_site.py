"""The documentation: every command in it is one of the program's, every link leads somewhere, and it builds as a site
that works offline, in which the field's words are found."""

from __future__ import annotations

import json
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from sphinx.search.en import SearchEnglish

from kazashi.tools.cli.command_line import kazashi
from kazashi.tracking_lab.countermeasures import COUNTERMEASURES
from kazashi.tracking_lab.page.words import Language, Words
from tests.cli import commands as all_commands
from tests.support import run

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(ROOT.glob("docs/**/*.md")), ROOT / "examples/README.md"]

COMMAND = re.compile(r"""(?:^|[(;&|]\s*|\$\()(?:\./)?kazashi(?= )((?:'[^']*'|"[^"]*"|[^#\n|;&)`>'"])*)""")


def commands(page: Path) -> Iterator[list[str]]:
    """The words of every command in indented and fenced blocks, and in single backticks."""
    text = re.sub(r"\\\n\s*", " ", page.read_text(encoding="utf-8"))
    blocks = re.findall(r"^(?:    |\t)\S.*$", text, re.MULTILINE)
    for fence in re.findall(r"^```(?:sh|shell|bash|console)?\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        blocks += fence.splitlines()
    blocks += re.findall(r"`((?:\./)?kazashi [^`]+)`", text)
    for line in blocks:
        for words in COMMAND.findall(line.strip()):
            yield shlex.split(words.replace("...", ""))


def resolved(words: list[str]) -> tuple[click.Command, click.Context, list[str]]:
    """The command that words name, and what is left of them."""
    command: click.Command = kazashi
    context = click.Context(kazashi, info_name="kazashi")
    while words and isinstance(command, click.Group):
        name, *rest = words
        if name in ("--world", "--yes"):
            words = rest[1:] if name == "--world" else rest
            continue
        found = command.get_command(context, name)
        if found is None:
            break
        command, words = found, rest
        context = click.Context(command, parent=context, info_name=name)
    return command, context, words


@pytest.mark.unit
@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_command_in_the_docs_exists_with_its_options(page: Path) -> None:
    for words in commands(page):
        command, context, rest = resolved(words)
        if isinstance(command, click.Group):
            left = [word for word in rest if not word.startswith("-") and word not in ("VERB", "COMMAND")]
            assert not left or left[0].isupper(), f"{page.name}: kazashi {' '.join(words)}"
            continue
        known = {name for parameter in command.get_params(context) for name in (*parameter.opts,
                                                                               *parameter.secondary_opts)}  # fmt: skip
        options = {word.partition("=")[0] for word in rest if re.match(r"--?[a-z]", word)}
        free = context.command.context_settings.get("ignore_unknown_options")
        assert free or options <= known, f"{page.name}: kazashi {' '.join(words)}: {options - known}"


MAKES = re.compile(r"(?:card (?:new|order|juki)|phone new|registry add|up .*--card|--name) ([a-z][\w-]*)")
NEEDS = re.compile(
    r"(?:card (?:licence add|licence remove|update|renew|reissue|history|face|insert)"
    r"|phone (?:renew|stop|release|delete)) ([a-z][\w-]*)"
)


@pytest.mark.unit
@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_page_makes_the_cards_that_its_commands_need(page: Path) -> None:
    """The card hanako is made by `up`. Others may be named after a card of the page: hanako-phone, hanako-2."""
    made = {"hanako"}
    for words in map(" ".join, commands(page)):
        for name in NEEDS.findall(words):
            stem = re.sub(r"-(phone|juki|[0-9]+)$", "", name)
            assert {name, stem} & made, f"{page.name}: kazashi {words}"
        made.update(MAKES.findall(words))


@pytest.mark.unit
def test_the_walk_meets_most_commands() -> None:
    named = {id(resolved(words)[0]) for page in PAGES for words in commands(page)}
    assert len(named) > 60


@pytest.mark.unit
@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_to_a_file_leads_there(page: Path) -> None:
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text):
        if not re.match(r"[a-z]+:", target):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, as `kazashi docs` builds it: a warning, such as a link that leads nowhere, is an error."""
    output = tmp_path_factory.mktemp("docs") / "site"
    assert Path(run(sys.executable, "-m", "kazashi", "docs", "--output", str(output)).strip()) == output / "index.html"
    return output


def test_the_site_asks_for_nothing_from_elsewhere(site: Path) -> None:
    loads = re.compile(r"<(?:script|link|img|iframe)\b[^>]*(?:src|href)=\"(https?:)?//")
    for page in site.rglob("*.html"):
        assert not loads.search(page.read_text(encoding="utf-8")), page


WANTED = {
    "CRL": {"authorities", "glossary"},
    "revocation status": {"relying-parties", "glossary"},
    "APDU trace": {"traces", "workbench", "tutorial-card", "glossary"},
    "card surface": {"card", "glossary"},
    "retry counter": {"card", "glossary"},
}
"""What a stranger looks for, and the pages of which at least two must hold all the words."""


@pytest.mark.parametrize("words", WANTED)
def test_the_field_s_words_are_found(site: Path, words: str) -> None:
    text = (site / "searchindex.js").read_text(encoding="utf-8")
    index = json.loads(re.fullmatch(r"Search\.setIndex\((.*)\)", text, re.DOTALL)[1])  # type: ignore[index]
    stem = SearchEnglish({}).stem
    found: set[str] | None = None
    for word in words.lower().split():
        pages: set[str] = set()
        for table in (index["terms"], index["titleterms"]):
            places = table.get(stem(word), [])
            pages |= {index["docnames"][place] for place in ([places] if isinstance(places, int) else places)}
        found = pages if found is None else found & pages
    assert found is not None
    assert len(found & WANTED[words]) >= 2, found


def test_every_command_is_in_the_reference(site: Path) -> None:
    page = re.sub(r"<[^>]+>", "", (site / "commands.html").read_text(encoding="utf-8"))
    assert ".. option" not in page, "directives that were not understood"
    assert "--world" in page
    for context, _ in all_commands():
        assert context.command_path in page


@pytest.mark.unit
def test_the_tracking_page_has_every_countermeasure_and_threat_run() -> None:
    text = (ROOT / "docs" / "tracking.md").read_text(encoding="utf-8")
    words = Words(Language.ENGLISH)
    for countermeasure in COUNTERMEASURES:
        name, source, cost = (words(f"countermeasures.{countermeasure.id}.{one}") for one in ("name", "source", "cost"))
        assert f"| `{countermeasure.id}` | {name} | {source} |" in text
        assert f"| {cost} |\n" in text, countermeasure.id
    for number in range(1, 20):
        assert re.search(rf"^\| T{number} \| ", text, re.MULTILINE), f"T{number}"
    for number in range(1, 20):
        assert re.search(rf"^\| X{number} ", text, re.MULTILINE), f"X{number}"
