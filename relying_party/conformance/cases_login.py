"""Cases about logins: the challenge, and who has answered it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding

from kazashi.jpki.profile import Kind
from kazashi.relying_party.conformance.authority import NOW, Bench, Holder, Material, sign
from kazashi.relying_party.conformance.case import case
from kazashi.relying_party.verify.authentication import Challenge
from kazashi.relying_party.verify.finding import Finding

ORIGIN, ELSEWHERE = "https://library.example", "https://library.example.net"
GIVEN = Challenge(ORIGIN, bytes(range(32)), NOW - timedelta(seconds=40))


def _login(bench: Bench, holder: Holder | None = None, given: Challenge = GIVEN, **changes: Any) -> Material:
    """An answer to a challenge. `changes` say at which origin it comes in, whether the challenge was given out at all,
    and how often it was answered before."""
    holder = holder or bench.holder(bench.generation(Kind.AUTHENTICATION))
    signature = changes.pop("signature", None)
    return Material(
        holder.der, Kind.AUTHENTICATION, lists=[bench.list(holder.issuer)],
        signature=sign(holder.key, given.message) if signature is None else signature,
        challenge={"origin": given.origin, "nonce": given.nonce.hex(), "issued_at": given.issued_at.isoformat(),
                   "message": given.message.hex(), "at_origin": ORIGIN, "given_out": True, "answered_before": 0,
                   **changes},
    )  # fmt: skip


@case()
def good(bench: Bench) -> Material:
    """The holder's key over the challenge, within five minutes, where it was given out. (act on JPKI, article 38)"""
    return _login(bench)


@case(Finding.UNKNOWN_CHALLENGE)
def replayed(bench: Bench) -> Material:
    """A challenge is good for one answer. (NIST SP 800-63B, 5.2.8)"""
    return _login(bench, answered_before=1)


@case(Finding.UNKNOWN_CHALLENGE)
def made_up(bench: Bench) -> Material:
    """A challenge that was never given out asks nothing. (NIST SP 800-63B, 5.2.8)"""
    return _login(bench, given_out=False)


@case(Finding.STALE_CHALLENGE)
def too_late(bench: Bench) -> Material:
    """An answer that was kept is not fresh. (NIST SP 800-63B, 5.2.8)"""
    return _login(bench, given=Challenge(ORIGIN, GIVEN.nonce, NOW - timedelta(minutes=6)))


@case(Finding.STALE_CHALLENGE)
def before_it_was_given_out(bench: Bench) -> Material:
    """A challenge of later comes from a clock that was put back. (prudence)"""
    return _login(bench, given=Challenge(ORIGIN, GIVEN.nonce, NOW + timedelta(minutes=1)))


@case(Finding.WRONG_ORIGIN)
def at_another_origin(bench: Bench) -> Material:
    """A challenge is answered where it was given out, or a site in between could pass answers on. (WebAuthn, 13.4.9)"""
    return _login(bench, at_origin=ELSEWHERE)


@case(Finding.WRONG_SIGNATURE)
def signed_for_another_origin(bench: Bench) -> Material:
    """The origin is signed too: what was signed for one site is worth nothing at another. (WebAuthn, 13.4.9)"""
    elsewhere = Challenge(ELSEWHERE, GIVEN.nonce, GIVEN.issued_at)
    return _login(bench, signature=sign(bench.holder_key, elsewhere.message))


@case(Finding.WRONG_SIGNATURE)
def signed_for_another_time(bench: Bench) -> Material:
    """The time is signed too. (NIST SP 800-63B, 5.2.8)"""
    later = Challenge(ORIGIN, GIVEN.nonce, GIVEN.issued_at + timedelta(seconds=1))
    return _login(bench, signature=sign(bench.holder_key, later.message))


@case(Finding.WRONG_SIGNATURE)
def signed_the_nonce_alone(bench: Bench) -> Material:
    """A nonce without origin and time could be anybody's. (WebAuthn, 13.4.9)"""
    return _login(bench, signature=sign(bench.holder_key, GIVEN.nonce))


@case(Finding.WRONG_SIGNATURE)
def signed_with_another_key(bench: Bench) -> Material:
    """Reading a certificate needs no PIN: having it proves nothing. (JPKI, authentication certificate)"""
    return _login(bench, signature=sign(bench.other_key, GIVEN.message))


@case(Finding.WRONG_SIGNATURE)
def not_signed(bench: Bench) -> Material:
    """No signature is no answer. (RFC 8017, 8.2.2)"""
    return _login(bench, signature=b"")


@case(Finding.WRONG_SIGNATURE)
def signed_with_pss(bench: Bench) -> Material:
    """Cards make PKCS #1 v1.5; another form is not taken for it. (RFC 8017, 8.2.2)"""
    pss = padding.PSS(padding.MGF1(hashes.SHA256()), 32)
    return _login(bench, signature=bench.holder_key.sign(GIVEN.message, pss, hashes.SHA256()))


@case(Finding.WRONG_SIGNATURE)
def signed_over_sha_1(bench: Bench) -> Material:
    """Two messages with one SHA-1 digest can be made. (CRYPTREC)"""
    return _login(bench, signature=bench.holder_key.sign(GIVEN.message, padding.PKCS1v15(), hashes.SHA1()))


@case(Finding.WRONG_KIND)
def with_the_signature_certificate(bench: Bench) -> Material:
    """A site that takes the signature certificate for a login gets name and address of everybody. (act on JPKI, article
    2)"""
    holder = bench.holder(bench.generation(Kind.SIGNATURE))
    return _login(bench, holder)


@case(Finding.EXPIRED)
def with_an_expired_certificate(bench: Bench) -> Material:
    """A card does not stop signing when its certificate ends. (RFC 5280, 6.1.3)"""
    return _login(bench, bench.holder(bench.generation(Kind.AUTHENTICATION), ends=NOW - timedelta(days=1)))


@case(Finding.HELD)
def with_a_lost_card(bench: Bench) -> Material:
    """A card that was reported lost does not know it. (act on JPKI, article 31)"""
    holder = bench.holder(bench.generation(Kind.AUTHENTICATION))
    material = _login(bench, holder)
    entry = (holder.certificate.serial_number, NOW - timedelta(days=1), x509.ReasonFlags.certificate_hold)
    material.lists = [bench.list(holder.issuer, [entry])]
    return material


@case(Finding.NO_INFORMATION)
def nobody_knows_of_revocation(bench: Bench) -> Material:
    """An authority that does not answer leaves a login undecided, and lets nobody in. (act on JPKI, article 38)"""
    material = _login(bench)
    material.lists = []
    return material


@case(Finding.BROKEN_CERTIFICATE)
def with_a_certificate_of_ones_own(bench: Bench) -> Material:
    """A certificate that one has signed oneself. (RFC 5280, 6.1)"""
    issuer = bench.generation(Kind.AUTHENTICATION)
    return _login(bench, bench.holder(issuer, signed_by=bench.generation(Kind.AUTHENTICATION, "02")))
