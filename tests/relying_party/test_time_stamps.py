"""Time-stamps of `openssl ts` and of pyHanko as evidence of when a document was signed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from asn1crypto import cms
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from kazashi.jpki.profile import CertificateType
from kazashi.relying_party.conformance.authority import NOW, CertificateTemplate, HolderKey, ListTemplate, TestAuthority
from kazashi.relying_party.conformance.documents import TEXT, bare_cms
from kazashi.relying_party.verify.anchors import Anchors, BadAnchor, read_anchor
from kazashi.relying_party.verify.documents import Documents
from kazashi.relying_party.verify.sources import Lists
from kazashi.relying_party.verify.time_stamp import TimeStampAuthorities
from kazashi.relying_party.verify.verdict import Finding, Outcome
from kazashi.relying_party.verify.verification import Verifier
from kazashi.world.clock import FixedClock
from kazashi.world.key_source import SharedKeySource, generate
from tests.support import run

CONFIGURATION = """
[ req ]
distinguished_name = name
[ name ]
[ root ]
basicConstraints = critical, CA:true
keyUsage = critical, keyCertSign, cRLSign
[ stamping ]
basicConstraints = critical, CA:false
keyUsage = critical, digitalSignature
extendedKeyUsage = critical, timeStamping
[ tsa ]
default_tsa = here
[ here ]
serial = serial
signer_digest = sha256
default_policy = 1.3.6.1.4.1.99999.1
digests = sha256, sha512
ess_cert_id_alg = sha256
"""


class StampingAuthority:
    """A time-stamp authority of OpenSSL's, with a root certificate of its own."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir()
        self.directory = directory
        self.roots = directory / "roots"
        self.roots.mkdir()
        (directory / "tsa.cnf").write_text(CONFIGURATION)
        (directory / "serial").write_text("01")
        self._openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "root.key", "-out", "roots/root.pem",
                      "-subj", "/CN=Invented Stamp Root", "-days", "30", "-config", "tsa.cnf",
                      "-extensions", "root")  # fmt: skip
        self._openssl("req", "-new", "-newkey", "rsa:2048", "-nodes", "-keyout", "tsa.key", "-out", "tsa.csr",
                      "-subj", "/CN=Invented Stamp", "-config", "tsa.cnf")  # fmt: skip
        self._openssl("x509", "-req", "-in", "tsa.csr", "-CA", "roots/root.pem", "-CAkey", "root.key", "-days", "20",
                      "-CAcreateserial", "-extfile", "tsa.cnf", "-extensions", "stamping",
                      "-out", "tsa.pem")  # fmt: skip

    def _openssl(self, *arguments: str) -> None:
        run("openssl", *arguments, cwd=self.directory)

    def token(self, data: bytes) -> bytes:
        """A time-stamp token over the data, as of now by the machine's clock."""
        (self.directory / "data").write_bytes(data)
        self._openssl("ts", "-query", "-data", "data", "-sha256", "-cert", "-out", "query")
        self._openssl("ts", "-reply", "-queryfile", "query", "-signer", "tsa.pem", "-inkey", "tsa.key",
                      "-config", "tsa.cnf", "-section", "here", "-token_out", "-out", "token")  # fmt: skip
        self._openssl("ts", "-verify", "-data", "data", "-in", "token", "-token_in", "-CAfile", "roots/root.pem",
                      "-untrusted", "tsa.pem")  # fmt: skip
        return (self.directory / "token").read_bytes()


def stamped(signed: bytes, token: Callable[[bytes], bytes]) -> bytes:
    """Signed CMS with a time-stamp over its signature (RFC 3161, appendix A)."""
    info = cms.ContentInfo.load(signed)
    signer = info["content"]["signer_infos"][0]
    stamp = cms.ContentInfo.load(token(signer["signature"].native))
    signer["unsigned_attrs"] = [{"type": "signature_time_stamp_token", "values": [stamp]}]
    return bytes(info.dump())  # force=True would encode each level again for each level above it, for a minute


@dataclass
class Setting:
    """A holder whose certificate was revoked a day after today, and a verifier of the day after that."""

    holder: HolderKey
    verifier: Verifier
    stamping: StampingAuthority


@pytest.fixture(scope="module")
def setting(tmp_path_factory: pytest.TempPathFactory) -> Setting:
    ca = TestAuthority(SharedKeySource([generate() for _ in range(7)]))
    today, day = datetime.now(UTC).replace(microsecond=0), timedelta(days=1)
    issuer = ca.generation(CertificateType.SIGNATURE)
    begins = min(NOW, today) - day
    holder = ca.holder(issuer, CertificateTemplate(begins=begins, ends=begins + timedelta(days=400)))
    entry = (holder.certificate.serial_number, today + day, x509.ReasonFlags.affiliation_changed)
    listed = ca.list(issuer, [entry], ListTemplate(this_update=today + 2 * day))
    anchors = Anchors([read_anchor(issuer.certificate.public_bytes(Encoding.DER))])
    verifier = Verifier(anchors, [Lists("given", lambda *_: listed)], FixedClock(today + 2 * day))
    return Setting(holder, verifier, StampingAuthority(tmp_path_factory.mktemp("stamps") / "tsa"))


def test_a_trusted_time_stamp_proves_that_a_document_is_older_than_its_revocation(setting: Setting) -> None:
    signed = stamped(bare_cms(setting.holder), setting.stamping.token)
    trusting = Documents(setting.verifier, setting.stamping.roots)
    verdict = trusting.cms(signed, TEXT)
    assert verdict.outcome is Outcome.GOOD, verdict.detail
    assert verdict.proven is not None
    assert "Invented Stamp" in verdict.proven.authority
    assert verdict.at == verdict.proven.instant
    assert abs(verdict.at - datetime.now(UTC)) < timedelta(minutes=2)
    assert verdict.as_dict()["proven_at"] == verdict.at.isoformat()
    assert trusting.cms(bare_cms(setting.holder), TEXT).finding is Finding.REVOKED, "without a time-stamp"


def test_a_time_stamp_of_an_authority_that_is_not_trusted_is_not_used(setting: Setting, tmp_path: Path) -> None:
    other = StampingAuthority(tmp_path / "other")
    for documents, token in (
        (Documents(setting.verifier), setting.stamping.token),
        (Documents(setting.verifier, setting.stamping.roots), other.token),
    ):
        verdict = documents.cms(stamped(bare_cms(setting.holder), token), TEXT)
        assert (verdict.outcome, verdict.finding, verdict.proven) == (Outcome.BAD, Finding.REVOKED, None)
        assert "is not used" in verdict.notes[0]


def test_a_time_stamp_over_another_signature_is_not_used(setting: Setting) -> None:
    documents = Documents(setting.verifier, setting.stamping.roots)
    verdict = documents.cms(stamped(bare_cms(setting.holder), lambda _: setting.stamping.token(b"another")), TEXT)
    assert verdict.finding is Finding.REVOKED
    assert "about something else" in verdict.notes[0]


def test_the_trust_list_must_have_certificates(tmp_path: Path) -> None:
    with pytest.raises(BadAnchor, match="no certificate"):
        TimeStampAuthorities(tmp_path)
    (tmp_path / "root.pem").write_bytes(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    with pytest.raises(BadAnchor, match="is not a certificate"):
        TimeStampAuthorities(tmp_path)
