"""The steps of the demonstration, each told with a program that people use."""

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
from kazashi.card.image import read_image
from kazashi.card.request import read_binary, select, select_file
from kazashi.jpki.profile import CertificateType
from kazashi.pki.callers import Callers
from kazashi.pki.directory import partition_entry
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
    """The browser's page, the site that it visits, the agent, and by what the visitor is known."""

    page: Any
    site: str
    agent: str
    user: str = ""
    mykey: str = ""


@dataclass
class DemoContext:
    """What the steps work on."""

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
    """What is to be done at the end, last things first."""

    @property
    def reader(self) -> str:
        """The name of the reader in which the card lies."""
        return self.host.slots[0].endpoint.reader

    @property
    def generation(self) -> str:
        """The generation that issues now."""
        return self.institutions.authorities[CertificateType.SIGNATURE].issuing().name


_Action = Callable[[DemoContext], str]


def _issue(stage: DemoContext) -> str:
    stage.image = stage.institutions.issue_card("hanako", "hanako")
    resident = stage.institutions.registry.find("hanako")
    return f"{resident.name}, six keys, two certificates, {stage.image.stat().st_size} bytes"


def _insert(stage: DemoContext) -> str:
    slot = stage.host.slots[0]
    stage.host.insert(slot, "hanako", stage.image, Presentation())
    if not slot.wait_until_powered(10):
        raise StepFailed("pcscd did not notice the card within 10 s")
    return f"in {stage.reader}"


def _detect(stage: DemoContext) -> str:
    said = _run("opensc-tool", "--reader", stage.reader, "--atr", "--name")
    if "jpki" not in said:
        raise StepFailed(f"opensc-tool took the card for {said!r}")
    return f"opensc-tool calls it {said.split()[-1]!r}, ATR {said.split()[0]}"


def _list(stage: DemoContext) -> str:
    said = _run("pkcs15-tool", "--reader", stage.reader, "--list-certificates", "--list-keys", "--list-pins")
    for wanted in ("User Authentication Certificate", "Digital Signature Certificate", "User Authentication PIN"):
        if wanted not in said:
            raise StepFailed(f"pkcs15-tool does not list {wanted!r}")
    return f"pkcs15-tool lists {said.count('X.509 Certificate')} certificates and {said.count('Private RSA Key')} keys"


def _read_certificate(stage: DemoContext) -> str:
    pem = stage.directory / "authentication.pem"
    _run("pkcs15-tool", "--reader", stage.reader, "--read-certificate", "1", "--output", str(pem))
    _root_pem(stage, CertificateType.AUTHENTICATION)
    _run("openssl", "verify", "-CAfile", str(stage.directory / "authentication-root.pem"), str(pem))
    return "without a PIN; openssl verifies it under its authority"


def _refuse(stage: DemoContext) -> str:
    said = _run(
        "opensc-tool", "--reader", stage.reader,
        "--send-apdu", select(jpki.AID).hex(),
        "--send-apdu", select_file(jpki.SIGNATURE_CERTIFICATE).hex(),
        "--send-apdu", read_binary(0, 4).hex(),
    )  # fmt: skip
    if _REFUSED not in said.rsplit("Received", 1)[-1]:
        raise StepFailed(f"the signature certificate was not refused: {said}")
    return "status 6982 before the password"


def _verify(stage: DemoContext) -> str:
    for number, secret in (("01", PIN), ("02", PASSWORD)):
        _run("pkcs15-tool", "--reader", stage.reader, "--verify-pin", "--auth-id", number, "--pin", secret)
    return "four digits, and the password of the signature key"


