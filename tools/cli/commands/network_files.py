"""`kazashi network tax` and `health`: files that go from body to body outside the network."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kazashi.tools.cli.commands.network_shared import content_in, file_argument, network_of
from kazashi.tools.cli.commands.shared import Reply, replies, table

if TYPE_CHECKING:
    from kazashi.assembly.network import Network
    from kazashi.assembly.tax_link import TaxLink
    from kazashi.provision_network.file_receptions import ReceivedFile
    from kazashi.provision_network.tax_offices import TaxRecord
    from kazashi.tracking_lab.metrics import Share


@click.group()
def tax() -> None:
    """Exchange tax data between the tax agency and municipalities.

    The tax agency writes a file of returns for each municipality (国税・地方税連携). The tax office there receives it,
    and matches its records with its own taxpayers (名寄せ).
    """


@tax.command("write")
@click.argument("body")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--year", type=click.IntRange(2000, 2100), help="The year of the returns (default: last year).")
@replies
@click.pass_context
def tax_write(context: click.Context, body: str, file: Path, year: int | None) -> Reply:
    """Write the tax agency's FILE of returns for BODY.

    They are made up from the registry's people, with the notation that people use. The agency logs each provision
    (`network outside list 国税庁`).
    """
    from kazashi.assembly.network import counted
    from kazashi.assembly.tax_link import TaxLink

    network = network_of(context)
    wanted = year if year is not None else network.now().year - 1
    written = TaxLink(network).write(body, wanted, file)
    row = {"file": str(written.path), "records": written.records, "sha256": written.digest}
    return Reply(row, f"{written.path}: {counted(written.records, 'return')} of {wanted} for {body}")


@tax.command("receive")
@click.argument("body")
@file_argument
@replies
@click.pass_context
def tax_receive(context: click.Context, body: str, file: Path) -> Reply:
    """Receive a FILE at the tax office of BODY.

    A file with wrong counts, one that is cut off, changed, for another body or sent before is refused as a whole, which
    is recorded. Records that match nobody go to the work list.
    """
    from kazashi.assembly.network import counted
    from kazashi.assembly.tax_link import TaxLink

    taken = TaxLink(network_of(context)).receive(body, content_in(file))
    found = {how.value: count for how, count in sorted(taken.found.items(), key=lambda one: one[0].value)}
    row = {"file": taken.file, "year": taken.year, "records": taken.records, "found": found,
           "work_list": taken.unmatched}  # fmt: skip
    counts = ", ".join(f"{how}: {count}" for how, count in found.items())
    words = f"{counted(taken.records, 'return')} of {taken.year} ({counts}); {taken.unmatched} on the work list"
    return Reply(row, words)


@tax.command("files")
@click.argument("body", required=False)
@replies
@click.pass_context
def tax_files(context: click.Context, body: str | None) -> Reply:
    """Show what tax offices have received.

    A file that was refused is listed with the reason.
    """
    from kazashi.provision_network.tax_offices import TaxOffices

    rows = [_file(one) for one in TaxOffices(network_of(context).world).files(body)]
    return Reply(rows, table(rows, "no file was received"))


@tax.command("work-list")
@click.argument("body")
@replies
@click.pass_context
def tax_work_list(context: click.Context, body: str) -> Reply:
    """Show the records that match nobody at BODY."""
    from kazashi.provision_network.tax_offices import TaxOffices

    network = network_of(context)
    network.member(body)
    rows = [_record(one) for one in TaxOffices(network.world).work_list(body)]
    return Reply(rows, table(rows, f"nothing is on the work list of {body}"))


@tax.command("records")
@click.argument("body")
@click.argument("who", required=False)
@replies
@click.pass_context
def tax_records(context: click.Context, body: str, who: str | None) -> Reply:
    """Show what BODY has of WHO, year by year, or of everybody.

    Records stay when a taxpayer has died or left; those are then among the records of everybody. Each record says by
    which identifier it was tied to the taxpayer: the individual number, the attributes, or by hand.
    """
    from kazashi.provision_network.tax_offices import TaxOffices

    network = network_of(context)
    network.member(body)
    offices, own = TaxOffices(network.world), None
    if who is not None:
        _, own = _taxpayer(network, body, who)
    rows = [_record(one) for one in offices.records(body, local_number=own)]
    return Reply(rows, table(rows, f"{body} has no return of {who or 'anybody'}"))


def _taxpayer(network: Network, body: str, who: str) -> tuple[TaxLink, str]:
    """Return the tax link, and the own number of a tax office for a person. Raises NetworkRejected."""
    from kazashi.assembly.tax_link import TaxLink
    from kazashi.provision_network.terms import NetworkRejected

    network.member(body)
    person, link = network.institutions.registry.find(who), TaxLink(network)
    own = link.enrol(body).get(str(person.individual_number))
    if own is None:
        words = f"the tax office of {body} has no taxpayer {who} now; all records: kazashi network tax records {body}"
        raise NetworkRejected("unknown-taxpayer", words)
    return link, own


@tax.command("assign")
@click.argument("body")
@click.argument("number", type=int)
@click.argument("who")
@replies
@click.pass_context
def tax_assign(context: click.Context, body: str, number: int, who: str) -> Reply:
    """Match record NUMBER of the work list with WHO by hand."""
    link, own = _taxpayer(network_of(context), body, who)
    assigned = link.offices.assign(body, number, own)
    return Reply(_record(assigned), f"record {number} is of the taxpayer {assigned.local_number}")


@tax.command("quality")
@click.argument("body")
@file_argument
@replies
@click.pass_context
def tax_quality(context: click.Context, body: str, file: Path) -> Reply:
    """Measure the name matching of a FILE at BODY.

    By number, by the four attributes, and by both, on the same file: precision and recall with their intervals (Wilson,
    95 %). Nothing is stored.
    """
    from kazashi.studies.tax_matching import matched_three_ways

    measured = matched_three_ways(network_of(context), body, content_in(file))
    data = [{"way": one.way, "precision": _share(one.precision), "recall": _share(one.recall),
             "by_hand": _share(one.by_hand), "per_second": round(one.per_second)} for one in measured]  # fmt: skip
    rows: list[dict[str, Any]] = [
        {"way": one.way, "precision": str(one.precision), "recall": str(one.recall), "by hand": str(one.by_hand)}
        for one in measured
    ]
    return Reply(data, table(rows, ""))


@click.group()
def health() -> None:
    """Exchange records of health checks between insurers.

    A new insurer asks the former one (高齢者の医療の確保に関する法律27条), which gives a file on a medium with the
    records of those who have consented. No network carries it.
    """


@health.command("ask")
@click.argument("body")
@click.argument("who")
@click.option("--of", "former", metavar="BODY", required=True, help="The former insurer.")
@replies
@click.pass_context
def health_ask(context: click.Context, body: str, who: str, former: str) -> Reply:
    """Let BODY ask WHO's former insurer for the record.

    The consent is one in the former insurer's register: `network consent add FORMER WHO --item 特定健康診査の記録 --to
    BODY --for 高齢者の医療の確保に関する法律27条`.
    """
    from kazashi.assembly.health_link import HealthLink

    network = network_of(context)
    number = HealthLink(network).ask(body, network.institutions.registry.find(who), former)
    return Reply({"body": former, "number": number, "asked_by": body}, f"request {number} waits at {former}")


@health.command("hand-over")
@click.argument("body")
@click.option("--to", "receiver", metavar="BODY", required=True, help="The insurer that has asked.")
@click.option("--medium", type=click.Path(file_okay=False, path_type=Path), required=True,
              help="The directory that stands for an optical disc.")  # fmt: skip
@replies
@click.pass_context
def health_hand_over(context: click.Context, body: str, receiver: str, medium: Path) -> Reply:
    """Write the records that BODY was asked for onto a medium.

    The consent must be in force today; whose is not is left out, which is recorded, and must be asked for again. The
    exit status is 1 if nobody's
    record could be given.
    """
    from kazashi.assembly.health_link import HealthLink
    from kazashi.assembly.network import counted

    done = HealthLink(network_of(context)).hand_over(body, receiver, medium)
    row = {"file": None if done.file is None else str(done.file), "records": done.records,
           "without_consent": done.without_consent}  # fmt: skip
    people = counted(done.without_consent, "person has", "people have")
    words = f"{counted(done.records, 'record')} for {receiver}; {people} not consented"
    if done.without_consent:
        words += " (after a new consent: ask again with `network health ask`)"
    return Reply(row, words, 0 if done.records else 1)


@health.command("receive")
@click.argument("body")
@file_argument
@replies
@click.pass_context
def health_receive(context: click.Context, body: str, file: Path) -> Reply:
    """Receive a FILE at the new insurer.

    BODY finds its people by individual number.
    """
    from kazashi.assembly.health_link import HealthLink
    from kazashi.assembly.network import counted

    count = HealthLink(network_of(context)).receive(body, content_in(file))
    return Reply({"body": body, "received": count}, f"{body} has received {counted(count, 'record')}")


@health.command("list")
@click.argument("body")
@replies
@click.pass_context
def health_list(context: click.Context, body: str) -> Reply:
    """Show an insurer's requests and files.

    What BODY was asked for, what it has asked for, and the files that it has received.
    """
    from kazashi.assembly.health_link import HealthLink

    network = network_of(context)
    network.member(body)
    checks = HealthLink(network).checks
    asked = [{"number": one.number, "address_number": one.address_number, "by": one.asked_by,
              "asked": one.asked.isoformat(), "state": one.state} for one in checks.requests(body)]  # fmt: skip
    awaited = [{"address_number": one.address_number, "of": one.asked_of, "content": one.content}
               for one in checks.received(body)]  # fmt: skip
    files = [_file(one) for one in checks.files(body)]
    lines = [table(asked, f"{body} was asked for nothing"), "", table(awaited, f"{body} has asked for nothing")]
    lines += ["", table(files, "no file was received")]
    return Reply({"asked": asked, "awaited": awaited, "files": files}, "\n".join(lines))


def _file(one: ReceivedFile) -> dict[str, Any]:
    return {
        "number": one.number, "body": one.body, "from": one.sender, "period": one.period, "records": one.records,
        "at": one.at.isoformat(), "denial": one.denial, "words": one.words, "sha256": one.digest,
    }  # fmt: skip


def _record(one: TaxRecord) -> dict[str, Any]:
    attributes = one.attributes
    return {
        "number": one.number, "file": one.file, "year": one.year, "name": attributes.name, "birth": attributes.birth,
        "address": attributes.address, "income": one.income, "local_number": one.local_number, "how": one.how,
        "candidates": one.candidates,
    }  # fmt: skip


def _share(share: Share) -> dict[str, Any]:
    value = share.value if share.total else None
    return {"count": share.count, "of": share.total, "value": value, "interval": list(share.interval)}
