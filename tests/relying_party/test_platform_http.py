"""The platform operator over HTTP: a real server, asked by tenants and by strangers."""

from __future__ import annotations

import socket
from base64 import b64encode
from collections.abc import Iterator
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
from kazashi.jpki.profile import CertificateType, Medium
from kazashi.jpki.state import Reason
from kazashi.pki.certificate import CertificateRequest
from kazashi.relying_party.conformance.authority import AuthorityKey, HolderKey
from kazashi.relying_party.conformance.documents import TEXT, signed_cms
from kazashi.relying_party.platform.platform import Platform
from kazashi.relying_party.platform.platform_http import MAX_BODY, application
from kazashi.relying_party.verify.challenges import StoredChallenges
from kazashi.relying_party.verify.linkage import Linkage, LinkageOverHttp, NoLinkage
from kazashi.relying_party.verify.policy import DEFAULT_POLICY
from kazashi.web.origin import MAX_TEXT
from kazashi.world.key_source import SharedKeySource, generate
from tests.relying_party.test_platform import TownLinkage, verifier
from tests.town import AUTHENTICATION, SIGNATURE, later, new_institutions

ORIGIN = "https://shop.example"
CHALLENGES, AUTHENTICATIONS = "/v1/challenges", "/v1/authentications"
CERTIFICATES, DOCUMENTS = "/v1/certificates", "/v1/documents"
_NUMBERS = count()


def encoded(data: bytes) -> str:
    return b64encode(data).decode("ascii")


@dataclass
class Tenant:
    """A service that asks the platform."""

    client: httpx.Client
    name: str
    key: str

    def ask(self, method: str, path: str, body: Any = None) -> httpx.Response:
        return self.client.request(method, path, json=body, headers={"Authorization": f"Bearer {self.key}"})

    def post(self, path: str, **body: Any) -> httpx.Response:
        return self.ask("POST", path, body)

    def challenge(self, **asked: Any) -> dict[str, Any]:
        given = self.post(CHALLENGES, origin=ORIGIN, **asked)
        assert given.status_code == 201
        return dict(given.json())

    def login(self, holder: HolderKey, **asked: Any) -> httpx.Response:
        return self.post(AUTHENTICATIONS, **answered(self.challenge(**asked), holder))


def answered(challenge: dict[str, Any], holder: HolderKey) -> dict[str, str]:
    """What comes back from a phone."""
    assert isinstance(holder.key, rsa.RSAPrivateKey)
    signature = holder.key.sign(bytes.fromhex(challenge["message"]), padding.PKCS1v15(), hashes.SHA256())
    return {"origin": challenge["origin"], "nonce": challenge["nonce"], "signature": signature.hex(),
            "certificate": holder.der.hex()}  # fmt: skip


def user_of(answer: httpx.Response) -> str:
    """The user of an answer that is good."""
    assert answer.status_code == 200
    found = answer.json()
    assert (found["verdict"]["outcome"], found["verdict"]["finding"]) == ("good", None)
    return str(found["user"])


def finding(answer: httpx.Response) -> str:
    """The finding of an answer that is not, and names no user."""
    assert answer.status_code == 200
    found = answer.json()
    assert (found["verdict"]["outcome"], found["user"], found["new"]) == ("bad", None, None)
    return str(found["verdict"]["finding"])


@contextmanager
def serving(app: FastAPI) -> Iterator[httpx.Client]:
    """A client of an application on a port of its own. Whoever connects before it is up waits in the line."""
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
    """A town, the operator in it, and people with phones."""

    town: Institutions
    platform: Platform
    client: httpx.Client
    holders: dict[tuple[str, CertificateType], HolderKey]

    def tenant(self) -> Tenant:
        name = f"tenant {next(_NUMBERS)}"
        return Tenant(self.client, name, self.platform.add_tenant(name))

    def informed_by(self, linkage: Linkage) -> FastAPI:
        """The operator's application, where it asks another authority."""
        world = self.town.world
        return application(Platform(world, linkage), verifier(self.town), StoredChallenges(world))


