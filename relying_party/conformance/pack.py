"""The pack as a whole: built, judged by our own library, and written out for any other.

cases.json            a list of {id, rule, kind, at, outcome, finding, ...}; file names are relative to it
roots/                the trusted authorities' certificates
files/                certificates, lists, OCSP answers, documents
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding

from kazashi.relying_party.conformance import (
    cases_attributes,
    cases_certificate,
    cases_document,
    cases_login,
    cases_ocsp,
    cases_profile,
    cases_revocation,
)
from kazashi.relying_party.conformance.authority import NOW, CaseInput, TestAuthority
from kazashi.relying_party.conformance.case import CASES, Case
from kazashi.relying_party.verify.anchors import Anchor, Anchors, read_anchor
from kazashi.relying_party.verify.authentication import Authentication, Challenge, Response
from kazashi.relying_party.verify.certificate import HolderCertificate
from kazashi.relying_party.verify.documents import Documents
from kazashi.relying_party.verify.ocsp import read_ocsp_answer
from kazashi.relying_party.verify.policy import VerificationPolicy
from kazashi.relying_party.verify.sources import OCSP, Lists, RevocationStatus, Source
from kazashi.relying_party.verify.verdict import Evidence, Verdict
from kazashi.relying_party.verify.verification import Verifier
from kazashi.world.clock import FixedClock
from kazashi.world.key_source import KeySource

MODULES = (
    cases_certificate, cases_profile, cases_attributes, cases_revocation, cases_ocsp, cases_login, cases_document,
)  # fmt: skip
"""The modules that hold the cases; reading them is what fills `CASES`."""


class _GivenAnswer:
    """An OCSP answer that a case brings along."""

    def __init__(self, answer: bytes, nonce: bytes | None) -> None:
        self._answer = answer
        self._nonce = nonce

    def status(
        self, certificate: HolderCertificate, anchor: Anchor, at: datetime, now: datetime, policy: VerificationPolicy
    ) -> RevocationStatus:
        """What the answer says."""
        found = read_ocsp_answer(self._answer, anchor, certificate.serial, self._nonce, now, policy)
        return RevocationStatus(found.revocation, Evidence(OCSP, found.this_update, found.next_update))


def _given_list(data: bytes) -> Lists:
    return Lists("given-list", lambda certificate, anchor: data)


def evaluate(material: CaseInput, anchors: Anchors) -> Verdict:
    """Our library's verdict on a case's material."""
    sources: list[Source] = []
    if material.ocsp is not None:
        sources.append(_GivenAnswer(material.ocsp, material.nonce))
    sources += [_given_list(data) for data in material.lists]
    verifier = Verifier(anchors, sources, FixedClock(NOW))
    if material.challenge:
        return _login(material, verifier)
    if material.document is not None:
        return Documents(verifier).any(material.document, material.content, material.at)
    if material.content is not None:
        return Documents(verifier).raw(material.content, material.signature, material.certificate, material.at)
    return verifier.certificate(material.certificate, material.kind, material.at)


def _login(material: CaseInput, verifier: Verifier) -> Verdict:
    asked = material.challenge
    login = Authentication(verifier)
    nonce = bytes.fromhex(asked["nonce"])
    response = Response(nonce, material.signature, material.certificate)
    if asked["given_out"]:
        login.challenges.put(Challenge(asked["origin"], nonce, datetime.fromisoformat(asked["issued_at"])))
    verdict = login.verdict(asked["at_origin"], response)
    for _ in range(asked["answered_before"]):
        verdict = login.verdict(asked["at_origin"], response)
    return verdict


@dataclass(frozen=True, slots=True)
class Evaluated:
    """A case and what our library says of it."""

    case: Case
    material: CaseInput
    verdict: Verdict

    @property
    def agrees(self) -> bool:
        """Whether the verdict is the right one, for the right reason."""
        return (self.verdict.outcome, self.verdict.finding) == (self.case.outcome, self.case.finding)


class ConformancePack:
    """Every case, built once. Keys come from a key source; seven are taken."""

    def __init__(self, keys: KeySource) -> None:
        self._ca = TestAuthority(keys)
        self.cases: Sequence[Case] = tuple(CASES)
        self._roots = {
            f"{kind.code}-{number}": generation.certificate.public_bytes(Encoding.DER)
            for (kind, number), generation in self._ca.generations.items()
        }
        self.anchors = Anchors(read_anchor(root, name.rpartition("-")[2]) for name, root in self._roots.items())

    def evaluated(self) -> Iterator[Evaluated]:
        """Every case with its verdict, in order."""
        for case in self.cases:
            material = case.build(self._ca)
            yield Evaluated(case, material, evaluate(material, self.anchors))

    def export(self, directory: Path) -> int:
        """Write the pack to a directory; answers how many cases. Raises OSError."""
        files = directory / "files"
        (directory / "roots").mkdir(parents=True, exist_ok=True)
        files.mkdir(exist_ok=True)
        for name, root in self._roots.items():
            (directory / "roots" / f"{name}.cer").write_bytes(root)
        entries = [self._exported(judged.case, judged.material, directory) for judged in self.evaluated()]
        (directory / "cases.json").write_text(
            json.dumps(entries, ensure_ascii=False, indent=1) + "\n", encoding="utf-8"
        )
        return len(entries)

    def _exported(self, case: Case, material: CaseInput, directory: Path) -> dict[str, Any]:
        def write(data: bytes | None, ending: str) -> str | None:
            if data is None:
                return None
            name = f"files/{case.identifier.replace('/', '-')}{ending}"
            (directory / name).write_bytes(data)
            return name

        return {
            "id": case.identifier,
            "rule": case.rule,
            "outcome": case.outcome.value,
            "finding": case.finding.value if case.finding else None,
            "kind": material.kind.code if material.kind else None,
            "at": material.at.isoformat(),
            "now": NOW.isoformat(),
            "certificate": write(material.certificate, ".cer"),
            "lists": [write(data, f"-{number}.crl") for number, data in enumerate(material.lists)],
            "ocsp": write(material.ocsp, ".ocsp"),
            "nonce": material.nonce.hex() if material.nonce is not None else None,
            "document": write(material.document, ".document"),
            "content": write(material.content, ".content"),
            "signature": material.signature.hex() or None,
            "challenge": material.challenge or None,
        }
