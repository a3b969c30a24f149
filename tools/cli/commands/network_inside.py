"""`kazashi network inside`, `use` and `disaster`: what goes from office to office in a body, and what numbers may be
used for."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kazashi.tools.cli.commands.network_shared import day_option, network_of, text_in
from kazashi.tools.cli.commands.shared import Reply, day_of, gathered, parsed_day, replies, table

if TYPE_CHECKING:
    from kazashi.assembly.network_uses import Basis
    from kazashi.provision_network.disasters import Disaster
    from kazashi.provision_network.internal_flows import RecordedFlow


@click.group()
def inside() -> None:
    """Pass information on inside one body (庁内連携).

    One office of a municipality lets another see what it has about a person. The body records it; no portal shows it.
    """


@inside.command("provide")
@click.argument("body")
@click.argument("who")
@click.option("--from", "from_office", metavar="OFFICE", required=True, help="The office that has the information.")
@click.option("--to", "to_office", metavar="OFFICE", required=True, help="The office that gets it.")
@click.option("--item", required=True, help="The information.")
@click.option("--law", default="", help="The law of an affair of 別表第一 that both offices have.")
@click.option("--ordinance", metavar="ID", default="", help="An ordinance that the body has filed (9条2項).")
@replies
@click.pass_context
def inside_provide(
    context: click.Context, body: str, who: str, from_office: str, to_office: str, item: str, law: str, ordinance: str
) -> Reply:  # fmt: skip
    """Let an office of BODY see what another has about WHO.

    Tax data need a law that obliges the person to report, or a consent in the body's register, given for the office
    (`network consent add BODY WHO --to OFFICE --for LAW`).
    """
    from kazashi.assembly.network_inside import InsideFlows

    network = network_of(context)
    person = network.institutions.registry.find(who)
    shown = InsideFlows(network).provide(body, person, from_office, to_office, item, law=law, ordinance=ordinance)
    row = {**_flow(shown.recorded), "content": shown.content}
    words = f"{to_office} saw {item} of {from_office}: {shown.content or 'no copy'}\n{shown.recorded.rule}"
    return Reply(row, words)


@inside.command("list")
@click.argument("body")
@replies
@click.pass_context
def inside_list(context: click.Context, body: str) -> Reply:
    """Show what went from office to office in BODY, with what was denied."""
    from kazashi.provision_network.internal_flows import InternalFlows

    network = network_of(context)
    network.member(body)
    rows = [_flow(one) for one in InternalFlows(network.world).of(body)]
    return Reply(rows, table(rows, f"nothing went from office to office in {body}"))


@inside.command("offices")
@replies
def inside_offices() -> Reply:
    """Show the offices of a municipality, with the laws of their affairs."""
    from kazashi.provision_network.internal_flows import offices

    rows = [{"office": name, "laws": "、".join(sorted(laws))} for name, laws in offices().items()]
    return Reply(rows, table(rows, ""))


# Uses


def _basis(
    law: str, form: str, ordinance: str, contract: str, contract_of: str | None, receipt: int | None
) -> Basis:  # fmt: skip
    from kazashi.assembly.errors import UsageError
    from kazashi.assembly.network_uses import Basis

    if sum(value not in ("", None) for value in (law, form, ordinance, contract, receipt)) != 1:
        raise UsageError("a use has one basis: --law, --form, --ordinance, --contract or --receipt")
    if bool(contract) != bool(contract_of):
        raise UsageError("--contract and --contract-of belong together")
    return Basis(law, form, ordinance, contract, parsed_day(contract_of) if contract_of else None, receipt)


@click.command("use")
@click.argument("body")
@click.option(
    "--for", "purpose", metavar="PURPOSE", default="", help="The purpose; that of the receipt with --receipt."
)
@gathered(
    "basis", _basis,
    click.option("--law", default="", help="The law of an affair of 別表第一 (9条1項)."),
    click.option("--form", metavar="LAW", default="", help="The law of a form about somebody else (9条3項)."),
    click.option("--ordinance", metavar="ID", default="", help="An ordinance that the body has filed (9条2項)."),
    click.option("--contract", default="", help="A contract on payments after a severe disaster (9条4項)."),
    click.option("--contract-of", metavar="DATE", help="The day of the contract."),
    click.option("--receipt", type=int, metavar="LINE", help="What was received, as a line of `network outside list`."),
)  # fmt: skip
@click.option("--search/--submit", "search", default=True, help="Search by the number, or write it on a form.")
@click.option("--keep", metavar="NAME", help="Keep a file of what was received; it needs an impact assessment.")
@click.option("--assessment", type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path),
              help="The impact assessment for the file.")  # fmt: skip
@replies
@click.pass_context
def use(
    context: click.Context, body: str, purpose: str, basis: Basis, search: bool, keep: str | None,
    assessment: Path | None,
) -> Reply:  # fmt: skip
    """Decide whether BODY may use the individual number (番号法9条).

    What was received outside the network may be used for the purpose of the receipt only, which the provider's log
    says. Every use, and every denial, is recorded.
    """
    from kazashi.assembly.errors import UsageError
    from kazashi.assembly.network_uses import NetworkUses
    from kazashi.provision_network.assessments import ImpactAssessment
    from kazashi.provision_network.law.uses import Deed

    if keep is not None and basis.receipt is None:
        raise UsageError("--keep belongs to --receipt")
    uses = NetworkUses(network_of(context))
    decision = uses.use(body, basis, purpose, deed=Deed.SEARCH if search else Deed.SUBMIT)
    row: dict[str, Any] = {"body": body, "purpose": purpose, "rule": decision.rule, "kept": None}
    if keep is not None and basis.receipt is not None:
        document = ImpactAssessment.parse(text_in(assessment)) if assessment else None
        row["kept"] = uses.keep(body, basis.receipt, keep, document).name
    return Reply(row, f"{decision.rule}: {decision.words}")


@click.group()
def disaster() -> None:
    """Declare severe disasters (激甚災害).

    While one lasts, a bank may use the number for payments by a contract made before it.
    """


@disaster.command("declare")
@click.argument("name")
@day_option
@replies
@click.pass_context
def disaster_declare(context: click.Context, name: str, on: str | None) -> Reply:
    """Declare a disaster."""
    from kazashi.provision_network.disasters import Disasters

    network = network_of(context)
    return _disaster(Disasters(network.world).declare(name, day_of(on, network.world)))


@disaster.command("end")
@click.argument("name")
@day_option
@replies
@click.pass_context
def disaster_end(context: click.Context, name: str, on: str | None) -> Reply:
    """End a declared disaster."""
    from kazashi.provision_network.disasters import Disasters

    network = network_of(context)
    return _disaster(Disasters(network.world).end(name, day_of(on, network.world)))


def _disaster(one: Disaster) -> Reply:
    row = {"name": one.name, "declared": one.declared.isoformat(), "ended": one.ended and one.ended.isoformat()}
    return Reply(row, f"{one.name}: declared {one.declared}{f', ended {one.ended}' if one.ended else ''}")


def _flow(one: RecordedFlow) -> dict[str, Any]:
    return {
        "number": one.number, "at": one.at.isoformat(), "address_number": one.flow.address_number,
        "from": one.flow.from_office, "to": one.flow.to_office, "item": one.flow.information,
        "law": one.flow.law or one.flow.ordinance, "rule": one.rule, "denial": one.denial,
    }  # fmt: skip
