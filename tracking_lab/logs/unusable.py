"""Why logs or their mapping cannot be imported."""

from __future__ import annotations

from enum import Enum

from kazashi.world.reasoned import ReasonedError


class LogsUnusableReason(Enum):
    """Why logs or their mapping cannot be imported."""

    MAPPING_UNREADABLE = "mapping-unreadable"
    """The mapping is missing, is not YAML or JSON, or has missing or unknown fields."""
    SERVICE_OR_CONSTANT = "service-or-constant"
    """The mapping has both `service` and `constant`, or neither."""
    UNKNOWN_ATTRIBUTE = "unknown-attribute"
    WRONG_SERVICE = "wrong-service"
    """An entry of `services` is not a mapping, or its `clock` is not a number."""
    WRONG_ZONE = "wrong-zone"
    WRONG_HANDLE = "wrong-handle"
    """`handle` has an unknown form, authority or way to write digits."""
    WRONG_MOMENT = "wrong-moment"
    """`moment` has a form that is not known and is not a strptime format."""
    WRONG_LOG_FORMAT = "wrong-log-format"
    """`log` is not a known name, and not a log format of nginx, Apache or HAProxy."""
    FORM_WANTED = "form-wanted"
    """A strict import needs the handles' form in the mapping."""
    DIGITS_WANTED = "digits-wanted"
    """Serial numbers of digits only can be hexadecimal or decimal, and the other rows do not tell which."""
    SWAPPED_COLUMNS = "swapped-columns"
    """The columns of the service and of the handle look as if they were swapped."""
    MISSING_FILE = "missing-file"
    MISSING_COLUMN = "missing-column"
    """The mapping names a column that the files do not have."""
    INDIVIDUAL_NUMBERS = "individual-numbers"
    """A column looks like individual numbers."""
    NO_ROWS = "no-rows"
    NO_USABLE_ROWS = "no-usable-rows"
    """No row has a readable time, a service and a handle."""
    UNREADABLE_ROWS = "unreadable-rows"
    """A strict import found rows that cannot be read."""
    UNREADABLE = "unreadable"
    """DuckDB cannot read a file."""
    RUNNING = "running"
    """Another import into the same laboratory is running."""


class LogsUnusable(ReasonedError[LogsUnusableReason]):
    """The files or the mapping cannot be used for `reason`; the message says what to change. It never shows a
    handle."""
