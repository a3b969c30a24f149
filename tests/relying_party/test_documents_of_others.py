"""Documents that other programs sign, judged by Kazashi and by programs that are neither Kazashi nor the signer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from benchmarks.documents import sample
from benchmarks.documents.corpus import Judged, judgement, made, verifier, written
from benchmarks.documents.document import Document
from benchmarks.documents.holders import Holders, make_holders
from benchmarks.documents.judges import INVALID, VALID, Judges
from benchmarks.documents.table import PAGE, page_with, tables


@pytest.fixture(scope="module")
def holders(tmp_path_factory: pytest.TempPathFactory) -> Holders:
    return make_holders(tmp_path_factory.mktemp("holders") / "keys")


Maker = Callable[[Holders, Path], Iterator[Document]]


@pytest.mark.parametrize("maker", [sample.xml_documents, sample.other_documents], ids=["XML", "CMS and PDF"])
def test_documents_of_others_are_good_and_what_was_changed_is_not(
    holders: Holders, tmp_path: Path, maker: Maker
) -> None:
    judge = verifier(holders.directory, datetime.now(UTC) + timedelta(minutes=1))
    documents = made(holders, [maker])
    assert {document.right.value for document in documents} >= {"good", "bad", "not good"}
    assert [one for one in (judgement(document, {}, judge) for document in documents) if not one.as_it_should] == []
    honest = [document for document in documents if not document.change]
    for document in honest:
        (tmp_path / document.name).write_bytes(document.data)
    words = Judges(holders, tmp_path).words(honest, java=False)
    assert {name: said for name, said in words.items() if {*said.values()} != {VALID}} == {}


@pytest.fixture(scope="module")
def matrix(tmp_path_factory: pytest.TempPathFactory) -> list[Judged]:
    return written(tmp_path_factory.mktemp("matrix") / "corpus")


@pytest.mark.long
def test_every_document_gets_the_right_outcome(matrix: list[Judged]) -> None:
    assert [one for one in matrix if not one.as_it_should] == []


@pytest.mark.long
def test_timestamps_of_others_prove_the_time(matrix: list[Judged]) -> None:
    stamped = [one for one in matrix if one.family.endswith(("-T", "-LT", "-LTA")) and not one.change]
    assert {one.format for one in stamped} == {"xml", "cms", "pdf"}
    assert [one for one in stamped if not one.proven] == []


@pytest.mark.long
def test_what_two_judges_call_invalid_is_not_good(matrix: list[Judged]) -> None:
    twice = [one for one in matrix if list(one.judges.values()).count(INVALID) >= 2]
    assert {one.format for one in twice} == {"xml", "cms", "pdf"}
    assert [one for one in twice if one.outcome == "good"] == []


@pytest.mark.long
def test_the_tables_of_the_docs_are_those_of_this_run(matrix: list[Judged]) -> None:
    """Whenever they differ for a reason: `python -m benchmarks.documents FOLDER --docs`, and read the difference."""
    assert PAGE.read_text(encoding="utf-8") == page_with(tables(matrix))
