"""Cases about signed documents: what the signature covers, and how the document was changed since."""

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

from kazashi.jpki.profile import CertificateType
from kazashi.relying_party.conformance.authority import (
    NOW,
    CaseInput,
    CertificateTemplate,
    HolderKey,
    TestAuthority,
    sign,
)
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
Maker = Callable[[HolderKey], bytes]


def _document(
    ca: TestAuthority, make: Maker, content: bytes | None = None, kind: CertificateType = CertificateType.SIGNATURE
) -> CaseInput:
    holder = ca.holder(ca.generation(kind))
    lists = [ca.list(ca.generation(CertificateType.SIGNATURE))]
    return CaseInput(
        certificate_type=CertificateType.SIGNATURE, revocation_lists=lists, document=make(holder), content=content
    )


def _by_moved_signer(ca: TestAuthority, make: Maker, content: bytes | None = None) -> CaseInput:
    """A case about a document whose signer moved two days ago."""
    holder = ca.holder(ca.generation(CertificateType.SIGNATURE))
    entry = (holder.certificate.serial_number, NOW - timedelta(days=2), x509.ReasonFlags.affiliation_changed)
    lists = [ca.list(holder.issuer, [entry])]
    return CaseInput(
        certificate_type=CertificateType.SIGNATURE, revocation_lists=lists, document=make(holder), content=content
    )


# CMS


@case("document/cms-detached", "A detached signature counts over its file. (RFC 5652, 5.2)")
def _(ca: TestAuthority) -> CaseInput:
    return _document(ca, signed_cms, TEXT)


@case("document/cms-with-its-content", "A signature may enclose its content. (RFC 5652, 5.2)")
def _(ca: TestAuthority) -> CaseInput:
    return _document(ca, lambda holder: signed_cms(holder, detached=False))


@case("document/cms-by-hand", "The two mandatory signed attributes are enough. (RFC 5652, 5.3)")
def _(ca: TestAuthority) -> CaseInput:
    return _document(ca, bare_cms, TEXT)


@case("document/cms-over-another-file", "A signature counts over one file only. (RFC 5652, 5.6)", Finding.TAMPERED)
def _(ca: TestAuthority) -> CaseInput:
    return _document(ca, signed_cms, TEXT + b"!")


@case(
    "document/cms-with-changed-content",
    "A change of the enclosed content is detected. (RFC 5652, 5.6)",
    Finding.TAMPERED,
)
def _(ca: TestAuthority) -> CaseInput:
    return _document(ca, lambda holder: signed_cms(holder, detached=False).replace(TEXT, TEXT[::-1]))


@case(
    "document/cms-with-one-content-beside-another",
    "A file beside a signature that encloses another file is not signed. (RFC 5652, 5.2)",
    Finding.TAMPERED,
)
def _(ca: TestAuthority) -> CaseInput:
    return _document(ca, lambda holder: signed_cms(holder, detached=False), TEXT + b"!")


@case(
    "document/cms-without-its-file",
    "A detached signature cannot be verified without its file. (RFC 5652, 5.2)",
    Finding.UNSUPPORTED,
)
def _(ca: TestAuthority) -> CaseInput:
    return _document(ca, signed_cms)


@case(
    "document/cms-by-another-key",
    "The signature is made with the key of the enclosed certificate. (RFC 5652, 5.6)",
    Finding.WRONG_SIGNATURE,
)
def _(ca: TestAuthority) -> CaseInput:

    def make(holder: HolderKey) -> bytes:
        return bare_cms(HolderKey(ca.other_key, holder.certificate, holder.issuer))

    return _document(ca, make, TEXT)


@case(
    "document/cms-with-two-certificates-of-one-number",
    "If two enclosed certificates match the signer's identifier, one could be displayed and the other's key could "
    "have signed. (RFC 5652, 5.3)",
    Finding.MALFORMED,
)
def _(ca: TestAuthority) -> CaseInput:

    def make(holder: HolderKey) -> bytes:
        serial = holder.certificate.serial_number
        forged = ca.holder(
            ca.foreign_root(CertificateType.SIGNATURE), CertificateTemplate(key=ca.other_key, serial=serial)
        )
        return bare_cms(HolderKey(ca.other_key, holder.certificate, holder.issuer), more=[forged.der])

    return _document(ca, make, TEXT)


