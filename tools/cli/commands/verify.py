"""`kazashi verify`: verify certificates, documents and logins, and run the conformance pack."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kazashi.assembly.errors import Exit
from kazashi.tools.cli.commands.inputs import Input, InputFile
from kazashi.tools.cli.commands.shared import Reply, institutions_of, progress, replies, world_if_any, world_of
from kazashi.world.input_file import LARGE
from kazashi.world.place_in_file import place_of

if TYPE_CHECKING:
    from kazashi.relying_party.verify.verdict import Verdict
    from kazashi.relying_party.verify.verification import Verifier

_FILE = click.argument("file", type=Input(LARGE))
_AT = click.option("--at-time", "at", metavar="T",
                   help="The instant to verify for, such as 2026-11-24T10:00+09:00 (default: now).")  # fmt: skip


def _sources(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options for trust anchors and for the sources of revocation information."""
    options = (
        click.option("--roots", type=click.Path(exists=True, file_okay=False, path_type=Path),
                     help="The directory with the authorities' certificates (default: this world's)."),
        click.option("--ocsp", metavar="URL", help="An OCSP responder to ask first, with the key of --key."),
        click.option("--key", metavar="KEY", envvar="KAZASHI_CALLER_KEY", default="", help="The caller's OCSP key."),
        click.option("--lists", metavar="WHERE",
                     help="Revocation lists: a directory, http://..., ldap://... (default: this world's)."),
        click.option("--full", is_flag=True, help="Use the full revocation list instead of the municipality's."),
    )  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return command


@click.group()
def verify() -> None:
    """Verify certificates, documents and logins.

    A verdict is good, bad, or indeterminate, with the reason. The exit status is 1 if it is not good.
    """


@verify.command("certificate")
@_FILE
@click.option("--kind", type=click.Choice(["signature", "authentication"]), help="The certificate type to require.")
@_AT
@_sources
@replies
@click.pass_context
def verify_certificate(
    context: click.Context, /, file: InputFile, kind: str | None, at: str | None, **sources: Any
) -> Reply:
    """Verify a certificate.

    FILE is DER or PEM; - for stdin.
    """
    from kazashi.jpki.profile import CERTIFICATE_TYPES

    verifier = _verifier(context, **sources)
    certificate_type = CERTIFICATE_TYPES[kind] if kind else None
    return _verdict_reply(verifier.certificate(_der(file.read()), certificate_type, _instant(at)))


@verify.command("document")
@_FILE
@click.option("--content", type=Input(LARGE), help="The signed file, if the signature is detached.")
@click.option("--signature", type=Input(LARGE), help="A raw signature over FILE, as the card returns it.")
@click.option("--certificate", type=Input(LARGE), help="The certificate that goes with --signature.")
@click.option(
    "--time-stamp-roots",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="The directory with the time-stamp authorities' certificates to trust (default: none).",
)
@_AT
@_sources
@replies
@click.pass_context
def verify_document(
    context: click.Context, /, file: InputFile, content: InputFile | None, signature: InputFile | None,
    certificate: InputFile | None, time_stamp_roots: Path | None, at: str | None, **sources: Any,
) -> Reply:  # fmt: skip
    """Verify a signed document.

    FILE is CMS, PDF, XML, or any file with a raw signature (--signature, --certificate). It is good only as a whole.
    """
    from kazashi.assembly.errors import UsageError
    from kazashi.relying_party.verify.document_format import DocumentFormat, document_format
    from kazashi.relying_party.verify.documents import Documents

    documents, when = Documents(_verifier(context, **sources), time_stamp_roots), _instant(at)
    if (signature is None) != (certificate is None):
        raise UsageError("a raw signature needs its certificate: give both --signature and --certificate")
    if signature is not None and certificate is not None:
        verdict = documents.raw(file.read(), signature.read(), _der(certificate.read()), when)
    else:
        data = file.read()
        if content is not None and document_format(data) is not DocumentFormat.CMS:
            raise UsageError("--content goes with a detached CMS signature; FILE is not CMS")
        verdict = documents.any(data, content.read() if content else None, when)
    return _verdict_reply(verdict)


@verify.command("challenge")
@click.option("--origin", required=True, help="The site that will receive the response: https://library.example")
@click.pass_context
def verify_challenge(context: click.Context, origin: str) -> None:
    """Create a challenge for a card to sign.

    Prints JSON. The card signs its `message` (in hexadecimal) with RSA and SHA-256.
    """
    from kazashi.relying_party.verify.challenges import StoredChallenges

    world = world_of(context)
    challenge = StoredChallenges(world).give(origin)
    click.echo(
        json.dumps({"origin": challenge.origin, "nonce": challenge.nonce.hex(),
                    "issued_at": challenge.issued_at.isoformat(), "message": challenge.message.hex()})
    )  # fmt: skip


@verify.command("auth")
@_FILE
@click.option("--origin", required=True, help="The site that received the response.")
@_sources
@replies
@click.pass_context
def verify_auth(context: click.Context, /, file: InputFile, origin: str, **sources: Any) -> Reply:
    """Verify the response to a challenge.

    FILE is JSON with nonce, signature and certificate in hexadecimal. The challenge cannot be used again.
    """
    from kazashi.relying_party.verify.authentication import Authentication, Response
    from kazashi.relying_party.verify.challenges import StoredChallenges
    from kazashi.relying_party.verify.finding import Finding, VerificationFailed
    from kazashi.relying_party.verify.verdict import Verdict

    verifier = _verifier(context, **sources)
    try:
        try:
            body = json.loads(file.read())
        except (ValueError, RecursionError) as error:
            raise VerificationFailed(Finding.MALFORMED, f"the response is not JSON{place_of(error)}") from error
        response = Response.from_json(body)
    except VerificationFailed as failure:
        return _verdict_reply(Verdict.from_failure(failure, verifier.clock.now()))
    return _verdict_reply(Authentication(verifier, StoredChallenges(world_of(context))).verdict(origin, response))


