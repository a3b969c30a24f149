"""The command `python -m benchmarks AREA`, also available as `kazashi bench AREA`."""

from __future__ import annotations

import json
from dataclasses import asdict
from importlib import import_module

import click
from rich.console import Console
from rich.table import Table

from kazashi.assembly.errors import UsageError
from kazashi.tools.program import run

RELIABILITY, INTEROPERABILITY = "reliability", "interoperability"
AREAS = ("card", "reader", "pki", "relying-party", "points", "network", "tracking", RELIABILITY, INTEROPERABILITY)
OWN_OPTIONS = {"minutes": RELIABILITY, "seed": RELIABILITY, "write": INTEROPERABILITY}
"""The options that only one area has."""


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("area", type=click.Choice(AREAS), default="card")
@click.option("--minutes", type=click.FloatRange(min=0, min_open=True), help="How long reliability runs (default: 60).")
@click.option("--seed", type=int, help="The seed of reliability's cases (default: a random one).")
@click.option("--write", is_flag=True, help="Write interoperability's tables into its page.")
@click.option("--json", "as_json", is_flag=True, help="Print the results as JSON on stdout.")
def measure(area: str, minutes: float | None, seed: int | None, write: bool, as_json: bool) -> int:
    """Run the benchmarks of AREA, and compare each with a named peer or a goal. Exits with 1 if a goal is missed."""
    given = (("minutes", minutes), ("seed", seed), ("write", write or None))
    options = {name: value for name, value in given if value is not None}
    for name in options:
        if OWN_OPTIONS[name] != area:
            raise UsageError(f"only the area {OWN_OPTIONS[name]} has --{name}")
    console = Console(stderr=True)
    with console.status("starting") as shown:
        results = import_module(f"benchmarks.bench_{area.replace('-', '_')}").measure(
            lambda what: shown.update(f"{what} ..."), **options
        )
    if as_json:
        click.echo(json.dumps([asdict(item) for item in results]))
    else:
        table = Table(*results[0].HEADINGS, "goal", "")
        for item in results:
            table.add_row(*item.cells(), item.goal, "[green]met[/]" if item.met else "[red]missed[/]")
        Console().print(table)
    return 0 if all(item.met for item in results) else 1


if __name__ == "__main__":
    run(measure, "kazashi bench")
