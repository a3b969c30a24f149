"""The platform operator over HTTP, for tenants who show their key as `Authorization: Bearer KEY`. OpenAPI is at /docs.

POST   /v1/challenges        a challenge for a login, or for a text to be signed
POST   /v1/authentications   the verdict on the answer, and the tenant's user id
POST   /v1/certificates      the verdict on a certificate
POST   /v1/documents         the verdict on a signed document, and the signer's user id
GET    /v1/users/{user}      whether the user has newer certificates by now
DELETE /v1/users/{user}      forget the user: the same person is another one from then on
GET    /v1/exposure          all that is stored of the tenant's users
"""

from __future__ import annotations

import asyncio
import re
from base64 import b64decode
from binascii import Error as Base64Error
from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from kazashi.jpki.profile import KINDS
from kazashi.relying_party.platform.platform import LinkageConflict, NoSuchTenant, NoSuchUser, Platform
from kazashi.relying_party.verify.authentication import Authentication, Challenges, Response
from kazashi.relying_party.verify.certificate import MAX_CERTIFICATE
from kazashi.relying_party.verify.documents import Documents
from kazashi.relying_party.verify.finding import Outcome, Refuted
from kazashi.relying_party.verify.linkage import LinkageUnavailable
from kazashi.relying_party.verify.verdict import Verdict
from kazashi.relying_party.verify.verification import Verifier
from kazashi.web.origin import MAX_TEXT, origin_of
from kazashi.world.storage import StoreFailed

MAX_BODY = 24 << 20
"""Bytes of a request: a document of some 16 megabytes, in base64."""

Hexadecimal = Annotated[str, StringConstraints(pattern=r"^([0-9A-Fa-f]{2})*$", max_length=2 * MAX_CERTIFICATE)]
Base64 = Annotated[str, StringConstraints(max_length=MAX_BODY)]
KindWord = Literal["authentication", "signature"]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid")


class ChallengeAsked(_Model):
    """For which origin a challenge is wanted; a `signature` has a text that its holder reads."""

    origin: Annotated[str, StringConstraints(max_length=300)]
    kind: KindWord = "authentication"
    text: Annotated[str, StringConstraints(max_length=MAX_TEXT)] = ""


class ChallengeGiven(_Model):
    """The challenge. A card signs `message` (hexadecimal) by RSA with SHA-256."""

    origin: str
    nonce: str
    issued_at: datetime
    message: str


class AnswerGiven(_Model):
    """What came back from a card, and at which origin."""

    origin: Annotated[str, StringConstraints(max_length=300)]
    nonce: Hexadecimal
    signature: Hexadecimal
    certificate: Hexadecimal


class CertificateGiven(_Model):
    """A certificate, DER in base64, and the kind that is wanted."""

    certificate: Base64
    kind: KindWord | None = None
    at: datetime | None = None


class DocumentGiven(_Model):
    """A signed document in base64: CMS, PDF or XML; `content` where a CMS signature is apart from it."""

    document: Base64
    content: Base64 | None = None
    at: datetime | None = None


class VerdictGiven(_Model):
    """The verdict, and the tenant's user where it is good."""

    verdict: dict[str, Any] = Field(description="outcome, finding, detail, since, reason, source, certificate ...")
    user: str | None = None
    new: bool | None = None


class Failure(_Model):
    """What went wrong."""

    detail: Any


def _tenant(
    request: Request, _: Annotated[HTTPAuthorizationCredentials | None, Depends(HTTPBearer(auto_error=False))]
) -> str:
    """Whose key was shown: it was looked at before the body was read."""
    return str(request.state.tenant)


Tenant = Annotated[str, Depends(_tenant)]


