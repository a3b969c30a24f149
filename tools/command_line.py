"""The command line. Commands import what they need when they run, so that every start is quick."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import click

from tools.commands.ca import ca
from tools.commands.card import card
from tools.commands.clock import clock
from tools.commands.life import doctor, down, status, up
from tools.commands.mykey import mykey
from tools.commands.network import network
from tools.commands.points import points
from tools.commands.reader import reader
from tools.commands.registry import registry
from tools.commands.serve import agent, platform, provider, provider_client, site, tenant
from tools.commands.shared import json_option
from tools.commands.tracking import tracking
from tools.commands.verify import verify
from tools.commands.world import world

AREAS = ("card", "reader", "pki", "relying-party", "points", "network", "tracking")
_CHECKOUT = Path(__file__).resolve().parent.parent


def main() -> NoReturn:
    """Run the program; errors become one line on stderr and an exit status."""
    from tools.errors import Exit

    try:
        sys.exit(kazashi.main(standalone_mode=False) or Exit.OK)
    except click.ClickException as error:
        error.show()
        sys.exit(Exit.USAGE)
    except click.Abort:
        sys.exit(130)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(Exit.OK)
    except Exception as error:
        from tools.error_codes import code_of, exit_of

        code = code_of(error)
        if code is None:
            raise
        click.echo(f"kazashi: {error} [{code}]", err=True)
        sys.exit(exit_of(code))


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--world",
    "world_directory",
    type=click.Path(file_okay=False, path_type=Path),
    help="The directory that holds everything (default: $KAZASHI_WORLD, else ~/.local/share/kazashi).",
)
@click.version_option(package_name="kazashi")
@click.pass_context
def kazashi(context: click.Context, world_directory: Path | None) -> None:
    """An Individual Number Card bench: an emulated card in a real PC/SC reader, and the authorities behind it."""
    context.obj = world_directory
    if "NO_COLOR" in os.environ:
        context.color = False


for command in (
    up,
    down,
    status,
    doctor,
    card,
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
    tracking,
    clock,
    world,
):
    kazashi.add_command(command)


@kazashi.command()
@json_option
@click.option("--report", type=click.Path(dir_okay=False, path_type=Path), default=Path("kazashi-demo.html"))
def demo(as_json: bool, report: Path) -> int:
    """The whole story on a real reader, then exit 0; non-zero if any step fails.

    It uses a world and a pcscd of its own and leaves nothing behind but a small HTML report.
    """
    from tools.demo import run_demo, write_report

    def tell(step: Any) -> None:
        if not as_json:
            mark = click.style("ok  ", fg="green") if step.ok else click.style("FAIL", fg="red")
            click.echo(f"{mark} {step.seconds * 1000:7.0f} ms  {step.step}: {step.detail}")

    steps = run_demo(tell)
    write_report(steps, report)
    if as_json:
        click.echo(json.dumps([step.as_dict() for step in steps], ensure_ascii=False))
    click.echo(f"The report is in {report}", err=True)
    return 0 if all(step.ok for step in steps) else 1


@kazashi.command(context_settings={"ignore_unknown_options": True, "help_option_names": []})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def test(arguments: Sequence[str]) -> int:
    """The project's tests, all of them: style, types, and everything under tests/ (arguments go to pytest)."""
    if not (_CHECKOUT / "tests").is_dir():
        from tools.errors import UsageError

        raise UsageError("the tests come with the checkout, and this is an installed copy")
    checks = [] if arguments else [["-m", "ruff", "check", "."], ["-m", "mypy"]]
    for check in [*checks, ["-m", "pytest", *arguments]]:
        status = subprocess.run([sys.executable, *check], cwd=_CHECKOUT, check=False).returncode
        if status:
            return status
    return 0


@kazashi.command()
@click.argument("area", type=click.Choice(AREAS), default="card")
@json_option
def bench(area: str, as_json: bool) -> int:
    """Measurements, as ratios against named peers in one run."""
    from dataclasses import asdict
    from importlib import import_module

    from rich.console import Console
    from rich.table import Table

    console = Console(stderr=True)
    with console.status("starting") as shown:
        measures = import_module(f"tools.bench_{area.replace('-', '_')}").measure(
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
