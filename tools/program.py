"""Run a program of this project. An error is one line on stderr that ends with its code, and an exit status."""

from __future__ import annotations

import re
import sys
import unicodedata
from collections.abc import Callable
from typing import NoReturn

import click

from kazashi.tools.installation.parts import called

_COMPLETE = "_KAZASHI_COMPLETE"
"""The variable by which a shell asks what to complete. Click would derive it from the path by which it was called."""

_COMMAND = re.compile(r"(?<![\w/.-])kazashi (?=[a-z-])")


def run(command: click.Command, name: str, prepare: Callable[[], object] | None = None) -> NoReturn:
    """Run a click command as the program `name`, then exit (0 ok, 1 negative, 2 usage, 3 environment). `prepare` is
    called first; its errors are the program's."""
    from kazashi.assembly.errors import Exit

    try:
        if prepare is not None:
            prepare()
        title = name.replace("kazashi", called(), 1)
        sys.exit(command.main(prog_name=title, complete_var=_COMPLETE, standalone_mode=False) or Exit.OK)
    except click.ClickException as error:
        error.show()
        sys.exit(Exit.USAGE)
    except click.Abort:
        sys.exit(130)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(Exit.OK)
    except Exception as error:
        from kazashi.assembly.error_codes import code_of, exit_of, words_of

        shown = _with_remedy(error)
        code = code_of(shown)
        if code is None:
            raise
        click.echo(f"{name.partition(' ')[0]}: {as_called(in_one_line(words_of(shown)))} [{code}]", err=True)
        sys.exit(exit_of(code))


def _with_remedy(error: Exception) -> Exception:
    """Return PackageMissing for a package that is not installed, and any other error unchanged."""
    if not isinstance(error, ModuleNotFoundError):
        return error
    from kazashi.tools.installation.missing import package_missing

    return package_missing("this command", error.name) or error


def in_one_line(words: str) -> str:
    """Return a message in which line breaks and other control characters, as a file's or card's name may have, are
    written as escape sequences."""
    return "".join(
        repr(character)[1:-1] if unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") else character
        for character in words
    )


def as_called(words: str) -> str:
    """Return a text whose hints (`kazashi up`) name the program as the user called it (`./kazashi up`)."""
    return _COMMAND.sub(lambda _: f"{called()} ", words)
