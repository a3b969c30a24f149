"""`kazashi reader install` and `uninstall`: readers of the system's pcscd."""

from __future__ import annotations

import getpass
import os

import click

from kazashi.tools.cli.commands.shared import Reply, replies

_RESTART = "restart pcscd to see the effect: sudo systemctl restart pcscd.service"


@click.command("install")
@click.argument("name")
@click.option("--user", metavar="USER", help="Who hosts the cards (default: you, or who ran sudo).")
@click.option("--slots", type=click.IntRange(1, 16), default=1, show_default=True, help="How many cards fit in.")
@replies
def reader_install(name: str, user: str | None, slots: int) -> Reply:
    """Install a reader in the system's pcscd.

    It needs root. From pcscd's next start on there is a reader NAME, in which `kazashi up` of USER puts its cards.
    Every program finds it without an environment variable.
    """
    from kazashi.reader_bridge.system_reader import install_reader

    reader = install_reader(name, user or os.environ.get("SUDO_USER") or getpass.getuser(), slots)
    words = f"{reader.name} is installed, and {reader.user} hosts its cards ({reader.directory}); {_RESTART}"
    return Reply({"name": name, "user": reader.user, "directory": str(reader.directory), "slots": slots}, words)


@click.command("uninstall")
@click.argument("name")
@replies
def reader_uninstall(name: str) -> Reply:
    """Remove a reader that was installed in the system's pcscd.

    It needs root.
    """
    from kazashi.reader_bridge.system_reader import uninstall_reader

    reader = uninstall_reader(name)
    return Reply({"name": name, "directory": str(reader.directory)}, f"{name} is uninstalled; {_RESTART}")
