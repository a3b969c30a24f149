"""What a certificate of this world looks like: names, policies, addresses, algorithms, how long it lasts.

The structure is that of the real service; what would tie a certificate to it is not. The organisation is another, and
so is the arc of the policies, so that nothing issued here can be taken for the real thing.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

REAL_POLICY_ARC = "1.2.392.200149.8.5.1"
EXAMPLE_POLICY_ARC = "1.3.6.1.4.1.32473.8.5.1"
"""Under the enterprise number that RFC 5612 sets aside for examples."""

OTHER_NAME_ARC = "1.2.392.200149.8.5.5"


@dataclass(frozen=True, slots=True)
class _KindFacts:
    code: str
    unit: str
    unit_ja: str


class CertificateType(Enum):
    """The two kinds of certificate, each with an authority of its own."""

    SIGNATURE = _KindFacts("signature", "JPKI for digital signature", "公的個人認証サービス署名用")
    AUTHENTICATION = _KindFacts("authentication", "JPKI for user authentication", "公的個人認証サービス利用者証明用")

    @property
    def code(self) -> str:
        """The kind in a word."""
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
        """The other kind."""
        return CertificateType.AUTHENTICATION if self is CertificateType.SIGNATURE else CertificateType.SIGNATURE


CERTIFICATE_TYPES = {kind.code: kind for kind in CertificateType}
"""The kinds by their word."""


class Medium(Enum):
    """What a certificate's key lives on."""

    CARD = "card"
    PHONE = "phone"


_POLICIES = {
    (CertificateType.SIGNATURE, Medium.CARD): "1.20",
    (CertificateType.AUTHENTICATION, Medium.CARD): "3.30",
    (CertificateType.SIGNATURE, Medium.PHONE): "1.40",
    (CertificateType.AUTHENTICATION, Medium.PHONE): "3.50",
}
"""The last two arcs of the policy. Those of phones are weakly sourced (signature) and our own (authentication)."""


class Algorithm(Enum):
    """With what an authority and its certificates' holders sign."""

    RSA_2048 = "rsa-2048"
    P_384 = "p-384"


@dataclass(frozen=True, slots=True)
class Term:
    """How long certificates last, in years: the authorities' own, and at most how many birthdays a holder's; and how
    many months before its end a holder's can be renewed."""

    root_years: int
    birthdays: int
    renewal_months: int


@dataclass(frozen=True, slots=True)
class Profile:
    """The values in which this world's certificates differ from any other's.

    `policy_arc` is EXAMPLE_POLICY_ARC by default; REAL_POLICY_ARC is for programs that look for the real numbers.
    `substitute` stands for characters outside JIS X 0208 and JIS X 0212.
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
            raise ValueError("the organisations JPKI and JPKI-TEST are real; choose another")

    def policy(self, kind: CertificateType, medium: Medium) -> str:
        """The certificate policy of a kind on a medium."""
        return f"{self.policy_arc}.{_POLICIES[kind, medium]}"


EMULATED = Profile()
"""The cards and phones of today."""

NEXT = Profile(algorithm=Algorithm.P_384, term=Term(root_years=20, birthdays=10, renewal_months=12))
"""The next card, of which the algorithm and the ten years are published, and neither date nor structure: same names and
the same extensions, so that only what is known differs. Ten-year certificates need roots that outlast them."""
