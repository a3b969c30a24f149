"""`kazashi bench relying-party`: verdicts, lookups in a large revocation list, pseudonyms, and browser logins."""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from multiprocessing import get_context
from pathlib import Path
from statistics import median

import numpy as np
from asn1crypto import crl as asn1_crl
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from pyhanko_certvalidator import CertificateValidator, ValidationContext

from benchmarks import document_time
from benchmarks.bench_large_list import FIRST_SERIAL, looked_up
from benchmarks.bench_worlds import LIFE_DAYS, Progress, new_world
from benchmarks.measure import Measure, at_least, at_most
from kazashi.assembly.institutions import Institutions
from kazashi.card.certification_request import certification_request
from kazashi.jpki.profile import CertificateType
from kazashi.jpki.state import Reason
from kazashi.pki.certificate import CertificateRequest
from kazashi.pki.crl import EVERYTHING, sign_list
from kazashi.pki.crl_entries import Entries, encode_entries
from kazashi.relying_party.pseudonyms.converter import BlindlyConverted
from kazashi.relying_party.pseudonyms.pseudonyms import KeyedPairwise, Subject
from kazashi.relying_party.verify.anchors import AnchorsInDirectory
from kazashi.relying_party.verify.authentication import Authentication, ChallengesInMemory, Response
from kazashi.relying_party.verify.sources import lists_in
from kazashi.relying_party.verify.verification import Verifier
from kazashi.world.key_source import SharedKeySource, generate
from kazashi.world.rng import secure_random

ORIGIN = "https://library.example"


@dataclass(frozen=True, slots=True)
class RelyingPartySize:
    """The size of the benchmark.

    `entries` is the length of the large list, `browser` the number of logins in the browser. `revoked` is the length of
    the municipality's list that verdicts use: ten million entries divided by two thousand.
    """

    logins: int = 2000
    entries: int = 10_000_000
    pseudonyms: int = 200_000
    translations: int = 100
    browser: int = 10
    revoked: int = 5000
    rows: int = document_time.ROWS
    pages: int = document_time.PAGES


def measure(progress: Progress = lambda _: None, size: RelyingPartySize | None = None) -> list[Measure]:
    """Run every benchmark of the relying parties."""
    size = size or RelyingPartySize()
    with tempfile.TemporaryDirectory(prefix="kazashi-bench-") as name:
        directory = Path(name)
        keys = SharedKeySource([generate() for _ in range(15)])
        return [
            *_verdicts(directory, keys, size, progress),
            *_large_list(directory, keys, size, progress),
            *document_time.measured(keys, progress, rows=size.rows, pages=size.pages),
            *_pseudonyms(size, progress),
            *_browser(directory, keys, size, progress),
        ]


