"""Cases about revocation: every reason, every source, and all that is wrong with what sources say."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from asn1crypto import algos, core
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID

from kazashi.jpki.profile import Kind
from kazashi.relying_party.conformance.authority import (
    ELSEWHERE,
    NOW,
    Bench,
    Extension,
    Holder,
    Material,
    issuing_point,
    sign,
)
from kazashi.relying_party.conformance.case import case
from kazashi.relying_party.verify.finding import Finding

AUTHENTICATION, SIGNATURE = Kind.AUTHENTICATION, Kind.SIGNATURE
EARLIER, LATER = NOW - timedelta(days=3), NOW + timedelta(days=1)
NONCE = bytes(range(16))
Reason = x509.ReasonFlags


def _listed(bench: Bench, holder: Holder, *lists: bytes, **more: Any) -> Material:
    return Material(holder.der, holder.issuer.kind, lists=lists, **more)


def _revoked(bench: Bench, reason: Reason | None, at: datetime = EARLIER, kind: Kind = AUTHENTICATION) -> Material:
    holder = bench.holder(bench.generation(kind))
    entry = (holder.certificate.serial_number, at, reason)
    return _listed(bench, holder, bench.list(holder.issuer, [(0x70000001, at, None), entry]))


# Reasons


@case(Finding.REVOKED)
def revoked_without_a_reason(bench: Bench) -> Material:
    """An entry without a reason revokes as well. (RFC 5280, 5.3.1)"""
    return _revoked(bench, None)


@case(Finding.REVOKED)
def revoked_key_compromise(bench: Bench) -> Material:
    """keyCompromise: the card was stolen, or its key is known. (act on JPKI, article 12)"""
    return _revoked(bench, Reason.key_compromise)


@case(Finding.REVOKED)
def revoked_ca_compromise(bench: Bench) -> Material:
    """cACompromise: the authority's own key is known, and with it everything it has issued is void. (article 13)"""
    return _revoked(bench, Reason.ca_compromise)


@case(Finding.REVOKED)
def revoked_affiliation_changed(bench: Bench) -> Material:
    """affiliationChanged: the holder has moved or changes name, and the signature certificate dies. (article 12)"""
    return _revoked(bench, Reason.affiliation_changed, kind=SIGNATURE)


@case(Finding.REVOKED)
def revoked_superseded(bench: Bench) -> Material:
    """superseded: the certificate was renewed, and its successor is the one to use. (article 12)"""
    return _revoked(bench, Reason.superseded)


@case(Finding.REVOKED)
def revoked_cessation_of_operation(bench: Bench) -> Material:
    """cessationOfOperation: the holder has died or left the country, or has given the card back. (article 12)"""
    return _revoked(bench, Reason.cessation_of_operation)


@case(Finding.HELD)
def held(bench: Bench) -> Material:
    """certificateHold: the card is reported lost. What is held is not good. (RFC 5280, 5.3.1)"""
    return _revoked(bench, Reason.certificate_hold)


@case(Finding.REVOKED)
def revoked_at_this_very_second(bench: Bench) -> Material:
    """A revocation counts from the second that it names. (RFC 5280, 5.3)"""
    return _revoked(bench, Reason.superseded, NOW)


@case()
def revoked_later(bench: Bench) -> Material:
    """As of an instant before its revocation a certificate was good. (RFC 5280, 5.1.2.6)"""
    material = _revoked(bench, Reason.affiliation_changed, EARLIER, SIGNATURE)
    material.at = EARLIER - timedelta(seconds=1)
    return material


@case(Finding.REVOKED)
def one_of_a_thousand(bench: Bench) -> Material:
    """An entry is found wherever it stands. (RFC 5280, 5.1.2.6)"""
    holder = bench.holder(bench.generation(AUTHENTICATION), serial=0x70005000)
    entries = [(0x70005000 + 8 * number % 1001 - 500, EARLIER, Reason.superseded) for number in range(1001)]
    return _listed(bench, holder, bench.list(holder.issuer, entries))


