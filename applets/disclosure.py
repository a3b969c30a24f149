"""What on a card says nothing about its holder, so that a trace may show it. Everything else is somebody's."""

from __future__ import annotations

from kazashi.applets.applet import TransparentEf
from kazashi.applets.install import APPLETS
from kazashi.card.identifiers import Aid

IMPERSONAL_FILES: dict[Aid, frozenset[int]] = {
    applet.aid: frozenset(file for file in applet.files if isinstance(file, TransparentEf) and file.impersonal)
    for applet in APPLETS
}
"""Files that are the same on every card of a generation."""

IMPERSONAL_OBJECTS = frozenset(found for applet in APPLETS for found in applet.objects if found.impersonal)
"""Objects of GET DATA that tell of the kind of card only."""
