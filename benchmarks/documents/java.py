"""Documents that Java programs sign."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from benchmarks.documents.document import JAVA, Document, run
from benchmarks.documents.holders import PASSWORD, Holders
from benchmarks.documents.openssl import TEXT
from benchmarks.documents.xmlsec import combination, unsigned
from benchmarks.jars import class_path
from kazashi.relying_party.conformance.documents import pdf as unsigned_pdf

HERE = Path(__file__).resolve().parent
LEVELS = ("B", "T", "LT", "LTA")
BOUNCY_CASTLE = (
    ("BouncyCastle", "detached.p7m", "detached", "DER"),
    ("BouncyCastle", "attached.p7m", "attached", "DER"),
    ("BouncyCastle", "sha512.p7m", "another digest", "SHA-512"),
    ("BouncyCastle", "keyid.p7m", "signer by key identifier", "detached"),
    ("BouncyCastle", "noattr.p7m", "without signed attributes", "detached"),
    ("PDFBox", "adbe.pkcs7.detached.pdf", "ISO 32000-1 (adbe.pkcs7.detached)", "one signature"),
    ("PDFBox", "ETSI.CAdES.detached.pdf", "ETSI.CAdES.detached", "without signing-certificate attribute"),
    ("PDFBox", "twice.pdf", "several signatures", "one holder, twice"),
    ("OpenPDF", "b.pdf", "ISO 32000-1 (adbe.pkcs7.detached)", "one signature"),
)
"""The files of SignWithBouncyCastle.java."""


def xml_documents(holders: Holders, directory: Path) -> Iterator[Document]:
    """Sign with javax.xml.crypto: twelve enveloped signatures and one that envelops."""
    folder = directory / "java"
    folder.mkdir()
    run(*JAVA, HERE / "SignXml.java", holders.directory / "hanako.key.der", holders.directory / "hanako.der", folder,
        *unsigned(directory))  # fmt: skip
    for path in sorted(folder.iterdir()):
        if path.stem == "enveloping":
            yield Document("java-enveloping.xml", "Java", "enveloping", "Signature without prefix", path.read_bytes())
            continue
        form = combination(*path.stem.split("-"))
        yield Document(f"java-{path.name}", "Java", "enveloped", form, path.read_bytes())


def library_documents(holders: Holders, directory: Path) -> Iterator[Document]:
    """Sign with DSS, BouncyCastle, PDFBox and OpenPDF."""
    content, pdf = directory / "content", directory / "unsigned.pdf"
    content.write_bytes(TEXT)
    pdf.write_bytes(unsigned_pdf())
    xml = unsigned(directory)[0]
    jars = class_path()
    for program in ("dss", "bouncycastle"):
        (directory / program).mkdir()
    keys = holders.directory
    run(*JAVA, "-cp", jars, HERE / "SignWithDss.java", keys, PASSWORD, xml, content, pdf, directory / "dss",
        holders.full_list())  # fmt: skip
    run(*JAVA, "-cp", jars, HERE / "SignWithBouncyCastle.java", keys / "hanako.key.der", keys / "hanako.der",
        content, pdf, directory / "bouncycastle")  # fmt: skip
    for path in sorted((directory / "dss").iterdir(), key=lambda path: (LEVELS.index(path.stem.split("-")[-1]), path)):
        format_, *packaging, level = path.stem.split("-")
        standard = {"xades": "XAdES", "cades": "CAdES", "pades": "PAdES"}[format_]
        detached = TEXT if packaging == ["detached"] else None
        form = packaging[0] if packaging else "one signature"
        yield Document(f"dss-{path.name}", "DSS", f"{standard}-{level}", form, path.read_bytes(), detached)
    for program, name, family, form in BOUNCY_CASTLE:
        data = (directory / "bouncycastle" / name).read_bytes()
        detached = TEXT if name.endswith(".p7m") and name != "attached.p7m" else None
        yield Document(f"{program.lower()}-{name}", program, family, form, data, detached)
