"""The parts of a relying party in one world, for the commands and the demo."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

from kazashi.assembly.errors import UsageError
from kazashi.assembly.institutions import Institutions
from kazashi.jpki.profile import CertificateType, Medium
from kazashi.pki.callers import CallerExists, Callers
from kazashi.pki.services import VerifierServices
from kazashi.relying_party.verify.anchors import AnchorsInDirectory
from kazashi.relying_party.verify.linkage import LinkageOverHttp
from kazashi.relying_party.verify.sources import lists_in, lists_over_http, ocsp_over_http
from kazashi.relying_party.verify.verdict import Verdict
from kazashi.relying_party.verify.verification import Verifier
from kazashi.world.home import World


def over_http(world: World, services: str, caller: str) -> tuple[Verifier, LinkageOverHttp]:
    """A verifier that uses OCSP and falls back on revocation lists, and linkage, both over HTTP.

    The caller is registered again at every start.
    """
    callers = Callers(world)
    callers.strike_off(caller)
    key = callers.register(caller)
    sources = (ocsp_over_http(services, key), lists_over_http(services))
    return Verifier(AnchorsInDirectory(world.publication / "ca"), sources, world.clock), LinkageOverHttp(services, key)


@dataclass(frozen=True, slots=True)
class DirectLinkage:
    """Linkage by the authority's services, called in this process as a registered caller."""

    services: VerifierServices
    caller: str

    def renewal(self, kind: CertificateType, serial: int) -> list[int]:
        """The serial chain that contains a serial number."""
        return self.services.renewal(self.caller, kind, serial)

    def counterpart(self, kind: CertificateType, serial: int) -> int | None:
        """The serial number of the holder's certificate of the other type, or None."""
        return self.services.counterpart(self.caller, kind, serial)


def direct_linkage(institutions: Institutions, caller: str) -> DirectLinkage:
    """Linkage without a server, for a caller that is registered if necessary."""
    services = VerifierServices(institutions.world, institutions.authorities, institutions.juki_net.j_lis.identity)
    with contextlib.suppress(CallerExists):
        services.callers.register(caller)
    return DirectLinkage(services, caller)


def card_verdict(institutions: Institutions, who: str) -> Verdict:
    """The verdict on the authentication certificate of a person's card, by the published revocation lists.

    A person who has a Juki card only gets the verdict that its certificate is of the wrong type. Raises NoSuchResident,
    and UsageError if the person has no card.
    """
    tree = institutions.world.publication
    code = institutions.registry.find(who).code
    certificates = institutions.authorities[CertificateType.AUTHENTICATION].of_holder(code) or [
        issued
        for issued in institutions.authorities[CertificateType.SIGNATURE].of_holder(code)
        if issued.medium is Medium.JUKI
    ]
    if not certificates:
        raise UsageError(f"{who} has no card yet; try: kazashi card new {who}")
    verifier = Verifier(AnchorsInDirectory(tree / "ca"), [lists_in(tree)], institutions.world.clock)
    return verifier.certificate(certificates[-1].certificate, CertificateType.AUTHENTICATION)