@case()
def none_of_a_thousand(bench: Bench) -> Material:
    """Others' entries revoke nobody else. (RFC 5280, 5.1.2.6)"""
    holder = bench.holder(bench.generation(AUTHENTICATION), serial=0x70005000)
    entries = [(0x70005001 + 3 * number, EARLIER, Reason.superseded) for number in range(1000)]
    return _listed(bench, holder, bench.list(holder.issuer, entries))


@case(Finding.REVOKED)
def a_serial_number_of_eight_bytes(bench: Bench) -> Material:
    """Numbers of the upper half of 64 bits have nine bytes in DER. (X.690, 8.3)"""
    serial = 0xF000000000000001
    holder = bench.holder(bench.generation(AUTHENTICATION), serial=serial)
    return _listed(bench, holder, bench.list(holder.issuer, [(5, EARLIER, None), (serial, EARLIER, Reason.superseded)]))


# Whose list


@case(Finding.UNTRUSTED_INFORMATION)
def another_municipalitys_list(bench: Bench) -> Material:
    """A list is about one municipality's people: absence from another's says nothing. (RFC 5280, 6.3.3 (b))"""
    holder = bench.holder(bench.generation(SIGNATURE))
    return _listed(bench, holder, bench.list(holder.issuer, place=ELSEWHERE))


@case(Finding.UNTRUSTED_INFORMATION)
def another_generations_list(bench: Bench) -> Material:
    """A generation's list is about what that generation has issued, though all have one name. (RFC 5280, 6.3.3 (f))"""
    holder = bench.holder(bench.generation(SIGNATURE))
    return _listed(bench, holder, bench.list(bench.generation(SIGNATURE, "02")))


@case(Finding.UNTRUSTED_INFORMATION)
def another_authoritys_list(bench: Bench) -> Material:
    """Each authority counts its own serial numbers. (RFC 5280, 6.3.3 (b))"""
    holder = bench.holder(bench.generation(SIGNATURE))
    return _listed(bench, holder, bench.list(bench.generation(AUTHENTICATION)))


@case(Finding.UNTRUSTED_INFORMATION)
def a_list_signed_with_another_generations_key(bench: Bench) -> Material:
    """A list that names one key must be signed with it. (RFC 5280, 6.3.3 (g))"""
    holder = bench.holder(bench.generation(SIGNATURE))
    return _listed(bench, holder, bench.list(holder.issuer, signed_by=bench.generation(SIGNATURE, "02")))


@case(Finding.UNTRUSTED_INFORMATION)
def a_list_changed_after_signing(bench: Bench) -> Material:
    """A list from which an entry was taken is not the authority's. (RFC 5280, 6.3.3 (g))"""
    material = _revoked(bench, Reason.superseded)
    serial = b"\x02\x04" + x509.load_der_x509_certificate(material.certificate).serial_number.to_bytes(4)
    material.lists = [material.lists[0].replace(serial, b"\x02\x04\x70\x00\x00\x02", 1)]
    return material


@case()
def everybodys_list(bench: Bench) -> Material:
    """A list without a distribution point is about everybody. (RFC 5280, 5.2.5)"""
    holder = bench.holder(bench.generation(SIGNATURE))
    return _listed(bench, holder, bench.list(holder.issuer, place=None))


@case(Finding.REVOKED)
def revoked_in_everybodys_list(bench: Bench) -> Material:
    """And revokes as any other. (RFC 5280, 5.2.5)"""
    holder = bench.holder(bench.generation(SIGNATURE))
    entry = (holder.certificate.serial_number, EARLIER, Reason.affiliation_changed)
    return _listed(bench, holder, bench.list(holder.issuer, [entry], place=None))


def _with_point(bench: Bench, critical: bool = True, **scope: Any) -> Material:
    holder = bench.holder(bench.generation(SIGNATURE))
    point = issuing_point(bench.partition(SIGNATURE), **scope)
    return _listed(bench, holder, bench.list(holder.issuer, point=(point, critical)))


@case(Finding.UNTRUSTED_INFORMATION)
def a_distribution_point_that_is_not_critical(bench: Bench) -> Material:
    """The distribution point is critical, or readers would take the part for the whole. (RFC 5280, 5.2.5)"""
    return _with_point(bench, critical=False)


