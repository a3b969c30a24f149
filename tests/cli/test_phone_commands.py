"""`kazashi phone`: from the application, which the card signs, to the certificates' end with the card's."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest

from kazashi.card_management.phone_application import sign_with_card
from tests.cli.program import InProcessProgram, Program, fails_in_one_line, new_world
from tests.support import run

KINDS = ("signature", "authentication")


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A world with a card and a phone of its holder. Tests use copies."""
    directory = tmp_path_factory.mktemp("phones") / "w"
    program = new_world(directory)
    program.run("card", "new", "hanako")
    program.run("phone", "new", "hanako")
    return directory


@pytest.fixture
def program(start: Path, tmp_path: Path) -> Program:
    return InProcessProgram(Path(shutil.copytree(start, tmp_path / "w")))


def states(program: Program, phone: str = "hanako-phone") -> tuple[str, str]:
    (row,) = (row for row in program.json("phone", "list") if row["phone"] == phone)
    return row["signature"], row["authentication"]


def card_states(program: Program) -> dict[str, str]:
    return {row["kind"]: row["state"] for row in program.json("ca", "show", "hanako") if row["medium"] == "card"}


def test_openssl_verifies_the_application_that_the_card_signed(program: Program, tmp_path: Path) -> None:
    program.run("phone", "application", "hanako-phone", "--out", str(tmp_path / "application.der"))
    (tmp_path / "root.pem").write_text(program.run("ca", "root", "signature").stdout)
    verify = ("openssl", "cms", "-verify", "-inform", "DER", "-in", "application.der", "-CAfile", "root.pem",
              "-purpose", "any", "-no_check_time", "-signer", "signer.pem", "-out", "content")  # fmt: skip
    assert "Verification successful" in run(*verify, cwd=tmp_path)
    phone = program.json("phone", "list")[0]["number"]
    assert phone in (tmp_path / "content").read_text()
    card = next(row for row in program.json("ca", "show", "hanako")
                if (row["medium"], row["kind"]) == ("card", "signature"))  # fmt: skip
    serial = run("openssl", "x509", "-in", "signer.pem", "-noout", "-serial", cwd=tmp_path)
    assert serial.strip() == f"serial={card['serial']}"


def test_a_phones_certificates_end_with_the_cards_and_have_keys_of_their_own(program: Program) -> None:
    rows = program.json("ca", "show", "hanako")
    for kind in KINDS:
        card, phone = sorted((row for row in rows if row["kind"] == kind), key=lambda row: str(row["medium"]))
        assert (card["medium"], phone["medium"]) == ("card", "phone")
        assert card["not_after"] == phone["not_after"]
        assert card["serial"] != phone["serial"]


@pytest.mark.long
def test_an_application_needs_the_cards_password_and_a_signature_certificate(program: Program) -> None:
    wrong = ("phone", "new", "hanako", "--name", "second", "--card-password", "WRONG1")
    for left in (4, 3):
        assert f"retries left: {left}" in program.error("phone-refused", 1, *wrong)
    tries = program.json("card", "show", "hanako")["tries left"]
    assert tries["JPKI signature password"] == "3 of 5"
    program.run("card", "new", "child")
    assert "no signature certificate" in program.error("phone-refused", 1, "phone", "new", "child")
    program.run("card", "new", "taro")
    assert "not hanako's" in program.error("usage", 2, "phone", "new", "hanako", "--name", "x", "--card", "taro")
    program.error("card-missing", 2, "phone", "new", "hanako", "--name", "x", "--card", "nothing")
    program.error("card-exists", 2, "phone", "new", "hanako")
    program.error("usage", 2, "phone", "new", "hanako", "--name", "x", "--pin", "12")
    assert [row["phone"] for row in program.json("phone", "list")] == ["hanako-phone"]
    assert not list((program.world / "cards").glob("*phone-keys")), "nothing was left behind"


@pytest.mark.long
def test_a_person_has_one_phone(program: Program) -> None:
    program.run("phone", "new", "hanako", "--name", "second")
    assert states(program) == ("revoked", "revoked")
    assert states(program, "second") == ("good", "good")
    assert card_states(program) == {"signature": "good", "authentication": "good"}
    reasons = {row["reason"] for row in program.json("ca", "show", "hanako") if row["state"] == "revoked"}
    assert reasons == {"superseded"}


def test_a_lost_phone_is_stopped_released_and_gets_a_new_signature_certificate(program: Program) -> None:
    assert program.json("phone", "stop", "hanako-phone")["signature"] == "held"
    assert states(program) == ("held", "held")
    assert "no good certificate" in program.error("phone-refused", 1, "phone", "stop", "hanako-phone")
    program.run("phone", "release", "hanako-phone")
    assert states(program) == ("held", "good")
    program.error("transition-refused", 1, "phone", "release", "hanako-phone")
    program.run("phone", "renew", "hanako-phone")
    assert states(program) == ("good", "good")
    assert card_states(program) == {"signature": "good", "authentication": "good"}


