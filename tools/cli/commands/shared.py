"""What the commands share: the world they work on, and how they answer."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from kazashi.web.ports import AGENT, AUTHORITIES, Port

_Command = TypeVar("_Command", bound=Callable[..., Any])

if TYPE_CHECKING:
    from kazashi.assembly.institutions import Institutions
    from kazashi.world.home import World

json_option = click.option("--json", "as_json", is_flag=True, help="Answer as JSON on stdout.")
services_option = click.option("--services", default=AUTHORITIES.address, show_default=True, metavar="URL",
                               help="Where the authorities answer (kazashi up).")  # fmt: skip
agent_option = click.option("--agent", default=AGENT.address, show_default=True, metavar="URL",
                            help="Where users' browsers find the local agent (kazashi agent).")  # fmt: skip


def port_option(port: Port) -> Callable[[_Command], _Command]:
    """The option that names another port than a server's own."""
    return click.option("--port", type=int, default=port.number, show_default=True)


def world_of(context: click.Context) -> World:
    """The world that the program was told to work on. Raises WorldMissing and WorldUnusable."""
    from kazashi.world.home import existing_world

    return existing_world(context.obj)


def new_world_of(context: click.Context) -> World:
    """The same, begun if need be: for commands that set something up. Raises WorldUnusable."""
    from kazashi.world.home import open_world

    return open_world(context.obj)


def world_if_any(context: click.Context) -> World | None:
    """The same, where one has begun: for commands that also do without. Raises WorldUnusable."""
    from kazashi.world.home import WorldMissing

    try:
        return world_of(context)
    except WorldMissing:
        return None


def institutions_of(context: click.Context) -> Institutions:
    """The institutions of that world."""
    from kazashi.assembly.institutions import Institutions

    return Institutions(world_of(context))


def ask(context: click.Context, verb: str, **arguments: object) -> dict[str, Any]:
    """Ask the running bench. Raises NotRunning."""
    from kazashi.assembly.control_path import control_path
    from kazashi.reader_bridge.control import request

    return request(control_path(world_of(context)), verb, **arguments)


def gathered(
    name: str, make: Callable[..., Any], *options: Callable[[Callable[..., Any]], Callable[..., Any]]
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Options that belong together: the command gets one value, `name`, that `make` makes of them."""
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
    """What a command has to say: data for programs, words for people, and the exit status."""

    data: object
    words: str
    status: int = 0

    def show(self, as_json: bool) -> None:
        """Print one or the other on stdout."""
        if as_json:
            click.echo(json.dumps(self.data, ensure_ascii=False))
        elif self.words:
            click.echo(self.words, nl=not self.words.endswith("\n"))


def replies(command: Callable[..., Reply | None]) -> Callable[..., int]:
    """The command gets the option --json, and the reply that it returns is printed as the user asked. It returns None
    where it has written a file or binary data instead."""

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
    """Rows as aligned columns under their names; `empty` where there are none."""
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
    """Write binary data to a file, or to stdout where that is no terminal (`-`). Raises UsageError."""
    import sys

    from kazashi.assembly.errors import UsageError

    if out is None or str(out) == "-":
        if sys.stdout.isatty():
            raise UsageError(f"{name} is binary, and stdout a terminal; write it to a file with --out FILE")
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()
    else:
        out.write_bytes(content)


@contextmanager
def progress(words: str, total: int | None) -> Iterator[Any]:
    """A progress bar on stderr: a function that is told how much is done."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(words, total=total)
        yield lambda done: bar.update(task, completed=done)
