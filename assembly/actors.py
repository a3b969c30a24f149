"""The actors of a world: the store of each, its label, and the institution that holds it in the real world.

This is the only such list. Code that reads across stores (studies, `kazashi network rulings`, `kazashi points
exposure`) and code that registers callers of the verifier services takes the names from here.
"""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

from kazashi.assembly.network_offices import MUNICIPAL, NATIONAL, OUTSIDE_ADDRESSES, PENSION_ADDRESSES
from kazashi.card_management import mdoc_issuer, phones
from kazashi.card_management.free_area import ACTOR as MUNICIPAL_COUNTERS
from kazashi.card_management.management import ACTOR as CARD_MANAGEMENT
from kazashi.jpki.profile import CertificateType
from kazashi.medical_insurance import joint_store
from kazashi.pki import callers, certificate_database
from kazashi.provision_network import (
    address_store,
    body_register_store,
    core_store,
    health_checks,
    interface_store,
    intermediate,
    off_network,
    portal,
    tax_offices,
)
from kazashi.refund_points import centre, till
from kazashi.refund_points import portal as refund_portal
from kazashi.relying_party.login import provider_store, sample_site
from kazashi.relying_party.mykey import mykey
from kazashi.relying_party.platform import platform
from kazashi.relying_party.verify import challenges
from kazashi.resident_registry import juki_net, registry
from kazashi.world.home import World


@dataclass(frozen=True, slots=True)
class Owner:
    """The institution that holds a store in the real world.

    An institution that `issues` record codes, serial numbers or tokens, or passes them on, has them by law. All others
    get them only when a card is presented.
    """

    name: str
    japanese: str
    issues: bool = False


J_LIS = Owner("J-LIS", "地方公共団体情報システム機構", issues=True)
MUNICIPALITIES = Owner("municipal registry", "市町村", issues=True)
PREFECTURES = Owner("prefectures", "都道府県", issues=True)
CORE_OPERATOR = Owner("network's core", "総務省", issues=True)


@dataclass(frozen=True, slots=True)
class Actor:
    """An actor of a world: its store, its label in English and in Japanese, and its owner.

    `caller` is the name with which it calls the authority's services to verifiers. It is empty for an actor that does
    not call them. `number_by_law` says that it is an address system: it has individual numbers from the registry for
    its bodies' affairs (番号法9条), and not from a card.
    """

    store: str
    label: str
    japanese: str
    owner: Owner
    caller: str = ""
    number_by_law: bool = False


SHOP = Actor(till.store_name("*", "*"), "the shop", "店舗の端末", Owner("shop", "店舗"))
"""A till. Each has its own disk, outside the folder of stores. Its store is named after the shop and the till."""

CENTRE = Actor(centre.ACTOR, "the centre", "蓄積センター", Owner("refund point centre", "蓄積センター"))
REFUND_PORTAL = Actor(
    refund_portal.ACTOR,
    "the refund portal",
    "還付ポイントの申請サイト",
    Owner("refund portal", "還付ポイントの申請サイト"),
    "refund-portal",
)
PLATFORM = Actor(
    platform.ACTOR,
    "the platform operator",
    "プラットフォーム事業者",
    Owner("platform operator", "プラットフォーム事業者"),
    "platform-operator",
)
AUTHORITY = Actor(callers.ACTOR, "the authority (J-LIS)", "署名検証者への提供サービス", J_LIS)
CORE = Actor(core_store.ACTOR, "the information provision network's core", "コアシステム", CORE_OPERATOR)
MYKEY = Actor(
    mykey.ACTOR, "the MyKey platform", "マイキープラットフォーム", Owner("MyKey platform", "総務省"), "mykey-platform"
)
PORTAL = Actor(portal.ACTOR, "the portal", "マイナポータル", Owner("portal", "デジタル庁"), portal.INTERFACE_NAME)
SAMPLE_SITE = Actor(
    sample_site.ACTOR, "the sample site", "サンプルサイト (図書館)", Owner("sample site", "図書館"), "sample-site"
)
OPENID_PROVIDER = Actor(
    provider_store.ACTOR,
    "the OpenID provider",
    "OpenIDプロバイダー",
    Owner("OpenID provider", "プラットフォーム事業者"),
    "openid-provider",
)
JOINT_BODY = Actor(
    joint_store.ACTOR,
    "the insurers' joint body",
    "オンライン資格確認等システム",
    Owner("insurers' joint body", "支払基金・国保中央会"),
    "insurers",
)

