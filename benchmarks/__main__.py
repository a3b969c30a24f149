"""The command `python -m benchmarks AREA`, also available as `kazashi bench AREA`."""

from __future__ import annotations

import json
from dataclasses import asdict
from importlib import import_module

import click
from rich.console import Console
from rich.table import Table

from kazashi.tools.cli.program import run

AREAS = ("card", "reader", "pki", "relying-party", "points", "network", "tracking")


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("area", type=click.Choice(AREAS), default="card")
@click.option("--json", "as_json", is_flag=True, help="Print the measurements as JSON on stdout.")
def measure(area: str, as_json: bool) -> int:
    """Run the benchmarks of AREA and compare each with a named peer. Exits with 1 if a goal is missed."""
    console = Console(stderr=True)
    with console.status("starting") as shown:
        measures = import_module(f"benchmarks.bench_{area.replace('-', '_')}").measure(
            lambda what: shown.update(f"{what} ...")
        )
    if as_json:
        click.echo(json.dumps([asdict(item) for item in measures]))
    else:
        table = Table("measure", "ours", "peer", "ratio", "goal", "")
        for item in measures:
            table.add_row(
                item.name,
                f"{item.ours:,.3f} {item.unit}",
                f"{item.peer:,.3f} {item.unit} ({item.peer_name})",
                f"{item.ratio:,.2f}",
                item.goal,
                "[green]met[/]" if item.met else "[red]missed[/]",
            )
        Console().print(table)
    return 0 if all(item.met for item in measures) else 1


if __name__ == "__main__":
    run(measure, "kazashi bench")
