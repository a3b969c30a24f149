"""`./kazashi`, which builds the program's environment, and what it does with an existing folder."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

PYTHON = """#!/bin/sh
# An interpreter that only records its arguments, so that nothing is built or downloaded.
printf '%s\\n' "$*" >> "$KAZASHI_CALLS"
exit 1
"""


@pytest.fixture
def calls(tmp_path: Path) -> Path:
    return tmp_path / "calls"


def bootstrap(environment: Path, calls: Path) -> subprocess.CompletedProcess[str]:
    python = calls.with_name("python")
    python.write_text(PYTHON, encoding="utf-8")
    python.chmod(0o755)
    variables = {**os.environ, "KAZASHI_PYTHON": str(python), "KAZASHI_VENV": str(environment),
                 "KAZASHI_CALLS": str(calls)}  # fmt: skip
    return subprocess.run(
        [ROOT / "kazashi", "--version"], env=variables, capture_output=True, text=True, check=False, timeout=60
    )


def test_outdated_environment_is_rebuilt(tmp_path: Path, calls: Path) -> None:
    environment = tmp_path / "env"
    (environment / "bin").mkdir(parents=True)
    (environment / "bin" / "kazashi").write_text("#!/bin/sh\necho the old program\n", encoding="utf-8")
    (environment / "bin" / "kazashi").chmod(0o755)
    (environment / "pyvenv.cfg").touch()
    (environment / "built-from").write_text("/elsewhere 1 2\n", encoding="utf-8")
    done = bootstrap(environment, calls)
    assert "the old program" not in done.stdout
    assert done.returncode == 3
    assert "an earlier version" in done.stderr
    assert calls.read_text(encoding="utf-8").splitlines()[-1] == f"-m venv --clear {environment}"


def test_completion_by_a_shell_builds_nothing(tmp_path: Path, calls: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_KAZASHI_COMPLETE", "bash_complete")
    done = bootstrap(tmp_path / "env", calls)
    assert (done.returncode, done.stdout, done.stderr) == (3, "", "")
    assert not calls.exists()
    assert not (tmp_path / "env").exists()


def test_folder_that_is_not_an_environment_is_left_alone(tmp_path: Path, calls: Path) -> None:
    folder = tmp_path / "thesis"
    folder.mkdir()
    (folder / "chapter-1.txt").write_text("do not lose me", encoding="utf-8")
    done = bootstrap(folder, calls)
    assert (done.returncode, done.stderr.count("\n")) == (3, 1)
    assert not calls.exists() or "venv" not in calls.read_text(encoding="utf-8")
    assert [path.name for path in folder.iterdir()] == ["chapter-1.txt"]