def _verdicts(directory: Path, keys: SharedKeySource, size: RelyingPartySize, progress: Progress) -> Iterator[Measure]:
    progress(f"issuing {size.logins:,} good and {size.revoked:,} revoked certificates")
    institutions = Institutions(new_world(directory / "verdicts", keys))
    key_bytes = keys.take()
    key = serialization.load_der_private_key(key_bytes, None)
    assert isinstance(key, rsa.RSAPrivateKey)
    certificates = _issued(institutions, certification_request(key_bytes), size.logins + size.revoked)
    revocations = institutions.revocations[CertificateType.AUTHENTICATION]
    for revoked in certificates[size.logins :]:
        revocations.revoke(x509.load_der_x509_certificate(revoked).serial_number, Reason.SUPERSEDED)
    certificates = certificates[: size.logins]
    institutions.advance(institutions.world.clock.now() + timedelta(days=1))
    tree = institutions.world.publication
    verifier = Verifier(AnchorsInDirectory(tree / "ca"), [lists_in(tree)], institutions.world.clock)
    login = Authentication(verifier, ChallengesInMemory(size.logins))
    verifier.certificate(certificates[0])  # loads the list into memory
    progress("verdicts on logins")
    responses = []
    for certificate in certificates:
        challenge = login.challenge(ORIGIN)
        signature = key.sign(challenge.message, padding.PKCS1v15(), hashes.SHA256())
        responses.append((challenge.message, Response(challenge.nonce, signature, certificate)))
    begun = time.perf_counter()
    outcomes = {login.verdict(ORIGIN, response).outcome.value for _, response in responses}
    rate = len(responses) / (time.perf_counter() - begun)
    if outcomes != {"good"}:
        raise RuntimeError(f"the verdicts are {outcomes}; all should be good")
    progress("the same by pyhanko-certvalidator alone")
    peer = _unassisted(institutions, responses[: max(1, size.logins // 10)])
    institutions.world.close()
    yield at_least("verdicts on logins, one core", "1/s", rate, 2000, "the goal", rate / 2000, 1)
    yield at_least("verdicts on logins, one core", "1/s", rate, peer, "pyhanko-certvalidator alone", rate / peer, 5)


def _issued(institutions: Institutions, request: bytes, count: int) -> list[bytes]:
    """Issue `count` authentication certificates for one key."""
    resident = institutions.juki_net.j_lis.identity(institutions.resident("hanako").code)
    authority, now = institutions.authorities[CertificateType.AUTHENTICATION], institutions.world.clock.now()
    ends = now + timedelta(days=LIFE_DAYS)
    requests = [CertificateRequest(resident, request, now, ends, identifier=f"{number}") for number in range(count)]
    return [
        certificate
        for start in range(0, count, 500)
        for certificate in authority.issue_many(requests[start : start + 500])
    ]


def _unassisted(institutions: Institutions, responses: list[tuple[bytes, Response]]) -> float:
    """Return the verdicts per second by pyhanko-certvalidator, which gets root and list, and by `cryptography` for the
    signature over the challenge."""
    root = asn1_x509.Certificate.load(institutions.authorities[CertificateType.AUTHENTICATION].root())
    generation = institutions.authorities[CertificateType.AUTHENTICATION].issuing().name
    path = institutions.publications[CertificateType.AUTHENTICATION].path(generation, "13113")
    known = asn1_crl.CertificateList.load(path.read_bytes())
    moment = institutions.world.clock.now()

    async def one(message: bytes, response: Response) -> None:
        context = ValidationContext(
            trust_roots=[root], allow_fetching=False, crls=[known], moment=moment, revocation_mode="hard-fail"
        )
        certificate = asn1_x509.Certificate.load(response.unverified_certificate)
        validator = CertificateValidator(certificate, validation_context=context)
        await validator.async_validate_usage({"digital_signature"})  # type: ignore[no-untyped-call]
        public = x509.load_der_x509_certificate(response.unverified_certificate).public_key()
        assert isinstance(public, rsa.RSAPublicKey)
        public.verify(response.signature, message, padding.PKCS1v15(), hashes.SHA256())

    async def every() -> float:
        begun = time.perf_counter()
        for message, response in responses:
            await one(message, response)
        return len(responses) / (time.perf_counter() - begun)

    return asyncio.run(every())


def _large_list(
    directory: Path, keys: SharedKeySource, size: RelyingPartySize, progress: Progress
) -> Iterator[Measure]:
    progress(f"a list of {size.entries:,} entries")
    institutions = Institutions(new_world(directory / "large", keys))
    generation = institutions.authorities[CertificateType.SIGNATURE].issuing()
    now = institutions.world.clock.now()
    numbers = np.arange(size.entries, dtype=np.int64)
    at = np.full(size.entries, int(now.timestamp()), np.int64) - numbers % 31_536_000
    entries = Entries(numbers + FIRST_SERIAL, at, np.where(numbers % 3 == 0, 5, 3))
    signed = sign_list(
        generation,
        CertificateType.SIGNATURE,
        EVERYTHING,
        1,
        (now, now + timedelta(hours=48)),
        tuple(encode_entries(entries)),
    )
    path = directory / "large.crl"
    with path.open("wb") as file:
        for piece in signed.pieces:
            file.write(piece)
    institutions.world.close()
    progress(f"reading {size.entries:,} entries, and lookups")
    with ProcessPoolExecutor(1, get_context("spawn")) as process:
        read, lookup, memory = process.submit(looked_up, path, generation.certificate, size.entries).result()
    what = f"list of {size.entries:,} entries"
    yield at_most(f"{what}: a lookup", "us", lookup, 50, "the goal", lookup / 50, 1)
    yield at_most(f"{what}: memory of the process", "MB", memory, 200, "the goal", memory / 200, 1)
    yield at_most(f"{what}: read and checked", "s", read, 60, "a minute", read / 60, 1)


def _pseudonyms(size: RelyingPartySize, progress: Progress) -> Iterator[Measure]:
    progress("pseudonyms")
    pairwise = KeyedPairwise(secure_random(256).to_bytes(32))
    subjects = [Subject(0x70000000 + number) for number in range(size.pseudonyms)]
    begun = time.perf_counter()
    for subject in subjects:
        pairwise.pseudonym(subject, "library.example")
    rate = size.pseudonyms / (time.perf_counter() - begun)
    yield at_least("pairwise pseudonyms", "1/s", rate, 200_000, "the goal", rate / 200_000, 1)
    converted = BlindlyConverted(secure_random(256).to_bytes(32), ("library", "bank"), lambda: secure_random(320))
    own = converted.pseudonym(Subject(0, b"somebody"), "library")
    begun = time.perf_counter()
    for _ in range(size.translations):
        converted.translate(own, "library", "bank")
    translated = size.translations / (time.perf_counter() - begun)
    yield at_least("blind translations", "1/s", translated, rate, "pairwise pseudonyms", translated / rate, 0)


def _browser(directory: Path, keys: SharedKeySource, size: RelyingPartySize, progress: Progress) -> Iterator[Measure]:
    progress("logins in the browser")
    from playwright.sync_api import sync_playwright

    from kazashi.assembly.served import serve
    from kazashi.reader_bridge.host import Presentation, ReaderHost
    from kazashi.reader_bridge.pcscd import start_pcscd
    from kazashi.tools.daemon.services import Services

    institutions = Institutions(new_world(directory / "browser", keys))
    image = institutions.issue_card("hanako", "hanako")
    ending: list[Callable[[], None]] = []
    try:
        pcscd = start_pcscd(directory, ["Kazashi"], private=True)
        ending.append(pcscd.stop)
        host = ReaderHost(pcscd.endpoints)
        ending.append(host.close)
        host.insert(host.slots[0], "hanako", image, Presentation())
        host.slots[0].wait_until_powered(10)
        services = Services(institutions.world)
        ending.append(services.stop)
        agent = serve(directory, "agent", environment={**os.environ, **pcscd.client_environment()})
        ending.append(agent.stop)
        site = serve(
            directory, "site", "--services", services.status["http"], "--agent", f"http://127.0.0.1:{agent.port}",
            world=institutions.world.directory,
        )  # fmt: skip
        ending.append(site.stop)
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
            page = browser.new_page()
            page.goto(f"http://localhost:{site.port}/")
            page.click("#register")
            page.fill("#pin", "ABC123")
            page.click("button[name=ok]")
            taken = []
            for _ in range(size.browser):
                page.click("text=Log out")
                begun = time.perf_counter()
                page.click("#login")
                page.wait_for_selector("#pin")
                shown = time.perf_counter() - begun
                page.fill("#pin", "1234")
                begun = time.perf_counter()
                page.click("button[name=ok]")
                page.wait_for_selector("#user")
                taken.append(shown + time.perf_counter() - begun)
            browser.close()
    finally:
        for end in reversed(ending):
            end()
        institutions.world.close()
    seconds = median(taken)
    yield at_most("login in the browser, without typing", "s", seconds, 1, "the goal", seconds, 1)
