"""Refunds: who has how many points, what may be refunded of them, applications, and the bank's files.

A person is known by what the platform operator calls him, which stays over renewals of the card; his account codes
are those of all serial numbers that he has come with. The cap is 4,000 yen to a person and year; those who pool as a
household share one cap of so many times that. What was paid out and is taken back by a return of goods later is
owed, and settled with the next refund.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

import sqlalchemy as sa

from kazashi.refund_points.centre import Centre
from kazashi.refund_points.ledger import PAID, PAYABLE
from kazashi.refund_points.zengin import MOST_PAYMENTS, Account, Payment, payment_file
from kazashi.relying_party.verify.attributes import FourAttributes
from kazashi.world.clock import JST, epoch
from kazashi.world.storage import Position

CAP = 4_000
"""Yen to a person and year: two per cent of 200,000. One point is one yen."""

PAYER, PAYER_CODE = "ｶﾝﾌﾟﾎﾟｲﾝﾄ ﾁｸｾｷｾﾝﾀ-", "0000000001"
PAYER_ACCOUNT = Account("0000", "000", "1", "0000001", PAYER)


class RefundRejected(Exception):
    """The centre does not do that; the message says why, and nothing was changed."""


class ApplicationState(Enum):
    """Where an application for a refund stands."""

    APPLIED = "applied"
    IN_FILE = "in-file"
    PAID = "paid"
    RETURNED = "returned"
    """The bank could not pay; the points are back."""


@dataclass(frozen=True, slots=True)
class YearBalance:
    """A person's points of one year. `balance` is what the tills have granted and taken back, `refundable` what may
    be applied for now, `applied` and `paid` what has been, `capped` what is beyond the cap, `owed` what was paid and
    then returned."""

    year: int
    balance: int
    refundable: int
    applied: int
    paid: int
    capped: int
    owed: int


@dataclass(frozen=True, slots=True)
class RefundApplication:
    """An application: its number, the year, the yen, where it stands."""

    number: int
    person: str
    year: int
    yen: int
    state: ApplicationState
    account: Account


@dataclass(frozen=True, slots=True)
class PaymentFile:
    """A bank's file: its number at the centre, its bytes, and how many payments it holds."""

    number: int
    content: bytes
    payments: int


