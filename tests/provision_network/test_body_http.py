"""What a body's own system can do at its interface system: copies, holds, and the OpenAPI document about it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import given, settings
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi import checks as conformance
from starlette.types import Receive, Scope, Send

from kazashi.provision_network.copy_lists import MOST_COPIES
from kazashi.provision_network.interface_http import interface_application, interface_runner
from kazashi.provision_network.intermediate import LONGEST_CONTENT
from kazashi.provision_network.message_http import SYSTEM
from kazashi.web.mutual_tls import Peer
from tests.provision_network.bodies import HANAKO, MINATO, NOW, PURPOSE, SHIBUYA, TOWNS, Network, network_of
from tests.town import clock_of, new_world

ADDRESS, SHINJUKU, GONE = "0000000001", "新宿区", "架空町"
COPY = {"address_number": ADDRESS, "item": PURPOSE.item, "content": "所得 1円", "hold": True}
OPERATIONS = [("/v1/ask", "POST"), ("/v1/processes/{number}", "GET"), ("/v1/copies", "POST"), ("/v1/held", "GET"),
              ("/v1/release", "POST"), ("/v1/openapi.json", "GET")]  # fmt: skip


class AsBody:
    """An interface system's application, for the business system of a body."""

    def __init__(self, network: Network, body: str, fingerprint: str = "") -> None:
        runner = interface_runner(network.municipal, network.world.clock)
        self._application = interface_application(network.municipal, runner)
        self._peer = Peer(body, SYSTEM, fingerprint)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._application({**scope, "kazashi.peer": self._peer}, receive, send)


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    """A network for all tests of this module, which use different towns."""
    world = new_world(tmp_path_factory.mktemp("bodies") / "w")
    clock_of(world).stand(NOW)
    network = network_of(world)
    for town in TOWNS:
        network.server(town).take_codes([(ADDRESS, network.code(town, HANAKO))])
    yield network
    world.close()


def post(network: Network, body: str, path: str, content: Any) -> tuple[int, Any]:
    return send(network, body, "POST", path, content)


def get(network: Network, body: str, path: str, fingerprint: str = "") -> tuple[int, Any]:
    return send(network, body, "GET", path, fingerprint=fingerprint)


def send(
    network: Network, body: str, method: str, path: str, content: Any = None, fingerprint: str = ""
) -> tuple[int, Any]:
    async def exchanged() -> httpx.Response:
        transport = httpx.ASGITransport(AsBody(network, body, fingerprint))
        async with httpx.AsyncClient(transport=transport, base_url="https://interface") as client:
            return await client.request(method, path, json=content)

    response = asyncio.run(exchanged())
    return response.status_code, response.json()


def test_an_answer_is_held_and_released_over_http(network: Network) -> None:
    assert post(network, MINATO, "/v1/copies", {"copies": [COPY]}) == (200, {"registered": 1})
    question = {"address_number": ADDRESS, "provider": MINATO, "purpose": asdict(PURPOSE)}
    status, begun = post(network, SHIBUYA, "/v1/ask", question)
    assert status == 202
    network.carry()
    path = f"/v1/processes/{begun['process']}"
    assert get(network, SHIBUYA, path)[1]["stage"] == "held"
    _, held = get(network, MINATO, "/v1/held")
    assert [(one["requester"], one["item"]) for one in held["held"]] == [(SHIBUYA, PURPOSE.item)]
    assert get(network, SHIBUYA, "/v1/held") == (200, {"held": []}), "a body sees its own only"
    number = held["held"][0]["number"]
    status, refused = post(network, SHIBUYA, "/v1/release", {"number": number})
    assert (status, refused["denial"]) == (422, "not-held")
    assert post(network, MINATO, "/v1/release", {"number": number}) == (200, {"released": number})
    assert post(network, MINATO, "/v1/release", {"number": number})[0] == 422, "once"
    network.carry()
    answered = get(network, SHIBUYA, path)[1]
    assert (answered["stage"], answered["content"]) == ("answered", "所得 1円")


def test_a_provider_without_a_copy_is_said_in_words(network: Network) -> None:
    question = {"address_number": ADDRESS, "provider": SHINJUKU, "purpose": asdict(PURPOSE)}
    _, begun = post(network, SHIBUYA, "/v1/ask", question)
    network.carry()
    state = get(network, SHIBUYA, f"/v1/processes/{begun['process']}")[1]
    assert (state["stage"], state["content"], state["words"]) == ("answered", None, "the provider has no copy")


