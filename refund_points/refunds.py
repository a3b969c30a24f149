"""Refunds: people's points and how much of them can be refunded, applications, and the bank's payment files.

A person is identified by the platform operator's identifier, which stays the same when the card is renewed. Their
account codes are those of all serial numbers they have logged in with. The cap is 4,000 yen per person and year; a
pooled household shares one cap of 4,000 yen times its number of members. If goods are returned after their points were
paid out, the difference is owed, and is settled with the next refund.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

import sqlalchemy as sa

from kazashi.refund_points.centre import Centre
from kazashi.refund_points.ledger import PAID, PAYABLE
from kazashi.refund_points.zengin import MOST_PAYMENTS, Account, Payment, payment_file
from kazashi.relying_party.verify.attributes import FourAttributes
from kazashi.world.clock import epoch, today
from kazashi.world.reasoned import ReasonedError
from kazashi.world.storage import Position

CAP = 4_000
"""The most that is refunded, in yen per person and year: two per cent of 200,000. One point is one yen."""

PAYER, PAYER_CODE = "ｶﾝﾌﾟﾎﾟｲﾝﾄ ﾁｸｾｷｾﾝﾀ-", "0000000001"
PAYER_ACCOUNT = Account("0000", "000", "1", "0000001", PAYER)


class RefundReason(Enum):
    """Why the centre refuses a registration, an application or a payment."""

    NOT_REGISTERED = "not-registered"
    """The person has never registered with the signature certificate."""
    NO_YEAR = "no-year"
    """The application names no year."""
    OTHER_HOLDER = "other-holder"
    """The bank account is not in the person's own name."""
    NOTHING_REFUNDABLE = "nothing-refundable"
    """The person has no points of that year that can be refunded now."""
    BALANCE_TOO_LOW = "balance-too-low"
    """The person's accounts of that year do not hold the refundable sum."""
    NOTHING_TO_PAY = "nothing-to-pay"
    """No application is waiting for payment."""
    NO_FILE = "no-file"
    """There is no payment file with that number."""
    ALREADY_SETTLED = "already-settled"
    """The bank has already reported on the payment file."""
    NOT_IN_FILE = "not-in-file"
    """The application is not with the bank: it is in no payment file yet, or the bank has reported on it."""
    NO_APPLICATION = "no-application"
    """There is no application with that number."""


class RefundRejected(ReasonedError[RefundReason]):
    """The centre refuses the request for `reason`; the message explains it. Nothing was changed."""


class ApplicationState(Enum):
    """The state of an application for a refund."""

    APPLIED = "applied"
    """It waits for the next payment file."""
    IN_FILE = "in-file"
    """It is in a payment file, and the bank has not reported on it."""
    PAID = "paid"
    RETURNED = "returned"
    """The bank could not pay; the points are back in the person's accounts."""


@dataclass(frozen=True, slots=True)
class YearBalance:
    """A person's points of one year.

    `balance` is the points that the tills granted, less those that returns took away. `refundable` is what the person
    can apply for now. `applied` is applied for and not paid yet, and `paid` is paid out. `capped` is beyond the cap.
    `owed` was paid out before the goods were returned, over all years.
    """

    year: int
    balance: int
    refundable: int
    applied: int
    paid: int
    capped: int
    owed: int


@dataclass(frozen=True, slots=True)
class RefundApplication:
    """An application for a refund of `yen` from the points of `year`."""

    number: int
    person: str
    year: int
    yen: int
    state: ApplicationState
    account: Account


@dataclass(frozen=True, slots=True)
class PaymentFile:
    """A payment file for the bank: its number at the centre, its bytes, and the number of payments in it."""

    number: int
    content: bytes
    payments: int