@case(Finding.UNTRUSTED_INFORMATION)
def the_list_of_authorities(bench: Bench) -> Material:
    """A list of authorities' certificates says nothing of holders'. (RFC 5280, 6.3.3 (b)(2))"""
    return _with_point(bench, authorities=True)


@case(Finding.UNTRUSTED_INFORMATION)
def a_list_for_some_reasons(bench: Bench) -> Material:
    """A list for some reasons leaves the others open. (RFC 5280, 6.3.3 (d))"""
    return _with_point(bench, reasons=frozenset({Reason.key_compromise}))


@case(Finding.UNTRUSTED_INFORMATION)
def an_indirect_list(bench: Bench) -> Material:
    """An indirect list is another issuer's matter, which JPKI does not have. (RFC 5280, 5.3.3)"""
    return _with_point(bench, indirect=True)


def _with_extension(bench: Bench, *extensions: Extension) -> Material:
    holder = bench.holder(bench.generation(SIGNATURE))
    return _listed(bench, holder, bench.list(holder.issuer, extra=extensions))


@case(Finding.UNTRUSTED_INFORMATION)
def a_delta_list(bench: Bench) -> Material:
    """Changes alone are no list: what was revoked before is not in them. (RFC 5280, 5.2.4)"""
    return _with_extension(bench, (x509.DeltaCRLIndicator(6), True))


@case(Finding.UNTRUSTED_INFORMATION)
def a_list_with_an_unknown_critical_extension(bench: Bench) -> Material:
    """What is critical and not understood is refused. (RFC 5280, 5.2)"""
    unknown = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.32473.9"), b"\x05\x00")
    return _with_extension(bench, (unknown, True))


@case()
def a_list_with_an_unknown_extension(bench: Bench) -> Material:
    """What is not critical may be passed over. (RFC 5280, 5.2)"""
    unknown = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.32473.9"), b"\x05\x00")
    return _with_extension(bench, (unknown, False))


def _with_entry_extension(bench: Bench, value: x509.ExtensionType, critical: bool) -> Material:
    holder = bench.holder(bench.generation(SIGNATURE))
    entries = [(0x70000001, EARLIER, None), (holder.certificate.serial_number, EARLIER, Reason.superseded)]
    return _listed(bench, holder, bench.list(holder.issuer, entries, entry_extension=(value, critical)))


@case(Finding.UNTRUSTED_INFORMATION)
def an_entry_with_a_critical_extension(bench: Bench) -> Material:
    """An entry that is not understood spoils the list. (RFC 5280, 5.3)"""
    name = [x509.DirectoryName(bench.authority_name(AUTHENTICATION))]
    return _with_entry_extension(bench, x509.CertificateIssuer(name), True)


@case(Finding.REVOKED)
def an_entry_with_another_extension(bench: Bench) -> Material:
    """An entry may say more, as since when the key was known. (RFC 5280, 5.3.2)"""
    return _with_entry_extension(bench, x509.InvalidityDate(EARLIER.replace(tzinfo=None)), False)


# When


def _of(bench: Bench, this_update: datetime, next_update: datetime | None = None, **more: Any) -> Material:
    holder = bench.holder(bench.generation(SIGNATURE), **more)
    return _listed(bench, holder, bench.list(holder.issuer, this_update=this_update, next_update=next_update))


@case(Finding.STALE_INFORMATION)
def a_stale_list(bench: Bench) -> Material:
    """After its nextUpdate a list says nothing any more. (RFC 5280, 6.3.3 (a))"""
    return _of(bench, NOW - timedelta(hours=49))


@case()
def a_list_in_its_last_second(bench: Bench) -> Material:
    """Until its nextUpdate it does. (RFC 5280, 5.1.2.5)"""
    return _of(bench, NOW - timedelta(hours=48))


@case(Finding.STALE_INFORMATION)
def a_list_of_tomorrow(bench: Bench) -> Material:
    """A list that is not made yet, or a clock that is wrong. (RFC 5280, 5.1.2.4)"""
    return _of(bench, NOW + timedelta(hours=12))