@pytest.mark.long
def test_a_phone_is_deleted_before_disposal(program: Program) -> None:
    image = program.world / "cards" / "hanako-phone.card"
    assert image.exists()
    assert program.json("phone", "delete", "hanako-phone")["revoked"] == list(KINDS)
    assert not image.exists()
    ends = [row["reason"] for row in program.json("ca", "show", "hanako") if row["medium"] == "phone"]
    assert ends == ["cessationOfOperation"] * 2
    program.error("no-such-phone", 2, "phone", "stop", "hanako-phone")
    program.error("phone-refused", 1, "phone", "new", "hanako")


@pytest.mark.parametrize(("kind", "reason", "expected"), [
    ("signature", "keyCompromise", ("revoked", "good")),
    pytest.param("authentication", "certificateHold", ("good", "held"), marks=pytest.mark.long),
])  # fmt: skip
def test_what_ends_a_cards_certificate_ends_the_phones(
    program: Program, kind: str, reason: str, expected: tuple[str, str]
) -> None:
    serial = next(row["serial"] for row in program.json("ca", "show", "hanako")
                  if (row["medium"], row["kind"]) == ("card", kind))  # fmt: skip
    program.run("ca", "revoke", kind, serial, "--reason", reason)
    assert states(program) == expected


def test_after_the_cards_renewal_the_phone_is_renewed_by_an_application(program: Program) -> None:
    program.run("registry", "event", "move-within", "hanako", "--street", "別の町1番地")
    assert states(program) == ("revoked", "good"), "the signature certificate has the old address"
    assert "is revoked" in program.error("phone-refused", 1, "phone", "renew", "hanako-phone")
    program.run("card", "renew", "hanako")
    program.run("phone", "renew", "hanako-phone")
    assert states(program) == ("good", "good")


def test_a_phone_outlives_its_holder_as_a_device_only(program: Program, tmp_path: Path) -> None:
    def verdict() -> tuple[str, str | None]:
        """Sign a letter with the phone now, and return what a verifier of documents says."""
        image = program.world / "cards" / "hanako-phone.card"
        now = datetime.fromisoformat(program.json("clock", "show")["now"]).astimezone(UTC)
        (tmp_path / "letter.p7m").write_bytes(sign_with_card(image, "ABC123", b"an invented letter", now))
        command = ("verify", "document", str(tmp_path / "letter.p7m"), "--json")
        verdict = json.loads(InProcessProgram(program.world).run(*command, expect=None).stdout)
        return verdict["outcome"], verdict["finding"]

    assert verdict() == ("good", None)
    program.run("registry", "event", "death", "hanako")
    program.run("clock", "advance", "1d")
    assert verdict() == ("bad", "revoked"), "it still signs"
    assert states(program) == ("revoked", "revoked")
    for command in (("phone", "renew", "hanako-phone"), ("phone", "new", "hanako", "--name", "x"),
                    ("phone", "stop", "hanako-phone"), ("phone", "release", "hanako-phone")):  # fmt: skip
        fails_in_one_line(program, *command)
    assert states(program) == ("revoked", "revoked")


@pytest.mark.long
def test_a_killed_application_is_continued_by_the_same_command(
    program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both certificates were issued when the process died before it wrote them to the phone."""
    from kazashi.card_management import phones

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(phones, "write_image", killed)
        program.run("phone", "new", "hanako", "--name", "second", expect=130)
    before = [row["serial"] for row in program.json("ca", "show", "hanako")]
    program.run("phone", "new", "hanako", "--name", "second")
    assert [row["serial"] for row in program.json("ca", "show", "hanako")] == before
    assert states(program, "second") == ("good", "good")


def test_the_card_in_use_signs_after_a_theft_whatever_its_name(program: Program) -> None:
    program.run("registry", "event", "theft", "hanako")
    refused = program.error("phone-refused", 1, "phone", "renew", "hanako-phone")
    assert "hanako has no card in use: hanako is ended" in refused
    program.run("card", "reissue", "hanako", "--reason", "ended")
    program.run("clock", "advance", "31d")
    given = program.error("phone-refused", 1, "phone", "renew", "hanako-phone", "--card", "hanako")
    assert "the card 'hanako' is ended; the card in use is hanako-2" in given
    program.run("phone", "renew", "hanako-phone")
    assert states(program) == ("good", "good")
    program.run("phone", "new", "hanako", "--name", "second")
    program.run("card", "new", "taro", "--name", "tr")
    program.run("phone", "new", "taro")
    program.run("registry", "add", "child")
    assert "child has no card; make one" in program.error("card-missing", 2, "phone", "new", "child")


def test_nobody_applies_for_the_dead(program: Program) -> None:
    program.run("registry", "event", "death", "hanako", "--channel", "counter")
    for command in (("phone", "new", "hanako", "--name", "p2"), ("phone", "renew", "hanako-phone")):
        assert "hanako is not registered any more (dead)" in program.error("phone-refused", 1, *command)
    for command in (("card", "new", "hanako", "--name", "c2"), ("card", "order", "hanako", "--name", "c2")):
        assert "hanako is not registered any more (dead)" in program.error("application-refused", 1, *command)


def test_a_phone_that_is_not_there_is_no_missing_card(program: Program) -> None:
    for name in ("nobody", "hanako"):
        for command in ("renew", "show", "stop", "release", "delete", "application"):
            assert repr(name) in program.error("no-such-phone", 2, "phone", command, name)
    program.error("no-such-phone", 2, "mdoc", "issue", "nobody")
