"""A login, or a statement that is signed: a challenge that is good for one answer, at one origin, for some minutes; and
the verdict on the answer."""

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
_CONTEXT = b"kazashi challenge 1"


@dataclass(frozen=True, slots=True)
class Challenge:
    """What a card is asked to sign, by whom, and when that was: with the authentication key, or with the signature key
    together with a text that its holder has read."""

    origin: str
    nonce: bytes
    issued_at: datetime
    kind: CertificateType = CertificateType.AUTHENTICATION
    text: str = ""

    @property
    def message(self) -> bytes:
        """The bytes that are signed. Each part has its length before it, so that no two challenges are alike, and the
        context keeps an answer from being taken for a signature under anything else."""
        words = (self.kind.code, self.origin, str(epoch(self.issued_at)), self.text)
        parts = (_CONTEXT, self.nonce, *(word.encode() for word in words))
        return b"".join(len(part).to_bytes(4) + part for part in parts)


@dataclass(frozen=True, slots=True)
class Response:
    """What comes back: the nonce of the challenge, the signature over its message, and the certificate as DER."""

    nonce: bytes
    signature: bytes
    unverified_certificate: bytes

    @classmethod
    def from_json(cls, unverified: Mapping[str, Any]) -> Response:
        """Out of `{"nonce": hex, "signature": hex, "certificate": hex}`. Raises VerificationFailed."""
        try:
            return cls(*(bytes.fromhex(unverified[name]) for name in ("nonce", "signature", "certificate")))
        except (KeyError, TypeError, ValueError) as error:
            raise VerificationFailed(
                Finding.MALFORMED, "an answer has nonce, signature, certificate, in hexadecimal"
            ) from error


def new_challenge(
    origin: str, now: datetime, kind: CertificateType = CertificateType.AUTHENTICATION, text: str = ""
) -> Challenge:
    """A challenge that nobody can foresee."""
    return Challenge(origin, secure_random(8 * _NONCE_BYTES).to_bytes(_NONCE_BYTES), from_epoch(epoch(now)), kind, text)


class Challenges(Protocol):
    """Where challenges wait for their answers."""

    def put(self, challenge: Challenge) -> None:
        """Keep a challenge."""

    def take(self, nonce: bytes) -> Challenge | None:
        """The challenge with that nonce, which is gone afterwards: of two who ask at once, one gets it."""

    def forget(self, before: datetime) -> None:
        """Drop those that were given out before an instant."""


class ChallengesInMemory:
    """Challenges of one process. Those that nobody answers go with time; they are in the order of their giving."""

    def __init__(self) -> None:
        self._waiting: dict[bytes, Challenge] = {}
        self._alone = Lock()

    def __len__(self) -> int:
        """How many challenges wait."""
        return len(self._waiting)

    def put(self, challenge: Challenge) -> None:
        """Keep a challenge."""
        with self._alone:
            self._waiting[challenge.nonce] = challenge

    def take(self, nonce: bytes) -> Challenge | None:
        """The challenge with that nonce, which is gone afterwards."""
        with self._alone:
            return self._waiting.pop(nonce, None)

    def forget(self, before: datetime) -> None:
        """Drop those that were given out before an instant."""
        with self._alone:
            while self._waiting and (oldest := next(iter(self._waiting.values()))).issued_at < before:
                del self._waiting[oldest.nonce]


class Authentication:
    """Gives challenges out, and verdicts on the answers."""

    def __init__(self, verifier: Verifier, challenges: Challenges | None = None) -> None:
        self._verifier = verifier
        self.challenges = challenges if challenges is not None else ChallengesInMemory()
        self.lifetime = verifier.policy.challenge_lifetime

    @property
    def _clock(self) -> Clock:
        return self._verifier.clock

    def challenge(
        self, origin: str, kind: CertificateType = CertificateType.AUTHENTICATION, text: str = ""
    ) -> Challenge:
        """A new challenge for answers that come in at `origin` (https://library.example)."""
        now = self._clock.now()
        self.challenges.forget(now - self.lifetime)
        given = new_challenge(origin, now, kind, text)
        self.challenges.put(given)
        return given

    def verdict(self, origin: str, response: Response) -> Verdict:
        """The verdict on an answer that came in at `origin`. The challenge is used up, whatever the verdict is."""
        now = self._clock.now()
        try:
            challenge = self.challenges.take(response.nonce)
            if challenge is None:
                raise VerificationFailed(
                    Finding.UNKNOWN_CHALLENGE, "it was never given out, or has been answered already"
                )
            if challenge.origin != origin:
                raise VerificationFailed(Finding.WRONG_ORIGIN, f"it was given out at {challenge.origin}")
            if not timedelta(0) <= now - challenge.issued_at <= self.lifetime:
                raise VerificationFailed(Finding.STALE_CHALLENGE, f"it was given out at {challenge.issued_at}")
            found = self._verifier.read(response.unverified_certificate, challenge.kind)
            check_signature(found.key, response.signature, challenge.message)
        except VerificationFailed as refuted:
            return Verdict.refuted(refuted, now)
        return self._verifier.verdict(found, now)


def check_signature(key: PublicKey, signature: bytes, message: bytes) -> None:
    """Raises VerificationFailed where the signature is not the key's over the message, in the form that cards make:
    PKCS #1 v1.5
    with SHA-256, or ECDSA with SHA-384."""
    algorithm = RSA_SHA256 if isinstance(key, rsa.RSAPublicKey) else ECDSA_SHA384
    if not verifies(key, signature, message, algorithm):
        raise VerificationFailed(Finding.WRONG_SIGNATURE, "the signature is not by the certificate's key over this")
