"""Java libraries for programs that benchmarks and tests start: pinned by version and SHA-256 in `jars.lock`."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

LOCK = Path(__file__).with_name("jars.lock")
PLUGIN = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"


class JarsUnavailable(Exception):
    """Maven could not fetch the libraries, or what it fetched is not what the lock names."""


@dataclass(frozen=True, slots=True)
class Jar:
    """One library of the lock."""

    sha256: str
    group: str
    artifact: str
    version: str

    @property
    def file(self) -> str:
        """The name of its file."""
        return f"{self.artifact}-{self.version}.jar"


def locked() -> list[Jar]:
    """Read the lock: in each line a SHA-256 and group:artifact:version."""
    lines = (line.split() for line in LOCK.read_text("ascii").splitlines())
    return [Jar(digest, *coordinates.split(":")) for digest, coordinates in lines]


def class_path(directory: Path | None = None) -> str:
    """Return a class path with every library of the lock, which Maven fetches the first time.

    They are kept in `directory`, by default in the user's cache. Raises JarsUnavailable.
    """
    jars = locked()
    directory = directory or _cache() / hashlib.sha256(LOCK.read_bytes()).hexdigest()[:16]
    if not directory.is_dir():
        with _beside(directory) as fresh:
            _fetch(jars, fresh)
            _check(jars, fresh)
            try:
                fresh.rename(directory)
            except OSError:  # another process was faster
                if not directory.is_dir():
                    raise
    _check(jars, directory)
    return os.pathsep.join(str(directory / jar.file) for jar in jars)


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "kazashi" / "jars"


@contextmanager
def _beside(directory: Path) -> Iterator[Path]:
    directory.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix="fetching-", dir=directory.parent))
    try:
        yield fresh
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _fetch(jars: Iterable[Jar], directory: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="kazashi-jars-") as name:
        project = Path(name) / "pom.xml"
        project.write_text(_project(jars), encoding="utf-8")
        done = subprocess.run(
            ["mvn", "--batch-mode", "--quiet", "--file", str(project), PLUGIN, f"-DoutputDirectory={directory}"],
            capture_output=True, text=True, check=False, timeout=300,
        )  # fmt: skip
    if done.returncode:
        raise JarsUnavailable(f"Maven exited with {done.returncode}: {done.stdout}{done.stderr}")


def _project(jars: Iterable[Jar]) -> str:
    """A project that depends on exactly these libraries: what they depend on is in the lock too."""
    exclusion = "<exclusions><exclusion><groupId>*</groupId><artifactId>*</artifactId></exclusion></exclusions>"
    dependencies = "".join(
        f"<dependency><groupId>{escape(jar.group)}</groupId><artifactId>{escape(jar.artifact)}</artifactId>"
        f"<version>{escape(jar.version)}</version>{exclusion}</dependency>"
        for jar in jars
    )
    return (
        '<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>'
        "<groupId>kazashi</groupId><artifactId>jars</artifactId><version>1</version>"
        f"<dependencies>{dependencies}</dependencies></project>"
    )


def _check(jars: Iterable[Jar], directory: Path) -> None:
    for jar in jars:
        path = directory / jar.file
        if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != jar.sha256:
            raise JarsUnavailable(f"{path} is not the file that {LOCK.name} names; remove the folder and try again")
