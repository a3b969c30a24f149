"""The J-LIS office between certificates and codes: `python -m kazashi.assembly.j_lis_office WORLD --port P`.

The portal sends the serial number of an authentication certificate, or of the signature certificate on a Juki card.
J-LIS knows its holder, and gets the portal's code for that person from the core. The portal learns its own code, and
the core never sees a serial number. The insurers' joint body gets the insurers' code in the same way.
"""

from __future__ import annotations

import argparse
import http.client
import json
from datetime import datetime
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from kazashi.assembly.institutions import Institutions
from kazashi.assembly.network_server import HOST, core_of
from kazashi.jpki.profile import CERTIFICATE_TYPES, CertificateType, Medium
from kazashi.jpki.serial_number import AmbiguousSerialNumber, serial_text
from kazashi.medical_insurance.joint_body import NAME as JOINT_BODY
from kazashi.pki.certificate_database import NoSuchCertificate
from kazashi.provision_network.codes import ForeignCode, PortalCode
from kazashi.provision_network.interface_system import InterfaceSystem
from kazashi.provision_network.message_http import INTERFACE, JUKI_NET, SYSTEM
from kazashi.provision_network.portal import INTERFACE_NAME, record_from
from kazashi.provision_network.provision_records import RecordLook
from kazashi.provision_network.terms import CORE, NetworkRejected
from kazashi.relying_party.verify.linkage import LinkageUnavailable
from kazashi.resident_registry.event import CodeChange
from kazashi.web.guard import Guard, Problem
from kazashi.web.mutual_tls import Credentials, JsonConnection, peer_of, serving
from kazashi.world.home import World, open_world
from kazashi.world.storage import StoreFailed

_GUARD = Guard(
    1 << 12,
    {
        **dict.fromkeys(
            (ValueError, KeyError, TypeError, OverflowError, RecursionError, AmbiguousSerialNumber),
            Problem(400, message="the request is malformed: {}"),
        ),
        StoreFailed: Problem(503),
    },
    lambda error, code, message: {"error": message},
)


def application(institutions: Institutions, core: JsonConnection) -> Starlette:
    """The office as an ASGI application, to be served with mutual TLS."""

    def find(serial: str, kind: CertificateType, path: str, **more: str) -> tuple[int, dict[str, Any]]:
        try:
            issued = institutions.authorities[kind].named(serial)[0]
        except NoSuchCertificate as error:
            return 404, {"error": str(error)}
        if kind is CertificateType.SIGNATURE and issued.medium is not Medium.JUKI:
            return 404, {"error": f"the signature certificate {serial} is not on a Juki card"}
        holder = issued.holder
        j_lis = institutions.juki_net.j_lis
        if j_lis.outbox.next_due(j_lis.store, (CodeChange.code,)) is not None:
            return 503, {"error": "a changed record code is on its way to the core; try again"}
        try:
            status, content = core.post(path, {"record_code": holder, **more})
            return status, json.loads(content)
        except (OSError, http.client.HTTPException, ValueError) as error:
            return 503, {"error": f"the core does not respond: {error}"}

    async def code(request: Request) -> Response:
        peer = peer_of(request.scope)
        if (peer.unit, peer.name) != (INTERFACE, INTERFACE_NAME):
            return JSONResponse({"error": "only the portal may use this service"}, 403)
        asked = await request.json()
        kind = CERTIFICATE_TYPES[asked.get("kind", CertificateType.AUTHENTICATION.code)]
        status, content = await run_in_threadpool(find, str(asked["serial"]), kind, "/v1/portal-code")
        return JSONResponse(content, status)

    async def institution_code(request: Request) -> Response:
        peer = peer_of(request.scope)
        if (peer.unit, peer.name) != (SYSTEM, JOINT_BODY):
            return JSONResponse({"error": "only the insurers' joint body may use this service"}, 403)
        serial, kind = str((await request.json())["serial"]), CertificateType.AUTHENTICATION
        status, content = await run_in_threadpool(lambda: find(serial, kind, "/v1/institution-code", body=peer.name))
        return JSONResponse(content, status)

    office = Starlette(
        routes=[
            Route("/v1/code", code, methods=["POST"]),
            Route("/v1/institution-code", institution_code, methods=["POST"]),
        ]
    )
    _GUARD.protect(office)
    return office


class PortalLines:
    """The portal's connections to the J-LIS office and to the core."""

    def __init__(self, interface: InterfaceSystem, desk: str) -> None:
        """`desk` is the address of the J-LIS office. Raises NetworkRejected if the portal is not enrolled yet."""
        credentials, core = interface.neighbours.credentials()
        self._credentials, self._addresses = credentials, {"desk": desk, CORE: core}

    def code(self, serial: int, kind: CertificateType = CertificateType.AUTHENTICATION) -> PortalCode:
        """Get the portal's code of the holder of a certificate from the J-LIS office.

        Raises LinkageUnavailable and NetworkRejected.
        """
        reply = self._request("desk", "/v1/code", {"serial": f"0x{serial_text(serial)}", "kind": kind.code})
        try:
            return PortalCode.parse(reply["code"])
        except ForeignCode as error:
            raise LinkageUnavailable(str(error)) from error

    def records(self, code: PortalCode) -> list[Any]:
        """Get the records of a code from the core. Raises LinkageUnavailable and NetworkRejected."""
        return [record_from(record) for record in self._request(CORE, "/v1/records", {"code": str(code)})["records"]]

    def looks(self, code: PortalCode) -> list[RecordLook]:
        """Get from the core who has looked at the records of a code other than through the portal. Raises
        LinkageUnavailable and NetworkRejected."""
        looks = self._request(CORE, "/v1/record-looks", {"code": str(code)})["looks"]
        return [RecordLook(datetime.fromisoformat(look["at"]), look["actor"]) for look in looks]

    def _request(self, server: str, path: str, body: dict[str, str]) -> dict[str, Any]:
        label = _LABELS[server]
        try:
            connection = JsonConnection(self._credentials, self._addresses[server])
            try:
                status, content = connection.post(path, body)
            finally:
                connection.close()
            reply: dict[str, Any] = json.loads(content)
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise LinkageUnavailable(f"{label} does not respond: {error}") from error
        if status == 200:
            return reply
        if status in (404, 422):
            raise NetworkRejected(str(reply.get("denial", "unknown-certificate")), str(reply.get("error", "")))
        raise LinkageUnavailable(f"{label} responded with status {status}: {reply.get('error', '')}")


_LABELS = {"desk": "the J-LIS office", CORE: "the core"}


def credentials_of(world: World) -> tuple[Credentials, str]:
    """The credentials of the J-LIS office, and the core's address."""
    core = core_of(world)
    address = InterfaceSystem(world, INTERFACE_NAME).neighbours.addresses()[CORE]
    return core.credentials("J-LIS", JUKI_NET, HOST), address


def main() -> None:
    """Serve the J-LIS office, with arguments from the command line."""
    parser = argparse.ArgumentParser(description="Serve the J-LIS office between certificates and codes.")
    parser.add_argument("world", type=Path)
    parser.add_argument("--port", type=int, required=True)
    arguments = parser.parse_args()
    world = open_world(arguments.world)
    credentials, core = credentials_of(world)
    directory = world.run / "desk"
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    office = application(Institutions(world), JsonConnection(credentials, core))
    uvicorn.run(office, **serving(credentials, directory, HOST, arguments.port))


if __name__ == "__main__":
    main()
