"""The sentences of the desk's page, in Japanese and English. `{}` and named fields are filled in."""

from __future__ import annotations

from collections.abc import Mapping

from kazashi.medical_insurance.eligibility import EligibilityState
from kazashi.medical_insurance.terminal import TerminalTrouble
from kazashi.web.pages import Bilingual

STATES: Mapping[EligibilityState, Bilingual] = {
    EligibilityState.VALID: ("有効な保険資格があります。", "The insurance is valid."),
    EligibilityState.ENDED: ("この資格は終了しています。新しい保険を確認してください。",
                             "This insurance has ended. Ask for the new one."),
    EligibilityState.NOT_YET: ("この資格はまだ始まっていません。", "This insurance has not begun yet."),
    EligibilityState.NOT_REGISTERED: (
        "このカードは保険証として登録されていません。下のボタンで登録できます。",
        "This card is not registered as an insurance card. The button below registers it."),
    EligibilityState.NOT_INSURED: ("この方の資格を届け出た保険者はありません。",
                                   "No insurer has reported an insurance of this person."),
    EligibilityState.CARD_REVOKED: ("このカードの電子証明書は失効しています。",
                                    "The certificate on this card is revoked."),
    EligibilityState.CARD_ON_HOLD: ("このカードは一時停止中です（紛失届）。",
                                    "This card is on hold: it was reported lost."),
    EligibilityState.CARD_EXPIRED: (
        "このカードの電子証明書は有効期限が切れています。市区町村の窓口で更新できます。",
        "The certificate on this card has expired. The municipal office renews it."),
    EligibilityState.CARD_REJECTED: ("このカードは受け付けられません。", "This card is not accepted."),
    EligibilityState.CARD_UNCHECKED: (
        "カードが有効か、いま確認できません。しばらくして、もう一度お試しください。",
        "Whether the card is valid cannot be found out at the moment. Try again later."),
    EligibilityState.NO_ANSWER: (
        "ネットワークから回答がありません。資格は確認できていません。もう一度お試しください。",
        "The network does not respond. The insurance is not confirmed. Try again."),
    EligibilityState.DENIED: ("ネットワークが照会を認めませんでした。資格は確認できていません。",
                              "The network denied the request. The insurance is not confirmed."),
}  # fmt: skip
"""What the joint body has found."""

TROUBLES: Mapping[TerminalTrouble, Bilingual] = {
    TerminalTrouble.NO_CARD: ("カードがありません。リーダーに置いて、もう一度お試しください。",
                              "No card was found. Put it on the reader, and try again."),
    TerminalTrouble.TWO_CARDS: ("カードが２枚以上あります。１枚だけ置いてください。",
                                "There are several cards. Leave only one on the reader."),
    TerminalTrouble.CARD_FAILED: ("カードを読めませんでした。もう一度置いてください。",
                                  "The card could not be read. Put it on the reader again."),
    TerminalTrouble.NOT_FOR_LOGINS: ("このカードには利用者証明用電子証明書がありません。",
                                     "This card has no authentication certificate."),
    TerminalTrouble.PIN_MALFORMED: ("暗証番号は数字４桁です。カードには送っていません。",
                                    "A PIN has four digits. This was not sent to the card."),
    TerminalTrouble.PIN_WRONG: ("暗証番号が違います。あと{left}回まちがえるとロックされます。",
                                "The PIN is wrong. Tries left before it is blocked: {left}."),
    TerminalTrouble.PIN_BLOCKED: (
        "暗証番号がロックされています。市区町村の窓口で再設定できます。顔の確認でも受け付けられます。",
        "The PIN is blocked. The municipal office resets it. A comparison of the face is possible instead."),
    TerminalTrouble.TERMINAL_REFUSED: (
        "このカードは、この端末での暗証番号なしの確認に対応していません。暗証番号で確認してください。",
        "This card does not accept this terminal without the PIN. Use the PIN."),
    TerminalTrouble.UNREACHABLE: (
        "医療保険の共同機関につながりません。資格は確認できていません。もう一度お試しください。",
        "The insurers' joint body does not respond. The insurance is not confirmed. Try again."),
    TerminalTrouble.BUSY: ("別の確認が進んでいます。終わってから、もう一度お試しください。",
                           "Another check is under way. Try again when it has ended."),
}  # fmt: skip
"""What the terminal has found."""

FACE_NOT_COMPARED: Bilingual = (
    "職員が顔を見比べたことを確かめてから、チェックを入れてください。",
    "Tick the box when staff has compared the face.",
)

LABELS: Mapping[str, Bilingual] = {
    "title": ("保険資格の確認", "Insurance check"),
    "other": ("English", "日本語"),
    "card": ("カードをリーダーに置いて、確認の方法を選んでください。",
             "Put the card on the reader, and choose how the holder is verified."),
    "by_pin": ("暗証番号で確認", "With the PIN"),
    "pin": ("利用者証明用電子証明書の暗証番号（数字４桁）", "PIN of the authentication certificate (4 digits)"),
    "check": ("確認する", "Check"),
    "by_face": ("顔を見て確認（暗証番号なし）", "By the face (without the PIN)"),
    "compared": ("カードの写真と顔を、職員が見比べました。",
                 "Staff has compared the face with the photograph on the card."),
    "no_recognition": ("この端末に顔認証の機能はありません。職員の目視が代わりです。",
                       "There is no face recognition here. A look by staff stands in for it."),
    "register": ("このカードを保険証として登録する", "Register this card as an insurance card"),
    "insurer": ("保険者", "Insurer"),
    "insured_number": ("記号・番号", "Insured number"),
    "validity": ("有効期間", "Valid"),
    "from": ("{}から", "from {}"),
    "until": ("{}から{}まで", "from {} to {}"),
    "details": ("詳細", "Details"),
    "next": ("次の方へ", "Next patient"),
}  # fmt: skip
"""The page's other texts."""
