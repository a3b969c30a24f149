"""CMS that OpenSSL, gpgsm and GnuTLS sign."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.documents.document import Document, Right, run
from benchmarks.documents.holders import PASSWORD, Holders

TEXT = "架空町図書館　利用申込書\n".encode()

Form = tuple[str, str, str, tuple[str, ...], str, Right]
FORMS: tuple[Form, ...] = (
    ("detached", "detached", "DER", (), "DER", Right.GOOD),
    ("detached-pem", "detached", "PEM", (), "PEM", Right.GOOD),
    ("attached", "attached", "DER", ("-nodetach",), "DER", Right.GOOD),
    ("attached-pem", "attached", "PEM", ("-nodetach",), "PEM", Right.GOOD),
    ("stream", "indefinite lengths (-stream)", "attached", ("-nodetach", "-stream"), "DER", Right.GOOD),
    ("keyid", "signer by key identifier (-keyid)", "detached", ("-keyid",), "DER", Right.GOOD),
    ("keyid-attached", "signer by key identifier (-keyid)", "attached", ("-keyid", "-nodetach"), "DER", Right.GOOD),
    ("noattr", "without signed attributes (-noattr)", "detached", ("-noattr",), "DER", Right.GOOD),
    ("noattr-attached", "without signed attributes (-noattr)", "attached", ("-noattr", "-nodetach"), "DER", Right.GOOD),
    ("cades", "CAdES-B (-cades)", "detached", ("-cades",), "DER", Right.GOOD),
    ("nosmimecap", "without capabilities (-nosmimecap)", "detached", ("-nosmimecap",), "DER", Right.GOOD),
    ("sha384", "another digest", "SHA-384", ("-md", "sha384"), "DER", Right.GOOD),
    ("sha512", "another digest", "SHA-512", ("-md", "sha512"), "DER", Right.GOOD),
    ("sha1", "an algorithm of no card", "SHA-1", ("-md", "sha1"), "DER", Right.BAD),
    ("pss", "an algorithm of no card", "RSASSA-PSS", ("-keyopt", "rsa_padding_mode:pss"), "DER", Right.BAD),
    ("chain", "chain inside", "the signer's certificate and the root", ("-certfile", "ROOT"), "DER", Right.GOOD),
    ("nocerts", "no certificate inside (-nocerts)", "detached", ("-nocerts",), "DER", Right.NOT_GOOD),
    ("two", "two signers", "detached", ("-signer", "SECOND", "-inkey", "SECONDKEY"), "DER", Right.GOOD),
    ("two-attached", "two signers", "attached", ("-nodetach", "-signer", "SECOND", "-inkey", "SECONDKEY"), "DER",
     Right.GOOD),
    ("smime", "S/MIME", "multipart/signed", (), "SMIME", Right.PARTLY),
    ("smime-opaque", "S/MIME", "application/pkcs7-mime", ("-nodetach",), "SMIME", Right.PARTLY),
)  # fmt: skip
"""Name, family, form, options of `openssl cms -sign -binary`, output form, and the right outcome."""


def sign(holders: Holders, directory: Path, *options: str, form: str = "DER", who: str = "hanako") -> bytes:
    """Sign TEXT with `openssl cms -sign`. Raises ProgramFailed."""
    source, target = directory / "content", directory / "signed"
    source.write_bytes(TEXT)
    words = {
        "ROOT": str(holders.directory / "root.pem"),
        "SECOND": str(holders.certificate("leap-day")),
        "SECONDKEY": str(holders.key("leap-day")),
    }
    given = [words.get(option, option) for option in options]
    run("openssl", "cms", "-sign", "-binary", "-in", source, "-signer", holders.certificate(who), "-inkey",
        holders.key(who), "-outform", form, "-out", target, *given)  # fmt: skip
    return target.read_bytes()


def documents(holders: Holders, directory: Path) -> Iterator[Document]:
    """Sign in every form."""
    for form in FORMS:
        yield signed(holders, form, directory)
    data = sign(holders, directory, "-md", "sha384", who="taro")
    yield Document("openssl-p384.p7m", "openssl", "ECDSA", "P-384, the next card", data, TEXT, who="taro")
    yield from gpgsm_documents(holders, directory)
    yield from certtool_documents(holders, directory)


def signed(holders: Holders, form: Form, directory: Path) -> Document:
    """Sign in one form."""
    name, family, words, options, written, right = form
    data = sign(holders, directory, *options, form=written)
    detached = None if "-nodetach" in options or written == "SMIME" else TEXT
    suffix = "eml" if written == "SMIME" else "p7m"
    return Document(f"openssl-{name}.{suffix}", "openssl", family, words, data, detached, right=right)


@contextmanager
def gpgsm_home(holders: Holders) -> Iterator[Path]:
    """A home folder for gpgsm with the holder's key, where the authority's certificate is trusted. Its path is short,
    because gpg-agent has a socket in it."""
    home = Path(tempfile.mkdtemp(prefix="gpgsm-"))
    try:
        fingerprint = run("openssl", "x509", "-in", holders.directory / "root.pem", "-noout", "-fingerprint", "-sha1")
        (home / "trustlist.txt").write_text(f"{fingerprint.strip().rpartition('=')[2]} S relax\n")
        (home / "gpgsm.conf").write_text("disable-crl-checks\ndisable-policy-checks\n")
        (home / "gpg-agent.conf").write_text("allow-loopback-pinentry\n")
        gpgsm(home, "--import", holders.directory / "root.pem")
        gpgsm(home, "--import", holders.p12())
        yield home
    finally:
        run("gpgconf", "--kill", "all", GNUPGHOME=str(home))
        shutil.rmtree(home, ignore_errors=True)


def gpgsm(home: Path, *options: str | Path) -> None:
    """Run gpgsm without a terminal. Raises ProgramFailed."""
    run("gpgsm", "--batch", "--yes", "--pinentry-mode", "loopback", "--passphrase-fd", "0", *options,
        given=PASSWORD.encode(), GNUPGHOME=str(home))  # fmt: skip


def gpgsm_documents(holders: Holders, directory: Path) -> Iterator[Document]:
    """Sign with gpgsm."""
    content, target = directory / "content", directory / "signed"
    content.write_bytes(TEXT)
    with gpgsm_home(holders) as home:
        for name, form, options in (
            ("detached", "detached, DER", ("--detach-sign",)), ("attached", "attached, DER", ("--sign",)),
            ("armour", "detached, PEM", ("--armor", "--detach-sign")),
        ):  # fmt: skip
            gpgsm(home, *options, "--output", target, content)
            inside = None if name == "attached" else TEXT
            yield Document(f"gpgsm-{name}.p7m", "gpgsm", "signed by gpgsm", form, target.read_bytes(), inside)


def certtool_documents(holders: Holders, directory: Path) -> Iterator[Document]:
    """Sign with certtool of GnuTLS."""
    content, target = directory / "content", directory / "signed"
    content.write_bytes(TEXT)
    for name, command in (("attached", "--p7-sign"), ("detached", "--p7-detached-sign")):
        run("certtool", command, "--load-certificate", holders.certificate(), "--load-privkey", holders.key(),
            "--infile", content, "--outfile", target)  # fmt: skip
        inside = None if name == "attached" else TEXT
        yield Document(
            f"certtool-{name}.p7m", "certtool", "signed by GnuTLS", f"{name}, PEM", target.read_bytes(), inside
        )
