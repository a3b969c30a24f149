"""What to say when a Python package is not installed that a part of the program needs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kazashi.tools.installation.lock import megabytes
from kazashi.tools.installation.parts import extra_of

if TYPE_CHECKING:
    from kazashi.assembly.errors import PackageMissing

INSTALL = "kazashi self install"


def package_missing(who: str, module: str | None, install: str = INSTALL, ending: str = "") -> PackageMissing | None:
    """Return the error that says which package `who` needs, and with which command to install it.

    `install` is the command without the name of the part: `kazashi self install`, or `pip install` in a program of
    others. Returns None if the missing module is one of Kazashi's own: that is a defect.
    """
    from kazashi.assembly.errors import PackageMissing

    package = (module or "").partition(".")[0]
    if package in ("", "kazashi"):
        return None
    extra = extra_of(package)
    if extra is None:
        remedy = "reinstall Kazashi with its dependencies"
    else:
        what = extra if install == INSTALL else f"'kazashi[{extra}]'"
        remedy = f"install it ({megabytes([extra])} MB) with: {install} {what}"
    return PackageMissing(
        f"{who} needs the Python package {package}, which is not installed; {remedy}{ending}", name=package
    )
