"""Authorities whose keys are in a token (SoftHSM), including a token that becomes unavailable.

A PKCS#11 module reads its configuration once per process, so every program runs in its own process.
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from kazashi.jpki.profile import CertificateType
from kazashi.world.token import TokenAddress, TokenUnavailable
from tests.support import run

MODULE = "/usr/lib/softhsm/libsofthsm2.so"
ROOT = Path(__file__).parents[2]

PRELUDE = """
import json, shutil, sys
from datetime import timedelta
from pathlib import Path
from kazashi.card.certification_request import certification_request
from kazashi.pki.certificate import CertificateRequest
from kazashi.jpki.profile import NEXT, CertificateType
from kazashi.world.key_source import new_p384_key
from kazashi.world.token import TokenUnavailable
from kazashi.jpki.state import Reason
from tests.town import MORNING, SIGNATURE, certificates, later
from kazashi.assembly.institutions import Institutions
from kazashi.world.home import open_world
from kazashi.world.key_source import SharedKeySource, generate
from kazashi.world.settings import Settings

directory, address = Path(sys.argv[1]), sys.argv[2]
stock = SharedKeySource([generate() for _ in range(3)])
seed = sys.argv[3]
town = Institutions(open_world(directory, settings=Settings(seed, keys=address), keys=stock))
town.world.clock.stand(max(MORNING, town.world.clock.now()) if town.world.clock.stands else MORNING)
now = town.world.clock.now()

def request(name, key, **more):
    return CertificateRequest(town.resident("hanako"), certification_request(key), now, now + timedelta(days=900),
                   medium_id=name, identifier=name, **more)

def refused(action):
    try:
        action()
    except TokenUnavailable as error:
        return str(error)
    return ""
"""


@dataclass
class Token:
    """A SoftHSM token for one test."""

    home: Path

    @property
    def tokens(self) -> Path:
        return self.home / "tokens"

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "SOFTHSM2_CONF": str(self.home / "softhsm2.conf")}

    def initialise(self, label: str) -> None:
        subprocess.run(
            ["softhsm2-util", "--init-token", "--free", "--label", label, "--pin", "1234", "--so-pin", "5678"],
            env=self.environment, check=True, capture_output=True,
        )  # fmt: skip

    def address(self, *, token: str = "kazashi", pin: str = "pin-value=1234") -> str:
        return f"pkcs11:token={token}?module-path={MODULE}&{pin}"

    def run(self, program: str, address: str = "", world: str = "w", seed: str = "town") -> Any:
        """Run a program on the world and return the JSON in the last line of its output."""
        done = subprocess.run(
            [sys.executable, "-c", PRELUDE + program, str(self.home / world), address or self.address(), seed],
            capture_output=True, text=True, check=False, timeout=120, env=self.environment, cwd=ROOT,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    def rows(self, kind: CertificateType, query: str, world: str = "w") -> list[tuple[Any, ...]]:
        """Return the rows of a query on an authority's store."""
        database = sqlite3.connect(self.home / world / "stores" / f"authority_{kind.code}.sqlite")
        try:
            return database.execute(query).fetchall()
        finally:
            database.close()

    def state(self) -> dict[str, list[tuple[Any, ...]]]:
        """Return all rows that a failed request must leave unchanged."""
        tables = ("counter", "generation", "certificate", "responder", "revocation", "event")
        return {
            f"{kind.code} {table}": self.rows(kind, f"SELECT * FROM {table}")
            for kind in CertificateType
            for table in tables
        }


@pytest.fixture
def token(tmp_path: Path) -> Token:
    token = Token(tmp_path)
    token.tokens.mkdir()
    (tmp_path / "softhsm2.conf").write_text(
        f"directories.tokendir = {token.tokens}\nobjectstore.backend = file\nlog.level = ERROR\n", encoding="ascii"
    )
    token.initialise("kazashi")
    return token


ISSUE = """
for kind in CertificateType:
    town.authorities[kind].issue(request("card 1", stock.take()))
    town.authorities[kind].issue(request("next 1", new_p384_key()), NEXT)
    for issued in certificates(town, "hanako", kind):
        if issued.medium_id == "card 1":
            town.revocations[kind].revoke(issued.serial, Reason.KEY_COMPROMISE)
later(town, days=1)
print(json.dumps({kind.code: {issued.generation: [issued.serial, issued.certificate.hex()]
                              for issued in certificates(town, "hanako", kind)} for kind in CertificateType}))
"""


