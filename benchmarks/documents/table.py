"""The tables of docs/documents.md: what each program says about the same files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from math import prod
from pathlib import Path

from benchmarks.documents.corpus import Judged

PAGE = Path(__file__).resolve().parent.parent.parent / "docs" / "documents.md"
BEGINS, ENDS = "<!-- The tables begin: python -m benchmarks.documents FOLDER --docs -->\n", "<!-- The tables end -->\n"

HEADINGS = {
    "xml": "XML Signature and XAdES",
    "cms": "CMS and CAdES",
    "pdf": "PDF and PAdES",
}


def tables(judged: Sequence[Judged]) -> str:
    """Return the tables in Markdown: for each format one of the honest files, and one of the changed ones.

    Files of one signer and family about which all programs agree are one line, and so are files with one change.
    """
    parts = []
    for format_, heading in HEADINGS.items():
        files = [one for one in judged if one.format == format_]
        judges = list(files[0].judges)
        honest, changed = ([one for one in files if bool(one.change) is told] for told in (False, True))
        parts += [
            f"## {heading}",
            _table(["signed by", "form", *judges, "Kazashi"], _honest(honest)),
            "Changed after signing:",
            _table(["changed", "in", *judges, "Kazashi"], _changed(changed)),
        ]
    return "\n\n".join(parts) + "\n"


def page_with(text: str) -> str:
    """Return docs/documents.md with these tables."""
    page = PAGE.read_text(encoding="utf-8")
    before, _, rest = page.partition(BEGINS)
    return f"{before}{BEGINS}\n{text}\n{ENDS}{rest.partition(ENDS)[2]}"


def _table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def _words(one: Judged) -> tuple[str, ...]:
    outcome = f"{one.outcome} ({one.finding})" if one.finding else one.outcome
    return (*one.judges.values(), f"{outcome}, time proven" if one.proven and not one.change else outcome)


def _groups(judged: Iterable[Judged], *fields: str) -> Iterator[list[Judged]]:
    """Yield the files that have the same fields and words, in the order of each group's first."""
    groups: dict[tuple[str, ...], list[Judged]] = {}
    for one in judged:
        groups.setdefault((*(getattr(one, field) for field in fields), *_words(one)), []).append(one)
    yield from groups.values()


def _honest(judged: Iterable[Judged]) -> Iterator[Sequence[str]]:
    for group in _groups(judged, "signer", "family"):
        yield group[0].signer, f"{group[0].family}: {_forms(one.form for one in group)}", *_words(group[0])


def _changed(judged: Iterable[Judged]) -> Iterator[Sequence[str]]:
    for group in _groups(judged, "change"):
        signers: dict[str, list[str]] = {}
        for one in group:
            signers.setdefault(one.signer, []).append(one.family)
        places = "; ".join(f"{signer}: {', '.join(families)}" for signer, families in signers.items())
        yield group[0].change, places, *_words(group[0])


def _forms(forms: Iterable[str]) -> str:
    """Name forms; where they are all combinations of some choices, name the choices."""
    names = list(dict.fromkeys(forms))
    choices = [list(dict.fromkeys(choice)) for choice in zip(*(name.split(", ") for name in names), strict=False)]
    if len(names) > 3 and len(choices) > 1 and len(names) == prod(len(choice) for choice in choices):
        return f"{', '.join(' / '.join(choice) for choice in choices)} ({len(names)} files)"
    return " / ".join(names)
