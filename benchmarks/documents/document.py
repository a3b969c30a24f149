"""A signed document of the matrix, and running the programs that make and judge one."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

JAVA = ("java", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")
"""Java for a program of a second or two: it starts in half the time."""


class Right(StrEnum):
    """The outcome that a verifier of whole documents should reach."""

    GOOD = "good"
    PARTLY = "indeterminate"
    """The signature is valid, but it does not cover all that a reader sees, or it cannot be judged."""
    BAD = "bad"
    NOT_GOOD = "not good"
    """Bad or indeterminate: the standards leave it open."""

    def allows(self, outcome: str) -> bool:
        """Whether an outcome is right."""
        return outcome != "good" if self is Right.NOT_GOOD else outcome == self.value


@dataclass(frozen=True, slots=True)
class Document:
    """A file to judge.

    `name` is unique and ends with the format's suffix. `signer` is the program that signed it, `family` and `form` say
    how, and `who` is the holder whose key it used. `content` is the signed file if the signature is detached. `change`
    says what was changed after signing, and is empty for an honest file.
    """

    name: str
    signer: str
    family: str
    form: str
    data: bytes
    content: bytes | None = None
    change: str = ""
    right: Right = Right.GOOD
    who: str = "hanako"

    @property
    def format(self) -> str:
        """xml, cms or pdf."""
        suffix = self.name.rpartition(".")[2]
        return suffix if suffix in ("xml", "pdf") else "cms"


class ProgramFailed(Exception):
    """An outside program did not do what the matrix needs."""


def run(*command: str | Path, expect: Iterable[int] | None = (0,), given: bytes = b"", **environment: str) -> str:
    """Run a program with `given` as its input, and return its output on both streams. Raises ProgramFailed if its
    status is not one of `expect`, unless that is None."""
    words = [str(word) for word in command]
    done = subprocess.run(
        words, capture_output=True, timeout=300, check=False, input=given,
        env={**os.environ, "LC_ALL": "C.UTF-8", **environment},
    )  # fmt: skip
    output = (done.stdout + done.stderr).decode("utf-8", "replace")
    if expect is not None and done.returncode not in expect:
        raise ProgramFailed(f"{' '.join(words)} exited with {done.returncode}: {output}")
    return output
