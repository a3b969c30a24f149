"""`kazashi self`: the installed program itself."""

from __future__ import annotations

import os
import time

import click

from kazashi.tools.cli.completion_scripts import SCRIPTS
from kazashi.tools.installation.parts import BASE, PARTS

NAME = "kazashi"


@click.group("self")
def installation() -> None:
    """Install parts, update or remove the program.

    Also print its man page and the shell completion.
    """


@installation.command("install")
@click.argument("parts", nargs=-1, required=True, type=click.Choice([name for name in PARTS if name != BASE]))
@click.pass_context
def self_install(context: click.Context, parts: tuple[str, ...]) -> None:
    """Install parts of the program.

    Commands name the part that they need. In a clone they also offer to install it.
    """
    from kazashi.tools.installation.installer import install_parts

    install_parts(parts, agreed=context.find_root().params["yes"])
    click.echo(f"Installed: {', '.join(parts)}")


@installation.command("update")
@click.argument("wheel", required=False)
def self_update(wheel: str | None) -> None:
    """Update the program.

    In a clone this pulls the newest commit; the next command installs what is new. Elsewhere WHEEL, a file or an
    address, is installed in place of the present version (default: the address that this version came from).
    """
    from kazashi.tools.installation.installer import update

    update(wheel)


@installation.command("remove")
@click.option("--yes", is_flag=True, help="Do not ask.")
def self_remove(yes: bool) -> None:
    """Remove the program, but no world.

    In a clone this removes the virtual environments; the folder itself is yours to delete.
    """
    from kazashi.tools.installation.installer import remove, what_stays

    stays = what_stays()
    if not yes:
        click.confirm("Remove the program?", abort=True, err=True)
    remove()
    click.echo("".join(f"Left behind: {line}\n" for line in stays), nl=False)


@installation.command("man")
@click.pass_context
def self_man(context: click.Context) -> None:
    """Print the man page kazashi(1).

    It has the same texts as --help. Read it with: kazashi self man | man -l -
    """
    from importlib.metadata import version

    from kazashi.tools.cli.man_page import man_page

    # A packager sets SOURCE_DATE_EPOCH, so that each build makes the same file (reproducible-builds.org).
    day = time.strftime("%Y-%m-%d", time.gmtime(int(os.environ.get("SOURCE_DATE_EPOCH", time.time()))))
    click.echo(man_page(context.find_root().command, NAME, version=version("kazashi"), day=day), nl=False)


@installation.command("completion")
@click.argument("shell", type=click.Choice(list(SCRIPTS)))
@click.pass_context
def self_completion(context: click.Context, shell: str) -> None:
    """Print the script that completes commands in a shell.

    The script works for the program in PATH and for a path to it, such as ./kazashi. docs/install.md says where to put
    it.
    """
    from kazashi.tools.cli.completion_scripts import completion_script

    click.echo(completion_script(context.find_root().command, NAME, shell), nl=False)
