"""The first steps of the demo: the card, its PINs and keys, and its certificates after the holder moves."""

from __future__ import annotations

import subprocess
import time
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from kazashi.applets import jpki
from kazashi.assembly.errors import StepFailed
from kazashi.assembly.institutions import Institutions
from kazashi.assembly.opensc import pkcs11_module
from kazashi.assembly.served import free_port
from kazashi.card.image import read_image
from kazashi.card.request import read_binary, select, select_file
from kazashi.jpki.profile import CertificateType
from kazashi.pki.callers import Callers
from kazashi.pki.directory import Directory, partition_entry
from kazashi.pki.responder import GRID
from kazashi.reader_bridge.check.probe import CardPins
from kazashi.reader_bridge.check.result import CheckOutcome
from kazashi.reader_bridge.check.run import run_checks
from kazashi.reader_bridge.fault_script import parse_fault_script
from kazashi.reader_bridge.host import Presentation, ReaderHost
from kazashi.reader_bridge.pcscd import RunningPcscd
from kazashi.resident_registry.event import MoveWithin
from kazashi.tools.daemon.services import Services
from kazashi.world.clock import epoch, from_epoch

PIN, PASSWORD, WRONG_PIN = "1234", "ABC123", "9999"
GRID_SECONDS = int(GRID.total_seconds())
_REFUSED = "SW1=0x69, SW2=0x82"
_NOT_GOOD = (CheckOutcome.FAILED, CheckOutcome.BROKEN)


@dataclass
class Visit:
    """A visit in the browser: its page, the addresses of the site and the agent, and the visitor's user ID and MyKey
    ID."""

    page: Any
    site: str
    agent: str
    user: str = ""
    mykey: str = ""


@dataclass
class DemoContext:
    """What the steps share: the directory, the world's institutions, the reader, the card image and the servers."""

    directory: Path
    institutions: Institutions
    pcscd: RunningPcscd
    host: ReaderHost
    image: Path
    services: Services | None = None
    caller_key: str = ""
    visit: Visit | None = None
    shop: Any = None
    offices: Any = None
    ending: list[Callable[[], object]] = field(default_factory=list)
    """Functions to call at the end of the demo, in reverse order."""

    @property
    def reader(self) -> str:
        """The name of the reader that the card is in."""
        return self.host.slots[0].endpoint.reader

    @property
    def generation(self) -> str:
        """The name of the generation that issues certificates at present."""
        return self.institutions.authorities[CertificateType.SIGNATURE].issuing().name


_Action = Callable[[DemoContext], str]


def _issue(context: DemoContext) -> str:
    context.image = context.institutions.issue_card("hanako", "hanako")
    resident = context.institutions.registry.find("hanako")
    return f"{resident.name}, six keys, two certificates, {context.image.stat().st_size} bytes"


def _insert(context: DemoContext) -> str:
    slot = context.host.slots[0]
    context.host.insert(slot, "hanako", context.image, Presentation())
    if not slot.wait_until_powered(10):
        raise StepFailed("pcscd did not detect the card within 10 s")
    return f"in {context.reader}"


def _detect(context: DemoContext) -> str:
    output = _run("opensc-tool", "--reader", context.reader, "--atr", "--name")
    if "jpki" not in output:
        raise StepFailed(f"opensc-tool does not recognise the card: {output!r}")
    return f"opensc-tool recognises {output.split()[-1]!r}, ATR {output.split()[0]}"


def _list(context: DemoContext) -> str:
    output = _run("pkcs15-tool", "--reader", context.reader, "--list-certificates", "--list-keys", "--list-pins")
    for label in ("User Authentication Certificate", "Digital Signature Certificate", "User Authentication PIN"):
        if label not in output:
            raise StepFailed(f"pkcs15-tool does not list {label!r}")
    certificates, keys = output.count("X.509 Certificate"), output.count("Private RSA Key")
    return f"pkcs15-tool lists {certificates} certificates and {keys} keys"


def _read_certificate(context: DemoContext) -> str:
    pem = context.directory / "authentication.pem"
    _run("pkcs15-tool", "--reader", context.reader, "--read-certificate", "1", "--output", str(pem))
    _root_pem(context, CertificateType.AUTHENTICATION)
    _run("openssl", "verify", "-CAfile", str(context.directory / "authentication-root.pem"), str(pem))
    return "read without a PIN; openssl verifies it with the authority's root"


