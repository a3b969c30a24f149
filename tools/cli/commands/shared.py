"""Functions and options that several commands share: the world they work on, and how they reply."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from kazashi.tools.program import as_called
from kazashi.web.ports import AGENT, AUTHORITIES, Port

_Command = TypeVar("_Command", bound=Callable[..., Any])

if TYPE_CHECKING:
    from datetime import date

    from kazashi.assembly.institutions import Institutions
    from kazashi.world.home import World

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON on stdout.")
services_option = click.option("--services", default=AUTHORITIES.address, show_default=True, metavar="URL",
                               help="The authorities' address (kazashi up).")  # fmt: skip
agent_option = click.option("--agent", default=AGENT.address, show_default=True, metavar="URL",
                            help="The local agent's address, for users' browsers (kazashi agent).")  # fmt: skip


def language_of_locale() -> str:
    """Return `ja` if the locale of messages is Japanese, else `en`. The first variable that is set decides (POSIX,
    8.2)."""
    locale = next(filter(None, map(os.environ.get, ("LC_ALL", "LC_MESSAGES", "LANG"))), "")
    return "ja" if locale.startswith("ja") else "en"


language_option = click.option("--lang", type=click.Choice(["en", "ja"]), default=language_of_locale,
                               help="The language of the page (default: the locale's).")  # fmt: skip


def port_option(port: Port) -> Callable[[_Command], _Command]:
    """Return the option --port of a server, whose default is `port`."""
    return click.option("--port", type=int, default=port.number, show_default=True, help="The port to listen on.")


def world_of(context: click.Context) -> World:
    """Return the world that the command works on. Raises WorldMissing and WorldUnusable."""
    from kazashi.world.home import existing_world

    return existing_world(context.obj)


def new_world_of(context: click.Context) -> World:
    """Return the world, and create it if it does not exist: for commands that set something up. Raises
    WorldUnusable."""
    from kazashi.world.home import open_world

    return open_world(context.obj)


def world_if_any(context: click.Context) -> World | None:
    """Return the world, or None if it does not exist: for commands that also work without one. Raises
    WorldUnusable."""
    from kazashi.world.home import WorldMissing

    try:
        return world_of(context)
    except WorldMissing:
        return None


def institutions_of(context: click.Context) -> Institutions:
    """Return the institutions of the world that the command works on. Raises WorldMissing and WorldUnusable."""
    from kazashi.assembly.institutions import Institutions

    return Institutions(world_of(context))


def ask(context: click.Context, verb: str, **arguments: object) -> dict[str, Any]:
    """Send a request to the running instance and return its reply. Raises NotRunning."""
    from kazashi.assembly.control_path import control_path
    from kazashi.reader_bridge.control import request

    return request(control_path(world_of(context)), verb, **arguments)


def gathered(
    name: str, make: Callable[..., Any], *options: Callable[[Callable[..., Any]], Callable[..., Any]]
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Combine several options into one: the command gets one argument, `name`, which `make` makes from their
    values."""
    parameters = signature(make).parameters

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(command)
        def called(*arguments: Any, **given: Any) -> Any:
            value = make(**{parameter: given.pop(parameter) for parameter in parameters})
            return command(*arguments, **given, **{name: value})

        for option in reversed(options):
            called = option(called)
        return called

    return decorate


@dataclass(frozen=True, slots=True)
class Reply:
    """A command's output: data for programs, text for people, and the exit status."""

    data: object
    words: str
    status: int = 0

    def show(self, as_json: bool) -> None:
        """Print the data as JSON, or the text, on stdout."""
        if as_json:
            click.echo(json.dumps(self.data, ensure_ascii=False))
        elif self.words:
            click.echo(as_called(self.words), nl=not self.words.endswith("\n"))


def replies(command: Callable[..., Reply | None]) -> Callable[..., int]:
    """Give the command the option --json, and print the reply that it returns as JSON or as text. A command that has
    written a file or binary data instead returns None."""

    @json_option
    @wraps(command)
    def shown(*arguments: Any, as_json: bool, **options: Any) -> int:
        reply = command(*arguments, **options)
        if reply is None:
            return 0
        reply.show(as_json)
        return reply.status

    return shown


def table(rows: list[dict[str, Any]], empty: str) -> str:
    """Return rows as aligned columns under their names, or `empty` if there are no rows."""
    if not rows:
        return empty
    from rich.cells import cell_len

    columns = list(rows[0])
    cells = [columns, *([str("" if row[name] is None else row[name]) for name in columns] for row in rows)]
    widths = [max(cell_len(line[place]) for line in cells) for place in range(len(columns))]
    return "\n".join(
        "  ".join(text + " " * (width - cell_len(text)) for text, width in zip(line, widths, strict=True)).rstrip()
        for line in cells
    )


def write_bytes(content: bytes, out: Path | None, name: str) -> None:
    """Write binary data to a file, or to stdout (`-` or None). Raises UsageError if stdout is a terminal. `name` names
    the data in the message."""
    import sys

    from kazashi.assembly.errors import UsageError

    if out is None or str(out) == "-":
        if sys.stdout.isatty():
            raise UsageError(f"{name} is binary, and stdout is a terminal; write it to a file with --out FILE")
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()
    else:
        out.write_bytes(content)


@contextmanager
def progress(words: str, total: int | None) -> Iterator[Any]:
    """Show a progress bar with the time left on stderr. The context's value is a function that takes how much is done
    so far; a new `total` or `description` may be passed by name."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(words, total=total)
        yield lambda done, **changes: bar.update(task, completed=done, **changes)


def day_of(text: str | None, world: World) -> date:
    """Return a day that was given as text, or today in the world. Raises UsageError."""
    from kazashi.world.clock import today

    return today(world.clock) if text is None else parsed_day(text)


def prefecture_of(text: str) -> str:
    """Return the code of a prefecture that was given as text. Raises UsageError."""
    from kazashi.assembly.errors import UsageError
    from kazashi.resident_registry.municipality import checked_prefecture

    try:
        return checked_prefecture(text)
    except ValueError as error:
        raise UsageError(str(error)) from error


def parsed_day(text: str) -> date:
    """Parse a day. Raises UsageError."""
    from datetime import date

    from kazashi.assembly.errors import UsageError

    try:
        day = date.fromisoformat(text)
        if day.isoformat() != text:  # the other forms of ISO 8601, such as 20261124
            raise ValueError(text)
        return day
    except ValueError as error:
        raise UsageError(f"{text!r} is not a date; write it like 2026-11-24") from error
