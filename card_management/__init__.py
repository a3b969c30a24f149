"""The card management system: it issues cards to residents and renews the certificates on them."""
