"""The modules that a relying party's program imports, and those that it must not import."""

from __future__ import annotations

import pkgutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from kazashi import relying_party
from kazashi.relying_party import verify

ROOT = Path(__file__).parents[2]

CORE = [
    "kazashi.relying_party.conformance.pack",
    *(module.name for module in pkgutil.walk_packages(verify.__path__, "kazashi.relying_party.verify.")),
]
"""The modules that a verdict needs. The others are programs for a card in a reader."""

_IMPORT = """
import importlib, sys
for name in sys.argv[1:]:
    importlib.import_module(name)
print(*sys.modules)
"""


def loaded_by(names: Iterable[str]) -> set[str]:
    """The modules that a new interpreter has loaded after it imported some modules."""
    done = subprocess.run(
        [sys.executable, "-c", _IMPORT, *names], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def test_verification_does_not_import_the_reader() -> None:
    loaded = loaded_by(CORE)
    assert {"kazashi.relying_party.verify.verification", "cryptography"} <= loaded
    assert "smartcard" not in loaded


def test_relying_parties_do_not_import_the_card_or_the_registry() -> None:
    names = [module.name for module in pkgutil.walk_packages(relying_party.__path__, "kazashi.relying_party.")]
    assert set(CORE) <= set(names)
    ours = {"applets", "card", "card_management", "reader_bridge", "resident_registry", "pki", "tools", "assembly"}
    assert not loaded_by(names) & {f"kazashi.{name}" for name in ours}
