"""`kazashi ca`: the two certification authorities, their certificates, and the revocation status of those."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kazashi.tools.cli.commands.ca_callers import caller
from kazashi.tools.cli.commands.ca_forecast import ca_forecast
from kazashi.tools.cli.commands.inputs import Input, InputFile
from kazashi.tools.cli.commands.shared import (
    Reply,
    institutions_of,
    replies,
    table,
    write_bytes,
)

if TYPE_CHECKING:
    from kazashi.assembly.institutions import Institutions
    from kazashi.jpki.profile import CertificateType
    from kazashi.pki.authority import Authority
    from kazashi.pki.certificate_database import Issued
    from kazashi.resident_registry.registry import NoSuchResident

_KIND = click.argument("kind", type=click.Choice(["signature", "authentication"]))
_SERIAL = click.argument("serial")
_OUT = click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="The file to write, - for stdout.")


@click.group()
def ca() -> None:
    """Manage the certification authorities.

    There are two: signature (署名用) and authentication (利用者証明用). Each has key generations, certificates,
    revocation lists, OCSP and callers.
    """


ca.add_command(caller)
ca.add_command(ca_forecast)


@ca.command("generations")
@click.option("--begin-next", is_flag=True, help="Begin a generation with the next card's profile (P-384).")
@replies
@click.pass_context
def ca_generations(context: click.Context, begin_next: bool) -> Reply:
    """Show both authorities' key generations."""
    from kazashi.jpki.profile import NEXT
    from kazashi.jpki.serial_number import serial_text
    from kazashi.pki.authority import fingerprint
    from kazashi.world.clock import JST

    rows = []
    for kind, authority in institutions_of(context).authorities.items():
        authority.issuing()
        if begin_next:
            authority.issuing(profile=NEXT)
        rows += [
            {"authority": kind.code, "generation": generation.name, "serial": serial_text(generation.serial),
             "algorithm": generation.profile.algorithm.value, "keys": generation.key_location.partition("?")[0],
             "begins": generation.begins.astimezone(JST).date().isoformat(),
             "ends": generation.ends.astimezone(JST).date().isoformat(), "sha256": fingerprint(generation.certificate)}
            for generation in authority.generations()
        ]  # fmt: skip
    return Reply(rows, table([{**row, "sha256": row["sha256"][:16]} for row in rows], ""))


@ca.command("root")
@_KIND
@click.option("--generation", help="01, 02, ... or next (default: the issuing generation).")
@_OUT
@click.pass_context
def ca_root(context: click.Context, kind: str, generation: str | None, out: Path | None) -> None:
    """Write an authority's root certificate as PEM."""
    from kazashi.assembly.errors import UsageError

    _, authority = _authority(institutions_of(context), kind)
    issuing = authority.issuing()
    chosen = {each.name: each for each in authority.generations()}.get(generation or issuing.name)
    if chosen is None:
        raise UsageError(f"the {kind} authority has no generation {generation!r}; see: kazashi ca generations")
    _write_pem(chosen.certificate, out)


@ca.command("show")
@click.argument("who", metavar="WHO|SERIAL")
@replies
@click.pass_context
def ca_show(context: click.Context, who: str) -> Reply:
    """Show a person's certificates, or those with a serial number.

    WHO is an alias, a resident record code or an individual number. SERIAL is a serial number as any program writes it
    to a log; the reply also names the holder. If its digits are one certificate's number in hexadecimal and another's
    in decimal, both are shown.
    """
    from kazashi.resident_registry.registry import NoSuchResident

    institutions = institutions_of(context)
    try:
        code = institutions.registry.find(who).code
    except NoSuchResident as error:
        return _with_serial(institutions, who, error)
    rows = institutions.certificates(code)
    return Reply(rows, table(rows, f"{who} has no certificate yet; try: kazashi card new {who}"))


@ca.command("certificate")
@_KIND
@_SERIAL
@_OUT
@click.pass_context
def ca_certificate(context: click.Context, kind: str, serial: str, out: Path | None) -> None:
    """Write a certificate as PEM."""
    _, authority = _authority(institutions_of(context), kind)
    _write_pem(_named(authority, serial).certificate, out)


