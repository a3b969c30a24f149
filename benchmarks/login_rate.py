"""Verdicts on logins beside an earlier build, and whether both come to the same findings.

    python -m benchmarks.login_rate [--baseline COMMIT] [--logins N] [--rounds N] [--json]

Every login has a certificate and a challenge of its own. The certificates are of the sample residents, so of several
municipalities, and a twentieth as many are revoked. The builds take turns, each in a process of its own, on the same
certificates, lists, interpreter and packages. The processor's time counts, so that other programs disturb little.
This needs git and the earlier commit in the checkout's repository. It exits with 1 if a finding differs or the goal
is missed.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from datetime import timedelta
from pathlib import Path
from statistics import median
from typing import Any

from cryptography import x509

from benchmarks.bench_worlds import LIFE_DAYS, new_world
from benchmarks.login_worker import ORIGIN
from kazashi.assembly.institutions import Institutions
from kazashi.card.certification_request import certification_request
from kazashi.jpki.profile import CertificateType
from kazashi.jpki.state import Reason
from kazashi.pki.certificate import CertificateRequest
from kazashi.resident_registry.sample_residents import SAMPLE_RESIDENTS
from kazashi.world.key_source import SharedKeySource, generate

BASELINE = "8193c2c"
GOAL = 1.5
HOLDER_KEYS = 8
PROJECT = Path(__file__).resolve().parent.parent
BUILDS = {"baseline": ("relying_party", "world"), "ours": ("kazashi.relying_party.verify", "kazashi.world")}
"""Where each build has its verifier and its clock."""


def material(directory: Path, logins: int) -> dict[str, Any]:
    """Issue certificates, revoke some, publish the lists, and return what a worker needs."""
    keys = SharedKeySource([generate() for _ in range(HOLDER_KEYS)])
    holder_keys = [keys.take() for _ in range(HOLDER_KEYS)]
    institutions = Institutions(new_world(directory / "world", keys))
    j_lis, now = institutions.juki_net.j_lis, institutions.world.clock.now()
    residents = [j_lis.identity(institutions.resident(alias).code) for alias in SAMPLE_RESIDENTS]
    proofs = [certification_request(key) for key in holder_keys]
    count = logins + logins // 20
    requests = [
        CertificateRequest(residents[number % len(residents)], proofs[number % HOLDER_KEYS], now,
                           now + timedelta(days=LIFE_DAYS), identifier=f"{number}")
        for number in range(count)
    ]  # fmt: skip
    authority = institutions.authorities[CertificateType.AUTHENTICATION]
    issued = [der for start in range(0, count, 500) for der in authority.issue_many(requests[start : start + 500])]
    revocations = institutions.revocations[CertificateType.AUTHENTICATION]
    for der in issued[logins:]:
        revocations.revoke(x509.load_der_x509_certificate(der).serial_number, Reason.SUPERSEDED)
    institutions.advance(now + timedelta(days=1))
    good = [(der.hex(), number % HOLDER_KEYS) for number, der in enumerate(issued[:logins])]
    mixed = [(der.hex(), (logins + number) % HOLDER_KEYS, ORIGIN) for number, der in enumerate(issued[logins:])]
    mixed += [(good[0][0], 0, "https://shop.example"), (good[0][0], 1, ORIGIN), (good[0][0][:-2], 0, ORIGIN)]
    for place in range(0, len(issued[0]), 3):
        changed = bytearray(issued[0])
        changed[place] ^= 0x11
        mixed.append((changed.hex(), 0, ORIGIN))
    result = {
        "keys": [key.hex() for key in holder_keys],
        "tree": str(institutions.world.publication),
        "now": institutions.world.clock.now().isoformat(),
        "good": good,
        "mixed": mixed,
        "one_of_each_list": [der for der, _ in good[: len(residents)]],
    }
    institutions.world.close()
    return result


def unpack(commit: str, directory: Path) -> None:
    """Put the source of a commit into a directory. Raises CalledProcessError if the repository does not have it."""
    directory.mkdir()
    archived = subprocess.run(["git", "-C", PROJECT, "archive", commit], check=True, stdout=subprocess.PIPE).stdout
    subprocess.run(["tar", "--extract", "--directory", directory], input=archived, check=True)


def worked(build: str, path: Path, source: Path) -> Any:
    """Return what a worker measured for one build."""
    done = subprocess.run(
        [sys.executable, str(PROJECT / "benchmarks" / "login_worker.py"), str(path), *BUILDS[build]],
        env=os.environ | {"PYTHONPATH": str(source)}, check=True, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    return json.loads(done.stdout)


def main() -> int:
    """Measure both builds and print the table."""
    parser = argparse.ArgumentParser(description="Verdicts on logins, beside an earlier build.")
    parser.add_argument("--baseline", default=BASELINE, metavar="COMMIT")
    parser.add_argument("--logins", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", action="store_true", dest="as_json")
    options = parser.parse_args()
    runs: dict[str, list[Any]] = {build: [] for build in BUILDS}
    with tempfile.TemporaryDirectory(prefix="kazashi-bench-") as name:
        directory = Path(name)
        unpack(options.baseline, directory / "baseline")
        path = directory / "material.json"
        path.write_text(json.dumps(material(directory, options.logins)), encoding="ascii")
        for number in range(options.rounds):
            for build in sorted(BUILDS, reverse=number % 2 == 1):
                runs[build].append(worked(build, path, directory / "baseline" if build == "baseline" else PROJECT))
    mixed = {json.dumps(run["mixed"]) for build in runs.values() for run in build}
    rows = {
        build: {what: median(run[what] for run in found) for what in ("rate", "clock", "reference")}
        for build, found in runs.items()
    }
    ratios = [ours["rate"] / base["rate"] for base, ours in zip(runs["baseline"], runs["ours"], strict=True)]
    result = {
        "baseline_commit": options.baseline, "logins": options.logins, "rounds": options.rounds, **rows,
        "ratio": median(ratios), "lowest_ratio": min(ratios), "goal": GOAL, "same_findings": len(mixed) == 1,
        "findings_compared": len(runs["ours"][0]["mixed"]),
    }  # fmt: skip
    if options.as_json:
        print(json.dumps(result, indent=1))
    else:
        print(f"{'':28}{'verdicts per CPU second':>26}{'per second':>14}{'RSA-2048 verifications':>26}")
        for build, row in rows.items():
            print(f"{build:28}{row['rate']:>26,.0f}{row['clock']:>14,.0f}{row['reference']:>26,.0f}")
        print(f"ratio {median(ratios):.2f}, in the worst of {options.rounds} rounds {min(ratios):.2f}; goal {GOAL}")
        same = "the same" if len(mixed) == 1 else "NOT the same"
        print(f"{result['findings_compared']} further verdicts, most of them bad: {same} outcomes and findings")
    return 0 if len(mixed) == 1 and median(ratios) >= GOAL else 1


if __name__ == "__main__":
    sys.exit(main())
