"""The extensions of a certificate, parsed.

An authority puts the same few extensions into all its certificates. Only the holder's attributes and key identifier are
different in each. Parsing the directory names in them takes longer than an RSA verification does, so that an extension
which has been parsed before is not parsed again. What the rules make of it is never kept.
"""

from __future__ import annotations

from typing import Any

from cryptography import x509
from cryptography.x509.oid import ExtensionOID

from kazashi.relying_party.verify.fields import CertificateFields

Extensions = dict[x509.ObjectIdentifier, x509.Extension[Any]]

MOST_PARSED = 4096
"""The number of parsed extensions that a process keeps: two for each of 1,900 municipalities, and a few."""

_LONGEST_PARSED = 512
"""Bytes. Longer extensions are not kept: the profile has none, and a stranger's certificate may."""

_parsed: dict[bytes, x509.Extension[Any]] = {}

_KEY_IDENTIFIER = bytes.fromhex("301D 0603551D0E 0416 0414")
"""A subject key identifier that is not critical, up to the 20 bytes of the identifier."""

_OWN = (ExtensionOID.SUBJECT_KEY_IDENTIFIER, ExtensionOID.SUBJECT_ALTERNATIVE_NAME)
"""What is the holder's own, and is never kept."""


def extensions(certificate: x509.Certificate, fields: CertificateFields) -> Extensions:
    """Return a certificate's extensions by OID. Raises what `cryptography` raises for one that is malformed or occurs
    twice."""
    own = _KEY_IDENTIFIER + fields.key_identifier
    known = {}
    for encoded in fields.extensions:
        extension = _own_identifier(fields.key_identifier) if encoded == own else _parsed.get(encoded)
        if extension is None:
            return _parse(certificate, fields.extensions)
        known[extension.oid] = extension
    return known if len(known) == len(fields.extensions) else _parse(certificate, fields.extensions)


def _own_identifier(identifier: bytes) -> x509.Extension[Any]:
    return x509.Extension(ExtensionOID.SUBJECT_KEY_IDENTIFIER, False, x509.SubjectKeyIdentifier(identifier))


def _parse(certificate: x509.Certificate, encoded: list[bytes]) -> Extensions:
    found = list(certificate.extensions)
    if len(_parsed) + len(found) > MOST_PARSED:
        _parsed.clear()
    for each, extension in zip(encoded, found, strict=True):
        if extension.oid not in _OWN and len(each) <= _LONGEST_PARSED:
            _parsed[each] = extension
    return {extension.oid: extension for extension in found}
