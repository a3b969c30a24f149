"""`./kazashi` in a new clone with the real lock file and the package index. Long."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.package.test_parts import GOAL_MEGABYTES

pytestmark = pytest.mark.long

ROOT = Path(__file__).parents[2]


def started(clone: Path, *arguments: str) -> subprocess.Popen[str]:
    variables = {name: value for name, value in os.environ.items() if not name.startswith("KAZASHI")}
    variables["KAZASHI_WORLD"] = str(clone.parent / "world")
    return subprocess.Popen(
        ["./kazashi", *arguments], cwd=clone, env=variables, text=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip


def test_a_new_clone_installs_the_base_after_it_was_killed_twice(tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "--quiet", ROOT, clone], check=True)
    for seconds in (4, 7):
        process = started(clone, "--yes", "card", "list", "--samples")
        time.sleep(seconds)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    process = started(clone, "--yes", "card", "list", "--samples")
    output, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    assert "rare-kanji" in output
    environment = (clone / ".venv").resolve()
    used = subprocess.run(["du", "-sm", environment], capture_output=True, text=True, check=True).stdout
    assert int(used.split()[0]) <= GOAL_MEGABYTES
    refused = started(clone, "tracking", "report")
    _, errors = refused.communicate(timeout=60)
    assert refused.returncode == 3
    assert "not installed yet: the Python packages for tracking" in errors
