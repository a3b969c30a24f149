"""Wrong lines that the tests must find: the patches fit the code, and each is found."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.find_faults import FAULTS, Mutation, read_fault

ROOT = Path(__file__).parents[2]
FOUND = [read_fault(path) for path in sorted(FAULTS.glob("*.patch"))]


def test_there_are_twenty() -> None:
    assert len(FOUND) >= 20


@pytest.mark.unit
@pytest.mark.parametrize("fault", FOUND, ids=[fault.name for fault in FOUND])
def test_a_fault_s_line_is_in_the_code_once_and_its_tests_are_there(fault: Mutation) -> None:
    assert (ROOT / fault.path).read_text(encoding="utf-8").count(f"{fault.right}\n") == 1
    assert fault.wrong != fault.right
    for test in fault.found_by.split():
        file, _, name = test.partition("::")
        assert (ROOT / file).exists()
        assert f"def {name.partition('[')[0]}" in (ROOT / file).read_text(encoding="utf-8") if name else True


@pytest.mark.long
def test_every_fault_is_found() -> None:
    done = subprocess.run([sys.executable, "-m", "benchmarks.find_faults"], cwd=ROOT, capture_output=True, text=True,
                          check=False)  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(FOUND)} of {len(FOUND)} found" in done.stdout
