"""Cases about a certificate itself: its authority, its time, and every rule of its profile."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from asn1crypto import algos, core
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from kazashi.jpki.profile import EMULATED, Kind, Medium
from kazashi.relying_party.conformance.authority import (
    BEGINS,
    ENDS,
    NOW,
    Bench,
    Extension,
    Generation,
    Holder,
    Material,
    name,
    points,
    policies,
)
from kazashi.relying_party.conformance.case import case
from kazashi.relying_party.verify.finding import Finding

AUTHENTICATION, SIGNATURE = Kind.AUTHENTICATION, Kind.SIGNATURE
SECOND = timedelta(seconds=1)
Change = Callable[[dict[str, Extension]], Any]


def asked(bench: Bench, holder: Holder, der: bytes | None = None, **more: Any) -> Material:
    """A certificate with its municipality's fresh and empty list."""
    return Material(der or holder.der, holder.issuer.kind, lists=[bench.list(holder.issuer)], **more)


def bent(bench: Bench, kind: Kind, change: Change) -> Material:
    """A certificate whose extensions are not as they should be."""
    return asked(bench, bench.holder(bench.generation(kind), change=change))


def without(short: str) -> Change:
    """Leave an extension out."""
    return lambda found: found.pop(short)


def with_value(short: str, value: x509.ExtensionType, *, critical: bool) -> Change:
    """Put an extension in another's place, or at the end."""
    return lambda found: found.update({short: (value, critical)})


def usage(
    *, signs: bool = True, commits: bool = False, enciphers: bool = False, certifies: bool = False
) -> x509.KeyUsage:
    """A key usage."""
    return x509.KeyUsage(signs, commits, enciphers, False, False, certifies, False, False, False)


# What is good


@case()
def good_authentication(bench: Bench) -> Material:
    """A certificate that keeps its profile and is not in its municipality's list is good. (RFC 5280, 6)"""
    return asked(bench, bench.holder(bench.generation(AUTHENTICATION)))


@case()
def good_signature(bench: Bench) -> Material:
    """The same for a signature certificate, with its six names. (JPKI profile; RFC 5280, 6)"""
    return asked(bench, bench.holder(bench.generation(SIGNATURE)))


@case()
def good_authentication_on_a_phone(bench: Bench) -> Material:
    """A phone's certificate has a policy of its own and is as good as a card's. (act on JPKI, article 35-2)"""
    return asked(bench, bench.holder(bench.generation(AUTHENTICATION), medium=Medium.PHONE))


@case()
def good_signature_on_a_phone(bench: Bench) -> Material:
    """A phone's signature certificate likewise. (act on JPKI, article 16-2)"""
    return asked(bench, bench.holder(bench.generation(SIGNATURE), medium=Medium.PHONE))


@case()
def good_of_an_older_generation(bench: Bench) -> Material:
    """Certificates outlive the generation that issues: the older key still vouches for them. (JPKI, roll-over)"""
    return asked(bench, bench.holder(bench.generation(SIGNATURE, "02")))


@case()
def good_of_the_next_card(bench: Bench) -> Material:
    """The next card's keys are P-384, and its authority signs with ECDSA and SHA-384. (Digital Agency, next card)"""
    return asked(
        bench, bench.holder(bench.generation(AUTHENTICATION, "next"), key=ec.generate_private_key(ec.SECP384R1()))
    )


# Authority


@case(Finding.BROKEN_CERTIFICATE)
def same_name_other_generation(bench: Bench) -> Material:
    """All generations have one name: the key identifier says which one signed, and its key must verify. (RFC 5280,
    4.2.1.1)"""
    issuer = bench.generation(AUTHENTICATION)
    return asked(bench, bench.holder(issuer, signed_by=bench.generation(AUTHENTICATION, "02")))


@case(Finding.WRONG_AUTHORITY)
def unknown_generation(bench: Bench) -> Material:
    """A key that no trusted generation has vouches for nobody, whatever name goes with it. (RFC 5280, 6.1)"""
    issuer = bench.generation(AUTHENTICATION)
    unknown = Generation(issuer.kind, "unknown", bench.other_key, bench.foreign_root(AUTHENTICATION).certificate)
    return asked(bench, bench.holder(unknown))


