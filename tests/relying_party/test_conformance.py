"""The conformance pack: our verdict on every case, the exported pack and its texts, and other libraries' verdicts."""

from __future__ import annotations

import asyncio
import configparser
import json
import re
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from pyhanko_certvalidator import CertificateValidator, ValidationContext
from pyhanko_certvalidator.errors import PathBuildingError, PathValidationError

from kazashi.jpki.profile import EMULATED, CertificateType
from kazashi.relying_party.conformance.case import CASES, Case, RequiredBy
from kazashi.relying_party.conformance.pack import PACK_VERSION, TEXTS, ConformancePack, Evaluated
from kazashi.relying_party.verify.attributes import ORDER
from kazashi.relying_party.verify.certificate import RULES, read_certificate
from kazashi.relying_party.verify.finding import VerificationFailed
from kazashi.relying_party.verify.policy import DEFAULT_POLICY
from kazashi.relying_party.verify.verdict import Finding, Outcome
from kazashi.world.key_source import SharedKeySource, generate

# `kazashi.relying_party.verify.certificate` silences this for its callers, and pytest undoes that for every test.
pytestmark = [
    pytest.mark.unit,
    pytest.mark.filterwarnings("ignore:Parsed a serial number which wasn't positive"),
]

ROOT = Path(__file__).parents[2]
PUBLISHED = Path(__file__).with_name("conformance_cases.txt")
"""The cases of all published versions of the pack: identifier, outcome and finding."""

FILES = ("certificate", "ocsp_response", "document", "content")
"""The fields of an exported case that are the name of a file."""

AREAS = {"certificate", "attributes", "revocation", "login", "document"}
RULE_CODES = {rule.code for rule in RULES} | {"certificate-policies", "four-attributes"}

Exported = dict[str, Any]


@pytest.fixture(scope="module")
def pack() -> ConformancePack:
    return ConformancePack(SharedKeySource([generate() for _ in range(7)]))


@pytest.fixture(scope="module")
def evaluated(pack: ConformancePack) -> dict[str, Evaluated]:
    return {result.case.identifier: result for result in pack.evaluated()}


@pytest.fixture(scope="module")
def exported(pack: ConformancePack, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("pack")
    assert pack.export(directory) == len(pack.cases)
    return directory


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.identifier)
def test_our_library_agrees_with_the_case(evaluated: dict[str, Evaluated], case: Case) -> None:
    verdict = evaluated[case.identifier].verdict
    assert (verdict.outcome, verdict.finding) == (case.outcome, case.finding), verdict.detail
    assert evaluated[case.identifier].agrees
    assert json.loads(json.dumps(verdict.as_dict()))["outcome"] == case.outcome.value


def test_case_identifiers_are_unique() -> None:
    assert len({case.identifier for case in CASES}) == len(CASES)


def test_published_cases_never_change() -> None:
    """A new case needs a new line in the file; a line is never removed, and a changed one needs a new PACK_VERSION."""
    version, *lines = PUBLISHED.read_text(encoding="utf-8").splitlines()
    assert version == f"version {PACK_VERSION}"
    assert [line.split() for line in lines] == sorted(
        [case.identifier, case.outcome.value, *([case.finding.value] if case.finding else [])] for case in CASES
    )


def test_every_rule_names_its_source() -> None:
    without = [case.identifier for case in CASES if not re.search(r"[^ ]\. \([^()]+(\([^()]*\)[^()]*)*\)$", case.rule)]
    assert not without


def test_every_finding_has_a_case() -> None:
    assert {case.finding for case in CASES} == {None, *Finding}


def test_every_area_has_good_and_bad_cases() -> None:
    assert {case.area for case in CASES} == AREAS
    for area in AREAS:
        assert {case.outcome for case in CASES if case.area == area} >= {Outcome.GOOD, Outcome.BAD}, area


