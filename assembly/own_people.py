"""People with data of the user's own: registered from a document, as in a file to import."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from kazashi.assembly.errors import UsageError
from kazashi.resident_registry.resident import Resident, from_document

if TYPE_CHECKING:
    from kazashi.assembly.institutions import Institutions


def registered(institutions: Institutions, document: Mapping[str, Any]) -> Resident:
    """Register a resident and wait for the individual number; return the resident with it.

    `document` has the keys of a line in a file to import (docs/registry.md). Raises UsageError and EventRejected.
    """
    try:
        resident = from_document(document)
    except ValueError as error:
        raise UsageError(str(error)) from error
    code = institutions.registry.add(resident).code
    institutions.juki_net.deliver()
    return institutions.registry.find(code)
