"""The later steps of the demo: directory, phone and next card, browser, points, network, laboratory."""

from __future__ import annotations

from kazashi.tools.demo.steps import look_up
from kazashi.tools.demo.steps_login import LOGIN_STEPS
from kazashi.tools.demo.steps_network import NETWORK_STEPS
from kazashi.tools.demo.steps_person import PERSON_STEPS
from kazashi.tools.demo.steps_points import POINTS_STEPS
from kazashi.tools.demo.steps_tracking import TRACKING_STEPS

LATER_STEPS = [
    ("find the list in the directory", look_up), *PERSON_STEPS, *LOGIN_STEPS, *POINTS_STEPS, *NETWORK_STEPS,
    *TRACKING_STEPS,
]  # fmt: skip
