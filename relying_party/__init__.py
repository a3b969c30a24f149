"""Relying parties: verification, logins, pseudonyms and tokens, MyKey, and the platform for client services."""
