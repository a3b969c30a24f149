"""The joint body over HTTPS, with certificates on both ends.

For insurers, with the certificate of a business system (`kazashi network system add`):

    POST /v1/feeds       a file (feed.py)                      ->  the receipt

For clinics, with a certificate of the joint body's own authority (`kazashi clinic add`):

    POST /v1/challenge   {}                                    ->  {"origin", "nonce", "issued_at"}
    POST /v1/check       {"nonce", "signature", "certificate", "how"}   ->  {"state", "entitlement", "words"}
    POST /v1/register    the same                              ->  the same

An error is {"error", "denial"}.
"""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from kazashi.medical_insurance.clinics import UNIT, Clinics
from kazashi.medical_insurance.eligibility import EligibilityDesk, HolderCheck
from kazashi.medical_insurance.feed_intake import FeedIntake
from kazashi.medical_insurance.joint_body import FeedReceipt, JointBody
from kazashi.provision_network.interface_system import InterfaceSystem
from kazashi.provision_network.message_http import SYSTEM, ClientNotAllowed, guarded, json_of
from kazashi.relying_party.verify.authentication import Response
from kazashi.relying_party.verify.finding import VerificationFailed
from kazashi.web.health import Health
from kazashi.web.mutual_tls import Peer, peer_of
from kazashi.world.clock import epoch


class JointService:
    """The joint body's routes."""

    def __init__(
        self, joint: JointBody, desk: EligibilityDesk, intake: FeedIntake, clinics: Clinics, interface: InterfaceSystem
    ) -> None:
        self._joint = joint
        self._desk = desk
        self._intake = intake
        self._clinics = clinics
        self._interface = interface

    def application(self) -> Starlette:
        """Return the joint body as an ASGI application. Serve it with the settings of
        `kazashi.web.mutual_tls.serving`."""
        return guarded(
            Route("/v1/feeds", self.feeds, methods=["POST"]),
            Route("/v1/challenge", self.challenge, methods=["POST"]),
            Route("/v1/check", self.check, methods=["POST"]),
            Route("/v1/register", self.register, methods=["POST"]),
            Health.of_stores(self._joint.store, self._interface.store).route(),
        )

    async def feeds(self, request: Request) -> JSONResponse:
        """Take an insurer's file."""
        peer, content = peer_of(request.scope), await request.body()
        receipt = await run_in_threadpool(self._hand_in, peer, content)
        return JSONResponse(receipt.as_dict())

    async def challenge(self, request: Request) -> JSONResponse:
        """Issue a challenge."""
        clinic = await run_in_threadpool(self._clinic, peer_of(request.scope))
        challenge = self._desk.challenge(clinic)
        return JSONResponse({
            "origin": challenge.origin, "nonce": challenge.nonce.hex(), "issued_at": epoch(challenge.issued_at)
        })  # fmt: skip

    async def check(self, request: Request) -> JSONResponse:
        """Check a card."""
        return await self._checked(request, registering=False)

    async def register(self, request: Request) -> JSONResponse:
        """Register a card as an insurance card, and check it."""
        return await self._checked(request, registering=True)

    async def _checked(self, request: Request, *, registering: bool) -> JSONResponse:
        peer, given = peer_of(request.scope), await json_of(request)
        how = HolderCheck(given["how"])
        try:
            response = Response.from_json(given)
        except VerificationFailed as error:
            raise ValueError(error.detail) from error

        def checked() -> JSONResponse:
            clinic = self._clinic(peer)
            act = self._desk.register if registering else self._desk.check
            return JSONResponse(act(clinic, how, response).as_dict())

        return await run_in_threadpool(checked)

    def _clinic(self, peer: Peer) -> str:
        """Return the name of the clinic that sends a request. Raises ClientNotAllowed."""
        if peer.unit != UNIT or not self._clinics.admits(peer.fingerprint):
            raise ClientNotAllowed("only a clinic with a certificate of the joint body may check cards")
        return peer.name

    def _hand_in(self, peer: Peer, content: bytes) -> FeedReceipt:
        """Take a file over. A stranger's is recorded too. Raises ClientNotAllowed and FeedRejected."""
        with self._interface.store.reading() as connection:
            allowed = peer.unit == SYSTEM and self._interface.admits(connection, peer.name, peer.fingerprint)
        if not allowed:
            error = ClientNotAllowed(f"{peer.name} is not an insurer behind {self._interface.name}")
            self._joint.refuse(peer.name, 0, error.denial, str(error))
            raise error
        return self._intake.hand_in(peer.name, content)
