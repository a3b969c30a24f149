"""Check that the tests find each of a set of one-line faults: `python -m benchmarks.find_faults [NAME ...]`.

Each file in a folder `faults` below benchmarks/ is a patch with a header:

    The fault, in one sentence.
    Found-by: tests/card/test_commands.py::test_...
    Trial: kills --command issue                   (instead of Found-by: a module of benchmarks/reliability)
    Seed: 7                                        (the seed with which the trial finds it)

A fault is found if its test fails with it and passes without it.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import click

from kazashi.tools.cli.checkout import checkout, linked
from kazashi.tools.program import run

FAULTS = sorted(Path(__file__).parent.rglob("faults/*.patch"))
_SECONDS = 600
_LEFT_OUT = shutil.ignore_patterns(".*", "build", "dist", "*.egg-info", "__pycache__", "artefacts")


@dataclass(frozen=True, slots=True)
class Mutation:
    """A one-line fault: the file, the right and the wrong line, and the tests that find it.

    With a `seed`, it is found by a reliability trial instead: a module in benchmarks/reliability with its options.
    """

    name: str
    what: str
    path: str
    right: str
    wrong: str
    found_by: str
    seed: str


def read_fault(file: Path) -> Mutation:
    """Read a fault from its patch. Raises ValueError if the patch does not have the required form."""
    head, _, body = file.read_text(encoding="utf-8").partition("\n--- a/")
    path, _, hunk = body.partition("\n+++ b/")
    fields = dict(line.split(": ", 1) for line in head.splitlines() if line.partition(": ")[0] in _FIELDS)
    lines = hunk.splitlines()[2:]
    right = [line[1:] for line in lines if line.startswith("-")]
    wrong = [line[1:] for line in lines if line.startswith("+")]
    if (
        not path
        or len(right) != 1
        or len(wrong) > 1
        or not ({"Found-by"} <= fields.keys() or {"Trial", "Seed"} <= fields.keys())
    ):
        raise ValueError(f"{file} must be a patch of one line with the header Found-by, or Trial and Seed")
    found_by = fields["Trial" if "Seed" in fields else "Found-by"]
    return Mutation(
        name=file.stem, what=head.splitlines()[0], path=path, right=right[0], wrong=wrong[0] if wrong else "",
        found_by=found_by, seed=fields.get("Seed", ""),
    )  # fmt: skip


_FIELDS = ("Found-by", "Trial", "Seed")


def put_in(fault: Mutation, file: Path) -> str:
    """Insert a fault into a file; return the original text. Raises ValueError if the right line does not occur once."""
    text = file.read_text(encoding="utf-8")
    if text.count(f"{fault.right}\n") != 1:
        raise ValueError(f"{fault.name}: the right line occurs {text.count(fault.right)} times in {file}, not once")
    file.write_text(text.replace(f"{fault.right}\n", f"{fault.wrong}\n" if fault.wrong else ""), encoding="utf-8")
    return text


def passes(directory: Path, test: str, seed: str = "") -> bool:
    """Return whether a test, or a trial with its seed, passes in a copy of a checkout. Raises ValueError if it cannot
    be run."""
    if seed:
        module, *options = shlex.split(test)
        program = [f"benchmarks.reliability.{module}", "--seed", seed, *options]
    else:
        program = ["pytest", "-q", "-x", "-n0", "-p", "no:cacheprovider", *test.split()]
    path = [directory / "build" / "linked", directory]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, path)), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, "-m", *program],
        cwd=directory, env=environment, capture_output=True, text=True, check=False, timeout=_SECONDS,
    )  # fmt: skip
    if done.returncode not in (0, 1):
        raise ValueError(f"{test} cannot be run: {done.stdout[-500:]}{done.stderr[-500:]}")
    return done.returncode == 0


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("names", nargs=-1)
def find(names: tuple[str, ...]) -> int:
    """Insert each fault, one at a time, and run the test that must find it."""
    chosen = [fault for fault in map(read_fault, FAULTS) if fault.name in names or not names]
    missed, without = 0, dict[tuple[str, str], bool]()
    with tempfile.TemporaryDirectory(prefix="kazashi-faults-") as name:
        directory = Path(shutil.copytree(checkout(), Path(name) / "checkout", ignore=_LEFT_OUT))
        linked(directory)
        for fault in chosen:
            file, test = directory / fault.path, fault.found_by
            if (test, fault.seed) not in without:
                without[test, fault.seed] = passes(directory, test, fault.seed)
            passes_without = without[test, fault.seed]
            text = put_in(fault, file)
            fails_with = not passes(directory, test, fault.seed)
            file.write_text(text, encoding="utf-8")
            missed += not (passes_without and fails_with)
            result = "found" if passes_without and fails_with else "MISSED" if passes_without else "FAILS ANYHOW"
            click.echo(f"{result:12} {fault.name}: {fault.what} ({test})")
    click.echo(f"{len(chosen) - missed} of {len(chosen)} found")
    return 1 if missed else 0


if __name__ == "__main__":
    run(find, "python -m benchmarks.find_faults")
