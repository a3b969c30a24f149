"""Medical insurance in one world: the joint body and the insurers on the network, files, cards and clinics."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from kazashi.assembly.actors import JOINT_BODY
from kazashi.assembly.errors import UsageError
from kazashi.assembly.network import Network
from kazashi.assembly.network_bodies import NetworkBodies
from kazashi.assembly.network_server import HOST
from kazashi.assembly.relying import card_verdict, direct_linkage
from kazashi.assembly.terminals import terminal_certificate
from kazashi.jpki.profile import Medium
from kazashi.medical_insurance.clinic import FILES, CardTerminal, Clinic
from kazashi.medical_insurance.clinics import Clinics
from kazashi.medical_insurance.feed import ChangeType, FeedLine, written
from kazashi.medical_insurance.feed_intake import FeedIntake
from kazashi.medical_insurance.joint_body import GROUP, INTERFACE, KIND, NAME, JointBody
from kazashi.medical_insurance.joint_store import SECRETS
from kazashi.provision_network.assessments import sample_assessment
from kazashi.provision_network.interface_system import InterfaceSystem
from kazashi.provision_network.message_http import SYSTEM
from kazashi.provision_network.terms import NetworkRejected
from kazashi.relying_party.verify.finding import Outcome
from kazashi.relying_party.verify.linkage import Linkage, NoLinkage
from kazashi.resident_registry.resident import Resident
from kazashi.web.mutual_tls import Credentials
from kazashi.web.ports import JOINT_BODY as JOINT_BODY_PORT
from kazashi.world.clock import today
from kazashi.world.home import World
from kazashi.world.names import certified_name
from kazashi.world.rng import secure_random

_INSURED_NUMBERS = 10**8


class MedicalInsurance:
    """The joint body, its insurers and its clinics, for commands."""

    def __init__(self, network: Network, linkage: Linkage | None = None) -> None:
        self._network = network
        self._bodies = NetworkBodies(network)
        self.joint = JointBody(network.world, linkage or NoLinkage())
        self.clinics = Clinics(self.joint.store, network.world.clock)

    @property
    def interface(self) -> InterfaceSystem:
        """The interface system of the joint body and the insurers. Raises NetworkRejected if it is not set up."""
        return interface_of(self._network.world, self._network)

    def set_up(self, insurers: Sequence[str], port: int | None = None) -> list[str]:
        """Connect the joint body and insurers to the network, behind one interface system and with shared codes.

        Repeating it changes nothing, and adds insurers. Returns the names of the insurers. Raises UsageError and
        NetworkRejected.
        """
        for name in (NAME, *insurers):
            body = self._bodies.add(name, KIND, interface=INTERFACE, group=GROUP, port=port)
            if body.unassessed(self._network.now()):
                made_up = sample_assessment(name, KIND, today(self._network.world.clock))
                version = 1 if body.assessment is None else body.assessment.version + 1
                self._network.core.members.assess(replace(made_up, version=version))
        self._network.carry()
        core = self._network.core
        with self.joint.store.alone() as connection:
            SECRETS.begin(connection, "system", lambda: _as_secrets(core.credentials(NAME, SYSTEM, HOST)))
        return self.insurers()

    def insurers(self) -> list[str]:
        """The insurers behind the interface system."""
        return [name for name in self.interface.bodies if name != NAME]

    def intake(self) -> FeedIntake:
        """The counter for insurers' files."""
        return FeedIntake(self.joint, self.interface)

    def draft(
        self, insurer: str, people: Sequence[Resident], change: ChangeType, begins: date, ends: date | None
    ) -> str:  # fmt: skip
        """The text of an insurer's next file about people on its list: new entitlements with made-up numbers, or the
        changed or ended entitlements that they have. Raises NetworkRejected and UsageError."""
        lines = []
        for place, person in enumerate(people, 2):
            address = self._bodies.address_of(insurer, person)
            if change is ChangeType.NEW:
                number, first = f"06-{secure_random(64) % _INSURED_NUMBERS:08d}", begins
            else:
                number, first = self._entitlement_of(insurer, address, person)
            lines.append(FeedLine(change, address, number, first, ends, place))
        day = today(self._network.world.clock)
        return written(insurer, self.joint.next_number(insurer), day, lines)

    def _entitlement_of(self, insurer: str, address: str, person: Resident) -> tuple[str, date]:
        code = self.interface.server(insurer).code_of(address)
        held = [one for entry in self.joint.people() for one in entry.entitlements
                if one.insurer == insurer and self.joint.code_of(entry.own_number) == code]  # fmt: skip
        if not held:
            raise UsageError(f"{person.alias or person.code} has no entitlement with {insurer} yet")
        return held[-1].insured_number, held[-1].begins

    def register(self, who: str, medium: Medium) -> str | None:
        """Register the card or phone of a person as an insurance card. Returns the joint body's own number of them, or
        None if no insurer has named them.

        Raises NetworkRejected if the certificate is not valid, NoSuchResident, and UsageError if there is none.
        """
        institutions = self._network.institutions
        verdict = card_verdict(institutions, who, medium)
        if verdict.outcome is not Outcome.GOOD or verdict.certificate is None:
            raise NetworkRejected(
                "not-entitled", f"the card's certificate is {verdict.outcome.value}: {verdict.detail}"
            )
        code = self._network.core.codes.code_for(NAME, institutions.registry.find(who).code)
        self.intake().settle()
        return self.joint.register(verdict.certificate.serial, code)

    def add_clinic(self, name: str, folder: Path, address: str = JOINT_BODY_PORT.address) -> None:
        """Issue the certificates of a clinic's terminal, and write its folder. `address` is the joint body's. Raises
        UsageError and NetworkRejected."""
        try:
            certified_name(name, "clinic")
        except ValueError as error:
            raise UsageError(str(error)) from error
        if existing := [folder / file for file in FILES if (folder / file).exists()]:
            raise UsageError(f"{existing[0]} exists; name another directory with --out")
        server = system_credentials_of(self.joint)
        issued = self.clinics.add(name)
        key = serialization.load_der_private_key(self._network.world.keys.take(), None)
        assert isinstance(key, rsa.RSAPrivateKey)
        public = key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        certificate = terminal_certificate(self._network.institutions, public, name)
        credentials = Credentials(issued.certificate, issued.key, server.authority)
        Clinic(name, address, credentials, CardTerminal(key, (b"", b""))).save(folder, certificate)


