"""The authorities' HTTP server, tested with real clients."""

from __future__ import annotations

import http.client
import json
from base64 import b64encode
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from urllib.parse import quote

import pytest
from asn1crypto import ocsp as asn1_ocsp
from asn1crypto import pem
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, load_der_private_key
from cryptography.x509 import ocsp

from kazashi.applets import jpki
from kazashi.assembly.errors import ServicesUnavailable
from kazashi.assembly.institutions import Institutions
from kazashi.assembly.served import free_port
from kazashi.card.image import read_image
from kazashi.card_management.order import image_path
from kazashi.jpki.profile import CertificateType
from kazashi.jpki.serial_number import serial_text
from kazashi.jpki.state import Reason
from kazashi.pki.callers import ATTRIBUTES, LINKAGE, OCSP, REVOCATION_FILE, STATUS, Callers, Query, fee
from kazashi.pki.certificate_database import FULL_LIST, Issued
from kazashi.pki.http import MAX_STATEMENT
from kazashi.pki.ocsp import MAX_REQUEST
from kazashi.pki.publication import list_path
from kazashi.pki.responder import GRID
from kazashi.pki.services import CONSENT_PURPOSE, WITHDRAWAL_PURPOSE
from kazashi.resident_registry.event import MoveWithin
from kazashi.tools.daemon.services import Services
from kazashi.world.clock import epoch
from kazashi.world.key_source import SharedKeySource, generate
from tests.support import run
from tests.town import AUTHENTICATION, SIGNATURE, certificates, later, loaded, new_institutions

RESPONSE = "application/ocsp-response"


@dataclass
class Answer:
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def json(self) -> dict[str, object]:
        document = json.loads(self.body)
        assert isinstance(document, dict)
        return document

    @property
    def ocsp(self) -> ocsp.OCSPResponse:
        assert (self.status, self.headers["content-type"]) == (200, RESPONSE)
        return ocsp.load_der_ocsp_response(self.body)


@dataclass
class Served:
    """A town whose authorities are served over HTTP, and the key of a registered caller."""

    town: Institutions
    port: int
    key: str

    @property
    def callers(self) -> Callers:
        return Callers(self.town.world)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def ask(self, path: str, *, method: str = "GET", body: bytes | Iterable[bytes] | None = None,
            key: str | None = None) -> Answer:  # fmt: skip
        """Send a request. `key` defaults to the registered caller's; an empty string sends none."""
        key = self.key if key is None else key
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            headers = {"Authorization": f"Bearer {key}"} if key else {}
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read())
        finally:
            connection.close()

    def queries(self, caller: str = "library") -> list[Query]:
        return [query for query, _ in self.callers.queries(caller)]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    town = new_institutions(tmp_path_factory.mktemp("served") / "w", SharedKeySource([generate() for _ in range(11)]))
    for alias in ("hanako", "taro", "leap-day"):
        town.issue_card(alias, alias)
    town.revocations[SIGNATURE].revoke(certificates(town, "taro", SIGNATURE)[-1].serial, Reason.SUPERSEDED)
    later(town, minutes=15)
    services = Services(town.world, port=free_port())
    yield Served(town, services.port, Callers(town.world).register("library"))
    services.stop()
    town.world.close()


@pytest.fixture
def caller(served: Served, request: pytest.FixtureRequest) -> Iterator[tuple[str, str]]:
    """A caller for one test: its name and key."""
    name = request.node.name
    yield name, served.callers.register(name)
    served.callers.strike_off(name)


def request(served: Served, issued: Issued, kind: CertificateType, nonce: bytes | None = None) -> bytes:
    issuer = x509.load_der_x509_certificate(served.town.authorities[kind].root())
    builder = ocsp.OCSPRequestBuilder().add_certificate(loaded(issued), issuer, hashes.SHA1())
    if nonce is not None:
        builder = builder.add_extension(x509.OCSPNonce(nonce), critical=False)
    return builder.build().public_bytes(Encoding.DER)


def of(served: Served, who: str, kind: CertificateType) -> Issued:
    return certificates(served.town, who, kind)[-1]


