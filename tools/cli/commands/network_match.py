"""`kazashi network match`: the first matching of a body's records against the registry."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kazashi.tools.cli.commands.network_shared import content_in, day_option, network_of
from kazashi.tools.cli.commands.shared import Reply, day_of, replies, table, world_of

if TYPE_CHECKING:
    from kazashi.assembly.network import Network
    from kazashi.assembly.network_matching import NetworkMatching, OpenRecord
    from kazashi.studies.match_quality import LinkQuality
    from kazashi.tracking_lab.metrics import Share

_by_option = click.option("--by", "who", required=True, metavar="NAME", help="Who decides.")
_reason_option = click.option("--reason", "why", required=True, help="Why.")
_model_option = click.option("--model", type=click.Choice(["2006", "1999"]), default="2006", show_default=True,
                             help="The noise: that of the pension records of 2006, or of 1999.")  # fmt: skip
_failing_option = click.option("--failing", type=click.FloatRange(0, 0.9),
                               help="The share that does not match exactly (default: the model's).")  # fmt: skip


@click.group()
def match() -> None:
    """Match a body's records with the registry.

    The first matching (初期突合) ties a body's own numbers to people by the four attributes. Only tied records get a
    code; the others are on a work list, about which people decide.
    """


@match.command("records")
@click.argument("body")
@click.option("--out", type=click.Path(dir_okay=False, allow_dash=True, path_type=Path), default=Path("-"),
              metavar="FILE", help="Write the records to this file (default: stdout).")  # fmt: skip
@_model_option
@_failing_option
@click.option("--share", type=click.FloatRange(0, 1), default=1.0, show_default=True,
              help="The share of people of whom the body has a record.")  # fmt: skip
@click.option("--truth", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
              help="Write whose record each is to this file, as CSV. No real body has that.")  # fmt: skip
@click.pass_context
def match_records(
    context: click.Context, body: str, out: Path, model: str, failing: float | None, share: float, truth: Path | None
) -> None:  # fmt: skip
    """Write made-up records of a body.

    They are of people in this world's registry, with the mistakes of a body's own files, and some of nobody. The same
    world and body give the same records.
    """
    import csv
    import io

    from kazashi.provision_network.match_file import written
    from kazashi.provision_network.match_noise import MODELS
    from kazashi.studies.match_records import known_people, records_of
    from kazashi.world.atomic_file import write_whole

    network = network_of(context)
    people = known_people(_residents(network))
    made = records_of(network.world.seed, body, people, MODELS[model], share, failing)
    text = written(body, day_of(None, network.world), made.records)
    if truth is not None:
        rows = io.StringIO()
        csv.writer(rows, lineterminator="\n").writerows([("number", "person"), *made.truth.items()])
        write_whole(truth, rows.getvalue().encode())
    if str(out) == "-":
        click.echo(text, nl=False)
    else:
        write_whole(out, text.encode())
        click.echo(f"{len(made.records)} records are in {out}", err=True)


@match.command("run")
@click.argument("body")
@click.argument("file", required=False, type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path))
@click.option("--by", "who", default="", metavar="NAME", help="Who hands the file in (default: the body).")
@replies
@click.pass_context
def match_run(context: click.Context, body: str, file: Path | None, who: str) -> Reply:
    """Take a file of records, and match it.

    FILE has a header, a line of column names, the records and a trailer with their number; a file that breaks a rule is
    refused whole, which is recorded. Without FILE, the records on the work list are matched again. Tied people get a
    code from the core by way of J-LIS.
    """
    content = None if file is None else content_in(file)
    done = _matching(context, body).run(content, who or body)
    rules = ", ".join(f"{rule} {count}" for rule, count in done.by_rule.items())
    words = (f"tied: {done.tied} of {done.compared} records ({rules or 'by no rule'})\n"
             f"on the work list: {done.work_list}\npeople with a code: {done.codes}")  # fmt: skip
    return Reply(asdict(done), words)


@match.command("files")
@click.argument("body")
@replies
@click.pass_context
def match_files(context: click.Context, body: str) -> Reply:
    """Show the files that were handed in.

    `refused` has the rule that a file broke.
    """
    rows = [{**asdict(one), "at": one.at.isoformat()} for one in _matching(context, body).register.files()]
    return Reply(rows, table(rows, f"{body} has handed in no file"))


@match.command("list")
@click.argument("body")
@replies
@click.pass_context
def match_list(context: click.Context, body: str) -> Reply:
    """Show the work list.

    Each record has the people that may be meant, as J-LIS provides them.
    """
    found = _matching(context, body).work_list()
    lines = []
    for one in found:
        lines.append(f"{one.record.number}  {_line(asdict(one.record.attributes))}")
        lines += [f"    ? {person.resident.individual_number}  {_line(asdict(_attributes(person)))}"
                  for person in one.candidates]  # fmt: skip
    return Reply([_open(one) for one in found], "\n".join(lines) or f"{body} has no records on the work list")


@match.command("decide")
@click.argument("body")
@click.argument("number")
@click.argument("outcome", type=click.Choice(["tie", "leave", "reopen"]))
@click.option("--to", "person", metavar="WHO", help="The person to whom the record is tied.")
@_by_option
@_reason_option
@replies
@click.pass_context
def match_decide(
    context: click.Context, body: str, number: str, outcome: str, person: str | None, who: str, why: str
) -> Reply:  # fmt: skip
    """Decide about a record on the work list.

    Tie it to a person, leave it because it belongs to nobody, or reopen one that was left. Who has decided, when and
    why stays in the trail.
    """
    from kazashi.assembly.errors import UsageError

    matching = _matching(context, body)
    if (outcome == "tie") != (person is not None):
        raise UsageError("a tie, and nothing else, needs a person; give it with --to WHO")
    if person is not None:
        matching.tie(number, matching.network.institutions.registry.find(person), who, why)
    elif outcome == "leave":
        matching.leave(number, who, why)
    else:
        matching.reopen(number, who, why)
    state = matching.register.record(number).state.value
    return Reply({"body": body, "number": number, "state": state}, f"record {number} is {state}")


@match.command("report")
@click.argument("body")
@click.argument("number")
@click.argument("kind", type=click.Choice(["seen", "address", "died", "not-mine"]))
@click.option("--address", default="", help="The address that the holder has given.")
@day_option
@replies
@click.pass_context
def match_report(context: click.Context, body: str, number: str, kind: str, address: str, on: str | None) -> Reply:
    """Register what the body hears about a record.

    Its holder was seen, has given an address or has died, or the person of the tie says that it is not theirs. `match
    check` compares it with the registry.
    """
    from kazashi.provision_network.match_register import HolderReport

    matching = _matching(context, body)
    day = day_of(on, matching.network.world)
    matching.report(number, HolderReport(kind), day, address)
    return Reply({"body": body, "number": number, "kind": kind, "day": day.isoformat()},
                 f"the report about record {number} is registered")  # fmt: skip


@match.command("check")
@click.argument("body")
@replies
@click.pass_context
def match_check(context: click.Context, body: str) -> Reply:
    """Look for wrong ties.

    Compares each tied record with what the body has heard since: answers over the network, what J-LIS provides, and
    reports. Shows after how many days and uses each suspicion was first found. The exit status is 1 if there is one.
    """
    rows: list[dict[str, Any]] = [
        {"number": one.number, "signal": one.suspicion.signal.value, "words": one.suspicion.words,
         "since": one.suspicion.since.isoformat(), "tied": one.tied.isoformat(), "noticed": one.noticed.isoformat(),
         "days": (one.noticed - one.tied).days, "uses": one.uses}
        for one in _matching(context, body).check()
    ]  # fmt: skip
    shown = [{name: row[name] for name in ("number", "signal", "days", "uses", "words")} for row in rows]
    return Reply(rows, table(shown, f"nothing speaks against the ties of {body}"), 1 if rows else 0)


@match.command("undo")
@click.argument("body")
@click.argument("number")
@_by_option
@_reason_option
@replies
@click.pass_context
def match_undo(context: click.Context, body: str, number: str, who: str, why: str) -> Reply:
    """Remove a tie that is wrong.

    The person's code at the body ends and their copies are deleted, the bodies that have received a copy are told, and
    the record returns to the work list. Shows what has been provided meanwhile, and to whom.
    """
    undone = _matching(context, body).undo(number, who, why)
    rows = [{"direction": direction, "record": one.number, "by": one.requester, "of": one.provider, "item": one.item,
             "at": one.requested_at.isoformat()}
            for direction, found in (("received", undone.received), ("provided", undone.provided))
            for one in found]  # fmt: skip
    words = f"record {number} is on the work list again; {undone.copies} copies are deleted\n"
    return Reply({"number": number, "copies": undone.copies, "exchanges": rows},
                 words + table(rows, "nothing was received or provided about the person meanwhile"))  # fmt: skip


@match.command("trail")
@click.argument("body")
@click.argument("number", required=False)
@replies
@click.pass_context
def match_trail(context: click.Context, body: str, number: str | None) -> Reply:
    """Show who decided what about records.

    The trail only grows: an undone tie stays in it.
    """
    rows: list[dict[str, Any]] = [
        {"number": one.number, "at": one.at.isoformat(), "step": one.step.value, "who": one.who, "why": one.why,
         "detail": dict(one.detail)} for one in _matching(context, body).register.trail(number)
    ]  # fmt: skip
    shown = [{name: row[name] for name in ("number", "at", "step", "who", "why")} for row in rows]
    return Reply(rows, table(shown, "nothing was decided yet"))


@match.command("quality")
@click.option("--records", "count", type=click.IntRange(10, 1_000_000), default=5_000, show_default=True,
              help="The number of people of whom there are records.")  # fmt: skip
@_model_option
@_failing_option
@click.option("--beside", type=click.Choice(["nothing", "splink"]), default="nothing", show_default=True,
              help="Another matcher for the same records.")  # fmt: skip
@click.option("--work-list", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
              help="Write the records that need manual matching to this file, as CSV.")  # fmt: skip
@replies
@click.pass_context
def match_quality(
    context: click.Context, count: int, model: str, failing: float | None, beside: str, work_list: Path | None
) -> Reply:  # fmt: skip
    """Measure how good the matching is.

    Matches noisy records of this world's residents, and of made-up ones if there are too few. Shows precision, recall
    and F1 with intervals at 95 %, how many records need manual matching, and what the blocking keeps.
    """
    from kazashi.provision_network.match_noise import MODELS
    from kazashi.studies.match_records import known_people, topped_up
    from kazashi.studies.network_matching import examined

    world = world_of(context)
    people = known_people(topped_up(world.seed, _registered(context), count))
    found = examined(world.seed, people, MODELS[model], failing, work_list=work_list, beside_splink=beside == "splink")
    blocking = found.blocking
    lines = [
        f"{found.records} records of {found.people} people",
        f"do not match exactly: {_share(found.exact_match_fails)}",
        *(line for name, one in (("exact", found.exact), ("matcher", found.matcher), ("Splink", found.splink))
          if one is not None for line in _quality(name, one)),
        f"blocking: pairs completeness {blocking.completeness.value:.4f}, reduction ratio {blocking.reduction:.6f},"
        f" pairs quality {blocking.quality.value:.4f}",
    ]  # fmt: skip
    return Reply(found.as_dict(), "\n".join(lines))


@match.command("detection")
@click.option("--ties", type=click.IntRange(2, 100_000), default=300, show_default=True,
              help="The number of ties of each kind.")  # fmt: skip
@click.option("--covered", type=click.FloatRange(0, 1), default=0.6, show_default=True,
              help="The share of people of whom the body has a record.")  # fmt: skip
@click.option("--years", type=click.IntRange(1, 50), default=5, show_default=True, help="How long the body uses them.")
@replies
@click.pass_context
def match_detection(context: click.Context, ties: int, covered: float, years: int) -> Reply:
    """Measure how long wrong ties stay.

    Ties are made wrong in three ways, and used for years with the habits of docs/network.md. Shows after how many days
    and uses `match check` would suspect them, and by which signal first; right ties show the false alarms.
    """
    from kazashi.studies.match_records import known_people, topped_up
    from kazashi.studies.wrong_ties import Habits, detection_times

    world = world_of(context)
    people = known_people(topped_up(world.seed, _registered(context), 3_000))
    found = detection_times(world.seed, people, ties, Habits(covered=covered, years=years))
    rows = [
        {"ties": one.kind.value, "in a year": _share(one.within_year), f"in {years} years": _share(one.found),
         "days (quartiles)": _quartiles(one.days), "uses (quartiles)": _quartiles(one.uses),
         "first by": ", ".join(f"{signal} {count}" for signal, count in one.by_signal.items())}
        for one in found
    ]  # fmt: skip
    return Reply([one.as_dict() for one in found], table(rows, ""))


def _matching(context: click.Context, body: str) -> NetworkMatching:
    """Return a body's matching, in which whatever was interrupted has been completed."""
    from kazashi.assembly.network_matching import NetworkMatching

    matching = NetworkMatching(network_of(context), body)
    matching.carry_on()
    return matching


