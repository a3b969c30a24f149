"""mdocs: issued to a phone, presented by commands, and judged by our verifier and by those of others."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cbor2
import pytest
from cryptography import x509
from pymdoccbor.mdoc.verifier import MdocCbor

from kazashi.jpki.mdoc import ELEMENTS, GENERAL, JAPANESE, NAME_SPACES, PresentationRequest, embedded
from kazashi.relying_party.verify.mdoc import MdocFinding
from tests.cli.program import InProcessProgram, Program, new_world
from tests.relying_party.openid_clients import NODE

MDL = "@auth0/mdl@3.0.1"
PAGE = (Path(__file__).parents[2] / "docs" / "phone.md").read_text(encoding="utf-8")
ASKED = ("full_name_unicode", "age_over_20")


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Program:
    """A world with a phone that has three mdocs. Tests may present and verify."""
    program = new_world(tmp_path_factory.mktemp("mdoc") / "w")
    program.run("card", "new", "hanako")
    program.run("phone", "new", "hanako")
    program.run("mdoc", "issue", "hanako-phone", "--count", "3")
    return program


@pytest.fixture
def own(shared: Program, tmp_path: Path) -> Program:
    """A copy of that world, which the test may change."""
    return InProcessProgram(Path(shutil.copytree(shared.world, tmp_path / "own")))


class Presentation:
    """A request of the world's relying party, and a phone's response to it, as files."""

    def __init__(self, program: Program, directory: Path, *elements: str, uri: str = "https://shop.example/r") -> None:
        self.program = program
        self.request, self.response = directory / "request.json", directory / "response.cbor"
        self.request.write_text(program.run("mdoc", "request", *elements, "--response-uri", uri).stdout)
        program.run("mdoc", "present", "hanako-phone", str(self.request), "--out", str(self.response))

    def verdict(self, *options: str, good: bool = False) -> dict[str, Any]:
        verify = ("mdoc", "verify", str(self.response), str(self.request), *options)
        verdict: dict[str, Any] = self.program.json(*verify, expect=0 if good else 1)
        assert (verdict["outcome"] == "good") is good
        assert good or verdict["elements"] == {}, "no attribute of a presentation that is refused"
        return verdict

    def transcript(self) -> list[Any]:
        return PresentationRequest.from_dict(json.loads(self.request.read_text())).session_transcript()

    def change(self, change: Callable[[dict[str, Any]], None]) -> None:
        response = cbor2.loads(self.response.read_bytes())
        change(response["documents"][0])
        self.response.write_bytes(cbor2.dumps(response))


def test_only_the_requested_elements_are_disclosed(shared: Program, tmp_path: Path) -> None:
    shown = Presentation(shared, tmp_path, *ASKED)
    assert shown.verdict(good=True)["elements"] == {"full_name_unicode": "番号　花子", "age_over_20": True}
    content = shown.response.read_bytes()
    assert b"portrait" not in content
    assert "千代田".encode() not in content
    everything = Presentation(shared, tmp_path, *NAME_SPACES).verdict(good=True)["elements"]
    assert sorted(everything) == sorted(NAME_SPACES)
    assert everything["individual_number_unicode"] == shared.json("card", "show", "hanako")["individual number"]
    assert everything["birth_date"] == "1988-04-17"


def test_another_library_accepts_what_the_issuer_signed(shared: Program, tmp_path: Path) -> None:
    """pymdoccbor verifies the issuer's signature, the chain to the root and the digests."""
    root = x509.load_pem_x509_certificate(shared.run("mdoc", "root").stdout.encode())
    shown = Presentation(shared, tmp_path, *ASKED)

    def judged(trusted: x509.Certificate) -> tuple[bool, dict[str, Any]]:
        judge = MdocCbor()
        judge.loads(shown.response.read_bytes())
        return judge.verify([trusted]), judge.disclosure_map

    assert judged(root) == (True, {JAPANESE: {"full_name_unicode": "番号　花子"}, GENERAL: {"age_over_20": True}})
    other = new_world(tmp_path / "stranger").run("mdoc", "root").stdout
    assert not judged(x509.load_pem_x509_certificate(other.encode()))[0]
    shown.change(renamed)
    assert not judged(root)[0]


