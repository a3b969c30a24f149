"""The server process of the insurers' joint body: `kazashi insurance serve`."""

from __future__ import annotations

from dataclasses import replace

import uvicorn

from kazashi.assembly.actors import JOINT_BODY
from kazashi.assembly.medical_insurance import interface_of, system_credentials_of
from kazashi.assembly.network_server import HOST
from kazashi.assembly.relying import over_http
from kazashi.assembly.served import require_free
from kazashi.medical_insurance.clinics import Clinics
from kazashi.medical_insurance.eligibility import EligibilityDesk
from kazashi.medical_insurance.feed_intake import FeedIntake
from kazashi.medical_insurance.joint_body import NAME, JointBody
from kazashi.medical_insurance.joint_http import JointService
from kazashi.medical_insurance.network_line import NetworkLine
from kazashi.relying_party.verify.authentication import Authentication
from kazashi.web.mutual_tls import serving
from kazashi.world.home import World


def serve_joint_body(world: World, services: str, office: str, port: int) -> None:
    """Serve the joint body until the process is stopped. `services` and `office` are the addresses of the authorities
    and of the J-LIS office.

    What an accepted file has left to do is done first. Raises NetworkRejected if it is not set up, and
    ServicesUnavailable.
    """
    require_free(port)
    interface = interface_of(world)
    verifier, linkage = over_http(world, services, JOINT_BODY.caller)
    joint = JointBody(world, linkage)
    credentials, clinics = system_credentials_of(joint), Clinics(joint.store, world.clock)
    intake = FeedIntake(joint, interface)
    intake.settle()
    line = NetworkLine(credentials, lambda: interface.neighbours.bodies()[NAME].address, office)
    desk = EligibilityDesk(joint, Authentication(verifier), world.clock, line.ask, line.code_of, intake.settle)
    application = JointService(joint, desk, intake, clinics, interface).application()
    directory = world.run / "joint-body"
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Insurers have certificates of the network's authority, and clinics those of the joint body's own.
    both = replace(credentials, authority=credentials.authority + clinics.authority().certificate)
    uvicorn.run(application, **serving(both, directory, HOST, port))
