"""`kazashi clinic`: clinics that check insurance by card, and the terminal at a clinic's desk."""

from __future__ import annotations

from pathlib import Path

import click

from kazashi.tools.cli.commands.network_shared import network_of
from kazashi.tools.cli.commands.shared import Reply, port_option, replies, table, world_if_any
from kazashi.web import ports

_FOLDER = click.Path(path_type=Path)


@click.group()
def clinic() -> None:
    """Check insurance by card at a clinic's desk.

    The joint body of the insurers gives a clinic certificates; its terminal reads the card and asks the joint body.
    """


@clinic.command("add")
@click.argument("name")
@click.option("--out", required=True, type=_FOLDER, metavar="DIR", help="Write the terminal's files to this directory.")
@click.option("--joint-body", default=ports.JOINT_BODY.address, show_default=True, metavar="URL",
              help="The joint body's address (kazashi insurance serve).")  # fmt: skip
@replies
@click.pass_context
def clinic_add(context: click.Context, name: str, out: Path, joint_body: str) -> Reply:
    """Issue the certificates of a clinic's terminal.

    One is for the connection to the joint body, and one for cards, which then sign without the PIN.
    """
    from kazashi.assembly.medical_insurance import MedicalInsurance

    MedicalInsurance(network_of(context)).add_clinic(name, out, joint_body)
    return Reply({"clinic": name, "directory": str(out)}, f"start the terminal with: kazashi clinic serve {out}")


@clinic.command("list")
@replies
@click.pass_context
def clinic_list(context: click.Context) -> Reply:
    """Show the clinics that may check cards."""
    from kazashi.assembly.medical_insurance import MedicalInsurance

    rows = [
        {"fingerprint": one.fingerprint, "clinic": one.name, "added": one.added.isoformat(),
         "removed": one.removed.isoformat() if one.removed else None}
        for one in MedicalInsurance(network_of(context)).clinics.all()
    ]  # fmt: skip
    return Reply(rows, table(rows, "there are no clinics yet; try: kazashi clinic add"))


@clinic.command("remove")
@click.argument("name")
@replies
@click.pass_context
def clinic_remove(context: click.Context, name: str) -> Reply:
    """Accept a clinic's certificates no more."""
    from kazashi.assembly.medical_insurance import MedicalInsurance

    removed = MedicalInsurance(network_of(context)).clinics.remove(name)
    return Reply({"clinic": name, "removed": removed}, f"{name} may check no more cards")


@clinic.command("serve")
@click.argument("folder", type=_FOLDER)
@click.option("--reader", metavar="NAME", help="The desk's reader, or the beginning of its name (default: any).")
@click.option("--wait", "seconds", type=click.FloatRange(0, 120), default=20.0, show_default=True, metavar="SECONDS",
              help="How long a check waits for a card.")  # fmt: skip
@port_option(ports.CLINIC)
@click.pass_context
def clinic_serve(context: click.Context, folder: Path, reader: str | None, seconds: float, port: int) -> None:
    """Serve the page at a clinic's desk.

    FOLDER is that of `kazashi clinic add`. The page checks the card in the reader with its PIN, or without it after
    staff has compared the face with the photograph. It is in Japanese and English.
    """
    from kazashi.assembly.readers import reach_instance
    from kazashi.assembly.served import serve_application
    from kazashi.medical_insurance.clinic import Clinic
    from kazashi.medical_insurance.desk_pages import DeskPages
    from kazashi.medical_insurance.terminal import ClinicTerminal

    desk = Clinic.load(folder)
    if (world := world_if_any(context)) is not None:
        reach_instance(world, reader)
    terminal = ClinicTerminal(desk, reader or "", seconds)
    origin = f"http://localhost:{port}"
    click.echo(f"The desk of {desk.name} is at {origin}", err=True)
    serve_application(DeskPages(terminal, desk.name, origin).application(), port)
