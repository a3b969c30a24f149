"""Verification: certificates, revocation, signed documents, and verdicts as values."""
