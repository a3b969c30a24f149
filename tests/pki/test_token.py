"""Authorities whose keys are in a token (SoftHSM), and a token that goes away.

A PKCS#11 module reads its configuration once in a process, so every scene is a process of its own.
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
from kazashi.pki.certificate import Request
from kazashi.jpki.profile import NEXT, Kind
from kazashi.pki.signing_key import new_p384_key
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
    return Request(town.resident("hanako"), certification_request(key), now, now + timedelta(days=900),
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
    """A SoftHSM token of a test's own."""

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

    def play(self, program: str, address: str = "", world: str = "w", seed: str = "town") -> Any:
        """What a program that works on the world says at its end, as JSON."""
        done = subprocess.run(
            [sys.executable, "-c", PRELUDE + program, str(self.home / world), address or self.address(), seed],
            capture_output=True, text=True, check=False, timeout=120, env=self.environment, cwd=ROOT,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    def rows(self, kind: CertificateType, query: str, world: str = "w") -> list[tuple[Any, ...]]:
        """What an authority's store has."""
        database = sqlite3.connect(self.home / world / "stores" / f"authority_{kind.code}.sqlite")
        try:
            return database.execute(query).fetchall()
        finally:
            database.close()

    def state(self) -> dict[str, list[tuple[Any, ...]]]:
        """Everything that a failed issue must leave as it was."""
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
for kind in Kind:
    town.authorities[kind].issue(request("card 1", stock.take()))
    town.authorities[kind].issue(request("next 1", new_p384_key()), NEXT)
    for found in certificates(town, "hanako", kind):
        if found.medium_id == "card 1":
            town.revocations[kind].revoke(found.serial, Reason.KEY_COMPROMISE)
later(town, days=1)
print(json.dumps({kind.code: {found.generation: [found.serial, found.certificate.hex()]
                              for found in certificates(town, "hanako", kind)} for kind in Kind}))
"""


def test_certificates_and_lists_are_signed_in_the_token(token: Token) -> None:
    issued = token.play(ISSUE)
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
            said = run(
                "openssl", "verify", "-crl_check", "-attime", str(int(listed.last_update_utc.timestamp())),
                "-CAfile", files["root"], "-CRLfile", files["list"], files["leaf"], expect=2 if name == "03" else 0,
            )  # fmt: skip
            assert ("certificate revoked" if name == "03" else "OK") in said
    objects = subprocess.run(
        ["pkcs11-tool", "--module", MODULE, "--token-label", "kazashi", "--login", "--pin", "1234", "--list-objects",
         "--type", "privkey"],
        capture_output=True, text=True, check=True, env=token.environment,
    ).stdout  # fmt: skip
    assert objects.count("Private Key Object") == 4
    for label in ("signature-03-town", "authentication-next-town"):
        assert label in objects
    assert "never extractable" in objects


def test_the_pin_may_be_in_a_file_and_another_process_finds_the_keys_again(token: Token) -> None:
    secret = token.home / "pin"
    secret.write_text("1234\n", encoding="ascii")
    address = token.address(pin=f"pin-source=file:{secret}")
    issue = "print(json.dumps(town.authorities[SIGNATURE].issue(request(NAME, stock.take())).hex()))"
    first, second = (token.play(issue.replace("NAME", repr(name)), address) for name in ("card 1", "card 2"))
    ((root,),) = token.rows(CertificateType.SIGNATURE, "SELECT certificate FROM generation")
    for content in (first, second):
        x509.load_der_x509_certificate(bytes.fromhex(content)).verify_directly_issued_by(
            x509.load_der_x509_certificate(root)
        )
    secret.unlink()
    said = token.play(
        'print(json.dumps(refused(lambda: town.authorities[SIGNATURE].issue(request("card 3", stock.take())))))',
        address,
    )
    assert said == f"the token's PIN cannot be read from {secret}: No such file or directory"


ASKED = 'town.authorities[SIGNATURE].issue(request("card 3", stock.take()))'
TRY = """
said = [refused(lambda: town.authorities[kind].issue(request("card 2", stock.take()))) for kind in Kind]
said += [refused(lambda: town.authorities[kind].issue(request("next 2", new_p384_key()), NEXT)) for kind in Kind]
print(json.dumps(said))
"""
GO_ON = """
serials = {}
for kind in Kind:
    town.authorities[kind].issue(request("card 2", stock.take()))
    serials[kind.code] = [found.serial for found in certificates(town, "hanako", kind)]
town.settle()
print(json.dumps(serials))
"""


@contextmanager
def gone(token: Token) -> Iterator[None]:
    """The reader with the token is unplugged."""
    kept = token.home / "kept"
    shutil.move(token.tokens, kept)
    token.tokens.mkdir()
    yield
    shutil.rmtree(token.tokens)
    shutil.move(kept, token.tokens)


@contextmanager
def another(token: Token) -> Iterator[None]:
    """Another token is in its place."""
    with gone(token):
        token.initialise("other")
        yield


@contextmanager
def another_pin(token: Token) -> Iterator[None]:
    """Somebody has changed its PIN."""
    change = ["pkcs11-tool", "--module", MODULE, "--token-label", "kazashi", "--login", "--change-pin"]
    for old, new in (("1234", "4321"), ("4321", "1234")):
        subprocess.run(
            [*change, "--pin", old, "--new-pin", new], env=token.environment, check=True, capture_output=True
        )
        if new == "4321":
            yield


def test_nothing_is_written_while_the_token_is_away_and_it_goes_on_when_it_is_back(token: Token) -> None:
    before = token.play(GO_ON.replace("card 2", "card 1"))
    state = token.state()
    for absence in (gone, another, another_pin):
        with absence(token):
            said = token.play(TRY)
        assert len(said) == 4
        assert all("'kazashi' with the authority's keys failed" in words for words in said), said
        assert not any("1234" in words for words in said), "no PIN in a message"
        assert token.state() == state
    after = token.play(GO_ON)
    assert {word: [*serials, serials[-1] + 1] for word, serials in before.items()} == after, "no gap"


WITHIN = """
authority = town.authorities[SIGNATURE]
authority.issue(request("card 1", stock.take()))
town.settle()
publication = town.publications[SIGNATURE]
tokens = Path(sys.argv[1]).parent / "tokens"
made = publication.made()
town.world.clock.stand(now + timedelta(days=1))
shutil.move(tokens, tokens.with_name("kept"))
tokens.mkdir()
import pkcs11
pkcs11.lib(MODULE).reinitialize()
said = [refused(lambda: authority.issue(request("card 2", stock.take()))), refused(publication.publish)]
counts = [made, publication.made(), len(certificates(town, "hanako", SIGNATURE))]
tokens.rmdir()
shutil.move(tokens.with_name("kept"), tokens)
pkcs11.lib(MODULE).reinitialize()
authority.issue(request("card 2", stock.take()))
published = publication.publish()
print(json.dumps({"said": said, "counts": counts, "published": published,
                  "after": [publication.made(), len(certificates(town, "hanako", SIGNATURE))]}))
""".replace("MODULE", repr(MODULE))


def test_a_process_that_lost_the_token_finds_it_again(token: Token) -> None:
    seen = token.play(WITHIN)
    assert all("failed" in words for words in seen["said"]), seen
    assert seen["counts"] == [3, 3, 1]
    assert seen["published"] == 3
    assert seen["after"] == [9, 2], "the numbers of the lists that could not be signed are not used again"


def test_two_worlds_on_one_token_do_not_take_each_others_keys(token: Token) -> None:
    roots = []
    for world, seed in (("w", "town"), ("v", "village")):
        token.play("town.authorities[SIGNATURE].root()\nprint(json.dumps(None))", world=world, seed=seed)
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
def test_an_address_that_lacks_something_says_what(address: str, lacks: str) -> None:
    with pytest.raises(TokenUnavailable, match=f"lacks {lacks}"):
        TokenAddress.parse(address)


def test_an_address_is_taken_apart_as_the_rfc_has_it(tmp_path: Path) -> None:
    (tmp_path / "a b").write_text("12;34\n", encoding="ascii")
    found = TokenAddress.parse(
        f"pkcs11:token=my%20token;serial=1?pin-source=file:{tmp_path}/a%20b&module-path=%2Flib%2Fx.so"
    )
    assert found == TokenAddress("my token", "/lib/x.so", "12;34")


def test_a_module_that_is_not_there_is_a_token_that_is_not_there(token: Token) -> None:
    address = token.address().replace(MODULE, "/nowhere/none.so")
    said = token.play("print(json.dumps(refused(town.authorities[SIGNATURE].root)))", address)
    assert "'kazashi' with the authority's keys failed" in said
    assert token.rows(CertificateType.SIGNATURE, "SELECT count(*) FROM generation") == [(0,)]
    assert token.rows(CertificateType.SIGNATURE, "SELECT * FROM counter") == []
