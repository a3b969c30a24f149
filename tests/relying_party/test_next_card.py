"""The next card at relying parties: logins, documents, platform and MyKey, with signatures of a card in a reader."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from hashlib import sha384
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from asn1crypto import pem
from asn1crypto import x509 as asn1_x509
from asn1crypto.algos import SignedDigestAlgorithm
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from lxml import etree
from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
from pyhanko.sign import signers
from pyhanko.sign.fields import SigSeedSubFilter

from kazashi.assembly.cards import make_card
from kazashi.assembly.institutions import Institutions
from kazashi.jpki.profile import CertificateType
from kazashi.reader_bridge.host import Presentation, ReaderHost
from kazashi.relying_party.conformance.documents import pdf
from kazashi.relying_party.login.card_reader import MalformedPin, PinWrong, Signed, sign_with_card
from kazashi.relying_party.mykey.mykey import MyKeyPlatform
from kazashi.relying_party.platform.platform import Platform
from kazashi.relying_party.verify.anchors import AnchorsInDirectory
from kazashi.relying_party.verify.authentication import Authentication, Challenge, Response
from kazashi.relying_party.verify.documents import Documents
from kazashi.relying_party.verify.sources import lists_in
from kazashi.relying_party.verify.verdict import Finding, Outcome, Verdict
from kazashi.relying_party.verify.verification import Verifier
from kazashi.resident_registry.event import MoveWithin
from kazashi.world.key_source import SharedKeySource
from tests.relying_party.test_platform import TownLinkage
from tests.support import run
from tests.town import AUTHENTICATION, SIGNATURE, certificates, later, new_institutions

pytestmark = pytest.mark.reader

ORIGIN = "https://shop.example"
SECRETS = {AUTHENTICATION: "1234", SIGNATURE: "ABC123"}
TEXT = "同意します。\n".encode()


@dataclass
class Setup:
    """A town, a verifier with its published lists, and the reader with the next card of hanako."""

    town: Institutions
    verifier: Verifier
    host: ReaderHost

    def insert(self, name: str) -> None:
        slot = self.host.slots[0]
        if slot.occupied:
            self.host.remove(slot)
        self.host.insert(slot, name, self.town.world.cards / f"{name}.card", Presentation())
        assert slot.wait_until_powered(10)

    def roots(self, directory: Path) -> Path:
        """The certificate of the signature authority's P-384 generation, as PEM."""
        (root,) = (one for one in self.town.authorities[SIGNATURE].generations() if one.name == "next")
        path = directory / "root.pem"
        path.write_bytes(pem.armor("CERTIFICATE", root.certificate))
        return path

    def log_in(self, kind: CertificateType, change: Any = lambda response: response) -> Verdict:
        """Answer a challenge with the card in the reader, and return the verdict on what `change` makes of it."""
        authentication = Authentication(self.verifier)
        challenge: Challenge = authentication.challenge(ORIGIN, kind, "" if kind is AUTHENTICATION else "text")
        signed = sign_with_card(kind, SECRETS[kind], challenge.message)
        response = Response(challenge.nonce, signed.signature, signed.certificate)
        return authentication.verdict(ORIGIN, change(response))


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory, keys: SharedKeySource) -> Iterator[Institutions]:
    town = new_institutions(tmp_path_factory.mktemp("next") / "w", keys)
    make_card(town, "next", "hanako", model="next")
    make_card(town, "today", "taro")
    later(town, days=1)
    yield town
    town.world.close()


@pytest.fixture
def setup(town: Institutions, host: ReaderHost) -> Setup:
    anchors = AnchorsInDirectory(town.world.publication / "ca")
    setup = Setup(town, Verifier(anchors, [lists_in(town.world.publication)], town.world.clock), host)
    setup.insert("next")
    return setup


@pytest.mark.parametrize("kind", CertificateType)
def test_the_agent_lets_both_cards_sign_and_the_verifier_accepts_both(setup: Setup, kind: CertificateType) -> None:
    for name, holder in (("next", "番号\u3000花子"), ("today", "番号\u3000太郎")):
        setup.insert(name)
        verdict = setup.log_in(kind)
        assert (verdict.outcome, verdict.finding) == (Outcome.GOOD, None), verdict.detail
        assert verdict.certificate is not None
        assert isinstance(verdict.certificate.key, ec.EllipticCurvePublicKey) is (name == "next")
        if kind is SIGNATURE:
            assert verdict.certificate.attributes is not None
            assert verdict.certificate.attributes.name == holder


