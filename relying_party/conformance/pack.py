"""The conformance pack as a whole: build it, run our library on it, and export it for other libraries.

An exported pack has these files; its README.md describes them.

README.md             how to run a case, and every field
profile.md            the certificate profile
schema.json           the JSON Schema of cases.json
cases.json            the cases; file names are relative to it
roots/                the certificates of the trusted authorities
files/                certificates, revocation lists, OCSP responses, documents
LICENSE               the license of the pack
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding

from kazashi.relying_party.conformance import (
    cases_attributes,
    cases_certificate,
    cases_document,
    cases_encoding,
    cases_list,
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

PACK_VERSION = "2.0"
"""The version of the cases and of their format. The first number changes if a field changes or goes away, or if a case
gets another outcome or finding; the second if cases or fields are added, or texts are corrected."""

TEXTS = ("README.md", "profile.md", "schema.json", "LICENSE")
"""The files that every exported pack has as they are in `texts/`."""

MODULES = (
    cases_certificate, cases_profile, cases_encoding, cases_attributes, cases_revocation, cases_list, cases_ocsp,
    cases_login, cases_document,
)  # fmt: skip
"""The modules that hold the cases. Importing them fills `CASES`."""


class _GivenResponse:
    """A source of revocation status: the OCSP response of a case."""

    def __init__(self, response: bytes, nonce: bytes | None) -> None:
        self._response = response
        self._nonce = nonce

    def status(
        self, certificate: HolderCertificate, anchor: Anchor, at: datetime, now: datetime, policy: VerificationPolicy
    ) -> RevocationStatus:
        """Return the status in the response. Raises VerificationFailed if the response is not to be trusted."""
        answer = read_ocsp_answer(self._response, anchor, certificate.serial, self._nonce, now, policy)
        return RevocationStatus(answer.revocation, Evidence(OCSP, answer.this_update, answer.next_update))


def _given_list(data: bytes) -> Lists:
    return Lists("given-list", lambda certificate, anchor: data)


def evaluate(material: CaseInput, anchors: Anchors) -> Verdict:
    """Return our library's verdict on the input of a case."""
    sources: list[Source] = []
    if material.ocsp_response is not None:
        sources.append(_GivenResponse(material.ocsp_response, material.ocsp_nonce))
    sources += [_given_list(data) for data in material.revocation_lists]
    verifier = Verifier(anchors, sources, FixedClock(NOW))
    certificate, signature = material.certificate or b"", material.signature or b""
    if material.challenge:
        return _login(material.challenge, signature, certificate, verifier)
    if material.document is not None:
        return Documents(verifier).any(material.document, material.content, material.time)
    if material.content is not None:
        return Documents(verifier).raw(material.content, signature, certificate, material.time)
    return verifier.certificate(certificate, material.certificate_type, material.time)


def _login(challenge: dict[str, Any], signature: bytes, certificate: bytes, verifier: Verifier) -> Verdict:
    login = Authentication(verifier)
    nonce = bytes.fromhex(challenge["nonce"])
    response = Response(nonce, signature, certificate)
    if challenge["was_issued"]:
        issued_at = datetime.fromisoformat(challenge["issued_at"])
        login.challenges.put(Challenge(challenge["issued_for_origin"], nonce, issued_at))
    verdict = login.verdict(challenge["received_at_origin"], response)
    for _ in range(challenge["earlier_responses"]):
        verdict = login.verdict(challenge["received_at_origin"], response)
    return verdict


@dataclass(frozen=True, slots=True)
class Evaluated:
    """A case, its input, and our library's verdict."""

    case: Case
    material: CaseInput
    verdict: Verdict

    @property
    def agrees(self) -> bool:
        """Whether the verdict has the right outcome and the right finding."""
        return (self.verdict.outcome, self.verdict.finding) == (self.case.outcome, self.case.finding)


class ConformancePack:
    """All cases, built once. Takes seven RSA keys from the key source."""

    def __init__(self, keys: KeySource) -> None:
        self._ca = TestAuthority(keys)
        self.cases: Sequence[Case] = tuple(CASES)
        self._roots = {
            key: generation.certificate.public_bytes(Encoding.DER) for key, generation in self._ca.generations.items()
        }
        self.anchors = Anchors(read_anchor(root, generation) for (_, generation), root in self._roots.items())

    @cached_property
    def _inputs(self) -> Sequence[tuple[Case, CaseInput]]:
        return [(case, case.build(self._ca)) for case in self.cases]

    def evaluated(self) -> Iterator[Evaluated]:
        """Yield every case with our library's verdict, in order."""
        for case, material in self._inputs:
            yield Evaluated(case, material, evaluate(material, self.anchors))

    def export(self, directory: Path) -> int:
        """Write the pack to a directory. Returns the number of cases. Raises OSError."""
        for name in ("roots", "files"):
            (directory / name).mkdir(parents=True, exist_ok=True)
        for name in TEXTS:
            (directory / name).write_bytes(files(__package__).joinpath("texts", name).read_bytes())
        roots = []
        for (kind, generation), root in self._roots.items():
            name = f"roots/{kind.code}-{generation}.cer"
            (directory / name).write_bytes(root)
            roots.append({"file": name, "certificate_type": kind.code, "generation": generation})
        pack = {
            "$schema": "schema.json",
            "version": PACK_VERSION,
            "current_time": NOW.isoformat(),
            "trust_roots": roots,
            "cases": [_exported(case, material, directory) for case, material in self._inputs],
        }
        (directory / "cases.json").write_text(json.dumps(pack, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
        return len(self.cases)


def _exported(case: Case, material: CaseInput, directory: Path) -> dict[str, Any]:
    """A case as cases.json has it. Writes its files."""

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
        "required_by": case.required_by.value if case.required_by else None,
        "profile_rule": case.breaks,
        "certificate_type": material.certificate_type.code if material.certificate_type else None,
        "time": material.time.isoformat(),
        "certificate": write(material.certificate, ".cer"),
        "revocation_lists": [write(data, f"-{number}.crl") for number, data in enumerate(material.revocation_lists)],
        "ocsp_response": write(material.ocsp_response, ".ocsp"),
        "ocsp_nonce": material.ocsp_nonce.hex() if material.ocsp_nonce is not None else None,
        "challenge": material.challenge or None,
        "signature": material.signature.hex() if material.signature is not None else None,
        "document": write(material.document, ".document"),
        "content": write(material.content, ".content"),
    }
