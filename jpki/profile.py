"""Certificate profiles: names, policies, URIs, algorithms and validity periods.

The structure is the same as in the real service. The organisation and the policy arc differ, so that no certificate
issued here can be mistaken for a real one.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

REAL_POLICY_ARC = "1.2.392.200149.8.5.1"
EXAMPLE_POLICY_ARC = "1.3.6.1.4.1.32473.8.5.1"
"""An arc under the enterprise number that RFC 5612 reserves for documentation."""

OTHER_NAME_ARC = "1.2.392.200149.8.5.5"


@dataclass(frozen=True, slots=True)
class _KindFacts:
    code: str
    unit: str
    unit_ja: str


class CertificateType(Enum):
    """The two types of certificate. Each has its own certification authority."""

    SIGNATURE = _KindFacts("signature", "JPKI for digital signature", "公的個人認証サービス署名用")
    AUTHENTICATION = _KindFacts("authentication", "JPKI for user authentication", "公的個人認証サービス利用者証明用")

    @property
    def code(self) -> str:
        """The type's name on the command line, in URLs and in JSON: `signature` or `authentication`."""
        return self.value.code

    @property
    def unit(self) -> str:
        """The organisational unit in the authority's name."""
        return self.value.unit

    @property
    def unit_ja(self) -> str:
        """The organisational unit in the authority's Japanese name."""
        return self.value.unit_ja

    @property
    def other(self) -> CertificateType:
        """The other of the two types."""
        return CertificateType.AUTHENTICATION if self is CertificateType.SIGNATURE else CertificateType.SIGNATURE


CERTIFICATE_TYPES = {kind.code: kind for kind in CertificateType}
"""Certificate types by `code`."""


class Medium(Enum):
    """The device that holds a certificate's private key."""

    CARD = "card"
    PHONE = "phone"
    JUKI = "juki"
    """The Juki card (住基カード), for which certificates were issued until 2015-12-22: for signatures only."""


_POLICIES = {
    (CertificateType.SIGNATURE, Medium.CARD): "1.20",
    (CertificateType.AUTHENTICATION, Medium.CARD): "3.30",
    (CertificateType.SIGNATURE, Medium.PHONE): "1.40",
    (CertificateType.AUTHENTICATION, Medium.PHONE): "3.50",
    (CertificateType.SIGNATURE, Medium.JUKI): "1.10",
}
"""The last two arcs of the policy OID. For phones, the signature value is weakly sourced and the authentication value
is our own, as is the value for Juki cards."""


class Algorithm(Enum):
    """The key algorithm of an authority and of the certificates that it issues."""

    RSA_2048 = "rsa-2048"
    P_384 = "p-384"


@dataclass(frozen=True, slots=True)
class Term:
    """The validity periods of a profile.

    `root_years` is the lifetime of an authority's own certificate in years. `birthdays` is the number of birthdays
    after which a holder's certificate ends at the latest, and `renewal_months` the number of months before its end in
    which it can be renewed. Cards and certificates end `months_after` months after the last of the birthdays.
    """

    root_years: int
    birthdays: int
    renewal_months: int
    months_after: int = 0


@dataclass(frozen=True, slots=True)
class Profile:
    """The configurable values of a certificate.

    `policy_arc` is EXAMPLE_POLICY_ARC by default; use REAL_POLICY_ARC for programs that check for the real OIDs.
    `substitute` replaces characters outside JIS X 0208 and JIS X 0212. Raises ValueError if `organisation` is a real
    one.
    """

    organisation: str = "JPKI-EMU"
    organisation_ja: str = "公的個人認証サービス模擬"
    operator: str = "Japan Agency for Local Authority Information Systems"
    operator_ja: str = "地方公共団体情報システム機構"
    policy_arc: str = EXAMPLE_POLICY_ARC
    cps_uri: str = "http://jpki-emu.example/cps.html"
    ocsp_uri: str = "http://ocspauthnorm.jpki-emu.example"
    substitute: str = "●"
    algorithm: Algorithm = Algorithm.RSA_2048
    term: Term = Term(root_years=10, birthdays=5, renewal_months=3)

    def __post_init__(self) -> None:
        if self.organisation in ("JPKI", "JPKI-TEST"):
            raise ValueError(f"the organisation {self.organisation} exists in the real service; choose another name")

    def policy(self, kind: CertificateType, medium: Medium) -> str:
        """The certificate policy OID, dotted, of a certificate type on a medium. Raises KeyError for an authentication
        certificate on a Juki card, which does not exist."""
        return f"{self.policy_arc}.{_POLICIES[kind, medium]}"

    def policies(self) -> dict[str, tuple[CertificateType, Medium]]:
        """The certificate type and the medium that each certificate policy stands for."""
        return {self.policy(kind, medium): (kind, medium) for kind, medium in _POLICIES}


EMULATED = Profile()
"""The profile of today's cards and phones."""

NEXT = Profile(algorithm=Algorithm.P_384, term=Term(root_years=20, birthdays=10, renewal_months=12, months_after=1))
"""The profile of the next card. Published are its algorithm, the ten years of its certificates, the year in which they
can be renewed, and the end of the card a month after the tenth birthday; its date and structure are not
(docs/next-card.md). Names and extensions are therefore those of today. Its roots last twenty years, because they must
outlast ten-year certificates."""