def issue(town: Institutions, who: str, kind: CertificateType) -> HolderKey:
    """A certificate on somebody's phone, with a key that we keep."""
    pkcs8, now, phone = generate(), town.world.clock.now(), Medium.PHONE
    request = CertificateRequest(
        town.resident(who), certification_request(pkcs8), now, now + timedelta(days=400), phone, who
    )
    certificate = x509.load_der_x509_certificate(town.authorities[kind].issue(request))
    key = serialization.load_der_private_key(pkcs8, None)
    assert isinstance(key, rsa.RSAPrivateKey)
    return HolderKey(key, certificate, AuthorityKey(kind, "", key, certificate))  # nobody asks who issued


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


EVERYTHING = [
    ("POST", CHALLENGES, {"origin": ORIGIN}),
    ("POST", AUTHENTICATIONS, {"origin": ORIGIN, "nonce": "00", "signature": "00", "certificate": "00"}),
    ("POST", CERTIFICATES, {"certificate": "AAAA"}), ("POST", DOCUMENTS, {"document": "AAAA"}),
    ("GET", "/v1/users/nobody", None), ("DELETE", "/v1/users/nobody", None), ("GET", "/v1/exposure", None),
]  # fmt: skip


@pytest.mark.parametrize(("method", "path", "body"), EVERYTHING)
def test_strangers_are_told_nothing(operator: Operator, shop: Tenant, method: str, path: str, body: Any) -> None:
    for header in ("", "Bearer", "Bearer wrong", f"Bearer {shop.key[:-1]}", f"Basic {shop.key}", shop.key):
        headers = {"Authorization": header} if header else {}
        for address in (path, f"{path}?name={shop.name}"):
            answer = operator.client.request(method, address, json=body, headers=headers)
            assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer"), header
            assert answer.json() == {"detail": "no tenant is registered with this key"}
    assert shop.ask(method, path, body).status_code in (200, 201, 404)


def test_a_phone_logs_in_once_with_an_answer(operator: Operator, shop: Tenant) -> None:
    holder = operator.holders["hanako", AUTHENTICATION]
    answer = answered(shop.challenge(), holder)
    first = shop.post(AUTHENTICATIONS, **answer)
    assert (user_of(first), first.json()["new"]) == (shop.ask("GET", "/v1/exposure").json()[0]["identifier"], True)
    assert finding(shop.post(AUTHENTICATIONS, **answer)) == "unknown-challenge", "a replay"
    again = shop.login(holder)
    assert (user_of(again), again.json()["new"]) == (user_of(first), False)
    statement = shop.login(operator.holders["hanako", SIGNATURE], kind="signature", text="申込書")
    assert user_of(statement) == user_of(first)
    assert user_of(shop.login(operator.holders["taro", AUTHENTICATION])) != user_of(first)
    assert user_of(operator.tenant().login(holder)) != user_of(first)


def test_an_answer_that_is_not_to_the_challenge_is_bad_and_uses_it_up(operator: Operator, shop: Tenant) -> None:
    holder, other = operator.holders["hanako", AUTHENTICATION], operator.holders["taro", AUTHENTICATION]
    changes = {
        "wrong-signature": {"certificate": other.der.hex()}, "wrong-origin": {"origin": "https://shop.example:444"},
        "wrong-kind": {"certificate": operator.holders["hanako", SIGNATURE].der.hex()},
        "malformed": {"certificate": holder.der.hex()[:-2]},
    }  # fmt: skip
    for word, change in changes.items():
        answer = answered(shop.challenge(), holder)
        assert finding(shop.post(AUTHENTICATIONS, **{**answer, **change})) == word
        assert finding(shop.post(AUTHENTICATIONS, **answer)) == "unknown-challenge"
    late = answered(shop.challenge(), holder)
    later(operator.town, seconds=DEFAULT_POLICY.challenge_lifetime.total_seconds() + 1)
    assert finding(shop.post(AUTHENTICATIONS, **late)) == "stale-challenge"
    assert finding(shop.login(operator.holders["revoked", AUTHENTICATION])) == "revoked"
    assert shop.ask("GET", "/v1/exposure").json() == []