def application(platform: Platform, verifier: Verifier, challenges: Challenges) -> FastAPI:
    """The platform as an ASGI application."""
    failures: dict[int | str, dict[str, Any]] = {
        code: {"model": Failure} for code in (400, 401, 404, 409, 413, 422, 503)
    }
    api = FastAPI(title="Kazashi platform operator", version="1", description=__doc__ or "", responses=failures)
    login, documents = Authentication(verifier, challenges), Documents(verifier)

    def said(name: str, verdict: Verdict) -> VerdictGiven:
        # The tenant is told who it is by its own user id, and never by a serial number that others see too.
        told = verdict.as_dict()
        if told["certificate"] is not None:
            told["certificate"].pop("serial")
        if verdict.outcome is not Outcome.GOOD or verdict.certificate is None:
            return VerdictGiven(verdict=told)
        user = platform.identify(name, verdict.certificate)
        return VerdictGiven(verdict=told, user=user.identifier, new=user.new)

    @api.middleware("http")
    async def limited(request: Request, proceed: Any) -> Any:
        length = request.headers.get("content-length")
        if request.method == "POST" and length is None:
            return JSONResponse({"detail": "say how long the request is"}, 400)
        if length is not None and (not length.isdigit() or int(length) > MAX_BODY):
            return JSONResponse({"detail": f"a request has at most {MAX_BODY} bytes"}, 413)
        if request.url.path.startswith("/v1/"):
            scheme, _, key = request.headers.get("authorization", "").partition(" ")
            try:
                shown = key.strip() if scheme.lower() == "bearer" else ""
                request.state.tenant = await asyncio.to_thread(platform.tenant, shown)
            except NoSuchTenant as error:
                return JSONResponse({"detail": str(error)}, 401, {"WWW-Authenticate": "Bearer"})
            except StoreFailed as error:
                return JSONResponse({"detail": str(error)}, 503)
        return await proceed(request)

    for error, status in (
        (NoSuchUser, 404), (LinkageConflict, 409), (LinkageUnavailable, 503), (StoreFailed, 503),
    ):  # fmt: skip
        api.add_exception_handler(error, _teller(status))

    @api.exception_handler(RequestValidationError)
    async def tell_wrong(_: Request, error: RequestValidationError) -> JSONResponse:
        # Without what was sent: half a surrogate, or a number that is none, cannot be sent back.
        wrong = [
            {"loc": [_printable(part) for part in found["loc"]], "msg": _printable(found["msg"])}
            for found in error.errors()
        ]
        return JSONResponse({"detail": wrong}, 422)

    @api.post("/v1/challenges", status_code=201)
    def give_challenge(asked: ChallengeAsked, name: Tenant) -> ChallengeGiven:
        """A challenge, good for one answer within five minutes."""
        try:
            if origin_of(asked.origin) != asked.origin:
                raise ValueError(f"{asked.origin!r} is more than an origin")
            asked.text.encode()  # half a surrogate is no text
            if "\0" in asked.text:
                raise ValueError("a text has no NUL in it")
        except ValueError as error:
            raise HTTPException(400, _printable(error)) from error
        given = login.challenge(asked.origin, KINDS[asked.kind], asked.text)
        return ChallengeGiven(
            origin=given.origin, nonce=given.nonce.hex(), issued_at=given.issued_at, message=given.message.hex()
        )

    @api.post("/v1/authentications")
    def authenticate(answer: AnswerGiven, name: Tenant) -> VerdictGiven:
        """The verdict on an answer. The challenge is used up, whatever the verdict is."""
        try:
            response = Response.from_json(answer.model_dump())
        except Refuted as refuted:
            return said(name, Verdict.refuted(refuted, verifier.clock.now()))
        return said(name, login.verdict(answer.origin, response))

    @api.post("/v1/certificates")
    def check_certificate(given: CertificateGiven, name: Tenant) -> VerdictGiven:
        """The verdict on a certificate. It proves nothing of who sent it, and so names no user."""
        kind = KINDS[given.kind] if given.kind is not None else None
        return VerdictGiven(verdict=verifier.certificate(_bytes(given.certificate), kind, _aware(given.at)).as_dict())

    @api.post("/v1/documents")
    def check_document(given: DocumentGiven, name: Tenant) -> VerdictGiven:
        """The verdict on a signed document, and the signer's user id."""
        content = _bytes(given.content) if given.content is not None else None
        return said(name, documents.any(_bytes(given.document), content, _aware(given.at)))

    @api.get("/v1/users/{user}")
    def user_status(user: str, name: Tenant) -> dict[str, Any]:
        """Whether the authority knows a newer certificate of the user's by now, kind by kind."""
        user = _user(user)
        return {"user": user, "renewed": {kind.word: newer for kind, newer in platform.renewed(name, user).items()}}

    @api.delete("/v1/users/{user}", status_code=204)
    def forget_user(user: str, name: Tenant) -> None:
        """Forget a user."""
        platform.delete(name, _user(user))

    @api.get("/v1/exposure")
    def exposure(name: Tenant) -> list[dict[str, Any]]:
        """All that is stored of the tenant's users: what would be lost with the platform's store."""
        return [{**row, "serial": f"{row['serial']:X}"} for row in platform.exposure(name)]

    return api


def _teller(status: int) -> Any:
    async def tell(_: Request, error: Exception) -> JSONResponse:
        return JSONResponse({"detail": str(error)}, status)

    return tell


def _user(identifier: str) -> str:
    """A user id, where it is one; what is none is nobody's."""
    if not re.fullmatch(r"[0-9a-f]{40}", identifier):
        raise NoSuchUser("there is no user of that id")
    return identifier


def _printable(said: object) -> str:
    """Words without what could not be sent."""
    return str(said).encode("utf-8", "replace").decode("utf-8")


def _bytes(text: str) -> bytes:
    try:
        return b64decode(text, validate=True)
    except (Base64Error, ValueError) as error:
        raise HTTPException(400, f"this is no base64: {error}") from error


def _aware(at: datetime | None) -> datetime | None:
    if at is not None and at.tzinfo is None:
        raise HTTPException(400, "an instant has a time zone")
    return at