def _refuse(context: DemoContext) -> str:
    output = _run(
        "opensc-tool", "--reader", context.reader,
        "--send-apdu", select(jpki.AID).hex(),
        "--send-apdu", select_file(jpki.SIGNATURE_CERTIFICATE).hex(),
        "--send-apdu", read_binary(0, 4).hex(),
    )  # fmt: skip
    if _REFUSED not in output.rsplit("Received", 1)[-1]:
        raise StepFailed(f"the signature certificate was not refused: {output}")
    return "status 6982 without the signature password"


def _verify(context: DemoContext) -> str:
    for number, secret in (("01", PIN), ("02", PASSWORD)):
        _run("pkcs15-tool", "--reader", context.reader, "--verify-pin", "--auth-id", number, "--pin", secret)
    return "the authentication PIN and the signature password"


def _sign(kind: CertificateType) -> _Action:
    def action(context: DemoContext) -> str:
        number, secret = ("01", PIN) if kind is CertificateType.AUTHENTICATION else ("02", PASSWORD)
        index = 0 if kind is CertificateType.AUTHENTICATION else 1
        message, signature = context.directory / "message", context.directory / f"{kind.code}.sig"
        message.write_text("かざし\n", encoding="utf-8")
        login = ["--module", pkcs11_module(), "--slot-index", str(index), "--login", "--pin", secret]
        _run(
            "pkcs11-tool", *login, "--sign", "--id", number, "--mechanism", "SHA256-RSA-PKCS",
            "--input-file", str(message), "--output-file", str(signature),
        )  # fmt: skip
        certificate = context.directory / f"{kind.code}.der"
        _run(
            "pkcs11-tool", *login, "--read-object", "--type", "cert", "--id", number, "--output-file", str(certificate)
        )
        _root_pem(context, kind)
        public = context.directory / f"{kind.code}.pub"
        public.write_text(
            _run("openssl", "x509", "-inform", "DER", "-in", str(certificate), "-noout", "-pubkey"), encoding="ascii"
        )
        output = _run("openssl", "dgst", "-sha256", "-verify", str(public), "-signature", str(signature), str(message))
        if "Verified OK" not in output:
            raise StepFailed(f"openssl does not accept the signature: {output}")
        return "through OpenSC's PKCS#11 module; openssl verifies it"

    return action


def _count_wrong_pin(context: DemoContext) -> str:
    verify = ("pkcs15-tool", "--reader", context.reader, "--verify-pin", "--auth-id", "01", "--pin")
    wrong = subprocess.run([*verify, WRONG_PIN], capture_output=True, text=True, check=False, timeout=30)
    left = _tries_on_disk(context)
    if wrong.returncode == 0 or left != 2:
        raise StepFailed(f"a wrong PIN left {left} retries, and pkcs15-tool exited with {wrong.returncode}")
    _run(*verify, PIN)
    if _tries_on_disk(context) != 3:
        raise StepFailed("the correct PIN did not reset the retry counter")
    return "2 retries left, also on disk; the correct PIN resets the counter to 3"


def _tear_out(context: DemoContext) -> str:
    from smartcard.Exceptions import CardConnectionException
    from smartcard.scard import SCARD_LEAVE_CARD, SCardBeginTransaction, SCardEndTransaction
    from smartcard.System import readers

    connection = next(reader for reader in readers() if str(reader) == context.reader).createConnection()
    connection.connect()
    SCardBeginTransaction(connection.component.hcard)
    slot = context.host.slots[0]
    context.host.remove(slot)
    begun = time.perf_counter()
    try:
        connection.transmit([0x00, 0xA4, 0x00, 0x0C])
    except CardConnectionException:
        seconds = time.perf_counter() - begun
    else:
        raise StepFailed("a command to a removed card got a response")
    finally:
        SCardEndTransaction(connection.component.hcard, SCARD_LEAVE_CARD)
        connection.disconnect()
        connection.release()
    _insert(context)
    _detect(context)
    return f"the client gets an error within {seconds * 1000:.0f} ms, and finds the card again after it is reinserted"


def _check_reader(context: DemoContext) -> str:
    report = run_checks(context.reader, CardPins(PIN, PASSWORD))
    if not report.good:
        wrong = [f"{result.check}: {result.detail}" for result in report.results if result.outcome in _NOT_GOOD]
        raise StepFailed(f"the card does not pass its own checks: {'; '.join(wrong)}")
    return f"{len(report.results)} checks in {report.seconds:.1f} s; they work with any reader and card"


