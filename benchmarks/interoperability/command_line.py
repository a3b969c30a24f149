"""Verifiers that are programs: OpenSSL, GnuTLS, and NSS by either of its path builders."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.interoperability.issued import IssuedFiles
from benchmarks.interoperability.verifier import (
    AUTHENTICATION,
    GOOD,
    LIST,
    OCSP,
    REVOKED,
    SIGNATURE,
    Unreadable,
    VerificationCase,
    one_line,
    output,
    version_of,
)

BOTH = frozenset({LIST, OCSP})


def found(pattern: str, text: str) -> str:
    """The group of a pattern in a program's output. Raises Unreadable."""
    match = re.search(pattern, text)
    if match is None:
        raise Unreadable(one_line(text))
    return match[1]


@dataclass
class _OpensslJudge:
    issued: IssuedFiles

    def reads(self, certificate: str, _: frozenset[str]) -> bool:
        said = output("openssl", "x509", "-noout", "-serial", "-in", self.issued.path(certificate))
        return int(found("serial=([0-9A-F]+)", said), 16) == self.issued.serial(certificate)

    def judge(self, case: VerificationCase) -> str:
        root, certificate = self.issued.path(case.root), self.issued.path(case.certificate)
        if case.ocsp:
            kind = case.certificate.partition("-")[0]
            said = output("openssl", "ocsp", "-issuer", root, "-CAfile", root, "-cert", certificate,
                          "-url", self.issued.ocsp(kind))  # fmt: skip
            verified = "Response verify OK" in said
            return REVOKED if f"{certificate}: revoked" in said and verified else (
                GOOD if f"{certificate}: good" in said and verified else one_line(said))  # fmt: skip
        lists = [argument for name in case.lists for argument in ("-CRLfile", self.issued.path(name))]
        said = output("openssl", "verify", "-x509_strict", "-policy_check", *["-crl_check"] * bool(lists),
                      "-CAfile", root, *lists, certificate)  # fmt: skip
        return REVOKED if "certificate revoked" in said else GOOD if said.endswith(": OK\n") else one_line(said)


class Openssl:
    """`openssl verify` and `openssl ocsp`."""

    name = "OpenSSL"
    kinds: Sequence[str] = (AUTHENTICATION, SIGNATURE)
    sources = BOTH
    callers: frozenset[str] = frozenset()

    def version(self) -> str:
        """The version."""
        return version_of("openssl", "version")

    @contextmanager
    def ready(self, issued: IssuedFiles) -> Iterator[_OpensslJudge]:
        """Nothing needs to be made ready."""
        yield _OpensslJudge(issued)


@dataclass
class _GnutlsJudge:
    issued: IssuedFiles

    def reads(self, certificate: str, _: frozenset[str]) -> bool:
        said = output("certtool", "--certificate-info", "--infile", self.issued.path(certificate))
        return int(found(r"Serial Number \(hex\): ([0-9a-f]+)", said), 16) == self.issued.serial(certificate)

    def judge(self, case: VerificationCase) -> str:
        root, certificate = self.issued.path(case.root), self.issued.path(case.certificate)
        if case.ocsp:
            kind = case.certificate.partition("-")[0]
            said = output("ocsptool", f"--ask={self.issued.ocsp(kind)}", "--load-issuer", root, "--load-trust", root,
                          "--load-cert", certificate)  # fmt: skip
            status = found("Certificate Status: ([a-z]+)", said)
            return status if "Verifying OCSP Response: Success" in said else one_line(said)
        lists = ("--load-crl", self.issued.joined(*case.lists)) if case.lists else ()
        said = output("certtool", "--verify", "--load-ca-certificate", root, *lists, "--infile", certificate)
        if "chain is revoked" in said:
            return REVOKED
        return GOOD if "output: Verified. The certificate is trusted" in said else one_line(said)


class Gnutls:
    """GnuTLS's `certtool` and `ocsptool`."""

    name = "GnuTLS"
    kinds: Sequence[str] = (AUTHENTICATION, SIGNATURE)
    sources = BOTH
    callers: frozenset[str] = frozenset()

    def version(self) -> str:
        """The version."""
        return version_of("certtool", "--version")

    @contextmanager
    def ready(self, issued: IssuedFiles) -> Iterator[_GnutlsJudge]:
        """Nothing needs to be made ready."""
        yield _GnutlsJudge(issued)


@dataclass
class _NssJudge:
    issued: IssuedFiles
    environment: dict[str, str]
    home: Path

    def _run(self, *command: str) -> str:
        return output(*command, environment=self.environment)

    def _database(self, root: str) -> str:
        """A database whose only trusted root is `root`, with the certificates of both types."""
        database = f"sql:{self.home / root}"
        if not (self.home / root).exists():
            (self.home / root).mkdir()
            self._run("certutil", "-N", "-d", database, "--empty-password")
            self._run("certutil", "-A", "-d", database, "-n", "root", "-t", "TC,C,C", "-i", self.issued.path(root))
        return database

    def _imported(self, certificate: str, root: str) -> str:
        database = self._database(root)
        self._run("certutil", "-A", "-d", database, "-n", certificate, "-t", ",,", "-i", self.issued.path(certificate))
        return database

    def reads(self, certificate: str, _: frozenset[str]) -> bool:
        database = self._imported(certificate, f"{certificate.partition('-')[0]}-root")
        said = self._run("certutil", "-L", "-d", database, "-n", certificate)
        return int(found(r"Serial Number: \d+ \((0x[0-9a-f]+)\)", said), 16) == self.issued.serial(certificate)

    def judge(self, case: VerificationCase) -> str:
        database = self._imported(case.certificate, case.root)
        if case.ocsp:
            kind = case.certificate.partition("-")[0]
            said = self._run("ocspclnt", "-S", case.certificate, "-d", database, "-t", "root",
                             "-l", self.issued.ocsp(kind))  # fmt: skip
            return GOOD if "succeeded" in said else REVOKED if "has been revoked" in said else one_line(said)
        for name in case.lists:
            said = self._run("crlutil", "-I", "-d", database, "-i", self.issued.path(name, "der"))
            if "unable to import" in said:
                return one_line(said)
        said = self._run("certutil", "-V", "-d", database, "-n", case.certificate, "-u", "C")
        if case.lists:
            self._run("crlutil", "-D", "-d", database, "-n", "root")
        if "has been revoked" in said:
            return REVOKED
        return GOOD if "certificate is valid" in said else one_line(said)


class Nss:
    """NSS's `certutil -V`, by its classic path builder or by libpkix; `crlutil` and `ocspclnt` give it the status."""

    kinds: Sequence[str] = (AUTHENTICATION, SIGNATURE)
    sources = BOTH
    callers: frozenset[str] = frozenset()

    def __init__(self, libpkix: bool) -> None:
        self.name = "NSS, libpkix" if libpkix else "NSS, classic"
        # Newer versions have libpkix by default.
        chosen = "NSS_ENABLE_PKIX_VERIFY" if libpkix else "NSS_DISABLE_PKIX_VERIFY"
        others = {name: value for name, value in os.environ.items() if not name.endswith("_PKIX_VERIFY")}
        self._environment = others | {chosen: "1"}

    def version(self) -> str:
        """The version, which only the package says."""
        return version_of("dpkg-query", "-W", "-f", "${Version}", "libnss3-tools").partition("-")[0]

    @contextmanager
    def ready(self, issued: IssuedFiles) -> Iterator[_NssJudge]:
        """The databases are made when they are needed."""
        with TemporaryDirectory(prefix="kazashi-nss-") as home:
            yield _NssJudge(issued, self._environment, Path(home))
