"""`kazashi test`, `bench`, `docs`, `imports`: commands for people who work on Kazashi itself. They need a checkout."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from kazashi.tools.cli.commands.shared import Reply, json_option, replies
from kazashi.tools.installation.parts import CALLED

if TYPE_CHECKING:
    from kazashi.tools.cli.checkout import Room

    Storeys = Sequence[tuple[int, Sequence[Room]]]

QUICK = "unit"
LONG = "long"


@click.command(context_settings={"ignore_unknown_options": True, "help_option_names": ["-h", "--help"]})
@click.option("--quick", is_flag=True, help="Run only the unit tests: under half a minute, no pcscd.")
@click.option("--long", "also_long", is_flag=True, help="Run only the tests marked long, up to 45 minutes.")
@click.option("--lowest", is_flag=True, help="Run the tests with the lowest versions that setup.cfg allows.")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def test(quick: bool, also_long: bool, lowest: bool, arguments: Sequence[str]) -> int:
    """Run the project's tests.

    Checks style, format and types, then runs all tests that are not marked long. ARGUMENTS are passed to pytest; with
    any of them, only pytest runs.
    """
    from kazashi.assembly.errors import UsageError
    from kazashi.tools.cli.checkout import checkout, linked

    if quick and also_long:
        raise UsageError("--quick and --long contradict each other")
    root = checkout()
    python = [str(_lowest_environment(root) / "bin" / "python") if lowest else sys.executable, "-m"]
    checks = [([*python, "ruff", "check", "."], root), ([*python, "ruff", "format", "--check", "--quiet", "."], root)]
    if not quick:
        checks.append(([*python, "mypy", "--config-file", str(root / "setup.cfg")], linked(root)))
    environment = _environment()
    workers = ["--numprocesses=auto"] if quick else []  # unit tests do not wait: more workers would only import more
    lane = QUICK if quick else LONG if also_long else "" if arguments else f"not {LONG}"
    for command, directory in [
        *([] if arguments or lowest else checks),  # other versions of the checkers have other opinions
        ([*python, "pytest", *(["-m", lane] if lane else []), *workers, *arguments], root),
    ]:
        status = subprocess.run(command, cwd=directory, env=environment, check=False).returncode
        if status:
            return status
    return 0


def _environment() -> dict[str, str]:
    """Return the environment of a test run. Python keeps its bytecode in it: the tests start hundreds of programs, each
    of which would be compiled again otherwise. Programs call themselves by their plain name."""
    left_out = ("PYTHONDONTWRITEBYTECODE", CALLED)
    return {name: value for name, value in os.environ.items() if name not in left_out}


def _lowest_environment(root: Path) -> Path:
    """Build an environment with the lowest versions that setup.cfg allows. Returns its path. Raises
    InstallationFailed."""
    from kazashi.tools.cli.locking import lowest
    from kazashi.tools.installation.parts import PARTS
    from kazashi.tools.installation.progress import Progress
    from kazashi.tools.installation.start import base_python, environments_of

    environments = environments_of(root)
    with environments.locked() as descriptor:
        return environments.build(tuple(PARTS), base_python(), descriptor, Progress(), wanted=lowest(root))


@click.command()
def lock() -> None:
    """Write requirements.lock anew, with the newest versions.

    Also measures how large each part is. Run `kazashi test` afterwards.
    """
    from kazashi.tools.cli.checkout import checkout
    from kazashi.tools.cli.locking import write_lock

    write_lock(checkout())


@click.command()
@click.argument("area", default="card")
@click.option("--minutes", type=float, help="How long the area reliability runs (default: 60).")
@click.option("--seed", type=int, help="The seed of reliability's cases (default: a random one).")
@click.option("--write", is_flag=True, help="Write the tables of the area interoperability into its page.")
@json_option
def bench(area: str, minutes: float | None, seed: int | None, write: bool, as_json: bool) -> int:
    """Run the benchmarks of an area.

    Results are ratios against named peers, which are measured in the same run. AREA is card, reader, pki,
    relying-party, points, network, tracking, reliability or interoperability. The last two have no peer: reliability
    counts what was tried, survived and lost, and interoperability shows what other people's verifiers say.
    """
    from kazashi.tools.cli.checkout import checkout, linked

    options = [f"--{name}={value}" for name, value in (("minutes", minutes), ("seed", seed)) if value is not None]
    flags = [*["--write"] * write, *["--json"] * as_json]
    command = [sys.executable, "-m", "benchmarks", area, *options, *flags]
    return subprocess.run(command, cwd=linked(checkout()), check=False).returncode


@click.command()
@click.option(
    "--output", type=click.Path(file_okay=False, path_type=Path), help="Where the site goes (default: build/docs/html)."
)
def docs(output: Path | None) -> int:
    """Build the documentation as a site.

    It works offline, with search. Prints the path of its first page. A broken link is an error. Everything is built
    again each time, because the reference comes from docstrings and help texts.
    """
    from kazashi.tools.cli.checkout import checkout

    root = checkout()
    site = output or root / "build" / "docs" / "html"
    command = [sys.executable, "-m", "sphinx", "-E", "-q", "-W", "--keep-going", "-b", "html",
               "-d", str(root / "build" / "docs" / "doctrees"), str(root / "docs"), str(site)]  # fmt: skip
    status = subprocess.run(command, cwd=root, stdout=subprocess.DEVNULL, check=False).returncode
    if status:
        return 1
    click.echo(site / "index.html")
    return 0


@click.command()
@replies
@click.option("--mermaid", is_flag=True, help="Print a Mermaid flowchart.")
def imports(mermaid: bool) -> Reply:
    """Show which package imports which, by layer."""
    from kazashi.tools.cli.checkout import checkout, floors, rooms

    storeys = floors(rooms(checkout()))
    rows = [{"floor": number, **asdict(room)} for number, floor in storeys for room in floor]
    return Reply(rows, "\n".join(_flowchart(storeys) if mermaid else _table(storeys)))


def _flowchart(storeys: Storeys) -> Iterator[str]:
    yield "flowchart BT"
    for number, floor in storeys:
        yield f"  subgraph floor{number}[floor {number}]"
        yield from (f"    {room.name}[{short(room.name)}<br>{room.lines} lines]" for room in floor)
        yield "  end"
    for _, floor in storeys:
        for room in floor:
            yield from (f"  {room.name} --> {other}" for other in sorted(room.imports))


def _table(storeys: Storeys) -> Iterator[str]:
    product = sum(room.lines for _, floor in storeys for room in floor if room.name.startswith("kazashi"))
    for number, floor in reversed(storeys):
        yield f"floor {number}"
        for room in floor:
            for shown in (room, *room.inner.values()):
                name = short(shown.name) if shown is room else f"  {shown.name.removeprefix(room.name)}"
                share = f"{100 * shown.lines / product:3.0f} %" if room.name.startswith("kazashi") else "     "
                below = ", ".join(map(short, sorted(shown.imports))) or "no other package"
                yield f"  {name:20} {shown.lines:6,} lines {share}  imports {below}"


def short(name: str) -> str:
    """Return a package's name without `kazashi.`: the name of its folder at the root."""
    return name.removeprefix("kazashi.")
