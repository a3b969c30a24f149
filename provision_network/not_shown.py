"""What the portal does not show, with the rule: the same sentences for everybody on a day, whatever has happened. So
nobody learns from them whether an investigator has asked."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from kazashi.provision_network.law.versions import VERSIONS, ProvisionItem, version_on

_Item = ProvisionItem


@dataclass(frozen=True, slots=True)
class NotShown:
    """A kind of thing that the portal does not show, in Japanese and in English, and the rule."""

    japanese: str
    english: str
    rule: str


def not_shown(on: date) -> tuple[NotShown, ...]:
    """Return what the portal does not show, by the law of a day."""
    network, investigation = cited(on, _Item.NETWORK, _Item.NETWORK_ORDINANCE), cited(on, _Item.INVESTIGATION)
    return (
        NotShown(
            "提供された情報の内容",
            "the content of an exchange; a record only has the requester, the provider, the time and the item",
            "番号法23条",
        ),
        NotShown("どのように突合されたか", "how records were matched with each other inside a body", "番号法9条"),
        NotShown(
            f"情報提供ネットワークシステム以外の提供（番号法{network}以外）",
            "information provided outside the network: between tax offices or insurers, under a contract, or in danger",
            f"番号法{cited(on, _Item.TAXES, _Item.RELATED_AFFAIR, _Item.ENTRUSTMENT, _Item.PROTECTION)}",
        ),
        NotShown(
            f"捜査機関等への提供（{investigation}・{cited(on, _Item.COMMISSION_RULE)}）と、その照会の有無",
            "information provided to investigators, courts and the Diet, and whether any of them has asked;"
            " the Commission does not inspect it, and it needs an impact assessment only if they keep a file of it",
            f"番号法{cited(on, _Item.INVESTIGATION, _Item.COMMISSION_RULE)}, 28条, 36条",
        ),
        NotShown("同じ団体の中での利用", "use between the offices of the same body", "番号法9条1項・2項"),
    )


def why_hidden(on: date, item: ProvisionItem) -> str:
    """Return why the portal does not show a provision under an item of article 19."""
    rule = cited(on, item)
    match item:
        case ProvisionItem.INVESTIGATION:
            return (
                f"{rule}: investigators are exempt from the portal, and from the Commission's inspection (36条); an"
                " impact assessment is needed only if they keep a file (28条)"
            )
        case ProvisionItem.COMMISSION_RULE:
            return f"{rule}: a rule of the Commission treats it like a provision to investigators"
        case _:
            return f"{rule}: not over the network, so that the core has no record (23条)"


def cited(on: date, *items: ProvisionItem) -> str:
    """Return how the law of a day numbers items of article 19. A version before the Act, or an item that the day's
    version lacks, is left out."""
    version = version_on(on) or VERSIONS[-1]
    numbers = sorted(number for item in items if (number := version.number(item)) is not None)
    return "・".join(f"19条{number}号" for number in numbers[:1]) + "".join(f"・{number}号" for number in numbers[1:])
