"""All pages of the product, rendered with one text in every place where text comes from outside."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qsl, quote, urlsplit

import httpx
import polars as pl
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from kazashi.assembly.institutions import Institutions
from kazashi.card.certification_request import certification_request
from kazashi.jpki.profile import CertificateType, Medium
from kazashi.medical_insurance.desk_pages import DeskPages
from kazashi.medical_insurance.eligibility import EligibilityResult, EligibilityState
from kazashi.medical_insurance.entitlement import Entitlement
from kazashi.medical_insurance.terminal import TerminalTrouble, Troubled
from kazashi.pki.certificate import CertificateRequest
from kazashi.provision_network.asking import OutgoingRequest, RequestStage
from kazashi.provision_network.intermediate import Received
from kazashi.provision_network.open_log import Precision
from kazashi.provision_network.portal import Look, OwnInformation
from kazashi.provision_network.portal_pages import PortalPages
from kazashi.provision_network.portal_store import METADATA
from kazashi.provision_network.terms import NetworkRejected, ProvisionRecord, RequestOutcome
from kazashi.reader_bridge.check import result
from kazashi.reader_bridge.check.compare import compare
from kazashi.reader_bridge.check.page import comparison_page, report_page
from kazashi.refund_points.portal import RefundPortal
from kazashi.refund_points.refunds import ApplicationState, RefundApplication, RefundReason, RefundRejected, YearBalance
from kazashi.refund_points.zengin import Account
from kazashi.relying_party.login import agent, provider_store
from kazashi.relying_party.login.agent import Agent, ask_address, read_ask
from kazashi.relying_party.login.card_reader import CardMissing, PinWrong, Signed
from kazashi.relying_party.login.provider import Provider
from kazashi.relying_party.login.provider_store import ProviderStore
from kazashi.relying_party.login.sample_site import SampleSite
from kazashi.relying_party.platform.platform import Platform
from kazashi.relying_party.verify.anchors import AnchorsInDirectory
from kazashi.relying_party.verify.authentication import Challenge
from kazashi.relying_party.verify.linkage import NoLinkage
from kazashi.relying_party.verify.sources import lists_in
from kazashi.relying_party.verify.verification import Verifier
from kazashi.resident_registry.resident import Name
from kazashi.studies.open_log import COLUMNS, PublishedLog
from kazashi.studies.open_log_page import insights_page
from kazashi.tools.daemon.console.access_control import AccessControl
from kazashi.tools.demo.demo import DemoStep, write_report
from kazashi.tracking_lab.page.words import Language
from kazashi.tracking_lab.report import as_html
from kazashi.world.home import World
from kazashi.world.key_source import SharedKeySource, generate
from tests.town import MORNING, new_institutions
from tests.web.tracking_results import examined_logs, tracking_report

SITE, AGENT = "http://localhost:18611", "http://127.0.0.1:18610"


class Browser:
    """An HTTP client of one application, with its own cookies. It does not follow redirects."""

    def __init__(self, application: Any, address: str) -> None:
        transport = httpx.ASGITransport(application)
        self._client = httpx.AsyncClient(transport=transport, base_url=address, headers={"Origin": address})

    @property
    def cookies(self) -> httpx.Cookies:
        return self._client.cookies

    def get(self, path: str, **settings: Any) -> httpx.Response:
        return asyncio.run(self._client.get(path, **settings))

    def post(self, path: str, **settings: Any) -> httpx.Response:
        return asyncio.run(self._client.post(path, **settings))


class Holder:
    """A holder of both certificates, with `text` as name and address."""

    def __init__(self, town: Institutions, text: str) -> None:
        pkcs8, now = generate(), town.world.clock.now()
        key = serialization.load_der_private_key(pkcs8, None)
        assert isinstance(key, rsa.RSAPrivateKey)
        self._key = key
        resident = replace(town.resident("hanako"), name=Name(text), street=text)
        self._certificates = {
            kind: town.authorities[kind].issue(
                CertificateRequest(
                    resident, certification_request(pkcs8), now, now + timedelta(days=400), Medium.PHONE, "phone"
                )
            )
            for kind in CertificateType
        }
        town.settle()

    def signed(self, kind: CertificateType, message: bytes) -> Signed:
        return Signed(self._key.sign(message, padding.PKCS1v15(), hashes.SHA256()), self._certificates[kind])

    def pem(self) -> str:
        """The authentication certificate as PEM."""
        certificate = x509.load_der_x509_certificate(self._certificates[CertificateType.AUTHENTICATION])
        return certificate.public_bytes(serialization.Encoding.PEM).decode()

    def log_in(self, browser: Browser, purpose: str) -> list[str]:
        """Log in to a site, and return the pages on the way."""
        page, onward = self.answer(browser, browser.post(f"/begin/{purpose}").headers["location"])
        return [page, browser.get(onward).text]

    def answer(self, browser: Browser, address: str) -> tuple[str, str]:
        """Do what the agent's page does at an address: sign, and let the browser bring the response to the site. Return
        the site's page, and the path at which the browser continues."""
        request = dict(parse_qsl(urlsplit(address).query))
        challenge = read_ask(request).challenge
        signed = self.signed(challenge.kind, challenge.message)
        response = browser.post("/answer", data={
            "nonce": request["nonce"], "state": request["state"], "signature": signed.signature.hex(),
            "certificate": signed.certificate.hex(),
        })  # fmt: skip
        onward = re.search(r"url=(/end/\w+)", response.text)
        assert onward is not None, response.text
        return response.text, onward[1]


