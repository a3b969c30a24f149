"""What a reviewer should know, said of numbers: severity, code, words, evidence, under LINDDUN's headings."""

from __future__ import annotations

from collections.abc import Iterator

from kazashi.tracking_lab.metrics import Share
from kazashi.tracking_lab.results import Examination, PrivacyFinding


def findings(found: Examination) -> Iterator[PrivacyFinding]:
    """What follows from the numbers of an examination."""
    raw, told = (_value(found.comparison(measure).linkage.recall) for measure in ("raw-serial", "raw-serial-chain"))
    if raw > 0.5:
        words = "the serial number joins what services know, by equality"
        yield PrivacyFinding("high", "serial-links-services", "Linking", words, f"X1: recall {raw:.3f}")
    if told > raw:
        words = "the chain makes of serial numbers an identifier for as long as a card lasts"
        yield PrivacyFinding(
            "high", "chain-outlives-renewal", "Linking", words, f"X1: recall from {raw:.3f} to {told:.3f}"
        )
    if found.exact.digest_links_the_same:
        words = "a digest of the serial number links exactly as it does"
        yield PrivacyFinding(
            "high", "digest-links-the-same", "Linking", words, f"X1: {found.exact.linked:,} links either way"
        )
    if _value(found.dictionary.found) > 0.99:
        words = "whoever counts finds the serial number behind a digest"
        bits = found.dictionary.nation.bits
        yield PrivacyFinding("high", "digest-is-no-secret", "Identifying", words, f"X11: {bits:.1f} bits for a nation")
    four = [one for one in found.unicity if one.points == 4 and _value(one.singled_out) > 0.5]
    if four:
        words = "four uses single most people out, without a name"
        of = f"X7: {four[-1].singled_out.value:.3f} within {four[-1].days} days"
        yield PrivacyFinding("medium", "trace-singles-out", "Identifying", words, of)
    named = _value(found.threat("T8").share("recall"))
    if named > 0.5:
        words = "a service with signatures puts names to another's serial numbers, by what people typed"
        yield PrivacyFinding("high", "attributes-name-serials", "Identifying", words, f"T8: recall {named:.3f}")
    typed = _value(found.threat("T15").share("login-library-recall"))
    if typed > 0.5:
        words = "names and birth dates link services whatever the pseudonyms"
        yield PrivacyFinding("medium", "attributes-link", "Linking", words, f"T15: recall {typed:.3f}, no identifier")
    watched = [one.measure.name for one in found.comparisons
               if not _value(one.linkage.recall) and _value(one.seen_by_authority)]  # fmt: skip
    if watched:
        words = "services cannot link, and the authority that is asked by OCSP sees the use all the same"
        yield PrivacyFinding("medium", "authority-sees-uses", "Detecting", words, f"X12 > 0: {', '.join(watched)}")
    lossy = [one.measure.name for one in found.comparisons if one.kept.total and _value(one.kept) < 0.5]
    if lossy:
        words = "a renewal loses the account, unless somebody tells which certificate follows which"
        yield PrivacyFinding("low", "accounts-are-lost", "Unawareness", words, f"X16: {', '.join(lossy)}")


def _value(share: Share) -> float:
    """A share; of nothing it is none."""
    return share.value if share.total else 0.0
