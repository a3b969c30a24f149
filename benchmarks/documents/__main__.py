"""The command `python -m benchmarks.documents FOLDER`: documents of other programs, and what everybody says of them.

A new FOLDER gets `files/`, `keys/` and `corpus.json`. A folder that is there is judged again by today's Kazashi; the
other programs' words are kept.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmarks.documents.corpus import judged_again, written
from benchmarks.documents.table import PAGE, page_with, tables


def main() -> int:
    """Print each file whose outcome is not right. Returns 1 if there is one."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.documents", description=__doc__)
    parser.add_argument("folder", type=Path, help="the folder to make, or to judge again")
    parser.add_argument("--docs", action="store_true", help=f"write the tables into {PAGE.name}")
    given = parser.parse_args()
    judged = judged_again(given.folder) if given.folder.exists() else written(given.folder)
    wrong = [one for one in judged if not one.as_it_should]
    for one in wrong:
        others = ", ".join(f"{name} {word}" for name, word in one.judges.items())
        print(f"{one.file}: {one.outcome} {one.finding or ''}, right: {one.right} ({others}) {one.detail[:150]}")
    print(f"{len(judged) - len(wrong)} of {len(judged)} as they should be", file=sys.stderr)
    if given.docs:
        PAGE.write_text(page_with(tables(judged)), encoding="utf-8")
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
