"""XML documents that xml-crypto signs in Node, and signxml in Python."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from lxml import etree
from signxml.algorithms import SignatureConstructionMethod
from signxml.signer import XMLSigner
from signxml.xades.xades import XAdESSigner

from benchmarks.documents.document import Document, run
from benchmarks.documents.holders import Holders
from benchmarks.documents.xmlsec import DOCUMENTS, combination, unsigned
from benchmarks.node import installed


def node_documents(holders: Holders, directory: Path) -> Iterator[Document]:
    """Sign with xml-crypto."""
    packages = installed(Path(__file__).resolve().parent / "node")
    folder = directory / "signed"
    folder.mkdir()
    run("node", packages / "sign.js", holders.key(), holders.certificate(), folder, *unsigned(directory))
    for path in sorted(folder.iterdir()):
        *parts, reference = path.stem.split("-")
        family = "enveloped" if reference == "whole" else "enveloped, by identifier"
        yield Document(f"xml-crypto-{path.name}", "xml-crypto", family, combination(*parts), path.read_bytes())


def python_documents(holders: Holders, directory: Path) -> Iterator[Document]:
    """Sign with signxml."""
    key, certificate = holders.private(), [holders.parsed()]
    root = etree.fromstring(DOCUMENTS["prefixed namespace"].replace("@", ""))
    for name, family, form, signer in (
        ("enveloped", "enveloped", "prefixed namespace", XMLSigner()),
        ("enveloping", "enveloping", "prefixed namespace", XMLSigner(method=SignatureConstructionMethod.enveloping)),
        ("xades", "XAdES-B", "enveloped", XAdESSigner()),
    ):
        signed = signer.sign(root, key=key, cert=certificate)
        data = bytes(etree.tostring(signed))
        yield Document(f"signxml-{name}.xml", "signxml", family, form, data)
    next_card = XMLSigner(signature_algorithm="ecdsa-sha384", digest_algorithm="sha384")
    signed = next_card.sign(root, key=holders.private("taro"), cert=[holders.parsed("taro")])
    data = bytes(etree.tostring(signed))
    yield Document("signxml-p384.xml", "signxml", "ECDSA", "P-384, the next card", data, who="taro")
