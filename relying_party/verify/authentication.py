"""Challenge and response, for a login or a signed statement.

A challenge is valid for one response, at one origin, for some minutes. The response gets a verdict.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from threading import Lock
from typing import Any, Protocol

from cryptography.hazmat.primitives.asymmetric import rsa

from kazashi.jpki.profile import CertificateType
from kazashi.relying_party.verify.anchors import ECDSA_SHA384, RSA_SHA256, PublicKey, verifies
from kazashi.relying_party.verify.finding import Finding, VerificationFailed
from kazashi.relying_party.verify.verdict import Verdict
from kazashi.relying_party.verify.verification import Verifier
from kazashi.world.clock import Clock, epoch, from_epoch
from kazashi.world.rng import secure_random

_NONCE_BYTES = 32
CHALLENGE_CONTEXT = b"kazashi challenge 2"
"""The first part of each challenge's message, after its length in four bytes."""
MOST_IN_MEMORY = 1000
"""The number of challenges that one process keeps in memory. One more, and the oldest is dropped."""


@dataclass(frozen=True, slots=True)
class Challenge:
    """What a card is asked to sign, by which origin, and when.

    The card signs with the authentication key, or with the signature key and then also a text that the holder has read.
    `purpose` and `browser` say for what and in which browser the site was asked; the holder sees them before the PIN.
    """

    origin: str
    nonce: bytes
    issued_at: datetime
    kind: CertificateType = CertificateType.AUTHENTICATION
    text: str = ""
    purpose: str = ""
    browser: str = ""

    @property
    def message(self) -> bytes:
        """The bytes that are signed. Each part is prefixed with its length, so that no two challenges have the same
        bytes. The context keeps a response from being accepted as a signature over anything else."""
        texts = (self.kind.code, self.origin, str(epoch(self.issued_at)), self.text, self.purpose, self.browser)
        parts = (CHALLENGE_CONTEXT, self.nonce, *(text.encode() for text in texts))
        return b"".join(len(part).to_bytes(4) + part for part in parts)


@dataclass(frozen=True, slots=True)
class Response:
    """The response to a challenge: its nonce, the signature over its message, and the certificate as DER."""

    nonce: bytes
    signature: bytes
    unverified_certificate: bytes

    @classmethod
    def from_json(cls, unverified: Mapping[str, Any]) -> Response:
        """Read `{"nonce": hex, "signature": hex, "certificate": hex}`. Raises VerificationFailed."""
        try:
            return cls(*(bytes.fromhex(unverified[name]) for name in ("nonce", "signature", "certificate")))
        except (KeyError, TypeError, ValueError) as error:
            raise VerificationFailed(
                Finding.MALFORMED, "a response must have nonce, signature and certificate in hexadecimal"
            ) from error


def new_challenge(
    origin: str, now: datetime, kind: CertificateType = CertificateType.AUTHENTICATION, text: str = "",
    purpose: str = "", browser: str = "",
) -> Challenge:  # fmt: skip
    """Return a challenge with an unpredictable nonce."""
    nonce = secure_random(8 * _NONCE_BYTES).to_bytes(_NONCE_BYTES)
    return Challenge(origin, nonce, from_epoch(epoch(now)), kind, text, purpose, browser)


class Challenges(Protocol):
    """A store of the challenges that have no response yet. Each belongs to the service that it was issued for: the name
    of a platform operator's tenant, or empty for a site of its own."""

    def put(self, challenge: Challenge, tenant: str = "") -> None:
        """Store a challenge."""

    def take(self, nonce: bytes, tenant: str = "") -> Challenge | None:
        """Remove the tenant's challenge with that nonce and return it, or None. Of two concurrent calls, only one gets
        it. Another tenant's challenge stays."""

    def forget(self, before: datetime) -> None:
        """Delete the challenges that were issued before an instant."""


