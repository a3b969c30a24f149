"""Every model of card that is issued: what a user can do with one works with the others."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from kazashi.applets.install import MODELS
from kazashi.card.image import read_image, write_image
from kazashi.card_management.models import MODELS_OF_CARDS
from tests.cli.program import Program


@pytest.mark.parametrize("model", MODELS_OF_CARDS)
def test_a_card_takes_every_addition_and_shows_its_face(new: Program, tmp_path: Path, model: str) -> None:
    new.run("card", "new", "hanako", "--model", model)
    new.run("card", "licence", "add", "hanako", "--pin", "4321")
    new.run("card", "ordinance", "add", "13113", "library")
    new.run("card", "application", "add", "hanako", "library", "--set", "member-number=1")
    shown = new.json("card", "show", "hanako")
    assert (shown["licence PIN"], [row["application"] for row in shown["applications"]]) == ("4321", ["library"])
    assert shown["tries left"]["driver's licence licence PIN"] == "10 of 10"
    assert [row["name"] for row in new.json("card", "list")] == ["番号　花子"]
    new.run("phone", "new", "hanako")
    for side in ("front", "back"):
        new.run("card", "face", "hanako", "--side", side, "--out", str(tmp_path / side))
        with Image.open(tmp_path / side) as face:
            assert face.size == (1011, 638)
    new.run("registry", "event", "move-within", "hanako", "--street", "架空町９")
    assert new.json("card", "update", "hanako")["renewed"] == ["signature"]
    assert new.json("card", "show", "hanako")["address"].endswith("架空町９")
    new.run("card", "licence", "remove", "hanako")
    new.run("card", "application", "remove", "hanako", "library")
    new.run("card", "face", "hanako", "--out", str(tmp_path / "moved"))


def test_the_face_of_the_next_card_has_reading_latin_name_and_number_and_no_sex(new: Program, tmp_path: Path) -> None:
    """Places are compared with the same place of today's card."""
    new.run("card", "new", "hanako", "--name", "today")
    new.run("card", "new", "hanako", "--name", "next", "--model", "next")
    drawn = {}
    for name in ("today", "next"):
        new.run("card", "face", name, "--side", "front", "--out", str(tmp_path / name))
        with Image.open(tmp_path / name) as face:
            drawn[name] = face.convert("L")
    places = {"reading": (36, 98, 400, 136), "latin": (36, 208, 400, 248), "sex": (436, 420, 520, 458)}
    dark = {
        name: {what: sum(pixel < 100 for pixel in face.crop(box).tobytes()) for what, box in places.items()}
        for name, face in drawn.items()
    }
    assert dark["next"]["reading"] > 100
    assert dark["next"]["latin"] > 100
    assert dark["next"]["sex"] == 0 < dark["today"]["sex"]


def test_an_application_that_a_model_cannot_have_is_named_in_hexadecimal(new: Program) -> None:
    new.run("card", "new", "hanako")
    contents, about = read_image(new.world / "cards" / "hanako.card")
    write_image(new.world / "cards" / "other.card", contents, about | {"model": MODELS["phone"].name})
    error = new.error("card-damaged", 3, "card", "show", "other")
    assert error.endswith("has what the model 'phone' cannot have: the application A0000001510000 [card-damaged]")