def test_certificates_and_lists_are_signed_in_the_token(token: Token) -> None:
    issued = token.run(ISSUE)
    for kind in CertificateType:
        generations = token.rows(kind, "SELECT name, keys, key, certificate FROM generation ORDER BY name")
        assert [(name, keys, key) for name, keys, key, _ in generations] == [
            ("03", token.address(), b""), ("next", token.address(), b""),
        ]  # fmt: skip
        for name, _, _, content in generations:
            root = x509.load_der_x509_certificate(content)
            assert isinstance(root.public_key(), rsa.RSAPublicKey if name == "03" else ec.EllipticCurvePublicKey)
            serial, text = issued[kind.code][name]
            leaf = x509.load_der_x509_certificate(bytes.fromhex(text))
            leaf.verify_directly_issued_by(root)
            tree = token.home / "w" / "publication"
            listed = x509.load_der_x509_crl(
                (tree / "crl" / kind.code / name / "Tokyo-to" / "Shibuya-ku.crl").read_bytes()
            )
            assert listed.is_signature_valid(root.public_key())  # type: ignore[arg-type]
            assert (listed.get_revoked_certificate_by_serial_number(serial) is not None) == (name == "03")
            files = {}
            for what, readable in (("root", root), ("leaf", leaf), ("list", listed)):
                files[what] = str(token.home / f"{what}.pem")
                Path(files[what]).write_bytes(readable.public_bytes(Encoding.PEM))
            output = run(
                "openssl", "verify", "-crl_check", "-attime", str(int(listed.last_update_utc.timestamp())),
                "-CAfile", files["root"], "-CRLfile", files["list"], files["leaf"], expect=2 if name == "03" else 0,
            )  # fmt: skip
            assert ("certificate revoked" if name == "03" else "OK") in output
    objects = subprocess.run(
        ["pkcs11-tool", "--module", MODULE, "--token-label", "kazashi", "--login", "--pin", "1234", "--list-objects",
         "--type", "privkey"],
        capture_output=True, text=True, check=True, env=token.environment,
    ).stdout  # fmt: skip
    assert objects.count("Private Key Object") == 4
    for label in ("signature-03-town", "authentication-next-town"):
        assert label in objects
    assert "never extractable" in objects


def test_pin_from_a_file_and_keys_found_by_another_process(token: Token) -> None:
    secret = token.home / "pin"
    secret.write_text("1234\n", encoding="ascii")
    address = token.address(pin=f"pin-source=file:{secret}")
    issue = "print(json.dumps(town.authorities[SIGNATURE].issue(request(NAME, stock.take())).hex()))"
    first, second = (token.run(issue.replace("NAME", repr(name)), address) for name in ("card 1", "card 2"))
    ((root,),) = token.rows(CertificateType.SIGNATURE, "SELECT certificate FROM generation")
    for content in (first, second):
        x509.load_der_x509_certificate(bytes.fromhex(content)).verify_directly_issued_by(
            x509.load_der_x509_certificate(root)
        )
    secret.unlink()
    message = token.run(
        'print(json.dumps(refused(lambda: town.authorities[SIGNATURE].issue(request("card 3", stock.take())))))',
        address,
    )
    assert str(secret) in message


ISSUE_EXPECTING_REFUSAL = """
messages = []
for kind in CertificateType:
    messages.append(refused(lambda: town.authorities[kind].issue(request("card 2", stock.take()))))
    messages.append(refused(lambda: town.authorities[kind].issue(request("next 2", new_p384_key()), NEXT)))
print(json.dumps(messages))
"""
ISSUE_CARD_2 = """
serials = {}
for kind in CertificateType:
    town.authorities[kind].issue(request("card 2", stock.take()))
    serials[kind.code] = [issued.serial for issued in certificates(town, "hanako", kind)]
town.settle()
print(json.dumps(serials))
"""


@contextmanager
def removed(token: Token) -> Iterator[None]:
    """The reader with the token is unplugged."""
    kept = token.home / "kept"
    shutil.move(token.tokens, kept)
    token.tokens.mkdir()
    yield
    shutil.rmtree(token.tokens)
    shutil.move(kept, token.tokens)


@contextmanager
def replaced(token: Token) -> Iterator[None]:
    """Another token is in its place."""
    with removed(token):
        token.initialise("other")
        yield


