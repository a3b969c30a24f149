"""How long the verification of large documents takes, beside xmlsec1 and pyHanko alone."""

from __future__ import annotations

import asyncio
import resource
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from io import BytesIO
from pathlib import Path
from statistics import median

from asn1crypto import x509 as asn1_x509
from cryptography.hazmat.primitives.serialization import Encoding
from pyhanko.pdf_utils import generic
from pyhanko.pdf_utils.reader import PdfFileReader
from pyhanko.pdf_utils.writer import PageObject, PdfFileWriter
from pyhanko.sign.validation import async_validate_pdf_signature
from pyhanko_certvalidator import ValidationContext

from benchmarks.measure import Measure, at_most
from kazashi.jpki.profile import CertificateType
from kazashi.relying_party.conformance.authority import NOW, HolderKey, ListTemplate, TestAuthority
from kazashi.relying_party.conformance.documents import signed_pdf, signed_xml
from kazashi.relying_party.verify.anchors import Anchors, read_anchor
from kazashi.relying_party.verify.documents import Documents
from kazashi.relying_party.verify.sources import Lists
from kazashi.relying_party.verify.verdict import Outcome, Verdict
from kazashi.relying_party.verify.verification import Verifier
from kazashi.world.clock import FixedClock
from kazashi.world.key_source import KeySource

ROWS = 62_000
"""Rows of the form: 10 MB."""
PAGES = 200
REVISIONS = 3
ROUNDS = 5
DEPTH = 500_000


def measured(keys: KeySource, progress: Callable[[str], None], *, rows: int = ROWS, pages: int = PAGES,
             rounds: int = ROUNDS) -> Iterator[Measure]:  # fmt: skip
    """Measure CPU seconds, alternately with the peer: the median of some rounds. Yields measures."""
    authority = TestAuthority(keys)
    issuer = authority.generation(CertificateType.SIGNATURE)
    holder = authority.holder(issuer)
    listed = authority.list(issuer, (), ListTemplate(this_update=NOW))
    anchors = Anchors([read_anchor(issuer.certificate.public_bytes(Encoding.DER))])
    documents = Documents(Verifier(anchors, [Lists("given", lambda *_: listed)], FixedClock(NOW + timedelta(hours=1))))
    progress("an XML form of 10 MB")
    form = signed_xml(holder, data=_form(rows), advanced=False)
    size = f"XML of {len(form) / 1e6:.0f} MB"
    with tempfile.TemporaryDirectory(prefix="kazashi-bench-") as name:
        ours, theirs = _medians(rounds, lambda: _seconds(lambda: documents.xml(form)),
                                lambda: _xmlsec(Path(name), form, holder))  # fmt: skip
    yield at_most(f"{size}: verified", "CPU s", ours, theirs, "xmlsec1", ours / theirs, 1.5)
    progress(f"a PDF of {pages} pages with {REVISIONS} revisions")
    pdf = _pdf(pages)
    for number in range(REVISIONS):
        pdf = signed_pdf(holder, pdf, f"Signature{number + 1}")
    ours, theirs = _medians(rounds, lambda: _seconds(lambda: documents.pdf(pdf)), lambda: _pyhanko(pdf, holder))
    what = f"PDF of {pages} pages, {REVISIONS} revisions: verified"
    yield at_most(what, "CPU s", ours, theirs, "pyHanko alone", ours / theirs, 1.5)
    deep = b"<a>" * DEPTH + b"</a>" * DEPTH
    refused = _seconds(lambda: documents.xml(deep), Outcome.BAD)
    yield at_most(f"{DEPTH:,} levels of XML: refused", "CPU s", refused, 0.1, "the goal", refused / 0.1, 1)


def _medians(rounds: int, ours: Callable[[], float], theirs: Callable[[], float]) -> tuple[float, float]:
    pairs = [(ours(), theirs()) for _ in range(rounds)]
    return median(pair[0] for pair in pairs), median(pair[1] for pair in pairs)


def _seconds(verify: Callable[[], Verdict], outcome: Outcome = Outcome.GOOD) -> float:
    begun = time.process_time()
    verdict = verify()
    taken = time.process_time() - begun
    if verdict.outcome is not outcome:
        raise RuntimeError(f"the verdict is {verdict.outcome}: {verdict.detail}")
    return taken


def _form(rows: int) -> bytes:
    declared = " ".join(f'xmlns:n{number}="urn:kazashi:{number}"' for number in range(4))
    row = f"<n1:row><n2:name>{'花' * 12}</n2:name><n2:amount unit='JPY'>{'1' * 60}</n2:amount></n1:row>"
    return f'<form xmlns="urn:kazashi" {declared}>{row * rows}</form>'.encode()


def _xmlsec(directory: Path, form: bytes, holder: HolderKey) -> float:
    (directory / "form.xml").write_bytes(form)
    (directory / "holder.pem").write_bytes(holder.certificate.public_bytes(Encoding.PEM))
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(["xmlsec1", "--verify", "--pubkey-cert-pem", "holder.pem", "form.xml"],
                   cwd=directory, check=True, capture_output=True)  # fmt: skip
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _pdf(pages: int) -> bytes:
    writer = PdfFileWriter()
    name, number = generic.NameObject, generic.NumberObject
    font = writer.add_object(generic.DictionaryObject({
        name("/Type"): name("/Font"), name("/Subtype"): name("/Type1"), name("/BaseFont"): name("/Helvetica"),
    }))  # fmt: skip
    resources = generic.DictionaryObject({name("/Font"): generic.DictionaryObject({name("/F1"): font})})
    for page in range(pages):
        lines = b" ".join(b"(line %d of page %d) Tj" % (line, page) for line in range(40))
        text = generic.StreamObject(stream_data=b"BT /F1 12 Tf 72 720 Td " + lines + b" ET")
        box = generic.ArrayObject([number(one) for one in (0, 0, 595, 842)])
        writer.insert_page(PageObject(contents=writer.add_object(text), media_box=box, resources=resources))
    out = BytesIO()
    writer.write(out)
    return out.getvalue()


def _pyhanko(data: bytes, holder: HolderKey) -> float:
    root = asn1_x509.Certificate.load(holder.issuer.certificate.public_bytes(Encoding.DER))

    async def every() -> None:
        for signature in PdfFileReader(BytesIO(data)).embedded_signatures:
            context = ValidationContext(trust_roots=[root], allow_fetching=False, moment=NOW)
            status = await async_validate_pdf_signature(signature, signer_validation_context=context)
            if not status.intact or not status.valid:
                raise RuntimeError("pyHanko does not find the signature valid")

    begun = time.process_time()
    asyncio.run(every())
    return time.process_time() - begun
