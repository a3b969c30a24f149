"""The OpenAPI 3.1 description of what an interface system offers to a body's own business system."""

from __future__ import annotations

from collections.abc import Set
from typing import Any

from kazashi.provision_network.copy_lists import MOST_COPIES
from kazashi.provision_network.intermediate import LONGEST_CONTENT
from kazashi.provision_network.terms import LONGEST

MOST_QUESTIONS = 1_000
"""The maximum number of requests in one list."""

_Schema = dict[str, Any]


def document() -> dict[str, Any]:
    """Return the description as an object for JSON."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Interface system of the information provision network",
            "version": "1",
            "description": "For a body's own business system, which authenticates with its certificate"
            " (kazashi network system add). The body is the one that the certificate names.",
        },
        "security": [{"certificate": []}],
        "paths": {
            "/v1/ask": {"post": _operation(
                "ask", "Request an item about a person from another body, or many at once (一括照会)", {
                    "200": _reply("the states of the processes, if the request waited for them",
                                  _either("Process", {"answers": _list("Process")})),
                    "202": _reply("the numbers of the processes", {"oneOf": [
                        _object({"process": _NUMBER}), _object({"processes": {"type": "array", "items": _NUMBER}})
                    ]}),
                }, body=_either("Question", {"questions": {
                    **_list("Question"), "minItems": 1, "maxItems": MOST_QUESTIONS
                }}), parameters=[_WAIT],
            )},
            "/v1/processes/{number}": {"get": _operation(
                "process", "The state of a process, and the answer if it has arrived", {
                    "200": _reply("the state", _ref("Process")),
                    "404": {"description": "the number is not a whole number from 0",
                            "content": {"text/plain": {"schema": _ANY_TEXT}}},
                },
                parameters=[{"name": "number", "in": "path", "required": True, "schema": _NUMBER}, _WAIT],
            )},
            "/v1/copies": {"post": _operation(
                "copies", "Register copies for other bodies, all or none (副本登録)",
                {"200": _reply("the number of copies that were registered", _object({"registered": _NUMBER}))},
                body=_object({"copies": {**_list("Copy"), "minItems": 1, "maxItems": MOST_COPIES}}),
            )},
            "/v1/held": {"get": _operation(
                "held", "The requests on hold until a person at the body has checked them (自動応答不可)",
                {"200": _reply("the requests, oldest first", _object({"held": _list("Held")}))},
            )},
            "/v1/release": {"post": _operation(
                "release", "Release a request on hold, so that it is answered",
                {"200": _reply("the request is answered next", _object({"released": _NUMBER}))},
                body=_object({"number": _NUMBER}),
            )},
            "/v1/openapi.json": {"get": _operation(
                "openapi", "This description", {"200": _reply("the description", {"type": "object"})}, plain=True
            )},
        },
        "components": {
            "securitySchemes": {"certificate": {"type": "mutualTLS"}},
            "schemas": {
                "Question": _object({
                    "address_number": _TEXT, "provider": _TEXT, "consent": {"type": "boolean", "default": False},
                    "purpose": _object(dict.fromkeys(("requester", "law", "affair", "provider", "item"), _TEXT)),
                }, optional={"consent"}),
                "Process": _object({
                    "process": _NUMBER, "stage": {"enum": ["sent", "accepted", "held", "answered", "refused",
                                                           "disputed"]},
                    "number": _or_null(_NUMBER), "rule": _ANY_TEXT, "denial": _ANY_TEXT, "words": _ANY_TEXT,
                    "item": _ANY_TEXT, "provider": _ANY_TEXT, "content": _or_null(_ANY_TEXT),
                    "registered_at": _or_null(_TIME),
                }),
                "Copy": _object({
                    "address_number": _TEXT, "item": _TEXT, "hold": {"type": "boolean", "default": False},
                    "content": {"type": "string", "maxLength": LONGEST_CONTENT},
                }, optional={"hold"}),
                "Held": _object({"number": _NUMBER, "requester": _ANY_TEXT, "item": _ANY_TEXT, "rule": _ANY_TEXT}),
                "Problem": _object({"error": _ANY_TEXT, "denial": _ANY_TEXT}),
            },
        },
    }  # fmt: skip


def _ref(name: str) -> _Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def _list(name: str) -> _Schema:
    return {"type": "array", "items": _ref(name)}


def _object(properties: dict[str, _Schema], optional: Set[str] = frozenset()) -> _Schema:
    required = [name for name in properties if name not in optional]
    return {"type": "object", "properties": properties, "required": required}


def _either(name: str, several: dict[str, _Schema]) -> _Schema:
    """One object, or an object with a list of them."""
    return {"oneOf": [_ref(name), _object(several)]}


def _or_null(schema: _Schema) -> _Schema:
    return {"anyOf": [schema, {"type": "null"}]}


def _reply(description: str, schema: _Schema) -> _Schema:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _operation(
    name: str, summary: str, replies: dict[str, _Schema], *, body: _Schema | None = None,
    parameters: list[_Schema] | None = None, plain: bool = False,
) -> _Schema:  # fmt: skip
    """One operation. A `plain` one needs no particular body's certificate and cannot be refused."""
    problems = {} if plain else {
        status: _reply(words, _ref("Problem")) for status, words in _PROBLEMS.items()
        if body is not None or status != "413"
    }  # fmt: skip
    sent = {} if body is None else {
        "requestBody": {"required": True, "content": {"application/json": {"schema": body}}}
    }  # fmt: skip
    return {
        "operationId": name, "summary": summary, **({"parameters": parameters} if parameters else {}), **sent,
        "responses": {**replies, **problems},
    }  # fmt: skip


_PROBLEMS = {
    "400": "the request is malformed",
    "403": "the certificate is not that of a body behind this interface system, or was removed",
    "413": "the request is too large",
    "422": "the network refuses the request; `denial` is the reason's code",
    "503": "a store does not respond; try again later",
}
_NUMBER: _Schema = {"type": "integer", "minimum": 0, "maximum": (1 << 63) - 1}
_ANY_TEXT: _Schema = {"type": "string"}
_TEXT: _Schema = {"type": "string", "maxLength": LONGEST}
_TIME: _Schema = {"type": "string", "format": "date-time"}
_WAIT: _Schema = {
    "name": "wait", "in": "query", "schema": {"type": "number", "minimum": 0},
    "description": "How many seconds to wait, at most 60, until each process is answered, refused or on hold",
}  # fmt: skip
