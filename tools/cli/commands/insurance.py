"""`kazashi insurance`: insurers' files, the insurers' joint body, and cards that are registered as insurance cards."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from kazashi.tools.cli.commands.network_shared import content_in, file_argument, network_of, people_of
from kazashi.tools.cli.commands.shared import (
    Reply,
    day_of,
    parsed_day,
    port_option,
    replies,
    services_option,
    table,
    world_of,
)
from kazashi.web import ports

if TYPE_CHECKING:
    from kazashi.assembly.medical_insurance import MedicalInsurance

SAMPLE_INSURER = "架空健康保険組合"


@click.group()
def insurance() -> None:
    """Use the card as an insurance card (オンライン資格確認).

    Insurers tell their joint body (支払基金・国保中央会) who is insured, and clinics ask it about the card on their
    desk. The joint body is on the provision network with numbers of its own, and has no individual number.
    """


@insurance.command("setup")
@click.argument("insurers", nargs=-1, metavar="[INSURER]...")
@click.option("--port", type=click.IntRange(1024, 65535), help="The port of the insurers' interface system.")
@replies
@click.pass_context
def insurance_setup(context: click.Context, insurers: tuple[str, ...], port: int | None) -> Reply:
    """Connect the joint body and insurers to the network.

    Without names, one sample insurer. They share one interface system and one code for each person. It can be run
    again, to add insurers.
    """
    from kazashi.assembly.medical_insurance import MedicalInsurance

    connected = MedicalInsurance(network_of(context)).set_up(insurers or (SAMPLE_INSURER,), port)
    words = f"the joint body is on the network, with {', '.join(connected)}; put people on an insurer's list with:"
    return Reply({"insurers": connected}, f"{words} kazashi network people add")


@insurance.command("serve")
@services_option
@click.option("--desk", default=ports.DESK.address, show_default=True, metavar="URL",
              help="The J-LIS office's address (kazashi network serve).")  # fmt: skip
@port_option(ports.JOINT_BODY)
@click.pass_context
def insurance_serve(context: click.Context, services: str, desk: str, port: int) -> None:
    """Serve the joint body over HTTPS.

    Insurers hand in files with their systems' certificates (kazashi network system add), and clinics check cards with
    theirs (kazashi clinic add). The insurers' interface system is a part of kazashi network serve.
    """
    from kazashi.assembly.joint_body_server import serve_joint_body

    click.echo(f"The insurers' joint body is at https://{ports.JOINT_BODY.host}:{port}", err=True)
    serve_joint_body(world_of(context), services, desk, port)


@insurance.command("draft")
@click.argument("insurer")
@click.argument("who", nargs=-1)
@click.option("--change", type=click.Choice(["new", "changed", "ended"]), default="new", show_default=True,
              help="What the file tells of each entitlement.")  # fmt: skip
@click.option("--from", "begins", metavar="DATE", help="The first day of new entitlements (default: today).")
@click.option("--to", "ends", metavar="DATE", help="The last day (default: none).")
@replies
@click.pass_context
def insurance_draft(
    context: click.Context, insurer: str, who: tuple[str, ...], change: str, begins: str | None, ends: str | None
) -> Reply:  # fmt: skip
    """Write an insurer's next file about people.

    WHO is an alias, an individual number or a resident record code of somebody on the insurer's list. New entitlements
    get made-up insured numbers.
    """
    from kazashi.medical_insurance.feed import ChangeType

    insurers = _insurance(context)
    people = people_of(network_of(context), who, None)
    last = None if ends is None else parsed_day(ends)
    first = day_of(begins, world_of(context))
    text = insurers.draft(insurer, people, ChangeType[change.upper()], first, last)
    return Reply({"file": text}, text)


@insurance.command("feed")
@click.argument("insurer")
@file_argument
@replies
@click.pass_context
def insurance_feed(context: click.Context, insurer: str, file: Path) -> Reply:
    """Hand in an insurer's file of entitlements.

    All of it is taken over or nothing. The same file again changes nothing. FILE is described in
    docs/medical-desk.md; `-` is stdin.
    """
    content = content_in(file)
    receipt = _insurance(context).intake().hand_in(insurer, content)
    words = f"file {receipt.number} of {insurer}: {receipt.new} new, {receipt.changed} changed, {receipt.ended} ended"
    return Reply(receipt.as_dict(), words + (" (accepted before; nothing has changed)" if receipt.again else ""))


@insurance.command("feeds")
@replies
@click.pass_context
def insurance_feeds(context: click.Context) -> Reply:
    """Show which files were accepted and refused.

    `refused` has the reason code.
    """
    rows = [
        {"at": one.at.isoformat(), "insurer": one.insurer, "number": one.number, "refused": one.refused or None,
         "words": one.words}
        for one in _insurance(context).joint.feeds()
    ]  # fmt: skip
    return Reply(rows, table(rows, "no file was handed in yet; try: kazashi insurance draft"))


@insurance.command("register")
@click.argument("who")
@click.option("--medium", type=click.Choice(["card", "phone"]), default="card", show_default=True,
              help="Register the latest certificate on a card or on a phone of the person.")  # fmt: skip
@replies
@click.pass_context
def insurance_register(context: click.Context, who: str, medium: str) -> Reply:
    """Register a person's card as an insurance card.

    J-LIS tells the joint body the code of the certificate's holder. The exit status is 1 if no insurer has named the
    person.
    """
    from kazashi.jpki.profile import Medium

    own = _insurance(context).register(who, Medium(medium))
    if own is None:
        return Reply({"own_number": None}, f"no insurer has named {who}; see: kazashi insurance feed", 1)
    return Reply({"own_number": own}, f"the {medium} of {who} is registered under the joint body's number {own}")


@insurance.command("people")
@replies
@click.pass_context
def insurance_people(context: click.Context) -> Reply:
    """Show the insured persons, as the joint body knows them.

    It has numbers of its own for them, and neither names nor individual numbers.
    """
    rows = [
        {"own_number": person.own_number, "cards": person.cards, "insurer": one.insurer,
         "insured_number": one.insured_number, "begins": one.begins.isoformat(),
         "ends": one.ends.isoformat() if one.ends else None}
        for person in _insurance(context).joint.people() for one in person.entitlements
    ]  # fmt: skip
    return Reply(rows, table(rows, "no insurer has named anybody yet; try: kazashi insurance draft"))


def _insurance(context: click.Context) -> MedicalInsurance:
    from kazashi.assembly.medical_insurance import insurance_of

    return insurance_of(network_of(context))
