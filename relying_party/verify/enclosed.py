"""Revocation information that a document contains, as documents for long-term archives do."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from functools import partial

from cryptography.x509 import ocsp

from kazashi.relying_party.verify.anchors import Anchor
from kazashi.relying_party.verify.certificate import HolderCertificate
from kazashi.relying_party.verify.finding import INDETERMINATE, Finding, VerificationFailed
from kazashi.relying_party.verify.malformed import trouble
from kazashi.relying_party.verify.ocsp import read_ocsp_answer
from kazashi.relying_party.verify.policy import VerificationPolicy
from kazashi.relying_party.verify.sources import Lists, RevocationStatus
from kazashi.relying_party.verify.verdict import Evidence

ENCLOSED_LIST, ENCLOSED_OCSP = "enclosed-list", "enclosed-ocsp"


class Enclosed:
    """The revocation lists and OCSP responses (DER) inside a document. Each must cover the instant of the verdict, like
    information from anywhere else; it may have ended since."""

    def __init__(self, lists: Sequence[bytes], responses: Sequence[bytes]) -> None:
        self._lists = lists
        self._responses = responses

    def status(
        self, certificate: HolderCertificate, anchor: Anchor, at: datetime, now: datetime, policy: VerificationPolicy
    ) -> RevocationStatus:
        """Return the status that the enclosed information gives; a revocation outweighs its absence."""
        statuses, failures = [], []
        for read in self._readers(certificate, anchor, at, now, policy):
            try:
                statuses.append(read())
            except VerificationFailed as failure:
                if failure.finding not in INDETERMINATE:
                    raise
                failures.append(failure)
        if not statuses:
            raise (
                failures[0]
                if failures
                else VerificationFailed(Finding.NO_INFORMATION, "the document contains no revocation information")
            )
        return next((status for status in statuses if status.revocation is not None), statuses[0])

    def _readers(
        self, certificate: HolderCertificate, anchor: Anchor, at: datetime, now: datetime, policy: VerificationPolicy
    ) -> Iterator[Callable[[], RevocationStatus]]:
        for data in self._lists:
            source = Lists(ENCLOSED_LIST, lambda *_, data=data: data)
            yield partial(source.status, certificate, anchor, at, now, policy)
        for data in self._responses:
            yield partial(_from_response, data, certificate, anchor, at, now, policy)


def _from_response(
    data: bytes, certificate: HolderCertificate, anchor: Anchor, at: datetime, now: datetime, policy: VerificationPolicy
) -> RevocationStatus:
    try:
        produced = next(ocsp.load_der_ocsp_response(data).responses).this_update_utc
    except (ValueError, StopIteration) as error:
        raise VerificationFailed(
            Finding.UNTRUSTED_INFORMATION, f"an enclosed OCSP response cannot be read: {trouble(error)}"
        ) from error
    if produced > now + policy.clock_tolerance:
        raise VerificationFailed(
            Finding.STALE_INFORMATION, f"the OCSP response's thisUpdate {produced} is in the future"
        )
    answer = read_ocsp_answer(data, anchor, certificate.serial, None, max(at, produced), policy)
    return RevocationStatus(answer.revocation, Evidence(ENCLOSED_OCSP, answer.this_update, answer.next_update))
