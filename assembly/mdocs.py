"""Issuing, presenting and verifying the mdocs of a world's phones, for its tools."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from kazashi.assembly.errors import UsageError
from kazashi.card_management.wallet import Wallet
from kazashi.jpki.armor import der_in
from kazashi.jpki.mdoc import NOT_A_REQUEST, MalformedRequest, PresentationRequest, base64url, from_base64url
from kazashi.relying_party.verify.authentication import new_challenge
from kazashi.relying_party.verify.challenges import StoredChallenges
from kazashi.relying_party.verify.mdoc import MdocVerifier
from kazashi.world.input_file import read_input

if TYPE_CHECKING:
    from kazashi.assembly.institutions import Institutions
    from kazashi.world.home import World


def issue(institutions: Institutions, phone: str, count: int) -> None:
    """Issue mdocs to a phone, in place of its former ones. Raises NoSuchPhone and PhoneRejected."""
    number = institutions.phones.phone(phone).number
    Wallet(institutions.world, phone).request_documents(count, lambda keys: institutions.mdocs.issue(number, keys))


def present(institutions: Institutions, phone: str, request: PresentationRequest) -> bytes:
    """Return a phone's DeviceResponse to a request. Raises NoSuchPhone and PhoneRejected."""
    institutions.phones.phone(phone)
    return Wallet(institutions.world, phone).present(request)


def new_request(world: World, response_uri: str, elements: Sequence[str]) -> PresentationRequest:
    """Return a new request of the relying party of this world, and store its nonce."""
    challenge = new_challenge(response_uri, world.clock.now())
    StoredChallenges(world).put(challenge)
    return PresentationRequest(response_uri, base64url(challenge.nonce), tuple(dict.fromkeys(elements)))


def read_request(text: bytes, name: str) -> PresentationRequest:
    """Return the request in a JSON text, which is in the file with a name. Raises UsageError."""
    try:
        return PresentationRequest.from_dict(json.loads(text))
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{name}: {NOT_A_REQUEST}") from error
    except MalformedRequest as error:
        raise UsageError(f"{name}: {error}") from error


def verifier(institutions: Institutions, roots: Sequence[Path] = (), status: Path | None = None) -> MdocVerifier:
    """Return the verifier of the relying party of this world, which trusts `roots`, or the world's issuer."""
    challenges = StoredChallenges(institutions.world)

    def take(nonce: str) -> tuple[datetime, str] | None:
        try:
            challenge = challenges.take(from_base64url(nonce))
        except ValueError:
            return None
        return None if challenge is None else (challenge.issued_at, challenge.origin)

    def status_list(_: str) -> bytes | None:
        return read_input(status) if status is not None else institutions.mdocs.status_list()

    try:
        trusted = [der_in(read_input(path)) for path in roots] or [institutions.mdocs.root()]
        return MdocVerifier(trusted, status_list, take, institutions.world.clock)
    except ValueError as error:
        named = ", ".join(map(str, roots))
        raise UsageError(f"a root is not a certificate (DER or PEM), of: {named}") from error