@case(Finding.WRONG_AUTHORITY)
def the_other_authority(bench: Bench) -> Material:
    """The signature authority issues no authentication certificates: each authority has its kind. (act on JPKI,
    articles 3 and 22)"""
    holder = bench.holder(bench.generation(SIGNATURE), kind=AUTHENTICATION)
    return Material(holder.der, AUTHENTICATION, lists=[bench.list(bench.generation(AUTHENTICATION))])


@case(Finding.WRONG_AUTHORITY)
def a_foreign_root(bench: Bench) -> Material:
    """A root of another organisation is none of ours, however like it looks. (RFC 5280, 6.1.1)"""
    return asked(bench, bench.holder(bench.foreign_root(SIGNATURE)))


@case(Finding.WRONG_AUTHORITY)
def another_name_than_the_keys(bench: Bench) -> Material:
    """The issuer's name must be that of the authority whose key is named. (RFC 5280, 6.1.3 (a)(4))"""
    holder = bench.holder(bench.generation(AUTHENTICATION), change=lambda found: found.update({
        "authority key": (x509.AuthorityKeyIdentifier(bench.generation(AUTHENTICATION).identifier, None, None), False)
    }))  # fmt: skip

    def change(body: Any) -> None:
        body["issuer"].chosen[1][0]["value"] = core.UTF8String("JPKI-EMU ")

    return asked(bench, holder, bench.resigned(holder, change))


@case(Finding.BROKEN_CERTIFICATE)
def a_flipped_bit_in_the_signature(bench: Bench) -> Material:
    """A signature holds as a whole or not at all. (RFC 5280, 6.1.3 (a)(1))"""
    holder = bench.holder(bench.generation(AUTHENTICATION))
    return asked(bench, holder, holder.der[:-1] + bytes((holder.der[-1] ^ 1,)))


@case(Finding.BROKEN_CERTIFICATE)
def a_serial_number_changed_after_signing(bench: Bench) -> Material:
    """What is signed cannot be changed: another serial number would get round revocation. (RFC 5280, 6.1.3 (a)(1))"""
    holder = bench.holder(bench.generation(AUTHENTICATION))
    old = holder.certificate.serial_number.to_bytes(4)
    return asked(bench, holder, holder.der.replace(old, b"\x71" + old[1:], 1))


# Time


@case(Finding.EXPIRED)
def expired(bench: Bench) -> Material:
    """After its notAfter a certificate is worth nothing. (RFC 5280, 6.1.3 (a)(2))"""
    return asked(bench, bench.holder(bench.generation(AUTHENTICATION), ends=NOW - timedelta(days=1)))


@case(Finding.EXPIRED)
def expired_by_a_second(bench: Bench) -> Material:
    """notAfter is the last second. (RFC 5280, 4.1.2.5)"""
    return asked(bench, bench.holder(bench.generation(AUTHENTICATION), ends=NOW - SECOND))


@case()
def in_its_last_second(bench: Bench) -> Material:
    """The second of notAfter still counts. (RFC 5280, 4.1.2.5)"""
    return asked(bench, bench.holder(bench.generation(AUTHENTICATION), ends=NOW))


@case(Finding.NOT_YET_VALID)
def not_yet_valid(bench: Bench) -> Material:
    """Before its notBefore a certificate is not good. (RFC 5280, 6.1.3 (a)(2))"""
    return asked(bench, bench.holder(bench.generation(AUTHENTICATION), begins=NOW + SECOND))


@case()
def in_its_first_second(bench: Bench) -> Material:
    """The second of notBefore counts. (RFC 5280, 4.1.2.5)"""
    return asked(bench, bench.holder(bench.generation(AUTHENTICATION), begins=NOW))


@case(Finding.OFF_PROFILE)
def lasts_for_twenty_years(bench: Bench) -> Material:
    """A holder's certificate lasts for some birthdays, ten at most. (ordinance on JPKI, article 13)"""
    return asked(bench, bench.holder(bench.generation(AUTHENTICATION), ends=BEGINS + timedelta(days=366 * 20)))


@case(Finding.OFF_PROFILE)
def ends_before_it_begins(bench: Bench) -> Material:
    """A validity that ends before it begins is none. (RFC 5280, 4.1.2.5)"""
    holder = bench.holder(bench.generation(AUTHENTICATION))

    def change(body: Any) -> None:
        validity = body["validity"]
        validity["not_before"], validity["not_after"] = validity["not_after"].copy(), validity["not_before"].copy()

    return asked(bench, holder, bench.resigned(holder, change))