@case(
    "document/cms-over-sha-1",
    "A signature over SHA-1 is not accepted: two files with one SHA-1 digest can be made. (CRYPTREC)",
    Finding.WRONG_ALGORITHM,
)
def _(ca: TestAuthority) -> CaseInput:
    return _document(ca, lambda holder: bare_cms(holder, digest="sha1"), TEXT)


@case(
    "document/cms-with-pss",
    "A card signs with PKCS #1 v1.5: a signature of another scheme is not a card's. (RFC 8017)",
    Finding.WRONG_ALGORITHM,
)
def _(ca: TestAuthority) -> CaseInput:
    return _document(ca, lambda holder: bare_cms(holder, pss=True), TEXT)


@case(
    "document/cms-without-signed-attributes",
    "A signature may be made over the content itself. (RFC 5652, 5.4)",
)
def _(ca: TestAuthority) -> CaseInput:
    return _document(ca, lambda holder: bare_cms(holder, attributes=False), TEXT)


@case("document/cms-of-two-signers", "Every signer counts, and each must be good. (RFC 5652, 5.1)")
def _(ca: TestAuthority) -> CaseInput:
    return _document(ca, lambda holder: bare_cms(holder, signers=2), TEXT)


@case(
    "document/cms-of-nobody",
    "SignedData without signers is only a container for certificates. (RFC 5652, 5.1)",
    Finding.NOT_SIGNED,
)
def _(ca: TestAuthority) -> CaseInput:
    return _document(ca, lambda holder: bare_cms(holder, signers=0), TEXT)


@case(
    "document/cms-without-the-certificate",
    "The signer's certificate is enclosed: it has the four attributes and the validity period. (JPKI, signature "
    "certificate)",
    Finding.MALFORMED,
)
def _(ca: TestAuthority) -> CaseInput:
    return _document(ca, lambda holder: bare_cms(holder, certificate=False), TEXT)


@case(
    "document/cms-with-the-authentication-key",
    "The authentication key signs whatever a site sends: it commits nobody to a document. (act on JPKI, article 2)",
    Finding.WRONG_KIND,
)
def _(ca: TestAuthority) -> CaseInput:
    return _document(ca, bare_cms, TEXT, CertificateType.AUTHENTICATION)


@case("document/cms-cut-off", "Truncated SignedData is refused. (X.690)", Finding.MALFORMED)
def _(ca: TestAuthority) -> CaseInput:
    return _document(ca, lambda holder: signed_cms(holder)[:900], TEXT)


@case(
    "document/cms-signed-by-one-who-has-moved",
    "A move revokes the signature certificate: a signature that is verified afterwards does not count. (act on JPKI, "
    "article 12)",
    Finding.REVOKED,
)
def _(ca: TestAuthority) -> CaseInput:
    return _by_moved_signer(ca, signed_cms, TEXT)


@case(
    "document/cms-as-of-before-the-move",
    "At a time before the move, for which somebody vouches, the signature counted. (RFC 5280, 5.3; ETSI EN 319 102-1)",
)
def _(ca: TestAuthority) -> CaseInput:
    material = _by_moved_signer(ca, signed_cms, TEXT)
    material.time = NOW - timedelta(days=3)
    return material


# PDF


@case("document/pdf-signed", "A PAdES signature over the whole file counts. (ISO 32000-2, 12.8; ETSI EN 319 142-1)")
def _(ca: TestAuthority) -> CaseInput:
    return _document(ca, signed_pdf)


@case(
    "document/pdf-signed-twice",
    "A second signature in an incremental update leaves the first one intact. (ISO 32000-2, 12.8.1)",
)
def _(ca: TestAuthority) -> CaseInput:
    return _document(ca, lambda holder: signed_pdf(holder, signed_pdf(holder), "Signature2"))


@case("document/pdf-not-signed", "A PDF without a signature is not signed. (ISO 32000-2, 12.8)", Finding.NOT_SIGNED)
def _(ca: TestAuthority) -> CaseInput:
    return _document(ca, lambda _: pdf())