class ChallengesInMemory:
    """The challenges of one process, in the order of issue. Those that get no response are deleted in time, and the
    oldest when there are more than `most`."""

    def __init__(self, most: int = MOST_IN_MEMORY) -> None:
        self._most = most
        self._waiting: dict[tuple[str, bytes], Challenge] = {}
        self._lock = Lock()

    def __len__(self) -> int:
        """Return the number of challenges that have no response yet."""
        return len(self._waiting)

    def put(self, challenge: Challenge, tenant: str = "") -> None:
        """Store a challenge."""
        with self._lock:
            if len(self._waiting) >= self._most:
                del self._waiting[next(iter(self._waiting))]
            self._waiting[tenant, challenge.nonce] = challenge

    def take(self, nonce: bytes, tenant: str = "") -> Challenge | None:
        """Remove the tenant's challenge with that nonce and return it, or None."""
        with self._lock:
            return self._waiting.pop((tenant, nonce), None)

    def forget(self, before: datetime) -> None:
        """Delete the challenges that were issued before an instant."""
        with self._lock:
            while self._waiting and next(iter(self._waiting.values())).issued_at < before:
                del self._waiting[next(iter(self._waiting))]


class Authentication:
    """Issues challenges and gives verdicts on the responses."""

    def __init__(self, verifier: Verifier, challenges: Challenges | None = None) -> None:
        self._verifier = verifier
        self.challenges = challenges if challenges is not None else ChallengesInMemory()
        self.lifetime = verifier.policy.challenge_lifetime

    @property
    def _clock(self) -> Clock:
        return self._verifier.clock

    def challenge(
        self, origin: str, kind: CertificateType = CertificateType.AUTHENTICATION, text: str = "", *,
        purpose: str = "", browser: str = "", tenant: str = "",
    ) -> Challenge:  # fmt: skip
        """Issue a challenge for responses that are sent to `origin` (https://library.example)."""
        challenge = new_challenge(origin, self._clock.now(), kind, text, purpose, browser)
        self.sweep()
        self.challenges.put(challenge, tenant)
        return challenge

    def oldest(self) -> datetime:
        """Return the earliest instant of issue at which a challenge is still valid now."""
        return self._clock.now() - self.lifetime

    def sweep(self) -> None:
        """Delete the challenges that are too old for a response."""
        self.challenges.forget(self.oldest())

    def verdict(self, origin: str, response: Response, tenant: str = "") -> Verdict:
        """Return the verdict on a response that was sent to `origin`. The challenge is used up whatever the verdict."""
        now = self._clock.now()
        try:
            challenge = self.challenges.take(response.nonce, tenant)
            if challenge is None:
                raise VerificationFailed(
                    Finding.UNKNOWN_CHALLENGE, "the challenge was never issued or has already been used"
                )
            if challenge.origin != origin:
                raise VerificationFailed(Finding.WRONG_ORIGIN, f"the challenge was issued by {challenge.origin}")
            if not timedelta(0) <= now - challenge.issued_at <= self.lifetime:
                raise VerificationFailed(Finding.STALE_CHALLENGE, f"the challenge was issued at {challenge.issued_at}")
            certificate = self._verifier.read(response.unverified_certificate, challenge.kind)
            check_signature(certificate.key, response.signature, challenge.message)
        except VerificationFailed as failure:
            return Verdict.from_failure(failure, now)
        return self._verifier.verdict(certificate, now)


def check_signature(key: PublicKey, signature: bytes, message: bytes) -> None:
    """Check that the signature over the message was made with the key, as cards sign: PKCS #1 v1.5 with SHA-256, or
    ECDSA with SHA-384. Raises VerificationFailed."""
    algorithm = RSA_SHA256 if isinstance(key, rsa.RSAPublicKey) else ECDSA_SHA384
    if not verifies(key, signature, message, algorithm):
        raise VerificationFailed(
            Finding.WRONG_SIGNATURE, "the signature over this data was not made with the certificate's key"
        )
