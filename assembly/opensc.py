"""The path of OpenSC's PKCS#11 module."""

from __future__ import annotations

from pathlib import Path

from kazashi.assembly.errors import OpenscMissing

PKCS11_MODULES = (
    Path("/usr/lib/x86_64-linux-gnu/opensc-pkcs11.so"),
    Path("/usr/lib/aarch64-linux-gnu/opensc-pkcs11.so"),
    Path("/usr/lib/opensc-pkcs11.so"),
)


def pkcs11_module() -> str:
    """The path of OpenSC's PKCS#11 module. Raises OpenscMissing."""
    for path in PKCS11_MODULES:
        if path.exists():
            return str(path)
    raise OpenscMissing("OpenSC's PKCS#11 module is missing; install the Debian package opensc-pkcs11")
