"""The platform operator over HTTP: a real server, with requests of tenants and of strangers."""

from __future__ import annotations

import socket
from base64 import b64encode
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import count
from threading import Thread
from typing import Any

import httpx
import pytest
import schemathesis
import uvicorn
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from fastapi import FastAPI
from hypothesis import given, settings
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi import checks as conformance

from kazashi.assembly.institutions import Institutions
from kazashi.assembly.served import free_port
from kazashi.card.certification_request import certification_request
from kazashi.jpki.linkage import Follow, LinkedCertificate
from kazashi.jpki.profile import CertificateType, Medium
from kazashi.jpki.state import Reason
from kazashi.pki.certificate import CertificateRequest
from kazashi.relying_party.conformance.authority import AuthorityKey, HolderKey
from kazashi.relying_party.conformance.documents import TEXT, signed_cms
from kazashi.relying_party.platform.platform import Platform
from kazashi.relying_party.platform.platform_http import MAX_BODY, application
from kazashi.relying_party.verify.challenges import StoredChallenges
from kazashi.relying_party.verify.linkage import BOTH, Linkage, LinkageOverHttp, NoLinkage
from kazashi.relying_party.verify.policy import DEFAULT_POLICY
from kazashi.web.signed_text import MAX_LINES, MAX_TEXT
from kazashi.world.key_source import SharedKeySource, generate
from tests.relying_party.test_platform import TownLinkage, verifier
from tests.town import AUTHENTICATION, SIGNATURE, later, new_institutions

ORIGIN, ELSEWHERE = "https://shop.example", "https://other.example"
CHALLENGES, AUTHENTICATIONS = "/v1/challenges", "/v1/authentications"
CERTIFICATES, DOCUMENTS = "/v1/certificates", "/v1/documents"
_NUMBERS = count()


def encoded(data: bytes) -> str:
    return b64encode(data).decode("ascii")


@dataclass
class Tenant:
    """A service that uses the platform."""

    client: httpx.Client
    name: str
    key: str

    def ask(self, method: str, path: str, body: Any = None) -> httpx.Response:
        return self.client.request(method, path, json=body, headers={"Authorization": f"Bearer {self.key}"})

    def post(self, path: str, **body: Any) -> httpx.Response:
        return self.ask("POST", path, body)

    def challenge(self, **fields: Any) -> dict[str, Any]:
        response = self.post(CHALLENGES, origin=ORIGIN, **fields)
        assert response.status_code == 201
        return dict(response.json())

    def login(self, holder: HolderKey, **fields: Any) -> httpx.Response:
        return self.post(AUTHENTICATIONS, **signed(self.challenge(**fields), holder))


def signed(challenge: dict[str, Any], holder: HolderKey) -> dict[str, str]:
    """The body of a phone's response to a challenge."""
    assert isinstance(holder.key, rsa.RSAPrivateKey)
    signature = holder.key.sign(bytes.fromhex(challenge["message"]), padding.PKCS1v15(), hashes.SHA256())
    return {"origin": challenge["origin"], "nonce": challenge["nonce"], "signature": signature.hex(),
            "certificate": holder.der.hex()}  # fmt: skip


def test_a_challenge_belongs_to_its_tenant_and_its_registered_origins(operator: Operator) -> None:
    first, second = operator.tenant(), operator.tenant()
    holder = operator.holders["hanako", AUTHENTICATION]
    response = signed(first.challenge(), holder)
    assert finding(second.post(AUTHENTICATIONS, **response)) == "unknown-challenge"
    user_of(first.post(AUTHENTICATIONS, **response))
    closed = Tenant(operator.client, "closed", operator.platform.add_tenant("closed"))
    refused = closed.post(CHALLENGES, origin=ORIGIN)
    assert refused.status_code == 403
    assert "has not registered" in refused.json()["detail"]
    assert first.post(CHALLENGES, origin="https://shop.example:444").status_code == 403
    assert operator.platform.add_origins("closed", [ORIGIN]) == [ORIGIN]
    assert closed.post(CHALLENGES, origin=ORIGIN).status_code == 201


def user_of(response: httpx.Response) -> str:
    """The user of a response with a good verdict."""
    assert response.status_code == 200
    content = response.json()
    assert (content["verdict"]["outcome"], content["verdict"]["finding"]) == ("good", None)
    return str(content["user"])