def _residents(network: Network) -> list[Any]:
    registry = network.institutions.registry
    found = registry.residents(limit=registry.count())
    return [one for one in found if one.status.value == "resident" and one.individual_number is not None]


def _registered(context: click.Context) -> list[Any]:
    from kazashi.assembly.institutions import Institutions

    registry = Institutions(world_of(context)).registry
    return [one for one in registry.residents(limit=registry.count()) if one.status.value == "resident"]


def _attributes(person: Any) -> Any:
    from kazashi.provision_network.matching import attributes_of

    return attributes_of(person.resident)


def _open(one: OpenRecord) -> dict[str, Any]:
    return {
        "number": one.record.number, **asdict(one.record.attributes),
        "candidates": [{"individual_number": str(person.resident.individual_number), **asdict(_attributes(person))}
                       for person in one.candidates],
    }  # fmt: skip


def _line(attributes: dict[str, str]) -> str:
    return ", ".join(value for value in attributes.values() if value)


def _share(share: Share) -> str:
    low, high = share.interval
    return f"{share.value:.4f} [{low:.4f}, {high:.4f}]"


def _quality(name: str, one: LinkQuality) -> list[str]:
    f1 = one.f1
    return [f"{name}: precision {_share(one.precision)}, recall {_share(one.recall)},"
            f" F1 {f1.value:.4f} [{f1.low:.4f}, {f1.high:.4f}], {one.by_hand.count} left to people"]  # fmt: skip


def _quartiles(values: tuple[float, float, float] | None) -> str:
    return "-" if values is None else " / ".join(f"{value:g}" for value in values)