class StubRefunds:
    """A centre at which a person has points of three years and an application in each state."""

    def __init__(self, text: str) -> None:
        self._text = text
        self.empty = False

    def register(self, person: str, attributes: Any) -> None:
        assert attributes.name == self._text

    def log_in(self, person: str, serials: list[int]) -> bool:
        return True

    def name(self, person: str) -> str:
        return self._text

    def years(self, person: str) -> list[YearBalance]:
        rows = [YearBalance(2028, 900, 900, 0, 0, 0, 0), YearBalance(2027, 5_200, 1_000, 500, 2_500, 1_200, 30),
                YearBalance(2026, 4_000, 0, 0, 4_000, 0, 0)]  # fmt: skip
        return [] if self.empty else rows

    def applications(self, person: str) -> list[RefundApplication]:
        account = Account("0005", "001", "1", self._text, self._text)
        states = [] if self.empty else list(ApplicationState)
        return [
            RefundApplication(number, person, 2027, 1_000, state, account) for number, state in enumerate(states, 1)
        ]

    def apply(self, person: str, year: int, account: Account, name: str) -> None:
        raise RefundRejected(RefundReason.OTHER_HOLDER, f"not to {account.holder}")


class StubPortal:
    """A portal with one folder, a record of each outcome, and own information at each stage."""

    def __init__(self, world: World, text: str) -> None:
        self._text = text
        self.store = world.store("portal", METADATA)
        self.away: Exception | None = None
        self.empty = False

    def set_up(self, serial: int) -> str:
        return "1"

    def folder_of(self, serial: int) -> str:
        return "1"

    def records(self, actor: str, subject: str) -> list[ProvisionRecord]:
        if self.away is not None:
            raise self.away
        outcomes = [] if self.empty else list(RequestOutcome)
        return [ProvisionRecord(number, self._text, self._text, self._text, MORNING, None, outcome, self._text)
                for number, outcome in enumerate(outcomes)]  # fmt: skip

    def looks_elsewhere(self, subject: str) -> list[Look]:
        return [] if self.empty else [Look(MORNING, self._text, subject, "records")]

    def own_information(self, actor: str, subject: str) -> list[OwnInformation]:
        received = [Received(1, self._text, self._text, content, MORNING, MORNING) for content in (self._text, None)]
        stages = [(RequestStage.ANSWERED, one) for one in received] + [(stage, None) for stage in RequestStage]
        return [] if self.empty else [
            OwnInformation(OutgoingRequest(1, self._text, self._text, self._text, MORNING, stage, 1, "", "", ""), one)
            for stage, one in stages
        ]  # fmt: skip

    def providers(self) -> list[str]:
        return [self._text]

    def looks(self, subject: str) -> list[Look]:
        return [] if self.empty else [Look(MORNING, actor, subject, self._text) for actor in (subject, self._text)]

    def ask(self, folder: str, provider: str, item: str) -> None:
        raise NetworkRejected("refused", f"not from {provider}")


