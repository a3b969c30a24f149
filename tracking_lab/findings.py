"""What a reviewer should know, said of numbers: severity, code, words, evidence, under LINDDUN's headings."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Finding:
    """How bad, a code, words, and what proves it. `heading` is LINDDUN's."""

    severity: str
    code: str
    heading: str
    words: str
    evidence: str


def findings(found: dict[str, Any]) -> Iterator[Finding]:
    """What follows from the numbers of an examination."""
    by_name = {row["name"]: row for row in found["countermeasures"]}
    runs = {row["run"]: row["results"] for row in found["threats"]}
    recall = {name: row["recall"]["value"] or 0 for name, row in by_name.items()}
    raw, told = recall["raw serial number"], recall["raw serial number, chain told"]
    if raw > 0.5:
        words = "the serial number joins what services know, by equality"
        yield Finding("high", "serial-links-services", "Linking", words, f"X1: recall {raw:.3f}")
    if told > raw:
        words = "the chain makes of serial numbers an identifier for as long as a card lasts"
        yield Finding("high", "chain-outlives-renewal", "Linking", words, f"X1: recall from {raw:.3f} to {told:.3f}")
    if found["exact"]["the digest links the same"]:
        words = "a digest of the serial number links exactly as it does"
        links = found["exact"]["linked by serial number"]
        yield Finding("high", "digest-links-the-same", "Linking", words, f"X1: {links:,} links either way")
    if _value(found["dictionary"]["found"]) > 0.99:
        words = "whoever counts finds the serial number behind a digest"
        bits = found["dictionary"]["bits for a nation"]
        yield Finding("high", "digest-is-no-secret", "Identifying", words, f"X11: {bits:.1f} bits for a nation")
    four = [row for row in found["unicity"] if row["points"] == 4 and _value(row["singled out"]) > 0.5]
    if four:
        words = "four uses single most people out, without a name"
        of = f"X7: {four[-1]['singled out']['value']:.3f} within {four[-1]['days']} days"
        yield Finding("medium", "trace-singles-out", "Identifying", words, of)
    named, typed = runs["T8"]["recall"], runs["T15"]["login + library, recall"]
    if _value(named) > 0.5:
        words = "a service with signatures puts names to another's serial numbers, by what people typed"
        yield Finding("high", "attributes-name-serials", "Identifying", words, f"T8: recall {named['value']:.3f}")
    if _value(typed) > 0.5:
        words = "names and birth dates link services whatever the pseudonyms"
        yield Finding("medium", "attributes-link", "Linking", words, f"T15: recall {typed['value']:.3f}, no identifier")
    watched = [name for name in by_name if not recall[name] and _value(by_name[name]["seen by the authority"])]
    if watched:
        words = "services cannot link, and the authority that is asked by OCSP sees the use all the same"
        yield Finding("medium", "authority-sees-uses", "Detecting", words, f"X12 > 0: {', '.join(watched)}")
    lossy = [name for name, row in by_name.items()
             if row["renewals kept"]["total"] and _value(row["renewals kept"]) < 0.5]  # fmt: skip
    if lossy:
        words = "a renewal loses the account, unless somebody tells which certificate follows which"
        yield Finding("low", "accounts-are-lost", "Unawareness", words, f"X16: {', '.join(lossy)}")


def _value(share: dict[str, Any]) -> float:
    return float(share["value"] or 0)
