"""Cases about signed documents: what the signature covers, and what was done to it since."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from lxml import etree

from kazashi.jpki.profile import Kind
from kazashi.relying_party.conformance.authority import NOW, Bench, Holder, Material, sign
from kazashi.relying_party.conformance.case import case
from kazashi.relying_party.conformance.documents import (
    JAPANESE_XML,
    TEXT,
    XML,
    bare_cms,
    changed_pdf,
    pdf,
    signed_cms,
    signed_element,
    signed_pdf,
    signed_xml,
)
from kazashi.relying_party.verify.finding import Finding

_DS = "{http://www.w3.org/2000/09/xmldsig#}"
Maker = Callable[[Holder], bytes]


def _document(bench: Bench, make: Maker, content: bytes | None = None, kind: Kind = Kind.SIGNATURE) -> Material:
    holder = bench.holder(bench.generation(kind))
    return Material(holder.der, Kind.SIGNATURE, lists=[bench.list(bench.generation(Kind.SIGNATURE))],
                    document=make(holder), content=content)  # fmt: skip


def _moved(bench: Bench, make: Maker, content: bytes | None = None) -> Material:
    """A document whose signer has moved two days ago."""
    holder = bench.holder(bench.generation(Kind.SIGNATURE))
    entry = (holder.certificate.serial_number, NOW - timedelta(days=2), x509.ReasonFlags.affiliation_changed)
    return Material(holder.der, Kind.SIGNATURE, lists=[bench.list(holder.issuer, [entry])], document=make(holder),
                    content=content)  # fmt: skip


# CMS


@case()
def cms_detached(bench: Bench) -> Material:
    """A signature beside the file that it is over. (RFC 5652, 5.2)"""
    return _document(bench, signed_cms, TEXT)


@case()
def cms_with_its_content(bench: Bench) -> Material:
    """A signature around its content. (RFC 5652, 5.2)"""
    return _document(bench, lambda holder: signed_cms(holder, detached=False))


@case()
def cms_by_hand(bench: Bench) -> Material:
    """Signed attributes with the two that must be there, and no more. (RFC 5652, 5.3)"""
    return _document(bench, bare_cms, TEXT)


@case(Finding.TAMPERED)
def cms_over_another_file(bench: Bench) -> Material:
    """A signature is over one file. (RFC 5652, 5.6)"""
    return _document(bench, signed_cms, TEXT + b"!")


@case(Finding.TAMPERED)
def cms_with_changed_content(bench: Bench) -> Material:
    """The content in it counts as any other. (RFC 5652, 5.6)"""
    return _document(bench, lambda holder: signed_cms(holder, detached=False).replace(TEXT, TEXT[::-1]))


@case(Finding.TAMPERED)
def cms_with_one_content_beside_another(bench: Bench) -> Material:
    """A file that is shown beside a signature around another file was not signed. (RFC 5652, 5.2)"""
    return _document(bench, lambda holder: signed_cms(holder, detached=False), TEXT + b"!")


@case(Finding.MALFORMED)
def cms_without_its_file(bench: Bench) -> Material:
    """A signature that is apart from its file says nothing alone. (RFC 5652, 5.2)"""
    return _document(bench, signed_cms)


@case(Finding.WRONG_SIGNATURE)
def cms_by_another_key(bench: Bench) -> Material:
    """A certificate beside another's signature. (RFC 5652, 5.6)"""

    def make(holder: Holder) -> bytes:
        return bare_cms(Holder(bench.other_key, holder.certificate, holder.issuer))

    return _document(bench, make, TEXT)


@case(Finding.MALFORMED)
def cms_with_two_certificates_of_one_number(bench: Bench) -> Material:
    """Of two certificates that are said to be the signer's, one is shown and the other's key has signed. (RFC 5652,
    5.3)"""

    def make(holder: Holder) -> bytes:
        serial = holder.certificate.serial_number
        forged = bench.holder(bench.foreign_root(Kind.SIGNATURE), key=bench.other_key, serial=serial)
        return bare_cms(Holder(bench.other_key, holder.certificate, holder.issuer), more=[forged.der])

    return _document(bench, make, TEXT)


@case(Finding.WRONG_ALGORITHM)
def cms_over_sha_1(bench: Bench) -> Material:
    """Two files with one SHA-1 digest can be made. (CRYPTREC)"""
    return _document(bench, lambda holder: bare_cms(holder, digest="sha1"), TEXT)


@case(Finding.WRONG_ALGORITHM)
def cms_with_pss(bench: Bench) -> Material:
    """A card signs by PKCS #1 v1.5: whatever made this was none. (RFC 8017)"""
    return _document(bench, lambda holder: bare_cms(holder, pss=True), TEXT)


