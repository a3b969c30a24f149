from __future__ import annotations

from resident_registry.event import Death, MoveWithin
from tests.town import AUTHENTICATION, SIGNATURE, later, standing
from tools.institutions import Institutions


def test_a_move_kills_the_signature_certificate_alone(institutions: Institutions) -> None:
    institutions.issue_card("hanako", "hanako")
    institutions.registry.record("hanako", MoveWithin("架空町１丁目"))
    institutions.settle()
    assert standing(institutions, "hanako", SIGNATURE).state.value == "revoked"
    assert standing(institutions, "hanako", AUTHENTICATION).state.value == "good"
    institutions.registry.record("hanako", Death())
    institutions.settle()
    assert standing(institutions, "hanako", AUTHENTICATION).state.value == "good", "it leaves with the evening's batch"
    later(institutions, hours=12)
    assert standing(institutions, "hanako", AUTHENTICATION).state.value == "revoked"
