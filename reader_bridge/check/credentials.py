"""Checks that send a PIN.

They run only if PINs are given, and on a card that is not emulated only if its owner accepts the risk. A wrong PIN is
sent to an emulated card only.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from kazashi.applets import jpki
from kazashi.card.request import (
    CURRENT,
    DIGEST_INFO_SHA256,
    compute_digital_signature,
    select_file,
    tries_left,
    verify,
)
from kazashi.reader_bridge.check.case import CheckCase, Findings, Needs, NotApplicable, answered
from kazashi.reader_bridge.check.probe import SELECT_CARD_MANAGER, SELECT_JPKI, CardType, Probe

_MESSAGE = b"reader check"


def _verify(probe: Probe, pin_file: int, value: str) -> bytes:
    probe.transmit(select_file(pin_file))
    return probe.transmit(verify(CURRENT, value.encode("ascii")))


def _sign(probe: Probe, key: int) -> bytes:
    probe.transmit(select_file(key))
    return probe.transmit(compute_digital_signature(CURRENT, DIGEST_INFO_SHA256 + sha256(_MESSAGE).digest()))


def _signs(pin_file: int, key: int, certificate: int, secret: str) -> Callable[[Probe, Findings], None]:
    """Return a check that the right PIN opens a key whose signatures verify with the certificate.

    `secret` is the PIN's field in `CardPins`.
    """

    def look(probe: Probe, findings: Findings) -> None:
        value = getattr(probe.secrets, secret)
        probe.transmit(SELECT_JPKI)
        tries = _tries(probe, pin_file)
        findings.expect(answered(_sign(probe, key)), "6982", "signing before VERIFY")
        findings.expect(answered(_verify(probe, pin_file, value)), "9000", "VERIFY")
        findings.require(_tries(probe, pin_file) >= tries, "the retry counter was not decremented")
        signature = _sign(probe, key)
        findings.expect(answered(signature), "256 bytes, 9000", "signing")
        der = probe.file(certificate)
        findings.require(_verifies(der, signature[:-2]), "the signature verifies with the certificate")
        probe.transmit(SELECT_JPKI)
        findings.expect(
            answered(_sign(probe, key)), "256 bytes, 9000", "signing after the same application was selected again"
        )
        probe.transmit(SELECT_CARD_MANAGER)
        probe.transmit(SELECT_JPKI)
        findings.expect(answered(_sign(probe, key)), "6982", "signing after another application was selected")

    return look


def _wrong_pin(probe: Probe, findings: Findings) -> None:
    if probe.kind is not CardType.EMULATED:
        raise NotApplicable("a wrong PIN is sent to an emulated card only")
    probe.transmit(SELECT_JPKI)
    if _tries(probe, jpki.AUTHENTICATION_PIN) < 2:
        raise NotApplicable("fewer than two retries are left")
    right = probe.secrets.authentication or ""
    if not findings.expect(answered(_verify(probe, jpki.AUTHENTICATION_PIN, right)), "9000", "the right PIN"):
        return  # the given PIN is wrong; it must not cost another retry
    wrong = "".join(str(9 - int(digit)) for digit in right)
    findings.expect(answered(_verify(probe, jpki.AUTHENTICATION_PIN, wrong)), "63C2", "a wrong PIN")
    findings.expect(answered(_sign(probe, jpki.AUTHENTICATION_KEY)), "6982", "signing after it")
    findings.expect(answered(_verify(probe, jpki.AUTHENTICATION_PIN, right)), "9000", "the right PIN again")
    findings.require(
        _tries(probe, jpki.AUTHENTICATION_PIN) == jpki.AUTHENTICATION_PIN.tries, "the retry counter is reset"
    )


def _tries(probe: Probe, pin_file: int) -> int:
    probe.transmit(select_file(pin_file))
    response = probe.transmit(tries_left(CURRENT))
    return response[1] & 0x0F if len(response) == 2 and response[0] == 0x63 else 0


def _verifies(der: bytes, signature: bytes) -> bool:
    if der[:2] != b"\x30\x82":
        return False
    try:
        key = x509.load_der_x509_certificate(der[: int.from_bytes(der[2:4]) + 4]).public_key()
        assert isinstance(key, RSAPublicKey)
        key.verify(signature, _MESSAGE, PKCS1v15(), hashes.SHA256())
    except (ValueError, InvalidSignature, AssertionError):
        return False
    return True


CASES = (
    CheckCase("credentials.authentication", "The authentication PIN opens its key, which matches the certificate",
         "docs/card.md",
         _signs(jpki.AUTHENTICATION_PIN, jpki.AUTHENTICATION_KEY, jpki.AUTHENTICATION_CERTIFICATE, "authentication"),
         Needs.AUTHENTICATION_PIN, cold=True, verifies=True),
    CheckCase("credentials.signature", "The password opens the signature certificate and its key", "docs/card.md",
         _signs(jpki.SIGNATURE_PIN, jpki.SIGNATURE_KEY, jpki.SIGNATURE_CERTIFICATE, "signature"),
         Needs.SIGNATURE_PASSWORD, cold=True, verifies=True),
    CheckCase("credentials.wrong-pin", "A wrong PIN decrements the retry counter, and the right one resets it",
              "docs/card.md",
         _wrong_pin, Needs.AUTHENTICATION_PIN, cold=True, verifies=True),
)  # fmt: skip
