"""The names that Kazashi promises to programs of others: everything else may change without notice.

`CHANGELOG.md` has a line for every change to this list. Importing this module loads nothing; a name loads what it needs
when it is first used, so that a program that reads cards does not wait for the tracking laboratory.

    from kazashi.api import Chip, load_card, InProcessReader, ContactInterface
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kazashi.applets.install import load_card as load_card
    from kazashi.assembly.error_codes import code_of as code_of
    from kazashi.card.chip import Chip as Chip
    from kazashi.jpki.profile import CertificateType as CertificateType
    from kazashi.reader_bridge.in_process import InProcessReader as InProcessReader
    from kazashi.reader_bridge.interface import ContactInterface as ContactInterface
    from kazashi.reader_bridge.interface import ContactlessInterface as ContactlessInterface
    from kazashi.relying_party.conformance.pack import ConformancePack as ConformancePack
    from kazashi.relying_party.pseudonyms.pseudonyms import AustrianBpk as AustrianBpk
    from kazashi.relying_party.pseudonyms.pseudonyms import (
        GermanRestrictedIdentification as GermanRestrictedIdentification,
    )
    from kazashi.relying_party.pseudonyms.pseudonyms import KeyedPairwise as KeyedPairwise
    from kazashi.relying_party.pseudonyms.pseudonyms import OidcPairwise as OidcPairwise
    from kazashi.relying_party.pseudonyms.pseudonyms import Subject as Subject
    from kazashi.relying_party.verify.anchors import Anchors as Anchors
    from kazashi.relying_party.verify.anchors import AnchorsInDirectory as AnchorsInDirectory
    from kazashi.relying_party.verify.anchors import read_anchor as read_anchor
    from kazashi.relying_party.verify.authentication import Authentication as Authentication
    from kazashi.relying_party.verify.authentication import Challenge as Challenge
    from kazashi.relying_party.verify.authentication import Response as Response
    from kazashi.relying_party.verify.certificate import HolderCertificate as HolderCertificate
    from kazashi.relying_party.verify.documents import Documents as Documents
    from kazashi.relying_party.verify.finding import Finding as Finding
    from kazashi.relying_party.verify.finding import Outcome as Outcome
    from kazashi.relying_party.verify.policy import VerificationPolicy as VerificationPolicy
    from kazashi.relying_party.verify.sources import RevocationStatus as RevocationStatus
    from kazashi.relying_party.verify.sources import Source as Source
    from kazashi.relying_party.verify.sources import lists_in_directory as lists_in_directory
    from kazashi.relying_party.verify.sources import lists_over_http as lists_over_http
    from kazashi.relying_party.verify.sources import ocsp_over_http as ocsp_over_http
    from kazashi.relying_party.verify.verdict import Evidence as Evidence
    from kazashi.relying_party.verify.verdict import Verdict as Verdict
    from kazashi.relying_party.verify.verification import Verifier as Verifier
    from kazashi.tools.testing.workbench import TestCard as TestCard
    from kazashi.tools.testing.workbench import TestReader as TestReader
    from kazashi.tools.testing.workbench import Workbench as Workbench
    from kazashi.tracking_lab.examine import examine as examine
    from kazashi.tracking_lab.laboratory import Laboratory as Laboratory
    from kazashi.tracking_lab.logs.importing import import_logs as import_logs
    from kazashi.tracking_lab.logs.mapping import LogMapping as LogMapping
    from kazashi.world.clock import SystemClock as SystemClock

_MODULES = {
    "load_card": "kazashi.applets.install",
    "code_of": "kazashi.assembly.error_codes",
    "Chip": "kazashi.card.chip",
    "CertificateType": "kazashi.jpki.profile",
    "InProcessReader": "kazashi.reader_bridge.in_process",
    "ContactInterface": "kazashi.reader_bridge.interface",
    "ContactlessInterface": "kazashi.reader_bridge.interface",
    "ConformancePack": "kazashi.relying_party.conformance.pack",
    "AustrianBpk": "kazashi.relying_party.pseudonyms.pseudonyms",
    "GermanRestrictedIdentification": "kazashi.relying_party.pseudonyms.pseudonyms",
    "KeyedPairwise": "kazashi.relying_party.pseudonyms.pseudonyms",
    "OidcPairwise": "kazashi.relying_party.pseudonyms.pseudonyms",
    "Subject": "kazashi.relying_party.pseudonyms.pseudonyms",
    "Anchors": "kazashi.relying_party.verify.anchors",
    "AnchorsInDirectory": "kazashi.relying_party.verify.anchors",
    "read_anchor": "kazashi.relying_party.verify.anchors",
    "Authentication": "kazashi.relying_party.verify.authentication",
    "Challenge": "kazashi.relying_party.verify.authentication",
    "Response": "kazashi.relying_party.verify.authentication",
    "HolderCertificate": "kazashi.relying_party.verify.certificate",
    "Documents": "kazashi.relying_party.verify.documents",
    "Finding": "kazashi.relying_party.verify.finding",
    "Outcome": "kazashi.relying_party.verify.finding",
    "VerificationPolicy": "kazashi.relying_party.verify.policy",
    "RevocationStatus": "kazashi.relying_party.verify.sources",
    "Source": "kazashi.relying_party.verify.sources",
    "lists_in_directory": "kazashi.relying_party.verify.sources",
    "lists_over_http": "kazashi.relying_party.verify.sources",
    "ocsp_over_http": "kazashi.relying_party.verify.sources",
    "Evidence": "kazashi.relying_party.verify.verdict",
    "Verdict": "kazashi.relying_party.verify.verdict",
    "Verifier": "kazashi.relying_party.verify.verification",
    "TestCard": "kazashi.tools.testing.workbench",
    "TestReader": "kazashi.tools.testing.workbench",
    "Workbench": "kazashi.tools.testing.workbench",
    "examine": "kazashi.tracking_lab.examine",
    "Laboratory": "kazashi.tracking_lab.laboratory",
    "LogMapping": "kazashi.tracking_lab.logs.mapping",
    "import_logs": "kazashi.tracking_lab.logs.importing",
    "SystemClock": "kazashi.world.clock",
}
"""The module of each name. Type checkers read the imports above; a test holds that both lists are the same."""

__all__ = sorted(_MODULES)


def __getattr__(name: str) -> Any:
    """Import a promised name when it is first used. Raises PackageMissing, with the code `package-missing`."""
    if name not in _MODULES:
        raise AttributeError(f"kazashi.api has no {name}; it promises {', '.join(__all__)}")
    try:
        value = getattr(import_module(_MODULES[name]), name)
    except ModuleNotFoundError as error:
        from kazashi.tools.installation.missing import package_missing

        missing = package_missing(f"kazashi.api.{name}", error.name, "pip install", " [package-missing]")
        if missing is None:
            raise
        raise missing from error
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return list(__all__)