def finding(response: httpx.Response) -> str:
    """The finding of a response with a bad verdict, which must have no user."""
    assert response.status_code == 200
    content = response.json()
    assert (content["verdict"]["outcome"], content["user"], content["new"]) == ("bad", None, None)
    return str(content["verdict"]["finding"])


@contextmanager
def serving(app: FastAPI) -> Iterator[httpx.Client]:
    """A client of an application on its own port. Connections before it is ready wait in the backlog."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", ws="none", lifespan="off"))
        thread = Thread(target=server.run, args=([listening],))
        thread.start()
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{listening.getsockname()[1]}", timeout=20) as client:
                yield client
        finally:
            server.should_exit = True
            thread.join()


@dataclass
class Operator:
    """A town, the platform operator in it, and people with phones."""

    town: Institutions
    platform: Platform
    client: httpx.Client
    holders: dict[tuple[str, CertificateType], HolderKey]

    def tenant(self) -> Tenant:
        name = f"tenant {next(_NUMBERS)}"
        return Tenant(self.client, name, self.platform.add_tenant(name, [ORIGIN, ELSEWHERE]))

    def informed_by(self, linkage: Linkage) -> FastAPI:
        """The operator's application with another linkage."""
        world = self.town.world
        return application(Platform(world, linkage), verifier(self.town), StoredChallenges(world))


def issue(town: Institutions, who: str, kind: CertificateType) -> HolderKey:
    """A certificate on somebody's phone, with its private key."""
    pkcs8, now, phone = generate(), town.world.clock.now(), Medium.PHONE
    request = CertificateRequest(
        town.resident(who), certification_request(pkcs8), now, now + timedelta(days=400), phone, who
    )
    certificate = x509.load_der_x509_certificate(town.authorities[kind].issue(request))
    key = serialization.load_der_private_key(pkcs8, None)
    assert isinstance(key, rsa.RSAPrivateKey)
    return HolderKey(key, certificate, AuthorityKey(kind, "", key, certificate))  # the issuer is not used


@pytest.fixture(scope="module")
def operator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operator]:
    town = new_institutions(tmp_path_factory.mktemp("operator") / "w", SharedKeySource([generate() for _ in range(2)]))
    holders = {
        (who, kind): issue(town, who, kind) for who in ("hanako", "taro", "leap-day") for kind in CertificateType
    }
    revoked = issue(town, "long-name", AUTHENTICATION)
    town.revocations[AUTHENTICATION].revoke(revoked.certificate.serial_number, Reason.KEY_COMPROMISE)
    town.settle()
    platform = Platform(town.world, TownLinkage(town))
    with serving(application(platform, verifier(town), StoredChallenges(town.world))) as client:
        yield Operator(town, platform, client, {**holders, ("revoked", AUTHENTICATION): revoked})
    town.world.close()


@pytest.fixture
def shop(operator: Operator) -> Tenant:
    return operator.tenant()


ENDPOINTS = [
    ("POST", CHALLENGES, {"origin": ORIGIN}),
    ("POST", AUTHENTICATIONS, {"origin": ORIGIN, "nonce": "00", "signature": "00", "certificate": "00"}),
    ("POST", CERTIFICATES, {"certificate": "AAAA"}), ("POST", DOCUMENTS, {"document": "AAAA"}),
    ("GET", "/v1/users/nobody", None), ("DELETE", "/v1/users/nobody", None), ("GET", "/v1/exposure", None),
]  # fmt: skip


@pytest.mark.parametrize(("method", "path", "body"), ENDPOINTS)
def test_a_request_without_a_valid_key_is_rejected(
    operator: Operator, shop: Tenant, method: str, path: str, body: Any
) -> None:
    for header in ("", "Bearer", "Bearer wrong", f"Bearer {shop.key[:-1]}", f"Basic {shop.key}", shop.key):
        headers = {"Authorization": header} if header else {}
        for address in (path, f"{path}?name={shop.name}"):
            response = operator.client.request(method, address, json=body, headers=headers)
            assert (response.status_code, response.headers["www-authenticate"]) == (401, "Bearer"), header
            assert response.json() == {"detail": "no tenant is registered with this key"}
    assert shop.ask(method, path, body).status_code in (200, 201, 404)


