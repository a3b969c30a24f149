"""`python -m benchmarks.metrics`: write what the other programs answer to CASES."""

from __future__ import annotations

import json

from benchmarks.metrics import CASES, VALUES, answers

VALUES.write_text(json.dumps(answers(CASES), indent=1, sort_keys=True) + "\n", encoding="utf-8")
