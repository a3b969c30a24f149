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
    return CaseInput(holder.der, CertificateType.SIGNATURE, lists=[ca.list(ca.generation(CertificateType.SIGNATURE))],
                    document=make(holder), content=content)  # fmt: skip


def _moved(ca: TestAuthority, make: Maker, content: bytes | None = None) -> CaseInput:
    """A document whose signer has moved two days ago."""
    holder = ca.holder(ca.generation(CertificateType.SIGNATURE))
    entry = (holder.certificate.serial_number, NOW - timedelta(days=2), x509.ReasonFlags.affiliation_changed)
    return CaseInput(holder.der, CertificateType.SIGNATURE, lists=[ca.list(holder.issuer, [entry])],
                     document=make(holder),
                    content=content)  # fmt: skip


# CMS


@case("document/cms-detached", "A signature beside the file that it is over. (RFC 5652, 5.2)")
def _(ca: TestAuthority) -> CaseInput:
    return _document(ca, signed_cms, TEXT)


@case("document/cms-with-its-content", "A signature around its content. (RFC 5652, 5.2)")
def _(ca: TestAuthority) -> CaseInput:
    return _document(ca, lambda holder: signed_cms(holder, detached=False))


@case("document/cms-by-hand", "Signed attributes with the two that must be there, and no more. (RFC 5652, 5.3)")
def _(ca: TestAuthority) -> CaseInput:
    return _document(ca, bare_cms, TEXT)


@case("document/cms-over-another-file", "A signature is over one file. (RFC 5652, 5.6)", Finding.TAMPERED)
def _(ca: TestAuthority) -> CaseInput:
    return _document(ca, signed_cms, TEXT + b"!")


@case("document/cms-with-changed-content", "The content in it counts as any other. (RFC 5652, 5.6)", Finding.TAMPERED)
def _(ca: TestAuthority) -> CaseInput:
    return _document(ca, lambda holder: signed_cms(holder, detached=False).replace(TEXT, TEXT[::-1]))


@case(
    "document/cms-with-one-content-beside-another",
    "A file that is shown beside a signature around another file was not signed. (RFC 5652, 5.2)",
    Finding.TAMPERED,
)
def _(ca: TestAuthority) -> CaseInput:
    return _document(ca, lambda holder: signed_cms(holder, detached=False), TEXT + b"!")


@case(
    "document/cms-without-its-file",
    "A signature that is apart from its file says nothing alone. (RFC 5652, 5.2)",
    Finding.MALFORMED,
)
def _(ca: TestAuthority) -> CaseInput:
    return _document(ca, signed_cms)


@case(
    "document/cms-by-another-key", "A certificate beside another's signature. (RFC 5652, 5.6)", Finding.WRONG_SIGNATURE
)
def _(ca: TestAuthority) -> CaseInput:

    def make(holder: HolderKey) -> bytes:
        return bare_cms(HolderKey(ca.other_key, holder.certificate, holder.issuer))

    return _document(ca, make, TEXT)


