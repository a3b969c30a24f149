"""Names that cannot be names, in every command that takes one: one line, whatever the command."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.program import Program, fails_in_one_line

LONG = "x" * 65
WRONG = ["../y", "", ".", "a\nb", LONG]

NEW = [
    ("card", "new", "taro", "--name", "NAME"), ("card", "order", "taro", "--name", "NAME"),
    ("card", "juki", "taro", "--issued", "2015-12-01", "--name", "NAME"),
    ("card", "reissue", "hanako", "--reason", "damaged", "--name", "NAME"),
    ("phone", "new", "hanako", "--name", "NAME"),
    ("registry", "add", "NAME"), ("tracking", "populate", "--residents", "1", "--name", "NAME"),
    ("up", "--detach", "--reader", "NAME"),
]  # fmt: skip
"""Commands that make a thing with a name. Their names are of files, or of PC/SC readers."""

NEW_ENTRIES = [
    ("ca", "caller", "add", "NAME"), ("tenant", "NAME"), ("provider-client", "NAME", "https://rp.example/back"),
]  # fmt: skip
"""The names of these are no files, and may have a slash."""

KNOWN = [
    ("card", "show", "NAME"), ("card", "face", "NAME"), ("card", "renew", "NAME"), ("card", "update", "NAME"),
    ("card", "history", "NAME"), ("card", "insert", "NAME"), ("card", "licence", "add", "NAME"),
    ("card", "licence", "remove", "NAME"), ("card", "application", "list", "NAME"),
    ("card", "application", "remove", "NAME", "library"), ("card", "application", "add", "NAME", "library"),
    ("card", "reissue", "NAME", "--reason", "damaged"), ("phone", "show", "NAME"), ("phone", "renew", "NAME"),
    ("phone", "stop", "NAME"), ("phone", "release", "NAME"), ("phone", "delete", "NAME"),
    ("phone", "application", "NAME"), ("phone", "new", "hanako", "--card", "NAME"), ("mdoc", "issue", "NAME"),
    ("card", "new", "NAME"), ("card", "juki", "NAME"), ("registry", "show", "NAME"),
]  # fmt: skip
"""Commands with a name of what exists."""


@pytest.mark.parametrize("command", [*NEW, *NEW_ENTRIES, *KNOWN], ids=" ".join)
def test_a_name_that_cannot_be_one_is_refused_in_one_line(
    town: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    before = sorted(path.name for path in town.world.parent.rglob("*.card"))
    for name in WRONG[1:] if command in NEW_ENTRIES else WRONG:
        if name == "" and {"--name", "--card"} & set(command):
            continue  # an empty option is the default
        if name == LONG and "populate" in command:
            continue  # a folder of the laboratory, whose rule is another
        fails_in_one_line(town, *(name if part == "NAME" else part for part in command))
    assert sorted(path.name for path in town.world.parent.rglob("*.card")) == before
    assert not list(tmp_path.iterdir())
