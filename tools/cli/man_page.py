"""The man page kazashi(1), written from the same texts as --help."""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Iterator, Mapping

import click

from kazashi.assembly.errors import Exit

EXIT_STATUS = {
    str(int(Exit.OK)): "Success.",
    str(int(Exit.NEGATIVE)): "A negative result: a verdict that is not good, or a check that failed.",
    str(int(Exit.USAGE)): "Wrong usage, or a name of something that does not exist.",
    str(int(Exit.ENVIRONMENT)): "A problem in the environment: something is not installed, not running, or unreadable.",
    "130": "Interrupted with Ctrl-C.",
}
"""The program's exit statuses."""

ENVIRONMENT = {
    "KAZASHI_WORLD": "The world directory, unless --world names one.",
    "XDG_DATA_HOME": "The folder of the default world directory (default: ~/.local/share).",
    "KAZASHI_FIRST_PORT": "The first of the twenty TCP ports of an instance; ports that are in use are skipped.",
    "KAZASHI_VPCD_PORT": "The first port to try for the readers of a pcscd that Kazashi starts (default: 35963).",
    "KAZASHI_CALLER_KEY": "The caller's OCSP key, unless --key gives it.",
    "KAZASHI_PROXY_SECRET": "The secret of a TLS proxy before the sample site, unless --proxy-secret gives it.",
    "KAZASHI_PIN": "The authentication PIN that `kazashi reader check --pin` sends, instead of asking for it.",
    "KAZASHI_PASSWORD": "The signature password that `kazashi reader check --password` sends, instead of asking.",
    "KAZASHI_VENV": "In a clone: the virtual environment that ./kazashi builds and uses (default: .venv beside it).",
    "KAZASHI_PYTHON": "In a clone: the interpreter to build that environment with (3.11 or newer).",
    "KAZASHI_UV": "In a clone: the uv to install with, instead of the one in the lock file.",
    "NO_COLOR": "If it is set, output has no colours.",
}
"""The environment variables that users may set."""

FILES = {
    "~/.local/share/kazashi": "The default world directory. All data of a world are below its directory.",
    "world.json": "In the world directory: the world's settings.",
    "cards/*.card": "In the world directory: one file for each card.",
    "stores/*.sqlite": "In the world directory: the institutions' stores, unless they are in PostgreSQL.",
    "publication/": "In the world directory: the authorities' certificates and revocation lists.",
    "run/": "In the world directory: sockets, logs and process IDs of the running instance.",
}
"""The files that users may meet."""

_ROFF = {"\\": "\\e", "-": "\\-", "'": "\\(aq", '"': "\\(dq", "`": "\\(ga", "^": "\\(ha", "~": "\\(ti"}
"""ASCII characters that roff would interpret, or print as typographic ones that cannot be pasted into a shell."""

_WIDTH = 78


def man_page(command: click.Command, name: str, *, version: str, day: str) -> str:
    """Return the man page of a program in roff, which contains only ASCII characters.

    The page describes `command` and every command below it that is not hidden. `day` is the page's date (YYYY-MM-DD).
    """
    return "\n".join(_lines(command, name, version, day)) + "\n"


def _lines(command: click.Command, name: str, version: str, day: str) -> Iterator[str]:
    top = click.Context(command, info_name=name, **command.context_settings)
    paragraphs = _paragraphs(command)
    yield f'.TH {_escaped(name.upper())} 1 {day} "{_escaped(name)} {_escaped(version)}" "User commands"'
    yield ".nh"
    yield ".ad l"
    yield ".SH NAME"
    yield f"{_escaped(name)} \\- {_escaped(' '.join(paragraphs[0].split()).rstrip('.'))}"
    yield ".SH SYNOPSIS"
    yield from _usage(top)
    yield ".SH DESCRIPTION"
    yield from _prose(paragraphs)
    yield ".SH OPTIONS"
    yield from _options(top, with_help=True)
    yield ".SH COMMANDS"
    yield from _filled("Every command also has the options -h and --help.")
    for context in _commands(top):
        yield f'.SS "{_escaped(context.command_path)}"'
        yield from _usage(context)
        yield from _prose(_paragraphs(context.command), follows=True)
        yield from _options(context, with_help=False)
    for heading, entries in (("EXIT STATUS", EXIT_STATUS), ("ENVIRONMENT", ENVIRONMENT), ("FILES", FILES)):
        yield f".SH {heading}"
        yield from _table(entries)


def _commands(context: click.Context) -> Iterator[click.Context]:
    """Yield a context for each command below the context's own, a group before its commands."""
    group = context.command
    if not isinstance(group, click.Group):
        return
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if command is not None and not command.hidden:
            inner = click.Context(command, parent=context, info_name=name, **command.context_settings)
            yield inner
            yield from _commands(inner)


def _usage(context: click.Context) -> Iterator[str]:
    yield f".B {_escaped(context.command_path)}"
    yield from _filled(" ".join(context.command.collect_usage_pieces(context)))


def _paragraphs(command: click.Command) -> list[str]:
    """Return the paragraphs of a command's help text. As in --help, it ends at a form feed."""
    text = inspect.cleandoc(command.help or "").partition("\f")[0]
    return [paragraph for paragraph in re.split(r"\n\s*\n", text) if paragraph.strip()]


def _prose(paragraphs: list[str], *, follows: bool = False) -> Iterator[str]:
    """Yield paragraphs. `follows` says that a paragraph precedes them. Click's mark \\b keeps the lines of one."""
    for number, paragraph in enumerate(paragraphs):
        if number or follows:
            yield ".PP"
        if paragraph.startswith("\b\n"):
            yield ".nf"
            yield from (_line(_escaped(line)) for line in paragraph.splitlines()[1:])
            yield ".fi"
        else:
            yield from _filled(paragraph)


def _options(context: click.Context, *, with_help: bool) -> Iterator[str]:
    command = context.command
    left_out = None if with_help else command.get_help_option(context)
    for parameter in command.get_params(context):
        record = None if parameter is left_out else parameter.get_help_record(context)
        if record is not None and record[1]:  # an argument has a record without a text
            yield ".TP"
            yield " ".join(_option_word(word) for word in record[0].split())
            yield from _filled(record[1])


def _option_word(word: str) -> str:
    """Return one word of an option's names and value: names are bold, the name of the value is italic."""
    match = re.fullmatch(r"(-[\w-]+)(.*)", word)
    if match:
        return f"\\fB{_escaped(match[1])}\\fR{_escaped(match[2])}"
    return _escaped(word) if word == "/" else f"\\fI{_escaped(word)}\\fR"


def _table(entries: Mapping[str, str]) -> Iterator[str]:
    for name, text in entries.items():
        yield ".TP"
        yield f".B {_escaped(name)}"
        yield from _filled(text)


def _filled(text: str) -> list[str]:
    """Return a paragraph as lines of input, which roff joins again."""
    words = textwrap.wrap(_escaped(text), _WIDTH, break_long_words=False, break_on_hyphens=False)
    return [_line(line) for line in words]


def _line(text: str) -> str:
    """Protect a line that begins with a full stop, which would make it a request."""
    return f"\\&{text}" if text.startswith(".") else text


def _escaped(text: str) -> str:
    """Return text that roff prints as it is. Japanese is written by code points, which needs no encoding."""
    return "".join(_ROFF.get(mark) or (mark if mark.isascii() else f"\\[u{ord(mark):04X}]") for mark in text)
