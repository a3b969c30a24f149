"""Plain English: a list of turns that readers of English stumble over, or that hide the field's term, and that were in
this project once. The list is short on purpose; a turn is added when it comes back."""

from __future__ import annotations

import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

from kazashi.tools.cli.checkout import folders

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parents[1]
FOLDERS = [*folders(ROOT).values(), *(ROOT / name for name in ("benchmarks", "tests", "docs", "examples", "findings"))]

BETTER = {
    r"(?<!there )(?<!what )\bis none\b(?! of)(?! (?:%|-%|or|else))": "is not a",
    r"(?<!there )\b(?:is|are) no (?:record|list|trace|report|certificate|card|case|code|number|name)\b": "is not a",
    r"; answers\b": "returns",
    r"\bso many (?:seconds|days|bytes|rows|entries)\b": "N seconds",
    r"\bword (?:on|about) revocation\b": "revocation status",
    r"\bmakes? no sense\b": "is malformed, is invalid",
    r"\b(?:he|his|him)\b": "they, their, them",
    r"\bwhosoever\b|\bwhatsoever\b": "whoever, any",
    r"\bthe cast\b": "the sample residents",
    r"\bgives? up the ghost\b|\bcomes? to naught\b": "ends, fails",
    r"^\W*(?:The same|And back again|Something waits)\.\W*$": "a sentence that says what it is",
    r"\ba bench\b|\bthe bench\b": "an instance (running), a benchmark (measuring)",
}
"""A turn, and what to write in its place."""


def sentences(path: Path) -> Iterator[tuple[str, str]]:
    """Each text of a file with its place: comments and strings with blanks of Python, every line of others."""
    place, source = path.relative_to(ROOT), path.read_text(encoding="utf-8")
    if path.suffix == ".py":
        for token in tokenize.generate_tokens(io.StringIO(source).readline):
            if token.type == tokenize.COMMENT or (token.type == tokenize.STRING and " " in token.string):
                yield f"{place}:{token.start[0]}", token.string
    else:
        yield from ((f"{place}:{number}", line) for number, line in enumerate(source.splitlines(), 1))


@pytest.fixture(scope="module")
def texts() -> list[tuple[str, str]]:
    """The texts of the whole project but for this list and CHANGELOG, which names what is gone."""
    files = {path for folder in FOLDERS for pattern in ("*.py", "*.md", "*.html") for path in folder.rglob(pattern)}
    files |= set(ROOT.glob("*.md"))
    return [text for path in sorted(files - {Path(__file__), ROOT / "CHANGELOG.md"}) for text in sentences(path)]


@pytest.mark.parametrize("turn", BETTER)
def test_a_turn_that_gave_way_to_a_plain_one_is_not_used(turn: str, texts: list[tuple[str, str]]) -> None:
    pattern = re.compile(turn, re.MULTILINE)
    found = [f"{place}: {text.strip()[:100]}" for place, text in texts if pattern.search(text)]
    assert not found, f"write {BETTER[turn]!r}:\n" + "\n".join(found)
