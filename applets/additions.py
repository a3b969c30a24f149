"""The applications that a card gets after its issue, whatever its model."""

from __future__ import annotations

from kazashi.applets import drivers_licence, free_area

ADDITIONS = (*free_area.APPLETS, drivers_licence.APPLET)
"""The driver's licence, and the applications for the free area that the program has. Others are in the texts about a
card (`free_area.loaded_applets`)."""
