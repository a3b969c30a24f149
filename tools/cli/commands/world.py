"""`kazashi world`: a world with settings of one's own, and what it is settled on."""

from __future__ import annotations

from dataclasses import asdict

import click

from kazashi.tools.cli.commands.shared import Reply, replies, world_of


@click.group()
def world() -> None:
    """Begin and show worlds: one bench's whole state."""


@world.command("new")
@click.option("--seed", help="What people, numbers and events are a function of (default: drawn).")
@click.option("--storage", default="", metavar="URL", help="postgresql://... instead of SQLite files.")
@click.option("--keys", default="software", metavar="URI",
              help="The authorities' keys: software, or pkcs11:token=T?module-path=FILE&pin-source=FILE.")  # fmt: skip
@click.option("--serials", type=click.Choice(["gapless", "random"]), default="gapless", show_default=True)
@click.option("--evening", type=int, default=20, show_default=True,
              help="Hour at which paper notices leave for Juki-Net.")  # fmt: skip
@click.option("--hop-minutes", type=int, default=0, show_default=True, help="How long a hop of Juki-Net takes.")
@click.option("--crl-minute", type=int, default=30, show_default=True,
              help="Minutes after midnight at which revocation lists are made.")  # fmt: skip
@click.option("--opens", type=int, default=0, show_default=True, help="Hour at which the services to verifiers open.")
@click.option("--closes", type=int, default=24, show_default=True, help="Hour at which they close.")
@replies
@click.pass_context
def world_new(context: click.Context, /, seed: str | None, **settled: str | int) -> Reply:
    """Begin a world with these settings.

    Otherwise the first command that sets something up (`kazashi up`, `kazashi card new`) begins one with the defaults.
    """
    from kazashi.assembly.errors import UsageError
    from kazashi.world.home import default_directory, open_world
    from kazashi.world.rng import new_token
    from kazashi.world.settings import Settings

    directory = context.obj or default_directory()
    if (directory / "world.json").exists():
        raise UsageError(f"{directory} is a world already; name another directory with --world")
    try:
        settings = Settings(seed or new_token(64), **settled)  # type: ignore[arg-type]
    except ValueError as error:
        raise UsageError(str(error)) from error
    open_world(directory, settings=settings)
    return _tell(context)


@world.command("show")
@replies
@click.pass_context
def world_show(context: click.Context) -> Reply:
    """Show where the world is and what it is settled on."""
    return _tell(context)


def _tell(context: click.Context) -> Reply:
    found = world_of(context)
    told = {"directory": str(found.directory), **asdict(found.settings)}
    return Reply(told, "\n".join(f"{name:12} {value}" for name, value in told.items()))
