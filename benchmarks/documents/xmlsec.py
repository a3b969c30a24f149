"""XML documents that xmlsec1 signs from templates."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding

from benchmarks.documents.document import Document, Right, run
from benchmarks.documents.holders import Holders

DS = "http://www.w3.org/2000/09/xmldsig#"
XADES = "http://uri.etsi.org/01903/v1.3.2#"
ENVELOPED = f"{DS}enveloped-signature"
CANONICAL = {
    "inclusive 1.0": "http://www.w3.org/TR/2001/REC-xml-c14n-20010315",
    "inclusive 1.1": "http://www.w3.org/2006/12/xml-c14n11",
    "exclusive": "http://www.w3.org/2001/10/xml-exc-c14n#",
}
INCLUSIVE, INCLUSIVE_11, EXCLUSIVE = CANONICAL.values()
WITH_COMMENTS = (f"{INCLUSIVE}#WithComments", f"{INCLUSIVE_11}#WithComments", f"{EXCLUSIVE}WithComments")
XPATH = "http://www.w3.org/TR/1999/REC-xpath-19991116"
DIGEST = "http://www.w3.org/2001/04/xmlenc#sha256"
METHOD = "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256"
DIGEST_384 = "http://www.w3.org/2001/04/xmldsig-more#sha384"
ECDSA = "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha384"
DIGEST_512 = "http://www.w3.org/2001/04/xmlenc#sha512"
METHOD_512 = "http://www.w3.org/2001/04/xmldsig-more#rsa-sha512"

BODY = "<name>番号　花子</name><amount>1000</amount>"
DOCUMENTS = {
    "no namespace": f"<application>{BODY}@</application>",
    "default namespace": f'<application xmlns="http://town.example/a">{BODY}@</application>',
    "prefixed namespace": '<t:application xmlns:t="http://town.example/a"><t:name>番号　花子</t:name>'
    "<t:amount>1000</t:amount>@</t:application>",
}
"""A signature takes the place of the @."""
DECLARATION = '<?xml version="1.0" encoding="UTF-8"?>\n'
IDENTIFIED = f'<application Id="all">{BODY}@</application>'


@dataclass(frozen=True, slots=True)
class ReferenceTemplate:
    """One reference of a signature: its URI, its transforms as XML without prefix, its type and its digest."""

    uri: str = ""
    transforms: Sequence[str] = (ENVELOPED, INCLUSIVE)
    kind: str = ""
    digest: str = DIGEST
    xpath: str = ""

    def xml(self, p: str) -> str:
        """Return the element; `p` is the prefix with its colon."""
        transforms = "".join(f'<{p}Transform Algorithm="{name}"/>' for name in self.transforms)
        if self.xpath:
            inside = f"<{p}XPath>{self.xpath}</{p}XPath>"
            transforms = f'<{p}Transform Algorithm="{XPATH}">{inside}</{p}Transform>{transforms}'
        kind = f' Type="{self.kind}"' if self.kind else ""
        listed = f"<{p}Transforms>{transforms}</{p}Transforms>" if transforms else ""
        return (
            f'<{p}Reference{kind} URI="{self.uri}">{listed}<{p}DigestMethod Algorithm="{self.digest}"/>'
            f"<{p}DigestValue/></{p}Reference>"
        )


def signature(
    *references: ReferenceTemplate, canonical: str = INCLUSIVE, prefix: str = "", objects: str = "",
    method: str = METHOD, identity: str = "",
) -> str:  # fmt: skip
    """A template for a signature: xmlsec1 fills in digests, value and certificates."""
    p, declared = (f"{prefix}:", f'xmlns:{prefix}="{DS}"') if prefix else ("", f'xmlns="{DS}"')
    named = f' Id="{identity}"' if identity else ""
    listed = "".join(reference.xml(p) for reference in references or (ReferenceTemplate(),))
    return (
        f'<{p}Signature {declared}{named}><{p}SignedInfo><{p}CanonicalizationMethod Algorithm="{canonical}"/>'
        f'<{p}SignatureMethod Algorithm="{method}"/>{listed}</{p}SignedInfo><{p}SignatureValue/>'
        f"<{p}KeyInfo><{p}X509Data/></{p}KeyInfo>{objects}</{p}Signature>"
    )


@dataclass(frozen=True, slots=True)
class Template:
    """A document to sign, and how."""

    name: str
    family: str
    form: str
    xml: str
    right: Right = Right.GOOD
    encoding: str = "utf-8"
    chain: bool = False
    who: str = "hanako"
    identified: str = "application"
    """The element that has an Id, for xmlsec1's --id-attr."""


def templates() -> Iterator[Template]:
    """Every form except XAdES."""
    yield from _combinations()
    yield from _references()
    yield from _spellings()
    yield from _parts()


