"""An insurer's file, killed at every moment at which something becomes durable, and then handed in again."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from kazashi.medical_insurance.eligibility import EligibilityState
from kazashi.medical_insurance.entitlement import ITEM
from kazashi.world.key_source import SharedKeySource
from tests.crash import left_at_each_moment
from tests.medical_insurance.insured_town import APRIL, INSURER, InsuredTown, copied, opened

pytestmark = pytest.mark.crash

UNTIL = date(2026, 11, 1)


def state(town: InsuredTown) -> dict[str, str | None]:
    """The last day of each entitlement: at the joint body, and at the insurer."""
    known = {one.insured_number: str(one.ends) for person in town.joint.people() for one in person.entitlements}
    copies = town.insurance.interface.server(INSURER).contents(ITEM)
    return {**known, **{f"copy {address}": content for address, content in copies.items()}}


def test_a_kill_at_any_moment_leaves_all_or_none_of_a_file(
    prepared: Path, tmp_path: Path, keys: SharedKeySource
) -> None:
    home = copied(prepared, tmp_path / "w")
    with opened(home, keys) as town:
        town.feed(town.line("hanako", number="06-1"))
        town.register("hanako")
        before = state(town)
        content = town.file(
            town.line("hanako", "ENDED", "06-1", APRIL, UNTIL), town.line("taro", number="06-2", ends=UNTIL)
        )

    def hand_in() -> None:
        with opened(home, keys) as town:
            town.intake.hand_in(INSURER, content)

    seen = []
    for left in left_at_each_moment(home, hand_in):
        with opened(left, keys) as town:
            accepted = len(town.joint.feeds()) == 2
            visible = town.visit("hanako").state  # what a clinic sees: either all of the file or nothing
            assert visible is (EligibilityState.ENDED if accepted else EligibilityState.VALID)
            assert (state(town) == before) is not accepted
            seen.append(accepted)
            assert town.intake.hand_in(INSURER, content).again is accepted
            whole = state(town)
            assert whole["06-1"] == whole["06-2"] == str(UNTIL)
            assert sum("2026-11-01まで" in str(text) for text in whole.values()) == 2
    assert seen[0] is False
    assert seen[-1] is True
    assert len(seen) > 3
