"""PDF documents that pyHanko and poppler sign."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

from asn1crypto import crl, keys
from asn1crypto import x509 as asn1_x509
from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
from pyhanko.pdf_utils.reader import PdfFileReader
from pyhanko.pdf_utils.writer import copy_into_new_writer
from pyhanko.sign import fields, signers
from pyhanko.sign.fields import MDPPerm, SigSeedSubFilter
from pyhanko.sign.timestamps.dummy_client import DummyTimeStamper
from pyhanko_certvalidator import ValidationContext
from pyhanko_certvalidator.registry import SimpleCertificateStore

from benchmarks.documents.document import Document, run
from benchmarks.documents.holders import PASSWORD, Holders
from kazashi.relying_party.conformance.documents import pdf as unsigned_pdf


class Signing:
    """pyHanko with the holders' keys and the timestamp authority's."""

    def __init__(self, holders: Holders) -> None:
        self._holders = holders
        self._tsa_root = _certificate(holders.directory / "tsa-root.der")
        self.timestamps = DummyTimeStamper(
            _certificate(holders.directory / "tsa.der"), _key(holders.directory / "tsa.key.der"),
            certs_to_embed=_store(self._tsa_root),
        )  # fmt: skip

    def validation_settings(self) -> dict[str, Any]:
        """Settings for `sign` that put the material for long-term validation into the file."""
        root = _certificate(self._holders.directory / "root.der")
        lists = [crl.CertificateList.load(path.read_bytes()) for path in self._holders.lists()]
        context = ValidationContext(
            trust_roots=[root, self._tsa_root], crls=lists, allow_fetching=False, revocation_mode="soft-fail"
        )
        return {"embed_validation_info": True, "validation_context": context}

    def sign(self, data: bytes, who: str = "hanako", field: str = "Signature1", **settings: Any) -> bytes:
        """Append a signature of a holder. `settings` go to PdfSignatureMetadata, save `timestamped`."""
        stamper = self.timestamps if settings.pop("timestamped", False) else None
        settings = {"subfilter": SigSeedSubFilter.PADES, "md_algorithm": "sha256", **settings}
        directory = self._holders.directory
        signer = signers.SimpleSigner(
            signing_cert=_certificate(directory / f"{who}.der"), signing_key=_key(directory / f"{who}.key.der"),
            cert_registry=_store(_certificate(directory / "root.der")),
        )  # fmt: skip
        signing = signers.PdfSigner(
            signers.PdfSignatureMetadata(field_name=field, **settings), signer=signer, timestamper=stamper
        )
        return bytes(asyncio.run(signing.async_sign_pdf(IncrementalPdfFileWriter(BytesIO(data)))).getvalue())

    def stamp(self, data: bytes) -> bytes:
        """Append a document timestamp (ISO 32000-2, 12.8.5)."""
        stamping = signers.PdfTimeStamper(self.timestamps)
        writer = IncrementalPdfFileWriter(BytesIO(data))
        return bytes(asyncio.run(stamping.async_timestamp_pdf(writer, "sha256")).getvalue())


def _certificate(path: Path) -> asn1_x509.Certificate:
    return asn1_x509.Certificate.load(path.read_bytes())


def _key(path: Path) -> keys.PrivateKeyInfo:
    return keys.PrivateKeyInfo.load(path.read_bytes())


def _store(*certificates: asn1_x509.Certificate) -> SimpleCertificateStore:
    store = SimpleCertificateStore()
    store.register_multiple(certificates)
    return store


def with_form(data: bytes) -> bytes:
    """Add a text field and an empty signature field, before anybody signs."""
    writer = IncrementalPdfFileWriter(BytesIO(data))
    fields.append_signature_field(writer, fields.SigFieldSpec("Empty", box=(72, 100, 200, 140)))
    out = BytesIO()
    writer.write(out)
    return out.getvalue()


def rewritten(data: bytes) -> bytes:
    """The same document with a cross-reference table instead of a stream (ISO 32000-1, 7.5.4 and 7.5.8)."""
    writer = copy_into_new_writer(PdfFileReader(BytesIO(data)), {"stream_xrefs": False})
    out = BytesIO()
    writer.write(out)
    return out.getvalue()


def documents(holders: Holders, directory: Path) -> Iterator[Document]:
    """Sign in every form."""
    signing = Signing(holders)
    plain = unsigned_pdf()
    validation = signing.validation_settings()
    signed = signing.sign(plain)
    for name, family, form, data in (
        ("b", "PAdES-B", "one signature", signed),
        ("cms", "ISO 32000-1 (adbe.pkcs7.detached)", "one signature",
         signing.sign(plain, subfilter=SigSeedSubFilter.ADOBE_PKCS7_DETACHED)),
        ("sha512", "PAdES-B", "SHA-512", signing.sign(plain, md_algorithm="sha512")),
        ("certified", "PAdES-B", "certified, no changes allowed",
         signing.sign(plain, certify=True, docmdp_permissions=MDPPerm.NO_CHANGES)),
        ("xref-table", "PAdES-B", "cross-reference table", signing.sign(rewritten(plain))),
        ("empty-field", "PAdES-B", "another signature field, empty", signing.sign(with_form(plain))),
        ("t", "PAdES-T", "timestamp inside", signing.sign(plain, timestamped=True)),
        ("lt", "PAdES-LT", "timestamp and validation material", signing.sign(plain, timestamped=True, **validation)),
        ("lta", "PAdES-LTA", "timestamp, validation material, document timestamp",
         signing.sign(plain, timestamped=True, use_pades_lta=True, **validation)),
        ("doctimestamp", "document timestamp", "after the signature", signing.stamp(signed)),
        ("doctimestamp-first", "document timestamp", "before the signature", signing.sign(signing.stamp(plain))),
        ("two", "several signatures", "two holders", signing.sign(signed, "leap-day", "Signature2")),
        ("three", "several signatures", "two holders and a document timestamp",
         signing.stamp(signing.sign(signed, "leap-day", "Signature2"))),
        ("spaces", "white space after the end", "line ends", signed + b"\r\n\n"),
    ):  # fmt: skip
        yield Document(f"pyhanko-{name}.pdf", "pyHanko", family, form, data)
    data = signing.sign(plain, "taro", md_algorithm="sha384")
    yield Document("pyhanko-p384.pdf", "pyHanko", "ECDSA", "P-384, the next card", data, who="taro")
    yield from poppler_documents(holders, directory)


def nss_database(holders: Holders, directory: Path) -> Path:
    """A database of NSS with the holder's key, from which poppler signs."""
    database = directory / "nss"
    database.mkdir()
    run("certutil", "-N", "-d", f"sql:{database}", "--empty-password")
    run("pk12util", "-i", holders.p12(), "-d", f"sql:{database}", "-W", PASSWORD, "-K", "")
    run("certutil", "-A", "-d", f"sql:{database}", "-n", "root", "-t", "CT,CT,CT", "-i", holders.directory / "root.pem")
    return database


def poppler_documents(holders: Holders, directory: Path) -> Iterator[Document]:
    """Sign with pdfsig."""
    database = nss_database(holders, directory)
    source, target = directory / "unsigned.pdf", directory / "signed.pdf"
    source.write_bytes(unsigned_pdf())
    run("pdfsig", "-nssdir", database, "-add-signature", "-nick", "hanako", source, target)
    yield Document("pdfsig-b.pdf", "pdfsig", "signed by poppler", "one signature", target.read_bytes())
