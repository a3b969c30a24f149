"""The three stages in which the use of the MyKey platform widens (３段階で利用を拡大), as feature sets by date.

The slide consists of figures from the interim report of 2016-04-28, which are not in the slides' text. What each stage
has is therefore our reading of what the ministry said about the platform in the same year: cards of public services,
municipal points, points of companies (a talk of 2016-12-16 at icpf.jp). Each first day is that on which people could do
it. docs/relying-parties.md says what is sourced.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from enum import Enum

import sqlalchemy as sa

from kazashi.world.storage import insert_if_absent


class Feature(Enum):
    """What the platform does for people, in addition to ending what they have, which it always does."""

    IDENTIFIER = "identifier"
    """Registers a MyKey ID."""
    PUBLIC_SERVICE = "public"
    """Finds members of public services, such as a library: with PIN or by tap."""
    REGIONAL_SERVICE = "regional"
    """Finds members of a region's shops, where municipal points (自治体ポイント) are used."""
    NATIONWIDE_SERVICE = "nationwide"
    """Finds members of companies that are everywhere, such as payment services."""


SERVICE_KINDS = {
    feature.value: feature for feature in (
        Feature.PUBLIC_SERVICE, Feature.REGIONAL_SERVICE, Feature.NATIONWIDE_SERVICE
    )
}  # fmt: skip
"""The features that each are the use of one kind of service, by the kind's name."""


@dataclass(frozen=True, slots=True)
class MyKeyStage:
    """A stage: its number, the first day, what is new in it, and what it is in words."""

    number: int
    begins: date
    features: frozenset[Feature]
    words: str


STAGES = (
    MyKeyStage(1, date(2017, 9, 25), frozenset({Feature.IDENTIFIER, Feature.PUBLIC_SERVICE}),
          "MyKey IDs, and the card in place of the cards of public services"),
    MyKeyStage(2, date(2017, 9, 25), frozenset({Feature.REGIONAL_SERVICE}), "municipal points, in a region's shops"),
    MyKeyStage(3, date(2020, 7, 1), frozenset({Feature.NATIONWIDE_SERVICE}), "services of companies, everywhere"),
)  # fmt: skip
"""The stages with the days on which they began: platform and municipal points on 2017-09-25, as a trial
(https://www.jt-tsushin.jp/article/casestudy_jichitai-point_case/), the choice of a payment service on 2020-07-01
(https://www.watch.impress.co.jp/docs/topic/1260604.html)."""


class StageNotReached(Exception):
    """The platform does not do that yet; the message says from which day it does. Nothing was changed."""


class StageOrder(Exception):
    """A stage cannot begin before the one in front of it, or there is no such stage or kind. Nothing was changed."""


class StageTable:
    """The stages of one platform, whose first days can be changed, and the kind of each service.

    A service without a kind is a public one.
    """

    def __init__(self, metadata: sa.MetaData) -> None:
        self._begins = sa.Table(
            "stage", metadata,
            sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
            sa.Column("begins", sa.Text, nullable=False),
        )  # fmt: skip
        self._kind = sa.Table(
            "service_kind", metadata,
            sa.Column("service", sa.Text, primary_key=True),
            sa.Column("kind", sa.Text, nullable=False),
        )  # fmt: skip

    def stages(self, connection: sa.Connection) -> list[MyKeyStage]:
        """Return the stages in order, with this platform's days."""
        rows: Mapping[int, str] = {row.number: row.begins for row in connection.execute(sa.select(self._begins))}
        return [
            MyKeyStage(stage.number, date.fromisoformat(rows[stage.number]), stage.features, stage.words)
            if stage.number in rows
            else stage
            for stage in STAGES
        ]

    def begin(self, connection: sa.Connection, number: int, day: date) -> MyKeyStage:
        """Let a stage begin on another day. Raises StageOrder."""
        stages = self.stages(connection)
        if not 1 <= number <= len(stages):
            raise StageOrder(f"the stages are 1 to {len(stages)}; there is no stage {number}")
        days = [day if stage.number == number else stage.begins for stage in stages]
        if days != sorted(days):
            raise StageOrder(f"stage {number} cannot begin on {day}: the stages would not begin in their order")
        self._put(connection, self._begins, "number", {"number": number, "begins": day.isoformat()})
        return self.stages(connection)[number - 1]

    def set_kind(self, connection: sa.Connection, service: str, kind: str) -> None:
        """Say of which kind a service is. Raises StageOrder."""
        if kind not in SERVICE_KINDS:
            raise StageOrder(f"a service is {', '.join(SERVICE_KINDS)}; there is no kind {kind!r}")
        self._put(connection, self._kind, "service", {"service": service, "kind": kind})

    def check(self, connection: sa.Connection, day: date, feature: Feature) -> None:
        """Raise StageNotReached if the platform does not have the feature on a day."""
        stage = next(stage for stage in self.stages(connection) if feature in stage.features)
        if day < stage.begins:
            raise StageNotReached(
                f"stage {stage.number} of the MyKey platform ({stage.words}) begins on {stage.begins}; it is {day}"
            )

    def check_service(self, connection: sa.Connection, day: date, service: str) -> None:
        """Raise StageNotReached if the platform does not serve a service of that kind on a day."""
        kind = connection.scalar(sa.select(self._kind.c.kind).where(self._kind.c.service == service))
        self.check(connection, day, SERVICE_KINDS[kind or Feature.PUBLIC_SERVICE.value])

    @staticmethod
    def _put(connection: sa.Connection, table: sa.Table, key: str, row: Mapping[str, object]) -> None:
        if not connection.execute(insert_if_absent(table), row).rowcount:
            connection.execute(sa.update(table).where(table.c[key] == row[key]).values(**row))
