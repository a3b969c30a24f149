"""`./kazashi` in a clone starts this with the system's Python, before anything is installed."""

from __future__ import annotations

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def make_importable(root: Path) -> None:
    """Make the folders of a clone importable as `kazashi.*`, as an installation does."""
    folders = [str(root / "package"), str(root)]
    spec = spec_from_file_location("kazashi", root / "package" / "__init__.py", submodule_search_locations=folders)
    assert spec is not None
    assert spec.loader is not None
    package = module_from_spec(spec)
    sys.modules["kazashi"] = package
    spec.loader.exec_module(package)


if __name__ == "__main__":
    sys.dont_write_bytecode = True  # as another user, it would leave files behind that the first one cannot remove
    make_importable(ROOT)
    from kazashi.tools.installation.start import main

    main(ROOT, sys.argv[1:])