# OCSP


@pytest.mark.parametrize("kind", CertificateType)
def test_ocsp_by_post(served: Served, caller: tuple[str, str], kind: CertificateType) -> None:
    name, key = caller
    issued = of(served, "taro", kind)
    answer = served.ask(f"/ocsp/{kind.code}", method="POST", body=request(served, issued, kind), key=key)
    wanted = ocsp.OCSPCertStatus.REVOKED if kind is SIGNATURE else ocsp.OCSPCertStatus.GOOD
    assert (answer.ocsp.certificate_status, answer.ocsp.serial_number) == (wanted, issued.serial)
    assert "cache-control" not in answer.headers
    (line,) = served.queries(name)
    status = "superseded" if kind is SIGNATURE else "good"
    assert (line.service, line.kind, line.serial, line.said) == (OCSP, kind, issued.serial, status)
    assert line.at == served.town.world.clock.now()


def test_ocsp_by_get_has_cache_headers(served: Served) -> None:
    data = request(served, of(served, "hanako", SIGNATURE), SIGNATURE)
    plain = b64encode(data).decode("ascii")
    answers = [
        served.ask(f"/ocsp/signature/{path}")
        for path in (plain, quote(plain, safe=""), quote(quote(plain, safe=""), safe=""))
    ]
    now = served.town.world.clock.now()
    for answer in answers:
        assert answer.ocsp.certificate_status is ocsp.OCSPCertStatus.GOOD
        assert answer.body == answers[0].body, "signed once in 15 minutes"
        assert (answer.ocsp.this_update_utc, answer.ocsp.next_update_utc) == (now, now + GRID)
        control = answer.headers["cache-control"]
        assert control == "private, max-age=900, no-cache, no-transform, must-revalidate", (
            "the world's clock is stopped"
        )
        assert int(answer.headers["content-length"]) == len(answer.body)


def test_key_can_be_in_the_path(served: Served, caller: tuple[str, str]) -> None:
    name, key = caller
    data = request(served, of(served, "hanako", SIGNATURE), SIGNATURE)
    posted = served.ask(f"/ocsp/signature/as/{key}", method="POST", body=data, key="")
    got = served.ask(f"/ocsp/signature/as/{key}/{quote(b64encode(data), safe='')}", key="")
    assert posted.ocsp.certificate_status is got.ocsp.certificate_status is ocsp.OCSPCertStatus.GOOD
    assert [line.said for line in served.queries(name)] == ["good", "good"]
    other = served.ask("/ocsp/signature/as/nobody", method="POST", body=data)
    assert other.ocsp.response_status is ocsp.OCSPResponseStatus.UNAUTHORIZED, "the path precedes the header"


@pytest.mark.parametrize("key", ["", "wrong", "\xff"])
def test_unregistered_callers_are_unauthorized_and_not_logged(served: Served, key: str) -> None:
    before = len(list(served.callers.queries()))
    data = request(served, of(served, "hanako", SIGNATURE), SIGNATURE)
    for answer in (
        served.ask("/ocsp/signature", method="POST", body=data, key=key),
        served.ask(f"/ocsp/signature/{b64encode(data).decode('ascii')}", key=key),
    ):
        assert answer.ocsp.response_status is ocsp.OCSPResponseStatus.UNAUTHORIZED
        assert "expires" not in answer.headers
    assert len(list(served.callers.queries())) == before


@pytest.mark.parametrize("body", [b"", b"0", bytes(MAX_REQUEST), bytes(MAX_REQUEST + 1), b"0" * 3_000_000])
def test_invalid_body_is_a_malformed_request(served: Served, body: bytes) -> None:
    before = len(served.queries())
    answer = served.ask("/ocsp/signature", method="POST", body=body)
    assert answer.ocsp.response_status is ocsp.OCSPResponseStatus.MALFORMED_REQUEST
    assert len(served.queries()) == before


