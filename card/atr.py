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
