"""What a chip says when a certificate is asked for its key: the public half, signed with the private one."""

from __future__ import annotations

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa


def certification_request(pkcs8: bytes) -> bytes:
    """A PKCS#10 request as DER, with an empty subject: who the holder is, the issuer knows and the chip does not."""
    key = serialization.load_der_private_key(pkcs8, None, unsafe_skip_rsa_key_validation=True)
    if not isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey):
        raise TypeError("a certified key is an RSA or an EC key")
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    digest = hashes.SHA256() if isinstance(key, rsa.RSAPrivateKey) else hashes.SHA384()
    return builder.sign(key, digest).public_bytes(serialization.Encoding.DER)
