"""Signed documents for the cases: CMS, PDF and XML, signed with a holder's key."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from io import BytesIO
from typing import Any

from asn1crypto import algos, cms, core
from asn1crypto import keys as asn1_keys
from asn1crypto import x509 as asn1_x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from lxml import etree
from pyhanko.pdf_utils import generic
from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
from pyhanko.pdf_utils.writer import PageObject, PdfFileWriter
from pyhanko.sign import signers
from pyhanko.sign.fields import SigSeedSubFilter
from pyhanko_certvalidator.registry import SimpleCertificateStore
from signxml.algorithms import SignatureConstructionMethod
from signxml.signer import XMLSigner
from signxml.xades.xades import XAdESSigner

from kazashi.relying_party.conformance.authority import HolderKey

TEXT = "架空町図書館　利用申込書\n".encode()
XML = "<application><name>番号　花子</name><amount>1000</amount></application>".encode()
JAPANESE_XML = "<申込書><氏名>番号　花子</氏名><金額>1000</金額></申込書>".encode()


class _InUtf8:
    """Makes signxml serialize elements in UTF-8. By default it uses ASCII, in which an element named 申込書 cannot be
    parsed again."""

    def _tostring(self, xml_node: etree._Element, **settings: Any) -> bytes:
        return bytes(etree.tostring(xml_node, **{"encoding": "utf-8", **settings}))


class _PlainSigner(_InUtf8, XMLSigner):
    pass


class _AdvancedSigner(_InUtf8, XAdESSigner):
    pass


def _signer(holder: HolderKey) -> signers.SimpleSigner:
    key = holder.key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    store = SimpleCertificateStore()
    return signers.SimpleSigner(
        signing_cert=asn1_x509.Certificate.load(holder.der), signing_key=asn1_keys.PrivateKeyInfo.load(key),
        cert_registry=store,
    )  # fmt: skip


def signed_cms(holder: HolderKey, content: bytes = TEXT, *, detached: bool = True, digest: str = "sha256") -> bytes:
    """SignedData like that of CAdES, detached or with its content."""
    signed = asyncio.run(_signer(holder).async_sign_general_data(content, digest_algorithm=digest, detached=detached))
    return bytes(signed.dump())


def bare_cms(
    holder: HolderKey, content: bytes = TEXT, *, attributes: bool = True, pss: bool = False, certificate: bool = True,
    digest: str = "sha256", signers: int = 1, more: Sequence[bytes] = (),
) -> bytes:  # fmt: skip
    """SignedData assembled by hand, with the given defects. `more` are further certificates, as DER."""
    assert isinstance(holder.key, rsa.RSAPrivateKey)
    algorithm: hashes.HashAlgorithm = {"sha256": hashes.SHA256(), "sha1": hashes.SHA1()}[digest]
    hashed = hashes.Hash(algorithm)
    hashed.update(content)
    signed = cms.CMSAttributes([
        cms.CMSAttribute({"type": "content_type", "values": ["data"]}),
        cms.CMSAttribute({"type": "message_digest", "values": [hashed.finalize()]}),
    ])  # fmt: skip
    body = signed.dump() if attributes else content
    identifier: dict[str, Any] = {"algorithm": f"{digest}_rsa", "parameters": core.Null()}
    scheme: Any = padding.PKCS1v15()
    if pss:
        scheme = padding.PSS(padding.MGF1(hashes.SHA256()), 32)
        mask = {"algorithm": "mgf1", "parameters": {"algorithm": "sha256"}}
        identifier = {"algorithm": "rsassa_pss", "parameters": algos.RSASSAPSSParams(
            {"hash_algorithm": {"algorithm": "sha256"}, "mask_gen_algorithm": mask, "salt_length": 32})}  # fmt: skip
    own = asn1_x509.Certificate.load(holder.der)
    info: dict[str, Any] = {
        "version": "v1",
        "sid": cms.SignerIdentifier({"issuer_and_serial_number": cms.IssuerAndSerialNumber(
            {"issuer": own.issuer, "serial_number": own.serial_number})}),
        "digest_algorithm": {"algorithm": digest}, "signature_algorithm": identifier,
        "signature": holder.key.sign(body, scheme, algorithm),
    }  # fmt: skip
    if attributes:
        info["signed_attrs"] = signed
    whole = {"version": "v1", "digest_algorithms": [{"algorithm": digest}],
             "encap_content_info": {"content_type": "data"},
             "signer_infos": [cms.SignerInfo(info)] * signers}  # fmt: skip
    if certificate:
        whole["certificates"] = [own, *(asn1_x509.Certificate.load(one) for one in more)]
    return bytes(cms.ContentInfo({"content_type": "signed_data", "content": cms.SignedData(whole)}).dump())


def pdf() -> bytes:
    """A PDF of one page with one line of text."""
    writer = PdfFileWriter()
    text = generic.StreamObject(stream_data=b"BT /F1 24 Tf 72 720 Td (Kazashi) Tj ET")
    font = writer.add_object(generic.DictionaryObject({
        generic.NameObject("/Type"): generic.NameObject("/Font"),
        generic.NameObject("/Subtype"): generic.NameObject("/Type1"),
        generic.NameObject("/BaseFont"): generic.NameObject("/Helvetica"),
    }))  # fmt: skip
    resources = generic.DictionaryObject({
        generic.NameObject("/Font"): generic.DictionaryObject({generic.NameObject("/F1"): font}),
    })  # fmt: skip
    writer.insert_page(PageObject(contents=writer.add_object(text), media_box=generic.ArrayObject(
        [generic.NumberObject(number) for number in (0, 0, 595, 842)]), resources=resources))  # fmt: skip
    out = BytesIO()
    writer.write(out)
    return out.getvalue()


def signed_pdf(holder: HolderKey, data: bytes | None = None, field: str = "Signature1") -> bytes:
    """A PDF with a PAdES signature."""
    writer = IncrementalPdfFileWriter(BytesIO(data if data is not None else pdf()))
    settings = signers.PdfSignatureMetadata(field_name=field, subfilter=SigSeedSubFilter.PADES, md_algorithm="sha256")
    signing = signers.PdfSigner(settings, signer=_signer(holder))
    return bytes(asyncio.run(signing.async_sign_pdf(writer)).getvalue())


def changed_pdf(signed: bytes) -> bytes:
    """A signed PDF with an incremental update after the signature that changes the text of the page."""
    writer = IncrementalPdfFileWriter(BytesIO(signed))
    page = writer.root["/Pages"]["/Kids"][0]
    contents = page.raw_get("/Contents")
    stream = writer.get_object(contents.reference if hasattr(contents, "reference") else contents)
    stream._data = b"BT /F1 24 Tf 72 720 Td (Another sum) Tj ET"
    stream._encoded_data = None
    writer.mark_update(contents.reference)
    out = BytesIO()
    writer.write(out)
    return out.getvalue()


def signed_xml(holder: HolderKey, *, advanced: bool = True, data: bytes = XML, enveloping: bool = False) -> bytes:
    """A signed XML document: XAdES, as in tax returns, or plain XML Signature; enveloped or enveloping."""
    own = holder.certificate
    method = SignatureConstructionMethod.enveloping if enveloping else SignatureConstructionMethod.enveloped
    signer: Any = _AdvancedSigner(method=method) if advanced else _PlainSigner(method=method)
    signed = signer.sign(etree.fromstring(data), key=holder.key, cert=[own])
    return bytes(etree.tostring(signed, encoding="utf-8", xml_declaration=True))


def signed_element(holder: HolderKey) -> bytes:
    """An XML document of which one element is signed, by its ID."""
    root = etree.fromstring(XML)
    root[1].set("Id", "amount")
    signed = XMLSigner(method=SignatureConstructionMethod.enveloped).sign(
        root, key=holder.key, cert=[holder.certificate], reference_uri="#amount"
    )
    return bytes(etree.tostring(signed, encoding="utf-8"))