def _sign(kind: CertificateType) -> _Action:
    def action(stage: DemoContext) -> str:
        number, secret = ("01", PIN) if kind is CertificateType.AUTHENTICATION else ("02", PASSWORD)
        index = 0 if kind is CertificateType.AUTHENTICATION else 1
        message, signature = stage.directory / "message", stage.directory / f"{kind.code}.sig"
        message.write_text("かざし\n", encoding="utf-8")
        login = ["--module", pkcs11_module(), "--slot-index", str(index), "--login", "--pin", secret]
        _run(
            "pkcs11-tool", *login, "--sign", "--id", number, "--mechanism", "SHA256-RSA-PKCS",
            "--input-file", str(message), "--output-file", str(signature),
        )  # fmt: skip
        certificate = stage.directory / f"{kind.code}.der"
        _run(
            "pkcs11-tool", *login, "--read-object", "--type", "cert", "--id", number, "--output-file", str(certificate)
        )
        _root_pem(stage, kind)
        public = stage.directory / f"{kind.code}.pub"
        public.write_text(
            _run("openssl", "x509", "-inform", "DER", "-in", str(certificate), "-noout", "-pubkey"), encoding="ascii"
        )
        said = _run("openssl", "dgst", "-sha256", "-verify", str(public), "-signature", str(signature), str(message))
        if "Verified OK" not in said:
            raise StepFailed(f"openssl does not accept the signature: {said}")
        return "through OpenSC's PKCS#11 module; openssl verifies it"

    return action


def _count_wrong_pin(stage: DemoContext) -> str:
    verify = ("pkcs15-tool", "--reader", stage.reader, "--verify-pin", "--auth-id", "01", "--pin")
    wrong = subprocess.run([*verify, WRONG_PIN], capture_output=True, text=True, check=False, timeout=30)
    left = _tries_on_disk(stage)
    if wrong.returncode == 0 or left != 2:
        raise StepFailed(f"a wrong PIN left {left} tries, and pkcs15-tool exited with {wrong.returncode}")
    _run(*verify, PIN)
    if _tries_on_disk(stage) != 3:
        raise StepFailed("the right PIN did not restore the tries")
    return "2 tries left, on disk too; the right PIN restores 3"


def _tear_out(stage: DemoContext) -> str:
    from smartcard.Exceptions import CardConnectionException
    from smartcard.scard import SCARD_LEAVE_CARD, SCardBeginTransaction, SCardEndTransaction
    from smartcard.System import readers

    connection = next(found for found in readers() if str(found) == stage.reader).createConnection()
    connection.connect()
    SCardBeginTransaction(connection.component.hcard)
    slot = stage.host.slots[0]
    stage.host.remove(slot)
    begun = time.perf_counter()
    try:
        connection.transmit([0x00, 0xA4, 0x00, 0x0C])
    except CardConnectionException:
        seconds = time.perf_counter() - begun
    else:
        raise StepFailed("a command to a card that is gone was answered")
    finally:
        SCardEndTransaction(connection.component.hcard, SCARD_LEAVE_CARD)
        connection.disconnect()
        connection.release()
    _insert(stage)
    _detect(stage)
    return f"the client is told within {seconds * 1000:.0f} ms, and finds the card again when it is back"


def _check_reader(stage: DemoContext) -> str:
    report = run_checks(stage.reader, CardPins(PIN, PASSWORD))
    if not report.good:
        wrong = [f"{found.check}: {found.detail}" for found in report.results if found.outcome in _NOT_GOOD]
        raise StepFailed(f"the card does not pass its own check: {'; '.join(wrong)}")
    return f"{len(report.results)} checks in {report.seconds:.1f} s; the same ones look at any reader and card"


def _fail_on_purpose(stage: DemoContext) -> str:
    slot = stage.host.slots[0]
    stage.host.remove(slot)
    plan = parse_fault_script("faults: [{status: 6F00, when: {matching: 802A}}]")
    stage.host.insert(slot, "hanako", stage.image, Presentation(faults=plan))
    slot.wait_until_powered(10)
    message = stage.directory / "message"
    signing = (
        "pkcs11-tool", "--module", pkcs11_module(), "--slot-index", "0", "--login", "--pin", PIN, "--sign",
        "--id", "01",
        "--mechanism", "SHA256-RSA-PKCS", "--input-file", str(message), "--output-file", str(stage.directory / "lost"),
    )  # fmt: skip
    done = subprocess.run(signing, capture_output=True, text=True, check=False, timeout=30)
    stage.host.remove(slot)
    _insert(stage)
    if done.returncode == 0:
        raise StepFailed("a card that answers 6F00 to every signature was taken for one that signs")
    said = next((line for line in done.stderr.splitlines() if "error" in line), done.stderr.strip())
    return f"every signature is answered with 6F00, and pkcs11-tool says: {said}"


