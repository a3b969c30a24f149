"""The counter at which insurers hand in their files: by command, or over HTTPS with their system's certificate.

The joint body runs the insurers' intermediate servers (医療保険者等向け中間サーバー). They know the insurers' codes by
the insurers' address numbers, so that neither a file nor the joint body needs an individual number.
"""

from __future__ import annotations

from kazashi.medical_insurance.feed import FeedRejected, InsurerFeed
from kazashi.medical_insurance.joint_body import NAME, FeedReceipt, JointBody
from kazashi.provision_network.interface_system import InterfaceSystem
from kazashi.provision_network.intermediate import IntermediateServer
from kazashi.provision_network.terms import NetworkRejected


class FeedIntake:
    """Takes files of insurers. `interface` is the interface system of the joint body and the insurers."""

    def __init__(self, joint: JointBody, interface: InterfaceSystem) -> None:
        self._joint = joint
        self._interface = interface

    def server(self, body: str) -> IntermediateServer:
        """Return the intermediate server of the joint body or of an insurer. Raises NetworkRejected."""
        with self._interface.store.reading() as connection:
            self._interface.neighbours.known(connection)  # which bodies another process has added or removed
        return self._interface.server(body)

    def hand_in(self, insurer: str, content: bytes) -> FeedReceipt:
        """Take an insurer's file over, all or none, and let its intermediate server have the copies.

        A refusal is recorded. Raises FeedRejected, and NetworkRejected if `insurer` is not behind the interface system.
        """
        if insurer == NAME:
            raise NetworkRejected("not-entitled", f"{insurer} insures nobody itself")
        server = self.server(insurer)
        number = 0
        try:
            feed = InsurerFeed.parse(content)
            number = feed.number
            if feed.insurer != insurer:
                raise FeedRejected("feed-another-insurer", f"the file is of {feed.insurer}, and {insurer} handed it in")
            receipt = self._joint.accept(feed, server.known_codes({line.address_number for line in feed.lines}))
        except FeedRejected as rejected:
            self._joint.refuse(insurer, number, rejected.denial, str(rejected))
            raise
        self.settle()
        return receipt

    def settle(self) -> int:
        """Complete what accepted files have changed, also after a crash. Returns the number of copies."""
        return self._joint.settle(self.server)
