"""What a certificate of this world looks like: names, policies, addresses.

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
    word: str
    unit: str
    unit_ja: str
    policy: str


class Kind(Enum):
    """The two kinds of certificate, each with an authority of its own."""

    SIGNATURE = _KindFacts("signature", "JPKI for digital signature", "公的個人認証サービス署名用", "1.20")
    AUTHENTICATION = _KindFacts(
        "authentication", "JPKI for user authentication", "公的個人認証サービス利用者証明用", "3.30"
    )

    @property
    def word(self) -> str:
        """The kind in a word."""
        return self.value.word

    @property
    def unit(self) -> str:
        """The organisational unit in the authority's name."""
        return self.value.unit

    @property
    def unit_ja(self) -> str:
        """The organisational unit in the authority's Japanese name."""
        return self.value.unit_ja

    @property
    def policy(self) -> str:
        """The last two arcs of the certificate policy."""
        return self.value.policy


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

    def __post_init__(self) -> None:
        if self.organisation in ("JPKI", "JPKI-TEST"):
            raise ValueError("the organisations JPKI and JPKI-TEST are real; choose another")


EMULATED = Profile()