@pytest.mark.parametrize("path", ["", "/", "/%3D%3D", "/not-base64", "/" + "A" * 4 * MAX_REQUEST])
def test_invalid_path_is_a_malformed_request(served: Served, path: str) -> None:
    assert served.ask(f"/ocsp/signature{path}").ocsp.response_status is ocsp.OCSPResponseStatus.MALFORMED_REQUEST


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH"])
def test_other_methods_are_not_allowed(served: Served, method: str) -> None:
    answer = served.ask("/ocsp/signature", method=method)
    assert (answer.status, answer.headers["allow"]) == (405, "GET, POST")
    assert served.ask("/services/consents", method=method).status == 405


def test_unknown_authority_is_not_found(served: Served) -> None:
    assert served.ask("/ocsp/third", method="POST", body=b"").status == 404
    assert served.ask("/nowhere").status == 404


def test_each_certificate_of_a_request_is_logged(served: Served, caller: tuple[str, str]) -> None:
    name, key = caller
    parts = [
        asn1_ocsp.OCSPRequest.load(request(served, of(served, who, SIGNATURE), SIGNATURE))["tbs_request"]
        for who in ("hanako", "taro")
    ]
    both = asn1_ocsp.OCSPRequest({"tbs_request": {"request_list": [part["request_list"][0] for part in parts]}}).dump()
    served.ask("/ocsp/signature", method="POST", body=both, key=key)
    assert [(line.serial, line.said) for line in served.queries(name)] == [
        (of(served, "hanako", SIGNATURE).serial, "good"), (of(served, "taro", SIGNATURE).serial, "superseded"),
    ]  # fmt: skip


def openssl(served: Served, place: Path, who: str, *more: str, url: str = "") -> str:
    """The output of `openssl ocsp` after a request to the server."""
    issued = of(served, who, SIGNATURE)
    (place / "leaf.pem").write_bytes(pem.armor("CERTIFICATE", issued.certificate))
    (place / "root.pem").write_bytes(pem.armor("CERTIFICATE", served.town.authorities[SIGNATURE].root()))
    now = str(epoch(served.town.world.clock.now()))
    output = run(
        "openssl", "ocsp", "-issuer", f"{place}/root.pem", "-cert", f"{place}/leaf.pem", "-CAfile",
        f"{place}/root.pem", "-url", url or f"{served.url}/ocsp/signature", "-attime", now,
        "-validity_period", "9999999", *more,
    )  # fmt: skip
    return " ".join(output.split())


def test_openssl_sends_the_key_in_a_header_or_in_the_path(served: Served, tmp_path: Path) -> None:
    header = ("-header", f"Authorization=Bearer {served.key}")
    assert "leaf.pem: good" in openssl(served, tmp_path, "hanako", *header)
    assert "Reason: superseded" in openssl(served, tmp_path, "taro", *header)
    with_key = f"{served.url}/ocsp/signature/as/{served.key}"
    for output in (openssl(served, tmp_path, "taro", url=with_key), openssl(served, tmp_path, "taro", *header)):
        assert "Response verify OK" in output
        assert "WARNING: no nonce" not in output
        assert "leaf.pem: revoked" in output


def test_openssl_without_a_key_is_unauthorized(served: Served, tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="unauthorized"):
        openssl(served, tmp_path, "hanako")


def test_repeated_request_gets_the_same_response(served: Served, tmp_path: Path) -> None:
    header = ("-header", f"Authorization=Bearer {served.key}")
    openssl(served, tmp_path, "taro", *header, "-reqout", f"{tmp_path}/request.der")
    before = len(served.queries())
    answers = []
    for number in range(2):
        out = tmp_path / f"answer-{number}.der"
        run("openssl", "ocsp", "-reqin", f"{tmp_path}/request.der", "-url", f"{served.url}/ocsp/signature", *header,
            "-respout", str(out), "-noverify")  # fmt: skip
        answers.append(ocsp.load_der_ocsp_response(out.read_bytes()))
    nonce = ocsp.load_der_ocsp_request((tmp_path / "request.der").read_bytes()).extensions[0].value
    for answer in answers:
        assert answer.extensions[0].value == nonce
        assert answer.tbs_response_bytes == answers[0].tbs_response_bytes
    assert len(served.queries()) == before + 2


# Files