# Kind and policy


@case(Finding.WRONG_KIND)
def a_signature_certificate_for_a_login(bench: Bench) -> Material:
    """A login asks for the authentication certificate: the other would hand over name and address. (act on JPKI,
    article 2)"""
    holder = bench.holder(bench.generation(SIGNATURE))
    return Material(holder.der, AUTHENTICATION, lists=[bench.list(holder.issuer)])


@case(Finding.WRONG_KIND)
def an_authentication_certificate_under_a_document(bench: Bench) -> Material:
    """A document is signed with the signature certificate: the other says of nobody who it is. (act on JPKI, article
    2)"""
    holder = bench.holder(bench.generation(AUTHENTICATION))
    return Material(holder.der, SIGNATURE, lists=[bench.list(holder.issuer)])


@case(Finding.OFF_PROFILE)
def no_policy(bench: Bench) -> Material:
    """The policy says what a certificate is for, and is always there. (JPKI profile)"""
    return bent(bench, AUTHENTICATION, without("policies"))


@case(Finding.OFF_PROFILE)
def a_policy_of_another_service(bench: Bench) -> Material:
    """Only JPKI's policies count. (JPKI profile; RFC 5280, 6.1.1 (c))"""
    return bent(bench, AUTHENTICATION, with_value("policies", policies("1.3.6.1.4.1.32473.1.1"), critical=True))


@case(Finding.OFF_PROFILE)
def two_policies(bench: Bench) -> Material:
    """One policy to a certificate: with two it would pass for either kind. (JPKI profile)"""
    both = policies(*(EMULATED.policy(kind, Medium.CARD) for kind in Kind))
    return bent(bench, AUTHENTICATION, with_value("policies", both, critical=True))


@case(Finding.OFF_PROFILE)
def policies_not_critical(bench: Bench) -> Material:
    """The policy is critical. (JPKI profile)"""
    mine = policies(EMULATED.policy(AUTHENTICATION, Medium.CARD))
    return bent(bench, AUTHENTICATION, with_value("policies", mine, critical=False))


@case(Finding.OFF_PROFILE)
def the_other_kinds_policy(bench: Bench) -> Material:
    """A policy that does not go with the usages is a certificate of neither kind. (JPKI profile)"""
    other = policies(EMULATED.policy(SIGNATURE, Medium.CARD))
    material = bent(bench, AUTHENTICATION, with_value("policies", other, critical=True))
    material.kind = None
    return material


# Usages


@case(Finding.OFF_PROFILE)
def no_key_usage(bench: Bench) -> Material:
    """The key usage is always there. (JPKI profile; GHSA-58hw-cg5m-88rp)"""
    return bent(bench, AUTHENTICATION, without("usage"))


@case(Finding.OFF_PROFILE)
def key_usage_not_critical(bench: Bench) -> Material:
    """The key usage is critical. (JPKI profile; RFC 5280, 4.2.1.3)"""
    return bent(bench, AUTHENTICATION, with_value("usage", usage(), critical=False))


@case(Finding.OFF_PROFILE)
def key_usage_for_encryption(bench: Bench) -> Material:
    """A key for encryption signs nothing. (JPKI profile; RFC 5280, 4.2.1.3)"""
    return bent(bench, AUTHENTICATION, with_value("usage", usage(signs=False, enciphers=True), critical=True))


@case(Finding.OFF_PROFILE)
def key_usage_non_repudiation_for_a_login(bench: Bench) -> Material:
    """Nobody can be held to what a login's key signs: it signs what it is given. (JPKI profile)"""
    return bent(bench, AUTHENTICATION, with_value("usage", usage(commits=True), critical=True))


@case(Finding.OFF_PROFILE)
def key_usage_for_certificates(bench: Bench) -> Material:
    """A holder's key certifies nobody. (RFC 5280, 4.2.1.3)"""
    return bent(bench, AUTHENTICATION, with_value("usage", usage(certifies=True), critical=True))


@case(Finding.OFF_PROFILE)
def key_usage_without_non_repudiation_for_signing(bench: Bench) -> Material:
    """A document is signed with a key whose signatures bind. (JPKI profile)"""
    return bent(bench, SIGNATURE, with_value("usage", usage(), critical=True))


