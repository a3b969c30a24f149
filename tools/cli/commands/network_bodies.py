"""`kazashi network body`, `people`, `system` and `assessment`: who is on the network, and for whom."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kazashi.tools.cli.commands.network_shared import file_argument, network_of, people_of, text_in, wait_option
from kazashi.tools.cli.commands.shared import Reply, day_of, parsed_day, replies, table

if TYPE_CHECKING:
    from kazashi.assembly.network import Network
    from kazashi.provision_network.assessments import ImpactAssessment
    from kazashi.provision_network.membership import Institution


@click.group()
def body() -> None:
    """Register bodies on the network, and remove them."""


@body.command("add")
@click.argument("name")
@click.option("--kind", required=True, help="The kind of body in the table of affairs; see: kazashi network rules.")
@click.option("--interface", default="", metavar="NAME",
              help="The body's interface system; a new name enrols one (default: one of its own; for a municipality,"
              " the municipalities').")  # fmt: skip
@click.option("--group", default="", help="The group with which the body shares its codes (default: none).")
@click.option("--starts", metavar="DATE", help="The first day on which it may use the network (default: today).")
@click.option("--assessment", type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path),
              metavar="FILE", help="Its impact assessment; see: kazashi network assessment draft.")  # fmt: skip
@click.option("--port", type=click.IntRange(1024, 65535), help="The port of a new interface system.")
@replies
@click.pass_context
def body_add(
    context: click.Context, name: str, kind: str, interface: str, group: str, starts: str | None,
    assessment: Path | None, port: int | None,
) -> Reply:  # fmt: skip
    """Register a body.

    Without an impact assessment (特定個人情報保護評価) it is registered, and may not use the network yet.
    """
    from datetime import datetime, time

    from kazashi.assembly.network_bodies import NetworkBodies
    from kazashi.world.clock import JST

    network = network_of(context)
    first = None if starts is None else datetime.combine(parsed_day(starts), time(), JST)
    document = None if assessment is None else _assessment(assessment)
    bodies = NetworkBodies(network)
    bodies.add(name, kind, interface=interface, group=group, starts=first, assessment=document, port=port)
    row = _row(network, network.member(name))
    words = f"{name} is on the network behind {row['interface']} at {row['address']}"
    return Reply(row, words + ("" if not row["lacks"] else f"; it may not use it yet: {row['lacks']}"))


@body.command("list")
@replies
@click.pass_context
def body_list(context: click.Context) -> Reply:
    """Show the bodies on the network.

    `lacks` says why a body may not use the network.
    """
    network = network_of(context)
    rows = [_row(network, one) for one in network.core.members.institutions()]
    return Reply(rows, table(rows, "there are no bodies yet"))


@body.command("remove")
@click.argument("name")
@click.option("--when-done", is_flag=True, help="Complete the requests under way first, and accept no new ones.")
@wait_option
@replies
@click.pass_context
def body_remove(context: click.Context, name: str, when_done: bool, seconds: float) -> Reply:
    """Remove a body from the network.

    Its people's codes and copies, its systems and its impact assessment go with it. The exit status is 1 if requests
    are still open; the same command goes on later.
    """
    from dataclasses import asdict

    from kazashi.assembly.network_bodies import NetworkBodies

    removal = NetworkBodies(network_of(context)).remove(name, when_done=when_done, seconds=seconds)
    if removal.removed:
        return Reply(asdict(removal), f"{name} is no longer on the network")
    words = (f"{name} accepts no new requests; {removal.open} are still open, {removal.held} of them on hold"
             f" (kazashi network held); then run this again")  # fmt: skip
    return Reply(asdict(removal), words, 1)


@click.group()
def people() -> None:
    """Manage the people that a body has on its list.

    The body has an address number for each, drawn at random, and a code from the core.
    """


@people.command("add")
@click.argument("body")
@click.argument("who", nargs=-1)
@click.option("--file", type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path), metavar="FILE",
              help="Take more people from this file, one a line.")  # fmt: skip
@replies
@click.pass_context
def people_add(context: click.Context, body: str, who: tuple[str, ...], file: Path | None) -> Reply:
    """Put people on a body's list.

    WHO is an alias, an individual number or a resident record code.
    """
    from kazashi.assembly.network_bodies import NetworkBodies

    network = network_of(context)
    residents = people_of(network, who, file)
    bodies = NetworkBodies(network)
    added = bodies.admit(body, residents)
    return Reply({"body": body, "named": len(residents), "added": added},
                 f"{added} of {len(residents)} people are new at {body}; all have a code")  # fmt: skip


@people.command("list")
@click.argument("body")
@replies
@click.pass_context
def people_list(context: click.Context, body: str) -> Reply:
    """Show the people on a body's list.

    They are shown as the body's own address system has them.
    """
    from dataclasses import asdict

    from kazashi.assembly.network_bodies import NetworkBodies

    bodies = NetworkBodies(network_of(context))
    rows = [asdict(one) for one in bodies.people(body)]
    return Reply(rows, table(rows, f"{body} has nobody on its list; try: kazashi network people add"))


@people.command("remove")
@click.argument("body")
@click.argument("who", nargs=-1, required=True)
@replies
@click.pass_context
def people_remove(context: click.Context, body: str, who: tuple[str, ...]) -> Reply:
    """Take people off a body's list.

    The body's codes and copies of them are deleted.
    """
    from kazashi.assembly.network_bodies import NetworkBodies

    network = network_of(context)
    bodies = NetworkBodies(network)
    removed = bodies.dismiss(body, people_of(network, who, None))
    return Reply({"body": body, "removed": removed}, f"{removed} people were taken off the list of {body}")


@click.group()
def system() -> None:
    """Manage the business systems of bodies.

    A business system sends requests to its body's interface system over HTTPS, with a certificate.
    """


@system.command("add")
@click.argument("body")
@click.option("--out", required=True, type=click.Path(path_type=Path), metavar="DIR",
              help="Write the certificate, its key and the network's authority to this directory.")  # fmt: skip
@click.option("--for", "party", default="", metavar="PARTY",
              help="The party to which the body has entrusted an affair; see: kazashi network entrust.")  # fmt: skip
@replies
@click.pass_context
def system_add(context: click.Context, body: str, out: Path, party: str) -> Reply:
    """Issue a certificate to a body's business system.

    Shows a command with which the body sends a first request.
    """
    import shlex

    from kazashi.assembly.errors import UsageError
    from kazashi.assembly.network_systems import first_request
    from kazashi.provision_network.body_registers import BodyRegisters

    network = network_of(context)
    network.member(body)
    if party:
        BodyRegisters(network.world).entrustment(body, party)
    paths = {name: out / name for name in ("system.pem", "system.key", "authority.pem")}
    if existing := [path for path in paths.values() if path.exists()]:
        raise UsageError(f"{existing[0]} exists; name another directory with --out")
    out.mkdir(parents=True, exist_ok=True)
    issued, system = network.core.systems.issue(body, party)
    contents = (issued.certificate, issued.key, issued.authority)
    for path, content, mode in zip(paths.values(), contents, (0o644, 0o600, 0o644), strict=True):
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            file.write(content)
    certificate, key, authority = map(str, paths.values())
    options = shlex.join(("curl", "--cert", certificate, "--key", key, "--cacert", authority))
    curl = f"{options} {first_request(network, body)}"
    document = {"body": body, "fingerprint": system.fingerprint, "certificate": certificate, "key": key,
                "authority": authority, "curl": curl}  # fmt: skip
    words = "the content is null if the provider has no copy of the person's; see: kazashi network copies"
    return Reply(document, f"fingerprint {system.fingerprint}\n{curl}\n({words})")


@system.command("list")
@click.argument("body", required=False)
@replies
@click.pass_context
def system_list(context: click.Context, body: str | None) -> Reply:
    """Show the business systems, of one body or of all."""
    rows = [
        {"fingerprint": one.fingerprint, "body": one.body, "used_by": one.used_by, "issued": one.issued.isoformat(),
         "removed": one.removed.isoformat() if one.removed else None}
        for one in network_of(context).core.systems.all() if body in (None, one.body)
    ]  # fmt: skip
    return Reply(rows, table(rows, "there are no business systems yet; try: kazashi network system add"))


@system.command("remove")
@click.argument("fingerprint")
@replies
@click.pass_context
def system_remove(context: click.Context, fingerprint: str) -> Reply:
    """Remove a business system.

    Its body's interface system refuses the certificate from now on. The first digits of FINGERPRINT are enough.
    """
    network = network_of(context)
    removed = network.core.systems.remove(fingerprint)
    network.carry()
    words = f"the certificate {removed.fingerprint} of {removed.body} is no longer accepted"
    return Reply({"fingerprint": removed.fingerprint, "body": removed.body}, words)


@click.group()
def assessment() -> None:
    """Manage impact assessments (特定個人情報保護評価).

    The network links only what a body's assessment covers, and only for five years after its publication.
    """


@assessment.command("draft")
@click.argument("body")
@click.option("--kind", required=True, help="The body's kind in the table of affairs.")
@replies
@click.pass_context
def assessment_draft(context: click.Context, body: str, kind: str) -> Reply:
    """Write a made-up assessment of everything that a body may do.

    It has every affair and item of the kind in the table of affairs, and today's date. Edit it as you need.
    """
    import json

    from kazashi.assembly.errors import UsageError
    from kazashi.assembly.network_bodies import kinds
    from kazashi.provision_network.assessments import sample_assessment

    today = day_of(None, network_of(context).world)
    if kind not in kinds():
        raise UsageError(f"no affair of the table has a body of the kind {kind!r}; the kinds are {', '.join(kinds())}")
    text = sample_assessment(body, kind, today).document()
    return Reply(json.loads(text), text)


@assessment.command("add")
@file_argument
@replies
@click.pass_context
def assessment_add(context: click.Context, file: Path) -> Reply:
    """Store an impact assessment, or a newer version.

    FILE is JSON or TOML with body, published, version, affairs and items; `-` is stdin.
    """
    network, document = network_of(context), _assessment(file)
    network.member(document.body)
    network.core.members.assess(document)
    return Reply(_summary(document), f"version {document.version} of {document.body} is stored")


@assessment.command("list")
@replies
@click.pass_context
def assessment_list(context: click.Context) -> Reply:
    """Show the impact assessments of all bodies."""
    rows = [_summary(one.assessment) for one in network_of(context).core.members.institutions() if one.assessment]
    return Reply(rows, table(rows, "no body has an impact assessment"))


@assessment.command("show")
@click.argument("body")
@replies
@click.pass_context
def assessment_show(context: click.Context, body: str) -> Reply:
    """Show a body's impact assessment.

    It is shown as the document that `assessment add` takes.
    """
    import json

    from kazashi.provision_network.terms import NetworkRejected

    found = network_of(context).member(body).assessment
    if found is None:
        raise NetworkRejected("no-assessment", f"{body} has no impact assessment")
    return Reply(json.loads(found.document()), found.document())


def _assessment(file: Path) -> ImpactAssessment:
    from kazashi.provision_network.assessments import ImpactAssessment

    return ImpactAssessment.parse(text_in(file))


def _summary(document: ImpactAssessment) -> dict[str, Any]:
    return {"body": document.body, "published": document.published.isoformat(), "version": document.version,
            "affairs": len(document.affairs), "items": len(document.items)}  # fmt: skip


def _row(network: Network, one: Institution) -> dict[str, Any]:
    addresses = {entry.name: entry.address for entry in network.core.members.interfaces()}
    return {
        "name": one.name, "kind": one.kind, "interface": one.interface, "address": addresses.get(one.interface, ""),
        "starts": one.starts.isoformat(), "lacks": one.lacks(network.world.clock.now()),
    }  # fmt: skip
