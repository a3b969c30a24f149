"""The ATRs that real cards have returned at their contacts."""

CONTACT_ATRS = {
    "plain": bytes.fromhex("3BE000FF8131FE4514"),
    "extended": bytes.fromhex("3BDA13FF8131FB468012392F31C173C601C03B"),
    "short": bytes.fromhex("3BC5FF8131FB458073C6010000"),
    "reader-made-1": bytes.fromhex("3BF59100FF918171FE400042000100D1D6"),
    "reader-made-2": bytes.fromhex("3BF59100FF918171FE4000420001B3A115"),
}
"""ATRs by name. `plain` is the only one in OpenSC's driver; `extended` declares extended length and partial names;
`short` declares neither; the other two look as if a reader had built them from a Type B answer to request."""

DEFAULT_CONTACT_ATR = CONTACT_ATRS["plain"]


def offered_protocols(atr: bytes) -> frozenset[int]:
    """Return the transmission protocols that an ATR offers (ISO 7816-3, 8.2): {0} if it names none."""
    offered: set[int] = set()
    at, indicator = 2, atr[1] if len(atr) > 1 else 0
    while indicator & 0x80:
        at += (indicator >> 4).bit_count()  # TA, TB, TC, and the TD that says what follows
        indicator = atr[at - 1] if at <= len(atr) else 0
        offered.add(indicator & 0x0F)
    return frozenset(offered or {0})
