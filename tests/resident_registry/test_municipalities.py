from __future__ import annotations

import re

import pytest

from kazashi.resident_registry.municipality import MunicipalityCode, municipalities, municipality
from kazashi.resident_registry.romaji import romaji

pytestmark = pytest.mark.unit

ROMAJI = re.compile(r"([A-Z][a-z]+-gun-|[A-Z][a-z]+-shi-)?([A-Z][a-z]+|Minami-alps)-(shi|ku|machi|cho|son|mura)")
PREFECTURE = re.compile(r"[A-Z][a-z]+-(to|do|fu|ken)")


def test_every_municipality_is_listed_once() -> None:
    places = municipalities()
    assert len(places) == 1892
    assert list(places) == sorted(places), "in the order of the codes"
    assert all(MunicipalityCode(str(code)) == code == place.code for code, place in places.items())
    assert len({(place.prefecture_romaji, place.romaji) for place in places.values()}) == 1892
    assert len({(place.prefecture, place.name) for place in places.values()}) == 1892


def test_there_are_47_prefectures_with_consecutive_codes() -> None:
    places = municipalities().values()
    prefectures = {(place.code.prefecture, place.prefecture, place.prefecture_romaji) for place in places}
    assert sorted(code for code, _, _ in prefectures) == [f"{number:02d}" for number in range(1, 48)]
    assert all(PREFECTURE.fullmatch(words) for _, _, words in prefectures)


def test_numbers_of_wards_and_cities() -> None:
    names = [place.name for place in municipalities().values()]
    wards = [name for name in names if re.fullmatch(".+市.+区", name)]
    special = [place for place in municipalities().values() if place.prefecture == "東京都" and place.name[-1] == "区"]
    assert len({name.partition("市")[0] for name in wards}) == 20, "designated cities"
    assert len(special) == 23
    assert len(names) - len(wards) == 1741 - 20, "all other municipalities, and the special wards"


def test_readings_are_romaji_and_end_with_the_level() -> None:
    for place in municipalities().values():
        assert ROMAJI.fullmatch(place.romaji), place
        assert not re.search("ou|uu|oo", place.prefecture_romaji.lower()), place


@pytest.mark.parametrize(
    ("code", "name", "prefecture", "words"),
    [
        ("13113", "渋谷区", "Tokyo-to", "Shibuya-ku"),
        ("14104", "横浜市中区", "Kanagawa-ken", "Yokohama-shi-Naka-ku"),
        ("08220", "つくば市", "Ibaraki-ken", "Tsukuba-shi"),
        ("12218", "勝浦市", "Chiba-ken", "Katsuura-shi"),
        ("20303", "南佐久郡小海町", "Nagano-ken", "Koumi-machi"),
        ("01101", "札幌市中央区", "Hokkai-do", "Sapporo-shi-Chuo-ku"),
        ("27127", "大阪市北区", "Osaka-fu", "Osaka-shi-Kita-ku"),
        ("26104", "京都市中京区", "Kyoto-fu", "Kyoto-shi-Nakagyo-ku"),
        ("13421", "小笠原村", "Tokyo-to", "Ogasawara-mura"),
        ("47201", "那覇市", "Okinawa-ken", "Naha-shi"),
        ("47355", "島尻郡粟国村", "Okinawa-ken", "Aguni-son"),
        ("10344", "北群馬郡榛東村", "Gunma-ken", "Shinto-mura"),
        ("10345", "北群馬郡吉岡町", "Gunma-ken", "Yoshioka-machi"),
        ("30421", "東牟婁郡那智勝浦町", "Wakayama-ken", "Nachikatsuura-cho"),
    ],
)
def test_known_names(code: str, name: str, prefecture: str, words: str) -> None:
    place = municipality(code)
    assert (place.name, place.prefecture_romaji, place.romaji) == (name, prefecture, words)


def test_levels_of_the_prefectures() -> None:
    levels = {place.prefecture: place.prefecture_romaji for place in municipalities().values()}
    assert [levels[name] for name in ("東京都", "北海道", "大阪府", "京都府")] == [
        "Tokyo-to", "Hokkai-do", "Osaka-fu", "Kyoto-fu",
    ]  # fmt: skip
    assert sum(words.endswith("-ken") for words in levels.values()) == 43


def test_towns_with_the_same_reading_have_their_district_in_the_name() -> None:
    assert municipality("01361").romaji == "Hiyama-gun-Esashi-cho"
    assert municipality("01514").romaji == "Esashi-gun-Esashi-cho"
    districts = [place.code for place in municipalities().values() if "-gun-" in place.romaji]
    assert districts == ["01361", "01514"], "nowhere else is a district needed"


@pytest.mark.parametrize("code", ["00000", "13000", "99999", "13100", "14100"])
def test_a_code_without_municipality_is_refused(code: str) -> None:
    with pytest.raises(ValueError, match="no municipality has the code"):
        municipality(code)


@pytest.mark.parametrize("code", ["", "1311", "131130", "1311a", "１３１１３", " 1311"])
def test_a_malformed_code_is_refused(code: str) -> None:
    with pytest.raises(ValueError, match="five digits"):
        municipality(code)


@pytest.mark.parametrize(
    ("kana", "words"),
    [
        ("オオタ", "Ota"),
        ("コウフ", "Kofu"),
        ("ジョウエツ", "Joetsu"),
        ("ユウバリ", "Yubari"),
        ("ニイガタ", "Niigata"),
        ("イッチ", "Itchi"),
        ("ホッカイ", "Hokkai"),
    ],
)
def test_long_vowels_are_shortened_and_others_are_kept(kana: str, words: str) -> None:
    assert romaji(kana) == words


def test_a_prefecture_is_read_once() -> None:
    """Every resident that is loaded looks their municipality up."""
    municipalities.cache_clear()
    assert municipality("13113") is municipality("13113")
