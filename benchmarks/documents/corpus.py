"""The corpus: every document in a folder, with what each judge says."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from benchmarks.documents import java, openssl, pdf, scripts, xmlsec
from benchmarks.documents.alterations import altered
from benchmarks.documents.document import Document, Right
from benchmarks.documents.holders import Holders, make_holders
from benchmarks.documents.judges import Judges
from kazashi.relying_party.verify.anchors import AnchorsInDirectory
from kazashi.relying_party.verify.documents import Documents
from kazashi.relying_party.verify.sources import lists_in
from kazashi.relying_party.verify.verification import Verifier
from kazashi.world.clock import FixedClock

Maker = Callable[[Holders, Path], Iterator[Document]]
MAKERS: tuple[Maker, ...] = (
    xmlsec.documents, java.xml_documents, scripts.node_documents, scripts.python_documents,
    openssl.documents, pdf.documents, java.library_documents,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Judged:
    """A document, the words of the other judges by their names, and Kazashi's verdict."""

    file: str
    format: str
    signer: str
    family: str
    form: str
    change: str
    content: str | None
    right: str
    judges: dict[str, str]
    outcome: str
    finding: str | None
    detail: str
    proven: bool
    """Whether a timestamp proves when the document was signed."""
    as_it_should: bool


def verifier(keys: Path, at: datetime) -> Documents:
    """Kazashi's verifier with the roots and lists of a folder of holders."""
    certificates = Verifier(AnchorsInDirectory(keys / "ca"), [lists_in(keys)], FixedClock(at))
    return Documents(certificates, time_stamp_roots=keys / "time-stamp-roots")


def made(holders: Holders, makers: Sequence[Maker] = MAKERS) -> list[Document]:
    """Sign with every maker, and change the results."""
    with tempfile.TemporaryDirectory(prefix="kazashi-documents-") as name:
        honest: list[Document] = []
        for number, maker in enumerate(makers):
            directory = Path(name) / str(number)
            directory.mkdir()
            honest += maker(holders, directory)
    by_name = {document.name: document for document in honest}
    assert len(by_name) == len(honest), "two documents have one name"
    return [*honest, *altered(by_name, holders)]


def written(directory: Path, makers: Sequence[Maker] = MAKERS) -> list[Judged]:
    """Make the corpus in a folder: `files/`, `keys/`, and `corpus.json`, which says what every judge says."""
    holders = make_holders(directory / "keys")
    files = directory / "files"
    files.mkdir()
    documents = made(holders, makers)
    for document in documents:
        (files / document.name).write_bytes(document.data)
        if document.content is not None:
            (files / f"{document.name}.content").write_bytes(document.content)
    words = Judges(holders, files).words(documents)
    at = datetime.now(UTC) + timedelta(minutes=1)
    judge = verifier(holders.directory, at)
    judged = [judgement(document, words[document.name], judge) for document in documents]
    contents = {"at": at.isoformat(), "documents": [asdict(one) for one in judged]}
    (directory / "corpus.json").write_text(json.dumps(contents, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return judged


def judgement(document: Document, words: dict[str, str], judge: Documents) -> Judged:
    """Judge a document with Kazashi."""
    verdict = judge.any(document.data, document.content)
    return Judged(
        document.name, document.format, document.signer, document.family, document.form, document.change,
        f"{document.name}.content" if document.content is not None else None, document.right.value, words,
        verdict.outcome.value, verdict.finding.value if verdict.finding else None, verdict.detail,
        verdict.proven is not None, document.right.allows(verdict.outcome.value),
    )  # fmt: skip


def judged_again(directory: Path) -> list[Judged]:
    """Judge a corpus that was written before with today's Kazashi."""
    contents = json.loads((directory / "corpus.json").read_text(encoding="utf-8"))
    judge = verifier(directory / "keys", datetime.fromisoformat(contents["at"]))
    result = []
    for fields in contents["documents"]:
        one = Judged(**fields)
        path = directory / "files" / one.file
        content = (directory / "files" / one.content).read_bytes() if one.content else None
        document = Document(one.file, one.signer, one.family, one.form, path.read_bytes(), content, one.change,
                            Right(one.right))  # fmt: skip
        result.append(judgement(document, one.judges, judge))
    return result