def test_published_files_are_served_unchanged(served: Served) -> None:
    tree = served.town.world.publication
    paths = [path.relative_to(tree) for path in tree.rglob("*.c??")]
    assert len(paths) == 2 * 5
    for path in paths:
        answer = served.ask(f"/{path}", key="")
        assert (answer.status, answer.body) == (200, (tree / path).read_bytes())
        kind = "cert" if path.suffix == ".cer" else "crl"
        assert answer.headers["content-type"] == f"application/pkix-{kind}"
    place = list_path(SIGNATURE, "03", of(served, "hanako", SIGNATURE).partition)
    assert served.ask(f"/{place}", key="").status == 200


@pytest.mark.parametrize(
    "path",
    [
        "/crl/", "/ca/", "/crl/signature/03", "/crl/signature/03/nowhere.crl", "/ca/signature/09.cer",
        "/crl/../../world.json", "/crl/%2e%2e/%2e%2e/world.json", "/ca/..%2f..%2fstores%2fauthority_signature.sqlite",
        "/crl//etc/passwd", "/crl/%2Fetc%2Fpasswd", "/ca/../../outside.cer", "/crl/../../outside.crl",
        "/crl/%2e%2e%2f%2e%2e%2foutside.crl", "/crl/a%00.crl", "/crl/" + "a" * 3000 + ".crl",
    ],
)  # fmt: skip
def test_other_paths_are_not_found(served: Served, path: str) -> None:
    for suffix in ("crl", "cer"):
        (served.town.world.directory / f"outside.{suffix}").write_text("secret", encoding="ascii")
    answer = served.ask(path, key="")
    assert answer.status == 404
    assert b"secret" not in answer.body


def test_symlink_out_of_the_tree_is_not_followed(served: Served) -> None:
    outside = served.town.world.directory / "linked.crl"
    outside.write_text("secret", encoding="ascii")
    link = served.town.world.publication / "crl" / "signature" / "link.crl"
    link.symlink_to(outside)
    answer = served.ask("/crl/signature/link.crl", key="")
    link.unlink()
    assert answer.status == 404


# Services


def test_status_linkage_and_revocation_file_are_billed(served: Served, caller: tuple[str, str]) -> None:
    name, key = caller
    revoked, other = of(served, "taro", SIGNATURE), of(served, "taro", AUTHENTICATION)
    status = served.ask(f"/services/status/signature/{revoked.serial:X}", key=key).json
    assert (status["state"], status["reason"], status["serial"]) == ("revoked", "superseded", f"{revoked.serial:X}")
    good = served.ask(f"/services/status/authentication/{other.serial:x}", key=key).json
    assert (good["state"], good["reason"], good["since"]) == ("good", None, None)
    for kind, issued, wanted in ((SIGNATURE, revoked, other), (AUTHENTICATION, other, revoked)):
        path = f"/services/linkage/{kind.code}/{issued.serial:X}?follow=medium&type={kind.other.code}"
        assert served.ask(path, key=key).json == {
            "follow": "medium",
            "certificates": [{"kind": kind.other.code, "serial": f"{wanted.serial:X}", "medium": "card"}],
        }
    listed = served.ask("/services/revocation-file/signature/03", key=key)
    assert listed.body == served.town.publications[SIGNATURE].path("03", FULL_LIST).read_bytes()
    assert served.ask("/services/revocation-file/signature/09", key=key).status == 404
    lines = [(line.service, line.kind, line.serial) for line in served.queries(name)]
    assert lines == [
        (STATUS, SIGNATURE, revoked.serial), (STATUS, AUTHENTICATION, other.serial),
        (LINKAGE, SIGNATURE, revoked.serial), (LINKAGE, AUTHENTICATION, other.serial),
        (REVOCATION_FILE, SIGNATURE, None),
    ]  # fmt: skip
    assert served.callers.bill(name) == 20 + 2 + 0 + 0 + 0