@pytest.mark.long
def test_auth0_mdl_accepts_what_we_accept(shared: Program, tmp_path: Path) -> None:
    """In another language: both signatures, the digests, the validity and the chain to the root."""
    programs = tmp_path / "node" / "bin"
    for install in (
        (sys.executable, "-m", "venv", str(programs.parent)),
        (str(programs / "pip"), "install", "--quiet", NODE),
        (str(programs / "npm"), "install", "--no-audit", "--no-fund", "--ignore-scripts", MDL),
    ):
        subprocess.run(install, cwd=tmp_path, check=True, capture_output=True, timeout=300)
    shutil.copy(Path(__file__).with_name("mdl_verifier.cjs"), tmp_path)
    shared.run("mdoc", "root", "--out", str(tmp_path / "root.pem"))

    def judged(shown: Presentation, transcript: list[Any]) -> dict[str, Any]:
        (tmp_path / "transcript").write_bytes(cbor2.dumps(embedded(transcript)))
        done = subprocess.run(
            [str(programs / "node"), "mdl_verifier.cjs", str(shown.response), "transcript", "root.pem"],
            cwd=tmp_path, capture_output=True, text=True, check=True, timeout=60,
        )  # fmt: skip
        verdict: dict[str, Any] = json.loads(done.stdout)
        return verdict

    shown = Presentation(shared, tmp_path, *NAME_SPACES)
    good = judged(shown, shown.transcript())
    assert good == {"failed": [], "type": "org.iso.23220.1.jp.mnc", "elements": sorted(NAME_SPACES)}
    other = PresentationRequest("https://other.example/r", "nonce", ASKED)
    assert "Device signature must be valid" in judged(shown, other.session_transcript())["failed"]
    shown.change(renamed)
    assert any("digest" in check for check in judged(shown, shown.transcript())["failed"])


def renamed(document: dict[str, Any]) -> None:
    """Give the holder another name, with the same random value and number."""
    items = document["issuerSigned"]["nameSpaces"][JAPANESE]
    contents = [cbor2.loads(item.value) for item in items]
    for content in contents:
        if content["elementIdentifier"] == "full_name_unicode":
            content["elementValue"] = "番号　太郎"
    document["issuerSigned"]["nameSpaces"][JAPANESE] = [embedded(content) for content in contents]


def test_a_presentation_is_accepted_once_and_by_its_verifier_only(shared: Program, tmp_path: Path) -> None:
    first = Presentation(shared, tmp_path, *ASKED)
    kept = first.response.read_bytes()
    first.verdict(good=True)
    assert first.verdict()["finding"] == "unknown-challenge", "replayed to the same request"
    replayed = Presentation(shared, tmp_path, *ASKED)
    replayed.response.write_bytes(kept)
    assert replayed.verdict()["finding"] == "wrong-session", "replayed to a new request"
    phished = Presentation(shared, tmp_path, *ASKED, uri="https://other.example/r")
    stolen = phished.response.read_bytes()
    ours = Presentation(shared, tmp_path, *ASKED)
    ours.response.write_bytes(stolen)
    assert ours.verdict()["finding"] == "wrong-session", "made for another verifier"
    elsewhere = Presentation(shared, tmp_path, *ASKED)
    elsewhere.request.write_text(elsewhere.request.read_text().replace("shop.example", "other.example"))
    assert elsewhere.verdict()["finding"] == "unknown-challenge", "the nonce is for another address"


def less(document: dict[str, Any]) -> None:
    del document["issuerSigned"]["nameSpaces"][JAPANESE]


def resigned(document: dict[str, Any]) -> None:
    document["issuerSigned"]["issuerAuth"][3] = bytes(64)


def exchanged(document: dict[str, Any]) -> None:
    document["deviceSigned"]["deviceAuth"]["deviceSignature"][3] = bytes(63) + b"\1"


def other_type(document: dict[str, Any]) -> None:
    document["docType"] = "org.iso.18013.5.1.mDL"


def added(document: dict[str, Any]) -> None:
    document["deviceSigned"]["nameSpaces"] = embedded({JAPANESE: {"full_name_unicode": "番号　太郎"}})


@pytest.mark.parametrize(
    ("change", "finding"),
    [
        (renamed, "tampered"),
        pytest.param(less, "not-disclosed", marks=pytest.mark.long),
        pytest.param(resigned, "wrong-signature", marks=pytest.mark.long),
        pytest.param(exchanged, "wrong-session", marks=pytest.mark.long),
        pytest.param(other_type, "malformed", marks=pytest.mark.long),
        pytest.param(added, "malformed", marks=pytest.mark.long),
    ],
)
def test_an_altered_presentation_is_refused(
    shared: Program, tmp_path: Path, change: Callable[[dict[str, Any]], None], finding: str
) -> None:
    shown = Presentation(shared, tmp_path, *ASKED)
    shown.change(change)
    assert shown.verdict()["finding"] == finding


@pytest.mark.long
def test_bytes_that_are_no_presentation_are_malformed(shared: Program, tmp_path: Path) -> None:
    good = Presentation(shared, tmp_path, *ASKED).response.read_bytes()
    for content in (
        b"",
        b"\x81" * 5000,
        b"\xa0",
        good[:-1],
        good + b"\0",
        bytes(1 << 21),
        cbor2.dumps({"documents": 1}),
    ):
        shown = Presentation(shared, tmp_path, *ASKED)
        shown.response.write_bytes(content)
        assert shown.verdict()["finding"] == "malformed"


