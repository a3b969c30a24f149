"""The one-line faults below benchmarks/: each patch fits the code, and its tests or its trial find it."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from benchmarks.find_faults import FAULTS, Mutation, read_fault

ROOT = Path(__file__).parents[2]
MUTATIONS = [read_fault(path) for path in FAULTS]


def test_there_are_enough_faults() -> None:
    seeded = [fault for fault in MUTATIONS if fault.seed]
    assert len(seeded) >= 6
    assert len(MUTATIONS) - len(seeded) >= 20


@pytest.mark.unit
@pytest.mark.parametrize("fault", MUTATIONS, ids=[fault.name for fault in MUTATIONS])
def test_fault_replaces_one_line_and_names_existing_tests(fault: Mutation) -> None:
    assert (ROOT / fault.path).read_text(encoding="utf-8").count(f"{fault.right}\n") == 1
    assert fault.wrong != fault.right
    if fault.seed:
        assert import_module(f"benchmarks.reliability.{fault.found_by.split()[0]}").trials
        return
    for test in fault.found_by.split():
        file, _, name = test.partition("::")
        assert (ROOT / file).exists()
        assert f"def {name.partition('[')[0]}" in (ROOT / file).read_text(encoding="utf-8") if name else True


@pytest.mark.long
def test_each_fault_is_found_by_its_test() -> None:
    done = subprocess.run([sys.executable, "-m", "benchmarks.find_faults"], cwd=ROOT, capture_output=True, text=True,
                          check=False)  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(MUTATIONS)} of {len(MUTATIONS)} found" in done.stdout