def test_serial_chain_is_returned_from_either_end(served: Served, caller: tuple[str, str]) -> None:
    name, key = caller
    served.town.registry.record("leap-day", MoveWithin("架空１丁目"))
    served.town.settle()
    assert served.town.cards.renew("leap-day") == [SIGNATURE]
    chain = [f"{issued.serial:X}" for issued in certificates(served.town, "leap-day", SIGNATURE)]
    assert len(chain) == 2
    only = f"{of(served, 'leap-day', AUTHENTICATION).serial:X}"
    everything = [{"kind": "signature", "serial": serial, "medium": "card"} for serial in chain]
    everything += [{"kind": "authentication", "serial": only, "medium": "card"}]
    for follow in ("medium", "person"):
        for place in (f"signature/{chain[0]}", f"signature/{chain[1]}", f"authentication/{only}"):
            reply = served.ask(f"/services/linkage/{place}?follow={follow}", key=key).json
            assert reply == {"follow": follow, "certificates": everything}
    alone = served.ask(f"/services/linkage/signature/{chain[0]}?follow=certificate", key=key).json
    assert alone["certificates"] == everything[:1]
    assert [line.service for line in served.queries(name)] == [LINKAGE] * 7
    assert [line.said.split()[0] for line in served.queries(name)] == ["medium"] * 3 + ["person"] * 3 + ["certificate"]
    for wrong in ("follow=all", "follow=", "type=third"):
        assert served.ask(f"/services/linkage/signature/{chain[0]}?{wrong}", key=key).status == 400
    assert len(served.queries(name)) == 7


def signed(served: Served, who: str, statement: object, *, with_key_of: str = "") -> bytes:
    """A statement that is signed with the key on a holder's card, as a request body for the services."""
    content = read_image(image_path(served.town.world, with_key_of or who))[0][jpki.AID]
    key = load_der_private_key(content.keys[jpki.SIGNATURE_KEY], None)
    assert isinstance(key, rsa.RSAPrivateKey)
    text = json.dumps(statement)
    signature = key.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256())
    document = {
        "statement": text, "signature": b64encode(signature).decode(),
        "certificate": b64encode(of(served, who, SIGNATURE).certificate).decode(),
    }  # fmt: skip
    return json.dumps(document).encode()


def test_latest_attributes_from_consent_to_withdrawal(served: Served, caller: tuple[str, str]) -> None:
    name, key = caller
    agreed = signed(served, "hanako", {"purpose": CONSENT_PURPOSE, "caller": name, "service": "loans"})
    given = served.ask("/services/consents", method="POST", body=agreed, key=key)
    assert given.status == 201
    number = given.json["consent"]
    place = f"/services/consents/{number}"
    attributes = served.ask(f"{place}/latest-attributes", key=key)
    assert attributes.json == {
        "name": "番号　花子", "furigana": "バンゴウ　ハナコ", "address": "東京都渋谷区架空町９丁目９９番９９号",
        "birth": "19880417", "sex": "2", "emigrated": False,
    }  # fmt: skip
    assert served.ask(f"{place}/latest-attributes").status == 403, "another caller"
    withdrawn = signed(served, "hanako", {"purpose": WITHDRAWAL_PURPOSE, "caller": name})
    assert served.ask(f"{place}/withdrawal", method="POST", body=withdrawn).status == 403
    assert served.ask(f"{place}/withdrawal", method="POST", body=agreed, key=key).status == 403
    by_another = signed(served, "leap-day", {"purpose": WITHDRAWAL_PURPOSE, "caller": name})
    assert served.ask(f"{place}/withdrawal", method="POST", body=by_another, key=key).status == 403
    assert served.ask(f"{place}/latest-attributes", key=key).status == 200
    ended = served.ask(f"{place}/withdrawal", method="POST", body=withdrawn, key=key)
    assert (ended.status, ended.body) == (204, b"")
    refused = served.ask(f"{place}/latest-attributes", key=key)
    assert (refused.status, refused.json["error"]) == (403, "consent-refused")
    assert [(line.service, line.serial) for line in served.queries(name)] == [(ATTRIBUTES, None)] * 2
    assert served.callers.bill(name) == 40


