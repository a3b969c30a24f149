"""Explanations of verdicts for users, in Japanese and English."""

from __future__ import annotations

from kazashi.relying_party.verify.finding import Finding
from kazashi.relying_party.verify.verdict import Verdict
from kazashi.web.pages import Bilingual

WORDS: dict[Finding, Bilingual] = {
    Finding.REVOKED: ("この電子証明書は失効しています。", "This certificate is revoked."),
    Finding.HELD: ("このカードは一時停止中です(紛失届)。", "This card is on hold: it was reported lost."),
    Finding.EXPIRED: ("電子証明書の有効期限が切れています。窓口で更新してください。",
                      "The certificate has expired. Renew it at the municipal office."),
    Finding.NO_INFORMATION: ("失効しているか確認できませんでした。しばらくして、もう一度お試しください。",
                             "The revocation status of the certificate is unavailable. Try again later."),
    Finding.STALE_INFORMATION: ("失効情報が古いため確認できません。時計が合っているかもご確認ください。",
                                "The revocation information is too old, or a clock is wrong. Try again later."),
    Finding.STALE_CHALLENGE: ("時間が経ちすぎました。もう一度お試しください。", "That took too long. Start again."),
    Finding.UNKNOWN_CHALLENGE: ("この操作は済んでいます。", "This has already been used. Start again."),
}  # fmt: skip
"""The explanation of each finding. Findings that are not listed indicate an attack, and share one sentence."""

_REASONS = {
    "affiliationChanged": ("住所や氏名が変わったためです。新しい署名用証明書が必要です。",
                           "The name or address has changed. A new signature certificate is needed."),
    "superseded": ("更新されたためです。新しい証明書をお使いください。", "It was renewed. Use the new one."),
    "cessationOfOperation": ("返納・死亡・出国などのためです。",
                             "The card was returned, or its holder died or left the country."),
    "keyCompromise": ("盗難などのためです。", "The card was reported stolen."),
}  # fmt: skip


UNKNOWN = WORDS[Finding.NO_INFORMATION]
"""The explanation if the authority does not respond."""


def explained(verdict: Verdict) -> tuple[Bilingual, ...]:
    """Return the explanation of a verdict that is not good, and of its revocation reason if that is known."""
    finding = verdict.finding or Finding.MALFORMED
    sentence = WORDS.get(finding, ("このカードは受け付けられません。", f"This card is not accepted ({finding})."))
    if verdict.reason is not None and verdict.reason.asn1_name in _REASONS:
        return sentence, _REASONS[verdict.reason.asn1_name]
    return (sentence,)