@case(Finding.STALE_INFORMATION)
def a_list_that_no_longer_speaks_of_the_ended(bench: Bench) -> Material:
    """Entries leave a list when their certificates end: as of a time before, a later list says nothing of them. (RFC
    5280, 3.3)"""
    material = _of(bench, NOW - timedelta(hours=12), ends=NOW - timedelta(days=2))
    material.at = NOW - timedelta(days=3)
    return material


@case()
def a_later_list_speaks_of_earlier_times(bench: Bench) -> Material:
    """Today's list says how a certificate that is still valid stood last month. (RFC 5280, 5.3)"""
    material = _of(bench, NOW - timedelta(hours=12))
    material.at = NOW - timedelta(days=30)
    return material


# Form


@case(Finding.UNTRUSTED_INFORMATION)
def a_list_without_an_end(bench: Bench) -> Material:
    """A list says until when it holds. (RFC 5280, 5.1.2.5)"""
    holder = bench.holder(bench.generation(SIGNATURE))
    data = bench.bent_list(holder.issuer, bench.list(holder.issuer), lambda body: body.__setitem__("next_update", None))
    return _listed(bench, holder, data)


@case(Finding.UNTRUSTED_INFORMATION)
def a_list_of_version_one(bench: Bench) -> Material:
    """A list of version 1 has no distribution point that could be understood. (RFC 5280, 5.1.2.1)"""
    holder = bench.holder(bench.generation(SIGNATURE))
    data = bench.bent_list(holder.issuer, bench.list(holder.issuer), lambda body: body.__setitem__("version", "v1"))
    return _listed(bench, holder, data)


@case(Finding.UNTRUSTED_INFORMATION)
def a_list_of_two_algorithms(bench: Bench) -> Material:
    """The algorithm inside is the one outside. (RFC 5280, 5.1.1.2)"""
    holder = bench.holder(bench.generation(SIGNATURE))
    other = algos.SignedDigestAlgorithm({"algorithm": "sha512_rsa", "parameters": core.Null()})
    data = bench.bent_list(holder.issuer, bench.list(holder.issuer), lambda body: body.__setitem__("signature", other))
    return _listed(bench, holder, data)


@case(Finding.UNTRUSTED_INFORMATION)
def a_list_cut_off(bench: Bench) -> Material:
    """Half a list is none. (X.690)"""
    holder = bench.holder(bench.generation(SIGNATURE))
    return _listed(bench, holder, bench.list(holder.issuer, [(9, EARLIER, None)] * 40)[:700])


@case(Finding.UNTRUSTED_INFORMATION)
def a_list_with_bytes_behind_it(bench: Bench) -> Material:
    """A list ends where it ends. (X.690)"""
    holder = bench.holder(bench.generation(SIGNATURE))
    return _listed(bench, holder, bench.list(holder.issuer) + b"\x00")


@case(Finding.UNTRUSTED_INFORMATION)
def no_list_at_all(bench: Bench) -> Material:
    """A page that says sorry is no list. (X.690)"""
    return _listed(bench, bench.holder(bench.generation(SIGNATURE)), b"<html>503</html>")


@case(Finding.NO_INFORMATION)
def no_source(bench: Bench) -> Material:
    """Without word on revocation nothing is good. (RFC 5280, 6.3)"""
    return _listed(bench, bench.holder(bench.generation(SIGNATURE)))


# OCSP


def _answered(bench: Bench, lists: Sequence[bytes] = (), holder: Holder | None = None, **more: Any) -> Material:
    holder = holder or bench.holder(bench.generation(AUTHENTICATION))
    more.setdefault("nonce", NONCE)
    return Material(holder.der, holder.issuer.kind, lists=lists, ocsp=bench.answer(holder, **more), nonce=NONCE)


@case()
def ocsp_good(bench: Bench) -> Material:
    """An answer by a responder that the authority has named. (RFC 6960, 4.2.2.2)"""
    return _answered(bench)


