"""`kazashi test`, `bench`, `imports`: commands for those who work on Kazashi itself. They need the checkout."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence

import click

from kazashi.tools.cli.commands.shared import Reply, json_option, replies

QUICK = "unit"
LONG = "long"


@click.command(context_settings={"ignore_unknown_options": True, "help_option_names": ["-h", "--help"]})
@click.option("--quick", is_flag=True, help="Unit tests alone, in under half a minute and without pcscd.")
@click.option("--long", "also_long", is_flag=True, help="Only what takes too long for every run, up to 45 minutes.")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def test(quick: bool, also_long: bool, arguments: Sequence[str]) -> int:
    """Run the project's tests.

    These are style, format, types, and everything under tests/ that is not marked long. ARGUMENTS go to pytest; with
    any of them, style and types are left out.
    """
    from kazashi.assembly.errors import UsageError
    from kazashi.tools.cli.checkout import checkout, linked

    if quick and also_long:
        raise UsageError("--quick and --long contradict each other")
    root = checkout()
    python = [sys.executable, "-m"]
    checks = [([*python, "ruff", "check", "."], root), ([*python, "ruff", "format", "--check", "--quiet", "."], root)]
    if not quick:
        checks.append(([*python, "mypy", "--config-file", str(root / "setup.cfg")], linked(root)))
    lane = ["-m", QUICK] if quick else ["-m", LONG] if also_long else ["-m", f"not {LONG}"]
    for command, directory in [*([] if arguments else checks), ([*python, "pytest", *lane, *arguments], root)]:
        status = subprocess.run(command, cwd=directory, check=False).returncode
        if status:
            return status
    return 0


@click.command()
@click.argument("area", default="card")
@json_option
def bench(area: str, as_json: bool) -> int:
    """Measure an area as ratios against named peers.

    AREA is card, reader, pki, relying-party, points, network or tracking; the peers are measured in the same run.
    """
    from kazashi.tools.cli.checkout import checkout

    command = [sys.executable, "-m", "benchmarks", area, *["--json"] * as_json]
    return subprocess.run(command, cwd=checkout(), check=False).returncode


@click.command()
@replies
@click.option("--mermaid", is_flag=True, help="As a Mermaid flowchart, which many pages draw.")
def imports(mermaid: bool) -> Reply:
    """Print which package imports which, floor by floor."""
    from kazashi.tools.cli.checkout import checkout, floors, rooms

    found = rooms(checkout())
    total = sum(room.lines for room in found.values() if room.name != "benchmarks")
    storeys = [*enumerate(floors(found), 1)]
    rows = [{"floor": number, "package": room.name, "lines": room.lines, "imports": room.imports}
            for number, floor in storeys for room in floor]  # fmt: skip
    lines = []
    if mermaid:
        lines.append("flowchart BT")
        for number, floor in storeys:
            lines.append(f"  subgraph floor{number}[floor {number}]")
            lines += [f"    {room.name}[{room.name.removeprefix('kazashi.')}<br>{room.lines} lines]" for room in floor]
            lines.append("  end")
        lines += [f"  {room.name} --> {other}" for room in found.values() for other in sorted(room.imports)]
        return Reply(rows, "\n".join(lines))
    for number, floor in reversed(storeys):
        lines.append(f"floor {number}")
        for room in floor:
            below = ", ".join(sorted(name.removeprefix("kazashi.") for name in room.imports)) or "nothing of ours"
            share = f"{room.lines:6,} lines {100 * room.lines / total:3.0f} %" if room.name != "benchmarks" else (
                f"{room.lines:6,} lines      ")  # fmt: skip
            lines.append(f"  {room.name.removeprefix('kazashi.'):18} {share}  imports {below}")
    return Reply(rows, "\n".join(lines))
