"""`kazashi tracking`: the laboratory that measures who can link what."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from tools.commands.shared import answer, json_option, progress, table, world_of

_OUT = click.Path(dir_okay=False, path_type=Path)


@click.group()
def tracking() -> None:
    """Who can link what about people who use their cards, measured on made-up lives."""


@tracking.command("populate")
@click.option("--residents", type=click.IntRange(0), default=1_000, show_default=True)
@click.option("--years", type=click.IntRange(1, 40), default=10, show_default=True)
@click.option("--seed", default="tracking", show_default=True, help="The same seed, the same lives.")
@click.option("--name", default="population", show_default=True, help="What this population is called in the world.")
@json_option
@click.pass_context
def tracking_populate(
    context: click.Context, residents: int, years: int, seed: str, name: str, as_json: bool
) -> None:  # fmt: skip
    """Make people and their lives, cards and uses of them, as Parquet files. A run that was cut off is gone on with."""
    from tools.tracking import populated
    from tracking_lab.laboratory import steps
    from tracking_lab.plan import Plan
    from tracking_lab.study import open_engine

    plan = Plan(residents, years, seed)
    with progress("chunks of lives and uses", steps(plan) or 1) as shown:
        laboratory = populated(world_of(context), plan, name, shown)
    sizes: dict[str, Any] = {"directory": str(laboratory.directory)}
    if residents:
        engine = open_engine(laboratory)
        for what in ("person", "certificate", "service", "uses"):
            sizes[what] = int(engine.query(f"SELECT count(*) AS n FROM {what}")["n"][0])
        engine.close()
    answer(sizes, as_json, "\n".join(f"{name}: {value}" for name, value in sizes.items()))


@tracking.command("report")
@click.option("--name", default="population", show_default=True, help="Which population.")
@click.option("--html", type=_OUT, default=Path("kazashi-tracking.html"), show_default=True, help="The page.")
@click.option("--csv", "csv_file", type=_OUT, help="The comparison of countermeasures.")
@json_option
@click.pass_context
def tracking_report(
    context: click.Context, name: str, html: Path, csv_file: Path | None, as_json: bool
) -> None:  # fmt: skip
    """Examine a population, print the claims, and write one page with everything in it.

    In a world without a population one of 1,000 people over ten years is made first.
    """
    from rich.console import Console

    from tools.tracking import RESIDENTS, YEARS, laboratory_of, populated, report
    from tracking_lab.plan import Plan
    from tracking_lab.report import as_csv, as_html
    from tracking_lab.report import as_json as in_json

    world = world_of(context)
    laboratory = laboratory_of(world, name)
    with Console(stderr=True).status("starting") as shown:
        if not (laboratory.directory / "plan.json").exists():
            shown.update("a population ...")
            laboratory = populated(world, Plan(RESIDENTS, YEARS, world.seed), name)
        found = report(laboratory, lambda what: shown.update(f"{what} ..."))
    html.write_text(as_html(found), encoding="utf-8")
    if csv_file is not None:
        csv_file.write_text(as_csv(found), encoding="utf-8")
    if as_json:
        click.echo(in_json(found), nl=False)
    else:
        click.echo("\n".join(f"{claim['claim']}\n    {claim['words']}" for claim in found["claims"]))
    click.echo(f"The page is in {html}", err=True)


@tracking.command("exposure")
@json_option
def tracking_exposure(as_json: bool) -> None:
    """Who holds which handle, and which ways lead to a code, in a small world in which cards are used everywhere."""
    import tempfile

    from tools.tracking_scene import exposed, scene, told

    with tempfile.TemporaryDirectory(prefix="kazashi-") as name, scene(Path(name) / "w") as (institutions, found):
        result = told(exposed(institutions, found))
    rows = [{"who": cell.partition(" | ")[0], "holds": cell.partition(" | ")[2], "seen in": witness}
            for cell, witness in result["cells"].items()]  # fmt: skip
    paths = [f"{name}: {' / '.join(steps) or 'no way'}" for name, steps in result["paths"].items()]
    answer(result, as_json, table(rows, "nobody holds anything") + "\n\n" + "\n".join(paths))