_OTHERS = (
    Actor(registry.ACTOR, "the resident registry", "住民基本台帳", MUNICIPALITIES),
    Actor(juki_net.PREFECTURES, "the prefectures' nodes", "都道府県サーバー", PREFECTURES),
    Actor(juki_net.J_LIS, "Juki-Net's national node", "住基ネット全国サーバー", J_LIS),
    Actor(certificate_database.store_name(CertificateType.SIGNATURE), "the signature authority", "署名用認証局", J_LIS),
    Actor(
        certificate_database.store_name(CertificateType.AUTHENTICATION),
        "the authentication authority",
        "利用者証明用認証局",
        J_LIS,
    ),
    Actor(CARD_MANAGEMENT, "the card management", "カード管理システム", J_LIS),
    Actor(MUNICIPAL_COUNTERS, "the municipalities' card counters", "市町村のカード窓口", MUNICIPALITIES),
    Actor(mdoc_issuer.ACTOR, "the issuer of mdocs", "カード代替電磁的記録の発行者", J_LIS),
    Actor(phones.ACTOR, "the office for phones' certificates", "移動端末設備用電子証明書の発行窓口", J_LIS),
    Actor(
        address_store.ACTOR,
        "the integrated address systems",
        "団体内統合宛名システム",
        Owner("municipal address systems", "市町村"),
        number_by_law=True,
    ),
    Actor(
        interface_store.store_name(MUNICIPAL),
        "the municipalities' interface system",
        "市町村のインターフェイスシステム",
        Owner("interface system (towns)", "市町村"),
    ),
    Actor(
        interface_store.store_name(NATIONAL),
        "the pension service's interface system",
        "年金機構のインターフェイスシステム",
        Owner("interface system (pension)", "日本年金機構"),
    ),
    Actor(
        interface_store.store_name(portal.INTERFACE_NAME),
        "the portal's interface system",
        "マイナポータルのインターフェイスシステム",
        Owner("interface system (portal)", "デジタル庁"),
    ),
    Actor(
        intermediate.store_name(MUNICIPAL),
        "the municipalities' intermediate platform",
        "自治体中間サーバー・プラットフォーム",
        Owner("intermediate platform", "地方公共団体情報システム機構"),
    ),
    Actor(
        intermediate.store_name(NATIONAL),
        "the pension service's intermediate server",
        "年金機構の中間サーバー",
        Owner("pension service", "日本年金機構"),
    ),
    Actor(
        intermediate.store_name(portal.INTERFACE_NAME),
        "the portal's intermediate server",
        "マイナポータルの中間サーバー",
        Owner("portal's answers", "デジタル庁"),
    ),
    Actor(
        PENSION_ADDRESSES,
        "the pension service's address system",
        "年金機構の宛名システム",
        Owner("pension service", "日本年金機構"),
        number_by_law=True,
    ),
    Actor(
        OUTSIDE_ADDRESSES,
        "the address systems of parties outside the network",
        "ネットワーク外の者の宛名システム",
        Owner("parties outside the network", "国税庁・事業者等"),
        number_by_law=True,
    ),
    Actor(
        off_network.ACTOR,
        "the providers outside the network",
        "ネットワークによらない提供の記録",
        Owner("providers outside the network", "各提供者"),
    ),
    JOINT_BODY,
    Actor(
        body_register_store.ACTOR,
        "the bodies' registers of requests, consents and flows",
        "開示請求・同意・庁内連携等の台帳",
        Owner("bodies' registers", "各機関"),
    ),
    Actor(
        tax_offices.ACTOR,
        "the municipalities' tax offices",
        "市町村の税務課",
        Owner("municipal tax offices", "市町村"),
    ),
    Actor(health_checks.ACTOR, "the insurers", "医療保険者", Owner("insurers", "医療保険者")),
    Actor(challenges.ACTOR, "a relying party", "署名検証者", Owner("relying party", "署名検証者")),
)

ACTORS = (
    SHOP,
    CENTRE,
    REFUND_PORTAL,
    PLATFORM,
    AUTHORITY,
    CORE,
    MYKEY,
    PORTAL,
    SAMPLE_SITE,
    OPENID_PROVIDER,
    *_OTHERS,
)


def actors_of(world: World) -> list[Actor]:
    """The actors that have a store in this world so far, sorted by the name of the store.

    A store that is not in the list belongs to an unknown actor, which is included: a question about all actors must
    cover it, too.
    """
    if world.settings.storage:
        engine = world.store_to_study(CORE.store).engine
        names = {*sa.inspect(engine).get_schema_names()} - {"information_schema", "public"}
    else:
        names = {path.stem for path in (world.directory / "stores").glob("*.sqlite")}
    known = {actor.store: actor for actor in ACTORS}
    return [known.get(name) or _of_further_bodies(name) or Actor(name, name, name, Owner(name, name))
            for name in sorted(names)]  # fmt: skip


def _of_further_bodies(store: str) -> Actor | None:
    """The actor of a store that belongs to an interface system of bodies that were registered later, or None."""
    kind, _, interface = store.partition("_")
    bodies = Owner(f"bodies behind {interface}", f"{interface}の機関")
    match kind:
        case "interface":
            owner = Owner(f"interface system ({interface})", f"{interface}の機関")
            return Actor(store, f"the interface system {interface}", f"{interface}のインターフェイスシステム", owner)
        case "intermediate":
            return Actor(store, f"the intermediate server {interface}", f"{interface}の中間サーバー", bodies)
        case "addresses":
            return Actor(
                store, f"the address system {interface}", f"{interface}の宛名システム", bodies, number_by_law=True
            )
    return None