def test_another_form_of_the_signature_is_not_accepted(setup: Setup) -> None:
    """r and s as the card sends them, and a signature over another challenge."""

    def raw(response: Response) -> Response:
        return Response(response.nonce, numbers(response.signature), response.unverified_certificate)

    assert setup.log_in(AUTHENTICATION, raw).finding is Finding.WRONG_SIGNATURE
    other = sign_with_card(AUTHENTICATION, "1234", b"another message")
    verdict = setup.log_in(
        AUTHENTICATION, lambda response: Response(response.nonce, other.signature, other.certificate)
    )
    assert verdict.finding is Finding.WRONG_SIGNATURE


def test_wrong_pins_cost_a_try(setup: Setup) -> None:
    with pytest.raises(PinWrong) as wrong:
        sign_with_card(AUTHENTICATION, "9999", b"x")
    assert wrong.value.left == 2
    with pytest.raises(MalformedPin):
        sign_with_card(SIGNATURE, "1234", b"x")
    sign_with_card(AUTHENTICATION, "1234", b"x")


def numbers(encoded: bytes) -> bytes:
    """An ECDSA-Sig-Value as r and s of 48 bytes each, as in XML signatures."""
    return b"".join(number.to_bytes(48) for number in decode_dss_signature(encoded))


class CardSigner(signers.Signer):
    """pyHanko's signer, with the card in the reader in place of a key."""

    def __init__(self) -> None:
        certificate = sign_with_card(SIGNATURE, SECRETS[SIGNATURE], b"").certificate
        super().__init__(
            signing_cert=asn1_x509.Certificate.load(certificate),
            signature_mechanism=SignedDigestAlgorithm({"algorithm": "sha384_ecdsa"}),
        )

    async def async_sign_raw(self, data: bytes, digest_algorithm: str, dry_run: bool = False) -> bytes:
        assert digest_algorithm == "sha384"
        return bytes(104) if dry_run else sign_with_card(SIGNATURE, SECRETS[SIGNATURE], data).signature


def good(setup: Setup, document: bytes, content: bytes | None = None) -> Verdict:
    documents = Documents(setup.verifier)
    verdict = documents.any(document) if content is None else documents.any(document, content)
    assert (verdict.outcome, verdict.finding) == (Outcome.GOOD, None), verdict.detail
    assert verdict.certificate is not None
    assert verdict.certificate.attributes is not None
    assert verdict.certificate.attributes.name == "番号\u3000花子"
    return verdict


def attime(setup: Setup) -> str:
    return str(int(setup.town.world.clock.now().timestamp()))


def test_openssl_verifies_a_cms_signature_of_the_card(setup: Setup, tmp_path: Path) -> None:
    signed = asyncio.run(CardSigner().async_sign_general_data(TEXT, digest_algorithm="sha384", detached=True)).dump()
    for name, data in {"text": TEXT, "signed": signed}.items():
        (tmp_path / name).write_bytes(data)
    judged = ("openssl", "cms", "-verify", "-binary", "-inform", "DER", "-in", f"{tmp_path}/signed", "-CAfile",
              str(setup.roots(tmp_path)), "-purpose", "any", "-attime", attime(setup), "-content")  # fmt: skip
    assert "CMS Verification successful" in run(*judged, f"{tmp_path}/text")
    good(setup, signed, TEXT)
    (tmp_path / "other").write_bytes(TEXT + b"!")
    assert "CMS Verification failure" in run(*judged, f"{tmp_path}/other", expect=4)
    assert Documents(setup.verifier).any(signed, TEXT + b"!").finding is Finding.TAMPERED


def test_pdfsig_verifies_a_pdf_that_the_card_signed(setup: Setup, tmp_path: Path) -> None:
    settings = signers.PdfSignatureMetadata(field_name="S", subfilter=SigSeedSubFilter.PADES, md_algorithm="sha384")
    writer = IncrementalPdfFileWriter(BytesIO(pdf()))
    signed = asyncio.run(signers.PdfSigner(settings, signer=CardSigner()).async_sign_pdf(writer)).getvalue()
    (tmp_path / "signed.pdf").write_bytes(signed)
    judged = run("pdfsig", "-nocert", str(tmp_path / "signed.pdf"))
    assert "Signature Validation: Signature is Valid." in judged
    assert "Signing Hash Algorithm: SHA-384" in judged
    assert good(setup, signed).signed == ("the whole file",)