@case(
    "document/pdf-with-a-changed-byte",
    "A change of one signed byte is detected. (ISO 32000-2, 12.8.1)",
    Finding.TAMPERED,
)
def _(ca: TestAuthority) -> CaseInput:
    return _document(ca, lambda holder: signed_pdf(holder).replace(b"(Kazashi)", b"(Kazasho)", 1))


@case(
    "document/pdf-with-another-page-behind-the-signature",
    "An incremental update after the signature must not change what the page shows. (ISO 32000-2, 12.8.2; shadow "
    "attacks, 2020)",
    Finding.NOT_COVERED,
)
def _(ca: TestAuthority) -> CaseInput:
    return _document(ca, lambda holder: changed_pdf(signed_pdf(holder)))


@case(
    "document/pdf-with-an-update-that-changes-nothing",
    "Bytes after the signature that belong to no revision are not covered. (ISO 32000-2, 7.5.6)",
    Finding.NOT_COVERED,
)
def _(ca: TestAuthority) -> CaseInput:

    def make(holder: HolderKey) -> bytes:
        data = signed_pdf(holder)
        return data + b"\n% more\n" + data[data.rindex(b"startxref") :]

    return _document(ca, make)


@case(
    "document/pdf-with-a-moved-range",
    "The signed byte range leaves out the signature and nothing else. (signature wrapping in PDF, 2018)",
    Finding.TAMPERED,
)
def _(ca: TestAuthority) -> CaseInput:

    def make(holder: HolderKey) -> bytes:
        data = signed_pdf(holder)
        byte_range = re.search(rb"/ByteRange \[0 (\d+) (\d+) (\d+)", data)
        assert byte_range is not None
        numbers = [int(number) for number in byte_range.groups()]
        shorter = b"/ByteRange [0 %d %d %d" % (numbers[0] - 10, numbers[1], numbers[2])
        return data.replace(byte_range.group(), shorter.ljust(len(byte_range.group())), 1)

    return _document(ca, make)


@case("document/pdf-cut-off", "A truncated PDF has lost its signature. (ISO 32000-2, 7.5)", Finding.NOT_SIGNED)
def _(ca: TestAuthority) -> CaseInput:
    return _document(ca, lambda holder: signed_pdf(holder)[:1500])


@case(
    "document/pdf-signed-by-one-who-has-moved",
    "The date that a signer writes into a file is not evidence of when it was signed. (ETSI EN 319 102-1)",
    Finding.REVOKED,
)
def _(ca: TestAuthority) -> CaseInput:
    return _by_moved_signer(ca, signed_pdf)


# XML


@case(
    "document/xml-advanced",
    "An enveloped XAdES signature over the whole document counts; tax returns have one. (ETSI EN 319 132-1)",
)
def _(ca: TestAuthority) -> CaseInput:
    return _document(ca, signed_xml)


@case("document/xml-plain", "An XML signature without XAdES counts. (XML Signature 1.1)")
def _(ca: TestAuthority) -> CaseInput:
    return _document(ca, lambda holder: signed_xml(holder, advanced=False))


@case(
    "document/xml-in-japanese",
    "Element names may be in any script; forms of Japanese offices have Japanese ones. (XML 1.0, 2.3)",
)
def _(ca: TestAuthority) -> CaseInput:
    return _document(ca, lambda holder: signed_xml(holder, advanced=False, data=JAPANESE_XML))


@case(
    "document/xml-advanced-in-japanese",
    "Element names may be in any script with XAdES, too. (XML 1.0, 2.3; ETSI EN 319 132-1)",
)
def _(ca: TestAuthority) -> CaseInput:
    return _document(ca, lambda holder: signed_xml(holder, data=JAPANESE_XML))


@case("document/xml-around-its-content", "A signature may envelop the document. (XML Signature 1.1)")
def _(ca: TestAuthority) -> CaseInput:
    return _document(ca, lambda holder: signed_xml(holder, advanced=False, enveloping=True))


@case(
    "document/xml-not-signed",
    "An XML document without a signature is not signed. (XML Signature 1.1)",
    Finding.NOT_SIGNED,
)
def _(ca: TestAuthority) -> CaseInput:
    return _document(ca, lambda _: XML)


