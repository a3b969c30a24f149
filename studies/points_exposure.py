"""Who knows what about one purchase: read from the stores of all actors from the till to the refund.

The shop has the goods and a code. The centre has the code and a sum. A person who registers at the portal links the
code to a name and a bank account. The platform operator links the person to serial numbers. The authority has received
requests about these. Whoever else has a handle of the same person, in any form, is listed with it.
"""

from __future__ import annotations

from typing import Any

from kazashi.assembly.actors import AUTHORITY, CENTRE, CORE, PLATFORM, REFUND_PORTAL, SHOP
from kazashi.assembly.errors import UsageError
from kazashi.assembly.points import open_till
from kazashi.assembly.points_server import centre_of
from kazashi.jpki.serial_number import serial_text
from kazashi.pki.callers import Callers
from kazashi.refund_points.refunds import Refunds
from kazashi.studies.handle_index import Tally
from kazashi.studies.handle_sightings import Sightings, sightings
from kazashi.studies.handles import HandleKind
from kazashi.world.home import World


def exposure(world: World, receipt: str) -> dict[str, dict[str, Any]]:
    """What each actor's stores have about a receipt, named SHOP/TILL/INSTALLATION/NUMBER, and about the person whose
    card was shown: facts by label, by actor; empty for an actor that has none.

    `handles` are the person's handles in the stores, each with its form, place and number of rows. Raises UsageError if
    the name is wrong, and SaleRejected if the till has no such receipt.
    """
    parts = receipt.split("/")
    if len(parts) != 4:
        raise UsageError(f"{receipt!r} is not the name of a receipt; give SHOP/TILL/INSTALLATION/NUMBER")
    till = open_till(world, parts[0], parts[1])
    printed = till.receipt(receipt)
    record = next((record for _, _, record in till.records() if receipt in (record.receipt, record.of)), None)
    facts: dict[str, dict[str, Any]] = {
        SHOP.label: {"goods": ", ".join(name for name, *_ in printed.lines), "yen": printed.total,
               "the card's code": record.reading if record else "none: no card was shown"},
    }  # fmt: skip
    centre = centre_of(world)
    refunds = Refunds(centre)
    facts[CENTRE.label] = centre.posting_of(record.till, record.number) if record else {}
    code = str(facts[CENTRE.label].get("account code", ""))
    person = refunds.holder(code)
    facts[REFUND_PORTAL.label] = {} if person is None else {
        "person": person, "name": refunds.name(person),
        "codes that are known to be that person's": len(refunds.codes(person)),
        "bank accounts": ", ".join(sorted({f"{one.account.bank}-{one.account.branch}-{one.account.number}"
                                           for one in refunds.applications(person)})) or "none yet",
    }  # fmt: skip
    found = sightings(world)
    people = _people(found, [record.reading if record else "", code, person])
    serials = _serials(found, people)
    texts = [serial_text(serial) for serial in sorted(serials)]
    facts[PLATFORM.label] = {"serial numbers": ", ".join(texts)} if texts else {}
    queries = [query for query, _ in Callers(world).queries() if query.serial in serials]
    facts[AUTHORITY.label] = {} if not queries else {
        "questions about these serial numbers": len(queries),
        "asked by": ", ".join(sorted({query.caller for query in queries})),
    }  # fmt: skip
    facts[CORE.label] = {}
    for one, rows in found.of_people(people):
        known = {"handle": one.kind.value, "form": one.form.value, "place": f"{one.store}.{one.place}", "rows": rows}
        facts.setdefault(one.actor.label, {}).setdefault("handles", []).append(known)
    return facts


def _people(found: Sightings, values: list[str | None]) -> set[str]:
    """The people whose handles are in some values: what the card showed, and the codes that were made of it."""
    hits = (hit for value in values for hit in found.index.find(value, Tally()))
    return {person for hit in hits if (person := found.person(hit.handle))}


def _serials(found: Sightings, people: set[str]) -> set[int]:
    """The serial numbers of these people that the platform operator has."""
    numbers = {number for one in found.found if one.actor is PLATFORM and one.kind is HandleKind.SERIAL
               for handles in one.rows.values() for number in handles}  # fmt: skip
    handles = [found.index.handles[number] for number in numbers]
    return {one.value for one in handles if one.person in people and isinstance(one.value, int)}