def _fail_on_purpose(context: DemoContext) -> str:
    slot = context.host.slots[0]
    context.host.remove(slot)
    plan = parse_fault_script("faults: [{status: 6F00, when: {matching: 802A}}]")
    context.host.insert(slot, "hanako", context.image, Presentation(faults=plan))
    slot.wait_until_powered(10)
    message = context.directory / "message"
    signing = (
        "pkcs11-tool", "--module", pkcs11_module(), "--slot-index", "0", "--login", "--pin", PIN, "--sign",
        "--id", "01",
        "--mechanism", "SHA256-RSA-PKCS", "--input-file", str(message),
        "--output-file", str(context.directory / "lost"),
    )  # fmt: skip
    done = subprocess.run(signing, capture_output=True, text=True, check=False, timeout=30)
    context.host.remove(slot)
    _insert(context)
    if done.returncode == 0:
        raise StepFailed("pkcs11-tool reported success although the card returns 6F00 for every signature")
    error = next((line for line in done.stderr.splitlines() if "error" in line), done.stderr.strip())
    return f"the card returns 6F00 for every signature, and pkcs11-tool reports: {error}"


def _serve(context: DemoContext) -> str:
    context.institutions.settle()
    context.services = Services(context.institutions.world)
    context.caller_key = Callers(context.institutions.world).register("demonstration")
    return "both authorities over HTTP; a verifier is registered"


def _all_good(context: DemoContext) -> str:
    outputs = {kind: _ocsp(context, kind) for kind in CertificateType}
    if any(": good" not in output for output in outputs.values()):
        raise StepFailed(f"OCSP does not report both certificates as good: {outputs}")
    return "openssl ocsp: both certificates are good"


def _move(context: DemoContext) -> str:
    institutions = context.institutions
    institutions.registry.record("hanako", MoveWithin("架空町１丁目１番１号"))
    institutions.settle()
    return "recorded in the registry of Shibuya; Juki-Net passes it on to J-LIS and the authorities"


