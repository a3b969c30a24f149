"""Made-up names of two characters each, combined from lists, with their readings. They refer to no real person."""

from __future__ import annotations

_FAMILY_FIRST = (
    "山ヤマ 高タカ 中ナカ 小コ 大オオ 木キ 石イシ 上ウエ 下シモ 西ニシ 東ヒガシ 北キタ 南ミナミ 松マツ 竹タケ "
    "梅ウメ 杉スギ 桜サクラ 森モリ 林ハヤシ 川カワ 河カワ 谷タニ 岡オカ 島シマ 浜ハマ 村ムラ 田タ 吉ヨシ 福フク "
    "永ナガ 長ナガ 広ヒロ 平ヒラ 安ヤス 金カネ 黒クロ 白シラ 青アオ 赤アカ 水ミズ 清キヨ 池イケ 沢サワ 井イ "
    "今イマ 新アラ 古フル 内ウチ 外ソト 前マエ 後ゴ 宮ミヤ 寺テラ 秋アキ 春ハル 夏ナツ 冬フユ 三ミ 五ゴ 八ヤ 千チ "
    "国クニ 渡ワタ"
)
_FAMILY_SECOND = (
    "田ダ 川カワ 山ヤマ 本モト 村ムラ 木キ 野ノ 原ハラ 井イ 崎サキ 沢ザワ 島シマ 谷タニ 岡オカ 口グチ 橋ハシ "
    "林バヤシ 森モリ 池イケ 浜ハマ 辺ベ 部ベ 藤トウ 中ナカ 内ウチ 尾オ 瀬セ 塚ツカ 坂サカ 松マツ 竹タケ 杉スギ "
    "畑ハタ 沼ヌマ 江エ 津ツ 宮ミヤ 屋ヤ 倉クラ 石イシ 根ネ 峰ミネ 葉ハ 泉イズミ 久ク 司シ 戸ト 方カタ 地チ "
    "代シロ 目メ 間マ 岩イワ 嶋シマ 広ヒロ 国クニ 斉サイ 桜ザクラ 桑クワ 星ホシ 水ミズ 土ド 和ワ 飼カイ"
)
_GIVEN_FIRST = (
    "明アキ 和カズ 幸ユキ 正マサ 健ケン 美ミ 恵エ 千チ 陽ヨウ 春ハル 秋アキ 直ナオ 信ノブ 義ヨシ 光ミツ 智トモ "
    "文フミ 敏トシ 弘ヒロ 雅マサ 由ユ 真マ 亜ア 麻アサ 友トモ 菜ナ 里リ 沙サ 彩アヤ 花ハナ 良リョウ 英ヒデ 勝カツ "
    "達タツ 哲テツ 純ジュン 礼レイ 結ユ 優ユウ 悠ユウ"
)
_GIVEN_SECOND = (
    "子コ 美ミ 恵エ 香カ 代ヨ 江エ 奈ナ 里リ 乃ノ 花カ 夫オ 男オ 雄オ 郎ロウ 一イチ 二ジ 三ゾウ 也ヤ 哉ヤ 彦ヒコ "
    "樹キ 人ト 太タ 介スケ 輔スケ 之ユキ 行ユキ 志シ 司シ 治ジ 博ヒロ 明アキ 貴キ 紀ノリ 織オリ 穂ホ 音ネ 月ツキ "
    "佳カ 央オ"
)


def _pairs(firsts: str, seconds: str) -> list[tuple[str, str]]:
    """Every first character with every second, ordered so that the most frequent names differ in both."""
    one, other = firsts.split(), seconds.split()
    names = []
    for place in range(len(one) * len(other)):
        first, second = one[place % len(one)], other[(place // len(one) + place) % len(other)]
        names.append((first[0] + second[0], first[1:] + second[1:]))
    return names


FAMILIES, GIVEN = _pairs(_FAMILY_FIRST, _FAMILY_SECOND), _pairs(_GIVEN_FIRST, _GIVEN_SECOND)
"""Pairs of a name in characters and its reading, the most frequent first."""

VARIANTS = {"高": "髙", "崎": "﨑", "沢": "澤", "辺": "邊", "斉": "齋", "浜": "濱", "桜": "櫻", "広": "廣", "国": "國"}
"""Characters that people also write in a variant form, and that form."""
