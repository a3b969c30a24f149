"""Mutated documents: each gets a verdict in bounded time, and is good only if nothing changed that was signed."""

from __future__ import annotations

import resource
import time
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import cycle, repeat
from multiprocessing import get_context
from pathlib import Path

import pytest

from benchmarks.documents import openssl, xmlsec
from benchmarks.documents.corpus import verifier
from benchmarks.documents.holders import Holders, make_holders
from benchmarks.documents.mutations import mutated
from benchmarks.documents.pdf import Signing
from benchmarks.documents.unchanged import same_content
from kazashi.relying_party.conformance.documents import pdf as unsigned_pdf
from kazashi.relying_party.verify.verdict import Outcome
from kazashi.world.rng import secure_random

SECONDS = 2.0
"""Of a processor, for one small document."""
MEMORY = 3 << 30
"""Bytes of address space for a process that judges thousands of documents, most of which its libraries take."""
FORMATS = ("xml", "cms", "pdf")


@pytest.fixture(scope="module")
def holders(tmp_path_factory: pytest.TempPathFactory) -> Holders:
    return make_holders(tmp_path_factory.mktemp("holders") / "keys")


def honest(holders: Holders, format_: str, directory: Path) -> list[bytes]:
    """Signed documents of other programs."""
    if format_ == "xml":
        names = ("enveloped-no-ds-incl1.0", "by-id", "enveloping-bare")
        return [xmlsec.sign(holders, one, directory) for one in xmlsec.templates() if one.name in names]
    if format_ == "cms":
        return [openssl.sign(holders, directory, "-nodetach", *more) for more in ((), ("-keyid",), ("-noattr",))]
    signing = Signing(holders)
    once = signing.sign(unsigned_pdf())
    return [once, signing.sign(once, "leap-day", "Signature2")]


def bound_memory() -> None:
    """Let this process, and not the machine, run out of memory."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))


def wrong_verdicts(holders: Holders, format_: str, original: bytes, seed: int, count: int) -> list[str]:
    """Judge mutations, and say what is wrong with which."""
    judge = verifier(holders.directory, datetime.now(UTC) + timedelta(minutes=1))
    verdict, wrong = judge.any(original), []
    assert verdict.outcome is Outcome.GOOD, verdict.detail
    assert verdict.certificate is not None
    serial = verdict.certificate.serial
    for number, data in enumerate(mutated(original, format_, seed, count)):
        begun = time.process_time()
        verdict = judge.any(data)
        if (took := time.process_time() - begun) > SECONDS:
            wrong.append(f"seed {seed}, mutation {number}: {took:.1f} s")
        if verdict.outcome is Outcome.GOOD:
            assert verdict.certificate is not None
            if verdict.certificate.serial != serial:
                wrong.append(f"seed {seed}, mutation {number}: good, of another signer")
            try:
                same = same_content(format_, original, data)
            except Exception as error:  # Expat or OpenSSL cannot read what Kazashi reads
                wrong.append(f"seed {seed}, mutation {number}: good, and unreadable: {error!r}")
            else:
                if not same:
                    wrong.append(f"seed {seed}, mutation {number}: good, with other content")
    return wrong


@pytest.mark.filterwarnings("ignore:Attribute's length must be")
@pytest.mark.parametrize("format_", FORMATS)
def test_200_mutations_are_good_only_if_nothing_signed_changed(holders: Holders, tmp_path: Path, format_: str) -> None:
    originals = honest(holders, format_, tmp_path)
    for original in originals:
        assert wrong_verdicts(holders, format_, original, 1, 200 // len(originals) + 1) == []


@pytest.mark.long
@pytest.mark.parametrize("format_", FORMATS)
def test_20_000_mutations_are_good_only_if_nothing_signed_changed(
    holders: Holders, tmp_path: Path, format_: str
) -> None:
    originals, seed = honest(holders, format_, tmp_path), secure_random(32)
    with ProcessPoolExecutor(2, get_context("spawn"), bound_memory) as processes:
        parts = processes.map(
            wrong_verdicts, repeat(holders), repeat(format_), cycle(originals), range(seed, seed + 12), repeat(1700)
        )
        assert [wrong for part in parts for wrong in part] == []
