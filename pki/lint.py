"""Check certificates, revocation lists and OCSP responses with pkilint, which is run as a separate program."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from kazashi.world.input_file import check_input

FORMS = {
    "certificate": ["pkilint.bin.lint_pkix_cert", "lint"],
    "crl": ["pkilint.bin.lint_crl", "lint", "--type", "CRL", "--profile", "PKIX"],
    "ocsp": ["pkilint.bin.lint_ocsp_response", "lint"],
}
"""The pkilint module and its arguments for each form of input."""


class NotLintable(Exception):
    """The file does not have the given form, or pkilint could not read it."""


@dataclass(frozen=True, slots=True)
class LintFinding:
    """One finding: severity (`ERROR`, `WARNING`, `NOTICE`, `INFO`), pkilint's code, and its place in the structure."""

    severity: str
    code: str
    where: str
    message: str


def lint(form: str, path: Path) -> list[LintFinding]:
    """Return pkilint's findings in a DER or PEM file; `form` is a key of FORMS. Raises NotLintable and
    FileUnusable."""
    check_input(path)
    command = [sys.executable, "-P", "-m", *FORMS[form], "--format", "JSON", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        results = json.loads(done.stdout)["results"]
    except (ValueError, KeyError) as error:
        last = (done.stderr.strip().splitlines() or [""])[-1]
        # Of a file that it cannot parse, pkilint quotes its parsers, whose words say nothing of the file.
        reason = "" if last.startswith("Failed to load") else f": {last or 'no error output'}"
        raise NotLintable(f"pkilint cannot read {path} as a {form}{reason}") from error
    return [
        LintFinding(described["severity"], described["code"], result["node_path"], described["message"] or "")
        for result in results
        for described in result["finding_descriptions"]
    ]
