"""`kazashi registry` as users run it."""

from __future__ import annotations

import json
import re
import secrets
import subprocess
import unicodedata
from pathlib import Path

import pytest

from tests.cli.program import Program, fails_in_one_line
from tests.polling import LIMIT

SOMEBODY = (
    "--family",
    "模擬",
    "--birth",
    "1990-01-01",
    "--sex",
    "1",
    "--municipality",
    "13113",
    "--street",
    "架空町１",
)


def test_residents_are_added_and_shown(town: Program) -> None:
    added = town.json("registry", "add", "ichiro", *SOMEBODY, "--given", "一郎", "--kana", "モギ　イチロウ",
                      "--household", "h")  # fmt: skip
    assert added["address"] == "東京都渋谷区架空町１"
    assert len(added["record_code"]) == 11
    assert len(added["individual_number"]) == 12
    for who in ("ichiro", added["record_code"], added["individual_number"]):
        assert town.json("registry", "show", who) == added
    assert "架空町１" in town.run("registry", "show", "ichiro").stdout
    foreign = town.json("registry", "add", "john", "--family", "ＤＯＥ", "--birth", "1990-01-01", "--sex", "1",
                        "--municipality", "08220", "--street", "a", "--nationality", "GB", "--residence-status",
                        "student", "--stay-end", "2030-03-31", "--common-name", "土江")  # fmt: skip
    assert (foreign["nationality"], foreign["stay_end"], foreign["common_name"]) == ("GB", "2030-03-31", "土江")


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("--street", "架空町１－２", ""), ("--street", "架空町１\u2212２", "has − (U+2212) after a digit"),
        ("--street", "架空町１\u2010２", "(U+2010)"), ("--street", "スーパー通１丁目", ""),
        ("--street", "架空町1-2-3", "address '架空町1-2-3' has half-width characters: '1', '-', '2', '3'; registers"),
        ("--street", "foo", "'f', 'o';"), ("--street", "架空町１ ２", "has half-width characters: a space;"),
        ("--street", "架空町１ー２", "long vowel after a digit"),
        ("--street", "東京都渋谷区架空町１", "begins with a prefecture"),
        ("--given", "Ann", "given name 'Ann' has half-width characters: 'A', 'n';"), ("--given", "ｱﾝ", "half-width"),
        ("--kana", "もぎ", "reading 'もぎ' is not in katakana"), ("--kana", "モギ　アン", ""),
        ("--common-name", "A", "common name 'A' has half-width"),
    ],
)  # fmt: skip
def test_an_unlikely_name_or_address_is_registered_with_a_warning(
    town: Program, option: str, value: str, words: str
) -> None:
    alias = f"unlikely{secrets.token_hex(4)}"
    done = town.run("registry", "add", alias, *SOMEBODY, "--nationality", "GB", option, value, "--json")
    assert json.loads(done.stdout)[option.strip("-").replace("-", "_")] == value, "stored as it was written"
    assert words in done.stderr
    assert bool(words) == bool(done.stderr)


def test_an_event_and_a_file_are_registered_with_a_warning(town: Program, tmp_path: Path) -> None:
    town.json("registry", "add", "half-width", *SOMEBODY)
    moved = town.run("registry", "event", "move-within", "half-width", "--street", "架空町2")
    assert "the address '架空町2' has half-width characters: '2';" in moved.stderr
    people = tmp_path / "people.csv"
    rows = ["架空町１", "架空町2", "架空町3"]
    people.write_text(
        "family,birth,sex,municipality,street\n" + "".join(f"見本,1990-01-01,1,13113,{row}\n" for row in rows)
    )
    imported = town.run("registry", "import", str(people))
    assert "3 residents registered" in imported.stdout
    assert "2 with unusual texts; the first is on line 3: the address '架空町2'" in imported.stderr


def test_residents_are_listed(town: Program) -> None:
    listed = town.json("registry", "list", "--limit", "2")
    assert [found["alias"] for found in listed] == ["hanako", "taro"]
    assert {found["municipality"] for found in town.json("registry", "list", "--municipality", "13113")} == {"13113"}
    assert town.json("registry", "list", "--municipality", "47201") == []
    assert "registry add" in town.run("registry", "list", "--municipality", "47201").stdout
    assert "番号　花子" in town.run("registry", "list").stdout
    town.error("usage", 2, "registry", "list", "--municipality", "99999")
    town.error("usage", 2, "registry", "list", "--municipality", "x")