def test_every_profile_rule_is_broken_by_the_cases_that_name_it(evaluated: dict[str, Evaluated]) -> None:
    for result in evaluated.values():
        assert (result.case.breaks is not None) is (result.case.finding is Finding.OFF_PROFILE)
        if result.case.breaks is not None:
            with pytest.raises(VerificationFailed) as refused:
                read_certificate(result.material.certificate or b"")
            assert refused.value.rule == result.case.breaks, result.case.identifier
    assert {case.breaks for case in CASES} - {None} == RULE_CODES
    assert len({rule.code for rule in RULES}) == len(RULES)


def test_only_refused_cases_are_required_by_something() -> None:
    for case in CASES:
        assert (case.required_by is None) is (case.outcome is Outcome.GOOD), case.identifier
        if case.area in ("login", "document") and case.required_by is not None:
            assert case.required_by.value == case.area
    assert {case.required_by for case in CASES} == {None, *RequiredBy}


@pytest.mark.parametrize(
    "identifier",
    ["same-name-other-generation", "another-name-than-the-keys", "serial-number-zero", "a-negative-serial-number"],
)
def test_cases_that_rfc_5280_accepts_are_the_profiles(identifier: str) -> None:
    case = next(case for case in CASES if case.identifier == f"certificate/{identifier}")
    assert case.required_by is RequiredBy.PROFILE
    assert "(JPKI profile; " in case.rule


# The exported pack


def pack_of(directory: Path) -> Exported:
    pack: Exported = json.loads((directory / "cases.json").read_text(encoding="utf-8"))
    return pack


def cases_of(directory: Path) -> list[Exported]:
    cases: list[Exported] = pack_of(directory)["cases"]
    return cases


def schema_of(directory: Path) -> Exported:
    schema: Exported = json.loads((directory / "schema.json").read_text(encoding="utf-8"))
    return schema


def test_an_exported_pack_is_valid_by_its_schema(exported: Path) -> None:
    schema = schema_of(exported)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    jsonschema_rs.meta.validate(schema)
    validator = jsonschema_rs.Draft202012Validator(schema, validate_formats=True)
    assert [f"{list(error.instance_path)}: {error.message}" for error in validator.iter_errors(pack_of(exported))] == []


@pytest.mark.parametrize(
    "change",
    [{"more": 1}, {"outcome": "fine"}, {"finding": "odd"}, {"finding": None}, {"required_by": None}, {"time": "now"},
     {"certificate_type": "encryption"}, {"certificate": "../secret"}, {"profile_rule": "subject"}, {"challenge": {}}],
    ids=str,
)  # fmt: skip
def test_the_schema_refuses_what_it_does_not_describe(exported: Path, change: Exported) -> None:
    pack = pack_of(exported)
    expired = next(case for case in pack["cases"] if case["id"] == "certificate/expired")
    expired.update(change)
    assert not jsonschema_rs.Draft202012Validator(schema_of(exported), validate_formats=True).is_valid(pack)


def test_the_schema_allows_no_other_fields_and_has_the_enumerations_of_the_code(exported: Path) -> None:
    schema = schema_of(exported)
    objects = [schema, *schema["$defs"].values()]
    for described in objects:
        assert described["additionalProperties"] is False
        assert set(described["required"]) == set(described["properties"])
    fields = schema["$defs"]["case"]["properties"]
    assert set(fields["outcome"]["enum"]) == {outcome.value for outcome in Outcome}
    assert set(fields["finding"]["enum"]) == {None, *(finding.value for finding in Finding)}
    assert set(fields["required_by"]["enum"]) == {None, *(item.value for item in RequiredBy)}
    assert set(fields["profile_rule"]["enum"]) == {None, *RULE_CODES}
    assert set(fields["certificate_type"]["enum"]) == {None, *(item.code for item in CertificateType)}


def test_an_exported_pack_is_complete(exported: Path) -> None:
    named = set()
    for case in cases_of(exported):
        named |= {name for name in (*(case[field] for field in FILES), *case["revocation_lists"]) if name is not None}
        assert (case["certificate"] is None) is (case["document"] is not None), case["id"]
    assert {str(path.relative_to(exported)) for path in (exported / "files").iterdir()} == named
    roots = {root["file"] for root in pack_of(exported)["trust_roots"]}
    assert {str(path.relative_to(exported)) for path in (exported / "roots").iterdir()} == roots
    assert len(roots) == 6
    assert {path.name for path in exported.iterdir()} == {*TEXTS, "cases.json", "roots", "files"}