@case(Finding.OFF_PROFILE)
def no_extended_usage(bench: Bench) -> Material:
    """An authentication certificate says clientAuth. (JPKI profile)"""
    return bent(bench, AUTHENTICATION, without("extended usage"))


@case(Finding.OFF_PROFILE)
def extended_usage_of_a_server(bench: Bench) -> Material:
    """A server's usage is no client's. (RFC 5280, 4.2.1.12)"""
    value = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
    return bent(bench, AUTHENTICATION, with_value("extended usage", value, critical=False))


@case(Finding.OFF_PROFILE)
def extended_usage_of_anything(bench: Bench) -> Material:
    """clientAuth alone: no anyExtendedKeyUsage beside it. (JPKI profile)"""
    value = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE])
    return bent(bench, AUTHENTICATION, with_value("extended usage", value, critical=False))


@case(Finding.OFF_PROFILE)
def extended_usage_for_signing(bench: Bench) -> Material:
    """A signature certificate has no extended usage. (JPKI profile)"""
    value = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
    return bent(bench, SIGNATURE, with_value("extended usage", value, critical=False))


@case(Finding.OFF_PROFILE)
def a_holder_that_claims_to_be_an_authority(bench: Bench) -> Material:
    """basicConstraints with CA would let any holder certify others. (GHSA-58hw-cg5m-88rp; RFC 5280, 4.2.1.9)"""
    return bent(bench, AUTHENTICATION, with_value("constraints", x509.BasicConstraints(True, None), critical=True))


@case(Finding.OFF_PROFILE)
def basic_constraints_at_all(bench: Bench) -> Material:
    """A holder's certificate has no basicConstraints. (JPKI profile)"""
    return bent(bench, AUTHENTICATION, with_value("constraints", x509.BasicConstraints(False, None), critical=True))


@case(Finding.BROKEN_CERTIFICATE)
def certified_by_a_holder(bench: Bench) -> Material:
    """A certificate that another holder has signed is not the authority's, though it says so. (GHSA-58hw-cg5m-88rp)"""
    issuer = bench.generation(AUTHENTICATION)
    forger = Generation(issuer.kind, issuer.name, bench.holder_key, issuer.certificate)
    return asked(bench, bench.holder(issuer, key=bench.other_key, signed_by=forger))


# Other extensions


@case(Finding.OFF_PROFILE)
def an_unknown_critical_extension(bench: Bench) -> Material:
    """What is critical and not understood is refused. (RFC 5280, 4.2)"""
    value = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.32473.9"), b"\x05\x00")
    return bent(bench, AUTHENTICATION, with_value("unknown", value, critical=True))


@case(Finding.OFF_PROFILE)
def an_unknown_extension(bench: Bench) -> Material:
    """The authority issues no extension beside its profile's. (JPKI profile)"""
    value = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.32473.9"), b"\x05\x00")
    return bent(bench, AUTHENTICATION, with_value("unknown", value, critical=False))


@case(Finding.MALFORMED)
def an_extension_twice(bench: Bench) -> Material:
    """Each extension is there once. (RFC 5280, 4.2)"""
    holder = bench.holder(bench.generation(AUTHENTICATION))
    return asked(bench, holder, bench.resigned(holder, lambda body: body["extensions"].append(body["extensions"][1])))


@case(Finding.OFF_PROFILE)
def the_authoritys_key_is_not_named(bench: Bench) -> Material:
    """Without the key's identifier the generation would have to be guessed. (RFC 5280, 4.2.1.1)"""
    return bent(bench, AUTHENTICATION, without("authority key"))


@case(Finding.OFF_PROFILE)
def the_authority_is_named_by_serial_number_only(bench: Bench) -> Material:
    """The identifier is there, not the serial number alone: old generations count from one. (JPKI profile)"""
    issuer = bench.generation(AUTHENTICATION)
    value = x509.AuthorityKeyIdentifier(
        None, [x509.DirectoryName(bench.authority_name(AUTHENTICATION))], issuer.certificate.serial_number
    )
    return bent(bench, AUTHENTICATION, with_value("authority key", value, critical=False))


@case(Finding.OFF_PROFILE)
def the_key_is_said_to_be_another_authoritys(bench: Bench) -> Material:
    """The names in the identifier are those of the issuer. (RFC 5280, 4.2.1.1)"""
    value = x509.AuthorityKeyIdentifier(
        bench.generation(AUTHENTICATION).identifier, [x509.DirectoryName(bench.authority_name(SIGNATURE))], 1
    )
    return bent(bench, AUTHENTICATION, with_value("authority key", value, critical=False))


