"""The comparison of verdicts on logins with an earlier build, as a developer runs it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.polling import LIMIT

pytestmark = pytest.mark.long


def test_logins_are_judged_faster_than_before_and_alike() -> None:
    """It needs the earlier commit, so a clone with history. Processor time counts, and the goal leaves a margin."""
    command = [sys.executable, "-m", "benchmarks.login_rate", "--logins", "300", "--rounds", "3", "--json"]
    done = subprocess.run(
        command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False, timeout=LIMIT
    )
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads(done.stdout)
    assert result["same_findings"]
    assert result["findings_compared"] > 1000
    assert result["ratio"] >= result["goal"] == 1.5
