"""The parts of a relying party in one world, for the commands and the demo."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass

from kazashi.assembly.errors import UsageError
from kazashi.assembly.institutions import Institutions
from kazashi.jpki.linkage import Follow, LinkedCertificate
from kazashi.jpki.profile import CertificateType, Medium
from kazashi.pki.callers import CallerExists, Callers
from kazashi.pki.services import HolderUnsettled, VerifierServices
from kazashi.relying_party.verify.anchors import AnchorsInDirectory
from kazashi.relying_party.verify.linkage import BOTH, LinkageOverHttp, LinkageUnavailable, NoLinkage
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

    def certificates(
        self, kind: CertificateType, serial: int, follow: Follow = Follow.PERSON,
        types: Sequence[CertificateType] = BOTH,
    ) -> list[LinkedCertificate]:  # fmt: skip
        """The certificates that belong together with a certificate."""
        if follow is Follow.CERTIFICATE:
            return NoLinkage().certificates(kind, serial, follow, types)
        try:
            return self.services.linkage(self.caller, kind, serial, follow, types)
        except HolderUnsettled as error:
            raise LinkageUnavailable(str(error)) from error


def direct_linkage(institutions: Institutions, caller: str) -> DirectLinkage:
    """Linkage without a server, for a caller that is registered if necessary."""
    services = VerifierServices(institutions.world, institutions.authorities, institutions.juki_net.j_lis)
    with contextlib.suppress(CallerExists):
        services.callers.register(caller)
    return DirectLinkage(services, caller)


def card_verdict(institutions: Institutions, who: str, medium: Medium = Medium.CARD) -> Verdict:
    """The verdict on the latest authentication certificate of a person's cards or phones, by the published revocation
    lists.

    A person who has a Juki card only gets the verdict that its certificate is of the wrong type. Raises NoSuchResident,
    and UsageError if the person has none.
    """
    tree = institutions.world.publication
    code = institutions.registry.find(who).code
    issued = institutions.authorities[CertificateType.AUTHENTICATION].of_holder(code)
    certificates = [one for one in issued if one.medium is medium]
    if not certificates and medium is Medium.PHONE:
        raise UsageError(f"{who} has no certificate on a phone yet; see: kazashi phone new --help")
    certificates = certificates or [
        one for one in institutions.authorities[CertificateType.SIGNATURE].of_holder(code) if one.medium is Medium.JUKI
    ]
    if not certificates:
        raise UsageError(f"{who} has no card yet; try: kazashi card new {who}")
    verifier = Verifier(AnchorsInDirectory(tree / "ca"), [lists_in(tree)], institutions.world.clock)
    return verifier.certificate(certificates[-1].certificate, CertificateType.AUTHENTICATION)