@case(Finding.MALFORMED)
def cms_without_signed_attributes(bench: Bench) -> Material:
    """Without them, what was signed as attributes can be shown as a file, and the other way round. (RFC 5652, 5.3)"""
    return _document(bench, lambda holder: bare_cms(holder, attributes=False), TEXT)


@case(Finding.NOT_SIGNED)
def cms_of_two_signers(bench: Bench) -> Material:
    """Who has signed must be one person. (JPKI, signature certificate)"""
    return _document(bench, lambda holder: bare_cms(holder, signers=2), TEXT)


@case(Finding.NOT_SIGNED)
def cms_of_nobody(bench: Bench) -> Material:
    """SignedData without signers is a bag of certificates. (RFC 5652, 5.1)"""
    return _document(bench, lambda holder: bare_cms(holder, signers=0), TEXT)


@case(Finding.MALFORMED)
def cms_without_the_certificate(bench: Bench) -> Material:
    """Four attributes and validity are in the certificate. (JPKI, signature certificate)"""
    return _document(bench, lambda holder: bare_cms(holder, certificate=False), TEXT)


@case(Finding.WRONG_KIND)
def cms_with_the_authentication_key(bench: Bench) -> Material:
    """The authentication key signs whatever a site gives it: it binds nobody to a document. (act on JPKI, article 2)"""
    return _document(bench, bare_cms, TEXT, Kind.AUTHENTICATION)


@case(Finding.MALFORMED)
def cms_cut_off(bench: Bench) -> Material:
    """Half a signature is none. (X.690)"""
    return _document(bench, lambda holder: signed_cms(holder)[:900], TEXT)


@case(Finding.REVOKED)
def cms_signed_by_one_who_has_moved(bench: Bench) -> Material:
    """A signature certificate dies when its holder moves, and with it what is checked afterwards. (act on JPKI, article
    12)"""
    return _moved(bench, signed_cms, TEXT)


@case()
def cms_as_of_before_the_move(bench: Bench) -> Material:
    """As of a time that somebody vouches for, before the move, it was good. (RFC 5280, 5.3; ETSI EN 319 102-1)"""
    material = _moved(bench, signed_cms, TEXT)
    material.at = NOW - timedelta(days=3)
    return material


# PDF


@case()
def pdf_signed(bench: Bench) -> Material:
    """A PAdES signature over all of the file. (ISO 32000-2, 12.8; ETSI EN 319 142-1)"""
    return _document(bench, signed_pdf)


@case()
def pdf_signed_twice(bench: Bench) -> Material:
    """A second signature in an update of its own leaves the first what it was. (ISO 32000-2, 12.8.1)"""
    return _document(bench, lambda holder: signed_pdf(holder, signed_pdf(holder), "Signature2"))


@case(Finding.NOT_SIGNED)
def pdf_not_signed(bench: Bench) -> Material:
    """A file without a signature. (ISO 32000-2, 12.8)"""
    return _document(bench, lambda _: pdf())


@case(Finding.TAMPERED)
def pdf_with_a_changed_byte(bench: Bench) -> Material:
    """A byte of what is signed was changed. (ISO 32000-2, 12.8.1)"""
    return _document(bench, lambda holder: signed_pdf(holder).replace(b"(Kazashi)", b"(Kazasho)", 1))


@case(Finding.TAMPERED)
def pdf_with_another_page_behind_the_signature(bench: Bench) -> Material:
    """An update after the signature that changes what the page says. (ISO 32000-2, 12.8.2; shadow attacks, 2020)"""
    return _document(bench, lambda holder: changed_pdf(signed_pdf(holder)))


@case()
def pdf_with_an_update_that_changes_nothing(bench: Bench) -> Material:
    """What is added behind the signature and changes nothing leaves the document as it was. (ISO 32000-2, 12.8.2)"""

    def make(holder: Holder) -> bytes:
        data = signed_pdf(holder)
        return data + b"\n% more\n" + data[data.rindex(b"startxref") :]

    return _document(bench, make)


@case(Finding.TAMPERED)
def pdf_with_a_moved_range(bench: Bench) -> Material:
    """The range that is signed leaves out more than the signature. (signature wrapping in PDF, 2018)"""

    def make(holder: Holder) -> bytes:
        data = signed_pdf(holder)
        found = re.search(rb"/ByteRange \[0 (\d+) (\d+) (\d+)", data)
        assert found is not None
        numbers = [int(number) for number in found.groups()]
        shorter = b"/ByteRange [0 %d %d %d" % (numbers[0] - 10, numbers[1], numbers[2])
        return data.replace(found.group(), shorter.ljust(len(found.group())), 1)

    return _document(bench, make)


