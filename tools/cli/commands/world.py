"""`kazashi world`: create a world with your own settings, and show them."""

from __future__ import annotations

import click

from kazashi.tools.cli.commands.shared import Reply, replies, world_of


@click.group()
def world() -> None:
    """Create a world, and show its settings.

    A world is a directory with everything that an installation knows.
    """


@world.command("new")
@click.option("--seed", help="The seed that people, numbers and events are derived from (default: random).")
@click.option("--storage", default="", metavar="URL", help="postgresql://... instead of SQLite files.")
@click.option("--keys", default="software", metavar="URI",
              help="The authorities' keys: software, or pkcs11:token=T?module-path=FILE&pin-source=FILE.")  # fmt: skip
@click.option("--serials", type=click.Choice(["gapless", "random"]), default="gapless", show_default=True,
              help="How certificates get their serial numbers.")  # fmt: skip
@click.option("--evening", type=int, default=20, show_default=True,
              help="The hour at which paper notices are sent to Juki-Net.")  # fmt: skip
@click.option("--hop-minutes", type=int, default=0, show_default=True,
              help="How many minutes a hop of Juki-Net takes.")  # fmt: skip
@click.option("--crl-minute", type=int, default=30, show_default=True,
              help="How many minutes after midnight revocation lists are issued.")  # fmt: skip
@click.option("--opens", type=int, default=0, show_default=True,
              help="The hour at which the services for verifiers open.")  # fmt: skip
@click.option("--closes", type=int, default=24, show_default=True,
              help="The hour at which the services for verifiers close.")  # fmt: skip
@replies
@click.pass_context
def world_new(context: click.Context, /, seed: str | None, **settled: str | int) -> Reply:
    """Create a world with these settings.

    Without this command, the first command that sets something up (`kazashi up`, `kazashi card new`) creates a world
    with the defaults.
    """
    from kazashi.assembly.errors import UsageError
    from kazashi.world.home import default_directory, open_world
    from kazashi.world.rng import new_token
    from kazashi.world.settings import Settings, check_no_secrets

    directory = context.obj or default_directory()
    if (directory / "world.json").exists():
        raise UsageError(f"{directory} is already a world; name another directory with --world")
    try:
        check_no_secrets(str(settled["storage"]), "--storage", "put the password into ~/.pgpass or PGPASSWORD")
        check_no_secrets(str(settled["keys"]), "--keys", "write the PIN into a file, and name it with pin-source=FILE")
        settings = Settings(seed or new_token(64), **settled)  # type: ignore[arg-type]
    except ValueError as error:
        raise UsageError(str(error)) from error
    open_world(directory, settings=settings)
    return _settings(context)


@world.command("show")
@replies
@click.pass_context
def world_show(context: click.Context) -> Reply:
    """Show a world's directory and its settings."""
    return _settings(context)


def _settings(context: click.Context) -> Reply:
    shown = world_of(context)
    settings = {"directory": str(shown.directory), **shown.settings.shown()}
    return Reply(settings, "\n".join(f"{name:12} {value}" for name, value in settings.items()))