SIMPLE = signature()
PLAIN = DOCUMENTS["no namespace"]
EVERYTHING = ReferenceTemplate("#xpointer(/)", (ENVELOPED, WITH_COMMENTS[0]))
CONTENT = ReferenceTemplate("#content", (INCLUSIVE,))


def unsigned(directory: Path) -> list[Path]:
    """Write the documents for other signers, each named by the first word of its key in DOCUMENTS."""
    paths = []
    for namespace, xml in DOCUMENTS.items():
        paths.append(directory / f"{namespace.split()[0]}.xml")
        paths[-1].write_text(xml.replace("@", ""), encoding="utf-8")
    return paths


def combination(namespace: str, prefix: str, method: str) -> str:
    """Name a form by the first word of a namespace, a prefix or `bare`, and a canonicalisation."""
    full = next(name for name in DOCUMENTS if name.startswith(namespace))
    return f"{full}, {_prefixed(prefix.removeprefix('bare'))}, {method}"


def _prefixed(prefix: str) -> str:
    return f"Signature with prefix {prefix}" if prefix else "Signature without prefix"


def _combinations() -> Iterator[Template]:
    for namespace, prefix, (canonical, method) in product(DOCUMENTS, ("", "ds"), CANONICAL.items()):
        signed = signature(ReferenceTemplate("", (ENVELOPED, method)), canonical=method, prefix=prefix)
        slug = f"{namespace.split()[0]}-{prefix or 'bare'}-{canonical.replace(' ', '').replace('inclusive1', 'incl1')}"
        form = f"{namespace}, {_prefixed(prefix)}, {canonical}"
        yield Template(f"enveloped-{slug}", "enveloped", form, DECLARATION + DOCUMENTS[namespace].replace("@", signed))
    for number, method in enumerate(WITH_COMMENTS):
        filled = PLAIN.replace("@", signature(ReferenceTemplate("", (ENVELOPED, method)), canonical=method))
        yield Template(f"with-comments-{number}", "#WithComments, no comment", method.rpartition("/")[2], filled)
    for prefix in ("", "ds"):
        p = f"{prefix}:" if prefix else ""
        wrapped = f'<{p}Object Id="content"><application xmlns="">{BODY}</application></{p}Object>'
        xml = DECLARATION + signature(CONTENT, prefix=prefix, objects=wrapped)
        yield Template(f"enveloping-{prefix or 'bare'}", "enveloping", _prefixed(prefix), xml, identified="Object")


def _references() -> Iterator[Template]:
    by_id = IDENTIFIED.replace("@", signature(ReferenceTemplate("#all")))
    for slug, attribute in (("", "Id"), ("-upper", "ID"), ("-lower", "id"), ("-xmlid", "xml:id")):
        named = by_id.replace(" Id=", f" {attribute}=", 1)
        yield Template(f"by-id{slug}", "by identifier", f"the root, {attribute}", DECLARATION + named)
    by_pointer = signature(ReferenceTemplate("#xpointer(id('all'))"))
    yield Template("xpointer-id", "XPointer", "#xpointer(id('all'))", IDENTIFIED.replace("@", by_pointer))
    yield Template("xpointer-root", "XPointer", "#xpointer(/)", PLAIN.replace("@", signature(EVERYTHING)))
    bare = signature(ReferenceTemplate("", (ENVELOPED,)))
    yield Template("default-canonical", "one transform", "enveloped-signature", PLAIN.replace("@", bare))
    for slug, form, expression, right in (
        ("standard", "not(ancestor-or-self::ds:Signature)", "not(ancestor-or-self::ds:Signature)", Right.GOOD),
        ("other", "another expression", "not(ancestor-or-self::*[local-name()='Signature'])", Right.PARTLY),
    ):
        filtered = signature(ReferenceTemplate("", (INCLUSIVE,), xpath=expression), prefix="ds")
        yield Template(f"xpath-{slug}", "XPath", form, PLAIN.replace("@", filtered), right)
    two = signature(ReferenceTemplate(), CONTENT, objects='<Object Id="content"><note xmlns="">x</note></Object>')
    form = "the document and an Object"
    yield Template("two-references", "two references", form, PLAIN.replace("@", two), identified="Object")
    form = "the signer's certificate and the root"
    yield Template("chain", "chain in KeyInfo", form, PLAIN.replace("@", SIMPLE), chain=True)
    strong = signature(ReferenceTemplate(digest=DIGEST_512), method=METHOD_512)
    yield Template("sha512", "SHA-512", "digest and signature", PLAIN.replace("@", strong))
    next_card = signature(ReferenceTemplate(digest=DIGEST_384), method=ECDSA)
    yield Template("p384", "ECDSA", "P-384, the next card", PLAIN.replace("@", next_card), who="taro")