def test_an_exported_pack_has_every_case(exported: Path) -> None:
    assert pack_of(exported)["version"] == PACK_VERSION
    assert {case["id"]: (case["rule"], case["outcome"], case["finding"]) for case in cases_of(exported)} == {
        case.identifier: (case.rule, case.outcome.value, case.finding.value if case.finding else None) for case in CASES
    }


def test_only_a_login_without_a_signature_has_an_empty_one(exported: Path) -> None:
    signatures = {case["id"]: case["signature"] for case in cases_of(exported)}
    assert [identifier for identifier, signature in signatures.items() if signature == ""] == ["login/not-signed"]
    assert {identifier.partition("/")[0] for identifier, signature in signatures.items() if signature is not None} == {
        "login", "document",
    }  # fmt: skip


def test_the_package_contains_the_texts() -> None:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    assert setup["options.package_data"]["kazashi.relying_party.conformance"] == "texts/*"
    texts = ROOT / "relying_party" / "conformance" / "texts"
    assert {path.name for path in texts.iterdir()} == set(TEXTS)
    assert (texts / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()


# The pack's texts


def table(text: str, first: str) -> list[list[str]]:
    """The rows of the Markdown table whose header begins with a cell; a row is its cells."""
    lines = iter(text.splitlines())
    next(line for line in lines if line.startswith(f"| {first} |"))
    rows = []
    for line in lines:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return rows[1:]


def coded(cell: str) -> set[str]:
    """What stands in backquotes in a cell."""
    return set(re.findall(r"`([^`]+)`", cell))


def test_the_readme_names_every_field_of_the_schema(exported: Path) -> None:
    readme, schema = (exported / "README.md").read_text(encoding="utf-8"), schema_of(exported)
    tables = re.findall(r"^\| field \| value \|\n\|[-|]+\|\n((?:\|.*\n)+)", readme, re.MULTILINE)
    named = [re.findall(r"^\| `([^`]+)`", rows, re.MULTILINE) for rows in tables]
    described = [schema, *(schema["$defs"][name] for name in ("trust_root", "case", "challenge"))]
    assert named == [list(item["properties"]) for item in described]


def test_the_readme_explains_every_area_finding_and_requirement(exported: Path) -> None:
    readme = (exported / "README.md").read_text(encoding="utf-8")
    assert [coded(row[0]) for row in table(readme, "area")] == [
        {area} for area in ("certificate", "attributes", "revocation", "login", "document")
    ]
    assert [coded(row[0]) for row in table(readme, "finding")] == [{finding.value} for finding in Finding]
    assert [coded(row[0]) for row in table(readme, "required_by")] == [{item.value} for item in RequiredBy]
    assert {cell for row in table(readme, "file") for cell in coded(row[0])} == {
        *TEXTS, "cases.json", "roots/", "files/",
    } - {"README.md"}  # fmt: skip
    assert DEFAULT_POLICY.challenge_lifetime == DEFAULT_POLICY.clock_tolerance == timedelta(minutes=5)
    assert readme.count("five minutes") == 2


def test_the_profile_names_every_rule_and_finding(exported: Path) -> None:
    profile = (exported / "profile.md").read_text(encoding="utf-8")
    rules = [coded(row[0]) for row in table(profile, "rule")]
    assert rules == [{code} for code in ("certificate-policies", *(rule.code for rule in RULES), "four-attributes")]
    assert {cell for row in table(profile, "finding") for cell in coded(row[0])} == {item.value for item in Finding}
    checks = {cell for first in ("field", "extension") for row in table(profile, first) for cell in coded(row[-1])}
    assert checks - {"wrong-authority"} == RULE_CODES - {"extensions-as-they-are"}


@pytest.mark.parametrize(("kind", "column"), [("authentication", 3), ("signature", 4)])
def test_the_profile_has_the_extensions_of_good_certificates(exported: Path, kind: str, column: int) -> None:
    profile = (exported / "profile.md").read_text(encoding="utf-8")
    certificate = x509.load_der_x509_certificate((exported / f"files/certificate-good-{kind}.cer").read_bytes())
    assert {
        row[1]: row[2] == "yes" for row in table(profile, "extension") if row[column] != "absent"
    } == {extension.oid.dotted_string: extension.critical for extension in certificate.extensions}  # fmt: skip


def test_the_profile_has_the_policies_and_attributes_of_the_code(exported: Path) -> None:
    profile = (exported / "profile.md").read_text(encoding="utf-8")
    assert {tuple(row) for row in table(profile, "policy")} == {
        (policy, f"{kind.code}, {medium.value}") for policy, (kind, medium) in EMULATED.policies().items()
    }
    assert [row[1] for row in table(profile, "otherName")] == list(ORDER)


# Other libraries


def validates(directory: Path, case: Exported) -> bool:
    """Whether pyhanko-certvalidator finds a path from a case's certificate to a root, without revocation."""
    roots = [asn1_x509.Certificate.load(path.read_bytes()) for path in sorted((directory / "roots").iterdir())]
    context = ValidationContext(
        trust_roots=roots, moment=datetime.fromisoformat(case["time"]), allow_fetching=False,
        revocation_mode="soft-fail", time_tolerance=timedelta(),
    )  # fmt: skip
    try:
        certificate = asn1_x509.Certificate.load((directory / case["certificate"]).read_bytes(), strict=True)
        asyncio.run(CertificateValidator(certificate, validation_context=context).async_validate_path())
    except (PathBuildingError, PathValidationError, ValueError):
        return False
    return True


def test_a_path_validator_accepts_every_good_certificate(exported: Path) -> None:
    good = [case for case in cases_of(exported)
            if case["id"].startswith(("certificate/", "attributes/")) and case["outcome"] == "good"]  # fmt: skip
    assert len(good) >= 10
    assert [case["id"] for case in good if not validates(exported, case)] == []


def test_a_path_validator_refuses_what_path_validation_must_refuse(exported: Path) -> None:
    bad = [case for case in cases_of(exported) if case["required_by"] == "path-validation"]
    assert len(bad) >= 10
    assert [case["id"] for case in bad if validates(exported, case)] == []


def looked_up(directory: Path, case: Exported) -> tuple[str, str | None]:
    """Outcome and finding by the entries of the lists by a certificate's issuer, as `cryptography` reads them."""
    certificate = x509.load_der_x509_certificate((directory / case["certificate"]).read_bytes())
    for name in case["revocation_lists"]:
        revoked = x509.load_der_x509_crl((directory / name).read_bytes())
        if revoked.issuer != certificate.issuer:
            continue
        entry = revoked.get_revoked_certificate_by_serial_number(certificate.serial_number)
        if entry is None or entry.revocation_date_utc > datetime.fromisoformat(case["time"]):
            continue
        try:
            reason = entry.extensions.get_extension_for_class(x509.CRLReason).value.reason
        except x509.ExtensionNotFound:
            return "bad", "revoked"
        return "bad", "held" if reason is x509.ReasonFlags.certificate_hold else "revoked"
    return "good", None


def test_searching_the_lists_for_the_serial_number_gives_the_same_outcome(exported: Path) -> None:
    plain = [case for case in cases_of(exported)
             if case["id"].startswith("revocation/") and case["revocation_lists"] and case["ocsp_response"] is None
             and (case["outcome"] == "good" or case["finding"] in ("revoked", "held"))]  # fmt: skip
    assert {case["finding"] for case in plain} == {None, "revoked", "held"}
    assert len(plain) >= 15
    assert {case["id"]: looked_up(exported, case) for case in plain} == {
        case["id"]: (case["outcome"], case["finding"]) for case in plain
    }
