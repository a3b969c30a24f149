"""docs/interoperability.md has what the programs of this machine say."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest

from benchmarks.bench_interoperability import verifiers
from benchmarks.interoperability.conversation import RUST, has_rust
from benchmarks.interoperability.page import PAGE, VERIFIERS, read_tables
from tests.polling import LIMIT


@pytest.mark.unit
def test_the_page_has_a_row_and_settings_for_each_verifier() -> None:
    text = PAGE.read_text(encoding="utf-8")
    rows, _ = read_tables(text)
    names = [name for name, _ in rows]
    assert names == [verifier.name for verifier in verifiers(rust=True)]
    assert all(len(cells) == len(VERIFIERS) - 2 for cells in rows.values())
    settings = text.partition("## What to set")[2].partition("## One serial number")[0]
    explained = re.findall(r"^\| ([^|]+?) \|", settings, re.MULTILINE)
    assert {name.partition(", lib")[0].partition(", classic")[0] for name in names} == set(explained) - {
        "verifier", "---"
    }  # fmt: skip


@pytest.mark.long
def test_the_verifiers_say_what_the_page_has() -> None:
    """Rust is not among the packages that Kazashi installs. Where there is no Cargo, its rows are not tried."""
    done = subprocess.run(
        [sys.executable, "-m", "kazashi", "bench", "interoperability", "--json"],
        capture_output=True, text=True, check=False, timeout=LIMIT,
    )  # fmt: skip
    assert done.stdout, done.stderr
    rows = json.loads(done.stdout)
    assert not [row for row in rows if not row["met"]]
    assert done.returncode == 0
    both = read_tables(PAGE.read_text(encoding="utf-8"))
    without = set() if has_rust() else {library.name for library in RUST}
    documented = [key[0] for cells in both for key in cells if key[0] not in without]
    assert sorted(row["name"] for row in rows) == sorted(documented)
