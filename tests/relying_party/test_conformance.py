"""The conformance pack: our verdict on every case, and other libraries' where they have one."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from pyhanko_certvalidator import CertificateValidator, ValidationContext
from pyhanko_certvalidator.errors import PathBuildingError, PathValidationError

from kazashi.relying_party.conformance.case import CASES, Case
from kazashi.relying_party.conformance.pack import ConformancePack, Evaluated
from kazashi.relying_party.verify.certificate import RULES, read_certificate
from kazashi.relying_party.verify.finding import VerificationFailed
from kazashi.relying_party.verify.verdict import Finding, Outcome
from kazashi.world.key_source import SharedKeySource, generate

# `kazashi.relying_party.verify.certificate` silences this for its callers, and pytest undoes that for every test.
pytestmark = [
    pytest.mark.unit,
    pytest.mark.filterwarnings("ignore:Parsed a serial number which wasn't positive"),
]

FILES = ("certificate", "ocsp", "document", "content")
"""What of an exported case is the name of a file."""

FEWEST = 80

Exported = dict[str, Any]


@pytest.fixture(scope="module")
def pack() -> ConformancePack:
    return ConformancePack(SharedKeySource([generate() for _ in range(7)]))


@pytest.fixture(scope="module")
def judged(pack: ConformancePack) -> dict[str, Evaluated]:
    return {found.case.identifier: found for found in pack.evaluated()}


@pytest.fixture(scope="module")
def exported(pack: ConformancePack, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("pack")
    assert pack.export(directory) == len(pack.cases)
    return directory


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.identifier)
def test_a_case_is_judged_as_it_should_be(judged: dict[str, Evaluated], case: Case) -> None:
    verdict = judged[case.identifier].verdict
    assert (verdict.outcome, verdict.finding) == (case.outcome, case.finding), verdict.detail
    assert judged[case.identifier].agrees
    assert json.loads(json.dumps(verdict.as_dict()))["outcome"] == case.outcome.value


def test_there_are_many_cases_and_each_has_a_name_of_its_own() -> None:
    assert len(CASES) >= FEWEST
    assert len({case.identifier for case in CASES}) == len(CASES)


def test_every_rule_names_its_source() -> None:
    without = [case.identifier for case in CASES if not re.search(r"[^ ]\. \([^()]+(\([^()]*\)[^()]*)*\)$", case.rule)]
    assert not without


def test_every_finding_is_that_of_some_case() -> None:
    assert {case.finding for case in CASES} == {None, *Finding}


def test_every_area_has_what_is_good_and_what_is_bad() -> None:
    areas = {case.identifier.partition("/")[0] for case in CASES}
    assert areas == {"certificate", "attributes", "revocation", "login", "document"}
    for area in areas:
        outcomes = {case.outcome for case in CASES if case.identifier.startswith(f"{area}/")}
        assert outcomes >= {Outcome.GOOD, Outcome.BAD}, area


def test_every_rule_of_the_profile_is_broken_by_some_case(judged: dict[str, Evaluated]) -> None:
    broken = set()
    for found in judged.values():
        if found.case.finding is Finding.OFF_PROFILE:
            with pytest.raises(VerificationFailed) as refuted:
                read_certificate(found.material.certificate)
            broken.add(refuted.value.rule)
    assert broken == {rule.code for rule in RULES} | {"certificate-policies", "four-attributes"}
    assert len({rule.code for rule in RULES}) == len(RULES)


# The pack as others get it


def cases_of(directory: Path) -> Iterator[Exported]:
    yield from json.loads((directory / "cases.json").read_text(encoding="utf-8"))


def test_an_exported_pack_is_complete(exported: Path) -> None:
    named = set()
    for found in cases_of(exported):
        named |= {name for name in (*(found[what] for what in FILES), *found["lists"]) if name is not None}
        assert found["certificate"] is not None
    assert {str(path.relative_to(exported)) for path in (exported / "files").iterdir()} == named
    assert len(list((exported / "roots").glob("*.cer"))) == 6


def test_an_exported_pack_says_of_every_case_what_it_is(exported: Path) -> None:
    told = {found["id"]: (found["rule"], found["outcome"], found["finding"]) for found in cases_of(exported)}
    assert told == {
        case.identifier: (case.rule, case.outcome.value, case.finding.value if case.finding else None) for case in CASES
    }
    assert all(datetime.fromisoformat(found[when]).tzinfo for found in cases_of(exported) for when in ("at", "now"))


# Judges that know nothing of our library


def validates(directory: Path, case: Exported) -> bool:
    """Whether pyhanko-certvalidator builds a path from a case's certificate to a root. It leaves revocation alone."""
    roots = [asn1_x509.Certificate.load(path.read_bytes()) for path in sorted((directory / "roots").iterdir())]
    context = ValidationContext(
        trust_roots=roots, moment=datetime.fromisoformat(case["at"]), allow_fetching=False, revocation_mode="soft-fail",
        time_tolerance=timedelta(),
    )  # fmt: skip
    certificate = asn1_x509.Certificate.load((directory / case["certificate"]).read_bytes())
    try:
        asyncio.run(CertificateValidator(certificate, validation_context=context).async_validate_path())
    except (PathBuildingError, PathValidationError):
        return False
    return True


def test_a_path_validator_takes_every_certificate_that_is_good(exported: Path) -> None:
    good = [found for found in cases_of(exported)
            if found["id"].startswith(("certificate/", "attributes/")) and found["outcome"] == "good"]  # fmt: skip
    assert len(good) >= 10
    assert [found["id"] for found in good if not validates(exported, found)] == []


def test_a_path_validator_refuses_what_is_broken_or_out_of_its_time(exported: Path) -> None:
    findings = {Finding.BROKEN_CERTIFICATE, Finding.EXPIRED, Finding.NOT_YET_VALID}
    bad = [found for found in cases_of(exported)
           if found["id"].startswith(("certificate/", "attributes/")) and found["finding"] in findings]  # fmt: skip
    assert {found["finding"] for found in bad} == findings
    assert [found["id"] for found in bad if validates(exported, found)] == []


def looked_up(directory: Path, case: Exported) -> tuple[str, str | None]:
    """Outcome and finding by what stands in a case's lists, as `cryptography` reads them."""
    serial = x509.load_der_x509_certificate((directory / case["certificate"]).read_bytes()).serial_number
    for name in case["lists"]:
        listed = x509.load_der_x509_crl((directory / name).read_bytes())
        entry = listed.get_revoked_certificate_by_serial_number(serial)
        if entry is None or entry.revocation_date_utc > datetime.fromisoformat(case["at"]):
            continue
        try:
            reason = entry.extensions.get_extension_for_class(x509.CRLReason).value.reason
        except x509.ExtensionNotFound:
            return "bad", "revoked"
        return "bad", "held" if reason is x509.ReasonFlags.certificate_hold else "revoked"
    return "good", None


def test_looking_a_serial_number_up_comes_to_the_same(exported: Path) -> None:
    plain = [found for found in cases_of(exported)
             if found["id"].startswith("revocation/") and found["lists"] and found["ocsp"] is None
             and (found["outcome"] == "good" or found["finding"] in ("revoked", "held"))]  # fmt: skip
    assert {found["finding"] for found in plain} == {None, "revoked", "held"}
    assert len(plain) >= 15
    assert {found["id"]: looked_up(exported, found) for found in plain} == {
        found["id"]: (found["outcome"], found["finding"]) for found in plain
    }
