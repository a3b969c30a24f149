"""`kazashi tracking`: the tracking laboratory, which measures who can link what about card users."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kazashi.tools.cli.commands.network_open_log import tracking_open_log
from kazashi.tools.cli.commands.shared import (
    Reply,
    json_option,
    language_option,
    new_world_of,
    progress,
    replies,
    table,
    world_of,
)
from kazashi.world.atomic_file import write_whole

if TYPE_CHECKING:
    from kazashi.tracking_lab.memory import MemoryLimit

_POPULATION = "population"
_OUT = click.Path(dir_okay=False, path_type=Path)


def _memory(_: click.Context, __: click.Parameter, text: str) -> MemoryLimit:
    from kazashi.tracking_lab.memory import MemoryLimit

    return MemoryLimit.parse(text)


memory_option = click.option("--memory", default="2GB", show_default=True, callback=_memory, metavar="SIZE",
                             help="The most memory to use, such as 512MB; the rest goes to disk.")  # fmt: skip


@click.group()
def tracking() -> None:
    """Measure who can link what about card users.

    The laboratory works on synthetic people, or on your own logs.
    """


tracking.add_command(tracking_open_log)


@tracking.command("populate")
@click.option("--residents", type=click.IntRange(0), default=1_000, show_default=True, help="The number of people.")
@click.option("--years", type=click.IntRange(1, 40), default=10, show_default=True, help="The number of years.")
@click.option("--seed", default="tracking", show_default=True, help="The same seed gives the same population.")
@click.option("--name", default=_POPULATION, show_default=True, help="The name of this population in the world.")
@memory_option
@replies
@click.pass_context
def tracking_populate(
    context: click.Context, residents: int, years: int, seed: str, name: str, memory: MemoryLimit
) -> Reply:  # fmt: skip
    """Generate a population and its card uses.

    People, lifetimes, cards and uses are written as Parquet files. An interrupted run is resumed.
    """
    from kazashi.studies.tracking import populated
    from kazashi.tracking_lab.engine import DuckDb, count
    from kazashi.tracking_lab.laboratory import steps
    from kazashi.tracking_lab.plan import Plan
    from kazashi.tracking_lab.study import open_engine

    plan = Plan(residents, years, seed)
    with progress("chunks of lifetimes and uses", steps(plan) or 1) as shown:
        laboratory = populated(new_world_of(context), plan, name, shown, memory)
    sizes: dict[str, Any] = {"directory": str(laboratory.directory)}
    if residents:
        engine = open_engine(laboratory, DuckDb(memory, laboratory.spill()))
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
@click.option(
    "--strict", is_flag=True, help="Refuse rows that cannot be read, and a mapping without the handles' form."
)
@memory_option
@replies
@click.pass_context
def tracking_import(
    context: click.Context, files: tuple[Path, ...], mapping: Path, name: str, individual_numbers: bool, strict: bool,
    memory: MemoryLimit,
) -> Reply:  # fmt: skip
    """Import your own logs.

    FILES are CSV (UTF-8, CP932, UTF-16), JSON lines, Parquet, or logs of nginx, Apache, HAProxy and PostgreSQL; gzip
    and zstd are read too. `kazashi tracking report --name logs` then runs the linkers on them. The mapping says which
    column is the time, the service and the handle; docs/tracking.md shows examples.
    """
    from dataclasses import asdict

    from kazashi.studies.tracking import laboratory_of
    from kazashi.tracking_lab.logs import LogMapping, import_logs

    laboratory = laboratory_of(new_world_of(context), name)
    try:
        with progress("looking at the files", 100) as shown:
            result = import_logs(
                laboratory, files, LogMapping.read(mapping), individual_numbers=individual_numbers, strict=strict,
                memory=memory, progress=lambda step, done: shown(round(100 * done), description=step),
            )  # fmt: skip
    except KeyboardInterrupt:
        click.echo("kazashi: interrupted; nothing was imported", err=True)
        raise click.Abort from None
    lines = [f"{name}: {getattr(result, name)}" for name in ("rows", "uses", "services", "handles", "persons")]
    lines += [
        f"{file.name}: {file.rows} rows, {', '.join(filter(None, (file.kind, file.encoding, file.compression)))}; "
        f"{file.zoned} times name their zone"
        + (f", {file.unzoned} were read as times of {result.zone}" if file.unzoned else "")
        for file in result.files
    ]
    lines += [f"left out, {reason}: {count}" for reason, count in result.left_out.items()]
    lines += [f"note: {note}" for note in result.notes]
    return Reply(asdict(result), "\n".join(lines))


@tracking.command("delete")
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask.")
@replies
@click.pass_context
def tracking_delete(context: click.Context, name: str, yes: bool) -> Reply:
    """Delete a population or imported logs.

    Their handles are deleted too, and so is what killed imports of that name left. Reports that were written elsewhere
    stay.
    """
    from kazashi.assembly.errors import UsageError
    from kazashi.studies.tracking import laboratory_of
    from kazashi.tools.installation.progress import is_terminal
    from kazashi.tracking_lab.logs.replacing import delete

    laboratory = laboratory_of(world_of(context), name)
    if not yes:
        if not is_terminal(sys.stdin):
            raise UsageError(f"there is no terminal to ask on; run: kazashi tracking delete {name} --yes")
        if not click.confirm(f"Delete {name}, which is in {laboratory.directory}?", err=True):
            return Reply({"deleted": False}, "Nothing was deleted.")
    delete(laboratory)
    return Reply({"deleted": True}, f"Deleted {name}.")


@tracking.command("digests")
@click.option("--name", default="logs", show_default=True, help="The name of the imported logs in the world.")
@click.option("--from", "first", metavar="SERIAL", help="The first serial number to try [default: 70000001].")
@click.option("--to", "last", metavar="SERIAL", help="The last one [default: five million numbers].")
@replies
@click.pass_context
def tracking_digests(context: click.Context, name: str, first: str | None, last: str | None) -> Reply:
    """Try whether handles are plain digests of serial numbers.

    A service that stores SHA-256 of a serial number in its place hides it from nobody who can try all of them. This
    says how many handles were reversed, and prints none of them. Exit status 1 if any was.
    """
    import time
    from dataclasses import asdict

    from kazashi.assembly.errors import UsageError
    from kazashi.jpki.serial_number import MAX_SERIAL, NotASerialNumber, read_serial, serial_text
    from kazashi.studies.tracking import laboratory_of
    from kazashi.tracking_lab.logs.digests import FIRST_SERIAL, SERIALS, search_digests

    try:
        read = {option: read_serial(text) for option, text in (("--from", first), ("--to", last)) if text is not None}
    except NotASerialNumber as error:
        raise UsageError(str(error)) from error
    begin = read["--from"].readings[0] if first is not None else FIRST_SERIAL
    end = read["--to"].readings[0] if last is not None else min(begin + SERIALS - 1, MAX_SERIAL)
    bases = [f"{option} {given.text} was read as {'decimal' if given.hexadecimal is None else 'hexadecimal'}"
             for option, given in read.items()]  # fmt: skip
    if end < begin:
        raise UsageError(
            f"the range of serial numbers from {serial_text(begin)} to {serial_text(end)} is empty; {', '.join(bases)}"
        )
    begun = time.perf_counter()
    with progress("serial numbers", end - begin + 1) as shown:
        found = search_digests(laboratory_of(world_of(context), name), begin, end, shown)
    seconds = time.perf_counter() - begun
    lines = [
        f"{found.digests:,} of {found.handles:,} handles have the length of a digest",
        f"{found.reversed:,} of them were reversed by trying {serial_text(found.first)} to {serial_text(found.last)}"
        if found.computed
        else "no serial number was tried, because no handle has that length",
        *bases,
        *(f"{way.reversed:,}: {way.digest} of the serial number ({way.input})" for way in found.ways),
        f"{found.computed:,} digests in {seconds:.1f} s ({found.computed / seconds:,.0f} a second)",
    ]
    return Reply({**asdict(found), "seconds": seconds}, "\n".join(lines), 1 if found.reversed else 0)


@tracking.command("report")
@click.option("--name", default=_POPULATION, show_default=True, help="The population or the imported logs.")
@click.option("--html", type=_OUT, help="Write the HTML report here (default: kazashi-tracking[-NAME].html).")
@click.option("--csv", "csv_file", type=_OUT, help="Write every number, with its interval and query, to this file.")
@click.option("--against", metavar="NAME", help="Compare with this population or these logs.")
@language_option
@click.option(
    "--edition",
    type=click.Choice(["full", "public"]),
    default="full",
    show_default=True,
    help="`public` leaves out what can identify people or services in imported logs.",
)
@click.option("--spark", help="Run on Apache Spark at this master: spark://host:7077, local[2]. Needs kazashi[spark].")
@memory_option
@json_option
@click.pass_context
def tracking_report(
    context: click.Context, name: str, html: Path | None, csv_file: Path | None, against: str | None, lang: str,
    edition: str, spark: str | None, memory: MemoryLimit, as_json: bool,
) -> None:  # fmt: skip
    """Examine a population or logs and write a report.

    Prints the answer and the claims, or with --against the comparison. In a world without a population, one of 1,000
    people over ten years is generated first. A report that was interrupted continues with what was computed; the same
    data give the same report.
    """
    from kazashi.assembly.errors import UsageError
    from kazashi.studies.tracking import RESIDENTS, YEARS, laboratory_of, populated, report
    from kazashi.tracking_lab.document import as_json as in_json
    from kazashi.tracking_lab.engine import DuckDb, Spark
    from kazashi.tracking_lab.examine import examine
    from kazashi.tracking_lab.laboratory import steps
    from kazashi.tracking_lab.log_study import examine_logs
    from kazashi.tracking_lab.measurements import as_csv
    from kazashi.tracking_lab.page.words import Language
    from kazashi.tracking_lab.page.writer import Edition
    from kazashi.tracking_lab.parts import Parts
    from kazashi.tracking_lab.plan import Plan
    from kazashi.tracking_lab.report import Audience, as_html, as_text
    from kazashi.tracking_lab.results import LogExamination, TrackingReport

    world = new_world_of(context)
    laboratory = laboratory_of(world, name)
    audience = Audience(Language(lang), Edition(edition), name)
    compared = [laboratory, *([laboratory_of(world, against)] if against is not None else [])]
    if edition == "public" and any(one.imported for one in compared) and (as_json or csv_file is not None):
        raise UsageError("the public edition is a page; --json and --csv have all numbers, so leave them out")
    result: TrackingReport | LogExamination
    if not laboratory.imported and not laboratory.begun and name == _POPULATION:
        plan = Plan(RESIDENTS, YEARS, world.seed)
        with progress("chunks of lifetimes and uses", steps(plan)) as shown:
            laboratory = populated(world, plan, name, shown, memory)
    with progress("starting", None) as shown:
        parts = Parts.kept(
            laboratory, lambda part: shown(parts.done, total=parts.total, description=part), spark or "duckdb"
        )
        if laboratory.imported:
            engine = Spark(spark) if spark else DuckDb(memory, laboratory.spill())
            result = examine_logs(laboratory, parts, engine)
        else:
            result = report(laboratory, parts, memory, Spark(spark) if spark else None)
        if against is not None:
            engine = Spark(spark) if spark else DuckDb(memory, compared[1].spill())
            other = examine(compared[1], lambda part: shown(parts.done, description=f"{against}: {part}"), engine)
            audience = replace(audience, other=(against, other))
    html = html or Path("kazashi-tracking.html" if name == _POPULATION else f"kazashi-tracking-{name}.html")
    write_whole(html, as_html(result, audience))
    if csv_file is not None:
        write_whole(csv_file, as_csv(result))
    if as_json:
        click.echo(in_json(result), nl=False)
    else:
        click.echo(as_text(result, audience))
    click.echo(f"The report is in {html}", err=True)


@tracking.command("exposure")
@click.option("--this-world", is_flag=True, help="Examine the stores of this world instead of a small one.")
@replies
@click.pass_context
def tracking_exposure(context: click.Context, this_world: bool) -> Reply:
    """Show which actor stores which handle.

    Also shows the paths from each handle to a person's codes. It examines a small world in which cards are used
    everywhere, or this one. Handles are found by their values, wherever they lie.
    """
    import tempfile

    from kazashi.studies.handle_exposure import exposed, matrix
    from kazashi.studies.handle_sightings import sightings
    from kazashi.tracking_lab.document import json_value

    if this_world:
        world = world_of(context)
        result = matrix(exposed(world, sightings(world, leaves=True)))
    else:
        from kazashi.studies.tracking_stores import scene

        with tempfile.TemporaryDirectory(prefix="kazashi-") as name, scene(Path(name) / "w") as (institutions, _):
            result = matrix(exposed(institutions.world, sightings(institutions.world, leaves=True)))
    rows = [
        {"who": cell.actor, "holds": cell.handle, "how": cell.holding.value,
         "seen in": f"{cell.table}, {cell.column}, {cell.rows} rows"} for cell in result.cells
    ]  # fmt: skip
    paths = [f"{path.actor}, {path.handle} -> {path.target}: {' / '.join(map(str, path.steps)) or 'no path'}"
             for path in result.paths]  # fmt: skip
    return Reply(json_value(result), table(rows, "no actor stores a handle") + "\n\n" + "\n".join(paths))


@tracking.command("schema")
def tracking_schema() -> None:
    """Print the JSON Schema of what `tracking report --json` prints."""
    from importlib.resources import files

    click.echo((files("kazashi.tracking_lab") / "report.schema.json").read_text(encoding="utf-8"), nl=False)