@contextmanager
def pin_changed(token: Token) -> Iterator[None]:
    """Somebody has changed the token's PIN."""
    change = ["pkcs11-tool", "--module", MODULE, "--token-label", "kazashi", "--login", "--change-pin"]
    for old, new in (("1234", "4321"), ("4321", "1234")):
        subprocess.run(
            [*change, "--pin", old, "--new-pin", new], env=token.environment, check=True, capture_output=True
        )
        if new == "4321":
            yield


def test_unavailable_token_leaves_the_store_unchanged(token: Token) -> None:
    before = token.run(ISSUE_CARD_2.replace("card 2", "card 1"))
    state = token.state()
    for fault in (removed, replaced, pin_changed):
        with fault(token):
            messages = token.run(ISSUE_EXPECTING_REFUSAL)
        assert len(messages) == 4
        assert all("'kazashi'" in message for message in messages), messages
        assert not any("1234" in message for message in messages), "no PIN in a message"
        assert token.state() == state
    after = token.run(ISSUE_CARD_2)
    assert {code: [*serials, serials[-1] + 1] for code, serials in before.items()} == after, "no gap"


LOSE_AND_RECOVER = """
authority = town.authorities[SIGNATURE]
authority.issue(request("card 1", stock.take()))
town.settle()
publication = town.publications[SIGNATURE]
tokens = Path(sys.argv[1]).parent / "tokens"
made_before = publication.made()
town.world.clock.stand(now + timedelta(days=1))
shutil.move(tokens, tokens.with_name("kept"))
tokens.mkdir()
import pkcs11
pkcs11.lib(MODULE).reinitialize()
messages = [refused(lambda: authority.issue(request("card 2", stock.take()))), refused(publication.publish)]
counts = [made_before, publication.made(), len(certificates(town, "hanako", SIGNATURE))]
tokens.rmdir()
shutil.move(tokens.with_name("kept"), tokens)
pkcs11.lib(MODULE).reinitialize()
authority.issue(request("card 2", stock.take()))
published = publication.publish()
print(json.dumps({"messages": messages, "counts": counts, "published": published,
                  "after": [publication.made(), len(certificates(town, "hanako", SIGNATURE))]}))
""".replace("MODULE", repr(MODULE))


def test_process_recovers_after_losing_the_token(token: Token) -> None:
    result = token.run(LOSE_AND_RECOVER)
    assert all(result["messages"]), result
    assert result["counts"] == [3, 3, 1]
    assert result["published"] == 3
    assert result["after"] == [9, 2], "the numbers of the lists that could not be signed are not reused"


def test_two_worlds_on_one_token_use_different_keys(token: Token) -> None:
    roots = []
    for world, seed in (("w", "town"), ("v", "village")):
        token.run("town.authorities[SIGNATURE].root()\nprint(json.dumps(None))", world=world, seed=seed)
        ((root,),) = token.rows(CertificateType.SIGNATURE, "SELECT certificate FROM generation", world)
        roots.append(x509.load_der_x509_certificate(root))
    assert roots[0].subject == roots[1].subject
    assert roots[0].public_key() != roots[1].public_key()


@pytest.mark.parametrize(
    ("address", "lacks"),
    [
        ("pkcs11:token=kazashi?pin-value=1234", "module-path"),
        (f"pkcs11:?module-path={MODULE}", "token"),
        ("pkcs11:", "token"),
    ],
)
def test_incomplete_token_uri_names_the_missing_part(address: str, lacks: str) -> None:
    with pytest.raises(TokenUnavailable, match=lacks):
        TokenAddress.parse(address)


def test_token_uri_is_parsed_according_to_the_rfc(tmp_path: Path) -> None:
    (tmp_path / "a b").write_text("12;34\n", encoding="ascii")
    address = TokenAddress.parse(
        f"pkcs11:token=my%20token;serial=1?pin-source=file:{tmp_path}/a%20b&module-path=%2Flib%2Fx.so"
    )
    assert address == TokenAddress("my token", "/lib/x.so", "12;34")


def test_missing_pkcs11_module_means_token_unavailable(token: Token) -> None:
    address = token.address().replace(MODULE, "/nowhere/none.so")
    message = token.run("print(json.dumps(refused(town.authorities[SIGNATURE].root)))", address)
    assert "'kazashi'" in message
    assert token.rows(CertificateType.SIGNATURE, "SELECT count(*) FROM generation") == [(0,)]
    assert token.rows(CertificateType.SIGNATURE, "SELECT * FROM counter") == []
