"""A town with a network on which the insurers' joint body and two insurers are, and cards in people's hands."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

from kazashi.applets import jpki
from kazashi.applets.install import load_card
from kazashi.assembly.institutions import Institutions
from kazashi.assembly.medical_insurance import MedicalInsurance, insurance_of
from kazashi.assembly.network import Network, addresses
from kazashi.assembly.network_bodies import NetworkBodies
from kazashi.assembly.relying import direct_linkage
from kazashi.card.chip import Chip
from kazashi.card.request import select
from kazashi.card_management.order import image_path
from kazashi.jpki.profile import CertificateType, Medium
from kazashi.medical_insurance.clinic import CardTerminal, Clinic
from kazashi.medical_insurance.eligibility import EligibilityDesk, EligibilityResult, HolderCheck
from kazashi.medical_insurance.feed import ChangeType, FeedLine, written
from kazashi.medical_insurance.joint_body import NAME, FeedReceipt
from kazashi.medical_insurance.network_line import purpose
from kazashi.medical_insurance.terminal import authenticate
from kazashi.provision_network.codes import InstitutionCode
from kazashi.provision_network.exchange import carry
from kazashi.provision_network.terms import NetworkRejected, ProvisionRecord
from kazashi.relying_party.login.card_reader import CardAtHand
from kazashi.relying_party.verify.anchors import AnchorsInDirectory
from kazashi.relying_party.verify.authentication import Authentication, Response
from kazashi.relying_party.verify.linkage import Linkage
from kazashi.relying_party.verify.sources import lists_in
from kazashi.relying_party.verify.verification import Verifier
from kazashi.world.home import open_world
from kazashi.world.key_source import KeySource
from kazashi.world.outbox import Message
from tests.town import clock_of, new_institutions

INSURER, OTHER = "架空健康保険組合", "架空国民健康保険組合"
PEOPLE = ("hanako", "taro")
PIN = "1234"
CLINIC = "架空医院"
APRIL = date(2026, 4, 1)


@dataclass
class InsuredTown:
    """The institutions of such a town, in one process."""

    institutions: Institutions
    linkage: Linkage | None = None
    messages: list[Message] = field(default_factory=list)
    """All messages of the network that were delivered."""

    def __post_init__(self) -> None:
        self.world = self.institutions.world
        self.network = Network(self.institutions)
        linked = self.linkage or direct_linkage(self.institutions, "insurers")
        self.insurance = MedicalInsurance(self.network, linked)
        self.joint, self.intake = self.insurance.joint, self.insurance.intake()
        tree = self.world.publication
        verifier = Verifier(AnchorsInDirectory(tree / "ca"), [lists_in(tree)], self.world.clock)
        self.desk = EligibilityDesk(
            self.joint, Authentication(verifier), self.world.clock, self.ask, self.code_of, self.intake.settle
        )

    # Insurers

    def address(self, who: str, insurer: str = INSURER) -> str:
        """A person's address number at an insurer."""
        return NetworkBodies(self.network).address_of(insurer, self.institutions.registry.find(who))

    def line(self, who: str, change: str = "NEW", number: str = "06-1", begins: date = APRIL,
             ends: date | None = None, insurer: str = INSURER) -> FeedLine:  # fmt: skip
        """A line of a file about a person."""
        return FeedLine(ChangeType[change], self.address(who, insurer), number, begins, ends, 2)

    def file(self, *lines: FeedLine, insurer: str = INSURER, number: int | None = None) -> bytes:
        """An insurer's next file, or that with a number."""
        place = self.joint.next_number(insurer) if number is None else number
        return written(insurer, place, date(2026, 11, 24), lines).encode()

    def feed(self, *lines: FeedLine, insurer: str = INSURER) -> FeedReceipt:
        """Hand in an insurer's next file."""
        return self.intake.hand_in(insurer, self.file(*lines, insurer=insurer))

    # The network, in this process

    def ask(self, own_number: str, insurer: str) -> str | None:
        """Ask an insurer over the network, as the joint body does over HTTPS."""
        interface = self.insurance.interface
        code = interface.server(NAME).code_of(own_number)
        process = interface.asking.ask(NAME, code, purpose(), [insurer])
        self.carry()
        request = interface.asking.request(process)
        if request.denial:
            raise NetworkRejected(request.denial, request.words)
        answer = interface.asking.answer_to(process)
        return None if answer is None else answer.content

    def carry(self) -> None:
        """Deliver all messages of the network."""
        carry(self.world, self.network.core, self.network.interfaces, self.messages.append)

    def code_of(self, serial: int) -> InstitutionCode:
        """What the J-LIS office does: the code of a certificate's holder."""
        issued = self.institutions.authorities[CertificateType.AUTHENTICATION].find(serial)
        return self.network.core.codes.code_for(NAME, issued.holder)

    def records(self, who: str) -> list[ProvisionRecord]:
        """A person's records, as the portal shows them, of requests of the joint body."""
        code = self.network.core.codes.portal_code(self.institutions.registry.find(who).code)
        return [record for record in self.network.core.records.of(code) if record.requester == NAME]

    def register(self, who: str) -> str | None:
        """Register a person's card, as the command does."""
        return self.insurance.register(who, Medium.CARD)

    # The desk

    def visit(
        self,
        who: str,
        how: HolderCheck = HolderCheck.PIN,
        *,
        register: bool = False,
        terminal: CardTerminal | None = None,
    ) -> EligibilityResult:
        """Let a person's card sign a challenge and check it."""
        challenge = self.desk.challenge(CLINIC)
        card = card_of(self.institutions, who)
        if how is HolderCheck.PIN:
            card.verify_pin(PIN)
        else:
            assert terminal is not None
            authenticate(card, terminal)
        certificate = card.certificate()
        response = Response(challenge.nonce, card.sign(challenge.message, certificate), certificate)
        return (self.desk.register if register else self.desk.check)(CLINIC, how, response)

    def terminal(self, folder: Path) -> CardTerminal:
        """A clinic's terminal."""
        self.insurance.add_clinic(CLINIC, folder)
        return Clinic.load(folder).terminal


