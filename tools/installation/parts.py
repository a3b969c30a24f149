"""The parts of the program: what each needs, and which command needs which part."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from shutil import which


@dataclass(frozen=True, slots=True)
class Part:
    """A part of the program that can be installed by itself.

    `extra` is its extra in setup.cfg, empty for what every installation has. `debian` are the Debian packages that it
    needs, `modules` the Python modules that tell whether the extra is installed, and `includes` the parts that it
    contains.
    """

    name: str
    about: str
    extra: str = ""
    debian: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()
    includes: tuple[str, ...] = ()


BASE = "base"

PARTS = {
    part.name: part
    for part in (
        Part(
            BASE,
            "cards, readers, authorities, registry, verification, console",
            debian=(
                "pcscd", "vsmartcard-vpcd",  # the reader
                "opensc", "opensc-pkcs11", "openssl",  # its unmodified clients
                "netbase",  # /etc/hosts, without which localhost has no address
                "fonts-ipamj-mincho", "libfribidi0",  # the family register's characters on the card's face
                "gcc", "libc6-dev", "libpcsclite-dev", "python3-dev",  # build pyscard, which has no Linux wheel
                "python3-venv", "util-linux",
            ),
        ),
        Part("tracking", "the tracking laboratory", "tracking", modules=("duckdb", "polars", "pyarrow", "splink")),
        Part("points", "the point terminal's screen", "points", modules=("textual",)),
        Part("network", "the information provision network", "network", modules=("joserfc",)),
        Part("web", "logins, the provider and the platform", "web", modules=("fastapi", "joserfc")),
        Part(
            "spark",
            "the laboratory on Apache Spark",
            "spark",
            ("default-jdk-headless",),
            ("pyspark", "pandas"),
            ("tracking",),
        ),
        Part("directory", "revocation lists over LDAP", debian=("slapd", "ldap-utils")),
        Part(
            "demo",
            "all of the demo: logins in a browser, points, the network, the laboratory",
            "demo",
            ("slapd", "ldap-utils", "chromium-headless-shell | chromium"),
            ("playwright",),
            ("tracking", "points", "network", "web"),
        ),
        Part(
            "docs",
            "the documentation as a site",
            "docs",
            modules=("sphinx", "furo", "myst_parser", "sphinx_click"),
            includes=("demo",),
        ),
        Part(
            "test",
            "the tests, and the programs that judge in them",
            "test",
            (
                "slapd", "ldap-utils", "chromium",
                "pcsc-tools", "libnss3-tools",  # more of the card's clients
                "vsmartcard-vpicc", "python3-virtualsmartcard",  # the stock vicc
                "softhsm2", "postgresql",  # a token for the authorities' keys; stores by URL
                "gnutls-bin", "tshark", "sqlite3",  # parse certificates, traces and stores, independently of our code
                "nginx-light", "apache2-bin", "libapache2-mod-auth-openidc",  # other people's sites
                "haproxy", "stunnel4", "libbcpkix-java", "libmbedtls-dev",  # and verifiers
                "curl", "libengine-pkcs11-openssl", "nodejs", "default-jdk-headless", "golang-go",  # and clients
                "openssh-client", "scdaemon", "debootstrap",  # and of the card; a root with those of Debian 13
                "xmlsec1", "poppler-utils", "gpgsm", "gpg-agent",  # sign and judge documents,
                "maven",  # and so do Java libraries
                "tmux",  # the terminal of the till
                "zsh", "fish", "groff", "man-db", "mandoc",  # shells that complete; readers of the man page
            ),
            ("pytest", "hypothesis", "mypy", "ruff", "xdist"),
            ("demo", "docs", "spark"),
        ),
    )
}  # fmt: skip
"""Each part by its name."""

COMMANDS = {
    "bench": ("test",),
    "clinic add": ("network",),
    "clinic list": ("network",),
    "clinic remove": ("network",),
    "docs": ("docs",),
    "insurance": ("network",),
    "lock": ("test",),
    "network": ("network",),
    "network blind-spots": ("network", "tracking"),
    "network decide": (),
    "network history": (),
    "network insights": ("tracking",),
    "network match detection": ("network", "tracking"),
    "network match quality": ("network", "tracking"),
    "network rules": (),
    "network tax quality": ("network", "tracking"),
    "platform": ("web",),
    "points till": ("points",),
    "provider": ("web",),
    "test": ("test",),
    "tracking": ("tracking",),
}
"""The parts that a command needs besides the base, by the command's first words."""

LATER = {"demo": ("demo",)}
"""The parts that a command installs itself, when it has begun: the demo puts a card into the reader first."""

CONSENTING = ("demo", "test", "self install")
"""The commands that install what they need without asking: to give the command is to agree."""


CALLED = "KAZASHI_CALLED"
"""The variable with the path by which the user called `./kazashi`."""


def called() -> str:
    """Return the program's name as the user called it: `./kazashi` in a clone, `kazashi` where it is on PATH."""
    name = os.environ.get(CALLED) or "kazashi"
    return "kazashi" if "/" in name and which("kazashi") == name else shlex.quote(name)


def command_words(arguments: Sequence[str]) -> list[str]:
    """Return the names of the command and its sub-commands among a program's arguments: the first three words that are
    not options."""
    given = [word for before, word in zip(["", *arguments], arguments, strict=False) if before != "--world"]
    return [word for word in given if not word.startswith("-")][:3]


def parts_of(words: Sequence[str]) -> tuple[str, ...]:
    """Return the names of the parts that a command needs besides the base. `words` are the command's names, from the
    first: `["points", "till"]`."""
    names = (" ".join(words[:count]) for count in (3, 2, 1))
    return next((COMMANDS[name] for name in names if name in COMMANDS), ())


def is_consent(words: Sequence[str]) -> bool:
    """Whether a command installs what it needs without asking."""
    return " ".join(words[:2]) in CONSENTING or words[:1] in [[name] for name in CONSENTING]


def later_parts_of(words: Sequence[str], arguments: Sequence[str]) -> tuple[str, ...]:
    """Return the names of the parts that a command will install when it has begun."""
    return LATER.get(words[0], ()) if words and "--short" not in arguments else ()


def extra_of(module: str) -> str | None:
    """Return the first extra that contains a Python module, or None if no extra does."""
    top = module.partition(".")[0]
    return next((part.extra for part in PARTS.values() if top in part.modules), None)


def with_included(parts: Iterable[str]) -> set[str]:
    """Return parts with all that they contain."""
    result = set(parts)
    for part in tuple(result):
        result |= with_included(PARTS[part].includes)
    return result


def debian_packages(parts: Iterable[str]) -> list[str]:
    """Return the Debian packages that parts need, each once."""
    return list(dict.fromkeys(package for part in parts for package in PARTS[part].debian))
