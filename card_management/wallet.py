"""The wallet on a phone: its mdocs with their device keys, and the presentations that it makes of them."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import cbor2
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from kazashi.card_management.phone_application import PhoneRejected
from kazashi.jpki.cose import decoded, sign1
from kazashi.jpki.mdoc import DOCUMENT_TYPE, PresentationRequest, chosen, device_authentication, embedded
from kazashi.world.atomic_file import write_whole
from kazashi.world.home import World
from kazashi.world.process_lock import exclusive

Issue = Callable[[Sequence[ec.EllipticCurvePublicKey]], list[bytes]]
"""Issues a document for each device key (`MdocIssuer.issue`)."""


class Wallet:
    """The mdocs on a phone, in a file of the world. A presentation uses the document that was used least."""

    def __init__(self, world: World, phone: str) -> None:
        self._path = world.directory / "wallets" / f"{phone}.json"
        self._phone = phone

    def request_documents(self, count: int, issue: Issue) -> None:
        """Make `count` device keys and get a document for each, in place of the phone's former documents."""
        keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(count)]
        documents = issue([key.public_key() for key in keys])
        with self._held():
            pairs = zip(map(_pkcs8, keys), documents, strict=True)
            self._write([{"key": _text(key), "document": _text(document), "used": 0} for key, document in pairs])

    def present(self, request: PresentationRequest) -> bytes:
        """Return a DeviceResponse (CBOR) with the requested elements, signed by the device's key for this request.

        Elements that were not requested are left out, with their random values; of them the verifier gets the digests
        only. Raises PhoneRejected if the phone has no document.
        """
        with self._held():
            kept = self._read()
            if not kept:
                raise PhoneRejected(f"the phone has no mdoc; get one with: kazashi mdoc issue {self._phone}")
            used = min(kept, key=lambda one: int(one["used"]))
            used["used"] += 1
            self._write(kept)
        document = decoded(b64decode(used["document"]))
        key = serialization.load_der_private_key(b64decode(used["key"]), None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        return device_response(document, key, request)

    def count(self) -> int:
        """Return how many documents the wallet has."""
        return len(self._read())

    def clear(self) -> None:
        """Delete the documents and their keys."""
        self._path.unlink(missing_ok=True)

    def _held(self) -> AbstractContextManager[None]:
        return exclusive(self._path.with_suffix(".lock"))

    def _read(self) -> list[dict[str, Any]]:
        try:
            return list(json.loads(self._path.read_text(encoding="ascii")))
        except FileNotFoundError:
            return []

    def _write(self, kept: list[dict[str, Any]]) -> None:
        write_whole(self._path, json.dumps(kept), mode=0o600)


def device_response(document: Any, key: ec.EllipticCurvePrivateKey, request: PresentationRequest) -> bytes:
    """Return a DeviceResponse (ISO/IEC 18013-5, 8.3.2.1.2.2) with the requested elements of an IssuerSigned."""
    wanted = chosen(request.elements)
    items = {
        name_space: [item for item in document["nameSpaces"][name_space]
                     if decoded(item.value)["elementIdentifier"] in names]
        for name_space, names in wanted.items()
    }  # fmt: skip
    own = embedded({})
    signature = sign1(key, device_authentication(request, own), detached=True)
    presented = {
        "docType": DOCUMENT_TYPE,
        "issuerSigned": {"nameSpaces": items, "issuerAuth": document["issuerAuth"]},
        "deviceSigned": {"nameSpaces": own, "deviceAuth": {"deviceSignature": signature}},
    }
    return cbor2.dumps({"version": "1.0", "documents": [presented], "status": 0})


def _text(data: bytes) -> str:
    return b64encode(data).decode("ascii")


def _pkcs8(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
