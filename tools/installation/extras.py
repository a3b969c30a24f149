"""The packages that only a part of Kazashi needs, and what to say if one is not installed."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kazashi.assembly.errors import PackageMissing

EXTRA_OF = {
    "duckdb": "tracking",
    "polars": "tracking",
    "pyarrow": "tracking",
    "splink": "tracking",
    "textual": "points",
    "joserfc": "network",
    "authlib": "web",
    "fastapi": "web",
    "pandas": "spark",
    "pyspark": "spark",
    "playwright": "demo",
}
"""The smallest extra of setup.cfg that has a package, by the name of its top-level module."""


def extra_of(module: str) -> str | None:
    """Return the extra that a module belongs to, or None if it is part of every installation."""
    return EXTRA_OF.get(module.partition(".")[0])


def package_missing(who: str, error: ModuleNotFoundError, *, ending: str = "") -> PackageMissing | None:
    """Return the error that says which package `who` needs and how to install it.

    Returns None if the missing module is one of Kazashi's own: that is a defect.
    """
    from kazashi.assembly.errors import PackageMissing

    package = (error.name or "").partition(".")[0]
    if package in ("", "kazashi"):
        return None
    extra = extra_of(package)
    remedy = f"install it with: pip install 'kazashi[{extra}]'" if extra else "reinstall Kazashi with its dependencies"
    words = f"{who} needs the Python package {package}, which is not installed; {remedy}{ending}"
    return PackageMissing(words, name=package)