@verify.command("conformance")
@click.option("--export", "directory", type=click.Path(file_okay=False, path_type=Path),
              help="Export the cases to this directory, as files and cases.json.")  # fmt: skip
@replies
def verify_conformance(directory: Path | None) -> Reply:
    """Run or export the conformance pack.

    The pack runs against Kazashi's own library. Use --export to run it against another library.
    """
    from kazashi.relying_party.conformance.pack import ConformancePack
    from kazashi.world.key_source import SharedKeySource, generate

    pack = ConformancePack(SharedKeySource([generate() for _ in range(7)]))
    if directory is not None:
        count = pack.export(directory)
        return Reply({"cases": count, "directory": str(directory)}, f"{count} cases are in {directory}/cases.json")
    rows = []
    with progress("conformance", len(pack.cases)) as shown:
        for done, result in enumerate(pack.evaluated(), start=1):
            verdict = result.verdict
            rows.append({"id": result.case.identifier, "rule": result.case.rule, "outcome": verdict.outcome.value,
                         "finding": verdict.finding.value if verdict.finding else None, "agrees": result.agrees,
                         "detail": verdict.detail})  # fmt: skip
            shown(done)
    failed = [row for row in rows if not row["agrees"]]
    words = [f"{row['id']}: {row['outcome']} {row['finding'] or ''} {row['detail']}" for row in failed]
    words.append(f"{len(rows) - len(failed)} of {len(rows)} cases passed")
    return Reply(rows, "\n".join(words), Exit.NEGATIVE if failed else Exit.OK)


def _verifier(
    context: click.Context, roots: Path | None, ocsp: str | None, key: str, lists: str | None, full: bool
) -> Verifier:
    from kazashi.relying_party.verify.anchors import AnchorsInDirectory
    from kazashi.relying_party.verify.sources import (
        Source,
        lists_in,
        lists_in_directory,
        lists_over_http,
        ocsp_over_http,
    )
    from kazashi.relying_party.verify.verification import Verifier
    from kazashi.world.clock import SystemClock

    if roots is None or lists is None:
        tree = _published(context)
        roots, lists = roots or tree / "ca", lists or str(tree)
    world = world_if_any(context)
    sources: list[Source] = [ocsp_over_http(ocsp.rstrip("/"), key)] if ocsp else []
    if lists.startswith("ldap"):
        sources.append(lists_in_directory(lists))
    elif lists.startswith("http"):
        sources.append(lists_over_http(lists.rstrip("/"), full=full))
    else:
        sources.append(lists_in(Path(lists), full=full))
    return Verifier(AnchorsInDirectory(roots), sources, world.clock if world is not None else SystemClock())


def _published(context: click.Context) -> Path:
    """Return the directory in which this world's authorities publish, after publishing everything that is due."""
    institutions = institutions_of(context)
    for authority in institutions.authorities.values():
        authority.issuing()
    institutions.settle()
    return institutions.world.publication


def _der(data: bytes) -> bytes:
    from kazashi.jpki.armor import der_in

    try:
        return der_in(data)
    except ValueError:
        return data  # not a certificate; the verdict will say so


def _instant(text: str | None) -> datetime | None:
    from kazashi.assembly.errors import UsageError
    from kazashi.world.clock import instant_of

    try:
        return instant_of(text) if text else None
    except ValueError as error:
        raise UsageError(str(error)) from error


def _verdict_reply(verdict: Verdict) -> Reply:
    from kazashi.jpki.serial_number import serial_text
    from kazashi.relying_party.verify.finding import Outcome

    rows = [verdict.outcome.value + (f": {verdict.finding.value}" if verdict.finding else "")]
    rows += [f"  {line}" for line in (verdict.detail, ", ".join(verdict.signed)) if line]
    if (certificate := verdict.certificate) is not None:
        municipality = "/".join(certificate.municipality)
        rows.append(f"  {certificate.kind.code} certificate {serial_text(certificate.serial)} of {municipality}")
        if (attributes := certificate.attributes) is not None:
            rows.append(f"  {attributes.name}, {attributes.address}, {attributes.birth or ''}")
    if len(verdict.signers) > 1:
        rows.append(f"  signed with {', '.join(serial_text(signer.serial) for signer in verdict.signers)}")
    if (evidence := verdict.evidence) is not None:
        rows.append(f"  according to {evidence.source} of {evidence.produced.isoformat()}, {verdict.age} old")
    if (proven := verdict.proven) is not None:
        rows.append(f"  signed before {proven.instant.isoformat()}, according to {proven.authority}")
    rows += [f"  note: {note}" for note in verdict.notes]
    if verdict.policy is not None:
        rows.append(f"  policy: {verdict.policy}")
    return Reply(verdict.as_dict(), "\n".join(rows), Exit.OK if verdict.outcome is Outcome.GOOD else Exit.NEGATIVE)
