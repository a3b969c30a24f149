"""`kazashi network open-log`, `kazashi network insights` and `kazashi tracking open-log`: the network's log as open
data, what it shows, and whom it protects."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from kazashi.tools.cli.commands.network_shared import network_of
from kazashi.tools.cli.commands.shared import Reply, language_option, replies, table
from kazashi.world.atomic_file import write_whole

_DIRECTORY = click.Path(path_type=Path)


@click.command("open-log")
@click.option("--out", type=_DIRECTORY, required=True, metavar="DIR", help="The directory for the files.")
@click.option("--delay-days", type=click.IntRange(0, 3_650), default=10, show_default=True,
              help="Publish a day when this many days have passed after it.")  # fmt: skip
@click.option("--precision", type=click.Choice(["minute", "hour", "day"]), default="hour", show_default=True,
              help="The precision of times. It cannot be changed once a day was published.")  # fmt: skip
@replies
@click.pass_context
def open_log(context: click.Context, out: Path, delay_days: int, precision: str) -> Reply:
    """Publish the network's log as open data.

    Writes JSON lines (gzip) for each day, and meta.json, which describes them. The rows are the core's records without
    persons, numbers and order. A day that was published stays as it is: the same command writes the same bytes.
    """
    from kazashi.provision_network.open_log import Precision, write_open_log

    days = network_of(context).core.open_log.publish(Precision(precision), delay_days)
    write_open_log(out, days, Precision(precision), delay_days)
    rows = [{"day": str(day.day), "file": day.file, "rows": day.rows, "sha256": day.sha256} for day in days]
    return Reply(
        rows, table(rows, f"no day of the log ended {delay_days} or more days ago; {out} has only its description")
    )


@click.command("insights")
@click.argument("directory", metavar="DIR", type=_DIRECTORY)
@click.option("--html", type=click.Path(dir_okay=False, path_type=Path), default=Path("kazashi-insights.html"),
              show_default=True, help="Write the page to this file.")  # fmt: skip
@language_option
@replies
def insights(directory: Path, html: Path, lang: str) -> Reply:
    """Write a page of insights from an open log.

    DIR is a directory that `kazashi network open-log` wrote. The page is one HTML file that loads nothing and needs no
    script: when, who asks whom for what, how fast, and how many rows look like no other.
    """
    from kazashi.studies.open_log import protection, read_open_log
    from kazashi.studies.open_log_page import insights_page
    from kazashi.tracking_lab.document import json_value
    from kazashi.tracking_lab.metrics import Share
    from kazashi.tracking_lab.page.words import Language

    log = read_open_log(directory)
    again = f"kazashi network insights {directory} --html {html} --lang {lang}"
    write_whole(html, insights_page(log, Language(lang), again))
    found = protection(log.rows)
    document: dict[str, Any] = {
        "page": str(html), "rows": log.rows.height, "precision": log.precision.value, "delay_days": log.delay_days,
        "succeeded": Share(int(log.rows["succeeded"].sum()), log.rows.height), "unique": found.sets.unique,
        "in_small_sets": found.small,
    }  # fmt: skip
    words = (
        f"{log.rows.height:,} requests to the {log.precision.value}; provided: {document['succeeded']}\n"
        f"rows that look like no other (bodies, item, time): {found.sets.unique}\nThe page is in {html}"
    )
    return Reply(json_value(document), words)


@click.command("open-log")
@click.option("--seed", default="tracking", show_default=True, help="The same seed gives the same numbers.")
@click.option("--per-year", type=click.FloatRange(0.1, 10), default=1.0, show_default=True,
              help="How often a resident applies for something in a year.")  # fmt: skip
@replies
def tracking_open_log(seed: str, per_year: float) -> Reply:
    """Measure whom the precision of an open log protects.

    Simulates the requests of villages, towns and a city, publishes them to the second, minute, hour and day, and runs a
    linker for three attackers. Shows how many rows look like no other, among how many applicants one hides at the
    median, and how many applicants an attacker singles out, with Wilson's intervals at 95 %.
    """
    from kazashi.studies.open_log_study import answer, as_rows, open_log_study
    from kazashi.tracking_lab.document import json_value

    cases = list(open_log_study(seed, per_year))
    document = {"seed": seed, "per_year": per_year, "answer": answer(cases), "cases": json_value(cases)}
    return Reply(document, f"{table(as_rows(cases), '')}\n\n{answer(cases)}")
