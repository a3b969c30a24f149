"""The chip: APDUs, TLV, status words, files, PINs, security status, power cycle and durable state.

It knows nothing of residents, authorities or readers. What is on the chip is handed to it (`kazashi.card.contents`),
and so are its randomness and its durable store (`kazashi.card.store`).
"""