def _serve(stage: DemoContext) -> str:
    stage.institutions.settle()
    stage.services = Services(stage.institutions.world, directory=True)
    stage.caller_key = Callers(stage.institutions.world).register("demonstration")
    return "both authorities over HTTP, their revocation lists by LDAP; a verifier is registered"


def _all_good(stage: DemoContext) -> str:
    said = {kind: _ocsp(stage, kind) for kind in CertificateType}
    if any(": good" not in words for words in said.values()):
        raise StepFailed(f"OCSP does not call both certificates good: {said}")
    return "openssl ocsp calls both certificates good"


def _move(stage: DemoContext) -> str:
    institutions = stage.institutions
    institutions.registry.record("hanako", MoveWithin("架空町１丁目１番１号"))
    institutions.settle()
    return "recorded in the registry of Shibuya, and over Juki-Net with J-LIS and the authorities"


def _mark(stage: DemoContext) -> str:
    institutions = stage.institutions
    now = institutions.world.clock.now()
    institutions.advance(from_epoch((epoch(now) // GRID_SECONDS + 1) * GRID_SECONDS))
    signature, authentication = _ocsp(stage, CertificateType.SIGNATURE), _ocsp(stage, CertificateType.AUTHENTICATION)
    if ": revoked" not in signature or "affiliationChanged" not in signature or ": good" not in authentication:
        raise StepFailed(f"OCSP says {signature!r} and {authentication!r}")
    if not _verifies(stage, CertificateType.SIGNATURE):
        raise StepFailed("the revocation list is ahead of its day")
    return "openssl ocsp: signature revoked, affiliationChanged; authentication good. The list still says good"


def _next_day(stage: DemoContext) -> str:
    institutions = stage.institutions
    institutions.advance(institutions.world.clock.now() + timedelta(days=1))
    if _verifies(stage, CertificateType.SIGNATURE) or not _verifies(stage, CertificateType.AUTHENTICATION):
        raise StepFailed("the new revocation list does not say what OCSP says")
    return "openssl verify -crl_check: signature revoked, authentication good"


def _look_up(stage: DemoContext) -> str:
    assert stage.services is not None
    entry = partition_entry(CertificateType.SIGNATURE, "13113")
    uri = str(stage.services.status["ldap"])
    published = b64encode(
        stage.institutions.publications[CertificateType.SIGNATURE].path(stage.generation, "13113").read_bytes()
    )
    for _ in range(50):  # the directory is brought up to date once a second
        said = _run("ldapsearch", "-x", "-LLL", "-o", "ldif-wrap=no", "-H", uri, "-b", entry, "-s", "base")
        if published.decode("ascii") in said:
            return f"ldapsearch finds today's list at {entry.partition(',')[0]}, ..."
        time.sleep(0.1)
    raise StepFailed(f"the directory does not hold today's list at {entry}")


def _renew(stage: DemoContext) -> str:
    kinds = stage.institutions.cards.renew("hanako")
    if kinds != [CertificateType.SIGNATURE]:
        raise StepFailed(f"the card got new certificates of the kinds {kinds}")
    stage.host.reset(stage.host.slots[0])
    if not stage.host.slots[0].wait_until_powered(10):
        raise StepFailed("pcscd did not notice the card within 10 s")
    _sign(CertificateType.SIGNATURE)(stage)
    if not _verifies(stage, CertificateType.SIGNATURE):
        raise StepFailed("the new signature certificate is not good")
    return "a key made on the card, certified, read from the reader; openssl verify -crl_check: good"


def _ocsp(stage: DemoContext, kind: CertificateType) -> str:
    """What openssl says of a certificate after asking the world's responder."""
    assert stage.services is not None
    root = str(stage.directory / f"{kind.code}-root.pem")
    said = _run(
        "openssl", "ocsp", "-issuer", root, "-cert", str(_pem(stage, kind)), "-CAfile", root,
        "-url", f"{stage.services.status['http']}/ocsp/{kind.code}",
        "-header", f"Authorization=Bearer {stage.caller_key}",
        # The responder's certificate may be made for this very question, and begin in the next second.
        "-attime", str(int(_epoch_now(stage)) + 2), "-validity_period", "9999999",
    )  # fmt: skip
    return " ".join(said.split())


def _verifies(stage: DemoContext, kind: CertificateType) -> bool:
    """Whether openssl accepts a certificate with its municipality's revocation list, as of the world's time."""
    published = stage.institutions.publications[kind].path(stage.generation, "13113")
    listed = stage.directory / f"{kind.code}.crl.pem"
    _run("openssl", "crl", "-inform", "DER", "-in", str(published), "-out", str(listed))
    done = subprocess.run(
        ["openssl", "verify", "-crl_check", "-attime", _epoch_now(stage), "-CAfile",
         str(stage.directory / f"{kind.code}-root.pem"), "-CRLfile", str(listed), str(_pem(stage, kind))],
        capture_output=True, text=True, check=False, timeout=30,
    )  # fmt: skip
    if done.returncode and "certificate revoked" not in done.stderr:
        raise StepFailed(f"openssl verify failed for another reason: {done.stderr.strip()}")
    return done.returncode == 0


def _pem(stage: DemoContext, kind: CertificateType) -> Path:
    der = stage.directory / f"{kind.code}.der"
    _run("openssl", "x509", "-inform", "DER", "-in", str(der), "-out", str(der.with_suffix(".pem")))
    return der.with_suffix(".pem")


def _epoch_now(stage: DemoContext) -> str:
    return str(epoch(stage.institutions.world.clock.now()))


STORY: list[tuple[str, _Action]] = [
    ("a card is issued", _issue),
    ("the card is inserted", _insert),
    ("OpenSC recognises it", _detect),
    ("OpenSC lists it", _list),
    ("authentication certificate read", _read_certificate),
    ("signature certificate refused", _refuse),
    ("both PINs verified", _verify),
    ("signed with the authentication key", _sign(CertificateType.AUTHENTICATION)),
    ("signed with the signature key", _sign(CertificateType.SIGNATURE)),
    ("a wrong PIN is counted", _count_wrong_pin),
    ("the card is torn out mid-transaction", _tear_out),
    ("the reader and the card in it are checked", _check_reader),
    ("the same card fails on purpose, and OpenSC says so", _fail_on_purpose),
    ("the authorities go on line", _serve),
    ("both certificates are good", _all_good),
    ("the holder moves house", _move),
    ("the next quarter of an hour", _mark),
    ("the next day's revocation list", _next_day),
    ("the list in the directory", _look_up),
    ("a new signature certificate on the card", _renew),
]


def _root_pem(stage: DemoContext, kind: CertificateType) -> None:
    der = stage.directory / f"{kind.code}-root.der"
    der.write_bytes(stage.institutions.authorities[kind].root())
    _run("openssl", "x509", "-inform", "DER", "-in", str(der), "-out", str(der.with_suffix(".pem")))


def _tries_on_disk(stage: DemoContext) -> int:
    contents, _ = read_image(stage.image)
    return contents[jpki.AID].pins[jpki.AUTHENTICATION_PIN].tries_left


def _run(*command: str) -> str:
    """Run a program; answers what it said. Raises StepFailed where it fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    except FileNotFoundError:
        raise StepFailed(f"{command[0]} is not installed; run: kazashi doctor") from None
    if done.returncode:
        raise StepFailed(f"{' '.join(command)} exited with {done.returncode}: {(done.stderr or done.stdout).strip()}")
    return done.stdout