def card_of(institutions: Institutions, name: str) -> CardAtHand:
    """A card in the hand, with its JPKI application selected."""
    chip = Chip(load_card(image_path(institutions.world, name)))
    chip.power_on()

    def transmit(command: bytes) -> tuple[bytes, int]:
        response = chip.transmit(command)
        return response[:-2], int.from_bytes(response[-2:])

    transmit(select(jpki.AID))
    return CardAtHand(transmit)


def prepare(directory: Path, keys: KeySource) -> None:
    """Make a world with cards, a network, the joint body, and two insurers with people on their lists."""
    institutions = new_institutions(directory, keys)
    for who in PEOPLE:
        institutions.issue_card(who, who)
    institutions.settle()
    network = Network(institutions)
    stages = list(network.rehearse(addresses()))
    assert all(stage.ok for stage in stages), stages
    insurance = insurance_of(network)
    assert insurance.set_up([INSURER, OTHER]) == sorted([INSURER, OTHER])
    residents = [institutions.registry.find(who) for who in PEOPLE]
    bodies = NetworkBodies(network)
    assert bodies.admit(INSURER, residents) == len(PEOPLE)
    assert bodies.admit(OTHER, residents[:1]) == 1
    institutions.world.close()


@contextmanager
def opened(directory: Path, keys: KeySource, linkage: Linkage | None = None) -> Iterator[InsuredTown]:
    """Open such a world. Its clock stands."""
    world = open_world(directory, keys=keys)
    clock_of(world).stand(world.clock.now())
    yield InsuredTown(Institutions(world), linkage)
    world.close()


def copied(prepared: Path, directory: Path) -> Path:
    """Copy a prepared world."""
    return Path(shutil.copytree(prepared, directory))
