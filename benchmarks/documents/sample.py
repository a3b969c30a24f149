"""A few documents of other programs, made in a few seconds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from benchmarks.documents import java, openssl, xmlsec
from benchmarks.documents.document import Document
from benchmarks.documents.holders import Holders
from benchmarks.documents.pdf import Signing
from kazashi.relying_party.conformance.documents import pdf as unsigned_pdf

TEMPLATES = {"enveloped-no-bare-incl1.0", "by-id", "enveloping-bare", "chain", "stylesheet", "utf-16", "above-lang"}
OPENSSL = ("detached", "attached", "stream", "keyid", "noattr")


def xml_documents(holders: Holders, directory: Path) -> Iterator[Document]:
    """All of Java's, and some of xmlsec1's."""
    yield from java.xml_documents(holders, directory)
    for template in xmlsec.templates():
        if template.name in TEMPLATES:
            yield xmlsec.signed(holders, template, directory)


def other_documents(holders: Holders, directory: Path) -> Iterator[Document]:
    """CMS of OpenSSL, and PDF of pyHanko with and without material for long-term validation."""
    for form in openssl.FORMS:
        if form[0] in OPENSSL:
            yield openssl.signed(holders, form, directory)
    signing = Signing(holders)
    yield Document("pyhanko-b.pdf", "pyHanko", "PAdES-B", "one signature", signing.sign(unsigned_pdf()))
    yield Document("pyhanko-lta.pdf", "pyHanko", "PAdES-LTA", "one signature", signing.sign(
        unsigned_pdf(), timestamped=True, use_pades_lta=True, **signing.validation_settings()))  # fmt: skip
