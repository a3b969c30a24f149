"""Inquiries of investigators and similar bodies (照会), in the register of the body that was asked.

An inquiry states its case, a written reason and its legal basis, and waits until a person decides it. Nothing is
decided by itself, because the law has no criterion for what an inquiry may cover.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from typing import Any

import sqlalchemy as sa

from kazashi.provision_network.body_register_store import INQUIRY, body_register_store, day_in, log
from kazashi.provision_network.documents import DocumentRejected, checked_text
from kazashi.provision_network.law.provisions import (
    COMMISSION_RULES,
    INVESTIGATIONS,
    Inquiry,
    Party,
    PersonField,
    Provision,
)
from kazashi.provision_network.law.tables import cabinet_order
from kazashi.provision_network.law.versions import ProvisionItem
from kazashi.provision_network.terms import NetworkRejected
from kazashi.world.home import World

_inquiry = INQUIRY.c


@dataclass(frozen=True, slots=True)
class RegisteredInquiry:
    """An inquiry about a person.

    `basis` is as `basis_of` reads it. `handle` is the identifier that the answer has, None for ordinary personal
    information. `decided` and `approved_by` are None and empty until a person has decided; `rule` or `denial` then says
    how.
    """

    number: int
    body: str
    address_number: str
    investigator: str
    basis: str
    case: str
    reason: str
    information: str
    handle: PersonField | None
    received: date
    decided: date | None
    approved_by: str
    rule: str
    denial: str

    def provision(self, sender: Party, receiver: Party, approved_by: str) -> Provision:
        """Return the provision that answers the inquiry, if that person approves it. The roles are those of the two
        parties."""
        values = basis_of(self.basis)
        return Provision(
            **values, sender=sender, receiver=receiver, handle=self.handle, information=self.information,
            case=self.case, reason=self.reason, approved_by=approved_by, )  # fmt: skip


def basis_of(text: str) -> dict[str, Any]:
    """Return the item, purpose and basis of a provision, by the basis of an inquiry.

    A basis is `刑訴197`, `入管28`, one of the purposes that the Act names itself, `政令N` for matter N of the cabinet
    order's table, or `規則N` for purpose N of the Commission's rule. Raises DocumentRejected for anything else.
    """
    item: dict[str, Any] = {"item": ProvisionItem.INVESTIGATION}
    match text:
        case "刑訴197":
            return {**item, "purpose": "刑事事件の捜査", "inquiry": Inquiry.CRIMINAL_PROCEDURE_197}
        case "入管28":
            return {**item, "purpose": "入管法28条2項の照会", "inquiry": Inquiry.IMMIGRATION_28}
        case _ if text in INVESTIGATIONS:
            return {**item, "purpose": text}
    found = re.fullmatch(r"(政令|規則)(\d{1,3})", text)
    if found is None:
        raise DocumentRejected(f"the basis must be 刑訴197, 入管28, 政令N, 規則N or one of {', '.join(INVESTIGATIONS)}")
    number = int(found[2])
    if found[1] == "規則":
        return {"item": ProvisionItem.COMMISSION_RULE, "rule": number, "purpose": COMMISSION_RULES.get(number, text)}
    matter = cabinet_order().get(number)
    return {**item, "order": number, "purpose": f"{matter.law} {matter.matter}" if matter else text}


class Inquiries:
    """The registers of inquiries of one world's bodies."""

    def __init__(self, world: World) -> None:
        self._clock = world.clock
        self.store = body_register_store(world)

    def receive(
        self, body: str, address_number: str, investigator: str, basis: str, case: str, reason: str, information: str,
        handle: PersonField | None, on: date,
    ) -> RegisteredInquiry:  # fmt: skip
        """Register an inquiry. Raises DocumentRejected if it has no case or reason, or an unknown basis."""
        basis_of(basis)
        row = {
            "body": body, "address_number": address_number, "basis": basis,
            "investigator": checked_text(investigator, "the investigator"), "case": checked_text(case, "the case"),
            "reason": checked_text(reason, "the reason"), "information": checked_text(information, "the information"),
            "handle": handle.value if handle else "", "received": on.isoformat(), "approved_by": "",
            "rule": "", "denial": "",
        }  # fmt: skip
        with self.store.transaction() as connection:
            number = connection.execute(sa.insert(INQUIRY).returning(_inquiry.number), row).scalar_one()
            log(connection, self._clock.now(), "inquiry received", {"body": body, "number": number})
        return self.inquiry(body, int(number))

    def inquiry(self, body: str, number: int) -> RegisteredInquiry:
        """Return an inquiry. Raises NetworkRejected if the body has none of that number."""
        found = next((one for one in self.of(body) if one.number == number), None)
        if found is None:
            raise NetworkRejected("unknown-inquiry", f"{body} has no inquiry {number}")
        return found

    def of(self, body: str | None = None) -> list[RegisteredInquiry]:
        """Return the inquiries of one body or of all, oldest first."""
        query = sa.select(INQUIRY).order_by(_inquiry.number)
        if body is not None:
            query = query.where(_inquiry.body == body)
        with self.store.reading() as connection:
            return [_as_inquiry(row) for row in connection.execute(query)]

    def decide(
        self, inquiry: RegisteredInquiry, on: date, approved_by: str, rule: str, denial: str
    ) -> RegisteredInquiry:
        """Record who has decided an inquiry, and the rule or the denial. Raises NetworkRejected if it is decided."""
        this = (_inquiry.number == inquiry.number) & _inquiry.decided.is_(None)
        values = {"decided": on.isoformat(), "rule": rule, "denial": denial,
                  "approved_by": checked_text(approved_by, "the person who decides")}  # fmt: skip
        with self.store.alone() as connection:
            if not connection.execute(sa.update(INQUIRY).where(this).values(values)).rowcount:
                raise NetworkRejected("decided", f"inquiry {inquiry.number} of {inquiry.body} is decided already")
            log(connection, self._clock.now(), "inquiry decided", {"body": inquiry.body, "number": inquiry.number})
        return self.inquiry(inquiry.body, inquiry.number)


def _as_inquiry(row: Any) -> RegisteredInquiry:
    return RegisteredInquiry(
        row.number, row.body, row.address_number, row.investigator, row.basis, row.case, row.reason, row.information,
        PersonField(row.handle) if row.handle else None, date.fromisoformat(row.received), day_in(row.decided),
        row.approved_by, row.rule, row.denial,
    )  # fmt: skip
