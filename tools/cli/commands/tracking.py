"""`kazashi tracking`: the tracking laboratory, which measures who can link what about card users."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from kazashi.tools.cli.commands.shared import Reply, json_option, new_world_of, progress, replies, table

_POPULATION = "population"
_OUT = click.Path(dir_okay=False, path_type=Path)


@click.group()
def tracking() -> None:
    """Measure who can link what about card users.

    The laboratory works on synthetic people, or on your own logs.
    """


@tracking.command("populate")
@click.option("--residents", type=click.IntRange(0), default=1_000, show_default=True, help="The number of people.")
@click.option("--years", type=click.IntRange(1, 40), default=10, show_default=True, help="The number of years.")
@click.option("--seed", default="tracking", show_default=True, help="The same seed gives the same population.")
@click.option("--name", default=_POPULATION, show_default=True, help="The name of this population in the world.")
@replies
@click.pass_context
def tracking_populate(
    context: click.Context, residents: int, years: int, seed: str, name: str
) -> Reply:  # fmt: skip
    """Generate a population and its card uses.

    People, lifetimes, cards and uses are written as Parquet files. An interrupted run is resumed.
    """
    from kazashi.studies.tracking import populated
    from kazashi.tracking_lab.engine import count
    from kazashi.tracking_lab.laboratory import steps
    from kazashi.tracking_lab.plan import Plan
    from kazashi.tracking_lab.study import open_engine

    plan = Plan(residents, years, seed)
    with progress("chunks of lifetimes and uses", steps(plan) or 1) as shown:
        laboratory = populated(new_world_of(context), plan, name, shown)
    sizes: dict[str, Any] = {"directory": str(laboratory.directory)}
    if residents:
        engine = open_engine(laboratory)
        for view in ("person", "certificate", "service", "uses"):
            sizes[view] = count(engine, view)
        engine.close()
    return Reply(sizes, "\n".join(f"{name}: {value}" for name, value in sizes.items()))


@tracking.command("import")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--mapping", required=True, type=click.Path(path_type=Path), help="A YAML or JSON file that describes the columns."
)
@click.option("--name", default="logs", show_default=True, help="The name of these logs in the world.")
@click.option("--individual-numbers", is_flag=True, help="Accept columns that look like individual numbers.")
@replies
@click.pass_context
def tracking_import(
    context: click.Context, files: tuple[Path, ...], mapping: Path, name: str, individual_numbers: bool
) -> Reply:
    """Import your own logs (CSV, Parquet).

    `kazashi tracking report --name logs` then runs the linkers on them. The mapping says which column is the time, the
    service and the handle; docs/tracking.md shows an example.
    """
    from dataclasses import asdict

    from rich.console import Console

    from kazashi.studies.tracking import laboratory_of
    from kazashi.tracking_lab.logs import LogMapping, import_logs

    laboratory = laboratory_of(new_world_of(context), name)
    with Console(stderr=True).status("reading ..."):
        result = import_logs(laboratory, files, LogMapping.read(mapping), individual_numbers=individual_numbers)
    lines = [f"{name}: {value}" for name, value in asdict(result).items() if name not in ("left_out", "notes")]
    lines += [f"left out, {reason}: {count}" for reason, count in result.left_out.items()]
    lines += [f"note: {note}" for note in result.notes]
    return Reply(asdict(result), "\n".join(lines))


@tracking.command("report")
@click.option("--name", default=_POPULATION, show_default=True, help="The population or the imported logs.")
@click.option("--html", type=_OUT, help="Write the HTML report here (default: kazashi-tracking[-NAME].html).")
@click.option("--csv", "csv_file", type=_OUT, help="Write the comparison of countermeasures to this file.")
@click.option("--spark", help="Run on Apache Spark at this master: spark://host:7077, local[2]. Needs kazashi[spark].")
@json_option
@click.pass_context
def tracking_report(
    context: click.Context, name: str, html: Path | None, csv_file: Path | None, spark: str | None, as_json: bool
) -> None:  # fmt: skip
    """Examine a population and write a report.

    Prints the claims. In a world without a population, one of 1,000 people over ten years is generated first.
    """
    from rich.console import Console

    from kazashi.studies.tracking import RESIDENTS, YEARS, TrackingReport, laboratory_of, populated, report
    from kazashi.tracking_lab.engine import Spark
    from kazashi.tracking_lab.log_study import examine_logs
    from kazashi.tracking_lab.plan import Plan
    from kazashi.tracking_lab.report import as_csv, as_html
    from kazashi.tracking_lab.report import as_json as in_json
    from kazashi.tracking_lab.results import LogExamination

    world = new_world_of(context)
    laboratory = laboratory_of(world, name)
    result: TrackingReport | LogExamination
    with Console(stderr=True).status("starting") as shown:
        engine = None if spark is None else Spark(spark)
        if laboratory.imported:
            result = examine_logs(laboratory, lambda task: shown.update(f"{task} ..."), engine)
        else:
            if not laboratory.begun and name == _POPULATION:
                shown.update("generating a population ...")
                laboratory = populated(world, Plan(RESIDENTS, YEARS, world.seed), name)
            result = report(laboratory, lambda task: shown.update(f"{task} ..."), engine)
    document = result.as_dict()
    html = html or Path("kazashi-tracking.html" if name == _POPULATION else f"kazashi-tracking-{name}.html")
    html.write_text(as_html(document), encoding="utf-8")
    if csv_file is not None:
        csv_file.write_text(as_csv(document), encoding="utf-8")
    if as_json:
        click.echo(in_json(document), nl=False)
    elif isinstance(result, LogExamination):
        click.echo("\n".join(f"{finding.severity}: {finding.words} ({finding.evidence})" for finding in result.findings)
                   or "no linkage was found")  # fmt: skip
    else:
        click.echo("\n".join(f"{claim.claim}\n    {claim.words}" for claim in result.claims))
    click.echo(f"The report is in {html}", err=True)


@tracking.command("exposure")
@replies
def tracking_exposure() -> Reply:
    """Show which actor stores which handle.

    Also shows the ways from each handle to a person's codes. It examines a small world in which cards are used
    everywhere.
    """
    import tempfile

    from kazashi.studies.tracking_stores import exposed, exposure_as_dict, scene

    with tempfile.TemporaryDirectory(prefix="kazashi-") as name, scene(Path(name) / "w") as (institutions, network):
        result = exposure_as_dict(exposed(institutions, network))
    rows = [
        {**dict(zip(("who", "holds"), name.split(" | "), strict=True)), "how": cell["level"],
         "seen in": f"{cell['witness']}, {cell['rows']} rows"} for name, cell in result["cells"].items()
    ]  # fmt: skip
    paths = [f"{path['actor']}, {path['handle']} -> {path['target']}: {' / '.join(path['steps']) or 'no path'}"
             for path in result["ways"]]  # fmt: skip
    return Reply(result, table(rows, "no actor stores a handle") + "\n\n" + "\n".join(paths))
