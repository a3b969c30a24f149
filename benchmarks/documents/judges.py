"""What other programs say about the signatures in a file: valid, invalid, or not read.

They judge with the holder's key, without a path to a root and without revocation: those are not what is compared.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Sequence
from pathlib import Path

from asn1crypto import pem
from lxml import etree

from benchmarks.documents.document import JAVA, Document, run
from benchmarks.documents.holders import Holders
from benchmarks.documents.pdf_signatures import TIMESTAMP, pdf_signatures
from benchmarks.jars import class_path

HERE = Path(__file__).resolve().parent
VALID, INVALID, NOT_READ = "valid", "invalid", "not read"


class Judges:
    """Every judge, with the files in one folder."""

    def __init__(self, holders: Holders, directory: Path) -> None:
        self._holders = holders
        self._directory = directory

    def words(self, documents: Sequence[Document], *, java: bool = True) -> dict[str, dict[str, str]]:
        """Return, for each document's name, what each program that judges its format says.

        Without `java`, which takes seconds to start, the others judge.
        """
        result: dict[str, dict[str, str]] = {document.name: {} for document in documents}
        for document in documents:
            words = result[document.name]
            if document.format == "xml":
                words["xmlsec1"] = self._xmlsec(document)
            elif document.format == "pdf":
                words["pdfsig"] = self._pdfsig(document)
                words["openssl"] = self._openssl_pdf(document)
            else:
                words["openssl"] = self._openssl(document.data, document.content)
        if java:
            for name, format_, ask in (("Java", "xml", self._java), ("BouncyCastle", "cms", self._bouncy_castle)):
                for file, word in ask([document for document in documents if document.format == format_]).items():
                    result[file][name] = word
        return result

    def _path(self, document: Document) -> Path:
        return self._directory / document.name

    def _java(self, documents: Sequence[Document]) -> dict[str, str]:
        if not documents:
            return {}
        pairs = [(self._path(one), self._holders.directory / f"{one.who}.der") for one in documents]
        said = run(*JAVA, HERE / "JudgeXml.java", *(path for pair in pairs for path in pair))
        lines = [line.split("\t") for line in said.splitlines() if "\t" in line]
        return {Path(line[0]).name: line[1] for line in lines}

    def _bouncy_castle(self, documents: Sequence[Document]) -> dict[str, str]:
        """What BouncyCastle says of CMS, which it reads in DER."""
        if not documents:
            return {}
        with tempfile.TemporaryDirectory(prefix="kazashi-cms-") as name:
            pairs = []
            for document in documents:
                signed, content = Path(name) / document.name, Path(name) / f"{document.name}.content"
                armoured = document.data.startswith(b"-----")
                signed.write_bytes(pem.unarmor(document.data)[2] if armoured else document.data)
                content.write_bytes(document.content or b"")
                pairs += [str(signed), "" if document.content is None else str(content)]
            said = run(*JAVA, "-cp", class_path(), HERE / "JudgeCms.java", *pairs)
        lines = [line.split("\t") for line in said.splitlines() if "\t" in line]
        return {Path(line[0]).name: line[1] for line in lines}

    def _xmlsec(self, document: Document) -> str:
        output = run(
            "xmlsec1", "--verify", "--pubkey-cert-pem", self._holders.certificate(document.who),
            *_identified(document.data), self._path(document), expect=None,
        )  # fmt: skip
        if re.search(r"^OK$", output, re.M):
            return VALID
        return INVALID if re.search(r"^FAIL$", output, re.M) else NOT_READ

    def _openssl(self, data: bytes, content: bytes | None) -> str:
        signed, inside = self._directory / "openssl.p7m", self._directory / "openssl.content"
        signed.write_bytes(data)
        form = "PEM" if data.startswith(b"-----") else "DER" if data.startswith(b"\x30") else "SMIME"
        words = ["openssl", "cms", "-verify", "-binary", "-noverify", "-inform", form, "-in", str(signed),
                 "-certfile", str(self._holders.certificate()), "-out", "/dev/null"]  # fmt: skip
        if content is not None:
            inside.write_bytes(content)
            words += ["-content", str(inside)]
        output = run(*words, expect=None)
        for path in (signed, inside):
            path.unlink(missing_ok=True)
        if re.search(r"^CMS Verification successful$", output, re.M):
            return VALID
        return INVALID if "CMS Verification failure" in output or "CMS_verify" in output else NOT_READ

    def _openssl_pdf(self, document: Document) -> str:
        """What openssl says about each signature's CMS over the bytes of its /ByteRange."""
        words = [
            self._openssl(signature.cms, signature.signed(document.data))
            for signature in pdf_signatures(document.data)
            if signature.kind != TIMESTAMP
        ]
        return _together(words)

    def _pdfsig(self, document: Document) -> str:
        output = run("pdfsig", "-nocert", self._path(document), expect=None)
        words = []
        for part in re.split(r"^Signature #", output, flags=re.M)[1:]:
            if "Signature Type: unknown" in part or "not signed" in part:
                continue  # a document timestamp, which pdfsig does not judge, or an empty field
            words.append(VALID if "Signature is Valid" in part else INVALID)
        return _together(words)


def _together(words: Sequence[str]) -> str:
    for word in (INVALID, NOT_READ):
        if word in words:
            return word
    return VALID if words else NOT_READ


def _identified(data: bytes) -> list[str]:
    """Return xmlsec1's options for the elements that have an identifier."""
    try:
        root = etree.fromstring(data, etree.XMLParser(resolve_entities=False, no_network=True))
    except etree.XMLSyntaxError:
        return []
    found = set()
    for element in root.iter(etree.Element):
        name = etree.QName(element)
        qualified = f"{name.namespace}:{name.localname}" if name.namespace else name.localname
        found |= {(attribute, qualified) for attribute in ("Id", "ID", "id") if attribute in element.attrib}
    return [word for attribute, name in sorted(found) for word in (f"--id-attr:{attribute}", name)]
