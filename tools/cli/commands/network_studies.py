"""`kazashi network three-ways`, `rulings`, `study` and `history`: studies of a world's network."""

from __future__ import annotations

from pathlib import Path

import click

from kazashi.tools.cli.commands.network_shared import network_of
from kazashi.tools.cli.commands.shared import Reply, language_option, replies, table


@click.command("three-ways")
@click.argument("who")
@replies
@click.pass_context
def three_ways(context: click.Context, who: str) -> Reply:
    """Compare three designs for one query.

    The query about WHO runs by a common database, by individual number, and by codes. Shows who sees what in each. By
    codes it is two queries over the network, which are recorded.
    """
    from kazashi.studies.network_three_ways import ask_three_ways

    connected = network_of(context)
    results = ask_three_ways(connected, connected.institutions.registry.find(who))
    document = {
        result.way.value: {"seen": result.by_whom(), "shared identifiers": result.shared_identifiers()}
        for result in results
    }
    lines = []
    for result in results:
        lines.append(result.way.value)
        for actor, seen in result.by_whom().items():
            identifiers = ", ".join(seen["identifiers"]) or "no identifier"
            lines.append(f"  {actor}: knows the person by {identifiers}; saw {len(seen['values'])} values")
        lines += [f"  identifiers known to several: {', '.join(result.shared_identifiers()) or 'none'}", ""]
    return Reply(document, "\n".join(lines).rstrip())


@click.command("rulings")
@replies
@click.pass_context
def rulings(context: click.Context) -> Reply:
    """Check the ruling of 2008 against the stores.

    Checks each of the Supreme Court's five reasons against this world's stores: handles are found by their values,
    wherever they lie, and every provision is decided again by the rules of its day. The exit status is 1 if facts
    contradict a reason; those facts are listed.
    """
    from kazashi.studies.network_rulings import held_against_stores
    from kazashi.tracking_lab.page.facts import sentence
    from kazashi.tracking_lab.page.words import Language, Words

    connected, words = network_of(context), Words(Language.ENGLISH)
    findings = held_against_stores(connected.world, connected)
    document = [
        {"reason": one.reason.value, "holds": one.holds, "words": words(f"rulings.reasons.{one.reason.value}"),
         **{name: [{"id": fact.id, "values": dict(fact.values), "words": sentence(words, fact)} for fact in facts]
            for name, facts in (("against", one.against), ("measured", one.measured))}}
        for one in findings
    ]  # fmt: skip
    lines = []
    for one in findings:
        verdict = words("rulings.holds" if one.holds else "rulings.fails")
        lines.append(f"{verdict:5}  ({one.reason.value}) {words(f'rulings.reasons.{one.reason.value}')}")
        lines += [f"         {sentence(words, fact)}" for fact in (*one.against, *one.measured)]
    return Reply(document, "\n".join(lines), 0 if all(one.holds for one in findings) else 1)


@click.command("study")
@click.argument("who")
@click.option("--html", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Write the page here.")
@language_option
@replies
@click.pass_context
def study(context: click.Context, who: str, html: Path | None, lang: str) -> Reply:
    """Study seven points on data matching.

    For each of Prof. Ishimura's seven points, shows what was measured in this world, and for the query about WHO which
    party saw how much in three architectures. For that, two queries about WHO are sent and recorded. The page is one
    file and needs no script.
    """
    from kazashi.studies.seven_points import studied
    from kazashi.studies.seven_points_page import architecture, as_html, party, result
    from kazashi.tracking_lab.page.words import Language, Words
    from kazashi.world.atomic_file import write_whole

    connected, words = network_of(context), Words(Language(lang))
    found = studied(connected, connected.institutions.registry.find(who))
    if html is not None:
        write_whole(html, as_html(found, who, words.language))
        click.echo(f"The page is in {html}", err=True)
    document = {
        "points": [
            {"point": point.number, "title": words(f"study.points.{point.number}.title"), "words": result(words, point),
             "measured": [{"id": one.id, "count": one.count, "total": one.total} for one in point.counts]}
            for point in found.points
        ],
        "architectures": [
            {"way": seen.way.value, "seen": seen.by_whom(), "shared identifiers": seen.shared_identifiers()}
            for seen in found.architectures
        ],
        "not_asked": found.not_asked,
    }  # fmt: skip
    lines = [f"{words(f'study.points.{point.number}.title')}\n    {result(words, point)}" for point in found.points]
    for seen in found.architectures:
        values = ", ".join(f"{party(words, who)} {len(one['values'])}" for who, one in seen.by_whom().items())
        lines.append(f"{architecture(words, seen.way)}\n    {words('study.values')}: {values}")
    if found.not_asked:
        lines.append(f"{words('study.not-asked')} ({found.not_asked})")
    return Reply(document, "\n".join(lines))


@click.command("history")
@click.argument("law")
@click.argument("affair")
@click.option("--html", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Write the page here.")
@language_option
@replies
def history_command(law: str, affair: str, html: Path | None, lang: str) -> Reply:
    """Show one affair over the years.

    For each period since the Number Act was promulgated, shows by which provision the requests of the AFFAIR of a LAW
    are allowed, or why not. The page is one file and needs no script.
    """
    from dataclasses import asdict

    from kazashi.assembly.errors import UsageError
    from kazashi.studies.affair_history import as_html, history
    from kazashi.tracking_lab.page.words import Language
    from kazashi.world.atomic_file import write_whole

    periods = history(law, affair)
    if not periods:
        raise UsageError(f"the table has no affair {affair} of {law}; see: kazashi network rules")
    if html is not None:
        write_whole(html, as_html(law, affair, periods, Language(lang)))
        click.echo(f"The page is in {html}", err=True)
    document = [{**asdict(one), "begins": one.begins.isoformat(),
                 "until": None if one.until is None else one.until.isoformat()} for one in periods]  # fmt: skip
    rows = [{"until": one["until"] or "today", "allowed": f"{one['allowed']} of {one['requests']}",
             "rule, or why not": "; ".join(one["rules"]) or f"{one['denial']}: {one['words']}"}
            for one in document]  # fmt: skip
    return Reply(document, table(rows, "the table has no such affair"))


@click.command("blind-spots")
@click.argument("who")
@replies
@click.pass_context
def blind_spots(context: click.Context, who: str) -> Reply:
    """Compare what the stores have about WHO with the portal.

    Each line is something that went from one party to another, or was matched with WHO, and says why the portal does
    not show it. A reviewer sees all stores at once, which no institution does.
    """
    from kazashi.studies.blind_spots import hidden, stored_flows

    network = network_of(context)
    flows = stored_flows(network, network.institutions.registry.find(who))
    share = hidden(flows)
    rows = [
        {"store": one.store, "at": one.at.isoformat() if one.at else "", "from": one.sender, "to": one.receiver,
         "item": one.item, "rule": one.rule, "shown": "no" if one.why else "yes", "why": one.why, "flow": one.is_flow}
        for one in flows
    ]  # fmt: skip
    words = f"{share.count} of {share.total} flows are not in the portal: {share}"
    document = {"flows": rows, "hidden": share.count, "of": share.total, "interval": list(share.interval)}
    return Reply(document, f"{table(rows, 'the stores have nothing about this person')}\n{words}")
