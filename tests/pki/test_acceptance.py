"""Acceptance tests: one test for each publicly known property of the real service."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterator, MutableMapping
from dataclasses import replace
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from asn1crypto import core, pem
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, load_der_private_key
from cryptography.x509 import ocsp
from hypothesis import given
from hypothesis import strategies as st
from pyhanko_certvalidator import CertificateValidator, ValidationContext
from pyhanko_certvalidator.errors import InsufficientRevinfoError, PathValidationError

from kazashi.applets import jpki
from kazashi.assembly.institutions import Institutions
from kazashi.card.certification_request import certification_request
from kazashi.card.image import read_image
from kazashi.card_management.order import image_path
from kazashi.jpki.profile import CertificateType, Medium
from kazashi.jpki.state import CertificateState, Reason, TransitionRejected
from kazashi.pki.asn1 import MalformedDer
from kazashi.pki.callers import ATTRIBUTES, OCSP, Callers
from kazashi.pki.certificate import CertificateRequest
from kazashi.pki.certificate_database import FULL_LIST, Issued
from kazashi.pki.http import OcspEndpoint
from kazashi.pki.lint import NotLintable, lint
from kazashi.pki.ocsp import read_request
from kazashi.pki.publication import Publication
from kazashi.pki.responder import GRID, Responder
from kazashi.pki.services import (
    CONSENT_PURPOSE,
    WITHDRAWAL_PURPOSE,
    ConsentOver,
    NoConsent,
    NoGoodCertificate,
    SignedStatement,
    StatementRejected,
    VerifierServices,
)
from kazashi.pki.validity import certificate_end, renewal_opens
from kazashi.resident_registry.birth_date import BirthDate
from kazashi.resident_registry.event import Death, LossReport, MoveWithin
from kazashi.resident_registry.sample_residents import SAMPLE_RESIDENTS
from kazashi.world.clock import JST, end_of_day, epoch, from_epoch
from kazashi.world.key_source import SharedKeySource, generate
from tests.pki.test_profile import REAL_ROOT, ROOTS, extensions, tags
from tests.support import run
from tests.town import AUTHENTICATION, SIGNATURE, certificates, later, loaded, new_institutions, standing


@pytest.fixture(scope="module")
def sample_town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Institutions]:
    """A town in which all sample residents have a card and no event has happened. Tests do not change it."""
    keys = SharedKeySource([generate() for _ in range(11)])
    institutions = new_institutions(tmp_path_factory.mktemp("samples") / "w", keys)
    for alias in SAMPLE_RESIDENTS:
        institutions.issue_card(alias, alias)
    institutions.settle()
    yield institutions
    institutions.world.close()


def file(place: Path, label: str, *contents: bytes) -> str:
    """Write a PEM file with one or more objects; return its path."""
    place.write_bytes(b"".join(pem.armor(label, content) for content in contents))
    return str(place)


def published(
    institutions: Institutions, issued: Issued, kind: CertificateType, name: str = ""
) -> x509.CertificateRevocationList:
    path = institutions.publications[kind].path(issued.generation, name or issued.partition)
    return x509.load_der_x509_crl(path.read_bytes())


def is_listed(institutions: Institutions, issued: Issued, kind: CertificateType) -> bool:
    """Whether a certificate is on its municipality's list and on the full list, which must agree."""
    results = {
        published(institutions, issued, kind, name).get_revoked_certificate_by_serial_number(issued.serial) is not None
        for name in ("", FULL_LIST)
    }
    assert len(results) == 1
    return results.pop()


def query(institutions: Institutions, issued: Issued, kind: CertificateType) -> bytes:
    """An OCSP request for a certificate, as DER."""
    roots = {item.name: item.certificate for item in institutions.authorities[kind].generations()}
    issuer = x509.load_der_x509_certificate(roots[issued.generation])
    return (
        ocsp.OCSPRequestBuilder()
        .add_certificate(loaded(issued), issuer, hashes.SHA1())
        .build()
        .public_bytes(Encoding.DER)
    )


def ocsp_response(institutions: Institutions, issued: Issued, kind: CertificateType) -> ocsp.OCSPResponse:
    return ocsp.load_der_ocsp_response(
        Responder(institutions.authorities[kind]).answer(query(institutions, issued, kind)).response
    )


