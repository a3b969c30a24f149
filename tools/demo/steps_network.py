"""The part of the demonstration in which offices ask each other: one benefit question across three institutions, all
of them processes of their own, and what the resident then sees of it in the portal."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass

from kazashi.assembly.errors import StepFailed
from kazashi.assembly.network import (
    MUNICIPAL,
    OFFICE,
    PARTS,
    Network,
    allowance_questions,
    body_of,
    free_addresses,
    local_number,
    served,
    system_credentials,
)
from kazashi.provision_network.municipal import AddressSystem
from kazashi.studies.network_rulings import held_against_stores
from kazashi.tools.demo.steps import PIN, DemoContext
from kazashi.tools.demo.steps_login import through_agent, visit_of
from kazashi.web.mutual_tls import JsonConnection

_PATIENCE = 15.0


@dataclass
class Offices:
    """The network of the story, and where its parts answer."""

    network: Network
    where: dict[str, str]
    answers: dict[str, str]


def connect(stage: DemoContext) -> str:
    """Everybody is connected, tested in stages, and served."""
    assert stage.services is not None
    network = Network(stage.institutions)
    where = free_addresses()
    gates = list(network.rehearse(where))
    if not all(gate.ok for gate in gates):
        raise StepFailed(f"{gates[-1].stage}: {gates[-1].words}")
    world = stage.institutions.world
    world.close()  # what is open here must not be shared with the processes
    for part in PARTS:
        log = stage.directory / f"network-{part.replace(':', '-')}.log"
        process = served(world, part, where, log, str(stage.services.status["http"]), visit_of(stage).agent)
        stage.ending.append(process.stop)
    stage.offices = Offices(network, where, {})
    return f"{gates[1].words}; {gates[2].words}; {len(PARTS)} processes that show each other certificates"


def ask(stage: DemoContext) -> str:
    """A city office asks two others."""
    offices = _offices(stage)
    network = offices.network
    person = network.institutions.registry.find("hanako")
    body = body_of(person)
    address = AddressSystem(network.world, body).resolve(OFFICE, local_number(person))
    line = JsonConnection(system_credentials(network.core, body), offices.where[MUNICIPAL])
    questions = [
        {"address_number": address, "provider": provider,
         "purpose": {"requester": purpose.requester, "law": purpose.law, "affair": purpose.affair,
                     "provider": purpose.provider, "item": purpose.item}}
        for purpose, provider in allowance_questions()
    ]  # fmt: skip
    begun = time.perf_counter()
    status, content = line.post(f"/v1/ask?wait={_PATIENCE:.0f}", {"questions": questions})
    seconds = time.perf_counter() - begun
    line.close()
    answers = json.loads(content).get("answers", []) if status == 200 else []
    offices.answers = {one["item"]: one["content"] for one in answers if one["content"]}
    if len(offices.answers) != len(questions):
        raise StepFailed(f"the network answers {status} {content.decode(errors='replace')[:300]}")
    told = ", ".join(f"{one['provider']}: {one['content']}" for one in answers)
    return f"{body} asks, in {seconds * 1000:.0f} ms: {told}; by {answers[0]['rule']}"


def look(stage: DemoContext) -> str:
    """The resident looks at the portal."""
    offices, visit = _offices(stage), visit_of(stage)
    page = visit.page
    page.goto(offices.where["pages"])
    shown = through_agent(visit, "#setup", PIN, "#records")
    body = body_of(offices.network.institutions.registry.find("hanako"))
    if shown.count(body) < 2 or any(content in shown for content in offices.answers.values()):
        raise StepFailed(f"the portal shows {shown!r}")
    lacking = page.locator("#not-shown li").count()
    if not lacking:
        raise StepFailed("the portal does not say what it cannot show")
    rows = shown.count("番号法19条7号")
    return f"{rows} records of who asked whom for what, none of what was said; and {lacking} things it cannot show"


def rule(stage: DemoContext) -> str:
    """The court's five reasons."""
    offices = _offices(stage)
    findings = held_against_stores(stage.institutions.world, offices.network)
    failing = [one for one in findings if not one.holds]
    rows = sum(len(one.against) for one in failing)
    if len(findings) != 5 or "v" not in [one.reason for one in failing]:
        raise StepFailed(f"a portal and a MyKey platform hold serial numbers, and nothing was found: {findings}")
    reasons = ", ".join(f"({one.reason})" for one in failing)
    return f"{5 - len(failing)} of 5 hold; {rows} rows speak against {reasons}: kazashi network rulings lists them"


def _offices(stage: DemoContext) -> Offices:
    assert isinstance(stage.offices, Offices)
    return stage.offices


AT_THE_OFFICE = [
    ("offices are connected by the provision network", connect),
    ("a benefit is asked for across three institutions", ask),
    ("the resident sees it in the portal", look),
    ("the reasons of the Supreme Court's ruling of 2008", rule),
]