@pytest.mark.long
def test_an_unknown_issuer_and_a_foreign_status_list(shared: Program, tmp_path: Path) -> None:
    stranger = new_world(tmp_path / "stranger")
    stranger.run("mdoc", "root", "--out", str(tmp_path / "root.pem"))
    stranger.run("mdoc", "status", "--out", str(tmp_path / "status"))
    shown = Presentation(shared, tmp_path, *ASKED)
    assert shown.verdict("--root", str(tmp_path / "root.pem"))["finding"] == "wrong-authority"
    shown = Presentation(shared, tmp_path, *ASKED)
    verdict = shown.verdict("--status", str(tmp_path / "status"))
    assert (verdict["outcome"], verdict["finding"]) == ("indeterminate", "untrusted-information")


@pytest.mark.long
def test_time_ends_requests_lists_and_documents(own: Program, tmp_path: Path) -> None:
    own.run("mdoc", "status", "--out", str(tmp_path / "status"))
    late = Presentation(own, tmp_path, *ASKED)
    own.run("clock", "advance", "6m")
    assert late.verdict()["finding"] == "stale-challenge"
    own.run("clock", "advance", "2d")
    shown = Presentation(own, tmp_path, *ASKED)
    assert shown.verdict("--status", str(tmp_path / "status"))["finding"] == "untrusted-information", "of before"
    Presentation(own, tmp_path, *ASKED).verdict(good=True)
    own.run("clock", "stand", "2027-12-24T10:00+09:00")
    assert Presentation(own, tmp_path, *ASKED).verdict()["finding"] == "expired"


@pytest.mark.parametrize(
    "event",
    [("death",), pytest.param(("move-within", "--street", "別の町1番地"), marks=pytest.mark.long)],
    ids=lambda event: event[0],
)
def test_a_document_ends_with_its_holder_and_with_its_attributes(
    own: Program, tmp_path: Path, event: tuple[str, ...]
) -> None:
    own.run("registry", "event", event[0], "hanako", *event[1:])
    own.run("clock", "advance", "1d")
    assert Presentation(own, tmp_path, *ASKED).verdict()["finding"] == "revoked", "the phone still presents"
    assert "is not good" in own.error("phone-refused", 1, "mdoc", "issue", "hanako-phone")


def compared(program: Program, one: Presentation, other: Presentation) -> dict[str, Any]:
    reply: dict[str, Any] = program.json("mdoc", "compare", str(one.response), str(other.response))
    return {"linked": reply["linked"], **{row["part"]: row["equal"] for row in reply["parts"]}}


def test_one_key_links_two_verifiers_and_a_batch_does_not(own: Program, tmp_path: Path) -> None:
    """They asked for different elements. With one document, all that the issuer made is equal; with a batch, only what
    all documents of the day have in common."""
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    own_parts = ("device key", "issuer's signature", "digests", "place in the status list")
    many = ("validity", "document signer")
    for count, equal in ((1, True), (2, False)):
        own.run("mdoc", "issue", "hanako-phone", "--count", str(count))
        one = Presentation(own, tmp_path / "a", "age_over_20", uri="https://shop.example/r")
        other = Presentation(own, tmp_path / "b", "sex", uri="https://library.example/r")
        found = compared(own, one, other)
        assert {found[part] for part in own_parts} == {equal}
        assert found["linked"] is equal
        assert all(found[part] for part in many), "a batch's documents begin, end and are signed alike"
        assert not found["device's signature"]
        assert not found["elements"]
    again = Presentation(own, tmp_path / "a", "age_over_20")
    assert compared(own, again, one)["linked"], "when both documents were shown, the first is shown again"


@pytest.mark.long
def test_errors_of_users_are_one_line(own: Program, tmp_path: Path) -> None:
    own.error("usage", 2, "mdoc", "request", "shoe_size")
    own.error("no-such-phone", 2, "mdoc", "issue", "nobody")
    own.error("usage", 2, "mdoc", "compare", str(own.world / "world.json"), str(own.world / "world.json"))
    (tmp_path / "bad.json").write_text("{}")
    own.error("usage", 2, "mdoc", "present", "hanako-phone", str(tmp_path / "bad.json"))
    shown = Presentation(own, tmp_path, *ASKED)
    own.run("phone", "delete", "hanako-phone")
    own.error("no-such-phone", 2, "mdoc", "present", "hanako-phone", str(shown.request))
    assert not list((own.world / "wallets").glob("*.json")), "the documents are deleted, too"


def test_the_page_has_every_element_and_every_finding() -> None:
    section = PAGE.partition("## An mdoc")[2]
    assert set(re.findall(r"^\| `([a-z-]+)` \| (?:bad|indeterminate)", section, re.MULTILINE)) == set(MdocFinding)
    assert all(f"`{name}`" in section for names in ELEMENTS.values() for name in names)