def _next_ocsp_update(context: DemoContext) -> str:
    institutions = context.institutions
    now = institutions.world.clock.now()
    institutions.advance(from_epoch((epoch(now) // GRID_SECONDS + 1) * GRID_SECONDS))
    signature, authentication = (
        _ocsp(context, CertificateType.SIGNATURE),
        _ocsp(context, CertificateType.AUTHENTICATION),
    )
    if ": revoked" not in signature or "affiliationChanged" not in signature or ": good" not in authentication:
        raise StepFailed(f"OCSP returns {signature!r} and {authentication!r}")
    if not _verifies(context, CertificateType.SIGNATURE):
        raise StepFailed("the revocation list has the certificate a day too early")
    return "openssl ocsp: signature revoked, affiliationChanged; authentication good. Not yet in the revocation list"


def _next_day(context: DemoContext) -> str:
    institutions = context.institutions
    institutions.advance(institutions.world.clock.now() + timedelta(days=1))
    if _verifies(context, CertificateType.SIGNATURE) or not _verifies(context, CertificateType.AUTHENTICATION):
        raise StepFailed("the new revocation list does not agree with OCSP")
    return "openssl verify -crl_check: signature revoked, authentication good"


def look_up(context: DemoContext) -> str:
    """Start the authorities' directory and find today's revocation list there. Raises StepFailed."""
    publications = context.institutions.publications
    directory = Directory(context.institutions.world, free_port())
    directory.start(publications.values())
    context.ending.append(directory.stop)
    entry = partition_entry(CertificateType.SIGNATURE, "13113")
    published = b64encode(publications[CertificateType.SIGNATURE].path(context.generation, "13113").read_bytes())
    output = _run("ldapsearch", "-x", "-LLL", "-o", "ldif-wrap=no", "-H", directory.uri, "-b", entry, "-s", "base")
    if published.decode("ascii") not in output:
        raise StepFailed(f"the directory does not have today's list at {entry}")
    return f"ldapsearch finds today's list at {entry.partition(',')[0]}, ..."


def _renew(context: DemoContext) -> str:
    kinds = context.institutions.cards.renew("hanako")
    if kinds != [CertificateType.SIGNATURE]:
        raise StepFailed(f"the card got new certificates of the types {kinds}")
    context.host.reset(context.host.slots[0])
    if not context.host.slots[0].wait_until_powered(10):
        raise StepFailed("pcscd did not detect the card within 10 s")
    _sign(CertificateType.SIGNATURE)(context)
    if not _verifies(context, CertificateType.SIGNATURE):
        raise StepFailed("the new signature certificate is not good")
    return "the card generates a key, which is certified; openssl verify -crl_check: good"


def _ocsp(context: DemoContext, kind: CertificateType) -> str:
    """Return the output of openssl after it has queried the world's OCSP responder for a certificate."""
    assert context.services is not None
    root = str(context.directory / f"{kind.code}-root.pem")
    output = _run(
        "openssl", "ocsp", "-issuer", root, "-cert", str(_pem(context, kind)), "-CAfile", root,
        "-url", f"{context.services.status['http']}/ocsp/{kind.code}",
        "-header", f"Authorization=Bearer {context.caller_key}",
        # The responder's certificate may be issued for this request, and begin in the next second.
        "-attime", str(int(_epoch_now(context)) + 2), "-validity_period", "9999999",
    )  # fmt: skip
    return " ".join(output.split())


def _verifies(context: DemoContext, kind: CertificateType) -> bool:
    """Return whether openssl accepts a certificate with its municipality's revocation list, at the world's time."""
    published = context.institutions.publications[kind].path(context.generation, "13113")
    crl = context.directory / f"{kind.code}.crl.pem"
    _run("openssl", "crl", "-inform", "DER", "-in", str(published), "-out", str(crl))
    done = subprocess.run(
        ["openssl", "verify", "-crl_check", "-attime", _epoch_now(context), "-CAfile",
         str(context.directory / f"{kind.code}-root.pem"), "-CRLfile", str(crl), str(_pem(context, kind))],
        capture_output=True, text=True, check=False, timeout=30,
    )  # fmt: skip
    if done.returncode and "certificate revoked" not in done.stderr:
        raise StepFailed(f"openssl verify failed for another reason: {done.stderr.strip()}")
    return done.returncode == 0


def _pem(context: DemoContext, kind: CertificateType) -> Path:
    der = context.directory / f"{kind.code}.der"
    _run("openssl", "x509", "-inform", "DER", "-in", str(der), "-out", str(der.with_suffix(".pem")))
    return der.with_suffix(".pem")


def _epoch_now(context: DemoContext) -> str:
    return str(epoch(context.institutions.world.clock.now()))


FIRST_STEPS: list[tuple[str, _Action]] = [
    ("issue a card", _issue),
    ("insert the card", _insert),
    ("recognise the card with OpenSC", _detect),
    ("list the card's objects with OpenSC", _list),
    ("read the authentication certificate", _read_certificate),
    ("protect the signature certificate", _refuse),
    ("verify both PINs", _verify),
    ("sign with the authentication key", _sign(CertificateType.AUTHENTICATION)),
    ("sign with the signature key", _sign(CertificateType.SIGNATURE)),
]
"""Until OpenSC has signed with the card."""

CARD_STEPS: list[tuple[str, _Action]] = [
    ("count a wrong PIN", _count_wrong_pin),
    ("remove the card in a transaction", _tear_out),
    ("check the reader and its card", _check_reader),
    ("make the card fail by a fault script", _fail_on_purpose),
    ("start the authorities' services", _serve),
    ("ask OCSP for both certificates", _all_good),
    ("move the holder to another address", _move),
    ("ask OCSP after a quarter of an hour", _next_ocsp_update),
    ("check the next day's revocation list", _next_day),
    ("renew the signature certificate", _renew),
]


def _root_pem(context: DemoContext, kind: CertificateType) -> None:
    der = context.directory / f"{kind.code}-root.der"
    der.write_bytes(context.institutions.authorities[kind].root())
    _run("openssl", "x509", "-inform", "DER", "-in", str(der), "-out", str(der.with_suffix(".pem")))


def _tries_on_disk(context: DemoContext) -> int:
    contents, _ = read_image(context.image)
    return contents[jpki.AID].pins[jpki.AUTHENTICATION_PIN].tries_left


def _run(*command: str) -> str:
    """Run a program and return its output. Raises StepFailed if it fails or is not installed."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    except FileNotFoundError:
        raise StepFailed(f"{command[0]} is not installed; run: kazashi doctor") from None
    if done.returncode:
        raise StepFailed(f"{' '.join(command)} exited with {done.returncode}: {(done.stderr or done.stdout).strip()}")
    return done.stdout
