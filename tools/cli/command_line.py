"""The `kazashi` command line. Commands import what they need when they run, so that the program starts quickly."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any, NoReturn

import click

from kazashi.tools.cli.commands.ca import ca
from kazashi.tools.cli.commands.card import card
from kazashi.tools.cli.commands.clinic import clinic
from kazashi.tools.cli.commands.clock import clock
from kazashi.tools.cli.commands.development import bench, docs, imports, lock, test
from kazashi.tools.cli.commands.installation import installation
from kazashi.tools.cli.commands.instance import doctor, down, status, up
from kazashi.tools.cli.commands.insurance import insurance
from kazashi.tools.cli.commands.mdoc import mdoc
from kazashi.tools.cli.commands.mykey import mykey
from kazashi.tools.cli.commands.network import network
from kazashi.tools.cli.commands.phone import phone
from kazashi.tools.cli.commands.points import points
from kazashi.tools.cli.commands.reader import reader
from kazashi.tools.cli.commands.registry import registry
from kazashi.tools.cli.commands.serve import agent, platform, provider, provider_client, site, tenant
from kazashi.tools.cli.commands.shared import json_option
from kazashi.tools.cli.commands.tracking import tracking
from kazashi.tools.cli.commands.verify import verify
from kazashi.tools.cli.commands.world import world
from kazashi.tools.installation.parts import command_words, parts_of
from kazashi.tools.program import run

NAME = "kazashi"


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--world",
    "world_directory",
    type=click.Path(file_okay=False, path_type=Path),
    help="The world directory, which holds all data (default: $KAZASHI_WORLD, else ~/.local/share/kazashi).",
)
@click.option("--yes", is_flag=True, help="Install what the command needs without asking (in a clone).")
@click.version_option(package_name="kazashi", prog_name=NAME)
@click.pass_context
def kazashi(context: click.Context, world_directory: Path | None, yes: bool) -> None:
    """Emulate the Individual Number Card in a PC/SC reader.

    The certification authorities and the resident registry behind the card are emulated, too.
    """
    context.obj = world_directory
    if "NO_COLOR" in os.environ:
        context.color = False


for command in (
    up,
    down,
    status,
    doctor,
    card,
    phone,
    mdoc,
    reader,
    registry,
    ca,
    verify,
    mykey,
    agent,
    site,
    provider,
    provider_client,
    platform,
    tenant,
    points,
    network,
    insurance,
    clinic,
    tracking,
    clock,
    world,
    installation,
    test,
    bench,
    docs,
    imports,
    lock,
):
    kazashi.add_command(command)


@kazashi.command()
@json_option
@click.option("--report", type=click.Path(dir_okay=False, path_type=Path), default=Path("kazashi-demo.html"),
              show_default=True, help="Write the HTML report to this file.")  # fmt: skip
@click.option("--short", is_flag=True, help="Show only the card, the reader, a signature and a revocation.")
@click.option("--vpcd", is_flag=True, help="Use vpcd's reader instead of our own driver's.")
def demo(as_json: bool, report: Path, short: bool, vpcd: bool) -> int:
    """Run the demo on a real PC/SC reader.

    The demo uses its own world and its own pcscd, and leaves only a small HTML report behind. In a clone it installs
    what its later steps need when the card is in the reader. The exit status is 1 if any step fails.
    """
    from kazashi.tools.demo.demo import check_writable, run_demo, write_report
    from kazashi.tools.installation.parts import LATER
    from kazashi.tools.installation.running import Widening, check_parts

    check_writable(report)
    if not short:
        check_parts(LATER["demo"])

    def show(step: Any) -> None:
        if not as_json:
            outcome = click.style("ok  ", fg="green") if step.ok else click.style("FAIL", fg="red")
            click.echo(f"{outcome} {step.seconds * 1000:7.0f} ms  {step.step}: {step.detail}")

    steps = run_demo(show, None if short else lambda: Widening(LATER["demo"]), vpcd=vpcd)
    write_report(steps, report)
    if as_json:
        click.echo(json.dumps([step.as_dict() for step in steps], ensure_ascii=False))
    click.echo(f"The report is in {report}", err=True)
    return 0 if all(step.ok for step in steps) else 1


def main() -> NoReturn:
    """Run the `kazashi` program, after it has what the command needs."""

    def prepare() -> None:
        arguments = sys.argv[1:]
        only_words = {"--help", "-h"} & set(arguments) or "_KAZASHI_COMPLETE" in os.environ
        parts = () if only_words else parts_of(command_words(arguments))
        if "test" in parts or "docs" in parts:
            from kazashi.tools.cli.checkout import checkout

            checkout()
        if parts:
            from kazashi.tools.installation.running import bring

            bring(arguments)

    run(kazashi, NAME, prepare)
