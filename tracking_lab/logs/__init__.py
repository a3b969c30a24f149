"""Your own logs: files of servers and databases, and a mapping that says what each column means.

Logs are imported into the same tables as a generated population, so the same linkers work on them. Files with a column
that looks like individual numbers are refused before anything is written.
"""

from kazashi.tracking_lab.logs.checks import looks_like_an_individual_number
from kazashi.tracking_lab.logs.digests import handles_look_like_digests
from kazashi.tracking_lab.logs.imported import Imported, about
from kazashi.tracking_lab.logs.importing import import_logs
from kazashi.tracking_lab.logs.mapping import (
    Digits,
    HandleColumn,
    HandleForm,
    IssuingAuthority,
    LogMapping,
    MomentColumn,
)
from kazashi.tracking_lab.logs.unusable import LogsUnusable, LogsUnusableReason

__all__ = [
    "Digits", "HandleColumn", "HandleForm", "Imported", "IssuingAuthority", "LogMapping", "LogsUnusable",
    "LogsUnusableReason", "MomentColumn", "about", "handles_look_like_digests", "import_logs",
    "looks_like_an_individual_number",
]  # fmt: skip
