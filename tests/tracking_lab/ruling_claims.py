"""What the tests of the page assert about the claim of the ruling: it agrees with the exposure, and has all words."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from kazashi.assembly.actors import ACTORS
from kazashi.provision_network.law.provisions import PersonField
from kazashi.provision_network.law.rules import Denial
from kazashi.studies.handle_index import StoredForm
from kazashi.studies.handles import HandleKind
from kazashi.studies.identity_data import CONFIDENTIAL, PLAIN
from kazashi.studies.network_rulings import RulingReason
from kazashi.studies.sector_joins import SECTORS

SERIAL = HandleKind.SERIAL.value


def assert_claims_5_and_6_agree(result: dict[str, Any]) -> None:
    """Whoever has stored a serial number according to claim 6 is a holder in the matrix of claim 5, and the reverse:
    all but the issuers and those who see it when a card is used."""
    reasons = {one["id"]: one["value"] for claim in result["claims"] if claim["id"] == "ruling-of-2008"
               for one in claim["results"]}  # fmt: skip
    assert list(reasons) == [f"reason-{numeral}" for numeral in ("i", "ii", "iii", "iv", "v")]
    left = {(fact["values"]["who"], fact["values"]["handle"]) for fact in reasons["reason-v"]}
    held = {(cell["actor"], cell["handle"]) for cell in result["exposure"]["cells"]
            if cell["handle"] == SERIAL and cell["holding"] != "at use" and cell["actor"] != "J-LIS"}  # fmt: skip
    assert left == held
    assert ("refund point centre", SERIAL) in left, "an account code that is the serial number"
    assert [fact["id"] for fact in reasons["reason-iii"]] == ["sectors-joined-together"] * len(reasons["reason-iii"])


def words_of_rulings() -> set[str]:
    """The keys for the facts that `kazashi network rulings` tells, whether or not the small world shows them."""
    sources = [path.read_text(encoding="utf-8") for path in (Path(__file__).parents[2] / "studies").glob("*.py")]
    facts = {f"facts.{name}" for text in sources
             for name in re.findall(r'(?:StoreFact|_fact)\(\s*"([a-z-]+)"', text)}  # fmt: skip
    facts |= {f"facts.{name}" for name in ("confidential-data", "other-data")}
    rulings = {f"rulings.reasons.{reason.value}" for reason in RulingReason} | {"rulings.holds", "rulings.fails"}
    return facts | rulings | {
        *(f"forms.{form.value}" for form in StoredForm), *(f"denials.{denial.value}" for denial in Denial),
        *(f"sorts.{sort}" for sort in (*CONFIDENTIAL, *PLAIN)), *(f"actors.{actor.owner.name}" for actor in ACTORS),
        *(f"data-sectors.{sector}" for sector in SECTORS.values()), *(f"handles.{kind.value}" for kind in HandleKind),
        *(f"handles.{field.value}" for field in PersonField),
    }  # fmt: skip