@case(
    "document/cms-with-two-certificates-of-one-number",
    "Of two certificates that are said to be the signer's, one is shown and the other's key has signed. (RFC "
    "5652, 5.3)",
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


@case("document/cms-over-sha-1", "Two files with one SHA-1 digest can be made. (CRYPTREC)", Finding.WRONG_ALGORITHM)
def _(ca: TestAuthority) -> CaseInput:
    return _document(ca, lambda holder: bare_cms(holder, digest="sha1"), TEXT)


@case(
    "document/cms-with-pss",
    "A card signs by PKCS #1 v1.5: whatever made this was none. (RFC 8017)",
    Finding.WRONG_ALGORITHM,
)
def _(ca: TestAuthority) -> CaseInput:
    return _document(ca, lambda holder: bare_cms(holder, pss=True), TEXT)


@case(
    "document/cms-without-signed-attributes",
    "Without them, what was signed as attributes can be shown as a file, and the other way round. (RFC 5652, 5.3)",
    Finding.MALFORMED,
)
def _(ca: TestAuthority) -> CaseInput:
    return _document(ca, lambda holder: bare_cms(holder, attributes=False), TEXT)


@case(
    "document/cms-of-two-signers",
    "Who has signed must be one person. (JPKI, signature certificate)",
    Finding.NOT_SIGNED,
)
def _(ca: TestAuthority) -> CaseInput:
    return _document(ca, lambda holder: bare_cms(holder, signers=2), TEXT)


@case(
    "document/cms-of-nobody", "SignedData without signers is a bag of certificates. (RFC 5652, 5.1)", Finding.NOT_SIGNED
)
def _(ca: TestAuthority) -> CaseInput:
    return _document(ca, lambda holder: bare_cms(holder, signers=0), TEXT)


@case(
    "document/cms-without-the-certificate",
    "Four attributes and validity are in the certificate. (JPKI, signature certificate)",
    Finding.MALFORMED,
)
def _(ca: TestAuthority) -> CaseInput:
    return _document(ca, lambda holder: bare_cms(holder, certificate=False), TEXT)


@case(
    "document/cms-with-the-authentication-key",
    "The authentication key signs whatever a site gives it: it binds nobody to a document. (act on JPKI, article 2)",
    Finding.WRONG_KIND,
)
def _(ca: TestAuthority) -> CaseInput:
    return _document(ca, bare_cms, TEXT, CertificateType.AUTHENTICATION)


@case("document/cms-cut-off", "Half a signature is none. (X.690)", Finding.MALFORMED)
def _(ca: TestAuthority) -> CaseInput:
    return _document(ca, lambda holder: signed_cms(holder)[:900], TEXT)


@case(
    "document/cms-signed-by-one-who-has-moved",
    "A signature certificate dies when its holder moves, and with it what is checked afterwards. (act on JPKI, "
    "article 12)",
    Finding.REVOKED,
)
def _(ca: TestAuthority) -> CaseInput:
    return _moved(ca, signed_cms, TEXT)


@case(
    "document/cms-as-of-before-the-move",
    "As of a time that somebody vouches for, before the move, it was good. (RFC 5280, 5.3; ETSI EN 319 102-1)",
)
def _(ca: TestAuthority) -> CaseInput:
    material = _moved(ca, signed_cms, TEXT)
    material.at = NOW - timedelta(days=3)
    return material


# PDF


@case("document/pdf-signed", "A PAdES signature over all of the file. (ISO 32000-2, 12.8; ETSI EN 319 142-1)")
def _(ca: TestAuthority) -> CaseInput:
    return _document(ca, signed_pdf)


@case(
    "document/pdf-signed-twice",
    "A second signature in an update of its own leaves the first what it was. (ISO 32000-2, 12.8.1)",
)
def _(ca: TestAuthority) -> CaseInput:
    return _document(ca, lambda holder: signed_pdf(holder, signed_pdf(holder), "Signature2"))


@case("document/pdf-not-signed", "A file without a signature. (ISO 32000-2, 12.8)", Finding.NOT_SIGNED)
def _(ca: TestAuthority) -> CaseInput:
    return _document(ca, lambda _: pdf())


@case(
    "document/pdf-with-a-changed-byte", "A byte of what is signed was changed. (ISO 32000-2, 12.8.1)", Finding.TAMPERED
)
def _(ca: TestAuthority) -> CaseInput:
    return _document(ca, lambda holder: signed_pdf(holder).replace(b"(Kazashi)", b"(Kazasho)", 1))


@case(
    "document/pdf-with-another-page-behind-the-signature",
    "An update after the signature that changes what the page says. (ISO 32000-2, 12.8.2; shadow attacks, 2020)",
    Finding.TAMPERED,
)
def _(ca: TestAuthority) -> CaseInput:
    return _document(ca, lambda holder: changed_pdf(signed_pdf(holder)))


@case(
    "document/pdf-with-an-update-that-changes-nothing",
    "What is added behind the signature and changes nothing leaves the document as it was. (ISO 32000-2, 12.8.2)",
)
def _(ca: TestAuthority) -> CaseInput:

    def make(holder: HolderKey) -> bytes:
        data = signed_pdf(holder)
        return data + b"\n% more\n" + data[data.rindex(b"startxref") :]

    return _document(ca, make)


@case(
    "document/pdf-with-a-moved-range",
    "The range that is signed leaves out more than the signature. (signature wrapping in PDF, 2018)",
    Finding.TAMPERED,
)
def _(ca: TestAuthority) -> CaseInput:

    def make(holder: HolderKey) -> bytes:
        data = signed_pdf(holder)
        found = re.search(rb"/ByteRange \[0 (\d+) (\d+) (\d+)", data)
        assert found is not None
        numbers = [int(number) for number in found.groups()]
        shorter = b"/ByteRange [0 %d %d %d" % (numbers[0] - 10, numbers[1], numbers[2])
        return data.replace(found.group(), shorter.ljust(len(found.group())), 1)

    return _document(ca, make)


@case("document/pdf-cut-off", "Half a file has lost its signature with its end. (ISO 32000-2, 7.5)", Finding.NOT_SIGNED)
def _(ca: TestAuthority) -> CaseInput:
    return _document(ca, lambda holder: signed_pdf(holder)[:1500])


@case(
    "document/pdf-signed-by-one-who-has-moved",
    "The date that a signer writes into a file is no evidence of when it was signed. (ETSI EN 319 102-1)",
    Finding.REVOKED,
)
def _(ca: TestAuthority) -> CaseInput:
    return _moved(ca, signed_pdf)


# XML


@case(
    "document/xml-advanced",
    "A XAdES signature in the document, over all of it, as tax returns have. (ETSI EN 319 132-1)",
)
def _(ca: TestAuthority) -> CaseInput:
    return _document(ca, signed_xml)


@case("document/xml-plain", "An XML signature without XAdES. (XML Signature 1.1)")
def _(ca: TestAuthority) -> CaseInput:
    return _document(ca, lambda holder: signed_xml(holder, advanced=False))


@case("document/xml-in-japanese", "Elements have names in any script, and forms of Japanese offices do. (XML 1.0, 2.3)")
def _(ca: TestAuthority) -> CaseInput:
    return _document(ca, lambda holder: signed_xml(holder, advanced=False, data=JAPANESE_XML))


@case("document/xml-advanced-in-japanese", "With XAdES likewise. (XML 1.0, 2.3; ETSI EN 319 132-1)")
def _(ca: TestAuthority) -> CaseInput:
    return _document(ca, lambda holder: signed_xml(holder, data=JAPANESE_XML))


@case("document/xml-around-its-content", "A signature around the document. (XML Signature 1.1)")
def _(ca: TestAuthority) -> CaseInput:
    return _document(ca, lambda holder: signed_xml(holder, advanced=False, enveloping=True))


@case("document/xml-not-signed", "A document without a signature. (XML Signature 1.1)", Finding.NOT_SIGNED)
def _(ca: TestAuthority) -> CaseInput:
    return _document(ca, lambda _: XML)


@case("document/xml-with-another-sum", "What is signed was changed. (XML Signature 1.1, 3.2.1)", Finding.TAMPERED)
def _(ca: TestAuthority) -> CaseInput:
    return _document(ca, lambda holder: signed_xml(holder).replace(b"1000", b"9000"))


@case(
    "document/xml-of-which-a-part-is-signed",
    "The rest of the document is anybody's. (XML Signature 1.1, 8.1.2)",
    Finding.TAMPERED,
)
def _(ca: TestAuthority) -> CaseInput:
    return _document(ca, signed_element)


@case(
    "document/xml-wrapped",
    "The signed document is moved aside, into a part that nobody reads, and another is put in its place. "
    "(signature wrapping, McIntosh and Austel 2005)",
    Finding.TAMPERED,
)
def _(ca: TestAuthority) -> CaseInput:

    def make(holder: HolderKey) -> bytes:
        signed = etree.fromstring(signed_element(holder))
        signature, amount = signed.find(f"{_DS}Signature"), signed.find("amount")
        root = etree.fromstring(XML.replace(b"1000", b"9000"))
        aside = etree.SubElement(root, "attachment")
        aside.append(amount)
        root.append(signature)
        return bytes(etree.tostring(root, encoding="utf-8"))

    return _document(ca, make)


@case(
    "document/xml-with-one-name-twice",
    "Two elements of the name that was signed: one is checked and the other read. (signature wrapping)",
    Finding.TAMPERED,
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
    "An object within the signature's element that nobody has signed, and that a reader may come upon first. "
    "(signature wrapping)",
    Finding.TAMPERED,
)
def _(ca: TestAuthority) -> CaseInput:

    def make(holder: HolderKey) -> bytes:
        root = etree.fromstring(signed_xml(holder, advanced=False))
        beside = etree.SubElement(root.find(f"{_DS}Signature"), f"{_DS}Object")
        etree.SubElement(beside, "amount").text = "9000"
        return bytes(etree.tostring(root, encoding="utf-8"))

    return _document(ca, make)


@case(
    "document/xml-with-a-comment",
    "Comments are not signed, and one within a sum cuts it in two for many readers. (Canonical XML 1.1; SAML "
    "comment truncation, 2018)",
    Finding.TAMPERED,
)
def _(ca: TestAuthority) -> CaseInput:
    return _document(ca, _with_text(b"1000", b"1<!-- -->000"))


def _with_text(old: bytes, new: bytes) -> Maker:
    return lambda holder: signed_xml(holder, advanced=False).replace(old, new)


@case(
    "document/xml-with-hmac",
    "A public key is no secret: what verifies as HMAC with it was signed by anybody. (XML Signature 1.1, 8.1; "
    "algorithm confusion)",
    Finding.WRONG_ALGORITHM,
)
def _(ca: TestAuthority) -> CaseInput:
    return _document(ca, _with_text(b"2001/04/xmldsig-more#rsa-sha256", b"2001/04/xmldsig-more#hmac-sha256"))


@case("document/xml-over-sha-1", "Two documents with one SHA-1 digest can be made. (CRYPTREC)", Finding.WRONG_ALGORITHM)
def _(ca: TestAuthority) -> CaseInput:
    return _document(
        ca, _with_text(b"http://www.w3.org/2001/04/xmlenc#sha256", b"http://www.w3.org/2000/09/xmldsig#sha1")
    )


@case(
    "document/xml-with-a-stylesheet",
    "A transform that picks what is signed picks what is not. (XML Signature Best Practices, 2.1)",
    Finding.MALFORMED,
)
def _(ca: TestAuthority) -> CaseInput:
    return _document(ca, _with_text(b"http://www.w3.org/2000/09/xmldsig#enveloped-signature",
                                       b"http://www.w3.org/TR/1999/REC-xslt-19991116"))  # fmt: skip


@case(
    "document/xml-signing-something-on-the-web",
    "What is fetched to check a signature is fetched for whoever wrote the document. (XML Signature Best Practices)",
    Finding.MALFORMED,
)
def _(ca: TestAuthority) -> CaseInput:
    return _document(ca, _with_text(b'URI=""', b'URI="http://127.0.0.1/secret"'))


@case(
    "document/xml-with-entities",
    "Entities that unfold into gigabytes, or into the reader's own files. (CWE-776, CWE-611)",
    Finding.MALFORMED,
)
def _(ca: TestAuthority) -> CaseInput:
    laughs = b'<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;">]>'
    return _document(ca, lambda holder: laughs + signed_xml(holder).partition(b"?>")[2].strip())


@case(
    "document/xml-without-the-certificate",
    "A key alone says of nobody who it is. (XML Signature 1.1, 4.5)",
    Finding.MALFORMED,
)
def _(ca: TestAuthority) -> CaseInput:

    def make(holder: HolderKey) -> bytes:
        root = etree.fromstring(signed_xml(holder, advanced=False))
        for found in root.iter(f"{_DS}X509Data"):
            found.getparent().remove(found)
        return bytes(etree.tostring(root))

    return _document(ca, make)


@case(
    "document/xml-with-two-signatures",
    "Which of two signatures is meant is for nobody to guess. (signature wrapping)",
    Finding.NOT_SIGNED,
)
def _(ca: TestAuthority) -> CaseInput:

    def make(holder: HolderKey) -> bytes:
        root = etree.fromstring(signed_xml(holder, advanced=False))
        root.append(etree.fromstring(etree.tostring(root.find(f"{_DS}Signature"))))
        return bytes(etree.tostring(root))

    return _document(ca, make)


@case(
    "document/xml-by-another-key",
    "Another holder's certificate in the place of the signer's. (XML Signature 1.1, 3.2.2)",
    Finding.WRONG_SIGNATURE,
)
def _(ca: TestAuthority) -> CaseInput:
    other = ca.holder(ca.generation(CertificateType.SIGNATURE), CertificateTemplate(key=ca.other_key))

    def make(holder: HolderKey) -> bytes:
        root = etree.fromstring(signed_xml(holder, advanced=False))
        for found in root.iter(f"{_DS}X509Certificate"):
            found.text = b64encode(other.der).decode("ascii")
        return bytes(etree.tostring(root))

    return _document(ca, make)


# A bare signature


def _raw(ca: TestAuthority, signature: Callable[[Any], bytes], content: bytes = TEXT) -> CaseInput:
    holder = ca.holder(ca.generation(CertificateType.SIGNATURE))
    return CaseInput(holder.der, CertificateType.SIGNATURE, lists=[ca.list(holder.issuer)], content=content,
                    signature=signature(holder.key))  # fmt: skip


@case("document/bare-signature", "A signature over a file as a card makes it, and nothing around it. (RFC 8017, 8.2)")
def _(ca: TestAuthority) -> CaseInput:
    return _raw(ca, lambda key: sign(key, TEXT))


@case(
    "document/bare-signature-over-another-file",
    "A bare signature is over one file. (RFC 8017, 8.2)",
    Finding.WRONG_SIGNATURE,
)
def _(ca: TestAuthority) -> CaseInput:
    return _raw(ca, lambda key: sign(key, TEXT), TEXT + b"!")


@case(
    "document/bare-signature-over-sha-1",
    "The digest is SHA-256, whatever the padding says. (CRYPTREC)",
    Finding.WRONG_SIGNATURE,
)
def _(ca: TestAuthority) -> CaseInput:
    return _raw(ca, lambda key: key.sign(TEXT, padding.PKCS1v15(), hashes.SHA1()))
