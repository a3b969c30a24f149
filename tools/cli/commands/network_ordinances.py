"""`kazashi network ordinance` and `limit`: what municipalities have decided by ordinance, as the Commission has it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kazashi.tools.cli.commands.network_shared import day_option, network_of, text_in
from kazashi.tools.cli.commands.shared import Reply, day_of, gathered, replies, table

if TYPE_CHECKING:
    from kazashi.provision_network.law.rules import LimitingOrdinance, OrdinanceAffair


@click.group()
def ordinance() -> None:
    """Manage affairs by ordinance (独自利用事務, 番号法19条8号).

    An affair is filed with the Commission, which accepts and then publishes it. Only then may the body use the network
    for it.
    """


_TEXTS = ("identifier", "body", "law", "affair", "provider", "item", "like", "field")


def _entered(
    identifier: str | None, body: str | None, law: str | None, affair: str | None, provider: str | None,
    item: str | None, like: str | None, field: str | None,
) -> dict[str, Any]:  # fmt: skip
    """The filing that the options describe, without what was not entered."""
    texts = zip(_TEXTS, (identifier, body, law, affair, provider, item, like, field), strict=True)
    return {name: value for name, value in texts if value is not None}


@ordinance.command("add")
@click.argument("file", required=False, type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path))
@gathered(
    "entered", _entered,
    click.option("--identifier", metavar="ID", help="The filing's identifier."),
    click.option("--body", help="The body whose ordinance it is."),
    click.option("--law", help="The ordinance's name."),
    click.option("--affair", help="The affair's name."),
    click.option("--provider", metavar="KIND", help="The kind of body that is asked."),
    click.option("--item", help="The item that is asked for."),
    click.option("--like", metavar="ROW", help="The row of the table that the affair is modelled on."),
    click.option("--field", help="The field of 番号法9条2項, such as 福祉; a wrong one lists them."),
)  # fmt: skip
@day_option
@replies
@click.pass_context
def ordinance_add(context: click.Context, file: Path | None, on: str | None, entered: dict[str, Any]) -> Reply:
    """File an affair by ordinance with the Commission (届出).

    FILE is JSON or TOML with one filing or several (`filing`); the options describe one. All or none are filed. A
    filing is refused if its provider and item are not in the row that it is like.
    """
    import json

    from kazashi.assembly.errors import UsageError
    from kazashi.provision_network.ordinances import filings

    network = network_of(context)
    if (file is None) != any(name in entered for name in _TEXTS):
        raise UsageError("name a FILE, or describe the affair with options")
    if file is None and (missing := [f"--{name}" for name in _TEXTS if name not in entered]):
        raise UsageError(f"these options are missing: {', '.join(missing)}")
    kinds = {one.name: one.kind for one in network.core.members.institutions()}
    affairs = filings(text_in(file) if file else json.dumps(entered), kinds)
    filed = network.core.ordinances.file(affairs, day_of(on, network.world))
    network.carry()
    rows = [_row(one) for one in filed]
    return Reply(rows, table(rows, "nothing was filed"))


@ordinance.command("accept")
@click.argument("identifier")
@day_option
@replies
@click.pass_context
def ordinance_accept(context: click.Context, identifier: str, on: str | None) -> Reply:
    """Record that the Commission accepts an affair.

    It accepts that the affair's purpose and content are those of the row that it is like. One that it does not accept
    is withdrawn.
    """
    network = network_of(context)
    affair = network.core.ordinances.accept(identifier, day_of(on, network.world))
    network.carry()
    return Reply(_row(affair), f"{identifier} is accepted on {affair.accepted}")


@ordinance.command("publish")
@click.argument("identifier")
@day_option
@replies
@click.pass_context
def ordinance_publish(context: click.Context, identifier: str, on: str | None) -> Reply:
    """Publish an affair that was accepted."""
    network = network_of(context)
    affair = network.core.ordinances.publish(identifier, day_of(on, network.world))
    network.carry()
    return Reply(_row(affair), f"{identifier} is published on {affair.published}")


@ordinance.command("withdraw")
@click.argument("identifier")
@day_option
@replies
@click.pass_context
def ordinance_withdraw(context: click.Context, identifier: str, on: str | None) -> Reply:
    """Withdraw an affair.

    From that day the network no longer links for it.
    """
    network = network_of(context)
    affair = network.core.ordinances.withdraw(identifier, day_of(on, network.world))
    network.carry()
    return Reply(_row(affair), f"{identifier} is withdrawn on {affair.withdrawn}")


@ordinance.command("list")
@click.option("--published", is_flag=True, help="Show only what is published today, as the Commission publishes it.")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV.")
@replies
@click.pass_context
def ordinance_list(context: click.Context, published: bool, as_csv: bool) -> Reply:
    """Show the affairs by ordinance.

    Each has the days on which it was filed, accepted, published and withdrawn, and the conditions that it does not meet
    today.
    """
    network = network_of(context)
    today, rules = day_of(None, network.world), network.core.ordinances.rules()
    if published:
        rows: list[dict[str, Any]] = [dict(row) for row in rules.published(today)]
    else:
        rows = [{**_row(one), "missing": ", ".join(rules.missing(one, today))} for one in rules.ordinances]
    if as_csv:
        return Reply(rows, _csv(rows))
    return Reply(rows, table(rows, "no affair by ordinance is published" if published else "none was filed"))


@click.group()
def limit() -> None:
    """Manage limiting ordinances (限定条例).

    A provider's own ordinance can exclude an item from affairs by ordinance, if the Commission was notified beforehand.
    """


@limit.command("add")
@click.argument("provider")
@click.argument("item")
@click.option("--notified", "on", metavar="DATE", help="The day on which the Commission was notified (default: today).")
@replies
@click.pass_context
def limit_add(context: click.Context, provider: str, item: str, on: str | None) -> Reply:
    """Exclude an item of a provider from affairs by ordinance.

    It applies from the day after the notification. Affairs of the table are not affected.
    """
    from kazashi.provision_network.law.rules import LimitingOrdinance

    network = network_of(context)
    kind = network.member(provider).kind
    added = LimitingOrdinance(provider, item, day_of(on, network.world))
    network.core.ordinances.limit(added, kind)
    return Reply(_limit_row(added), f"{provider} limits {item} from the day after {added.notified}")


@limit.command("list")
@replies
@click.pass_context
def limit_list(context: click.Context) -> Reply:
    """Show the limiting ordinances."""
    rows = [_limit_row(one) for one in network_of(context).core.ordinances.rules().limits]
    return Reply(rows, table(rows, "there are no limiting ordinances"))


@limit.command("remove")
@click.argument("provider")
@click.argument("item")
@replies
@click.pass_context
def limit_remove(context: click.Context, provider: str, item: str) -> Reply:
    """Remove a limiting ordinance."""
    network_of(context).core.ordinances.unlimit(provider, item)
    return Reply({"provider": provider, "item": item}, f"{provider} no longer limits {item}")


def _row(affair: OrdinanceAffair) -> dict[str, Any]:
    days = {name: None if (day := getattr(affair, name)) is None else day.isoformat()
            for name in ("filed", "accepted", "published", "withdrawn")}  # fmt: skip
    purpose = affair.purpose
    return {
        "identifier": affair.identifier, "body": affair.body, "law": purpose.law, "affair": purpose.affair,
        "provider": purpose.provider, "item": purpose.item, "like": affair.like, "field": affair.field, **days,
    }  # fmt: skip


def _limit_row(limiting: LimitingOrdinance) -> dict[str, Any]:
    return {"provider": limiting.provider, "item": limiting.item, "notified": limiting.notified.isoformat()}


def _csv(rows: list[dict[str, Any]]) -> str:
    import csv
    import io

    if not rows:
        return ""
    written = io.StringIO()
    writer = csv.DictWriter(written, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return written.getvalue()