def test_invalid_consents_are_rejected(served: Served) -> None:
    statement = {"purpose": CONSENT_PURPOSE, "caller": "library"}
    wrong = {
        "another's key": signed(served, "hanako", statement, with_key_of="leap-day"),
        "to another caller": signed(served, "hanako", {**statement, "caller": "bank"}),
        "for another purpose": signed(served, "hanako", {**statement, "purpose": WITHDRAWAL_PURPOSE}),
        "not an object": signed(served, "hanako", [CONSENT_PURPOSE]),
        "with a revoked certificate": signed(served, "taro", statement),
    }
    document = json.loads(signed(served, "hanako", statement))
    of_authentication = b64encode(of(served, "hanako", AUTHENTICATION).certificate).decode()
    wrong["an authentication certificate"] = json.dumps({**document, "certificate": of_authentication}).encode()
    wrong["not a certificate"] = json.dumps({**document, "certificate": "AAAA"}).encode()
    wrong["a root"] = json.dumps(
        {**document, "certificate": b64encode(served.town.authorities[SIGNATURE].root()).decode()}
    ).encode()
    statuses = {what: served.ask("/services/consents", method="POST", body=body).status for what, body in wrong.items()}
    assert statuses == dict.fromkeys(wrong, 403)


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"[]", b"null", b"{}", b'{"statement": "x"}', b"\xff\xfe\xfd", b'"' + b"a" * 9000,
        b'{"statement": "x", "signature": "!", "certificate": ""}',
        b'{"statement": "x", "signature": 5, "certificate": 6}',
        b'{"statement": "\\ud800", "signature": "", "certificate": ""}',
        b'{"statement": null, "signature": null, "certificate": null}', b"[" * 50_000,
    ],
    ids=range(13),
)  # fmt: skip
def test_invalid_json_is_a_bad_request(served: Served, body: bytes) -> None:
    answer = served.ask("/services/consents", method="POST", body=body)
    assert (answer.status, answer.json["error"]) == (400, "usage")
    assert served.ask("/services/consents/1/withdrawal", method="POST", body=body).status == 400


@pytest.mark.parametrize("path", ["/services/consents", "/services/consents/1/withdrawal"])
def test_too_large_body_is_rejected(served: Served, path: str) -> None:
    body = b"{" + b" " * MAX_STATEMENT
    for sent in (body, iter([body[:-1], body[-1:]])):
        answer = served.ask(path, method="POST", body=sent)
        assert (answer.status, answer.json["error"]) == (413, "too-large")
    assert served.ask(path, method="POST", body=body[:-1]).status == 400
    assert served.ask(path, method="POST", body=body, key="nobody's").status == 401


def test_deeply_nested_statement_is_rejected(served: Served) -> None:
    document = json.loads(signed(served, "hanako", {}))
    document["statement"] = "[" * 50_000
    assert served.ask("/services/consents", method="POST", body=json.dumps(document).encode()).status == 403


@pytest.mark.parametrize("service", ["status", "linkage"])
def test_unknown_and_invalid_serial_numbers_are_rejected(served: Served, service: str) -> None:
    before = len(served.queries())
    statuses = {
        path: served.ask(f"/services/{service}/{path}").status
        for path in (
            "signature/7FFFFFFF", "signature/FFFFFFFFFFFFFFFF", "signature/0", "signature/XYZ", "signature/-1",
            "signature/" + "1" * 17, "signature/" + "1" * 21, "signature/%EF%BC%91", "third/1",
        )
    }  # fmt: skip
    assert list(statuses.values()) == [404, 404, 400, 400, 400, 404, 400, 400, 400]
    assert served.ask(f"/services/{service}/signature/zz").json["message"] == (
        "'zz' is not a serial number; write hexadecimal digits such as 0A3C5E7F, with or without colons or 0x"
    )
    assert len(served.queries()) == before


