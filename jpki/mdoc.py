"""The mdoc of the card's attributes (カード代替電磁的記録): what issuer, phone and verifier must know alike.

The structures are those of ISO/IEC 18013-5:2021, 8.3 and 9.1. Presentations follow OpenID for Verifiable Presentations
1.0, annex B.2. The document type and the elements are those of Multipaz (`MyNumberCard.kt`) and of Apple's and other
wallets' documentation; who uses them where is not public.
"""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import cbor2

DOCUMENT_TYPE = "org.iso.23220.1.jp.mnc"
JAPANESE, GENERAL = "org.iso.23220.1.jp", "org.iso.23220.1"
"""The two name spaces: what the card's face has in Japanese, and elements of ISO/IEC 23220-2."""

ELEMENTS: Mapping[str, tuple[str, ...]] = {
    JAPANESE: (
        "full_name_unicode", "resident_address_unicode", "birth_date_unicode", "sex_unicode",
        "local_gov_code_unicode", "individual_number_unicode", "portrait",
    ),
    GENERAL: ("birth_date", "sex", "age_in_years", "age_over_20"),
}  # fmt: skip
"""The elements of a document by name space."""

NAME_SPACES = {element: name_space for name_space, elements in ELEMENTS.items() for element in elements}
"""The name space of each element."""

STATUS_LIST_TYPE = "application/statuslist+cwt"
"""The type of a status list in a CWT (Token Status List, 5.2)."""

EMBEDDED = 24
"""The tag of CBOR in a byte string (RFC 8949, 3.4.5.1)."""


def embedded(value: Any) -> cbor2.CBORTag:
    """Return a data item as CBOR in a byte string, which keeps its bytes when it is passed on."""
    return cbor2.CBORTag(EMBEDDED, cbor2.dumps(value))


def digest_of_item(item: cbor2.CBORTag) -> bytes:
    """Return the digest of an IssuerSignedItemBytes (ISO/IEC 18013-5, 9.1.2.5)."""
    return sha256(cbor2.dumps(item)).digest()


def base64url(data: bytes) -> str:
    """Return bytes in base64url without padding."""
    return urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def from_base64url(text: str) -> bytes:
    """Return the bytes in a base64url text with or without padding. Raises ValueError."""
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


class MalformedRequest(Exception):
    """The JSON is not a request for elements of this document."""


NOT_A_REQUEST = "the file is not a request for a presentation (kazashi mdoc request)"


@dataclass(frozen=True, slots=True)
class PresentationRequest:
    """A verifier's request for elements: an OpenID4VP authorization request with the response mode `direct_post`.

    The response is not encrypted. `nonce` is valid for one response, which goes to `response_uri`.
    """

    response_uri: str
    nonce: str
    elements: tuple[str, ...]

    @property
    def client_id(self) -> str:
        """The verifier's identifier: an unsigned request's names where the response goes (OpenID4VP 1.0, 5.9.3)."""
        return f"redirect_uri:{self.response_uri}"

    def as_dict(self) -> dict[str, Any]:
        """Return the request as a JSON object."""
        claims = [{"path": [NAME_SPACES[element], element]} for element in self.elements]
        credential = {"id": "card", "format": "mso_mdoc", "meta": {"doctype_value": DOCUMENT_TYPE}, "claims": claims}
        return {
            "client_id": self.client_id, "response_type": "vp_token", "response_mode": "direct_post",
            "response_uri": self.response_uri, "nonce": self.nonce, "dcql_query": {"credentials": [credential]},
        }  # fmt: skip

    @classmethod
    def from_dict(cls, document: Any) -> PresentationRequest:
        """Return the request in a JSON object. Raises MalformedRequest."""
        try:
            (credential,) = document["dcql_query"]["credentials"]
            paths = [(str(name_space), str(element)) for name_space, element in (
                claim["path"] for claim in credential["claims"]
            )]  # fmt: skip
            request = cls(str(document["response_uri"]), str(document["nonce"]), tuple(name for _, name in paths))
            wanted = (credential["format"], credential["meta"]["doctype_value"], document["client_id"])
        except (TypeError, KeyError, ValueError) as error:
            raise MalformedRequest(NOT_A_REQUEST) from error
        if wanted != ("mso_mdoc", DOCUMENT_TYPE, request.client_id):
            raise MalformedRequest(f"the request is not for an mdoc of the type {DOCUMENT_TYPE}")
        for name_space, element in paths:
            if NAME_SPACES.get(element) != name_space:
                raise MalformedRequest(f"the document has no element {element!r} in {name_space!r}")
        return request

    def session_transcript(self) -> list[Any]:
        """Return the SessionTranscript, which the device signs (OpenID4VP 1.0, B.2.6.1)."""
        info = [self.client_id, self.nonce, None, self.response_uri]
        return [None, None, ["OpenID4VPHandover", sha256(cbor2.dumps(info)).digest()]]


def device_authentication(request: PresentationRequest, name_spaces: cbor2.CBORTag) -> bytes:
    """Return the DeviceAuthenticationBytes that the device's key signs (ISO/IEC 18013-5, 9.1.3.4)."""
    content = ["DeviceAuthentication", request.session_transcript(), DOCUMENT_TYPE, name_spaces]
    return cbor2.dumps(embedded(content))


def chosen(elements: Sequence[str]) -> dict[str, list[str]]:
    """Return elements by name space, in the order of the document."""
    return {
        name_space: names for name_space, all_names in ELEMENTS.items()
        if (names := [name for name in all_names if name in elements])
    }  # fmt: skip
