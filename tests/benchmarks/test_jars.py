"""Java libraries of the benchmarks: only the files that the lock names are used."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest

from benchmarks import jars

pytestmark = pytest.mark.unit


def test_a_library_that_the_lock_does_not_name_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    contents = b"a library"
    lock = tmp_path / "jars.lock"
    lock.write_text(f"{hashlib.sha256(contents).hexdigest()} org.example:one:1.0\n")
    monkeypatch.setattr(jars, "LOCK", lock)
    library = tmp_path / "jars" / "one-1.0.jar"
    library.parent.mkdir()
    library.write_bytes(contents)
    assert jars.class_path(library.parent) == str(library)
    library.write_bytes(contents + b".")
    with pytest.raises(jars.JarsUnavailable, match=re.escape(str(library))):
        jars.class_path(library.parent)
