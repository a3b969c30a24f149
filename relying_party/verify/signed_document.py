"""What a document's signatures say: who signed, what is covered, and what is not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa

from kazashi.relying_party.verify.certificate import HolderCertificate
from kazashi.relying_party.verify.finding import Finding, VerificationFailed
from kazashi.relying_party.verify.time_stamp import Stamp

DIGESTS = {"sha256": hashes.SHA256(), "sha384": hashes.SHA384(), "sha512": hashes.SHA512()}
"""The digest algorithms of documents that cards sign."""

WHOLE_CONTENT, WHOLE_FILE, WHOLE_DOCUMENT = "the whole content", "the whole file", "the whole document"


@dataclass(frozen=True, slots=True, kw_only=True)
class Signer:
    """A holder who signed a document. `stamps` are the time-stamps over this signature, in the order in which they were
    made."""

    certificate: HolderCertificate
    stamps: tuple[Stamp, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedDocument:
    """A document whose signatures are all valid.

    `signed` describes the parts that are covered; `not_covered` describes a part that no signature covers, and is empty
    if all parts are. `notes` are sentences that are shown with the verdict. `lists` and `responses` are the revocation
    lists and OCSP responses (DER) that the document contains.
    """

    signers: Sequence[Signer]
    signed: tuple[str, ...]
    not_covered: str = ""
    notes: tuple[str, ...] = ()
    lists: tuple[bytes, ...] = ()
    responses: tuple[bytes, ...] = ()


def digest_of(name: str, data: bytes) -> bytes:
    """Return a digest of the data; `name` is one in DIGESTS. Raises VerificationFailed for any other."""
    if name not in DIGESTS:
        raise VerificationFailed(Finding.WRONG_ALGORITHM, f"digests with {name} are not accepted")
    hashed = hashes.Hash(DIGESTS[name])
    hashed.update(data)
    return hashed.finalize()


def check_algorithms(certificate: HolderCertificate, signature: str, digest: str) -> None:
    """Check that a card makes such signatures: `signature` is `rsa` (PKCS #1 v1.5) or `ecdsa`, and `digest` is a name
    in DIGESTS. Raises VerificationFailed."""
    own = "rsa" if isinstance(certificate.key, rsa.RSAPublicKey) else "ecdsa"
    if digest not in DIGESTS or signature != own or (own == "ecdsa" and digest != "sha384"):
        raise VerificationFailed(
            Finding.WRONG_ALGORITHM, f"a card with this key does not sign with {signature}, {digest}"
        )
