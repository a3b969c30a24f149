"""The platform operator over HTTP, for tenants that send their key as `Authorization: Bearer KEY`."""

from __future__ import annotations

import asyncio
import re
from base64 import b64decode
from binascii import Error as Base64Error
from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from kazashi.jpki.profile import CERTIFICATE_TYPES
from kazashi.jpki.serial_number import serial_text
from kazashi.relying_party.platform.platform import (
    LinkageConflict,
    NoSuchTenant,
    NoSuchUser,
    OriginNotRegistered,
    Platform,
)
from kazashi.relying_party.verify.authentication import Authentication, Challenges, Response
from kazashi.relying_party.verify.certificate import MAX_CERTIFICATE
from kazashi.relying_party.verify.documents import Documents
from kazashi.relying_party.verify.finding import Outcome, VerificationFailed
from kazashi.relying_party.verify.linkage import LinkageUnavailable
from kazashi.relying_party.verify.verdict import Verdict
from kazashi.relying_party.verify.verification import Verifier
from kazashi.web.guard import Guard, Problem, printable
from kazashi.web.health import Health
from kazashi.web.signed_text import MAX_LINE, MAX_TEXT, check_line, check_text
from kazashi.web.sweeping import sweeping
from kazashi.world.storage import StoreFailed

DESCRIPTION = """The platform operator over HTTP, for tenants that send their key as `Authorization: Bearer KEY`. \
OpenAPI is at /docs.

POST   /v1/challenges        a challenge for a login, or for a text to sign
POST   /v1/authentications   the verdict on the response, and the tenant's user ID
POST   /v1/certificates      the verdict on a certificate
POST   /v1/documents         the verdict on a signed document, and the signer's user ID
GET    /v1/users/{user}      whether the user has newer certificates
DELETE /v1/users/{user}      delete the user: the same person will be a new user
GET    /v1/exposure          everything that is stored about the tenant's users
"""
"""The description in the OpenAPI document."""

MAX_BODY = 48 << 20
"""The maximum bytes of a request: a document of some 35 megabytes in base64."""

Hexadecimal = Annotated[str, StringConstraints(pattern=r"^([0-9A-Fa-f]{2})*$", max_length=2 * MAX_CERTIFICATE)]
Base64 = Annotated[str, StringConstraints(max_length=MAX_BODY)]
KindWord = Literal["authentication", "signature"]


class BadRequest(Exception):
    """A request is well-formed JSON, but one of its values is invalid."""


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid")


class ChallengeAsked(_Model):
    """A request for a challenge: its origin, which the tenant has registered, and for `signature` the text that the
    holder reads and signs. `purpose` and `browser` say for what and in which browser the login was started, each in one
    line, which the holder's program shows."""

    origin: Annotated[str, StringConstraints(max_length=300)]
    kind: KindWord = "authentication"
    text: Annotated[str, StringConstraints(max_length=MAX_TEXT)] = ""
    purpose: Annotated[str, StringConstraints(max_length=MAX_LINE)] = ""
    browser: Annotated[str, StringConstraints(max_length=MAX_LINE)] = ""


class ChallengeGiven(_Model):
    """A challenge. A card signs `message` (hexadecimal): by RSA with SHA-256, or by ECDSA with SHA-384."""

    origin: str
    nonce: str
    issued_at: datetime
    message: str


class AnswerGiven(_Model):
    """A card's response, and the origin at which it was received."""

    origin: Annotated[str, StringConstraints(max_length=300)]
    nonce: Hexadecimal
    signature: Hexadecimal
    certificate: Hexadecimal


class CertificateGiven(_Model):
    """A certificate, DER in base64, and the type that is required."""

    certificate: Base64
    kind: KindWord | None = None
    at: datetime | None = None


class DocumentGiven(_Model):
    """A signed document in base64: CMS, PDF or XML; `content` is the signed file for a detached CMS signature."""

    document: Base64
    content: Base64 | None = None
    at: datetime | None = None


