"""`kazashi mdoc`: the card's attributes as an mdoc on a phone, its presentation, and the verification."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from kazashi.tools.cli.commands.completions import cards
from kazashi.tools.cli.commands.inputs import Input, InputFile
from kazashi.tools.cli.commands.shared import Reply, institutions_of, replies, table, world_of, write_bytes

_RESPONSE = 2 << 20
"""The largest presentation that is read."""
_OUT = click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Write to this file.")


@click.group()
def mdoc() -> None:
    """Issue, present and verify mdocs.

    An mdoc (ISO/IEC 18013-5) has the card's attributes, signed by an emulated issuer (カード代替電磁的記録).
    """


@mdoc.command("issue")
@click.argument("phone", shell_complete=cards)
@click.option("--count", type=click.IntRange(1, 100), default=1, show_default=True,
              help="The number of documents, each with its own key; a presentation uses the least used.")  # fmt: skip
@replies
@click.pass_context
def mdoc_issue(context: click.Context, phone: str, count: int) -> Reply:
    """Issue mdocs to a phone, in place of its former ones."""
    from kazashi.assembly.mdocs import issue

    issue(institutions_of(context), phone, count)
    return Reply({"phone": phone, "documents": count}, f"{phone} has {count} mdoc{'s' * (count > 1)}")


@mdoc.command("request")
@click.argument("elements", nargs=-1, required=True)
@click.option("--response-uri", default="https://verifier.example/response", show_default=True,
              help="The verifier's address, to which the response goes.")  # fmt: skip
@click.pass_context
def mdoc_request(context: click.Context, elements: Sequence[str], response_uri: str) -> None:
    """Write a verifier's request for elements, as JSON.

    ELEMENTS are names such as full_name_unicode or age_over_20 (docs/phone.md). The request is one of OpenID4VP, and is
    valid for one response within five minutes.
    """
    from kazashi.assembly.errors import UsageError
    from kazashi.assembly.mdocs import new_request
    from kazashi.jpki.mdoc import NAME_SPACES

    world = world_of(context)
    for element in elements:
        if element not in NAME_SPACES:
            raise UsageError(f"there is no element {element!r}; the elements are {', '.join(NAME_SPACES)}")
    click.echo(json.dumps(new_request(world, response_uri, elements).as_dict(), ensure_ascii=False))


@mdoc.command("present")
@click.argument("phone", shell_complete=cards)
@click.argument("request", type=Input())
@_OUT
@click.pass_context
def mdoc_present(context: click.Context, phone: str, request: InputFile, out: Path | None) -> None:
    """Present the requested elements of a phone's mdoc.

    Writes a DeviceResponse (CBOR), which the phone's key has signed for this REQUEST (a file, or - for stdin).
    """
    from kazashi.assembly.mdocs import present, read_request

    write_bytes(
        present(institutions_of(context), phone, read_request(request.read(), request.name)), out, "a presentation"
    )


@mdoc.command("verify")
@click.argument("response", type=Input(_RESPONSE))
@click.argument("request", type=Input())
@click.option("--root", "roots", multiple=True, type=click.Path(exists=True, dir_okay=False, path_type=Path),
              help="Trust this issuer's root, DER or PEM (default: this world's).")  # fmt: skip
@click.option("--status", type=click.Path(exists=True, dir_okay=False, path_type=Path),
              help="Use this status list (default: this world's present one).")  # fmt: skip
@replies
@click.pass_context
def mdoc_verify(
    context: click.Context, response: InputFile, request: InputFile, roots: Sequence[Path], status: Path | None
) -> Reply:
    """Verify a presentation.

    RESPONSE is a DeviceResponse, REQUEST the request that it responds to; the request cannot be used again. The exit
    status is 1 if the verdict is not good.
    """
    from kazashi.assembly.mdocs import read_request, verifier

    verdict = verifier(institutions_of(context), roots, status).verify(
        response.read(), read_request(request.read(), request.name)
    )
    data = verdict.as_dict()
    shown: dict[str, Any] = {name: value for name, value in data["elements"].items() if name != "portrait"}
    words = [f"{name:26} {value}" for name, value in shown.items()]
    head = data["outcome"] if verdict.finding is None else f"{data['outcome']}: {data['finding']}: {data['detail']}"
    return Reply(data, "\n".join([head, *words]), 0 if data["outcome"] == "good" else 1)


@mdoc.command("compare")
@click.argument("one", type=Input(_RESPONSE))
@click.argument("other", type=Input(_RESPONSE))
@replies
def mdoc_compare(one: InputFile, other: InputFile) -> Reply:
    """Show which parts of two presentations are equal.

    ONE and OTHER are DeviceResponses that two verifiers got. A part that is a document's own links them to one person.
    """
    from kazashi.assembly.errors import UsageError
    from kazashi.jpki.cose import MalformedCbor
    from kazashi.tracking_lab.presentations import compare

    try:
        found = compare(*((file.name, file.read()) for file in (one, other)))
    except MalformedCbor as error:
        raise UsageError(str(error)) from error
    rows = [{"part": part.name, "of one document": part.own, "equal": part.equal, "bytes": part.size} for part in found]
    linked = any(part.own and part.equal for part in found)
    words = "both are of one document" if linked else "nothing that is one document's own is equal"
    return Reply({"linked": linked, "parts": rows}, f"{table(rows, '')}\n{words}")


@mdoc.command("root")
@_OUT
@click.pass_context
def mdoc_root(context: click.Context, out: Path | None) -> None:
    """Write the issuer's root certificate (IACA) as PEM."""
    from asn1crypto import pem

    text = pem.armor("CERTIFICATE", institutions_of(context).mdocs.root())
    if out is None:
        click.echo(text.decode("ascii"), nl=False)
    else:
        out.write_bytes(text)


@mdoc.command("status")
@_OUT
@click.pass_context
def mdoc_status(context: click.Context, out: Path | None) -> None:
    """Write the list of the mdocs' status.

    It is a CWT (IETF Token Status List) and valid for a day.
    """
    write_bytes(institutions_of(context).mdocs.status_list(), out, "a status list")