def _spellings() -> Iterator[Template]:
    for encoding in ("UTF-16", "Shift_JIS", "EUC-JP"):
        xml = f'<?xml version="1.0" encoding="{encoding}"?>\n{PLAIN.replace("@", SIMPLE)}'
        yield Template(encoding.lower(), "encoding", encoding, xml, encoding=encoding)
    for slug, form, attribute in (
        ("lang", "xml:lang", 'xml:lang="ja"'), ("space", "xml:space", 'xml:space="preserve"'),
        ("xmlid", "xml:id", 'xml:id="a1"'), ("namespaces", "a namespace that nothing uses", 'xmlns:u="http://u.example"'),
    ):  # fmt: skip
        xml = f"<application {attribute}>{BODY}<signatures>{SIMPLE}</signatures></application>"
        yield Template(f"above-{slug}", "attribute above the signature", form, xml)
    sheet = '<?xml-stylesheet type="text/xsl" href="application.xsl"?>\n'
    yield Template("stylesheet", "stylesheet line", "signed", DECLARATION + sheet + PLAIN.replace("@", SIMPLE))
    name = "<name a='1\t2'\r\n b=\"&#13;&quot;\">番号&#x3000;花子</name>"
    odd = f"<application>\r\n\t{name}<![CDATA[<&]]>{SIMPLE}</application>\r\n"
    yield Template("written", "spelling of XML", "CRLF, CDATA, references, quotes", odd)


def _parts() -> Iterator[Template]:
    """Documents of which a part is not signed, and one whose comment is."""
    one = signature(ReferenceTemplate("#all", (INCLUSIVE,)))
    part = f'<application><name>番号　花子</name><amount Id="all">1000</amount>{one}</application>'
    family = "a part of the document"
    yield Template("part", family, "one element by its Id", part, Right.PARTLY, identified="amount")
    beside = f"<package>{IDENTIFIED.replace('@', '')}{one}</package>"
    yield Template("beside", family, "signature beside the signed element", beside, Right.PARTLY)
    comment = PLAIN.replace("1000", "10<!-- a comment -->00")
    yield Template("comment", "comment", "not signed", comment.replace("@", SIMPLE), Right.PARTLY)
    yield Template("comment-signed", "comment", "signed, by #xpointer(/)", comment.replace("@", signature(EVERYTHING)))


def sign(holders: Holders, template: Template, directory: Path) -> bytes:
    """Sign a template with xmlsec1. Raises ProgramFailed."""
    source, target = directory / "template.xml", directory / "signed.xml"
    source.write_bytes(template.xml.encode(template.encoding))
    key = [str(holders.key(template.who)), str(holders.certificate(template.who))]
    if template.chain:
        key.append(str(holders.directory / "root.pem"))
    identifiers = [f"--id-attr:{name}" for name in ("Id", "ID", "id") if f" {name}=" in template.xml]
    named = [word for option in identifiers for word in (option, template.identified)]
    run("xmlsec1", "--sign", "--privkey-pem", ",".join(key), *named, "--output", target, source)
    return target.read_bytes()


def advanced(holders: Holders) -> Template:
    """A template for XAdES-B (EN 319 132-1)."""
    digest = b64encode(hashlib.sha256(holders.parsed().public_bytes(Encoding.DER)).digest()).decode()
    properties = (
        f'<Object><x:QualifyingProperties xmlns:x="{XADES}" Target="#s1"><x:SignedProperties Id="p1">'
        "<x:SignedSignatureProperties><x:SigningTime>2026-11-29T10:00:00Z</x:SigningTime><x:SigningCertificateV2>"
        f'<x:Cert><x:CertDigest><DigestMethod Algorithm="{DIGEST}"/><DigestValue>{digest}</DigestValue></x:CertDigest>'
        "</x:Cert></x:SigningCertificateV2></x:SignedSignatureProperties></x:SignedProperties>"
        "</x:QualifyingProperties></Object>"
    )
    signed = ReferenceTemplate("#p1", (INCLUSIVE,), f"{XADES.removesuffix('v1.3.2#')}#SignedProperties")
    filled = signature(ReferenceTemplate(), signed, objects=properties, identity="s1")
    return Template("xades", "XAdES-B", "by hand", DOCUMENTS["no namespace"].replace("@", filled),
                    identified=f"{XADES}:SignedProperties")  # fmt: skip


def documents(holders: Holders, directory: Path) -> Iterator[Document]:
    """Sign every template."""
    for template in (*templates(), advanced(holders)):
        yield signed(holders, template, directory)


def signed(holders: Holders, template: Template, directory: Path) -> Document:
    """Sign a template."""
    data = sign(holders, template, directory)
    name = f"xmlsec1-{template.name}.xml"
    return Document(name, "xmlsec1", template.family, template.form, data, right=template.right, who=template.who)
