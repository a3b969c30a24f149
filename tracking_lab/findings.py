"""Findings: the privacy problems that an examination's numbers show, by LINDDUN threat type."""

from __future__ import annotations

from collections.abc import Iterator

from kazashi.tracking_lab.metrics import Share
from kazashi.tracking_lab.results import Examination, PrivacyFinding


def findings(examination: Examination) -> Iterator[PrivacyFinding]:
    """The findings of an examination."""
    raw, chained = (
        _value(examination.comparison(measure).linkage.recall) for measure in ("raw-serial", "raw-serial-chain")
    )
    if raw > 0.5:
        words = "services can join their records by serial number"
        yield PrivacyFinding("high", "serial-links-services", "Linking", words, f"X1: recall {raw:.3f}")
    if chained > raw:
        words = "with the chain, serial numbers become an identifier that lasts as long as the card"
        yield PrivacyFinding(
            "high", "chain-outlives-renewal", "Linking", words, f"X1: recall from {raw:.3f} to {chained:.3f}"
        )
    if examination.exact.digest_links_the_same:
        words = "a digest of the serial number gives the same links as the number itself"
        yield PrivacyFinding(
            "high", "digest-links-the-same", "Linking", words, f"X1: {examination.exact.linked:,} links either way"
        )
    if _value(examination.dictionary.found) > 0.99:
        words = "anyone who enumerates serial numbers can find the one behind a digest"
        bits = examination.dictionary.nation.bits
        yield PrivacyFinding("high", "digest-is-no-secret", "Identifying", words, f"X11: {bits:.1f} bits for a nation")
    four = [one for one in examination.unicity if one.points == 4 and _value(one.singled_out) > 0.5]
    if four:
        words = "four uses single out most people, without a name"
        of = f"X7: {four[-1].singled_out.value:.3f} within {four[-1].days} days"
        yield PrivacyFinding("medium", "trace-singles-out", "Identifying", words, of)
    named = _value(examination.threat("T8").share("recall"))
    if named > 0.5:
        words = "a service with signatures can name the serial numbers of another, by what people typed there"
        yield PrivacyFinding("high", "attributes-name-serials", "Identifying", words, f"T8: recall {named:.3f}")
    typed = _value(examination.threat("T15").share("login-library-recall"))
    if typed > 0.5:
        words = "names and birth dates link services under any pseudonyms"
        yield PrivacyFinding("medium", "attributes-link", "Linking", words, f"T15: recall {typed:.3f}, no identifier")
    watched = [one.measure.name for one in examination.comparisons
               if not _value(one.linkage.recall) and _value(one.seen_by_authority)]  # fmt: skip
    if watched:
        words = "services cannot link, but the authority sees the uses from the OCSP requests"
        yield PrivacyFinding("medium", "authority-sees-uses", "Detecting", words, f"X12 > 0: {', '.join(watched)}")
    lossy = [one.measure.name for one in examination.comparisons if one.kept.total and _value(one.kept) < 0.5]
    if lossy:
        words = "users lose their accounts at renewal, unless the service learns which certificate follows which"
        yield PrivacyFinding("low", "accounts-are-lost", "Unawareness", words, f"X16: {', '.join(lossy)}")


def _value(share: Share) -> float:
    """The value of a share, or 0 if its total is 0."""
    return share.value if share.total else 0.0