@case()
def ocsp_good_by_the_authority_itself(bench: Bench) -> Material:
    """The authority's own key answers for itself. (RFC 6960, 4.2.2.2)"""
    issuer = bench.generation(AUTHENTICATION)
    return _answered(bench, responder=issuer.certificate, key=issuer.key)


@case(Finding.REVOKED)
def ocsp_revoked(bench: Bench) -> Material:
    """Revoked since when, and why. (RFC 6960, 4.2.1)"""
    return _answered(bench, status=ocsp.OCSPCertStatus.REVOKED, at=EARLIER, reason=Reason.superseded)


@case(Finding.REVOKED)
def ocsp_revoked_without_a_reason(bench: Bench) -> Material:
    """No reason is no mercy. (RFC 6960, 4.2.1)"""
    return _answered(bench, status=ocsp.OCSPCertStatus.REVOKED, at=EARLIER)


@case(Finding.HELD)
def ocsp_held(bench: Bench) -> Material:
    """A hold is a revocation with its reason. (RFC 6960, 2.2)"""
    return _answered(bench, status=ocsp.OCSPCertStatus.REVOKED, at=EARLIER, reason=Reason.certificate_hold)


@case(Finding.REVOKED)
def ocsp_knows_before_the_list(bench: Bench) -> Material:
    """OCSP hears of a move within 15 minutes, the list on the next day: the newer word counts. (JPKI, OCSP)"""
    holder = bench.holder(bench.generation(SIGNATURE))
    return _answered(bench, [bench.list(holder.issuer)], holder, status=ocsp.OCSPCertStatus.REVOKED,
                     at=NOW - timedelta(hours=1), reason=Reason.affiliation_changed)  # fmt: skip


@case(Finding.UNKNOWN_CERTIFICATE)
def ocsp_unknown(bench: Bench) -> Material:
    """A certificate that its own authority does not know is not good. (RFC 6960, 2.2)"""
    return _answered(bench, status=ocsp.OCSPCertStatus.UNKNOWN)


def _refused(bench: Bench, status: ocsp.OCSPResponseStatus, lists: bool = False) -> Material:
    holder = bench.holder(bench.generation(AUTHENTICATION))
    answer = ocsp.OCSPResponseBuilder.build_unsuccessful(status).public_bytes(Encoding.DER)
    return Material(holder.der, AUTHENTICATION, lists=[bench.list(holder.issuer)] if lists else [], ocsp=answer,
                    nonce=NONCE)  # fmt: skip


@case(Finding.NO_INFORMATION)
def ocsp_unauthorized(bench: Bench) -> Material:
    """Who is not registered is told nothing. (RFC 6960, 2.3)"""
    return _refused(bench, ocsp.OCSPResponseStatus.UNAUTHORIZED)


@case(Finding.NO_INFORMATION)
def ocsp_try_later(bench: Bench) -> Material:
    """Outside its hours the responder says so. (RFC 6960, 2.3)"""
    return _refused(bench, ocsp.OCSPResponseStatus.TRY_LATER)


@case()
def ocsp_try_later_and_a_list(bench: Bench) -> Material:
    """Where one source does not know, another may. (JPKI, revocation information)"""
    return _refused(bench, ocsp.OCSPResponseStatus.TRY_LATER, lists=True)


@case(Finding.UNTRUSTED_INFORMATION)
def ocsp_of_an_expired_responder(bench: Bench) -> Material:
    """A responder's certificate is valid when it answers. (RFC 6960, 4.2.2.2)"""
    return _answered(bench, responder=bench.responder(bench.generation(AUTHENTICATION), ends=NOW - timedelta(days=1)))


@case(Finding.UNTRUSTED_INFORMATION)
def ocsp_of_another_authoritys_responder(bench: Bench) -> Material:
    """A responder speaks for the authority that has named it. (RFC 6960, 4.2.2.2)"""
    return _answered(bench, responder=bench.responder(bench.generation(SIGNATURE)))


@case(Finding.UNTRUSTED_INFORMATION)
def ocsp_of_another_generations_responder(bench: Bench) -> Material:
    """And for the generation whose key has. (RFC 6960, 4.2.2.2)"""
    return _answered(bench, responder=bench.responder(bench.generation(AUTHENTICATION, "02")))