class Refunds:
    """The refunding side of a centre; its tables are in the centre's store."""

    def __init__(self, centre: Centre) -> None:
        self.centre = centre
        self._ledger = centre.ledger
        metadata = sa.MetaData()
        self._person = sa.Table(
            "person", metadata,
            sa.Column("person", sa.Text, primary_key=True),
            sa.Column("name", sa.Text, nullable=False),
            sa.Column("identity", sa.Text, unique=True, nullable=False),
            sa.Column("household", sa.Text, nullable=False, index=True),
        )  # fmt: skip
        self._holding = sa.Table(
            "holding", metadata,
            sa.Column("code", sa.Text, primary_key=True),
            sa.Column("person", sa.Text, nullable=False, index=True),
        )  # fmt: skip
        self._application = sa.Table(
            "application", metadata,
            sa.Column("number", Position, primary_key=True),
            sa.Column("person", sa.Text, nullable=False, index=True),
            sa.Column("year", sa.Integer, nullable=False),
            sa.Column("yen", sa.Integer, nullable=False),
            sa.Column("state", sa.Text, nullable=False, index=True),
            sa.Column("file", sa.Integer, index=True),
            sa.Column("bank", sa.Text, nullable=False),
            sa.Column("branch", sa.Text, nullable=False),
            sa.Column("kind", sa.Text, nullable=False),
            sa.Column("account", sa.Text, nullable=False),
            sa.Column("holder", sa.Text, nullable=False),
        )  # fmt: skip
        self.store = centre.store
        with self.store.alone() as connection:  # portal and commands may begin at the same moment
            metadata.create_all(connection)

    # Persons

    def register(self, person: str, attributes: FourAttributes) -> None:
        """A person comes with the signature certificate, which says who he is. Whoever lost the card and has come
        with another before is the same person by name, date of birth, sex and address; what he held then goes
        along."""
        identity = json.dumps([attributes.name, attributes.address, attributes.birth_text, attributes.sex])
        with self.store.alone() as connection:
            known = self._name(connection, person) is not None
            former = connection.scalar(sa.select(self._person.c.person).where(self._person.c.identity == identity))
            if former is not None and former != person:
                for table in (self._holding, self._application):
                    connection.execute(sa.update(table).where(table.c.person == former).values(person=person))
                household = connection.scalar(
                    sa.select(self._person.c.household).where(self._person.c.person == former)
                )
                connection.execute(sa.delete(self._person).where(self._person.c.person == former))
                self._log(connection, "came with another card", {"person": person, "former": former})
            else:
                household = person
            values = {"name": attributes.name, "identity": identity}
            if known:
                connection.execute(sa.update(self._person).where(self._person.c.person == person).values(values))
            else:
                row = {"person": person, "household": household or person, **values}
                connection.execute(sa.insert(self._person), row)
            self._log(connection, "registered", {"person": person})

    def log_in(self, person: str, serials: Iterable[int]) -> bool:
        """A person logs in whose chain of serial numbers is this: what is accumulated under their codes is his.
        False for somebody who has never registered. A code that is somebody's stays his."""
        codes = self.centre.policy.accounts_of(serials, self.centre.shops())
        with self.store.alone() as connection:
            if self._name(connection, person) is None:
                return False
            sql = "INSERT INTO holding (code, person) VALUES (:code, :person) ON CONFLICT DO NOTHING"
            if codes:
                connection.execute(sa.text(sql), [{"code": code, "person": person} for code in codes])
        return True

    def name(self, person: str) -> str | None:
        """The name on a person's certificate, None for somebody who has never registered."""
        with self.store.reading() as connection:
            return self._name(connection, person)

    def _name(self, connection: sa.Connection, person: str) -> str | None:
        return connection.scalar(sa.select(self._person.c.name).where(self._person.c.person == person))

    def people(self) -> list[tuple[str, str, str]]:
        """Who has registered: person, name, household."""
        table = self._person.c
        with self.store.reading() as connection:
            rows = connection.execute(sa.select(table.person, table.name, table.household).order_by(table.name))
            return [(person, name, household) for person, name, household in rows]

    def holder(self, code: str) -> str | None:
        """The person whose account code it is, None where nobody has come for it."""
        with self.store.reading() as connection:
            return connection.scalar(sa.select(self._holding.c.person).where(self._holding.c.code == code))

    def codes(self, person: str) -> list[str]:
        """The account codes that a person has come with."""
        table = self._holding.c
        with self.store.reading() as connection:
            return list(connection.scalars(sa.select(table.code).where(table.person == person).order_by(table.code)))

    def pool(self, person: str, with_person: str) -> None:
        """Two households become one. Raises RefundRejected for somebody who is not registered."""
        table = self._person
        with self.store.alone() as connection:
            found = dict.fromkeys((person, with_person), "")
            for one in found:
                household = connection.scalar(sa.select(table.c.household).where(table.c.person == one))
                if household is None:
                    raise RefundRejected(f"{one} is not registered")
                found[one] = household
            joined = sa.update(table).where(table.c.household == found[with_person])
            connection.execute(joined.values(household=found[person]))
            self._log(connection, "pooled", {"person": person, "with": with_person})

    # Points

    def years(self, person: str) -> list[YearBalance]:
        """A person's points, year by year, the latest first."""
        with self.store.reading() as connection:
            return [self._standing(connection, person, year) for year in self._years(connection, person)]

    def _years(self, connection: sa.Connection, person: str) -> list[int]:
        account = self._ledger.account
        query = (
            sa.select(account.c.year).distinct().join(self._holding, self._holding.c.code == account.c.code)
            .where(self._holding.c.person == person).order_by(account.c.year.desc())
        )  # fmt: skip
        return list(connection.scalars(query))

    def _accounts(self, connection: sa.Connection, person: str, year: int | None) -> dict[int, int]:
        """The balances of a person's accounts, of one year or of all."""
        account = self._ledger.account
        query = sa.select(account.c.id).join(self._holding, self._holding.c.code == account.c.code)
        query = query.where(self._holding.c.person == person)
        if year is not None:
            query = query.where(account.c.year == year)
        return self._ledger.balances(connection, list(connection.scalars(query.order_by(account.c.id))))

    def _standing(self, connection: sa.Connection, person: str, year: int) -> YearBalance:
        here = sum(self._accounts(connection, person, year).values())
        owed = -sum(
            min(0, sum(self._accounts(connection, person, other).values())) for other in self._years(connection, person)
        )  # fmt: skip
        members = self._members(connection, person)
        drawn = self._drawn(connection, members, year)
        own = self._drawn(connection, [person], year)
        left = max(0, CAP * len(members) - sum(drawn.values()))
        refundable = max(0, min(max(0, here) - owed, left))
        applied = own.get(ApplicationState.APPLIED, 0) + own.get(ApplicationState.IN_FILE, 0)
        paid = own.get(ApplicationState.PAID, 0)
        capped = max(0, here) - refundable - min(owed, max(0, here))
        return YearBalance(year, here + applied + paid, refundable, applied, paid, max(0, capped), owed)

    def _settle_debts(self, connection: sa.Connection, person: str, year: int) -> None:
        """Move points of a year to the person's accounts that went below nothing, as far as they go: what was refunded
        and returned afterwards is taken from the next refund, once."""
        debts = {held: -points for held, points in self._accounts(connection, person, None).items() if points < 0}
        now = epoch(self.centre.clock.now())
        for held, points in self._accounts(connection, person, year).items():
            for debt, owed in debts.items():
                moved = min(points, owed)
                if moved > 0:
                    self._ledger.move(connection, held, debt, moved, now)
                    points -= moved
                    debts[debt] -= moved

    def _members(self, connection: sa.Connection, person: str) -> list[str]:
        table = self._person
        household = sa.select(table.c.household).where(table.c.person == person).scalar_subquery()
        return list(connection.scalars(sa.select(table.c.person).where(table.c.household == household))) or [person]

    def _drawn(self, connection: sa.Connection, persons: Sequence[str], year: int) -> dict[ApplicationState, int]:
        """What persons have applied for of a year, by where it stands; without what came back."""
        table = self._application.c
        query = sa.select(table.state, sa.func.sum(table.yen)).where(table.person.in_(persons), table.year == year)
        query = query.where(table.state != ApplicationState.RETURNED.value).group_by(table.state)
        return {ApplicationState(state): int(yen) for state, yen in connection.execute(query)}

    # Applications

    def apply(self, person: str, year: int, account: Account, holder_name: str) -> RefundApplication:
        """Apply for all that is refundable of a year, to an account of one's own: its holder's name is that on the
        certificate. Raises RefundRejected and PaymentRejected."""
        account.check()
        with self.store.alone() as connection:
            name = self._name(connection, person)
            if name is None:
                raise RefundRejected("nobody has registered here with the signature certificate yet")
            if _plain(name) != _plain(holder_name):
                raise RefundRejected(
                    f"the account is of {holder_name}, and points are refunded to one's own only: {name}"
                )
            self._settle_debts(connection, person, year)
            standing = self._standing(connection, person, year)
            if standing.refundable == 0:
                raise RefundRejected(f"nothing of {year} can be refunded now")
            row = {"person": person, "year": year, "yen": standing.refundable, "state": ApplicationState.APPLIED.value,
                   "bank": account.bank, "branch": account.branch, "kind": account.kind, "account": account.number,
                   "holder": account.holder}  # fmt: skip
            number = connection.execute(
                sa.insert(self._application).returning(self._application.c.number), row
            ).scalar_one()
            left, now = standing.refundable, epoch(self.centre.clock.now())
            for held, balance in self._accounts(connection, person, year).items():
                drawn = min(left, max(0, balance))
                if drawn:
                    self._ledger.move(connection, held, PAYABLE, drawn, now, number)
                    left -= drawn
            if left:
                raise RefundRejected("the accounts of this year do not hold that much")
            self._log(connection, "applied", {"person": person, "year": year, "yen": standing.refundable})
        return RefundApplication(number, person, year, standing.refundable, ApplicationState.APPLIED, account)

    def payment_file(self) -> PaymentFile:
        """The bank's file of all that was applied for and is in no file yet. It has a number of its own, by which
        `again` makes the same one. Raises RefundRejected where there is nothing to pay, and PaymentRejected."""
        table = self._application
        with self.store.alone() as connection:
            waiting = table.c.state == ApplicationState.APPLIED.value
            found = [
                _application(row)
                for row in connection.execute(sa.select(table).where(waiting).order_by(table.c.number))
            ]
            if not found:
                raise RefundRejected("nothing waits for payment")
            found = found[:MOST_PAYMENTS]
            number = (connection.scalar(sa.select(sa.func.max(table.c.file))) or 0) + 1
            content = self._file(found)
            connection.execute(
                sa.update(table).where(waiting, table.c.number <= found[-1].number)
                .values(state=ApplicationState.IN_FILE.value, file=number)
            )  # fmt: skip
            self._log(connection, "payment file", {"file": number, "payments": len(found)})
        return PaymentFile(number, content, len(found))

    def again(self, file: int) -> PaymentFile:
        """A file once more, of which nothing was settled yet: one that was lost on the way to the bank. Raises
        RefundRejected."""
        table = self._application
        with self.store.reading() as connection:
            rows = connection.execute(sa.select(table).where(table.c.file == file).order_by(table.c.number))
            found = [_application(row) for row in rows]
        if not found:
            raise RefundRejected(f"there is no file {file}")
        if any(one.state is not ApplicationState.IN_FILE for one in found):
            raise RefundRejected(f"the bank has answered for file {file} already")
        return PaymentFile(file, self._file(found), len(found))

    def settle(self, number: int, *, paid: bool) -> RefundApplication:
        """What the bank has said of a payment: paid, or returned, and then the points are back. Once. Raises
        RefundRejected."""
        with self.store.alone() as connection:
            found = self._one(connection, number)
            if found.state is not ApplicationState.IN_FILE:
                raise RefundRejected(f"the application {number} is {found.state.value}, and not with the bank")
            state, now = ApplicationState.PAID if paid else ApplicationState.RETURNED, epoch(self.centre.clock.now())
            if paid:
                self._ledger.move(connection, PAYABLE, PAID, found.yen, now, number)
            else:
                posting = self._ledger.posting.c
                drawn = connection.execute(
                    sa.select(posting.debit, posting.points).where(
                        posting.application == number, posting.credit == PAYABLE
                    )
                ).all()
                for held, points in drawn:
                    self._ledger.move(connection, PAYABLE, held, points, now, number)
            table = self._application
            connection.execute(sa.update(table).where(table.c.number == number).values(state=state.value))
            self._log(connection, state.value, {"application": number})
        return RefundApplication(number, found.person, found.year, found.yen, state, found.account)

    def applications(self, person: str) -> list[RefundApplication]:
        """A person's applications, the latest first."""
        table = self._application
        with self.store.reading() as connection:
            rows = connection.execute(sa.select(table).where(table.c.person == person).order_by(table.c.number.desc()))
            return [_application(row) for row in rows]

    def _one(self, connection: sa.Connection, number: int) -> RefundApplication:
        row = connection.execute(sa.select(self._application).where(self._application.c.number == number)).one_or_none()
        if row is None:
            raise RefundRejected(f"there is no application {number}")
        return _application(row)

    def _file(self, applications: Sequence[RefundApplication]) -> bytes:
        day = self.centre.clock.now().astimezone(JST).date()
        payments = [Payment(one.account, one.yen, one.number) for one in applications]
        return payment_file(PAYER, PAYER_CODE, PAYER_ACCOUNT, day, payments)

    def _log(self, connection: sa.Connection, what: str, detail: dict[str, Any]) -> None:
        self.centre.log(connection, self.centre.clock.now(), what, detail)


def _application(row: Any) -> RefundApplication:
    account = Account(row.bank, row.branch, row.kind, row.account, row.holder)
    return RefundApplication(row.number, row.person, row.year, row.yen, ApplicationState(row.state), account)


def _plain(name: str) -> str:
    """A name as it is compared: width and blanks do not matter."""
    return "".join(unicodedata.normalize("NFKC", name).split())
