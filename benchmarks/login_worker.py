"""One build's verdicts on logins. `login_rate.py` runs this as a program, with the build's packages on the path.

It prints JSON: the verdicts per second of processor time and of the clock, RSA-2048 verifications per second measured
beside them, and the outcome and finding of each login in the second, mixed part.
"""

from __future__ import annotations

import json
import sys
import time
from datetime import datetime
from importlib import import_module
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

ORIGIN = "https://library.example"
VERIFICATIONS = 2000


def main(material: dict[str, Any], relying_party: str, world: str) -> dict[str, Any]:
    """Measure the build whose verifier is in the package `relying_party`."""
    authentication = import_module(f"{relying_party}.authentication")
    keys = [serialization.load_der_private_key(bytes.fromhex(key), None) for key in material["keys"]]
    tree = Path(material["tree"])
    verifier = import_module(f"{relying_party}.verification").Verifier(
        import_module(f"{relying_party}.anchors").AnchorsInDirectory(tree / "ca"),
        [import_module(f"{relying_party}.sources").lists_in(tree)],
        import_module(f"{world}.clock").FixedClock(datetime.fromisoformat(material["now"])),
    )
    good = [(bytes.fromhex(der), key) for der, key in material["good"]]
    for der in material["one_of_each_list"]:  # so that the lists are in memory
        verifier.certificate(bytes.fromhex(der))
    service = authentication.Authentication(verifier, _Challenges())

    def response(der: bytes, key: Any) -> Any:
        challenge = service.challenge(ORIGIN)
        signature = key.sign(challenge.message, padding.PKCS1v15(), hashes.SHA256())
        return authentication.Response(challenge.nonce, signature, der)

    responses = [response(der, keys[key]) for der, key in good]
    began, spent = time.perf_counter(), time.process_time()
    outcomes = {service.verdict(ORIGIN, one).outcome.value for one in responses}
    spent, began = time.process_time() - spent, time.perf_counter() - began
    if outcomes != {"good"}:
        raise SystemExit(f"the verdicts are {outcomes}; all should be good")
    reference = _reference(keys[0])
    mixed = []
    for der, key, origin in material["mixed"]:
        one = response(bytes.fromhex(der), keys[key])
        for _ in range(2):  # the second time, the challenge is used up
            verdict = service.verdict(origin, one)
            mixed.append([verdict.outcome.value, verdict.finding.value if verdict.finding else None])
    return {"rate": len(good) / spent, "clock": len(good) / began, "reference": reference, "mixed": mixed}


class _Challenges(dict[Any, Any]):
    """Challenges without a limit, for both builds: the older one has no tenants."""

    def put(self, challenge: Any, tenant: str = "") -> None:
        self[challenge.nonce] = challenge

    def take(self, nonce: bytes, tenant: str = "") -> Any:
        return self.pop(nonce, None)

    def forget(self, before: datetime) -> None:
        """Keep all of them: the clock is stopped."""


def _reference(key: Any) -> float:
    assert isinstance(key, rsa.RSAPrivateKey)
    public, signature = key.public_key(), key.sign(b"x", padding.PKCS1v15(), hashes.SHA256())
    spent = time.process_time()
    for _ in range(VERIFICATIONS):
        public.verify(signature, b"x", padding.PKCS1v15(), hashes.SHA256())
    return VERIFICATIONS / (time.process_time() - spent)


if __name__ == "__main__":
    print(json.dumps(main(json.loads(Path(sys.argv[1]).read_text(encoding="ascii")), *sys.argv[2:])))