@ca.command("issue")
@_KIND
@click.argument("who")
@click.option("--csr", "request", type=Input(), required=True,
              help="A PKCS#10 request, DER or PEM, signed with the key to certify; - for stdin.")  # fmt: skip
@click.option("--phone", metavar="NAME", help="Certify a phone's key; another phone's certificates are superseded.")
@click.option("--next", "of_next_card", is_flag=True, help="Use the next card's profile: P-384, ten years.")
@_OUT
@click.pass_context
def ca_issue(
    context: click.Context, kind: str, who: str, request: InputFile, phone: str | None, of_next_card: bool,
    out: Path | None,
) -> None:  # fmt: skip
    """Issue a certificate for a person's key.

    Writes the certificate as PEM. WHO is an alias, a resident record code or an individual number. For the keys of a
    card, use `kazashi card new`.
    """
    from kazashi.assembly.errors import UsageError
    from kazashi.jpki.armor import der_in
    from kazashi.jpki.profile import EMULATED, NEXT, CertificateType, Medium
    from kazashi.jpki.state import CertificateState
    from kazashi.pki.certificate import CertificateRequest
    from kazashi.pki.validity import SIGNATURE_AGE, card_end, certificate_end
    from kazashi.world.clock import today

    institutions = institutions_of(context)
    resident = institutions.juki_net.j_lis.identity(institutions.resident(who).code)
    try:
        der = der_in(request.read())
    except ValueError as error:
        raise UsageError(f"{request.name}: the request is neither DER nor PEM") from error
    certificate_type, authority = _authority(institutions, kind)
    age = resident.birth.age_on(today(institutions.world.clock))
    if certificate_type is CertificateType.SIGNATURE and age < SIGNATURE_AGE:
        raise UsageError(f"{who} is under {SIGNATURE_AGE}, too young for a signature certificate")
    profile = NEXT if of_next_card else EMULATED
    now = institutions.world.clock.now()
    ends = certificate_end(
        now, resident.birth, card_end(today(institutions.world.clock), resident.birth, profile.term), resident.stay_end,
        term=profile.term,
    )  # fmt: skip
    if phone is not None:
        # A phone's certificate is requested online with the card's signature certificate, and ends with the card's.
        good = [
            issued for issued in authority.of_holder(resident.code)
            if issued.medium is Medium.CARD
            and institutions.revocations[certificate_type].status(issued.serial).state is CertificateState.GOOD
        ]  # fmt: skip
        if not good:
            raise UsageError(f"{who} has no good {kind} certificate on a card, which a phone's certificate needs")
        ends = good[-1].not_after
    try:
        order = CertificateRequest(
            resident, der, now, ends, Medium.PHONE if phone else Medium.CARD, f"phone {phone}" if phone else "by hand"
        )
    except ValueError as error:
        raise UsageError(str(error)) from error
    certificate = authority.issue(order, profile)
    institutions.settle()
    _write_pem(certificate, out)


@ca.command("revoke")
@_KIND
@_SERIAL
@click.option("--reason", default="cessationOfOperation", show_default=True,
              help="A reason of RFC 5280; certificateHold puts it on hold.")  # fmt: skip
@replies
@click.pass_context
def ca_revoke(context: click.Context, kind: str, serial: str, reason: str) -> Reply:
    """Revoke a certificate, or put it on hold."""
    from kazashi.assembly.errors import UsageError
    from kazashi.jpki.state import REASONS

    if reason not in REASONS:
        raise UsageError(f"{reason!r} is not a reason; the reasons are {', '.join(REASONS)}")
    institutions = institutions_of(context)
    certificate_type, authority = _authority(institutions, kind)
    named = _named(authority, serial)
    return _status_reply(institutions.revocations[certificate_type].revoke(named.serial, REASONS[reason], "by hand"))


