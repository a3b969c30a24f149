"""Tests of the command line."""

from __future__ import annotations

from collections.abc import Iterator

import click

from kazashi.tools.cli.command_line import NAME, kazashi


def commands() -> Iterator[tuple[click.Context, click.Command]]:
    """Yield every group and command of the program, each with a context for a terminal of 80 columns."""
    top: click.Command = kazashi
    pending = [(click.Context(top, info_name=NAME, terminal_width=80), top)]
    while pending:
        context, command = pending.pop()
        yield context, command
        if isinstance(command, click.Group):
            for name in command.list_commands(context):
                inner = command.get_command(context, name)
                assert inner is not None
                pending.append((click.Context(inner, parent=context, info_name=name, terminal_width=80), inner))