@pytest.mark.parametrize(
    "arguments",
    [
        ("--family", "a", "--birth", "1990-01-01", "--sex", "1", "--municipality", "13113"),
        (*SOMEBODY[:2], "--birth", "1990-02-30", *SOMEBODY[4:]), (*SOMEBODY[:2], "--birth", "soon", *SOMEBODY[4:]),
        (*SOMEBODY, "--municipality", "99999"), (*SOMEBODY, "--municipality", "1"), (*SOMEBODY, "--stay-end", "x"),
    ],
)  # fmt: skip
def test_invalid_residents_are_rejected(town: Program, arguments: tuple[str, ...]) -> None:
    town.error("usage", 2, "registry", "add", "nobody", *arguments)
    town.error("no-such-resident", 2, "registry", "show", "nobody")


def test_existing_and_unborn_residents_are_refused(town: Program) -> None:
    assert "'taro' is already taken" in town.error("event-refused", 1, "registry", "add", "taro", *SOMEBODY)
    town.error("event-refused", 1, "registry", "add", "baby", *SOMEBODY, "--birth", "2026-11-25")
    town.error("no-such-resident", 2, "registry", "add", "stranger")
    town.run("registry", "add", "x", "--sex", "7", expect=2)


@pytest.mark.parametrize(
    "arguments",
    [
        ("registry", "show", "123456789012"),
        ("registry", "event", "death", "123456789012"), ("registry", "history", "12345678901"),
        ("ca", "show", "123456789012"),
        ("registry", "add", "12345678901", *SOMEBODY),
        ("registry", "add", "ancient", *SOMEBODY, "--birth", "1700-01-01"),
        ("ca", "certificate", "signature", "F" * 20), ("ca", "ocsp", "signature", "F" * 20),
        ("ca", "revoke", "signature", "F" * 20),
    ],
)  # fmt: skip
def test_invalid_numbers_are_rejected(town: Program, arguments: tuple[str, ...]) -> None:
    fails_in_one_line(town, *arguments)


def test_municipalities_are_listed_by_prefecture(town: Program) -> None:
    assert len(town.json("registry", "municipalities")) == 1892
    tokyo = town.json("registry", "municipalities", "--prefecture", "13")
    assert len(tokyo) == 62
    assert [tokyo[12][key] for key in ("code", "name", "romaji")] == ["13113", "渋谷区", "Shibuya-ku"]
    assert tokyo[12].keys() == {"code", "prefecture", "name", "romaji", "prefecture romaji"}
    assert "Shibuya-ku" in town.run("registry", "municipalities", "--prefecture", "13").stdout
    for wrong in ("99", "00", "1", "１３", ""):
        assert "is not a prefecture" in town.error("usage", 2, "registry", "municipalities", "--prefecture", wrong)
        assert "is not a prefecture" in town.error("usage", 2, "card", "licence", "key", wrong, "--out", "key.pem")


@pytest.mark.parametrize("alias", ["../evil", "a/b", ".", "a" * 65, "a\u200bb", 'a"', " a"])
def test_an_alias_follows_the_rule_of_cards_names(town: Program, tmp_path: Path, alias: str) -> None:
    """A card is named after it."""
    assert "is not a valid alias" in town.error("event-refused", 1, "registry", "add", alias, *SOMEBODY)
    people = tmp_path / "people.jsonl"
    person = {
        "alias": alias,
        "family": "見本",
        "birth": "1990-01-01",
        "sex": "1",
        "municipality": "13113",
        "street": "番",
    }
    people.write_text(json.dumps(person))
    assert "is not a valid alias" in town.error("import-refused", 2, "registry", "import", str(people))
    assert "card" in town.error("usage", 2, "card", "new", "hanako", "--name", alias)


def test_names_and_addresses_have_a_limit_and_a_card_takes_the_longest(new: Program) -> None:
    """Registered, changed by an event, and imported."""
    birth = ("--birth", "1990-01-01", "--sex", "1", "--municipality", "13113")
    longest = ("--family", "番" * 100, "--given", "号" * 100, "--kana", "バ" * 100, "--street", "架" * 194)
    for option, value in (("--family", "番" * 101), ("--kana", "バ" * 101), ("--street", "架" * 195)):
        arguments = [*longest]
        arguments[arguments.index(option) + 1] = value
        error = new.error("event-refused", 1, "registry", "add", "long", *arguments, *birth)
        assert "characters; the registry stores up to" in error
    new.run("registry", "add", "long", *longest, *birth)
    for model in ("card", "next"):
        new.run("card", "new", "long", "--name", model, "--model", model)
        assert new.json("card", "show", model)["name"] == "番" * 100 + "\u3000" + "号" * 100
    moved = ("registry", "event", "move-within", "long", "--street", "架" * 5000)
    assert "the address has 5006 characters" in new.error("event-refused", 1, *moved)
    assert max(map(len, new.run("registry", "list").stdout.splitlines())) < 1500