@case(
    "document/xml-with-another-sum",
    "A change of the signed content is detected. (XML Signature 1.1, 3.2.1)",
    Finding.TAMPERED,
)
def _(ca: TestAuthority) -> CaseInput:
    return _document(ca, lambda holder: signed_xml(holder).replace(b"1000", b"9000"))


@case(
    "document/xml-of-which-a-part-is-signed",
    "The signature covers the whole document: anybody could have written the rest. (XML Signature 1.1, 8.1.2)",
    Finding.NOT_COVERED,
)
def _(ca: TestAuthority) -> CaseInput:
    return _document(ca, signed_element)


@case(
    "document/xml-wrapped",
    "Signature wrapping is detected: the signed element was moved to a place that nobody reads, and another one took "
    "its place. (signature wrapping, McIntosh and Austel 2005)",
    Finding.NOT_COVERED,
)
def _(ca: TestAuthority) -> CaseInput:

    def make(holder: HolderKey) -> bytes:
        signed = etree.fromstring(signed_element(holder))
        signature, amount = signed.find(f"{_DS}Signature"), signed.find("amount")
        root = etree.fromstring(XML.replace(b"1000", b"9000"))
        attachment = etree.SubElement(root, "attachment")
        attachment.append(amount)
        root.append(signature)
        return bytes(etree.tostring(root, encoding="utf-8"))

    return _document(ca, make)


@case(
    "document/xml-with-one-name-twice",
    "Two elements have the signed ID: one would be checked and the other read. (signature wrapping)",
    Finding.MALFORMED,
)
def _(ca: TestAuthority) -> CaseInput:

    def make(holder: HolderKey) -> bytes:
        signed = etree.fromstring(signed_element(holder))
        twin = etree.SubElement(signed, "amount", Id="amount")
        twin.text = "9000"
        return bytes(etree.tostring(signed, encoding="utf-8"))

    return _document(ca, make)


@case(
    "document/xml-with-an-object-beside-what-is-signed",
    "An Object in the Signature element that is not signed is refused: a reader may find it first. (signature "
    "wrapping)",
    Finding.NOT_COVERED,
)
def _(ca: TestAuthority) -> CaseInput:

    def make(holder: HolderKey) -> bytes:
        root = etree.fromstring(signed_xml(holder, advanced=False))
        unsigned = etree.SubElement(root.find(f"{_DS}Signature"), f"{_DS}Object")
        etree.SubElement(unsigned, "amount").text = "9000"
        return bytes(etree.tostring(root, encoding="utf-8"))

    return _document(ca, make)


@case(
    "document/xml-with-a-comment",
    "Comments are not signed, and many readers see only a part of a number that a comment divides. (Canonical XML "
    "1.1; SAML comment truncation, 2018)",
    Finding.NOT_COVERED,
)
def _(ca: TestAuthority) -> CaseInput:
    return _document(ca, _with_text(b"1000", b"1<!-- -->000"))


def _with_text(old: bytes, new: bytes) -> Maker:
    return lambda holder: signed_xml(holder, advanced=False).replace(old, new)


@case(
    "document/xml-with-hmac",
    "HMAC keyed with the public key is not accepted: anybody could have made it. (XML Signature 1.1, 8.1; algorithm "
    "confusion)",
    Finding.WRONG_ALGORITHM,
)
def _(ca: TestAuthority) -> CaseInput:
    return _document(ca, _with_text(b"2001/04/xmldsig-more#rsa-sha256", b"2001/04/xmldsig-more#hmac-sha256"))


@case(
    "document/xml-over-sha-1",
    "A signature over SHA-1 is not accepted: two documents with one SHA-1 digest can be made. (CRYPTREC)",
    Finding.WRONG_ALGORITHM,
)
def _(ca: TestAuthority) -> CaseInput:
    return _document(
        ca, _with_text(b"http://www.w3.org/2001/04/xmlenc#sha256", b"http://www.w3.org/2000/09/xmldsig#sha1")
    )