def test_a_document_is_by_the_user_who_logs_in_only_where_one_holder_has_both(operator: Operator, shop: Tenant) -> None:
    user = user_of(shop.login(operator.holders["hanako", AUTHENTICATION]))
    own, taros = (operator.holders[who, SIGNATURE] for who in ("hanako", "taro"))
    apart, around = encoded(signed_cms(own)), encoded(signed_cms(own, detached=False))
    assert user_of(shop.post(DOCUMENTS, document=apart, content=encoded(TEXT))) == user
    assert user_of(shop.post(DOCUMENTS, document=around)) == user
    other = user_of(shop.post(DOCUMENTS, document=encoded(signed_cms(taros, detached=False))))
    assert other != user
    assert user_of(shop.login(operator.holders["taro", AUTHENTICATION])) == other
    assert finding(shop.post(DOCUMENTS, document=apart, content=encoded(TEXT + b"\n"))) == "tampered"
    assert finding(shop.post(DOCUMENTS, document=around[:400])) == "malformed"


def test_a_certificate_alone_names_no_user(operator: Operator, shop: Tenant) -> None:
    own = encoded(operator.holders["hanako", SIGNATURE].der)
    answer = shop.post(CERTIFICATES, certificate=own, kind="signature").json()
    assert (answer["verdict"]["outcome"], answer["user"], answer["new"]) == ("good", None, None)
    assert finding(shop.post(CERTIFICATES, certificate=own, kind="authentication")) == "wrong-kind"
    assert finding(shop.post(CERTIFICATES, certificate=own, at="2026-11-24T00:00:00Z")) == "not-yet-valid"
    assert shop.ask("GET", "/v1/exposure").json() == []


@pytest.mark.parametrize("who", ["hanako", "revoked"])
def test_a_login_tells_the_tenant_no_serial_number(operator: Operator, shop: Tenant, who: str) -> None:
    holder = operator.holders[who, AUTHENTICATION]
    answer = shop.login(holder)
    assert "serial" not in answer.text
    assert f"{holder.certificate.serial_number:X}" not in answer.text.upper()
    assert str(holder.certificate.serial_number) not in answer.text


def test_another_tenants_user_is_nobodys(operator: Operator, shop: Tenant) -> None:
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
        (DOCUMENTS, {"document": "AAAA", "at": "2026-11-24"}, 400), (CHALLENGES, {"origin": "https://[::1"}, 400),
        (CHALLENGES, {"origin": "http://shop.example"}, 400), (CHALLENGES, {"origin": f"{ORIGIN}/"}, 400),
        (CHALLENGES, {"origin": ORIGIN, "name": "tenant"}, 422), (CHALLENGES, {}, 422), (CHALLENGES, [], 422),
        (CHALLENGES, {"origin": ORIGIN, "kind": "other"}, 422), (CHALLENGES, {"origin": "https://" + "a" * 300}, 422),
        (CHALLENGES, {"origin": ORIGIN, "text": "x" * (MAX_TEXT + 1)}, 422),
        (DOCUMENTS, {"document": "AAAA", "at": "tomorrow"}, 422), (CERTIFICATES, {"document": "AAAA"}, 422),
        (AUTHENTICATIONS, {"origin": ORIGIN, "nonce": "0", "signature": "00", "certificate": "00"}, 422),
        (AUTHENTICATIONS, {"origin": ORIGIN, "nonce": "00", "signature": "00", "certificate": "00" * 8193}, 422),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(shop: Tenant, path: str, body: Any, status: int) -> None:
    answer = shop.ask("POST", path, body)
    assert (answer.status_code, list(answer.json())) == (status, ["detail"])


NONSENSE = {
    "nothing": b"", "half": b"{", "not UTF-8": b"\xff\xfe", "depth": b"[" * 100_000, "no number": b'{"origin": NaN}',
    "infinity": b'{"origin": 1e999}', "length": b'{"origin": ' + b"9" * 5000 + b"}",
    "surrogate": b'{"origin": "\\ud800"}', "surrogate as a name": b'{"origin": "https://shop.example", "\\ud800": 1}',
    "surrogate in a text": b'{"origin": "https://shop.example", "kind": "signature", "text": "\\udfff"}',
}  # fmt: skip


