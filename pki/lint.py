"""Certificates, revocation lists and OCSP responses under pkilint's eyes, which is run as the program that it is."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

FORMS = {
    "certificate": ["pkilint.bin.lint_pkix_cert", "lint"],
    "crl": ["pkilint.bin.lint_crl", "lint", "--type", "CRL", "--profile", "PKIX"],
    "ocsp": ["pkilint.bin.lint_ocsp_response", "lint"],
}
"""What can be linted, and with which program."""


class NotLintable(Exception):
    """The file is not what it is said to be, or pkilint could not read it."""


@dataclass(frozen=True, slots=True)
class LintFinding:
    """One finding: how severe (`ERROR`, `WARNING`, `NOTICE`, `INFO`), pkilint's code, and where in the structure."""

    severity: str
    code: str
    where: str
    message: str


def lint(form: str, path: Path) -> list[LintFinding]:
    """What pkilint finds in a file, DER or PEM. Raises NotLintable."""
    command = [sys.executable, "-P", "-m", *FORMS[form], "--format", "JSON", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        results = json.loads(done.stdout)["results"]
    except (ValueError, KeyError) as error:
        words = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise NotLintable(f"pkilint cannot read {path} as a {form}: {words}") from error
    return [
        LintFinding(described["severity"], described["code"], result["node_path"], described["message"] or "")
        for result in results
        for described in result["finding_descriptions"]
    ]
