"""What a relying party's program loads, and what it does not."""

from __future__ import annotations

import pkgutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import relying_party

ROOT = Path(__file__).parents[2]

CORE = ("anchors", "attributes", "authentication", "certificate", "documents", "ocsp", "revocation_list", "sources",
        "verdict", "verification", "xml_signature", "conformance.pack")  # fmt: skip
"""What comes to a verdict. Beside it there are programs for whoever has a card in a reader."""

_IMPORT = """
import importlib, sys
for name in sys.argv[1:]:
    importlib.import_module(name)
print(*{name.partition(".")[0] for name in sys.modules})
"""


def loaded_by(names: Iterable[str]) -> set[str]:
    """The packages that a fresh interpreter has loaded after it has imported some modules."""
    done = subprocess.run(
        [sys.executable, "-c", _IMPORT, *names], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def test_a_verdict_needs_no_reader() -> None:
    loaded = loaded_by(f"relying_party.{name}" for name in CORE)
    assert {"relying_party", "cryptography"} <= loaded
    assert "smartcard" not in loaded


def test_a_relying_party_knows_neither_card_nor_registry() -> None:
    names = [found.name for found in pkgutil.walk_packages(relying_party.__path__, "relying_party.")]
    assert {f"relying_party.{name}" for name in CORE} <= set(names)
    ours = {"applets", "card", "card_management", "reader_bridge", "resident_registry", "tools"}
    assert not loaded_by(names) & ours
