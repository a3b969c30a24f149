"""MyKey: one identifier of the holder's choice that survives the renewal of certificates."""
