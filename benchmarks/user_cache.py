"""What benchmarks install for themselves, in the user's cache: each kind by the digest of its lock file."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path


def installed_once(kind: str, lock: bytes, install: Callable[[Path], object]) -> Path:
    """Return the folder of what `lock` names; the first time, `install` fills it. It is whole, or not there at all, and
    two processes may install at once. Raises what `install` raises."""
    digest = hashlib.sha256(lock).hexdigest()[:16]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "kazashi" / kind / digest
    if not cache.is_dir():
        cache.parent.mkdir(parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(prefix="installing-", dir=cache.parent))
        try:
            install(fresh)
            fresh.rename(cache)
        except OSError:  # another process was faster
            if not cache.is_dir():
                raise
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
    return cache
