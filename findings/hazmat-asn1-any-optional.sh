#!/bin/sh
# Tool:      cryptography 50.0.2 (PyPI), cryptography.hazmat.asn1
# Behaviour: AlgorithmIdentifier, the structure that every certificate, CRL and PKCS#8 key has (RFC 5280, 4.1.1.2: an
#            OBJECT IDENTIFIER and ANY OPTIONAL), cannot be declared: `TLV | None` raises TypeError when the class is
#            made. And two decodings of the same bytes are not equal, although the classes look like dataclasses.
# Guess:     ANY is `TLV` and OPTIONAL is `X | None` in the tutorial's table, so ANY OPTIONAL is `TLV | None`; classes
#            declared by annotations compare by value.
# Remedy:    Declare the whole AlgorithmIdentifier as `TLV` and compare its bytes; encode again to compare structures.
# Seen:      2026-11-29: "TypeError: optional TLV types (`TLV | None`) are not currently supported", then "equal: False".
set -eu
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
python3 -m venv "$directory/venv"
"$directory/venv/bin/pip" install --quiet --disable-pip-version-check cryptography==50.0.2
cat > "$directory/try.py" <<'EOF'
import sys
from cryptography import x509
from cryptography.hazmat import asn1

try:
    @asn1.sequence
    class AlgorithmIdentifier:
        algorithm: x509.ObjectIdentifier
        parameters: asn1.TLV | None
except TypeError as error:
    print("TypeError:", error)
else:
    sys.exit("CHANGED: ANY OPTIONAL can be declared")

@asn1.sequence
class Version:
    number: int

der = bytes.fromhex("3003020102")
equal = asn1.decode_der(Version, der) == asn1.decode_der(Version, der)
print("equal:", equal)
if equal:
    sys.exit("CHANGED: structures compare by value")
EOF
"$directory/venv/bin/python" "$directory/try.py"
