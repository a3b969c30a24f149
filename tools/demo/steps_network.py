"""The demo steps with the information provision network: a query for a benefit across three institutions, each a
process of its own, what the resident then sees of it in the portal, and the same after a move to another city."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass

from kazashi.assembly.errors import StepFailed
from kazashi.assembly.network import (
    PARTS,
    Network,
    allowance_questions,
    body_of,
    free_addresses,
    served,
    system_credentials,
)
from kazashi.assembly.network_offices import MUNICIPAL
from kazashi.studies.network_rulings import held_against_stores
from kazashi.tools.demo.steps import PIN, DemoContext
from kazashi.tools.demo.steps_login import through_agent, visit_of
from kazashi.web.mutual_tls import JsonConnection
from kazashi.world.clock import today

_WAIT_SECONDS = 15.0
_NEW_CITY = "14102"


@dataclass
class Offices:
    """The demo's network, the addresses of its parts, the answers to the query by item, and the number of records that
    the portal showed last."""

    network: Network
    where: dict[str, str]
    answers: dict[str, str]
    shown: int = 0


def connect(context: DemoContext) -> str:
    """Connect the offices, test the network in stages, and start its parts. Raises StepFailed."""
    assert context.services is not None
    network = Network(context.institutions)
    where = free_addresses()
    gates = list(network.rehearse(where))
    if not all(gate.ok for gate in gates):
        raise StepFailed(f"{gates[-1].stage}: {gates[-1].words}")
    world = context.institutions.world
    world.close()  # the processes must not share open stores
    for part in PARTS:
        log = context.directory / f"network-{part.replace(':', '-')}.log"
        process = served(world, part, where, log, str(context.services.status["http"]), visit_of(context).agent)
        context.ending.append(process.stop)
    context.offices = Offices(network, where, {})
    words = {gate.stage: gate.words for gate in gates}
    return f"{words['bodies connected']}; {words['codes issued']}; {len(PARTS)} processes with mutual TLS"


def ask(context: DemoContext) -> str:
    """Let a city office query two other institutions. Raises StepFailed."""
    offices = _offices(context)
    network = offices.network
    person = network.institutions.registry.find("hanako")
    body = body_of(person)
    assert person.individual_number is not None
    address = network.linkage(body).addresses.address_number(person.individual_number)
    connection = JsonConnection(system_credentials(network.core, body), offices.where[MUNICIPAL])
    questions = [
        {"address_number": address, "provider": provider,
         "purpose": {"requester": purpose.requester, "law": purpose.law, "affair": purpose.affair,
                     "provider": purpose.provider, "item": purpose.item}}
        for purpose, provider in allowance_questions(body)
    ]  # fmt: skip
    begun = time.perf_counter()
    status, content = connection.post(f"/v1/ask?wait={_WAIT_SECONDS:.0f}", {"questions": questions})
    seconds = time.perf_counter() - begun
    connection.close()
    answers = json.loads(content).get("answers", []) if status == 200 else []
    offices.answers = {answer["item"]: answer["content"] for answer in answers if answer["content"]}
    if len(offices.answers) != len(questions):
        raise StepFailed(f"the network responds with {status} {content.decode(errors='replace')[:300]}")
    provided = ", ".join(f"{answer['provider']}: {answer['content']}" for answer in answers)
    return f"{body} gets, in {seconds * 1000:.0f} ms: {provided}; by {answers[0]['rule']}"


def look(context: DemoContext) -> str:
    """Show the resident's records in the portal. Raises StepFailed."""
    offices, visit = _offices(context), visit_of(context)
    page = visit.page
    page.goto(offices.where["pages"])
    shown = _checked(offices, through_agent(visit, "#setup", PIN, "#records"))
    not_shown = page.locator("#not-shown li").count()
    if not not_shown:
        raise StepFailed("the portal does not list what it cannot show")
    return f"{shown} records of who requested what from whom, without the content; {not_shown} things it cannot show"


def move(context: DemoContext) -> str:
    """Move the resident to another city, while the network's parts are running."""
    offices, institutions = _offices(context), context.institutions
    before = body_of(institutions.registry.find("hanako"))
    day = today(institutions.world.clock).isoformat()
    institutions.happen("hanako", "move-out", {"to": _NEW_CITY, "moves_on": day})
    institutions.happen("hanako", "move-in", {"municipality": _NEW_CITY, "street": "見本台１"})
    copies = offices.network.municipal.platform.operator_sees()
    after = body_of(institutions.registry.find("hanako"))
    if before in copies or after not in copies:
        raise StepFailed(f"the municipalities have copies: {copies}")
    return f"code and copies at {before} are deleted; {after} has its own"


def look_again(context: DemoContext) -> str:
    """Show the resident's records in the portal again: those of before the move, and the new ones. Raises
    StepFailed."""
    offices, page = _offices(context), visit_of(context).page
    page.reload()
    before = offices.shown
    after = _checked(offices, page.inner_text("#records"))
    if after <= before:
        raise StepFailed(f"the portal showed {before} records, and now {after}")
    return f"{after} records: the {before} of before the move, and {after - before} of the new city"


def _checked(offices: Offices, shown: str) -> int:
    """Return the number of records that the portal shows. Raises StepFailed if those of the last query are not among
    them, or a content is."""
    body = body_of(offices.network.institutions.registry.find("hanako"))
    if shown.count(body) < len(offices.answers) or any(content in shown for content in offices.answers.values()):
        raise StepFailed(f"the portal shows {shown!r}")
    offices.shown = shown.count("番号法19条8号")
    return offices.shown


def rule(context: DemoContext) -> str:
    """Check the Supreme Court's five reasons against the world's stores. Raises StepFailed."""
    offices = _offices(context)
    findings = held_against_stores(context.institutions.world, offices.network)
    failing = [finding for finding in findings if not finding.holds]
    rows = sum(len(finding.against) for finding in failing)
    if len(findings) != 5 or "v" not in [finding.reason.value for finding in failing]:
        raise StepFailed(f"the serial numbers in the portal and the MyKey platform were not found: {findings}")
    reasons = ", ".join(f"({finding.reason.value})" for finding in failing)
    return f"{5 - len(failing)} of 5 hold; {rows} facts contradict {reasons}: kazashi network rulings lists them"


def _offices(context: DemoContext) -> Offices:
    assert isinstance(context.offices, Offices)
    return context.offices


NETWORK_STEPS = [
    ("connect offices to the provision network", connect),
    ("query two institutions for a benefit", ask),
    ("show the records in the portal", look),
    ("move the resident to another city", move),
    ("query again from the new city", ask),
    ("show the portal with its whole history", look_again),
    ("check the Supreme Court's ruling of 2008", rule),
]