@pytest.mark.parametrize("what", NONSENSE)
def test_json_that_python_reads_and_nobody_should_send_is_refused(shop: Tenant, what: str) -> None:
    headers = {"Authorization": f"Bearer {shop.key}", "Content-Type": "application/json"}
    answer = shop.client.post(CHALLENGES, content=NONSENSE[what], headers=headers)
    assert answer.status_code in (400, 422)
    assert list(answer.json()) == ["detail"]


@pytest.mark.parametrize(("key", "code"), [("", 413), ("x", 401)], ids=["a tenant", "a stranger"])
def test_a_body_that_is_declared_too_large_is_not_read(shop: Tenant, key: str, code: int) -> None:
    address = (shop.client.base_url.host, shop.client.base_url.port or 0)
    head = (f"POST {DOCUMENTS} HTTP/1.1\r\nHost: shop\r\nAuthorization: Bearer {key or shop.key}\r\n"
            f"Content-Length: {MAX_BODY + 1}\r\n\r\n")  # fmt: skip
    with socket.create_connection(address, 20) as connection:
        connection.sendall(head.encode("ascii"))  # and no body ever comes
        assert connection.recv(64).startswith(f"HTTP/1.1 {code} ".encode("ascii"))


def test_a_body_of_unknown_size_is_read_as_far_as_the_limit(shop: Tenant) -> None:
    headers = {"Authorization": f"Bearer {shop.key}", "Content-Type": "application/json"}

    def chunks(count: int) -> Iterator[bytes]:
        yield b'{"certificate": "AAAA"'
        for _ in range(count):
            yield b" " * (1 << 20)
        yield b"}"

    assert shop.client.post(CERTIFICATES, content=chunks(1), headers=headers).status_code == 200
    answer = shop.client.post(CERTIFICATES, content=chunks(MAX_BODY >> 20), headers=headers)
    assert (answer.status_code, list(answer.json())) == (413, ["detail"])


def test_a_silent_authority_is_said_to_be_silent_and_leaves_no_user(operator: Operator, shop: Tenant) -> None:
    silent = LinkageOverHttp(f"http://127.0.0.1:{free_port()}", "key")
    with serving(operator.informed_by(silent)) as client:
        answer = replace(shop, client=client).login(operator.holders["leap-day", AUTHENTICATION])
    assert (answer.status_code, list(answer.json())) == (503, ["detail"])
    assert shop.ask("GET", "/v1/exposure").json() == []


def test_an_authority_that_ties_two_people_together_is_not_believed(operator: Operator, shop: Tenant) -> None:
    known = [operator.holders[who, AUTHENTICATION] for who in ("hanako", "taro")]
    users = [user_of(shop.login(holder)) for holder in known]

    class Liar(NoLinkage):
        def renewal(self, kind: CertificateType, serial: int) -> list[int]:
            return [*(holder.certificate.serial_number for holder in known), serial]

    with serving(operator.informed_by(Liar())) as client:
        answer = replace(shop, client=client).login(operator.holders["leap-day", AUTHENTICATION])
    assert answer.status_code == 409
    assert [user_of(shop.login(holder)) for holder in known] == users


@pytest.mark.parametrize(("method", "path"), [(method, path) for method, path, _ in EVERYTHING])
def test_every_answer_is_as_the_application_describes_it(operator: Operator, method: str, path: str) -> None:
    described = schemathesis.openapi.from_asgi("/openapi.json", operator.informed_by(NoLinkage()))
    operation = described[path.replace("nobody", "{user}")][method]
    headers = {"Authorization": f"Bearer {operator.tenant().key}"}
    checks = [not_a_server_error, conformance.status_code_conformance, conformance.content_type_conformance,
              conformance.response_headers_conformance, conformance.response_schema_conformance]  # fmt: skip

    @settings(max_examples=15, deadline=None)
    @given(st.one_of([operation.as_strategy(mode) for mode in GenerationMode]))
    def ask(case: Case[Any]) -> None:
        case.call_and_validate(headers=headers, checks=checks)

    ask()