@case(Finding.OFF_PROFILE)
def another_keys_identifier(bench: Bench) -> Material:
    """The holder's key identifier follows from the key. (RFC 5280, 4.2.1.2, method 1)"""
    value = x509.SubjectKeyIdentifier.from_public_key(bench.other_key.public_key())
    return bent(bench, AUTHENTICATION, with_value("own key", value, critical=False))


@case(Finding.OFF_PROFILE)
def no_distribution_point(bench: Bench) -> Material:
    """Every certificate names its municipality's list. (JPKI profile)"""
    return bent(bench, AUTHENTICATION, without("distribution point"))


@case(Finding.OFF_PROFILE)
def a_distribution_point_on_the_web(bench: Bench) -> Material:
    """A list's address in a certificate is never followed: the point is a directory entry. (JPKI profile)"""
    value = points(x509.UniformResourceIdentifier("http://127.0.0.1/list.crl"))
    return bent(bench, AUTHENTICATION, with_value("distribution point", value, critical=False))


@case(Finding.OFF_PROFILE)
def two_distribution_points(bench: Bench) -> Material:
    """One municipality to a certificate. (JPKI profile)"""
    value = points(*(x509.DirectoryName(bench.partition(AUTHENTICATION, place))
                     for place in (("Tokyo-to", "Shibuya-ku"), ("Osaka-fu", "Sakai-shi-Kita-ku"))))  # fmt: skip
    return bent(bench, AUTHENTICATION, with_value("distribution point", value, critical=False))


@case(Finding.OFF_PROFILE)
def a_distribution_point_of_the_other_authority(bench: Bench) -> Material:
    """The other authority's list says nothing of this certificate, and never will. (JPKI profile)"""
    value = points(x509.DirectoryName(bench.partition(SIGNATURE)))
    return bent(bench, AUTHENTICATION, with_value("distribution point", value, critical=False))


# Names


@case(Finding.OFF_PROFILE)
def a_subject_without_a_common_name(bench: Bench) -> Material:
    """The subject has a common name. (JPKI profile)"""
    subject = name((NameOID.COUNTRY_NAME, "JP"))
    return asked(bench, bench.holder(bench.generation(AUTHENTICATION), subject=subject))


@case(Finding.OFF_PROFILE)
def a_subject_of_another_country(bench: Bench) -> Material:
    """The subject is in Japan. (JPKI profile)"""
    subject = name((NameOID.COUNTRY_NAME, "XX"), (NameOID.COMMON_NAME, "000014EAA5KQZB13113003A"))
    return asked(bench, bench.holder(bench.generation(AUTHENTICATION), subject=subject))


# Keys, algorithms, form


@case(Finding.OFF_PROFILE)
def a_key_of_1024_bits(bench: Bench) -> Material:
    """Cards make keys of 2048 bits. (JPKI profile)"""
    return asked(bench, bench.holder(bench.generation(AUTHENTICATION), key=rsa.generate_private_key(65537, 1024)))


@case(Finding.OFF_PROFILE)
def a_key_with_exponent_three(bench: Bench) -> Material:
    """Cards make keys with exponent 65537. (JPKI profile)"""
    return asked(bench, bench.holder(bench.generation(AUTHENTICATION), key=rsa.generate_private_key(3, 2048)))


@case(Finding.OFF_PROFILE)
def a_key_on_another_curve(bench: Bench) -> Material:
    """Of curves the next card has P-384 alone. (Digital Agency, next card)"""
    return asked(bench, bench.holder(bench.generation(AUTHENTICATION), key=ec.generate_private_key(ec.SECP256R1())))


def _signed_otherwise(bench: Bench, algorithm: dict[str, Any], signer: Callable[[Any, bytes], bytes]) -> Material:
    """A certificate that its authority has signed with another algorithm, and says so inside and outside."""
    holder = bench.holder(bench.generation(AUTHENTICATION))
    identifier = algos.SignedDigestAlgorithm(algorithm)
    body = bench.changed(holder, lambda found: found.__setitem__("signature", identifier))
    return asked(
        bench, holder, bench.put_together(body, lambda data: signer(holder.issuer.key, data), identifier.dump())
    )


