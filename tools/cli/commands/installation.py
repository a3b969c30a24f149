"""`kazashi self`: the installed program itself."""

from __future__ import annotations

import os
import sys
import time

import click

from kazashi.tools.cli.completion_scripts import SCRIPTS
from kazashi.tools.installation.parts import BASE, PARTS

NAME = "kazashi"


@click.group("self")
def installation() -> None:
    """Install parts, update or remove the program.

    There are also its man page and the completion for shells.
    """


@installation.command("install")
@click.argument("parts", nargs=-1, required=True, metavar="PART...",
                type=click.Choice([name for name in PARTS if name != BASE]))  # fmt: skip
def self_install(parts: tuple[str, ...]) -> None:
    """Install parts of the program.

    A command that lacks a part names it. docs/install.md says what each part is for, and how large it is.
    """
    from kazashi.tools.installation.installer import install_parts

    install_parts(parts)
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
    """Remove the program, but keep all worlds.

    In a clone this removes the virtual environments; the folder itself is yours to delete. Says what is left behind.
    """
    from kazashi.assembly.errors import UsageError
    from kazashi.tools.installation.installer import remove, what_stays
    from kazashi.tools.installation.progress import is_terminal

    stays = what_stays()
    if not yes:
        if not is_terminal(sys.stdin):
            raise UsageError("there is no terminal to ask on; run: kazashi self remove --yes")
        if not click.confirm(f"Remove the program in {sys.prefix}?", err=True):
            click.echo("Nothing was removed.")
            return
    remove()
    click.echo("Removed the program.")
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