def pages_of(text: str, directory: Path, keys: SharedKeySource) -> dict[str, str]:
    """All pages, by name."""
    town = new_institutions(directory / "w", keys)
    with pytest.MonkeyPatch.context() as patch:
        holder = Holder(town, text)
        tree = town.world.publication
        verifier = Verifier(AnchorsInDirectory(tree / "ca"), [lists_in(tree)], town.world.clock)
        pages = dict(_sample_site(text, town.world, verifier, holder))
        pages |= _refund_portal(text, town.world, verifier, holder)
        pages |= _portal(text, town.world, verifier, holder)
        pages |= _provider(text, town.world, verifier, patch)
        pages |= _agent(text, holder, patch)
        pages |= _desk(text)
        pages |= _files(text, directory)
        closed = Browser(AccessControl(None, "key", "session", 18600), "http://localhost:18600").get("/")
        pages["console: closed"] = closed.text
    town.world.close()
    return pages


def _sample_site(text: str, world: World, verifier: Verifier, holder: Holder) -> Iterator[tuple[str, str]]:
    platform = Platform(world, NoLinkage())
    browser = Browser(SampleSite(world, verifier, platform, SITE, AGENT).application(), SITE)
    yield "site: front", browser.get("/").text
    yield "site: not registered", holder.log_in(browser, "login")[1]
    yield "site: onward", holder.log_in(browser, "register")[0]
    yield "site: home", browser.get("/").text
    yield "site: refused", browser.post("/answer", data={"state": text}).text
    yield "site: another's", browser.get("/end/another").text
    yield "site: tls refused", browser.get("/tls").text
    behind = Browser(SampleSite(world, verifier, platform, SITE, AGENT, "secret").application(), SITE)
    shown = {"X-Proxy-Secret": "secret"}
    yield "site: tls without a certificate", behind.get("/tls", headers=shown).text
    yield "site: tls", behind.get("/tls", headers=shown | {"X-Client-Certificate": quote(holder.pem())}).text


def _refund_portal(text: str, world: World, verifier: Verifier, holder: Holder) -> Iterator[tuple[str, str]]:
    refunds = StubRefunds(text)
    portal = RefundPortal(world, refunds, verifier, NoLinkage(), SITE, AGENT)  # type: ignore[arg-type]
    browser = Browser(portal.application(), SITE)
    yield "refunds: front", browser.get("/").text
    yield "refunds: not logged in", browser.post("/apply").text
    holder.log_in(browser, "register")
    yield "refunds: points", browser.get("/").text
    fields = dict.fromkeys(("bank", "branch", "kind", "number", "holder", "name"), text) | {"year": "2027"}
    yield "refunds: application refused", browser.post("/apply", data=fields).text
    refunds.empty = True
    yield "refunds: no points", browser.get("/").text
    yield "refunds: another's form", browser.post("/apply", headers={"Origin": "http://evil.test"}).text


def _portal(text: str, world: World, verifier: Verifier, holder: Holder) -> Iterator[tuple[str, str]]:
    portal = StubPortal(world, text)
    browser = Browser(
        PortalPages(world, portal, verifier, SimpleNamespace(call=None), SITE, AGENT).application(),  # type: ignore[arg-type]
        SITE,
    )
    yield "portal: front", browser.get("/").text
    holder.log_in(browser, "setup")
    yield "portal: records", browser.get("/").text
    yield "portal: not asked", browser.post("/own", data={"provider": text, "item": text}).text
    portal.empty = True
    yield "portal: nothing yet", browser.get("/").text
    portal.away = NetworkRejected("refused", text)
    yield "portal: records refused", browser.get("/").text


def _provider(text: str, world: World, verifier: Verifier, patch: pytest.MonkeyPatch) -> Iterator[tuple[str, str]]:
    patch.setattr(provider_store, "checked_name", lambda name, what: name)  # a store of before has any names
    ProviderStore(world).add_client(text, ["https://app.example/callback"])
    provider = Provider(world, verifier, Platform(world, NoLinkage()), SITE, AGENT)
    browser = Browser(provider.application(), SITE)
    request = {"response_type": "code", "client_id": text, "redirect_uri": "https://app.example/callback",
             "scope": "openid", "state": text, "code_challenge": "v" * 43, "code_challenge_method": "S256"}  # fmt: skip
    yield "provider: welcome", browser.get("/").text
    yield "provider: login", browser.get("/authorize", params=request).text
    yield "provider: consent", browser.get("/authorize", params=request | {"scope": "openid name address"}).text
    yield "provider: refused", browser.get("/authorize", params=request | {"redirect_uri": text}).text


