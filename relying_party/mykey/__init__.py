"""MyKey: one identifier of the holder's choice, which stays the same when certificates are renewed."""