class Refunds:
    """The refunds of a centre; the tables are in the centre's store."""

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
        with self.store.alone() as connection:  # the portal and a command may start at the same moment
            metadata.create_all(connection)

    # Persons

    def register(self, person: str, attributes: FourAttributes) -> None:
        """Register a person under the attributes of their signature certificate.

        A person who replaced a lost card is recognised by name, date of birth, sex and address, and keeps the account
        codes and applications of the earlier registration.
        """
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
        """Assign the account codes of a person's serial numbers to the person.

        A code that is already assigned stays with its holder. Returns False if the person has never registered.
        """
        codes = self.centre.policy.accounts_of(serials, self.centre.shops())
        with self.store.alone() as connection:
            if self._name(connection, person) is None:
                return False
            sql = "INSERT INTO holding (code, person) VALUES (:code, :person) ON CONFLICT DO NOTHING"
            if codes:
                connection.execute(sa.text(sql), [{"code": code, "person": person} for code in codes])
        return True

    def name(self, person: str) -> str | None:
        """Return the name on a person's certificate, or None if the person has never registered."""
        with self.store.reading() as connection:
            return self._name(connection, person)

    def _name(self, connection: sa.Connection, person: str) -> str | None:
        return connection.scalar(sa.select(self._person.c.name).where(self._person.c.person == person))

    def people(self) -> list[tuple[str, str, str]]:
        """Return the identifier, name and household of everybody who has registered."""
        table = self._person.c
        with self.store.reading() as connection:
            rows = connection.execute(sa.select(table.person, table.name, table.household).order_by(table.name))
            return [(person, name, household) for person, name, household in rows]

    def holder(self, code: str) -> str | None:
        """Return the person an account code is assigned to, or None."""
        with self.store.reading() as connection:
            return connection.scalar(sa.select(self._holding.c.person).where(self._holding.c.code == code))

    def codes(self, person: str) -> list[str]:
        """Return the account codes that are assigned to a person."""
        table = self._holding.c
        with self.store.reading() as connection:
            return list(connection.scalars(sa.select(table.code).where(table.person == person).order_by(table.code)))

    def pool(self, person: str, with_person: str) -> None:
        """Merge the households of two people. Raises RefundRejected if one of them is not registered."""
        table = self._person
        with self.store.alone() as connection:
            households = dict.fromkeys((person, with_person), "")
            for one in households:
                household = connection.scalar(sa.select(table.c.household).where(table.c.person == one))
                if household is None:
                    raise RefundRejected(RefundReason.NOT_REGISTERED, f"{one} is not registered")
                households[one] = household
            joined = sa.update(table).where(table.c.household == households[with_person])
            connection.execute(joined.values(household=households[person]))
            self._log(connection, "pooled", {"person": person, "with": with_person})

    # Points

    def years(self, person: str) -> list[YearBalance]:
        """Return a person's points year by year, the latest first."""
        with self.store.reading() as connection:
            return [self._balance(connection, person, year) for year in self._years(connection, person)]

    def _years(self, connection: sa.Connection, person: str) -> list[int]:
        account = self._ledger.account
        query = (
            sa.select(account.c.year).distinct().join(self._holding, self._holding.c.code == account.c.code)
            .where(self._holding.c.person == person).order_by(account.c.year.desc())
        )  # fmt: skip
        return list(connection.scalars(query))

    def _accounts(self, connection: sa.Connection, person: str, year: int | None) -> dict[int, int]:
        """Return the balances of a person's accounts, of one year or (None) of all."""
        account = self._ledger.account
        query = sa.select(account.c.id).join(self._holding, self._holding.c.code == account.c.code)
        query = query.where(self._holding.c.person == person)
        if year is not None:
            query = query.where(account.c.year == year)
        return self._ledger.balances(connection, list(connection.scalars(query.order_by(account.c.id))))

    def _balance(self, connection: sa.Connection, person: str, year: int) -> YearBalance:
        available = sum(self._accounts(connection, person, year).values())
        owed = -sum(
            min(0, sum(self._accounts(connection, person, other).values())) for other in self._years(connection, person)
        )  # fmt: skip
        members = self._members(connection, person)
        drawn = self._drawn(connection, members, year)
        own = self._drawn(connection, [person], year)
        left = max(0, CAP * len(members) - sum(drawn.values()))
        refundable = max(0, min(max(0, available) - owed, left))
        applied = own.get(ApplicationState.APPLIED, 0) + own.get(ApplicationState.IN_FILE, 0)
        paid = own.get(ApplicationState.PAID, 0)
        capped = max(0, available) - refundable - min(owed, max(0, available))
        return YearBalance(year, available + applied + paid, refundable, applied, paid, max(0, capped), owed)

    def _settle_debts(self, connection: sa.Connection, person: str, year: int) -> None:
        """Move points of a year to the person's accounts with a negative balance, as far as they go.

        This deducts points that were refunded before their goods were returned from the next refund, once.
        """
        debts = {number: -points for number, points in self._accounts(connection, person, None).items() if points < 0}
        now = epoch(self.centre.clock.now())
        for number, points in self._accounts(connection, person, year).items():
            for debtor, owed in debts.items():
                moved = min(points, owed)
                if moved > 0:
                    self._ledger.move(connection, number, debtor, moved, now)
                    points -= moved
                    debts[debtor] -= moved

    def _members(self, connection: sa.Connection, person: str) -> list[str]:
        table = self._person
        household = sa.select(table.c.household).where(table.c.person == person).scalar_subquery()
        return list(connection.scalars(sa.select(table.c.person).where(table.c.household == household))) or [person]

    def _drawn(self, connection: sa.Connection, persons: Sequence[str], year: int) -> dict[ApplicationState, int]:
        """Return the yen that these people have applied for from a year, by state, without returned payments."""
        table = self._application.c
        query = sa.select(table.state, sa.func.sum(table.yen)).where(table.person.in_(persons), table.year == year)
        query = query.where(table.state != ApplicationState.RETURNED.value).group_by(table.state)
        return {ApplicationState(state): int(yen) for state, yen in connection.execute(query)}

    # Applications

    def apply(self, person: str, year: int, account: Account, holder_name: str) -> RefundApplication:
        """Apply for a refund of all refundable points of a year.

        The account must be in the person's own name, as on the certificate. Raises RefundRejected and PaymentRejected.
        """
        account.check()
        with self.store.alone() as connection:
            name = self._name(connection, person)
            if name is None:
                raise RefundRejected(
                    RefundReason.NOT_REGISTERED, f"{person} is not registered; register with the signature certificate"
                )
            if _plain(name) != _plain(holder_name):
                raise RefundRejected(
                    RefundReason.OTHER_HOLDER,
                    f"the account holder is {holder_name}, but points are only refunded to an account of {name}",
                )
            self._settle_debts(connection, person, year)
            refundable = self._balance(connection, person, year).refundable
            if refundable == 0:
                raise RefundRejected(RefundReason.NOTHING_REFUNDABLE, f"no points of {year} can be refunded now")
            row = {"person": person, "year": year, "yen": refundable, "state": ApplicationState.APPLIED.value,
                   "bank": account.bank, "branch": account.branch, "kind": account.kind, "account": account.number,
                   "holder": account.holder}  # fmt: skip
            number = connection.execute(
                sa.insert(self._application).returning(self._application.c.number), row
            ).scalar_one()
            left, now = refundable, epoch(self.centre.clock.now())
            for account_number, balance in self._accounts(connection, person, year).items():
                drawn = min(left, max(0, balance))
                if drawn:
                    self._ledger.move(connection, account_number, PAYABLE, drawn, now, number)
                    left -= drawn
            if left:
                raise RefundRejected(
                    RefundReason.BALANCE_TOO_LOW, f"the accounts of {year} are {left} points short of {refundable}"
                )
            self._log(connection, "applied", {"person": person, "year": year, "yen": refundable})
        return RefundApplication(number, person, year, refundable, ApplicationState.APPLIED, account)

    def payment_file(self) -> PaymentFile:
        """Create the bank's payment file for all applications that are in no file yet.

        `again` makes the same file from its number. Raises RefundRejected if there is nothing to pay, and
        PaymentRejected.
        """
        table = self._application
        with self.store.alone() as connection:
            waiting = table.c.state == ApplicationState.APPLIED.value
            applications = [
                _application(row)
                for row in connection.execute(sa.select(table).where(waiting).order_by(table.c.number))
            ]
            if not applications:
                raise RefundRejected(RefundReason.NOTHING_TO_PAY, "no application is waiting for payment")
            applications = applications[:MOST_PAYMENTS]
            number = (connection.scalar(sa.select(sa.func.max(table.c.file))) or 0) + 1
            content = self._file(applications)
            connection.execute(
                sa.update(table).where(waiting, table.c.number <= applications[-1].number)
                .values(state=ApplicationState.IN_FILE.value, file=number)
            )  # fmt: skip
            self._log(connection, "payment file", {"file": number, "payments": len(applications)})
        return PaymentFile(number, content, len(applications))

    def again(self, file: int) -> PaymentFile:
        """Create a payment file again that was lost on its way to the bank. Raises RefundRejected if there is no such
        file, or one of its payments is settled."""
        table = self._application
        with self.store.reading() as connection:
            rows = connection.execute(sa.select(table).where(table.c.file == file).order_by(table.c.number))
            applications = [_application(row) for row in rows]
        if not applications:
            raise RefundRejected(RefundReason.NO_FILE, f"there is no payment file {file}")
        if any(one.state is not ApplicationState.IN_FILE for one in applications):
            raise RefundRejected(
                RefundReason.ALREADY_SETTLED, f"the bank has already reported on payments of file {file}"
            )
        return PaymentFile(file, self._file(applications), len(applications))

    def settle(self, number: int, *, paid: bool) -> RefundApplication:
        """Record the bank's report on a payment, once: paid, or returned, which moves the points back. Raises
        RefundRejected."""
        with self.store.alone() as connection:
            application = self._one(connection, number)
            if application.state is not ApplicationState.IN_FILE:
                raise RefundRejected(
                    RefundReason.NOT_IN_FILE,
                    f"the application {number} is {application.state.value}; only one that is in-file can be settled",
                )
            state, now = ApplicationState.PAID if paid else ApplicationState.RETURNED, epoch(self.centre.clock.now())
            if paid:
                self._ledger.move(connection, PAYABLE, PAID, application.yen, now, number)
            else:
                posting = self._ledger.posting.c
                drawn = connection.execute(
                    sa.select(posting.debit, posting.points).where(
                        posting.application == number, posting.credit == PAYABLE
                    )
                ).all()
                for account_number, points in drawn:
                    self._ledger.move(connection, PAYABLE, account_number, points, now, number)
            table = self._application
            connection.execute(sa.update(table).where(table.c.number == number).values(state=state.value))
            self._log(connection, state.value, {"application": number})
        return replace(application, state=state)

    def applications(self, person: str) -> list[RefundApplication]:
        """Return a person's applications, the latest first."""
        table = self._application
        with self.store.reading() as connection:
            rows = connection.execute(sa.select(table).where(table.c.person == person).order_by(table.c.number.desc()))
            return [_application(row) for row in rows]

    def _one(self, connection: sa.Connection, number: int) -> RefundApplication:
        row = connection.execute(sa.select(self._application).where(self._application.c.number == number)).one_or_none()
        if row is None:
            raise RefundRejected(RefundReason.NO_APPLICATION, f"there is no application {number}")
        return _application(row)

    def _file(self, applications: Sequence[RefundApplication]) -> bytes:
        day = today(self.centre.clock)
        payments = [Payment(one.account, one.yen, one.number) for one in applications]
        return payment_file(PAYER, PAYER_CODE, PAYER_ACCOUNT, day, payments)

    def _log(self, connection: sa.Connection, what: str, detail: dict[str, Any]) -> None:
        self.centre.log(connection, self.centre.clock.now(), what, detail)


def _application(row: Any) -> RefundApplication:
    account = Account(row.bank, row.branch, row.kind, row.account, row.holder)
    return RefundApplication(row.number, row.person, row.year, row.yen, ApplicationState(row.state), account)


def _plain(name: str) -> str:
    """Return a name in the form used for comparison, without differences in width and spaces."""
    return "".join(unicodedata.normalize("NFKC", name).split())