@ca.command("release")
@_KIND
@_SERIAL
@replies
@click.pass_context
def ca_release(context: click.Context, kind: str, serial: str) -> Reply:
    """Release a phone's certificate from hold.

    Only the authentication certificate of a phone can be released; a card's never can.
    """
    institutions = institutions_of(context)
    certificate_type, authority = _authority(institutions, kind)
    named = _named(authority, serial)
    return _status_reply(institutions.revocations[certificate_type].release(named.serial, "by hand"))


@ca.command("compromise")
@_KIND
@click.argument("generation")
@replies
@click.pass_context
def ca_compromise(context: click.Context, kind: str, generation: str) -> Reply:
    """Revoke all certificates of a leaked key.

    GENERATION names the authority's key: 01, 02, ... or next.
    """
    institutions = institutions_of(context)
    certificate_type, _ = _authority(institutions, kind)
    count = institutions.revocations[certificate_type].compromise(generation)
    return Reply({"revoked": count}, f"{count} certificates revoked")


@ca.command("crl")
@_KIND
@click.argument("where")
@click.option("--generation", help="01, 02, ... or next (default: the issuing generation).")
@_OUT
@replies
@click.pass_context
def ca_crl(context: click.Context, kind: str, where: str, generation: str | None, out: Path | None) -> Reply | None:
    """Show or write a published revocation list.

    WHERE is a municipality (five digits), `full`, or `authority`. With --out, the list is written as DER; without it,
    its content is shown.
    """
    from cryptography import x509

    from kazashi.assembly.errors import UsageError
    from kazashi.jpki.serial_number import serial_text

    institutions = institutions_of(context)
    certificate_type, authority = _authority(institutions, kind)
    institutions.settle()
    name = generation or authority.issuing().name
    try:
        path = institutions.publications[certificate_type].path(name, where)
    except ValueError as error:
        raise UsageError(f"{where!r} is not a municipality's code; use such a code, or full, or authority") from error
    if not path.is_file():
        raise UsageError(
            f"the {kind} authority has no list for {where} in generation {name}: nobody there has a certificate"
        )
    data = path.read_bytes()
    if out is not None:
        write_bytes(data, out, "a revocation list")
        return None
    loaded = x509.load_der_x509_crl(data)
    entries = [
        {"serial": serial_text(entry.serial_number), "at": entry.revocation_date_utc.isoformat(),
         "reason": _entry_reason(entry)}
        for entry in loaded
    ]  # fmt: skip
    number = loaded.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
    next_update = loaded.next_update_utc
    document = {
        "file": str(path), "number": number, "this_update": loaded.last_update_utc.isoformat(),
        "next_update": next_update.isoformat() if next_update else None, "entries": entries,
    }  # fmt: skip
    words = f"{path}\nnumber {number}, thisUpdate {document['this_update']}, nextUpdate {document['next_update']}"
    return Reply(document, words + "\n" + table(entries, "the list has no revoked certificates"))


