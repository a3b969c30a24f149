"""The demo steps in a browser: registration, logins, a renewal, and a MyKey ID."""

from __future__ import annotations

import os
import shutil
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

BROWSERS = ("chromium-headless-shell", "chromium")
"""Debian's Chromium without windows, or with them: whichever is there."""
RENEWAL_DAY = instant_of("2031-02-01T10:00+09:00")
"""A day within three months of the end of hanako's certificates."""


def serve_site(context: DemoContext) -> str:
    """Start the agent, the site and the browser. Raises StepFailed."""
    from playwright.sync_api import Error, sync_playwright

    assert context.services is not None
    environment = {**os.environ, **context.pcscd.client_environment()}
    agent = serve(context.directory, "agent", environment=environment)
    context.ending.append(agent.stop)
    site = serve(
        context.directory, "site", "--services", str(context.services.status["http"]), "--agent",
        f"http://127.0.0.1:{agent.port}", world=context.institutions.world.directory,
    )  # fmt: skip
    context.ending.append(site.stop)
    playwright = sync_playwright().start()
    context.ending.append(playwright.stop)
    try:
        browser = playwright.chromium.launch(executable_path=browser_program(), args=["--no-sandbox"])
    except Error as error:
        raise StepFailed(f"Chromium did not start: {error.message.splitlines()[0]}") from error
    context.ending.append(browser.close)
    page = browser.new_page()
    page.set_default_timeout(15_000)
    context.visit = Visit(page, f"http://localhost:{site.port}", f"http://127.0.0.1:{agent.port}")
    return f"the site of a small town's library, the agent between browser and card, and Chromium {browser.version}"


def browser_program() -> str:
    """Return the path of Chromium. Raises StepFailed if it is not installed."""
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        raise StepFailed("Chromium is not installed; run: apt-get install chromium-headless-shell")
    return found


def register(context: DemoContext) -> str:
    """Register the resident at the site, with the signature certificate. Raises StepFailed."""
    visit = visit_of(context)
    visit.page.goto(f"{visit.site}/")
    visit.user = through_agent(visit, "#register", PASSWORD)
    if "番号　花子" not in visit.page.inner_text("main"):
        raise StepFailed("the site does not show the resident's name")
    return f"signed with the signature key; the site shows the name, for user {visit.user[:8]}..."


def log_in(context: DemoContext) -> str:
    """Log the resident in, with the authentication certificate. Raises StepFailed."""
    visit = visit_of(context)
    visit.page.click("text=Log out")
    user = through_agent(visit, "#login", PIN)
    if user != visit.user:
        raise StepFailed(f"user {visit.user} is now {user}")
    return "the PIN is typed on the agent's page; another certificate, but the same user"


def derive_mykey(context: DemoContext) -> str:
    """Register a MyKey ID, of which each person has one. Raises StepFailed."""
    visit, platform = visit_of(context), _mykey(context)
    visit.mykey = platform.register(card_verdict(context.institutions, "hanako"))
    try:
        platform.register(card_verdict(context.institutions, "hanako"))
    except AlreadyRegistered:
        return f"{visit.mykey}; a second one is refused"
    raise StepFailed("one person got two MyKey IDs")


def renew(context: DemoContext) -> str:
    """Move the clock by four years and renew the certificates on the card. Raises StepFailed."""
    institutions = context.institutions
    clock = institutions.world.clock
    assert isinstance(clock, WorldClock)
    clock.run(RENEWAL_DAY)
    institutions.settle()
    kinds = institutions.cards.renew("hanako")
    if set(kinds) != set(CertificateType):
        raise StepFailed(f"the card got new certificates of the types {kinds}")
    institutions.settle()
    context.host.reset(context.host.slots[0])
    if not context.host.slots[0].wait_until_powered(10):
        raise StepFailed("pcscd did not detect the card within 10 s")
    day: datetime = clock.now()
    return f"it is now {day:%B %Y}: two new keys, two new serial numbers"


def log_in_again(context: DemoContext) -> str:
    """Log in with the new certificate, as the same user with the same MyKey ID. Raises StepFailed."""
    log_in(context)
    visit, platform = visit_of(context), _mykey(context)
    serial = _serial(card_verdict(context.institutions, "hanako"))
    before = platform.find(serial)
    platform.adopt_renewals()
    if before is not None or platform.find(serial) != visit.mykey:
        raise StepFailed(f"the MyKey ID was {before}, and is now {platform.find(serial)}")
    return f"a new certificate, but the same user; after the night batch, the same MyKey ID {visit.mykey}"


def visit_of(context: DemoContext) -> Visit:
    """Return the visit in the browser, which `serve_site` has started."""
    assert context.visit is not None
    return context.visit


def through_agent(visit: Visit, button: str, secret: str, shows: str = "#user") -> str:
    """Click a button of the site, type the PIN on the agent's page, and return to the site. Returns the text of the
    element `shows`, which is the user ID by default. Raises StepFailed."""
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


def _mykey(context: DemoContext) -> MyKeyPlatform:
    assert context.services is not None
    world = context.institutions.world
    return MyKeyPlatform(world, over_http(world, str(context.services.status["http"]), MYKEY.caller)[1])


LOGIN_STEPS = [
    ("start a site and the local agent", serve_site),
    ("register at the site", register),
    ("log in to the site", log_in),
    ("register a MyKey ID", derive_mykey),
    ("renew the card four years later", renew),
    ("log in again as the same user", log_in_again),
]