@case(
    "document/xml-with-a-stylesheet",
    "A transform that selects what is signed can leave anything out. (XML Signature Best Practices, 2.1)",
    Finding.UNSUPPORTED,
)
def _(ca: TestAuthority) -> CaseInput:
    return _document(ca, _with_text(b"http://www.w3.org/2000/09/xmldsig#enveloped-signature",
                                       b"http://www.w3.org/TR/1999/REC-xslt-19991116"))  # fmt: skip


@case(
    "document/xml-signing-something-on-the-web",
    "A reference to a URL is not followed: the author of the document chooses what the verifier would fetch. (XML "
    "Signature Best Practices)",
    Finding.UNSUPPORTED,
)
def _(ca: TestAuthority) -> CaseInput:
    return _document(ca, _with_text(b'URI=""', b'URI="http://127.0.0.1/secret"'))


@case(
    "document/xml-with-entities",
    "Entities are refused: they can expand to gigabytes or include the reader's own files. (CWE-776, CWE-611)",
    Finding.UNSUPPORTED,
)
def _(ca: TestAuthority) -> CaseInput:
    laughs = b'<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;">]>'
    return _document(ca, lambda holder: laughs + signed_xml(holder).partition(b"?>")[2].strip())


@case(
    "document/xml-without-the-certificate",
    "The signer's certificate is enclosed: a key alone does not say who signed. (XML Signature 1.1, 4.5)",
    Finding.MALFORMED,
)
def _(ca: TestAuthority) -> CaseInput:

    def make(holder: HolderKey) -> bytes:
        root = etree.fromstring(signed_xml(holder, advanced=False))
        for element in root.iter(f"{_DS}X509Data"):
            element.getparent().remove(element)
        return bytes(etree.tostring(root))

    return _document(ca, make)


@case(
    "document/xml-with-two-signatures",
    "A document with two signatures is refused: it is unclear which one counts. (signature wrapping)",
    Finding.UNSUPPORTED,
)
def _(ca: TestAuthority) -> CaseInput:

    def make(holder: HolderKey) -> bytes:
        root = etree.fromstring(signed_xml(holder, advanced=False))
        root.append(etree.fromstring(etree.tostring(root.find(f"{_DS}Signature"))))
        return bytes(etree.tostring(root))

    return _document(ca, make)


@case(
    "document/xml-by-another-key",
    "The signature is made with the key of the enclosed certificate, here another holder's. (XML Signature 1.1, 3.2.2)",
    Finding.WRONG_SIGNATURE,
)
def _(ca: TestAuthority) -> CaseInput:
    other = ca.holder(ca.generation(CertificateType.SIGNATURE), CertificateTemplate(key=ca.other_key))

    def make(holder: HolderKey) -> bytes:
        root = etree.fromstring(signed_xml(holder, advanced=False))
        for element in root.iter(f"{_DS}X509Certificate"):
            element.text = b64encode(other.der).decode("ascii")
        return bytes(etree.tostring(root))

    return _document(ca, make)


# A bare signature


def _bare_signature(ca: TestAuthority, signature: Callable[[Any], bytes], content: bytes = TEXT) -> CaseInput:
    holder = ca.holder(ca.generation(CertificateType.SIGNATURE))
    return CaseInput(
        holder.der, CertificateType.SIGNATURE, revocation_lists=[ca.list(holder.issuer)], content=content,
        signature=signature(holder.key),
    )  # fmt: skip


@case("document/bare-signature", "A bare signature counts over its file, as a card makes it. (RFC 8017, 8.2)")
def _(ca: TestAuthority) -> CaseInput:
    return _bare_signature(ca, lambda key: sign(key, TEXT))


@case(
    "document/bare-signature-over-another-file",
    "A bare signature counts over one file only. (RFC 8017, 8.2)",
    Finding.WRONG_SIGNATURE,
)
def _(ca: TestAuthority) -> CaseInput:
    return _bare_signature(ca, lambda key: sign(key, TEXT), TEXT + b"!")


@case(
    "document/bare-signature-over-sha-1",
    "A bare signature is over SHA-256; one over SHA-1 is not accepted. (CRYPTREC)",
    Finding.WRONG_SIGNATURE,
)
def _(ca: TestAuthority) -> CaseInput:
    return _bare_signature(ca, lambda key: key.sign(TEXT, padding.PKCS1v15(), hashes.SHA1()))
