"""`kazashi ca caller`: the callers of the authorities' services."""

from __future__ import annotations

import click

from kazashi.tools.cli.commands.shared import Reply, new_world_of, replies, table, world_of


@click.group("caller")
def caller() -> None:
    """Manage the callers of the authorities.

    Callers are the verifiers and platforms that may use the authorities' services.
    """


@caller.command("add")
@click.argument("name")
@replies
@click.pass_context
def caller_add(context: click.Context, name: str) -> Reply:
    """Register a caller and print its key.

    The key is shown only once.
    """
    from kazashi.pki.callers import Callers

    key = Callers(new_world_of(context)).register(name)
    return Reply({"caller": name, "key": key}, f"{key}\n(the key of {name}; it is not stored, so keep it)")


@caller.command("list")
@replies
@click.pass_context
def caller_list(context: click.Context) -> Reply:
    """Show the callers and their fees."""
    from kazashi.pki.callers import Callers

    callers = Callers(world_of(context))
    rows = [{"caller": name, "yen": callers.bill(name)} for name in callers.names()]
    return Reply(rows, table(rows, "No callers yet; register one with: kazashi ca caller add NAME"))


@caller.command("remove")
@click.argument("name")
@replies
@click.pass_context
def caller_remove(context: click.Context, name: str) -> Reply:
    """Remove a caller.

    Its queries stay in the log.
    """
    from kazashi.assembly.errors import UsageError
    from kazashi.pki.callers import Callers

    if not Callers(world_of(context)).strike_off(name):
        raise UsageError(f"there is no caller {name!r}; see: kazashi ca caller list")
    return Reply({"caller": name}, f"{name} is no longer registered")


@caller.command("queries")
@click.option("--caller", "name", help="Show only this caller's queries.")
@replies
@click.pass_context
def caller_queries(context: click.Context, name: str | None) -> Reply:
    """Show the query log.

    Each row has the caller, the service, the certificate, the reply, and the fee in yen.
    """
    from kazashi.jpki.serial_number import serial_text
    from kazashi.pki.callers import Callers

    rows = [
        {"at": query.at.isoformat(), "caller": query.caller, "service": query.service, "kind": query.kind.code,
         "serial": serial_text(query.serial) if query.serial is not None else None, "said": query.said, "yen": yen}
        for query, yen in Callers(world_of(context)).queries(name)
    ]  # fmt: skip
    return Reply(rows, table(rows, "there are no queries yet"))
