"""The chip: APDUs, TLV, status words, files, PINs, security status, power cycle and durable state.

It does not depend on residents, authorities or readers. The caller passes in what is on the chip
(`kazashi.card.contents`), its source of random bytes and its durable store (`kazashi.card.store`).
"""
