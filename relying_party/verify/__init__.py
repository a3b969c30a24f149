"""Verification of certificates, their revocation status and signed documents; the result is a `Verdict`."""
