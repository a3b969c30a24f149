"""The files and data objects that say nothing about the holder, so that a trace may show them."""

from __future__ import annotations

from kazashi.applets.applet import TransparentEf
from kazashi.applets.install import all_applets
from kazashi.card.identifiers import Aid

IMPERSONAL_FILES: dict[Aid, frozenset[int]] = {
    applet.aid: frozenset(file for file in applet.files if isinstance(file, TransparentEf) and file.impersonal)
    for applet in all_applets()
}
"""Files that are the same on every card of a generation."""

IMPERSONAL_OBJECTS = frozenset(
    declared for applet in all_applets() for declared in applet.objects if declared.impersonal
)
"""GET DATA objects that describe the kind of card only."""
