#!/bin/sh
# Tool:      OpenSSL 3.0 (Debian 12: 3.0.x), `openssl x509 -text`
# Behaviour: A directoryName in subjectAltName is printed through a buffer of 256 characters. What does not fit is left
#            out without a sign. Each byte of a UTF-8 name is written as \xHH, so that 20 Chinese characters fill it: the
#            Japanese names of a JPKI-like authority lose their organisational units.
# Guess:     The name is printed whole, as in the subject and in cRLDistributionPoints of the same text, and as
#            `certtool -i` (GnuTLS) and `keytool -printcert` (Java) print it. Whoever compares two authorities by this
#            line sees one and the same name for both.
# Remedy:    `openssl asn1parse` over the extension, GnuTLS, Java, or a library.
# Seen:      2026-11-29, OpenSSL 3.0: "DirName:/C=JP/OU=\xE6\x9E\xB6..." has one of three units.
set -eu
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
cd "$directory"

case $(openssl version) in
  "OpenSSL 3.0."*) ;;
  *) echo "this describes OpenSSL 3.0, and here is: $(openssl version)" >&2; exit 1 ;;
esac

python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check cryptography==50.0.2
cat > make.py <<'EOF'
from datetime import datetime, timedelta
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

def name(*units):
    country = [x509.NameAttribute(NameOID.COUNTRY_NAME, "JP")]
    return x509.Name(country + [x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, unit) for unit in units])

key, now = ec.generate_private_key(ec.SECP256R1()), datetime(2026, 11, 29)
certificate = (
    x509.CertificateBuilder().subject_name(name("EXAMPLE")).issuer_name(name("EXAMPLE")).public_key(key.public_key())
    .serial_number(1).not_valid_before(now).not_valid_after(now + timedelta(days=30))
    .add_extension(x509.SubjectAlternativeName([
        x509.DirectoryName(name("架空的個人認証試験用組織", "架空的個人認証試験用署名部門", "LAST-UNIT"))
    ]), critical=False)
    .sign(key, hashes.SHA256())
)
open("certificate.der", "wb").write(certificate.public_bytes(Encoding.DER))
EOF
venv/bin/python make.py
grep -q LAST-UNIT certificate.der || { echo "the certificate was not made as it should be" >&2; exit 1; }

text=$(openssl x509 -in certificate.der -inform DER -noout -text | grep DirName:)
echo "$text"
case $text in
  *LAST-UNIT*) echo "CHANGED: the name is printed whole" >&2; exit 1 ;;
  *DirName:/C=JP*) echo "as described: the last unit is in the certificate and not in the text" ;;
  *) echo "CHANGED: another form" >&2; exit 1 ;;
esac
