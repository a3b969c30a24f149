"""The core's key in a PKCS#11 token: the codes have the same properties, and the store has no key."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.provision_network.bodies import HANAKO, MINATO, SHIBUYA

ROOT = Path(__file__).parent.parent.parent
MODULE = next(path for path in (Path("/usr/lib/softhsm/libsofthsm2.so"),
                                *Path("/usr/lib").glob("*/softhsm/libsofthsm2.so")) if path.exists())  # fmt: skip

PROGRAM = """
import json, sys
from pathlib import Path
import sqlalchemy as sa
from kazashi.provision_network.assessments import sample_assessment
from kazashi.provision_network.core import Core
from kazashi.provision_network.law.rules import RuleBook
from kazashi.provision_network.law.tables import table_of_affairs
from kazashi.world.home import open_world
from kazashi.world.settings import Settings
world = open_world(Path(sys.argv[1]), settings=Settings("token", keys=sys.argv[2]))
core = Core(world, RuleBook(table_of_affairs()))
for name in sys.argv[4:]:
    core.members.connect(name, "市町村長", assessment=sample_assessment(name, "市町村長", world.clock.now().date()))
codes = {name: str(core.codes.code_for(name, sys.argv[3])) for name in sys.argv[4:]}
from kazashi.provision_network.terms import Role
from kazashi.provision_network.codes import InstitutionCode
first, second = sys.argv[4:]
converted = core.codes.convert(Role.CORE_OPERATOR, InstitutionCode.parse(codes[first]), first, second)
with core.store.reading() as connection:
    secrets = sorted(connection.scalars(sa.text("SELECT name FROM secret")))
print(json.dumps({"codes": codes, "converted": str(converted), "secrets": secrets}))
"""


def test_codes_are_issued_and_converted_in_the_token(tmp_path: Path) -> None:
    (tmp_path / "tokens").mkdir()
    configuration = tmp_path / "softhsm2.conf"
    configuration.write_text(f"directories.tokendir = {tmp_path / 'tokens'}\n")
    environment = {**os.environ, "SOFTHSM2_CONF": str(configuration)}
    subprocess.run(
        ["softhsm2-util", "--init-token", "--free", "--label", "core", "--so-pin", "1234", "--pin", "5678"],
        check=True, capture_output=True, env=environment,
    )  # fmt: skip
    address = f"pkcs11:token=core?module-path={MODULE}&pin-value=5678"

    def run_core(world: str) -> dict[str, object]:
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, str(tmp_path / world), address, HANAKO, SHIBUYA, MINATO],
            capture_output=True, text=True, check=False, timeout=60, env=environment, cwd=ROOT,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        output: dict[str, object] = json.loads(done.stdout)
        return output

    first, again, other = run_core("w"), run_core("w"), run_core("other")
    codes = first["codes"]
    assert isinstance(codes, dict)
    assert codes[SHIBUYA] != codes[MINATO] == first["converted"]
    assert again == first, "the key stays in the token"
    assert first["secrets"] == ["authority", "authority-key"], "the store does not have the key"
    assert other["codes"] != codes, "people have other linkage codes in another world"
