"""Functions that the commands of `kazashi network` share: the world's network, days, documents and their shapes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kazashi.tools.cli.commands.shared import institutions_of

if TYPE_CHECKING:
    from kazashi.assembly.network import Network

wait_option = click.option("--wait", "seconds", type=click.FloatRange(0, 600), default=10.0, show_default=True,
                           metavar="SECONDS", help="Wait at most this long for the servers.")  # fmt: skip
day_option = click.option("--on", metavar="DATE", help="The day of the act (default: today in the world).")
file_argument = click.argument("file", type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path))


def network_of(context: click.Context) -> Network:
    """Return the world's network. Raises UsageError if it is not set up."""
    from kazashi.assembly.errors import UsageError
    from kazashi.assembly.network import Network

    connected = Network(institutions_of(context))
    if not connected.core.members.institutions():
        raise UsageError("the network is not set up yet; run: kazashi network setup")
    return connected


def content_in(file: Path) -> bytes:
    """Return the content of a file, or of stdin (`-`). Raises FileUnusable."""
    from kazashi.world.input_file import LARGE, STDIN, read_input, read_stdin

    return read_stdin(LARGE) if str(file) == STDIN else read_input(file, LARGE)


def text_in(file: Path) -> str:
    """Return the text of a file, or of stdin (`-`). Raises UsageError if it is not UTF-8, and FileUnusable."""
    from kazashi.assembly.errors import UsageError

    try:
        return content_in(file).decode("utf-8")
    except UnicodeDecodeError as error:
        raise UsageError(f"{file} is not a text in UTF-8 (byte {error.start})") from error


def people_of(network: Network, who: tuple[str, ...], file: Path | None) -> list[Any]:
    """Return the residents that were named by alias, individual number or record code, on the command line or one a
    line in a file. Raises UsageError if none is given, and NoSuchResident."""
    from kazashi.assembly.errors import UsageError

    named = [*who, *(line.strip() for line in (text_in(file).splitlines() if file else []) if line.strip())]
    if not named:
        raise UsageError("no person is given; give people as arguments, or one a line with --file")
    return [network.institutions.registry.find(one) for one in dict.fromkeys(named)]
