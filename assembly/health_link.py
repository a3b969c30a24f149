"""The insurers of one world: records of health checks are asked for, handed over as a file, and received."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from kazashi.assembly.network import Network
from kazashi.assembly.network_bodies import NetworkBodies
from kazashi.provision_network.consents import Consents
from kazashi.provision_network.health_checks import (
    ASKED,
    HANDED_OVER,
    NOT_HERE,
    WITHOUT_CONSENT,
    HealthCheckRequest,
    HealthChecks,
    file_of,
    is_insurer,
    made_up_check,
    provision_of,
)
from kazashi.provision_network.law.provisions import HEALTH_CHECK, HEALTH_CHECK_PURPOSE
from kazashi.provision_network.off_network import FileGiven, OffNetwork
from kazashi.provision_network.terms import NetworkRejected
from kazashi.resident_registry.resident import Resident
from kazashi.world.atomic_file import make_directory, write_whole
from kazashi.world.clock import today

LABEL = "label.json"
"""The file on a medium that says from whom to whom it goes."""


@dataclass(frozen=True, slots=True)
class HandOver:
    """A file that was handed over on a medium, None if nobody's record was, and how many people have not consented."""

    file: Path | None
    records: int
    without_consent: int


class HealthLink:
    """Records of health checks between the insurers of one world."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._bodies = NetworkBodies(network)
        self._log = OffNetwork(network.world)
        self._consents = Consents(network.world)
        self.checks = HealthChecks(network.world)

    def ask(self, body: str, person: Resident, former: str) -> int:
        """Let a person's new insurer ask the former one for the record. Returns the number of the request there. Raises
        NetworkRejected."""
        for one in (body, former):
            kind = self._network.member(one).kind
            if not is_insurer(kind):
                raise NetworkRejected("no-insurer", f"{one} ({kind}) is not an insurer")
        if body == former:
            raise NetworkRejected("own-body", f"{body} has the record itself")
        own, theirs = self._bodies.address_of(body, person), self._bodies.address_of(former, person)
        return self.checks.ask(body, own, former, theirs, today(self._network.world.clock))

    def hand_over(self, former: str, receiver: str, medium: Path) -> HandOver:
        """Write the records that an insurer was asked for onto a medium, which is a directory.

        What a person has consented to counts on the day of the hand-over, and not on that of the request; who has not
        consented, or not any more, is recorded. The provision is logged before the file is on the medium: an
        interrupted hand-over can be repeated, and logs nothing twice. Raises NetworkRejected.
        """
        for body in (former, receiver):
            self._network.member(body)
        on = today(self._network.world.clock)
        waiting = [one for one in self.checks.requests(former) if (one.asked_by, one.state) == (receiver, ASKED)]
        if not waiting:
            raise NetworkRejected("nothing-asked", f"{receiver} has asked {former} for nothing")
        consenting = self._consents.people(former, HEALTH_CHECK, receiver, HEALTH_CHECK_PURPOSE, on)
        numbers = {own: number for number, own in self._network.linkage(former).addresses.by_number().items()}
        self.checks.settle([one for one in waiting if one.address_number not in numbers], NOT_HERE)
        here = [one for one in waiting if one.address_number in numbers]
        given = [one for one in here if one.address_number in consenting]
        denied = [one for one in here if one.address_number not in consenting]
        for one in denied:
            self._deny(former, receiver, one)
        self.checks.settle(denied, WITHOUT_CONSENT)
        if not given:
            return HandOver(None, 0, len(denied))
        content = file_of(former, receiver, on, [
            (numbers[one.address_number], self._record(former, one.address_number)) for one in given
        ])  # fmt: skip
        digest = sha256(content).hexdigest()
        path = medium / f"health-checks-{digest[:12]}.csv"
        lines = [(provision_of(consent=True), HEALTH_CHECK, one.address_number) for one in given]
        self._log.give_file(FileGiven(digest, former, receiver, path.name, len(given)), lines)
        label = {"from": former, "to": receiver, "day": on.isoformat(), "file": path.name, "sha256": digest}
        make_directory(medium)
        write_whole(path, content)
        write_whole(medium / LABEL, json.dumps(label, ensure_ascii=False))
        self.checks.settle(given, HANDED_OVER, digest)
        return HandOver(path, len(given), len(denied))

    def _record(self, body: str, address_number: str) -> str:
        """A person's made-up record."""
        return made_up_check(self._network.world.random_stream("health check", body, address_number))

    def _deny(self, former: str, receiver: str, request: HealthCheckRequest) -> None:
        """Log that a record was not given for lack of consent, once."""
        with suppress(NetworkRejected):
            self._log.give(
                former, receiver, provision_of(consent=False), HEALTH_CHECK, request.address_number,
                reference=f"health check {request.number}",
            )  # fmt: skip

    def receive(self, body: str, content: bytes) -> int:
        """Take a file at the new insurer: people are found by individual number. Returns the number of records. Raises
        FileRejected and NetworkRejected."""
        self._network.member(body)
        return self.checks.receive(body, content, self._network.linkage(body).addresses.by_number())
