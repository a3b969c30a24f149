"""What the middleware of Debian 12 or of this machine, and that of Debian 13, make of the card: docs/middleware.md.

Each test runs on both systems. Where they differ, it is by the version of OpenSC.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from PIL import Image

from kazashi.applets import jpki
from kazashi.assembly.served import free_port
from kazashi.card.identifiers import FileId
from kazashi.card.image import read_image
from kazashi.reader_bridge.pcscd import start_pcscd
from kazashi.world.home import World
from tests.clients.client_systems import ClientSystem, client_system, debian_13, lines_with
from tests.clients.test_opensc import certificate
from tests.polling import LIMIT
from tests.support import run, until_connected

pytestmark = [pytest.mark.reader, pytest.mark.long]

PAGE = (Path(__file__).parents[2] / "docs/middleware.md").read_text(encoding="utf-8")
AUTHENTICATION, SIGNATURE = "JPKI (User Authentication PIN)", "JPKI (Digital Signature PIN)"
PIN, PASSWORD = "1234", "ABC123"
CARD = "pkcs11:token=JPKI%20%28User%20Authentication%20PIN%29;id=%01"
KEY = f"{CARD};type=private;pin-value={PIN}"
SIGNER = "pkcs11:token=JPKI%20%28Digital%20Signature%20PIN%29;id=%02"
AGENT = """
set -e
eval "$(ssh-agent)" > /dev/null
trap 'ssh-agent -k > /dev/null' EXIT
printf '#!/bin/sh\\necho asked >> asked\\necho 1234\\n' > ask
chmod +x ask
rm -f asked message.sig
export SSH_ASKPASS="$PWD/ask" SSH_ASKPASS_REQUIRE=force
ssh-add -s "$1" < /dev/null
ssh-add -L > agent.keys
number=0
while read -r key; do
  number=$((number + 1))
  echo "$key" > "$number.pub"
  if ssh-keygen -Y sign -n file -f "$number.pub" message < /dev/null; then mv message.sig "$number.sig"; fi
done < agent.keys
"""
"""Adds the card to an agent, and signs with every key that the agent then has."""
PUBLIC_PROFILE = (0, 24)
"""The version of OpenSC from which every token says that its certificates are public."""


@pytest.fixture(scope="module", params=["this machine", "Debian 13"])
def system(
    request: pytest.FixtureRequest, world: World, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ClientSystem]:
    root = None if request.param == "this machine" else debian_13()
    with client_system(root, world, tmp_path_factory.mktemp("clients")) as clients:
        (clients.files / "pin").write_text(PIN + "\n")
        (clients.files / "password").write_text(PASSWORD + "\n")
        (clients.files / "message").write_bytes(b"an invented letter\n")
        yield clients


@pytest.fixture
def card(system: ClientSystem) -> Iterator[Path]:
    """Hanako's card, new, in the first slot. Both PINs have all their tries."""
    yield system.insert("hanako")
    system.host.remove(system.host.slots[0])


