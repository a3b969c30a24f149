"""Run a conformance pack of Kazashi on pyhanko-certvalidator.

    python check.py [--json] PACK

PACK is a directory that `kazashi verify conformance --export PACK` wrote. The program runs the areas certificate,
attributes and revocation. It adds nothing to the library; the comments say which options it sets.

The exit status is 0 if no good case is refused and no case is accepted that path validation (RFC 5280, 6.1) must
refuse; 1 otherwise; 2 if the pack cannot be read.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections import defaultdict
from collections.abc import Callable
from datetime import datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any

from asn1crypto import crl, ocsp, x509
from pyhanko_certvalidator import CertificateValidator, ValidationContext
from pyhanko_certvalidator.errors import CRLValidationError, OCSPValidationError, PathError, ValidationError

NOT_RUN = {
    "login": "the library has no challenges and responses",
    "document": "the library reads no CMS, PDF or XML signatures; pyHanko, which does, has rules of its own",
}


def readable(load: Callable[[bytes], Any], path: Path) -> list[Any]:
    """The object in a file, in a list that is empty if it cannot be parsed."""
    try:
        value = load(path.read_bytes())
        value.native  # noqa: B018  # asn1crypto parses a part only when it is read
    except (ValueError, TypeError):
        return []
    return [value]


def refusal(directory: Path, case: dict[str, Any], roots: list[x509.Certificate], now: datetime) -> str | None:
    """Why the library refuses the case's certificate; None if it accepts it."""
    time = datetime.fromisoformat(case["time"])
    responses = [case["ocsp_response"]] if case["ocsp_response"] else []
    try:
        certificate = x509.Certificate.load((directory / case["certificate"]).read_bytes(), strict=True)
        context = ValidationContext(
            trust_roots=roots,
            moment=time,
            revocation_mode="require",
            crls=[item for name in case["revocation_lists"]
                  for item in readable(crl.CertificateList.load, directory / name)],
            ocsps=[item for name in responses for item in readable(ocsp.OCSPResponse.load, directory / name)],
            allow_fetching=False,
            time_tolerance=timedelta(),  # the default of one second would accept a certificate that has just expired
            retroactive_revinfo=time < now,  # a status as of an earlier time, from today's lists and responses
        )  # fmt: skip
        asyncio.run(CertificateValidator(certificate, validation_context=context).async_validate_path())
    except (PathError, ValidationError, CRLValidationError, OCSPValidationError, ValueError, TypeError) as error:
        return f"{type(error).__name__}: {error}"
    return None


def run(directory: Path) -> dict[str, Any]:
    """Run all cases of the library's areas. Raises OSError, ValueError or KeyError if the pack cannot be read."""
    pack = json.loads((directory / "cases.json").read_text(encoding="utf-8"))
    now = datetime.fromisoformat(pack["current_time"])
    roots = [x509.Certificate.load((directory / root["file"]).read_bytes()) for root in pack["trust_roots"]]
    rows = []
    for case in pack["cases"]:
        if case["id"].partition("/")[0] in NOT_RUN:
            continue
        message = refusal(directory, case, roots, now)
        rows.append({
            **{name: case[name] for name in ("id", "outcome", "finding", "required_by", "profile_rule", "rule")},
            "accepted": message is None,
            "agrees": (message is None) == (case["outcome"] == "good"),
            "message": message,
        })  # fmt: skip
    return {
        "library": f"pyhanko-certvalidator {version('pyhanko-certvalidator')}",
        "pack_version": pack["version"],
        "areas_not_run": NOT_RUN,
        "passed": all(row["agrees"] or (row["outcome"] != "good" and row["required_by"] != "path-validation")
                      for row in rows),
        "cases": rows,
    }  # fmt: skip


def group(row: dict[str, Any]) -> str:
    """What a case that differs has in common with others."""
    if row["outcome"] == "good":
        return "REFUSED ALTHOUGH GOOD"
    if row["required_by"] == "path-validation":
        return "ACCEPTED ALTHOUGH PATH VALIDATION (RFC 5280, 6.1) MUST REFUSE"
    if row["required_by"] == "revocation-checking":
        return f"left to the caller: revocation checking (RFC 5280, 6.3; RFC 6960), {row['finding']}"
    rule = f", rule {row['profile_rule']}" if row["profile_rule"] else ""
    return f"left to the caller: the profile, {row['finding']}{rule}"


def show(report: dict[str, Any]) -> None:
    """Print the results as a table, and the cases that differ by group."""
    print(f"{report['library']}, pack {report['pack_version']}\n")
    groups = defaultdict(list)
    for row in report["cases"]:
        print(f"{'agrees ' if row['agrees'] else 'differs'}  {row['outcome']:13}  {row['id']}")
        if not row["agrees"]:
            groups[group(row)].append(row)
    for name, rows in sorted(groups.items()):
        print(f"\n{name}")
        for row in rows:
            print(f"  {row['id']}: {row['rule']}")
            if row["message"]:
                print(f"    the library: {row['message']}")
    print(f"\n{sum(row['agrees'] for row in report['cases'])} of {len(report['cases'])} cases agree")
    for area, reason in report["areas_not_run"].items():
        print(f"not run: {area}: {reason}")


def main() -> int:
    """Run the program. Returns its exit status."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("pack", type=Path, metavar="PACK")
    parser.add_argument("--json", action="store_true", help="print the results as JSON")
    arguments = parser.parse_args()
    try:
        report = run(arguments.pack)
    except (OSError, ValueError, KeyError) as error:
        print(error, file=sys.stderr)
        return 2
    if arguments.json:
        print(json.dumps(report, ensure_ascii=False, indent=1))
    else:
        show(report)
    return 0 if report["passed"] else 1


if __name__ == "__main__":
    sys.exit(main())