NAMESPACE = "http://www.w3.org/2000/09/xmldsig#"
C14N = "http://www.w3.org/2001/10/xml-exc-c14n#"


def signed_xml(document: bytes) -> bytes:
    """An enveloped XML signature with the card: ECDSA with SHA-384, whose value is r and s (RFC 6931, 2.3.6)."""
    root = etree.fromstring(document)
    digest = b64encode(sha384(canonical(root)).digest()).decode()
    signature = etree.fromstring(f"""<Signature xmlns="{NAMESPACE}"><SignedInfo>
<CanonicalizationMethod Algorithm="{C14N}"/>
<SignatureMethod Algorithm="http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha384"/>
<Reference URI=""><Transforms><Transform Algorithm="{NAMESPACE}enveloped-signature"/><Transform Algorithm="{C14N}"/>
</Transforms><DigestMethod Algorithm="http://www.w3.org/2001/04/xmldsig-more#sha384"/>
<DigestValue>{digest}</DigestValue></Reference></SignedInfo><SignatureValue/>
<KeyInfo><X509Data><X509Certificate/></X509Data></KeyInfo></Signature>""")
    root.append(signature)
    signed: Signed = sign_with_card(SIGNATURE, SECRETS[SIGNATURE], canonical(signature[0]))
    signature[1].text = b64encode(numbers(signed.signature)).decode()
    signature[2][0][0].text = b64encode(signed.certificate).decode()
    return bytes(etree.tostring(root, encoding="utf-8"))


def canonical(element: Any) -> bytes:
    return bytes(etree.tostring(element, method="c14n", exclusive=True))


def test_xmlsec1_verifies_an_xml_document_that_the_card_signed(setup: Setup, tmp_path: Path) -> None:
    signed = signed_xml("<書類><項目>金額</項目></書類>".encode())
    (tmp_path / "signed.xml").write_bytes(signed)
    (tmp_path / "changed.xml").write_bytes(signed.replace("金額".encode(), "数量".encode()))
    root = setup.roots(tmp_path)
    at = f"{setup.town.world.clock.now():%Y-%m-%d %H:%M:%S}"
    judged = ("xmlsec1", "--verify", "--trusted-pem", str(root), "--verification-gmt-time", at)
    assert "OK" in run(*judged, f"{tmp_path}/signed.xml")
    good(setup, signed)
    run(*judged, f"{tmp_path}/changed.xml", expect=1)
    assert Documents(setup.verifier).any((tmp_path / "changed.xml").read_bytes()).finding is Finding.TAMPERED


@pytest.mark.long
def test_platform_and_mykey_have_one_person_over_a_renewal(setup: Setup) -> None:
    """Also in a card management of today: taro's card is today's, and a user of their own."""
    town = setup.town
    make_card(town, "moved", "leap-day", model="next")
    later(town, days=1)
    setup.insert("moved")
    platform, mykey = Platform(town.world, TownLinkage(town)), MyKeyPlatform(town.world, TownLinkage(town))
    first, login = setup.log_in(SIGNATURE), setup.log_in(AUTHENTICATION)
    assert first.certificate is not None
    assert login.certificate is not None
    user = platform.identify("shop", first.certificate)
    assert platform.identify("shop", login.certificate).identifier == user.identifier
    identifier = mykey.register(login, "NEXTCARD")
    town.registry.record("leap-day", MoveWithin("架空町９丁目"))
    later(town, days=1)
    assert setup.log_in(SIGNATURE).finding is Finding.REVOKED
    assert town.cards.renew("moved") == [SIGNATURE]
    later(town, days=1)
    setup.insert("moved")
    again = setup.log_in(SIGNATURE)
    assert again.outcome is Outcome.GOOD, again.detail
    assert again.certificate is not None
    assert again.certificate.serial != first.certificate.serial
    assert platform.identify("shop", again.certificate).identifier == user.identifier
    after = setup.log_in(AUTHENTICATION).certificate
    assert after is not None
    assert mykey.find(after.serial) == identifier == "NEXTCARD"
    setup.insert("today")
    other = setup.log_in(AUTHENTICATION).certificate
    assert other is not None
    assert platform.identify("shop", other).identifier != user.identifier
    ends = {x509.load_der_x509_certificate(one.certificate).not_valid_after_utc
            for one in certificates(town, "leap-day", AUTHENTICATION)}  # fmt: skip
    assert min(ends) - town.world.clock.now() > timedelta(days=9 * 365)
