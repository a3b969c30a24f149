"""`kazashi network setup` run twice at the same time."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.cli.program import new_world
from tests.polling import LIMIT


def test_a_second_setup_waits_for_the_first_and_reports_its_own_numbers(tmp_path: Path) -> None:
    town = new_world(tmp_path / "w")
    town.run("registry", "add", "hanako")
    town.run("clock", "advance", "1d")
    command = [sys.executable, "-m", "kazashi", "--world", str(town.world), "network", "setup", "--json"]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    gates = []
    for process in both:
        output, errors = process.communicate(timeout=2 * LIMIT)
        assert process.returncode == 0, output + errors
        gates.append({gate["stage"]: gate["words"] for gate in json.loads(output)})
    first, second = sorted(gates, key=lambda words: " new" not in words["bodies connected"])
    assert [first[stage] for stage in ("bodies connected", "codes issued", "copies registered")] == [
        "4 bodies, 4 new; 3 interface systems", "3 codes, 3 new; everybody has one", "3 copies, 3 new",
    ]  # fmt: skip
    assert not [words for words in second.values() if " new" in words]
    assert second["linkage opened"] == "no messages are waiting"
