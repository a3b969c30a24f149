"""The tests. Each process of pytest-xdist uses its own ports, which the programs that it starts inherit.

vpcd's default ports are left to the test of the system's pcscd.
"""

import os

WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))

os.environ["KAZASHI_FIRST_PORT"] = str(18600 + 20 * WORKER)
os.environ["KAZASHI_VPCD_PORT"] = str(27000 + 40 * WORKER)