class VerdictGiven(_Model):
    """The verdict, and the tenant's user if it is good."""

    verdict: dict[str, Any] = Field(description="outcome, finding, detail, since, reason, source, certificate ...")
    user: str | None = None
    new: bool | None = None


class Failure(_Model):
    """An error; `detail` says what is wrong."""

    detail: Any


GUARD = Guard(
    MAX_BODY,
    {
        NoSuchTenant: Problem(401, headers={"WWW-Authenticate": "Bearer"}),
        NoSuchUser: Problem(404),
        OriginNotRegistered: Problem(403),
        LinkageConflict: Problem(409),
        LinkageUnavailable: Problem(503),
        StoreFailed: Problem(503),
        BadRequest: Problem(400),
    },
    lambda error, code, message: {"detail": message},
)


class _Access:
    """Middleware that identifies the tenant by the request's key before it reads the request body."""

    def __init__(self, app: ASGIApp, platform: Platform) -> None:
        self._app = app
        self._platform = platform

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        app = self._app
        if scope["type"] == "http" and scope["path"].startswith("/v1/"):
            scheme, _, key = Headers(scope=scope).get("authorization", "").partition(" ")
            try:
                token = key.strip() if scheme.lower() == "bearer" else ""
                scope.setdefault("state", {})["tenant"] = await asyncio.to_thread(self._platform.tenant, token)
            except (NoSuchTenant, StoreFailed) as error:
                app = GUARD.response(error)
        await app(scope, receive, send)


def _tenant(
    request: Request, _: Annotated[HTTPAuthorizationCredentials | None, Depends(HTTPBearer(auto_error=False))]
) -> str:
    """Return the tenant that `_Access` has identified. The security scheme is here for OpenAPI."""
    return str(request.state.tenant)


Tenant = Annotated[str, Depends(_tenant)]