def test_events_appear_in_the_history(town: Program) -> None:
    town.run("registry", "add", "mover", *SOMEBODY)
    reply = town.json("registry", "event", "move-within", "mover", "--street", "架空町２", "--on", "2026-11-20")
    assert reply == {
        "resident": "mover",
        "event": "move-within",
        "status": "resident",
        "waits_until": None,
        "refused": [],
    }
    town.run("registry", "event", "move-out", "mover", "--to", "08220", "--moves-on", "2026-11-24")
    assert town.json("registry", "show", "mover")["status"] == "moving"
    town.run(
        "registry", "event", "move-in", "mover", "--municipality", "08220", "--street", "a", "--card-continued", "no"
    )
    output = town.run("registry", "event", "furigana", "mover", "--kana", "モギ").stdout
    assert "it will be sent to Juki-Net at 2026-11-24 20:00 in Japan" in output
    reply = town.json("registry", "event", "furigana", "mover", "--kana", "モ", "--channel", "counter")
    assert reply["waits_until"] is None, "a notice at the counter is sent at once"
    history = town.json("registry", "history", "mover")
    assert [found["event"] for found in history] == [
        "registration", "move-within", "move-out", "move-in", "furigana", "furigana",
    ]  # fmt: skip
    assert [found["day"] for found in history[:2]] == ["2026-11-24", "2026-11-20"]
    assert history[2]["detail"] == {"to": "08220", "moves_on": "2026-11-24"}
    assert "moves_on 2026-11-24" in town.run("registry", "history", "mover").stdout


@pytest.mark.parametrize(
    ("code", "status", "arguments"),
    [
        ("event-refused", 1, ("move-within", "taro", "--street", "架空町９丁目９９番９９号")),
        ("event-refused", 1, ("stay", "taro", "--until", "2030-01-01")),
        ("event-refused", 1, ("death", "taro", "--on", "2026-11-25")),
        ("event-refused", 1, ("death", "taro", "--on", "1900-01-01")),
        ("event-refused", 1, ("stay", "taro", "--until", "soon")),
        ("event-refused", 1, ("emigration", "taro", "--continued", "perhaps")),
        ("event-refused", 1, ("furigana", "taro", "--kana", "taro")),
        ("event-refused", 1, ("card-continuation", "taro")),
        ("usage", 2, ("death", "taro", "--on", "soon")),
        ("usage", 2, ("move-out", "taro", "--to", "99999", "--moves-on", "2026-11-24")),
        ("usage", 2, ("correction", "taro", "--sex", "7")),
        ("no-such-resident", 2, ("death", "nobody")),
    ],
)
def test_invalid_events_are_refused(town: Program, code: str, status: int, arguments: tuple[str, ...]) -> None:
    town.error(code, status, "registry", "event", *arguments)


def test_registry_only_events_are_not_commands(town: Program) -> None:
    for arguments in (("lapse", "taro"), ("renaming", "taro"), ("move-within", "taro"), ("death",),
                      ("death", "taro", "--channel", "pigeon"), ("death", "taro", "--street", "x")):  # fmt: skip
        assert "Error" in town.run("registry", "event", *arguments, expect=2).stderr
    assert [found["event"] for found in town.json("registry", "history", "taro")] == ["registration"]
    assert "move-within" in town.run("registry", "event", "--help").stdout


