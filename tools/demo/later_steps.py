"""The steps of the demo that need more than a card and a reader: directory, browser, points, network, laboratory."""

from __future__ import annotations

from kazashi.tools.demo.steps import look_up
from kazashi.tools.demo.steps_login import LOGIN_STEPS
from kazashi.tools.demo.steps_network import NETWORK_STEPS
from kazashi.tools.demo.steps_points import POINTS_STEPS
from kazashi.tools.demo.steps_tracking import TRACKING_STEPS

LATER_STEPS = [
    ("find the list in the directory", look_up), *LOGIN_STEPS, *POINTS_STEPS, *NETWORK_STEPS, *TRACKING_STEPS
]  # fmt: skip
