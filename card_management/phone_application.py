"""The application for a phone's certificates, which the applicant signs with the signature certificate on their card.

It is CMS SignedData (RFC 5652) over a JSON text with the phone's number and the certification requests of its two keys.
"""

from __future__ import annotations

import hashlib
import json
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from asn1crypto import cms, x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.x509 import load_der_x509_certificate

from kazashi.applets import jpki
from kazashi.applets.install import load_card
from kazashi.card import request
from kazashi.card.chip import Chip
from kazashi.card.image import ImageStore
from kazashi.jpki.profile import CertificateType

PURPOSE = "certificates for a phone"
_OK = b"\x90\x00"
_NOT_FOUND, _BLOCKED = b"\x6a\x82", b"\x69\x84"
_CHUNK = 256


class PhoneRejected(Exception):
    """The phone's certificates are not issued or changed; the message gives the reason."""


@dataclass(frozen=True, slots=True)
class PhoneApplication:
    """What an applicant signs: the phone's number and a certification request (PKCS#10, DER) for each key."""

    phone: str
    requests: Mapping[CertificateType, bytes]

    def content(self) -> bytes:
        """Return the application as JSON."""
        requests = {kind.code: b64encode(der).decode("ascii") for kind, der in self.requests.items()}
        return json.dumps({"purpose": PURPOSE, "phone": self.phone, "requests": requests}).encode("ascii")

    @classmethod
    def read(cls, content: bytes) -> PhoneApplication:
        """Return the application in a JSON text. Raises PhoneRejected."""
        try:
            document = json.loads(content)
            if document["purpose"] != PURPOSE:
                raise PhoneRejected("the signed statement is not an application for a phone's certificates")
            requests = {kind: b64decode(document["requests"][kind.code], validate=True) for kind in CertificateType}
            return cls(str(document["phone"]), requests)
        except (ValueError, KeyError, TypeError) as error:
            raise PhoneRejected("the application is malformed") from error


@dataclass(frozen=True, slots=True)
class SignedApplication:
    """An application whose signature was verified, and the signer's certificate (DER), which was not."""

    application: PhoneApplication
    unverified_certificate: bytes


def sign_with_card(image: Path, password: str, content: bytes, at: datetime) -> bytes:
    """Return content signed with a card's signature certificate, as the phone's application has it done by a card at
    its antenna: SignedData with the content and the certificate (DER).

    A wrong password costs a try. Raises PhoneRejected, ImageMissing, DamagedImage and ImageUnreadable.
    """
    card = load_card(image)
    try:
        chip = Chip(card)
        chip.power_on()
        return _signed(chip.transmit, password, content, at)
    finally:
        if isinstance(card.store, ImageStore):
            card.store.close()


def _signed(transmit: Callable[[bytes], bytes], password: str, content: bytes, at: datetime) -> bytes:
    transmit(request.select(jpki.AID))
    status = transmit(request.verify(jpki.SIGNATURE_PIN, password.encode("ascii", "replace")))
    if status != _OK:
        left = status[1] & 0x0F if status[0] == 0x63 else 0
        raise PhoneRejected(
            f"the card's signature password is wrong; retries left: {left}" if left
            else "the card's signature password is locked, or the card has no signature certificate"
        )  # fmt: skip
    der = _certificate(transmit)
    own = x509.Certificate.load(der)
    elliptic = isinstance(load_der_x509_certificate(der).public_key(), ec.EllipticCurvePublicKey)
    digest, algorithm = ("sha384", "sha384_ecdsa") if elliptic else ("sha256", "rsassa_pkcs1v15")
    attributes = cms.CMSAttributes(
        [
            cms.CMSAttribute({"type": "content_type", "values": ["data"]}),
            cms.CMSAttribute({"type": "signing_time", "values": [cms.Time({"utc_time": at})]}),
            cms.CMSAttribute({"type": "message_digest", "values": [hashlib.new(digest, content).digest()]}),
        ]
    )
    signature = _signature(transmit, hashlib.new(digest, attributes.dump()).digest(), elliptic=elliptic)
    signer = {
        "version": "v1",
        "sid": cms.SignerIdentifier(
            {"issuer_and_serial_number": {"issuer": own.issuer, "serial_number": own.serial_number}}
        ),
        "digest_algorithm": {"algorithm": digest},
        "signed_attrs": attributes,
        "signature_algorithm": {"algorithm": algorithm},
        "signature": signature,
    }
    signed = {
        "version": "v1",
        "digest_algorithms": [{"algorithm": digest}],
        "encap_content_info": {"content_type": "data", "content": content},
        "certificates": [own],
        "signer_infos": [signer],
    }
    return bytes(cms.ContentInfo({"content_type": "signed_data", "content": signed}).dump())


def _signature(transmit: Callable[[bytes], bytes], digest: bytes, *, elliptic: bool) -> bytes:
    """Sign a digest with the signature key: PKCS #1 v1.5, or on the next card an ECDSA-Sig-Value."""
    if not elliptic:
        return _ok(transmit(request.compute_digital_signature(jpki.SIGNATURE_KEY, request.DIGEST_INFO_SHA256 + digest)))
    _ok(transmit(request.select_file(jpki.SIGNATURE_KEY)))
    numbers = _ok(transmit(request.sign_hash(digest)))
    half = len(numbers) // 2
    return encode_dss_signature(int.from_bytes(numbers[:half]), int.from_bytes(numbers[half:]))


def _certificate(transmit: Callable[[bytes], bytes]) -> bytes:
    _ok(transmit(request.select_file(jpki.SIGNATURE_CERTIFICATE)))
    read = _ok(transmit(request.read_binary(0, 4)))
    size = 4 + int.from_bytes(read[2:4])
    while len(read) < size:
        read += _ok(transmit(request.read_binary(len(read), min(_CHUNK, size - len(read)))))
    return read


def _ok(response: bytes) -> bytes:
    if response[-2:] != _OK:
        raise PhoneRejected(f"the card does not sign the application: it responded with {response[-2:].hex().upper()}")
    return response[:-2]


def checked(unverified: bytes) -> SignedApplication:
    """Return the application in SignedData (DER), after verifying its signature with the certificate in it.

    Whether the certificate is good is for the authority to say. Raises PhoneRejected.
    """
    try:
        signed = cms.ContentInfo.load(unverified, strict=True)["content"]
        (signer,), (certificate,) = signed["signer_infos"], signed["certificates"]
        content = signed["encap_content_info"]["content"].native
        attributes = signer["signed_attrs"]
        values = {one["type"].native: one["values"].native for one in attributes}
        der = certificate.chosen.dump()
        key = load_der_x509_certificate(der).public_key()
        digest = "sha256" if isinstance(key, rsa.RSAPublicKey) else "sha384"
        if values["message_digest"] != [hashlib.new(digest, content).digest()]:
            raise PhoneRejected("the application's signature does not cover it")
        body, signature = attributes.untag().dump(), signer["signature"].native
        if isinstance(key, rsa.RSAPublicKey):
            key.verify(signature, body, padding.PKCS1v15(), hashes.SHA256())
        elif isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(signature, body, ec.ECDSA(hashes.SHA384()))
        else:
            raise PhoneRejected("the application was not signed by a card")
    except (ValueError, KeyError, TypeError) as error:
        raise PhoneRejected("the application is not signed as CMS SignedData with one signer") from error
    except InvalidSignature as error:
        raise PhoneRejected("the application's signature is not valid") from error
    return SignedApplication(PhoneApplication.read(content), der)