@ca.command("ocsp")
@_KIND
@click.argument("serial", required=False)
@click.option("--request", type=Input(), help="A DER-encoded OCSP request; the response is DER, too.")
@_OUT
@replies
@click.pass_context
def ca_ocsp(
    context: click.Context, kind: str, serial: str | None, request: InputFile | None, out: Path | None
) -> Reply | None:
    """Show a certificate's present OCSP status.

    Name the certificate by its SERIAL number, or give a --request (- for stdin). No server is needed.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.x509 import ocsp

    from kazashi.assembly.errors import UsageError
    from kazashi.jpki.serial_number import serial_text
    from kazashi.pki.responder import Responder

    institutions = institutions_of(context)
    _, authority = _authority(institutions, kind)
    responder = Responder(authority)
    if request is not None:
        write_bytes(responder.answer(request.read()).response, out, "a response")
        return None
    if serial is None:
        raise UsageError("name the certificate by its serial number, or give a --request")
    certificate = _named(authority, serial)
    issuer = next(generation for generation in authority.generations() if generation.name == certificate.generation)
    builder = ocsp.OCSPRequestBuilder().add_certificate(
        x509.load_der_x509_certificate(certificate.certificate), x509.load_der_x509_certificate(issuer.certificate),
        hashes.SHA256(),
    )  # fmt: skip
    response = responder.answer(builder.build().public_bytes(serialization.Encoding.DER))
    if out is not None:
        write_bytes(response.response, out, "a response")
        return None
    if response.refusal is not None or response.this_update is None or response.next_update is None:
        refusal = response.refusal.asn1_name if response.refusal is not None else ""
        return Reply({"serial": serial, "status": refusal}, f"the responder refused the request: {refusal}")
    document = {
        "serial": serial_text(certificate.serial), "status": response.asked[0].said,
        "this_update": response.this_update.isoformat(), "next_update": response.next_update.isoformat(),
    }  # fmt: skip
    return Reply(document, f"{document['serial']}: {document['status']}, as of {document['this_update']}")


@ca.command("lint")
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--form", type=click.Choice(["certificate", "crl", "ocsp"]), default="certificate", show_default=True,
              help="The type of the files.")  # fmt: skip
@replies
def ca_lint(files: Sequence[Path], form: str) -> Reply:
    """Check files with pkilint.

    FILES are certificates, revocation lists or OCSP responses (--form), checked against RFC 5280. The exit status is 1
    if there are errors.
    """
    from kazashi.pki.lint import lint

    rows: list[dict[str, Any]] = [
        {"file": path.name, **asdict(finding)} for path in files for finding in lint(form, path)
    ]
    return Reply(
        rows, table(rows, "nothing found"), 1 if any(row["severity"] in ("ERROR", "FATAL") for row in rows) else 0
    )


def _authority(institutions: Institutions, kind: str) -> tuple[CertificateType, Authority]:
    from kazashi.jpki.profile import CERTIFICATE_TYPES

    certificate_type = CERTIFICATE_TYPES[kind]
    return certificate_type, institutions.authorities[certificate_type]


def _named(authority: Authority, serial: str) -> Issued:
    """The certificate with a serial number that the user wrote. Says on stderr if it was read as decimal."""
    certificate, note = authority.named(serial)
    if note:
        click.echo(note, err=True)
    return certificate


def _with_serial(institutions: Institutions, text: str, no_resident: NoSuchResident) -> Reply:
    """The certificates of both authorities that a serial number can mean. If the text can only be a name, the error is
    that there is no such resident."""
    from kazashi.jpki.serial_number import NotASerialNumber, read_serial, serial_text
    from kazashi.pki.certificate_database import NoSuchCertificate

    try:
        reading = read_serial(text)
    except NotASerialNumber as error:
        raise (error if set(text) <= set("0123456789abcdefABCDEFxX: ") else no_resident) from None
    rows = institutions.certificates_with(reading.readings)
    if not rows:
        if not any(map(str.isdigit, text)):
            raise no_resident
        raise NoSuchCertificate(f"{reading.in_words()}, and {no_resident}")
    found = {row["serial"] for row in rows}
    for number in reading.readings:
        if serial_text(number) in found and (note := reading.note(number)):
            click.echo(note, err=True)
    return Reply(rows, table(rows, ""))


def _write_pem(der: bytes, out: Path | None) -> None:
    from asn1crypto import pem

    text = pem.armor("CERTIFICATE", der).decode("ascii")
    if out is None or str(out) == "-":
        click.echo(text, nl=False)
    else:
        out.write_text(text, encoding="ascii")


def _entry_reason(entry: Any) -> str:
    from cryptography import x509

    try:
        return str(entry.extensions.get_extension_for_class(x509.CRLReason).value.reason.value)
    except x509.ExtensionNotFound:
        return "unspecified"


def _status_reply(status: Any) -> Reply:
    from kazashi.jpki.serial_number import serial_text

    document = {
        "serial": serial_text(status.serial), "state": status.state.value,
        "reason": status.reason.asn1_name if status.reason is not None else None,
        "since": status.since.isoformat() if status.since else None,
    }  # fmt: skip
    reason = f", {document['reason']} since {document['since']}" if document["since"] else ""
    return Reply(document, f"{document['serial']} is {document['state']}{reason}")
