"""Run a program of this project. An error is one line on stderr that ends with its code, and an exit status."""

from __future__ import annotations

import sys
from typing import NoReturn

import click


def run(command: click.Command, name: str) -> NoReturn:
    """Run a click command as the program `name`, then exit (0 ok, 1 negative, 2 usage, 3 environment)."""
    from kazashi.assembly.errors import Exit

    try:
        sys.exit(command.main(prog_name=name, standalone_mode=False) or Exit.OK)
    except click.ClickException as error:
        error.show()
        sys.exit(Exit.USAGE)
    except click.Abort:
        sys.exit(130)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(Exit.OK)
    except Exception as error:
        from kazashi.assembly.error_codes import code_of, exit_of

        shown = _with_remedy(error)
        code = code_of(shown)
        if code is None:
            raise
        click.echo(f"{name.partition(' ')[0]}: {shown} [{code}]", err=True)
        sys.exit(exit_of(code))


def _with_remedy(error: Exception) -> Exception:
    """Return PackageMissing for a package that is not installed, and any other error unchanged."""
    if not isinstance(error, ModuleNotFoundError):
        return error
    from kazashi.tools.installation.extras import package_missing

    return package_missing("this command", error) or error