def test_a_response_can_be_used_for_one_login(operator: Operator, shop: Tenant) -> None:
    holder = operator.holders["hanako", AUTHENTICATION]
    response = signed(shop.challenge(), holder)
    first = shop.post(AUTHENTICATIONS, **response)
    assert (user_of(first), first.json()["new"]) == (shop.ask("GET", "/v1/exposure").json()[0]["identifier"], True)
    assert finding(shop.post(AUTHENTICATIONS, **response)) == "unknown-challenge", "a replay"
    again = shop.login(holder)
    assert (user_of(again), again.json()["new"]) == (user_of(first), False)
    statement = shop.login(operator.holders["hanako", SIGNATURE], kind="signature", text="申込書")
    assert user_of(statement) == user_of(first)
    assert user_of(shop.login(operator.holders["taro", AUTHENTICATION])) != user_of(first)
    assert user_of(operator.tenant().login(holder)) != user_of(first)


def test_a_wrong_response_is_bad_and_uses_up_the_challenge(operator: Operator, shop: Tenant) -> None:
    holder, other = operator.holders["hanako", AUTHENTICATION], operator.holders["taro", AUTHENTICATION]
    changes = {
        "wrong-signature": {"certificate": other.der.hex()}, "wrong-origin": {"origin": "https://shop.example:444"},
        "wrong-kind": {"certificate": operator.holders["hanako", SIGNATURE].der.hex()},
        "malformed": {"certificate": holder.der.hex()[:-2]},
    }  # fmt: skip
    for expected, change in changes.items():
        response = signed(shop.challenge(), holder)
        assert finding(shop.post(AUTHENTICATIONS, **{**response, **change})) == expected
        assert finding(shop.post(AUTHENTICATIONS, **response)) == "unknown-challenge"
    late = signed(shop.challenge(), holder)
    later(operator.town, seconds=DEFAULT_POLICY.challenge_lifetime.total_seconds() + 1)
    assert finding(shop.post(AUTHENTICATIONS, **late)) == "stale-challenge"
    assert finding(shop.login(operator.holders["revoked", AUTHENTICATION])) == "revoked"
    assert shop.ask("GET", "/v1/exposure").json() == []


def test_a_signer_is_the_user_who_logs_in_if_they_are_one_holder(operator: Operator, shop: Tenant) -> None:
    user = user_of(shop.login(operator.holders["hanako", AUTHENTICATION]))
    own, taros = (operator.holders[who, SIGNATURE] for who in ("hanako", "taro"))
    detached, enveloping = encoded(signed_cms(own)), encoded(signed_cms(own, detached=False))
    assert user_of(shop.post(DOCUMENTS, document=detached, content=encoded(TEXT))) == user
    assert user_of(shop.post(DOCUMENTS, document=enveloping)) == user
    other = user_of(shop.post(DOCUMENTS, document=encoded(signed_cms(taros, detached=False))))
    assert other != user
    assert user_of(shop.login(operator.holders["taro", AUTHENTICATION])) == other
    assert finding(shop.post(DOCUMENTS, document=detached, content=encoded(TEXT + b"\n"))) == "tampered"
    assert finding(shop.post(DOCUMENTS, document=enveloping[:400])) == "malformed"


def test_a_certificate_alone_identifies_no_user(operator: Operator, shop: Tenant) -> None:
    own = encoded(operator.holders["hanako", SIGNATURE].der)
    response = shop.post(CERTIFICATES, certificate=own, kind="signature").json()
    assert (response["verdict"]["outcome"], response["user"], response["new"]) == ("good", None, None)
    assert finding(shop.post(CERTIFICATES, certificate=own, kind="authentication")) == "wrong-kind"
    assert finding(shop.post(CERTIFICATES, certificate=own, at="2026-11-24T00:00:00Z")) == "not-yet-valid"
    assert shop.ask("GET", "/v1/exposure").json() == []


@pytest.mark.parametrize("who", ["hanako", "revoked"])
def test_a_login_does_not_reveal_the_serial_number_to_the_tenant(operator: Operator, shop: Tenant, who: str) -> None:
    holder = operator.holders[who, AUTHENTICATION]
    response = shop.login(holder)
    assert "serial" not in response.text
    assert f"{holder.certificate.serial_number:X}" not in response.text.upper()
    assert str(holder.certificate.serial_number) not in response.text


