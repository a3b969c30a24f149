"""Sample residents, each a difficult case of a different kind. None of the people and none of the addresses exist."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import date
from functools import cache

from kazashi.resident_registry.birth_date import BirthDate
from kazashi.resident_registry.municipality import municipality
from kazashi.resident_registry.resident import JAPAN, Name, Resident, Sex

_SHIBUYA, _OGASAWARA, _YOKOHAMA_NAKA, _OSAKA_KITA = "13113", "13421", "14104", "27127"
_SAPPORO_CHUO, _NAKAGYO, _TSUKUBA, _NAHA = "01101", "26104", "08220", "47201"

_LONGEST_STREET = (
    "烏丸通六角下る七観音町９９９番地の９９９　架空の長い名前の集合住宅「"
    + "ザ・グランドパークレジデンス・" * 9
    + "」別館九十九号棟９９９９号室　模擬方"
)


def _resident(
    alias: str,
    about: str,
    name: Name,
    birth: tuple[int, int, int],
    sex: Sex,
    code: str,
    street: str,
    stay_end: date | None = None,
    nationality: str = JAPAN,
    household: str = "",
) -> tuple[str, Callable[[], Resident]]:
    residence_status = "specialist" if stay_end else "permanent resident" if nationality != JAPAN else ""

    @cache
    def resident() -> Resident:
        return Resident(
            alias=alias,
            about=about,
            name=name,
            birth=BirthDate(*birth),
            sex=sex,
            municipality=municipality(code),
            street=street,
            stay_end=stay_end,
            nationality=nationality,
            residence_status=residence_status,
            household=household or alias,
        )

    return alias, resident


class _SampleResidents(Mapping[str, Resident]):
    """Residents by alias.

    A resident is made at the first lookup, because its municipality has to be read from a large table.
    """

    def __init__(self, *residents: tuple[str, Callable[[], Resident]]) -> None:
        self._residents = dict(residents)

    def __getitem__(self, alias: str) -> Resident:
        return self._residents[alias]()

    def __iter__(self) -> Iterator[str]:
        return iter(self._residents)

    def __len__(self) -> int:
        return len(self._residents)


_F, _M = Sex.FEMALE, Sex.MALE

SAMPLE_RESIDENTS: Mapping[str, Resident] = _SampleResidents(
    _resident("hanako", "the default card, without special cases", Name("番号", "花子", kana="バンゴウ　ハナコ"),
              (1988, 4, 17), _F, _SHIBUYA, "架空町９丁目９９番９９号"),
    _resident("taro", "the same household", Name("番号", "太郎", kana="バンゴウ　タロウ"), (1986, 11, 3), _M,
              _SHIBUYA, "架空町９丁目９９番９９号", household="hanako"),
    _resident("long-name", "a name longer than the line printed on the card",
              Name("ＷＩＬＨＥＬＭＩＮＡ－ＭＡＸＩＭＩＬＩＡＮＡ",
                   "ＡＮＡＳＴＡＳＩＡ　ＢＡＲＴＨＯＬＯＭＥＡ　ＣＯＮＣＥＰＣＩＯＮ"),
              (1979, 8, 30), _F, _YOKOHAMA_NAKA, "模擬町９９番地", date(2036, 3, 31),
              "DE"),
    _resident("single-name", "one name only", Name("ＳＵＨＡＲＴＡＮＴＯ"), (1991, 2, 11), _M,
              _TSUKUBA, "見本台９丁目９番地９", date(2035, 9, 30), "ID"),
    _resident("former-surname", "a former surname beside the name",
              Name("見本", "良子", "旧見", kana="ミホン　ヨシコ", former_surname_kana="キュウケン"),
              (1983, 6, 1), _F, _OSAKA_KITA, "架空橋９丁目９番９号"),
    _resident("common-name", "a foreign resident with a common name",
              Name("ＬＥＥ", "ＭＯＧＩ", common_name="木村　模擬"), (1995, 12, 24), _F, _OSAKA_KITA,
              "架空橋９丁目９番１０号", date(2034, 6, 30), "KR"),
    _resident("rare-kanji", "characters outside JIS X 0208, one of them outside Unicode's first plane",
              Name("𠮷﨑", "髙次郎"), (1971, 1, 31), _M, _NAKAGYO, "藪之内町９９番地の９"),
    _resident("variant-kanji", "a glyph chosen by a variation selector",
              Name("葛\U000e0100城", "辻\U000e0100美"),
              (1999, 9, 9), _F, _NAKAGYO, "藪之内町９９番地の１０"),
    _resident("unknown-day", "born on an unknown day", Name("架空", "キヨ"), (1936, 4, 0), _F,
              _SAPPORO_CHUO, "北九十九条西９９丁目９番地"),
    _resident("unknown-month", "born in an unknown month", Name("架空", "トメ"), (1931, 0, 0), _F,
              _SAPPORO_CHUO, "北九十九条西９９丁目１０番地"),
    _resident("leap-day", "born on 29 February", Name("閏", "二月"), (2000, 2, 29), _M, _NAHA,
              "架空９丁目９番９号"),
    _resident("child", "under 15: no signature certificate", Name("番号", "小春", kana="バンゴウ　コハル"),
              (2016, 5, 5), _F, _SHIBUYA, "架空町９丁目９９番９９号", household="hanako"),
    _resident("taisho", "born in the Taisho era", Name("大正", "ハナ"), (1924, 10, 10), _F,
              _OGASAWARA, "父島字架空９９番地"),
    _resident("long-address", "an address of the maximum length", Name("長井", "町子"), (1990, 7, 7), _F,
              _NAKAGYO, (_LONGEST_STREET + "＊" * 200)[: 200 - len("京都府京都市中京区")]),
    _resident("sex-unstated", "sex not stated", Name("見本", "ひかる"), (1993, 3, 3), Sex.NOT_APPLICABLE,
              _YOKOHAMA_NAKA, "模擬町９９番地"),
    _resident("short-stay", "certificates that end with the period of stay", Name("ＭＯＣＫ", "ＥＸＡＭＰＬＥ"),
              (1998, 10, 2), _M, _NAHA, "架空９丁目９番１０号", date(2028, 1, 15), "GB"),
    _resident("blocked", "the authentication PIN is blocked", Name("閉塞", "守"), (1965, 5, 20), _M,
              _TSUKUBA, "見本台９丁目９番地１０"),
    _resident("last-try", "one retry left on both PINs", Name("背水", "陣"), (1977, 7, 17), _M,
              _TSUKUBA, "見本台９丁目９番地１１"),
    _resident("expired", "both certificates have expired", Name("期限", "切子"), (1969, 9, 29), _F,
              _YOKOHAMA_NAKA, "模擬町９９番地の２"),
)  # fmt: skip
"""Residents by alias."""
