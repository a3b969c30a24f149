#!/bin/sh
# Tool:      isomdoc 0.0.5 (PyPI), MDoc.generate_credential
# Behaviour: Without a date of its own, every mdoc of a process has the instant at which isomdoc was imported as the
#            date on which it was signed, and is valid from then on.
# Guess:     `signed_datetime=datetime.now(...)` in a signature looks like the date of the call. Python evaluates a
#            default once, when the function is defined.
# Remedy:    Pass signed_datetime, valid_from_datetime and valid_until_datetime.
# Seen:      2026-11-30: signed 0 s after the import, 3 s before the call.
set -eu
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
python3 -m venv "$directory/venv"
"$directory/venv/bin/pip" install --quiet --disable-pip-version-check isomdoc==0.0.5
cat > "$directory/try.py" <<'EOF'
import sys
import time
from datetime import datetime, timedelta, timezone

import cbor2
import isomdoc
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

imported = datetime.now(timezone.utc)
key = ec.generate_private_key(ec.SECP256R1())
name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
certificate = (
    x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    .serial_number(1).not_valid_before(imported).not_valid_after(imported + timedelta(days=1))
    .sign(key, hashes.SHA256())
)
time.sleep(3)
document = isomdoc.create_mdoc("org.example.test", [certificate], key)
document.add_data_item("org.example", "colour", "red")
issued = cbor2.loads(document.generate_credential(key.public_key()))
security_object = cbor2.loads(cbor2.loads(issued["issuerAuth"][2]).value)
signed = security_object["validityInfo"]["signed"]
late = (datetime.now(timezone.utc) - signed).total_seconds()
print(f"signed {abs((signed - imported).total_seconds()):.0f} s from the import, {late:.0f} s before the call")
if late < 3:
    sys.exit("CHANGED: the date is that of the call")
EOF
"$directory/venv/bin/python" "$directory/try.py"
