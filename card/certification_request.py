"""The certification request of a chip: its public key, signed with its private key."""

from __future__ import annotations

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa


def certification_request(pkcs8: bytes) -> bytes:
    """Return a PKCS#10 request as DER. Its subject is empty: the issuer knows the holder, the chip does not.

    Raises TypeError if the key is neither RSA nor EC.
    """
    key = serialization.load_der_private_key(pkcs8, None, unsafe_skip_rsa_key_validation=True)
    if not isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey):
        raise TypeError("only an RSA or an EC key can be certified")
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    digest = hashes.SHA256() if isinstance(key, rsa.RSAPrivateKey) else hashes.SHA384()
    return builder.sign(key, digest).public_bytes(serialization.Encoding.DER)