def test_another_tenants_user_is_not_found(operator: Operator, shop: Tenant) -> None:
    other, holder = operator.tenant(), operator.holders["hanako", AUTHENTICATION]
    mine, theirs = user_of(shop.login(holder)), user_of(other.login(holder))
    for user in (theirs, "nobody", "%00", "..", "%FF"):
        for method in ("GET", "DELETE"):
            assert shop.ask(method, f"/v1/users/{user}").status_code == 404
    wanted = {"user": theirs, "renewed": {"signature": False, "authentication": False}}
    assert other.ask("GET", f"/v1/users/{theirs}").json() == wanted
    assert {row["identifier"] for row in shop.ask("GET", "/v1/exposure").json()} == {mine}
    assert [shop.ask("DELETE", f"/v1/users/{mine}").status_code for _ in range(2)] == [204, 404]
    assert shop.ask("GET", "/v1/exposure").json() == []
    again = shop.login(holder).json()
    assert again["new"] is True
    assert again["user"] not in (mine, theirs)
    assert user_of(other.login(holder)) == theirs


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        (CERTIFICATES, {"certificate": "%%%"}, 400), (CERTIFICATES, {"certificate": "AAA"}, 400),
        (CERTIFICATES, {"certificate": "ＡＡＡＡ"}, 400), (DOCUMENTS, {"document": "AA AA"}, 400),
        (DOCUMENTS, {"document": "AAAA", "content": "-"}, 400),
        (CERTIFICATES, {"certificate": "AAAA", "at": "2026-11-24T10:00:00"}, 400),
        (DOCUMENTS, {"document": "AAAA", "at": "2026-11-24"}, 400), (CHALLENGES, {"origin": "https://[::1"}, 403),
        (CHALLENGES, {"origin": "http://shop.example"}, 403), (CHALLENGES, {"origin": f"{ORIGIN}/"}, 403),
        *((CHALLENGES, {"origin": ORIGIN, "kind": "signature", "text": text}, 400) for text in (
            "a\u202eb", "a\u200bb", "a\0b", "a\rb", "a\tb", "a\u2028b", "a\ufeffb", "\ue000", "\n" * MAX_LINES,
            "a\u3164b")),
        (CHALLENGES, {"origin": ORIGIN, "purpose": "a\nb"}, 400),
        (CHALLENGES, {"origin": ORIGIN, "browser": "\u2067"}, 400),
        (CHALLENGES, {"origin": ORIGIN, "name": "tenant"}, 422), (CHALLENGES, {}, 422), (CHALLENGES, [], 422),
        (CHALLENGES, {"origin": ORIGIN, "kind": "other"}, 422), (CHALLENGES, {"origin": "https://" + "a" * 300}, 422),
        (CHALLENGES, {"origin": ORIGIN, "text": "x" * (MAX_TEXT + 1)}, 422),
        (DOCUMENTS, {"document": "AAAA", "at": "tomorrow"}, 422), (CERTIFICATES, {"document": "AAAA"}, 422),
        (AUTHENTICATIONS, {"origin": ORIGIN, "nonce": "0", "signature": "00", "certificate": "00"}, 422),
        (AUTHENTICATIONS, {"origin": ORIGIN, "nonce": "00", "signature": "00", "certificate": "00" * 8193}, 422),
    ],
)  # fmt: skip
def test_an_invalid_value_is_rejected(shop: Tenant, path: str, body: Any, status: int) -> None:
    response = shop.ask("POST", path, body)
    assert (response.status_code, list(response.json())) == (status, ["detail"])


NONSENSE = {
    "nothing": b"", "half": b"{", "not UTF-8": b"\xff\xfe", "depth": b"[" * 100_000, "no number": b'{"origin": NaN}',
    "infinity": b'{"origin": 1e999}', "length": b'{"origin": ' + b"9" * 5000 + b"}",
    "surrogate": b'{"origin": "\\ud800"}', "surrogate as a name": b'{"origin": "https://shop.example", "\\ud800": 1}',
    "surrogate in a text": b'{"origin": "https://shop.example", "kind": "signature", "text": "\\udfff"}',
}  # fmt: skip


@pytest.mark.parametrize("what", NONSENSE)
def test_malformed_json_is_rejected(shop: Tenant, what: str) -> None:
    headers = {"Authorization": f"Bearer {shop.key}", "Content-Type": "application/json"}
    response = shop.client.post(CHALLENGES, content=NONSENSE[what], headers=headers)
    assert response.status_code in (400, 422)
    assert list(response.json()) == ["detail"]


