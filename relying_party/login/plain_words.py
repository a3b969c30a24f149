"""Verdicts in plain words, for people."""

from __future__ import annotations

from kazashi.relying_party.verify.finding import Finding
from kazashi.relying_party.verify.verdict import Verdict
from kazashi.web.pages import Bilingual

WORDS: dict[Finding, Bilingual] = {
    Finding.REVOKED: ("この電子証明書は失効しています。", "This certificate is revoked."),
    Finding.HELD: ("このカードは一時停止中です(紛失届)。", "This card is on hold: it was reported lost."),
    Finding.EXPIRED: ("電子証明書の有効期限が切れています。窓口で更新してください。",
                      "The certificate has expired. The municipal office renews it."),
    Finding.NO_INFORMATION: ("失効しているか確認できませんでした。しばらくして、もう一度お試しください。",
                             "Nobody could say whether the certificate is revoked. Try again in a while."),
    Finding.STALE_INFORMATION: ("失効情報が古いため確認できません。時計が合っているかもご確認ください。",
                                "What is known of revocation is too old, or a clock is wrong. Try again in a while."),
    Finding.STALE_CHALLENGE: ("時間が経ちすぎました。もう一度お試しください。", "That took too long. Begin again."),
    Finding.UNKNOWN_CHALLENGE: ("この操作は済んでいます。", "That was used already. Begin again."),
}  # fmt: skip
"""What users are told; findings that are not here mean that something tries to deceive, and get one sentence."""

_REASONS = {
    "affiliationChanged": ("住所や氏名が変わったためです。新しい署名用証明書が必要です。",
                           "Name or address has changed: a new signature certificate is needed."),
    "superseded": ("更新されたためです。新しい証明書をお使いください。", "It was renewed: use the new one."),
    "cessationOfOperation": ("返納・死亡・出国などのためです。", "The card was returned, or its holder has left."),
    "keyCompromise": ("盗難などのためです。", "The card was reported stolen."),
}  # fmt: skip


UNKNOWN = WORDS[Finding.NO_INFORMATION]
"""What is said where the authority does not answer."""


def explained(verdict: Verdict) -> tuple[Bilingual, ...]:
    """A verdict in plain words: what it is, and the reason where one is known."""
    finding = verdict.finding or Finding.MALFORMED
    said = WORDS.get(finding, ("このカードは受け付けられません。", f"This card is not accepted ({finding})."))
    if verdict.reason is not None and verdict.reason.asn1_name in _REASONS:
        return said, _REASONS[verdict.reason.asn1_name]
    return (said,)
