"""`kazashi self`: the installed program itself."""

from __future__ import annotations

import os
import time

import click

from kazashi.tools.cli.completion_scripts import SCRIPTS


@click.group("self")
def installation() -> None:
    """Print the man page and the shell completion."""


@installation.command("man")
@click.pass_context
def self_man(context: click.Context) -> None:
    """Print the man page kazashi(1).

    It has the same texts as --help. Read it with: kazashi self man | man -l -
    """
    from importlib.metadata import version

    from kazashi.tools.cli.man_page import man_page

    top = context.find_root()
    # A packager sets SOURCE_DATE_EPOCH, so that each build makes the same file (reproducible-builds.org).
    day = time.strftime("%Y-%m-%d", time.gmtime(int(os.environ.get("SOURCE_DATE_EPOCH", time.time()))))
    click.echo(man_page(top.command, str(top.info_name), version=version("kazashi"), day=day), nl=False)


@installation.command("completion")
@click.argument("shell", type=click.Choice(list(SCRIPTS)))
@click.pass_context
def self_completion(context: click.Context, shell: str) -> None:
    """Print the script that completes commands in a shell.

    The script works for the program in PATH and for a path to it, such as ./kazashi. docs/install.md says where to put
    it.
    """
    from kazashi.tools.cli.completion_scripts import completion_script

    top = context.find_root()
    click.echo(completion_script(top.command, str(top.info_name), shell), nl=False)
