"""The plan of an instance is passed unchanged from `kazashi up` to the background process."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kazashi.reader_bridge.fault_script import UNKIND, BadFaultScript, parse_fault_script
from kazashi.tools.daemon.plan import InstancePlan

NAMES = st.lists(st.text(max_size=20), max_size=9).map(tuple)
READERS = st.lists(st.text("aZ 0番", min_size=1, max_size=20).map(str.strip).filter(bool), max_size=9).map(tuple)
PLANS = st.builds(
    InstancePlan, readers=READERS, pcscd=st.sampled_from(("auto", "system", "own", "private")), cards=NAMES,
    contactless=st.booleans(), reset_keeps_status=st.booleans(), faults=st.text(), dialled=NAMES,
    services=st.booleans(), port=st.none() | st.integers(1, 65535), workers=st.integers(1, 64), ldap=st.booleans(),
    console=st.booleans(),
)  # fmt: skip


@given(PLANS)
def test_plan_survives_json_round_trip(plan: InstancePlan) -> None:
    assert InstancePlan.from_json(plan.to_json()) == plan


def test_plan_has_presentation_and_endpoints() -> None:
    plan = InstancePlan(contactless=True, faults=UNKIND, dialled=("29000", "192.0.2.1:29001"))
    assert plan.presentation().contactless
    assert plan.presentation().faults == parse_fault_script(UNKIND)
    endpoints = [(endpoint.host, endpoint.port) for endpoint in plan.endpoints()]
    assert endpoints == [("127.0.0.1", 29000), ("192.0.2.1", 29001)]
    assert InstancePlan().presentation().faults is None
    with pytest.raises(BadFaultScript):
        InstancePlan(faults="faults: [1]").presentation()
    with pytest.raises(ValueError, match="nonsense"):
        InstancePlan(dialled=("nonsense",)).endpoints()
    with pytest.raises(TypeError):
        InstancePlan.from_json('{"unknown": 1}')