class PlatformApi:
    """The platform's routes."""

    def __init__(self, platform: Platform, verifier: Verifier, challenges: Challenges) -> None:
        self._platform = platform
        self._verifier = verifier
        self._login = Authentication(verifier, challenges)
        self._documents = Documents(verifier)

    def application(self) -> FastAPI:
        """Return the platform as an ASGI application."""
        failures: dict[int | str, dict[str, Any]] = {
            code: {"model": Failure} for code in (400, 401, 403, 404, 409, 413, 422, 503)
        }
        api = FastAPI(title="Kazashi platform operator", version="1", description=DESCRIPTION, responses=failures)
        api.router.routes.append(Health.of_stores(self._platform.store).route())
        api.router.lifespan_context = sweeping(self._login.sweep)
        api.add_middleware(_Access, platform=self._platform)
        GUARD.protect(api)
        api.add_exception_handler(RequestValidationError, _invalid)
        for_tenants = [Depends(_tenant)]
        api.post("/v1/challenges", status_code=201)(self.give_challenge)
        api.post("/v1/authentications")(self.authenticate)
        api.post("/v1/certificates", dependencies=for_tenants)(self.check_certificate)
        api.post("/v1/documents")(self.check_document)
        api.get("/v1/users/{user}")(self.user_status)
        api.delete("/v1/users/{user}", status_code=204)(self.forget_user)
        api.get("/v1/exposure")(self.exposure)
        return api

    def give_challenge(self, body: ChallengeAsked, tenant: Tenant) -> ChallengeGiven:
        """Issue a challenge, which is valid for one response to this tenant within five minutes."""
        try:
            check_text(body.text)
            check_line(body.purpose)
            check_line(body.browser)
            if (body.kind == "signature") != bool(body.text.strip()):
                raise ValueError("a signature needs a text, and a login must not have one")
        except ValueError as error:
            raise BadRequest(error) from error
        self._platform.check_origin(tenant, body.origin)
        challenge = self._login.challenge(
            body.origin, CERTIFICATE_TYPES[body.kind], body.text, purpose=body.purpose, browser=body.browser,
            tenant=tenant,
        )  # fmt: skip
        return ChallengeGiven(
            origin=challenge.origin, nonce=challenge.nonce.hex(), issued_at=challenge.issued_at,
            message=challenge.message.hex(),
        )  # fmt: skip

    def authenticate(self, body: AnswerGiven, tenant: Tenant) -> VerdictGiven:
        """Return the verdict on a response. The challenge is used up whatever the verdict."""
        try:
            response = Response.from_json(body.model_dump())
        except VerificationFailed as failure:
            return self._verdict(tenant, Verdict.from_failure(failure, self._verifier.clock.now()))
        return self._verdict(tenant, self._login.verdict(body.origin, response, tenant))

    def check_certificate(self, body: CertificateGiven) -> VerdictGiven:
        """Return the verdict on a certificate. It does not prove who sent the certificate, so it contains no user."""
        kind = CERTIFICATE_TYPES[body.kind] if body.kind is not None else None
        verdict = self._verifier.certificate(_bytes(body.certificate), kind, _aware(body.at))
        return VerdictGiven(verdict=verdict.as_dict())

    def check_document(self, body: DocumentGiven, tenant: Tenant) -> VerdictGiven:
        """Return the verdict on a signed document, and the signer's user ID."""
        content = _bytes(body.content) if body.content is not None else None
        return self._verdict(tenant, self._documents.any(_bytes(body.document), content, _aware(body.at)))

    def user_status(self, user: str, tenant: Tenant) -> dict[str, Any]:
        """Return, for each certificate type, whether the authority now has a newer certificate of the user."""
        renewed = self._platform.renewed(tenant, _user(user))
        return {"user": user, "renewed": {kind.code: newer for kind, newer in renewed.items()}}

    def forget_user(self, user: str, tenant: Tenant) -> None:
        """Delete a user: the same person will be a new user from then on."""
        self._platform.delete(tenant, _user(user))

    def exposure(self, tenant: Tenant) -> list[dict[str, Any]]:
        """Return everything that is stored about the tenant's users, which a leak of the store would reveal."""
        return [{**row, "serial": serial_text(row["serial"])} for row in self._platform.exposure(tenant)]

    def _verdict(self, tenant: str, verdict: Verdict) -> VerdictGiven:
        """Return a verdict for a tenant: with the tenant's own user ID if it is good, and without the serial number,
        which other services see too."""
        content = verdict.as_dict()
        if content["certificate"] is not None:
            content["certificate"].pop("serial")
        if verdict.outcome is not Outcome.GOOD or verdict.certificate is None:
            return VerdictGiven(verdict=content)
        user = self._platform.identify(tenant, verdict.certificate)
        return VerdictGiven(verdict=content, user=user.identifier, new=user.new)


def application(platform: Platform, verifier: Verifier, challenges: Challenges) -> FastAPI:
    """Return the platform as an ASGI application."""
    return PlatformApi(platform, verifier, challenges).application()


async def _invalid(_: Request, error: Exception) -> JSONResponse:
    """Respond with what is wrong in a request's JSON, without the values, which JSON may not be able to represent."""
    assert isinstance(error, RequestValidationError)
    details = [
        {"loc": [printable(part) for part in entry["loc"]], "msg": printable(entry["msg"])} for entry in error.errors()
    ]
    return JSONResponse({"detail": details}, 422)


def _user(identifier: str) -> str:
    """Return the user ID if it is well-formed. Raises NoSuchUser, because nobody has a malformed one."""
    if not re.fullmatch(r"[0-9a-f]{40}", identifier):
        raise NoSuchUser("there is no user with that ID")
    return identifier


def _bytes(text: str) -> bytes:
    try:
        return b64decode(text, validate=True)
    except (Base64Error, ValueError) as error:
        raise BadRequest(f"the value is not valid base64: {error}") from error


def _aware(at: datetime | None) -> datetime | None:
    if at is not None and at.tzinfo is None:
        raise BadRequest("the time must have a time zone")
    return at