def test_serial_numbers_are_taken_in_every_form(served: Served, caller: tuple[str, str]) -> None:
    name, key = caller
    issued = of(served, "hanako", SIGNATURE)
    text = serial_text(issued.serial)
    octets = ":".join(text[place : place + 2] for place in range(0, len(text), 2))
    for form in (text, text.lower(), f"0x{text}", f"00{text}", octets):
        status = served.ask(f"/services/status/signature/{form}", key=key).json
        assert status["serial"] == text
        assert "note" not in status
    for service in ("status", "linkage"):
        reply = served.ask(f"/services/{service}/signature/{issued.serial}", key=key).json
        assert reply["note"] == f"{issued.serial} was read as decimal; in hexadecimal it is {text}"
    assert {line.serial for line in served.queries(name)} == {issued.serial}


@pytest.mark.parametrize("number", ["0", "99999", "9223372036854775807", "9223372036854775808", "9" * 40])
def test_unknown_consent_is_rejected(served: Served, number: str) -> None:
    assert served.ask(f"/services/consents/{number}/latest-attributes").status == 403


def test_services_require_a_registered_caller(served: Served) -> None:
    serial = f"{of(served, 'hanako', SIGNATURE).serial:X}"
    agreed = signed(served, "hanako", {"purpose": CONSENT_PURPOSE, "caller": "nobody"})
    for key in ("", "wrong"):
        for path in (f"status/signature/{serial}", "revocation-file/signature/03", "consents/1/latest-attributes"):
            answer = served.ask(f"/services/{path}", key=key)
            assert (answer.status, answer.json["error"]) == (401, "not-registered")
        assert served.ask("/services/consents", method="POST", body=agreed, key=key).status == 401


def test_removed_caller_is_unauthorized(served: Served) -> None:
    key = served.callers.register("closing down")
    serial = f"{of(served, 'hanako', SIGNATURE).serial:X}"
    assert served.ask(f"/services/status/signature/{serial}", key=key).status == 200
    assert served.callers.strike_off("closing down")
    assert served.ask(f"/services/status/signature/{serial}", key=key).status == 401
    data = request(served, of(served, "hanako", SIGNATURE), SIGNATURE)
    answer = served.ask("/ocsp/signature", method="POST", body=data, key=key)
    assert answer.ocsp.response_status is ocsp.OCSPResponseStatus.UNAUTHORIZED


@pytest.mark.parametrize(
    ("day", "prices"),
    [
        (date(2015, 12, 31), (0, 0, 0, 0)),
        (date(2016, 1, 1), (20, 2, 20, 20)),
        (date(2022, 12, 31), (20, 2, 20, 20)),
        (date(2023, 1, 1), (0, 0, 0, 20)),
        (date(2025, 12, 31), (0, 0, 0, 20)),
        (date(2026, 1, 1), (20, 2, 0, 20)),
    ],
)
def test_fees_depend_on_the_day(day: date, prices: tuple[int, ...]) -> None:
    for check in (OCSP, STATUS):
        assert (fee(check, SIGNATURE, day), fee(check, AUTHENTICATION, day)) == prices[:2]
    assert fee(REVOCATION_FILE, SIGNATURE, day) == prices[2]
    assert fee(ATTRIBUTES, SIGNATURE, day) == prices[3]
    assert fee(LINKAGE, SIGNATURE, day) == fee(LINKAGE, AUTHENTICATION, day) == 0


def test_fee_depends_on_the_day_in_japan(served: Served) -> None:
    callers = served.callers
    name = "at the turn of the year"
    callers.register(name)
    eve = served.town.world.clock.now().replace(year=2025, month=12, day=31, hour=14, minute=59, second=59)
    for at in (eve, eve + timedelta(seconds=1)):
        callers.log([Query(at, name, OCSP, SIGNATURE, 5, "good")])
    assert [price for _, price in callers.queries(name)] == [0, 20]
    assert callers.bill(name) == 20
    assert callers.bill("nobody") == 0


def test_server_logged_no_exception(served: Served) -> None:
    """This must run after the other tests in this file: none of their requests caused an exception."""
    log = (served.town.world.run / "services.log").read_text(encoding="utf-8")
    assert "Traceback" not in log


def test_port_in_use_raises_services_unavailable(served: Served) -> None:
    assert free_port() != served.port
    with pytest.raises(ServicesUnavailable, match=f"port {served.port}"):
        Services(served.town.world, port=served.port)
