"""`kazashi verify`: verdicts on certificates, logins and documents, and the conformance pack."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import click

from kazashi.assembly.errors import Exit
from kazashi.tools.cli.commands.shared import Reply, institutions_of, progress, replies, world_if_any, world_of

if TYPE_CHECKING:
    from kazashi.relying_party.verify.verdict import Verdict
    from kazashi.relying_party.verify.verification import Verifier

_FILE = click.argument("file", type=click.File("rb"))
_AT = click.option("--at-time", "at", metavar="T", help="As of this instant (2026-11-24T10:00+09:00; default: now).")


def _sources(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say whom to trust and whom to ask."""
    options = (
        click.option("--roots", type=click.Path(exists=True, file_okay=False, path_type=Path),
                     help="A directory with the authorities' certificates (default: this world's)."),
        click.option("--ocsp", metavar="URL", help="Ask OCSP there first, as the caller who has --key."),
        click.option("--key", metavar="KEY", envvar="KAZASHI_CALLER_KEY", default="", help="The caller's key."),
        click.option("--lists", metavar="WHERE",
                     help="Revocation lists: a directory, http://..., ldap://... (default: this world's)."),
        click.option("--full", is_flag=True, help="Use everybody's list in the place of the municipality's."),
    )  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return command


@click.group()
def verify() -> None:
    """Verify certificates, logins and documents.

    A verdict is good, bad, or indeterminate, with the reason. Exit 1 for all that is not good.
    """


@verify.command("certificate")
@_FILE
@click.option("--kind", type=click.Choice(["signature", "authentication"]), help="The kind that is wanted.")
@_AT
@_sources
@replies
@click.pass_context
def verify_certificate(
    context: click.Context, /, file: IO[bytes], kind: str | None, at: str | None, **sources: Any
) -> Reply:
    """Give the verdict on a certificate.

    FILE is DER or PEM; - for stdin.
    """
    from kazashi.jpki.profile import CERTIFICATE_TYPES

    verifier = _verifier(context, **sources)
    return _say(verifier.certificate(_der(file.read()), CERTIFICATE_TYPES[kind] if kind else None, _instant(at)))


@verify.command("document")
@_FILE
@click.option("--content", type=click.File("rb"), help="The file that a detached signature is over.")
@click.option("--signature", type=click.File("rb"), help="A bare signature over FILE, as the card makes it.")
@click.option("--certificate", type=click.File("rb"), help="The certificate that goes with --signature.")
@_AT
@_sources
@replies
@click.pass_context
def verify_document(
    context: click.Context, /, file: IO[bytes], content: IO[bytes] | None, signature: IO[bytes] | None,
    certificate: IO[bytes] | None, at: str | None, **sources: Any,
) -> Reply:  # fmt: skip
    """Give the verdict on a signed document.

    FILE is CMS, PDF, XML, or any file with a bare signature.
    """
    from kazashi.assembly.errors import UsageError
    from kazashi.relying_party.verify.documents import Documents

    documents, when = Documents(_verifier(context, **sources)), _instant(at)
    if (signature is None) != (certificate is None):
        raise UsageError("a bare signature comes with its certificate: give both --signature and --certificate")
    if signature is not None and certificate is not None:
        verdict = documents.raw(file.read(), signature.read(), _der(certificate.read()), when)
    else:
        verdict = documents.any(file.read(), content.read() if content else None, when)
    return _say(verdict)


@verify.command("challenge")
@click.option("--origin", required=True, help="Where the answer will come in: https://library.example")
@click.pass_context
def verify_challenge(context: click.Context, origin: str) -> None:
    """Give out a challenge, as JSON.

    A card is to sign its `message` (in hexadecimal), by RSA with SHA-256.
    """
    from kazashi.relying_party.verify.challenges import StoredChallenges

    world = world_of(context)
    given = StoredChallenges(world).give(origin)
    click.echo(
        json.dumps({"origin": given.origin, "nonce": given.nonce.hex(), "issued_at": given.issued_at.isoformat(),
                    "message": given.message.hex()})
    )  # fmt: skip