@case(Finding.NOT_SIGNED)
def pdf_cut_off(bench: Bench) -> Material:
    """Half a file has lost its signature with its end. (ISO 32000-2, 7.5)"""
    return _document(bench, lambda holder: signed_pdf(holder)[:1500])


@case(Finding.REVOKED)
def pdf_signed_by_one_who_has_moved(bench: Bench) -> Material:
    """The date that a signer writes into a file is no evidence of when it was signed. (ETSI EN 319 102-1)"""
    return _moved(bench, signed_pdf)


# XML


@case()
def xml_advanced(bench: Bench) -> Material:
    """A XAdES signature in the document, over all of it, as tax returns have. (ETSI EN 319 132-1)"""
    return _document(bench, signed_xml)


@case()
def xml_plain(bench: Bench) -> Material:
    """An XML signature without XAdES. (XML Signature 1.1)"""
    return _document(bench, lambda holder: signed_xml(holder, advanced=False))


@case()
def xml_in_japanese(bench: Bench) -> Material:
    """Elements have names in any script, and forms of Japanese offices do. (XML 1.0, 2.3)"""
    return _document(bench, lambda holder: signed_xml(holder, advanced=False, data=JAPANESE_XML))


@case()
def xml_advanced_in_japanese(bench: Bench) -> Material:
    """With XAdES likewise. (XML 1.0, 2.3; ETSI EN 319 132-1)"""
    return _document(bench, lambda holder: signed_xml(holder, data=JAPANESE_XML))


@case()
def xml_around_its_content(bench: Bench) -> Material:
    """A signature around the document. (XML Signature 1.1)"""
    return _document(bench, lambda holder: signed_xml(holder, advanced=False, enveloping=True))


@case(Finding.NOT_SIGNED)
def xml_not_signed(bench: Bench) -> Material:
    """A document without a signature. (XML Signature 1.1)"""
    return _document(bench, lambda _: XML)


@case(Finding.TAMPERED)
def xml_with_another_sum(bench: Bench) -> Material:
    """What is signed was changed. (XML Signature 1.1, 3.2.1)"""
    return _document(bench, lambda holder: signed_xml(holder).replace(b"1000", b"9000"))


@case(Finding.TAMPERED)
def xml_of_which_a_part_is_signed(bench: Bench) -> Material:
    """The rest of the document is anybody's. (XML Signature 1.1, 8.1.2)"""
    return _document(bench, signed_element)


@case(Finding.TAMPERED)
def xml_wrapped(bench: Bench) -> Material:
    """The signed document is moved aside, into a part that nobody reads, and another is put in its place. (signature
    wrapping, McIntosh and Austel 2005)"""

    def make(holder: Holder) -> bytes:
        signed = etree.fromstring(signed_element(holder))
        signature, amount = signed.find(f"{_DS}Signature"), signed.find("amount")
        root = etree.fromstring(XML.replace(b"1000", b"9000"))
        aside = etree.SubElement(root, "attachment")
        aside.append(amount)
        root.append(signature)
        return bytes(etree.tostring(root, encoding="utf-8"))

    return _document(bench, make)


@case(Finding.TAMPERED)
def xml_with_one_name_twice(bench: Bench) -> Material:
    """Two elements of the name that was signed: one is checked and the other read. (signature wrapping)"""

    def make(holder: Holder) -> bytes:
        signed = etree.fromstring(signed_element(holder))
        twin = etree.SubElement(signed, "amount", Id="amount")
        twin.text = "9000"
        return bytes(etree.tostring(signed, encoding="utf-8"))

    return _document(bench, make)


@case(Finding.TAMPERED)
def xml_with_an_object_beside_what_is_signed(bench: Bench) -> Material:
    """An object within the signature's element that nobody has signed, and that a reader may come upon first.
    (signature wrapping)"""

    def make(holder: Holder) -> bytes:
        root = etree.fromstring(signed_xml(holder, advanced=False))
        beside = etree.SubElement(root.find(f"{_DS}Signature"), f"{_DS}Object")
        etree.SubElement(beside, "amount").text = "9000"
        return bytes(etree.tostring(root, encoding="utf-8"))

    return _document(bench, make)


@case(Finding.TAMPERED)
def xml_with_a_comment(bench: Bench) -> Material:
    """Comments are not signed, and one within a sum cuts it in two for many readers. (Canonical XML 1.1; SAML comment
    truncation, 2018)"""
    return _document(bench, _with_text(b"1000", b"1<!-- -->000"))