def to_next_mark(institutions: Institutions) -> None:
    seconds = int(GRID.total_seconds())
    institutions.advance(from_epoch((epoch(institutions.world.clock.now()) // seconds + 1) * seconds))


@pytest.mark.parametrize("kind", CertificateType)
def test_root_equals_the_real_one_but_for_names_and_keys(sample_town: Institutions, kind: CertificateType) -> None:
    real = pem.unarmor((ROOTS / REAL_ROOT[kind]).read_bytes())[2]
    ours = sample_town.authorities[kind].root()
    assert extensions(ours) == extensions(real)
    assert tags(ours) == tags(real)
    for before, after in (
        (b"JPKI-EMU", b"JPKI"),
        ("公的個人認証サービス模擬".encode(), "公的個人認証サービス".encode()),
    ):
        assert before in ours
        assert before not in real
        assert after in real


def test_authentication_certificates_have_known_extensions_and_size(sample_town: Institutions) -> None:
    for alias in SAMPLE_RESIDENTS:
        (issued,) = certificates(sample_town, alias, AUTHENTICATION)
        assert extensions(issued.certificate) == [
            ("2.5.29.15", True), ("2.5.29.37", False), ("2.5.29.32", True), ("2.5.29.18", False),
            ("2.5.29.31", False), ("1.3.6.1.5.5.7.1.1", False), ("2.5.29.35", False), ("2.5.29.14", False),
        ]  # fmt: skip
        assert 1500 <= len(issued.certificate) <= 1650
        with pytest.raises(x509.ExtensionNotFound):
            loaded(issued).extensions.get_extension_for_class(x509.SubjectAlternativeName)


def test_signature_certificates_have_six_other_names(sample_town: Institutions) -> None:
    for alias in SAMPLE_RESIDENTS:
        if alias == "child":
            assert certificates(sample_town, alias, SIGNATURE) == []
            continue
        (issued,) = certificates(sample_town, alias, SIGNATURE)
        assert extensions(issued.certificate) == [
            ("2.5.29.15", True), ("2.5.29.17", False), ("2.5.29.32", True), ("2.5.29.18", False),
            ("2.5.29.31", False), ("2.5.29.35", False), ("2.5.29.14", False),
        ]  # fmt: skip
        names = loaded(issued).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        others = names.get_values_for_type(x509.OtherName)
        assert [other.type_id.dotted_string.rpartition(".")[2] for other in others] == ["1", "4", "3", "5", "2", "6"]
        text = {other.type_id.dotted_string[-1]: core.UTF8String.load(other.value).native for other in others}
        assert (len(text["2"]), len(text["6"])) == (len(text["1"]), len(text["5"]))


_DAYS = st.dates(date(2016, 1, 1), date(2040, 12, 31))
_BIRTHS = st.dates(date(1910, 1, 1), date(2015, 12, 31)).map(lambda day: BirthDate(day.year, day.month, day.day))
_LEAPLINGS = st.sampled_from(range(1912, 2013, 4)).map(lambda year: BirthDate(year, 2, 29))


@given(_DAYS, _BIRTHS | _LEAPLINGS, st.integers(0, 4000), st.none() | st.integers(0, 4000), st.integers(-200, 4000))
def test_certificate_ends_on_fifth_birthday_or_with_card_or_stay(
    day: date, birth: BirthDate, card: int, stay: int | None, ago: int
) -> None:
    card_ends, issued = day + timedelta(days=card), datetime(day.year, day.month, day.day, 12, tzinfo=JST)
    stay_ends = None if stay is None else day + timedelta(days=stay)
    fifth = [birth.birthday(year) for year in range(day.year, day.year + 8) if birth.birthday(year) > day][4]
    ends = certificate_end(issued, birth, card_ends, stay_ends)
    assert ends == end_of_day(min(fifth, card_ends, stay_ends or fifth))
    assert certificate_end(issued, birth, fifth) == end_of_day(fifth)
    if birth.birthday(day.year) == day:
        assert fifth.year == day.year + 5, "a birthday on the day of issue does not count"
    if (birth.month, birth.day) == (2, 29):
        assert (fifth.month, fifth.day) == (2, 29 if fifth.year % 4 == 0 else 28)
    # The renewal of a certificate that ends `ago` days from now, in its last three months or not.
    before = end_of_day(day + timedelta(days=ago))
    renewed = certificate_end(issued, birth, date(9999, 12, 31), renewed=before)
    if renewal_opens(before) <= day <= day + timedelta(days=ago):
        last = before.astimezone(JST).date()
        following = [birth.birthday(year) for year in range(last.year, last.year + 8) if birth.birthday(year) > last]
        assert renewed == end_of_day(following[4])
        assert renewed >= end_of_day(fifth), "early renewal costs no time"
    else:
        assert renewed == end_of_day(fifth)


def test_key_identifier_not_name_selects_the_generation(sample_town: Institutions, tmp_path: Path) -> None:
    for kind in CertificateType:
        roots = {item.name: item.certificate for item in sample_town.authorities[kind].generations()}
        assert roots.keys() == {"02", "03"}
        former, present = (x509.load_der_x509_certificate(roots[name]) for name in ("02", "03"))
        assert former.subject.public_bytes() == present.subject.public_bytes()
        (issued,) = certificates(sample_town, "expired", kind)
        certificate = loaded(issued)
        by_name = [root for root in (present, former) if root.subject == certificate.issuer]
        with pytest.raises(InvalidSignature):
            certificate.verify_directly_issued_by(by_name[0])
        wanted = certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
        (by_key,) = [
            root for root in (present, former)
            if root.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest == wanted
        ]  # fmt: skip
        certificate.verify_directly_issued_by(by_key)
        both = file(tmp_path / "both.pem", "CERTIFICATE", roots["03"], roots["02"])
        wrong = file(tmp_path / "wrong.pem", "CERTIFICATE", roots["03"])
        leaf = file(tmp_path / "leaf.pem", "CERTIFICATE", issued.certificate)
        then = str(epoch(issued.not_before + timedelta(days=1)))
        assert run("openssl", "verify", "-attime", then, "-CAfile", both, leaf).strip().endswith("OK")
        assert "unable to get" in run("openssl", "verify", "-attime", then, "-CAfile", wrong, leaf, expect=2)


def test_registry_events_change_the_holders_certificates(town: Institutions, keys: SharedKeySource) -> None:
    for alias in ("hanako", "taro", "leap-day"):
        town.issue_card(alias, alias)
    town.registry.record("hanako", MoveWithin("架空町１丁目"))
    town.registry.record("taro", Death())
    town.registry.record("leap-day", LossReport())
    phone = {}
    now = town.world.clock.now()
    for kind in CertificateType:
        request = CertificateRequest(
            town.resident("sex-unstated"), certification_request(keys.take()), now, now + timedelta(days=400),
            Medium.PHONE, "phone 1", identifier="phone 1",
        )  # fmt: skip
        phone[kind] = x509.load_der_x509_certificate(town.authorities[kind].issue(request)).serial_number
        town.revocations[kind].revoke(phone[kind], Reason.CERTIFICATE_HOLD)
    later(town, days=1)
    statuses = {
        (who, kind): standing(town, who, kind) for who in ("hanako", "taro", "leap-day") for kind in CertificateType
    }
    assert {key: (status.state, status.reason) for key, status in statuses.items()} == {
        ("hanako", SIGNATURE): (CertificateState.REVOKED, Reason.AFFILIATION_CHANGED),
        ("hanako", AUTHENTICATION): (CertificateState.GOOD, None),
        ("taro", SIGNATURE): (CertificateState.REVOKED, Reason.CESSATION_OF_OPERATION),
        ("taro", AUTHENTICATION): (CertificateState.REVOKED, Reason.CESSATION_OF_OPERATION),
        ("leap-day", SIGNATURE): (CertificateState.HELD, Reason.CERTIFICATE_HOLD),
        ("leap-day", AUTHENTICATION): (CertificateState.HELD, Reason.CERTIFICATE_HOLD),
    }
    for kind in CertificateType:
        on_hold = certificates(town, "leap-day", kind)[-1]
        assert is_listed(town, on_hold, kind)
        with pytest.raises(TransitionRejected):
            town.revocations[kind].release(on_hold.serial)
        assert is_listed(town, town.authorities[kind].find(phone[kind]), kind)
    with pytest.raises(TransitionRejected):
        town.revocations[SIGNATURE].release(phone[SIGNATURE])
    assert town.revocations[AUTHENTICATION].release(phone[AUTHENTICATION]).state is CertificateState.GOOD
    assert is_listed(town, town.authorities[AUTHENTICATION].find(phone[AUTHENTICATION]), AUTHENTICATION), (
        "until tomorrow"
    )
    later(town, days=1)
    assert not is_listed(town, town.authorities[AUTHENTICATION].find(phone[AUTHENTICATION]), AUTHENTICATION)
    assert is_listed(town, town.authorities[SIGNATURE].find(phone[SIGNATURE]), SIGNATURE)
    for kind in CertificateType:
        assert is_listed(town, certificates(town, "leap-day", kind)[-1], kind), "a card's hold is not lifted"


def test_revocation_shows_in_ocsp_then_in_the_next_days_list(town: Institutions) -> None:
    town.issue_card("hanako", "hanako")
    town.settle()
    (issued,) = certificates(town, "hanako", SIGNATURE)
    good, revoked = ocsp.OCSPCertStatus.GOOD, ocsp.OCSPCertStatus.REVOKED
    later(town, minutes=1)
    town.registry.record("hanako", MoveWithin("架空町１丁目"))
    town.settle()
    recorded = town.world.clock.now()
    assert ocsp_response(town, issued, SIGNATURE).certificate_status is good, "the data of the last 15-minute mark"
    to_next_mark(town)
    response = ocsp_response(town, issued, SIGNATURE)
    assert response.certificate_status is revoked
    assert response.revocation_reason is x509.ReasonFlags.affiliation_changed
    assert response.revocation_time_utc == recorded
    assert response.this_update_utc == town.world.clock.now()
    assert response.next_update_utc == town.world.clock.now() + GRID
    assert not is_listed(town, issued, SIGNATURE), "OCSP says revoked while the list says good"
    later(town, hours=12)
    assert not is_listed(town, issued, SIGNATURE), "still the same day in Japan"
    later(town, hours=12)
    assert is_listed(town, issued, SIGNATURE)
    (other,) = certificates(town, "hanako", AUTHENTICATION)
    assert ocsp_response(town, other, AUTHENTICATION).certificate_status is good
    assert not is_listed(town, other, AUTHENTICATION)


def test_verifiers_reject_another_municipalitys_list(sample_town: Institutions, tmp_path: Path) -> None:
    for kind in CertificateType:
        (issued,) = certificates(sample_town, "hanako", kind)
        publication: Publication = sample_town.publications[kind]
        root = sample_town.authorities[kind].root()
        own, other = (publication.path("03", code).read_bytes() for code in ("13113", "27127"))
        command = [
            "openssl", "verify", "-crl_check", "-attime", str(epoch(sample_town.world.clock.now())),
            "-CAfile", file(tmp_path / "root.pem", "CERTIFICATE", root),
        ]  # fmt: skip
        leaf = file(tmp_path / "leaf.pem", "CERTIFICATE", issued.certificate)
        fitting = file(tmp_path / "own.pem", "X509 CRL", own)
        foreign = file(tmp_path / "other.pem", "X509 CRL", other)
        assert run(*command, "-CRLfile", fitting, leaf).strip().endswith("OK")
        assert "scope" in run(*command, "-CRLfile", foreign, leaf, expect=2).lower()

        def validate(crl: bytes, issued: Issued = issued, root: bytes = root) -> None:
            context = ValidationContext(
                trust_roots=[asn1_x509.Certificate.load(root)], moment=sample_town.world.clock.now(), crls=[crl],
                revocation_mode="hard-fail", allow_fetching=False,
            )  # fmt: skip
            certificate = asn1_x509.Certificate.load(issued.certificate)
            asyncio.run(CertificateValidator(certificate, validation_context=context).async_validate_path())

        validate(own)
        with pytest.raises((InsufficientRevinfoError, PathValidationError)):
            validate(other)


def test_only_registered_callers_get_responses_which_are_logged(town: Institutions) -> None:
    town.issue_card("hanako", "hanako")
    callers = Callers(town.world)
    (issued,) = certificates(town, "hanako", SIGNATURE)
    request = query(town, issued, SIGNATURE)

    async def post(key: str) -> bytes:
        endpoint = OcspEndpoint(town.world, town.authorities, callers)
        sent: list[MutableMapping[str, Any]] = []

        async def receive() -> MutableMapping[str, Any]:
            return {"type": "http.request", "body": request}

        async def send(message: MutableMapping[str, Any]) -> None:
            sent.append(message)

        header = (b"authorization", f"Bearer {key}".encode())
        scope = {"type": "http", "method": "POST", "path": "/ocsp/signature", "headers": [header]}
        await endpoint(scope, receive, send)
        return bytes(sent[-1]["body"])

    assert len(read_request(request).certificates) == 1
    refused = ocsp.load_der_ocsp_response(asyncio.run(post("no key")))
    assert refused.response_status is ocsp.OCSPResponseStatus.UNAUTHORIZED
    assert list(callers.queries()) == []
    answers = {}
    for name in ("library", "bank"):
        key = callers.register(name)
        answers[name] = ocsp.load_der_ocsp_response(asyncio.run(post(key)))
        assert answers[name].certificate_status is ocsp.OCSPCertStatus.GOOD
        assert callers.strike_off(name)
        again = ocsp.load_der_ocsp_response(asyncio.run(post(key)))
        assert again.response_status is ocsp.OCSPResponseStatus.UNAUTHORIZED
    lines = [(entry.caller, entry.service, entry.kind, entry.serial, entry.said) for entry, _ in callers.queries()]
    assert lines == [(name, OCSP, SIGNATURE, issued.serial, "good") for name in ("library", "bank")]


def test_latest_attributes_need_consent_and_a_good_certificate(town: Institutions) -> None:
    town.issue_card("hanako", "hanako")
    services = VerifierServices(town.world, town.authorities, town.juki_net.j_lis)

    def signed(purpose: str, caller: str = "bank") -> SignedStatement:
        content = read_image(image_path(town.world, "hanako"))[0][jpki.AID]
        key = load_der_private_key(content.keys[jpki.SIGNATURE_KEY], None)
        assert isinstance(key, rsa.RSAPrivateKey)
        statement = json.dumps({"purpose": purpose, "caller": caller, "service": "accounts"}).encode()
        certificate = certificates(town, "hanako", SIGNATURE)[-1].certificate
        return SignedStatement(statement, key.sign(statement, padding.PKCS1v15(), hashes.SHA256()), certificate)

    with pytest.raises(NoConsent):
        services.latest_attributes("bank", 1)
    with pytest.raises(StatementRejected):
        services.consent("shop", signed(CONSENT_PURPOSE))
    with pytest.raises(StatementRejected):
        services.consent("bank", replace(signed(CONSENT_PURPOSE), statement=b"{}"))
    number = services.consent("bank", signed(CONSENT_PURPOSE))
    attributes = services.latest_attributes("bank", number)
    assert attributes["address"] == "東京都渋谷区架空町９丁目９９番９９号"
    with pytest.raises(NoConsent):
        services.latest_attributes("shop", number)
    town.registry.record("hanako", MoveWithin("架空町１丁目"))
    town.settle()
    with pytest.raises(NoGoodCertificate):
        services.latest_attributes("bank", number)
    with pytest.raises(NoGoodCertificate):
        services.consent("bank", signed(CONSENT_PURPOSE))
    assert town.cards.renew("hanako") == [SIGNATURE]
    attributes = services.latest_attributes("bank", number)
    assert attributes == {
        "name": "番号　花子", "furigana": "バンゴウ　ハナコ", "address": "東京都渋谷区架空町１丁目",
        "birth": "19880417", "sex": "2", "emigrated": False,
    }  # fmt: skip
    text = json.dumps(attributes)
    for kind in CertificateType:
        for issued in certificates(town, "hanako", kind):
            assert f"{issued.serial:x}" not in text.lower()
            assert str(issued.serial) not in text
    services.withdraw("bank", number, signed(WITHDRAWAL_PURPOSE))
    with pytest.raises(ConsentOver):
        services.latest_attributes("bank", number)
    logged = [entry for entry, _ in services.callers.queries() if entry.service == ATTRIBUTES]
    assert [(entry.caller, entry.serial) for entry in logged] == [("bank", None)] * 2


def test_consent_expires_after_ten_years(town: Institutions) -> None:
    town.issue_card("hanako", "hanako")
    services = VerifierServices(town.world, town.authorities, town.juki_net.j_lis)
    content = read_image(image_path(town.world, "hanako"))[0][jpki.AID]
    key = load_der_private_key(content.keys[jpki.SIGNATURE_KEY], None)
    assert isinstance(key, rsa.RSAPrivateKey)
    statement = json.dumps({"purpose": CONSENT_PURPOSE, "caller": "bank"}).encode()
    issued = certificates(town, "hanako", SIGNATURE)[-1]
    signature = key.sign(statement, padding.PKCS1v15(), hashes.SHA256())
    number = services.consent("bank", SignedStatement(statement, signature, issued.certificate))
    table = services.callers.consent
    with services.callers.store.reading() as connection:
        ends = from_epoch(connection.execute(table.select()).one().ends)
    assert ends == end_of_day(date(2036, 11, 24)), "ten years from the next day"
    services.latest_attributes("bank", number)
    with services.callers.store.transaction() as connection:
        connection.execute(table.update().values(ends=epoch(town.world.clock.now()) - 1))
    with pytest.raises(ConsentOver):
        services.latest_attributes("bank", number)


def test_openssl_and_pkilint_accept_all_sample_certificates(sample_town: Institutions, tmp_path: Path) -> None:
    paths = []
    for kind in CertificateType:
        roots = [generation.certificate for generation in sample_town.authorities[kind].generations()]
        authorities = file(tmp_path / f"{kind.code}-roots.pem", "CERTIFICATE", *roots)
        for alias in SAMPLE_RESIDENTS:
            for issued in certificates(sample_town, alias, kind):
                paths.append(tmp_path / f"{alias}-{kind.code}.der")
                paths[-1].write_bytes(issued.certificate)
                leaf = file(tmp_path / "leaf.pem", "CERTIFICATE", issued.certificate)
                text = run("openssl", "x509", "-noout", "-text", "-in", leaf)
                assert f"CN={issued_name(issued)}" in text.replace("CN = ", "CN=")
                then = str(epoch(issued.not_before))
                run("openssl", "verify", "-x509_strict", "-attime", then, "-CAfile", authorities, leaf)
    assert len(paths) == 2 * len(SAMPLE_RESIDENTS) - 1
    output, decoder, count = run(sys.executable, "-c", LINT_MANY, *map(str, paths)).strip(), json.JSONDecoder(), 0
    while output:
        document, end = decoder.raw_decode(output)
        output, count = output[end:].strip(), count + 1
        findings = [finding for result in document["results"] for finding in result["finding_descriptions"]]
        assert {finding["code"] for finding in findings if finding["severity"] != "INFO"} == {
            "pkix.certificate_policies_policy_has_qualifier"
        }
    assert count == len(paths)


LINT_MANY = """
import sys
from pkilint.bin.lint_pkix_cert import main
for path in sys.argv[1:]:
    main(["lint", "--format", "JSON", path])
"""
"""Lints many files in one process; `kazashi.pki.lint` starts a process for each file."""


def issued_name(issued: Issued) -> str:
    return str(loaded(issued).subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)[0].value)


def test_truncated_certificate_is_rejected_by_every_reader(sample_town: Institutions, tmp_path: Path) -> None:
    (issued,) = certificates(sample_town, "hanako", SIGNATURE)
    path = tmp_path / "short.der"
    path.write_bytes(issued.certificate[:-1])
    run("openssl", "x509", "-inform", "DER", "-noout", "-in", str(path), expect=1)
    with pytest.raises(NotLintable, match=r"cannot read .*short\.der as a certificate"):
        lint("certificate", path)
    with pytest.raises(MalformedDer):
        read_request(issued.certificate)