@verify.command("auth")
@_FILE
@click.option("--origin", required=True, help="Where the answer came in.")
@_sources
@replies
@click.pass_context
def verify_auth(context: click.Context, /, file: IO[bytes], origin: str, **sources: Any) -> Reply:
    """Give the verdict on an answer to a challenge.

    The answer is JSON with nonce, signature and certificate in hexadecimal. The challenge is used up.
    """
    from kazashi.relying_party.verify.authentication import Authentication, Response
    from kazashi.relying_party.verify.challenges import StoredChallenges
    from kazashi.relying_party.verify.finding import Finding, VerificationFailed
    from kazashi.relying_party.verify.verdict import Verdict

    verifier = _verifier(context, **sources)
    try:
        try:
            body = json.loads(file.read(1 << 20))
        except (ValueError, RecursionError) as error:
            raise VerificationFailed(Finding.MALFORMED, f"the answer is no JSON: {error}") from error
        response = Response.from_json(body)
    except VerificationFailed as refuted:
        return _say(Verdict.refuted(refuted, verifier.clock.now()))
    return _say(Authentication(verifier, StoredChallenges(world_of(context))).verdict(origin, response))


@verify.command("conformance")
@click.option("--export", "directory", type=click.Path(file_okay=False, path_type=Path),
              help="Write the cases there, as files and cases.json, for any other library.")  # fmt: skip
@replies
def verify_conformance(directory: Path | None) -> Reply:
    """Try our library on the conformance pack, or export it.

    The pack is written out for any other library with --export.
    """
    from kazashi.relying_party.conformance.pack import ConformancePack
    from kazashi.world.key_source import SharedKeySource, generate

    pack = ConformancePack(SharedKeySource([generate() for _ in range(7)]))
    if directory is not None:
        count = pack.export(directory)
        return Reply({"cases": count, "directory": str(directory)}, f"{count} cases are in {directory}/cases.json")
    rows = []
    with progress("conformance", len(pack.cases)) as shown:
        for done, judged in enumerate(pack.evaluated(), start=1):
            verdict = judged.verdict
            rows.append({"id": judged.case.identifier, "rule": judged.case.rule, "outcome": verdict.outcome.value,
                         "finding": verdict.finding.value if verdict.finding else None, "agrees": judged.agrees,
                         "detail": verdict.detail})  # fmt: skip
            shown(done)
    failed = [row for row in rows if not row["agrees"]]
    words = [f"{row['id']}: {row['outcome']} {row['finding'] or ''} {row['detail']}" for row in failed]
    words.append(f"{len(rows) - len(failed)} of {len(rows)} cases as they should be")
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
    found: list[Source] = [ocsp_over_http(ocsp.rstrip("/"), key)] if ocsp else []
    if lists.startswith("ldap"):
        found.append(lists_in_directory(lists))
    elif lists.startswith("http"):
        found.append(lists_over_http(lists.rstrip("/"), full=full))
    else:
        found.append(lists_in(Path(lists), full=full))
    return Verifier(AnchorsInDirectory(roots), found, world.clock if world is not None else SystemClock())


def _published(context: click.Context) -> Path:
    """Where this world's authorities publish, once they have begun and have published what is due."""
    institutions = institutions_of(context)
    for authority in institutions.authorities.values():
        authority.issuing()
    institutions.settle()
    return institutions.world.publication


def _der(data: bytes) -> bytes:
    from asn1crypto import pem

    try:
        return bytes(pem.unarmor(data)[2]) if pem.detect(data) else data
    except ValueError:
        return data  # which is no certificate, as the verdict will say


def _instant(text: str | None) -> datetime | None:
    from kazashi.assembly.errors import UsageError
    from kazashi.world.clock import instant_of

    try:
        return instant_of(text) if text else None
    except ValueError as error:
        raise UsageError(str(error)) from error


def _say(verdict: Verdict) -> Reply:
    from kazashi.relying_party.verify.finding import Outcome

    rows = [verdict.outcome.value + (f": {verdict.finding.value}" if verdict.finding else "")]
    rows += [f"  {line}" for line in (verdict.detail, ", ".join(verdict.signed)) if line]
    if (found := verdict.certificate) is not None:
        rows.append(f"  {found.kind.code} certificate {found.serial:X} of {'/'.join(found.municipality)}")
        if found.attributes is not None:
            rows.append(f"  {found.attributes.name}, {found.attributes.address}, {found.attributes.birth or ''}")
    if (evidence := verdict.evidence) is not None:
        rows.append(f"  by {evidence.source} of {evidence.produced.isoformat()}, {verdict.age} old")
    return Reply(verdict.as_dict(), "\n".join(rows), Exit.OK if verdict.outcome is Outcome.GOOD else Exit.NEGATIVE)