@case(Finding.UNTRUSTED_INFORMATION)
def ocsp_of_one_who_is_no_responder(bench: Bench) -> Material:
    """A certificate for something else answers for nobody. (RFC 6960, 4.2.2.2)"""
    other = bench.responder(bench.generation(AUTHENTICATION), usage=[ExtendedKeyUsageOID.CLIENT_AUTH])
    return _answered(bench, responder=other)


@case(Finding.UNTRUSTED_INFORMATION)
def ocsp_of_a_holder(bench: Bench) -> Material:
    """Nor does a holder, though the authority has certified both. (RFC 6960, 4.2.2.2)"""
    holder = bench.holder(bench.generation(AUTHENTICATION))
    return _answered(bench, holder=holder, responder=holder.certificate, key=bench.holder_key)


@case(Finding.UNTRUSTED_INFORMATION)
def ocsp_signed_by_somebody_else(bench: Bench) -> Material:
    """The responder's certificate beside another's signature. (RFC 6960, 3.2)"""
    material = _answered(bench)
    assert material.ocsp is not None
    genuine = ocsp.load_der_ocsp_response(material.ocsp).signature
    material.ocsp = material.ocsp.replace(genuine, sign(bench.other_key, b"another answer"))
    return material


@case(Finding.UNTRUSTED_INFORMATION)
def ocsp_with_another_nonce(bench: Bench) -> Material:
    """The answer to another question, kept and played again. (RFC 6960, 4.4.1; RFC 9654)"""
    return _answered(bench, nonce=NONCE[::-1])


@case(Finding.UNTRUSTED_INFORMATION)
def ocsp_without_the_nonce(bench: Bench) -> Material:
    """Who asks with a nonce is answered with it. (RFC 9654, 2.1)"""
    return _answered(bench, nonce=None)


@case(Finding.UNTRUSTED_INFORMATION)
def ocsp_about_somebody_else(bench: Bench) -> Material:
    """A good word about another certificate. (RFC 6960, 3.2)"""
    other = bench.holder(bench.generation(AUTHENTICATION))
    return _answered(bench, about=other)


@case(Finding.UNTRUSTED_INFORMATION)
def ocsp_about_the_same_number_of_another_authority(bench: Bench) -> Material:
    """Both authorities count from one: the number alone names nobody. (RFC 6960, 4.1.1)"""
    holder = bench.holder(bench.generation(AUTHENTICATION))
    other = bench.holder(bench.generation(SIGNATURE), serial=holder.certificate.serial_number)
    return _answered(bench, holder=holder, about=other)


@case(Finding.STALE_INFORMATION)
def ocsp_of_yesterday(bench: Bench) -> Material:
    """An answer holds until its nextUpdate. (RFC 6960, 3.2)"""
    return _answered(bench, this_update=NOW - timedelta(days=1))


@case(Finding.STALE_INFORMATION)
def ocsp_of_tomorrow(bench: Bench) -> Material:
    """An answer that is not made yet, or a clock that is wrong. (RFC 6960, 4.2.2.1)"""
    return _answered(bench, this_update=LATER)


@case(Finding.UNTRUSTED_INFORMATION)
def ocsp_without_an_end(bench: Bench) -> Material:
    """An answer says until when it holds. (JPKI, 15-minute grid)"""
    return _answered(bench, next_update=None)


@case(Finding.UNTRUSTED_INFORMATION)
def ocsp_that_is_none(bench: Bench) -> Material:
    """A page that says sorry is no answer. (RFC 6960, 4.2.1)"""
    material = _answered(bench)
    material.ocsp = b"<html>503</html>"
    return material


@case()
def ocsp_was_good_before_it_was_revoked(bench: Bench) -> Material:
    """As of an instant before its revocation a certificate was good, by OCSP too. (RFC 6960, 2.2)"""
    material = _answered(bench, status=ocsp.OCSPCertStatus.REVOKED, at=EARLIER, reason=Reason.superseded)
    material.at = EARLIER - timedelta(hours=1)
    return material
