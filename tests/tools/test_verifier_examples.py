"""The examples that verify a card's certificate with other people's software: servers, Java and Go."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from benchmarks.interoperability.in_process import connected
from benchmarks.interoperability.issued import IssuedFiles, issued_files
from kazashi.assembly.served import free_port
from tests.polling import LIMIT
from tests.support import run, until_connected

EXAMPLES = Path(__file__).parents[2] / "examples"
PARTS = ("Tokyo-to/Shibuya-ku", "Kyoto-fu/Kyoto-shi-Nakagyo-ku", "authority")


@pytest.fixture(scope="module")
def issued(tmp_path_factory: pytest.TempPathFactory) -> Iterator[IssuedFiles]:
    """Certificates in each state, and the authorities' services."""
    with issued_files(tmp_path_factory.mktemp("issued")) as files:
        yield files


@pytest.fixture
def folder(issued: IssuedFiles, tmp_path: Path) -> Path:
    """A copy of the servers' examples, with the server's own certificate."""
    folder = Path(shutil.copytree(EXAMPLES / "servers", tmp_path / "servers"))
    shutil.copy(issued.path("server"), folder / "server.pem")
    shutil.copy(issued.path("server", "key"), folder / "server.key")
    return folder


def fetch(issued: IssuedFiles, folder: Path, *lists: str) -> None:
    done = subprocess.run(
        ("sh", "fetch.sh", issued.services, *lists), cwd=folder, env={**os.environ, "GENERATION": issued.generation},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


@contextmanager
def serving(command: Sequence[str], folder: Path, port: int) -> Iterator[Callable[[], str]]:
    """Run a server; yields a function that reads its log."""
    log = folder / "output"
    with log.open("wb") as output:
        process = subprocess.Popen(
            ("setpriv", "--pdeathsig", "TERM", "--", *command), cwd=folder, stdout=output, stderr=output
        )
    try:
        until_connected(port, process, log)
        yield lambda: "".join(path.read_text(errors="replace") for path in (log, folder / "error.log") if path.exists())
    finally:
        process.terminate()
        process.wait(20)


def configured(issued: IssuedFiles, folder: Path, name: str) -> int:
    """Put a free port and the caller's key into a configuration, and return the port."""
    port, path = free_port(), folder / name
    text = path.read_text(encoding="utf-8")
    address = "http://127.0.0.1:18601/ocsp/authentication/as/KEY"
    assert ":8443" in text
    text = text.replace(":8443", f":{port}").replace(address, issued.ocsp("authentication"))
    path.write_text(text, encoding="utf-8")
    return port


def assert_only_good_cards_enter(issued: IssuedFiles, port: int, log: Callable[[], str]) -> None:
    said = connected(issued, port, "authentication-good")
    assert f"{issued.serial('authentication-good'):X}" in said, said + log()
    for state in ("revoked", "held"):
        before = log().lower().count("certificate revoked")
        said = connected(issued, port, f"authentication-{state}")
        assert f"{issued.serial(f'authentication-{state}'):X}" not in said
        assert log().lower().count("certificate revoked") > before or "certificate revoked" in said.lower(), log()


@pytest.mark.parametrize("lists", [(), PARTS])
def test_nginx_looks_cards_up_in_lists(issued: IssuedFiles, folder: Path, lists: Sequence[str]) -> None:
    fetch(issued, folder, *lists)
    port = configured(issued, folder, "nginx-lists.conf")
    with serving(("nginx", "-p", ".", "-c", "nginx-lists.conf"), folder, port) as log:
        assert_only_good_cards_enter(issued, port, log)


def test_nginx_refuses_everybody_without_the_list_of_the_authority(issued: IssuedFiles, folder: Path) -> None:
    """As docs/interoperability.md says."""
    fetch(issued, folder, PARTS[0])
    port = configured(issued, folder, "nginx-lists.conf")
    with serving(("nginx", "-p", ".", "-c", "nginx-lists.conf"), folder, port) as log:
        assert "400 Bad Request" in connected(issued, port, "authentication-good")
        assert "unable to get certificate CRL" in log()


def test_nginx_queries_ocsp(issued: IssuedFiles, folder: Path) -> None:
    fetch(issued, folder)
    port = configured(issued, folder, "nginx-ocsp.conf")
    with serving(("nginx", "-p", ".", "-c", "nginx-ocsp.conf"), folder, port) as log:
        assert_only_good_cards_enter(issued, port, log)


@pytest.mark.parametrize(("options", "lists"), [((), PARTS[:2]), (("-DOCSP",), ())])
def test_apache_looks_cards_up(
    issued: IssuedFiles, folder: Path, options: Sequence[str], lists: Sequence[str]
) -> None:  # fmt: skip
    fetch(issued, folder, *lists)
    port = configured(issued, folder, "apache.conf")
    command = ("apache2", "-DFOREGROUND", *options, "-d", str(folder), "-f", "apache.conf")
    with serving(command, folder, port) as log:
        assert_only_good_cards_enter(issued, port, log)


def test_fetch_keeps_the_old_lists_if_one_is_missing(issued: IssuedFiles, folder: Path) -> None:
    (folder / "lists.pem").write_text("old")
    command = ("sh", "fetch.sh", issued.services, "full", "Tokyo-to/Nowhere")
    assert subprocess.run(command, cwd=folder, capture_output=True, check=False).returncode != 0
    assert (folder / "lists.pem").read_text() == "old"


WORDS = {"good": "good", "revoked": "revoked: ", "held": "revoked: "}


@pytest.mark.long
@pytest.mark.parametrize("kind", ["authentication", "signature"])
def test_java_example_verifies(issued: IssuedFiles, tmp_path: Path, kind: str) -> None:
    """The source is compiled once here, as `java VerifyCard.java` does each time."""
    run("javac", "-d", str(tmp_path), str(EXAMPLES / "java/VerifyCard.java"))
    sources = [[issued.path(f"{kind}-{name}") for name in ("other", "own")], [issued.ocsp(kind)]]
    for state, word in WORDS.items():
        for source in sources:
            files = (issued.path(f"{kind}-root"), issued.path(f"{kind}-{state}"))
            said = run("java", "-XX:TieredStopAtLevel=1", "-cp", str(tmp_path), "VerifyCard", *files, *source,
                       expect=int(state != "good"))  # fmt: skip
            assert said.startswith(word), said
    said = run("java", "-cp", str(tmp_path), "VerifyCard", *files, sources[0][0], expect=1)
    assert said.startswith("not decided: UNDETERMINED_REVOCATION_STATUS"), said


@pytest.mark.long
def test_java_example_serves(issued: IssuedFiles, tmp_path: Path) -> None:
    store, port = tmp_path / "server.p12", free_port()
    run("openssl", "pkcs12", "-export", "-in", issued.path("server"), "-inkey", issued.path("server", "key"),
        "-out", str(store), "-passout", "pass:a password")  # fmt: skip
    lists = issued.joined(*(f"authentication-{name}" for name in ("own", "other", "authority")))
    command = ("java", str(EXAMPLES / "java/CardServer.java"), str(port), str(store), "a password",
               issued.path("authentication-root"), lists)  # fmt: skip
    with serving(command, tmp_path, port):
        for state in ("revoked", "held", "good"):
            said = connected(issued, port, f"authentication-{state}")
            assert (f"{issued.serial(f'authentication-{state}'):X}" in said) == (state == "good"), said


@pytest.mark.long
def test_go_example_verifies(issued: IssuedFiles, tmp_path: Path) -> None:
    program = str(tmp_path / "verify-card")
    done = subprocess.run(
        ("go", "build", "-o", program, "."), cwd=EXAMPLES / "go", env={**os.environ, "GOFLAGS": "-buildvcs=false"},
        capture_output=True, text=True, check=False, timeout=LIMIT,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    for kind in ("authentication", "signature"):
        for encoding in ("pem", "der"):
            root, lists = issued.path(f"{kind}-root", encoding), ("other", "authority", "own")
            sources = [issued.path(f"{kind}-{name}", encoding) for name in lists]
            for state, word in WORDS.items():
                certificate, status = issued.path(f"{kind}-{state}", encoding), int(state != "good")
                assert run(program, root, certificate, *sources, expect=status).startswith(word)
                assert run(program, root, certificate, issued.path(f"{kind}-full"), expect=status).startswith(word)
                said = run(program, "-ocsp", issued.ocsp(kind), root, certificate, expect=status)
                assert said.startswith(word)
            said = run(program, root, certificate, *sources[:2], expect=1)
            assert said == "not decided: no list is about this certificate's municipality\n"
    run(program, issued.path("signature-root"), issued.path("authentication-good"), expect=1)
