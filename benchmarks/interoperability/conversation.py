"""Verifiers that are libraries: small programs that use them (in `programs/`), and answer questions line by line.

A question is a line with tabs: `version`, `serial CERTIFICATE`, `shown CERTIFICATE`, or `judge CERTIFICATE ROOT
SETTINGS LISTS OCSP` with paths of DER files, the names of the settings, paths with commas, and the address of the
responder or nothing. The answer is a line: the version, the serial number in hexadecimal or as the library writes it,
or `good`, `revoked`, or why the certificate is refused.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.interoperability.issued import IssuedFiles
from benchmarks.interoperability.verifier import (
    AUTHENTICATION,
    LIST,
    OCSP,
    PATH,
    SIGNATURE,
    Unreadable,
    VerificationCase,
    version_of,
)

PROGRAMS = Path(__file__).parent / "programs"
JARS = ("bcprov", "bcutil", "bcpkix")


@dataclass
class Conversation:
    """A running program, and the files that its questions are about."""

    issued: IssuedFiles
    process: subprocess.Popen[str]

    def ask(self, *words: str) -> str:
        """The answer to a question. Raises RuntimeError if the program has ended."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write("\t".join(words) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise RuntimeError(f"{self.process.args!r} ended at {words!r}")
        return answer.rstrip("\n")

    def reads(self, certificate: str, settings: frozenset[str]) -> bool:
        """Whether the verifier finds the certificate's own serial number in it."""
        answer = self.ask("serial", self.issued.path(certificate, "der"), "", ",".join(sorted(settings)), "", "")
        try:
            return int(answer, 16) == self.issued.serial(certificate)
        except ValueError:
            raise Unreadable(answer) from None

    def judge(self, case: VerificationCase) -> str:
        """GOOD, REVOKED, or why the certificate is refused."""
        lists = ",".join(self.issued.path(name, "der") for name in case.lists)
        kind = case.certificate.partition("-")[0]
        return self.ask(
            "judge", self.issued.path(case.certificate, "der"), self.issued.path(case.root, "der"),
            ",".join(sorted(case.settings)), lists, self.issued.ocsp(kind) if case.ocsp else "",
        )  # fmt: skip


Built = Callable[[Path, IssuedFiles], Sequence[str]]
"""Builds a program in a directory, and returns the command that starts it."""


@dataclass
class Library:
    """A library, with the program that uses it. The version is known when the program has run."""

    name: str
    built: Built
    sources: frozenset[str] = frozenset()
    callers: frozenset[str] = frozenset()
    kinds: Sequence[str] = (AUTHENTICATION, SIGNATURE)
    said: list[str] = field(default_factory=list)

    def version(self) -> str:
        """The version, as the library says it."""
        return self.said[-1]

    @contextmanager
    def ready(self, issued: IssuedFiles) -> Iterator[Conversation]:
        """Build and start the program."""
        with TemporaryDirectory(prefix="kazashi-program-") as directory:
            command = self.built(Path(directory), issued)
            with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
                conversation = Conversation(issued, process)
                self.said.append(conversation.ask("version"))
                yield conversation


def _build(command: Sequence[str], directory: Path, environment: dict[str, str] | None = None) -> None:
    done = subprocess.run(
        command, cwd=directory, env={**os.environ, **(environment or {})}, capture_output=True, text=True, check=False,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed: {done.stderr.strip()}")


def _go(directory: Path, _: IssuedFiles) -> Sequence[str]:
    program = str(directory / "judge")
    _build(("go", "build", "-o", program, "."), PROGRAMS / "go", {"GOFLAGS": "-buildvcs=false"})
    return (program,)


def _java(provider: str) -> Built:
    def built(directory: Path, _: IssuedFiles) -> Sequence[str]:
        _build(("javac", "-d", str(directory), "Judge.java"), PROGRAMS)
        path = ":".join([str(directory), *(f"/usr/share/java/{jar}.jar" for jar in JARS)])
        return ("java", "-XX:TieredStopAtLevel=1", "-cp", path, "Judge", provider)

    return built


def _node(_: Path, issued: IssuedFiles) -> Sequence[str]:
    paths = (issued.path("server"), issued.path("server", "key"), issued.path("key"))
    return ("node", str(PROGRAMS / "judge.mjs"), *paths)


def _mbedtls(directory: Path, _: IssuedFiles) -> Sequence[str]:
    program = str(directory / "judge")
    _build(("gcc", "-Wall", "-Werror", "-o", program, "judge.c", "-lmbedx509", "-lmbedcrypto"), PROGRAMS)
    return (program,)


def _rust(crate: str) -> Built:
    def built(_: Path, __: IssuedFiles) -> Sequence[str]:
        target = PROGRAMS.resolve().parents[2] / "build" / "rust"
        environment = {"CARGO_TARGET_DIR": str(target)}
        _build(("cargo", "build", "--quiet", "--locked"), PROGRAMS / "rust", environment)
        return (str(target / "debug" / "judge"), crate)

    return built


def has_rust() -> bool:
    """Whether there is a Cargo that builds the program in Rust."""
    if shutil.which("cargo") is None:
        return False
    return [int(part) for part in version_of("cargo", "--version").split(".")[:2]] >= [*OLDEST_CARGO]


OLDEST_CARGO = (1, 88)
"""The oldest version that the dependencies in the lock file allow."""

BOTH = frozenset({LIST, OCSP})
LIBRARIES = (
    Library("Go", _go, BOTH, frozenset({LIST})),
    Library("Java, SUN", _java("SUN"), BOTH),
    Library("Java, BouncyCastle", _java("BC"), BOTH),
    Library("Node", _node, frozenset({LIST})),
    Library("mbedTLS", _mbedtls, frozenset({LIST})),
)
"""The libraries for which Kazashi's installation has everything."""

RUST = (
    Library("rustls-webpki", _rust("rustls-webpki"), frozenset({LIST})),
    Library("x509-parser", _rust("x509-parser"), frozenset({LIST}), frozenset({PATH, LIST})),
)
"""The libraries that need Rust. Kazashi does not install it, because it is larger than all other tools together."""
