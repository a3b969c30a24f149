"""What a relying party's program loads, and what it does not."""

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
    *(found.name for found in pkgutil.walk_packages(verify.__path__, "kazashi.relying_party.verify.")),
]
"""What comes to a verdict. Beside it there are programs for whoever has a card in a reader."""

_IMPORT = """
import importlib, sys
for name in sys.argv[1:]:
    importlib.import_module(name)
print(*sys.modules)
"""


def loaded_by(names: Iterable[str]) -> set[str]:
    """What a fresh interpreter has loaded after it has imported some modules."""
    done = subprocess.run(
        [sys.executable, "-c", _IMPORT, *names], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def test_a_verdict_needs_no_reader() -> None:
    loaded = loaded_by(CORE)
    assert {"kazashi.relying_party.verify.verification", "cryptography"} <= loaded
    assert "smartcard" not in loaded


def test_a_relying_party_knows_neither_card_nor_registry() -> None:
    names = [found.name for found in pkgutil.walk_packages(relying_party.__path__, "kazashi.relying_party.")]
    assert set(CORE) <= set(names)
    ours = {"applets", "card", "card_management", "reader_bridge", "resident_registry", "pki", "tools", "assembly"}
    assert not loaded_by(names) & {f"kazashi.{name}" for name in ours}