@pytest.mark.parametrize(("key", "code"), [("", 413), ("x", 401)], ids=["a tenant", "a stranger"])
def test_a_body_with_a_too_large_content_length_is_not_read(shop: Tenant, key: str, code: int) -> None:
    address = (shop.client.base_url.host, shop.client.base_url.port or 0)
    head = (f"POST {DOCUMENTS} HTTP/1.1\r\nHost: shop\r\nAuthorization: Bearer {key or shop.key}\r\n"
            f"Content-Length: {MAX_BODY + 1}\r\n\r\n")  # fmt: skip
    with socket.create_connection(address, 20) as connection:
        connection.sendall(head.encode("ascii"))  # the body is never sent
        assert connection.recv(64).startswith(f"HTTP/1.1 {code} ".encode("ascii"))


def test_a_signed_document_of_16_megabytes_is_below_half_of_the_limit(operator: Operator, shop: Tenant) -> None:
    content = bytes(range(256)) * ((16 << 20) // 256)
    document = encoded(signed_cms(operator.holders["hanako", SIGNATURE], content, detached=False))
    assert 2 * len(document) < MAX_BODY
    user_of(shop.post(DOCUMENTS, document=document))


def test_a_chunked_body_is_read_up_to_the_limit(shop: Tenant) -> None:
    headers = {"Authorization": f"Bearer {shop.key}", "Content-Type": "application/json"}

    def chunks(count: int) -> Iterator[bytes]:
        yield b'{"certificate": "AAAA"'
        for _ in range(count):
            yield b" " * (1 << 20)
        yield b"}"

    assert shop.client.post(CERTIFICATES, content=chunks(1), headers=headers).status_code == 200
    response = shop.client.post(CERTIFICATES, content=chunks(MAX_BODY >> 20), headers=headers)
    assert (response.status_code, list(response.json())) == (413, ["detail"])


def test_an_unreachable_authority_gives_503_and_creates_no_user(operator: Operator, shop: Tenant) -> None:
    unreachable = LinkageOverHttp(f"http://127.0.0.1:{free_port()}", "key")
    with serving(operator.informed_by(unreachable)) as client:
        response = replace(shop, client=client).login(operator.holders["leap-day", AUTHENTICATION])
    assert (response.status_code, list(response.json())) == (503, ["detail"])
    assert shop.ask("GET", "/v1/exposure").json() == []


def test_an_authority_that_links_two_known_people_gives_409(operator: Operator, shop: Tenant) -> None:
    known = [operator.holders[who, AUTHENTICATION] for who in ("hanako", "taro")]
    users = [user_of(shop.login(holder)) for holder in known]

    class WrongLinkage(NoLinkage):
        def certificates(
            self, kind: CertificateType, serial: int, follow: Follow = Follow.PERSON,
            types: Sequence[CertificateType] = BOTH,
        ) -> list[LinkedCertificate]:  # fmt: skip
            numbers = [*(holder.certificate.serial_number for holder in known), serial]
            return [LinkedCertificate(kind, number, Medium.CARD) for number in numbers]

    with serving(operator.informed_by(WrongLinkage())) as client:
        response = replace(shop, client=client).login(operator.holders["leap-day", AUTHENTICATION])
    assert response.status_code == 409
    assert [user_of(shop.login(holder)) for holder in known] == users


@pytest.mark.parametrize(("method", "path"), [(method, path) for method, path, _ in ENDPOINTS])
def test_every_response_conforms_to_the_openapi_document(operator: Operator, method: str, path: str) -> None:
    schema = schemathesis.openapi.from_asgi("/openapi.json", operator.informed_by(NoLinkage()))
    operation = schema[path.replace("nobody", "{user}")][method]
    headers = {"Authorization": f"Bearer {operator.tenant().key}"}
    checks = [not_a_server_error, conformance.status_code_conformance, conformance.content_type_conformance,
              conformance.response_headers_conformance, conformance.response_schema_conformance]  # fmt: skip

    @settings(max_examples=15)
    @given(st.one_of([operation.as_strategy(mode) for mode in GenerationMode]))
    def send(case: Case[Any]) -> None:
        case.call_and_validate(headers=headers, checks=checks)

    send()