def test_a_question_that_is_put_on_hold_ends_the_wait(network: Network) -> None:
    post(network, MINATO, "/v1/copies", {"copies": [COPY]})
    process = network.municipal.asking.ask(SHIBUYA, network.code(SHIBUYA), PURPOSE, [MINATO])
    network.carry()
    asked = network.municipal.asking.request(process)
    assert not asked.under_way
    assert not asked.ended


@pytest.mark.parametrize(("wrong", "status", "words"), [
    ({"address_number": "9999999999"}, 422, "copies[1]: 新宿区 has no code for"),
    ({"item": "病歴"}, 422, "copies[1]: '病歴' is not an item"),
    ({"content": "x" * (LONGEST_CONTENT + 1)}, 422, "copies[1]:"),
    ({"content": "a\0b"}, 422, "copies[1]:"),
    ({}, 422, "copies[1]: there is an earlier copy"),
    ({"hold": "yes"}, 400, "hold must be true or false"),
    ({"content": 3}, 400, "content must be a text"),
])  # fmt: skip
def test_a_bad_copy_is_named_and_nothing_is_registered(
    network: Network, wrong: dict[str, Any], status: int, words: str
) -> None:
    given_status, refused = post(network, SHINJUKU, "/v1/copies", {"copies": [COPY, {**COPY, **wrong}]})
    assert given_status == status
    assert words in refused["error"]
    assert network.server(SHINJUKU).copies_by_person() == {}


@pytest.mark.parametrize("content", [{}, {"copies": []}, {"copies": "x"}, {"copies": [3]}, [], {"copies": [{}]},
                                     {"copies": [COPY] * (MOST_COPIES + 1)}])  # fmt: skip
def test_a_malformed_list_is_refused(network: Network, content: Any) -> None:
    assert post(network, SHINJUKU, "/v1/copies", content)[0] == 400


@pytest.mark.parametrize(("content", "path"), [
    (None, "ask"), ([], "ask"), ({}, "ask"), ({"questions": [1]}, "ask"), ({"questions": 3}, "ask"),
    ({"purpose": 1}, "ask"), ({}, "ask?wait=soon"), ({}, "release"), ([], "release"),
])  # fmt: skip
def test_a_malformed_request_is_refused_in_plain_words(network: Network, content: Any, path: str) -> None:
    status, refused = post(network, SHIBUYA, f"/v1/{path}", content)
    assert (status, refused["denial"]) == (400, "bad-message")
    assert any(words in refused["error"] for words in ("a field is missing, or has", "wait must be a number"))


def test_a_removed_system_and_a_removed_body_are_refused(network: Network) -> None:
    for path in ("/v1/held", "/v1/processes/1"):
        status, refused = get(network, "架空市", path)
        assert (status, refused["denial"]) == (403, "not-entitled")
    _, system = network.core.systems.issue(GONE)
    assert get(network, GONE, "/v1/held", system.fingerprint)[0] == 200
    network.core.systems.remove(system.fingerprint)
    network.carry()
    assert get(network, GONE, "/v1/held", system.fingerprint)[0] == 403
    assert get(network, GONE, "/v1/held")[0] == 200, "another certificate of the body still works"
    network.core.members.remove(GONE)
    network.carry()
    assert get(network, GONE, "/v1/held")[0] == 403


@pytest.mark.parametrize(("path", "method"), OPERATIONS)
def test_every_response_conforms_to_the_openapi_document(network: Network, path: str, method: str) -> None:
    post(network, MINATO, "/v1/copies", {"copies": [COPY]})
    network.ask()
    schema = schemathesis.openapi.from_asgi("/v1/openapi.json", AsBody(network, MINATO))
    operation = schema[path][method]
    checks = [not_a_server_error, conformance.status_code_conformance, conformance.content_type_conformance,
              conformance.response_headers_conformance, conformance.response_schema_conformance]  # fmt: skip

    @settings(max_examples=5)
    @given(st.one_of([operation.as_strategy(mode) for mode in GenerationMode]))
    def sent(case: Case[Any]) -> None:
        if isinstance(case.query, dict) and "wait" in case.query:
            case.query["wait"] = 0  # nobody answers here
        case.call_and_validate(checks=checks)

    sent()


def test_the_document_lists_every_route_for_bodies(network: Network) -> None:
    document = get(network, MINATO, "/v1/openapi.json")[1]
    assert document["openapi"].startswith("3.1")
    assert {(path, method.upper()) for path, of in document["paths"].items() for method in of} == set(OPERATIONS)
    assert json.dumps(document, ensure_ascii=False).count("mutualTLS") == 1