def test_certificates_have_names_and_addresses_as_people_type_them(new: Program, tmp_path: Path) -> None:
    """A list from a Mac has か and U+3099 where others have が, and input methods on Windows write U+FF0D. U+FA19 is
    not U+795E, which Unicode's normalisation would make of it."""
    apart = {key: unicodedata.normalize("NFD", value) for key, value in (("given", "みずほ"), ("alias", "ぱぱ"))}
    person = {"family": "\ufa19", "kana": "カミ　ミス\u3099ホ", "birth": "1990-01-01", "sex": "2",
              "municipality": "13113", "street": "架空町１－２～３", **apart}  # fmt: skip
    (tmp_path / "mac.jsonl").write_text(json.dumps(person, ensure_ascii=False), encoding="utf-8")
    new.run("registry", "import", str(tmp_path / "mac.jsonl"))
    shown = new.json("registry", "show", apart["alias"])
    assert [shown[key] for key in ("alias", "family", "given", "kana")] == ["ぱぱ", "\ufa19", "みずほ", "カミ　ミズホ"]
    new.run("card", "new", "ぱぱ", "--name", "mac")
    assert names_by_openssl(new, "ぱぱ") == ("●　みずほ", "10000", "東京都渋谷区架空町１－２～３", "0" * 14)
    assert new.json("registry", "rename", "13113", "架空町", "架空か\u3099丘") == {"people": 1}
    assert new.json("registry", "show", "ぱぱ")["street"] == "架空が丘１－２～３"
    new.run("registry", "event", "move-within", "ぱぱ", "--street", "架空町４－５　メソ\u3099ン２∥￠￡￢￤—")
    new.run("card", "renew", "mac")
    assert names_by_openssl(new, "ぱぱ") == (
        "●　みずほ", "10000", "東京都渋谷区架空町４－５　メゾン２∥￠￡￢￤—", "0" * 23,
    )  # fmt: skip


def names_by_openssl(program: Program, who: str) -> tuple[str, ...]:
    """Name and address in a person's good signature certificate, each with its flags, as openssl prints them."""
    rows = program.json("ca", "show", who)
    (serial,) = (row["serial"] for row in rows if (row["kind"], row["state"]) == ("signature", "good"))
    text = program.run("ca", "certificate", "signature", serial).stdout
    command = ["openssl", "x509", "-noout", "-ext", "subjectAltName"]
    printed = subprocess.run(command, input=text, capture_output=True, text=True, check=True, timeout=LIMIT).stdout
    values = dict(re.findall(r"othername: 1\.2\.392\.200149\.8\.5\.5\.(\d)::([^,\n]*)", printed))
    return tuple(values[number] for number in "1256")


def test_import_is_all_or_nothing(new: Program, tmp_path: Path) -> None:
    good = [{"alias": f"p{number}", "family": "模擬", "birth": "1990-01-01", "sex": "1", "municipality": code,
             "street": "a"} for number, code in enumerate(("13113", "08220"))]  # fmt: skip
    (tmp_path / "good.jsonl").write_text("\n".join(json.dumps(line) for line in good))
    (tmp_path / "bad.jsonl").write_text("\n".join(json.dumps(line) for line in [*good, {"family": "x"}]))
    (tmp_path / "odd.jsonl").write_text(json.dumps(good[0]) + "\n5\n")
    (tmp_path / "good.csv").write_text("alias,family,birth,sex,municipality,street\nc,模擬,1990-01-01,1,13113,a\n")
    assert "line 3: birth is missing" in new.error(
        "import-refused", 2, "registry", "import", str(tmp_path / "bad.jsonl")
    )
    new.error("import-refused", 2, "registry", "import", str(tmp_path / "odd.jsonl"))
    for character in ("\n", "\0", "\u202e", "\u2028"):  # in a verdict, a second line would pass for the verdict's own
        (tmp_path / "forged.jsonl").write_text(json.dumps({**good[0], "family": f"見本{character}good"}))
        refused = new.error("import-refused", 2, "registry", "import", str(tmp_path / "forged.jsonl"))
        assert f"U+{ord(character):04X}" in refused
    assert new.json("registry", "list") == []
    assert new.json("registry", "import", str(tmp_path / "good.jsonl")) == {"registered": 2}
    assert "1 resident registered" in new.run("registry", "import", str(tmp_path / "good.csv")).stdout
    assert sorted(found["alias"] for found in new.json("registry", "list")) == ["c", "p0", "p1"]
    assert all(found["individual_number"] for found in new.json("registry", "list"))
    assert "already" in new.error("import-refused", 2, "registry", "import", str(tmp_path / "good.jsonl"))
    new.run("registry", "import", str(tmp_path / "nothere"), expect=2)
    assert new.json("registry", "rename", "13113", "a", "b") == {"people": 2}
    assert {found["alias"]: found["street"] for found in new.json("registry", "list")} == {
        "p0": "b",
        "p1": "a",
        "c": "b",
    }
    new.error("usage", 2, "registry", "rename", "13113", "b", "a\ngood")
    new.error("event-refused", 1, "registry", "event", "move-within", "c", "--street", "a\ngood")
    new.error("usage", 2, "registry", "rename", "99999", "a", "b")