def _agent(text: str, holder: Holder, patch: pytest.MonkeyPatch) -> Iterator[tuple[str, str]]:
    browser = Browser(Agent(AGENT).application(), AGENT)
    login = Challenge(SITE, bytes(32), MORNING)
    signature = replace(login, kind=CertificateType.SIGNATURE, text=text)

    def shown(challenge: Challenge) -> str:
        return browser.get(ask_address("", challenge, f"{SITE}/answer", text)).text

    def answered(challenge: Challenge, signing: Callable[[CertificateType, str, bytes], Signed], **fields: str) -> str:
        patch.setattr(agent, "sign_with_card", signing)
        ticket = re.search(r'name="ticket" value="(\w+)"', shown(challenge))
        assert ticket is not None
        return browser.post("/ask", data={"ticket": ticket[1], **fields}).text

    def failing(error: Exception) -> Callable[[CertificateType, str, bytes], Signed]:
        def sign(kind: CertificateType, pin: str, message: bytes) -> Signed:
            raise error

        return sign

    yield "agent: welcome", browser.get("/").text
    yield "agent: login", shown(login)
    yield "agent: signature", shown(signature)
    yield "agent: no card", answered(signature, failing(CardMissing(text)))
    yield "agent: wrong PIN", answered(login, failing(PinWrong(2)))
    yield "agent: blocked PIN", answered(login, failing(PinWrong(0)))
    yield "agent: back", answered(signature, lambda kind, _, message: holder.signed(kind, message))
    yield "agent: cancelled", answered(login, failing(AssertionError()), cancel="1")
    yield "agent: refused", browser.get("/ask", params={"issued_at": text, "origin": SITE, "return_to": SITE,
                                                         "nonce": "00"}).text  # fmt: skip


def _desk(text: str) -> Iterator[tuple[str, str]]:
    found = Entitlement(text, text, MORNING.date(), None)
    outcomes = {"valid": EligibilityResult(EligibilityState.VALID, found, text),
                "not registered": EligibilityResult(EligibilityState.NOT_REGISTERED, None, text),
                "no card": Troubled(TerminalTrouble.NO_CARD, words=text)}  # fmt: skip
    for name, outcome in outcomes.items():
        terminal: Any = SimpleNamespace(check=lambda *_, shown=outcome, **__: shown)
        browser = Browser(DeskPages(terminal, text, SITE).application(), SITE)
        yield f"desk: {name}", browser.post("/check", data={"how": "pin"}).text


def _files(text: str, directory: Path) -> Iterator[tuple[str, str]]:
    results = tuple(
        result.CheckResult(
            f"{text}{number}", text, text, text, outcome, (text,), (text,), text, {text: 1.0, "median ms": 2.0}
        )
        for number, outcome in enumerate(result.CheckOutcome)
    )
    report = result.CheckReport(text, text, text, text, 1.0, results, complete=False)
    other = replace(
        report, results=tuple(replace(one, observed=(), measured={"median ms": 1.0}) for one in results[1:])
    )
    yield "check: report", report_page(report)
    yield "check: comparison", comparison_page(compare(report, other))
    yield "check: nothing differs", comparison_page(compare(report, report))
    path = directory / "demo.html"
    write_report([DemoStep(text, True, 1.0, text), DemoStep(text, False, 0.5, text)], path)
    yield "demo: report", path.read_text(encoding="utf-8")
    yield "tracking: population", as_html(tracking_report(text))
    yield "tracking: logs", as_html(examined_logs(text))
    row = {"requestInTs": 0, "requestInDate": "2026-11-24", "clientMemberCode": text, "clientSubsystemCode": text,
           "serviceMemberCode": text, "serviceCode": text, "totalDurationClass": None, "succeeded": True}  # fmt: skip
    log = PublishedLog(Precision.HOUR, 10, pl.DataFrame([row, row], schema=COLUMNS))
    yield "network: insights", insights_page(log, Language.ENGLISH, text)
