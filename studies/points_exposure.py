"""Who knows what about one purchase: read from the stores of all actors from the till to the refund.

The shop has the goods and a code. The centre has the code and a sum. A person who registers at the portal links the
code to a name and a bank account. The platform operator links the person to serial numbers. The authority has received
requests about these.
"""

from __future__ import annotations

from typing import Any

from kazashi.assembly.actors import AUTHORITY, CENTRE, CORE, PLATFORM, REFUND_PORTAL, SHOP
from kazashi.assembly.errors import UsageError
from kazashi.assembly.points import open_till
from kazashi.assembly.points_server import centre_of
from kazashi.pki.callers import Callers
from kazashi.refund_points.portal import TENANT
from kazashi.refund_points.refunds import Refunds
from kazashi.relying_party.platform.platform import Platform
from kazashi.relying_party.verify.linkage import NoLinkage
from kazashi.world.home import World


def exposure(world: World, receipt: str) -> dict[str, dict[str, Any]]:
    """What each actor's store has about a receipt, named SHOP/TILL/INSTALLATION/NUMBER: facts by label, by actor; empty
    for an actor that has none. Raises UsageError if the name is wrong, and SaleRejected if the till has no such
    receipt."""
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
    known = [row for row in Platform(world, NoLinkage()).exposure(TENANT) if row["identifier"] == person]
    serials = {(row["kind"], row["serial"]) for row in known}
    facts[PLATFORM.label] = {} if not known else {
        "person": person, "serial numbers": ", ".join(f"{kind} {serial:X}" for kind, serial in sorted(serials)),
    }  # fmt: skip
    queries = [query for query, _ in Callers(world).queries() if query.serial in {serial for _, serial in serials}]
    facts[AUTHORITY.label] = {} if not queries else {
        "questions about these serial numbers": len(queries),
        "asked by": ", ".join(sorted({query.caller for query in queries})),
    }  # fmt: skip
    facts[CORE.label] = {}
    return facts
