"""The errors of an installation. Each message is one sentence with the remedy."""

from __future__ import annotations


class NotInstalled(Exception):
    """Something is missing, and nobody has agreed to install it."""


class InstallationFailed(Exception):
    """Something could not be installed: no network, a full disk, a folder that cannot be written to, ..."""