def recipe(name: str) -> str:
    """Return the block of the page whose first line is a comment with a name."""
    found = re.search(rf"^```\w*\n(?:#|//) {re.escape(name)}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    assert found, name
    return found[1]


def pkcs11_tool(system: ClientSystem, slot: int, *options: str, expect: int = 0) -> str:
    return system.run("pkcs11-tool", "--module", system.module, "--slot-index", str(slot), *options, expect=expect)


def key_of(system: ClientSystem, resident: str, fid: FileId) -> str:
    """Write the public key of a certificate on a card's image to a file, and return the file's name."""
    path = system.files / f"{resident}-{fid}.pem"
    key = x509.load_der_x509_certificate(certificate(system.world, resident, fid)).public_key()
    path.write_bytes(key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return path.name


def tries(card: Path) -> tuple[int, int]:
    """Return the tries left of the authentication PIN and of the signature password, from the card's image."""
    pins = read_image(card)[0][jpki.AID].pins
    return pins[jpki.AUTHENTICATION_PIN].tries_left, pins[jpki.SIGNATURE_PIN].tries_left


@pytest.mark.parametrize("system", ["Debian 13"], indirect=True)
def test_the_page_names_the_versions_of_debian_13(system: ClientSystem) -> None:
    rows = re.findall(r"^\| [\w ]+ \| (?:[\d.]+|–) \| ([\d.]+) \| .*\| `([\w-]+)` \|$", PAGE, re.MULTILINE)
    assert len(rows) == 11
    for version, package in rows:
        installed = system.run("dpkg-query", "--show", "--showformat", "${source:Upstream-Version}", package)
        assert installed.removeprefix("2:").startswith(version), f"{package} is {installed}"


def test_opensc_names_two_tokens(system: ClientSystem, card: Path) -> None:
    assert "jpki" in system.run("opensc-tool", "--name").splitlines()
    listed = system.run("pkcs11-tool", "--module", system.module, "--list-token-slots")
    assert re.findall(r"token label +: (.*)", listed) == [AUTHENTICATION, SIGNATURE]
    assert re.findall(r"serial num +: (.*)", listed) == ["00000000", "00000000"]
    assert re.findall(r"pin min/max +: (.*)", listed) == ["4/4", "6/16"]
    assert set(re.findall(r"token flags +: (.*)", listed)) == {"login required, token initialized, PIN initialized"}
    mechanisms = re.findall(r"^  (\S*RSA\S*), .*sign", pkcs11_tool(system, 0, "--list-mechanisms"), re.MULTILINE)
    assert {"RSA-PKCS", *(f"SHA{size}-RSA-PKCS" for size in (1, 224, 256, 384, 512))} <= set(mechanisms)
    assert all(name.endswith("RSA-PKCS") for name in mechanisms), "neither PSS nor raw RSA"


def test_opensc_reads_the_contactless_card(system: ClientSystem) -> None:
    system.insert("taro", contactless=True)
    assert system.run("opensc-tool", "--atr").splitlines()[0] == "3b:88:80:01:00:00:05:e0:b3:81:a1:00:7f"
    assert "jpki" in system.run("opensc-tool", "--name").splitlines()
    assert AUTHENTICATION in system.run("pkcs11-tool", "--module", system.module, "--list-token-slots")
    system.host.remove(system.host.slots[0])


@pytest.mark.parametrize(
    ("slot", "identifier", "secret", "fid"),
    [(0, "01", PIN, jpki.AUTHENTICATION_CERTIFICATE), (1, "02", PASSWORD, jpki.SIGNATURE_CERTIFICATE)],
)
def test_pkcs11_signs_and_openssl_verifies(
    system: ClientSystem, card: Path, slot: int, identifier: str, secret: str, fid: FileId
) -> None:
    pkcs11_tool(
        system, slot, "--login", "--pin", secret, "--sign", "--id", identifier, "--mechanism", "SHA256-RSA-PKCS",
        "--input-file", "message", "--output-file", "signature",
    )  # fmt: skip
    verify = ("openssl", "dgst", "-sha256", "-verify", key_of(system, "hanako", fid), "-signature", "signature")
    assert "Verified OK" in run(*verify, "message", cwd=system.files)
    read = system.run("pkcs15-tool", "--read-certificate", identifier, "--auth-id", identifier, "--verify-pin", "--pin",
                      secret)  # fmt: skip
    pem = read[read.index("-----BEGIN") : read.index("-----END")] + "-----END CERTIFICATE-----\n"
    assert x509.load_pem_x509_certificate(pem.encode()) == x509.load_der_x509_certificate(
        certificate(system.world, "hanako", fid)
    )


def test_a_key_of_0_bits_is_one_that_needs_the_password(system: ClientSystem, card: Path) -> None:
    before = pkcs11_tool(system, 1, "--list-objects")
    listing = ("p11tool", "--provider", system.module, "--list-all", SIGNER.removesuffix(";id=%02"))
    failed = "failed to fetch key" in system.run("ssh-keygen", "-D", system.module)
    assert failed is (system.opensc < PUBLIC_PROFILE)
    assert ("Type: Unknown" in system.run(*listing, expect=None)) is not failed
    if system.opensc < PUBLIC_PROFILE:
        assert "C_GetAttributeValue(MODULUS_BITS) failed: rv = CKR_GENERAL_ERROR (0x5)" in before
        assert "Public Key Object; RSA 0 bits" in before
    else:
        assert "Public Key Object" not in before
        assert "CKP_PUBLIC_CERTIFICATES_TOKEN" in before
    assert "Certificate Object" not in before
    after = pkcs11_tool(system, 1, "--list-objects", "--login", "--pin", PASSWORD)
    assert "Public Key Object; RSA 2048 bits" in after
    assert "Certificate Object" in after


def test_opensc_cannot_change_or_unblock_a_pin(system: ClientSystem, card: Path) -> None:
    change = pkcs11_tool(system, 0, "--login", "--pin", PIN, "--change-pin", "--new-pin", "4321", expect=1)
    assert "C_SetPIN failed: rv = CKR_FUNCTION_NOT_SUPPORTED (0x54)" in change
    for command, failed in (
        (("--change-pin", "--auth-id", "01", "--pin", PIN), "PIN code change failed: Not supported"),
        (("--unblock-pin", "--auth-id", "01", "--puk", PIN), "PIN unblocking failed: Not supported"),
    ):
        assert failed in system.run("pkcs15-tool", *command, "--new-pin", "4321", expect=None)
    system.run("pkcs15-tool", "--verify-pin", "--auth-id", "01", "--pin", PIN)


def test_a_pin_of_another_length_costs_no_try(system: ClientSystem, card: Path) -> None:
    output = pkcs11_tool(system, 0, "--login", "--pin", PASSWORD, "--list-objects", expect=1)
    assert "C_Login failed: rv = CKR_PIN_LEN_RANGE (0xa2)" in output
    assert tries(card) == (3, 5)


def test_what_programs_say_of_a_locked_pin(system: ClientSystem, card: Path) -> None:
    """pkcs11-tool and p11tool tell how many tries are left before, and p11tool tells it wrongly."""
    flags = [
        ("user PIN count low", "Requires login, uPIN low count"),
        ("final user PIN try", "Requires login, Final uPIN attempt, uPIN locked"),
        ("user PIN locked", "Requires login"),
    ]
    for flag, other in flags:
        wrong = pkcs11_tool(system, 0, "--login", "--pin", "9999", "--list-objects", expect=1)
        assert "C_Login failed: rv = CKR_PIN_INCORRECT (0xa0)" in wrong
        assert flag in pkcs11_tool(system, 0, "--list-token-slots")
        listed = system.run("p11tool", "--provider", system.module, "--list-tokens", expect=None)
        assert f"Label: {AUTHENTICATION}\n\tType: Hardware token\n\tFlags: {other}\n" in listed
    right = pkcs11_tool(system, 0, "--login", "--pin", PIN, "--list-objects", expect=1)
    assert "C_Login failed: rv = CKR_GENERAL_ERROR (0x5)" in right
    verify = system.run("pkcs15-tool", "--verify-pin", "--auth-id", "01", "--pin", PIN, expect=None)
    assert "Reference data not usable" in verify
    database = nss(system)
    assert "SEC_ERROR_PKCS11_GENERAL_ERROR" in system.run(
        "certutil", "-K", "-d", database, "-h", AUTHENTICATION, "-f", "pin", expect=None
    )
    gnutls = ("gnutls-cli", "--provider", system.module, "--x509certfile", f"{CARD};type=cert", "--x509keyfile")
    assert "PKCS #11 error." in system.run(*gnutls, KEY, "localhost", expect=None)
    engine = ("openssl", "dgst", "-engine", "pkcs11", "-keyform", "engine", "-sha256", "-sign", KEY, "message")
    module = {"PKCS11_MODULE_PATH": system.module}
    assert "The private key was not found" in system.run(*engine, expect=1, environment=module)
    assert "agent refused operation" in system.run("sh", "-c", AGENT, "sh", system.module, expect=None)
    assert tries(card)[0] == 0
    assert "Tries left     : 0" in system.run("pkcs15-tool", "--list-pins")


def nss(system: ClientSystem) -> str:
    """Make a database of NSS with OpenSC's module, and return its name."""
    name = f"nss-{len(list(system.files.glob('nss-*')))}"
    (system.files / name).mkdir()
    system.run("certutil", "-N", "-d", f"sql:{name}", "--empty-password")
    system.run("modutil", "-force", "-dbdir", f"sql:{name}", "-add", "opensc", "-libfile", system.module)
    return f"sql:{name}"


def test_nss_lists_certificates(system: ClientSystem, card: Path) -> None:
    """From OpenSC 0.24 on, NSS reads what a token shows without its password, and does not look again after it."""
    database = nss(system)

    def listed(token: str, file: str) -> list[str]:
        output = system.run("certutil", "-L", "-d", database, "-h", token, "-f", file, expect=None)
        return [" ".join(line.split()) for line in lines_with(output, [f"{token}:"])]

    new = system.opensc >= PUBLIC_PROFILE
    authorities = "u,u,u" if new else ",,"
    assert listed(AUTHENTICATION, "pin") == [
        f"{AUTHENTICATION}:User Authentication Certificate u,u,u",
        f"{AUTHENTICATION}:User Authentication Certificate CA {authorities}",
        f"{AUTHENTICATION}:Digital Signature Certificate CA {authorities}",
    ]
    own = f"{SIGNATURE}:Digital Signature Certificate"
    assert listed(SIGNATURE, "password") == ([] if new else [f"{own} u,u,u"])
    keys = system.run("certutil", "-K", "-d", database, "-h", SIGNATURE, "-f", "password")
    assert "Digital Signature Key" in keys
    without = system.run("certutil", "-L", "-d", database, "-h", AUTHENTICATION, expect=None)
    assert ("User Authentication Certificate CA" in without) is new
    everything = system.run("certutil", "-L", "-d", database, "-h", "all", expect=None)
    assert re.search(r"User Authentication Certificate CA +u,u,u$", everything, re.MULTILINE)


def test_pdfsig_signs_with_one_slot_for_the_password(system: ClientSystem, card: Path) -> None:
    database = nss(system)
    Image.new("L", (200, 200), "white").save(system.files / "letter.pdf")
    listing = ("pdfsig", "-nssdir", database, "-list-nicks", "-nss-pwd")
    for secret in (PIN, PASSWORD):
        assert "Password was not accepted" in system.run(*listing, secret, expect=None)
    assert tries(card) == (3, 5)
    (system.files / "one-slot.conf").write_text(recipe("one-slot.conf"))
    setting = {"OPENSC_CONF": "one-slot.conf"}
    nicknames = system.run(*listing, PASSWORD, environment=setting).splitlines()
    name = f"{SIGNATURE}:Digital Signature Certificate"
    padded = "JPKI:Digital Signature Certificate     "
    assert nicknames[-1] == (name if system.opensc < PUBLIC_PROFILE else padded)
    signed = system.files / "signed.pdf"
    signed.unlink(missing_ok=True)
    sign = ("pdfsig", "-nssdir", database, "-nss-pwd", PASSWORD, "-add-signature", "-nick")
    if nicknames[-1] != nicknames[-1].strip():
        system.run(*sign, nicknames[-1], "letter.pdf", "signed.pdf", expect=3, environment=setting)
    system.run(*sign, nicknames[-1].strip(), "letter.pdf", "signed.pdf", expect=None, environment=setting)
    for judge in (system.run("pdfsig", "-nssdir", database, "signed.pdf", expect=None), run("pdfsig", str(signed))):
        assert "Signature is Valid." in judge
        assert "Signing Hash Algorithm: SHA-256" in judge


@contextmanager
def tls_server(system: ClientSystem, *options: str) -> Iterator[int]:
    """A server of this machine's OpenSSL that wants the card's certificate, and shows it; yields its port."""
    root = x509.load_der_x509_certificate(certificate(system.world, "hanako", jpki.AUTHENTICATION_AUTHORITY))
    (system.files / "root.pem").write_bytes(root.public_bytes(Encoding.PEM))
    run("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "server.key", "-out", "server.pem",
        "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", cwd=system.files)  # fmt: skip
    port = free_port()
    log = system.files / "server.log"
    with log.open("wb") as output:
        server = subprocess.Popen(
            ("openssl", "s_server", "-accept", str(port), "-key", "server.key", "-cert", "server.pem", "-CAfile",
             "root.pem", "-Verify", "3", "-verify_return_error", "-www", "-quiet", *options),
            cwd=system.files, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
        )  # fmt: skip
    try:
        until_connected(port, server, log)
        yield port
    finally:
        server.kill()
        server.wait()


def tls_version(output: str) -> str | None:
    """Return the version of TLS if the server shows that it has the card's certificate, otherwise None."""
    version = re.search(r"Protocol +: (\S+)", output)
    return version[1] if version and re.search(r"Subject: C=JP, CN=[0-9A-Z]{23}\n", output) else None


def asks(system: ClientSystem, port: int, *command: str, configuration: str = "") -> str:
    """Run a TLS client that reads its request from stdin, or is curl; return its output."""
    environment = {"PKCS11_MODULE_PATH": system.module} | ({"OPENSSL_CONF": configuration} if configuration else {})
    words = [word.replace("8443", str(port)) for word in command]
    return system.run(*words, answer="GET / HTTP/1.0\r\n\r\n", expect=None, environment=environment)


GNUTLS = ("gnutls-cli", "--x509cafile", "server.pem", "--x509certfile", f"{CARD};type=cert", "--x509keyfile",
          KEY, "--port", "8443", "localhost")  # fmt: skip
S_CLIENT = ("openssl", "s_client", "-quiet", "-CAfile", "server.pem", "-connect", "localhost:8443")
ENGINE = (
    "-engine",
    "pkcs11",
    "-keyform",
    "engine",
    "-cert",
    "card.pem",
    "-key",
    KEY,
)
PROVIDER = ("-cert", f"{CARD};type=cert", "-key", KEY)
CURL = ("curl", "-sS", "--cacert", "server.pem", "--cert", f"{CARD};type=cert", "--key",
        KEY, "https://localhost:8443/")  # fmt: skip
CURL_ENGINE = ("--engine", "pkcs11", "--cert-type", "ENG", "--key-type", "ENG")
LIMITED = ("-client_sigalgs", "RSA+SHA256")


def test_tls_with_openssl_needs_rsa_with_sha256(system: ClientSystem, card: Path) -> None:
    """OpenSSL chooses PSS in TLS 1.2, too, which OpenSC does not make, unless one of both ends forbids it."""
    system.run("pkcs15-tool", "--read-certificate", "1", "--output", "card.pem")
    with tls_server(system) as port:
        for option in ("-tls1_2", "-tls1_3"):
            output = asks(system, port, *S_CLIENT, *ENGINE, option)
            assert "Mechanism invalid" in output
            assert tls_version(output) is None
        for options in (("-sigalgs", "RSA+SHA256"), LIMITED):
            assert tls_version(asks(system, port, *S_CLIENT, *ENGINE, "-tls1_2", *options)) == "TLSv1.2"
        assert "Mechanism invalid" in asks(system, port, *CURL, *CURL_ENGINE, "--tls-max", "1.2")
        limits = recipe("card.cnf").partition("[ssl_sect]")[2]
        (system.files / "limits.cnf").write_text(
            "openssl_conf = init\n[init]\nssl_conf = ssl_sect\n[ssl_sect]" + limits
        )
        limited = asks(system, port, *CURL, *CURL_ENGINE, "--tls-max", "1.2", configuration="limits.cnf")
        assert tls_version(limited) == "TLSv1.2"
        known = system.run("curl", "--help", "all")
        version = re.search(r"curl (\d+)\.(\d+)", system.run("curl", "--version"))
        assert version
        assert ("--sigalgs" in known) is (tuple(map(int, version.groups())) >= (8, 14))
    with tls_server(system, *LIMITED, "-no_tls1_3") as port:
        assert tls_version(asks(system, port, *S_CLIENT, *ENGINE)) == "TLSv1.2"
        assert tls_version(asks(system, port, *CURL, *CURL_ENGINE)) == "TLSv1.2"


def test_tls_with_gnutls_needs_1_2_only(system: ClientSystem, card: Path) -> None:
    with tls_server(system) as port:
        assert "Certificate is required" in asks(system, port, *GNUTLS, "--provider", system.module)
        assert tls_version(asks(system, port, *GNUTLS, "--provider", system.module, "--priority",
                            "NORMAL:-VERS-TLS1.3")) == "TLSv1.2"  # fmt: skip


@pytest.mark.parametrize("system", ["Debian 13"], indirect=True)
def test_tls_with_pkcs11_provider(system: ClientSystem, card: Path) -> None:
    """The configuration of the page limits OpenSSL's own client. curl sets the version of TLS by itself."""
    text = recipe("card.cnf").replace("/usr/lib/x86_64-linux-gnu/opensc-pkcs11.so", system.module)
    (system.files / "card.cnf").write_text(text)
    unlimited = "".join(line for line in text.splitlines(keepends=True) if not re.match("Client|MaxP", line))
    (system.files / "unlimited.cnf").write_text(unlimited)
    typed = ("--cert-type", "PROV", "--key-type", "PROV")
    with tls_server(system) as port:
        for option in ("-tls1_2", "-tls1_3"):
            output = asks(system, port, *S_CLIENT, *PROVIDER, option, configuration="unlimited.cnf")
            assert "CKM_RSA_PKCS_PSS unavailable" in output
            assert tls_version(output) is None
        assert tls_version(asks(system, port, *S_CLIENT, *PROVIDER, configuration="card.cnf")) == "TLSv1.2"
        without = asks(system, port, *CURL, *typed, configuration="card.cnf")
        assert "tlsv13 alert certificate required" in without
        assert tls_version(asks(system, port, *CURL, *typed, "--tls-max", "1.2", configuration="card.cnf")) == "TLSv1.2"
        both = ("--tls-max", "1.2", "--sigalgs", "RSA+SHA256")
        assert tls_version(asks(system, port, *CURL, *typed, *both, configuration="unlimited.cnf")) == "TLSv1.2"


@pytest.mark.parametrize("system", ["Debian 13"], indirect=True)
def test_signing_with_pkcs11_provider(system: ClientSystem, card: Path) -> None:
    """The signature key asks for its password with each signature, and gets it from the configuration only."""
    text = recipe("card.cnf").replace("/usr/lib/x86_64-linux-gnu/opensc-pkcs11.so", system.module)
    (system.files / "card.cnf").write_text(text)
    password = f"[pkcs11_sect]\npkcs11-module-token-pin = file:{system.home}/password\n"
    (system.files / "sign.cnf").write_text(text.replace("[pkcs11_sect]\n", password))
    sign = ("openssl", "dgst", "-sha256", "-out", "signature", "-sign")
    card_only = {"OPENSSL_CONF": "card.cnf"}
    system.run(*sign, KEY, "message", environment=card_only)
    public = key_of(system, "hanako", jpki.AUTHENTICATION_CERTIFICATE)
    verify = ("openssl", "dgst", "-sha256", "-verify", public, "-signature", "signature", "message")
    assert "Verified OK" in run(*verify, cwd=system.files)
    key = f"{SIGNER};type=private"
    refused = system.run(*sign, f"{key};pin-value={PASSWORD}", "message", expect=1, environment=card_only)
    assert "while reading strings" in refused
    system.run("openssl", "cms", "-sign", "-binary", "-in", "message", "-signer", f"{SIGNER};type=cert", "-inkey", key,
               "-outform", "DER", "-out", "message.p7s", environment={"OPENSSL_CONF": "sign.cnf"})  # fmt: skip
    run("openssl", "cms", "-verify", "-binary", "-noverify", "-inform", "DER", "-in", "message.p7s", "-content",
        "message", "-out", "verified", cwd=system.files)  # fmt: skip


def test_the_engine_does_not_pass_the_password_on(system: ClientSystem, card: Path) -> None:
    sign = ("openssl", "dgst", "-engine", "pkcs11", "-keyform", "engine", "-sha256", "-out", "signature", "-sign")
    environment = {"PKCS11_MODULE_PATH": system.module}
    system.run(*sign, KEY, "message", environment=environment)
    key = f"{SIGNER};type=private;pin-value={PASSWORD}"
    output = system.run(*sign, key, "message", expect=1, environment=environment)
    assert "Enter PKCS#11 key PIN for Digital Signature Key" in output


def test_ssh_signs_with_the_first_key(system: ClientSystem, card: Path) -> None:
    """The other two keys are the authorities', which have no business in a list of authorized keys."""
    listed = lines_with(system.run("ssh-keygen", "-D", system.module), ["ssh-rsa "])
    own, *others = (key.split(maxsplit=2)[1:] for key in listed)
    converted = system.run("ssh-keygen", "-i", "-m", "PKCS8", "-f",
                           key_of(system, "hanako", jpki.AUTHENTICATION_CERTIFICATE))  # fmt: skip
    assert own == [converted.split()[1], "User Authentication Public Key"]
    assert others, "here, both authorities may have the same key, which is listed once"
    assert {name for _, name in others} <= {"User Authentication Certificate CA", "Digital Signature Certificate CA"}
    output = system.run("sh", "-c", AGENT, "sh", system.module)
    assert "agent refused operation" in output
    assert (system.files / "asked").read_text() == "asked\n"
    assert sorted(path.name for path in system.files.glob("?.sig")) == ["1.sig"]
    checked = system.run("sh", "-c", "ssh-keygen -Y check-novalidate -n file -s 1.sig < message")
    assert 'Good "file" signature with RSA key' in checked
    assert tries(card) == (3, 5)


def gnupg(system: ClientSystem, settings: str) -> tuple[str, str]:
    """Ask gpg and gpgsm for the card; return what they and the log of scdaemon say."""
    home = system.files / ".gnupg"
    home.mkdir(mode=0o700, exist_ok=True)
    (home / "scdaemon.conf").write_text(f"log-file {system.home}/scdaemon.log\nverbose\n" + settings)
    (system.files / "scdaemon.log").unlink(missing_ok=True)
    both = "gpg --batch --card-status; gpgsm --batch --learn-card; gpgconf --kill all"
    output = system.run("sh", "-c", both)
    return output, (system.files / "scdaemon.log").read_text()


def test_gnupg_does_not_know_the_card(system: ClientSystem, card: Path) -> None:
    output, log = gnupg(system, recipe("scdaemon.conf"))
    assert "gpg: selecting card failed: No such device" in output
    assert "gpgsm: error learning card: Card removed" in output
    assert "detected reader 'Kazashi A" in log
    assert "no supported card application found" in log


@pytest.mark.parametrize("system", ["Debian 13"], indirect=True)
def test_gnupg_2_4_does_not_ask_pcscd(system: ClientSystem, card: Path) -> None:
    output, log = gnupg(system, "")
    assert "gpg: selecting card failed: No such device" in output
    assert "Kazashi" not in log


def test_opensc_tool_does_not_send_an_extended_length(system: ClientSystem, card: Path) -> None:
    select_jpki, extended, short = "00A4040C0AD392F000260100000001", "00B08A00000000", "00B08A0000"
    for driver in ((), ("--card-driver", "default")):
        output = system.run("opensc-tool", *driver, "-s", select_jpki, "-s", extended, expect=None)
        assert "APDU transmit failed: Invalid arguments" in output
        commands = [entry.exchange.command for entry in system.host.journal.since(0)[0] if entry.exchange.command]
        assert commands[-1].hex().upper() == select_jpki, "the next command has not reached the reader"
        assert "30 82" in system.run("opensc-tool", *driver, "-s", select_jpki, "-s", short)
    sent = system.run("scriptor", "-r", system.host.slots[0].endpoint.reader, answer=f"{select_jpki}\n{extended}\n")
    assert len(re.findall(r"\b[0-9A-F]{2}\b", sent[sent.index("30 82") :])) >= 2048


def test_one_token_for_browsers(system: ClientSystem, card: Path) -> None:
    """OpenSC's onepin module had one before 0.24, and the setting has one always."""

    def labels(module: str, configuration: str) -> list[str]:
        listing = ("pkcs11-tool", "--module", system.library(module), "--list-token-slots")
        environment = {"OPENSC_CONF": configuration} if configuration else None
        return re.findall(r"token label +: (.*)", system.run(*listing, environment=environment))

    (system.files / "browser.conf").write_text(recipe("browser.conf"))
    old = system.opensc < PUBLIC_PROFILE
    assert labels("onepin-opensc-pkcs11.so", "") == ([AUTHENTICATION] if old else [AUTHENTICATION, SIGNATURE])
    assert labels("opensc-pkcs11.so", "browser.conf") == [AUTHENTICATION if old else "JPKI"]
    pkcs11 = ("pkcs11-tool", "--module", system.module, "--login", "--pin", PIN, "--list-objects")
    assert "User Authentication Key" in system.run(*pkcs11, environment={"OPENSC_CONF": "browser.conf"})


def test_nss_asks_for_every_token_of_every_card(system: ClientSystem, card: Path) -> None:
    """Browsers do the same: with two cards in the reader they ask four times."""
    system.insert("taro", -1)
    database = nss(system)
    labels = re.findall(r"token label +: (.*)", system.run("pkcs11-tool", "--module", system.module, "-L"))
    assert labels == [AUTHENTICATION, SIGNATURE] * 2
    output = system.run("certutil", "-K", "-d", database, "-h", "all", expect=None)
    assert output.count('Checking token "JPKI (') == 4
    assert output.count("could not authenticate to token JPKI (") == 4
    system.host.remove(system.host.slots[-1])


@pytest.mark.parametrize("system", ["this machine"], indirect=True)
def test_pcsc_lite_1_and_2_do_not_talk(system: ClientSystem) -> None:
    """On a machine with version 2, both sides are version 2, and talk."""
    first = run("pcscd", "--version").startswith("pcsc-lite version 1.")
    newer = debian_13()
    with client_system(newer, system.world, system.files.parent / "newer") as root:
        for clients in (replace(system, pcscd=root.pcscd), replace(root, pcscd=system.pcscd)):
            listed = clients.run("opensc-tool", "--list-readers", expect=None)
            assert ("No smart card readers found" in listed) is first
            assert ("Kazashi A" in listed) is not first
            assert ("Service was stopped" in clients.run("scriptor", expect=None)) is first


JAVA = """
import java.util.Scanner;
import javax.smartcardio.*;

class Terminals {
    static void show() {
        try {
            System.out.println(TerminalFactory.getInstance("PC/SC", null).terminals().list().size() > 0);
        } catch (Exception error) {
            System.out.println(error.getCause().getMessage());
        }
    }

    public static void main(String[] arguments) throws Exception {
        for (Scanner in = new Scanner(System.in); in.hasNextLine(); show()) {
            if (in.nextLine().equals("forget")) {
                FORGET
            }
        }
    }
}
"""


def test_a_jvm_does_not_find_a_new_pcscd(tmp_path: Path) -> None:
    (tmp_path / "Terminals.java").write_text(JAVA.replace("FORGET", recipe("ForgetContext")))
    pcscd = start_pcscd(tmp_path, ["Kazashi"], private=True)
    opens = "--add-opens=java.smartcardio/sun.security.smartcardio=ALL-UNNAMED"
    java = subprocess.Popen(
        ("java", opens, "Terminals.java"), cwd=tmp_path, env={**os.environ, **pcscd.client_environment()},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    to, of = java.stdin, java.stdout
    assert to is not None
    assert of is not None

    def answer(line: str) -> str:
        to.write(f"{line}\n")
        to.flush()
        return of.readline().strip()

    try:
        assert answer("list") == "true"
        pcscd.stop()
        assert answer("list") == "SCARD_E_NO_SERVICE"
        pcscd = start_pcscd(tmp_path, ["Kazashi"], private=True)
        assert answer("list") == "SCARD_E_NO_SERVICE", "although pcscd is back"
        assert answer("forget") == "true"
        assert answer("list") == "true"
    finally:
        to.close()
        java.wait(LIMIT)
        of.close()
        pcscd.stop()
