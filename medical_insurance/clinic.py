"""What a clinic has of the joint body: a folder with the certificates and keys of its terminal, and the connection.

    clinic.json      the clinic's name, and the joint body's address
    clinic.pem, clinic.key, authority.pem     for the connection
    terminal.pem, terminal.cvc                for cards: the terminal's RSA key, and its card-verifiable certificate

The clinic stores nothing about patients.
"""

from __future__ import annotations

import http.client
import json
import os
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Self

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from kazashi.card.request import terminal_certificate
from kazashi.jpki.profile import CertificateType
from kazashi.medical_insurance.eligibility import EligibilityResult, HolderCheck, origin_of_clinic
from kazashi.relying_party.verify.authentication import Challenge
from kazashi.web.mutual_tls import Credentials, JsonConnection
from kazashi.world.clock import from_epoch

FILES = ("clinic.json", "clinic.pem", "clinic.key", "authority.pem", "terminal.pem", "terminal.cvc")
_SECONDS = 8.0


class ClinicUnusable(Exception):
    """A folder is not that of a clinic's terminal, or one of its files is damaged. Nothing was changed."""


class JointBodyUnreachable(Exception):
    """The joint body does not respond, or does not accept the clinic."""


@dataclass(frozen=True, slots=True)
class CardTerminal:
    """The terminal's identity towards cards: its key, and the two parts of its certificate as commands."""

    key: rsa.RSAPrivateKey
    certificate: tuple[bytes, bytes]

    def sign(self, challenge: bytes) -> bytes:
        """Return the signature for EXTERNAL AUTHENTICATE (RSA PKCS#1 v1.5 with SHA-256)."""
        return self.key.sign(challenge, padding.PKCS1v15(), hashes.SHA256())


@dataclass(frozen=True, slots=True)
class Clinic:
    """A clinic's terminal."""

    name: str
    joint_body: str
    credentials: Credentials
    terminal: CardTerminal

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Load a clinic's folder. Raises ClinicUnusable."""
        try:
            about = json.loads((folder / "clinic.json").read_text(encoding="utf-8"))
            pems = [(folder / name).read_bytes() for name in ("clinic.pem", "clinic.key", "authority.pem")]
            key = serialization.load_pem_private_key((folder / "terminal.pem").read_bytes(), None)
            if not isinstance(key, rsa.RSAPrivateKey):
                raise ValueError("terminal.pem is not an RSA key")
            terminal = CardTerminal(key, terminal_certificate((folder / "terminal.cvc").read_bytes()))
            return cls(str(about["name"]), str(about["joint_body"]), Credentials(*pems), terminal)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ClinicUnusable(
                f"{folder} is not usable as a clinic's folder: {error}; make one with: kazashi clinic add"
            ) from error

    def save(self, folder: Path, certificate: bytes) -> None:
        """Write the folder, readable by its owner only. `certificate` is the terminal's, for cards. Raises OSError,
        also if a file exists."""
        key = self.terminal.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        about = json.dumps({"name": self.name, "joint_body": self.joint_body}, ensure_ascii=False) + "\n"
        credentials = self.credentials
        contents = (about.encode(), credentials.certificate, credentials.key, credentials.authority, key, certificate)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name, content in zip(FILES, contents, strict=True):
            with os.fdopen(os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(content)


class JointBodyLine:
    """A clinic's connection to the joint body. Every method raises JointBodyUnreachable."""

    def __init__(self, clinic: Clinic) -> None:
        self._clinic = clinic
        self._connection: JsonConnection | None = None

    def challenge(self) -> Challenge:
        """Get a challenge for a card. It must be for this clinic: the card signs for whom it is."""
        reply = self._post("/v1/challenge", {})
        try:
            origin, nonce = str(reply["origin"]), bytes.fromhex(reply["nonce"])
            issued_at: datetime = from_epoch(reply["issued_at"])
        except (KeyError, ValueError, TypeError, OverflowError) as error:
            raise JointBodyUnreachable(f"the joint body sent no challenge: {error}") from error
        if origin != origin_of_clinic(self._clinic.name):
            raise JointBodyUnreachable(f"the joint body sent a challenge for {origin}")
        return Challenge(origin, nonce, issued_at, CertificateType.AUTHENTICATION)

    def check(
        self, challenge: Challenge, signature: bytes, certificate: bytes, how: HolderCheck, *, register: bool
    ) -> EligibilityResult:  # fmt: skip
        """Send what the card has signed, and return the entitlement of its holder. With `register`, the card is
        registered as an insurance card first."""
        given = {"nonce": challenge.nonce.hex(), "signature": signature.hex(), "certificate": certificate.hex(),
                 "how": how.value}  # fmt: skip
        reply = self._post("/v1/register" if register else "/v1/check", given)
        try:
            return EligibilityResult.from_dict(reply)
        except (KeyError, ValueError, TypeError) as error:
            raise JointBodyUnreachable(f"the joint body sent no result: {error}") from error

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()

    def _post(self, path: str, body: Any) -> Any:
        try:
            if self._connection is None:
                self._connection = JsonConnection(self._clinic.credentials, self._clinic.joint_body, _SECONDS)
            status, content = self._connection.post(path, body)
            reply = json.loads(content)
        except (OSError, http.client.HTTPException, ValueError) as error:
            words = f"the joint body at {self._clinic.joint_body} does not respond: {error}"
            raise JointBodyUnreachable(words) from error
        if status != 200 or not isinstance(reply, dict):
            words = reply.get("error", "") if isinstance(reply, dict) else ""
            raise JointBodyUnreachable(f"the joint body responded with status {status}: {words}")
        return reply