def _with_text(old: bytes, new: bytes) -> Maker:
    return lambda holder: signed_xml(holder, advanced=False).replace(old, new)


@case(Finding.WRONG_ALGORITHM)
def xml_with_hmac(bench: Bench) -> Material:
    """A public key is no secret: what verifies as HMAC with it was signed by anybody. (XML Signature 1.1, 8.1;
    algorithm confusion)"""
    return _document(bench, _with_text(b"2001/04/xmldsig-more#rsa-sha256", b"2001/04/xmldsig-more#hmac-sha256"))


@case(Finding.WRONG_ALGORITHM)
def xml_over_sha_1(bench: Bench) -> Material:
    """Two documents with one SHA-1 digest can be made. (CRYPTREC)"""
    return _document(
        bench, _with_text(b"http://www.w3.org/2001/04/xmlenc#sha256", b"http://www.w3.org/2000/09/xmldsig#sha1")
    )


@case(Finding.MALFORMED)
def xml_with_a_stylesheet(bench: Bench) -> Material:
    """A transform that picks what is signed picks what is not. (XML Signature Best Practices, 2.1)"""
    return _document(bench, _with_text(b"http://www.w3.org/2000/09/xmldsig#enveloped-signature",
                                       b"http://www.w3.org/TR/1999/REC-xslt-19991116"))  # fmt: skip


@case(Finding.MALFORMED)
def xml_signing_something_on_the_web(bench: Bench) -> Material:
    """What is fetched to check a signature is fetched for whoever wrote the document. (XML Signature Best Practices)"""
    return _document(bench, _with_text(b'URI=""', b'URI="http://127.0.0.1/secret"'))


@case(Finding.MALFORMED)
def xml_with_entities(bench: Bench) -> Material:
    """Entities that unfold into gigabytes, or into the reader's own files. (CWE-776, CWE-611)"""
    laughs = b'<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;">]>'
    return _document(bench, lambda holder: laughs + signed_xml(holder).partition(b"?>")[2].strip())


@case(Finding.MALFORMED)
def xml_without_the_certificate(bench: Bench) -> Material:
    """A key alone says of nobody who it is. (XML Signature 1.1, 4.5)"""

    def make(holder: Holder) -> bytes:
        root = etree.fromstring(signed_xml(holder, advanced=False))
        for found in root.iter(f"{_DS}X509Data"):
            found.getparent().remove(found)
        return bytes(etree.tostring(root))

    return _document(bench, make)


@case(Finding.NOT_SIGNED)
def xml_with_two_signatures(bench: Bench) -> Material:
    """Which of two signatures is meant is for nobody to guess. (signature wrapping)"""

    def make(holder: Holder) -> bytes:
        root = etree.fromstring(signed_xml(holder, advanced=False))
        root.append(etree.fromstring(etree.tostring(root.find(f"{_DS}Signature"))))
        return bytes(etree.tostring(root))

    return _document(bench, make)


@case(Finding.WRONG_SIGNATURE)
def xml_by_another_key(bench: Bench) -> Material:
    """Another holder's certificate in the place of the signer's. (XML Signature 1.1, 3.2.2)"""
    other = bench.holder(bench.generation(Kind.SIGNATURE), key=bench.other_key)

    def make(holder: Holder) -> bytes:
        root = etree.fromstring(signed_xml(holder, advanced=False))
        for found in root.iter(f"{_DS}X509Certificate"):
            found.text = b64encode(other.der).decode("ascii")
        return bytes(etree.tostring(root))

    return _document(bench, make)


# A bare signature


def _raw(bench: Bench, signature: Callable[[Any], bytes], content: bytes = TEXT) -> Material:
    holder = bench.holder(bench.generation(Kind.SIGNATURE))
    return Material(holder.der, Kind.SIGNATURE, lists=[bench.list(holder.issuer)], content=content,
                    signature=signature(holder.key))  # fmt: skip


@case()
def bare_signature(bench: Bench) -> Material:
    """A signature over a file as a card makes it, and nothing around it. (RFC 8017, 8.2)"""
    return _raw(bench, lambda key: sign(key, TEXT))


@case(Finding.WRONG_SIGNATURE)
def bare_signature_over_another_file(bench: Bench) -> Material:
    """A bare signature is over one file. (RFC 8017, 8.2)"""
    return _raw(bench, lambda key: sign(key, TEXT), TEXT + b"!")


@case(Finding.WRONG_SIGNATURE)
def bare_signature_over_sha_1(bench: Bench) -> Material:
    """The digest is SHA-256, whatever the padding says. (CRYPTREC)"""
    return _raw(bench, lambda key: key.sign(TEXT, padding.PKCS1v15(), hashes.SHA1()))
