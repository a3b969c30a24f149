"""The part of the demonstration that happens in a browser: registration, logins, a renewal, and a MyKey ID."""

from __future__ import annotations

import os
from datetime import datetime

from kazashi.assembly.actors import MYKEY
from kazashi.assembly.errors import StepFailed
from kazashi.assembly.relying import card_verdict, over_http
from kazashi.assembly.served import serve
from kazashi.jpki.profile import CertificateType
from kazashi.relying_party.mykey.mykey import AlreadyRegistered, MyKeyPlatform
from kazashi.relying_party.verify.verdict import Verdict
from kazashi.tools.demo.steps import PASSWORD, PIN, DemoContext, Visit
from kazashi.world.clock import WorldClock, instant_of

CHROMIUM = "/usr/bin/chromium"
RENEWAL_DAY = instant_of("2031-02-01T10:00+09:00")
"""Within three months of the end of hanako's certificates."""


def serve_site(stage: DemoContext) -> str:
    """Agent, site and browser."""
    from playwright.sync_api import Error, sync_playwright

    assert stage.services is not None
    environment = {**os.environ, **stage.pcscd.client_environment()}
    agent = serve(stage.directory, "agent", environment=environment)
    stage.ending.append(agent.stop)
    site = serve(
        stage.directory, "site", "--services", str(stage.services.status["http"]), "--agent",
        f"http://127.0.0.1:{agent.port}", world=stage.institutions.world.directory,
    )  # fmt: skip
    stage.ending.append(site.stop)
    playwright = sync_playwright().start()
    stage.ending.append(playwright.stop)
    try:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
    except Error as error:
        raise StepFailed(f"Chromium does not start: {error.message.splitlines()[0]}") from error
    stage.ending.append(browser.close)
    page = browser.new_page()
    page.set_default_timeout(15_000)
    stage.visit = Visit(page, f"http://localhost:{site.port}", f"http://127.0.0.1:{agent.port}")
    return f"a small town's library, the agent between browser and card, and Chromium {browser.version}"


def register(stage: DemoContext) -> str:
    """The resident registers, with the signature certificate."""
    visit = visit_of(stage)
    visit.page.goto(f"{visit.site}/")
    visit.user = through_agent(visit, "#register", PASSWORD)
    if "番号　花子" not in visit.page.inner_text("main"):
        raise StepFailed("the site does not know the name")
    return f"signed with the signature key; the site knows the name, and user {visit.user[:8]}..."


def log_in(stage: DemoContext) -> str:
    """The resident logs in, with the authentication certificate."""
    visit = visit_of(stage)
    visit.page.click("text=Log out")
    again = through_agent(visit, "#login", PIN)
    if again != visit.user:
        raise StepFailed(f"user {visit.user} has become {again}")
    return "the PIN is typed on the agent's page; the other certificate, and the same user"


def derive_mykey(stage: DemoContext) -> str:
    """One MyKey ID."""
    visit, platform = visit_of(stage), _mykey(stage)
    visit.mykey = platform.register(card_verdict(stage.institutions, "hanako"))
    try:
        platform.register(card_verdict(stage.institutions, "hanako"))
    except AlreadyRegistered:
        return f"{visit.mykey}; a second one is refused"
    raise StepFailed("one person got two MyKey IDs")


def renew(stage: DemoContext) -> str:
    """Four years later, new certificates on the card."""
    institutions = stage.institutions
    clock = institutions.world.clock
    assert isinstance(clock, WorldClock)
    clock.run(RENEWAL_DAY)
    institutions.settle()
    kinds = institutions.cards.renew("hanako")
    if set(kinds) != set(CertificateType):
        raise StepFailed(f"the card got new certificates of the kinds {kinds}")
    institutions.settle()
    stage.host.reset(stage.host.slots[0])
    if not stage.host.slots[0].wait_until_powered(10):
        raise StepFailed("pcscd did not notice the card within 10 s")
    day: datetime = clock.now()
    return f"it is {day:%B %Y}: two new keys, two new serial numbers"


def log_in_again(stage: DemoContext) -> str:
    """The same user, and the same MyKey ID."""
    log_in(stage)
    visit, platform = visit_of(stage), _mykey(stage)
    serial = _serial(card_verdict(stage.institutions, "hanako"))
    before = platform.find(serial)
    platform.adopt_renewals()
    if before is not None or platform.find(serial) != visit.mykey:
        raise StepFailed(f"the MyKey ID was {before}, and is {platform.find(serial)}")
    return f"with the new certificate, and the same user; after the night batch, the same MyKey ID {visit.mykey}"


def visit_of(stage: DemoContext) -> Visit:
    """The visitor, once there is a browser."""
    assert stage.visit is not None
    return stage.visit


def through_agent(visit: Visit, button: str, secret: str, shows: str = "#user") -> str:
    """Click, type the PIN on the agent's page, and come back; answers what the site shows then, the user id unless
    something else is asked for. Raises StepFailed."""
    from playwright.sync_api import Error

    page = visit.page
    try:
        page.click(button)
        page.fill("#pin", secret)
        page.click("button[name=ok]")
        return str(page.inner_text(shows))
    except Error as error:
        raise StepFailed(f"the browser shows {page.inner_text('body')!r}: {error.message.splitlines()[0]}") from error


def _serial(verdict: Verdict) -> int:
    if verdict.certificate is None:
        raise StepFailed(f"the card's certificate is {verdict.outcome}: {verdict.detail}")
    return verdict.certificate.serial


def _mykey(stage: DemoContext) -> MyKeyPlatform:
    assert stage.services is not None
    world = stage.institutions.world
    return MyKeyPlatform(world, over_http(world, str(stage.services.status["http"]), MYKEY.caller)[1])


IN_THE_BROWSER = [
    ("a site and an agent go on line", serve_site),
    ("a resident registers at the site", register),
    ("and logs in", log_in),
    ("a MyKey ID", derive_mykey),
    ("four years later the card is renewed", renew),
    ("logged in again, as the same user", log_in_again),
]
