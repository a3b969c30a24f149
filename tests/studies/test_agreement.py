"""`network rulings`, `points exposure` and `tracking exposure` say the same of the same world."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from kazashi.assembly.actors import ACTORS, actors_of
from kazashi.assembly.points import open_till
from kazashi.jpki.profile import CertificateType
from kazashi.studies.tracking_stores import PEOPLE, scene
from kazashi.world.home import open_world
from tests.cli.program import InProcessProgram
from tests.town import certificates

CARRIED = {"serial number", "resident record code", "individual number"}
BY_LAW = {
    ("municipal address systems", "individual number"), ("pension service", "individual number"),
    ("parties outside the network", "individual number"),
}  # fmt: skip


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InProcessProgram]:
    """The small world in which cards are used everywhere, with one more actor, which has plain digests."""
    with scene(tmp_path_factory.mktemp("scene") / "w") as (institutions, _):
        serials = [certificates(institutions, who, CertificateType.AUTHENTICATION)[-1].serial for who in PEOPLE]
        metadata = sa.MetaData()
        table = sa.Table("visit", metadata, sa.Column("guest", sa.Text))
        with institutions.world.store("newcomer", metadata).transaction() as connection:
            digests = [hashlib.sha256(str(serial).encode()).hexdigest() for serial in serials]
            connection.execute(sa.insert(table), [{"guest": digest} for digest in digests])
        institutions.world.close()
        yield InProcessProgram(institutions.world.directory)


def labels(world: Path) -> dict[str, str]:
    """The name of each actor's owner by its label."""
    return {actor.label: actor.owner.name for actor in (*ACTORS, *actors_of(open_world(world)))}


def test_the_three_commands_agree(program: InProcessProgram) -> None:
    issuers = {actor.owner.name for actor in ACTORS if actor.owner.issues}
    rulings = {one["reason"]: one for one in program.json("network", "rulings", expect=1)}
    facts = [fact["values"] for fact in rulings["v"]["against"]]
    left = {(fact["who"], fact["handle"]) for fact in facts}

    cells = program.json("tracking", "exposure", "--this-world")["cells"]
    held = {(cell["actor"], cell["handle"]) for cell in cells
            if cell["handle"] in CARRIED and cell["actor"] not in issuers and cell["holding"] != "at use"}  # fmt: skip
    assert left == held - BY_LAW
    assert ("newcomer", "serial number") in left
    assert ("refund point centre", "serial number") in left

    owners, rows = labels(program.world), Counter[tuple[str, str, str, str]]()
    for _, _, record in open_till(open_world(program.world), "rice-shop", "till-1").records():
        for label, known in program.json("points", "exposure", record.receipt).items():
            for one in known.get("handles", ()):
                rows[owners[label], one["handle"], one["form"], one["place"]] += one["rows"]
    by_receipt = {key: count for key, count in rows.items()
                  if key[1] in CARRIED and key[0] not in issuers and key[:2] not in BY_LAW}  # fmt: skip
    by_ruling = {(fact["who"], fact["handle"], fact["form"], fact["place"]): fact["rows"] for fact in facts}
    assert by_receipt == by_ruling, "each person bought something once, so that the receipts cover everybody"

    held = {(cell["actor"], cell["handle"]) for cell in cells}
    joins = [fact["values"] for fact in rulings["iii"]["against"] + rulings["iii"]["measured"]]
    assert {fact["handle"] for fact in joins} >= {"serial number", "individual number"}
    for fact in joins:
        assert {(who, fact["handle"]) for who in fact["who"].split(" + ")} <= held, "who could join by it has it"