@case(Finding.OFF_PROFILE)
def signed_with_sha_1(bench: Bench) -> Material:
    """SHA-1 binds nobody any more. (JPKI profile; CRYPTREC)"""
    return _signed_otherwise(bench, {"algorithm": "sha1_rsa", "parameters": core.Null()},
                             lambda key, data: key.sign(data, padding.PKCS1v15(), hashes.SHA1()))  # fmt: skip


@case(Finding.OFF_PROFILE)
def signed_with_pss(bench: Bench) -> Material:
    """The authority signs with PKCS #1 v1.5; a signature of another form is not its. (JPKI profile)"""
    parameters = {"hash_algorithm": {"algorithm": "sha256"}, "salt_length": 32,
                  "mask_gen_algorithm": {"algorithm": "mgf1", "parameters": {"algorithm": "sha256"}}}  # fmt: skip
    return _signed_otherwise(
        bench, {"algorithm": "rsassa_pss", "parameters": algos.RSASSAPSSParams(parameters)},
        lambda key, data: key.sign(data, padding.PSS(padding.MGF1(hashes.SHA256()), 32), hashes.SHA256()),
    )  # fmt: skip


@case(Finding.OFF_PROFILE)
def one_algorithm_inside_and_another_outside(bench: Bench) -> Material:
    """The algorithm that is signed is the one that is used. (RFC 5280, 4.1.1.2)"""
    holder = bench.holder(bench.generation(AUTHENTICATION))
    inside = algos.SignedDigestAlgorithm({"algorithm": "sha512_rsa", "parameters": core.Null()})
    return asked(bench, holder, bench.resigned(holder, lambda body: body.__setitem__("signature", inside)))


@case(Finding.OFF_PROFILE)
def serial_number_zero(bench: Bench) -> Material:
    """Serial numbers are positive. (RFC 5280, 4.1.2.2)"""
    holder = bench.holder(bench.generation(AUTHENTICATION))
    return asked(bench, holder, bench.resigned(holder, lambda body: body.__setitem__("serial_number", 0)))


@case(Finding.OFF_PROFILE)
def a_negative_serial_number(bench: Bench) -> Material:
    """Serial numbers are positive. (RFC 5280, 4.1.2.2)"""
    holder = bench.holder(bench.generation(AUTHENTICATION))
    return asked(bench, holder, bench.resigned(holder, lambda body: body.__setitem__("serial_number", -5)))


@case(Finding.OFF_PROFILE)
def a_serial_number_of_twenty_bytes(bench: Bench) -> Material:
    """The authority counts: nobody has a number of more than 64 bits. (JPKI, issue number)"""
    return asked(bench, bench.holder(bench.generation(AUTHENTICATION), serial=1 << 150))


@case(Finding.MALFORMED)
def version_two(bench: Bench) -> Material:
    """A certificate has version 3, or its extensions mean nothing. (RFC 5280, 4.1.2.1)"""
    holder = bench.holder(bench.generation(AUTHENTICATION))
    return asked(bench, holder, bench.resigned(holder, lambda body: body.__setitem__("version", "v2")))


@case(Finding.MALFORMED)
def bytes_behind_it(bench: Bench) -> Material:
    """A certificate ends where it ends. (X.690)"""
    holder = bench.holder(bench.generation(AUTHENTICATION))
    return asked(bench, holder, holder.der + b"\x00")


@case(Finding.MALFORMED)
def cut_off(bench: Bench) -> Material:
    """Half a certificate is none. (X.690)"""
    holder = bench.holder(bench.generation(AUTHENTICATION))
    return asked(bench, holder, holder.der[:700])


@case(Finding.MALFORMED)
def far_too_long(bench: Bench) -> Material:
    """What is many times as long as any certificate is not read at all. (prudence)"""
    holder = bench.holder(bench.generation(AUTHENTICATION))
    return asked(bench, holder, holder.der + bytes(1 << 20))


@case(Finding.MALFORMED)
def nothing(bench: Bench) -> Material:
    """Nothing is no certificate. (X.690)"""
    return asked(bench, bench.holder(bench.generation(AUTHENTICATION)), b"\x00")


@case()
def lasts_until_tomorrow(bench: Bench) -> Material:
    """A certificate that ends soon is as good as any other until then. (RFC 5280, 4.1.2.5)"""
    return asked(bench, bench.holder(bench.generation(SIGNATURE), ends=min(ENDS, NOW + timedelta(days=1))))
