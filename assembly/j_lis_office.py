"""J-LIS's desk between certificates and codes: `python -m kazashi.assembly.j_lis_office WORLD --port P`.

The portal shows the serial number of an authentication certificate, J-LIS knows whose it is, and the core says what the
portal calls that person. The portal learns its code, and the core never sees a serial number.
"""

from __future__ import annotations

import argparse
import http.client
import json
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
from kazashi.jpki.profile import CertificateType
from kazashi.pki.certificate_database import NoSuchCertificate
from kazashi.provision_network.codes import ForeignCode, PortalCode
from kazashi.provision_network.interface_system import InterfaceSystem
from kazashi.provision_network.network_http import INTERFACE, JUKI_NET
from kazashi.provision_network.portal import INTERFACE_NAME, record_from
from kazashi.provision_network.terms import CORE, NetworkRejected
from kazashi.relying_party.verify.linkage import LinkageUnavailable
from kazashi.web.mutual_tls import Credentials, JsonConnection, peer_of, serving
from kazashi.world.home import World, open_world


def application(institutions: Institutions, core: JsonConnection) -> Starlette:
    """The desk as an ASGI application, served with certificates on both ends."""
    authority = institutions.authorities[CertificateType.AUTHENTICATION]

    def find(serial: int) -> tuple[int, dict[str, Any]]:
        try:
            holder = authority.find(serial).holder
        except NoSuchCertificate as error:
            return 404, {"error": str(error)}
        try:
            status, content = core.post("/v1/portal-code", {"record_code": holder})
            return status, json.loads(content)
        except (OSError, http.client.HTTPException, ValueError) as error:
            return 503, {"error": f"the core does not answer: {error}"}

    async def code(request: Request) -> Response:
        peer = peer_of(request.scope)
        if (peer.unit, peer.name) != (INTERFACE, INTERFACE_NAME):
            return JSONResponse({"error": "this desk is for the portal alone"}, 403)
        try:
            serial = int(str((await request.json())["serial"]), 16)
        except (ValueError, KeyError, TypeError) as error:
            return JSONResponse({"error": f"that makes no sense: {error}"}, 400)
        status, found = await run_in_threadpool(find, serial)
        return JSONResponse(found, status)

    return Starlette(routes=[Route("/v1/code", code, methods=["POST"])])


class PortalLines:
    """The portal's ways to the desk and to the core."""

    def __init__(self, interface: InterfaceSystem, desk: str) -> None:
        """Raises NetworkRejected before the portal is enrolled."""
        credentials, core = interface.credentials()
        self._credentials, self._addresses = credentials, {"desk": desk, CORE: core}

    def code(self, serial: int) -> PortalCode:
        """The desk's answer to a serial number. Raises LinkageUnavailable and NetworkRejected."""
        found = self._ask("desk", "/v1/code", {"serial": f"{serial:X}"})
        try:
            return PortalCode.parse(found["code"])
        except ForeignCode as error:
            raise LinkageUnavailable(str(error)) from error

    def records(self, code: PortalCode) -> list[Any]:
        """The core's answer to a code. Raises LinkageUnavailable and NetworkRejected."""
        return [record_from(told) for told in self._ask(CORE, "/v1/records", {"code": str(code)})["records"]]

    def _ask(self, whom: str, path: str, body: dict[str, str]) -> dict[str, Any]:
        try:
            line = JsonConnection(self._credentials, self._addresses[whom])
            try:
                status, content = line.post(path, body)
            finally:
                line.close()
            found: dict[str, Any] = json.loads(content)
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise LinkageUnavailable(f"{whom} does not answer: {error}") from error
        if status == 200:
            return found
        if status in (404, 422):
            raise NetworkRejected(str(found.get("denial", "unknown-certificate")), str(found.get("error", "")))
        raise LinkageUnavailable(f"{whom} answers {status}: {found.get('error', '')}")


def credentials_of(world: World) -> tuple[Credentials, str]:
    """What the desk shows, and where the core is."""
    core = core_of(world)
    address = InterfaceSystem(world, INTERFACE_NAME).addresses()[CORE]
    return core.credentials("J-LIS", JUKI_NET, HOST), address


def main() -> None:
    """From the command line."""
    parser = argparse.ArgumentParser(description="Serve J-LIS's desk between certificates and codes.")
    parser.add_argument("world", type=Path)
    parser.add_argument("--port", type=int, required=True)
    asked = parser.parse_args()
    world = open_world(asked.world)
    credentials, core = credentials_of(world)
    directory = world.run / "desk"
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    desk = application(Institutions(world), JsonConnection(credentials, core))
    uvicorn.run(desk, **serving(credentials, directory, HOST, asked.port))


if __name__ == "__main__":
    main()
