"""`kazashi card order`, `reissue`, `update` and `history`, as a user types them."""

from __future__ import annotations

import pytest

from tests.cli.program import Program


def test_lost_card_is_replaced_when_the_clock_has_come_so_far(new: Program) -> None:
    new.run("clock", "stand", "2026-12-01T10:00")
    new.run("card", "new", "hanako")
    assert "not reported lost" in new.error("application-refused", 1, "card", "reissue", "hanako", "--reason", "lost")
    new.run("registry", "event", "loss-report", "hanako")
    assert new.json("card", "show", "hanako")["state"] == "stopped"
    ordered = new.json("card", "reissue", "hanako", "--reason", "lost", "--express")
    assert ordered == {"card": "hanako-2", "delivered": "2026-12-08T10:00:00+09:00", "replaces": "hanako"}
    new.error("card-missing", 2, "card", "show", "hanako-2")
    new.run("clock", "stand", "2026-12-08T10:00")
    shown = new.json("card", "show", "hanako-2")
    assert (shown["state"], shown["last day"], shown["issued again from"]) == ("active", "2036-04-17", "2036-01-17")
    assert [(row["what"], row["note"]) for row in new.json("card", "history", "hanako")][-2:] == [
        ("stopped", "loss-report"), ("ended", "replaced by hanako-2"),
    ]  # fmt: skip
    assert "is ended" in new.error("renewal-refused", 1, "card", "update", "hanako")
    new.error("no-such-card", 2, "card", "history", "nobodys")


def test_deadlines_are_shown_and_met_by_a_visit_to_the_counter(new: Program) -> None:
    new.run("clock", "stand", "2026-12-01T10:00")
    new.run("card", "new", "hanako")
    new.run("registry", "event", "move-out", "hanako", "--to", "08220", "--moves-on", "2026-12-01")
    assert new.json("registry", "show", "hanako")["deadlines"] == {"move-in": "2026-12-15"}
    new.run(
        "registry", "event", "move-in", "hanako", "--municipality", "08220", "--street", "見本台１",
        "--card-continued", "no",
    )  # fmt: skip
    assert new.json("registry", "show", "hanako")["deadlines"] == {"card-continuation": "2027-03-01"}
    assert new.json("card", "update", "hanako") == {
        "card": "hanako", "renewed": ["signature"], "entered": ["2026-12-01 住所 茨城県つくば市見本台１"],
        "continued": True,
    }  # fmt: skip
    assert "deadlines" not in new.json("registry", "show", "hanako")


JUKI = ("card", "juki", "hanako", "--issued", "2015-12-01")


def test_the_dead_get_no_juki_card(new: Program) -> None:
    """Neither on the day, nor later for a day of the past."""
    new.run("clock", "stand", "2015-12-01T10:00+09:00")
    for who in ("hanako", "taro"):
        new.run("registry", "add", who)
    new.run("registry", "event", "death", "hanako", "--channel", "counter")
    assert "not registered any more (dead)" in new.error("juki-card-refused", 1, "card", "juki", "hanako")
    new.run(
        "registry", "event", "move-out", "taro", "--to", "08220", "--moves-on", "2015-12-01", "--channel", "counter"
    )
    assert "moved out" in new.error("juki-card-refused", 1, "card", "juki", "taro")
    new.run("clock", "stand", "2026-12-01T10:00+09:00")
    assert "not registered any more (dead)" in new.error("juki-card-refused", 1, *JUKI)


@pytest.mark.parametrize("event", ["return", "loss-report", "theft"])
def test_whoever_had_an_individual_number_card_gets_no_juki_card(new: Program, event: str) -> None:
    new.run("card", "new", "hanako")
    assert "has or had" in new.error("juki-card-refused", 1, *JUKI)
    new.run("registry", "event", event, "hanako")
    assert "has or had" in new.error("juki-card-refused", 1, *JUKI)