def interface_of(world: World, network: Network | None = None) -> InterfaceSystem:
    """The interface system of the joint body and the insurers. Raises NetworkRejected if it is not set up."""
    offices = None if network is None else network.institutions.offices
    interface = InterfaceSystem(world, INTERFACE) if offices is None else offices.interface(INTERFACE)
    if NAME not in interface.bodies:
        raise NetworkRejected("not-connected", f"{NAME} is not on the network yet; run: kazashi insurance setup")
    return interface


def insurance_of(network: Network) -> MedicalInsurance:
    """The medical insurance of a world, whose joint body calls the linkage service without a server."""
    return MedicalInsurance(network, direct_linkage(network.institutions, JOINT_BODY.caller))


def system_credentials_of(joint: JointBody) -> Credentials:
    """The joint body's certificate on the network, for its server and its requests. Raises NetworkRejected if it is not
    set up."""

    def missing() -> dict[str, bytes]:
        raise NetworkRejected("not-connected", f"{NAME} is not on the network yet; run: kazashi insurance setup")

    with joint.store.alone() as connection:
        secrets = SECRETS.begin(connection, "system", missing)
    return Credentials(secrets["system"], secrets["system-key"], secrets["network-authority"])


def _as_secrets(issued: Credentials) -> dict[str, bytes]:
    return {"system": issued.certificate, "system-key": issued.key, "network-authority": issued.authority}
