"""Findings: the privacy problems that an examination's numbers show, by LINDDUN threat type."""

from __future__ import annotations

from collections.abc import Iterator

from kazashi.tracking_lab.metrics import Share
from kazashi.tracking_lab.results import Examination, Measurement, PrivacyFinding, PrivacyThreat, Severity, Unit


def findings(examination: Examination) -> Iterator[PrivacyFinding]:
    """The findings of an examination."""
    raw, chained = (
        examination.comparison(measure).linkage.recall for measure in ("raw-serial", "raw-serial-chain")
    )  # fmt: skip
    by_number = Measurement("raw-serial", raw, measure="X1")
    if _value(raw) > 0.5:
        yield _found("serial-links-services", Severity.HIGH, PrivacyThreat.LINKING, "X1", by_number)
    if _value(chained) > _value(raw):
        by_chain = Measurement("raw-serial-chain", chained, measure="X1")
        yield _found("chain-outlives-renewal", Severity.HIGH, PrivacyThreat.LINKING, "X1", by_number, by_chain)
    if examination.exact.digest_links_the_same:
        links = Measurement("linked", examination.exact.linked, Unit.PAIRS, "X1")
        yield _found("digest-links-the-same", Severity.HIGH, PrivacyThreat.LINKING, "X1", links)
    if _value(examination.dictionary.found) > 0.99:
        bits = Measurement("nation", examination.dictionary.nation.bits, Unit.BITS, "X11")
        yield _found("digest-is-no-secret", Severity.HIGH, PrivacyThreat.IDENTIFYING, "X11", bits)
    four = [one for one in examination.unicity if one.points == 4 and _value(one.singled_out) > 0.5]
    if four:
        alone = Measurement(f"within-{four[-1].days}-days", four[-1].singled_out, measure="X7")
        yield _found("trace-singles-out", Severity.MEDIUM, PrivacyThreat.IDENTIFYING, "X7", alone)
    named = Measurement("recall", examination.threat("T8").share("recall"), measure="X1")
    if _over_half(named):
        yield _found("attributes-name-serials", Severity.HIGH, PrivacyThreat.IDENTIFYING, "T8", named)
    typed = examination.threat("T15").share("login-library-recall")
    linked = Measurement("login-library-recall", typed, measure="X1")
    if _over_half(linked):
        yield _found("attributes-link", Severity.MEDIUM, PrivacyThreat.LINKING, "T15", linked)
    watched = [Measurement(one.measure.id, one.seen_by_authority, measure="X12") for one in examination.comparisons
               if not _value(one.linkage.recall) and _value(one.seen_by_authority)]  # fmt: skip
    if watched:
        yield _found("authority-sees-uses", Severity.MEDIUM, PrivacyThreat.DETECTING, "X12", *watched)
    lossy = [Measurement(one.measure.id, one.kept, measure="X16") for one in examination.comparisons
             if one.kept.total and _value(one.kept) < 0.5]  # fmt: skip
    if lossy:
        yield _found("accounts-are-lost", Severity.LOW, PrivacyThreat.UNAWARENESS, "X16", *lossy)


def _found(
    code: str, severity: Severity, threat: PrivacyThreat, run: str, *evidence: Measurement
) -> PrivacyFinding:  # fmt: skip
    return PrivacyFinding(severity, code, threat, run, evidence)


def _over_half(measured: Measurement) -> bool:
    return isinstance(measured.value, Share) and _value(measured.value) > 0.5


def _value(share: Share) -> float:
    """The value of a share, or 0 if its total is 0."""
    return share.value if share.total else 0.0
